"""A state is the fold of its history: the same every time, and nothing illegal gets in."""

import json
from contextlib import suppress
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auto_build.core import events as ev
from auto_build.core.claims import Claim
from auto_build.core.codec import decode_event, encode_event
from auto_build.core.plan import ChunkId, Plan
from auto_build.core.state import (
    Failed,
    Gating,
    Landed,
    Pending,
    Queued,
    RunState,
    Skipped,
    Undone,
)
from auto_build.core.transitions import IllegalTransition, apply, replay, start
from auto_build.core.usage import Usage
from tests.core.strategies import (
    BASE,
    CANDIDATE,
    HEAD,
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
    play,
    redoing,
    rejected,
    undoing,
)

A, B, C = ChunkId("a"), ChunkId("b"), ChunkId("c")
some_runs = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# --- what holds in every run ---------------------------------------------------------------------


@some_runs
@given(builds())
def test_the_same_history_gives_the_same_state(build: Build) -> None:
    assert replay(build.history) == build.state


@some_runs
@given(builds())
def test_a_history_that_was_written_down_gives_the_same_state(build: Build) -> None:
    lines = [json.dumps(encode_event(event)) for event in build.history]
    assert [decode_event(json.loads(line)) for line in lines] == build.history
    assert replay(decode_event(json.loads(line)) for line in lines) == build.state


@some_runs
@given(builds(), st.data())
def test_an_event_changes_its_own_chunk_or_nothing(build: Build, data: st.DataObject) -> None:
    state = data.draw(st.sampled_from(build.states))
    event = data.draw(st.sampled_from(_of_chunk(data.draw(st.sampled_from(list(state.chunks))))))
    before = dict(state.chunks)
    with suppress(IllegalTransition):
        after = apply(state, event).chunks
        assert {**after, event.chunk: None} == {**before, event.chunk: None}
    assert state.chunks == before


def _of_chunk(one: ChunkId) -> list[ev.ChunkEvent]:
    return [
        ev.AttemptStarted(one, 1, 1),
        ev.RepairStarted(one, 1),
        ev.ResumeStarted(one),
        ev.ConversationBegan(one, "c0de", BASE),
        ev.UsageReported(one, "c0de", Usage(cost_usd=0.5)),
        ev.ClaimTaken(one, "new"),
        ev.AttemptLost(one),
        captured(one, "src/x.py"),
        ev.AttemptEnded(one, ev.Outcome.TIMEOUT, "after 60 min"),
        ev.GateStarted(one),
        ev.CandidateBuilt(one, CANDIDATE, HEAD),
        ev.CandidateSuspected(one),
        ev.GateVoided(one),
        ev.GateLost(one),
        passed(one),
        ev.CandidateDoubted(one, "red: $ make"),
        rejected(one),
        conflicted(one, "src/x.py"),
        ev.LandStarted(one),
        ev.LandLost(one),
        landed(one),
        ev.LandingVoided(one, HEAD),
        ev.ChunkReset(one, "again"),
        ev.ChunkSkipped(one, "by hand"),
    ]


@some_runs
@given(builds())
def test_the_queue_holds_each_chunk_from_its_capture_to_its_verdict_once(build: Build) -> None:
    for state in build.states:
        waiting = [one for one, now in state.chunks.items() if isinstance(now, Queued | Gating)]
        assert sorted(state.queue) == sorted(waiting)


# --- the transition table ------------------------------------------------------------------------

MOVES = {
    "pending": {"AttemptStarted"},
    "set aside": {"AttemptStarted"},
    "running": {"WorkCaptured", "AttemptEnded", "AttemptLost", "ConversationBegan", "ClaimTaken"},
    "parked": {"ResumeStarted"},
    "queued": {"GateStarted"},
    "gating": {
        "CandidateBuilt",
        "CandidateSuspected",
        "GateVoided",
        "GateLost",
        "CandidatePassed",
        "CandidateDoubted",
        "CandidateRejected",
        "CandidateConflicted",
    },
    "rejected": {"RepairStarted"},
    "passed": {"LandStarted", "GateVoided"},
    "landing": {"LandLost", "CandidateLanded", "LandingVoided"},
    "landed": set(),
    "skipped": set(),
    "failed": set(),
    "undone": set(),
}
WORDS_FROM_OUTSIDE = {"ChunkReset", "ChunkSkipped", "UsageReported"}


def _in_each_state() -> dict[str, RunState]:
    pending = begun(phase("p", chunk("a", "a")))
    running = play(pending, ev.AttemptStarted(A, 1, 1))
    queued = play(running, captured(A))
    gating = play(queued, ev.GateStarted(A))
    green = play(gating, passed(A))
    landing = play(green, ev.LandStarted(A))
    in_staging = play(landing, landed(A))
    return {
        "pending": pending,
        "set aside": play(gating, conflicted(A, "a")),
        "running": running,
        "parked": play(running, ev.AttemptEnded(A, ev.Outcome.RATE_LIMIT, "", until=9.0)),
        "queued": queued,
        "gating": gating,
        "rejected": play(gating, rejected(A)),
        "passed": green,
        "landing": landing,
        "landed": in_staging,
        "undone": play(in_staging, undoing(A), ev.RevisionLanded()),
        "skipped": play(pending, ev.ChunkSkipped(A, "by hand")),
        "failed": play(running, ev.AttemptEnded(A, ev.Outcome.NO_CHANGE, "")),
    }


@pytest.mark.parametrize("name", MOVES)
def test_each_state_can_be_left_in_these_ways_and_no_other(name: str) -> None:
    state = _in_each_state()[name]
    for event in _of_chunk(A):
        kind = type(event).__name__
        if kind in MOVES[name] | WORDS_FROM_OUTSIDE:
            apply(state, event)
            continue
        with pytest.raises(IllegalTransition, match=kind):
            apply(state, event)


def test_every_event_of_a_chunk_is_in_the_table() -> None:
    known = set.union(WORDS_FROM_OUTSIDE, *MOVES.values())
    assert known == {kind.__name__ for kind in get_args(ev.ChunkEvent)}


def test_nothing_can_happen_to_a_chunk_that_the_plan_does_not_know() -> None:
    with pytest.raises(IllegalTransition):
        apply(begun(phase("p", chunk("a"))), ev.AttemptStarted(ChunkId("other"), 1, 1))


def test_a_history_begins_with_a_run_that_starts() -> None:
    assert replay(()) is None
    with pytest.raises(IllegalTransition):
        replay((ev.SessionOpened(2, 2),))


def test_a_new_run_forgets_the_one_before() -> None:
    old, new = Plan("old", (phase("p", chunk("a")),)), Plan("new", (phase("p", chunk("b")),))
    started = ev.RunStarted(new, BASE)
    assert replay((ev.RunStarted(old, BASE), ev.RunDiscarded("refs/pin"), started)) == start(
        started
    )


def test_a_run_starts_with_what_git_has_already_and_counts_on_from_earlier_attempts() -> None:
    plan = Plan("again", (phase("p", chunk("a"), chunk("b"), chunk("c")),))
    run = start(ev.RunStarted(plan, BASE, landed={A: "c0ffee"}, attempts={A: 2, B: 3}))
    assert run.chunks == {A: Landed(2, "c0ffee"), B: Pending(3), C: Pending(0)}


# --- what an attempt leaves ----------------------------------------------------------------------


def test_a_landed_chunk_tells_how_it_came_to_land() -> None:
    run = play(begun(phase("p", chunk("a", "a"))), ev.AttemptStarted(A, 1, 1), captured(A, "b"))
    run = play(run, ev.GateStarted(A), rejected(A), ev.RepairStarted(A, 1), captured(A, "a"))
    run = play(run, ev.GateStarted(A), ev.CandidatePassed(A, "c0ffee", HEAD, (), "look at it"))
    run = play(run, ev.LandStarted(A), ev.CandidateLanded(A, "c0ffee"))
    assert run.chunks[A] == Landed(1, "c0ffee", unverified="look at it", repairs=1, outside=("b",))
    assert run.queue == ()


def test_a_repair_that_ends_without_work_keeps_the_pin_of_the_work_before() -> None:
    run = play(begun(phase("p", chunk("a", "a"))), ev.AttemptStarted(A, 1, 1), captured(A))
    run = play(run, ev.GateStarted(A), rejected(A), ev.RepairStarted(A, 1))
    run = play(run, ev.AttemptEnded(A, ev.Outcome.TIMEOUT, "after 60 min"))
    assert run.chunks[A] == Failed(1, ev.Outcome.TIMEOUT, "after 60 min", "refs/pin/a")


def test_the_rounds_of_repair_are_those_of_the_present_session() -> None:
    run = play(begun(phase("p", chunk("a", "a"))), ev.SessionOpened(2, repair_rounds=0))
    run = play(run, ev.AttemptStarted(A, 1, 1), captured(A), ev.GateStarted(A), rejected(A))
    assert isinstance(run.chunks[A], Failed)


def two_at_work() -> RunState:
    """Return a run in which two chunks are at work side by side."""
    return carry_out(begun(phase("p", chunk("a", "a"), chunk("b", "b"))), slots=2)


def test_a_path_that_nobody_holds_is_granted_until_the_chunk_lands() -> None:
    run = play(two_at_work(), captured(A, "a", "new/x.py"))
    assert run.held(A) == (Claim("a"), Claim("new/x.py"))
    assert run.held(B) == (Claim("b"),)
    assert land_queued(run, A).held(A) == (Claim("a"),)


def test_a_path_that_another_one_holds_is_seen_but_not_granted() -> None:
    run = play(two_at_work(), captured(A, "B"))
    now = run.chunks[A]
    assert isinstance(now, Queued)
    assert (now.work.granted, now.work.outside) == ((), ("B",))


def test_who_wrote_first_holds_a_path_that_nobody_claimed() -> None:
    run = play(two_at_work(), captured(B, "new"), captured(A, "new"))
    assert Claim("new") in run.held(B)
    assert Claim("new") not in run.held(A)


def test_what_was_granted_is_held_through_the_repair() -> None:
    run = play(two_at_work(), captured(A, "new"), ev.GateStarted(A), rejected(A))
    assert run.held(A) == (Claim("a"), Claim("new"))
    run = play(run, ev.RepairStarted(A, 1))
    assert run.held(A) == (Claim("a"), Claim("new"))
    run = play(run, captured(A, "newer"))
    assert run.held(A) == (Claim("a"), Claim("new"), Claim("newer"))


def test_a_chunk_that_claims_nothing_may_write_anywhere_but_where_others_do() -> None:
    run = begun(phase("p", chunk("a")), phase("q", chunk("b", "b")))
    run = play(carry_out(run, slots=2), captured(A, "b", "x"))
    now = run.chunks[A]
    assert isinstance(now, Queued)
    assert (now.work.granted, now.work.outside) == ((Claim("x"),), ("b",))


def test_a_name_that_no_claim_can_spell_is_reported_all_the_same() -> None:
    now = play(two_at_work(), captured(A, "~odd")).chunks[A]
    assert isinstance(now, Queued)
    assert (now.work.granted, now.work.outside) == ((), ("~odd",))


# --- what is said from outside -------------------------------------------------------------------


def test_an_edited_plan_keeps_what_was_done_and_forgets_what_was_removed() -> None:
    run = land(two_at_work(), A)
    run = play(run, captured(B))
    edited = Plan("edited", (phase("p", chunk("c", "c"), chunk("a", "a")),))
    after = play(run, ev.PlanChanged(edited, attempts={C: 4, A: 9}))
    assert after.chunks == {C: Pending(4), A: run.chunks[A]}
    assert after.queue == ()


def test_a_chunk_that_is_to_be_done_again_counts_on_from_its_attempts() -> None:
    run = land(two_at_work(), A)
    assert play(run, ev.ChunkReset(A, "again")).chunks[A] == Pending(1)
    assert play(run, ev.ChunkSkipped(B, "by hand")).chunks[B] == Skipped(1, "by hand")


def test_a_pause_lasts_until_the_next_session() -> None:
    run = play(two_at_work(), ev.RunPaused("log in again"))
    assert run.paused == "log in again"
    run = play(run, ev.SessionClosed(ev.Ending.UNFINISHED))
    assert not run.open
    run = play(run, ev.SessionOpened(2, 2))
    assert run.open
    assert run.paused == ""


def test_a_merged_run_that_goes_on_is_not_merged_any_more() -> None:
    merged = ev.RunMerged("main", "c0ffee")
    run = play(land(two_at_work(), A, B), merged)
    assert run.merged == merged
    assert play(run, ev.ChunkReset(A, "again")).merged == merged
    again = play(run, ev.ChunkReset(A, "again"), ev.AttemptStarted(A, 2, 1))
    assert again.merged is None


def test_a_chunk_that_ended_gives_its_slot_back() -> None:
    run = play(two_at_work(), ev.AttemptEnded(A, ev.Outcome.CRASHED, ""))
    assert list(run.live) == [B]


# --- undo and redo -------------------------------------------------------------------------------


def test_what_is_undone_is_free_and_comes_back_as_it_was() -> None:
    run = land(two_at_work(), A, B)
    was = run.chunks[A]
    assert isinstance(was, Landed)
    undone = play(run, undoing(A), ev.RevisionLanded())
    assert undone.chunks == {A: Undone(was), B: run.chunks[B]}
    assert undone.live == {}
    assert undone.revision is None
    back = play(undone, redoing(A), ev.RevisionLanded())
    assert back.chunks == {A: Landed(was.attempts, "new"), B: run.chunks[B]}


def test_what_is_undone_is_begun_again_on_somebodys_word_and_counts_on() -> None:
    run = play(land(two_at_work(), A, B), undoing(A), ev.RevisionLanded())
    assert play(run, ev.ChunkReset(A, "asked for")).chunks[A] == Pending(1)


def test_an_undo_that_was_only_meant_changes_no_chunk() -> None:
    run = land(two_at_work(), A, B)
    meant = play(run, undoing(A))
    assert meant.chunks == run.chunks
    assert play(meant, ev.RevisionVoided(HEAD)) == run


def test_what_the_gate_knows_after_an_undo_is_what_was_seen_then() -> None:
    old = ev.CheckResult("old", passed=True, code=0, seconds=1.0)
    red = ev.CheckResult("make", passed=True, code=1, seconds=1.0, failed=("t",))
    run = play(land(two_at_work(), A, B), ev.BaseChecked(HEAD, (old, red)))
    run = play(run, undoing(A, checks=(red,)), ev.RevisionLanded())
    assert dict(run.gate.standing) == {"make": red.standing}


def test_an_undone_run_is_not_merged_any_more() -> None:
    run = play(land(two_at_work(), A, B), ev.RunMerged("main", "c0ffee"))
    assert play(run, undoing(A), ev.RevisionLanded()).merged is None


@pytest.mark.parametrize(
    "events",
    [
        (ev.RevisionLanded(),),
        (ev.RevisionVoided(HEAD),),
        (undoing(A), undoing(B)),
        (redoing(A),),
        (undoing(C),),
    ],
    ids=["nothing meant", "nothing to void", "two at once", "not undone", "no such chunk"],
)
def test_only_what_can_be_undone_or_redone_is(events: tuple[ev.Event, ...]) -> None:
    with pytest.raises(IllegalTransition):
        play(land(two_at_work(), A, B), *events)


def test_a_run_starts_with_what_git_says_was_undone() -> None:
    plan = Plan("again", (phase("p", chunk("a")),))
    run = start(ev.RunStarted(plan, BASE, undone={A: "c0ffee"}, attempts={A: 2}))
    assert run.chunks == {A: Undone(Landed(2, "c0ffee"))}
