"""Any program as an agent: its argv is a template, the prompt goes to stdin or into a file.

Of a program that nothing is known of, exit code 0 is taken as "it says it is done" and anything
else as an error of its own. What a preset knows to read is told line by line.
"""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from auto_build.agents.base import (
    Abilities,
    AgentEvent,
    Began,
    Doing,
    Ended,
    Probe,
    Problem,
    SessionSpec,
    Spent,
    Stop,
    Text,
)
from auto_build.agents.presets import (
    PRESETS,
    Heard,
    Preset,
    Start,
    judge,
    read_line,
    read_trajectory,
    say_rest,
    total,
)
from auto_build.agents.words import ask_for_answer
from auto_build.core.usage import Price, Usage
from auto_build.process import CommandFailed, Exit, Processes

_TAIL: Final = 2_000
_QUEUE: Final = 1_000
_FOREVER_S: Final = 7 * 24 * 3600.0  # the coordinator's own limit comes first
_LOOK_S: Final = 20.0
_NOT_FOUND: Final = 127
_SIGNALLED: Final = 128
_SIGNALS: Final = 64  # a larger exit code is the program's own


@dataclass(frozen=True, slots=True)
class CommandAgent:
    """Starts a program once for each prompt; `clock` gives the seconds since the epoch.

    In each argument `{prompt_file}`, `{worktree}`, `{scratch}` and `{model}` are replaced.
    """

    name: str
    argv: Sequence[str]
    prompt: Literal["stdin", "file"]
    processes: Processes
    preset: str = ""
    price: Price | None = None
    clock: Callable[[], float] = time.time  # noqa: TID251 - to read "try again in 20s" by

    @property
    def known(self) -> Preset | None:
        """What is known of the program, if anything is."""
        return PRESETS.get(self.preset)

    @property
    def abilities(self) -> Abilities:
        """Those of its preset; a program of which nothing is known has none.

        An argv of one's own names no conversation to go on with.
        """
        known = self.known
        if known is None:
            return Abilities()
        return replace(known.abilities, resumes=known.abilities.resumes and not self.argv)

    def command(self, start: Start) -> tuple[str, ...]:
        """Return the program's arguments, not yet filled in."""
        known = self.known
        return known.argv(start) if known and not self.argv else tuple(self.argv)

    async def check(self, probe: Probe) -> list[Problem]:
        """Return what keeps it from working: no program, or no login."""
        known = self.known
        program = self.command(Start())[0]
        if "{" in program:
            return []
        if not shutil.which(program, path=probe.env.get("PATH")):
            hint = f"change argv under [agents.{self.name}] in auto-build.toml"
            return [
                Problem(
                    f"agent {self.name!r}: the program {program!r} is not in PATH",
                    f"install it{f' ({known.install})' if known else ''}, or {hint}",
                )
            ]
        return await self._look(known, program, probe) if known else []

    async def _look(self, known: Preset, program: str, probe: Probe) -> list[Problem]:
        """Start a known program to see that it runs, and look for its login."""
        try:
            await self.processes.run(
                program, *known.look, cwd=probe.folder, env=probe.env, limit_s=_LOOK_S
            )
        except CommandFailed as broken:
            return [Problem(f"agent {self.name!r}: {broken}", f"install it anew: {known.install}")]
        if known.keys and not any(_is_there(key, probe.env) for key in known.keys):
            return [Problem(f"agent {self.name!r}: there is no login and no key", known.login)]
        return []

    async def start(self, spec: SessionSpec) -> "CommandSession":
        """Start a session: nothing runs before the first prompt."""
        return CommandSession(self, spec)


def _is_there(key: str, env: dict[str, str]) -> bool:
    """Say whether a variable is set, or a file of the home folder is there."""
    if "/" not in key:
        return bool(env.get(key, "").strip())
    homes = [Path(env.get("HOME", "/")) / key]
    if key.startswith(".codex/") and "CODEX_HOME" in env:
        homes.append(Path(env["CODEX_HOME"]) / key.removeprefix(".codex/"))
    return any(path.is_file() for path in homes)


class Hearing:
    """What is heard of one prompt. In a flood words are left out, but nothing of what they mean."""

    def __init__(self, known: Preset | None) -> None:
        self._known = known
        self.heard = Heard()
        self.events: asyncio.Queue[AgentEvent] = asyncio.Queue()

    def take(self, line: str) -> None:
        """Take one line."""
        if self._known is None:
            self._tell((Text(line),))
            return
        before = self.heard
        self.heard, events = read_line(self._known, before, line)
        self._tell(events)
        if self.heard.used != before.used and self.heard.session:
            self._tell((Spent(self.heard.session, self.heard.used),))

    def _tell(self, events: Iterable[AgentEvent]) -> None:
        for event in events:
            if self.events.qsize() < _QUEUE or not isinstance(event, Text | Doing):
                self.events.put_nowait(event)


class CommandSession:
    """One program run per prompt; the conversation is what lies in the worktree, or its own."""

    def __init__(self, agent: CommandAgent, spec: SessionSpec) -> None:
        self._agent = agent
        self._spec = spec
        earlier = spec.earlier if agent.abilities.resumes else None
        self._session = earlier.session if earlier else ""
        self._used = earlier.usage if earlier else Usage()
        self._told = ""
        self._resumed = earlier is not None

    async def prompt(self, text: str) -> AsyncGenerator[AgentEvent, None]:
        """Run the program; yield what it does as it says it, then how it ended."""
        hearing = Hearing(self._agent.known)
        self._forget_trajectory()
        argv, by_file = self._argv(said := self._asking(text))
        running = asyncio.create_task(
            self._agent.processes.run_guarded(
                argv,
                cwd=self._spec.cwd,
                env=self._env(),
                limit_s=_FOREVER_S,
                tail_limit=_TAIL,
                stdin="" if by_file else said,
                log=self._spec.log,
                on_line=hearing.take,
            )
        )
        try:
            async for event in _until_done(running, hearing.events):
                for told in self._pass_on(event):
                    yield told
            end = await running
            heard, events = self._after(hearing.heard)
            for event in events:
                yield event
            self._session, self._used = heard.session or self._session, self._sum(heard.used)
            yield self._ended(argv[0], end, heard)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    @property
    def resumed(self) -> bool:
        """Whether the program takes up an earlier conversation of its own."""
        return self._resumed

    async def steer(self, text: str) -> bool:  # noqa: ARG002 - the protocol's
        """It cannot be told anything while it runs."""
        return False

    async def interrupt(self) -> None:
        """Closing the stream is what stops it."""

    async def close(self) -> None:
        """Nothing outlives a prompt."""

    def _asking(self, text: str) -> str:
        """Return the prompt; what is known can be asked for an answer in words only."""
        schema = self._spec.schema
        return ask_for_answer(text, schema) if schema and self._agent.known else text

    def _pass_on(self, event: AgentEvent) -> Iterable[AgentEvent]:
        """Return what is passed on: a name once, and what the whole conversation has used up."""
        match event:
            case Began() if event.session == self._told:
                return ()
            case Began():
                if event.session != self._session:  # of what it is counted anew
                    self._used = Usage()
                self._told = event.session
                return (event,)
            case Spent():
                return (replace(event, usage=self._sum(event.usage)),)
            case _:
                return (event,)

    def _after(self, heard: Heard) -> tuple[Heard, tuple[AgentEvent, ...]]:
        """Take what is left to tell when the program has ended, its own file of costs included."""
        heard, rest = say_rest(heard)
        if path := self._trajectory():
            with suppress(OSError, ValueError):  # it did not come so far
                told = json.loads(path.read_text(encoding="utf-8"))
                heard = read_trajectory(heard, told if isinstance(told, dict) else {})
        if heard.session or not heard.used:
            return heard, rest
        seat = self._spec.seat  # it has no name for its conversation, so it gets one of ours
        heard = replace(heard, session=f"{seat.chunk}-{seat.attempt}-{self._spec.round}")
        return heard, (*rest, Spent(heard.session, self._sum(heard.used)))

    def _trajectory(self) -> Path | None:
        known = self._agent.known
        return self._spec.scratch / known.trajectory if known and known.trajectory else None

    def _forget_trajectory(self) -> None:
        """Remove that of an earlier prompt: it would be taken for this one's."""
        if path := self._trajectory():
            path.unlink(missing_ok=True)

    def _sum(self, used: Usage) -> Usage:
        known = self._agent.known
        return total(known, used, self._used, self._agent.price) if known else Usage()

    def _start(self) -> Start:
        spec = self._spec
        return Start(model=spec.model, session=self._session, read_only=spec.read_only)

    def _env(self) -> dict[str, str]:
        known = self._agent.known
        return {**self._spec.env, **known.env(self._start())} if known else self._spec.env

    def _argv(self, text: str) -> tuple[list[str], bool]:
        """Return the program's arguments, and whether they name the prompt's file."""
        known = self._agent.known
        path = self._spec.scratch / f"prompt-{self._spec.round}.md"
        path.write_text(text, encoding="utf-8")
        values = {
            "{prompt_file}": str(path),
            "{worktree}": str(self._spec.cwd),
            "{scratch}": str(self._spec.scratch),
            "{model}": self._spec.model,
        }
        argv = [_fill(part, values) for part in self._agent.command(self._start())]
        own = known is not None and known.by_file and not self._agent.argv
        return argv, own or self._agent.prompt == "file"

    def _ended(self, program: str, end: Exit, heard: Heard) -> Ended:
        crashed = _crash(program, end)
        if crashed is not None and not heard.failure:  # some have large exit codes of their own
            return crashed
        code = end.code or 0
        if self._agent.known is not None:
            return judge(
                heard,
                code,
                end.tail,
                wants_answer=self._spec.schema is not None,
                now=self._agent.clock(),
            )
        if code == 0:
            return Ended(stop=Stop.DONE)
        tail = end.tail.strip()[-400:]
        return Ended(stop=Stop.ERROR, detail=f"{program} ended with exit code {code}: {tail}")


def _fill(part: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        part = part.replace(name, value)
    return part


async def _until_done(
    running: asyncio.Task[Exit], events: asyncio.Queue[AgentEvent]
) -> AsyncGenerator[AgentEvent, None]:
    while True:
        following = asyncio.create_task(events.get())
        try:
            done, _ = await asyncio.wait({running, following}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            following.cancel()  # what has been got stays got
        if following in done:
            yield following.result()
            continue
        while not events.empty():
            yield events.get_nowait()
        return


def _crash(program: str, end: Exit) -> Ended | None:
    """Return how a program ended that did not come to an end of its own."""
    tail = end.tail.strip()[-400:]
    if end.code == _NOT_FOUND:
        return Ended(stop=Stop.CRASHED, detail=f"{program} could not be started: {tail}")
    if end.code is not None and end.code < 0:
        return Ended(stop=Stop.CRASHED, detail=f"the guard of {program} was killed: {tail}")
    if end.code is not None and _SIGNALLED < end.code <= _SIGNALLED + _SIGNALS:
        signal = end.code - _SIGNALLED
        return Ended(stop=Stop.CRASHED, detail=f"{program} was ended by signal {signal}: {tail}")
    return None
