"""What keeps an agent from working is found before anything is made, and said with the way out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from auto_build.agents.choose import load_backend
from auto_build.errors import EnvironmentUnfit
from tests.e2e.commands import Typed, auto_build
from tests.e2e.project import SPEC, Project, chunk, write
from tests.stubs.server import BAD_KEY, ModelStub

CLAUDE = '[agents.real]\nkind = "claude"\n'


@pytest.fixture(scope="module")
def stub() -> Iterator[ModelStub]:
    with ModelStub() as serving:
        yield serving


@pytest.fixture
def planned(project: Project) -> Project:
    """Return a project with a chunk to be done."""
    project.plan_of(chunk("one", files=["one"]))
    return project


def refused(project: Project, table: str, *flags: str, env: dict[str, str] | None = None) -> Typed:
    """Run with an agent that cannot work; nothing may have been made or started."""
    project.settings(table)
    typed = auto_build(project, "run", "001", "--agent", "real", *flags, env=env or {})
    assert typed.code in {2, 3}, typed.out
    assert not (project.path / ".worktrees").exists()
    assert "what to do:" in typed.err
    assert f"refs/heads/auto-build/{SPEC}" not in project.git("for-each-ref")
    return typed


def test_a_program_that_is_missing(planned: Project) -> None:
    typed = refused(planned, '[agents.real]\nargv = ["no-such-program"]\n')
    assert "'no-such-program' is not in PATH" in typed.err


def test_a_preset_whose_program_is_missing(planned: Project) -> None:
    typed = refused(planned, '[agents.real]\npreset = "codex"\n', env={"PATH": "/usr/bin:/bin"})
    assert "codex" in typed.err


def test_a_claude_that_is_missing(planned: Project) -> None:
    typed = refused(planned, f'{CLAUDE}program = "/no/such/claude"\n')
    assert "/no/such/claude" in typed.err


def test_a_model_that_does_not_exist(planned: Project, stub: ModelStub) -> None:
    env = {"ANTHROPIC_BASE_URL": stub.url("x"), "ANTHROPIC_API_KEY": "test-key"}
    typed = refused(planned, CLAUDE, "--model", "no-such-model", env=env)
    assert "no-such-model" in typed.err


def test_a_key_that_is_refused(planned: Project, stub: ModelStub) -> None:
    env = {"ANTHROPIC_BASE_URL": stub.url("x"), "ANTHROPIC_API_KEY": BAD_KEY}
    typed = refused(planned, CLAUDE, "--model", "claude-opus-5-5", env=env)
    assert "key" in typed.err
    assert BAD_KEY not in typed.err, "a key is printed"


def test_no_login_and_no_key(planned: Project) -> None:
    typed = refused(planned, CLAUDE, env={"ANTHROPIC_API_KEY": ""})
    assert "log in" in typed.err or "login" in typed.err


def test_a_key_file_that_cannot_be_read(planned: Project, tmp_path: Path) -> None:
    keys = f'key_files = {{ ANTHROPIC_API_KEY = "{tmp_path / "gone"}" }}\n'
    typed = refused(planned, f"{CLAUDE}{keys}")
    assert "ANTHROPIC_API_KEY" in typed.err
    assert "gone" in typed.err


def test_a_profile_that_does_not_exist(planned: Project) -> None:
    typed = refused(planned, '[agents.real]\nkind = "acp"\nprofile = "gemni"\n')
    assert "gemni" in typed.err
    assert "did you mean gemini?" in typed.err


def test_an_agent_of_an_unknown_kind(planned: Project) -> None:
    typed = refused(planned, '[agents.real]\nkind = "clade"\n')
    assert "clade" in typed.err


def test_a_kind_whose_extra_is_not_installed() -> None:
    with pytest.raises(EnvironmentUnfit, match="needs the extra 'claude'") as error:
        load_backend("claude", "a_package_that_nobody_has", "mine")
    assert error.value.hint.startswith("pip install 'auto-build[claude]'")


async def test_more_agents_than_fit_into_memory_are_pointed_out(project: Project) -> None:
    project.plan_of(chunk("one", files=["one"]))
    project.agent("one", write("one"))
    project.settings("memory_mb = 100_000_000\n")

    report = await project.run(workers=2)

    assert report.labels() == {"one": "landed"}
    assert "2 workers need about" in report.warnings


def test_doctor_points_that_out_as_well(project: Project) -> None:
    project.settings("memory_mb = 100_000_000\n")
    typed = auto_build(project, "doctor")
    assert "2 workers need about" in typed.out
