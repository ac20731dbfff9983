"""Reads cargo test: each binary's list of failures, held against the counts of its result.

Cargo stops at the first binary that fails, and then nothing is known of the others. Only under
`--no-fail-fast` does it say how many failed at its end; that line has to account for all of them.
A test is named as one would pass it to cargo: `-p shelf --test reading forgets`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Final

from auto_build.core.runners.reading import GREEN, Run, Unclear

_CODES: Final = frozenset({101})
_RUNNING: Final = re.compile(r"running \d{1,9} tests?")
_LISTED: Final = re.compile(r"test (.+) \(line (\d{1,9})\)(?: - [a-z ]{1,30})? \.\.\. .*")
_RESULT: Final = re.compile(
    r"test result: (?:ok|FAILED)\. (\d{1,9}) passed; (\d{1,9}) failed; .{1,200}"
)
_AGAIN: Final = re.compile(r"error: (?:doc)?test failed, to rerun pass [`'](.{1,1000})[`']")
_CLOSED: Final = re.compile(r"error: (\d{1,9}) targets? failed:")
_DOC_TEST: Final = re.compile(r"(.+) \(line (\d{1,9})\)")
_DOC_TESTS: Final = "   Doc-tests "
_BROKEN: Final = "error: could not compile "


@dataclass(slots=True)
class _Reader:
    """Where the reading stands: `names` failed in a binary that cargo has not named so far."""

    names: list[str] = field(default_factory=list)
    block: list[str] | None = None
    listed: list[tuple[str, int]] = field(default_factory=list)
    running: bool = False
    red: int = 0

    def read(self, line: str) -> Run | Unclear | None:
        """Take a line; return what it completes."""
        if line.startswith("test result: ") and (match := _RESULT.fullmatch(line)):
            return self._end_of_binary(int(match[1]), int(match[2]))
        if line.startswith("error: "):
            return self._error(line)
        if line.startswith("running ") and _RUNNING.fullmatch(line):
            if self.running:
                return Unclear("a binary did not come to its end")
            self.running = True
        elif line.startswith(_DOC_TESTS):
            self.listed = []
        elif line.startswith("test ") and (match := _LISTED.fullmatch(line)):
            self.listed.append((match[1], int(match[2])))
        self._list(line)
        return None

    def _list(self, line: str) -> None:
        """Keep the list that stands last before the result; tests may print such a list too."""
        if line == "failures:":
            self.block = []
        elif self.block is not None and line.startswith("    "):
            self.block.append(line[4:])
        else:
            self.block = None

    def _end_of_binary(self, passed: int, failed: int) -> Run | Unclear:
        names, self.block, self.running = self.block or [], None, False
        if len(names) != failed:
            return Unclear("the names do not add up to the counts of cargo")
        self.names += names
        return Run(frozenset(), passed, GREEN)

    def _error(self, line: str) -> Run | Unclear | None:
        if line.startswith(_BROKEN):
            return Unclear("a crate does not compile")
        if match := _AGAIN.fullmatch(line):
            return self._named(match[1])
        if match := _CLOSED.fullmatch(line):
            red, self.red = self.red, 0
            if red != int(match[1]):
                return Unclear("the binaries do not add up to the count of cargo")
        return None

    def _named(self, binary: str) -> Run | Unclear:
        places = _places(self.listed)
        names = [_without_line(name, places) for name in self.names]
        failed = frozenset(f"{binary} {name}" for name in names if name is not None)
        if not failed or len(failed) != len(self.names) or "://" in binary:
            return Unclear("a binary failed without names, or two of its tests share one")
        self.names = []
        self.red += 1
        return Run(failed, 0, _CODES)


def read(lines: Sequence[str]) -> Iterator[Run | Unclear]:
    """Return what each binary that cargo ran in these lines came to."""
    reader = _Reader()
    yield from (found for line in lines if (found := reader.read(line)) is not None)
    if reader.running or reader.names or reader.red:
        yield Unclear("cargo did not run all of its tests")


def _places(listed: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Return the place of each doc test among those of its item, the first is 1."""
    return {
        test: place
        for _, tests in groupby(sorted(set(listed)), key=itemgetter(0))
        for place, test in enumerate(tests, start=1)
    }


def _without_line(name: str, places: Mapping[tuple[str, int], int]) -> str | None:
    """Name a doc test by its place: its line moves with any edit."""
    match = _DOC_TEST.fullmatch(name)
    if match is None:
        return name
    item = match[1]
    place = places.get((item, int(match[2])))
    return f"{item} ({place})" if place else None
