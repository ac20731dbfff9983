"""Why an agent stopped, judged from what it answers over the Agent Client Protocol. Pure.

A prompt that failed comes back as a JSON-RPC error whose code means little, or even as an end like
any other with the failure beside it. So codes decide first, then the HTTP status of the model's
service, and last the words, which are all that some agents pass on.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from auto_build.agents.acp.reading import Json, as_map, as_text, shorten
from auto_build.agents.base import Ended, Stop
from auto_build.agents.words import asks, find_answer, find_reset, is_plain, why_in_words

_DETAIL: Final = 600
_TEXT: Final = 4_000  # characters of a failure that are looked at
_NOT_STARTED: Final = 127
_SIGNALLED: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong, as the agent tells it: a JSON-RPC code, or the category of a failure."""

    text: str
    code: int | None = None
    category: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a prompt came to its end.

    `said` is all that the agent said; `used_tools` tells whether it used any, `changed` whether one
    that writes or runs did its work; `refused` is why it was last not allowed to do something,
    where nothing came after that.
    """

    stop_reason: str = ""
    failure: Failure | None = None
    said: str = ""
    used_tools: bool = False
    changed: bool = False
    interrupted: bool = False
    refused: str = ""
    wants_answer: bool = False


def judge(report: Report, *, now: float) -> Ended:
    """Return why the agent stopped. `now` is in seconds since the epoch."""
    if report.interrupted and (report.failure or report.stop_reason == "cancelled"):
        return Ended(stop=Stop.INTERRUPTED, detail="it was asked to stop")
    if report.failure:
        return _failed(report.failure, now)
    match report.stop_reason:
        case "end_turn":
            return _done(report)
        case "max_tokens":
            return Ended(stop=Stop.CONTEXT_FULL, detail="it reached its limit of tokens")
        case "max_turn_requests":
            return Ended(stop=Stop.MAX_TURNS, detail="it took all its turns")
        case "refusal":
            return Ended(stop=Stop.REFUSED, detail=_said(report) or "its model refused to go on")
        case "cancelled" if report.refused:
            return Ended(
                stop=Stop.ERROR, detail=f"it stopped when it was refused: {report.refused}"
            )
        case other:
            return Ended(stop=Stop.ERROR, detail=f"it stopped without being done ({other or '?'})")


def _done(report: Report) -> Ended:
    if report.wants_answer:
        answer = find_answer(report.said)
        if answer is not None:
            return Ended(stop=Stop.DONE, answer=answer)
        said = f"; it said: {_said(report)}" if report.said.strip() else ""
        return Ended(
            stop=Stop.ERROR, detail=f"it ended without the answer that was asked for{said}"
        )
    if not report.said.strip() and not report.used_tools:  # so Gemini ends when its model refuses
        return Ended(stop=Stop.ERROR, detail="it said nothing and did nothing")
    if asks(report.said) and not report.changed:
        return Ended(stop=Stop.NEEDS_INPUT, detail=_said(report))
    return Ended(stop=Stop.DONE)


def _said(report: Report) -> str:
    return shorten(report.said.strip()[-_DETAIL:], _DETAIL)


# --- failures ------------------------------------------------------------------------------------

_CODES: Final[Mapping[int, Stop]] = MappingProxyType(
    {
        -32000: Stop.AUTH,  # the protocol's: authentication required
        -31001: Stop.RATE_LIMIT,  # from here on those of Vibe
        -31002: Stop.AUTH,
        -31004: Stop.CONTEXT_FULL,
        -31005: Stop.REFUSED,
    }
)
_CATEGORIES: Final[Mapping[str, Stop]] = MappingProxyType(
    {
        "access": Stop.AUTH,
        "limit": Stop.RATE_LIMIT,
        "connection": Stop.OVERLOADED,
        "service": Stop.OVERLOADED,
        "request": Stop.ERROR,
    }
)


def read_error(code: int, message: str, data: Any) -> Failure:
    """Return a JSON-RPC error as a failure, with the words that stand beside it."""
    told = as_map(data)
    beside = [as_text(told.get(key)) for key in ("details", "message", "errorName")]
    beside.append(data if isinstance(data, str) else "")
    words = [one for one in (message, *beside) if one]
    text = ": ".join(dict.fromkeys(words)) or f"error {code}"
    return Failure(text=text[:_TEXT], code=code)


def find_failure(meta: Json) -> Failure | None:
    """Return the failure that Codex puts beside an end or a report, where it is no mere warning."""
    air = as_map(as_map(meta.get("jetbrains")).get("air"))
    told = as_map(air.get("sessionFailure"))
    if told.get("severity") != "error":
        return None
    words = [as_text(told.get(key)) for key in ("title", "details")]
    text = ": ".join(one for one in words if one)
    return Failure(text=text[:_TEXT], category=as_text(told.get("category")))


def _failed(failure: Failure, now: float) -> Ended:
    stop = why(failure)
    reset_at = find_reset(failure.text, now=now) if stop is Stop.RATE_LIMIT else None
    return Ended(stop=stop, detail=_readable(failure.text), reset_at=reset_at)


def why(failure: Failure) -> Stop:
    """Return why the model's service, or the agent, did not go on."""
    if failure.code is not None and failure.code in _CODES:
        return _CODES[failure.code]
    status = failure.code if failure.code in range(400, 600) else None
    in_words = why_in_words(failure.text, status=status)
    if failure.category in _CATEGORIES and not is_plain(failure.text):
        return _CATEGORIES[failure.category]
    return in_words


def _readable(text: str) -> str:
    """Return a failure in words: the message, where the text is a JSON object around one."""
    try:
        told = json.loads(text)
    except ValueError:
        return shorten(text, _DETAIL)
    error = as_map(told).get("error")
    message = as_text(as_map(error).get("message")) or as_text(error)
    return shorten(message or text, _DETAIL)


def judge_exit(program: str, code: int | None, errors: str) -> Ended:
    """Return what it means that a program ended in the middle of a prompt.

    Args:
        program: what it is called.
        code: its exit code, 128 + n for signal n, negative where its guard was killed; None where
            it closed its output and goes on.
        errors: the end of what it wrote to standard error.
    """
    tail = f": {' '.join(errors.split())[-_DETAIL:]}" if errors.strip() else ""
    if code is None:
        what = f"{program} said nothing more"
    elif code < 0:
        what = f"the guard of {program} was killed"
    elif code == _NOT_STARTED:
        what = f"{program} could not be started"
    elif code > _SIGNALLED:
        what = f"{program} was ended by signal {code - _SIGNALLED}"
    else:
        what = f"{program} ended in the middle of its work (exit code {code})"
    return Ended(stop=Stop.CRASHED, detail=f"{what}{tail}")
