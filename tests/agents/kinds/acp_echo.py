"""A small agent of our own that speaks the Agent Client Protocol: no model, and no network."""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, assert_never

from auto_build import settings
from auto_build.agents.acp import backend as acp
from auto_build.agents.acp.profiles import Counting, Profile
from auto_build.agents.base import Agent, SessionSpec, Stop
from auto_build.core.usage import Usage
from auto_build.process import Processes
from tests.agents.kinds import (
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

NO_LIMIT: Final = "the protocol knows no such limit"
ECHO: Final = Path(__file__).parents[1] / "echo_acp.py"


class Echo:
    """Turns deeds into a scene for the small agent of our own."""

    cannot: Mapping[Feat | Stop, str] = MappingProxyType({Stop.BUDGET: NO_LIMIT})
    env: Mapping[str, str] = MappingProxyType({})

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plays(self, *deeds: Deed, then: tuple[Deed, ...] = ()) -> Agent:
        scene = {
            "first": [_step(deed) for deed in whole(deeds)],
            "then": [_step(deed) for deed in whole(then)],
        }
        (self.folder / "scene.json").write_text(json.dumps(scene), encoding="utf-8")
        return echo_agent(self.folder)

    def heard(self, _: SessionSpec) -> str:
        return (self.folder / "heard.txt").read_text(encoding="utf-8")

    def served(self) -> Usage:
        lines = (self.folder / "served.txt").read_text(encoding="utf-8").splitlines()
        return Usage(input_tokens=100 * len(lines), output_tokens=10 * len(lines))


def echo_agent(folder: Path, **more: Any) -> acp.AcpAgent:
    """Return the small agent, which plays the scene that lies in a folder."""
    profile = Profile(
        argv=(sys.executable, "-I", str(ECHO), str(folder)),
        asking_modes=frozenset({""}),
        counting=Counting.REQUEST,
        steers=True,
    )
    chosen = settings.AcpAgent(kind="acp", argv=profile.argv, **more)
    return acp.AcpAgent("echo", chosen, profile, Processes())


def whole(deeds: tuple[Deed, ...]) -> tuple[Deed, ...]:
    """Return what is done at one prompt, with words at its end."""
    match deeds[-1] if deeds else None:
        case Say() | Ask() | Answer() | Silence() | End() | Run(ends=False):
            return deeds
        case _:
            return (*deeds, Say("It is done."))


def _step(deed: Deed) -> dict[str, Any]:
    match deed:
        case Say() | Ask():
            return {"do": "say", "text": deed.text}
        case Answer():
            return {"do": "say", "text": f"Here it is:\n```json\n{json.dumps(deed.value)}\n```\n"}
        case Write():
            return {"do": "write", "path": deed.path, "text": deed.text}
        case Run():
            return {"do": "run", "command": deed.command}
        case Silence():
            return {"do": "wait"}
        case End():
            return {"do": "end", "stop": deed.stop}
        case _:
            assert_never(deed)


@asynccontextmanager
async def _open(folder: Path) -> AsyncIterator[Kind]:
    yield Echo(folder)


KINDS: Final = (Offer("acp", _open, slow=False),)
