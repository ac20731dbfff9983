"""What a screen and the plan file say of a run, and how long things took."""

import pytest

from auto_build.core import events as ev
from auto_build.core.claims import Claim
from auto_build.core.plan import Chunk, ChunkId
from auto_build.core.state import RunState
from auto_build.core.view import Label, Row, Times, View, build_view, plan_notes
from tests.core.strategies import (
    BASE,
    CANDIDATE,
    HEAD,
    begun,
    captured,
    carry_out,
    chunk,
    conflicted,
    land,
    landed,
    passed,
    phase,
    play,
    rejected,
)

A, B, C = ChunkId("a"), ChunkId("b"), ChunkId("c")


def seen(run: RunState) -> View:
    """Return what a screen shows of a run."""
    return build_view("001", run, Times())


def row_of(run: RunState, one: ChunkId = A) -> Row:
    """Return what a screen shows of a chunk."""
    return next(row for row in seen(run).rows if row.id == one)


def one_chunk(*happened: ev.Event) -> RunState:
    """Return a run of one chunk after these events."""
    return play(begun(phase("p", chunk("a", "a"))), *happened)


STARTED = ev.AttemptStarted(A, 1, 1)
GATED = (STARTED, captured(A), ev.GateStarted(A))


# --- one word for each state ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("happened", "label"),
    [
        ((), Label.PENDING),
        ((STARTED,), Label.RUNNING),
        ((STARTED, captured(A)), Label.QUEUED),
        (GATED, Label.CHECKING),
        ((*GATED, rejected(A)), Label.REPAIRING),
        ((*GATED, rejected(A), ev.RepairStarted(A, 1)), Label.REPAIRING),
        ((*GATED, passed(A)), Label.LANDING),
        ((*GATED, passed(A), ev.LandStarted(A)), Label.LANDING),
        ((*GATED, passed(A), ev.LandStarted(A), landed(A)), Label.LANDED),
        ((*GATED, conflicted(A, "a")), Label.SET_ASIDE),
        ((ev.ChunkSkipped(A, "by hand"),), Label.SKIPPED),
        ((STARTED, ev.AttemptEnded(A, ev.Outcome.CRASHED, "")), Label.FAILED),
    ],
)
def test_a_chunk_has_one_word_for_its_state(happened: tuple[ev.Event, ...], label: Label) -> None:
    assert row_of(one_chunk(*happened)).label is label


def test_a_chunk_that_cannot_start_yet_waits_for_what_it_names() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b", after="a"), chunk("c", "a")))
    assert (row_of(run, B).label, row_of(run, B).note) == (Label.WAITING, "after a")
    assert (row_of(run, C).label, row_of(run, C).note) == (Label.PENDING, "")
    run = carry_out(run, slots=1)
    assert (row_of(run, C).label, row_of(run, C).note) == (Label.WAITING, "after a")


def test_a_blocked_chunk_names_the_failed_one_however_far_behind_it() -> None:
    run = begun(phase("p", chunk("a"), chunk("b", after="a"), chunk("c", after="b")))
    run = play(run, STARTED, ev.AttemptEnded(A, ev.Outcome.NO_CHANGE, "nothing to do"))
    assert (row_of(run, A).label, row_of(run, A).note) == (
        Label.FAILED,
        "no-change: nothing to do",
    )
    assert (row_of(run, C).label, row_of(run, C).note) == (Label.BLOCKED, "blocked by a")


def test_what_was_set_aside_or_skipped_says_why() -> None:
    aside = one_chunk(*GATED, conflicted(A, "src/x.py", "y.py"))
    assert row_of(aside).note == "in conflict over src/x.py, y.py: runs alone at the end"
    assert row_of(one_chunk(ev.ChunkSkipped(A, "by hand"))).note == "by hand"


# --- rows ----------------------------------------------------------------------------------------


def test_a_row_shows_the_slot_and_the_attempt_while_they_last() -> None:
    run = one_chunk(ev.AttemptStarted(A, 1, 2))
    assert (row_of(run).attempt, row_of(run).slot) == (1, 2)
    run = land(run, A)
    assert (row_of(run).attempt, row_of(run).slot, row_of(run).commit) == (1, None, CANDIDATE)


def test_a_row_shows_what_was_written_outside_the_claims_and_where_it_is_pinned() -> None:
    row = row_of(one_chunk(STARTED, captured(A, "a", "new")))
    assert (row.claims, row.outside, row.pin) == (("a", "new"), ("new",), "refs/pin/a")
    row = row_of(land(one_chunk(STARTED), A))
    assert (row.claims, row.outside, row.pin) == (("a",), (), "")


def test_a_failed_chunk_shows_where_its_work_is_pinned() -> None:
    gone = ev.AttemptEnded(A, ev.Outcome.CRASHED, "")
    run = one_chunk(*GATED, rejected(A), ev.RepairStarted(A, 1), gone)
    assert row_of(run).pin == "refs/pin/a"


def test_a_row_shows_what_no_command_could_check() -> None:
    green = ev.CandidatePassed(A, CANDIDATE, HEAD, (), "look at the page")
    run = one_chunk(*GATED, green)
    assert row_of(run).unverified == "look at the page"
    assert row_of(play(run, ev.LandStarted(A), landed(A))).unverified == "look at the page"


def test_a_row_falls_back_on_ids_where_the_plan_gives_no_names() -> None:
    assert (row_of(one_chunk()).title, row_of(one_chunk()).phase) == ("a", "p")
    titled = Chunk(id=A, title="Add a login", claims=(Claim("a"),))
    assert row_of(begun(phase("p", titled))).title == "Add a login"


def test_a_view_counts_what_is_done_and_knows_when_all_is() -> None:
    run = carry_out(begun(phase("p", chunk("a", "a"), chunk("b", "b"))), slots=2)
    half = seen(land(run, A))
    assert (half.done, half.finished) == (1, False)
    assert [row.id for row in half.at(Label.RUNNING, Label.LANDED)] == ["a", "b"]
    assert half.count(Label.RUNNING) == 1
    assert seen(play(land(run, A), ev.ChunkReset(B, ""), ev.ChunkSkipped(B, "by hand"))).finished


def test_a_view_says_where_the_run_stands_as_a_whole() -> None:
    run = play(one_chunk(STARTED), captured(A))
    assert (seen(run).queue, seen(run).open, seen(run).merged) == (("a",), True, "")
    run = play(land(one_chunk(STARTED), A), ev.SessionClosed(ev.Ending.DONE))
    assert not seen(run).open
    merged = seen(play(run, ev.RunMerged("main", "0123456789abcdef")))
    assert merged.merged == "main at 0123456789"
    assert seen(play(run, ev.RunDiscarded("refs/pin"))).discarded


# --- the plan file -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("happened", "note"),
    [
        ((), {"status": "pending"}),
        ((STARTED,), {"status": "in_progress", "attempts": 1}),
        ((*GATED, rejected(A)), {"status": "in_progress", "attempts": 1}),
        ((*GATED, conflicted(A, "a")), {"status": "pending", "attempts": 1}),
        (
            (*GATED, passed(A), ev.LandStarted(A), landed(A)),
            {"status": "completed", "attempts": 1, "commit": CANDIDATE},
        ),
        ((ev.ChunkSkipped(A, "by hand"),), {"status": "completed", "reason": "by hand"}),
        (
            (STARTED, ev.AttemptEnded(A, ev.Outcome.AGENT_ERROR, "it broke\nat line 3")),
            {"status": "failed", "attempts": 1, "reason": "agent-error: it broke"},
        ),
    ],
)
def test_the_plan_file_says_how_each_chunk_came_to_its_status(
    happened: tuple[ev.Event, ...], note: dict[str, object]
) -> None:
    assert plan_notes(one_chunk(*happened)) == {A: note}


def test_the_plan_file_says_what_blocks_a_chunk() -> None:
    run = begun(phase("p", chunk("a", "a"), chunk("b", "b", after="a")))
    run = play(run, STARTED, ev.AttemptEnded(A, ev.Outcome.TIMEOUT, ""))
    assert plan_notes(run)[B] == {"status": "blocked", "reason": "blocked by a"}


def test_the_plan_file_says_what_is_left_to_verify() -> None:
    green = ev.CandidatePassed(A, CANDIDATE, HEAD, (), "look at the page")
    run = one_chunk(*GATED, green, ev.LandStarted(A), landed(A))
    assert plan_notes(run)[A]["to_be_verified"] == "look at the page"


# --- times ---------------------------------------------------------------------------------------


OPENED, CLOSED = ev.SessionOpened(2, 2), ev.SessionClosed(ev.Ending.UNFINISHED)


def timed(*records: tuple[float, ev.Event]) -> Times:
    """Return the times after these records, from a run that started at 100 s."""
    started = ev.RunStarted(begun(phase("p", chunk("a", "a"), chunk("b", "b"))).plan, BASE)
    times = Times().seen(100, started)
    for at, event in records:
        times = times.seen(at, event)
    return times


def test_the_hours_between_two_sessions_are_not_worked() -> None:
    times = timed((100, OPENED), (160, CLOSED), (9000, OPENED), (9030, STARTED))
    assert times.worked_s == 90
    assert (times.last, times.opened) == (9030, 9000)


def test_a_killed_session_counts_up_to_its_last_record() -> None:
    assert timed((100, OPENED), (125, STARTED), (9000, OPENED), (9005, CLOSED)).worked_s == 30


def test_between_sessions_nothing_is_added() -> None:
    times = timed((100, OPENED), (160, CLOSED), (900, ev.RunMerged("main", "c0ffee")))
    assert (times.worked_s, times.last, times.opened) == (60, 900, None)


def test_a_chunk_takes_from_its_start_to_its_landing() -> None:
    times = timed(
        (100, OPENED),
        (110, STARTED),
        (150, ev.WorkCaptured(A, BASE, "c0", "refs/pin/a", (), seconds=38)),
        (151, ev.GateStarted(A)),
        (171, rejected(A)),
        (172, ev.RepairStarted(A, 1)),
        (192, ev.WorkCaptured(A, BASE, "c1", "refs/pin/a", (), seconds=19)),
        (193, ev.GateStarted(A)),
        (203, passed(A)),
        (203, ev.LandStarted(A)),
        (204, landed(A)),
    )
    assert list(times.durations) == [94]
    assert (times.agent_s[A], times.gate_s[A], times.repairs) == (57, 30, 1)
    assert times.since[A] == 204
    assert B not in times.since


def test_a_conflict_is_counted_and_the_next_attempt_is_timed_from_its_own_start() -> None:
    times = timed(
        (110, STARTED),
        (120, captured(A)),
        (121, ev.GateStarted(A)),
        (122, conflicted(A, "a")),
        (200, ev.AttemptStarted(A, 2, 1, alone=True)),
        (230, captured(A)),
        (230, ev.GateStarted(A)),
        (235, passed(A)),
        (235, ev.LandStarted(A)),
        (236, landed(A)),
    )
    assert (times.conflicts, times.repairs, times.durations) == (1, 0, (36,))
    assert times.gate_s[A] == 6


def test_an_attempt_that_came_to_nothing_has_cost_its_time() -> None:
    ended = ev.AttemptEnded(A, ev.Outcome.TIMEOUT, "", seconds=60)
    times = timed((110, STARTED), (170, ended), (171, ev.ChunkReset(A, "again")))
    assert times.agent_s == {A: 60}
    assert times.durations == ()


def test_a_new_run_begins_its_times_anew() -> None:
    plan = begun(phase("p", chunk("a", "a"))).plan
    assert timed((110, STARTED)).seen(500, ev.RunStarted(plan, BASE)) == Times(last=500)


def test_a_row_shows_since_when_a_chunk_is_as_it_is() -> None:
    run = one_chunk(STARTED)
    rows = build_view("001", run, timed((110, STARTED))).rows
    assert [row.since for row in rows] == [110]
