"""What an agent's draft is worth: plans and specifications, read and held to the rules.

What an agent answers counts as little as any file from outside: it is read by the very functions
that read what people write.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from auto_build.core import dialects
from auto_build.core.document import Json, PlanRefused, as_list, as_text, load_document, pick
from auto_build.core.estimate import speedups
from auto_build.core.plan import Plan, VerificationKind
from auto_build.core.planfile import MARK, PlanFile, read_plan
from auto_build.core.usage import Usage, total
from auto_build.schemas import load_plan_schema

DRAFTED_BY: Final = "drafted_by"  # the plan's key that says who drafted it
_SLOW: Final = 1.5  # a plan of some size that gains less from four workers is pointed out
_SOME: Final = 4
_SLUG_LIMIT: Final = 40
_OPEN_POINTS: Final = "## Open points"

SPEC_SCHEMA: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "type": "object",
        "required": ["title", "slug", "spec_markdown", "questions"],
        "properties": {
            "title": {"type": "string", "minLength": 1},
            "slug": {"type": "string", "minLength": 1},
            "spec_markdown": {"type": "string", "minLength": 1},
            "questions": {"type": "array", "items": {"type": "string"}},
        },
    }
)


# --- drafts ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Author:
    """Who drafted something, in how many rounds, and what each of its conversations used up."""

    agent: str
    model: str
    rounds: int
    usage: Mapping[str, Usage] = field(default_factory=dict)

    @property
    def used(self) -> Usage:
        """What it used up in all."""
        return total(self.usage.values())

    def as_note(self) -> dict[str, Json]:
        """Return what a file says of it."""
        used = self.used
        return {
            "agent": self.agent,
            "model": self.model,
            "rounds": self.rounds,
            "tokens": used.tokens or None,
            "cost_usd": used.cost_usd,
        }


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan that can be run. `advice` is what may not be meant, and the planner left so."""

    file: PlanFile
    advice: tuple[str, ...]
    author: Author

    @property
    def text(self) -> str:
        """The plan file's text, with a note of who drafted it."""
        phases = self.file.document["phases"]
        head = {key: value for key, value in self.file.document.items() if key != "phases"}
        document = {**head, DRAFTED_BY: self.author.as_note(), "phases": phases}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True)
class SpecDraft:
    """A specification in its first or last form; `questions` are those that are open."""

    title: str
    slug: str
    markdown: str
    questions: tuple[str, ...]
    wish: str
    author: Author

    @property
    def text(self) -> str:
        """The specification's text; what is open stands at its end."""
        text = self.markdown.strip()
        if self.questions and _OPEN_POINTS.casefold() not in text.casefold():
            points = "\n".join(f"- {question}" for question in self.questions)
            text = f"{text}\n\n{_OPEN_POINTS}\n\n{points}"
        return text + "\n"


def outline(wish: str) -> SpecDraft:
    """Return the skeleton of a specification, made without any agent."""
    title = wish.strip().partition("\n")[0].rstrip(".")
    markdown = _SKELETON.format(title=title, wish=wish.strip())
    return SpecDraft(title, slug_of(wish), markdown, (), wish, Author("", "", 0))


_SKELETON: Final = """\
# {title}

{wish}

## What it does

What can be seen from outside, with an example of input and output.

## Edge cases and errors

What can go wrong, and what happens then.

## What it touches

Modules, commands and formats of this repository, by their paths.

## Acceptance

- [ ] something that can be checked

## Not part of it
"""


def slug_of(text: str) -> str:
    """Return a folder's name for a text: its first four words, in ASCII."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().casefold()
    words = re.findall(r"[a-z0-9]+", plain)[:4]
    return "-".join(words)[:_SLUG_LIMIT].strip("-") or "feature"


def plan_schema() -> dict[str, Any]:
    """Return the schema of a plan as a planner writes it: without what only the tool writes."""
    schema = load_plan_schema()
    chunk = schema["$defs"]["chunk"]["properties"]
    for key in ("status", MARK):
        chunk.pop(key, None)
    for key in ("$schema", "$id"):
        schema.pop(key, None)
    return schema


def plan_form() -> str:
    """Return the form of a plan in words: an example, and its schema."""
    schema = plan_schema()
    (example,) = schema.pop("examples")
    shown = json.dumps(example, indent=2)
    return f"{shown}\n\nIts JSON Schema:\n\n{json.dumps(schema)}"


# --- answers --------------------------------------------------------------------------------------


def read_answer(answer: Json, *, ordered_phases: bool = False) -> PlanFile | tuple[str, ...]:
    """Return the plan in an agent's answer, or everything that is wrong with it.

    What the answer says of progress is left out: nothing has been done yet.
    """
    if answer is None:
        return ("no plan came: answer with the plan as one JSON object, and nothing else",)
    text = answer if isinstance(answer, str) else json.dumps(answer)
    try:
        document = load_document(text)
        for phase in as_list(document.get("phases")):
            for chunk in as_list(pick(phase, dialects.CHUNKS)[1]):
                _forget_progress(chunk)
        return read_plan(json.dumps(document), ordered_phases=ordered_phases)
    except PlanRefused as refused:
        return tuple(map(str, refused.problems))


def _forget_progress(chunk: Json) -> None:
    if isinstance(chunk, dict):
        for key in ("status", MARK):
            chunk.pop(key, None)


def find_advice(file: PlanFile) -> tuple[str, ...]:
    """Return what keeps a valid plan from running side by side, and what nobody can check."""
    found = [str(hint) for hint in file.hints]
    found.extend(
        f"chunk {chunk.id!r} has no command that shows that it is done"
        for chunk in file.plan.chunks.values()
        if chunk.verification.kind is not VerificationKind.COMMAND
    )
    found.extend(_slowness(file.plan))
    return tuple(found)


def _slowness(plan: Plan) -> Iterator[str]:
    gain = speedups(plan, _SOME)[_SOME]
    if len(plan.chunks) >= _SOME and gain < _SLOW:
        yield (
            f"{_SOME} agents would end it only {gain:.2f} times sooner than one: see whether chunks"
            " can be cut so that more of them start at once"
        )


def read_spec_answer(answer: Json, wish: str, author: Author) -> SpecDraft | None:
    """Return the specification in an agent's answer, if there is one."""
    if not isinstance(answer, Mapping):
        return None
    markdown = as_text(answer.get("spec_markdown"))
    if not markdown:
        return None
    title = as_text(answer.get("title")) or wish
    questions = tuple(text for one in as_list(answer.get("questions")) if (text := as_text(one)))
    slug = slug_of(as_text(answer.get("slug")) or title)
    return SpecDraft(title, slug, markdown, questions, wish, author)


def with_answers(draft: SpecDraft, told: Sequence[tuple[str, str]]) -> str:
    """Return a specification's text with answers to its questions put behind it."""
    answered = [f"- {question}\n  {answer}" for question, answer in told if answer]
    if not answered:
        return draft.markdown
    return "\n\n".join([draft.markdown.strip(), "## Answers", "\n".join(answered)])
