"""The `claude` program under guard, and the lines of JSON that go to and fro.

After each message of the model the program is asked for its totals, and the answer is put among the
messages, as one of its own.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

from auto_build.process import LOG_LIMIT, Piped, Processes

TOTALS: Final = "auto_build_totals"
_PREFIX: Final = "auto-build-"
_TOTALS_S: Final = 10.0
_MOMENT_S: Final = 0.2
_GRACE_S: Final = 3.0
_LEAVE_S: Final = 1.0
_LAST_S: Final = 5.0


class WireBroken(Exception):
    """Nothing more comes from the program: it is gone, or what it says cannot be read."""


class Wire:
    """What the SDK calls a transport. Once `close` has returned, nothing of the program is left."""

    def __init__(
        self,
        processes: Processes,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: Path,
    ) -> None:
        self.code: int | None = None  # once the program has ended by itself
        self._processes = processes
        self._argv = argv
        self._cwd = cwd
        self._env = env
        self._log = log
        self._piped: Piped | None = None
        self._numbers = count(1)
        self._waiting: dict[str, asyncio.Future[dict[str, Any] | None]] = {}
        self._spoke = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None
        self._room = LOG_LIMIT
        self._told_to_go = False

    @property
    def errors(self) -> str:
        """The end of what the program wrote to standard error."""
        return self._piped.errors if self._piped else ""

    async def connect(self) -> None:
        """Start the program."""
        self._piped = await self._processes.open_guarded(
            self._argv, cwd=self._cwd, env=self._env, log=self._log, grace_s=_GRACE_S
        )
        self._asking = asyncio.create_task(self._ask_often())

    async def write(self, data: str) -> None:
        """Write to the program; one that is gone takes nothing."""
        if self._piped:
            await self._piped.write(data)

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the program's messages, until it closes its output.

        Raises:
            WireBroken: it ended unasked, or a message of it is damaged.
        """
        piped = self._piped
        if piped is None:
            return
        try:
            while line := await self._line(piped):
                message = _parse(line)
                if message is not None and (passed := self._pass_on(message)):
                    yield passed
        finally:
            for answer in self._waiting.values():
                _give(answer, None)
        self.code = await self._wait(piped, _LAST_S)
        if self.code is None:
            raise WireBroken("claude closed its output and runs on")
        if not self._told_to_go:
            raise WireBroken(f"claude ended with exit code {self.code}")

    async def end_input(self) -> None:
        """Tell the program that nothing more will be said."""
        self._told_to_go = True
        if self._piped:
            self._piped.stdin.close()

    def is_ready(self) -> bool:
        """Say whether the program was started."""
        return self._piped is not None

    async def close(self) -> None:
        """End the program and all that it started; more than once does no harm."""
        if self._asking:
            self._asking.cancel()
        for answer in self._waiting.values():
            _give(answer, None)
        if self._piped:
            await self._piped.end()

    async def leave(self) -> None:
        """Let a program that has nothing to do end by itself, and write down what it knows."""
        await self.end_input()
        if self._piped:
            await self._wait(self._piped, _LEAVE_S)

    async def ask(self, what: str, **more: Any) -> str:
        """Put a request to the program; return its number."""
        number = f"{_PREFIX}{next(self._numbers)}"
        request = {"subtype": what, **more}
        message = {"type": "control_request", "request_id": number, "request": request}
        await self.write(json.dumps(message) + "\n")
        return number

    async def totals(self) -> dict[str, Any] | None:
        """Return what the program counts so far; None where it does not say."""
        number = await self._ask_totals()
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait({answer}, timeout=_TOTALS_S)
            return answer.result() if answer.done() else None
        finally:
            del self._waiting[number]

    async def _ask_totals(self) -> str:
        return await self.ask("get_usage", skip_behaviors=True, detached=True)

    async def _ask_often(self) -> None:
        while await self._spoke.wait():
            self._spoke.clear()
            await self._ask_totals()

    def _pass_on(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Return what of a message goes to the SDK."""
        if message.get("type") in {"assistant", "user"}:
            self._spoke.set()  # the totals are complete now, or in a moment
            asyncio.get_running_loop().call_later(_MOMENT_S, self._spoke.set)
        response = message.get("response")
        if message.get("type") != "control_response" or not isinstance(response, dict):
            return message
        number = str(response.get("request_id"))
        if not number.startswith(_PREFIX):
            return message
        session = (response.get("response") or {}).get("session")
        if number in self._waiting:
            _give(self._waiting[number], session)
            return None
        return {"type": "system", "subtype": TOTALS, **session} if session else None

    async def _wait(self, piped: Piped, limit_s: float) -> int | None:
        """Return the exit code of a program that ends by itself in time; None otherwise."""
        gone = asyncio.create_task(piped.wait())
        await asyncio.wait({gone}, timeout=limit_s)
        if not gone.done():
            gone.cancel()
            return None
        return gone.result()

    async def _line(self, piped: Piped) -> bytes:
        try:
            line = await piped.stdout.readline()
        except ValueError as error:
            raise WireBroken(f"claude sent a line that is too long: {error}") from error
        if self._room > 0:
            with self._log.open("ab") as log:
                log.write(line[: self._room])
            self._room -= len(line)
        return line


def _give(answer: "asyncio.Future[dict[str, Any] | None]", value: dict[str, Any] | None) -> None:
    if not answer.done():
        answer.set_result(value)


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return a line's message; None for a line that is none."""
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        message: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise WireBroken(f"claude sent a damaged line: {error}") from error
    return message
