"""How screens spell things: times, and text from outside made harmless.

Invariant: whatever an agent, a plan or a path says comes out as printable characters on one line.
"""

import re
import time
import unicodedata
from typing import Final

from rich.cells import cell_len, set_cell_size

from auto_build.core.events import StraysFound
from auto_build.core.usage import CostSource, Usage

_STRAYS_SHOWN: Final = 20
_ESCAPES: Final = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\|$)"  # titles, links, the clipboard
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\|$)"
    r"|\x9b[0-?]*[ -/]*[@-~]|\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]*[0-~]"
)
_LIMIT: Final = 2_000  # characters of one text that are looked at


def clean(text: str) -> str:
    """Return `text` on one line, without escape sequences, control or invisible characters."""
    bare = _ESCAPES.sub("", text[:_LIMIT])
    return " ".join("".join(_harmless(char) for char in bare).split())


def harmless(text: str) -> str:
    """Return `text` with its lines and spaces, without escape sequences and control characters."""
    lines = (_ESCAPES.sub("", line.expandtabs()) for line in text.split("\n"))
    return "\n".join("".join(_harmless(char) for char in line) for line in lines)


def revealed(text: str) -> str:
    """Return `text` with its lines and tabs, and a name for each character that cannot be seen.

    For code, where what is left out could be what matters: marks of direction, a lone return.
    """
    if text.isprintable():
        return text
    return "".join(char if char in "\n\t" else _revealed(char) for char in text)


def clean_lines(text: str, *, most: int) -> list[str]:
    """Return the first `most` lines of `text` that say anything, each of them clean."""
    lines = (clean(line) for line in text.splitlines())
    return [line for line in lines if line][:most]


def clip(text: str, width: int) -> str:
    """Return `text` in at most `width` columns, its end cut off with an ellipsis."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def pad(text: str, width: int) -> str:
    """Return `text` in exactly `width` columns."""
    return set_cell_size(clip(text, width), max(width, 0))


def listed(items: list[str], *, most: int = 4) -> str:
    """Return items in a row, those after the first `most` as a number."""
    more = [f"{len(items) - most} more"] if len(items) > most else []
    return ", ".join([*items[:most], *more])


def stray_words(event: StraysFound) -> str:
    """Return what was changed outside the slots, while whom, and what became of it."""
    by = f"by one of {listed(list(event.chunks))}" if len(event.chunks) > 1 else ""
    back = f"put back: {listed(list(event.back), most=_STRAYS_SHOWN)}" if event.back else ""
    told = f"left as it is: {listed(list(event.told), most=_STRAYS_SHOWN)}" if event.told else ""
    kept = f"what was there is kept: {event.kept}" if event.kept else ""
    return "; ".join(part for part in (by, back, told, kept) if part)


def place(slot: int) -> str:
    """Return where an agent works."""
    return f"worker {slot}" if slot else "in staging"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, as in `1 chunk` and `2 chunks`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def clock(seconds: float) -> str:
    """Return a time that runs, as in `0:42` and `1:02:03`."""
    minutes, rest = divmod(max(int(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def span(seconds: float) -> str:
    """Return a time that was measured, as in `12.3s`, `3m 05s` and `1h 02m`."""
    if seconds < 60:
        return f"{max(seconds, 0):.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {rest:02}s"


def about(seconds: float) -> str:
    """Return a time that is guessed, no finer than the guess is good."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than 1 min"
    if minutes < 90:
        return f"about {minutes} min"
    return f"about {minutes / 60:.1f} h"


def time_of_day(at: float) -> str:
    """Return a time in seconds since the epoch as clocks show it here, with its day."""
    return time.strftime("%a %H:%M", time.localtime(at))


def dollars(cost: float) -> str:
    """Return an amount of money: cents, and finer where it is less than ten of them."""
    return f"${cost:.2f}" if cost >= 0.1 or cost == 0 else f"${cost:.4f}"


def tokens(number: int) -> str:
    """Return a number of tokens, as in `950 tokens` and `12.3k tokens`."""
    if number < 1_000:
        return f"{number} tokens"
    return f"{number / 1_000:.1f}k tokens" if number < 1_000_000 else f"{number / 1e6:.2f}M tokens"


def used(usage: Usage) -> str:
    """Return what was used up, in money and tokens; nothing where that was nothing."""
    if not usage:
        return ""
    parts = [] if usage.cost_usd is None else [dollars(usage.cost_usd)]
    return ", ".join([*parts, tokens(usage.tokens)])


def source(usage: Usage) -> str:
    """Say where the figure of the money comes from."""
    match usage.source:
        case CostSource.AGENT:
            return "as the agents say"
        case CostSource.PRICED:
            return "by the prices in the settings"
        case CostSource.UNKNOWN if usage.cost_usd is None:
            return "what it cost is not known"
        case CostSource.UNKNOWN:
            return "a part of what it cost is not known"


def _harmless(char: str) -> str:
    match unicodedata.category(char):
        case "Cf":  # joins, marks of direction: they can make a line read otherwise than it is
            return ""
        case "Cs":  # a byte of a path that is no UTF-8
            return "�"
        case "Cc" | "Zl" | "Zp":
            return " "
        case _:
            return char


def _revealed(char: str) -> str:
    match unicodedata.category(char):
        case "Cs":
            return "�"
        case "Cc" | "Cf" | "Zl" | "Zp":
            return f"⟨U+{ord(char):04X}⟩"
        case _:
            return char
