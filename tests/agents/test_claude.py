"""What only the `claude` backend has: how it is started, judged, paid for, and looked at."""

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from auto_build import settings
from auto_build.agents.base import (
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
from auto_build.agents.claude import backend as claude
from auto_build.agents.claude.launch import Conversation, arguments, environment
from auto_build.agents.claude.outcome import Report, find_reset, judge, judge_exit
from auto_build.agents.claude.sandbox import remove_placeholders
from auto_build.agents.claude.tools import Place, in_words, may_unasked, request_of
from auto_build.agents.claude.usage import Meter, read_totals
from auto_build.core.usage import CostSource, Price, Usage
from auto_build.policy.environment import Seat
from auto_build.policy.permission import Access
from auto_build.process import Processes
from tests.agents.kinds.claude import environment as stub_environment
from tests.agents.kinds.claude import heard, served
from tests.agents.listening import Listening, until
from tests.programs import alive_in
from tests.stubs import acts
from tests.stubs.server import BAD_KEY, NO_MODEL, ModelStub

NOON = 1_795_518_000.0  # 24 Nov 2026, 11:00 UTC, which is 12 o'clock in Berlin
HOUR = 3600.0


# --- ends ----------------------------------------------------------------------------------------


def failed(error: str, status: int | None, text: str = "API Error", **more: Any) -> Report:
    """Return the report of a failure of the model's service, as the program makes it."""
    usual: dict[str, Any] = {"reason": "api_error", "error": error, "status": status, "text": text}
    return Report(subtype="success", is_error=True, **{**usual, **more})


DONE = Report(subtype="success", is_error=False, reason="completed", text="It is done.")
BROKEN = "error_during_execution"


@pytest.mark.parametrize(
    ("report", "stop"),
    [
        (DONE, Stop.DONE),
        (replace(DONE, reason=None), Stop.DONE),
        (replace(DONE, reason="hook_stopped"), Stop.ERROR),
        (failed("rate_limit", 429), Stop.RATE_LIMIT),
        (failed("server_error", 529), Stop.OVERLOADED),
        (failed("server_error", 500), Stop.OVERLOADED),
        (failed("unknown", 503), Stop.OVERLOADED),
        (failed("server_error", None, "Connection dropped (ECONNRESET)"), Stop.OVERLOADED),
        (failed("authentication_failed", 401), Stop.AUTH),
        (failed("authentication_failed", 403), Stop.AUTH),
        (failed("model_not_found", 404), Stop.ERROR),
        (failed("billing_error", 400), Stop.AUTH),
        (failed("invalid_request", 400, reason="prompt_too_long"), Stop.CONTEXT_FULL),
        (failed("invalid_request", 413, reason="image_error"), Stop.CONTEXT_FULL),
        (
            failed("max_output_tokens", None, "The model has reached its context window limit."),
            Stop.CONTEXT_FULL,
        ),
        (failed("max_output_tokens", None, "exceeded the 128000 output token"), Stop.ERROR),
        (failed("invalid_request", None, stop_reason="refusal"), Stop.REFUSED),
        (Report(subtype="error_max_turns", is_error=True, reason="max_turns"), Stop.MAX_TURNS),
        (Report(subtype="error_max_budget_usd", is_error=True), Stop.BUDGET),
        (Report(subtype=BROKEN, is_error=True, reason="aborted_tools"), Stop.INTERRUPTED),
        (Report(subtype=BROKEN, is_error=True, reason="aborted_streaming"), Stop.INTERRUPTED),
        (Report(subtype=BROKEN, is_error=True, errors=("it broke",)), Stop.ERROR),
        (Report(subtype="error_max_structured_output_retries", is_error=True), Stop.ERROR),
    ],
)
def test_each_report_of_the_program_is_an_end_of_one_kind(report: Report, stop: Stop) -> None:
    end = judge(report, now=NOON)

    assert end.stop is stop
    assert stop is Stop.DONE or end.detail, "an end without a word"


def test_an_account_that_cannot_pay_has_words_of_its_own() -> None:
    end = judge(failed("billing_error", 400, "Credit balance is too low"), now=NOON)
    assert end.detail == "the account cannot pay: Credit balance is too low"


def test_an_answer_that_was_asked_for_must_be_there() -> None:
    asked = replace(DONE, wants_answer=True, text="I would rather not?")

    assert judge(replace(asked, answer={"a": 1}), now=NOON) == Ended(
        stop=Stop.DONE, answer={"a": 1}
    )
    end = judge(asked, now=NOON)
    assert end.stop is Stop.ERROR
    assert "without the answer" in end.detail
    assert "I would rather not?" in end.detail


@pytest.mark.parametrize(
    ("report", "stop"),
    [
        (replace(DONE, text="Which one do you mean?"), Stop.NEEDS_INPUT),
        (replace(DONE, text="Which one do you mean?", changed=True), Stop.DONE),
        (replace(DONE, text="I need to know which.", asked=True), Stop.NEEDS_INPUT),
        (replace(DONE, text="It is done. Shall I go on? No."), Stop.DONE),
    ],
    ids=["a question instead of work", "a question after work", "asked by tool", "no question"],
)
def test_a_question_is_an_end_of_its_own_where_nothing_was_done(report: Report, stop: Stop) -> None:
    assert judge(report, now=NOON).stop is stop


def test_when_a_limit_ends_is_taken_from_the_report_before_the_words() -> None:
    words = "You've hit your session limit · resets 4pm (Europe/Berlin)"

    reported = judge(failed("rate_limit", 429, words, reset_at=NOON + 60), now=NOON)
    read = judge(failed("rate_limit", 429, words), now=NOON)
    unknown = judge(failed("rate_limit", 429), now=NOON)

    assert (reported.reset_at, read.reset_at, unknown.reset_at) == (
        NOON + 60,
        NOON + 4 * HOUR,
        None,
    )


@pytest.mark.parametrize(
    ("text", "reset_at"),
    [
        ("Claude AI usage limit reached|1795525200", 1_795_525_200.0),
        ("limit reached · resets 4pm (Europe/Berlin)", NOON + 4 * HOUR),
        ("limit reached · resets 4:30pm (Europe/Berlin)", NOON + 4.5 * HOUR),
        ("limit reached · resets 9am (Europe/Berlin)", NOON + 21 * HOUR),
        ("limit reached · resets 12am (Europe/Berlin)", NOON + 12 * HOUR),
        ("limit reached · resets 12pm (Europe/Berlin)", NOON),
        ("limit reached · resets 4pm", None),
        ("limit reached · resets 4pm (Middle/Earth)", None),
        ("limit reached · resets Nov 27, 4pm (Europe/Berlin)", None),
        ("limit reached · resets 99pm (Europe/Berlin)", None),
        ("limit reached · resets 4:75pm (Europe/Berlin)", None),
        ("Request rejected (429)", None),
    ],
)
def test_the_end_of_a_limit_is_read_only_where_it_is_beyond_doubt(
    text: str, reset_at: float | None
) -> None:
    assert find_reset(text, now=NOON) == reset_at


@pytest.mark.parametrize(
    ("code", "started", "stop", "words"),
    [
        (137, True, Stop.CRASHED, "ended by signal 9"),
        (-9, True, Stop.CRASHED, "guard of claude was killed"),
        (127, False, Stop.CRASHED, "could not be started"),
        (1, False, Stop.ERROR, "would not begin (exit code 1): sandbox required"),
        (1, True, Stop.CRASHED, "without a word (exit code 1)"),
        (0, True, Stop.CRASHED, "without a word (exit code 0)"),
    ],
)
def test_a_program_that_is_gone_without_a_report_is_no_success(
    code: int, started: bool, stop: Stop, words: str
) -> None:
    end = judge_exit(code, "sandbox required\n", started=started)

    assert end.stop is stop
    assert words in end.detail


# --- money ---------------------------------------------------------------------------------------


def usage(tokens: int, dollars: float) -> Usage:
    return Usage(input_tokens=tokens, cost_usd=dollars, source=CostSource.AGENT)


def test_what_a_killed_program_spent_is_not_lost() -> None:
    first = Meter.started(usage(0, 0.0), Usage())
    known = first.total(usage(2000, 0.02))  # the program is killed: its own total stays at nothing

    second = Meter.started(usage(0, 0.0), known)
    assert second.total(usage(1000, 0.01)) == usage(3000, 0.03)

    third = Meter.started(usage(1000, 0.01), second.total(usage(1000, 0.01)))
    assert third.total(usage(1000, 0.01)) == usage(3000, 0.03), "nothing is counted twice"


def test_a_program_that_knows_of_more_than_the_journal_is_believed() -> None:
    meter = Meter.started(usage(2000, 0.02), usage(1000, 0.01))
    assert meter.total(usage(2500, 0.025)) == usage(2500, 0.025)


def test_the_tokens_of_all_models_are_counted_and_priced_by_the_settings_where_they_say() -> None:
    models = {
        "opus": {
            "inputTokens": 1000,
            "outputTokens": 50,
            "cacheReadInputTokens": 7,
            "cacheCreationInputTokens": 3,
        },
        "haiku": {"inputTokens": 10, "outputTokens": None},
    }

    own = read_totals(0.5, models, None)
    priced = read_totals(0.5, models, Price(input=1000, output=2000))

    assert (own.input_tokens, own.output_tokens, own.cache_read_tokens) == (1010, 50, 7)
    assert (own.cache_write_tokens, own.cost_usd, own.source) == (3, 0.5, CostSource.AGENT)
    assert priced.cost_usd == pytest.approx(1.12)
    assert priced.source is CostSource.PRICED


def test_a_cost_that_the_program_guesses_is_no_cost_that_it_knows() -> None:
    models = {"mine": {"inputTokens": 1, "costBasis": "unknown"}}
    assert read_totals(0.5, models, None).source is CostSource.UNKNOWN


# --- tools ---------------------------------------------------------------------------------------


def test_a_path_is_judged_where_it_leads(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    place = Place(str(root), str(tmp_path / "home"))

    paths = {
        path: request_of("Write", {"file_path": path}, place).paths[0]
        for path in ("a/new.py", "../x", "~/x", f" {tmp_path}/x ", "out/x", "$HOME/x")
    }

    assert paths == {
        "a/new.py": f"{root}/a/new.py",
        "../x": f"{tmp_path}/x",
        "~/x": f"{tmp_path}/home/x",
        f" {tmp_path}/x ": f"{tmp_path}/x",
        "out/x": f"{tmp_path}/x",
        "$HOME/x": f"{root}/$HOME/x",
    }


@pytest.mark.parametrize(
    ("tool", "given", "access", "words"),
    [
        ("Edit", {"file_path": "/w/src/a.py"}, Access.WRITE, "Edit src/a.py"),
        ("NotebookEdit", {"notebook_path": "/w/a.ipynb"}, Access.WRITE, "NotebookEdit a.ipynb"),
        ("Bash", {"command": "pytest -q\n  tests"}, Access.RUN, "Bash pytest -q tests"),
        ("Grep", {"pattern": "def f", "path": "/w/src"}, Access.READ, "Grep src"),
        ("WebFetch", {"url": "https://x.org"}, Access.OTHER, "WebFetch https://x.org"),
        ("mcp__db__drop", {"table": "t"}, Access.OTHER, "mcp__db__drop"),
    ],
)
def test_a_tool_call_is_told_in_a_few_words(
    tool: str, given: dict[str, Any], access: Access, words: str
) -> None:
    request = request_of(tool, given, Place("/w", "/home/me"))
    assert (request.access, request.what) == (access, words)


def test_a_long_command_is_cut() -> None:
    words = in_words("Bash", {"command": "x" * 5000}, Place("/w", "/h"))
    assert len(words) == 160
    assert words.endswith("x…")


def test_only_a_rule_for_the_whole_tool_lets_it_be_used_in_any_form() -> None:
    assert may_unasked("Bash", ("Write", "Bash"))
    assert may_unasked("Bash", ("Bash(*)",))
    assert not may_unasked("Bash", ("Bash(git *)", "BashOutput"))


# --- how it is started ---------------------------------------------------------------------------


def spec(tmp_path: Path, **more: Any) -> SessionSpec:
    given: dict[str, Any] = {
        "cwd": tmp_path,
        "env": {},
        "seat": Seat("001", "1-1", 1, 1),
        "round": 0,
        "model": "",
        "scratch": tmp_path,
        "log": tmp_path / "log",
    }
    return SessionSpec(**{**given, **more})


def table(**more: Any) -> settings.ClaudeAgent:
    return settings.ClaudeAgent.model_validate({"kind": "claude", **more})


def flags(chosen: settings.ClaudeAgent, asked: SessionSpec, *, resumed: bool = False) -> str:
    return " ".join(arguments("claude", chosen, asked, Conversation("ID", resumed)))


def test_nothing_of_the_users_is_read_and_nobody_is_asked(tmp_path: Path) -> None:
    line = flags(table(), spec(tmp_path))

    assert "--setting-sources= " in line
    assert "--strict-mcp-config" in line
    assert "--permission-prompt-tool stdio --permission-mode default" in line
    assert "--allowedTools Bash " in line
    assert "--session-id=ID" in line
    assert "skip-permissions" not in line
    assert "--system-prompt" not in line, "Claude Code's own prompt is kept"
    assert "--resume=ID" in flags(table(), spec(tmp_path), resumed=True)


def test_what_the_settings_say_is_passed_on(tmp_path: Path) -> None:
    chosen = table(allow=["Bash(git *)", "WebSearch"], settings_from=["project"], max_turns=9)
    line = flags(chosen, spec(tmp_path, model="opus", limits=Limits(turns=20, cost_usd=0.5)))

    assert "--allowedTools Bash(git *),WebSearch" in line
    assert "--setting-sources=project" in line
    assert "--strict-mcp-config" not in line
    assert "--model opus" in line
    assert "--max-turns 9" in line, "the lower of two bounds"
    assert "--max-budget-usd 0.5" in line


def test_a_session_that_only_reads_is_given_nothing_else(tmp_path: Path) -> None:
    line = flags(table(allow=["Bash", "Write"]), spec(tmp_path, read_only=True, schema={"a": 1}))

    assert "--tools Read,Glob,Grep" in line
    assert "--allowedTools" not in line
    assert '--json-schema {"a": 1}' in line


def test_the_sandbox_fails_closed_unless_the_table_says_otherwise(tmp_path: Path) -> None:
    assert "sandbox" not in flags(table(), spec(tmp_path))
    assert '"failIfUnavailable": true' in flags(table(sandbox=True), spec(tmp_path))

    own = flags(table(sandbox={"failIfUnavailable": False, "network": {}}), spec(tmp_path))
    assert '"enabled": true' in own
    assert '"failIfUnavailable": false, "network": {}' in own


def test_the_users_environment_stands_over_our_defaults_and_not_over_what_we_need() -> None:
    env = environment(
        {
            "CLAUDE_CODE_MAX_RETRIES": "9",
            "CLAUDE_CODE_ENTRYPOINT": "cli",
            "CLAUDE_CODE_SSE_PORT": "1234",
            "ANTHROPIC_API_KEY": "k",
        }
    )

    assert env["CLAUDE_CODE_MAX_RETRIES"] == "9"
    assert env["DISABLE_AUTOUPDATER"] == "1"
    assert env["CLAUDE_CODE_ENTRYPOINT"] == "sdk-py"
    assert env["ANTHROPIC_API_KEY"] == "k"
    assert "CLAUDE_CODE_SSE_PORT" not in env, "a session around us is not its own"


# --- the real program, in front of a stub --------------------------------------------------------

SCENE = "scene"


@pytest.fixture
def stub() -> Iterator[ModelStub]:
    with ModelStub() as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, stub: ModelStub) -> SessionSpec:
    for name in ("work", "home", "scratch"):
        (tmp_path / name).mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        **stub_environment(stub.url(SCENE)),
    }
    return spec(tmp_path / "work", env=env, scratch=tmp_path / "scratch", log=tmp_path / "log")


def agent(**more: Any) -> claude.ClaudeAgent:
    return claude.build("claude", table(**more), Processes())


def shell(command: str) -> acts.Act:
    return acts.UseTool("Bash", {"command": command, "description": "do it"})


async def prompt(place: SessionSpec, text: str = "do it", **more: Any) -> list[AgentEvent]:
    session = await agent(**more).start(place)
    try:
        return [event async for event in session.prompt(text)]
    finally:
        await session.close()


def told(events: list[AgentEvent]) -> Usage:
    """Return what the agent says it has used up so far."""
    return [Usage(), *(event.usage for event in events if isinstance(event, Spent))][-1]


def conversation(events: list[AgentEvent]) -> str:
    (name,) = [event.session for event in events if isinstance(event, Began)]
    return name


@pytest.mark.slow
async def test_the_money_adds_up_to_the_cent_although_a_program_was_killed(
    place: SessionSpec, stub: ModelStub
) -> None:
    stub.play(SCENE, acts.Say("one"))
    price = told(await prompt(place)).cost_usd
    assert price
    kill = shell("until [ -e told ]; do sleep 0.05; done; kill -KILL $PPID")
    stub.play(SCENE, shell("true"), shell("true"), kill, shell("true"), acts.Say("done"))

    session = await agent().start(place)
    listening = Listening(session)
    await until(lambda: told(listening.events).input_tokens == 3000, "three requests are counted")
    (place.cwd / "told").touch()
    first = await listening.end()
    await session.close()
    earlier = Earlier(conversation(first), told(first))
    second = await prompt(replace(place, earlier=earlier))

    assert isinstance(first[-1], Ended)
    assert first[-1].stop is Stop.CRASHED
    assert len(stub.served(SCENE)) == 1 + 5
    assert told(second).cost_usd == pytest.approx(5 * price)


@pytest.mark.slow
async def test_a_question_to_a_person_is_answered_with_that_nobody_is_there(
    place: SessionSpec, stub: ModelStub
) -> None:
    option = {"label": "this", "description": "the first"}
    other = {"label": "that", "description": "the second"}
    question = {"question": "Which?", "header": "H", "multiSelect": False}
    asks = acts.UseTool(
        "AskUserQuestion", {"questions": [{**question, "options": [option, other]}]}
    )
    stub.play(SCENE, asks, acts.Say("Then I cannot go on."))

    asked = await prompt(place)
    stub.play(SCENE, asks, shell("touch done"), acts.Say("I took the first."))
    decided = await prompt(place)

    assert asked[-1] == Ended(stop=Stop.NEEDS_INPUT, detail="Then I cannot go on.")
    assert "Nobody is there to answer" in heard(stub, SCENE)
    assert decided[-1] == Ended(stop=Stop.DONE), "who goes on has found the answer"


@pytest.mark.slow
async def test_a_prompt_lasts_until_the_agents_of_the_agent_are_done(
    place: SessionSpec, stub: ModelStub
) -> None:
    job = {"description": "d", "prompt": "help", "subagent_type": "general-purpose"}
    helper = acts.UseTool("Agent", {**job, "run_in_background": True})
    stub.play(SCENE, helper, acts.Say("said", delay_s=0.5), repeat_last=True)

    events = await prompt(place)

    assert events[-1] == Ended(stop=Stop.DONE)
    assert len(stub.served(SCENE)) == 4, "the agent twice, its helper, and the agent once more"
    assert told(events).tokens == served(stub, SCENE).tokens


@pytest.mark.slow
async def test_what_is_said_during_the_last_answer_is_answered_too(
    place: SessionSpec, stub: ModelStub
) -> None:
    stub.play(SCENE, acts.Say("done", delay_s=2.0), acts.Say("and that as well"))
    session = await agent().start(place)

    listening = Listening(session)
    await until(lambda: stub.served(SCENE), "the model is asked")
    assert await session.steer("one thing more")
    events = await listening.end()
    await session.close()

    assert "one thing more" in heard(stub, SCENE)
    assert [event.text for event in events if isinstance(event, Text)] == [
        "done",
        "and that as well",
    ]
    assert events[-1] == Ended(stop=Stop.DONE)


@pytest.mark.slow
async def test_a_tool_that_no_rule_allows_is_denied_with_the_name_of_the_setting(
    place: SessionSpec, stub: ModelStub
) -> None:
    stub.play(SCENE, shell("touch no.txt"), shell("git init -q sub"))
    events = await prompt(place, allow=["Bash(git *)"])

    assert not (place.cwd / "no.txt").exists()
    assert (place.cwd / "sub").is_dir()
    (denied,) = [event for event in events if isinstance(event, Denied)]
    assert "`allow` of [agents.claude]" in denied.why


@pytest.mark.slow
async def test_an_answer_that_never_comes_is_no_success(
    place: SessionSpec, stub: ModelStub
) -> None:
    stub.play(SCENE, acts.Say("I would rather not."), repeat_last=True)

    (*_, end) = await prompt(replace(place, schema={"type": "object"}))

    assert isinstance(end, Ended)
    assert end.stop is Stop.ERROR
    assert "I would rather not." in end.detail


@pytest.mark.slow
@pytest.mark.parametrize("login", [False, True], ids=["with a key", "with a login"])
async def test_a_usage_limit_says_when_it_ends(
    place: SessionSpec, stub: ModelStub, login: bool
) -> None:
    env = dict(place.env)
    if login:
        env["CLAUDE_CODE_OAUTH_TOKEN"] = "sk-ant-oat01-made-up"
        del env["ANTHROPIC_API_KEY"]
    stub.play(SCENE, acts.Fail(acts.Failure.RATE_LIMIT, after_s=3600.0), repeat_last=True)
    now = agent().clock()

    (*_, end) = await prompt(replace(place, env=env))

    assert isinstance(end, Ended)
    assert end.stop is Stop.RATE_LIMIT
    assert end.reset_at is not None
    assert 3500.0 < end.reset_at - now < 3700.0


@pytest.mark.slow
async def test_a_conversation_of_which_nothing_is_left_begins_anew(
    place: SessionSpec, stub: ModelStub
) -> None:
    name = str(uuid4())
    folder = Path(place.env["HOME"]) / ".claude" / "projects" / "somewhere"
    folder.mkdir(parents=True)
    (folder / f"{name}.jsonl").write_text('{"type": "mode"}\n')
    stub.play(SCENE, acts.Say("done"))

    session = await agent().start(replace(place, earlier=Earlier(name)))
    events = [event async for event in session.prompt("do it")]
    await session.close()

    assert not session.resumed
    assert events[-1] == Ended(stop=Stop.DONE)


@pytest.mark.slow
async def test_a_sandbox_that_is_not_there_is_an_end_and_no_unprotected_work(
    place: SessionSpec, tmp_path: Path, stub: ModelStub
) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    bounded = replace(place, env={**place.env, "PATH": str(bare)})
    boxed = agent(sandbox=True)

    (problem,) = await boxed.check(Probe(env=bounded.env, folder=place.scratch))
    (end,) = await prompt(bounded, sandbox=True)

    assert "needs bwrap and socat" in problem.what
    assert isinstance(end, Ended)
    assert end.stop is Stop.ERROR
    assert "sandbox required but unavailable" in end.detail
    assert not stub.served(SCENE)


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("bwrap") and shutil.which("socat")), reason="bwrap or socat is missing"
)
async def test_in_the_sandbox_a_command_writes_in_the_worktree_only(
    place: SessionSpec, tmp_path: Path, stub: ModelStub
) -> None:
    stub.play(SCENE, shell("echo in > in.txt"), shell(f"echo out > {tmp_path}/out.txt"))

    events = await prompt(place, sandbox=True)

    assert events[-1] == Ended(stop=Stop.DONE)
    assert (place.cwd / "in.txt").read_text() == "in\n"
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("bwrap") and shutil.which("socat")), reason="bwrap or socat is missing"
)
async def test_a_killed_sandbox_leaves_nothing_in_the_worktree(
    place: SessionSpec, stub: ModelStub
) -> None:
    stub.play(SCENE, shell("touch begun; tail -f /dev/null"))
    session = await agent(sandbox=True).start(place)
    listening = Listening(session)
    await until((place.cwd / "begun").exists, "the command runs")

    for one in alive_in(place.cwd):
        if one.name() == "claude":
            one.kill()
    await listening.end()
    await session.close()

    assert [path.name for path in place.cwd.iterdir() if path.is_file()] == ["begun"]


def test_only_empty_files_that_nobody_may_write_are_taken_for_the_sandboxs(tmp_path: Path) -> None:
    (tmp_path / ".claude").mkdir()
    for name, text, mode in (
        (".gitconfig", "", 0o444),
        (".claude/settings.json", "", 0o444),
        ("empty.py", "", 0o644),
        ("LICENSE", "MIT", 0o444),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    (tmp_path / "link").symlink_to("nowhere")

    remove_placeholders(tmp_path)

    assert {path.name for path in tmp_path.rglob("*")} == {".claude", "empty.py", "LICENSE", "link"}


@pytest.mark.slow
async def test_a_prompt_is_delivered_as_it_is_written(place: SessionSpec, stub: ModelStub) -> None:
    stub.play(SCENE, acts.Say("done"))
    (place.cwd / "notes.md").write_text("a secret")

    events = await prompt(place, "/clear and read @notes.md")

    assert events[-1] == Ended(stop=Stop.DONE)
    assert "/clear and read @notes.md" in heard(stub, SCENE)
    assert "a secret" not in heard(stub, SCENE)


DEAF = "#!/bin/sh\ntouch begun; exec tail -f /dev/null\n"
HALF_DEAF = f"""#!{sys.executable}
import json, pathlib, sys
asked = json.loads(sys.stdin.readline())
told = {{"hook_on_failure_supported": True}}
answer = {{"subtype": "success", "request_id": asked["request_id"], "response": told}}
print(json.dumps({{"type": "control_response", "response": answer}}), flush=True)
sys.stdin.readline()
pathlib.Path("begun").touch()
sys.stdin.read()
"""


@pytest.mark.parametrize("text", [DEAF, HALF_DEAF], ids=["at the greeting", "after it"])
async def test_a_start_that_is_given_up_leaves_nothing_behind(
    place: SessionSpec, tmp_path: Path, text: str
) -> None:
    deaf = tmp_path / "claude"
    deaf.write_text(text)
    deaf.chmod(0o755)
    starting = asyncio.create_task(agent(program=str(deaf)).start(place))
    await until((place.cwd / "begun").exists, "the program runs")

    starting.cancel()
    await asyncio.wait({starting}, timeout=10.0)

    assert starting.cancelled()
    assert alive_in(place.cwd) == []


@pytest.mark.parametrize(
    ("script", "stop", "words"),
    [
        ("echo not today >&2; exit 3", Stop.ERROR, "(exit code 3): not today"),
        ("kill -KILL $$", Stop.CRASHED, "signal 9"),
        ("echo hello; echo '[log] {'; exit 0", Stop.CRASHED, "without a word"),
        ("""echo '{"type": '; exec tail -f /dev/null""", Stop.ERROR, "a damaged line"),
        (
            "exec 2>&1; head -c 17000000 /dev/zero; exec tail -f /dev/null",
            Stop.ERROR,
            "a line that is too long",
        ),
    ],
    ids=["refuses", "killed", "says nothing", "garbage", "a line without end"],
)
async def test_whatever_stands_in_for_the_program_there_is_an_end_and_nothing_is_left(
    place: SessionSpec, tmp_path: Path, script: str, stop: Stop, words: str
) -> None:
    fake = tmp_path / "claude"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)

    (end,) = await prompt(place, program=str(fake))

    assert isinstance(end, Ended)
    assert end.stop is stop
    assert words in end.detail
    assert alive_in(place.cwd) == []


async def test_a_program_that_is_not_there_is_an_end_and_no_exception(place: SessionSpec) -> None:
    (end,) = await prompt(place, program="/no/such/claude")

    assert isinstance(end, Ended)
    assert end.stop is Stop.CRASHED
    assert "/no/such/claude" in end.detail
    assert alive_in(place.cwd) == []


# --- before a run --------------------------------------------------------------------------------


async def check(place: SessionSpec, *models: str, **env: str | None) -> list[str]:
    """Return what is wrong, with the way out."""
    given = {**place.env, **env}
    stated = {name: value for name, value in given.items() if value is not None}
    found = await agent().check(Probe(env=stated, folder=place.scratch, models=models))
    assert all(problem.hint for problem in found)
    return [f"{problem.what} -> {problem.hint}" for problem in found]


async def test_models_that_the_service_knows_are_no_problem(
    place: SessionSpec, stub: ModelStub
) -> None:
    assert await check(place, "claude-opus-5-5", "sonnet", "opus[1m]", "default") == []
    assert not stub.served(SCENE), "no model is called"


async def test_an_unknown_model_is_named_with_those_that_look_like_it(place: SessionSpec) -> None:
    (problem,) = await check(place, "claude-opus-5-5", f"claude-{NO_MODEL}-opus-5-5")

    assert "no model 'claude-no-such-opus-5-5'" in problem
    assert "did you mean claude-opus-5-5" in problem


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"ANTHROPIC_API_KEY": BAD_KEY}, "the key is refused"),
        ({"ANTHROPIC_API_KEY": "sk-ant 1"}, "holds blanks"),
        ({"ANTHROPIC_API_KEY": "sk-ant-1\n"}, "holds blanks"),
        ({"ANTHROPIC_API_KEY": " "}, "holds nothing"),
        ({"ANTHROPIC_API_KEY": ""}, "neither a login nor a key (ANTHROPIC_API_KEY is set, and emp"),
        ({"ANTHROPIC_API_KEY": None}, "neither a login nor a key ->"),
        ({"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}, "connection refused"),
        ({"ANTHROPIC_BASE_URL": "localhost"}, "no web address"),
    ],
)
async def test_a_key_that_cannot_work_is_found_before_the_run(
    place: SessionSpec, env: dict[str, str | None], words: str
) -> None:
    (problem,) = await check(place, **env)
    assert words in problem


@pytest.mark.parametrize(
    "env",
    [
        {"ANTHROPIC_API_KEY": None, "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-made-up"},
        {"ANTHROPIC_API_KEY": None, "CLAUDE_CODE_USE_BEDROCK": "1"},
        {"ANTHROPIC_BASE_URL": "http://no-such-host.invalid"},
    ],
    ids=["a token", "a cloud", "a network that does not answer"],
)
async def test_what_cannot_be_tried_is_taken_as_it_is(
    place: SessionSpec, env: dict[str, str | None]
) -> None:
    assert await check(place, "claude-opus-5-5", **env) == []


async def test_a_login_on_disk_is_enough(place: SessionSpec) -> None:
    folder = Path(place.env["HOME"]) / ".claude"
    folder.mkdir()
    (folder / ".credentials.json").write_text(
        '{"claudeAiOauth": {"accessToken": "made-up", "refreshToken": "made-up",'
        ' "expiresAt": 4000000000000, "scopes": ["user:inference"]}}'
    )

    assert await check(place, "sonnet", ANTHROPIC_API_KEY=None) == []
    (problem,) = await check(place, "not a model", ANTHROPIC_API_KEY=None)
    assert "no model 'not a model'" in problem


async def test_a_program_that_does_not_start_is_found_before_the_run(place: SessionSpec) -> None:
    lost = agent(program="/no/such/claude")

    (problem,) = await lost.check(Probe(env=place.env, folder=place.scratch))

    assert "/no/such/claude" in problem.what
    assert "[agents.claude]" in problem.hint
