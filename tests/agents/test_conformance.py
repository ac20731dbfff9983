"""What every kind of agent must do alike, run over each of them."""

import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from auto_build.agents.base import (
    Agent,
    AgentEvent,
    Doing,
    Ended,
    Probe,
    SessionSpec,
    Stop,
    Text,
)
from auto_build.agents.command import CommandAgent
from auto_build.agents.scripted import Script, ScriptedAgent, ScriptedCrash
from auto_build.policy.environment import Seat
from auto_build.process import Processes
from tests.programs import alive_in

CHUNK = "one"


class Kind(Protocol):
    """Makes agents of one kind that behave in a given way."""

    def runs(self, command: str) -> Agent:
        """Return an agent that runs a shell command and is done."""
        ...

    def errs(self) -> Agent:
        """Return an agent that says it cannot do it."""
        ...

    def crashes(self) -> Agent:
        """Return an agent that breaks down."""
        ...

    def hangs_after(self, command: str) -> Agent:
        """Return an agent that leaves a command running and never comes back."""
        ...


class Scripted:
    """The scripted agent."""

    def _play(self, *steps: dict[str, str]) -> Agent:
        turn = {"chunk": CHUNK, "steps": list(steps)}
        return ScriptedAgent("scripted", Script.model_validate({"turn": [turn]}), Processes())

    def runs(self, command: str) -> Agent:
        return self._play({"do": "run", "command": command})

    def errs(self) -> Agent:
        return self._play({"do": "fail", "text": "cannot"})

    def crashes(self) -> Agent:
        return self._play({"do": "raise", "text": "broken"})

    def hangs_after(self, command: str) -> Agent:
        return self._play({"do": "spawn", "command": command}, {"do": "hang"})


class Command:
    """Any program."""

    def _start(self, *argv: str) -> Agent:
        return CommandAgent("command", argv, "stdin", Processes())

    def runs(self, command: str) -> Agent:
        return self._start("sh", "-c", command)

    def errs(self) -> Agent:
        return self._start("sh", "-c", "echo cannot; exit 1")

    def crashes(self) -> Agent:
        return self._start("sh", "-c", "kill -SEGV $$")

    def hangs_after(self, command: str) -> Agent:
        return self._start("sh", "-c", f"({command}) & echo begun; sleep 300")


@pytest.fixture(params=[Scripted, Command], ids=["scripted", "command"])
def kind(request: pytest.FixtureRequest) -> Kind:
    made: Kind = request.param()
    return made


@dataclass(frozen=True)
class Place:
    """A worktree and what belongs to it."""

    spec: SessionSpec

    @property
    def folder(self) -> Path:
        return self.spec.cwd

    @property
    def probe(self) -> Probe:
        return Probe(env=self.spec.env, folder=self.spec.scratch)

    async def prompt(self, agent: Agent, text: str = "do it") -> list[AgentEvent]:
        session = await agent.start(self.spec)
        try:
            return [event async for event in session.prompt(text)]
        finally:
            await session.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for name in ("wörk tree", "scratch"):
        (tmp_path / name).mkdir()
    seat = Seat("001-demo", CHUNK, 1, 1)
    env = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "MARK": "seen"}
    scratch = tmp_path / "scratch"
    return Place(
        SessionSpec(
            cwd=tmp_path / "wörk tree",
            env=env,
            seat=seat,
            round=0,
            model="",
            scratch=scratch,
            log=scratch / "agent.log",
        )
    )


def _ended(events: Sequence[AgentEvent]) -> Ended:
    """Return the end, which must be the last thing said and said once."""
    *before, last = events
    assert isinstance(last, Ended)
    assert not any(isinstance(event, Ended) for event in before)
    return last


async def test_it_works_in_its_worktree_with_the_environment_it_is_given(
    kind: Kind, place: Place
) -> None:
    events = await place.prompt(kind.runs('echo "$MARK" > made.txt; env > all.txt'))

    assert _ended(events) == Ended(stop=Stop.DONE)
    assert (place.folder / "made.txt").read_text() == "seen\n"
    names = {line.partition("=")[0] for line in (place.folder / "all.txt").read_text().splitlines()}
    assert "ANTHROPIC_API_KEY" not in names, "its environment is not the stated one"


async def test_an_error_is_an_end_with_its_reason(kind: Kind, place: Place) -> None:
    ended = _ended(await place.prompt(kind.errs()))
    assert ended.stop is Stop.ERROR
    assert "cannot" in ended.detail


async def test_a_crash_is_never_taken_for_success(kind: Kind, place: Place) -> None:
    said: list[AgentEvent] = []
    session = await kind.crashes().start(place.spec)
    with suppress(ScriptedCrash):  # a bug inside the agent's own code comes out as it is
        said = [event async for event in session.prompt("do it")]
        assert _ended(said).stop is Stop.CRASHED
        assert "signal 11" in _ended(said).detail
    assert Ended(stop=Stop.DONE) not in said


async def test_closing_the_stream_ends_everything_that_it_started(kind: Kind, place: Place) -> None:
    children = "sleep 300 & (setsid sleep 300 &); touch begun; sleep 300"
    session = await kind.hangs_after(children).start(place.spec)
    stream: AsyncGenerator[AgentEvent, None] = session.prompt("do it")
    async with aclosing(stream):
        async for event in stream:
            last = isinstance(event, Text) or event == Doing("hang")
            if last:
                break
    await session.close()

    assert alive_in(place.folder) == []


async def test_what_it_leaves_running_ends_with_its_prompt(kind: Kind, place: Place) -> None:
    events = await place.prompt(kind.runs("sleep 300 & (setsid sleep 300 &) ; echo x > made.txt"))

    assert _ended(events).stop is Stop.DONE
    assert (place.folder / "made.txt").exists()
    assert alive_in(place.folder) == []


@pytest.mark.parametrize(
    "noise",
    [
        f"{sys.executable} -c 'print(\"x\" * 1024 * 1024)'",
        f"{sys.executable} -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 400)'",
        "printf 'no newline at the end'",
        f"{sys.executable} -c 'print(\"x\\n\" * 50_000)'",
        "exec 1>&- 2>&-; true",
    ],
    ids=["a line of 1 MiB", "garbage", "no newline", "a flood of lines", "output closed"],
)
async def test_whatever_it_prints_it_comes_to_its_end(kind: Kind, place: Place, noise: str) -> None:
    events = await place.prompt(kind.runs(f"{noise}; echo x > made.txt"))

    assert _ended(events) == Ended(stop=Stop.DONE)
    assert (place.folder / "made.txt").exists()


async def test_a_prompt_of_200_kb_arrives_whole(kind: Kind, place: Place) -> None:
    text = "é" * 100_000
    events = await place.prompt(kind.runs("cat > prompt.txt"), text)

    assert _ended(events).stop is Stop.DONE
    logged = place.spec.log.read_text(encoding="utf-8") if place.spec.log.exists() else ""
    assert text in (place.folder / "prompt.txt").read_text() + logged


async def test_a_prompt_that_is_not_read_does_no_harm(kind: Kind, place: Place) -> None:
    events = await place.prompt(kind.runs("exec 0<&-; echo x > made.txt"), "é" * 100_000)

    assert _ended(events) == Ended(stop=Stop.DONE)


async def test_a_session_can_be_closed_twice(kind: Kind, place: Place) -> None:
    session = await kind.runs("true").start(place.spec)
    await session.close()
    await session.close()


async def test_an_agent_that_works_has_no_problems(kind: Kind, place: Place) -> None:
    assert await kind.runs("true").check(place.probe) == []


# --- what only some have ------------------------------------------------------------------------


async def test_a_missing_program_is_found_before_it_is_needed(place: Place) -> None:
    agent = CommandAgent("mine", ("no-such-program", "-p"), "stdin", Processes())

    (problem,) = await agent.check(place.probe)
    assert "'no-such-program' is not in PATH" in problem.what
    assert "[agents.mine]" in problem.hint

    ended = _ended(await place.prompt(agent))
    assert ended.stop is Stop.CRASHED
    assert "could not be started" in ended.detail


async def test_a_command_agent_can_take_its_prompt_from_a_file(place: Place) -> None:
    argv = ("sh", "-c", 'cat "$1" > got.txt; echo "$2" >> got.txt', "-", "{prompt_file}", "{model}")
    agent = CommandAgent("file", argv, "file", Processes())

    assert _ended(await place.prompt(agent, "büild it\n")).stop is Stop.DONE

    assert (place.folder / "got.txt").read_text() == "büild it\n\n"
    assert not list(place.folder.glob("prompt*")), "the prompt's file lies in the worktree"


async def test_each_repair_prompt_plays_the_next_round_of_the_script(place: Place) -> None:
    turns = [
        {"chunk": CHUNK, "steps": [{"do": "write", "path": "a", "text": "first"}]},
        {"chunk": CHUNK, "round": 1, "steps": [{"do": "write", "path": "a", "text": "second"}]},
    ]
    agent = ScriptedAgent("s", Script.model_validate({"turn": turns}), Processes())
    session = await agent.start(place.spec)

    seen = []
    for _ in range(2):
        async for _event in session.prompt("go"):
            pass
        seen.append((place.folder / "a").read_text())

    assert seen == ["first", "second"]
