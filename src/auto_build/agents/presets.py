"""Known programs: how each is started without a person, and what its output means. Pure.

A program that writes one JSON object a line is read line by line; one that writes for people is
only searched for what went wrong.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from auto_build.agents.base import (
    Abilities,
    AgentEvent,
    Began,
    Doing,
    Ended,
    Stop,
    Text,
)
from auto_build.agents.words import asks, find_answer, find_reset, why_in_words
from auto_build.core.usage import CostSource, Price, Usage

Json = dict[str, Any]
_LIMIT: Final = 600
_SAID: Final = 256 * 1024  # characters at the end of what was said that may hold an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What the arguments of a prompt depend on; `session` is the conversation to go on with."""

    model: str = ""
    session: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard of one prompt up to now.

    `used` is what it has used up; `said` its last words; `saying` the line that it is about to say;
    `worked` whether a tool that writes or runs was used; `failure` what went wrong last, in words.
    """

    session: str = ""
    used: Usage = field(default_factory=Usage)
    said: str = ""
    saying: str = ""
    worked: bool = False
    failure: str = ""
    done: bool = False


Step = tuple[Heard, tuple[AgentEvent, ...]]
Read = Callable[[Heard, Json], Step]
ReadText = Callable[[Heard, str], Step]


def read_words(heard: Heard, line: str) -> Step:
    """Take a line for people as something that was said, and no more."""
    return replace(heard, said=f"{heard.said}\n{line}"[-4_000:]), (Text(line),)


def _nothing(_: "Start") -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One program.

    Attributes:
        argv: its arguments for a prompt.
        read: reads one JSON object of its output; None where it writes for people.
        read_text: reads one line of what it writes for people.
        look: what shows that it runs, without a model.
        env: variables that it needs besides, and that go before all others.
        install: the command that installs it.
        login: what to do where it is not logged in.
        keys: variables or files of the home folder, one of which shows a key or a login.
        by_file: whether the prompt goes into a file and not to standard input.
        cumulative: whether it tells what the conversation used up from its very beginning.
        trajectory: the file in the scratch folder that tells afterwards how it ended, and its cost.
        abilities: what it can do.
    """

    argv: Callable[[Start], tuple[str, ...]]
    read: Read | None
    install: str
    read_text: ReadText = read_words
    look: tuple[str, ...] = ("--version",)
    env: Callable[[Start], Mapping[str, str]] = _nothing
    login: str = ""
    keys: tuple[str, ...] = ()
    by_file: bool = False
    cumulative: bool = False
    trajectory: str = ""
    abilities: Abilities = field(default_factory=Abilities)


def read_line(preset: Preset, heard: Heard, line: str) -> Step:
    """Return what was heard after one more line, and what of it is passed on."""
    if preset.read is None:
        return preset.read_text(heard, line)
    told = _parse(line)
    return (heard, (Text(line),)) if told is None else preset.read(heard, told)


def say_rest(heard: Heard) -> Step:
    """Pass on what is left of what was being said; the program may have ended in the middle."""
    if not heard.saying:
        return heard, ()
    return replace(heard, said=f"{heard.said}\n", saying=""), (Text(heard.saying),)


def total(preset: Preset, used: Usage, before: Usage, price: Price | None) -> Usage:
    """Return what the conversation has used up, with what it had used before this prompt."""
    priced = price.of(used) if price and used else used
    return priced.at_least(before) if preset.cumulative else before + priced


def judge(heard: Heard, code: int, tail: str, *, wants_answer: bool, now: float) -> Ended:
    """Return why a program stopped that ended by itself with an exit code below 127."""
    failure = heard.failure or (tail.strip()[-_LIMIT:] if code else "")
    if failure and not (heard.done and code == 0):
        stop = why_in_words(failure)
        reset = find_reset(failure, now=now) if stop is Stop.RATE_LIMIT else None
        return Ended(stop=stop, detail=" ".join(failure.split())[:_LIMIT], reset_at=reset)
    if heard.done and not heard.said.strip() and not heard.worked:  # what a model refuses
        return Ended(stop=Stop.ERROR, detail="it said nothing and did nothing")
    if wants_answer:
        answer = find_answer(heard.said)
        if answer is None:
            return Ended(stop=Stop.ERROR, detail="it ended without the answer that was asked for")
        return Ended(stop=Stop.DONE, answer=answer)
    if asks(heard.said) and not heard.worked:
        return Ended(stop=Stop.NEEDS_INPUT, detail=heard.said[-_LIMIT:])
    return Ended(stop=Stop.DONE)


def _parse(line: str) -> Json | None:
    if not line.startswith("{"):
        return None
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _map(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _number(told: Json, *names: str) -> int:
    return sum(int(told.get(name) or 0) for name in names)


def _start_of(heard: Heard, session: Any) -> Step:
    """Note a conversation's name the first time it is told."""
    if not isinstance(session, str) or not session or session == heard.session:
        return heard, ()
    return replace(heard, session=session), (Began(session),)


def _say(heard: Heard, text: str) -> Step:
    return replace(heard, said=f"{heard.said}\n{text}"[-_SAID:]), (Text(text),)


# --- codex exec -----------------------------------------------------------------------------------


def _codex_argv(start: Start) -> tuple[str, ...]:
    sandbox = "read-only" if start.read_only else "workspace-write"
    model = ("--model", start.model) if start.model else ()
    mode = ("--config", f'sandbox_mode="{sandbox}"', "--config", 'approval_policy="never"')
    resume = ("resume", start.session) if start.session else ()
    return ("codex", "exec", *resume, "--json", "--skip-git-repo-check", *mode, *model, "-")


def _read_codex(heard: Heard, told: Json) -> Step:
    match told.get("type"):
        case "thread.started":
            return _start_of(heard, told.get("thread_id"))
        case "item.started" | "item.completed":
            return _codex_item(heard, _map(told.get("item")), begun=told["type"] == "item.started")
        case "turn.completed":
            used = _codex_usage(_map(told.get("usage")))
            return replace(heard, used=used, done=True, failure=""), ()
        case "error":
            return replace(heard, failure=str(told.get("message", ""))), ()
        case "turn.failed":
            message = _map(told.get("error")).get("message", "")
            return replace(heard, failure=str(message) or "the turn failed", done=False), ()
        case _:
            return heard, ()


def _codex_item(heard: Heard, item: Json, *, begun: bool) -> Step:
    match item.get("type"):
        case "agent_message" if not begun:
            return _say(heard, str(item.get("text", "")))
        case "command_execution" if begun:
            command = " ".join(str(item.get("command", "")).split())
            return replace(heard, worked=True), (Doing(f"$ {command}"[:_LIMIT]),)
        case "file_change" if not begun:
            paths = [str(one.get("path", "")) for one in item.get("changes") or []]
            return replace(heard, worked=True), (Doing(f"edit {', '.join(paths)}"),)
        case _:
            return heard, ()


def _codex_usage(told: Json) -> Usage:
    cached = _number(told, "cached_input_tokens")
    return Usage(
        input_tokens=max(_number(told, "input_tokens") - cached, 0),
        output_tokens=_number(told, "output_tokens"),
        cache_read_tokens=cached,
    )


# --- opencode run ---------------------------------------------------------------------------------


def _opencode_argv(start: Start) -> tuple[str, ...]:
    model = ("--model", start.model) if start.model else ()
    resume = ("--session", start.session) if start.session else ()
    plan = ("--agent", "plan") if start.read_only else ()
    return ("opencode", "run", "--format", "json", *plan, *model, *resume)


def _read_opencode(heard: Heard, told: Json) -> Step:
    heard, begun = _start_of(heard, told.get("sessionID"))
    part = _map(told.get("part"))
    match told.get("type"):
        case "text":
            after, events = _say(heard, str(part.get("text", "")))
        case "tool_use":
            name = str(part.get("tool", "tool"))
            given = _map(_map(part.get("state")).get("input"))
            what = given.get("command") or given.get("filePath") or ""
            after = replace(heard, worked=heard.worked or name in _OPENCODE_WORK)
            events = (Doing(f"{name} {what}".strip()[:_LIMIT]),)
        case "step_finish":
            after, events = _opencode_step(heard, part)
        case "error":
            data = _map(_map(told.get("error")).get("data"))
            words = f"{data.get('message', '')} {data.get('statusCode') or ''}".strip()
            after = replace(heard, failure=words or json.dumps(told.get("error")))
            events = ()
        case _:
            after, events = heard, ()
    return after, (*begun, *events)


def _opencode_env(start: Start) -> Mapping[str, str]:
    """Take its tools away where it may only read: its plan agent still runs shell commands."""
    denied = json.dumps({"edit": "deny", "bash": "deny"})
    return {"OPENCODE_PERMISSION": denied} if start.read_only else {}


_OPENCODE_WORK: Final = frozenset({"write", "edit", "bash", "patch", "multiedit"})


def _opencode_step(heard: Heard, part: Json) -> Step:
    told, cache = _map(part.get("tokens")), _map(_map(part.get("tokens")).get("cache"))
    cost = part.get("cost")
    used = Usage(
        input_tokens=_number(told, "input"),
        output_tokens=_number(told, "output", "reasoning"),
        cache_read_tokens=_number(cache, "read"),
        cache_write_tokens=_number(cache, "write"),
        cost_usd=float(cost) if isinstance(cost, int | float) else None,
        source=CostSource.AGENT if isinstance(cost, int | float) else CostSource.UNKNOWN,
    )
    done, cut = part.get("reason") == "stop", part.get("reason") == "length"
    failure = "it reached its limit: too many tokens" if cut else heard.failure
    return replace(heard, used=heard.used + used, done=done, failure=failure), ()


# --- gemini ---------------------------------------------------------------------------------------


def _gemini_argv(start: Start) -> tuple[str, ...]:
    model = ("--model", start.model) if start.model else ()
    mode = "default" if start.read_only else "yolo"
    return ("gemini", "--output-format", "stream-json", "--approval-mode", mode, *model)


def _read_gemini(heard: Heard, told: Json) -> Step:
    if told.get("type") == "message" and told.get("role") == "assistant":
        return _say_on(heard, str(told.get("content", "")))
    heard, said = say_rest(heard)
    after, events = _gemini_event(heard, told)
    return after, (*said, *events)


def _say_on(heard: Heard, text: str) -> Step:
    """Take a piece of what is being said; only whole lines are passed on."""
    lines, _, rest = f"{heard.saying}{text}".rpartition("\n")
    heard = replace(heard, said=f"{heard.said}{text}"[-_SAID:], saying=rest)
    return heard, (Text(lines),) if lines.strip() else ()


def _gemini_event(heard: Heard, told: Json) -> Step:
    match told.get("type"):
        case "init":
            return _start_of(heard, told.get("session_id"))
        case "tool_use":
            given = _map(told.get("parameters"))
            what = given.get("command") or given.get("file_path") or given.get("path") or ""
            name = str(told.get("tool_name", "tool"))
            worked = heard.worked or name in _GEMINI_WORK
            return replace(heard, worked=worked), (Doing(f"{name} {what}".strip()[:_LIMIT]),)
        case "error":
            return replace(heard, failure=str(told.get("message", ""))), ()
        case "result":
            return _gemini_result(heard, told)
        case _:
            return heard, ()


_GEMINI_WORK: Final = frozenset({"write_file", "replace", "run_shell_command"})


def _gemini_result(heard: Heard, told: Json) -> Step:
    stats = _map(told.get("stats"))
    cached = _number(stats, "cached")
    used = Usage(
        input_tokens=max(_number(stats, "input_tokens") - cached, 0),
        output_tokens=_number(stats, "output_tokens"),
        cache_read_tokens=cached,
    )
    if told.get("status") == "success":
        return replace(heard, used=used, done=True, failure=""), ()
    message = str(_map(told.get("error")).get("message", "")) or "it failed"
    return replace(heard, used=used, failure=message), ()


# --- those that write for people ------------------------------------------------------------------


def _aider_argv(start: Start) -> tuple[str, ...]:
    model = ("--model", start.model) if start.model else ()
    files = (
        *("--message-file", "{prompt_file}"),
        *("--chat-history-file", "{scratch}/aider.chat.md"),
        *("--input-history-file", "{scratch}/aider.input"),
        *("--llm-history-file", "{scratch}/aider.llm"),
    )
    quiet = (
        "--yes-always",
        "--no-auto-commits",
        "--no-gitignore",
        *("--map-tokens", "0"),  # its map of the repository would be left in the worktree
        "--no-check-update",
        "--analytics-disable",
        "--no-show-model-warnings",
        "--no-pretty",
        "--no-stream",
    )
    look = ("--dry-run",) if start.read_only else ()
    return ("aider", *files, *quiet, *look, *model)


# only what LiteLLM complains of: a traceback in what it shows is not aider's own trouble
_WRONG: Final = re.compile(r"litellm\.\w+(?:Error|Exception)\b|Model .* has hit a token limit!")
_APPLIED: Final = re.compile(r"Applied edit to (.+)")
_TOKENS: Final = re.compile(
    r"Tokens: (?P<sent>[\d.]+k?) sent(?:, (?P<write>[\d.]+k?) cache write)?"
    r"(?:, (?P<hit>[\d.]+k?) cache hit)?, (?P<received>[\d.]+k?) received\."
    r"(?: Cost: \$(?P<cost>[\d.]+) message)?"
)


def _read_aider(heard: Heard, line: str) -> Step:
    """Read a line of aider's: its exit code is 0 whatever happens."""
    if counted := _TOKENS.match(line):
        return _aider_counts(heard, counted)
    if applied := _APPLIED.match(line):
        return replace(heard, worked=True), (Doing(f"edit {applied[1]}"[:_LIMIT]),)
    if line.startswith("Repo-map: "):  # the last line of its banner
        return replace(heard, said=""), (Text(line),)
    if _WRONG.match(line):
        heard = replace(heard, failure=_aider_trouble(line), done=False)
    return read_words(heard, line)


def _aider_trouble(line: str) -> str:
    full = "too many tokens: " if line.startswith("Model ") else ""
    return f"{full}{line.strip()}"[:_LIMIT]


def _aider_counts(heard: Heard, counted: re.Match[str]) -> Step:
    """Take in a line of counts, rounded as they are; an answer shows that trouble is over."""
    told = {name: _rounded(text) for name, text in counted.groupdict().items() if name != "cost"}
    cost = counted["cost"]
    used = Usage(
        input_tokens=max(told["sent"] - told["hit"] - told["write"], 0),
        output_tokens=told["received"],
        cache_read_tokens=told["hit"],
        cache_write_tokens=told["write"],
        cost_usd=float(cost) if cost else None,
        source=CostSource.AGENT if cost else CostSource.UNKNOWN,
    )
    heard = replace(heard, used=heard.used + used)
    return (replace(heard, failure="", done=True), ()) if told["received"] else (heard, ())


def _rounded(text: str | None) -> int:
    """Return a number such as 950, 1.2k or 12k."""
    if not text:
        return 0
    return round(float(text.removesuffix("k")) * (1000 if text.endswith("k") else 1))


def _wide(_: Start) -> Mapping[str, str]:
    """Keep its lines from being broken: they are read one by one."""
    return {"COLUMNS": "1000"}


_TRAJECTORY: Final = "trajectory.json"


def read_trajectory(heard: Heard, told: Json) -> Heard:
    """Take in what mini-swe-agent notes of a prompt: how it ended, and what it used up.

    What it prints cannot tell: the output of its commands stands among it, tracebacks and all.
    """
    noted = told.get("messages")
    messages = [_map(one) for one in noted] if isinstance(noted, list) else []
    info = _map(told.get("info"))
    status = str(info.get("exit_status") or "")
    last = str(messages[-1].get("content") or "") if messages else ""
    done = status == "Submitted"
    return replace(
        heard,
        used=_mini_usage(messages, _map(info.get("model_stats")).get("instance_cost")),
        worked=heard.worked or any(_map(one.get("extra")).get("actions") for one in messages),
        failure=f"{status}: {last}"[:_LIMIT] if status and not done else heard.failure,
        done=done,
    )


def _mini_usage(messages: Sequence[Json], cost: Any) -> Usage:
    """Return what its answers used up; a cost of nothing is one that it does not know."""
    priced = isinstance(cost, int | float) and cost > 0
    used = Usage(
        cost_usd=float(cost) if priced else None,
        source=CostSource.AGENT if priced else CostSource.UNKNOWN,
    )
    told = [
        _map(_map(_map(one.get("extra")).get("response")).get("usage"))
        for one in messages
        if one.get("role") == "assistant"
    ]
    sent = sum(_number(one, "prompt_tokens") for one in told)
    cached = sum(_number(_map(one.get("prompt_tokens_details")), "cached_tokens") for one in told)
    return replace(
        used,
        input_tokens=max(sent - cached, 0),
        output_tokens=sum(_number(one, "completion_tokens") for one in told),
        cache_read_tokens=cached,
    )


def _mini_env(_: Start) -> Mapping[str, str]:
    """Keep it from asking for its settings, and from failing where it knows no price."""
    return {"MSWEA_CONFIGURED": "true", "MSWEA_COST_TRACKING": "ignore_errors"}


def _mini_argv(start: Start) -> tuple[str, ...]:
    model = ("--model", start.model) if start.model else ()
    return (
        *("mini", "--task", "Your task is in {prompt_file}: read it whole, then do it."),
        *("--yolo", "--exit-immediately", "--output", f"{{scratch}}/{_TRAJECTORY}", *model),
    )


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "codex": Preset(
            argv=_codex_argv,
            read=_read_codex,
            install="npm install -g @openai/codex",
            login="run `codex login`, or set CODEX_API_KEY",
            keys=("CODEX_API_KEY", "OPENAI_API_KEY", ".codex/auth.json", ".codex/config.toml"),
            cumulative=True,
            abilities=Abilities(resumes=True, memory_mb=200),
        ),
        "opencode": Preset(
            argv=_opencode_argv,
            read=_read_opencode,
            install="npm install -g opencode-ai",
            login="run `opencode auth login`",
            env=_opencode_env,
            abilities=Abilities(resumes=True, reports_cost=True, memory_mb=600),
        ),
        "gemini": Preset(
            argv=_gemini_argv,
            read=_read_gemini,
            install="npm install -g @google/gemini-cli",
            login="set GEMINI_API_KEY, or start gemini once and log in",
            keys=("GEMINI_API_KEY", "GOOGLE_API_KEY", ".gemini/oauth_creds.json"),
            abilities=Abilities(memory_mb=260),
        ),
        "aider": Preset(
            argv=_aider_argv,
            read=None,
            install="pip install aider-chat",
            read_text=_read_aider,
            env=_wide,
            by_file=True,
            abilities=Abilities(memory_mb=300),
        ),
        "mini": Preset(
            argv=_mini_argv,
            read=None,
            install="pip install mini-swe-agent",
            look=("--help",),  # it knows no --version
            env=_mini_env,
            by_file=True,
            trajectory=_TRAJECTORY,
            abilities=Abilities(reports_cost=True, memory_mb=300),
        ),
    }
)
