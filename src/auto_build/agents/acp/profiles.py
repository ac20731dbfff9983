"""What is special about each agent that speaks the Agent Client Protocol. Pure.

A profile adds what work without a person needs, and no more: the user's own login and settings
stay as they are. Everything else about an agent is asked of the agent itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from auto_build.errors import UsageProblem


class Counting(StrEnum):
    """Where an agent says how many tokens it used, and for what."""

    PROMPT = "with the end of a prompt, for that prompt"
    QUOTA = "with the end of a prompt, for that prompt, as Gemini's quota"
    REQUEST = "beside what it says, for one request to the model"
    CONVERSATION = "with each report, for the conversation from its very beginning"
    NOT = "nowhere, or not for all that it used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One agent.

    Attributes:
        argv: how it is started.
        install: the command that installs it.
        login: what to do where it is not logged in.
        node: the oldest major version of Node.js that runs it; 0 where it needs none.
        env: variables that it is given unless they are set already.
        model_argv: arguments that choose a model, with `{model}`.
        model_env: the variable that chooses a model.
        lists_models: whether it takes no model that is not in its list.
        mode: the mode of its sessions, where it is not the agent's own to choose.
        read_only_mode: the mode of sessions that may write nothing.
        asking_modes: the modes in which it asks before it writes.
        counting: where it says how many tokens it used.
        reports_cost: whether it says what it spent in money, for the whole conversation.
        resumes: whether a conversation can go on in a new process.
        steers: whether it hears what is said while it works.
        capabilities: what we tell it that we understand, besides the protocol.
        memory_mb: what one session of it needs, in MiB.
    """

    argv: tuple[str, ...] = ()
    install: str = ""
    login: str = "log in to it in a terminal, or give it its key in the environment"
    node: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    model_argv: tuple[str, ...] = ()
    model_env: str = ""
    lists_models: bool = True
    mode: str = ""
    read_only_mode: str = ""
    asking_modes: frozenset[str] = frozenset()
    counting: Counting = Counting.PROMPT
    reports_cost: bool = False
    resumes: bool = True
    steers: bool = False
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    memory_mb: int = 300

    def asks(self, mode: str) -> bool:
        """Say whether it asks before it writes, in a mode; in its own where none is given."""
        return (mode or self.mode) in self.asking_modes

    def command(self, argv: tuple[str, ...], model: str) -> tuple[str, ...]:
        """Return how it is started, by `argv` where that is given, with a model where one is."""
        base = argv or self.argv
        if any("{model}" in word for word in base):
            return tuple(word.replace("{model}", model) for word in base)
        chosen = self.model_argv if model else ()
        return (*base, *(word.replace("{model}", model) for word in chosen))

    def environment(
        self, given: Mapping[str, str], own: Mapping[str, str], model: str
    ) -> dict[str, str]:
        """Return its environment: what it is given, over the profile's, under the settings'."""
        chosen = {self.model_env: model} if self.model_env and model else {}
        return {**self.env, **given, **chosen, **own}

    def chooses_model(self, argv: tuple[str, ...]) -> bool:
        """Say whether a model is chosen when it is started, and not in the conversation."""
        in_argv = bool(self.model_argv) or any("{model}" in word for word in argv)
        return in_argv or bool(self.model_env)


# Gemini and Qwen have a mode named plan, which is a way of working with tools of its own, not a
# lock. They ask before whatever changes anything, and that is enough to keep them from it.
_GEMINI: Final = Profile(
    argv=("gemini", "--acp"),
    install="npm install -g @google/gemini-cli",
    login="set GEMINI_API_KEY (or name a file with it: key_files in auto-build.toml), or start"
    " gemini once and log in",
    node=20,
    env=MappingProxyType(
        {
            "GEMINI_CLI_TRUST_WORKSPACE": "true",  # nobody is there to be asked
            "GEMINI_CLI_NO_RELAUNCH": "true",  # one process, not two
        }
    ),
    model_argv=("--model", "{model}"),
    lists_models=False,
    mode="default",
    asking_modes=frozenset({"default"}),
    counting=Counting.QUOTA,
    memory_mb=300,
)

# Its mode `agent` has another model judge what we are to be asked about. In `workspace-write` a
# sandbox keeps it in its worktree, and it asks for what is outside.
_CODEX: Final = Profile(
    argv=("codex-acp",),
    install="npm install -g @agentclientprotocol/codex-acp",
    login="run `codex login`; or, to have codex store the key in OPENAI_API_KEY as its login, set"
    """ env.DEFAULT_AUTH_REQUEST = '{"methodId": "api-key"}' for this agent in auto-build.toml""",
    node=20,
    env=MappingProxyType(
        {
            "NO_BROWSER": "1",
            "CODEX_ACP_PROMPT_SUGGESTIONS": "false",  # a call of the model after each prompt
        }
    ),
    mode="workspace-write",
    read_only_mode="read-only",
    asking_modes=frozenset({"read-only"}),
    steers=True,
    # without this it ends a prompt that failed as if it were done, and says why in its text only
    capabilities=MappingProxyType(
        {"jetbrains": {"air": {"version": 1, "capabilities": ["sessionFailure"]}}}
    ),
    memory_mb=350,
)

_OPENCODE: Final = Profile(
    argv=("opencode", "acp"),
    install="npm install -g opencode-ai",
    login="run `opencode auth login`",
    env=MappingProxyType(
        {
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_PERMISSION": '{"edit": "ask", "bash": "ask"}',  # by itself it asks nothing
        }
    ),
    read_only_mode="plan",
    asking_modes=frozenset({"", "build", "plan"}),
    counting=Counting.NOT,  # its figures are those of the last request only
    reports_cost=True,
    memory_mb=1000,
)

_QWEN: Final = Profile(
    argv=("qwen", "--acp"),
    install="npm install -g @qwen-code/qwen-code",
    login="set OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL, or start qwen once and log in",
    node=20,
    env=MappingProxyType({"QWEN_CODE_NO_RELAUNCH": "true"}),
    model_argv=("--model", "{model}"),
    lists_models=False,
    mode="default",
    asking_modes=frozenset({"default"}),
    counting=Counting.REQUEST,
    memory_mb=700,
)

# A model that is chosen in the conversation is written to the user's settings, so it is not.
_VIBE: Final = Profile(
    argv=("vibe-acp",),
    install="uv tool install mistral-vibe (it needs Python 3.12 or newer)",
    login="set MISTRAL_API_KEY, or run `vibe --setup`",
    model_env="VIBE_ACTIVE_MODEL",
    mode="ask",
    asking_modes=frozenset({"ask"}),
    counting=Counting.CONVERSATION,
    reports_cost=True,
    memory_mb=200,
)

NEUTRAL: Final = Profile()
PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        "codex-acp": _CODEX,
        "gemini": _GEMINI,
        "opencode": _OPENCODE,
        "qwen": _QWEN,
        "vibe": _VIBE,
    }
)


def require_profile(name: str, agent: str) -> Profile:
    """Return a profile; the neutral one for no name.

    Raises:
        UsageProblem: there is none of that name.
    """
    if not name:
        return NEUTRAL
    if name in PROFILES:
        return PROFILES[name]
    raise UsageProblem(
        f"agent {agent!r}: there is no profile {name!r} (known: {', '.join(PROFILES)})",
        hint=f"{did_you_mean(name, tuple(PROFILES))}For another agent that speaks ACP, leave the"
        " profile out and give its argv",
    )


def did_you_mean(word: str, known: tuple[str, ...]) -> str:
    """Return a question with what comes near a word; nothing where nothing does."""
    near = get_close_matches(word, known, n=3)
    return f"did you mean {' or '.join(near)}? " if near else ""
