"""Records a terminal program as an animated SVG: `python tools/record.py OUT -- COMMAND ...`.

The command runs in tmux on a screen of a fixed size; the screen is looked at several times a second
and each picture that differs from the one before becomes a frame. The SVG plays the frames in a
loop with CSS, loads nothing from anywhere, and shows one frame where nothing can move.
"""

import argparse
import asyncio
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from auto_build.process import Processes

COLUMNS: Final = 80
LINES: Final = 24
_EVERY_S: Final = 0.2
_LIMIT_S: Final = 600.0
_LAST_S: Final = 6.0  # how long the last frame is shown before the loop begins anew
_LONGEST_S: Final = 1.5  # how long any other frame is shown
_CELL: Final = 8.4
_ROW: Final = 18
_SIZE: Final = 14
_PAD: Final = 14
_BAR: Final = 30
_DIM: Final = 0.6
_FONTS: Final = (
    "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace"
)
_THEME: Final = TerminalTheme(
    (22, 27, 34),
    (214, 220, 228),
    [
        (72, 79, 88),
        (255, 123, 114),
        (86, 211, 100),
        (227, 179, 65),
        (121, 192, 255),
        (210, 168, 255),
        (86, 212, 221),
        (214, 220, 228),
    ],
)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of the screen, as lines with ANSI codes, and the seconds it was seen at."""

    at: float
    lines: tuple[str, ...]


async def record(command: Sequence[str], title: str) -> list[Frame]:
    """Run a command in tmux and return what its screen showed, each picture once.

    Args:
        command: the program and its arguments.
        title: what is shown as typed, in the first line.
    """
    processes = Processes()
    name = f"record-{os.getpid()}"

    async def tmux(*args: str, ok: Sequence[int] = (0,)) -> str:
        done = await processes.run(
            "tmux", "-L", name, "-f", "/dev/null", *args, cwd=Path.cwd(), env=os.environ, ok=ok
        )
        return done.stdout

    typed = f"printf '%s\\n' {shlex.quote(f'$ {title}')}; {shlex.join(command)}; sleep 1; exec true"
    size = ("-x", str(COLUMNS), "-y", str(LINES))
    await tmux("new-session", "-d", "-s", name, *size, f"bash -c {shlex.quote(typed)}")
    frames: list[Frame] = []
    begun = monotonic()
    while monotonic() - begun < _LIMIT_S:
        screen = await tmux("capture-pane", "-e", "-p", "-t", name, ok=(0, 1))
        if not screen:
            break
        lines = tuple(screen.rstrip("\n").split("\n")[:LINES])
        if not frames or frames[-1].lines != lines:
            frames.append(Frame(monotonic() - begun, lines))
        await asyncio.sleep(_EVERY_S)
    await tmux("kill-server", ok=(0, 1))
    return frames


def without(frames: Sequence[Frame], first: str, last: str) -> list[Frame]:
    """Return the frames but for those between the two that first show these texts."""
    kept: list[Frame] = []
    gone, cutting, over = 0.0, False, not first
    previous = 0.0
    for frame in frames:
        shown = "\n".join(frame.lines)
        if not over and not cutting and first in shown:
            cutting = True
        if cutting and last in shown:
            cutting, over = False, True
        if cutting:
            gone += frame.at - previous
        else:
            kept.append(Frame(frame.at - gone, frame.lines))
        previous = frame.at
    return kept


def render(frames: Sequence[Frame], title: str) -> str:
    """Return an SVG that plays the frames."""
    width = round(COLUMNS * _CELL + 2 * _PAD)
    height = LINES * _ROW + 2 * _PAD + _BAR
    known: dict[str, str] = {}
    pictures = "".join(_picture(frame, i, width, known) for i, frame in enumerate(frames))
    rows = "".join(f'<g id="{name}">{row}</g>' for row, name in known.items())
    background, text = _hex(_THEME.background_color), _hex(_THEME.foreground_color)
    dots = "".join(
        f'<circle cx="{18 + 18 * i}" cy="17" r="5.5" fill="{colour}"/>'
        for i, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    last = -(len(frames) - 1) * width
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img" xml:space="preserve"><title>{escape(title)}</title>'
        f"<style>text{{font:{_SIZE}px {_FONTS};white-space:pre;fill:{text}}}"
        f".b{{font-weight:700}}.u{{text-decoration:underline}}"
        f"{_keyframes(frames, width)}</style>"
        f'<rect width="{width}" height="{height}" rx="8" fill="{background}"/>{dots}'
        f'<text x="{width // 2}" y="22" text-anchor="middle" opacity="{_DIM}">{escape(title)}'
        f'</text><defs>{rows}</defs><svg x="0" y="{_BAR}" width="{width}"'
        f' height="{height - _BAR}"><g class="film" transform="translate({last} 0)">{pictures}</g>'
        "</svg></svg>\n"
    )


def _keyframes(frames: Sequence[Frame], width: int) -> str:
    lengths = [min(b.at - a.at, _LONGEST_S) for a, b in pairwise(frames)] + [_LAST_S]
    whole = sum(lengths)
    at, steps = 0.0, []
    for i, length in enumerate(lengths):
        steps.append(f"{100 * at / whole:.3f}%{{transform:translateX({-i * width}px)}}")
        at += length
    steps.append(f"100%{{transform:translateX({-(len(frames) - 1) * width}px)}}")
    return (
        f"@keyframes film{{{''.join(steps)}}}"
        "@media (prefers-reduced-motion:no-preference)"
        f"{{.film{{animation:film {whole:.2f}s step-end infinite}}}}"
    )


def _picture(frame: Frame, number: int, width: int, known: dict[str, str]) -> str:
    rows = []
    for line, raw in enumerate(frame.lines):
        if row := "".join(_runs(raw)):
            name = known.setdefault(row, f"r{len(known)}")
            rows.append(f'<use href="#{name}" y="{line * _ROW + _PAD + _SIZE}"/>')
    return f'<g transform="translate({number * width + _PAD} 0)">{"".join(rows)}</g>'


def _runs(raw: str) -> Iterator[str]:
    """Yield one text element for each run of one style, held to its columns."""
    console = Console(width=COLUMNS * 2, color_system="truecolor")
    column = 0
    for segment in Segment.simplify(Text.from_ansi(raw).render(console)):
        words = segment.text.rstrip("\n")
        shown = words.lstrip(" ")
        start = column + len(words) - len(shown)
        column += cell_len(words)
        if shown.strip():
            shown = shown.rstrip()
            held = f'textLength="{cell_len(shown) * _CELL:g}" lengthAdjust="spacingAndGlyphs"'
            looks = _attributes(segment.style)
            yield f'<text x="{start * _CELL:g}" {held}{looks}>{escape(shown)}</text>'


def _attributes(style: Style | None) -> str:
    if style is None:
        return ""
    classes = " ".join(name for name, on in (("b", style.bold), ("u", style.underline)) if on)
    shade = style.color
    colour = shade.get_truecolor(_THEME) if shade and not shade.is_default else None
    return "".join(
        (
            f' class="{classes}"' if classes else "",
            f' style="fill:{_hex(tuple(colour))}"' if colour else "",
            f' opacity="{_DIM}"' if style.dim else "",
        )
    )


def _hex(colour: tuple[int, ...]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="the SVG to write")
    parser.add_argument("--title", default="", help="what is shown as typed; else the command")
    parser.add_argument(
        "--cut",
        nargs=2,
        default=("", ""),
        metavar=("FROM", "TO"),
        help="leave out the frames from the first that shows FROM to the first that shows TO",
    )
    parser.add_argument(
        "--replace",
        nargs=2,
        action="append",
        default=[],
        metavar=("PATTERN", "TEXT"),
        help="write TEXT for what fits PATTERN: for the names of temporary folders",
    )
    parser.add_argument("command", nargs="+", help="what to run")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Record a command and write the SVG."""
    given = _arguments(argv)
    title = given.title or shlex.join(given.command)
    frames = without(asyncio.run(record(given.command, title)), *given.cut)
    for pattern, text in given.replace:
        frames = [
            Frame(frame.at, tuple(re.sub(pattern, text, line) for line in frame.lines))
            for frame in frames
        ]
    if not frames:
        sys.stderr.write("nothing was shown: does the command run by itself?\n")
        return 1
    svg = render(frames, title)
    given.out.write_text(svg, encoding="utf-8")
    sys.stderr.write(f"{given.out}: {len(frames)} frames, {len(svg.encode()) // 1024} kB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
