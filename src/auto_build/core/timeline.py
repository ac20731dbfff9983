"""When agents, checks and reviewers were at work, and what was seen: a fold of the journal. Pure.

Times are seconds of work: they begin with the run, and stand still while nobody is at work on it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from auto_build.core import events as ev
from auto_build.core.findings import Source
from auto_build.core.plan import ChunkId
from auto_build.core.state import REVIEWER


class Act(StrEnum):
    """Who was at work."""

    AGENT = "agent"
    GATE = "checks"
    REVIEW = "review"


class End(StrEnum):
    """How a stretch of work ended."""

    GOOD = "done"
    BAD = "failed"
    CUT = "cut off"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Work without a break, in a worker slot; a reviewer's is in slot 0."""

    act: Act
    chunk: ChunkId
    slot: int
    begin_s: float
    end_s: float
    end: End


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened when, in `length_s` seconds of work.

    `landings` are chunks with the second at which they landed. `checks` are what was checked of
    each commit that could land; `conflicts` how often the work of a chunk did not merge.
    """

    stretches: tuple[Stretch, ...] = ()
    landings: tuple[tuple[ChunkId, float], ...] = ()
    length_s: float = 0.0
    checks: Mapping[str, tuple[ev.CheckResult, ...]] = field(default_factory=dict)
    conflicts: Mapping[ChunkId, int] = field(default_factory=dict)

    def spent_s(self, act: Act, chunk: ChunkId) -> float:
        """Return how long a chunk was worked on in one way."""
        mine = (one for one in self.stretches if one.act is act and one.chunk == chunk)
        return sum(one.end_s - one.begin_s for one in mine)

    @property
    def speed(self) -> float | None:
        """How many times as fast it was as the same work one by one would have been, about.

        Work that was cut off would not have been begun then. None before there is any work.
        """
        done = sum(one.end_s - one.begin_s for one in self.stretches if one.end is not End.CUT)
        if not done or self.length_s <= 0:
            return None
        return (self.length_s - _busy_s(self.stretches) + done) / self.length_s


def _busy_s(stretches: Iterable[Stretch]) -> float:
    """Return for how long anybody was at work."""
    busy = until = 0.0
    for one in sorted(stretches, key=lambda one: one.begin_s):
        busy += max(one.end_s - max(one.begin_s, until), 0.0)
        until = max(until, one.end_s)
    return busy


def read_timeline(records: Iterable[tuple[float, ev.Event]]) -> Timeline:
    """Fold events with their times, in seconds since the epoch, the oldest first."""
    book = _Book()
    for at, event in records:
        if isinstance(event, ev.RunStarted):
            book = _Book()  # a build that was discarded is begun anew
        book.note(at, event)
    return Timeline(
        stretches=tuple(book.done),
        landings=tuple(book.landings),
        length_s=book.now,
        checks=book.checks,
        conflicts=book.conflicts,
    )


@dataclass(slots=True)
class _Book:
    """What was noted so far; `begun` is the stretch of each chunk that has not ended."""

    now: float = 0.0
    last: float | None = None
    begun: dict[ChunkId, tuple[Act, float]] = field(default_factory=dict)
    slots: dict[ChunkId, int] = field(default_factory=dict)
    done: list[Stretch] = field(default_factory=list)
    landings: list[tuple[ChunkId, float]] = field(default_factory=list)
    checks: dict[str, tuple[ev.CheckResult, ...]] = field(default_factory=dict)
    conflicts: Counter[ChunkId] = field(default_factory=Counter)

    def note(self, at: float, event: ev.Event) -> None:
        """Take one more event in."""
        if isinstance(event, ev.SessionOpened):
            self.last = at
        if self.last is not None and not _between_sessions(event):
            self.now += max(at - self.last, 0.0)
            self.last = at
        if isinstance(event, ev.SessionClosed):
            self.last = None
        self._work(event)
        self._seen(event)

    def _work(self, event: ev.Event) -> None:
        match event:
            case ev.AttemptStarted():
                self.slots[event.chunk] = event.slot
                self._begin(event.chunk, Act.AGENT)
            case ev.RepairStarted() | ev.ResumeStarted():
                self._begin(event.chunk, Act.AGENT)
            case ev.GateStarted():
                self._begin(event.chunk, Act.GATE)
            case ev.ReviewStarted():
                self._begin(REVIEWER, Act.REVIEW)
            case ev.WorkCaptured() | ev.CandidatePassed():
                self._end(event.chunk, End.GOOD)
            case ev.AttemptEnded() | ev.CandidateRejected() | ev.CandidateConflicted():
                self._end(event.chunk, End.BAD)
            case (
                ev.AttemptLost()
                | ev.GateLost()
                | ev.GateVoided()
                | ev.CandidateDoubted()
                | ev.ChunkReset()
            ):
                self._end(event.chunk, End.CUT)
            case ev.Reviewed() | ev.QaStopped():
                self._end(REVIEWER, End.GOOD)
            case _:
                pass

    def _seen(self, event: ev.Event) -> None:
        match event:
            case ev.CandidatePassed():
                self.checks[event.candidate] = event.checks
            case ev.RevisionPassed():
                again = event.landings.values() if event.revision is ev.Revision.REDO else ()
                self.checks.update(dict.fromkeys((*again, event.candidate), event.checks))
            case ev.CandidateConflicted():
                self.conflicts[event.chunk] += 1
            case ev.CandidateLanded():
                self.landings.append((event.chunk, self.now))
            case _:
                pass

    def _begin(self, chunk: ChunkId, act: Act) -> None:
        self.begun[chunk] = (act, self.now)

    def _end(self, chunk: ChunkId, end: End) -> None:
        if chunk in self.begun:
            act, begin = self.begun.pop(chunk)
            slot = self.slots.get(chunk, 0)
            self.done.append(Stretch(act, chunk, slot, begin, self.now, end))


def _between_sessions(event: ev.Event) -> bool:
    """Say whether it is a person's word, which comes while nobody is at work."""
    match event:
        case ev.Reviewed():
            return event.review.of is Source.PERSON
        case _:
            return isinstance(event, ev.Commented)
