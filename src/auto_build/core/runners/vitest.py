"""Reads vitest: the names of its two lists of failures, held against its lines of counts."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from auto_build.core.runners.reading import GREEN, RED, Run, Unclear, cut_at

_END: Final = "   Start at  "
_JEST: Final = "Test Suites: "
_LIST: Final = re.compile(r"⎯{1,400} Failed (Suites|Tests) (\d{1,9}) ⎯{1,400}")
_ERROR: Final = re.compile(r"⎯{1,400}\[(\d{1,9})/\d{1,9}\]⎯{1,400}")
_NAME: Final = re.compile(r" FAIL  (\S.*)")
_LINE: Final = re.compile(r" {1,12}(Test Files|Tests|Type Errors|Errors)  (\S.*)")
_COUNTS: Final = re.compile(r"(.{1,200}) \((\d{1,9})\)")
_COUNT: Final = re.compile(r"(\d{1,9}) ([a-z]{1,20}(?: [a-z]{1,20})?)")
_NOTHING: Final = frozenset({"no tests", "no errors", "no test files"})


def read(lines: Sequence[str]) -> Iterator[Run | Unclear]:
    """Return what each run of vitest in these lines came to."""
    parts, rest = cut_at(lines, lambda line: line.startswith((_END, _JEST)))
    yield from (_run(part) for part in parts if part[-1].startswith(_END))
    if any(_LIST.fullmatch(line) for line in rest if line.startswith("⎯")):
        yield Unclear("vitest did not come to its end")
    if any(line.startswith("ERROR: Coverage for ") for line in lines):
        yield Unclear("vitest failed for its coverage")


def _run(lines: Sequence[str]) -> Run | Unclear:
    said = {match[1]: match[2] for line in lines[-6:] if (match := _LINE.fullmatch(line))}
    files, tests = _counts(said.get("Test Files", "")), _counts(said.get("Tests", ""))
    if files is None or tests is None:
        return Unclear("vitest did not count, or did not run all of its tests")
    if any(said.get(kind, "no errors") != "no errors" for kind in ("Errors", "Type Errors")):
        return Unclear("vitest saw errors outside of its tests")
    named = _names(lines) if _is_whole(lines) else None
    if named is None or len(named["Tests"]) != tests.get("failed", 0):
        return Unclear("the names do not add up to the counts of vitest")
    failed = frozenset(named["Tests"] | named["Suites"])
    if len({name.partition(" > ")[0] for name in failed}) != files.get("failed", 0):
        return Unclear("the files do not add up to the counts of vitest")
    return Run(failed, tests.get("passed", 0), RED if failed else GREEN)


def _counts(text: str) -> dict[str, int] | None:
    """Return the counts of `1 failed | 2 passed (3)` if they add up: nothing was left out."""
    if text in _NOTHING:
        return {}
    match = _COUNTS.fullmatch(text)
    parts = [_COUNT.fullmatch(part) for part in match[1].split(" | ")] if match else []
    counts = {part[2]: int(part[1]) for part in parts if part}
    return counts if match and sum(counts.values()) == int(match[2]) else None


def _is_whole(lines: Sequence[str]) -> bool:
    """Say whether the errors, which are numbered, begin with the first."""
    numbers = [match[1] for line in lines if line[:1] == "⎯" and (match := _ERROR.fullmatch(line))]
    return not numbers or numbers[0] == "1"


def _names(lines: Sequence[str]) -> dict[str, set[str]] | None:
    """Return the names of each list, or None if they are not as many as its title says.

    A test with several errors is named several times, one with its own file's name in brackets
    is the file itself.
    """
    named: dict[str, set[str]] = {"Suites": set(), "Tests": set()}
    titles: dict[str, int] = {}
    under: set[str] | None = None
    for line in lines:
        if line.startswith("⎯") and (title := _LIST.fullmatch(line)):
            titles[title[1]] = int(title[2])
            under = named[title[1]]
        elif name := _NAME.fullmatch(line):
            if under is None:
                return None
            path, bracket, again = name[1].partition(" [ ")
            under.add(path if bracket and again.startswith(path) else name[1])
    counted = all(len(names) == titles.get(kind, 0) for kind, names in named.items())
    return named if counted else None
