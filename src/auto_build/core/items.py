"""One thing that a plan asks of the finished build, in whatever shape, as items.

Nothing here fails: what is not understood becomes an item for a person, with its text.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from auto_build.core import dialects
from auto_build.core.acceptance import ApiRequest, Item, Page
from auto_build.core.document import Json, as_text, pick
from auto_build.core.plan import VerificationKind
from auto_build.core.verification import reads_like_command, reads_like_output, says_nothing

_LONGEST: Final = 2_000  # characters of a text for people
_LONGEST_COMMAND: Final = 20_000  # the same of a command
_SHOWN: Final = 160
_COMMAND: Final = ("command", "run")
_EXPECTED: Final = ("expected", "expected_outcome", "expectedOutcome", "expected_output")
_STATUS: Final = ("expected_status", "status", "expected_status_code", "status_code")
_CONTAINS: Final = ("contains", "expected_contains", "response_contains", "body_contains")
_ANSWER: Final = ("json", "expected_json", "expected_body", "expected_response", "response")
_URL: Final = re.compile(r"https?://[^\s'\"`<>)\],;]+")
_METHOD: Final = re.compile(r"[A-Za-z]{1,20}")
_WITH_WORDS: Final = (VerificationKind.API, VerificationKind.E2E)  # and kinds of their own
_LONGEST_S: Final = 24 * 3600.0
_CODE: Final = re.compile(
    r"(?:HTTP(?:/[\d.]+)?\s+|status:?\s+)?([1-5]\d\d)(?:\s+[A-Z][A-Za-z ]*)?", re.IGNORECASE
)


def read_one(
    value: Json, name: str, kind: VerificationKind = VerificationKind.MANUAL
) -> Iterator[Item]:
    """Yield what an entry of a list asks for: to be run, to be opened, or in words of a `kind`."""
    text = as_text(value)
    if isinstance(value, dict):
        yield from read_described(value, name)
    elif says_nothing(text):
        return
    elif isinstance(value, str) and _is_run(text):
        yield _run(text, name, "")
    elif urls := _URL.findall(text):
        yield from _opened(urls, name, (text,))
    else:
        yield for_people(kind, name, text)


def read_described(value: Mapping[str, Json], name: str) -> Iterator[Item]:
    """Yield what an object with a `type` asks for."""
    word = as_text(value.get("type")).casefold()
    command = _command_in(value)
    if value.get("url") and (word == VerificationKind.API or value.get("method")):
        yield _api(value, name)
    elif word == VerificationKind.BROWSER:
        yield from read_page(value, name)
    elif word != VerificationKind.MANUAL and _is_run(command):
        expected = as_text(pick(value, _EXPECTED)[1])
        yield replace(_run(command, name, expected), timeout_s=_limit(value))
    else:
        kind = VerificationKind(word) if word in _WITH_WORDS else VerificationKind.MANUAL
        yield from _told(value, name, kind)


def _command_in(value: Mapping[str, Json]) -> str:
    """Return a command line, or several; empty where there is something else in its place."""
    lines = many(pick(value, _COMMAND)[1])
    return "\n".join(lines).strip() if all(isinstance(line, str) for line in lines) else ""


def _is_run(text: str) -> bool:
    return reads_like_command(text) and len(text) <= _LONGEST_COMMAND


def _limit(value: Mapping[str, Json]) -> float | None:
    """Return an item's own time limit in seconds, where it names one that can be."""
    limit = pick(value, dialects.TIMEOUT)[1]
    number = isinstance(limit, int | float) and not isinstance(limit, bool)
    return float(limit) if number and 0 < limit <= _LONGEST_S else None


def _run(command: str, name: str, expected: str) -> Item:
    searched = expected if reads_like_output(expected, command) else ""
    said = f"{name}: {expected}" if expected and not searched else name
    return Item(
        id=name,
        kind=VerificationKind.COMMAND,
        what=titled(said),
        command=command,
        expected=searched,
    )


def _told(value: Mapping[str, Json], name: str, kind: VerificationKind) -> Iterator[Item]:
    """Yield what is for a person, or for a browser where it names pages."""
    bare = ("instructions", "manual", *_COMMAND)
    about = ("type", "name", "required", "blocking")
    known = {key: one for key, one in value.items() if key not in about and one}
    steps = tuple(
        bounded(text if key in bare or key == "steps" else f"{key}: {text}")
        for key, one in known.items()
        for text in (texts(one) if isinstance(one, list) else [as_text(one)])
        if text
    )
    urls = _URL.findall(as_text(pick(value, _COMMAND)[1]))
    if urls and kind is VerificationKind.MANUAL:
        yield from _opened(urls, name, texts(pick(value, _EXPECTED)[1]), steps)
    elif steps:
        yield Item(id=name, kind=kind, what=titled(_with(name, steps[0])), steps=steps)


def read_page(value: Mapping[str, Json], name: str) -> Iterator[Item]:
    """Yield a page to be opened, or words where none is named."""
    checks = texts(value.get("checks")) + texts(pick(value, _EXPECTED)[1])
    steps = texts(pick(value, ("scenario", "instructions", "notes", *_COMMAND))[1])
    steps += texts(value.get("steps"))
    urls = [as_text(value.get("url")), *_URL.findall("\n".join(steps))]
    if any(urls):
        yield from _opened([next(filter(None, urls))], name, checks, steps)
    elif checks or steps:
        told = bounded((steps or checks)[0])
        what = titled(_with(name, told))
        yield Item(id=name, kind=VerificationKind.BROWSER, what=what, steps=(*steps, *checks))
    else:
        yield from _told(value, name, VerificationKind.BROWSER)


def _opened(
    urls: Iterable[str], name: str, checks: tuple[str, ...], steps: tuple[str, ...] = ()
) -> Iterator[Item]:
    for url in dict.fromkeys(one.rstrip(".:!?") for one in urls):
        yield Item(
            id=name,
            kind=VerificationKind.BROWSER,
            what=titled(f"{name}: {url}"),
            page=Page(bounded(url), checks),
            steps=steps,
        )


def _api(value: Mapping[str, Json], name: str) -> Item:
    method, url = as_text(value.get("method")) or "GET", as_text(value.get("url"))
    if not _METHOD.fullmatch(method) or not url:
        return for_people(VerificationKind.API, name, as_text(dict(value)))
    wanted = pick(value, _STATUS)[1]
    answer = pick(value, _ANSWER)[1]
    structured = isinstance(answer, dict | list)
    headers = value.get("headers")
    request = ApiRequest(
        method=method.upper(),
        url=bounded(url),
        status=_status(wanted) or _status(value.get("expected")),
        headers=_as_words(headers) if isinstance(headers, dict) else {},
        body=value.get("body"),
        contains=texts(pick(value, _CONTAINS)[1]),
        json_body=answer if structured else None,
    )
    words = [wanted, value.get("expected"), value.get("notes"), None if structured else answer]
    steps = tuple(text for one in words if not _status(one) for text in texts(one))
    what = titled(_with(name, f"{request.method} {url}"))
    return Item(id=name, kind=VerificationKind.API, what=what, request=request, steps=steps)


def _as_words(headers: Mapping[str, Json]) -> dict[str, str]:
    return {bounded(key): bounded(as_text(value)) for key, value in headers.items()}


def _status(value: Json) -> int | None:
    found = _CODE.fullmatch(as_text(value))
    return int(found[1]) if found else None


def for_people(kind: VerificationKind, name: str, text: str) -> Item:
    """Return an item that is only words."""
    return Item(id=name, kind=kind, what=titled(_with(name, text)), steps=(bounded(text),))


# --- texts ---------------------------------------------------------------------------------------


def many(value: Json) -> list[Json]:
    """Return the entries of a list, or the one thing that stands in its place."""
    return value if isinstance(value, list) else [] if value in (None, "", {}) else [value]


def texts(value: Json) -> tuple[str, ...]:
    """Return each entry as text, those that say nothing left out."""
    return tuple(text for one in many(value) if (text := bounded(as_text(one))))


def bounded(text: str) -> str:
    """Return a text for people, cut at a bound."""
    text = text.strip()
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def titled(text: str) -> str:
    """Return a text as one short line."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _with(name: str, text: str) -> str:
    return f"{name}: {text}" if text != name else text


def spoken(name: str) -> str:
    """Return a key as people say it."""
    return titled(name.replace("_", " "))
