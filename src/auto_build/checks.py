"""Run verification commands, bounded in time and output, and say what they prove."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auto_build.core.events import CheckResult
from auto_build.core.runners import read_tests
from auto_build.core.suite import Check
from auto_build.core.verdict import Answer, Standing, combine
from auto_build.core.verification import reads_like_output
from auto_build.process import Exit, Processes

OUTPUT_TAIL: Final = 6_000  # characters of output that are journaled and shown to an agent
_GREEN_TAIL: Final = 1_000  # characters that are kept of what is green
_SEARCHED: Final = 400_000  # characters of output in which `expected` and tests are looked for
_SHOWN: Final = 10  # tests that are named in a sentence
_MOST_NAMES: Final = 2_000  # tests that are kept by name; with more, it is red as a whole


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a check.

    `code` is None where it was stopped at its time limit; `seconds` is wall time; `note` says what
    the answer rests on; `output` is the tail of what it printed.
    """

    answer: Answer
    code: int | None
    seconds: float
    note: str
    output: str

    @property
    def passed(self) -> bool:
        """Whether it was green."""
        return self.answer.green


async def run_check(
    processes: Processes,
    check: Check,
    *,
    cwd: Path,
    env: Mapping[str, str],
    limit_s: float,
    log: Path | None = None,
) -> Run:
    """Run a check once in `cwd`; it may take `limit_s` seconds, unless it has its own limit.

    It is green with exit code 0, if `expected` is found in its output where that reads like output.
    """
    limit = check.timeout_s or limit_s
    shell = shutil.which("bash") or "sh"
    argv = (shell, "-c", check.command)
    done = await processes.run_guarded(
        argv, cwd=cwd, env=env, limit_s=limit, tail_limit=_SEARCHED, log=log
    )
    green, note = _judge(done, check, limit)
    tests = read_tests(done.tail, done.code, cut=done.cut)
    if tests and len(tests.failed) > _MOST_NAMES:
        tests = None
    return Run(
        answer=Answer(green, tests),
        code=done.code,
        seconds=round(done.seconds, 3),
        note=note,
        output=done.tail[-OUTPUT_TAIL:],
    )


def settle(check: Check, runs: Sequence[Run], before: Standing | None) -> CheckResult:
    """Return the verdict of a check's runs on one tree, given how it stood `before` on another."""
    together = combine([run.answer for run in runs], before)
    now, passed = together.standing, together.passed
    decisive = next((run for run in runs if run.answer.standing == now), runs[-1])
    flaky = tuple(sorted(together.flaky))
    notes = [decisive.note if not now.green or decisive.answer.green else ""]
    if flaky or together.flaky_as_a_whole:
        notes.append(f"flaky: {_named(flaky or ('it',))} failed and passed on the same tree")
    if passed and not now.green:
        old = f"{_named(sorted(now.failed))} failed before" if now.failed else "it was red before"
        notes.append(old)
    if new := now.holds_against(before):
        notes.append(f"{_named(sorted(new))} did not fail before" if before else "")
    return CheckResult(
        command=check.command,
        passed=passed,
        code=decisive.code,
        seconds=round(sum(run.seconds for run in runs), 3),
        output=decisive.output[-_GREEN_TAIL:] if now.green else decisive.output,
        note="; ".join(note for note in notes if note),
        expected=check.expected,
        failed=tuple(sorted(now.failed)),
        whole=now.whole,
        flaky=flaky or (("",) if together.flaky_as_a_whole else ()),
        succeeded=decisive.answer.tests.passed if decisive.answer.tests else None,
        runs=len(runs),
        steady=together.steady,
    )


def known_green(check: Check, why: str) -> CheckResult:
    """Return the verdict of a check that need not be run: it is known to be green here."""
    return CheckResult(
        check.command, passed=True, code=0, seconds=0.0, note=why, expected=check.expected, runs=0
    )


def explain(result: CheckResult, verifies: str = "") -> str:
    """Return a red check in words, for the agent that has to mend it.

    `verifies` is the chunk that the check belongs to, where that is another one's.
    """
    lines = result.output.strip() or "(it printed nothing)"
    whose = f"\nIt verifies chunk {verifies}, which was done before." if verifies else ""
    return f"$ {result.command}\n{result.note}{whose}\n\n{lines}"


def _judge(done: Exit, check: Check, limit_s: float) -> tuple[bool, str]:
    expected = check.expected
    if done.code is None:
        return False, f"stopped after its time limit of {limit_s:g} s"
    if done.code != 0:
        return False, f"exit code {done.code}"
    if not expected:
        return True, ""
    if not reads_like_output(expected, check.command):
        return True, f"judged by the exit code; {expected!r} reads like a sentence"
    if expected in done.tail:
        return True, ""
    return False, f"exit code 0, but {expected!r} is not in the output"


def _named(tests: Iterable[str]) -> str:
    names = list(tests)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
