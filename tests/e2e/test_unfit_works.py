"""What no work may hold goes back to its agent by name, and never lands; secrets are never told."""

from pathlib import Path

import pytest

from auto_build.core import events as ev
from auto_build.gate.secrets import find_program
from tests.e2e.project import Project, chunk, commit, run_git, shell, write
from tests.gate.secret_words import assigned, made_up


def with_retries(project: Project, settings: str) -> None:
    path = project.path / "auto-build.toml"
    project.settings(settings)
    project.write("auto-build.toml", path.read_text().replace("retries = 0", "retries = 1"))


async def test_a_link_out_of_the_tree_is_undone_in_a_repair_round(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.txt"]))
    project.agent("one", write("one.txt"), shell("ln -s /etc/passwd users && git add users"))
    project.agent("one", shell("rm users"), round=1)

    report = await project.run()

    assert report.view.finished
    red = report.only(ev.CandidateRejected)
    assert "'users' is a symbolic link to '/etc/passwd'" in red.feedback
    assert red.checks == ()
    assert "users" not in project.tree()


async def test_a_file_that_is_too_large_is_told_to_the_next_try(project: Project) -> None:
    with_retries(project, "[containment]\nmax_file_mb = 0.1\nsecrets = 'off'")
    project.plan_of(chunk("one", files=["one.txt"]))
    big = shell("head -c 200000 /dev/urandom > big.bin")
    project.agent("one", write("one.txt"), big, attempt=1)
    project.agent("one", write("one.txt", "small\n"), attempt=2)

    report = await project.run()

    assert report.view.finished
    (ended,) = report.of(ev.AttemptEnded)
    assert ended.outcome is ev.Outcome.CAPTURE_FAILED
    assert "big.bin has 0.2 MB, and a file may have 0.1 MB" in ended.detail
    assert list(project.path.glob(".worktrees/kept/*/big.bin"))
    assert "big.bin" not in project.tree()


async def test_a_secret_goes_back_by_its_place_and_is_told_nowhere(project: Project) -> None:
    if not find_program():
        pytest.skip("kingfisher is not installed: pip install 'auto-build[secrets]'")
    project.settings("[containment]\nsecrets = 'require'\nsecrets_allowed = ['fixtures/*']")
    project.plan_of(chunk("one", files=["one.py", "fixtures/"]))
    project.agent(
        "one",
        write("fixtures/key.py", assigned(2)),
        write("one.py", f"import os\n{assigned(1)}"),
        commit("with a key"),
    )
    project.agent("one", write("one.py", "import os\nTOKEN = os.environ['TOKEN']\n"), round=1)

    report = await project.run()

    assert report.view.finished
    red = report.only(ev.CandidateRejected)
    assert "one.py:2 (github-pat)" in red.feedback
    assert "fixtures" not in red.feedback
    assert project.show("fixtures/key.py") == assigned(2)
    history = run_git(project.path, "log", "-p", project.branch())
    assert made_up(2) in history
    assert made_up(1) not in history
    assert made_up(1) in _pinned(project)
    assert made_up(1) not in "".join(notice.text for notice in report.notices)
    told = [path for path in _ours(project) if made_up(1).encode() in path.read_bytes()]
    assert told == []


def _pinned(project: Project) -> str:
    return "".join(run_git(project.path, "log", "-p", one) for one in project.pins().values())


def _ours(project: Project) -> list[Path]:
    """Return every file in which a run says something; the agent's own script is none."""
    kept = [*(project.path / ".git" / "auto-build").rglob("*"), project.plan_path()]
    return [path for path in kept if path.is_file()]
