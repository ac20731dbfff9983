"""What a plan file asks of the finished build, in every shape that planners write it.

Nothing here fails: what is not understood becomes an item for a person, with its text. Everything
is bounded, and what is left out is counted.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from auto_build.core import dialects
from auto_build.core.acceptance import Acceptance, Item
from auto_build.core.document import Json, as_list, as_text, pick
from auto_build.core.items import (
    bounded,
    for_people,
    many,
    read_described,
    read_one,
    read_page,
    spoken,
    texts,
    titled,
)
from auto_build.core.plan import Chunk, ChunkId, Plan, VerificationKind
from auto_build.core.verification import reads_like_output

MOST_ITEMS: Final = 200
MOST_CRITERIA: Final = 200
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


def read_acceptance(document: Mapping[str, Json], plan: Plan) -> Acceptance:
    """Return all that a plan asks of the finished build, each thing once.

    Args:
        document: the plan file's JSON.
        plan: what was read from it, and what mends the findings of reviews.
    """
    criteria = tuple(dict.fromkeys(map(bounded, _criteria(document))))
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
            yield f"{spoken(name)} cover at least {as_text(lowest)} %"
    for chunk, raw in _chunks(document):
        yield from (f"{chunk}: {one}" for one in _listed(raw, _CRITERIA[:4]))


def _listed(holder: Json, keys: Iterable[str]) -> Iterator[str]:
    if isinstance(holder, dict):
        for key in keys:
            value = holder.get(key)
            yield from filter(None, map(as_text, value if isinstance(value, list) else [value]))


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
            for item in read_described({**source, "type": own.kind.value}, chunk.id):
                yield replace(item, chunk=chunk.id)


def _command_of(chunk: Chunk) -> Item:
    """Return a chunk's own command as the gate runs it, so that what is known of it counts."""
    own = chunk.verification
    return Item(
        id=chunk.id,
        kind=VerificationKind.COMMAND,
        what=titled(chunk.title or f"$ {own.command}"),
        chunk=chunk.id,
        command=own.command,
        expected=own.expected,
        timeout_s=own.timeout_s,
    )


def _of_plan(document: Mapping[str, Json]) -> Iterator[Item]:
    strategy = pick(document, _STRATEGY)[1]
    for holder in (strategy, document):
        for step in many(pick(holder, _STEPS)[1]):
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
        yield from read_one(step, "verification")
        return
    required = step.get("required") is not False and step.get("blocking") is not False
    for item in read_described(step, as_text(step.get("name")) or "verification"):
        yield replace(item, required=required)


def _section(name: str, section: Json) -> Iterator[Item]:
    """Yield the items of one part of `qa_acceptance`, such as `unit_tests`."""
    if not isinstance(section, dict):
        for one in many(section):
            yield from read_one(one, spoken(name))
        return
    required = section.get("required") is not False
    kind = VerificationKind.E2E if "e2e" in name.casefold() else VerificationKind.MANUAL
    found: list[Item] = []
    for command in many(section.get("commands")) + many(section.get("command")):
        found.extend(read_one(command, spoken(name), kind))
    for page in many(section.get("pages")):
        found.extend(read_page(page if isinstance(page, dict) else {"url": page}, spoken(name)))
    for key, of in (("checks", VerificationKind.MANUAL), ("flows", VerificationKind.E2E)):
        found.extend(for_people(of, spoken(name), one) for one in texts(section.get(key)))
    if not found and required and not {"commands", "pages", "checks", "flows"} & section.keys():
        found.append(for_people(kind, spoken(name), as_text(section)))
    yield from (replace(item, required=required) for item in found)


# --- ids -------------------------------------------------------------------------------------


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
        base, number, name = titled(item.id) or "item", 1, titled(item.id) or "item"
        while name in taken:
            number += 1
            name = f"{base} ({number})"
        taken.add(name)
        result.append(replace(item, id=name))
    return tuple(result)
