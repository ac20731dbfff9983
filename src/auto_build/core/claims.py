"""Path claims: their normal form, what they cover, and whether two of them overlap.

Invariant: `overlap` is symmetric and never misses. Where a pattern is too clever to be decided
exactly (ranges, braces), it is taken to match more than it does, so that two chunks may wait for
each other without need but never write one file at once. Brackets are read both ways, as a class
and as themselves, since `app/[id]/page.tsx` is a file name in some frameworks.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_WILD: Final = frozenset("*?[{")
_DRIVE: Final = re.compile(r"^[A-Za-z]:")
_TOKENS: Final = re.compile(r"\*+|\{[^}]*\}?|\[([^\]]*)\]|.", re.DOTALL)
_CACHE: Final = 65536

# one place in a segment: the letters allowed there, any letter, or any number of any letters
_ANY: Final = "any"
_STAR: Final = "star"
_Token = frozenset[str] | str
_Segment = tuple[_Token, ...]
_DEEP: Final[_Segment] = ("deep",)  # `**`: any number of segments


class BadClaim(ValueError):
    """The text names no path inside the repository; `str(error)` says why."""


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """One path, folder (`dir/`) or glob, relative to the repository's top, in normal form.

    `text` keeps the case it was written in, for people; comparisons fold it.
    """

    text: str

    @classmethod
    def parse(cls, raw: str) -> "Claim":
        """Return the normal form of `raw`.

        Raises:
            BadClaim: it is empty, absolute, or leaves the repository.
        """
        text = unicodedata.normalize("NFC", raw.strip()).replace("\\", "/")
        if not text:
            raise BadClaim("is empty")
        if text.startswith(("/", "~")) or _DRIVE.match(text):
            raise BadClaim("is absolute")
        if "\0" in text or "\n" in text:
            raise BadClaim("holds a control character")
        folder = text.endswith(("/", "/.")) or text in {".", ".."}
        segments = _resolve(text)
        if not segments:
            return cls("**")
        return cls("/".join(segments) + ("/" if folder else ""))

    @property
    def is_glob(self) -> bool:
        """Whether the claim holds a wildcard."""
        return not _WILD.isdisjoint(self.text)


def _resolve(text: str) -> list[str]:
    segments: list[str] = []
    for part in text.split("/"):
        if part in {"", "."}:
            continue
        if part == "..":
            if not segments:
                raise BadClaim("leaves the repository")
            segments.pop()
        else:
            segments.append(part)
    return segments


def overlap(one: Claim, other: Claim) -> bool:
    """Say whether some path could be written under both claims.

    A path is taken to reach beneath itself (`src/a` overlaps `src/a/b`): if one of the two exists
    as a file, the other cannot exist beside it.
    """
    return any(_meet(a, b) for a in _readings(one.text) for b in _readings(other.text))


def covers(claim: Claim, path: str) -> bool:
    """Say whether `claim` allows writing the file at `path` (relative, `/` between its parts)."""
    name = _literal(path)
    return any(_cover(pattern, name) for pattern in _readings(claim.text))


def first_overlap(ones: Iterable[Claim], others: Iterable[Claim]) -> tuple[Claim, Claim] | None:
    """Return the first pair that overlaps, or None."""
    held = tuple(others)
    return next(((a, b) for a in ones for b in held if overlap(a, b)), None)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


@lru_cache(maxsize=_CACHE)
def _literal(path: str) -> tuple[_Segment, ...]:
    return tuple(
        tuple(frozenset(letter) for letter in part) for part in _fold(path).split("/") if part
    )


@lru_cache(maxsize=_CACHE)
def _readings(text: str) -> tuple[tuple[_Segment, ...], ...]:
    """Return what the claim may mean: its pattern, and its brackets taken literally."""
    folded = _fold(text)
    parts = [part for part in folded.split("/") if part]
    if len(parts) == 1 and parts[0] != "**" and not _WILD.isdisjoint(parts[0]):
        parts.insert(0, "**")  # `*.py` is widely meant as: wherever it lies
    readings = {tuple(_segment(part, classes=True) for part in parts)}
    if "[" in folded:
        readings.add(tuple(_segment(part, classes=False) for part in parts))
    return tuple(readings)


def _segment(part: str, *, classes: bool) -> _Segment:
    if part == "**":
        return _DEEP
    return tuple(
        token
        for match in _TOKENS.finditer(part)
        for token in _tokens(match[0], match[1], classes=classes)
    )


def _tokens(text: str, inside: str | None, *, classes: bool) -> list[_Token]:
    if text[0] in "*{":
        return [_STAR]
    if text == "?":
        return [_ANY]
    if inside is None or not classes:
        return [frozenset(letter) for letter in text]
    plain = inside and inside[0] not in "!^" and "-" not in inside
    return [frozenset(inside) if plain else _ANY]


@lru_cache(maxsize=_CACHE)
def _meet(a: tuple[_Segment, ...], b: tuple[_Segment, ...]) -> bool:
    if not a or not b:
        return True  # one ends: what is left of the other lies beneath it
    if a[0] == _DEEP:
        return _meet(a[1:], b) or _meet(a, b[1:])
    if b[0] == _DEEP:
        return _meet(a, b[1:]) or _meet(a[1:], b)
    return _segments_meet(a[0], b[0]) and _meet(a[1:], b[1:])


@lru_cache(maxsize=_CACHE)
def _cover(pattern: tuple[_Segment, ...], path: tuple[_Segment, ...]) -> bool:
    if not pattern:
        return True
    if not path:
        return all(segment == _DEEP for segment in pattern)
    if pattern[0] == _DEEP:
        return _cover(pattern[1:], path) or _cover(pattern, path[1:])
    return _segments_meet(pattern[0], path[0]) and _cover(pattern[1:], path[1:])


@lru_cache(maxsize=_CACHE)
def _segments_meet(a: _Segment, b: _Segment) -> bool:
    """Say whether two segments have a name in common."""
    if not a or not b:
        return all(token == _STAR for token in a or b)
    if a[0] == _STAR:
        return _segments_meet(a[1:], b) or _segments_meet(a, b[1:])
    if b[0] == _STAR:
        return _segments_meet(a, b[1:]) or _segments_meet(a[1:], b)
    return _places_meet(a[0], b[0]) and _segments_meet(a[1:], b[1:])


def _places_meet(a: _Token, b: _Token) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return True
    return not a.isdisjoint(b)
