"""What the coordinator asks of an agent, whatever program is behind it.

An agent starts sessions; a session is prompted and streams what it does. The last thing it says is
always `Ended`, which is a claim of the agent's and no more: what counts is the diff and the checks.
Whoever stops listening stops the work: closing the stream ends everything that it started.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from auto_build.policy.environment import Seat


class Stop(StrEnum):
    """Why an agent stopped."""

    DONE = "done"
    ERROR = "error"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Text:
    """Something the agent said; one line or a few."""

    text: str


@dataclass(frozen=True, slots=True)
class Doing:
    """Something the agent does, in a few words: a tool, a file, a command."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a prompt."""

    stop: Stop
    detail: str = ""


AgentEvent = Text | Doing | Ended


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an agent cannot work here, and what to do about it."""

    what: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSpec:
    """Where and as whom an agent works.

    `env` is its whole environment; `scratch` a folder outside the worktree, for files that must not
    be captured; `log` takes its raw output; `round` is 0 at first and counts repair rounds.
    """

    cwd: Path
    env: dict[str, str]
    seat: Seat
    round: int
    model: str
    scratch: Path
    log: Path


class Session(Protocol):
    """One conversation with an agent in one worktree."""

    def prompt(self, text: str) -> AsyncGenerator[AgentEvent, None]:
        """Give the agent work; yield what it does, `Ended` last."""
        ...

    async def close(self) -> None:
        """End the session and everything that it started; more than once does no harm."""
        ...


class Agent(Protocol):
    """A kind of agent, ready to start sessions."""

    @property
    def name(self) -> str:
        """What the settings call it."""
        ...

    async def check(self) -> list[Problem]:
        """Return what keeps it from working here, without calling a model."""
        ...

    async def start(self, spec: SessionSpec) -> Session:
        """Start a session."""
        ...
