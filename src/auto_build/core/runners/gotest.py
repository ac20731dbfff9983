"""Reads go test: the failures above each package's line.

Go does not count its tests. What stands for a count is that the test binary came to its own end
(it prints `FAIL`) and that no failure is hidden behind what a test printed on the same line.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from auto_build.core.runners.reading import GREEN, RED, Run, Unclear, cut_at

_NOT_BUILT: Final = frozenset({1, 2})  # 2 up to go 1.19
_PACKAGE: Final = re.compile(
    r"(ok  |FAIL|\?   )\t(\S{1,2000})(?:\t(.{0,400})| \[(?:build|setup) failed\])"
)
_STARTS: Final = ("ok  \t", "FAIL\t", "?   \t")
_TEST: Final = re.compile(r" *--- (FAIL|PASS|SKIP): (\S{1,2000}) \(\d{1,9}\.\d\ds\)")
_MARK: Final = "--- FAIL: "
_RUN: Final = "=== RUN   "
_AFTER_FAIL: Final = ("coverage: ", "exit status 1")


def read(lines: Sequence[str], *, cut: bool) -> Iterator[Run | Unclear]:
    """Return what each package in these lines came to."""
    packages, rest = cut_at(
        lines, lambda line: line.startswith(_STARTS) and _PACKAGE.fullmatch(line)
    )
    yield from map(_run, packages)
    if cut and packages:
        yield Unclear("go test does not say how much was cut off")
    if any(line.startswith((_MARK, _RUN)) for line in rest):
        yield Unclear("a package did not come to its end")


def _run(lines: Sequence[str]) -> Run | Unclear:
    *body, last = lines
    match = _PACKAGE.fullmatch(last)
    if match is None:
        return Unclear("no package")
    package = match[2]
    if match[3] is None:
        return Run(frozenset({package}), 0, _NOT_BUILT)
    tests = [test for line in body if "--- " in line and (test := _TEST.fullmatch(line))]
    failed = [test[2] for test in tests if test[1] == "FAIL"]
    passed = sum(test[1] == "PASS" for test in tests)
    if why := _why_unclear(body, failed, verdict=match[1]):
        return Unclear(why)
    if not failed and not passed and "[no test" not in match[3]:
        passed = 1  # without -v go names no test that passed: the package counts as one
    return Run(frozenset(f"{package}.{name}" for name in failed), passed, RED if failed else GREEN)


def _why_unclear(body: Sequence[str], failed: Sequence[str], *, verdict: str) -> str | None:
    if sum(_MARK in line for line in body) != len(failed):
        return "a failure is not on a line of its own"
    if (verdict == "FAIL") != bool(failed):
        return "the names do not fit the verdict of go test"
    if failed and not _came_to_its_end(body):
        return "a test binary did not come to its end"
    started = {line.removeprefix(_RUN) for line in body if line.startswith(_RUN)}
    if started and not started.issuperset(failed):
        return "a test failed that was not seen to start"
    return None


def _came_to_its_end(body: Sequence[str]) -> bool:
    """Say whether the binary said `FAIL` last: after a panic it does not."""
    end = [line for line in body[-3:] if not line.startswith(_AFTER_FAIL)]
    return bool(end) and end[-1] == "FAIL"
