"""Reads jest: the headings under each file that failed, held against its two lines of counts."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from auto_build.core.runners.reading import GREEN, RED, Run, Unclear, cut_at

_SUITES: Final = "Test Suites: "
_TESTS: Final = "Tests:  "
_VITEST: Final = " Test Files  "
_AGAIN: Final = "Summary of all failing tests"
_HEADING: Final = "  ● "
_NO_RUN: Final = "Test suite failed to run"
_INNER: Final = " \u203a "  # what jest writes between a group and a test in it
_PRINTED: Final = "Console"
_FILE: Final = re.compile(r" ?(FAIL|PASS) {1,2}(\S.*)")
_MEASURED: Final = re.compile(r" \(\d{1,9}(?:\.\d{1,9})? (?:m?s|MB heap size)\)")
_COUNT: Final = re.compile(r"(\d{1,9})(?: of (\d{1,9}))? ([a-z]{1,20})")


def read(lines: Sequence[str]) -> Iterator[Run | Unclear]:
    """Return what each run of jest in these lines came to."""
    parts, rest = cut_at(lines, lambda line: line.startswith((_TESTS, _VITEST)))
    yield from (_run(part) for part in parts if part[-1].startswith(_TESTS))
    if any(line.startswith(_SUITES) for line in rest):
        yield Unclear("jest did not come to its end")
    if any(line.startswith("Jest: ") for line in lines):
        yield Unclear("jest failed for more than its tests")


def _run(lines: Sequence[str]) -> Run | Unclear:
    tests = _counts(lines[-1].removeprefix(_TESTS))
    suites = _counts(lines[-2].removeprefix(_SUITES)) if len(lines) > 1 else None
    if tests is None or suites is None:
        return Unclear("jest did not count, or did not run all of its tests")
    files = _headings(lines)
    suites_named = [path for path, _ in files]
    tests_named = {
        f"{path} > {title.replace(_INNER, ' > ')}"
        for path, titles in files
        for title in titles
        if title != _NO_RUN
    }
    broken = {path for path, titles in files if _NO_RUN in titles}
    if not all(titles for _, titles in files) or len(suites_named) != suites.get("failed", 0):
        return Unclear("the files do not add up to the counts of jest")
    if len(tests_named) != tests.get("failed", 0) or len(set(suites_named)) != len(suites_named):
        return Unclear("the names do not add up to the counts of jest")
    return Run(frozenset(tests_named | broken), tests.get("passed", 0), RED if files else GREEN)


def _counts(text: str) -> dict[str, int] | None:
    """Return the counts of `3 failed, 1 of 4 total` if they add up: then nothing was left out."""
    counts = {}
    for part in text.strip().split(", "):
        match = _COUNT.fullmatch(part)
        if match is None:
            return None
        counts[match[3]] = int(match[2] or match[1])
    total = counts.pop("total", None)
    return counts if sum(counts.values()) == total else None


def _headings(lines: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return each file that failed, with the headings under it, each test's once or more."""
    files: list[tuple[str, list[str]]] = []
    under: list[str] = []
    for line in lines:
        if line.startswith(_AGAIN):
            files = []
        elif match := _FILE.fullmatch(line):
            under = []
            if match[1] == "FAIL":
                files.append((_MEASURED.sub("", match[2]), under))
        elif line.startswith(_HEADING) and line != _HEADING + _PRINTED:
            under.append(line.removeprefix(_HEADING))
    return files
