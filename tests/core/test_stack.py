"""Candidates that are checked ahead of each other land in a row, and no work is lost by it."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings

from auto_build.core import events as ev
from auto_build.core.commands import Command, Gate, Land, Withdraw
from auto_build.core.plan import ChunkId
from auto_build.core.scheduler import decide
from auto_build.core.stack import pace
from auto_build.core.state import Gating, Landing, Passed, Queued, RunState
from auto_build.core.verdict import FEW, MANY
from tests.core.strategies import (
    BASE,
    WORK,
    Build,
    begun,
    builds,
    captured,
    carry_out,
    chunk,
    phase,
    play,
)

A, B, C, D = (ChunkId(name) for name in "abcd")
AHEAD = ev.QueuePaced(ahead=True, agent_s=1.0, gate_s=1.0, slots=4)
some_runs = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# --- what holds in every run ---------------------------------------------------------------------


@some_runs
@given(builds())
def test_each_landing_stands_on_the_one_before(build: Build) -> None:
    for before, event in build.steps():
        if isinstance(event, ev.CandidateLanded):
            now = before.chunks[event.chunk]
            assert isinstance(now, Landing)
            assert now.passed.head == (before.head or BASE)


@some_runs
@given(builds())
def test_what_is_withdrawn_keeps_its_work_and_is_checked_again(build: Build) -> None:
    for place, event in enumerate(build.history[1:], start=1):
        if isinstance(event, ev.GateVoided):
            before, after = build.states[place - 1], build.states[place]
            was, now = before.chunks[event.chunk], after.chunks[event.chunk]
            assert isinstance(was, Gating | Passed)
            assert now == Queued(was.attempt, was.work)
            assert event.chunk in after.queue


@some_runs
@given(builds())
def test_no_two_candidates_stand_on_the_same_one(build: Build) -> None:
    for state in build.states:
        if not any(isinstance(one, Withdraw) for one in decide(state, slots=build.slots)):
            stack = [now for now in state.chunks.values() if isinstance(now, Gating | Passed)]
            below = [now.ahead for now in stack if now.ahead]
            assert len(set(below)) == len(below)


# --- a stack, step by step -----------------------------------------------------------------------


def queued(*names: ChunkId, window: int = 4) -> RunState:
    """Return a run whose agents are done with these chunks, and that looks ahead."""
    run = begun(phase("p", *(chunk(name, name) for name in "abcd")))
    run = play(run, ev.SessionOpened(4, 2, window=window), AHEAD)
    return play(carry_out(run, slots=4), *(captured(name) for name in names))


def widened(run: RunState, window: int) -> RunState:
    """Return the run as it would be after more landings."""
    return replace(run, gate=replace(run.gate, window=window))


def step(run: RunState) -> tuple[RunState, Command]:
    """Carry out the first thing to be done; a candidate is built at once."""
    first, *_ = decide(run, slots=4)
    run = play(run, first.started)
    if isinstance(first, Gate):
        run = play(run, ev.CandidateBuilt(first.chunk, f"c{first.chunk}", first.onto or BASE))
    return run, first


def green(run: RunState, one: ChunkId) -> RunState:
    now = run.chunks[one]
    assert isinstance(now, Gating)
    return play(run, ev.CandidatePassed(one, now.candidate, now.head))


def red(run: RunState, one: ChunkId, says: str = "1 failed") -> RunState:
    now = run.chunks[one]
    assert isinstance(now, Gating)
    return play(run, ev.CandidateRejected(one, now.candidate, now.head, WORK, says))


def test_the_second_is_checked_on_the_candidate_of_the_first() -> None:
    run, first = step(queued(A, B))
    assert first == Gate(A, 1, 1, BASE, WORK)
    _, second = step(run)
    assert second == Gate(B, 1, 2, BASE, WORK, ahead=A, onto="ca", runs=1)


def test_nobody_stands_on_a_candidate_that_is_not_built() -> None:
    run = play(queued(A, B), ev.GateStarted(A))
    assert decide(run, slots=4) == ()


def test_who_is_green_first_lands_after_the_one_ahead() -> None:
    run, _ = step(step(queued(A, B))[0])
    run = green(run, B)
    assert decide(run, slots=4) == ()
    run, land = step(green(run, A))
    assert land == Land(A, "ca", BASE)
    run, land = step(play(run, ev.CandidateLanded(A, "ca")))
    assert land == Land(B, "cb", "ca")


def test_what_stood_on_a_red_one_is_checked_again_on_the_nearest_that_has_not_failed() -> None:
    run = widened(queued(A, B, C), 4)
    for _ in range(3):
        run, _ = step(run)
    run = play(green(run, C), ev.CandidateDoubted(B, "red"))
    run, first = step(run)
    assert first == Withdraw(C)
    run, second = step(run)
    assert second == Gate(C, 1, 3, BASE, WORK, ahead=A, onto="ca", runs=1)


def test_nobody_stands_on_one_that_was_red_once() -> None:
    run, _ = step(step(widened(queued(A, B), 3))[0])
    run, first = step(play(run, ev.CandidateSuspected(A)))
    assert first == Withdraw(B)
    run, second = step(run)
    assert second == Gate(B, 1, 2, BASE, WORK, runs=FEW)


def test_one_that_was_red_once_and_then_green_lands_if_nobody_went_on_without_it() -> None:
    run, _ = step(queued(A))
    run = green(play(run, ev.CandidateSuspected(A)), A)
    _, first = step(run)
    assert first == Land(A, "ca", BASE)


def test_one_that_was_red_once_lands_although_somebody_moved_staging_by_hand() -> None:
    run, _ = step(queued(A))
    run = play(run, ev.CandidateSuspected(A), ev.CandidatePassed(A, "ca", "by hand"))
    _, first = step(run)
    assert first == Land(A, "ca", "by hand")


def test_nobody_overtakes_one_that_is_landing_although_it_was_red_once() -> None:
    run, _ = step(widened(queued(A), 3))
    run, _ = step(green(play(run, ev.CandidateSuspected(A)), A))
    _, second = step(play(run, captured(B)))
    assert second == Gate(B, 1, 2, BASE, WORK, ahead=A, onto="ca", runs=1)


def test_one_that_was_red_once_and_then_green_is_checked_again_behind_those_that_went_on() -> None:
    run, _ = step(widened(queued(A, B), 3))
    run, _ = step(play(run, ev.CandidateSuspected(A)))
    run, first = step(green(run, A))
    assert first == Withdraw(A)
    _, second = step(run)
    assert second == Gate(A, 1, 1, BASE, WORK, ahead=B, onto="cb", runs=1)


def test_one_by_one_nobody_goes_on_while_one_is_run_again() -> None:
    run, _ = step(queued(A, B, window=1))
    assert decide(play(run, ev.CandidateSuspected(A)), slots=4) == ()


def test_who_is_red_on_another_is_judged_when_that_one_has_landed() -> None:
    run, _ = step(step(queued(A, B))[0])
    run = play(run, ev.CandidateDoubted(B, "red"))
    assert decide(run, slots=4) == ()
    run, _ = step(green(run, A))
    _, again = step(play(run, ev.CandidateLanded(A, "ca")))
    assert again == Gate(B, 1, 2, BASE, WORK, runs=FEW)


def test_who_is_red_on_another_that_fails_is_checked_without_it() -> None:
    run, _ = step(step(queued(A, B))[0])
    run = red(play(run, ev.CandidateDoubted(B, "red")), A)
    again = next(one for one in decide(run, slots=4) if isinstance(one, Gate))
    assert (again.chunk, again.ahead) == (B, None)


def test_the_window_halves_with_each_failure_and_grows_by_one_with_each_landing() -> None:
    run = queued(A, B, C, D)
    assert run.gate.window == 2
    run = green(step(run)[0], A)
    run, _ = step(step(run)[0])
    run = play(run, ev.CandidateLanded(A, "ca"))
    assert run.gate.window == 3
    run = play(run, ev.CandidateDoubted(B, "red"))
    run, _ = step(run)
    assert run.gate.window == 3, "of that nobody knows yet whose fault it is"
    run = red(run, B) if isinstance(run.chunks[B], Gating) else red(run, C)
    assert run.gate.window == 1


def test_a_window_of_one_never_looks_ahead() -> None:
    run, first = step(queued(A, B, window=1))
    assert isinstance(first, Gate)
    assert decide(run, slots=4) == ()


def test_one_that_breaks_again_what_the_one_ahead_mended_is_checked_again() -> None:
    old = ev.CheckResult("pytest", passed=True, code=1, seconds=1.0, failed=("t",))
    run = play(queued(A, B), ev.BaseChecked(BASE, (old,)))
    run, _ = step(step(run)[0])
    mended = ev.CheckResult("pytest", passed=True, code=0, seconds=1.0)
    run = play(run, ev.CandidatePassed(B, "cb", "ca", (old,)))
    run = play(run, ev.CandidatePassed(A, "ca", BASE, (mended,)), ev.LandStarted(A))
    _, first = step(play(run, ev.CandidateLanded(A, "ca")))
    assert first == Withdraw(B)


# --- whose turn it is ----------------------------------------------------------------------------


def test_the_one_that_most_waits_for_goes_first() -> None:
    run = begun(
        phase("p", chunk("a", "a"), chunk("b", "b"), chunk("c", "c", after=["b"])),
    )
    run = play(carry_out(run, slots=4), captured(A), captured(B))
    assert next(iter(decide(run, slots=4))).chunk == B


def test_nobody_is_passed_over_for_ever() -> None:
    late = [chunk(f"l{n}", f"l{n}") for n in range(6)]
    after = [chunk(f"m{n}", f"m{n}", after=[f"l{n}"]) for n in range(6)]
    run = begun(phase("p", chunk("a", "a"), *late, *after))
    run = play(carry_out(run, slots=9), captured(A))
    turns = []
    for one in late:
        run = play(run, captured(one.id)) if one.id in run.live else run
        first = next(command for command in decide(run, slots=1) if isinstance(command, Gate))
        turns.append(first.chunk)
        run = play(run, first.started, ev.CandidatePassed(first.chunk, "c", BASE))
        run = play(run, ev.LandStarted(first.chunk), ev.CandidateLanded(first.chunk, "c"))
    assert A in turns[:3]
    assert turns[0] != A


# --- how often a red check is run ----------------------------------------------------------------


def test_a_red_check_is_run_twice_and_more_often_before_a_chunk_fails() -> None:
    run, first = step(queued(A))
    assert isinstance(first, Gate)
    assert first.runs == FEW
    run = play(red(run, A), ev.RepairStarted(A, 1), captured(A))
    _, again = step(run)
    assert isinstance(again, Gate)
    assert again.runs == MANY


def test_where_there_is_no_repair_the_first_verdict_is_the_last() -> None:
    run = play(queued(A), ev.SessionOpened(4, repair_rounds=0, window=4))
    _, first = step(run)
    assert isinstance(first, Gate)
    assert first.runs == MANY


def test_work_that_its_agent_finds_nothing_wrong_with_is_checked_once_more() -> None:
    run = red(step(queued(A))[0], A)
    run = play(run, ev.RepairStarted(A, 1))
    run = play(run, ev.AttemptEnded(A, ev.Outcome.NO_CHANGE, "the agent changed nothing"))
    assert isinstance(run.chunks[A], Queued)
    run, again = step(run)
    assert isinstance(again, Gate)
    assert again.runs == MANY
    failed = red(run, A, "2 failed").chunks[A]
    assert "changed nothing in repair round 1; run again, it is still red: 2 failed" in str(failed)


# --- when looking ahead pays ---------------------------------------------------------------------


def measured(*, gate_s: float, agent_s: float, window: int = 4) -> RunState:
    """Return a run of which two agents and two gates have taken so long."""
    check = ev.CheckResult("t", passed=True, code=0, seconds=gate_s)
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b")))
    run = carry_out(play(run, ev.SessionOpened(4, 2, window=window)), slots=4)
    for one in (A, B):
        run = play(run, ev.WorkCaptured(one, BASE, WORK, "pin", (), agent_s), ev.GateStarted(one))
        run = play(run, ev.CandidatePassed(one, f"c{one}", BASE, (check,)))
        run = play(run, ev.LandStarted(one), ev.CandidateLanded(one, f"c{one}"))
    return run


def test_candidates_are_checked_ahead_where_gates_take_long_and_the_figures_are_told() -> None:
    run = measured(gate_s=30.0, agent_s=100.0)
    choice = pace(run, slots=4)
    assert choice == ev.QueuePaced(ahead=True, agent_s=100.0, gate_s=30.0, slots=4)
    assert pace(play(run, choice), slots=4) is None


def test_candidates_are_checked_one_by_one_where_gates_are_short() -> None:
    assert pace(measured(gate_s=1.0, agent_s=100.0), slots=4) is None
    assert pace(measured(gate_s=15.0, agent_s=100.0), slots=4) is None, "between the two limits"


def test_what_was_chosen_is_taken_back_where_it_no_longer_pays() -> None:
    run = play(measured(gate_s=1.0, agent_s=100.0), AHEAD)
    choice = pace(run, slots=4)
    assert choice == ev.QueuePaced(ahead=False, agent_s=100.0, gate_s=1.0, slots=4)
    assert play(run, choice).gate.window == 1


def test_nothing_is_chosen_before_it_is_measured_or_where_it_is_forbidden() -> None:
    assert pace(queued(A, B), slots=4) is None
    assert pace(measured(gate_s=90.0, agent_s=100.0, window=1), slots=4) is None
