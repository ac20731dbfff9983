"""The scheduler keeps its promises in any run, and its choices are the ones that were meant."""

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auto_build.core import events as ev
from auto_build.core.claims import first_overlap
from auto_build.core.commands import Command, Gate, Land, Repair, Resume, StartAttempt, Withdraw
from auto_build.core.plan import ChunkId, Plan
from auto_build.core.scheduler import blocked, decide, lost, out_of_money, waits_for
from auto_build.core.state import (
    Done,
    Failed,
    Gating,
    Landed,
    Landing,
    Passed,
    Running,
    RunState,
    SetAside,
    Undone,
)
from tests.core.strategies import (
    CANDIDATE,
    HEAD,
    WORK,
    Build,
    begun,
    builds,
    captured,
    carry_out,
    chunk,
    conflicted,
    land,
    land_queued,
    landed,
    passed,
    phase,
    plans,
    play,
    rejected,
)

A, B, C, D = ChunkId("a"), ChunkId("b"), ChunkId("c"), ChunkId("d")
UNDER_WAY = Running | Gating | Landing
some_runs = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# --- what holds in every run ---------------------------------------------------------------------


@some_runs
@given(builds())
def test_no_two_live_chunks_hold_overlapping_claims(build: Build) -> None:
    for state in build.states:
        for one, other in combinations(state.live, 2):
            assert first_overlap(state.held(one), state.held(other)) is None


@some_runs
@given(builds())
def test_no_chunk_starts_before_everything_it_needs_is_done(build: Build) -> None:
    for before, event in build.steps():
        if isinstance(event, ev.AttemptStarted):
            needed = before.plan.needs[event.chunk]
            assert all(isinstance(before.chunks[one], Done) for one in needed)


@some_runs
@given(builds())
def test_each_live_chunk_has_a_slot_of_its_own(build: Build) -> None:
    for state in build.states:
        taken = [now.attempt.slot for now in state.live.values()]
        assert len(set(taken)) == len(taken)
        assert all(1 <= slot <= build.slots for slot in taken)


@some_runs
@given(builds())
def test_what_was_set_aside_has_nothing_beside_it(build: Build) -> None:
    for state in build.states:
        if any(now.attempt.alone for now in state.live.values()):
            assert len(state.live) == 1


@some_runs
@given(builds())
def test_a_chunk_that_claims_nothing_has_its_phase_for_itself(build: Build) -> None:
    for state in build.states:
        plan = state.plan
        for one, other in combinations(state.live, 2):
            if not (plan.chunks[one].claims and plan.chunks[other].claims):
                assert plan.phase_of[one] != plan.phase_of[other]


@some_runs
@given(builds())
def test_one_candidate_at_a_time_is_between_gate_and_staging_unless_they_look_ahead(
    build: Build,
) -> None:
    for state in build.states:
        stacked = sum(isinstance(now, Gating | Passed | Landing) for now in state.live.values())
        assert stacked <= (state.gate.widest if any_ahead(build) else 1)


def any_ahead(build: Build) -> bool:
    return any(isinstance(event, ev.QueuePaced) and event.ahead for event in build.history)


@some_runs
@given(builds())
def test_there_is_always_something_to_do_or_the_end_is_explained(build: Build) -> None:
    for state in build.states:
        under_way = any(isinstance(now, UNDER_WAY) for now in state.live.values())
        assert under_way or decide(state, slots=build.slots) or _is_explained(state, build.slots)
    assert decide(build.state, slots=build.slots) == ()


def _is_explained(state: RunState, slots: int) -> bool:
    stuck = blocked(state)
    return bool(state.paused or state.halt or out_of_money(state, slots=slots)) or all(
        isinstance(now, Done | Failed | Undone) or one in stuck for one, now in state.chunks.items()
    )


@some_runs
@given(builds())
def test_a_blocked_chunk_names_who_failed_or_was_undone_behind_it(build: Build) -> None:
    for one, roots in blocked(build.state).items():
        assert roots
        assert all(isinstance(build.state.chunks[root], Failed | Undone) for root in roots)
        assert not isinstance(build.state.chunks[one], Done | Failed | Undone)


@some_runs
@given(builds())
def test_equal_states_are_decided_alike_whatever_the_order_they_were_built_in(build: Build) -> None:
    for state in build.states:
        turned = replace(state, chunks=dict(reversed(list(state.chunks.items()))))
        assert turned == state
        assert decide(turned, slots=build.slots) == decide(state, slots=build.slots)


@some_runs
@given(builds(), st.data())
def test_after_a_kill_at_any_moment_nothing_is_under_way(build: Build, data: st.DataObject) -> None:
    killed = data.draw(st.sampled_from(build.states))
    taken_up = play(killed, *lost(killed))
    assert not any(isinstance(now, UNDER_WAY) for now in taken_up.chunks.values())
    assert lost(taken_up) == ()


@some_runs
@given(plans(), st.integers(1, 4))
def test_where_all_goes_well_every_chunk_lands(plan: Plan, slots: int) -> None:
    run = begun(*plan.phases)
    while commands := decide(run, slots=slots):
        run = play(run, *(command.started for command in commands))
        run = play(run, *(_well(command) for command in commands))
    assert all(isinstance(now, Landed) for now in run.chunks.values())


def _well(command: Command) -> ev.Event:
    match command:
        case StartAttempt() | Repair() | Resume():
            return captured(command.chunk)
        case Gate():
            return passed(command.chunk)
        case Land():
            return landed(command.chunk)
        case Withdraw():
            raise AssertionError("nothing failed that anybody stood on")


# --- which chunk, and when -----------------------------------------------------------------------


def started(run: RunState, *, slots: int = 4) -> list[ChunkId]:
    """Return the chunks that would be given to agents now, in that order."""
    commands = decide(run, slots=slots)
    return [command.chunk for command in commands if isinstance(command, StartAttempt)]


def gated(run: RunState) -> list[ChunkId]:
    """Return the chunks whose work would go before the gate now."""
    return [command.chunk for command in decide(run, slots=4) if isinstance(command, Gate)]


def test_chunks_that_write_the_same_file_run_one_after_the_other() -> None:
    run = begun(phase("p", chunk("a", "src/x.py"), chunk("b", "SRC/x.py")))
    assert decide(run, slots=2) == (StartAttempt(A, attempt=1, slot=1),)
    run = carry_out(run, slots=2)
    assert waits_for(run, B) == (A,)
    run = land(run, A)
    assert decide(run, slots=2) == (StartAttempt(B, attempt=1, slot=1),)


def test_claims_hold_across_phases() -> None:
    run = begun(phase("p", chunk("a", "src/")), phase("q", chunk("b", "src/x.py")))
    assert started(run) == [A]


def test_a_claim_is_held_while_its_chunk_waits_for_the_gate_and_for_repair() -> None:
    run = begun(phase("p", chunk("a", "x"), chunk("b", "x")))
    queued = play(carry_out(run, slots=2), captured(A))
    assert started(queued) == []
    assert started(play(queued, ev.GateStarted(A), rejected(A))) == []


def test_in_a_diamond_both_sides_run_together_and_the_end_waits_for_both() -> None:
    top, left = chunk("a", "a"), chunk("b", "b", after="a")
    right, bottom = chunk("c", "c", after="a"), chunk("d", "d", after="bc")
    run = begun(phase("p", top, left, right, bottom))
    assert started(run) == [A]
    run = land(carry_out(run, slots=4), A)
    assert started(run) == [B, C]
    run = land(carry_out(run, slots=4), B)
    assert started(run) == []
    assert waits_for(run, D) == (C,)
    assert started(land(run, C)) == [D]


def test_a_phase_starts_when_the_phases_before_it_have_landed_completely() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b")), phase("q", chunk("c"), after="p"))
    run = land(carry_out(run, slots=4), A)
    assert started(run) == []
    assert started(land(run, B)) == [C]


def test_the_longest_way_to_the_end_goes_first() -> None:
    last = chunk("c", "c", after="b")
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b"), last, chunk("d", "d")))
    assert started(run) == [B, A, D]
    assert started(run, slots=2) == [B, A]


def test_a_slot_that_came_free_is_used_again() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b"), chunk("c", "c")))
    run = land(carry_out(run, slots=2), A)
    assert decide(run, slots=2) == (StartAttempt(C, attempt=1, slot=1),)


def test_a_phase_that_is_not_parallel_safe_goes_in_order_and_a_failure_blocks_the_rest() -> None:
    chunks = (chunk("a", "a"), chunk("b", "b"), chunk("c", "c"))
    run = carry_out(begun(phase("p", *chunks, parallel_safe=False)), slots=4)
    assert list(run.live) == [A]
    assert started(land(run, A)) == [B]
    failed = play(run, ev.AttemptEnded(A, ev.Outcome.NO_CHANGE, ""))
    assert decide(failed, slots=4) == ()
    assert blocked(failed) == {B: (A,), C: (A,)}


def test_a_chunk_that_claims_nothing_runs_alone_in_its_phase_after_the_ones_before_it() -> None:
    first = phase("p", chunk("a", "a"), chunk("b", "b"), chunk("c"))
    run = carry_out(begun(first, phase("q", chunk("d", "d"))), slots=4)
    assert list(run.live) == [A, B, D]
    run = land(run, A)
    assert waits_for(run, C) == (B,)
    run = land(run, B)
    assert started(run) == [C]


def test_while_a_chunk_that_claims_nothing_runs_only_other_phases_start() -> None:
    run = begun(phase("p", chunk("a"), chunk("b", "b")), phase("q", chunk("c", "c")))
    run = carry_out(run, slots=1)
    assert list(run.live) == [A]
    assert started(run) == [C]
    assert waits_for(run, B) == (A,)


def test_a_chunk_that_claims_nothing_runs_even_where_one_before_it_failed() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b", after="a"), chunk("c")))
    run = play(carry_out(run, slots=4), ev.AttemptEnded(A, ev.Outcome.TIMEOUT, ""))
    assert blocked(run) == {B: (A,)}
    assert started(run) == [C]


# --- the gate, and repair ------------------------------------------------------------------------


def test_work_goes_through_the_gate_one_at_a_time_in_the_order_it_was_captured() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b"), chunk("c", "c")))
    run = play(carry_out(run, slots=3), captured(B), captured(A))
    assert gated(run) == [B]
    run = carry_out(run, slots=3)
    assert gated(run) == []
    run = play(run, passed(B))
    assert decide(run, slots=3) == (Land(B, CANDIDATE, HEAD),)
    run = play(carry_out(run, slots=3), landed(B))
    assert gated(run) == [A]


def test_staging_moved_by_somebody_else_means_the_gate_again() -> None:
    run = carry_out(begun(phase("p", chunk("a", "a"))), slots=1)
    run = play(run, captured(A), ev.GateStarted(A), passed(A), ev.LandStarted(A))
    assert gated(play(run, ev.LandingVoided(A, HEAD))) == [A]


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_red_work_goes_back_to_its_agent_a_bounded_number_of_times(rounds: int) -> None:
    run = carry_out(begun(phase("p", chunk("a", "a")), repair_rounds=rounds), slots=1)
    for number in range(1, rounds + 1):
        says = f"test_{'abc'[number - 1]} failed"
        run = play(run, captured(A), ev.GateStarted(A), rejected(A, says))
        again = Repair(A, 1, number, slot=1, commit=WORK, head=HEAD, feedback=says)
        assert decide(run, slots=1) == (again,)
        run = carry_out(run, slots=1)
    run = play(run, captured(A), ev.GateStarted(A), rejected(A))
    assert run.chunks[A] == Failed(1, ev.Outcome.CHECKS_RED, "1 failed", "refs/pin/a")


def test_a_repair_goes_on_in_the_slot_of_its_attempt() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b")))
    run = play(carry_out(run, slots=2), captured(B), ev.GateStarted(B), rejected(B))
    again = Repair(B, 1, 1, slot=2, commit=WORK, head=HEAD, feedback="1 failed")
    assert decide(run, slots=2) == (again,)


# --- conflicts -----------------------------------------------------------------------------------


def set_aside(run: RunState, one: ChunkId) -> RunState:
    """Bring a chunk at work into conflict with staging."""
    return play(run, captured(one), ev.GateStarted(one), conflicted(one, "src/x.py"))


def test_what_was_set_aside_runs_at_the_end_with_nothing_beside_it() -> None:
    later = chunk("c", "c", after="b")
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b"), later))
    run = set_aside(carry_out(run, slots=2), A)
    assert started(run) == []
    run = land(run, B)
    assert started(run) == [C]
    run = land(carry_out(run, slots=2), C)
    assert decide(run, slots=2) == (StartAttempt(A, attempt=2, slot=1, alone=True),)


def test_beside_a_chunk_that_runs_alone_nothing_starts() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b")))
    run = land(set_aside(carry_out(run, slots=2), A), B)
    run = play(carry_out(run, slots=2), ev.ChunkReset(B, "again"))
    assert list(run.live) == [A]
    assert started(run) == []


def test_what_needs_a_chunk_that_was_set_aside_waits_for_it() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b", after="a")))
    run = carry_out(set_aside(carry_out(run, slots=2), A), slots=2)
    assert list(run.live) == [A]
    assert started(land(run, A)) == [B]


def test_a_conflict_of_a_chunk_that_ran_alone_is_the_end_of_it() -> None:
    run = set_aside(carry_out(begun(phase("p", chunk("a", "a"))), slots=1), A)
    now = set_aside(carry_out(run, slots=1), A).chunks[A]
    assert isinstance(now, Failed)
    assert (now.outcome, now.pin, now.attempts) == (ev.Outcome.CONFLICT, "refs/pin/a", 2)
    assert "src/x.py" in now.reason


# --- writing outside a claim ---------------------------------------------------------------------


def two_at_work() -> RunState:
    """Return a run in which two chunks are at work side by side."""
    return carry_out(begun(phase("p", chunk("a", "a"), chunk("b", "b"))), slots=2)


@pytest.mark.parametrize("path", ["b", "B", "b/beneath"])
def test_who_wrote_into_the_claim_of_a_running_chunk_waits_for_it(path: str) -> None:
    run = play(two_at_work(), captured(A, "a", path))
    assert gated(run) == []
    assert gated(play(run, captured(B))) == [B]


def test_who_wrote_into_the_claim_of_a_chunk_under_repair_waits_for_it() -> None:
    run = play(two_at_work(), captured(B), ev.GateStarted(B), captured(A, "b"), rejected(B))
    assert gated(run) == []
    assert [type(command) for command in decide(run, slots=2)] == [Repair]


def test_who_wrote_into_a_claim_goes_on_when_its_holder_failed() -> None:
    run = play(two_at_work(), captured(A, "b"), ev.AttemptEnded(B, ev.Outcome.NO_CHANGE, ""))
    assert gated(run) == [A]


def test_among_queued_chunks_the_holder_of_a_path_goes_first() -> None:
    run = play(two_at_work(), captured(A, "a", "b"), captured(B, "b"))
    assert run.queue == (A, B)
    assert gated(run) == [B]
    assert gated(land_queued(run, B)) == [A]


def test_who_wrote_into_a_claim_waits_for_whom_its_holder_waits_for() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b"), chunk("c", "c")))
    run = play(carry_out(run, slots=3), captured(A, "b"), captured(B, "c"))
    assert gated(run) == []
    run = land(run, C)
    assert gated(run) == [B]
    assert gated(land_queued(run, B)) == [A]


def test_who_wrote_into_one_of_two_that_wrote_into_each_other_waits_for_both() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b"), chunk("c", "c")))
    run = play(carry_out(run, slots=3), captured(C, "b"), captured(A, "b"), captured(B, "a"))
    assert gated(run) == [A]
    run = land_queued(run, A)
    assert gated(run) == [B]
    assert gated(land_queued(run, B)) == [C]


def test_two_that_wrote_into_each_other_do_not_wait_for_each_other() -> None:
    run = play(two_at_work(), captured(B, "a"), captured(A, "b"))
    assert gated(run) == [B]
    assert gated(land_queued(run, B)) == [A]


def test_a_path_that_nobody_holds_is_taken_and_keeps_others_away() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b")))
    run = play(carry_out(run, slots=1), captured(A, "b"))
    assert gated(run) == [A]
    assert started(run) == []
    assert started(land_queued(run, A)) == [B]


# --- kills, pauses, words from outside -----------------------------------------------------------


def test_a_killed_attempt_is_made_again_under_its_number() -> None:
    run = two_at_work()
    assert lost(run) == (ev.AttemptLost(A), ev.AttemptLost(B))
    again = play(run, *lost(run))
    assert decide(again, slots=2) == (StartAttempt(A, 1, slot=1), StartAttempt(B, 1, slot=2))


def test_a_killed_repair_is_the_same_round_again() -> None:
    run = carry_out(begun(phase("p", chunk("a", "a"))), slots=1)
    red = play(run, captured(A), ev.GateStarted(A), rejected(A))
    repairing = carry_out(red, slots=1)
    assert play(repairing, *lost(repairing)) == red


def test_a_killed_attempt_that_ran_alone_is_set_aside_again() -> None:
    aside = set_aside(carry_out(begun(phase("p", chunk("a", "a"))), slots=1), A)
    alone = carry_out(aside, slots=1)
    again = play(alone, *lost(alone))
    assert isinstance(again.chunks[A], SetAside)
    assert decide(again, slots=1) == (StartAttempt(A, attempt=2, slot=1, alone=True),)


def test_a_killed_gate_is_done_again_and_a_killed_landing_needs_no_checks() -> None:
    queued = play(carry_out(begun(phase("p", chunk("a", "a"))), slots=1), captured(A))
    gating = carry_out(queued, slots=1)
    assert play(gating, *lost(gating)) == queued
    green = play(gating, passed(A))
    landing = carry_out(green, slots=1)
    again = play(landing, *lost(landing))
    assert [type(command) for command in decide(again, slots=1)] == [Land]
    assert lost(again) == (), "it may be in staging already"


def test_a_green_candidate_of_a_killed_run_is_checked_anew_for_checks_may_have_been_added() -> None:
    queued = play(carry_out(begun(phase("p", chunk("a", "a"))), slots=1), captured(A))
    green = play(queued, ev.GateStarted(A), passed(A))
    assert gated(play(green, *lost(green))) == [A]


def test_a_paused_run_starts_no_agent_but_gates_and_lands_what_is_there() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b"), chunk("c", "c")))
    run = play(carry_out(run, slots=2), captured(A), ev.RunPaused("log in again"))
    assert [type(command) for command in decide(run, slots=2)] == [Gate]
    green = play(carry_out(run, slots=2), passed(A))
    assert [type(command) for command in decide(green, slots=2)] == [Land]
    assert decide(play(carry_out(green, slots=2), landed(A)), slots=2) == ()


def test_a_paused_run_repairs_and_starts_again_in_the_next_session() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b")))
    run = play(carry_out(run, slots=1), captured(A), ev.GateStarted(A), rejected(A))
    paused = play(run, ev.RunPaused("log in again"))
    assert decide(paused, slots=2) == ()
    resumed = play(paused, ev.SessionOpened(slots=2, repair_rounds=2))
    assert [type(command) for command in decide(resumed, slots=2)] == [Repair, StartAttempt]


def test_a_chunk_done_by_hand_lets_through_what_needs_it() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b", after="a")))
    assert started(play(run, ev.ChunkSkipped(A, "by hand"))) == [B]


def test_a_failed_chunk_that_is_to_be_done_again_unblocks_the_rest() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b", after="a")))
    run = play(carry_out(run, slots=2), ev.AttemptEnded(A, ev.Outcome.CRASHED, ""))
    assert blocked(run) == {B: (A,)}
    run = play(run, ev.ChunkReset(A, "again"))
    assert blocked(run) == {}
    assert decide(run, slots=2) == (StartAttempt(A, attempt=2, slot=1),)


def test_what_was_done_by_hand_lets_through_even_where_a_chunk_behind_it_failed() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b", after="a"), chunk("c", "c", after="b")))
    run = play(carry_out(run, slots=2), ev.AttemptEnded(A, ev.Outcome.CRASHED, ""))
    run = play(run, ev.ChunkSkipped(B, "by hand"))
    assert blocked(run) == {}
    assert started(run) == [C]
