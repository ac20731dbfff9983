"""Can Claude Code work here? Looked at before a run, without asking a model anything.

The program must start and know of a login or a key; the models must exist, where an API key lets us
ask. A network that does not answer is no problem of the agent's: the run will show it.
"""

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from auto_build import settings
from auto_build.agents.base import Probe, Problem
from auto_build.agents.claude.launch import environment, sandbox_of
from auto_build.process import CommandFailed, Finished, Processes

_START_LIMIT_S: Final = 30.0
_HTTP_LIMIT_S: Final = 10.0
_HTTP_LIMIT_BYTES: Final = 1_000_000
_API: Final = "https://api.anthropic.com"
_ALIASES: Final = frozenset({"default", "sonnet", "opus", "haiku", "opusplan", "best", "fable"})
_PLAUSIBLE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\-]*(\[1m\])?")
_CLOUDS: Final = (
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_MANTLE",
    "CLAUDE_CODE_USE_ANTHROPIC_AWS",
)
_KEYS: Final = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
_SESSION: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def has_transcript(session: str, env: Mapping[str, str]) -> bool:
    """Say whether Claude has a conversation on its disk; any folder may be the one it was in."""
    if not _SESSION.fullmatch(session):
        return False
    projects = _config_folder(env) / "projects"
    return any(path.stat().st_size for path in projects.glob(f"*/{session}.jsonl"))


async def find_problems(
    name: str,
    chosen: settings.ClaudeAgent,
    program: str,
    probe: Probe,
    processes: Processes,
) -> list[Problem]:
    """Return what keeps the agent `name` from working."""
    table = f"[agents.{name}]"
    if missing := await _find_no_program(table, program, probe, processes):
        return [missing]
    found = _find_bad_key(probe.env)
    if not found:
        found = await _find_no_login(program, probe, processes)
    if not found and _is_asked(probe.env):
        found = await _find_bad_models(Service.of(probe.env), probe.models)
    if not found:
        found = [_unknown(model, ()) for model in probe.models if not _is_plausible(model)]
    return [*found, *_find_no_sandbox(table, chosen, probe.env)]


# --- the program and its login -------------------------------------------------------------------


async def _find_no_program(
    table: str, program: str, probe: Probe, processes: Processes
) -> Problem | None:
    try:
        await _run(program, ("--version",), probe, processes, ok=(0,))
    except CommandFailed as failed:
        return Problem(
            f"Claude Code does not start: {failed}",
            f"name another one as `program` under {table} in auto-build.toml, or install"
            " the one that auto-build brings along: pip install 'auto-build[claude]'",
        )
    return None


async def _find_no_login(program: str, probe: Probe, processes: Processes) -> list[Problem]:
    """Ask the program whether it is logged in; where it cannot say, look for a login on disk."""
    try:
        done = await _run(program, ("auth", "status"), probe, processes, ok=None)
        told = json.loads(done.stdout)
    except (CommandFailed, ValueError):
        told = None
    if isinstance(told, dict) and "loggedIn" in told:
        logged_in = bool(told["loggedIn"])
    else:
        stored = _config_folder(probe.env) / ".credentials.json"
        logged_in = stored.is_file() or any(probe.env.get(key) for key in (*_KEYS, *_CLOUDS))
    if logged_in:
        return []
    empty = [key for key in _KEYS if probe.env.get(key) == ""]
    besides = f" ({empty[0]} is set, and empty)" if empty else ""
    return [
        Problem(
            f"Claude Code has neither a login nor a key{besides}",
            "set ANTHROPIC_API_KEY (or name a file with it: key_files in auto-build.toml), or log"
            " in: claude, then /login; for machines without a browser: claude setup-token",
        )
    ]


async def _run(
    program: str,
    arguments: tuple[str, ...],
    probe: Probe,
    processes: Processes,
    *,
    ok: tuple[int, ...] | None,
) -> Finished:
    return await processes.run(
        program,
        *arguments,
        cwd=probe.folder,
        env=environment(probe.env),
        ok=tuple(range(256)) if ok is None else ok,
        limit_s=_START_LIMIT_S,
    )


def _find_bad_key(env: Mapping[str, str]) -> list[Problem]:
    return [
        Problem(
            f"{key} is set, and holds {'nothing' if not env[key].strip() else 'blanks or breaks'}",
            f"set {key} to the key and nothing else, or unset it",
        )
        for key in _KEYS
        if re.search(r"\s", env.get(key, ""))
    ]


def _config_folder(env: Mapping[str, str]) -> Path:
    own = env.get("CLAUDE_CONFIG_DIR")
    return Path(own) if own else Path(env.get("HOME", "/")) / ".claude"


# --- the models ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Service:
    """Where models are asked for, and with which headers."""

    url: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, env: Mapping[str, str]) -> "Service":
        """Return the service that the program would use with an API key."""
        key, token = env.get("ANTHROPIC_API_KEY"), env.get("ANTHROPIC_AUTH_TOKEN")
        secret = {"authorization": f"Bearer {token}"} if token else {"x-api-key": key or ""}
        url = (env.get("ANTHROPIC_BASE_URL") or _API).rstrip("/")
        return cls(url, {**secret, "anthropic-version": "2023-06-01"})


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: Any


def _is_asked(env: Mapping[str, str]) -> bool:
    """Say whether models can be asked for: with a key, at a service that speaks the Models API."""
    has_key = bool(env.get("ANTHROPIC_API_KEY") or env.get("ANTHROPIC_AUTH_TOKEN"))
    return has_key and not any(env.get(cloud) for cloud in _CLOUDS)


async def _find_bad_models(service: Service, models: tuple[str, ...]) -> list[Problem]:
    """Ask for each model; for the list where there is none, so that the key is tried."""
    named = [model for model in map(_bare, models) if model not in _ALIASES]
    unknown: list[Problem] = []
    for model in named or [""]:
        answer = await asyncio.to_thread(
            _get, service, f"/v1/models/{quote(model, safe='')}".rstrip("/")
        )
        if isinstance(answer, Problem):
            return [answer]
        if answer is not None and answer.status == HTTPStatus.UNAUTHORIZED:
            return [_refused(service, answer)]
        if model and answer is not None and answer.status == HTTPStatus.NOT_FOUND:
            unknown += await _find_unknown(service, model)
    return unknown


async def _find_unknown(service: Service, model: str) -> list[Problem]:
    """Hold a model against the list; a service that has no list may know it all the same."""
    answer = await asyncio.to_thread(_get, service, "/v1/models?limit=1000")
    if not isinstance(answer, _Answer) or answer.status != HTTPStatus.OK:
        return []
    known = _ids(answer.body)
    return [] if model in known else [_unknown(model, known)]


def _get(service: Service, path: str) -> _Answer | Problem | None:
    """Fetch JSON; None where the network does not let us."""
    url = service.url + path
    if urlsplit(url).scheme not in {"http", "https"}:
        return Problem(f"ANTHROPIC_BASE_URL is no web address: {service.url}", "mend or unset it")
    asked = Request(url, headers=dict(service.headers))
    try:
        with urlopen(asked, timeout=_HTTP_LIMIT_S) as got:
            return _Answer(got.status, _load(got.read(_HTTP_LIMIT_BYTES)))
    except HTTPError as error:
        with error:
            return _Answer(error.code, _load(error.read(_HTTP_LIMIT_BYTES)))
    except (URLError, HTTPException, OSError) as error:
        if isinstance(getattr(error, "reason", error), ConnectionRefusedError):
            return Problem(
                f"nothing answers at {service.url}: connection refused",
                "start what should be there, or mend ANTHROPIC_BASE_URL",
            )
        return None


def _load(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _ids(body: Any) -> tuple[str, ...]:
    data = body.get("data") if isinstance(body, dict) else None
    return tuple(str(one["id"]) for one in data or () if isinstance(one, dict) and "id" in one)


def _refused(service: Service, answer: _Answer) -> Problem:
    error = answer.body.get("error") if isinstance(answer.body, dict) else None
    words = error.get("message") if isinstance(error, dict) else ""
    return Problem(
        f"the key is refused by {service.url} ({answer.status}){f': {words}' if words else ''}",
        "give another one in ANTHROPIC_API_KEY, or see whether it was withdrawn",
    )


def _unknown(model: str, known: tuple[str, ...]) -> Problem:
    near = get_close_matches(model, known, n=3)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return Problem(
        f"there is no model {model!r} for Claude Code",
        f"{meant}Name one as model under [run] in auto-build.toml, or leave it out",
    )


def _bare(model: str) -> str:
    return model.removesuffix("[1m]")


def _is_plausible(model: str) -> bool:
    return bool(_PLAUSIBLE.fullmatch(model))


# --- the sandbox ---------------------------------------------------------------------------------


def _find_no_sandbox(
    table: str, chosen: settings.ClaudeAgent, env: Mapping[str, str]
) -> list[Problem]:
    """Return which programs are missing for a sandbox that is asked for."""
    sandbox = sandbox_of(chosen)
    if not sandbox or not sandbox["enabled"] or sys.platform != "linux":
        return []
    path = env.get("PATH", os.defpath)
    missing = [name for name in ("bwrap", "socat") if not shutil.which(name, path=path)]
    if not missing:
        return []
    return [
        Problem(
            f"the sandbox of {table} needs {' and '.join(missing)}, not in PATH",
            "install bubblewrap and socat, or leave `sandbox` out",
        )
    ]
