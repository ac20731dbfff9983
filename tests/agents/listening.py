"""Listening to an agent aside, as the engine does it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from auto_build.agents.base import AgentEvent, Session

WAIT_S: Final = 30.0


class Listening:
    """A prompt that is listened to aside, as the engine does it."""

    def __init__(self, session: Session) -> None:
        self.events: list[AgentEvent] = []
        self._stream: AsyncGenerator[AgentEvent, None] = session.prompt("do it")
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async with aclosing(self._stream):
            async for event in self._stream:
                self.events.append(event)

    async def end(self) -> list[AgentEvent]:
        """Return all that it said, when it has ended."""
        async with asyncio.timeout(WAIT_S):
            await self._task
        return self.events

    async def stop(self) -> float:
        """Listen no more; return the seconds until nothing of it was left."""
        begun = time.monotonic()
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=WAIT_S)
        await self._stream.aclose()
        return time.monotonic() - begun


async def until(holds: Callable[[], object], what: str) -> None:
    limit = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < limit, f"it never came that {what}"
        await asyncio.sleep(0.02)
