"""Run verification commands, bounded in time and output, and say what they prove."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from auto_build.core.events import CheckResult
from auto_build.core.verification import reads_like_output
from auto_build.process import Exit, Processes

OUTPUT_TAIL: Final = 6_000  # characters of output that are journaled and shown to an agent
_SEARCHED: Final = 400_000  # characters of output in which `expected` is looked for


async def run_check(
    processes: Processes,
    command: str,
    *,
    cwd: Path,
    env: Mapping[str, str],
    limit_s: float,
    expected: str = "",
    log: Path | None = None,
) -> CheckResult:
    """Run one shell command line in `cwd` and return its verdict.

    It passes with exit code 0, if `expected` is found in its output where that reads like output.
    """
    shell = shutil.which("bash") or "sh"
    done = await processes.run_guarded(
        (shell, "-c", command), cwd=cwd, env=env, limit_s=limit_s, tail_limit=_SEARCHED, log=log
    )
    passed, note = _judge(done, expected, command, limit_s)
    return CheckResult(
        command=command,
        passed=passed,
        code=done.code,
        seconds=round(done.seconds, 3),
        output=done.tail[-OUTPUT_TAIL:],
        note=note,
    )


def _judge(done: Exit, expected: str, command: str, limit_s: float) -> tuple[bool, str]:
    if done.code is None:
        return False, f"stopped after its time limit of {limit_s:g} s"
    if done.code != 0:
        return False, f"exit code {done.code}"
    if not expected:
        return True, ""
    if not reads_like_output(expected, command):
        return True, f"judged by the exit code; {expected!r} reads like a sentence"
    if expected in done.tail:
        return True, ""
    return False, f"exit code 0, but {expected!r} is not in the output"


def explain(result: CheckResult) -> str:
    """Return a red check in words, for the agent that has to mend it."""
    lines = result.output.strip() or "(it printed nothing)"
    return f"$ {result.command}\n{result.note}\n\n{lines}"
