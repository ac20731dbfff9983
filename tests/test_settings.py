"""Settings: what is typed beats the environment beats the file; what is wrong is named."""

from pathlib import Path
from typing import Literal

import pytest

from auto_build.errors import EnvironmentUnfit, UsageProblem
from auto_build.settings import (
    CommandAgent,
    ModelSettings,
    ScriptedAgent,
    Settings,
    load_keys,
    load_settings,
)


def write(folder: Path, text: str, name: str = "auto-build.toml") -> None:
    (folder / name).write_text(text, encoding="utf-8")


def test_without_a_file_everything_has_a_default(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {}, {})
    assert settings.run.parallel == 2
    assert settings.gate.checks == ()


def test_what_is_typed_beats_the_environment_beats_the_file(tmp_path: Path) -> None:
    write(tmp_path, '[run]\nparallel = 3\nmodel = "of the file"\nagent = "file"\n')
    environment = {"AUTO_BUILD_PARALLEL": "4", "AUTO_BUILD_MODEL": "of the environment"}

    run = load_settings(tmp_path, {"parallel": 5, "model": None}, environment).run

    assert (run.parallel, run.model, run.agent) == (5, "of the environment", "file")


def test_pyproject_is_read_where_there_is_no_file_of_our_own(tmp_path: Path) -> None:
    write(tmp_path, "[tool.auto-build.run]\nparallel = 7\n", "pyproject.toml")
    assert load_settings(tmp_path, {}, {}).run.parallel == 7
    write(tmp_path, "[run]\nparallel = 3\n")
    assert load_settings(tmp_path, {}, {}).run.parallel == 3


def test_a_pyproject_without_our_table_is_nothing_to_us(tmp_path: Path) -> None:
    write(tmp_path, "[tool.other]\nx = 1\n", "pyproject.toml")
    assert load_settings(tmp_path, {}, {}).run.parallel == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[run]\nparalel = 3\n", ["run.paralel", "auto-build.toml"]),
        ("[run]\nparallel = 0\n", ["run.parallel", "greater than or equal to 1", "got 0"]),
        ("[run]\nparallel = 'x'\nrepair_rounds = -1\n", ["run.parallel", "run.repair_rounds"]),
        ("[gate]\nchecks = 'make'\n", ["gate.checks"]),
        ("[agents.a]\nkind = 'robot'\n", ["agents.a", "robot"]),
        ("[agents.a]\nargv = []\n", ["agents.a"]),
        ("run = 3\n", ["[run] is no table"]),
        ("[run\n", ["is no TOML", "line 1"]),
        ("[run]\nagent_timeout_min = 0\n", ["run.agent_timeout_min"]),
    ],
)
def test_what_cannot_be_used_is_named_with_its_place(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    write(tmp_path, text)
    with pytest.raises(UsageProblem) as refused:
        load_settings(tmp_path, {}, {})
    for word in words:
        assert word in str(refused.value)
    assert refused.value.exit_code == 2
    assert refused.value.hint


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "auto-build.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageProblem, match="is no TOML"):
        load_settings(tmp_path, {}, {})


def test_the_environments_value_is_checked_too(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"run\.parallel"):
        load_settings(tmp_path, {}, {"AUTO_BUILD_PARALLEL": "many"})


def test_an_agent_is_a_command_unless_it_says_otherwise(tmp_path: Path) -> None:
    write(
        tmp_path,
        '[run]\nagent = "mine"\n[agents.mine]\nargv = ["x"]\n[agents.s]\nkind = "scripted"\n',
    )
    settings = load_settings(tmp_path, {}, {})
    assert settings.require_agent() == ("mine", CommandAgent(argv=("x",)))
    scripted = load_settings(tmp_path, {"agent": "s"}, {}).require_agent()
    assert scripted == ("s", ScriptedAgent(kind="scripted"))


def test_the_only_agent_need_not_be_chosen(tmp_path: Path) -> None:
    write(tmp_path, '[agents.one]\nargv = ["x"]\n')
    assert load_settings(tmp_path, {}, {}).require_agent()[0] == "one"


def test_no_agent_and_an_unknown_agent_are_told_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="no agent is chosen"):
        load_settings(tmp_path, {}, {}).require_agent()
    write(tmp_path, '[agents.one]\nargv = ["x"]\n[agents.two]\nargv = ["y"]\n')
    with pytest.raises(UsageProblem, match="one, two"):
        load_settings(tmp_path, {}, {}).require_agent()
    with pytest.raises(UsageProblem, match="unknown agent 'three'"):
        load_settings(tmp_path, {"agent": "three"}, {}).require_agent()


# --- keys in files -------------------------------------------------------------------------------


def test_a_key_is_read_from_its_file_without_the_line_s_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-1234\n")
    assert load_keys(tmp_path, {"ANTHROPIC_API_KEY": "key"}) == {"ANTHROPIC_API_KEY": "sk-1234"}


def test_a_key_may_lie_in_the_home_folder(tmp_path: Path) -> None:
    (Path.home() / "key").write_text("sk-home")
    assert load_keys(tmp_path, {"K": "~/key"}) == {"K": "sk-home"}


def test_keys_that_are_not_there_are_all_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "two").write_text("one\ntwo\n")
    with pytest.raises(EnvironmentUnfit) as refused:
        load_keys(tmp_path, {"A": "gone", "B": "empty", "C": "two", "D": "."})
    told = str(refused.value)
    assert all(f"{name}: " in told for name in "ABCD")
    assert "one\n" not in told.replace("one line", ""), "a key is printed"


@pytest.mark.parametrize(
    ("job", "model"), [("plan", "big"), ("work", "small"), ("repair", "small")]
)
def test_a_job_without_a_model_of_its_own_takes_the_next_best(
    job: Literal["plan", "work", "repair"], model: str
) -> None:
    chosen = Settings(models=ModelSettings(plan="big", work="small"))
    assert chosen.model_for(job) == model


# --- worker slots ---------------------------------------------------------------------------------


def test_what_a_slot_needs_is_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        '[workspace]\nsetup = ["npm ci"]\ncopy = [".env"]\nlink = ["node_modules"]\n'
        '[workspace.environment]\nPORT = "{port}"\nPATH = "{worktree}/bin:{PATH}"\n',
    )
    workspace = load_settings(tmp_path, {}, {}).workspace
    assert (workspace.setup, workspace.copied) == (("npm ci",), (".env",))
    assert workspace.link == ("node_modules",)
    assert workspace.environment["PORT"] == "{port}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('copy = ["/etc/passwd"]', ["'/etc/passwd' is no path inside the repository"]),
        ('link = ["../other"]', ["'../other' is no path inside the repository"]),
        ('copy = ["~/.env"]', ["'~/.env' is no path inside the repository"]),
        ('link = ["a"]\ncopy = ["a/b"]', ["'a/b' lies in 'a', which is named too"]),
        ('copy = ["."]', ["'.' is no path inside the repository"]),
        ('environment = { A = "{prot}" }', ["environment.A: {prot} is unknown", "{worktree}"]),
        ('setup = [""]', ["workspace.setup.0"]),
        ('probe = "maybe"', ["workspace.probe"]),
        ("ports = -1", ["workspace.ports"]),
    ],
)
def test_what_no_slot_can_have_is_refused(tmp_path: Path, text: str, words: list[str]) -> None:
    write(tmp_path, f"[workspace]\n{text}\n")
    with pytest.raises(UsageProblem) as caught:
        load_settings(tmp_path, {}, {})
    for word in words:
        assert word in str(caught.value)


# --- services ------------------------------------------------------------------------------------

SERVICE = '[[qa.services]]\nname = "web"\ncommand = "serve {port}"\n'


def test_services_of_a_build_are_read(tmp_path: Path) -> None:
    second = '[[qa.services]]\nname = "api"\ncommand = "x"\nport = 1\nready = "/health"\n'
    write(tmp_path, f'{SERVICE}{second}replaces = ["http://localhost:8000", "https://a.io/v1"]\n')
    web, api = load_settings(tmp_path, {}, {}).qa.services
    assert (web.ready, web.port, web.ready_timeout_s) == ("tcp", 0, 60.0)
    assert api.replaces == ("http://localhost:8000", "https://a.io/v1")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("port = 10", "'web' has port 10, and a slot has 10, counted from 0"),
        ('ready = "http://example.org:{port}/"', "qa.services.0.ready"),
        ('ready = "http://localhost:8000/"', "qa.services.0.ready"),
        ('replaces = ["localhost:8000"]', "qa.services.0.replaces.0"),
        ("ready_timeout_s = 0", "qa.services.0.ready_timeout_s"),
        (SERVICE + "port = 1", "services: name 'web' is given twice"),
        (SERVICE.replace("web", "api"), "services: port 0 is given twice"),
        (SERVICE.replace("web", "../up") + "port = 1", "qa.services.1.name"),
    ],
)
def test_what_no_service_can_be_is_refused(tmp_path: Path, text: str, word: str) -> None:
    write(tmp_path, f"{SERVICE}{text}\n")
    with pytest.raises(UsageProblem) as caught:
        load_settings(tmp_path, {}, {})
    assert word in str(caught.value)
