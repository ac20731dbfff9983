"""What is special about each agent that speaks ACP."""

import json

import pytest

from auto_build import settings
from auto_build.agents.acp import backend as acp
from auto_build.agents.acp.profiles import NEUTRAL, PROFILES, Profile, require_profile
from auto_build.errors import UsageProblem
from auto_build.process import Processes

GEMINI, CODEX = PROFILES["gemini"], PROFILES["codex-acp"]
OPENCODE, VIBE = PROFILES["opencode"], PROFILES["vibe"]


def test_the_known_agents_have_profiles() -> None:
    assert set(PROFILES) == {"codex-acp", "gemini", "opencode", "qwen", "vibe"}
    for profile in PROFILES.values():
        assert profile.argv
        assert profile.install, "nobody learns how to install it"
        assert profile.login, "nobody learns how to log in"


def test_a_profile_that_nobody_knows_is_refused_with_what_may_have_been_meant() -> None:
    with pytest.raises(UsageProblem, match=r"agent 'mine': there is no profile 'gemeni'") as raised:
        acp.build("mine", settings.AcpAgent(kind="acp", profile="gemeni"), Processes())

    assert "codex-acp, gemini, opencode, qwen, vibe" in str(raised.value)
    assert raised.value.hint.startswith("did you mean gemini? ")
    assert "give its argv" in raised.value.hint


def test_an_agent_without_a_profile_is_taken_as_it_is() -> None:
    chosen = settings.AcpAgent(kind="acp", argv=("goose", "acp"))
    agent = acp.build("goose", chosen, Processes())

    assert agent.profile is NEUTRAL is require_profile("", "goose")
    assert agent.profile.command(chosen.argv, "any") == ("goose", "acp")
    assert not agent.abilities.asks, "nothing is known of it"


@pytest.mark.parametrize(
    ("profile", "argv", "model", "command"),
    [
        (GEMINI, (), "", ("gemini", "--acp")),
        (GEMINI, (), "flash", ("gemini", "--acp", "--model", "flash")),
        (GEMINI, ("npx", "gem"), "flash", ("npx", "gem", "--model", "flash")),
        (GEMINI, ("gem", "-m={model}"), "flash", ("gem", "-m=flash")),
        (CODEX, (), "gpt-6", ("codex-acp",)),
        (NEUTRAL, ("goose", "acp"), "any", ("goose", "acp")),
        (NEUTRAL, ("goose", "{model}"), "any", ("goose", "any")),
    ],
)
def test_a_model_is_put_where_the_agent_takes_it_on_its_command_line(
    profile: Profile, argv: tuple[str, ...], model: str, command: tuple[str, ...]
) -> None:
    assert profile.command(argv, model) == command


def test_a_model_is_chosen_in_the_conversation_where_it_is_not_chosen_before() -> None:
    assert GEMINI.chooses_model(())
    assert NEUTRAL.chooses_model(("goose", "{model}"))
    assert not CODEX.chooses_model(())
    assert not NEUTRAL.chooses_model(("goose", "acp"))


def test_the_users_environment_stands_over_the_profiles_and_the_settings_over_both() -> None:
    profile = Profile(env={"A": "profile", "B": "profile", "C": "profile"}, model_env="MODEL")

    env = profile.environment({"B": "user", "C": "user", "MODEL": "x"}, {"C": "settings"}, "big")

    assert env == {"A": "profile", "B": "user", "C": "settings", "MODEL": "big"}
    assert profile.environment({"MODEL": "x"}, {}, "")["MODEL"] == "x"


def test_vibe_is_told_its_model_beforehand_for_it_would_store_one_that_it_is_told_later() -> None:
    assert VIBE.environment({}, {}, "devstral")["VIBE_ACTIVE_MODEL"] == "devstral"
    assert VIBE.chooses_model(())


@pytest.mark.parametrize(
    ("profile", "mode", "asks"),
    [
        ("gemini", "", True),
        ("gemini", "yolo", False),
        ("codex-acp", "", False),  # its sandbox keeps it in its worktree, unasked
        ("codex-acp", "read-only", True),
        ("codex-acp", "agent-full-access", False),
        ("opencode", "", True),
        ("qwen", "", True),
        ("qwen", "auto-edit", False),
        ("vibe", "", True),
        ("vibe", "accept-edits", False),
    ],
)
def test_whether_it_asks_before_it_writes_depends_on_its_mode(
    profile: str, mode: str, asks: bool
) -> None:
    chosen = settings.AcpAgent(kind="acp", profile=profile, mode=mode)
    assert acp.build("a", chosen, Processes()).abilities.asks is asks


def test_opencode_asks_nothing_unless_it_is_told_to() -> None:
    assert json.loads(OPENCODE.env["OPENCODE_PERMISSION"]) == {"edit": "ask", "bash": "ask"}
