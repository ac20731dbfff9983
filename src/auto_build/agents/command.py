"""Any program as an agent: its argv is a template, the prompt goes to stdin or into a file.

Exit code 0 is taken as "it says it is done", anything else as an error of the agent's.
"""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

from auto_build.agents.base import (
    Abilities,
    AgentEvent,
    Ended,
    Probe,
    Problem,
    SessionSpec,
    Stop,
    Text,
)
from auto_build.process import Exit, Processes

_TAIL: Final = 2_000
_QUEUE: Final = 1_000
_FOREVER_S: Final = 7 * 24 * 3600.0  # the coordinator's own limit comes first
_NOT_FOUND: Final = 127


@dataclass(frozen=True, slots=True)
class CommandAgent:
    """Starts `argv` once for each prompt.

    In each argument `{prompt_file}`, `{worktree}` and `{model}` are replaced.
    """

    name: str
    argv: Sequence[str]
    prompt: Literal["stdin", "file"]
    processes: Processes

    @property
    def abilities(self) -> Abilities:
        """A program of which nothing is known."""
        return Abilities()

    async def check(self, probe: Probe) -> list[Problem]:
        """Return whether the program is missing."""
        program = self.argv[0]
        if "{" in program or shutil.which(program, path=probe.env.get("PATH")):
            return []
        return [
            Problem(
                f"agent {self.name!r}: the program {program!r} is not in PATH",
                f"install it, or change argv under [agents.{self.name}] in auto-build.toml",
            )
        ]

    async def start(self, spec: SessionSpec) -> "CommandSession":
        """Start a session: nothing runs before the first prompt."""
        return CommandSession(self, spec)


class CommandSession:
    """One program run per prompt; the conversation is what lies in the worktree."""

    def __init__(self, agent: CommandAgent, spec: SessionSpec) -> None:
        self._agent = agent
        self._spec = spec

    async def prompt(self, text: str) -> AsyncGenerator[AgentEvent, None]:
        """Run the program; yield its lines as they come, then how it ended."""
        lines: asyncio.Queue[str] = asyncio.Queue(_QUEUE)

        def take(line: str) -> None:
            with suppress(asyncio.QueueFull):  # a flood: the log has it all
                lines.put_nowait(line)

        running = asyncio.create_task(
            self._agent.processes.run_guarded(
                self._argv(text),
                cwd=self._spec.cwd,
                env=self._spec.env,
                limit_s=_FOREVER_S,
                tail_limit=_TAIL,
                stdin=text if self._agent.prompt == "stdin" else "",
                log=self._spec.log,
                on_line=take,
            )
        )
        try:
            async for line in _until_done(running, lines):
                yield Text(line)
            yield _ended(self._agent.argv[0], await running)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    @property
    def resumed(self) -> bool:
        """Each program begins anew."""
        return False

    async def steer(self, text: str) -> bool:  # noqa: ARG002 - the protocol's
        """It cannot be told anything while it runs."""
        return False

    async def interrupt(self) -> None:
        """Closing the stream is what stops it."""

    async def close(self) -> None:
        """Nothing outlives a prompt."""

    def _argv(self, text: str) -> list[str]:
        path = self._spec.scratch / f"prompt-{self._spec.round}.md"
        path.write_text(text, encoding="utf-8")
        values = {
            "{prompt_file}": str(path),
            "{worktree}": str(self._spec.cwd),
            "{model}": self._spec.model,
        }
        return [_fill(part, values) for part in self._agent.argv]


def _fill(part: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        part = part.replace(name, value)
    return part


async def _until_done(
    running: asyncio.Task[Exit], lines: asyncio.Queue[str]
) -> AsyncGenerator[str, None]:
    while True:
        following = asyncio.create_task(lines.get())
        done, _ = await asyncio.wait({running, following}, return_when=asyncio.FIRST_COMPLETED)
        if following in done:
            yield following.result()
            continue
        following.cancel()
        while not lines.empty():
            yield lines.get_nowait()
        return


def _ended(program: str, end: Exit) -> Ended:
    if end.code == 0:
        return Ended(stop=Stop.DONE)
    tail = end.tail.strip()[-400:]
    if end.code == _NOT_FOUND:
        return Ended(stop=Stop.CRASHED, detail=f"{program} could not be started: {tail}")
    if end.code is not None and end.code < 0:
        return Ended(stop=Stop.CRASHED, detail=f"the guard of {program} was killed: {tail}")
    if end.code is not None and end.code > 128:
        return Ended(
            stop=Stop.CRASHED, detail=f"{program} was ended by signal {end.code - 128}: {tail}"
        )
    return Ended(stop=Stop.ERROR, detail=f"{program} ended with exit code {end.code}: {tail}")
