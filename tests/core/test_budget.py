"""The money that a run may cost is reserved before it is spent."""

import pytest
from hypothesis import given

from auto_build.core import events as ev
from auto_build.core.budget import reserved
from auto_build.core.commands import Resume, StartAttempt
from auto_build.core.plan import ChunkId
from auto_build.core.scheduler import decide, out_of_money
from auto_build.core.state import Failed, Parked, RunState
from auto_build.core.transitions import apply
from auto_build.core.usage import CostSource, Price, Usage, total
from tests.core.strategies import (
    REQUEST,
    Build,
    begun,
    builds,
    captured,
    carry_out,
    chunk,
    phase,
    play,
)
from tests.core.test_outcomes import ended
from tests.core.test_scheduler import some_runs

A, B = ChunkId("a"), ChunkId("b")


def with_money(
    *names: str, run: float | None = None, each: float | None = None, retries: int = 0
) -> RunState:
    """Return a run of these chunks with so many US dollars for all, and for each."""
    state = begun(phase("p", *(chunk(name, name) for name in names)))
    return apply(state, ev.SessionOpened(2, 2, retries=retries, max_cost=run, chunk_cost=each))


def spent(one: ChunkId, cost: float, session: str = "") -> ev.UsageReported:
    usage = Usage(output_tokens=1, cost_usd=cost, source=CostSource.AGENT)
    return ev.UsageReported(one, session or f"talk {one}", usage)


def grants(state: RunState, *, slots: int) -> dict[str, float | None]:
    return {
        one.chunk: one.budget
        for one in decide(state, slots=slots)
        if isinstance(one, StartAttempt | Resume)
    }


def test_without_a_limit_an_agent_may_spend_any_amount() -> None:
    assert grants(with_money("a"), slots=1) == {"a": None}


def test_the_run_s_money_is_shared_among_the_free_workers() -> None:
    assert grants(with_money("a", "b", run=10.0), slots=2) == {"a": 5.0, "b": 5.0}


def test_what_one_did_not_need_is_there_for_the_next() -> None:
    run = carry_out(with_money("a", "b", "c", run=10.0), slots=2)
    run = play(run, spent(A, 1.0), captured(A), ev.GateStarted(A))
    run = apply(run, ev.ChunkSkipped(A, "done"))
    assert grants(run, slots=2) == {"c": 4.0}


def test_a_chunk_s_own_limit_holds_over_its_attempts() -> None:
    run = carry_out(with_money("a", each=2.0, retries=1), slots=1)
    run = play(run, spent(A, 0.5), ended(A, ev.Outcome.TIMEOUT))
    assert grants(run, slots=1) == {"a": 1.5}


def test_who_asks_for_a_chunk_again_grants_its_money_again() -> None:
    run = carry_out(with_money("a", each=2.0), slots=1)
    run = play(run, spent(A, 2.0), ended(A, ev.Outcome.BUDGET), ev.ChunkReset(A, "again"))
    assert grants(run, slots=1) == {"a": 2.0}


def test_a_chunk_whose_own_limit_is_reached_has_failed() -> None:
    run = carry_out(with_money("a", each=2.0, run=50.0), slots=1)
    run = play(run, spent(A, 2.02), ended(A, ev.Outcome.BUDGET, "it may not spend more"))
    assert run.chunks[A] == Failed(1, ev.Outcome.BUDGET, "it may not spend more")


def test_who_used_up_his_share_goes_on_with_what_others_left() -> None:
    run = carry_out(with_money("a", "b", run=10.0), slots=2)
    run = play(run, spent(A, 5.0), ended(A, ev.Outcome.BUDGET))
    assert isinstance(run.chunks[A], Parked)
    assert grants(run, slots=2) == {}
    run = play(run, spent(B, 1.0), captured(B))
    assert grants(run, slots=2)["a"] == pytest.approx(2.0)


def test_when_the_money_is_gone_the_run_says_so() -> None:
    run = carry_out(with_money("a", "b", run=3.0), slots=1)
    run = play(run, spent(A, 3.01), captured(A))
    assert out_of_money(run, slots=1) == ""  # there is something to gate
    run = play(run, ev.GateStarted(A), ev.ChunkSkipped(A, "done"))
    assert grants(run, slots=1) == {}
    assert out_of_money(run, slots=1) == "the run's budget of $3.00 is used up: $3.01 spent"


def test_a_conversation_counts_once_however_often_it_tells_its_sum() -> None:
    run = carry_out(with_money("a"), slots=1)
    run = play(run, spent(A, 0.3), spent(A, 0.6), spent(A, 0.6), spent(A, 0.1, "another talk"))
    assert run.cost_of(A) == pytest.approx(0.7)
    assert run.spent.cost_usd == pytest.approx(0.7)


@some_runs
@given(builds())
def test_the_sum_is_overshot_by_no_more_than_one_request_for_each_worker(build: Build) -> None:
    for state in build.states:
        if state.max_cost is None or _was_lowered(build):
            continue
        reached = (state.spent.cost_usd or 0.0) + reserved(state)
        assert reached <= state.max_cost + REQUEST * build.slots + 1e-6


def _was_lowered(build: Build) -> bool:
    """Say whether a later session was given less than was spent already."""
    limits = {one.max_cost for one in build.history if isinstance(one, ev.SessionOpened)}
    return len(limits) > 1


# --- the figures ---------------------------------------------------------------------------------


def test_prices_turn_tokens_into_money_where_the_agent_names_none() -> None:
    price = Price(input=3.0, output=15.0, cache_read=0.3)
    told = price.of(Usage(input_tokens=1_000_000, output_tokens=100_000, cache_read_tokens=10))
    assert told.cost_usd == pytest.approx(4.500003)
    assert told.source is CostSource.PRICED
    own = Usage(input_tokens=5, cost_usd=1.0, source=CostSource.AGENT)
    assert price.of(own) == own


def test_a_sum_with_an_unknown_part_says_that_it_is_not_known_whole() -> None:
    known = Usage(output_tokens=1, cost_usd=2.0, source=CostSource.AGENT)
    unknown = Usage(output_tokens=5)
    assert total((known, unknown)) == Usage(output_tokens=6, cost_usd=2.0)
    assert total((known, known)).source is CostSource.AGENT
