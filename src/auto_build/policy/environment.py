"""The environment that agents and checks are given: stated, never simply inherited.

Both get what programs need to run at all (`BASE`) and what the settings name. Agents also get the
variables by which the known agents find their keys and settings (`AGENT`); checks do not.
"""

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
    """Where a program runs, for its environment: the build, the chunk, the try, the worker."""

    spec: str
    chunk: str
    attempt: int
    worker: int


@dataclass(frozen=True, slots=True)
class Environment:
    """How to state an environment: where from, what is passed on besides, what is set.

    `keys` are variables that agents get and checks do not.
    """

    inherited: Mapping[str, str]
    passed: tuple[str, ...] = ()
    set: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)

    def for_agent(self, seat: Seat, ceiling: str) -> dict[str, str]:
        """Return the environment of an agent; git in it never looks above `ceiling`."""
        return {**self._state((*BASE, *AGENT, *self.passed), seat, ceiling), **self.keys}

    def for_check(self, seat: Seat, ceiling: str) -> dict[str, str]:
        """Return the environment of a verification command."""
        return self._state((*BASE, *self.passed), seat, ceiling)

    def _state(self, patterns: Iterable[str], seat: Seat, ceiling: str) -> dict[str, str]:
        wanted = tuple(patterns)
        kept = {
            key: value
            for key, value in self.inherited.items()
            if any(fnmatchcase(key, pattern) for pattern in wanted) and not key.startswith("GIT_")
        }
        return {
            **kept,
            **self.set,
            "AUTO_BUILD_SPEC": seat.spec,
            "AUTO_BUILD_CHUNK": seat.chunk,
            "AUTO_BUILD_ATTEMPT": str(seat.attempt),
            "AUTO_BUILD_WORKER": str(seat.worker),
            "GIT_CEILING_DIRECTORIES": ceiling,
            "GIT_TERMINAL_PROMPT": "0",
        }
