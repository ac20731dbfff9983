"""When who was at work: seconds of work, and not of the days between."""

from auto_build.core import events as ev
from auto_build.core.findings import Comment
from auto_build.core.timeline import Act, End, Stretch, Timeline, read_timeline
from tests.stories import A, B, Told, chunk, green


def two_at_work() -> Told:
    told = Told().begin(chunk(A, "a", "a"), chunk(B, "b", "b"))
    return told.start(A, 1).start(B, 2)


def test_work_at_the_same_time_makes_it_faster() -> None:
    told = two_at_work().work(A).land(A, green()).work(B).land(B, green())
    found = read_timeline(told.records)

    assert [(one.act, one.chunk, one.slot, one.end) for one in found.stretches] == [
        (Act.AGENT, A, 1, End.GOOD),
        (Act.GATE, A, 1, End.GOOD),
        (Act.AGENT, B, 2, End.GOOD),
        (Act.GATE, B, 2, End.GOOD),
    ]
    assert found.spent_s(Act.AGENT, A) == 30.0
    assert [chunk for chunk, _ in found.landings] == [A, B]
    assert found.speed is not None
    assert found.speed > 1.0


def test_hours_in_which_nobody_was_at_work_do_not_count() -> None:
    told = two_at_work()
    at, _ = told.records[-1]
    later: list[tuple[float, ev.Event]] = [
        (at + 5, ev.AttemptLost(A)),
        (at + 6, ev.SessionClosed(ev.Ending.INTERRUPTED)),
        (at + 9_000, ev.Commented(Comment("go on"))),
        (at + 20_000, ev.SessionOpened(2, 2)),
        (at + 20_004, ev.AttemptLost(B)),
    ]
    found = read_timeline([*told.records, *later])
    assert found.length_s == 10 + 10 + 6 + 4
    assert {one.end for one in found.stretches} == {End.CUT}


def test_a_session_that_was_killed_ends_with_its_last_event() -> None:
    told = two_at_work()
    at, _ = told.records[-1]
    again: list[tuple[float, ev.Event]] = [
        (at + 5_000, ev.Commented(Comment("it is gone"))),
        (at + 9_000, ev.SessionOpened(2, 2)),
        (at + 9_001, ev.AttemptLost(A)),
    ]
    (lost,) = read_timeline([*told.records, *again]).stretches
    assert lost.end_s - lost.begin_s == 10 + 1


def test_what_was_cut_off_makes_nothing_faster() -> None:
    def at(begin: float, end: float, how: End) -> Stretch:
        return Stretch(Act.AGENT, A, 1, begin, end, how)

    side_by_side = (at(0, 10, End.GOOD), at(0, 10, End.GOOD))
    assert Timeline(side_by_side, length_s=10).speed == 2.0
    assert Timeline((*side_by_side, at(0, 10, End.CUT)), length_s=10).speed == 2.0
    assert Timeline((at(0, 5, End.GOOD), at(5, 10, End.BAD)), length_s=20).speed == 1.0
    assert Timeline(length_s=10).speed is None


def test_checks_are_those_of_the_commit_that_could_land() -> None:
    told = two_at_work().work(A).land(A, green("pytest -q"))
    landed = told.head
    undo = ev.RevisionPassed(ev.Revision.UNDO, {A: landed}, "u" * 40, landed, (green("make"),))
    again = {A: "r" * 40}
    redo = ev.RevisionPassed(ev.Revision.REDO, again, "r" * 40, "u" * 40, (green("tox"),))
    found = read_timeline([*told.records, (5e3, undo), (6e3, redo)])
    commands = {commit: [one.command for one in checks] for commit, checks in found.checks.items()}
    assert commands == {landed: ["pytest -q"], "u" * 40: ["make"], "r" * 40: ["tox"]}
