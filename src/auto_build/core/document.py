"""A plan file's text as a JSON document, or in words why it is none; and how to look into one."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from typing_extensions import override

Json = Any  # a plain JSON value: checked where it is read
_SHOWN: Final = 80
_DEEPEST: Final = 100  # levels of nesting
_UNFIT: Final = re.compile("[\0\ud800-\udfff]")  # no program takes a NUL, no file half a character


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that must be mended before the plan can be run."""

    path: str
    what: str
    value: str
    suggestion: str

    @override
    def __str__(self) -> str:
        shown = f" ({self.value})" if self.value else ""
        return f"{self.path}: {self.what}{shown}. {self.suggestion}"


class PlanRefused(ValueError):
    """The file is no plan; `problems` says why, all at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def load_document(text: str) -> dict[str, Json]:
    """Return the JSON object in `text`.

    Raises:
        PlanRefused: it is not JSON, or not an object.
    """
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise PlanRefused(
            [Problem("$", "the file is empty", "", "write a plan with phases and chunks")]
        )
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise PlanRefused([_not_json(text, error)]) from error
    except RecursionError as error:
        raise PlanRefused([_TOO_DEEP]) from error
    except ValueError as error:  # a number of thousands of digits
        raise PlanRefused([Problem("$", f"is not JSON: {error}", "", "mend it")]) from error
    if unfit := _find_unfit(document):
        raise PlanRefused([unfit])
    if not isinstance(document, dict):
        wrong = Problem("$", "is not a JSON object", shorten(document), 'begin with {"phases": [')
        raise PlanRefused([wrong])
    return document


_TOO_DEEP: Final = Problem("$", "is nested too deeply to be a plan", "", "restore the file")


def _find_unfit(document: Json) -> Problem | None:
    """Find what Python's JSON takes and no file can hold: it could not be written back."""
    level: list[tuple[str, Json]] = [("$", document)]
    for _ in range(_DEEPEST):
        below: list[tuple[str, Json]] = []
        for path, value in level:
            if isinstance(value, str) and (found := _UNFIT.search(value)):
                what = "a NUL" if found[0] == "\0" else "half of a character"
                return Problem(path, f"holds {what}", ascii(value), "write it anew")
            if isinstance(value, float) and not math.isfinite(value):
                return Problem(path, "is no number that JSON knows", str(value), "write a number")
            if isinstance(value, dict):
                below.extend((path, key) for key in value)
                below.extend((f"{path}.{key}", one) for key, one in value.items())
            elif isinstance(value, list):
                below.extend((f"{path}[{i}]", one) for i, one in enumerate(value))
        if not below:
            return None
        level = below
    return _TOO_DEEP


def _not_json(text: str, error: json.JSONDecodeError) -> Problem:
    lines = text.splitlines() or [""]
    line = lines[min(error.lineno, len(lines)) - 1]
    advice = "mend the JSON there"
    if any(one.startswith(("<<<<<<< ", ">>>>>>> ")) for one in lines):
        advice = "the file holds git conflict markers: resolve them, then try again"
    elif error.pos >= len(text.rstrip()) or _opens_no_end(text[error.pos :]):
        advice = "the file seems to be cut off: restore its end"
    where = f"line {error.lineno}, column {error.colno}"
    return Problem("$", f"is not JSON: {error.msg} at {where}", shorten(line.strip()), advice)


def _opens_no_end(rest: str) -> bool:
    return rest.startswith('"') and rest.count('"') == 1


def shorten(value: Json) -> str:
    """Return a value as a message shows it: as text, cut at a bound."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def pick(value: Json, keys: Sequence[str]) -> tuple[str, Json]:
    """Return the first of `keys` that holds something, with its value; else the first, None."""
    if isinstance(value, dict):
        for key in keys:
            if value.get(key) is not None:
                return key, value[key]
    return keys[0], None


def as_list(value: Json) -> list[Json]:
    """Return a list as it is, and none of anything else."""
    return value if isinstance(value, list) else []


def as_text(value: Json) -> str:
    """Return any value as text: the lines of a list, a number in digits, nothing for null."""
    if isinstance(value, str):
        return value.strip()
    if value is None:
        return ""
    if isinstance(value, list):
        return "\n".join(as_text(one) for one in value)
    return str(value) if isinstance(value, int | float) else json.dumps(value, ensure_ascii=False)
