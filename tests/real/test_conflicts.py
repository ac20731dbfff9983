"""The rungs of a conflict with the real Claude: replayed, resolved, done anew, or failed."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from auto_build import Record, Update
from auto_build.agents.script import Script, Turn
from auto_build.core import events as ev
from auto_build.core.state import SetAside
from tests.e2e.project import (
    Project,
    Report,
    Step,
    chunk,
    commit,
    edit,
    run_git,
    say,
    shell,
    sleep,
    write,
)
from tests.stubs.server import ModelStub

SCENARIO = "conflicts"
FILES = {"a.txt": "a\nb\nc\n", "x.txt": "x\ny\nz\n"}

pytestmark = pytest.mark.slow


def turn(name: str, *steps: Step, **when: int) -> Turn:
    return Turn.model_validate({"chunk": name, "steps": steps, **when})


def unasked(change: str, path: str) -> Step:
    """Write with a shell command, for which nobody is asked: so that there can be a conflict."""
    return shell(f"sed -i '{change}' {path}")


SCRIPT = Script(
    turn=(
        turn("one", unasked("s/^b/one/", "a.txt"), unasked("s/^y/one/", "x.txt")),
        turn("two", unasked("s/^b/two/", "a.txt"), sleep(3.0), write("two.py")),
        turn("two", write("a.txt", "a\none and two\nc\n"), round=1),
        turn("two", say("DROPPED: a.txt: the line of one now also says two"), round=2),
        turn("three", unasked("s/^y/three/", "x.txt"), sleep(3.0), write("three.py")),
        turn("three", edit("x.txt", "one", "one and three"), write("three.py"), attempt=2),
        turn(
            "four",
            unasked("s/^y/one/", "x.txt"),
            commit("the same as the other did"),
            sleep(2.0),
            unasked("s/^z/four/", "x.txt"),
        ),
    )
)
LAST = Script(
    turn=(
        turn("one", unasked("s/^b/one/", "a.txt")),
        turn("two", unasked("s/^b/two/", "a.txt"), sleep(2.0), write("two.py")),
        turn("two", sleep(2.0), unasked("s/^one/one and two/", "a.txt"), attempt=2),
    )
)


def build(project: Project, script: Script, **more: Any) -> Report:
    """Build a plan with the real Claude, whose model plays a script."""
    with ModelStub() as stub:
        url = stub.play_script(SCENARIO, script)
        project.settings(
            f'[agents.real]\nkind = "claude"\n[environment.set]\nANTHROPIC_BASE_URL = "{url}"\n'
            'ANTHROPIC_API_KEY = "test-key"\nDISABLE_TELEMETRY = "1"\nDISABLE_AUTOUPDATER = "1"\n'
        )
        return asyncio.run(project.run(agent="real", repair_rounds=1, **more))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return Project.make(tmp_path / "project", FILES)


def test_it_resolves_its_own_conflict_says_why_and_does_another_anew_alone(
    project: Project,
) -> None:
    names = ("one", "two", "three")
    project.plan_of(*(chunk(name, files=[f"{name}.py"]) for name in names))

    report = build(project, SCRIPT, workers=3)

    assert report.view.finished
    assert project.show("a.txt") == "a\none and two\nc\n"
    assert project.show("x.txt") == "x\none and three\nz\n"
    assert len(report.of(ev.AttemptStarted, "two")) == 1
    assert "one and two" not in report.only(ev.CandidateRejected, "two").feedback
    assert "the line of one now also says two" in "".join(report.row("two").dropped)
    talks = {event.session for event in report.of(ev.ConversationBegan, "two")}
    assert len(talks) == 1, "the conflict was put before another conversation"
    assert report.of(ev.AttemptStarted, "three")[1].alone
    assert any(isinstance(state.chunks["three"], SetAside) for _, state in report.states())  # type: ignore[index]
    assert run_git(project.path, "show", f"{project.pins()['001-demo/three/1']}:x.txt") == (
        "x\nthree\nz\n"
    )


def test_its_commits_are_replayed_where_the_whole_does_not_merge(project: Project) -> None:
    project.plan_of(*(chunk(name, files=[f"{name}.py"]) for name in ("one", "four")))

    report = build(project, SCRIPT, workers=2)

    assert report.view.finished
    assert report.of(ev.CandidateConflicted) == []
    assert report.only(ev.CandidatePassed, "four").replayed
    assert project.show("x.txt") == "x\none\nfour\n"


def test_in_conflict_even_alone_it_fails_with_both_sides_named(project: Project) -> None:
    project.plan_of(*(chunk(name, files=[f"{name}.py"]) for name in ("one", "two")))
    began: list[str] = []

    def interfere(update: Update) -> None:
        event = update.what.event if isinstance(update.what, Record) else None
        if isinstance(event, ev.ConversationBegan) and event.chunk == "two":
            began.append(event.session)
        alone = update.state and any(now.attempt.alone for now in update.state.live.values())
        if alone and began and began[-1] != "moved" and isinstance(event, ev.ConversationBegan):
            began.append("moved")
            (project.staging / "a.txt").write_text("a\nsomebody else\nc\n")
            project.git("commit", "--quiet", "-am", "By hand", cwd=project.staging)

    report = build(project, LAST, workers=2, on_update=interfere)

    row = report.row("two")
    assert row.label == "failed"
    head = run_git(project.path, "rev-parse", "--short=10", project.branch()).strip()
    pins = project.pins()
    assert f"its side is kept as {row.pin}, the other one is {head} in staging" in row.note
    assert project.show("a.txt", pins["001-demo/two/1"]) == "a\ntwo\nc\n"
    assert project.show("a.txt", pins["001-demo/two/2"]) == "a\none and two\nc\n"
