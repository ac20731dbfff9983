r"""A deterministic agent that plays a script: for demos, tests and benchmarks.

A script is TOML or JSON. Each turn names its chunk, and the attempt and round it is for; 0 or
nothing stands for any:

    [[turn]]
    chunk = "1-1"
    attempt = 1        # default: any
    round = 0          # 0 is the first prompt, 1 the first repair
    steps = [
      { do = "say", text = "reading the spec" },
      { do = "sleep", seconds = 0.5 },
      { do = "write", path = "src/a.py", text = "x = 1\n" },
      { do = "append", path = "src/a.py", text = "y = 2\n" },
      { do = "edit", path = "src/a.py", old = "x = 1", new = "x = 3" },
      { do = "delete", path = "old.py" },
      { do = "run", command = "python3 -m compileall src" },
      { do = "commit", message = "half of it" },
      { do = "spawn", command = "sleep 600" },
      { do = "hang" },
      { do = "fail", text = "I give up" },
      { do = "raise", text = "a bug in the agent" },
    ]

Paths are relative to the worktree; an absolute path is taken as it is, as a careless agent would.
A chunk without a turn changes nothing. Commands run in one guarded shell each; `spawn` leaves its
program running until the prompt ends.

What an agent's program says besides is played by these. The first four end the turn:

    { do = "answer", value = { any = "JSON" } }         # done, with a structured answer
    { do = "ask", text = "which of the two?" }          # it needs a person
    { do = "limit", reset_in_s = 30 }                   # a usage limit; without it: not known when
    { do = "stop", stop = "overloaded", text = "busy" } # auth, refused, max-turns, budget, ...
    { do = "spend", input_tokens = 900, output_tokens = 80, cost_usd = 0.02 }
    { do = "hear", path = "heard.txt" }                 # wait to be told something, note it there

`spend` adds to what the conversation has used up, earlier processes of it included. With
`remembers = true` at the top of the script, conversations can go on later: such a conversation is
named after its seat and round, so that the same run gives the same names. A turn that says
`resumed = true` is for prompts that go on with an earlier conversation, one that says `false` for
those that begin one. The planner plays the chunk "plan", `spec new` the chunk "spec".
"""

import asyncio
import json
import shlex
import time
import tomllib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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
from auto_build.core.usage import CostSource, Usage
from auto_build.errors import UsageProblem
from auto_build.process import Processes

_TAIL: Final = 2_000
_STEP_LIMIT_S: Final = 24 * 3600.0


class _Step(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Say(_Step):
    """Say something."""

    do: Literal["say"]
    text: str


class Sleep(_Step):
    """Work for a while, in seconds."""

    do: Literal["sleep"]
    seconds: float = Field(ge=0)


class Write(_Step):
    """Write a whole file."""

    do: Literal["write"]
    path: str
    text: str


class Append(_Step):
    """Add to the end of a file."""

    do: Literal["append"]
    path: str
    text: str


class Edit(_Step):
    """Replace a text that must be there."""

    do: Literal["edit"]
    path: str
    old: str
    new: str


class Delete(_Step):
    """Delete a file."""

    do: Literal["delete"]
    path: str


class Run(_Step):
    """Run a shell command line; its failure is said and gone over."""

    do: Literal["run"]
    command: str


class Commit(_Step):
    """Commit everything, as an agent that commits by itself."""

    do: Literal["commit"]
    message: str


class Spawn(_Step):
    """Start a program in the background and leave it running."""

    do: Literal["spawn"]
    command: str


class Hang(_Step):
    """Never come back."""

    do: Literal["hang"]


class Fail(_Step):
    """End with an error."""

    do: Literal["fail"]
    text: str = "the script says so"


class Raise(_Step):
    """Crash."""

    do: Literal["raise"]
    text: str = "the script says so"


class Answer(_Step):
    """Be done, with a structured answer."""

    do: Literal["answer"]
    value: Any


class Ask(_Step):
    """End with a question to a person."""

    do: Literal["ask"]
    text: str


class Limit(_Step):
    """Run into a usage limit that ends in so many seconds, where that is known."""

    do: Literal["limit"]
    reset_in_s: float | None = None
    text: str = "the usage limit is reached"


class End(_Step):
    """End for any reason that an agent can have."""

    do: Literal["stop"]
    stop: Stop
    text: str = "the script says so"


class Spend(_Step):
    """Use something up; `cost_usd` left out is a cost that the agent does not tell."""

    do: Literal["spend"]
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    cost_usd: float | None = Field(default=None, ge=0)


class Hear(_Step):
    """Wait to be told something, and add it to a file."""

    do: Literal["hear"]
    path: str


_Doable = Say | Sleep | Write | Append | Edit | Delete | Run | Commit | Spawn | Hang | Raise | Hear
_Ending = Fail | Answer | Ask | Limit | End
Step = Annotated[_Doable | _Ending | Spend, Field(discriminator="do")]


class Turn(_Step):
    """What the agent does at one prompt."""

    chunk: str
    attempt: int = Field(default=0, ge=0)
    round: int = Field(default=0, ge=0)
    resumed: bool | None = None
    steps: tuple[Step, ...]


class Script(_Step):
    """All turns; `pace` multiplies every sleep; `remembers` lets conversations go on later."""

    turn: tuple[Turn, ...] = ()
    pace: float = Field(default=1.0, ge=0)
    remembers: bool = False

    def find(self, chunk: str, attempt: int, round_: int, *, resumed: bool = False) -> Turn | None:
        """Return the turn for a prompt: one for just this attempt before one for any."""
        fitting = [
            turn
            for turn in self.turn
            if turn.chunk == chunk
            and turn.round == round_
            and turn.attempt in {0, attempt}
            and turn.resumed in {None, resumed}
        ]
        return max(fitting, key=lambda turn: (turn.attempt, turn.resumed is not None), default=None)


class ScriptFails(Exception):
    """A step cannot be done."""


class ScriptedCrash(RuntimeError):
    """What a `raise` step raises."""


def load_script(path: Path) -> Script:
    """Read a script.

    Raises:
        UsageProblem: it is missing, no TOML or JSON, or no script; every wrong place at once.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return Script.model_validate(raw)
    except FileNotFoundError as error:
        raise UsageProblem(
            f"the scripted agent has no script at {path}",
            hint="write one, or choose another agent with --agent",
        ) from error
    except ValidationError as error:
        places = [
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}"
            for one in error.errors(include_url=False)
        ]
        raise UsageProblem(f"{path} is no script:\n  " + "\n  ".join(places)) from error
    except (OSError, ValueError) as error:
        raise UsageProblem(f"{path} cannot be read as a script: {error}") from error


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
                if not isinstance(step, _Doable):
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

    def _end(self, step: _Ending) -> Ended:
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

    async def _play_until_stopped(self, step: _Doable) -> None:
        if self._stopped:
            raise TimeoutError
        async with asyncio.timeout(None) as limit:
            self._limit = limit
            try:
                await self._play(step)
            finally:
                self._limit = None

    async def _play(self, step: _Doable) -> None:
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


def _announce(step: _Doable | _Ending) -> AgentEvent:
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
