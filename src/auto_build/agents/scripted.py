"""A deterministic agent that plays a script: for demos, tests and benchmarks.

What a script may hold stands in `auto_build.agents.script`.
"""

import asyncio
import shlex
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Final

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
from auto_build.agents.script import (
    Answer,
    Append,
    Ask,
    Commit,
    Delete,
    Doable,
    Edit,
    End,
    Ending,
    Fail,
    Hang,
    Hear,
    Limit,
    Raise,
    Run,
    Say,
    Script,
    Sleep,
    Spawn,
    Spend,
    Turn,
    Write,
)
from auto_build.core.usage import CostSource, Usage
from auto_build.process import Processes

_TAIL: Final = 2_000
_STEP_LIMIT_S: Final = 24 * 3600.0


class ScriptFails(Exception):
    """A step cannot be done."""


class ScriptedCrash(RuntimeError):
    """What a `raise` step raises."""


@dataclass(frozen=True, slots=True)
class ScriptedAgent:
    """Plays `script`."""

    name: str
    script: Script
    processes: Processes
    clock: Callable[[], float] = time.time  # noqa: TID251 - a program has a clock of its own

    @property
    def abilities(self) -> Abilities:
        """A script is no program of its own."""
        return Abilities(resumes=self.script.remembers, steers=True, reports_cost=True, memory_mb=1)

    async def check(self, probe: Probe) -> list[Problem]:  # noqa: ARG002 - the protocol's
        """A script needs nothing."""
        return []

    async def start(self, spec: SessionSpec) -> "ScriptedSession":
        """Start a session at the spec's attempt and round."""
        return ScriptedSession(self, spec)


class ScriptedSession:
    """Plays one turn for each prompt."""

    def __init__(self, agent: ScriptedAgent, spec: SessionSpec) -> None:
        self._agent = agent
        self._spec = spec
        self._round = spec.round
        self._usage = spec.earlier.usage if spec.earlier else Usage()
        self._name = spec.earlier.session if spec.earlier else _conversation(spec)
        self._spawned: list[asyncio.Task[object]] = []
        self._heard: asyncio.Queue[str] = asyncio.Queue()
        self._works = False
        self._stopped = False
        self._limit: asyncio.Timeout | None = None

    async def prompt(self, text: str) -> AsyncGenerator[AgentEvent, None]:
        """Play the turn for this prompt; the prompt's text is only logged."""
        self._log(f"--- prompt, round {self._round}\n{text}\n--- script\n")
        turn = self._next_turn()
        self._works, self._stopped = True, False
        if self._agent.script.remembers:
            yield Began(self._name)
        try:
            for step in turn.steps if turn else ():
                if isinstance(step, Spend):
                    yield self._spend(step)
                    continue
                yield _announce(step)
                if not isinstance(step, Doable):
                    yield self._end(step)
                    return
                await self._play_until_stopped(step)
            yield Ended(stop=Stop.DONE)
        except TimeoutError:
            yield Ended(stop=Stop.INTERRUPTED, detail="it was asked to stop")
        except ScriptFails as failure:
            yield Ended(stop=Stop.ERROR, detail=str(failure))
        finally:
            await self.close()

    @property
    def resumed(self) -> bool:
        """A conversation goes on where the script says that it does."""
        return self._agent.script.remembers and self._spec.earlier is not None

    async def steer(self, text: str) -> bool:
        """Take what is said while a turn is played: a `hear` step waits for it."""
        if self._works:
            self._log(f"--- told\n{text}\n")
            self._heard.put_nowait(text)
        return self._works

    async def interrupt(self) -> None:
        """Stop the step that is played, and with it the turn."""
        self._stopped = True
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Stop what was spawned."""
        self._works = False
        spawned, self._spawned = self._spawned, []
        for task in spawned:
            task.cancel()
        await asyncio.gather(*spawned, return_exceptions=True)

    def _log(self, text: str) -> None:
        with self._spec.log.open("a", encoding="utf-8") as log:
            log.write(text)

    def _next_turn(self) -> Turn | None:
        seat = self._spec.seat
        turn = self._agent.script.find(seat.chunk, seat.attempt, self._round, resumed=self.resumed)
        self._round += 1
        return turn

    def _spend(self, step: Spend) -> Spent:
        told = step.cost_usd is not None
        self._usage += Usage(
            input_tokens=step.input_tokens,
            output_tokens=step.output_tokens,
            cost_usd=step.cost_usd,
            source=CostSource.AGENT if told else CostSource.UNKNOWN,
        )
        return Spent(self._name, self._usage)

    def _end(self, step: Ending) -> Ended:
        match step:
            case Fail():
                return Ended(stop=Stop.ERROR, detail=step.text)
            case Answer():
                return Ended(stop=Stop.DONE, answer=step.value)
            case Ask():
                return Ended(stop=Stop.NEEDS_INPUT, detail=step.text)
            case Limit():
                wait_s = step.reset_in_s
                reset_at = None if wait_s is None else self._agent.clock() + wait_s
                return Ended(stop=Stop.RATE_LIMIT, detail=step.text, reset_at=reset_at)
            case End():
                return Ended(stop=step.stop, detail=step.text)

    async def _play_until_stopped(self, step: Doable) -> None:
        if self._stopped:
            raise TimeoutError
        async with asyncio.timeout(None) as limit:
            self._limit = limit
            try:
                await self._play(step)
            finally:
                self._limit = None

    async def _play(self, step: Doable) -> None:
        match step:
            case Say():
                return
            case Sleep():
                await asyncio.sleep(step.seconds * self._agent.script.pace)
            case Hang():
                await asyncio.Event().wait()
            case Raise():
                raise ScriptedCrash(step.text)
            case Run():
                await self._shell(step.command)
            case Commit():
                message = shlex.quote(step.message)
                await self._shell(f"git add -A && git commit -q -m {message}")
            case Spawn():
                self._spawned.append(asyncio.create_task(self._shell(step.command)))
                await asyncio.sleep(0.05)  # let it begin, as a real child would have
            case Hear():
                text = await self._heard.get()
                self._change(Append(do="append", path=step.path, text=f"{text}\n"))
            case _:
                self._change(step)

    def _change(self, step: Write | Append | Edit | Delete) -> None:
        path = self._spec.cwd / step.path
        try:
            match step:
                case Write():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(step.text, encoding="utf-8")
                case Append():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("a", encoding="utf-8") as file:
                        file.write(step.text)
                case Delete():
                    path.unlink()
                case Edit():
                    text = path.read_text(encoding="utf-8")
                    if step.old not in text:
                        raise ScriptFails(f"{step.path} does not hold {step.old!r}")
                    path.write_text(text.replace(step.old, step.new, 1), encoding="utf-8")
        except OSError as error:
            raise ScriptFails(f"{step.path}: {error.strerror}") from error

    async def _shell(self, command: str) -> object:
        return await self._agent.processes.run_guarded(
            ("sh", "-c", command),
            cwd=self._spec.cwd,
            env=self._spec.env,
            limit_s=_STEP_LIMIT_S,
            tail_limit=_TAIL,
            log=self._spec.log,
        )


def _conversation(spec: SessionSpec) -> str:
    seat = spec.seat
    return f"scripted-{seat.spec}-{seat.chunk}-{seat.attempt}-{spec.round}"


def _announce(step: Doable | Ending) -> AgentEvent:
    match step:
        case Say():
            return Text(step.text)
        case Write() | Append() | Edit() | Delete():
            return Doing(f"{step.do} {step.path}")
        case Run() | Spawn():
            return Doing(f"{step.do} {step.command}")
        case Sleep():
            return Doing("thinking")
        case _:
            return Doing(step.do)
