"""The live block: workers, merge queue, what is next, progress. Laid out for any size of screen.

Invariant: one line of text is one line of screen, and the block leaves room for events above it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from auto_build.core.view import Label, Row, View
from auto_build.ui.marks import IDLE, MARKS, WORD_WIDTH, numbers, one_line
from auto_build.ui.rest import Guess
from auto_build.ui.words import about, clean, clip, clock, dollars, listed, pad, time_of_day

_MOST_WORKERS: Final = 6
_OTHER_LINES: Final = 9  # the block's own besides workers, and a few for the events above it
_ECHO_WIDTH: Final = 3  # what a terminal writes behind the last line when Ctrl-C is pressed
_ROOMY: Final = 20
_ID_WIDTH: Final = 10
_TIME_WIDTH: Final = 7
_TITLE_SHARE: Final = 0.55
_BAR_WIDTH: Final = 32
_SMALLEST_BAR: Final = 8
_UNDER_WAY: Final = (
    Label.RUNNING,
    Label.REPAIRING,
    Label.QUEUED,
    Label.CHECKING,
    Label.LANDING,
    Label.PARKED,
)


@dataclass(frozen=True, slots=True)
class Scene:
    """What the block shows: how things stand, and what each chunk's agent last said it does."""

    slots: int
    view: View | None = None
    doing: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    upcoming: tuple[str, ...] = ()
    guess: Guess | None = None
    paused: str = ""


def block_lines(scene: Scene, *, width: int, height: int, now: float) -> list[Text]:
    """Return the block for a screen of `width` columns and `height` lines, at the time `now`."""
    view = scene.view
    if view is None:
        return [one_line(("· getting ready", "dim"))]
    most = min(max(height - _OTHER_LINES, 1), _MOST_WORKERS)
    lines = [
        _heading(view, width, now),
        *_workers(scene, view, width, now, most=most),
        _queue(view),
        _next(scene, view),
        _progress(scene, view, max(width - _ECHO_WIDTH, 1), now),
    ]
    if height >= _ROOMY:
        lines.append(one_line(("Ctrl-C stops; the same command goes on from there", "dim")))
    lines[-1].truncate(max(width - _ECHO_WIDTH, 1), overflow="ellipsis")
    return lines


def progress_line(view: View, width: int, *parts: str) -> Text:
    """Return a bar with one share for each state of the chunks, and the numbers in words."""
    text = " · ".join((_numbers(view), *parts))
    room = min(width - cell_len(text) - 2, _BAR_WIDTH)
    if room < _SMALLEST_BAR:
        return one_line(text)
    return one_line(*_bar(view, room), "  ", text)


def _heading(view: View, width: int, now: float) -> Text:
    since = clock(view.times.worked_s + now - view.times.last)
    name = clip(f"{clean(view.spec)}  {clean(view.title)}", max(width - len(since) - 10, 0))
    rule = "─" * max(width - cell_len(name) - len(since) - 8, 0)
    return one_line(("── ", "dim"), (name, "bold"), (f" {rule} ", "dim"), since, (" ──", "dim"))


def _workers(scene: Scene, view: View, width: int, now: float, *, most: int) -> Iterator[Text]:
    busy = {row.slot: row for row in view.rows if row.slot is not None}
    slots = sorted({*busy, *range(1, scene.slots + 1)}, key=lambda slot: (slot not in busy, slot))
    shown, rest = sorted(slots[:most]), slots[most:]
    ids = max((cell_len(clean(row.id)) for row in busy.values()), default=0)
    for slot in shown:
        row = busy.get(slot)
        doing = scene.doing.get(row.id, "") if row else ""
        yield _worker(row, slot, doing, width, min(ids, _ID_WIDTH), now) if row else _idle(slot)
    if rest:
        more = sum(slot in busy for slot in rest)
        parts = [(more, "more at work"), (len(rest) - more, "more idle")]
        told = ", ".join(f"+{number} {what}" for number, what in parts if number)
        yield one_line((f"  {told}", "dim"))


def _worker(row: Row, slot: int, doing: str, width: int, ids: int, now: float) -> Text:
    mark = MARKS[row.label]
    place = slot or "S"  # the staging worktree
    start = f"{mark.glyph} {place} {mark.word:<{WORD_WIDTH}} "
    who = pad(clean(row.id), ids)
    time = clock(now - row.since) if row.since else ""
    left = width - cell_len(start) - ids - _TIME_WIDTH - 4
    title = clean(row.title)
    if row.until:
        doing = f"until {time_of_day(row.until)}"
    share = max(left - cell_len(doing), int(left * _TITLE_SHARE)) if doing else left
    return one_line(
        (start, mark.style),
        (who, "bold"),
        f"{time:>{_TIME_WIDTH}}  {clip(title, share)}",
        (f"  {doing}" if doing else "", "dim"),
    )


def _idle(slot: int) -> Text:
    return one_line((f"{IDLE.glyph} {slot} {IDLE.word}", IDLE.style))


def _queue(view: View) -> Text:
    gate = view.at(Label.CHECKING, Label.LANDING)
    at_gate = [f"{clean(row.id)} {row.label.value}" for row in gate]
    behind = [clean(one) for one in view.queue if one not in {row.id for row in gate}]
    waiting = [f"then {listed(behind)}" if at_gate else listed(behind)] if behind else []
    return one_line(("merge queue  ", "bold"), ", ".join([*at_gate, *waiting]) or "empty")


def _next(scene: Scene, view: View) -> Text:
    if scene.paused:
        return one_line(("‖ paused     ", "yellow"), clean(scene.paused))
    rows = {row.id: row for row in view.rows}
    names = [clean(f"{one} {clip(rows[one].title, 24)}") for one in scene.upcoming if one in rows]
    what = "; ".join(part for part in (", ".join(names), *_later(view)) if part)
    return one_line(("next         ", "bold"), what or "nothing more to start")


def _later(view: View) -> list[str]:
    """Return the chunks that wait, together with what they wait for."""
    groups: dict[str, list[str]] = {}
    for row in view.at(Label.WAITING, Label.SET_ASIDE):
        why = row.note if row.label is Label.WAITING else "alone at the end"
        groups.setdefault(clean(why), []).append(clean(row.id))
    return [f"{listed(ids)} {why}" for why, ids in groups.items()]


def _progress(scene: Scene, view: View, width: int, now: float) -> Text:
    left = f"{about(scene.guess.left(now))} left" if scene.guess else ""
    return progress_line(view, width, *(part for part in (left, _cost(view)) if part))


def _cost(view: View) -> str:
    """Return what the run has cost so far, of what it may."""
    if view.usage.cost_usd is None:
        return ""
    most = f" of {dollars(view.max_cost)}" if view.max_cost is not None else ""
    return dollars(view.usage.cost_usd) + most


def _numbers(view: View) -> str:
    troubled = numbers(view, Label.FAILED, Label.UNDONE, Label.BLOCKED, Label.SET_ASIDE)
    return " · ".join([f"{view.done} of {len(view.rows)} done", *troubled])


def _bar(view: View, room: int) -> list[tuple[str, str]]:
    """Share the room out by the sums so far, so that rounding never changes its width."""
    shares = (
        (view.done, "█", "green"),
        (view.count(*_UNDER_WAY), "▒", "cyan"),
        (view.count(Label.FAILED, Label.BLOCKED, Label.UNDONE), "✗", "red"),
        (len(view.rows), "░", "dim"),
    )
    parts, total, used = [], 0, 0
    for number, char, style in shares:
        total = min(total + number, len(view.rows))
        end = total * room // max(len(view.rows), 1)
        parts.append((char * (end - used), style))
        used = end
    return parts
