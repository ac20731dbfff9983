"""Programs that are known: found or missed before a run, started, heard, and gone on with."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from auto_build.agents.base import (
    AgentEvent,
    Began,
    Doing,
    Earlier,
    Ended,
    Probe,
    SessionSpec,
    Spent,
    Stop,
    Text,
)
from auto_build.agents.command import CommandAgent
from auto_build.core.usage import CostSource, Price, Usage
from auto_build.policy.environment import Seat
from auto_build.process import LINE_LIMIT, Processes

PRICE: Final = Price(input=2.0, output=10.0)


class Bench:
    """A folder with programs of our own that are called like known ones."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.home, self.scratch, self.worktree = (
            folder / name for name in ("bin", "home", "scratch", "worktree")
        )
        for one in (self.bin, self.home, self.scratch, self.worktree):
            one.mkdir()
        self.spec = SessionSpec(
            cwd=self.worktree,
            env=self.env(),
            seat=Seat("001-demo", "1-1", 1, 1),
            round=0,
            model="",
            scratch=self.scratch,
            log=self.scratch / "agent.log",
        )

    def env(self, **more: str) -> dict[str, str]:
        return {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.home), **more}

    def probe(self, **more: str) -> Probe:
        return Probe(env=self.env(**more), folder=self.scratch)

    def program(self, name: str, script: str) -> None:
        """Make a program; it notes its arguments and what it reads."""
        path = self.bin / name
        noting = f'printf "%s\\n" "$@" > {self.scratch}/argv; cat > {self.scratch}/stdin'
        path.write_text(f"#!/bin/sh\n{noting}\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def prints(self, name: str, *lines: object, code: int = 0, then: str = "") -> None:
        """Make a program that prints these lines."""
        out = self.scratch / "out"
        texts = (one if isinstance(one, str) else json.dumps(one) for one in lines)
        out.write_text("".join(f"{one}\n" for one in texts), encoding="utf-8")
        self.program(name, f"cat {out}\n{then}\nexit {code}")

    @property
    def argv(self) -> list[str]:
        return (self.scratch / "argv").read_text(encoding="utf-8").splitlines()

    @property
    def stdin(self) -> str:
        return (self.scratch / "stdin").read_text(encoding="utf-8")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def known(preset: str, argv: Sequence[str] = (), price: Price | None = None) -> CommandAgent:
    return CommandAgent(
        preset, tuple(argv), "stdin", Processes(), preset, price, clock=lambda: 1000.0
    )


async def prompt(agent: CommandAgent, spec: SessionSpec, text: str = "do it") -> list[AgentEvent]:
    session = await agent.start(spec)
    return [event async for event in session.prompt(text)]


def thread(name: str) -> dict[str, object]:
    return {"type": "thread.started", "thread_id": name}


def says(text: str) -> dict[str, object]:
    return {"type": "item.completed", "item": {"type": "agent_message", "text": text}}


def finished(sent: int, answered: int) -> dict[str, object]:
    return {
        "type": "turn.completed",
        "usage": {"input_tokens": sent, "output_tokens": answered},
    }


# --- before a run ---------------------------------------------------------------------------------


async def test_a_known_program_that_is_missing_comes_with_the_way_to_install_it(
    bench: Bench,
) -> None:
    (problem,) = await known("codex").check(bench.probe())
    assert "'codex' is not in PATH" in problem.what
    assert "npm install -g @openai/codex" in problem.hint


async def test_a_program_that_does_not_run_is_found_out(bench: Bench) -> None:
    bench.program("codex", "echo 'node is too old' >&2; exit 3")
    (problem,) = await known("codex").check(bench.probe(OPENAI_API_KEY="k"))
    assert "node is too old" in problem.what


async def test_whoever_is_not_logged_in_is_told_how_to(bench: Bench) -> None:
    bench.program("codex", "echo 1.0")
    (problem,) = await known("codex").check(bench.probe())
    assert "codex login" in problem.hint
    (problem,) = await known("codex").check(bench.probe(OPENAI_API_KEY="  "))
    assert "codex login" in problem.hint


@pytest.mark.parametrize("folder", ["home/.codex", "elsewhere"])
async def test_a_login_of_its_own_is_enough(bench: Bench, folder: str) -> None:
    bench.program("codex", "echo 1.0")
    login = bench.home.parent / folder / "auth.json"
    login.parent.mkdir()
    login.write_text("{}", encoding="utf-8")
    more = {"CODEX_HOME": str(login.parent)} if folder == "elsewhere" else {}
    assert await known("codex").check(bench.probe(**more)) == []


async def test_a_key_is_enough(bench: Bench) -> None:
    bench.program("gemini", "echo 1.0")
    assert await known("gemini").check(bench.probe(GEMINI_API_KEY="k")) == []


async def test_a_program_is_looked_at_in_the_way_that_it_knows(bench: Bench) -> None:
    bench.program("mini", '[ "$1" = --help ]')
    assert await known("mini").check(bench.probe()) == []


# --- a prompt -------------------------------------------------------------------------------------


async def test_what_a_known_program_does_is_told_as_it_does_it(bench: Bench) -> None:
    command = {"type": "command_execution", "command": "make"}
    bench.prints(
        "codex",
        thread("t1"),
        "warming up",
        {"type": "item.started", "item": command},
        says("It is done."),
        finished(1_000_000, 100_000),
    )

    events = await prompt(known("codex", price=PRICE), bench.spec, "büild it")

    priced = Usage(
        input_tokens=1_000_000, output_tokens=100_000, cost_usd=3.0, source=CostSource.PRICED
    )
    assert events == [
        Began("t1"),
        Text("warming up"),
        Doing("$ make"),
        Text("It is done."),
        Spent("t1", priced),
        Ended(stop=Stop.DONE),
    ]
    assert bench.stdin == "büild it"
    assert bench.argv[0] == "exec"


async def test_an_argv_of_ones_own_keeps_the_reading(bench: Bench) -> None:
    bench.prints("wrapped", thread("t1"), says("done"), finished(1, 1))

    events = await prompt(known("codex", ("wrapped", "--fast", "{model}")), bench.spec)

    assert bench.argv == ["--fast", ""]
    assert Began("t1") in events
    assert events[-1] == Ended(stop=Stop.DONE)


async def test_a_limit_is_told_with_its_end(bench: Bench) -> None:
    message = "exceeded retry limit, last status: 429; try again in 20s"
    bench.prints("codex", {"type": "turn.failed", "error": {"message": message}}, code=1)

    (end,) = await prompt(known("codex"), bench.spec)

    assert end == Ended(stop=Stop.RATE_LIMIT, detail=message, reset_at=1020.0)


async def test_a_known_program_that_is_killed_has_crashed(bench: Bench) -> None:
    bench.prints("codex", thread("t1"), then="kill -KILL $$")
    *_, end = await prompt(known("codex"), bench.spec)
    assert isinstance(end, Ended)
    assert (end.stop, "signal 9" in end.detail) == (Stop.CRASHED, True)


async def test_in_a_flood_of_words_what_it_used_up_is_not_lost(bench: Bench) -> None:
    flood = f"yes '{json.dumps(says('x'))}' | head -n 50000; cat {bench.scratch}/last"
    (bench.scratch / "last").write_text(json.dumps(finished(7, 1)), encoding="utf-8")
    bench.prints("codex", thread("t1"), then=flood)

    events = await prompt(known("codex"), bench.spec)

    assert [one.usage.tokens for one in events if isinstance(one, Spent)] == [8]
    assert events[-1] == Ended(stop=Stop.DONE)


async def test_a_line_of_many_mib_is_understood(bench: Bench) -> None:
    bench.prints("codex", thread("t1"), says("x" * (LINE_LIMIT // 4)), finished(7, 1))
    events = await prompt(known("codex"), bench.spec)
    assert [len(one.text) for one in events if isinstance(one, Text)] == [LINE_LIMIT // 4]


async def test_words_that_are_cut_off_are_told_all_the_same(bench: Bench) -> None:
    bench.prints("gemini", {"type": "message", "role": "assistant", "content": "half a"})
    assert await prompt(known("gemini"), bench.spec) == [Text("half a"), Ended(stop=Stop.DONE)]


async def test_an_answer_is_asked_for_in_words_and_found_in_words(bench: Bench) -> None:
    bench.prints("codex", says('{"verdict": "good"}'), finished(1, 1))
    spec = replace(bench.spec, schema={"type": "object", "title": "Verdict"})

    *_, end = await prompt(known("codex"), spec, "judge it")

    assert end == Ended(stop=Stop.DONE, answer={"verdict": "good"})
    assert bench.stdin.startswith("judge it\n")
    assert '"Verdict"' in bench.stdin


# --- conversations --------------------------------------------------------------------------------


async def test_an_earlier_conversation_goes_on_by_its_name(bench: Bench) -> None:
    bench.prints("codex", thread("t1"), says("done"), finished(500, 50))
    before = Usage(input_tokens=400, output_tokens=40)
    session = await known("codex").start(replace(bench.spec, earlier=Earlier("t1", before)))

    events = [event async for event in session.prompt("go on")]

    assert session.resumed
    assert bench.argv[:3] == ["exec", "resume", "t1"]
    assert events[0] == Began("t1")
    assert Spent("t1", Usage(input_tokens=500, output_tokens=50)) in events


async def test_the_next_prompt_of_a_session_goes_on_in_its_conversation(bench: Bench) -> None:
    step = {"reason": "stop", "tokens": {"input": 100, "output": 10}, "cost": 0.5}
    bench.prints(
        "opencode",
        {"type": "text", "sessionID": "s1", "part": {"text": "done"}},
        {"type": "step_finish", "sessionID": "s1", "part": step},
    )
    session = await known("opencode").start(bench.spec)

    told = [event for _ in range(2) async for event in session.prompt("go")]

    assert "s1" in bench.argv
    assert told.count(Began("s1")) == 1
    assert [one.usage.cost_usd for one in told if isinstance(one, Spent)] == [0.5, 1.0]


async def test_an_argv_of_ones_own_goes_on_with_nothing(bench: Bench) -> None:
    bench.prints("wrapped", thread("new"), says("done"), finished(5, 1))
    agent = known("codex", ("wrapped",))
    earlier = Earlier("old", Usage(input_tokens=400))
    session = await agent.start(replace(bench.spec, earlier=earlier))

    events = [event async for event in session.prompt("go")]

    assert not agent.abilities.resumes
    assert not session.resumed
    assert Spent("new", Usage(input_tokens=5, output_tokens=1)) in events


async def test_each_conversation_is_counted_for_itself(bench: Bench) -> None:
    stats = '{"type":"result","status":"success","stats":{"input_tokens":100}}'
    script = (
        f"n=$(cat {bench.scratch}/n 2>/dev/null)x; echo $n > {bench.scratch}/n;"
        f' printf \'{{"type":"init","session_id":"%s"}}\\n%s\\n\' $n \'{stats}\''
    )
    bench.program("gemini", script)
    session = await known("gemini").start(bench.spec)

    told = [event for _ in range(2) async for event in session.prompt("go")]

    assert [one for one in told if isinstance(one, Spent)] == [
        Spent("x", Usage(input_tokens=100)),
        Spent("xx", Usage(input_tokens=100)),
    ]


async def test_listening_no_more_leaves_no_task_behind(bench: Bench) -> None:
    bench.prints("codex", thread("t1"), then="sleep 300")
    session = await known("codex").start(bench.spec)
    others = asyncio.all_tasks()

    async def listen() -> None:
        async for _ in session.prompt("go"):
            begun.set()

    begun = asyncio.Event()
    listening = asyncio.create_task(listen())
    await begun.wait()
    listening.cancel()
    await asyncio.wait({listening})
    await asyncio.sleep(0)

    assert asyncio.all_tasks() - others - {listening} == set()


async def test_who_may_only_read_has_no_tools_to_write_with(bench: Bench) -> None:
    bench.prints("opencode", then=f'printf "%s" "$OPENCODE_PERMISSION" > {bench.scratch}/may')
    env = {**bench.spec.env, "OPENCODE_PERMISSION": '{"bash":"allow"}'}

    await prompt(known("opencode"), replace(bench.spec, env=env, read_only=True))

    assert json.loads((bench.scratch / "may").read_text()) == {"edit": "deny", "bash": "deny"}


async def test_who_cannot_go_on_begins_anew(bench: Bench) -> None:
    init = {"type": "init", "session_id": "new"}
    said = {"type": "message", "role": "assistant", "content": "done"}
    bench.prints("gemini", init, said, {"type": "result", "status": "success"})
    earlier = Earlier("old", Usage(input_tokens=9))
    session = await known("gemini").start(replace(bench.spec, earlier=earlier))

    events = [event async for event in session.prompt("go")]

    assert not session.resumed
    assert events[0] == Began("new")


# --- those that write for people ------------------------------------------------------------------


async def test_aider_leaves_nothing_in_the_worktree_and_gets_its_prompt_as_a_file(
    bench: Bench,
) -> None:
    bench.prints("aider", "It is done.")

    events = await prompt(known("aider"), bench.spec, "é" * 100_000)

    assert events[-1] == Ended(stop=Stop.DONE)
    assert bench.stdin == ""
    given = dict(zip(bench.argv, bench.argv[1:], strict=False))
    assert Path(given["--message-file"]).read_text(encoding="utf-8") == "é" * 100_000
    for option in ("--chat-history-file", "--input-history-file", "--llm-history-file"):
        assert Path(given[option]).parent == bench.scratch


async def test_mini_tells_afterwards_what_it_cost(bench: Bench) -> None:
    noted = json.dumps({"info": {"model_stats": {"instance_cost": 0.25}}})
    bench.prints("mini", "It is done.", then=f"echo '{noted}' > {bench.scratch}/trajectory.json")

    events = await prompt(known("mini"), bench.spec)

    assert [one.usage.cost_usd for one in events if isinstance(one, Spent)] == [0.25]
    assert events[-1] == Ended(stop=Stop.DONE)


async def test_minis_note_of_an_earlier_prompt_is_not_taken_for_this_ones(bench: Bench) -> None:
    noted = json.dumps({"info": {"model_stats": {"instance_cost": 0.25}}})
    (bench.scratch / "trajectory.json").write_text(noted, encoding="utf-8")
    bench.prints("mini", "ImportError: no mcp")

    assert await prompt(known("mini"), bench.spec) == [
        Text("ImportError: no mcp"),
        Ended(stop=Stop.DONE),
    ]


async def test_a_log_of_complaints_is_no_success(bench: Bench) -> None:
    bench.prints("aider", "litellm.AuthenticationError: AuthenticationError: Incorrect API key")
    *_, end = await prompt(known("aider"), bench.spec)
    assert isinstance(end, Ended)
    assert end.stop is Stop.AUTH
