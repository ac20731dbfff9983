"""What agents and services say in words: why they stop, until when, what they left out. Pure.

Words are read where nothing else is to be had. The HTTP status of the model's service comes before
them, where it is known or stands among them.
"""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from auto_build.agents.base import Stop
from auto_build.core.events import Dropped

_ANSWER: Final = 256 * 1024  # characters at the end of what was said that may hold an answer
_TRIES: Final = 10_000  # braces that may turn out to begin no JSON object
_UNITS_S: Final[Mapping[str, float]] = MappingProxyType(
    {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
)


# --- why ----------------------------------------------------------------------------------------

_STATUS: Final[Mapping[int, Stop]] = MappingProxyType(
    {
        401: Stop.AUTH,
        403: Stop.AUTH,
        413: Stop.CONTEXT_FULL,
        429: Stop.RATE_LIMIT,
        500: Stop.OVERLOADED,
        502: Stop.OVERLOADED,
        503: Stop.OVERLOADED,
        504: Stop.OVERLOADED,
        529: Stop.OVERLOADED,
    }
)
_FULL: Final = re.compile(
    r"context.?(length|window|limit|overflow)|prompt is too long|too many tokens"
    r"|context (is |was )?too (long|large)|maximum (number of tokens|context)"
    r"|input token count|session too large",
    re.IGNORECASE,
)
_NO_MODEL: Final = re.compile(
    r"(?i)model[\w .:`'\"/-]{1,80}(not found|not exist|unknown|not supported)|model_not_found"
)
_NUMBER: Final = re.compile(r"(?<![\d.])(4\d\d|5\d\d)(?![\d.])")
_WORDS: Final[Mapping[Stop, re.Pattern[str]]] = MappingProxyType(
    {
        Stop.AUTH: re.compile(r"(?i)unauthenticated|unauthorized|api.?key|authenticat|\blog ?in\b"),
        Stop.RATE_LIMIT: re.compile(
            r"(?i)rate.?limit|too many requests|quota|usage limit|resource.?exhausted"
        ),
        Stop.OVERLOADED: re.compile(
            r"(?i)overload|high demand|unavailable|internal server error|server had an error"
            r"|timed? ?out|econnre|connection (reset|refused|error)|fetch failed"
        ),
    }
)


def is_plain(text: str) -> bool:
    """Say whether a text tells beyond doubt what is wrong: a full context, or an unknown model."""
    return bool(_FULL.search(text) or _NO_MODEL.search(text))


def why_in_words(text: str, *, status: int | None = None) -> Stop:
    """Return why somebody did not go on who says so in words; `status` is a service's, if known."""
    if _FULL.search(text):
        return Stop.CONTEXT_FULL
    if _NO_MODEL.search(text):
        return Stop.ERROR
    found = _NUMBER.search(text)
    number = status if status is not None else int(found[1]) if found else None
    if number is not None:
        return _STATUS.get(number, Stop.ERROR)
    return next((stop for stop, words in _WORDS.items() if words.search(text)), Stop.ERROR)


_RESET: Final = re.compile(
    r"(?:again|retry)[ a-z]{0,12} (?:in|after) "
    r"((?:\d{1,6}(?:\.\d{1,6})? ?[a-z]{1,12}[ ,]{0,2}(?:and )?){1,5})"
    r"|retry-?(?:delay|after)\W{1,5}(\d{1,9}(?:\.\d{1,6})?)(?:s\b|\b)",
    re.IGNORECASE,
)
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?) ?(ms|[smhd])", re.IGNORECASE)


def find_reset(text: str, *, now: float) -> float | None:
    """Return when a limit ends, in seconds since the epoch, where a text says how long it lasts.

    Services write "try again in 6m0s", "Please retry in 34.07s", or `retryDelay: "34s"`; agents
    "try again in 3 hours 20 minutes". A time of day is not taken: its zone and date are guesses.
    """
    found = _RESET.search(text)
    if found is None:
        return None
    if found[2]:
        return now + float(found[2])
    spans = _SPAN.findall(found[1])
    return (
        now + sum(float(size) * _UNITS_S[unit.lower()] for size, unit in spans) if spans else None
    )


# --- answers --------------------------------------------------------------------------


def ask_for_answer(text: str, schema: Mapping[str, Any]) -> str:
    """Return a prompt that asks for its answer as JSON: the protocol knows no other way."""
    return (
        f"{text}\n\nEnd with your answer: one JSON object and nothing after it. It must fit this"
        f" JSON Schema:\n\n```json\n{json.dumps(schema, indent=2)}\n```\n"
    )


def find_answer(said: str) -> dict[str, Any] | None:
    """Return the last JSON object in what was said, in a fence or not; None where there is none."""
    text, found, at, left = said[-_ANSWER:], None, 0, _TRIES
    decoder = json.JSONDecoder()
    while left and (at := text.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at, left = at + 1, left - 1
        else:
            found = value
    return found


# --- what was left out ----------------------------------------------------------------------------

_MOST_DROPPED: Final = 50
_DROPPED: Final = re.compile(  # as the prompts ask for it, each on a line of its own
    r"^[\s*`>-]{0,8}DROPPED:[ \t*`]{0,4}([^\n]{1,1000}?)[`*]{0,3}: {0,4}([^\s][^\n]{0,500})",
    re.MULTILINE,
)


def find_dropped(said: str) -> tuple[Dropped, ...]:
    """Return the files of which an agent says that it left lines out on purpose; the last counts.

    Its form is `DROPPED: path: reason`, each on a line of its own.
    """
    found = {path.strip(): reason.strip() for path, reason in _DROPPED.findall(said)}
    return tuple(Dropped(path, why) for path, why in list(found.items())[-_MOST_DROPPED:])


def asks(said: str) -> bool:
    """Say whether what was said ends with a question."""
    return said.rstrip().rstrip("*_`\"')").endswith("?")
