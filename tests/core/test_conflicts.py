"""A conflict goes from rung to rung: its agent resolves it, it is done anew alone, nobody can."""

import pytest

from auto_build.core import events as ev
from auto_build.core.commands import Repair, StartAttempt
from auto_build.core.plan import ChunkId
from auto_build.core.scheduler import decide, lost
from auto_build.core.state import Clash, Failed, Live, Queued, Rejected, Running, RunState, SetAside
from auto_build.core.transitions import apply
from auto_build.core.view import Label, Times, build_view
from tests.core.strategies import (
    HEAD,
    MARKED,
    WORK,
    begun,
    captured,
    carry_out,
    chunk,
    phase,
    play,
    rejected,
    to_resolve,
)

A, B = ChunkId("a"), ChunkId("b")
RED = ev.CheckResult("make", passed=False, code=1, seconds=1.0)


def in_conflict(*, repair_rounds: int = 2) -> RunState:
    """Return a run in which the work of A does not merge."""
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b")), repair_rounds=repair_rounds)
    run = play(carry_out(run, slots=2), ev.ConversationBegan(A, "talk a", "ba5e"), captured(A))
    return play(carry_out(run, slots=2), to_resolve(A, "x.py"))


def resolved(run: RunState) -> RunState:
    """Return the run after its agent has done what it could."""
    return carry_out(play(carry_out(run, slots=2), captured(A)), slots=2)


def clash(run: RunState) -> Clash | None:
    now = run.chunks[A]
    assert isinstance(now, Live)
    return now.attempt.clash


@pytest.mark.parametrize("rounds", [0, 2])
def test_the_agent_whose_work_is_in_conflict_resolves_it_in_its_slot(rounds: int) -> None:
    run = in_conflict(repair_rounds=rounds)
    assert decide(run, slots=2) == (
        Repair(A, 1, 1, slot=1, commit=MARKED, head=HEAD, feedback="both changed it"),
    )
    now = run.chunks[A]
    assert isinstance(now, Rejected)
    assert now.attempt.session == "talk a"
    assert clash(run) == Clash(WORK, ("x.py",))


def test_what_it_made_of_the_conflict_goes_to_the_gate() -> None:
    run = play(carry_out(in_conflict(), slots=2), captured(A, "x.py"))
    now = run.chunks[A]
    assert isinstance(now, Queued)
    assert "x.py" in {claim.text for claim in now.work.granted}


def test_resolving_takes_nothing_from_the_repair_rounds() -> None:
    run = resolved(in_conflict(repair_rounds=1))
    run = play(run, rejected(A, "first"))
    assert isinstance(run.chunks[A], Rejected)
    run = play(resolved(run), rejected(A, "second"))
    assert isinstance(run.chunks[A], SetAside)


def test_a_second_conflict_in_one_attempt_sets_it_aside() -> None:
    run = play(resolved(in_conflict()), to_resolve(A, "y.py"))
    assert run.chunks[A] == SetAside(1, ("y.py",), "talk a")


def test_an_agent_that_leaves_the_conflict_as_it_is_is_set_aside() -> None:
    run = carry_out(in_conflict(), slots=2)
    run = play(run, ev.AttemptEnded(A, ev.Outcome.NO_CHANGE, "nothing"))
    run = play(carry_out(run, slots=2), to_resolve(A, "x.py"))
    assert run.chunks[A] == SetAside(1, ("x.py",), "talk a")


def test_one_set_aside_begins_anew_and_alone_and_then_fails_with_both_sides_named() -> None:
    run = play(resolved(in_conflict()), to_resolve(A, "x.py"))
    run = play(run, captured(B), ev.GateStarted(B), ev.CandidatePassed(B, "cb", HEAD))
    run = play(run, ev.LandStarted(B), ev.CandidateLanded(B, "cb"))
    (again,) = decide(run, slots=2)
    assert isinstance(again, StartAttempt)
    assert again.alone
    run = play(apply(run, again.started), captured(A), ev.GateStarted(A), to_resolve(A, "x.py"))
    failed = run.chunks[A]
    assert isinstance(failed, Failed)
    assert failed.outcome is ev.Outcome.CONFLICT
    assert f"refs/pin/{A}" in failed.reason
    assert HEAD in failed.reason


def test_a_resolution_is_settled_once_checks_were_run_on_it() -> None:
    run = play(resolved(in_conflict()), rejected(A, "lost lines"))
    assert clash(run) == Clash(WORK, ("x.py",))
    red = ev.CandidateRejected(A, "ca4d", HEAD, WORK, "red", (RED,))
    assert clash(play(resolved(run), red)) == Clash(WORK, ("x.py",), settled=True)


def test_what_was_left_out_on_purpose_is_remembered_through_the_rounds() -> None:
    def dropping(path: str, why: str) -> ev.WorkCaptured:
        return ev.WorkCaptured(A, "ba5e", WORK, "pin", (), dropped=(ev.Dropped(path, why),))

    run = play(carry_out(in_conflict(), slots=2), dropping("x.py", "one line"))
    run = play(carry_out(run, slots=2), rejected(A))
    run = play(carry_out(run, slots=2), dropping("y.py", "twice"))
    now = run.chunks[A]
    assert isinstance(now, Queued)
    assert now.work.dropped == (ev.Dropped("x.py", "one line"), ev.Dropped("y.py", "twice"))


def test_killed_while_the_agent_resolves_it_goes_on_there() -> None:
    run = carry_out(in_conflict(), slots=2)
    again = carry_out(play(run, *lost(run), ev.SessionOpened(2, 2)), slots=2)
    now = again.chunks[A]
    assert isinstance(now, Running)
    assert now.rejected is not None
    assert now.rejected.conflict == ("x.py",)


def test_the_view_tells_a_resolution_from_a_repair() -> None:
    run, times = begun(phase("p", chunk("a", "a"))), Times()
    told: list[ev.Event] = [
        ev.AttemptStarted(A, 1, 1),
        captured(A),
        ev.GateStarted(A),
        to_resolve(A, "x.py"),
        ev.RepairStarted(A, 1),
        captured(A),
        ev.GateStarted(A),
        rejected(A),
        ev.RepairStarted(A, 2),
    ]
    for event in told:
        run, times = apply(run, event), times.seen(1.0, event)
        row = build_view("s", run, times).rows[0]
        if isinstance(event, ev.RepairStarted) and event.round == 1:
            assert row.label is Label.REPAIRING
            assert row.note == "its agent resolves the conflict over x.py"
    assert (times.conflicts, times.repairs, times.aside) == (1, 1, 0)
