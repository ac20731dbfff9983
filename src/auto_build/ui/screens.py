"""Screens that are printed once: how a run ended and what to type next, and how a build stands."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from auto_build.core.acceptance import ItemState
from auto_build.core.qa import Standing
from auto_build.core.view import Label, Row, View
from auto_build.ui.block import progress_line
from auto_build.ui.marks import MARKS, WORD_WIDTH, Mark, Sheet, hanging, numbers, one_line
from auto_build.ui.words import (
    clean,
    clean_lines,
    counted,
    dollars,
    listed,
    pad,
    place,
    source,
    span,
    stray_words,
    time_of_day,
    used,
)

_REASON_LINES: Final = 3
_COMMANDS_SHOWN: Final = 3
_ID_WIDTH: Final = 12
_TO_VERIFY: Final = Mark("!", "to verify", "yellow")
_LEFT_OUT: Final = Mark("!", "left out", "yellow")
_OUTSIDE: Final = Mark("!", "outside", "yellow")
_FLAKY: Final = Mark("≈", "flaky", "yellow")
_STRAYED: Final = Mark("!", "strayed", "yellow")
_REVIEWED: Final = Mark("?", "review", "cyan")
_FLAKES_SHOWN: Final = 5
_CUT_OFF: Final = Mark("↷", "cut off", "yellow")
_WORKED_ON: Final = frozenset({Label.RUNNING, Label.REPAIRING, Label.CHECKING, Label.LANDING})
_ENDED: Final = frozenset({Label.LANDED, Label.SKIPPED, Label.FAILED, Label.UNDONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What to type, as the user spells it; a chunk's id goes behind the last three."""

    run: str
    review: str
    qa: str
    qa_status: str
    page: str
    approve: str
    reject: str
    merge: str
    logs: str
    retry: str
    redo: str

    def for_chunk(self, way: str, chunk: str) -> str:
        """Return a way completed with a chunk."""
        return f"{way} {shlex.quote(clean(chunk))}"


def summary(view: View, ways: Ways, *, staging: str = "") -> Sheet:
    """Return the last screen of a run: what came of it, and what to type next.

    Args:
        view: how things stand.
        ways: the commands, as the user spells them.
        staging: where the staging worktree is.
    """

    def layout(width: int) -> Iterator[Text]:
        yield _verdict(view)
        yield one_line(("  " + _figures(view), "dim"))
        if view.usage:
            yield one_line(("  " + _spent(view), "dim"))
        for row in view.rows:
            yield from _troubles(row, width)
        if view.flaky:
            named = listed([clean(one) for one in view.flaky], most=_FLAKES_SHOWN)
            yield from hanging(
                _start(_FLAKY), f"failed and passed on the same tree: {named}", width
            )
        for event in view.strays:
            yield from hanging(_start(_STRAYED), clean(stray_words(event)), width)
        yield from _review_lines(view, width)
        if staging:
            yield Text.assemble("  staging worktree: ", clean(staging), overflow="fold")
        for what, command in _next_steps(view, ways):
            yield one_line((what, "bold"))
            yield Text(f"  {command}", overflow="fold")

    return Sheet(layout)


def status_table(view: View, *, going_on: bool | None = None) -> Sheet:
    """Return every chunk with its state, beneath its phase, and the progress.

    Args:
        view: how things stand.
        going_on: whether somebody is at work on it; what the journal says unless given.
    """
    alive = view.open if going_on is None else going_on

    def layout(width: int) -> Iterator[Text]:
        ids = max((cell_len(clean(row.id)) for row in view.rows), default=0)
        titles = max((cell_len(clean(row.title)) for row in view.rows), default=0)
        yield one_line((f"{clean(view.spec)}  {clean(view.title)}", "bold"))
        phase = None
        for row in view.rows:
            if row.phase != phase:
                phase = row.phase
                yield one_line((clean(phase), "bold underline"))
            yield _status_row(row, _mark(row, alive=alive), min(ids, _ID_WIDTH), titles, width)
        yield progress_line(view, width)
        if view.usage:
            yield one_line(("used         ", "bold"), _spent(view))
        if view.queue:
            yield one_line(("merge queue  ", "bold"), listed([clean(one) for one in view.queue]))
        for event in view.strays:
            yield from hanging(_start(_STRAYED), clean(stray_words(event)), width)
        if ending := _ending(view):
            yield one_line(ending)

    return Sheet(layout)


def _verdict(view: View) -> Text:
    landed, total = view.count(Label.LANDED), len(view.rows)
    parts = [f"{landed} of {counted(total, 'chunk')} landed"]
    parts += numbers(view, Label.SKIPPED, Label.FAILED, Label.UNDONE, Label.BLOCKED)
    if todo := _unended(view):
        parts.append(f"{todo} to do")
    mark = ("✓ finished ", "bold green") if view.complete else ("■ not finished ", "bold yellow")
    return one_line(mark, " " + ", ".join(parts))


def _unended(view: View) -> int:
    return len(view.rows) - view.count(*_ENDED, Label.BLOCKED)


def _figures(view: View) -> str:
    times = view.times
    return " · ".join(
        (
            f"{span(times.worked_s)} of work",
            f"{span(sum(times.agent_s.values()))} of agents' work",
            counted(times.conflicts, "conflict"),
            counted(times.repairs, "repair"),
        )
    )


def _spent(view: View) -> str:
    most = f" of at most {dollars(view.max_cost)}" if view.max_cost is not None else ""
    return f"{used(view.usage)}{most} ({source(view.usage)})"


def _troubles(row: Row, width: int) -> Iterator[Text]:
    name = f"{clean(row.id)}  {clean(row.title)}"
    start = _start(MARKS[row.label])
    match row.label:
        case Label.FAILED:
            yield one_line(start, name)
            for line in clean_lines(row.note, most=_REASON_LINES):
                yield from hanging(Text("    "), line, width)
        case Label.BLOCKED | Label.SKIPPED | Label.UNDONE:
            yield one_line(start, f"{name}: {clean(row.note)}")
        case _:
            pass
    if row.unverified:
        yield from hanging(_start(_TO_VERIFY), f"{name}: {clean(row.unverified)}", width)
    for one in row.dropped:
        yield from hanging(_start(_LEFT_OUT), f"{name}: {clean(one)}", width)
    if row.outside:
        wrote = f"{clean(row.id)} wrote {clean(listed(list(row.outside)))}"
        yield from hanging(_start(_OUTSIDE), wrote, width)


def _start(mark: Mark) -> Text:
    return one_line((f"{mark.glyph} {mark.word:<{WORD_WIDTH}}  ", mark.style))


def _next_steps(view: View, ways: Ways) -> Iterator[tuple[str, str]]:
    if _ending(view):
        return
    failed = view.at(Label.FAILED)
    if view.finished and not view.complete:
        yield "See what is open, and what was run:", ways.qa_status
        yield "Have it reviewed and mended again:", ways.qa
        yield "Look at it, and try it out in the staging worktree:", ways.review
        return
    if view.finished:
        yield "Look at it, and try it out in the staging worktree:", ways.review
        yield "Then bring it into your branch:", ways.merge
        return
    for row in failed[:_COMMANDS_SHOWN]:
        yield f"See what went wrong with {clean(row.id)}:", ways.for_chunk(ways.logs, row.id)
        yield "Have it done again:", ways.for_chunk(ways.retry, row.id)
    for row in view.at(Label.UNDONE)[:_COMMANDS_SHOWN]:
        yield f"Bring {clean(row.id)} back:", ways.for_chunk(ways.redo, row.id)
    yield ("Then run again:" if failed else "Go on from here:"), ways.run
    if view.count(Label.LANDED):
        yield "Look at what has landed so far:", ways.review


def _review_lines(view: View, width: int) -> Iterator[Text]:
    """Say what the review rounds came to, and what is open."""
    last = view.qa.last
    if last is None or view.standing is Standing.NONE:
        return
    rounds = counted(view.qa.round, "round")
    yield from hanging(_start(_REVIEWED), f"{view.standing.value} after {rounds}", width)
    if view.qa.stopped:
        yield from hanging(Text("    "), clean(view.qa.stopped), width)
    for one in view.qa.open:
        where = f"{one.place}: " if one.place else ""
        told = clean(f"{one.severity.value}: {where}{one.what}")
        yield from hanging(Text("    "), told, width)
    unverified = sum(one.state is ItemState.UNVERIFIED for one in last.items)
    if unverified:
        told = f"{counted(unverified, 'item')} that no program could run"
        yield from hanging(_start(_TO_VERIFY), f"{told}: see qa_report.md", width)


def _ending(view: View) -> str:
    if view.merged:
        return f"✓ merged into {clean(view.merged)}"
    return "- discarded" if view.discarded else ""


def _mark(row: Row, *, alive: bool) -> Mark:
    """Return a row's mark: what was under way when its run ended is not under way any more."""
    return MARKS[row.label] if alive or row.label not in _WORKED_ON else _CUT_OFF


def _status_row(row: Row, mark: Mark, ids: int, titles: int, width: int) -> Text:
    start = f"  {mark.glyph} {mark.word:<{WORD_WIDTH}}  "
    facts = [
        f"attempt {row.attempt}" if row.attempt > 1 else "",
        place(row.slot) if row.slot is not None and mark is not _CUT_OFF else "",
        f"until {time_of_day(row.until)}" if row.until else "",
        used(row.usage),
        clean(row.note),
        "lines left out" if row.dropped else "",
        f"to verify: {clean(row.unverified)}" if row.unverified else "",
    ]
    left = width - len(start) - ids - 4
    note = ", ".join(fact for fact in facts if fact)
    title = clean(row.title)
    share = min(titles, left * 3 // 5)
    return one_line(
        (start, mark.style),
        (pad(clean(row.id), ids), "bold"),
        "  ",
        pad(title, share) if note else title,
        (f"  {note}" if note else "", "dim"),
    )
