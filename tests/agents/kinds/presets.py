"""Known programs that are started anew for each prompt, in front of a stub of their model.

Gemini is not among them: its shell tool waits for whatever a command leaves running in the
background, and its last words are lost where the pipe is full when it ends.
"""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from auto_build.agents.base import Agent, SessionSpec, Stop
from auto_build.agents.command import CommandAgent
from auto_build.agents.presets import PRESETS, Start
from auto_build.core.usage import Usage
from auto_build.process import Processes
from tests.agents.installed import (
    codex_home,
    find_program,
    missing,
    opencode_home,
    with_programs,
)
from tests.agents.kinds import Deed, End, Feat, Kind, NotHere, Offer
from tests.agents.kinds.acp import Prepared, act
from tests.agents.kinds.acp_echo import NO_LIMIT, whole
from tests.agents.kinds.claude import heard, served
from tests.stubs.server import ModelStub

_SCENE: Final = "conformance"
Cannot = Mapping[Feat | Stop, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """A real program: how its home is settled so that it speaks to a stub, and to nobody else."""

    preset: str
    settle: Callable[[Path, str], Mapping[str, str]]
    cannot: Cannot

    @property
    def program(self) -> str:
        """The name of its program."""
        return PRESETS[self.preset].argv(Start())[0]


_ALL: Final[Cannot] = MappingProxyType(
    {
        Feat.ASKS: "nobody is there to be asked",
        Feat.HEARS_WHY: "it is refused nothing by us",
        Feat.STEERS: "it takes one prompt and no more",
        Feat.INTERRUPTS: "it takes one prompt and no more",
        Feat.FORGETS: "it ends where it does not know the conversation",
        Stop.MAX_TURNS: NO_LIMIT,
        Stop.BUDGET: NO_LIMIT,
    }
)
_AT_THE_END: Final[Cannot] = {Feat.COUNTS: "it counts at the end of a prompt only"}
_PASSED_OVER: Final[Cannot] = {Stop.REFUSED: "it passes over what its model refuses"}
_TRIES_ON: Final = "it tries again for longer than a test may take"
_TRIES_ON_AND_ON: Final[Cannot] = {Stop.RATE_LIMIT: _TRIES_ON, Stop.OVERLOADED: _TRIES_ON}

CODEX: Final = Real(
    preset="codex",
    settle=codex_home,
    cannot={
        **_ALL,
        **_AT_THE_END,
        **_PASSED_OVER,
        Stop.CRASHED: "what runs in its sandbox does not reach it",
    },
)
OPENCODE: Final = Real(
    preset="opencode",
    settle=opencode_home,
    cannot={
        **_ALL,
        **_PASSED_OVER,
        **_TRIES_ON_AND_ON,
        Feat.READS_ONLY: "its plan agent runs shell commands",
    },
)


class Stubbed:
    """Turns deeds into answers of a real program's model."""

    def __init__(self, real: Real, stub: ModelStub, home: Path) -> None:
        self._real = real
        self._stub = stub
        self.cannot = real.cannot
        self.env: Mapping[str, str] = {
            "PATH": with_programs(os.environ["PATH"]),
            "DO_NOT_TRACK": "1",
            **real.settle(home, stub.url(_SCENE)),
        }

    def plays(self, *deeds: Deed, then: tuple[Deed, ...] = ()) -> Agent:
        forever = bool(deeds) and isinstance(deeds[-1], End)
        played = (*whole(deeds), *(whole(then) if then else ()))

        def play(spec: SessionSpec) -> None:
            answers = [act(deed, spec.cwd) for deed in played]
            self._stub.play(_SCENE, *answers, repeat_last=forever)

        agent = CommandAgent(self._real.preset, (), "stdin", Processes(), self._real.preset)
        return Prepared(agent, play, lambda: None)

    def heard(self, _: SessionSpec) -> str:
        return heard(self._stub, _SCENE)

    def served(self) -> Usage:
        return served(self._stub, _SCENE)


@asynccontextmanager
async def _open(real: Real, home: Path) -> AsyncIterator[Kind]:
    if find_program(real.program) is None:
        raise NotHere(missing(real.program))
    with ModelStub() as stub:
        yield Stubbed(real, stub, home)


KINDS: Final = tuple(
    Offer(f"command-{real.preset}", partial(_open, real)) for real in (CODEX, OPENCODE)
)
