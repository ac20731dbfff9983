"""What the coordinator asks of an agent, whatever program is behind it.

An agent starts sessions; a session is prompted and streams what it does. The last thing it says is
always `Ended`, which is a claim of the agent's and no more: what counts is the diff and the checks.
Whoever stops listening stops the work: closing the stream ends everything that it started.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from auto_build.core.usage import Usage
from auto_build.policy.environment import Seat
from auto_build.policy.permission import Allow, Decision, Permit, Request


class Stop(StrEnum):
    """Why an agent stopped, as far as it says or its program shows."""

    DONE = "done"
    NEEDS_INPUT = "needs-input"
    REFUSED = "refused"
    MAX_TURNS = "max-turns"
    BUDGET = "budget"
    CONTEXT_FULL = "context-full"
    AUTH = "auth"
    RATE_LIMIT = "rate-limit"
    OVERLOADED = "overloaded"
    ERROR = "agent-error"
    CRASHED = "crashed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Text:
    """Something the agent said; one line or a few."""

    text: str


@dataclass(frozen=True, slots=True)
class Doing:
    """Something the agent does, in a few words: a tool, a file, a command."""

    text: str


@dataclass(frozen=True, slots=True)
class Denied:
    """Something the agent was not allowed to do, and why."""

    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Began:
    """The agent's conversation has begun or goes on: `session` is its own name for it."""

    session: str


@dataclass(frozen=True, slots=True)
class Spent:
    """What the conversation `session` has used up so far, from its very beginning.

    Cumulative over everything that was ever said in it, earlier processes included.
    """

    session: str
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of a prompt.

    `reset_at` is when a usage limit ends, in seconds since the epoch, where that is known.
    `answer` is the structured answer, where one was asked for and given.
    """

    stop: Stop
    detail: str = ""
    reset_at: float | None = None
    answer: Any = None


AgentEvent = Text | Doing | Denied | Began | Spent | Ended


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an agent cannot work here, and what to do about it."""

    what: str
    hint: str


@dataclass(frozen=True, slots=True)
class Earlier:
    """A conversation to go on with: the agent's own name for it, and what it had used up."""

    session: str
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one prompt, for agents that can hold them: model turns, and US dollars."""

    turns: int | None = None
    cost_usd: float | None = None


def allow_all(_: Request) -> Decision:
    """Allow everything."""
    return Allow()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSpec:
    """Where and as whom an agent works.

    `env` is its whole environment; `scratch` a folder outside the worktree, for files that must not
    be captured; `log` takes its raw output; `round` is 0 at first and counts repair rounds.
    `permit` answers when the agent asks before it acts. `schema` is the JSON Schema of the answer,
    where a structured one is wanted. With `earlier`, that conversation goes on if it can.
    """

    cwd: Path
    env: dict[str, str]
    seat: Seat
    round: int
    model: str
    scratch: Path
    log: Path
    permit: Permit = allow_all
    read_only: bool = False
    limits: Limits = Limits()
    schema: Mapping[str, Any] | None = None
    earlier: Earlier | None = None


class Session(Protocol):
    """One conversation with an agent in one worktree."""

    @property
    def resumed(self) -> bool:
        """Whether the earlier conversation goes on; otherwise the agent knows nothing of it."""
        ...

    def prompt(self, text: str) -> AsyncGenerator[AgentEvent, None]:
        """Give the agent work; yield what it does, `Ended` last."""
        ...

    async def steer(self, text: str) -> bool:
        """Tell the agent something while it works; say whether it can still hear it."""
        ...

    async def interrupt(self) -> None:
        """Ask the agent to end what it does; where it can, the stream soon ends."""
        ...

    async def close(self) -> None:
        """End the session and everything that it started; more than once does no harm."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a kind of agent can do, for those who must know beforehand.

    `asks`: it asks before it writes. `resumes`: a conversation can go on in a new process.
    `steers`: it hears what is said while it works. `reports_cost`: it says what it spent in money.
    `memory_mb` is what one session of it needs, in MiB, with its tools left out.
    """

    asks: bool = False
    resumes: bool = False
    steers: bool = False
    reports_cost: bool = False
    memory_mb: int = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How an agent is looked at before a run: as it would be started, in an empty folder."""

    env: dict[str, str]
    folder: Path
    models: tuple[str, ...] = ()


class Agent(Protocol):
    """A kind of agent, ready to start sessions."""

    @property
    def name(self) -> str:
        """What the settings call it."""
        ...

    @property
    def abilities(self) -> Abilities:
        """What it can do."""
        ...

    async def check(self, probe: Probe) -> list[Problem]:
        """Return what keeps it from working here, without calling a model."""
        ...

    async def start(self, spec: SessionSpec) -> Session:
        """Start a session."""
        ...
