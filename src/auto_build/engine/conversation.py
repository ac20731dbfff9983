"""One prompt to an agent, from its first event to its end: watched, bounded, and judged.

An agent is listened to through a pump, so that one that is silent or too slow can still be asked to
end, and heard out, before it is ended. What it says of its end is turned into an outcome here.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from time import monotonic
from types import MappingProxyType
from typing import Final

from auto_build.agents.base import AgentEvent, Ended, Session, Stop, Text
from auto_build.core.events import Outcome

_HEARD: Final = 100  # events of an agent that wait to be looked at
_LAST_WORDS_S: Final = 5.0
_SAID: Final = 4_000  # characters of what an agent said last, in which a question is looked for
_QUESTION: Final = re.compile(  # as the prompts ask for it: at the end, on a line of its own
    r"^[\s*`]*QUESTION:[\s*`]*((?:(?!QUESTION:).){1,1000})\Z", re.MULTILINE | re.DOTALL
)

OUTCOMES: Final = MappingProxyType(
    {
        Stop.NEEDS_INPUT: Outcome.NEEDS_INPUT,
        Stop.REFUSED: Outcome.REFUSED,
        Stop.MAX_TURNS: Outcome.MAX_TURNS,
        Stop.BUDGET: Outcome.BUDGET,
        Stop.CONTEXT_FULL: Outcome.CONTEXT_FULL,
        Stop.AUTH: Outcome.AUTH,
        Stop.RATE_LIMIT: Outcome.RATE_LIMIT,
        Stop.OVERLOADED: Outcome.OVERLOADED,
        Stop.ERROR: Outcome.AGENT_ERROR,
        Stop.CRASHED: Outcome.CRASHED,
        Stop.INTERRUPTED: Outcome.AGENT_ERROR,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long one prompt may take in all, and how long its agent may be silent, in seconds."""

    limit_s: float
    idle_s: float


@dataclass(frozen=True, slots=True)
class Failure:
    """How a prompt ended without the agent saying that it is done.

    `reset_at` is when a usage limit ends, in seconds since the epoch, where that is known.
    """

    outcome: Outcome
    why: str
    reset_at: float | None = None


Hear = Callable[[AgentEvent], Failure | None]  # takes an event; says whether to stop, and why


async def converse(
    session: Session, text: str, *, patience: Patience, hear: Hear
) -> Failure | None:
    """Prompt an agent and listen to it until it ends; None where it says that it is done.

    Args:
        session: the conversation.
        text: the prompt.
        patience: its limits.
        hear: called with every event.
    """
    pump = _Pump(session.prompt(text))
    stopped: Failure | None = None
    said = ""
    end = monotonic() + patience.limit_s
    try:
        while True:
            event = await _next(pump, patience, end)
            match event:
                case Ended():
                    hear(event)
                    return stopped or _judge(event, said)
                case None if stopped:
                    return stopped
                case None:
                    why: Failure | None = _too_slow(patience, over=monotonic() >= end)
                case _:
                    said = f"{said}\n{event.text}"[-_SAID:] if isinstance(event, Text) else said
                    why = hear(event)
            if why is not None and stopped is None:
                stopped = why
                end = monotonic() + _LAST_WORDS_S
                await session.interrupt()
    except _AgentBroke as broke:
        return stopped or Failure(Outcome.CRASHED, str(broke))
    finally:
        await pump.close()


async def _next(pump: "_Pump", patience: Patience, end: float) -> AgentEvent | None:
    """Return the next event; None where the agent is silent for too long, or its time is up."""
    left_s = end - monotonic()
    return await pump.next(min(patience.idle_s, left_s)) if left_s > 0 else None


def _too_slow(patience: Patience, *, over: bool) -> Failure:
    if over:
        why = f"stopped after its time limit of {patience.limit_s / 60:g} min"
        return Failure(Outcome.TIMEOUT, why)
    why = f"it did and said nothing for {patience.idle_s / 60:g} min"
    return Failure(Outcome.IDLE, why)


def _judge(ended: Ended, said: str) -> Failure | None:
    """Return how an agent failed; one that ends with a question does not call that a failure."""
    plain = ended.stop in {Stop.DONE, Stop.ERROR} and ended.answer is None
    if plain and (asked := _QUESTION.search(said)):
        return Failure(Outcome.NEEDS_INPUT, asked[1].strip())
    if ended.stop is Stop.DONE:
        return None
    return Failure(OUTCOMES[ended.stop], ended.detail, ended.reset_at)


class _AgentBroke(Exception):
    """The agent's own code raised something: an outcome, and no bug of ours."""


class _Pump:
    """Reads an agent's stream in a task of its own, so that waiting for it can be given up."""

    def __init__(self, stream: AsyncGenerator[AgentEvent, None]) -> None:
        self._stream = stream
        self._queue: asyncio.Queue[AgentEvent] = asyncio.Queue(_HEARD)
        self._reading = asyncio.create_task(self._read())
        self._ended = False

    async def next(self, wait_s: float) -> AgentEvent | None:
        """Return the next event; None where there is none in time.

        Raises:
            _AgentBroke: the stream raised, or ended without saying so.
        """
        if not self._queue.empty():
            return self._queue.get_nowait()
        getting = asyncio.create_task(self._queue.get())
        await asyncio.wait(
            {getting, self._reading}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
        )
        if getting.done():
            return getting.result()
        getting.cancel()
        if not self._queue.empty():  # it came in this very moment
            return self._queue.get_nowait()
        if self._reading.done():
            self._raise_end()
        return None

    async def close(self) -> None:
        """Stop listening, which stops the agent; one that has ended may tidy up after itself."""
        if self._ended:
            await asyncio.wait({self._reading}, timeout=_LAST_WORDS_S)
        self._reading.cancel()
        await asyncio.wait({self._reading})
        if not self._reading.cancelled():
            self._reading.exception()  # it was told already, or came too late to matter
        await self._stream.aclose()

    async def _read(self) -> None:
        async for event in self._stream:
            self._ended = isinstance(event, Ended)
            await self._queue.put(event)

    def _raise_end(self) -> None:
        error = self._reading.exception()
        if error is None:
            raise _AgentBroke("it stopped without a word")
        if not isinstance(error, Exception):
            raise error
        raise _AgentBroke(f"{type(error).__name__}: {error}") from error
