"""What real clients do to the user's checkout with their own shell tools is taken back."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from auto_build.agents.script import Script
from auto_build.core import events as ev
from tests.agents.installed import gemini_home, require_program, with_programs
from tests.e2e.project import Project, chunk
from tests.stubs.server import ModelStub

pytestmark = pytest.mark.slow

ACCIDENT = "echo harm > ../../a.txt; echo harm > ../../stray.txt; rm ../../.env"


def _claude_home(_: Path, url: str) -> Mapping[str, str]:
    return {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "test-key"}


@dataclass(frozen=True)
class Client:
    """A client: its table in the settings, how it is settled offline, its model and program."""

    table: str
    home: Callable[[Path, str], Mapping[str, str]]
    model: str
    program: str = ""


CLIENTS = {
    "claude": Client('kind = "claude"', _claude_home, "claude-sonnet-4-5"),
    "gemini": Client(
        'kind = "acp"\nprofile = "gemini"', gemini_home, "gemini-2.5-flash", program="gemini"
    ),
}


@pytest.mark.parametrize("name", CLIENTS)
async def test_what_its_shell_does_in_the_checkout_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    client = CLIENTS[name]
    if client.program:
        require_program(client.program)
        monkeypatch.setenv("PATH", with_programs(os.environ["PATH"]))
    project = Project.make(tmp_path / "project")
    project.write(".env", "TOKEN=1\n")
    project.write("a.txt", "unsaved\n")
    project.plan_of(chunk("one", files=["one.py"]))
    steps = [
        {"do": "run", "command": ACCIDENT},
        {"do": "write", "path": "one.py", "text": "done\n"},
    ]
    script = Script.model_validate({"turn": [{"chunk": "one", "steps": steps}]})
    with ModelStub() as stub:
        env = client.home(tmp_path / "home", stub.play_script("accident", script))
        told = "".join(f'{key} = "{value}"\n' for key, value in env.items())
        project.settings(f"[agents.real]\n{client.table}\n[environment.set]\n{told}")

        report = await project.run(agent="real", model=client.model)

    assert report.view.finished
    assert set(report.only(ev.StraysFound).back) == {
        ".env, which git ignores, was deleted",
        "a.txt was changed",
        "stray.txt was added",
    }
    assert project.show("one.py") == "done\n"
