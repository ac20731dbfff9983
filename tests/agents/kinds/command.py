"""Any program: a shell script."""

import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final, assert_never

from auto_build.agents.base import Agent, SessionSpec, Stop
from auto_build.agents.command import CommandAgent
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

_UNKNOWN: Final = "nothing is known of the program"
_CODE: Final = "an exit code does not say"
_KNOWN: Final = frozenset({Stop.DONE, Stop.ERROR, Stop.CRASHED})


class Command:
    """Turns deeds into a shell script."""

    cannot: Mapping[Feat | Stop, str] = MappingProxyType(
        {
            **{feat: _UNKNOWN for feat in Feat if feat is not Feat.HAS_PROGRAM},
            **{stop: _CODE for stop in Stop if stop not in _KNOWN},
        }
    )
    env: Mapping[str, str] = MappingProxyType({})

    def __init__(self, folder: Path) -> None:
        self._heard = folder / "heard.txt"
        self._begun = folder / "begun"
        self._script = folder / "script.sh"

    def plays(self, *deeds: Deed, then: tuple[Deed, ...] = ()) -> Agent:
        heard, begun = shlex.quote(str(self._heard)), shlex.quote(str(self._begun))
        lines = [
            f"cat >> {heard}",
            f"if [ ! -e {begun} ]; then",
            f"touch {begun}",
            *(_line(deed) for deed in deeds),
            "else :",
            *(_line(deed) for deed in then),
            "fi",
            "exit 0",
        ]
        self._script.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return CommandAgent("command", ("sh", str(self._script)), "stdin", Processes())

    def heard(self, _: SessionSpec) -> str:
        return self._heard.read_text(encoding="utf-8")

    def served(self) -> Usage:
        raise NotImplementedError


def _line(deed: Deed) -> str:
    match deed:
        case Say():
            return f"printf '%s\\n' {shlex.quote(deed.text)}"
        case Write():
            return f"printf '%s' {shlex.quote(deed.text)} > {shlex.quote(deed.path)}"
        case Run():
            return f"({deed.command})"
        case Silence():
            return "tail -f /dev/null"
        case End(stop=Stop.CRASHED):
            return "kill -SEGV $$"
        case End():
            return "echo 'it cannot'; exit 1"
        case Ask() | Answer():
            raise NotImplementedError
        case _:
            assert_never(deed)


@asynccontextmanager
async def _open(folder: Path) -> AsyncIterator[Kind]:
    yield Command(folder)


KINDS: Final = (Offer("command", _open, slow=False),)
