"""An agent's program under guard, and the lines of JSON that go to and fro.

It is what the protocol's package calls a transport. A line that is no JSON object is passed over:
programs print things. Once `end` has returned, nothing of the program is left.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from auto_build.process import LOG_LIMIT, Piped, Processes

_GRACE_S: Final = 2.5
_LEAVE_S: Final = 1.0
_EXIT_S: Final = 5.0


class Wire:
    """A program that is spoken with."""

    def __init__(self, piped: Piped, log: IO[bytes] | None) -> None:
        self._piped = piped
        self._log = log
        self._room = LOG_LIMIT

    @classmethod
    async def open(
        cls,
        processes: Processes,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: Path | None,
    ) -> "Wire":
        """Start a program; `log` takes what it writes, on both of its streams."""
        piped = await processes.open_guarded(argv, cwd=cwd, env=env, log=log, grace_s=_GRACE_S)
        return cls(piped, log.open("ab") if log else None)

    @property
    def errors(self) -> str:
        """The end of what the program wrote to standard error."""
        return self._piped.errors

    # --- what the protocol's package calls --------------------------------------------------------

    async def send(self, message: dict[str, Any]) -> None:
        """Write a message; a program that is gone takes nothing."""
        await self._piped.write(json.dumps(message, separators=(",", ":")) + "\n")

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message; None where no more can come."""
        while True:
            try:
                line = await self._piped.stdout.readline()
            except ValueError:  # longer than any line may be
                return None
            if not line:
                return None
            self._note(line)
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(message, dict):
                return message

    async def close(self) -> None:
        """Nothing: whoever opened it ends it."""

    # ----------------------------------------------------------------------------------------------

    async def exit(self) -> int | None:
        """Return the code of a program that is ending; None where it does not end."""
        waiting = asyncio.ensure_future(self._piped.wait())
        await asyncio.wait({waiting}, timeout=_EXIT_S)
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        return None

    async def end(self) -> None:
        """Let the program go, then stop it with all that it started; twice does no harm."""
        self._piped.stdin.close()
        waiting = asyncio.ensure_future(self._piped.wait())
        try:
            await asyncio.wait({waiting}, timeout=_LEAVE_S)
        finally:
            waiting.cancel()
            await self._piped.end()
            if self._log:
                self._log.close()
                self._log = None

    def _note(self, line: bytes) -> None:
        if self._log and self._room > 0:
            self._log.write(line[: self._room])
            self._log.flush()
            self._room -= len(line)
