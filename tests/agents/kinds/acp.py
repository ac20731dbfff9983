"""Real agents that speak the Agent Client Protocol, in front of a stub of their model's service."""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, assert_never

from auto_build import settings
from auto_build.agents.acp import backend as acp
from auto_build.agents.acp.profiles import PROFILES
from auto_build.agents.base import Abilities, Agent, Probe, Problem, Session, SessionSpec, Stop
from auto_build.core.usage import Usage
from auto_build.process import Processes
from tests.agents.installed import (
    codex_home,
    find_program,
    gemini_home,
    missing,
    opencode_home,
    qwen_home,
    vibe_home,
    with_programs,
)
from tests.agents.kinds import (
    Answer,
    Ask,
    Deed,
    End,
    Feat,
    NotHere,
    Offer,
    Run,
    Say,
    Silence,
    Write,
)
from tests.agents.kinds.acp_echo import NO_LIMIT, whole
from tests.agents.kinds.claude import heard, served
from tests.stubs import acts
from tests.stubs.server import ModelStub

_SCENE: Final = "conformance"
Cannot = Mapping[Feat | Stop, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """A real agent: how its home is settled so that it speaks to a stub, and to nobody else."""

    profile: str
    settle: Callable[[Path, str], Mapping[str, str]]
    cannot: Cannot
    begun_long_ago: Callable[[Path], None] = lambda _: None
    spell: Callable[[str], str] = str

    @property
    def program(self) -> str:
        """The name of its program."""
        return PROFILES[self.profile].argv[0]


def _date_back(home: Path) -> None:
    """Have Gemini's conversations begun earlier: it empties one that is loaded in its first minute.

    It finds its record by the minute that stands in the file's name, and begins it anew.
    """
    for path in home.glob(".gemini/tmp/*/chats/session-20*.jsonl"):
        path.rename(path.with_name(path.name.replace("session-20", "session-19", 1)))


_NO_LIMITS: Final[Cannot] = {Stop.MAX_TURNS: NO_LIMIT, Stop.BUDGET: NO_LIMIT}
_NO_STEERING: Final[Cannot] = {Feat.STEERS: "the protocol has no way to"}
_OTHER_WORDS: Final[Cannot] = {Feat.HEARS_WHY: "its model is told of a refusal in words of its own"}
_AT_THE_END: Final[Cannot] = {Feat.COUNTS: "it counts at the end of a prompt only"}
_PASSED_OVER: Final[Cannot] = {Stop.REFUSED: "it passes over what its model refuses"}
_TRIES_ON: Final = "it tries again for longer than a test may take"
_TRIES_ON_AND_ON: Final[Cannot] = {Stop.RATE_LIMIT: _TRIES_ON, Stop.OVERLOADED: _TRIES_ON}

GEMINI: Final = Real(
    profile="gemini",
    settle=gemini_home,
    cannot={
        **_NO_LIMITS,
        **_NO_STEERING,
        **_OTHER_WORDS,
        **_AT_THE_END,
        **_PASSED_OVER,
        Feat.ASKS_OUTSIDE: "it refuses them itself",
    },
    begun_long_ago=_date_back,
)
CODEX: Final = Real(
    profile="codex-acp",
    settle=codex_home,
    cannot={
        **_NO_LIMITS,
        **_AT_THE_END,
        **_PASSED_OVER,
        Feat.ASKS: "its sandbox keeps it in its worktree; it asks for what is outside",
        Stop.CRASHED: "what runs in its sandbox does not reach it",
    },
)


def _let_go(command: str) -> str:
    """Spell a command so that what it leaves running does not hold its output.

    opencode waits for whoever does, and for longer than the time that it gives a command.
    """
    return f"({command}) > ~/out.txt 2>&1 < /dev/null; head -c 65536 ~/out.txt"


OPENCODE: Final = Real(
    profile="opencode",
    settle=opencode_home,
    spell=_let_go,
    cannot={
        **_NO_LIMITS,
        **_NO_STEERING,
        **_PASSED_OVER,
        **_TRIES_ON_AND_ON,
        Feat.COUNTS: "its figures are those of the last request only",
    },
)
QWEN: Final = Real(
    profile="qwen",
    settle=qwen_home,
    cannot={**_NO_LIMITS, **_NO_STEERING, **_OTHER_WORDS, **_PASSED_OVER, **_TRIES_ON_AND_ON},
)
VIBE: Final = Real(
    profile="vibe",
    settle=vibe_home,
    cannot={
        **_NO_LIMITS,
        **_NO_STEERING,
        **_OTHER_WORDS,
        **_PASSED_OVER,
        **_TRIES_ON_AND_ON,
        Feat.HAS_PROGRAM: "killed in a command, it is silent when it is to go on",
    },
)


class Stubbed:
    """Turns deeds into answers of a real agent's model."""

    def __init__(self, real: Real, stub: ModelStub, home: Path) -> None:
        self._real = real
        self._stub = stub
        self._home = home
        self.cannot = real.cannot
        self.env: Mapping[str, str] = {
            "PATH": with_programs(os.environ["PATH"]),
            "DO_NOT_TRACK": "1",
            **real.settle(home, stub.url(_SCENE)),
        }

    def plays(
        self, *deeds: Deed, then: tuple[Deed, ...] = (), chosen: settings.AcpAgent | None = None
    ) -> Agent:
        forever = bool(deeds) and isinstance(deeds[-1], End)
        played = (*whole(deeds), *(whole(then) if then else ()))

        def play(spec: SessionSpec) -> None:
            answers = [act(deed, spec.cwd, self._real.spell) for deed in played]
            self._stub.play(_SCENE, *answers, repeat_last=forever)

        plain = settings.AcpAgent(kind="acp", profile=self._real.profile)
        agent = acp.build(self._real.profile, chosen or plain, Processes())
        return Prepared(agent, play, partial(self._real.begun_long_ago, self._home))

    def heard(self, _: SessionSpec) -> str:
        return heard(self._stub, _SCENE)

    def served(self) -> Usage:
        return served(self._stub, _SCENE)

    @property
    def models(self) -> set[str]:
        """The models that were asked."""
        return {one.model for one in self._stub.served(_SCENE)}


@dataclass(slots=True)
class Prepared:
    """An agent whose model is told what to do when it first starts: then its worktree is known."""

    agent: Agent
    play: Callable[[SessionSpec], None]
    age: Callable[[], None]
    is_playing: bool = False

    @property
    def name(self) -> str:
        return self.agent.name

    @property
    def abilities(self) -> Abilities:
        return self.agent.abilities

    async def check(self, probe: Probe) -> list[Problem]:
        return await self.agent.check(probe)

    async def start(self, spec: SessionSpec) -> Session:
        if not self.is_playing:
            self.play(spec)
        self.is_playing = True
        self.age()
        return await self.agent.start(spec)


_ENDS: Final[Mapping[Stop, acts.Act]] = MappingProxyType(
    {
        Stop.ERROR: acts.Fail(acts.Failure.UNKNOWN_MODEL),
        Stop.AUTH: acts.Fail(acts.Failure.AUTH),
        Stop.RATE_LIMIT: acts.Fail(acts.Failure.RATE_LIMIT),
        Stop.OVERLOADED: acts.Fail(acts.Failure.OVERLOADED),
        Stop.CONTEXT_FULL: acts.Fail(acts.Failure.CONTEXT_FULL),
        Stop.REFUSED: acts.Refuse(),
        Stop.CRASHED: acts.RunCommand("kill -SEGV $PPID"),
    }
)


def act(deed: Deed, worktree: Path, spell: Callable[[str], str] = str) -> acts.Act:
    match deed:
        case Say():
            return acts.Say(deed.text)
        case Write():
            return acts.WriteFile(str(worktree / deed.path), deed.text)
        case Run():
            return acts.RunCommand(spell(deed.command))
        case Ask():
            return acts.Ask(deed.text)
        case Answer():
            return acts.Answer(deed.value)
        case Silence():
            return acts.Hang(acts.Where.MID_TEXT)
        case End():
            return _ENDS[deed.stop]
        case _:
            assert_never(deed)


@asynccontextmanager
async def open_real(real: Real, home: Path) -> AsyncIterator[Stubbed]:
    """Settle a real agent in its home, with a stub of its model's service.

    Raises:
        NotHere: it is not installed.
    """
    if find_program(real.program) is None:
        raise NotHere(missing(real.program))
    with ModelStub() as stub:
        yield Stubbed(real, stub, home)


KINDS: Final = tuple(
    Offer(real.profile, partial(open_real, real)) for real in (GEMINI, CODEX, OPENCODE, QWEN, VIBE)
)
