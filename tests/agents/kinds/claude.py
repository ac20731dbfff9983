"""Claude Code itself: the program that comes with its SDK, in front of a stub of its service."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final, assert_never

from auto_build import settings
from auto_build.agents.base import Agent, SessionSpec, Stop
from auto_build.agents.claude import backend as claude
from auto_build.core.usage import Usage, total
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
from tests.stubs import acts
from tests.stubs.server import ModelStub

_SCENE: Final = "conformance"
_ENDS: Final[Mapping[Stop, acts.Act]] = MappingProxyType(
    {
        Stop.ERROR: acts.Fail(acts.Failure.UNKNOWN_MODEL),
        Stop.AUTH: acts.Fail(acts.Failure.AUTH),
        Stop.RATE_LIMIT: acts.Fail(acts.Failure.RATE_LIMIT),
        Stop.OVERLOADED: acts.Fail(acts.Failure.OVERLOADED),
        Stop.CONTEXT_FULL: acts.Fail(acts.Failure.CONTEXT_FULL),
        Stop.REFUSED: acts.Refuse(),
        Stop.MAX_TURNS: acts.UseTool("Bash", {"command": "true"}),
        Stop.BUDGET: acts.UseTool("Bash", {"command": "true"}),
        Stop.CRASHED: acts.UseTool("Bash", {"command": "kill -SEGV $PPID"}),
    }
)


class Claude:
    """Turns deeds into answers of the model."""

    cannot: Mapping[Feat | Stop, str] = MappingProxyType({})

    def __init__(self, stub: ModelStub) -> None:
        self._stub = stub
        self.env = environment(stub.url(_SCENE))

    def plays(self, *deeds: Deed, then: tuple[Deed, ...] = ()) -> Agent:
        forever = bool(deeds) and isinstance(deeds[-1], End)
        answers = (*_turn(deeds), *_turn(then)) if then else _turn(deeds)
        self._stub.play(_SCENE, *answers, repeat_last=forever)
        chosen = settings.ClaudeAgent(kind="claude")
        return claude.build("claude", chosen, Processes())

    def heard(self, _: SessionSpec) -> str:
        return heard(self._stub, _SCENE)

    def served(self) -> Usage:
        return served(self._stub, _SCENE)


def environment(url: str) -> dict[str, str]:
    """Return what Claude needs to speak to a stub, and to nobody else."""
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "dummy",
        "CLAUDE_CODE_MAX_RETRIES": "0",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
    }


def heard(stub: ModelStub, scene: str) -> str:
    """Return all that the model was sent."""
    talks = [one.talk for one in stub.served(scene)]
    return "\n".join(
        text for talk in talks for text in (*talk.prompts, *(one.text for one in talk.results))
    )


def served(stub: ModelStub, scene: str) -> Usage:
    """Return what the model has used up."""
    return total(
        Usage(
            input_tokens=one.usage.input,
            output_tokens=one.usage.output,
            cache_read_tokens=one.usage.cache_read,
            cache_write_tokens=one.usage.cache_write,
        )
        for one in stub.served(scene)
        if one.usage
    )


def _turn(deeds: tuple[Deed, ...]) -> tuple[acts.Act, ...]:
    """Return the answers of one prompt, with one that ends it."""
    answers = tuple(_act(deed) for deed in deeds)
    match deeds[-1] if deeds else None:
        case Say() | Ask() | Answer() | Silence() | End() | Run(ends=False):
            return answers
        case _:
            return (*answers, acts.Say("It is done."))


def _act(deed: Deed) -> acts.Act:
    match deed:
        case Say():
            return acts.Say(deed.text)
        case Write():
            return acts.UseTool("Write", {"file_path": deed.path, "content": deed.text})
        case Run():
            return acts.UseTool("Bash", {"command": deed.command, "description": "do it"})
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
async def _open(_: Path) -> AsyncIterator[Kind]:
    with ModelStub() as stub:
        yield Claude(stub)


KINDS: Final = (Offer("claude", _open),)
