"""What counts as done, and what is said of what is not."""

import pytest

from auto_build.core import events as ev
from tests.e2e.project import Project, chunk, crash, fail, hang, phase, shell, spawn, write

QUICK_MIN = 0.3 / 60


@pytest.mark.quick
async def test_never_all_done_when_something_failed_and_blocked_says_by_whom(
    project: Project,
) -> None:
    project.plan(
        phase("p1", chunk("good", files=["good.py"]), chunk("bad", files=["bad.py"])),
        phase("p2", chunk("later", files=["later.py"]), after=["p1"]),
        phase("p3", chunk("last", files=["last.py"]), after=["p2"]),
        phase("aside", chunk("free", files=["free.py"])),
    )
    project.agent("good", write("good.py"))
    project.agent("bad", fail("no idea how"))
    project.agent("free", write("free.py"))

    report = await project.run()

    assert report.labels() == {
        "good": "landed",
        "bad": "failed",
        "later": "blocked",
        "last": "blocked",
        "free": "landed",
    }
    assert not report.view.finished
    assert report.only(ev.SessionClosed).ending is ev.Ending.UNFINISHED
    assert report.row("later").note == report.row("last").note == "blocked by bad"
    assert "no idea how" in report.row("bad").note
    assert project.plan_statuses() == {
        "good": "completed",
        "bad": "failed",
        "later": "blocked",
        "last": "blocked",
        "free": "completed",
    }
    assert sorted(project.landings()) == ["free", "good"]


async def test_an_agent_that_changed_nothing_is_not_a_success(project: Project) -> None:
    project.plan_of(
        chunk("idle", files=["idle.py"], verify="true"), chunk("silent", files=["silent.py"])
    )
    project.agent("idle", shell("echo I am done"))

    report = await project.run()

    assert report.labels() == {"idle": "failed", "silent": "failed"}
    outcomes = {event.outcome for event in report.of(ev.AttemptEnded)}
    assert outcomes == {ev.Outcome.NO_CHANGE}
    assert project.landings() == []


@pytest.mark.parametrize(
    ("command", "verdict"), [("grep -q Démo README.md", "landed"), ("false", "failed")]
)
async def test_a_chunk_that_only_verifies_is_judged_by_its_command(
    project: Project, command: str, verdict: str
) -> None:
    project.plan_of(chunk("verify", verify=command))

    report = await project.run(repair_rounds=0)

    assert report.labels() == {"verify": verdict}
    assert project.landings() == (["verify"] if verdict == "landed" else [])


async def test_what_the_agent_undoes_in_a_repair_round_is_no_success_either(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one.py"], verify="grep -q good one.py"))
    project.agent("one", write("one.py", "bad\n"))
    project.agent("one", shell("true"), round=1)

    report = await project.run(repair_rounds=3)

    row = report.row("one")
    assert row.label == "failed"
    assert "no-change" in row.note
    assert project.show("one.py", project.pins()["001-demo/one/1"]) == "bad\n"


@pytest.mark.quick
async def test_a_red_check_goes_back_to_the_agent_with_what_it_printed(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"], verify="cat one.py; grep -q good one.py"))
    project.agent("one", write("one.py", "très bad\n"))
    project.agent("one", write("one.py", "good\n"), round=1)

    report = await project.run()

    assert report.view.finished
    log = project.path / ".git/auto-build/logs/001-demo/one/1/agent.log"
    _, _, repair = log.read_text(encoding="utf-8").partition("--- prompt, round 1")
    assert "très bad" in repair
    assert "exit code 1" in repair
    assert project.landings() == ["one"]


async def test_repair_rounds_are_bounded_and_the_rest_of_the_plan_goes_on(
    project: Project,
) -> None:
    project.plan(
        phase("p1", chunk("bad", files=["bad.py"], verify="cat bad.py; false")),
        phase("p2", chunk("needs-bad", files=["n.py"]), after=["p1"]),
        phase("p3", chunk("free", files=["free.py"])),
        phase("p4", chunk("needs-free", files=["nf.py"]), after=["p3"]),
    )
    for round_ in range(4):
        project.agent("bad", write("bad.py", f"round {round_}\n"), round=round_)
    project.agent("free", write("free.py"))
    project.agent("needs-free", write("nf.py"))

    report = await project.run(repair_rounds=2)

    assert [event.round for event in report.of(ev.RepairStarted, "bad")] == [1, 2]
    assert report.labels() == {
        "bad": "failed",
        "needs-bad": "blocked",
        "free": "landed",
        "needs-free": "landed",
    }
    assert report.row("needs-bad").note == "blocked by bad"
    row = report.row("bad")
    assert "round 2" in row.note, "the failing output is not shown"
    pins = project.pins()
    kept = [project.show("bad.py", pins[name]) for name in sorted(pins) if "/bad/" in name]
    assert kept == ["round 0\n", "round 1\n", "round 2\n"]


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        (fail("I give up"), ev.Outcome.AGENT_ERROR),
        (crash("a bug in the agent"), ev.Outcome.CRASHED),
        (hang(), ev.Outcome.TIMEOUT),
    ],
    ids=["error", "crash", "hang"],
)
async def test_an_agent_that_ends_badly_keeps_what_it_made(
    project: Project, ending: dict[str, str], outcome: ev.Outcome
) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", write("one.py", "half\n"), ending)

    report = await project.run(agent_timeout_min=QUICK_MIN)

    ended = report.only(ev.AttemptEnded)
    assert ended.outcome is outcome
    assert ended.pin in {f"refs/auto-build/attempts/{pin}" for pin in project.pins()}
    assert f"kept as {ended.pin}" in report.row("one").note
    assert project.pin_holding("one.py") == "half\n"
    assert project.landings() == []


async def test_a_hanging_agent_is_stopped_with_all_that_it_started(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", spawn("sleep 300"), hang())

    report = await project.run(agent_timeout_min=QUICK_MIN)

    assert report.only(ev.AttemptEnded).outcome is ev.Outcome.TIMEOUT
    assert "time limit" in report.row("one").note
    assert project.left_processes() == []


async def test_a_verification_command_is_stopped_at_its_time_limit(project: Project) -> None:
    limit = {"type": "command", "command": "sleep 300 & sleep 300", "timeout": 0.3}
    project.plan_of(chunk("one", files=["one.py"], verification=limit))
    project.agent("one", write("one.py"))

    report = await project.run(repair_rounds=0)

    (check,) = report.only(ev.CandidateRejected).checks
    assert check.code is None
    assert "time limit of 0.3 s" in check.note
    assert check.seconds < 10
    assert report.labels() == {"one": "failed"}
    assert project.left_processes() == []


async def test_what_no_command_checked_is_said(project: Project) -> None:
    looked = {"type": "manual", "instructions": "look at the page"}
    project.plan_of(
        chunk("page", files=["page.html"], verification=looked),
        chunk("bare", files=["bare.py"]),
        chunk("tested", files=["tested.py"], verify="true"),
    )
    for name, path in (("page", "page.html"), ("bare", "bare.py"), ("tested", "tested.py")):
        project.agent(name, write(path))

    report = await project.run(workers=3)

    assert "look at the page" in report.row("page").unverified
    assert "no command was run" in report.row("bare").unverified
    assert report.row("tested").unverified == ""


async def test_the_number_of_agent_sessions_can_be_bounded(project: Project) -> None:
    project.plan_of(chunk("one", files=["a.txt"]), chunk("two", files=["a.txt"]))
    project.agent("one", write("a.txt", "1\n"))
    project.agent("two", write("a.txt", "2\n"))

    report = await project.run(max_iterations=1)
    assert report.labels() == {"one": "landed", "two": "pending"}
    assert not report.view.finished

    assert (await project.run()).view.finished
