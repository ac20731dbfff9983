"""What only the `acp` backend has: how it is started and chosen for, looked at, and what it takes.

The small agent of our own stands for all of them; what is told of a real one is tried on that.
"""

import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from acp import schema
from pydantic import BaseModel

from auto_build import settings
from auto_build.agents.acp import backend as acp
from auto_build.agents.acp.files import FileRefused
from auto_build.agents.acp.profiles import PROFILES, Profile
from auto_build.agents.acp.session import AcpSession, Gone
from auto_build.agents.acp.wire import Wire
from auto_build.agents.base import (
    AgentEvent,
    Denied,
    Earlier,
    Ended,
    Probe,
    SessionSpec,
    Spent,
    Stop,
    Text,
)
from auto_build.core.usage import CostSource, Usage
from auto_build.policy.environment import Seat
from auto_build.policy.permission import Allow, Decision, Deny, Request
from auto_build.process import LINE_LIMIT, Processes
from tests.agents.kinds import Deed, NotHere, Run, Say, Write
from tests.agents.kinds.acp import CODEX, GEMINI, Real, Stubbed, open_real
from tests.agents.kinds.acp_echo import echo_agent
from tests.programs import alive_in

Json = dict[str, Any]
MODES = {
    "availableModes": [{"id": "ask", "name": "Ask"}, {"id": "plan", "name": "Plan"}],
    "currentModeId": "ask",
}
MODELS = {
    "availableModels": [{"modelId": "small", "name": "Small"}, {"modelId": "large", "name": "L"}],
    "currentModelId": "small",
}
OPTION = {
    "id": "model",
    "name": "Model",
    "category": "model",
    "type": "select",
    "currentValue": "p/small",
    "options": [{"value": "p/small", "name": "Small"}, {"value": "p/large", "name": "Large"}],
}


@dataclass(frozen=True)
class Scene:
    """The small agent in a worktree, and what it is to do."""

    folder: Path

    @property
    def worktree(self) -> Path:
        return self.folder / "tree"

    @property
    def spec(self) -> SessionSpec:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"}
        return SessionSpec(
            cwd=self.worktree,
            env=env,
            seat=Seat("001-demo", "1-1", 1, 1),
            round=0,
            model="",
            scratch=self.folder,
            log=self.folder / "agent.log",
        )

    @property
    def probe(self) -> Probe:
        return Probe(env=self.spec.env, folder=self.worktree)

    def plays(self, *steps: Json, chosen: Json | None = None, **answering: Any) -> acp.AcpAgent:
        told = {"first": steps or [{"do": "say", "text": "It is done."}], "then": [], **answering}
        (self.folder / "scene.json").write_text(json.dumps(told), encoding="utf-8")
        return echo_agent(self.folder, **(chosen or {}))

    @property
    def wire(self) -> list[Json]:
        """All that went to and fro, as the agent saw it."""
        lines = (self.folder / "wire.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def asked(self, *methods: str) -> list[tuple[str, Json]]:
        """Return what the agent was asked by these methods."""
        told = [one["in"] for one in self.wire if "in" in one]
        return [(one["method"], one["params"]) for one in told if one.get("method") in methods]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    (tmp_path / "tree").mkdir()
    return Scene(tmp_path)


async def prompted(agent: Any, spec: SessionSpec, text: str = "do it") -> list[AgentEvent]:
    session = await agent.start(spec)
    try:
        return [event async for event in session.prompt(text)]
    finally:
        await session.close()


def ended(events: Sequence[AgentEvent]) -> Ended:
    last = events[-1]
    assert isinstance(last, Ended)
    return last


# --- what is chosen ------------------------------------------------------------------------------


async def test_a_mode_and_a_model_are_chosen_before_the_first_prompt(scene: Scene) -> None:
    offer = {"session/new": {"modes": MODES, "models": MODELS}}
    agent = scene.plays(chosen={"mode": "plan"}, answers=offer)

    end = ended(await prompted(agent, replace(scene.spec, model="large")))

    assert end.stop is Stop.DONE
    (_, mode), (_, model) = scene.asked("session/set_mode", "session/set_model")
    assert (mode["modeId"], model["modelId"]) == ("plan", "large")


async def test_a_model_is_chosen_as_an_option_where_it_is_one(scene: Scene) -> None:
    agent = scene.plays(answers={"session/new": {"configOptions": [OPTION]}})

    await prompted(agent, replace(scene.spec, model="Large"))

    ((_, told),) = scene.asked("session/set_config_option")
    assert (told["configId"], told["value"]) == ("model", "p/large")


@pytest.mark.parametrize(
    ("chosen", "model", "words"),
    [
        ({"mode": "yolo"}, "", "it has no mode 'yolo' (it has: ask, plan)"),
        ({}, "huge", "it has no model 'huge' (it has: small, large)"),
    ],
)
async def test_what_cannot_be_chosen_is_the_end_of_every_prompt(
    scene: Scene, chosen: Json, model: str, words: str
) -> None:
    offer = {"session/new": {"modes": MODES, "models": MODELS}}
    agent = scene.plays(chosen=chosen, answers=offer)

    end = ended(await prompted(agent, replace(scene.spec, model=model)))

    assert end == Ended(stop=Stop.ERROR, detail=words)
    assert not scene.asked("session/prompt")
    assert alive_in(scene.worktree) == []


async def test_who_may_only_read_works_in_the_mode_for_that(scene: Scene) -> None:
    agent = scene.plays(answers={"session/new": {"modes": MODES}}, chosen={"mode": "ask"})
    profile = replace(agent.profile, mode="ask", read_only_mode="plan")

    await prompted(replace(agent, profile=profile), replace(scene.spec, read_only=True))

    ((_, told),) = scene.asked("session/set_mode")
    assert told["modeId"] == "plan"


async def test_a_conversation_is_given_a_title_where_it_can_have_one(scene: Scene) -> None:
    can: Json = {"agentCapabilities": {"sessionCapabilities": {"title": {}}}}
    await prompted(scene.plays(answers={"initialize": can}), scene.spec)

    ((_, told),) = scene.asked("session/set_title")
    assert told["title"] == "auto-build 001-demo 1-1"


async def test_a_login_that_is_missing_ends_the_prompt_with_the_way_out(scene: Scene) -> None:
    error = {"code": -32000, "message": "Authentication required"}
    agent = scene.plays(errors={"session/new": error})

    end = ended(await prompted(agent, scene.spec))

    assert end.stop is Stop.AUTH
    assert end.detail == f"Authentication required: {agent.profile.login}"


async def test_an_agent_that_says_nothing_is_not_waited_for_forever(scene: Scene) -> None:
    agent = scene.plays(deaf=["session/new"])
    link = await acp.RpcLink.open(agent, None, scene.worktree, scene.spec.env, "", None)
    try:
        await link.introduce()
        with pytest.raises(Gone, match="did not answer session/new within 0 s"):
            await link.ask("session/new", {}, 0.3)
    finally:
        await link.end()
    assert alive_in(scene.worktree) == []


# --- conversations -------------------------------------------------------------------------------


async def test_an_agent_that_replays_nothing_knows_nothing(scene: Scene) -> None:
    agent = scene.plays(answers={"session/load": {}}, errors={})
    session = await agent.start(replace(scene.spec, earlier=Earlier("gone", Usage())))
    await session.close()

    assert not session.resumed
    assert scene.asked("session/new"), "a new one was to be begun"


async def test_an_agent_that_breaks_on_what_was_earlier_begins_anew(scene: Scene) -> None:
    earlier = Earlier("deadly", Usage(input_tokens=7))
    session = await scene.plays().start(replace(scene.spec, earlier=earlier))
    events = [event async for event in session.prompt("do it")]
    await session.close()

    assert not session.resumed
    assert ended(events).stop is Stop.DONE
    assert alive_in(scene.worktree) == []


async def test_what_was_said_earlier_is_not_said_again(scene: Scene) -> None:
    agent = scene.plays({"do": "say", "text": "It is done."})
    first = await prompted(agent, scene.spec)
    (name,) = {event.session for event in first if isinstance(event, Spent)}
    earlier = Earlier(name, Usage(input_tokens=100, output_tokens=10))

    later = await prompted(scene.plays(), replace(scene.spec, earlier=earlier))

    assert not [event for event in later if isinstance(event, Text) and "earlier" in event.text]
    assert all(event.usage.input_tokens >= 100 for event in later if isinstance(event, Spent)), (
        "what was used up earlier is forgotten"
    )


# --- what comes over the wire --------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "Debugger listening on ws://127.0.0.1",
        "[1, 2]",
        "[" * 100_000,
        '{"jsonrpc":"2.0","method":"session/update"}',
        '{"jsonrpc":"2.0","method":"session/update","params":{"update":{"sessionUpdate":"new"}}}',
        '{"jsonrpc":"2.0","method":"_auth/status_update","params":[]}',
        '{"jsonrpc":"2.0","id":77,"method":"terminal/create","params":{}}',
        '{"jsonrpc":"2.0","id":78,"method":"session/request_permission","params":null}',
        '{"jsonrpc":"2.0","id":79,"method":"fs/read_text_file","params":{"path":"/etc/passwd"}}',
        '{"jsonrpc":"2.0","id":4711,"result":{}}',
    ],
)
async def test_what_is_not_of_the_protocol_does_no_harm(
    scene: Scene, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent = scene.plays({"do": "print", "line": line}, {"do": "say", "text": "It is done."})

    events = await prompted(agent, scene.spec)

    assert ended(events) == Ended(stop=Stop.DONE)
    assert not caplog.records, "it is told to whoever runs the build"


async def test_a_line_that_is_longer_than_any_may_be_ends_the_conversation(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", f"print('x' * {LINE_LIMIT + 2})")
    wire = await Wire.open(Processes(), argv, cwd=tmp_path, env=dict(os.environ), log=None)

    assert await wire.receive() is None
    await wire.end()


async def test_the_log_has_all_that_the_agent_said(scene: Scene) -> None:
    await prompted(scene.plays({"do": "say", "text": "Hällo."}), scene.spec)
    assert "H\\u00e4llo." in scene.spec.log.read_text(encoding="utf-8")


OURS: dict[str, type[BaseModel]] = {
    "initialize": schema.InitializeRequest,
    "session/new": schema.NewSessionRequest,
    "session/load": schema.LoadSessionRequest,
    "session/prompt": schema.PromptRequest,
    "session/cancel": schema.CancelNotification,
    "session/set_mode": schema.SetSessionModeRequest,
    "session/set_config_option": schema.SetSessionConfigOptionSelectRequest,
}
THEIRS: dict[str, type[BaseModel]] = {
    "session/update": schema.SessionNotification,
    "session/request_permission": schema.RequestPermissionRequest,
}


async def test_what_we_say_and_what_our_agent_says_is_of_the_published_schema(scene: Scene) -> None:
    offer = {"session/new": {"modes": MODES, "configOptions": [OPTION]}}
    steps = ({"do": "write", "path": "a", "text": "x"}, {"do": "say", "text": "It is done."})
    agent = scene.plays(*steps, chosen={"mode": "plan"}, answers=offer)
    session = await agent.start(replace(scene.spec, model="Large"))
    first = [event async for event in session.prompt("do it")]
    await session.close()
    (name,) = {event.session for event in first if isinstance(event, Spent)}
    session = await scene.plays({"do": "wait"}).start(
        replace(scene.spec, earlier=Earlier(name, Usage()))
    )
    async for _ in session.prompt("go on"):
        await session.interrupt()
    await session.close()

    said = set()
    for one in scene.wire:
        (way, message) = next(iter(one.items()))
        model = (OURS if way == "in" else THEIRS).get(message.get("method", ""))
        if model:
            model.model_validate(message["params"])
            said.add(message["method"])
        if way == "in" and "outcome" in message.get("result", {}):
            schema.RequestPermissionResponse.model_validate(message["result"])
    assert said == OURS.keys() | THEIRS.keys()


# --- files that it has us read and write ---------------------------------------------------------


def files(scene: Scene, **more: Any) -> AcpSession:
    """Return a session that was never started: it answers for files all the same."""

    def permit(request: Request) -> Decision:
        held = any(path.endswith("held.txt") for path in request.paths)
        return Deny("held.txt is another's") if held else Allow()

    agent = scene.plays()
    return AcpSession(agent._terms, replace(scene.spec, permit=permit, **more))


def write(session: AcpSession, path: Path | str, text: str = "new\n") -> None:
    session.answer("fs/write_text_file", {"path": str(path), "content": text})


def read(session: AcpSession, path: Path | str, **more: Any) -> str:
    answer = session.answer("fs/read_text_file", {"path": str(path), **more})
    text: str = answer["content"]
    return text


def test_files_are_read_and_written_in_the_worktree(scene: Scene) -> None:
    session = files(scene)

    write(session, scene.worktree / "new" / "ä.txt", "1\n2\n3\n")

    assert read(session, scene.worktree / "new" / "ä.txt") == "1\n2\n3\n"
    assert read(session, "new/ä.txt", line=2, limit=1) == "2\n"
    assert read(session, "new/ä.txt", line=3) == "3\n"
    assert read(session, "new/ä.txt", limit=-1) == ""


@pytest.mark.parametrize("path", ["../outside.txt", "way-out/outside.txt", "", "."])
def test_files_outside_of_the_worktree_are_neither_read_nor_written(
    scene: Scene, path: str
) -> None:
    session = files(scene)
    (scene.folder / "outside.txt").write_text("old\n")
    (scene.worktree / "way-out").symlink_to(scene.folder)

    with pytest.raises(FileRefused, match="outside of your worktree"):
        write(session, path)
    with pytest.raises(FileRefused, match="outside of your worktree"):
        read(session, path)
    assert (scene.folder / "outside.txt").read_text() == "old\n"


def test_files_of_others_are_not_written(scene: Scene) -> None:
    with pytest.raises(FileRefused, match=r"held\.txt is another"):
        write(files(scene), "held.txt")
    assert not (scene.worktree / "held.txt").exists()


def test_who_may_only_read_has_nothing_written(scene: Scene) -> None:
    session = files(scene, read_only=True)
    (scene.worktree / "a.txt").write_text("old\n")

    with pytest.raises(FileRefused, match="only read"):
        write(session, "a.txt")
    assert read(session, "a.txt") == "old\n"


def test_a_file_that_is_not_there_is_said_so(scene: Scene) -> None:
    with pytest.raises(FileRefused, match="No such file"):
        read(files(scene), "none.txt")


# --- looked at before a run ----------------------------------------------------------------------


async def test_an_agent_that_works_has_no_problems(scene: Scene) -> None:
    offer = {"session/new": {"modes": MODES, "models": MODELS}}
    agent = scene.plays(chosen={"mode": "plan"}, answers=offer)

    assert await agent.check(replace(scene.probe, models=("large", "Small"))) == []
    assert not scene.asked("session/prompt"), "a model was called"
    assert alive_in(scene.worktree) == []


async def test_a_missing_program_is_found_with_the_way_to_install_it(scene: Scene) -> None:
    chosen = settings.AcpAgent(kind="acp", profile="gemini")
    agent = acp.build("mine", chosen, Processes())

    (problem,) = await agent.check(replace(scene.probe, env={"PATH": str(scene.folder)}))

    assert problem.what == "agent 'mine': the program 'gemini' is not in PATH"
    assert "npm install -g @google/gemini-cli" in problem.hint
    assert "[agents.mine]" in problem.hint


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ("echo v18.20.4", "needs Node.js 20, and here is v18.20.4"),
        ("exit 1", "needs Node.js, which does not start"),
    ],
)
async def test_a_node_that_is_too_old_is_found(scene: Scene, node: str, words: str) -> None:
    for name, line in (("node", node), ("gemini", "true")):
        program = scene.folder / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    agent = acp.build("mine", settings.AcpAgent(kind="acp", profile="gemini"), Processes())

    (problem,) = await agent.check(replace(scene.probe, env={"PATH": str(scene.folder)}))

    assert words in problem.what
    assert problem.hint == "install Node.js 20 or newer"


async def test_a_model_that_it_does_not_have_is_found_with_what_may_have_been_meant(
    scene: Scene,
) -> None:
    agent = scene.plays(answers={"session/new": {"models": MODELS}})

    (problem,) = await agent.check(replace(scene.probe, models=("large", "larg")))

    assert problem.what == "agent 'echo' has no model 'larg'"
    assert problem.hint.startswith("did you mean large? ")


async def test_a_mode_that_it_does_not_have_is_found(scene: Scene) -> None:
    agent = scene.plays(chosen={"mode": "yolo"}, answers={"session/new": {"modes": MODES}})

    (problem,) = await agent.check(scene.probe)

    assert problem.what == "agent 'echo' has no mode 'yolo'"
    assert "It has ask, plan." in problem.hint


async def test_a_missing_login_is_found(scene: Scene) -> None:
    error = {"code": -32000, "message": "API key is missing"}
    agent = scene.plays(errors={"session/new": error})

    (problem,) = await agent.check(scene.probe)

    assert problem.what == "agent 'echo' is not logged in: API key is missing"
    assert problem.hint == Profile().login


async def test_an_agent_that_does_not_get_ready_is_found(scene: Scene) -> None:
    argv = ("sh", "-c", "echo no such display >&2; exit 3")
    agent = acp.build("mine", settings.AcpAgent(kind="acp", argv=argv), Processes())

    (problem,) = await agent.check(scene.probe)

    assert "does not get ready to work" in problem.what
    assert "no such display" in problem.what


# --- real agents ---------------------------------------------------------------------------------


@asynccontextmanager
async def opened(real: Real, scene: Scene) -> AsyncIterator[tuple[Stubbed, SessionSpec]]:
    home = scene.folder / "home"
    home.mkdir()
    try:
        async with open_real(real, home) as kind:
            env = {"HOME": str(home), "LANG": "C.UTF-8", **kind.env}
            yield kind, replace(scene.spec, env=env)
    except NotHere as why:
        pytest.skip(str(why))


REAL = pytest.mark.parametrize("real", [GEMINI, CODEX], ids=lambda real: real.profile)


@pytest.mark.slow
@REAL
async def test_a_real_agent_counts_all_that_it_used_when_a_prompt_ends(
    scene: Scene, real: Real
) -> None:
    async with opened(real, scene) as (kind, spec):
        events = await prompted(kind.plays(Write("a.txt", "x"), Say("It is done.")), spec)

        told = [event.usage for event in events if isinstance(event, Spent)]
        served = kind.served()
        assert told[-1].tokens == served.tokens, "it called its model for what is not of the work"
        assert served.tokens == 2 * 1050


@pytest.mark.slow
async def test_a_real_codex_is_told_why_it_may_not_write(scene: Scene) -> None:
    def permit(request: Request) -> Decision:
        held = any(path.endswith("held.txt") for path in request.paths)
        return Deny("held.txt is another's") if held else Allow()

    patch = "*** Begin Patch\n*** Add File: {0}\n+x\n*** End Patch"
    runs: list[Deed] = [
        Run(f"apply_patch <<'EOP'\n{patch.format(name)}\nEOP") for name in ("held.txt", "mine.txt")
    ]
    async with opened(CODEX, scene) as (kind, spec):
        chosen = settings.AcpAgent(kind="acp", profile="codex-acp", mode="read-only")
        agent = kind.plays(*runs, Say("It is done."), chosen=chosen)
        events = await prompted(agent, replace(spec, permit=permit))

        assert ended(events).stop is Stop.DONE
        assert Denied("edit held.txt", "held.txt is another's") in events
        assert "- held.txt is another's" in kind.heard(spec)
        assert [path.name for path in scene.worktree.iterdir()] == ["mine.txt"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("real", "change", "words"),
    [
        (GEMINI, {"GEMINI_API_KEY": ""}, "API key is missing"),
        (CODEX, {"CODEX_HOME": "{empty}"}, "Authentication required"),
    ],
    ids=["gemini", "codex-acp"],
)
async def test_a_real_agent_without_its_login_is_found(
    scene: Scene, real: Real, change: dict[str, str], words: str
) -> None:
    async with opened(real, scene) as (kind, spec):
        empty = scene.folder / "home" / "empty"
        empty.mkdir()
        env = {name: value.format(empty=empty) for name, value in change.items()}
        (problem,) = await kind.plays().check(Probe(env={**spec.env, **env}, folder=scene.worktree))

        assert words in problem.what
        assert problem.hint == PROFILES[real.profile].login


@pytest.mark.slow
async def test_a_real_codex_knows_its_models(scene: Scene) -> None:
    async with opened(CODEX, scene) as (kind, spec):
        probe = Probe(env=spec.env, folder=scene.worktree, models=("gpt-5", "gpt-55"))
        (problem,) = await kind.plays().check(probe)

        assert problem.what == "agent 'codex-acp' has no model 'gpt-55'"
        assert "did you mean " in problem.hint


@pytest.mark.slow
async def test_a_real_gemini_is_started_with_the_model_that_is_chosen(scene: Scene) -> None:
    async with opened(GEMINI, scene) as (kind, spec):
        await prompted(kind.plays(), replace(spec, model="gemini-2.5-pro"))

        assert kind.models == {"gemini-2.5-pro"}


@pytest.mark.slow
@REAL
async def test_a_price_makes_money_of_a_real_agents_tokens(scene: Scene, real: Real) -> None:
    async with opened(real, scene) as (kind, spec):
        chosen = settings.AcpAgent(
            kind="acp",
            profile=real.profile,
            price=settings.PriceSettings(input=1_000.0, output=0.0),
        )
        events = await prompted(kind.plays(chosen=chosen), spec)

        usage = [event.usage for event in events if isinstance(event, Spent)][-1]
        assert (usage.cost_usd, usage.source) == (1.0, CostSource.PRICED)
