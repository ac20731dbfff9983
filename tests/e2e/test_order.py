"""What runs beside what: claims, phases, slots."""

from collections.abc import Iterator

import pytest

from auto_build.core import events as ev
from tests.e2e.project import Project, Report, append, chunk, phase, shell, sleep, write


def _side_by_side(report: Report) -> Iterator[frozenset[str]]:
    for _, state in report.states():
        yield frozenset(state.live)


async def test_the_same_file_claimed_twice_runs_one_after_the_other(project: Project) -> None:
    project.plan_of(*(chunk(name, files=["a.txt"]) for name in ("one", "two", "three")))
    for name in ("one", "two", "three"):
        project.agent(name, append("a.txt", f"{name}\n"))

    report = await project.run(workers=3)

    assert max(map(len, _side_by_side(report))) == 1
    assert project.show("a.txt") == "a\nb\nc\none\ntwo\nthree\n"
    assert report.of(ev.CandidateConflicted) == []
    assert len(report.of(ev.AttemptStarted)) == 3, "something was begun and thrown away"


async def test_overlapping_phases_are_put_in_order_not_refused(project: Project) -> None:
    project.plan(
        phase("p1", chunk("one", files=["src/"]), chunk("own", files=["own.py"])),
        phase("p2", chunk("two", files=["src/a.py"]), chunk("other", files=["other.py"])),
    )
    project.agent("one", sleep(0.2), write("src/a.py", "one\n"))
    project.agent("own", sleep(0.2), write("own.py"))
    project.agent("two", append("src/a.py", "two\n"))
    project.agent("other", sleep(0.2), write("other.py"))

    report = await project.run(workers=4)

    assert report.view.finished
    seen = set(_side_by_side(report))
    assert not any({"one", "two"} <= live for live in seen)
    assert any({"one", "other"} <= live for live in seen), "phases without claims in common wait"
    assert project.show("src/a.py") == "one\ntwo\n"


async def test_parallel_safe_false_is_honoured(project: Project) -> None:
    names = ["one", "two", "three"]
    project.plan(
        phase("p1", *(chunk(name, files=[f"{name}.py"]) for name in names), parallel_safe=False)
    )
    for name in names:
        project.agent(name, write(f"{name}.py"))

    report = await project.run(workers=3)

    assert max(map(len, _side_by_side(report))) == 1
    assert project.landings() == names


async def test_a_chunk_that_claims_nothing_runs_alone_within_its_phase(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"]), chunk("silent"))
    project.agent("one", write("one.py"))
    project.agent("two", sleep(0.2), write("two.py"))
    project.agent("silent", write("anything.py"))

    report = await project.run(workers=3)

    assert all(live == {"silent"} for live in _side_by_side(report) if "silent" in live)
    assert project.landings()[-1] == "silent"


async def test_making_worktrees_is_serialised_eight_slots_at_once(project: Project) -> None:
    names = [f"c{number}" for number in range(8)]
    project.plan_of(*(chunk(name, files=[f"{name}.py"]) for name in names))
    for name in names:
        project.agent(name, sleep(0.5), write(f"{name}.py"))

    report = await project.run(workers=8)

    assert max(map(len, _side_by_side(report))) == 8
    assert sorted(project.landings()) == names
    assert {event.slot for event in report.of(ev.AttemptStarted)} == set(range(1, 9))


async def test_slots_are_used_again_and_hold_nothing_of_the_last_chunk(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"], verify="false"), chunk("two", files=["two.py"]))
    project.agent("one", write("one.py"), write("stray.py"))
    project.agent("two", write("two.py"))

    report = await project.run(workers=1, repair_rounds=0)

    assert {event.slot for event in report.of(ev.AttemptStarted)} == {1}
    assert report.only(ev.WorkCaptured, "two").touched == ("two.py",)
    assert "stray.py" not in project.tree()


@pytest.mark.quick
async def test_edits_outside_the_claim_are_recorded_and_shown(project: Project) -> None:
    project.plan_of(
        chunk("one", files=["one.py"], verify="sleep 0.1"), chunk("two", files=["two.py"])
    )
    project.agent("one", write("one.py"), write("elsewhere.py"))
    project.agent("two", write("two.py"))

    report = await project.run()

    captured = report.only(ev.WorkCaptured, "one")
    assert captured.touched == ("elsewhere.py", "one.py")
    shown = {
        row.outside
        for update in report.updates
        if update.view
        for row in update.view.rows
        if row.id == "one" and row.label in {"queued", "checking", "landing"}
    }
    assert shown == {("elsewhere.py",)}
    assert report.row("two").outside == ()


async def test_who_writes_into_what_another_holds_waits_until_that_one_is_done_writing(
    project: Project,
) -> None:
    project.plan_of(chunk("owner", files=["a.txt"]), chunk("stranger", files=["b.txt"]))
    project.agent("owner", sleep(0.4), append("a.txt", "owner\n"))
    project.agent("stranger", write("b.txt"), write("a.txt", "0\na\nb\nc\n"))

    report = await project.run()

    told = [(type(event).__name__, getattr(event, "chunk", "")) for event in report.events]
    assert told.index(("WorkCaptured", "stranger")) < told.index(("WorkCaptured", "owner"))
    assert told.index(("WorkCaptured", "owner")) < told.index(("GateStarted", "stranger"))
    assert project.show("a.txt") == "0\na\nb\nc\nowner\n"
    assert report.view.finished


async def test_two_that_write_into_what_the_other_holds_do_not_wait_for_each_other_for_ever(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one/"]), chunk("two", files=["two/"]))
    project.agent("one", sleep(0.3), write("one/own"), write("two/of_one"))
    project.agent("two", sleep(0.3), write("two/own"), write("one/of_two"))

    report = await project.run()

    assert report.view.finished
    assert report.row("one").outside == ("two/of_one",)
    assert report.row("two").outside == ("one/of_two",)
    assert {"one/own", "one/of_two", "two/own", "two/of_one"} <= project.tree().keys()


AWKWARD = [
    "with space",
    "two..dots",
    "~tilde",
    "x.lock",
    "a/b",
    "-dash",
    ".hidden",
    "end.",
    "@{u}",
    "^:?*[\\",
    "ünïcödé 漢字",
    "x" * 300,
    "é" * 300,
    "%2F",
]


async def test_a_chunk_id_that_is_no_valid_ref_name_lands(project: Project) -> None:
    project.plan_of(*(chunk(name, files=[f"f{n}.py"]) for n, name in enumerate(AWKWARD)))
    for number, name in enumerate(AWKWARD):
        project.agent(name, write(f"f{number}.py"))

    report = await project.run(workers=3)

    assert report.labels() == dict.fromkeys(AWKWARD, "landed")
    assert sorted(project.landings()) == sorted(AWKWARD)
    assert len(project.pins()) == len(AWKWARD)

    for path in (project.path / ".git/auto-build").glob("journal.db*"):
        path.unlink()
    again = await project.run()
    assert again.of(ev.AttemptStarted) == [], "git's own record was not understood"


@pytest.mark.parametrize("workers", [1, 2])
async def test_an_agent_starts_from_what_its_dependencies_landed(
    project: Project, workers: int
) -> None:
    project.plan(
        phase("p1", chunk("base", files=["base.py"])),
        phase("p2", chunk("top", files=["top.py"], verify="cat base.py"), after=["p1"]),
    )
    project.agent("base", write("base.py", "base\n"))
    project.agent("top", write("top.py"))

    report = await project.run(workers=workers)

    landed = report.only(ev.CandidateLanded, "base").commit
    assert report.only(ev.WorkCaptured, "top").base == landed


async def test_in_strict_mode_work_beyond_the_claims_goes_back_to_its_agent(
    project: Project,
) -> None:
    project.settings('[claims]\nmode = "strict"')
    project.plan_of(chunk("one", files=["one.py"]), chunk("free"))
    project.agent("one", write("one.py"), write("other.py"))
    project.agent("one", shell("rm other.py"), round=1)
    project.agent("free", write("anywhere.py"))

    report = await project.run()

    assert report.view.finished
    assert "other.py, which the chunk does not claim" in report.only(ev.CandidateRejected).feedback
    assert "other.py" not in project.tree()
    assert "anywhere.py" in project.tree(), "a chunk that claims nothing may write anywhere"
