"""What differs between two trees, file by file, as git tells it: to be shown, and so bounded. Pure.

Invariant: how many lines were added and removed is always the whole truth; what is left out of the
lines themselves is counted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Final

MOST_LINES: Final = 2_000  # of one patch
MOST_OF_FILE: Final = 500  # lines of one file
MOST_OF_LINE: Final = 1_000  # characters
_HEADER: Final = "diff --git "
_HUNK: Final = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@ ?(.*)")


class Mark(StrEnum):
    """What a line of a patch is."""

    SAME = " "
    ADDED = "+"
    REMOVED = "-"
    REMARK = "\\"


@dataclass(frozen=True, slots=True)
class Numbered:
    """A line with its numbers before and after; None where it is not there."""

    mark: Mark
    old: int | None
    new: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines that follow each other, from these numbers on; each begins with its mark."""

    old: int
    new: int
    heading: str
    lines: tuple[str, ...]

    def numbered(self) -> Iterator[Numbered]:
        """Yield the lines with their numbers."""
        old, new = self.old, self.new
        for line in self.lines:
            mark = Mark(line[0])
            before, after = mark in _OLD, mark in _NEW
            yield Numbered(mark, old if before else None, new if after else None, line[1:])
            old, new = old + before, new + after


_OLD: Final = frozenset({Mark.SAME, Mark.REMOVED})
_NEW: Final = frozenset({Mark.SAME, Mark.ADDED})


@dataclass(frozen=True, slots=True)
class FilePatch:
    """What changed in one file; `added` and `removed` are None where it is no text.

    `cut` lines of it are not in `hunks`.
    """

    path: str
    added: int | None
    removed: int | None
    hunks: tuple[Hunk, ...] = ()
    cut: int = 0


def read_patch(numbers: str, patch: str, *, most_lines: int = MOST_LINES) -> tuple[FilePatch, ...]:
    """Return what differs, from git's `--numstat -z` and `--patch` of the same two trees.

    Renames have to be off in both, so that each file has one path.
    """
    counted = [entry.split("\t", 2) for entry in numbers.split("\0") if entry]
    found: list[FilePatch] = []
    left = most_lines
    for (added, removed, path), lines in zip(counted, _sections(patch), strict=True):
        hunks, cut = _hunks(lines, min(left, MOST_OF_FILE))
        left -= sum(len(hunk.lines) for hunk in hunks)
        found.append(FilePatch(path, _number(added), _number(removed), hunks, cut))
    return tuple(found)


def _number(text: str) -> int | None:
    return None if text == "-" else int(text)


def _sections(patch: str) -> Iterator[list[str]]:
    """Yield the lines of each file; one that changes its type has two sections in a row."""
    header = ""

    def of_file(line: str) -> str:
        nonlocal header
        header = line if line.startswith(_HEADER) else header
        return header

    for head, lines in groupby(patch.removesuffix("\n").split("\n"), of_file):
        if head:
            yield list(lines)


def _hunks(lines: list[str], most: int) -> tuple[tuple[Hunk, ...], int]:
    """Return the hunks as far as there is room, and how many lines are left out."""
    found: list[tuple[re.Match[str], list[str]]] = []
    inside = False
    taken = cut = 0
    for line in lines:
        if start := _HUNK.match(line):
            found.append((start, []))
            inside = True
        elif line.startswith(_HEADER):
            inside = False  # what follows is a head again
        elif inside and taken < most:
            found[-1][1].append(_clip(line or " "))  # git can be told to write a blank as nothing
            taken += 1
        elif inside:
            cut += 1
    return tuple(
        Hunk(int(start[1]), int(start[2]), start[3], tuple(body)) for start, body in found if body
    ), cut


def _clip(line: str) -> str:
    return line if len(line) <= MOST_OF_LINE else f"{line[:MOST_OF_LINE]}…"
