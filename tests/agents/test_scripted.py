"""What a script can have an agent do besides changing files: answer, ask, spend, hear, give up."""

import asyncio
import os
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from auto_build.agents.base import (
    AgentEvent,
    Began,
    Doing,
    Earlier,
    Ended,
    SessionSpec,
    Spent,
    Stop,
)
from auto_build.agents.script import Script
from auto_build.agents.scripted import ScriptedAgent
from auto_build.core.usage import CostSource, Usage
from auto_build.policy.environment import Seat
from auto_build.process import Processes

CHUNK = "one"
NOON = 1_800_000_000.0


def agent(*turns: dict[str, Any]) -> ScriptedAgent:
    whole = [{"chunk": CHUNK, **turn} for turn in turns]
    script = Script.model_validate({"turn": whole, "remembers": True})
    return ScriptedAgent("scripted", script, Processes(), clock=lambda: NOON)


@pytest.fixture
def spec(tmp_path: Path) -> SessionSpec:
    return SessionSpec(
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        seat=Seat("001-demo", CHUNK, 1, 1),
        round=0,
        model="",
        scratch=tmp_path,
        log=tmp_path / "agent.log",
    )


async def play(spec: SessionSpec, *turns: dict[str, Any]) -> list[AgentEvent]:
    session = await agent(*turns).start(spec)
    return [event async for event in session.prompt("go")]


@pytest.mark.parametrize(
    ("step", "ended"),
    [
        ({"do": "answer", "value": {"a": [1]}}, Ended(stop=Stop.DONE, answer={"a": [1]})),
        ({"do": "ask", "text": "which?"}, Ended(stop=Stop.NEEDS_INPUT, detail="which?")),
        (
            {"do": "limit", "reset_in_s": 60, "text": "used up"},
            Ended(stop=Stop.RATE_LIMIT, detail="used up", reset_at=NOON + 60),
        ),
        (
            {"do": "limit", "text": "used up"},
            Ended(stop=Stop.RATE_LIMIT, detail="used up", reset_at=None),
        ),
        ({"do": "stop", "stop": "auth", "text": "no"}, Ended(stop=Stop.AUTH, detail="no")),
        ({"do": "fail", "text": "cannot"}, Ended(stop=Stop.ERROR, detail="cannot")),
    ],
)
async def test_a_step_that_ends_the_turn_is_the_last_one_played(
    spec: SessionSpec, step: dict[str, Any], ended: Ended
) -> None:
    events = await play(spec, {"steps": [step, {"do": "write", "path": "x", "text": ""}]})
    assert events[-1] == ended
    assert not (spec.cwd / "x").exists()


def test_a_reason_that_no_agent_can_have_is_no_step() -> None:
    with pytest.raises(ValidationError, match="stop"):
        agent({"steps": [{"do": "stop", "stop": "tired"}]})


async def test_a_conversation_has_the_same_name_in_each_run_of_the_script(
    spec: SessionSpec,
) -> None:
    (first, *_), (second, *_) = [await play(spec, {"steps": []}) for _ in range(2)]
    assert first == second == Began("scripted-001-demo-one-1-0")
    (other, *_) = await play(replace(spec, seat=Seat("001-demo", CHUNK, 2, 1)), {"steps": []})
    assert other != first


async def test_what_is_spent_adds_up_over_a_conversation_and_its_earlier_processes(
    spec: SessionSpec,
) -> None:
    dear = {"do": "spend", "input_tokens": 10, "output_tokens": 1, "cost_usd": 0.5}
    before = Usage(input_tokens=5, cost_usd=1.0, source=CostSource.AGENT)
    on = replace(spec, earlier=Earlier("the-first", before))

    events = await play(on, {"steps": [dear, dear]})

    spent = [event for event in events if isinstance(event, Spent)]
    assert [(one.session, one.usage.cost_usd) for one in spent] == [
        ("the-first", 1.5),
        ("the-first", 2.0),
    ]
    assert spent[-1].usage.input_tokens == 25
    assert spent[-1].usage.source is CostSource.AGENT


async def test_a_cost_that_is_not_told_is_not_known(spec: SessionSpec) -> None:
    events = await play(spec, {"steps": [{"do": "spend", "output_tokens": 7}]})
    (spent,) = [event for event in events if isinstance(event, Spent)]
    assert spent.usage == Usage(output_tokens=7)


async def test_a_turn_can_be_for_a_conversation_that_goes_on(spec: SessionSpec) -> None:
    turns = (
        {"resumed": True, "steps": [{"do": "say", "text": "on with it"}]},
        {"steps": [{"do": "limit"}]},
    )
    assert _stop(await play(spec, *turns)) is Stop.RATE_LIMIT
    on = replace(spec, earlier=Earlier("the-first"))
    assert _stop(await play(on, *turns)) is Stop.DONE
    assert (await agent(*turns).start(on)).resumed


async def test_it_hears_what_it_is_told_while_it_works_and_only_then(spec: SessionSpec) -> None:
    session = await agent({"steps": [{"do": "hear", "path": "heard.txt"}]}).start(spec)
    assert not await session.steer("too early")

    async with aclosing(session.prompt("go")) as stream:
        async for event in stream:
            if event == Doing("hear"):
                assert await session.steer("be quick")

    assert (spec.cwd / "heard.txt").read_text() == "be quick\n"
    assert not await session.steer("too late")


@pytest.mark.parametrize("step", [{"do": "hang"}, {"do": "run", "command": "sleep 300"}])
async def test_it_ends_soon_when_it_is_asked_to(spec: SessionSpec, step: dict[str, Any]) -> None:
    session = await agent({"steps": [step]}).start(spec)
    events: list[AgentEvent] = []
    playing = asyncio.Event()

    async def ask_it_to_stop() -> None:
        await playing.wait()
        await session.interrupt()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(ask_it_to_stop())
        async for event in session.prompt("go"):
            events.append(event)
            if isinstance(event, Doing):
                playing.set()

    assert events[-1] == Ended(stop=Stop.INTERRUPTED, detail="it was asked to stop")


def _stop(events: list[AgentEvent]) -> Stop:
    (*_, last) = events
    assert isinstance(last, Ended)
    return last.stop
