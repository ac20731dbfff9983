"""What follows when an agent stops: each outcome has its next step, and each has an end."""

import pytest
from hypothesis import given

from auto_build.core import events as ev
from auto_build.core.commands import Repair, Resume, StartAttempt
from auto_build.core.outcomes import MOST_BACKOFFS, NEXT, Setback, repeats
from auto_build.core.plan import ChunkId
from auto_build.core.scheduler import decide, lost, next_wake
from auto_build.core.state import Failed, Parked, Pending, RunState, SetAside
from auto_build.core.transitions import apply
from tests.core.strategies import (
    BASE,
    WORK,
    Build,
    begun,
    builds,
    captured,
    carry_out,
    chunk,
    conflicted,
    phase,
    play,
    rejected,
)
from tests.core.test_scheduler import some_runs

A, B, C = ChunkId("a"), ChunkId("b"), ChunkId("c")
LATER = 5_000.0


def ended(one: ChunkId, outcome: ev.Outcome, why: str = "", until: float = 0.0) -> ev.AttemptEnded:
    """Return the fact that an agent stopped, with what it left."""
    return ev.AttemptEnded(one, outcome, why, base=BASE, commit=WORK, until=until)


def at_work(*names: str, retries: int = 2, rounds: int = 2) -> RunState:
    """Return a run in which these chunks are under way, each in a conversation."""
    run = begun(phase("p", *(chunk(name, name) for name in names)))
    run = apply(run, ev.SessionOpened(len(names), rounds, retries=retries))
    run = carry_out(run, slots=len(names))
    return play(run, *(ev.ConversationBegan(ChunkId(one), f"talk {one}", BASE) for one in names))


def started(run: RunState, *, slots: int, now: float) -> list[str]:
    return [command.chunk for command in decide(run, slots=slots, now=now)]


def test_every_outcome_has_a_next_step() -> None:
    assert set(NEXT) == set(ev.Outcome)


@pytest.mark.parametrize(
    "outcome",
    [
        ev.Outcome.NO_CHANGE,
        ev.Outcome.NEEDS_INPUT,
        ev.Outcome.REFUSED,
        ev.Outcome.MAX_TURNS,
    ],
)
def test_what_trying_again_does_not_mend_waits_for_a_person(outcome: ev.Outcome) -> None:
    run = apply(at_work("a"), ended(A, outcome, "so it is"))
    assert run.chunks[A] == Failed(1, outcome, "so it is")


# --- once more -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outcome",
    [
        ev.Outcome.AGENT_ERROR,
        ev.Outcome.TIMEOUT,
        ev.Outcome.IDLE,
        ev.Outcome.CONTEXT_FULL,
        ev.Outcome.CAPTURE_FAILED,
    ],
)
def test_a_failure_that_may_pass_is_tried_again_from_a_fresh_base(outcome: ev.Outcome) -> None:
    run = apply(at_work("a"), ended(A, outcome, "no luck"))
    assert run.chunks[A] == Pending(1, (Setback(outcome, "no luck"),))
    assert decide(run, slots=1) == (StartAttempt(A, 2, 1),)


def test_the_same_failure_twice_stops_the_chunk() -> None:
    run = apply(at_work("a"), ended(A, ev.Outcome.AGENT_ERROR, "cannot open x.py (3.1 s)"))
    run = carry_out(run, slots=1)
    run = apply(run, ended(A, ev.Outcome.AGENT_ERROR, "cannot open x.py (12 s)"))
    now = run.chunks[A]
    assert isinstance(now, Failed)
    assert now.reason == "the same failure twice: cannot open x.py (12 s)"


def test_where_files_are_kept_makes_no_failure_another_one() -> None:
    why = "it left what is too large for git: a.bin has 61.2 MB; its files are kept in"
    run = at_work("a", retries=5)
    run = apply(run, ended(A, ev.Outcome.CAPTURE_FAILED, f"{why} /my p/.worktrees/kept/a-1"))
    run = carry_out(run, slots=1)
    run = apply(run, ended(A, ev.Outcome.CAPTURE_FAILED, f"{why} /my p/.worktrees/kept/a-2"))
    now = run.chunks[A]
    assert isinstance(now, Failed)
    assert now.reason.startswith("the same failure twice")


def test_other_failures_are_tried_again_as_often_as_is_allowed() -> None:
    run = at_work("a", retries=2)
    for why in ("one thing", "another thing"):
        run = carry_out(apply(run, ended(A, ev.Outcome.AGENT_ERROR, why)), slots=1)
    run = apply(run, ended(A, ev.Outcome.AGENT_ERROR, "a third thing"))
    assert run.chunks[A] == Failed(3, ev.Outcome.AGENT_ERROR, "a third thing")


def test_an_agent_that_crashed_goes_on_in_its_conversation() -> None:
    run = apply(at_work("a"), ended(A, ev.Outcome.CRASHED, "killed by signal 9"))
    (again,) = decide(run, slots=1)
    assert again == Resume(A, 1, 0, slot=1, base=BASE, commit=WORK)


def test_an_agent_without_a_conversation_that_crashed_begins_anew() -> None:
    run = begun(phase("p", chunk("a", "a")))
    run = apply(run, ev.SessionOpened(1, 2, retries=1))
    run = apply(carry_out(run, slots=1), ended(A, ev.Outcome.CRASHED, "killed"))
    assert decide(run, slots=1) == (StartAttempt(A, 2, 1),)


def test_a_repair_that_failed_is_the_same_round_again() -> None:
    run = play(at_work("a"), captured(A), ev.GateStarted(A), rejected(A))
    run = apply(carry_out(run, slots=1), ended(A, ev.Outcome.TIMEOUT, "too slow"))
    (again,) = decide(run, slots=1)
    assert isinstance(again, Repair)
    assert again.round == 1


def test_the_same_red_check_after_a_repair_is_the_end() -> None:
    run = play(at_work("a", rounds=5), captured(A), ev.GateStarted(A), rejected(A, "3 failed"))
    run = play(carry_out(run, slots=1), captured(A), ev.GateStarted(A), rejected(A, "3 failed"))
    now = run.chunks[A]
    assert isinstance(now, Failed)
    assert now.outcome is ev.Outcome.CHECKS_RED
    assert "the same failure twice" in now.reason


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("took 3.2 s", "took 11 s", True),
        ("in /p/.worktrees/auto-build-worker-1/x", "in /q/.worktrees/auto-build-worker-2/x", True),
        ("at 0a1b2c3d4e", "at 99ffee0011", True),
        ("x is undefined", "y is undefined", False),
        ("5 failed in 0.31s", "5 failed in 0.29s", True),
        ("5 failed in 0.31s", "3 failed in 0.31s", False),
    ],
)
def test_two_failures_are_the_same_but_for_times_ids_and_places(
    one: str, other: str, same: bool
) -> None:
    first, second = (Setback(ev.Outcome.AGENT_ERROR, why) for why in (one, other))
    assert repeats((first,), second) is same


# --- limits of the service -----------------------------------------------------------------------


def test_a_usage_limit_keeps_everybody_from_starting_until_it_is_reset() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b"), chunk("c", "c")))
    run = carry_out(run, slots=2)
    run = apply(run, ended(A, ev.Outcome.RATE_LIMIT, "resets at four", until=LATER))
    assert started(run, slots=3, now=10.0) == []
    assert next_wake(run, now=10.0) == LATER
    assert started(run, slots=3, now=LATER) == [A, C]
    assert next_wake(run, now=LATER) is None


def test_work_that_is_done_lands_while_a_usage_limit_is_waited_for() -> None:
    run = carry_out(begun(phase("p", chunk("a", "a"), chunk("b", "b"))), slots=2)
    run = play(run, ended(A, ev.Outcome.RATE_LIMIT, until=LATER), captured(B))
    assert started(run, slots=2, now=10.0) == [B]


def test_what_is_parked_keeps_its_claims_and_its_slot() -> None:
    run = begun(phase("p", chunk("a", "x"), chunk("b", "x"), chunk("c", "c")))
    run = apply(carry_out(run, slots=1), ended(A, ev.Outcome.OVERLOADED, until=LATER))
    assert started(run, slots=1, now=10.0) == []
    assert started(run, slots=2, now=10.0) == [C]


def test_an_overloaded_service_is_asked_by_half_as_many_at_once_until_work_comes_back() -> None:
    run = begun(phase("p", *(chunk(one, one) for one in "abcdefgh")))
    run = carry_out(run, slots=4)
    run = apply(run, ended(A, ev.Outcome.OVERLOADED, until=LATER))
    assert run.width == 2
    assert started(run, slots=4, now=LATER) == []
    run = play(run, captured(B), captured(ChunkId("c")))
    assert run.width == 4
    assert A in started(run, slots=4, now=LATER)


def test_a_service_that_stays_overloaded_is_given_up_in_the_end() -> None:
    run = at_work("a")
    for number in range(MOST_BACKOFFS):
        run = apply(run, ended(A, ev.Outcome.OVERLOADED, until=float(number)))
        assert isinstance(run.chunks[A], Parked)
        run = carry_out(run, slots=1)
    run = apply(run, ended(A, ev.Outcome.OVERLOADED))
    assert isinstance(run.chunks[A], Failed)


def test_without_a_login_nobody_starts_and_the_next_run_goes_on_where_it_was() -> None:
    run = apply(at_work("a", "b"), ended(A, ev.Outcome.AUTH, "log in again"))
    assert run.halt == "log in again"
    assert started(run, slots=2, now=LATER) == []
    assert next_wake(run, now=0.0) is None
    run = play(run, *lost(run), ev.SessionOpened(2, 2))
    assert started(run, slots=2, now=LATER) == [A, B]


# --- after a kill --------------------------------------------------------------------------------


def test_a_killed_run_goes_on_in_the_conversation_that_was_cut_off() -> None:
    run = at_work("a")
    run = play(run, *lost(run), ev.SessionOpened(1, 2))
    assert decide(run, slots=1) == (Resume(A, 1, 0, slot=1, base=BASE, commit=""),)


def test_a_conflict_hands_the_conversation_on_to_the_attempt_that_runs_alone() -> None:
    run = play(at_work("a"), captured(A), ev.GateStarted(A), conflicted(A, "a"))
    assert run.chunks[A] == SetAside(1, ("a",), "talk a")


@some_runs
@given(builds())
def test_no_chunk_is_tried_for_ever(build: Build) -> None:
    for one in build.state.chunks:
        tries, most = 0, 0
        for event in build.history:
            if isinstance(event, ev.SessionOpened | ev.ChunkReset | ev.CandidateConflicted):
                tries = 0
            tries += isinstance(event, ev.AttemptStarted) and event.chunk == one
            most = max(most, tries)
        assert most <= 3
