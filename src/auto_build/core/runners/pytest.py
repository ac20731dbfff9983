"""Reads pytest: the names of its short summary, held against the counts of its last line."""

import re
from collections.abc import Iterator, Sequence, Set
from typing import Final

from auto_build.core.runners.reading import GREEN, RED, Run, Unclear, cut_at

NONE_FOUND: Final = frozenset({5})
_INTERRUPTED: Final = frozenset({2})

_START: Final = "test session starts"
_SUMMARY: Final = "short test summary info"
_ONCE: Final = ("FAILURES", "ERRORS", _SUMMARY)
_TOOK: Final = re.compile(r"\d{1,9}\.\d\ds(?: \([\d:, days]{1,30}\))?")
_COUNT: Final = re.compile(r"(\d{1,9}) ([a-z]{1,10}(?: [a-z]{1,10})?)")
_RAN: Final = frozenset({"failed", "passed", "error", "xfailed", "xpassed", "subtests failed"})
_KINDS: Final = _RAN | {
    *("errors", "skipped", "deselected", "warning", "warnings", "rerun"),
    *("subtests passed", "subtests skipped", "subtests xfailed"),
}
_NAMED: Final = re.compile(r"(?:FAILED|ERROR|SUBFAIL) (.+)|SUBFAILED(.+)")
_OF: Final = re.compile(r"ERROR at (?:setup|teardown) of ")
_MOST_ENDS: Final = 20
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]{1,16}")
_COVERAGE: Final = ("FAIL Required test coverage", "ERROR: Coverage failure", "Coverage failure:")


def read(lines: Sequence[str]) -> Iterator[Run | Unclear]:
    """Return what each run of pytest in these lines came to."""
    runs, rest = cut_at(lines, lambda line: _counts(line) is not None)
    yield from map(_run, runs)
    if _START in _bars(rest):
        yield Unclear("pytest did not come to its end")
    if any(line.startswith(_COVERAGE) for line in lines):
        yield Unclear("pytest failed for its coverage")


def _run(lines: Sequence[str]) -> Run | Unclear:
    counts = _counts(lines[-1]) or {}
    if why := _looks_like_several_runs(_bars(lines)):
        return Unclear(why)
    summary, titles = _after_summary(lines), _titles(lines)
    failed = _names(summary, ("FAILED ", "SUBFAIL"), titles)
    errors = _names(summary, ("ERROR ",), titles)
    if failed is None or errors is None:
        return Unclear("a name cannot be told from its message")
    expected = counts.get("failed", 0) + counts.get("subtests failed", 0)
    if (len(failed), len(errors)) != (expected, counts.get("error", 0)):
        return Unclear("the names do not add up to the counts of pytest")
    stops = [line for line in lines if line.startswith("!!!") and line.endswith("!!!")]
    if stops and not _only_errors_were_collected(lines, stops, counts):
        return Unclear("pytest stopped early")
    codes = _INTERRUPTED if stops else _codes(counts)
    return Run(failed | errors, counts.get("passed", 0), codes)


def _counts(line: str) -> dict[str, int] | None:
    """Return the counts of pytest's last line: 3 failed, 2 errors, 10 passed in 0.12s."""
    if " in " not in line:
        return None
    said, _, took = line.strip("= ").rpartition(" in ")
    if not _TOOK.fullmatch(took):
        return None
    if said == "no tests ran":
        return {}
    counts = {}
    for part in said.split(", "):
        match = _COUNT.fullmatch(part)
        if match is None or match[2] not in _KINDS:
            return None
        counts["error" if match[2] == "errors" else match[2]] = int(match[1])
    return counts


def _codes(counts: dict[str, int]) -> frozenset[int]:
    if {"failed", "error", "subtests failed"} & counts.keys():
        return RED
    return GREEN if _RAN & counts.keys() else GREEN | NONE_FOUND


def _bars(lines: Sequence[str]) -> list[str]:
    return [line.strip("= ") for line in lines if line.startswith("=") and line.endswith("=")]


def _looks_like_several_runs(bars: Sequence[str]) -> str | None:
    """Tell a run that holds another one, as where a test prints what it ran itself."""
    if any(bars.count(title) > 1 for title in (_START, *_ONCE)):
        return "two runs of pytest are mixed up"
    if _START in bars and any(title in bars[: bars.index(_START)] for title in _ONCE):
        return "a run of pytest did not come to its end"
    return None


def _after_summary(lines: Sequence[str]) -> Sequence[str]:
    for at, line in enumerate(lines):
        if _SUMMARY in line and _bars([line]) == [_SUMMARY]:
            return lines[at + 1 :]
    return ()


def _names(lines: Sequence[str], marks: tuple[str, ...], titles: Set[str]) -> frozenset[str] | None:
    """Return the names behind these marks; None if one is doubtful or two are the same."""
    named = [_NAMED.fullmatch(line) for line in lines if line.startswith(marks)]
    found = [_name((match[1] or match[2]).strip(), titles) if match else None for match in named]
    names = frozenset(name for name in found if name is not None)
    return names if len(names) == len(found) else None


def _name(text: str, titles: Set[str]) -> str | None:
    """Cut the message off: it follows the first ` - ` that is not in the parameters."""
    dash = text.find(" - ")
    colons = text.find("::")
    if dash >= 0 and not 0 <= colons < dash:
        return None if ".py::" in text else text[:dash]
    end: int | None = len(text) if dash < 0 else dash
    if 0 <= (bracket := text.find("[", colons)) < dash:
        end = _end_of_parameters(text, bracket, titles)
    return None if end is None else _ADDRESS.sub(" at 0x", text[:end])


def _end_of_parameters(text: str, start: int, titles: Set[str]) -> int | None:
    """Return where the parameters close.

    If that can be in several places, it is where all brackets match or, if that is not the first of
    them, where the name is the title of a failure.
    """
    depth = 0
    ends: list[int] = []
    for at in range(start, len(text)):
        depth += (text[at] == "[") - (text[at] == "]")
        if text[at] == "]" and (at + 1 == len(text) or text.startswith(" - ", at + 1)):
            if not ends and depth == 0:
                return at + 1
            ends.append(at + 1)
    if len(ends) == 1:
        return ends[0]
    test = text[:start].partition("::")[2].replace("::", ".")
    titled = [end for end in ends[:_MOST_ENDS] if test + text[start:end] in titles]
    return titled[0] if len(titled) == 1 else None


def _titles(lines: Sequence[str]) -> Set[str]:
    """Return what stands above each failure: `___ TestReader.test_forgets ___`."""
    marked = (line.strip("_").strip() for line in lines if line.startswith("_"))
    return frozenset(_OF.sub("", title) for title in marked)


def _only_errors_were_collected(
    lines: Sequence[str], stops: Sequence[str], counts: dict[str, int]
) -> bool:
    """Say whether the errors of collection that stopped pytest kept no test from running."""
    return (
        len(stops) == 1
        and "during collection" in stops[0]
        and counts.keys() <= {"error", "warning", "warnings"}
        and any(
            line.removeprefix("collecting ... ").startswith("collected 0 items / ")
            for line in lines
        )
    )
