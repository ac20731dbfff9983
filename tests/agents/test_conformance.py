"""What every kind of agent must do alike, run over each of them.

The kinds are in `kinds/`; what one of them cannot show is skipped, with the reason that it names.
"""

import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Final, Literal

import psutil
import pytest

from auto_build.agents.base import (
    Agent,
    AgentEvent,
    Began,
    Denied,
    Earlier,
    Ended,
    Limits,
    Probe,
    SessionSpec,
    Spent,
    Stop,
    Text,
)
from auto_build.agents.command import CommandAgent
from auto_build.agents.script import Script
from auto_build.agents.scripted import ScriptedAgent, ScriptedCrash
from auto_build.core.claims import Claim
from auto_build.core.plan import ChunkId
from auto_build.core.usage import Usage
from auto_build.policy.environment import Seat
from auto_build.policy.permission import judge
from auto_build.process import Processes
from tests.agents import kinds
from tests.agents.kinds import (
    CHUNK,
    Answer,
    Ask,
    End,
    Feat,
    Kind,
    NotHere,
    Offer,
    Run,
    Say,
    Silence,
    Write,
)
from tests.agents.listening import Listening, until
from tests.programs import alive_in, wait_until_gone

CLOSE_S: Final = 5.0
FOREVER: Final = Run("touch begun; tail -f /dev/null", ends=False)
LEFT_BEHIND: Final = "tail -f /dev/null & (setsid tail -f /dev/null &)"


def _offers() -> list[object]:
    modules = [
        import_module(f"{kinds.__name__}.{found.name}") for found in iter_modules(kinds.__path__)
    ]
    return [
        pytest.param(offer, id=offer.name, marks=[pytest.mark.slow] if offer.slow else [])
        for module in modules
        for offer in module.KINDS
    ]


@pytest.fixture(params=_offers())
async def kind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kind]:
    offer: Offer = request.param
    home = tmp_path / "home"
    home.mkdir()
    async with AsyncExitStack() as stack:
        try:
            made = await stack.enter_async_context(offer.open(home))
        except NotHere as why:
            pytest.skip(str(why))
        yield made


def require(kind: Kind, *wanted: Feat | Stop) -> None:
    """Skip what a kind cannot show."""
    for one in wanted:
        if one in kind.cannot:
            pytest.skip(f"not {one!r}: {kind.cannot[one]}")


@dataclass(frozen=True)
class Place:
    """A worktree, what belongs to it, and the agents that work there."""

    spec: SessionSpec

    @property
    def folder(self) -> Path:
        return self.spec.cwd

    @property
    def probe(self) -> Probe:
        return Probe(env=self.spec.env, folder=self.spec.scratch)

    async def prompt(
        self, agent: Agent, text: str = "do it", spec: SessionSpec | None = None
    ) -> list[AgentEvent]:
        session = await agent.start(spec or self.spec)
        try:
            return [event async for event in session.prompt(text)]
        finally:
            await session.close()

    async def begun(self) -> None:
        """Wait until a command has said that it runs."""
        await until((self.folder / "begun").exists, "the agent's command runs")


@pytest.fixture
async def place(tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("NOT_STATED", "a secret of whoever runs the build")
    return await make_place(tmp_path, kind.env)


@pytest.fixture
async def plain_place(tmp_path: Path) -> Place:
    return await make_place(tmp_path, {})


async def make_place(folder: Path, more: Mapping[str, str]) -> Place:
    worktree, scratch = folder / "wörk tree", folder / "scratch"
    for one in (worktree, scratch):
        one.mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "LANG": "C.UTF-8",
        "MARK": "seen",
        **more,
    }
    await Processes().run("git", "init", "--quiet", cwd=worktree, env=env)
    root = os.path.realpath(worktree)
    held = [(ChunkId("2-1"), (Claim.parse("held.txt"),))]
    return Place(
        SessionSpec(
            cwd=worktree,
            env=env,
            seat=Seat("001-demo", CHUNK, 1, 1),
            round=0,
            model="",
            scratch=scratch,
            log=scratch / "agent.log",
            permit=lambda request: judge(request, root=root, held=held),
        )
    )


def ended(events: Sequence[AgentEvent]) -> Ended:
    """Return the end, which must be the last thing said and said once."""
    *before, last = events
    assert isinstance(last, Ended)
    assert not any(isinstance(event, Ended) for event in before)
    return last


def spent(events: Sequence[AgentEvent]) -> list[Spent]:
    return [event for event in events if isinstance(event, Spent)]


def conversation(events: Sequence[AgentEvent]) -> str:
    (began,) = {event.session for event in events if isinstance(event, Began)}
    return began


# --- work ----------------------------------------------------------------------------------------


async def test_it_works_in_its_worktree_with_the_environment_it_is_given(
    kind: Kind, place: Place
) -> None:
    events = await place.prompt(kind.plays(Run('echo "$MARK" > made.txt; env > all.txt')))

    assert ended(events) == Ended(stop=Stop.DONE)
    assert (place.folder / "made.txt").read_text() == "seen\n"
    names = {line.partition("=")[0] for line in (place.folder / "all.txt").read_text().splitlines()}
    assert "NOT_STATED" not in names, "its environment is not the stated one"


async def test_it_writes_files(kind: Kind, place: Place) -> None:
    events = await place.prompt(kind.plays(Write("süb.txt", "one\n"), Say("It is written.")))

    assert ended(events) == Ended(stop=Stop.DONE)
    assert (place.folder / "süb.txt").read_text() == "one\n"


async def test_a_second_prompt_goes_on_in_the_same_session(kind: Kind, place: Place) -> None:
    agent = kind.plays(Write("a.txt", "first"), then=(Write("b.txt", "second"),))
    session = await agent.start(place.spec)

    for _ in range(2):
        assert ended([event async for event in session.prompt("go")]).stop is Stop.DONE
    await session.close()

    assert [(place.folder / name).read_text() for name in ("a.txt", "b.txt")] == ["first", "second"]


async def test_a_prompt_of_200_kb_arrives_whole(kind: Kind, place: Place) -> None:
    text = "é" * 100_000
    events = await place.prompt(kind.plays(), text)

    assert ended(events).stop is Stop.DONE
    assert text in kind.heard(place.spec)


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
async def test_whatever_its_commands_print_it_comes_to_its_end(
    kind: Kind, place: Place, noise: str
) -> None:
    events = await place.prompt(kind.plays(Run(noise), Write("made.txt", "x")))

    assert ended(events) == Ended(stop=Stop.DONE)
    assert (place.folder / "made.txt").exists()


async def test_a_saying_of_1_mib_does_not_choke_it(kind: Kind, place: Place) -> None:
    events = await place.prompt(kind.plays(Say("x" * 1024 * 1024)))

    assert ended(events) == Ended(stop=Stop.DONE)
    assert any(isinstance(event, Text) and event.text.startswith("xxx") for event in events)


async def test_a_structured_answer_comes_with_the_end(kind: Kind, place: Place) -> None:
    require(kind, Feat.ANSWERS)
    schema = {
        "type": "object",
        "properties": {"verdict": {"type": "string"}},
        "required": ["verdict"],
        "additionalProperties": False,
    }
    agent = kind.plays(Answer({"verdict": "good"}))

    events = await place.prompt(agent, spec=replace(place.spec, schema=schema))

    assert ended(events) == Ended(stop=Stop.DONE, answer={"verdict": "good"})


# --- permission ----------------------------------------------------------------------------------


async def test_what_it_may_not_write_stays_unwritten_and_it_is_told_why(
    kind: Kind, place: Place, tmp_path: Path
) -> None:
    require(kind, Feat.ASKS)
    outside = tmp_path / "outside.txt"
    (place.folder / "way-out").symlink_to(tmp_path)
    deeds = (
        Write(str(outside), "x"),
        Write("way-out/by-link.txt", "x"),
        Write("held.txt", "x"),
        Write("mine.txt", "x"),
    )

    events = await place.prompt(kind.plays(*deeds))

    assert ended(events).stop is Stop.DONE
    assert (place.folder / "mine.txt").exists()
    assert not outside.exists()
    assert not (tmp_path / "by-link.txt").exists()
    assert not (place.folder / "held.txt").exists()
    reasons = "\n".join(event.why for event in events if isinstance(event, Denied))
    if Feat.ASKS_OUTSIDE not in kind.cannot:
        assert "outside of your worktree" in reasons
    assert "being written by another agent (chunk 2-1)" in reasons
    if Feat.HEARS_WHY not in kind.cannot:
        assert "another agent (chunk 2-1)" in kind.heard(place.spec)


async def test_an_agent_that_may_only_read_changes_nothing(kind: Kind, place: Place) -> None:
    require(kind, Feat.READS_ONLY)
    root = os.path.realpath(place.folder)
    spec = replace(
        place.spec,
        read_only=True,
        permit=lambda request: judge(request, root=root, read_only=True),
    )

    events = await place.prompt(kind.plays(Write("a.txt", "x"), Run("touch b.txt")), spec=spec)

    assert isinstance(events[-1], Ended)
    assert [path.name for path in place.folder.iterdir() if path.name != ".git"] == []


# --- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stop",
    [stop for stop in Stop if stop not in {Stop.DONE, Stop.NEEDS_INPUT, Stop.INTERRUPTED}],
)
async def test_an_end_is_told_with_its_reason(kind: Kind, place: Place, stop: Stop) -> None:
    require(kind, stop)
    limits = {Stop.MAX_TURNS: Limits(turns=2), Stop.BUDGET: Limits(cost_usd=0.000_01)}
    spec = replace(place.spec, limits=limits.get(stop, Limits()))

    end = ended(await place.prompt(kind.plays(End(stop)), spec=spec))

    assert end.stop is stop
    assert end.detail, "an end without a word"


async def test_a_question_to_a_person_is_no_success(kind: Kind, place: Place) -> None:
    require(kind, Feat.ASKS_PEOPLE)

    end = ended(await place.prompt(kind.plays(Ask("Which of the two files shall it be?"))))

    assert end.stop is Stop.NEEDS_INPUT
    assert end.detail


async def test_an_agent_that_is_asked_to_stop_says_so(kind: Kind, place: Place) -> None:
    require(kind, Feat.INTERRUPTS)
    session = await kind.plays(FOREVER).start(place.spec)
    listening = Listening(session)
    await place.begun()

    begun = time.monotonic()
    await session.interrupt()
    end = ended(await listening.end())
    await session.close()

    assert end.stop is Stop.INTERRUPTED
    assert time.monotonic() - begun < CLOSE_S
    assert alive_in(place.folder) == []


@pytest.mark.parametrize("deed", [FOREVER, Silence()], ids=["in a command", "silent"])
async def test_listening_no_more_ends_everything_at_once(
    kind: Kind, place: Place, deed: Run | Silence
) -> None:
    deeds = (Run(f"{LEFT_BEHIND}; touch begun"), deed)
    session = await kind.plays(*deeds).start(place.spec)
    listening = Listening(session)
    await place.begun()

    took_s = await listening.stop()

    assert alive_in(place.folder) == []
    assert took_s < CLOSE_S
    await session.close()


async def test_what_it_leaves_running_ends_with_its_session(kind: Kind, place: Place) -> None:
    events = await place.prompt(kind.plays(Run(f"{LEFT_BEHIND}; echo x > made.txt")))

    assert ended(events).stop is Stop.DONE
    assert (place.folder / "made.txt").exists()
    assert alive_in(place.folder) == []


async def test_a_session_can_be_closed_twice_and_without_a_prompt(kind: Kind, place: Place) -> None:
    session = await kind.plays().start(place.spec)
    await session.close()
    await session.close()

    assert alive_in(place.folder) == []


# --- conversations -------------------------------------------------------------------------------


async def test_a_conversation_goes_on_in_a_new_session(kind: Kind, place: Place) -> None:
    require(kind, Feat.RESUMES)
    agent = kind.plays(Write("a.txt", "first"), then=(Write("b.txt", "second"),))
    first = await place.prompt(agent)

    session = await agent.start(_resumed(place.spec, first))
    later = [event async for event in session.prompt("go on")]
    await session.close()

    assert session.resumed
    assert ended(later).stop is Stop.DONE
    assert (place.folder / "b.txt").exists()
    assert conversation(later) == conversation(first)


async def test_a_conversation_that_nobody_knows_begins_anew(kind: Kind, place: Place) -> None:
    require(kind, Feat.RESUMES, Feat.FORGETS)
    unknown = Earlier("7b1c4f0e-6f3c-4a53-9d37-000000000000", Usage(input_tokens=7))
    session = await kind.plays(Write("a.txt", "x")).start(replace(place.spec, earlier=unknown))

    events = [event async for event in session.prompt("do it")]
    await session.close()

    assert not session.resumed
    assert ended(events).stop is Stop.DONE
    assert conversation(events) != unknown.session


async def test_an_agent_that_is_killed_is_no_success_and_goes_on_later(
    kind: Kind, place: Place
) -> None:
    require(kind, Feat.HAS_PROGRAM)
    agent = kind.plays(FOREVER, then=(Write("b.txt", "x"),))
    session = await agent.start(place.spec)
    listening = Listening(session)
    await place.begun()
    await until(
        lambda: Feat.COUNTS in kind.cannot or spent(listening.events), "it says what it used"
    )

    for program in _programs(place.folder):
        program.kill()
    first = await listening.end()
    await session.close()

    assert ended(first).stop is Stop.CRASHED
    assert "signal 9" in ended(first).detail
    wait_until_gone(alive_in(place.folder))
    require(kind, Feat.RESUMES)

    session = await agent.start(_resumed(place.spec, first))
    later = [event async for event in session.prompt("go on")]
    await session.close()

    assert session.resumed
    assert ended(later).stop is Stop.DONE
    assert (place.folder / "b.txt").exists()
    if Feat.COUNTS not in kind.cannot:
        assert spent(later)[-1].usage.tokens == kind.served().tokens, "what was killed is not lost"


def _resumed(spec: SessionSpec, first: Sequence[AgentEvent]) -> SessionSpec:
    usage = spent(first)[-1].usage if spent(first) else Usage()
    return replace(spec, earlier=Earlier(conversation(first), usage))


def _programs(folder: Path) -> list[psutil.Process]:
    """Return the agent's own program: what a guard of ours has started."""
    me = psutil.Process().pid
    guards = {one.pid for one in alive_in(folder) if one.ppid() == me}
    return [one for one in alive_in(folder) if one.ppid() in guards]


async def test_it_hears_what_is_said_while_it_works(kind: Kind, place: Place) -> None:
    require(kind, Feat.STEERS)
    wait = "touch begun; until [ -e go ]; do sleep 0.05; done"
    session = await kind.plays(Run(wait), Write("made.txt", "x")).start(place.spec)
    assert not await session.steer("too early"), "nobody listens yet"
    listening = Listening(session)
    await place.begun()

    assert await session.steer("the tests are in spec/")
    (place.folder / "go").touch()
    end = ended(await listening.end())
    await session.close()

    assert end.stop is Stop.DONE
    assert "the tests are in spec/" in kind.heard(place.spec)
    assert not await session.steer("too late"), "nobody listens any more"


async def test_it_counts_every_token_it_used(kind: Kind, place: Place) -> None:
    require(kind, Feat.COUNTS)
    events = await place.prompt(kind.plays(Write("a.txt", "x"), Write("b.txt", "y"), Say("done")))

    told = [one.usage for one in spent(events)]
    assert told[-1] == told[-1].at_least(told[0])
    served = kind.served()
    assert (told[-1].input_tokens, told[-1].output_tokens) == (
        served.input_tokens,
        served.output_tokens,
    )
    assert {one.session for one in spent(events)} == {conversation(events)}


# --- before a run --------------------------------------------------------------------------------


async def test_an_agent_that_works_has_no_problems(kind: Kind, place: Place) -> None:
    assert await kind.plays().check(place.probe) == []


async def test_its_abilities_are_those_that_it_shows(kind: Kind) -> None:
    can = kind.plays().abilities

    shown = {feat: feat not in kind.cannot for feat in Feat}
    assert (can.asks, can.resumes, can.steers) == (
        shown[Feat.ASKS],
        shown[Feat.RESUMES],
        shown[Feat.STEERS],
    )


# --- what only some have -------------------------------------------------------------------------


def program(*argv: str, prompt: Literal["stdin", "file"] = "stdin") -> CommandAgent:
    return CommandAgent("mine", argv, prompt, Processes())


async def test_a_missing_program_is_found_before_it_is_needed(plain_place: Place) -> None:
    agent = program("no-such-program", "-p")

    (problem,) = await agent.check(plain_place.probe)
    assert "'no-such-program' is not in PATH" in problem.what
    assert "[agents.mine]" in problem.hint

    end = ended(await plain_place.prompt(agent))
    assert end.stop is Stop.CRASHED
    assert "could not be started" in end.detail


@pytest.mark.parametrize(
    ("script", "stop", "words"),
    [
        ("echo I cannot; exit 1", Stop.ERROR, "exit code 1: I cannot"),
        ("kill -SEGV $$", Stop.CRASHED, "signal 11"),
    ],
)
async def test_a_program_that_fails_does_so_in_its_own_words(
    plain_place: Place, script: str, stop: Stop, words: str
) -> None:
    end = ended(await plain_place.prompt(program("sh", "-c", script)))

    assert end.stop is stop
    assert words in end.detail


async def test_a_program_can_take_its_prompt_from_a_file(plain_place: Place) -> None:
    script = 'cat "$1" > got.txt; echo "$2" >> got.txt'
    agent = program("sh", "-c", script, "-", "{prompt_file}", "{model}", prompt="file")

    assert ended(await plain_place.prompt(agent, "büild it\n")).stop is Stop.DONE

    assert (plain_place.folder / "got.txt").read_text() == "büild it\n\n"
    assert not list(plain_place.folder.glob("prompt*")), "the prompt's file lies in the worktree"


async def test_a_prompt_that_is_not_read_does_no_harm(plain_place: Place) -> None:
    agent = program("sh", "-c", "exec 0<&-; echo x > made.txt")

    assert ended(await plain_place.prompt(agent, "é" * 100_000)) == Ended(stop=Stop.DONE)


async def test_a_bug_in_an_agents_own_code_comes_out_as_it_is(plain_place: Place) -> None:
    turn = {"chunk": CHUNK, "steps": [{"do": "raise", "text": "broken"}]}
    agent = ScriptedAgent("scripted", Script.model_validate({"turn": [turn]}), Processes())

    with pytest.raises(ScriptedCrash, match="broken"):
        await plain_place.prompt(agent)
