"""What a run shows while it goes on: a live block, lines, or JSON. Each is a listener of the run.

Time comes from the rich console, which can be given another clock.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

from rich.console import Console, ConsoleRenderable
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text
from typing_extensions import override

from auto_build.core import events as ev
from auto_build.core.codec import encode_event
from auto_build.core.view import View
from auto_build.journal import Record
from auto_build.ui.block import Scene, block_lines
from auto_build.ui.lines import describe
from auto_build.ui.marks import Sheet, legible
from auto_build.ui.rest import guess_end, next_up
from auto_build.ui.screens import Ways, status_table, summary
from auto_build.ui.words import clean, clock, listed
from auto_build.updates import Notice, Update

__all__ = [
    "JsonLines",
    "LineConsole",
    "LiveConsole",
    "Ways",
    "choose_console",
    "status_table",
    "summary",
]

_REFRESH_PER_S: Final = 4
_SILENCE_S: Final = 60.0
_LINE_LIMIT: Final = 500  # characters, where no screen sets a limit
_PACE_CHANGES: Final = (
    ev.CandidateLanded,
    ev.CandidateRejected,
    ev.CandidateConflicted,
    ev.AttemptEnded,
)


class LiveConsole:
    """Events scroll by above a block that shows how things stand."""

    def __init__(self, *, console: Console, slots: int, verbose: bool = False) -> None:
        self._console = console
        self._verbose = verbose
        self._scene = Scene(slots)
        self._drawn: tuple[int, ...] = ()
        self._live = _SteadyLive(self, console)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def __rich__(self) -> Sheet:
        """Return the block as it is now: asked for several times a second, from a thread."""
        scene, height = self._scene, self._console.height
        now = self._console.get_datetime().timestamp()

        def layout(width: int) -> list[Text]:
            lines = block_lines(scene, width=width, height=height, now=now)
            self._drawn = tuple(min(line.cell_len, width) for line in lines)
            return lines

        return Sheet(layout)

    def __call__(self, update: Update) -> None:
        """Show one step."""
        self._scene = _advance(self._scene, update)
        for line in describe(update):
            if self._verbose or not line.quiet:
                self._console.print(Sheet(line.layout))

    def overhang(self) -> int:
        """Return how many rows more the block takes up since the screen was made narrower."""
        width = max(self._console.width, 1)
        return sum(max(columns - 1, 0) // width for columns in self._drawn)


class _SteadyLive(Live):
    """A live block that is wiped out whole although the terminal has folded its lines."""

    def __init__(self, owner: LiveConsole, console: Console) -> None:
        super().__init__(
            owner,
            console=console,
            refresh_per_second=_REFRESH_PER_S,
            transient=True,
            vertical_overflow="crop",
        )
        self._owner = owner

    @override
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Go up over the rows that rich does not know of before it wipes out those it does."""
        row = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
        wipe = Control(*row * self._owner.overhang())
        return [wipe, *super().process_renderables(renderables)]


class _Plain:
    """A screen that needs no opening and no closing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class LineConsole(_Plain):
    """One line for each event, with its time."""

    def __init__(self, *, console: Console, slots: int, verbose: bool = False) -> None:  # noqa: ARG002 - as the others
        self._console = console
        self._verbose = verbose
        self._spoke_at = console.get_datetime().timestamp()

    def __call__(self, update: Update) -> None:
        """Print one step, or a sign of life after a long silence."""
        now = self._console.get_datetime().timestamp()
        at = update.what.at if isinstance(update.what, Record) else now
        lines = [line for line in describe(update) if self._verbose or not line.quiet]
        for line in lines:
            self._print(at, line.text, now)
        if not lines and now - self._spoke_at >= _SILENCE_S and update.view:
            self._print(now, Text(_sign_of_life(update.view, now)), now)

    def _print(self, at: float, text: Text, now: float) -> None:
        stamp = datetime.fromtimestamp(at, tz=UTC).astimezone().strftime("%H:%M:%S")
        line = legible(Text.assemble((stamp, "dim"), " ", text), self._console)
        width = self._console.width if self._console.is_terminal else _LINE_LIMIT
        line.truncate(width, overflow="ellipsis")
        self._console.print(line, highlight=False, soft_wrap=True)
        self._spoke_at = now


class JsonLines(_Plain):
    """One JSON object for each step, each written as one line."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def __call__(self, update: Update) -> None:
        """Write one step."""
        spec = {"spec": update.view.spec} if update.view else {}
        self._write(json.dumps({**_encode(update.what), **spec}) + "\n")


def choose_console(
    *,
    console: Console,
    slots: int,
    verbose: bool,
    json: bool,
    environment: Mapping[str, str],
) -> LiveConsole | LineConsole | JsonLines:
    """Return what suits where the output goes; `environment` is the process's own."""
    if json:
        return JsonLines(_flushing(console))
    plain = environment.get("TERM") == "dumb" or environment.get("CI", "") not in {"", "0", "false"}
    if console.is_terminal and not plain:
        return LiveConsole(console=console, slots=slots, verbose=verbose)
    return LineConsole(console=console, slots=slots, verbose=verbose)


def _flushing(console: Console) -> Callable[[str], None]:
    def write(line: str) -> None:
        console.file.write(line)
        console.file.flush()

    return write


def _advance(scene: Scene, update: Update) -> Scene:
    """Return the scene after an update."""
    doing = dict(scene.doing)
    if isinstance(update.what, Notice):
        if update.what.chunk and not update.what.warning:
            doing[update.what.chunk] = clean(update.what.text)
        return replace(scene, doing=MappingProxyType(doing), view=update.view or scene.view)
    event = update.what.event
    if not isinstance(event, ev.RunEvent):
        doing.pop(event.chunk, None)
    scene = replace(scene, doing=MappingProxyType(doing), view=update.view)
    if update.state is None or update.view is None:
        return scene
    scene = replace(scene, upcoming=next_up(update.state), paused=update.state.paused)
    if isinstance(event, _PACE_CHANGES):
        guess = guess_end(update.state, update.view, slots=scene.slots)
        scene = replace(scene, guess=guess)
    return scene


def _sign_of_life(view: View, now: float) -> str:
    busy = [
        f"{clean(row.id)} {row.label.value} {clock(now - row.since)}"
        for row in view.rows
        if row.slot is not None and row.since
    ]
    return f"· at work    {listed(busy) or 'no chunk at present'}"


def _encode(what: Record | Notice) -> dict[str, Any]:
    if isinstance(what, Notice):
        body = {"chunk": what.chunk, "text": what.text, "warning": what.warning}
        return {"type": "Notice", **body}
    event = encode_event(what.event)
    if isinstance(what.event, ev.RunStarted | ev.PlanChanged):
        event.pop("plan")
        event["chunks"] = len(what.event.plan.chunks)
    return {"seq": what.seq, "at": what.at, **event}
