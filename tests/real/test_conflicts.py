"""The rungs of a conflict with the real Claude: it resolves one, leaves one, and does that anew."""

import asyncio
from pathlib import Path

import pytest

from auto_build.agents.script import Script, Turn
from auto_build.core import events as ev
from auto_build.core.state import SetAside
from tests.e2e.project import Project, Step, chunk, edit, run_git, say, shell, sleep, write
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
    )
)


def test_it_resolves_its_own_conflict_says_why_and_does_another_anew_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    project = Project.make(tmp_path / "project", FILES)
    project.plan_of(*(chunk(name, files=[f"{name}.py"]) for name in ("one", "two", "three")))
    with ModelStub() as stub:
        url = stub.play_script(SCENARIO, SCRIPT)
        project.settings(
            f'[agents.real]\nkind = "claude"\n[environment.set]\nANTHROPIC_BASE_URL = "{url}"\n'
            'ANTHROPIC_API_KEY = "test-key"\nDISABLE_TELEMETRY = "1"\nDISABLE_AUTOUPDATER = "1"\n'
        )
        report = asyncio.run(project.run(workers=3, agent="real", repair_rounds=1))

    assert report.view.finished
    assert project.show("a.txt") == "a\none and two\nc\n"
    assert project.show("x.txt") == "x\none and three\nz\n"
    assert len(report.of(ev.AttemptStarted, "two")) == 1
    assert "one and two" not in report.only(ev.CandidateRejected, "two").feedback
    assert "the line of one now also says two" in report.row("two").unverified
    talks = {event.session for event in report.of(ev.ConversationBegan, "two")}
    assert len(talks) == 1, "the conflict was put before another conversation"
    assert report.of(ev.AttemptStarted, "three")[1].alone
    assert any(isinstance(state.chunks["three"], SetAside) for _, state in report.states())  # type: ignore[index]
    assert run_git(project.path, "show", f"{project.pins()['001-demo/three/1']}:x.txt") == (
        "x\nthree\nz\n"
    )
