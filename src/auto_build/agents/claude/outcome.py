"""Why Claude stopped, judged from what its program reports and shows. Pure.

Structured fields decide. The texts of errors are made for people; two things are read from them
because they stand nowhere else: that the context is full, and when a usage limit ends.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from auto_build.agents.base import Ended, Stop

_TAIL: Final = 600
_NOT_STARTED: Final = 127
_SIGNALLED: Final = 128
_BUSY: Final = frozenset({500, 502, 503, 504, 529})
_REFUSED_KEY: Final = frozenset({401, 403})
_TOO_LARGE: Final = 413


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The program's own report of an end.

    `error` is the kind of the last failure of the model's service, in Claude's words; `status` its
    HTTP status. `reset_at` is the end of a usage limit that was reported, in seconds since the
    epoch. `asked` says that the agent put a question to a person, `changed` that a tool which
    writes or runs did its work.
    """

    subtype: str
    is_error: bool
    reason: str | None = None
    stop_reason: str | None = None
    status: int | None = None
    error: str | None = None
    text: str = ""
    errors: tuple[str, ...] = ()
    answer: Any = None
    wants_answer: bool = False
    reset_at: float | None = None
    asked: bool = False
    changed: bool = False


def judge(report: Report, *, now: float) -> Ended:
    """Return why Claude stopped. `now` is in seconds since the epoch."""
    if report.reason and report.reason.startswith("aborted"):
        return Ended(stop=Stop.INTERRUPTED, detail="it was asked to stop")
    if report.subtype == "error_max_turns":
        return Ended(stop=Stop.MAX_TURNS, detail=_words(report) or "it took all its turns")
    if report.subtype == "error_max_budget_usd":
        return Ended(stop=Stop.BUDGET, detail=_words(report) or "it spent all that it may")
    if report.is_error or report.subtype != "success":
        return _failed(report, now)
    if report.reason not in {None, "completed"}:
        return Ended(stop=Stop.ERROR, detail=f"it stopped without being done ({report.reason})")
    return _done(report)


def _done(report: Report) -> Ended:
    if report.wants_answer and report.answer is None:
        said = f"; it said: {_cut(report.text)}" if report.text else ""
        return Ended(
            stop=Stop.ERROR, detail=f"it ended without the answer that was asked for{said}"
        )
    if report.wants_answer:
        return Ended(stop=Stop.DONE, answer=report.answer)
    if report.asked or (report.text.rstrip().endswith("?") and not report.changed):
        return Ended(stop=Stop.NEEDS_INPUT, detail=_cut(report.text) or "it asked a question")
    return Ended(stop=Stop.DONE)


def _failed(report: Report, now: float) -> Ended:
    words = _words(report) or f"Claude reported {report.error or report.subtype}"
    stop = _why(report)
    if stop is Stop.RATE_LIMIT:
        reset_at = report.reset_at or find_reset(words, now=now)
        return Ended(stop=stop, detail=words, reset_at=reset_at)
    if report.error == "billing_error":
        words = f"the account cannot pay: {words}"
    return Ended(stop=stop, detail=words)


def _why(report: Report) -> Stop:
    """Return why the model's service, or the program, did not go on."""
    if report.stop_reason == "refusal":
        return Stop.REFUSED
    if report.reason == "prompt_too_long" or report.status == _TOO_LARGE or _is_full(report):
        return Stop.CONTEXT_FULL
    if report.error == "rate_limit":
        return Stop.RATE_LIMIT
    if report.error in {"authentication_failed", "billing_error"} or report.status in _REFUSED_KEY:
        return Stop.AUTH
    if report.error in {"server_error", "overloaded"} or report.status in _BUSY:
        return Stop.OVERLOADED
    return Stop.ERROR


def _is_full(report: Report) -> bool:
    return report.error == "max_output_tokens" and "context window" in report.text


def judge_exit(code: int, errors: str, *, started: bool) -> Ended:
    """Return what it means that the program ended without a report.

    Args:
        code: its exit code, 128 + n for signal n, negative where its guard was killed.
        errors: the end of what it wrote to standard error.
        started: whether it ever got ready to take a prompt.
    """
    tail = f": {_cut(errors)}" if errors.strip() else ""
    if code < 0:
        return Ended(stop=Stop.CRASHED, detail=f"the guard of claude was killed{tail}")
    if code == _NOT_STARTED:
        return Ended(stop=Stop.CRASHED, detail=f"claude could not be started{tail}")
    if code > _SIGNALLED:
        signal = code - _SIGNALLED
        return Ended(stop=Stop.CRASHED, detail=f"claude was ended by signal {signal}{tail}")
    if code and not started:
        return Ended(stop=Stop.ERROR, detail=f"claude would not begin (exit code {code}){tail}")
    return Ended(stop=Stop.CRASHED, detail=f"claude ended without a word (exit code {code}){tail}")


_JUST_NOW: Final = timedelta(minutes=10)
_EPOCH: Final = re.compile(r"\|(\d{10})\b")
_CLOCK: Final = re.compile(
    r"\bresets (?:at )?(1[0-2]|[1-9])(?::([0-5]\d))? ?([ap]m) \(([A-Za-z0-9_+/-]+)\)"
)


def find_reset(text: str, *, now: float) -> float | None:
    """Return when a limit ends, in seconds since the epoch, where a text says so beyond doubt.

    Older programs write the time as "|1735689600", newer ones as "resets 4pm (Europe/Berlin)". A
    time of day without its zone is not taken, nor is one with a date.
    """
    if found := _EPOCH.search(text):
        return float(found[1])
    clock = _CLOCK.search(text)
    zone = _zone(clock[4]) if clock else None
    if clock is None or zone is None:
        return None
    hour = int(clock[1]) % 12 + (12 if clock[3] == "pm" else 0)
    here = datetime.fromtimestamp(now, UTC).astimezone(zone)
    then = here.replace(hour=hour, minute=int(clock[2] or 0), second=0, microsecond=0)
    past = then < here - _JUST_NOW  # a limit that has ended this very moment is over
    return (then + timedelta(days=1) if past else then).timestamp()


def _zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return None


def _words(report: Report) -> str:
    """Return the failure in the program's words, without what it notes for its own makers."""
    said = [one for one in report.errors if not one.startswith("[ede_diagnostic]")]
    return _cut("; ".join(said) or report.text)


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _TAIL else f"{text[:_TAIL]}…"
