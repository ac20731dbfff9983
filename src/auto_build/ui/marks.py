"""Glyph, word and colour of everything that has a state. Never the colour alone, nor the glyph."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from auto_build.core.view import Label, View


@dataclass(frozen=True, slots=True)
class Mark:
    """How a state is shown."""

    glyph: str
    word: str
    style: str = ""


MARKS: Final[Mapping[Label, Mark]] = MappingProxyType(
    {
        Label.PENDING: Mark("·", "pending", "dim"),
        Label.WAITING: Mark("·", "waiting", "dim"),
        Label.RUNNING: Mark("●", "running", "cyan"),
        Label.REPAIRING: Mark("↻", "repairing", "yellow"),
        Label.QUEUED: Mark("○", "queued", "blue"),
        Label.CHECKING: Mark("◐", "checking", "blue"),
        Label.LANDING: Mark("▲", "landing", "green"),
        Label.PARKED: Mark("‖", "parked", "yellow"),
        Label.LANDED: Mark("✓", "landed", "green"),
        Label.SET_ASIDE: Mark("↷", "set aside", "yellow"),
        Label.SKIPPED: Mark("-", "skipped", "dim"),
        Label.FAILED: Mark("✗", "failed", "bold red"),
        Label.BLOCKED: Mark("!", "blocked", "red"),
        Label.UNDONE: Mark("↶", "undone", "yellow"),
    }
)
IDLE: Final = Mark("·", "idle", "dim")
WORD_WIDTH: Final = 9
_READABLE: Final = 20  # columns, below which text is cut off rather than folded
_FEW: Final = 4

_ASCII: Final = str.maketrans("·●↻○◐▲✓↷✗▶■→─…█▒░‖↶", "-*~o%^+>x>#>-.#+.=<")


def legible(text: Text, console: Console) -> Text:
    """Return `text` in characters that the console's encoding has, each in its place."""
    encoding = console.encoding
    if not encoding.startswith("utf"):
        text = text.copy()
        text.plain = text.plain.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    return text


@dataclass(frozen=True, slots=True)
class Sheet:
    """Lines laid out for the width that they are shown in."""

    layout: Callable[[int], Iterable[Text]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the lines out."""
        for line in self.layout(options.max_width):
            yield legible(line, console)


def numbers(view: View, *labels: Label) -> list[str]:
    """Return how many chunks are in each of these states, where there are any."""
    return [f"{number} {label.value}" for label in labels if (number := view.count(label))]


def hanging(start: Text, what: str, width: int) -> list[Text]:
    """Return what must be read whole: in a few lines, each beginning below the first."""
    indent = start.cell_len
    if width - indent < _READABLE:
        return [one_line(start, what)]
    body = Text(what).wrap(Console(width=width), width - indent, overflow="fold")[:_FEW]
    heads = [start, *[Text(" " * indent)] * (len(body) - 1)]
    return [one_line(head, line) for head, line in zip(heads, body, strict=True)]


def one_line(*parts: str | Text | tuple[str, str]) -> Text:
    """Return styled parts as a line that is cut off where the screen ends, and never wrapped."""
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")
