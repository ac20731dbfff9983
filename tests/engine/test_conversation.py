"""An agent is listened to until it ends, and no longer than is allowed; what it says is judged."""

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest

from auto_build.agents.base import AgentEvent, Ended, Spent, Stop, Text
from auto_build.core.events import Outcome
from auto_build.core.usage import Usage
from auto_build.engine.conversation import OUTCOMES, Failure, Patience, converse

Play = Callable[["Agent"], AsyncGenerator[AgentEvent, None]]
DONE = Ended(stop=Stop.DONE)


class Agent:
    """A session that plays a generator, and notes what is asked of it."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self.interrupted = asyncio.Event()
        self.ended = False

    @property
    def resumed(self) -> bool:
        return False

    async def prompt(self, _text: str) -> AsyncGenerator[AgentEvent, None]:
        try:
            async for event in self._play(self):
                yield event
        finally:
            self.ended = True

    async def steer(self, _text: str) -> bool:
        return False

    async def interrupt(self) -> None:
        self.interrupted.set()

    async def close(self) -> None: ...


async def listen(
    agent: Agent,
    *,
    limit_s: float = 5.0,
    idle_s: float = 5.0,
    hear: Callable[[AgentEvent], Failure | None] = lambda _: None,
) -> Failure | None:
    return await converse(agent, "go", patience=Patience(limit_s=limit_s, idle_s=idle_s), hear=hear)


async def test_an_agent_that_says_it_is_done_has_not_failed() -> None:
    async def play(_: Agent) -> AsyncGenerator[AgentEvent, None]:
        yield Text("hello")
        yield DONE

    heard: list[AgentEvent] = []
    agent = Agent(play)
    assert await listen(agent, hear=heard.append) is None
    assert heard == [Text("hello"), DONE]
    assert agent.ended


@pytest.mark.parametrize("stop", [stop for stop in Stop if stop is not Stop.DONE])
async def test_every_other_end_is_a_failure_of_its_own(stop: Stop) -> None:
    async def play(_: Agent) -> AsyncGenerator[AgentEvent, None]:
        yield Ended(stop=stop, detail="so it is", reset_at=9.0)

    assert await listen(Agent(play)) == Failure(OUTCOMES[stop], "so it is", 9.0)


@pytest.mark.parametrize("stop", [Stop.DONE, Stop.ERROR])
async def test_an_end_with_a_question_is_no_end(stop: Stop) -> None:
    async def play(_: Agent) -> AsyncGenerator[AgentEvent, None]:
        yield Text("I read it all.\n**QUESTION:** tabs or\nspaces?")
        yield Ended(stop=stop)

    assert await listen(Agent(play)) == Failure(Outcome.NEEDS_INPUT, "tabs or\nspaces?")


async def test_a_question_that_was_answered_by_going_on_is_forgotten() -> None:
    async def play(_: Agent) -> AsyncGenerator[AgentEvent, None]:
        yield Text("QUESTION: tabs or spaces?")
        yield Text("I looked: spaces. " + "Done. " * 300)
        yield DONE

    assert await listen(Agent(play)) is None


async def test_a_silent_agent_is_asked_to_end_and_then_ended() -> None:
    async def play(agent: Agent) -> AsyncGenerator[AgentEvent, None]:
        yield Text("thinking")
        await agent.interrupted.wait()
        yield Spent("talk", Usage(cost_usd=0.5))
        yield Ended(stop=Stop.INTERRUPTED)

    heard: list[AgentEvent] = []
    agent = Agent(play)
    failure = await listen(agent, idle_s=0.05, hear=heard.append)
    assert failure is not None
    assert failure.outcome is Outcome.IDLE
    assert Spent("talk", Usage(cost_usd=0.5)) in heard, "its last words are lost"
    assert agent.ended


async def test_an_agent_that_never_stops_talking_has_its_time_limit() -> None:
    async def play(agent: Agent) -> AsyncGenerator[AgentEvent, None]:
        while not agent.interrupted.is_set():
            yield Text("still at it")
            await asyncio.sleep(0)
        yield Ended(stop=Stop.DONE)

    failure = await listen(Agent(play), limit_s=0.05)
    assert failure is not None
    assert failure.outcome is Outcome.TIMEOUT


async def test_an_agent_that_is_to_stop_is_heard_out_and_keeps_the_reason() -> None:
    async def play(agent: Agent) -> AsyncGenerator[AgentEvent, None]:
        yield Text("dear")
        await agent.interrupted.wait()
        yield Ended(stop=Stop.DONE)

    too_dear = Failure(Outcome.BUDGET, "too dear")
    assert await listen(Agent(play), hear=lambda _: too_dear) == too_dear


async def test_an_agent_that_breaks_has_crashed() -> None:
    async def play(_: Agent) -> AsyncGenerator[AgentEvent, None]:
        yield Text("well")
        raise ValueError("a bug of its own")

    failure = await listen(Agent(play))
    assert failure == Failure(Outcome.CRASHED, "ValueError: a bug of its own")


async def test_an_agent_that_stops_without_a_word_has_crashed() -> None:
    async def play(_: Agent) -> AsyncGenerator[AgentEvent, None]:
        yield Text("well")

    assert await listen(Agent(play)) == Failure(Outcome.CRASHED, "it stopped without a word")


async def test_everything_that_was_said_before_the_end_is_heard() -> None:
    async def play(_: Agent) -> AsyncGenerator[AgentEvent, None]:
        for number in range(1_000):
            yield Text(str(number))
        yield DONE

    heard: list[AgentEvent] = []
    assert await listen(Agent(play), hear=heard.append) is None
    assert len(heard) == 1_001


async def test_who_stops_listening_ends_the_agent() -> None:
    async def play(_: Agent) -> AsyncGenerator[AgentEvent, None]:
        yield Text("begun")
        await asyncio.Event().wait()

    agent = Agent(play)
    begun = asyncio.Event()
    listening = asyncio.create_task(listen(agent, hear=lambda _: begun.set()))
    await begun.wait()
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    assert agent.ended
