"""The scripted agent."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, assert_never

from auto_build.agents.base import Agent, SessionSpec, Stop
from auto_build.agents.script import Script
from auto_build.agents.scripted import ScriptedAgent
from auto_build.core.usage import Usage
from auto_build.process import Processes
from tests.agents.kinds import (
    CHUNK,
    Answer,
    Ask,
    Deed,
    End,
    Feat,
    Kind,
    Offer,
    Run,
    Say,
    Silence,
    Write,
)

_NOTHING_OF_ITS_OWN: Final = "a script does what it says, and no more"


class Scripted:
    """Turns deeds into steps."""

    cannot: Mapping[Feat | Stop, str] = MappingProxyType(
        {
            Feat.ASKS: _NOTHING_OF_ITS_OWN,
            Feat.READS_ONLY: _NOTHING_OF_ITS_OWN,
            Feat.FORGETS: "it takes whatever it is told for its own",
            Feat.COUNTS: "it counts what its script tells it to",
            Feat.HAS_PROGRAM: "a script is played by the coordinator itself",
        }
    )
    env: Mapping[str, str] = MappingProxyType({})

    def plays(self, *deeds: Deed, then: tuple[Deed, ...] = ()) -> Agent:
        first, second = [_step(deed) for deed in deeds], [_step(deed) for deed in then]
        turns = [
            {"chunk": CHUNK, "steps": first},
            {"chunk": CHUNK, "steps": second, "resumed": True},
            {"chunk": CHUNK, "steps": second, "round": 1},
        ]
        script = Script.model_validate({"turn": turns, "remembers": True})
        return ScriptedAgent("scripted", script, Processes())

    def heard(self, spec: SessionSpec) -> str:
        return spec.log.read_text(encoding="utf-8")

    def served(self) -> Usage:
        raise NotImplementedError


def _step(deed: Deed) -> dict[str, Any]:
    match deed:
        case Say():
            return {"do": "say", "text": deed.text}
        case Write():
            return {"do": "write", "path": deed.path, "text": deed.text}
        case Run():
            return {"do": "run", "command": deed.command}
        case Ask():
            return {"do": "ask", "text": deed.text}
        case Answer():
            return {"do": "answer", "value": deed.value}
        case Silence():
            return {"do": "hang"}
        case End():
            return {"do": "stop", "stop": deed.stop, "text": "it cannot, says the script"}
        case _:
            assert_never(deed)


@asynccontextmanager
async def _open(_: Path) -> AsyncIterator[Kind]:
    yield Scripted()


KINDS: Final = (Offer("scripted", _open, slow=False),)
