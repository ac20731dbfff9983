"""The environment that agents and checks are given: stated, never simply inherited.

Both get what programs need to run at all (`BASE`) and what the settings name. Agents also get the
variables by which the known agents find their keys and settings (`AGENT`); checks do not.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

BASE: Final = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "TERM",
    "LANG",
    "LC_*",
    "TZ",
    "XDG_*",
    "SSL_CERT_*",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
AGENT: Final = (
    "ANTHROPIC_*",
    "CLAUDE_*",
    "OPENAI_*",
    "CODEX_*",
    "GEMINI_*",
    "GOOGLE_*",
    "MISTRAL_*",
    "OPENROUTER_*",
    "AWS_*",
    "AIDER_*",
    "OPENCODE_*",
    "QWEN_*",
    "VIBE_*",
)


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a program runs, for its environment: the build, the chunk, the try, the worker.

    `worktree` is the folder of the worker's slot; empty for what runs in none.
    """

    spec: str
    chunk: str
    attempt: int
    worker: int
    worktree: str = ""


@dataclass(frozen=True, slots=True)
class Environment:
    """How to state an environment: where from, what is passed on besides, what is set.

    `keys` are variables that agents get and checks do not; `secrets` those that checks get, and of
    which an agent gets `shown` and no other. `per_slot` are set in a worker slot: `{worktree}`,
    `{worker}` and `{port}` stand for the slot's own, and `{NAME}` for another variable. A slot has
    `ports` ports, those of the first one from `first_port` on.
    """

    inherited: Mapping[str, str]
    passed: tuple[str, ...] = ()
    set: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    per_slot: Mapping[str, str] = field(default_factory=dict)
    first_port: int = 0
    ports: int = 0

    def for_agent(self, seat: Seat, ceiling: str) -> dict[str, str]:
        """Return the environment of an agent; git in it never looks above `ceiling`."""
        state = self._state((*BASE, *AGENT, *self.passed), seat, ceiling)
        hidden = set(self.secrets) - set(self.shown) - self.keys.keys()
        return {**{key: value for key, value in state.items() if key not in hidden}, **self.keys}

    def for_check(self, seat: Seat, ceiling: str) -> dict[str, str]:
        """Return the environment of a verification command."""
        return self._state((*BASE, *self.passed), seat, ceiling)

    def _state(self, patterns: Iterable[str], seat: Seat, ceiling: str) -> dict[str, str]:
        wanted = (*patterns, *self.secrets)
        kept = {
            key: value
            for key, value in self.inherited.items()
            if any(fnmatchcase(key, pattern) for pattern in wanted) and not key.startswith("GIT_")
        }
        stated = {
            **kept,
            **self.set,
            "AUTO_BUILD_SPEC": seat.spec,
            "AUTO_BUILD_CHUNK": seat.chunk,
            "AUTO_BUILD_ATTEMPT": str(seat.attempt),
            "AUTO_BUILD_WORKER": str(seat.worker),
            "GIT_CEILING_DIRECTORIES": ceiling,
            "GIT_TERMINAL_PROMPT": "0",
        }
        return {**stated, **self._of_slot(seat, stated)} if seat.worktree else stated

    def _of_slot(self, seat: Seat, stated: Mapping[str, str]) -> dict[str, str]:
        place = max(seat.worker - 1, 0)  # nobody works in the first slot while staging is lent
        port = self.first_port + place * self.ports
        own = {"worktree": seat.worktree, "worker": str(seat.worker), "port": str(port)}
        ports = {"AUTO_BUILD_PORT": str(port), "AUTO_BUILD_PORT_COUNT": str(self.ports)}

        def fill(text: str) -> str:
            return PLACEHOLDER.sub(lambda found: {**stated, **own}.get(found[1], ""), text)

        return {
            **(ports if self.ports else {}),
            **{key: fill(value) for key, value in self.per_slot.items()},
        }
