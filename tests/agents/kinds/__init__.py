"""What the conformance suite asks of whoever brings a kind of agent before it.

A kind makes agents that behave as they are told: a test says in `Deed`s what the agent shall do,
the kind makes an agent of its backend do just that (a script, a shell program, a real client whose
model is a stub). Each module of this package has `KINDS`, a tuple of `Offer`s; the suite finds
them by itself.

What a kind cannot show it names in `cannot`, with the reason; those cases are skipped, in its
words.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from auto_build.agents.base import Agent, SessionSpec, Stop
from auto_build.core.usage import Usage

CHUNK = "one"


@dataclass(frozen=True, slots=True)
class Say:
    """It says something, as the last that it does at a prompt."""

    text: str


@dataclass(frozen=True, slots=True)
class Write:
    """It writes a whole file; the path is relative to its worktree, or absolute.

    Where it is not allowed to, it goes on with its next deed.
    """

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """It runs a shell command, and waits for it; one that never `ends` is its last deed."""

    command: str
    ends: bool = True


@dataclass(frozen=True, slots=True)
class Ask:
    """It asks a person something, and ends."""

    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """It is done, with this structured answer."""

    value: Any


@dataclass(frozen=True, slots=True)
class Silence:
    """It does and says nothing any more, and does not end."""


@dataclass(frozen=True, slots=True)
class End:
    """It ends for this reason, which is not that it is done.

    At `MAX_TURNS` and `BUDGET` it goes on and on until the session's limits stop it.
    """

    stop: Stop


Deed = Say | Write | Run | Ask | Answer | Silence | End


class Feat(StrEnum):
    """What not every backend can do or know."""

    ASKS = "it asks before it writes"
    ASKS_OUTSIDE = "it asks about files outside of its worktree, and does not refuse them itself"
    HEARS_WHY = "what it is refused is told to its model in our words"
    RESUMES = "its conversation can go on in a new process"
    FORGETS = "it says when it knows nothing of an earlier conversation, and begins anew"
    STEERS = "it hears what is said while it works"
    INTERRUPTS = "it can be asked to end what it does"
    ANSWERS = "it gives structured answers"
    READS_ONLY = "it can be kept from writing"
    ASKS_PEOPLE = "it tells a question from an end"
    COUNTS = "it says how many tokens it used"
    HAS_PROGRAM = "it is a program of its own, which can be killed"


class Kind(Protocol):
    """Makes agents of one kind that behave in a given way."""

    @property
    def cannot(self) -> Mapping[Feat | Stop, str]:
        """What an agent of this kind cannot do or show, and why; `Stop`s are ends by that reason.

        A kind need not name `NEEDS_INPUT` (`Feat.ASKS_PEOPLE`) nor `INTERRUPTED`
        (`Feat.INTERRUPTS`) once more.
        """
        ...

    @property
    def env(self) -> Mapping[str, str]:
        """What its environment needs besides PATH, HOME and LANG; the same from first to last."""
        ...

    def plays(self, *deeds: Deed, then: tuple[Deed, ...] = ()) -> Agent:
        """Return an agent that does this at its first prompt, and then is done.

        `then` is what it does at the second prompt: of the same session, or of one that goes on
        with the conversation. A deed that ends the prompt is the last one of its prompt.
        """
        ...

    def heard(self, spec: SessionSpec, /) -> str:
        """Return all that came to the model so far: prompts, what was said to it, what tools said.

        Text in it reads as it was, not escaped.
        """
        ...

    def served(self) -> Usage:
        """Return the tokens that the agent has used up; asked only where it counts them."""
        ...


class NotHere(Exception):
    """This kind cannot be tried on this machine; the words say why."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A kind, by name, and how to open it: in an empty folder, which is also the agents' HOME.

    Opening raises `NotHere` where a program is missing. A slow kind's tests take more than a second
    or so each.
    """

    name: str
    open: Callable[[Path], AbstractAsyncContextManager[Kind]]
    slow: bool = True
