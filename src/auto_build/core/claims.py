"""Path claims: their normal form, what they cover, and whether two of them overlap.

Invariant: `overlap` is symmetric and never misses. Where a pattern is too clever to be decided
exactly (ranges, braces), it is taken to match more than it does, so that two chunks may wait for
each other without need but never write one file at once. Each bracket is read both ways, as a class
and as itself, since `app/[id]/page.tsx` is a file name in some frameworks.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, product
from typing import Final

_WILD: Final = frozenset("*?[{")
_DRIVE: Final = re.compile(r"^[A-Za-z]:")
_TOKENS: Final = re.compile(r"\*+|\{[^{}]*\}|\{.*|\[(?P<inside>[!^]?\]?[^\]]*)\]|.", re.DOTALL)
_CACHE: Final = 65536
_LONGEST_NAME: Final = 255  # characters; what file systems allow
_DEEPEST: Final = 100  # folders
_MOST_BRACKETS: Final = 4  # in one name; each doubles its readings

# one place in a name: the letters allowed there, any letter, or any number of any letters
_ANY: Final = "any"
_STAR: Final = "star"
_Token = frozenset[str] | str
_Name = tuple[_Token, ...]
_Segment = tuple[_Name, ...]  # what stands between two slashes, in each of its readings
_Pattern = tuple[_Segment, ...]
_DEEP: Final[_Segment] = (("deep",),)  # `**`: any number of segments


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
        if any(len(part) > _LONGEST_NAME for part in text.split("/")):
            raise BadClaim(f"holds a name of more than {_LONGEST_NAME} characters")
        folder = text.endswith(("/", "/.")) or text in {".", ".."}
        segments = _resolve(text)
        if len(segments) > _DEEPEST:
            raise BadClaim(f"lies more than {_DEEPEST} folders deep")
        if not segments:
            return cls("**")
        return cls("/".join(segments) + ("/" if folder else ""))


def find_claim(path: str) -> Claim | None:
    """Return the claim on a path; None where no claim can spell it, as with a leading `~`."""
    try:
        return Claim.parse(path)
    except BadClaim:
        return None


def _resolve(text: str) -> list[str]:
    segments: list[str] = []
    for part in text.split("/"):
        if part in {"", "."}:
            continue
        if part == "..":
            if not segments:
                raise BadClaim("leaves the repository")
            if segments[-1] != "**":  # what lies above any folder is any folder
                segments.pop()
        else:
            segments.append(part)
    return segments


@lru_cache(maxsize=_CACHE)
def overlap(one: Claim, other: Claim) -> bool:
    """Say whether some path could be written under both claims.

    A path is taken to reach beneath itself (`src/a` overlaps `src/a/b`): if one of the two exists
    as a file, the other cannot exist beside it.
    """
    return _meet(_pattern(one.text), _pattern(other.text))


def covers(claim: Claim, path: str) -> bool:
    """Say whether `claim` allows writing the file at `path` (relative, `/` between its parts)."""
    return _cover(_pattern(claim.text), _literal(path))


@lru_cache(maxsize=_CACHE)
def touches(claim: Claim, path: str) -> bool:
    """Say whether a file at `path`, read letter by letter, meets what is claimed."""
    return _meet(_pattern(claim.text), _literal(path))


def first_overlap(ones: Iterable[Claim], others: Iterable[Claim]) -> tuple[Claim, Claim] | None:
    """Return the first pair that overlaps, or None."""
    held = tuple(others)
    return next(((a, b) for a in ones for b in held if overlap(a, b)), None)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


@lru_cache(maxsize=_CACHE)
def _literal(path: str) -> _Pattern:
    return tuple(
        (tuple(frozenset(letter) for letter in part),) for part in _fold(path).split("/") if part
    )


@lru_cache(maxsize=_CACHE)
def _pattern(text: str) -> _Pattern:
    parts = [part for part in _fold(text).split("/") if part]
    if len(parts) == 1 and parts[0] != "**" and not _WILD.isdisjoint(parts[0]):
        parts.insert(0, "**")  # `*.py` is widely meant as: wherever it lies
    segments: list[_Segment] = []
    for part in parts:
        if part.count("{") > part.count("}"):  # braces that reach over a slash
            return (*segments, _DEEP)
        segments.append(_DEEP if part == "**" else _segment(part))
    return tuple(segments)


def _segment(part: str) -> _Segment:
    pieces = [_piece(match[0], match["inside"]) for match in _TOKENS.finditer(part)]
    if sum(len(readings) > 1 for readings in pieces) > _MOST_BRACKETS:
        return ((_STAR,),)
    return tuple(tuple(chain.from_iterable(choice)) for choice in product(*pieces))


def _piece(text: str, inside: str | None) -> tuple[_Name, ...]:
    if text[0] in "*{":
        return ((_STAR,),)
    if text == "?":
        return ((_ANY,),)
    itself = tuple(frozenset(letter) for letter in text)
    if inside is None:
        return (itself,)
    plain = inside and inside[0] not in "!^" and "-" not in inside
    return ((frozenset(inside) if plain else _ANY,), itself)


@lru_cache(maxsize=_CACHE)
def _meet(a: _Pattern, b: _Pattern) -> bool:
    if not a or not b:
        return True  # one ends: what is left of the other lies beneath it
    if a[0] == _DEEP:
        return _meet(a[1:], b) or _meet(a, b[1:])
    if b[0] == _DEEP:
        return _meet(a, b[1:]) or _meet(a[1:], b)
    return _segments_meet(a[0], b[0]) and _meet(a[1:], b[1:])


@lru_cache(maxsize=_CACHE)
def _cover(pattern: _Pattern, path: _Pattern) -> bool:
    if not pattern:
        return True
    if not path:
        return all(segment == _DEEP for segment in pattern)
    if pattern[0] == _DEEP:
        return _cover(pattern[1:], path) or _cover(pattern, path[1:])
    return _segments_meet(pattern[0], path[0]) and _cover(pattern[1:], path[1:])


def _segments_meet(a: _Segment, b: _Segment) -> bool:
    return any(_names_meet(one, other) for one in a for other in b)


@lru_cache(maxsize=_CACHE)
def _names_meet(a: _Name, b: _Name) -> bool:
    """Say whether one name fits both."""
    if not a or not b:
        return all(token == _STAR for token in a or b)
    if a[0] == _STAR:
        return _names_meet(a[1:], b) or _names_meet(a, b[1:])
    if b[0] == _STAR:
        return _names_meet(a, b[1:]) or _names_meet(a[1:], b)
    return _places_meet(a[0], b[0]) and _names_meet(a[1:], b[1:])


def _places_meet(a: _Token, b: _Token) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return True
    return not a.isdisjoint(b)
