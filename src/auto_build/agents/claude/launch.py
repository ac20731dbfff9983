"""How the `claude` program is started: its arguments and its environment. Pure.

Claude Code keeps its own system prompt. It reads no settings of the user's unless the agent's table
says so, never asks a person, and is not told to leave permissions out: what no rule allows is asked
of us.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from auto_build.agents.base import SessionSpec
from auto_build.agents.claude.tools import READERS, WITHHELD
from auto_build.settings import ClaudeAgent

_SANDBOX: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "enabled": True,
        "autoAllowBashIfSandboxed": True,
        "allowUnsandboxedCommands": False,
        "failIfUnavailable": True,  # it would run commands without a sandbox otherwise
    }
)
_DEFAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",  # what one agent notes must not steer another
        "CLAUDE_CODE_MAX_RETRIES": "2",  # the coordinator does the waiting
        "CLAUDE_ENABLE_BYTE_WATCHDOG": "1",
        "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": "180000",
    }
)
_OURS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
        "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",  # "idle" is the one sure end of a prompt
    }
)
# what an outer Claude Code tells the programs that it starts, which this one must not take for its
_OUTER: Final = frozenset(
    {
        "CLAUDECODE",
        "CLAUDE_CODE_CHILD_SESSION",
        "CLAUDE_CODE_REMOTE",
        "CLAUDE_CODE_REMOTE_SESSION_ID",
        "CLAUDE_CODE_SESSION_ID",
        "CLAUDE_CODE_SSE_PORT",
    }
)


@dataclass(frozen=True, slots=True)
class Conversation:
    """Which conversation: `name` is its UUID; it goes on, or begins."""

    name: str
    resumed: bool


def arguments(
    program: str, chosen: ClaudeAgent, spec: SessionSpec, conversation: Conversation
) -> list[str]:
    """Return the command line of a session."""
    return [
        program,
        *("--output-format", "stream-json", "--verbose", "--input-format", "stream-json"),
        *("--permission-prompt-tool", "stdio", "--permission-mode", "default"),
        f"--setting-sources={','.join(chosen.settings_from)}",
        f"--{'resume' if conversation.resumed else 'session-id'}={conversation.name}",
        *_tools(chosen, spec),
        *_limits(chosen, spec),
        *(("--model", spec.model) if spec.model else ()),
        *(("--json-schema", json.dumps(dict(spec.schema))) if spec.schema is not None else ()),
        *_settings(chosen),
    ]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the program's whole environment: what is given, and what we add."""
    kept = {name: value for name, value in given.items() if name not in _OUTER}
    return {**_DEFAULTS, **kept, **_OURS}


def sandbox_of(chosen: ClaudeAgent) -> dict[str, Any] | None:
    """Return the settings of Claude's sandbox; None where it is not asked for."""
    asked = chosen.sandbox
    if asked is False:
        return None
    return {**_SANDBOX, **(asked if isinstance(asked, dict) else {})}


def _tools(chosen: ClaudeAgent, spec: SessionSpec) -> list[str]:
    if spec.read_only:
        return ["--tools", ",".join(READERS), "--strict-mcp-config"]
    own = [] if chosen.settings_from else ["--strict-mcp-config"]
    allow = ["--allowedTools", ",".join(chosen.allow)] if chosen.allow else []
    return [*own, *allow, "--disallowedTools", ",".join(WITHHELD)]


def _limits(chosen: ClaudeAgent, spec: SessionSpec) -> list[str]:
    asked = [one for one in (spec.limits.turns, chosen.max_turns) if one is not None]
    turns = ["--max-turns", str(min(asked))] if asked else []
    cost = spec.limits.cost_usd
    return turns if cost is None else [*turns, "--max-budget-usd", f"{max(cost, 0.000001):f}"]


def _settings(chosen: ClaudeAgent) -> list[str]:
    sandbox = sandbox_of(chosen)
    return [] if sandbox is None else ["--settings", json.dumps({"sandbox": sandbox})]
