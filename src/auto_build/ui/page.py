"""The story of a build as one page that needs nothing else: no script, no font, no request.

Invariants: the page is made by a template that escapes every value; what cannot be seen is named
before that; its policy (CSP) forbids whatever would get through all the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from auto_build.core.findings import Finding, Met, Verdict
from auto_build.core.patch import FilePatch, Mark, Numbered
from auto_build.core.qa import Standing
from auto_build.core.story import Chapter, Kept, Story, count_lines
from auto_build.core.timeline import Act, End, Stretch
from auto_build.core.view import Label
from auto_build.ui.marks import MARKS
from auto_build.ui.screens import Ways
from auto_build.ui.story import by_words, checked_words, warnings
from auto_build.ui.words import (
    clock,
    counted,
    dollars,
    revealed,
    source,
    span,
    stray_words,
    tokens,
    used,
)

_WIDTH: Final = 1000.0  # of the picture of the times, in its own units
_ROW: Final = 26.0
_LEFT: Final = 74.0
_WORD: Final = 7.0  # width of a letter
_TICKS: Final = 6
_STEPS: Final = (0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_FINE: Final = {Standing.APPROVED: "good", Standing.SKIPPED: "some", Standing.REJECTED: "bad"}
_TONES: Final = {
    Label.LANDED: "good",
    Label.FAILED: "bad",
    Label.BLOCKED: "bad",
}
_ENDS: Final = {End.GOOD: "fine", End.BAD: "red", End.CUT: "cut"}
_VERDICTS: Final = {Verdict.APPROVED: "good", Verdict.REJECTED: "bad", Verdict.NONE: "some"}
_METS: Final = {Met.YES: ("✓", "good"), Met.NO: ("✗", "bad"), Met.UNKNOWN: ("?", "some")}
_ROWS: Final = {Mark.ADDED: "add", Mark.REMOVED: "del", Mark.SAME: "", Mark.REMARK: "rem"}


def render_page(story: Story, ways: Ways, pictures: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        story: what it tells.
        ways: the commands, as the user spells them.
        pictures: `data:` addresses, by the path of the file that they show.
    """
    places = Places.of(story)
    return _TEMPLATES.get_template("review.html").render(
        story=story,
        ways=ways,
        pictures=pictures,
        places=places,
        chart=draw_chart(story),
        standing=_FINE.get(story.standing, "some"),
        rounds=list(_rounds(story)),
    )


# --- where findings lead --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Places:
    """Anchors of files in the whole diff and of chunks, and what was found in which line.

    Lines move: only those that a review names at staging's head are where it says.
    """

    files: Mapping[str, str]
    chunks: Mapping[str, str]
    found: Mapping[tuple[str, int], tuple[Finding, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, story: Story) -> "Places":
        """Give each file and each chunk an anchor, whatever it is called."""
        found: dict[tuple[str, int], tuple[Finding, ...]] = {}
        now = (review for review in story.reviews if review.commit == story.head)
        for finding in (one for review in now for one in review.findings):
            if finding.file and finding.line:
                key = finding.file, finding.line
                found[key] = (*found.get(key, ()), finding)
        return cls(
            files={one.path: f"file-{place}" for place, one in enumerate(story.whole, start=1)},
            chunks={one.id: f"chunk-{place}" for place, one in enumerate(story.chapters, start=1)},
            found=found,
        )

    def of_finding(self, finding: Finding) -> str:
        """Return the anchor of the line, the file or the chunk that a finding is about, if any."""
        anchor = self.files.get(finding.file, "")
        if anchor and finding.line and finding in self.found.get((finding.file, finding.line), ()):
            return f"{anchor}-{finding.line}"
        return anchor or self.chunks.get(finding.chunk, "")

    def in_line(self, file: FilePatch, line: Numbered) -> tuple[Finding, ...]:
        """Return what was found in a line as it is now."""
        return self.found.get((file.path, line.new), ()) if line.new is not None else ()

    def unseen(self, file: FilePatch) -> Mapping[int, tuple[Finding, ...]]:
        """Return what was found in lines of a file that its diff does not show."""
        shown = {line.new for hunk in file.hunks for line in hunk.numbered()}
        return {
            line: findings
            for (path, line), findings in self.found.items()
            if path == file.path and line not in shown
        }


def _rounds(story: Story) -> Iterator[tuple[int, Sequence[Any], Sequence[Chapter]]]:
    """Yield each review round: its number, its reviews, and the chunks that mended its findings."""
    numbers = {review.round for review in story.reviews} | {one.round for one in story.chapters}
    for number in sorted(numbers - {0}):
        yield (
            number,
            [review for review in story.reviews if review.round == number],
            [one for one in story.chapters if one.round == number],
        )


# --- the picture of the times ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bar:
    """One stretch of work as a rectangle, with what is written in it and what it says of itself."""

    x: float
    y: float
    width: float
    height: float
    look: str
    text: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Lanes of work side by side, with a scale of seconds and marks where chunks landed."""

    width: float
    height: float
    lanes: tuple[tuple[str, float], ...]
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    landings: tuple[tuple[float, str], ...]


def draw_chart(story: Story) -> Chart | None:
    """Return the picture of who was at work when; None where nobody was."""
    if not story.stretches:
        return None
    end = max(one.end_s for one in story.stretches)
    scale = (_WIDTH - _LEFT - 8) / max(end, 0.001)
    slots = sorted({one.slot for one in story.stretches if one.act is not Act.REVIEW})
    lanes = {slot: f"worker {slot}" if slot else "staging" for slot in slots}
    if any(one.act is Act.REVIEW for one in story.stretches):
        lanes[-1] = "review"
    tops = {slot: place * _ROW + 6 for place, slot in enumerate(lanes)}
    step = next((one for one in _STEPS if end / one <= _TICKS), _STEPS[-1])
    return Chart(
        width=_WIDTH,
        height=len(lanes) * _ROW + 44,
        lanes=tuple((name, tops[slot] + 14) for slot, name in lanes.items()),
        bars=tuple(_bar(one, tops, scale) for one in story.stretches),
        ticks=tuple(
            (
                _LEFT + number * step * scale,
                clock(number * step) if step >= 1 else span(step * number),
            )
            for number in range(int(end / step) + 1)
        ),
        landings=tuple((_LEFT + min(at, end) * scale, chunk) for chunk, at in story.landings),
    )


def _bar(one: Stretch, tops: Mapping[int, float], scale: float) -> Bar:
    gate = one.act is Act.GATE
    top = tops[-1 if one.act is Act.REVIEW else one.slot]
    width = max((one.end_s - one.begin_s) * scale, 1.5)
    seconds = span(one.end_s - one.begin_s)
    return Bar(
        x=_LEFT + one.begin_s * scale,
        y=top + (6 if gate else 0),
        width=width,
        height=8 if gate else 20,
        look=f"{one.act.value} {_ENDS[one.end]}",
        text="" if gate or len(one.chunk) * _WORD > width - 6 else one.chunk,
        title=f"{one.chunk}: {one.act.value}, {seconds}, {one.end.value}",
    )


# --- the templates --------------------------------------------------------------------------------


def _finalize(value: object) -> object:
    """Name what cannot be seen in whatever is printed; what a template made stays as it is."""
    return revealed(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_TEMPLATES: Final = Environment(
    loader=PackageLoader("auto_build.ui", "pages"),
    autoescape=True,
    finalize=_finalize,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals.update(
    MARKS=MARKS,
    TONES=_TONES,
    VERDICTS=_VERDICTS,
    METS=_METS,
    ROWS=_ROWS,
    Kept=Kept,
    Label=Label,
    by_words=by_words,
    checked_words=checked_words,
    count_lines=count_lines,
    counted=counted,
    dollars=dollars,
    source=source,
    span=span,
    stray_words=stray_words,
    tokens=tokens,
    used=used,
    warnings=warnings,
)
