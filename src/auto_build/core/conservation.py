"""Whether an integration kept what both sides wrote: no line that one of them added may vanish.

Versions of files come in: of the merge base, of both sides, and of the result. They are compared by
number, how often a line stands in each, so it does not matter how the result came about. White
space around a line is ignored, for a resolver may indent anew, and so is a line without any letter
or digit. What a side deleted is never missed; what it moved is, if it is nowhere any more.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal, NamedTuple, TypeAlias

MOST_LINES: Final = 12  # lines that are shown of one file
MOST_WIDTH: Final = 120  # characters of each
MOST_FILES: Final = 20  # files that are described
Side: TypeAlias = Literal["ours", "theirs"]
Files: TypeAlias = Mapping[str, str | None]  # by path; a file that is not there is None or left out

# a byte that is not UTF-8 was decoded to a lone surrogate, and may have been a letter
_says_something: Final = re.compile(r"[^\W_]|[\udc80-\udcff]").search
_MARKER: Final = re.compile(r"^(?:(?:<{7,}|>{7,}|\|{7,}) .*|={7}[ \t\r]*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Lost:
    """Lines that one side added to a file and that the result does not have.

    `lines` are the first of them, at most `MOST_LINES` of at most `MOST_WIDTH` characters each, fit
    to be shown; `count` is how many there are. With `whole` the file that the side added or changed
    is gone, or is binary and another; then there need not be any lines.
    """

    path: str
    side: Side
    lines: tuple[str, ...]
    count: int
    whole: bool = False


class _Versions(NamedTuple):
    """One file in the four trees; None where it is not there."""

    base: str | None
    ours: str | None
    theirs: str | None
    result: str | None

    def of(self, side: Side) -> tuple[str | None, str | None]:
        """Return a side's own version and the other's."""
        return (self.ours, self.theirs) if side == "ours" else (self.theirs, self.ours)


_Both: TypeAlias = tuple[Counter[str], Counter[str]]  # of ours and of theirs, by line
_SIDES: Final[tuple[Side, Side]] = ("ours", "theirs")
_NOTHING: Final[_Both] = (Counter(), Counter())


# --- lines ---------------------------------------------------------------------------------------


def find_lost(base: Files, ours: Files, theirs: Files, result: Files) -> tuple[Lost, ...]:
    """Return what the files of a result lost of both sides' additions, by path.

    Give every text file that either side touched, and those that only the result has changed: a
    line that is missing in its file and was added to another one, beyond what that file's own
    history accounts for, was moved. So was a change that followed a file which the other side
    renamed: a line that one side moved away and the other removed need not be anywhere.
    """
    files = _by_path(base, ours, theirs, result)
    missing = {path: both for path, four in files.items() if any(both := _missing(four))}
    left = _excuse(missing, files.values())
    bare = _find_bare_files_gone(files)
    return tuple(
        _lost(path, side, versions, lacking)
        for path, versions in files.items()
        for side, lacking in zip(_SIDES, left.get(path, _NOTHING), strict=True)
        if lacking or (path, side) in bare
    )


def _by_path(base: Files, ours: Files, theirs: Files, result: Files) -> dict[str, _Versions]:
    trees = (base, ours, theirs, result)
    paths = sorted({path for tree in trees for path in tree})
    return {path: _Versions(*(tree.get(path) for tree in trees)) for path in paths}


def _missing(versions: _Versions) -> _Both:
    """Return how many copies the result lacks of each line that ours and that theirs added."""
    base, ours, theirs, result = versions
    if ours in (None, base, result) and theirs in (None, base, result):
        return _NOTHING
    had, mine, others, has = map(_count, versions)
    return _lacking(had, mine, others, has), _lacking(had, others, mine, has)


def _lacking(
    base: Counter[str], side: Counter[str], other: Counter[str], result: Counter[str]
) -> Counter[str]:
    found: Counter[str] = Counter()
    for line, number in side.items():
        before = base.get(line, 0)  # not by [], which is slow where there is none
        if number > before:
            needed = number - max(0, before - other.get(line, 0))
            if (lacking := needed - result.get(line, 0)) > 0:
                found[line] = lacking
    return found


def _count(text: str | None) -> Counter[str]:
    return Counter(filter(_says_something, map(str.strip, (text or "").splitlines())))


def _in_order(text: str | None, wanted: Counter[str]) -> Iterator[str]:
    """Return the wanted lines, each as often as it is wanted, as they stand in the text."""
    left = dict(wanted)
    for line in (text or "").splitlines() if left else ():
        if left.get(bare := line.strip(), 0) > 0:
            left[bare] -= 1
            yield line.rstrip()


def _lost(path: str, side: Side, versions: _Versions, lacking: Counter[str]) -> Lost:
    mine, _ = versions.of(side)
    shown = tuple(_fit(line) for line in islice(_in_order(mine, lacking), MOST_LINES))
    return Lost(path, side, shown, lacking.total(), whole=versions.result is None)


# --- what is missing in its file and not lost ----------------------------------------------------


def _excuse(missing: Mapping[str, _Both], files: Iterable[_Versions]) -> dict[str, _Both]:
    """Return what is missing without what was moved, or moved by one side and removed by the other.

    Each copy that stands elsewhere, or may be gone, excuses one file.
    """
    moved, removed = _spare(missing.values(), files)
    spare = moved.keys() | removed.keys()
    found: dict[str, _Both] = {}
    for path, (ours, theirs) in missing.items():
        excused: Counter[str] = Counter()
        for line in spare & (ours.keys() | theirs.keys()):
            most = max(ours[line], theirs[line])
            excused[line] = _take(moved, line, most)
            if not (ours[line] and theirs[line]):  # what both put here, neither removed
                excused[line] += _take(removed, line, most - excused[line])
        found[path] = (ours - excused, theirs - excused)
    return found


def _take(pool: Counter[str], line: str, most: int) -> int:
    taken = min(pool[line], most)
    pool[line] -= taken
    return taken


def _spare(
    missing: Iterable[_Both], files: Iterable[_Versions]
) -> tuple[Counter[str], Counter[str]]:
    """Return what is there of missing lines beyond what their files call for, and may be gone.

    The latter is what both sides removed from one file: if one moved it, the other need not have.
    """
    wanted = frozenset(line for both in missing for lacking in both for line in lacking)
    moved: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    for versions in files if wanted else ():
        counts = [_count_of(wanted, text) for text in versions]
        for line in {*counts[0], *counts[-1]}:
            base, ours, theirs, result = (count.get(line, 0) for count in counts)
            if (more := result - max(base, ours, theirs, ours + theirs - base)) > 0:
                moved[line] += more
            if (fewer := base - max(ours, theirs)) > 0:
                removed[line] += fewer
    return moved, removed


def _count_of(wanted: frozenset[str], text: str | None) -> Counter[str]:
    return Counter(filter(wanted.__contains__, map(str.strip, (text or "").splitlines())))


def _find_bare_files_gone(files: Mapping[str, _Versions]) -> frozenset[tuple[str, Side]]:
    """Return the files without any line that counts which a side added and the result dropped.

    One that stands, under the same name, in a folder where neither side had it has moved there.
    """
    moved: Counter[tuple[str, str]] = Counter()
    gone: list[tuple[str, Side, str]] = []
    for path, (base, ours, theirs, result) in files.items():
        if result is not None and base is None and ours is None and theirs is None:
            moved[_name(path), result] += 1
        if base is result is None:
            sides = zip(_SIDES, (ours, theirs), strict=True)
            gone += [(path, side, text) for side, text in sides if text is not None]
    found: set[tuple[str, Side]] = set()
    for path, side, text in gone:
        if _count(text):
            continue
        if moved[_name(path), text] > 0:
            moved[_name(path), text] -= 1
        else:
            found.add((path, side))
    return frozenset(found)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


# --- binary files --------------------------------------------------------------------------------


def find_lost_versions(base: Files, ours: Files, theirs: Files, result: Files) -> tuple[Lost, ...]:
    """Return which side's version of a binary file the result does not have, by path.

    The values are the ids of contents. A version counts as kept too where it stands in a file in
    which neither side had it, and where the other side removed what this one only moved.
    """
    files = _by_path(base, ours, theirs, result)
    moved = {four.result for four in files.values() if four.result not in (four.ours, four.theirs)}
    removed = {four.base for four in files.values() if four.base not in (four.ours, four.theirs)}

    def is_kept(side: Side, four: _Versions) -> bool:
        mine, other = four.of(side)
        followed = mine in removed and mine != other
        return mine in (None, four.base, four.result) or mine in moved or followed

    return tuple(
        Lost(path, side, (), 0, whole=True)
        for path, four in files.items()
        for side in _SIDES
        if not is_kept(side, four)
    )


# --- conflict markers ----------------------------------------------------------------------------


def find_markers(ours: Files, theirs: Files, result: Files) -> tuple[str, ...]:
    """Return the files of the result with conflict markers that neither side had, sorted.

    Text that looks like one, as in a page about git, counts once for each copy that a side has in
    that file, or had in another and the result has there no more.
    """
    files = _by_path({}, ours, theirs, result)
    extra: dict[str, Counter[str]] = {}
    moved: Counter[str] = Counter()
    for path, four in files.items():
        mine, other, has = (_markers(text) for text in (four.ours, four.theirs, four.result))
        extra[path] = has - (mine + other)
        moved += (mine | other) - has
    found: list[str] = []
    for path, markers in extra.items():
        if markers - moved:
            found.append(path)
        moved -= markers
    return tuple(found)


def _markers(text: str | None) -> Counter[str]:
    return Counter(found.rstrip() for found in _MARKER.findall(text or ""))


# --- in words ------------------------------------------------------------------------------------


def describe(lost: Sequence[Lost]) -> str:
    """Return what was lost as text to read: file by file, at most `MOST_FILES` of them."""
    told = [line for one in lost[:MOST_FILES] for line in _told(one)]
    more = len(lost) - MOST_FILES
    return "\n".join([*told, f"… and {more} more"] if more > 0 else told)


def _told(one: Lost) -> list[str]:
    more = one.count - len(one.lines)
    return [
        f"{_fit(one.path)}: {_fact(one)}",
        *(f"    {line}" for line in one.lines),
        *([f"    … and {more} more"] if more > 0 else ()),
    ]


def _fact(one: Lost) -> str:
    lines = f"{one.count} line{'s' if one.count > 1 else ''} that {one.side} added"
    if not one.whole:
        return f"{lines} {'are' if one.count > 1 else 'is'} missing"
    return f"the version of {one.side} is gone" + (f", with {lines}" if one.count else "")


def _fit(text: str) -> str:
    """Return the text fit to be shown: cut, without control codes and broken characters."""
    cut = text[: MOST_WIDTH - 1] + "…" if len(text) > MOST_WIDTH else text
    return "".join(one if one.isprintable() else " " if one == "\t" else "\ufffd" for one in cut)
