"""What a reader of one runner gives: its runs, or that something in them is not clear."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_ESCAPES: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[()][0-9A-Z]|[=>78])"
)

GREEN: Final = frozenset({0})
RED: Final = frozenset({1})


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a runner; `codes` are the exit codes that it ends with."""

    failed: frozenset[str]
    passed: int
    codes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Unclear:
    """A run whose names do not account for its verdict beyond doubt."""

    why: str


def lines_of(output: str) -> list[str]:
    """Return the lines that are not blank, without colours; a carriage return ends a line too."""
    text = _ESCAPES.sub("", output).replace("\r", "\n")
    return [line.rstrip() for line in text.split("\n") if line and not line.isspace()]


def cut_at(
    lines: Sequence[str], is_end: Callable[[str], object]
) -> tuple[list[list[str]], list[str]]:
    """Cut the lines into parts that each close with an end, and what is left after the last."""
    parts: list[list[str]] = []
    part: list[str] = []
    for line in lines:
        part.append(line)
        if is_end(line):
            parts.append(part)
            part = []
    return parts, part
