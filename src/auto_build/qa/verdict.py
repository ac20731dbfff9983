"""What a reviewer's answer is worth: read, held against itself and against what was run. Pure.

A reviewer can add findings; it cannot take any away: what a check found red stays found, whatever
the reviewer says.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from auto_build.core.acceptance import ItemResult, ItemState
from auto_build.core.document import Json
from auto_build.core.findings import Criterion, Finding, Met, Review, Severity, Source, Verdict

_MOST: Final = 100  # findings, criteria or items of an answer that are read
_LONG: Final = 4_000  # characters of each text
_NUMBERED: Final = 1_000_000

_TEXT: Final = {"type": "string"}
VERDICT_SCHEMA: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "type": "object",
        "required": ["verdict", "summary", "findings", "criteria", "unverified"],
        "properties": {
            "verdict": {"type": "string", "enum": ["approved", "rejected"]},
            "summary": _TEXT,
            "findings": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["severity", "what", "why", "verify"],
                    "properties": {
                        "severity": {"type": "string", "enum": [one.value for one in Severity]},
                        "file": _TEXT,
                        "line": {"type": "integer"},
                        "what": _TEXT,
                        "why": _TEXT,
                        "verify": _TEXT,
                    },
                },
            },
            "criteria": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["criterion", "met", "evidence"],
                    "properties": {
                        "criterion": _TEXT,
                        "met": {"type": "string", "enum": [one.value for one in Met]},
                        "evidence": _TEXT,
                    },
                },
            },
            "unverified": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["item", "done"],
                    "properties": {"item": _TEXT, "done": _TEXT},
                },
            },
        },
    }
)


def _bounded(value: object) -> object:
    return value.strip()[:_LONG] if isinstance(value, str) else value


def _word(value: object) -> object:
    return value.strip().casefold() if isinstance(value, str) else value


def _first(value: object) -> object:
    return value[:_MOST] if isinstance(value, list) else value


_Text = Annotated[str, BeforeValidator(_bounded)]
_Said = Annotated[str, BeforeValidator(_bounded), Field(min_length=1)]


class _Finding(BaseModel):
    severity: Annotated[Severity, BeforeValidator(_word)]
    what: _Said
    file: _Text = ""
    line: int | None = Field(default=None, le=_NUMBERED)
    why: _Text = ""
    verify: _Text = ""


class _Criterion(BaseModel):
    criterion: _Said
    met: Annotated[Met, BeforeValidator(_word)]
    evidence: _Text = ""


class _Unverified(BaseModel):
    item: _Said
    done: _Text = ""


class _Answer(BaseModel):
    verdict: Annotated[Verdict, BeforeValidator(_word)]
    summary: _Text = ""
    findings: Annotated[tuple[_Finding, ...], BeforeValidator(_first)] = ()
    criteria: Annotated[tuple[_Criterion, ...], BeforeValidator(_first)] = ()
    unverified: Annotated[tuple[_Unverified, ...], BeforeValidator(_first)] = ()


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a reviewer says: its verdict, and what that rests on.

    `unverified` is what it could not check, with what it did about that.
    """

    approves: bool
    summary: str
    findings: tuple[Finding, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    unverified: tuple[tuple[str, str], ...] = ()

    @property
    def blocks(self) -> bool:
        """Whether something in it has to be mended, whatever its verdict is."""
        unmet = any(one.met is Met.NO for one in self.criteria)
        return unmet or any(one.blocks for one in self.findings)


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why an answer cannot be taken as it is; what the reviewer is told, a line each.

    `opinion` is what it comes to where it can be read and does not agree with itself.
    """

    problems: tuple[str, ...]
    opinion: Opinion | None = None


def read_opinion(answer: Json, criteria: Sequence[str]) -> Opinion | Unusable:
    """Read a reviewer's answer; one that contradicts itself or leaves something out is unusable.

    Args:
        answer: what it answered.
        criteria: the criteria that it was asked to judge.
    """
    if answer is None:
        return Unusable(("there was no answer in the form that was asked for",))
    try:
        read = _Answer.model_validate(answer)
    except ValidationError as error:
        return Unusable(
            tuple(
                f"{'.'.join(map(str, one['loc'])) or 'the answer'}: {one['msg']}"
                for one in error.errors(include_url=False)[:_MOST]
            )
        )
    if read.verdict is Verdict.NONE:
        return Unusable(("verdict: it is either approved or rejected",))
    opinion = _opinion(read)
    problems = tuple(_contradictions(opinion, criteria))
    return Unusable(problems, opinion) if problems else opinion


def _opinion(read: _Answer) -> Opinion:
    return Opinion(
        approves=read.verdict is Verdict.APPROVED,
        summary=read.summary,
        findings=tuple(
            Finding(
                severity=one.severity,
                what=one.what,
                file=_path(one.file),
                line=one.line if one.line and one.line > 0 else None,
                why=one.why,
                verify=one.verify,
            )
            for one in read.findings
        ),
        criteria=tuple(Criterion(one.criterion, one.met, one.evidence) for one in read.criteria),
        unverified=tuple((one.item, one.done) for one in read.unverified),
    )


def _path(text: str) -> str:
    """Return a path as the repository has it; nothing where it leads out of it."""
    path = text.strip().removeprefix("./")
    outside = path.startswith(("/", "~")) or ".." in path.split("/") or "\n" in path
    return "" if outside else path


def _contradictions(opinion: Opinion, criteria: Sequence[str]) -> Iterator[str]:
    blocking = [one for one in opinion.findings if one.blocks]
    unmet = [one.text for one in opinion.criteria if one.met is Met.NO]
    if opinion.approves and blocking:
        yield (
            f"you approve, and have {len(blocking)} findings that are critical or major: reject, or"
            " call those minor that may stay"
        )
    if opinion.approves and unmet:
        yield f"you approve, and say that this is not met: {'; '.join(unmet)}"
    if not opinion.approves and not blocking:
        yield "you reject, and have no finding that is critical or major: say what has to be mended"
    missing = len(criteria) - len(opinion.criteria)
    if missing > 0:
        yield f"{missing} of the {len(criteria)} criteria are not among those that you judge"


# --- the verdict ---------------------------------------------------------------------------------


def settle(
    opinion: Opinion,
    items: Sequence[ItemResult],
    *,
    round_: int,
    commit: str,
    by: str,
    notes: Sequence[str] = (),
) -> Review:
    """Return the review that an opinion and what was run come to.

    Approved is only what the reviewer approves, and in which nothing that was run is red.
    """
    red = tuple(_found(one) for one in items if one.state is ItemState.FAILED and one.required)
    findings = {one.key: one for one in (*red, *opinion.findings, *_unmet(opinion))}
    blocked = any(one.blocks for one in findings.values())
    told = list(notes)
    if opinion.approves and red:
        told.append(f"{by} approved although {len(red)} of what was run is red: that counts")
    if not opinion.approves and not blocked:
        return Review(
            round=round_,
            commit=commit,
            verdict=Verdict.NONE,
            by=by,
            why=f"{by} rejected it and named nothing that has to be mended",
            summary=opinion.summary,
            items=tuple(items),
            notes=tuple(told),
        )
    return Review(
        round=round_,
        commit=commit,
        verdict=Verdict.REJECTED if blocked else Verdict.APPROVED,
        by=by,
        summary=opinion.summary,
        findings=tuple(findings.values()),
        criteria=opinion.criteria,
        items=_with_words(items, opinion),
        notes=tuple(told),
    )


def _found(one: ItemResult) -> Finding:
    return Finding(
        severity=Severity.CRITICAL,
        what=f"{one.what}: {one.note}",
        why=one.output.strip(),
        verify="it is run again in the next review",
        source=Source.CHECK,
        command=one.command,
        chunk=one.chunk,
    )


def _unmet(opinion: Opinion) -> Iterator[Finding]:
    """Yield the criteria that are not met, where no finding says so yet."""
    if any(one.blocks for one in opinion.findings):
        return
    for one in opinion.criteria:
        if one.met is Met.NO:
            yield Finding(severity=Severity.MAJOR, what=f"not met: {one.text}", why=one.evidence)


def _with_words(items: Sequence[ItemResult], opinion: Opinion) -> tuple[ItemResult, ...]:
    """Return the items with what the reviewer says it did about those that nothing could run."""
    said = {" ".join(item.casefold().split()): done for item, done in opinion.unverified}

    def words(one: ItemResult) -> str:
        found = said.get(one.item.casefold()) or said.get(" ".join(one.what.casefold().split()))
        return f"{one.note}; the reviewer: {found}" if found else one.note

    return tuple(
        replace(one, note=words(one)) if one.state is ItemState.UNVERIFIED else one for one in items
    )
