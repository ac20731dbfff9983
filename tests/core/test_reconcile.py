"""What changed while nobody watched: git is believed first, then what somebody wrote in the plan.

Each test reads a plan file, plays a run, changes the file, and takes the change in.
"""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from auto_build.core import events as ev
from auto_build.core.plan import ChunkId
from auto_build.core.planfile import PlanFile, read_plan, write_statuses
from auto_build.core.reconcile import begin, describe_change, is_admissible, take_in
from auto_build.core.state import Landed, Pending, Queued, RunState, Skipped, Undone
from auto_build.core.transitions import replay
from auto_build.core.view import plan_notes
from tests.core.strategies import captured, land, passed, play, undoing

A, B, C = ChunkId("a"), ChunkId("b"), ChunkId("c")
COMMIT = "c" * 40


def plan_file(*names: str, **statuses: str) -> PlanFile:
    """Read a plan of chunks that have nothing to do with each other."""
    chunks = [
        {"id": name, "files": [f"{name}.py"], "status": statuses.get(name, "pending")}
        for name in names
    ]
    return read_plan(json.dumps({"phases": [{"id": "p", "chunks": chunks}]}))


def started(file: PlanFile) -> RunState:
    return replay_of(begin(file, base="base", landed={}, attempts={}))


def replay_of(events: tuple[ev.Event, ...]) -> RunState:
    state = replay(events)
    assert state is not None
    return state


def given_to_agent(chunk: ChunkId, attempt: int = 1, slot: int = 1) -> ev.AttemptStarted:
    return ev.AttemptStarted(chunk, attempt, slot)


def written(file: PlanFile, state: RunState, **by_hand: str) -> PlanFile:
    """Return the plan file as the tool leaves it, with statuses that somebody wrote afterwards."""
    document: dict[str, Any] = json.loads(write_statuses(file.document, plan_notes(state)))
    for chunk in document["phases"][0]["chunks"]:
        if chunk["id"] in by_hand:
            chunk["status"] = by_hand[chunk["id"]]
    return read_plan(json.dumps(document))


def taken_in(
    state: RunState, file: PlanFile, present: Mapping[ChunkId, str] | None = None
) -> tuple[RunState, list[ev.Event]]:
    """Take a file in; `present` is what git has, all that landed unless said otherwise."""
    landed = {one: now.commit for one, now in state.chunks.items() if isinstance(now, Landed)}
    news = take_in(state, file, landed=landed if present is None else present, attempts={C: 4})
    return play(state, *news), list(news)


# --- the first time ------------------------------------------------------------------------------


def test_a_build_begins_with_every_chunk_pending() -> None:
    file = plan_file("a", "b")
    news = begin(file, base="base", landed={}, attempts={})
    assert news == (ev.RunStarted(file.plan, "base"),)


def test_what_git_has_already_is_landed_and_pinned_attempts_are_not_used_again() -> None:
    file = plan_file("a", "b", a="completed")
    news = begin(file, base="base", landed={A: COMMIT}, attempts={A: 2, B: 3})
    assert replay_of(news).chunks == {A: Landed(2, COMMIT), B: Pending(3)}


@pytest.mark.parametrize("status", ["completed", "skipped"])
def test_what_the_file_says_is_done_is_skipped_where_no_commit_shows_it(status: str) -> None:
    state = started(plan_file("a", "b", a=status))
    assert state.chunks[A] == Skipped(0, "the plan file says it is done; no commit shows it")
    assert state.chunks[B] == Pending()


@pytest.mark.parametrize("status", ["in_progress", "failed", "blocked"])
def test_what_an_earlier_tool_left_unfinished_is_begun_anew(status: str) -> None:
    assert started(plan_file("a", a=status)).chunks == {A: Pending()}


def test_what_git_says_was_undone_is_neither_begun_nor_taken_as_done() -> None:
    file = plan_file("a", "b", a="completed")
    news = begin(file, base="base", landed={}, attempts={A: 2}, undone={A: COMMIT})
    assert replay_of(news).chunks == {A: Undone(Landed(2, COMMIT)), B: Pending()}


# --- an undone chunk -----------------------------------------------------------------------------


def undone(file: PlanFile) -> RunState:
    """Return a run in which a landed and was undone."""
    run = land(play(started(file), given_to_agent(A)), A)
    return play(run, undoing(A), ev.RevisionLanded())


def test_the_plan_file_neither_restarts_nor_skips_what_was_undone() -> None:
    file = plan_file("a", "b")
    state = undone(file)
    before = land(play(started(file), given_to_agent(A)), A)
    for left in (written(file, state), written(file, before)):  # the latter by a kill
        assert taken_in(state, left) == (state, [])


@pytest.mark.parametrize(
    ("word", "after"),
    [
        ("pending", Pending(1)),
        ("completed", Skipped(1, "marked as done in the plan file")),
    ],
)
def test_what_somebody_writes_for_an_undone_chunk_counts(
    word: str, after: Pending | Skipped
) -> None:
    file = plan_file("a", "b")
    state, _ = taken_in(undone(file), written(file, undone(file), a=word))
    assert state.chunks[A] == after


def test_a_chunk_new_to_the_plan_that_git_says_was_undone_is_not_begun() -> None:
    state = started(plan_file("b"))
    news = take_in(state, plan_file("a", "b"), landed={}, attempts={A: 1}, undone={A: COMMIT})
    assert play(state, *news).chunks[A] == Undone(Landed(1, COMMIT))


# --- nothing changed -----------------------------------------------------------------------------


def test_what_the_tool_wrote_itself_is_no_edit() -> None:
    file = plan_file("a", "b", "c")
    failed = ev.AttemptEnded(B, ev.Outcome.NO_CHANGE, "nothing")
    state = play(
        land(play(started(file), given_to_agent(A)), A),
        given_to_agent(B),
        failed,
        given_to_agent(C),
    )
    for moment in (state, play(state, captured(C))):
        after, news = taken_in(moment, written(file, moment))
        assert not any(isinstance(event, ev.ChunkReset | ev.ChunkSkipped) for event in news)
        assert after.plan is state.plan


def test_what_was_under_way_is_lost_and_comes_first() -> None:
    file = plan_file("a", "b")
    state = play(started(file), given_to_agent(A), given_to_agent(B, slot=2))
    after, news = taken_in(state, written(file, state))
    assert news == [ev.AttemptLost(A), ev.AttemptLost(B)]
    assert after.chunks == {A: Pending(), B: Pending()}


# --- edited statuses -----------------------------------------------------------------------------


def test_a_landed_chunk_set_back_to_pending_is_done_again() -> None:
    file = plan_file("a")
    state = land(play(started(file), given_to_agent(A)), A)
    changed = written(file, state, a="pending")
    after, news = taken_in(state, changed)
    assert news == [ev.ChunkReset(A, "set back to pending in the plan file")]
    assert after.chunks == {A: Pending(1)}

    again = land(play(after, given_to_agent(A, 2)), A)
    settled = written(written(changed, after), again)
    assert taken_in(again, settled) == (again, []), "the same edit is taken in twice"


def test_a_failed_chunk_set_back_to_pending_is_tried_again() -> None:
    file = plan_file("a")
    state = play(
        started(file), given_to_agent(A), ev.AttemptEnded(A, ev.Outcome.TIMEOUT, "an hour")
    )
    after, _ = taken_in(state, written(file, state, a="pending"))
    assert after.chunks == {A: Pending(1)}


def test_queued_work_set_back_to_pending_is_done_again() -> None:
    file = plan_file("a")
    state = play(started(file), given_to_agent(A), captured(A))
    assert isinstance(state.chunks[A], Queued)
    after, _ = taken_in(state, written(file, state, a="pending"))
    assert after.chunks == {A: Pending(1)}
    assert after.queue == ()


def test_a_chunk_that_was_cut_off_and_set_back_to_pending_is_only_lost() -> None:
    file = plan_file("a")
    state = play(started(file), given_to_agent(A))
    _, news = taken_in(state, written(file, state, a="pending"))
    assert news == [ev.AttemptLost(A)]


@pytest.mark.parametrize("status", ["completed", "skipped", "done"])
def test_a_chunk_completed_by_hand_is_skipped(status: str) -> None:
    file = plan_file("a", "b")
    state = started(file)
    after, news = taken_in(state, written(file, state, a=status))
    assert news == [ev.ChunkSkipped(A, "marked as done in the plan file")]
    assert after.chunks == {A: Skipped(0, "marked as done in the plan file"), B: Pending()}


def test_a_landed_chunk_marked_as_done_by_hand_stays_landed() -> None:
    file = plan_file("a")
    working = play(started(file), given_to_agent(A))
    state = land(working, A)
    after, news = taken_in(state, written(file, working, a="completed"))
    assert (after, news) == (state, [])


# --- an edited plan ------------------------------------------------------------------------------


def test_chunks_that_were_added_and_removed_are_taken_in() -> None:
    file = plan_file("a", "b")
    state = land(play(started(file), given_to_agent(A)), A)
    edited = plan_file("a", "c")
    after, news = taken_in(state, edited)
    assert news == [ev.PlanChanged(edited.plan, {C: 4})]
    assert after.chunks == {A: state.chunks[A], C: Pending(4)}


def test_a_chunk_that_was_added_as_done_is_skipped() -> None:
    state = started(plan_file("a"))
    after, news = taken_in(state, plan_file("a", "b", b="completed"))
    assert [type(event) for event in news] == [ev.PlanChanged, ev.ChunkSkipped]
    assert after.chunks[B] == Skipped(0, "the plan file says it is done; no commit shows it")


def test_a_note_that_was_copied_along_with_a_chunk_is_taken_in_once() -> None:
    document = {
        "id": "b",
        "files": ["b.py"],
        "status": "completed",
        "auto_build": {"status": "failed"},
    }
    state = started(plan_file("a"))
    chunks = [{"id": "a", "files": ["a.py"]}, document]
    file = read_plan(json.dumps({"phases": [{"id": "p", "chunks": chunks}]}))
    _, news = taken_in(state, file)
    assert [type(event) for event in news] == [ev.PlanChanged, ev.ChunkSkipped]


def test_the_work_of_a_chunk_that_was_removed_leaves_the_queue() -> None:
    state = play(started(plan_file("a", "b")), given_to_agent(A), captured(A))
    after, _ = taken_in(state, plan_file("b"))
    assert after.queue == ()
    assert after.live == {}


def test_a_chunk_that_is_worded_anew_keeps_its_state() -> None:
    file = plan_file("a")
    state = land(play(started(file), given_to_agent(A)), A)
    document = json.loads(json.dumps(file.document))
    document["phases"][0]["chunks"][0]["description"] = "Do it better."
    edited = read_plan(json.dumps(document))
    after, _ = taken_in(state, edited)
    assert after.chunks == state.chunks
    assert after.plan == edited.plan


def test_a_change_is_told_in_a_few_words() -> None:
    old, new = plan_file("a", "b"), plan_file("a", "c")
    assert describe_change(old.plan, new.plan) == "added c; removed b"
    claimed = read_plan('{"phases": [{"id": "p", "chunks": [{"id": "a"}, {"id": "b"}]}]}')
    assert describe_change(old.plan, claimed.plan) == "changed a, b"
    named = read_plan(json.dumps({"phases": [{**old.document["phases"][0], "name": "New"}]}))
    assert describe_change(old.plan, named.plan) == "phases changed"


# --- git -----------------------------------------------------------------------------------------


def test_a_commit_that_is_no_longer_in_staging_is_made_again() -> None:
    file = plan_file("a")
    state = land(play(started(file), given_to_agent(A)), A)
    after, news = taken_in(state, written(file, state), present={})
    (reset,) = news
    assert isinstance(reset, ev.ChunkReset)
    assert "no longer in staging" in reset.why
    assert after.chunks == {A: Pending(1)}


def test_a_vanished_commit_counts_whatever_the_file_says() -> None:
    file = plan_file("a")
    working = play(started(file), given_to_agent(A))
    state = land(working, A)
    after, _ = taken_in(state, written(file, working, a="completed"), present={})
    assert after.chunks == {A: Pending(1)}


def test_a_vanished_commit_of_a_chunk_set_back_to_pending_is_told_once() -> None:
    file = plan_file("a")
    state = land(play(started(file), given_to_agent(A)), A)
    _, news = taken_in(state, written(file, state, a="pending"), present={})
    assert [type(event) for event in news] == [ev.ChunkReset]


# --- wishes during a run -------------------------------------------------------------------------


def test_work_that_is_under_way_is_never_cut_off() -> None:
    idle = started(plan_file("a"))
    busy = [
        play(idle, given_to_agent(A)),
        play(idle, given_to_agent(A), captured(A)),
        play(idle, given_to_agent(A), captured(A), ev.GateStarted(A), passed(A)),
    ]
    for wish in (ev.ChunkReset(A, "again"), ev.ChunkSkipped(A, "by hand")):
        assert is_admissible(idle, wish)
        assert is_admissible(land(play(idle, given_to_agent(A)), A), wish)
        assert not any(is_admissible(state, wish) for state in busy)


def test_a_pause_is_always_granted_and_a_wish_for_nobody_never() -> None:
    state = play(started(plan_file("a")), given_to_agent(A))
    assert is_admissible(state, ev.RunPaused("asked for"))
    assert not is_admissible(state, ev.ChunkReset(B, "again"))
    assert not is_admissible(state, ev.CandidateLanded(A, COMMIT))
