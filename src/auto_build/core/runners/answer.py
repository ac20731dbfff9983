"""The answer: what all runs in one output say together, held against the exit code."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from auto_build.core.runners import cargo, gotest, jest, pytest, vitest
from auto_build.core.runners.reading import Run, Unclear, lines_of

_MAKE: Final = re.compile(r"g?make(?:\[(\d{1,4})\])?: \*\*\* \[.{1,4000}\] Error (\d{1,3})")
_MAKE_FAILED: Final = 2


@dataclass(frozen=True, slots=True)
class Tests:
    """What a test runner said: the names of the tests that failed, and how many passed."""

    failed: frozenset[str]
    passed: int


def read_tests(output: str, code: int | None, *, cut: bool = False) -> Tests | None:
    """Return which tests failed, or None where the output does not say so beyond doubt.

    Args:
        output: what the command printed, both streams; colours are fine.
        code: its exit code, None if it was stopped.
        cut: `output` is only the end of what was printed. Runners that count their tests can be
            read all the same; go test does not.
    """
    if code is None:
        return None
    lines = lines_of(output)
    runs: list[Run] = []
    for run in _read(lines, cut=cut):
        if isinstance(run, Unclear):
            return None
        runs.append(run)
    failed = frozenset[str]().union(*(run.failed for run in runs))
    two_share_a_name = sum(len(run.failed) for run in runs) != len(failed)
    if not runs or two_share_a_name or not _explain(runs, _code_of_runner(lines, code)):
        return None
    return Tests(failed, sum(run.passed for run in runs))


def _read(lines: Sequence[str], *, cut: bool) -> Iterator[Run | Unclear]:
    yield from pytest.read(lines)
    yield from jest.read(lines)
    yield from vitest.read(lines)
    yield from cargo.read(lines)
    yield from gotest.read(lines, cut=cut)


def _explain(runs: Sequence[Run], code: int | None) -> bool:
    """Say whether the runs account for the exit code, each red one with names."""
    failed = any(run.failed for run in runs)
    if code == 0:
        return not failed
    if failed and any(run.codes >= pytest.NONE_FOUND for run in runs):
        return False
    return any(code in run.codes for run in runs)


def _code_of_runner(lines: Sequence[str], code: int) -> int | None:
    """Return the code behind make's own; None where several of its commands failed.

    A make that was started by another one speaks first, and has the higher level.
    """
    said = [match for line in lines if "make" in line[:5] and (match := _MAKE.fullmatch(line))]
    if code != _MAKE_FAILED or not said:
        return code
    levels = [int(match[1] or 0) for match in said]
    inner, *outer = (int(match[2]) for match in said)
    one_after_the_other = levels == sorted(set(levels), reverse=True)
    return inner if one_after_the_other and set(outer) <= {_MAKE_FAILED} else None
