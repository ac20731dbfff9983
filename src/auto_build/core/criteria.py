"""What a plan file asks of the finished build, in every shape that planners write it.

Nothing here fails: what is not understood becomes an item for a person, with its text. Everything
is bounded, and what is left out is counted.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from auto_build.core import dialects
from auto_build.core.acceptance import Acceptance, ApiRequest, Item, Page
from auto_build.core.document import Json, as_list, as_text, pick
from auto_build.core.plan import Chunk, ChunkId, Plan, VerificationKind
from auto_build.core.verification import reads_like_command, reads_like_output, says_nothing

MOST_ITEMS: Final = 200
MOST_CRITERIA: Final = 200
_LONGEST: Final = 2_000  # characters of a text for people
_LONGEST_COMMAND: Final = 20_000
_SHOWN: Final = 160
_CRITERIA: Final = (
    "acceptance_criteria",
    "acceptanceCriteria",
    "success_criteria",
    "successCriteria",
    "final_acceptance",
    "finalAcceptance",
)
_STRATEGY: Final = ("verification_strategy", "verificationStrategy")
_STEPS: Final = ("verification_steps", "verificationSteps")
_ACCEPTANCE: Final = ("qa_acceptance", "qaAcceptance")
_COMMAND: Final = ("command", "run")
_EXPECTED: Final = ("expected", "expected_outcome", "expectedOutcome", "expected_output")
_STATUS: Final = ("expected_status", "status", "expected_status_code", "status_code")
_CONTAINS: Final = ("contains", "expected_contains", "response_contains", "body_contains")
_ANSWER: Final = ("json", "expected_json", "expected_body", "expected_response", "response")
_URL: Final = re.compile(r"https?://[^\s'\"`<>)\],;]+")
_CODE: Final = re.compile(r"\b[1-5]\d\d\b")
_METHOD: Final = re.compile(r"[A-Za-z]{1,20}")
_PEOPLE: Final = (VerificationKind.MANUAL, VerificationKind.BROWSER, VerificationKind.E2E)


def read_acceptance(document: Mapping[str, Json], plan: Plan) -> Acceptance:
    """Return all that a plan asks of the finished build, each thing once.

    Args:
        document: the plan file's JSON.
        plan: what was read from it, and what mends the findings of reviews.
    """
    criteria = tuple(dict.fromkeys(filter(None, map(_text, _criteria(document)))))
    items = _unique((*_of_chunks(document, plan), *_of_plan(document)))
    over = max(0, len(criteria) - MOST_CRITERIA) + max(0, len(items) - MOST_ITEMS)
    return Acceptance(criteria[:MOST_CRITERIA], _numbered(items[:MOST_ITEMS]), over)


def _criteria(document: Mapping[str, Json]) -> Iterator[str]:
    """Yield what is to be judged: the plan's own first, then that of its chunks."""
    for holder in (document, pick(document, _STRATEGY)[1]):
        yield from _listed(holder, _CRITERIA)
    for name, section in _sections(document):
        lowest = section.get("minimum_coverage") if isinstance(section, dict) else None
        if lowest:
            yield f"{_spoken(name)} cover at least {as_text(lowest)} %"
    for chunk, raw in _chunks(document):
        yield from (f"{chunk}: {one}" for one in _listed(raw, _CRITERIA[:4]) if one)


def _listed(holder: Json, keys: Iterable[str]) -> Iterator[str]:
    if isinstance(holder, dict):
        for key in keys:
            value = holder.get(key)
            yield from map(as_text, value if isinstance(value, list) else [value])


def _chunks(document: Mapping[str, Json]) -> Iterator[tuple[ChunkId, dict[str, Json]]]:
    for phase in as_list(document.get("phases")):
        for raw in as_list(pick(phase, dialects.CHUNKS)[1]):
            if isinstance(raw, dict):
                yield ChunkId(as_text(pick(raw, dialects.CHUNK_IDS)[1])), raw


# --- what can be tried ---------------------------------------------------------------------------


def _of_chunks(document: Mapping[str, Json], plan: Plan) -> Iterator[Item]:
    raw = {chunk: one.get("verification") for chunk, one in _chunks(document)}
    for chunk in plan.chunks.values():
        own = chunk.verification
        if own.kind is VerificationKind.COMMAND:
            yield _command_of(chunk)
        elif own.kind is not VerificationKind.NONE:
            told = raw.get(chunk.id)
            source = told if isinstance(told, dict) else {"instructions": own.instructions}
            for item in _described({**source, "type": own.kind.value}, chunk.id):
                yield replace(item, chunk=chunk.id)


def _command_of(chunk: Chunk) -> Item:
    """Return a chunk's own command as the gate runs it, so that what is known of it counts."""
    own = chunk.verification
    return Item(
        id=chunk.id,
        kind=VerificationKind.COMMAND,
        what=_title(chunk.title or f"$ {own.command}"),
        chunk=chunk.id,
        command=own.command,
        expected=own.expected,
        timeout_s=own.timeout_s,
    )


def _of_plan(document: Mapping[str, Json]) -> Iterator[Item]:
    strategy = pick(document, _STRATEGY)[1]
    for holder in (strategy, document):
        for step in _many(pick(holder, _STEPS)[1]):
            yield from _step(step)
    for name, section in _sections(document):
        yield from _section(name, section)


def _sections(document: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    acceptance = pick(document, _ACCEPTANCE)[1]
    if isinstance(acceptance, dict):
        yield from acceptance.items()
    elif acceptance:
        yield "qa_acceptance", acceptance


def _step(step: Json) -> Iterator[Item]:
    if not isinstance(step, dict):
        yield from _line(as_text(step), "verification")
        return
    required = step.get("required") is not False and step.get("blocking") is not False
    for item in _described(step, as_text(step.get("name")) or "verification"):
        yield replace(item, required=required)


def _section(name: str, section: Json) -> Iterator[Item]:
    """Yield the items of one part of `qa_acceptance`, such as `unit_tests`."""
    if not isinstance(section, dict):
        for one in _many(section):
            yield from _line(as_text(one), _spoken(name))
        return
    required = section.get("required") is not False
    kind = VerificationKind.E2E if "e2e" in name.casefold() else VerificationKind.MANUAL
    found: list[Item] = []
    for command in _many(section.get("commands")) + _many(section.get("command")):
        found.extend(_line(as_text(command), _spoken(name), kind))
    for page in _many(section.get("pages")):
        found.extend(_pages(page if isinstance(page, dict) else {"url": page}, _spoken(name)))
    for key, of in (("checks", VerificationKind.MANUAL), ("flows", VerificationKind.E2E)):
        found.extend(_for_people(of, _spoken(name), one) for one in _texts(section.get(key)))
    if not found and required and not {"commands", "pages", "checks", "flows"} & section.keys():
        found.append(_for_people(kind, _spoken(name), as_text(section)))
    yield from (replace(item, required=required) for item in found)


def _line(text: str, name: str, kind: VerificationKind = VerificationKind.MANUAL) -> Iterator[Item]:
    """Yield what one line asks for: a command to be run, a page to be opened, or words."""
    if says_nothing(text):
        return
    if reads_like_command(text) and len(text) <= _LONGEST_COMMAND:
        yield _run(text, name, "")
    elif urls := _URL.findall(text):
        yield from _opened(urls, name, (text,))
    else:
        yield _for_people(kind, name, text)


def _described(value: Mapping[str, Json], name: str) -> Iterator[Item]:
    """Yield what an object with a `type` asks for."""
    word = as_text(value.get("type")).casefold()
    command = as_text(pick(value, _COMMAND)[1])
    if word == VerificationKind.API or (value.get("method") and value.get("url")):
        yield _api(value, name)
    elif word == VerificationKind.BROWSER:
        yield from _pages(value, name)
    elif word not in _PEOPLE and command and not says_nothing(command):
        expected = as_text(pick(value, _EXPECTED)[1])
        if reads_like_command(command) and len(command) <= _LONGEST_COMMAND:
            yield _run(command, name, expected)
        else:
            yield from _told(value, name, VerificationKind.MANUAL)
    else:
        yield from _told(value, name, VerificationKind(word) if word in _PEOPLE else _PEOPLE[0])


def _run(command: str, name: str, expected: str) -> Item:
    searched = expected if reads_like_output(expected, command) else ""
    said = f"{name}: {expected}" if expected and not searched else name
    return Item(
        id=name,
        kind=VerificationKind.COMMAND,
        what=_title(said),
        command=command,
        expected=searched,
    )


def _told(value: Mapping[str, Json], name: str, kind: VerificationKind) -> Iterator[Item]:
    """Yield what is for a person, or for a browser where it names pages."""
    bare = ("instructions", "manual", *_COMMAND)
    about = ("type", "name", "required", "blocking")
    known = {key: one for key, one in value.items() if key not in about and one}
    steps = tuple(
        _text(text if key in bare or key == "steps" else f"{key}: {text}")
        for key, one in known.items()
        for text in (_texts(one) if isinstance(one, list) else [as_text(one)])
        if text
    )
    urls = _URL.findall(as_text(pick(value, _COMMAND)[1]))
    if urls and kind is VerificationKind.MANUAL:
        yield from _opened(urls, name, _texts(pick(value, _EXPECTED)[1]), steps)
    elif steps:
        yield Item(id=name, kind=kind, what=_title(_with(name, steps[0])), steps=steps)


def _pages(value: Mapping[str, Json], name: str) -> Iterator[Item]:
    checks = _texts(value.get("checks")) + _texts(value.get("expected"))
    steps = _texts(pick(value, ("scenario", "instructions", "notes"))[1])
    steps += _texts(value.get("steps"))
    urls = [as_text(value.get("url")), *_URL.findall("\n".join(steps))]
    if any(urls):
        yield from _opened([next(filter(None, urls))], name, checks, steps)
    elif checks or steps:
        told = _text((steps or checks)[0])
        what = _title(_with(name, told))
        yield Item(id=name, kind=VerificationKind.BROWSER, what=what, steps=(*steps, *checks))


def _opened(
    urls: Iterable[str], name: str, checks: tuple[str, ...], steps: tuple[str, ...] = ()
) -> Iterator[Item]:
    for url in dict.fromkeys(one.rstrip(".:!?") for one in urls):
        yield Item(
            id=name,
            kind=VerificationKind.BROWSER,
            what=_title(f"{name}: {url}"),
            page=Page(_text(url), checks),
            steps=steps,
        )


def _api(value: Mapping[str, Json], name: str) -> Item:
    method, url = as_text(value.get("method")) or "GET", as_text(value.get("url"))
    if not _METHOD.fullmatch(method) or not url:
        return _for_people(VerificationKind.API, name, as_text(dict(value)))
    answer = pick(value, _ANSWER)[1]
    structured = isinstance(answer, dict | list)
    headers = value.get("headers")
    request = ApiRequest(
        method=method.upper(),
        url=_text(url),
        status=_status(pick(value, _STATUS)[1]),
        headers=_as_words(headers) if isinstance(headers, dict) else {},
        body=value.get("body"),
        contains=_texts(pick(value, _CONTAINS)[1]),
        json_body=answer if structured else None,
    )
    words = [value.get("notes"), value.get("expected"), None if structured else answer]
    steps = tuple(text for one in words for text in _texts(one))
    what = _title(_with(name, f"{request.method} {url}"))
    return Item(id=name, kind=VerificationKind.API, what=what, request=request, steps=steps)


def _as_words(headers: Mapping[str, Json]) -> dict[str, str]:
    return {_text(key): _text(as_text(value)) for key, value in headers.items()}


def _status(value: Json) -> int | None:
    found = _CODE.search(as_text(value)) if not isinstance(value, bool) else None
    return int(found[0]) if found else None


def _for_people(kind: VerificationKind, name: str, text: str) -> Item:
    return Item(id=name, kind=kind, what=_title(_with(name, text)), steps=(_text(text),))


# --- texts and ids -------------------------------------------------------------------------------


def _many(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [] if value in (None, "", {}) else [value]


def _texts(value: Json) -> tuple[str, ...]:
    return tuple(text for one in _many(value) if (text := _text(as_text(one))))


def _text(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _with(name: str, text: str) -> str:
    return f"{name}: {text}" if text != name else text


def _spoken(name: str) -> str:
    return _title(name.replace("_", " "))


def _unique(items: Iterable[Item]) -> list[Item]:
    """Return each thing once; it is required if it is so anywhere."""
    found: dict[str, Item] = {}
    for item in items:
        first = found.setdefault(_key(item), item)
        if item.required and not first.required:
            found[_key(item)] = replace(first, required=True)
    return list(found.values())


def _key(item: Item) -> str:
    """Return what makes two items the same: what is done, not whose it is or how it is called."""
    if item.command:
        searched = item.expected if reads_like_output(item.expected, item.command) else ""
        return f"{item.command}\n{searched}"
    if item.request or item.page:
        return f"{item.request!r}\n{item.page!r}"
    return json.dumps([item.kind.value, item.chunk, *item.steps])


def _numbered(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return items with ids of their own: the name of each, with a number where several have it."""
    taken: set[str] = set()
    result: list[Item] = []
    for item in items:
        base, number, name = _title(item.id) or "item", 1, _title(item.id) or "item"
        while name in taken:
            number += 1
            name = f"{base} ({number})"
        taken.add(name)
        result.append(replace(item, id=name))
    return tuple(result)
