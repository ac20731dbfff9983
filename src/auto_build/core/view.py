"""What any screen shows: a RunState, with times, as plain rows. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from auto_build.core import events as ev
from auto_build.core.dialects import FileStatus
from auto_build.core.plan import ChunkId
from auto_build.core.qa import Qa, Standing
from auto_build.core.scheduler import blocked, waits_for
from auto_build.core.state import (
    REVIEWER,
    ChunkState,
    Failed,
    Gating,
    Landed,
    Landing,
    Live,
    Parked,
    Passed,
    Pending,
    Queued,
    Rejected,
    Running,
    RunState,
    SetAside,
    Skipped,
    Undone,
)
from auto_build.core.usage import Usage


class Label(StrEnum):
    """A chunk's state in one word."""

    PENDING = "pending"
    WAITING = "waiting"
    RUNNING = "running"
    REPAIRING = "repairing"
    QUEUED = "queued"
    CHECKING = "checking"
    LANDING = "landing"
    PARKED = "parked"
    LANDED = "landed"
    SET_ASIDE = "set aside"
    SKIPPED = "skipped"
    FAILED = "failed"
    BLOCKED = "blocked"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class Times:
    """When things happened, in seconds since the epoch: a second fold of the same records.

    `since` is when a chunk came into its present state; `agent_s` and `gate_s` add up what was
    spent on it; `durations` are the times from start to landing of the chunks that landed.
    `opened` is when the present session began, `closed_s` how long the earlier ones took.
    """

    last: float = 0.0
    opened: float | None = None
    closed_s: float = 0.0
    since: Mapping[ChunkId, float] = field(default_factory=dict)
    started: Mapping[ChunkId, float] = field(default_factory=dict)
    agent_s: Mapping[ChunkId, float] = field(default_factory=dict)
    gate_s: Mapping[ChunkId, float] = field(default_factory=dict)
    durations: tuple[float, ...] = ()
    conflicts: int = 0
    repairs: int = 0
    aside: int = 0
    asked: frozenset[ChunkId] = frozenset()  # whose agents are to resolve a conflict next

    def seen(self, at: float, event: ev.Event) -> "Times":
        """Return the times after one more record."""
        if isinstance(event, ev.RunStarted):
            return Times(last=at)
        if isinstance(event, ev.RunEvent):
            return self._seen_of_run(at, event)
        chunk = event.chunk
        changes: dict[str, Any] = {"last": at, "since": {**self.since, chunk: at}}
        changes["asked"] = _asked(self.asked, event)
        match event:
            case (
                ev.UsageReported()
                | ev.ConversationBegan()
                | ev.ClaimTaken()
                | ev.CandidateSuspected()
            ):
                return _with(self, last=at)
            case ev.AttemptStarted():
                changes["started"] = {**self.started, chunk: at}
                changes["aside"] = self.aside + event.alone
            case ev.RepairStarted():
                changes["repairs"] = self.repairs + (chunk not in self.asked)
            case ev.WorkCaptured() | ev.AttemptEnded():
                spent = self.agent_s.get(chunk, 0.0) + event.seconds
                changes["agent_s"] = {**self.agent_s, chunk: spent}
            case ev.CandidatePassed() | ev.CandidateRejected() | ev.CandidateConflicted():
                spent = self.gate_s.get(chunk, 0.0) + at - self.since.get(chunk, at)
                changes["gate_s"] = {**self.gate_s, chunk: spent}
                changes["conflicts"] = self.conflicts + isinstance(event, ev.CandidateConflicted)
            case ev.CandidateLanded():
                changes["durations"] = (*self.durations, at - self.started.get(chunk, at))
            case _:
                pass
        return _with(self, **changes)

    @property
    def worked_s(self) -> float:
        """How long sessions took in all, up to the last record; the hours between do not count."""
        return self.closed_s + (self.last - self.opened if self.opened is not None else 0.0)

    def _seen_of_run(self, at: float, event: ev.RunEvent) -> "Times":
        match event:
            case ev.SessionOpened():  # one that is still open was killed
                return _with(self, last=at, closed_s=self.worked_s, opened=at)
            case ev.SessionClosed():
                ended = _with(self, last=at)
                return _with(ended, closed_s=ended.worked_s, opened=None)
            case _:
                return _with(self, last=at)


def _asked(asked: frozenset[ChunkId], event: ev.ChunkEvent) -> frozenset[ChunkId]:
    """Return whose agents are to resolve a conflict, until they have left their work."""
    match event:
        case ev.CandidateConflicted() if event.commit:
            return asked | {event.chunk}
        case ev.WorkCaptured() | ev.AttemptStarted():
            return asked - {event.chunk}
        case _:
            return asked


def _with(times: Times, **changes: Any) -> Times:
    fields = {name: getattr(times, name) for name in Times.__slots__}
    return Times(**{**fields, **changes})


@dataclass(frozen=True, slots=True)
class Row:
    """One chunk on a screen. `note` is the reason or the thing waited for; times are seconds.

    `until` is when a parked chunk goes on, in seconds since the epoch; 0 where as soon as it can.
    """

    id: str
    title: str
    phase: str
    label: Label
    attempt: int
    slot: int | None
    since: float | None
    note: str
    commit: str
    claims: tuple[str, ...]
    outside: tuple[str, ...]
    unverified: str
    pin: str
    usage: Usage = field(default_factory=Usage)
    until: float | None = None
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """A run on a screen.

    `usage` is what all of it used up, `max_cost` the run's limit in US dollars; nobody begins
    before `hold_until`, in seconds since the epoch. `flaky` are tests (commands where none was
    named) that both failed and passed on the same tree; `strays` is what was changed on the user's
    side. `qa` is what reviews came to, `standing` how they stand at what had landed last, and
    `reviewers` what they have used up.
    """

    spec: str
    title: str
    rows: tuple[Row, ...]
    queue: tuple[str, ...]
    open: bool
    merged: str
    discarded: bool
    times: Times
    usage: Usage = field(default_factory=Usage)
    max_cost: float | None = None
    hold_until: float = 0.0
    flaky: tuple[str, ...] = ()
    strays: tuple[ev.StraysFound, ...] = ()
    qa: Qa = field(default_factory=Qa)
    standing: Standing = Standing.NONE
    reviewers: Usage = field(default_factory=Usage)
    parked: bool = False

    def count(self, *labels: Label) -> int:
        """Return how many chunks are in one of these states."""
        return sum(row.label in labels for row in self.rows)

    @property
    def done(self) -> int:
        """How many chunks need nothing more."""
        return self.count(Label.LANDED, Label.SKIPPED)

    @property
    def finished(self) -> bool:
        """Whether every chunk is done."""
        return self.done == len(self.rows)

    @property
    def complete(self) -> bool:
        """Whether every chunk is done, and whoever was to review it has approved."""
        through = {Standing.NONE, Standing.APPROVED, Standing.SKIPPED}
        return self.finished and self.standing in through

    def at(self, *labels: Label) -> tuple[Row, ...]:
        """Return the rows in one of these states, in the plan's order."""
        return tuple(row for row in self.rows if row.label in labels)


def build_view(spec: str, state: RunState, times: Times) -> View:
    """Return what a screen shows of a state."""
    stuck = blocked(state)
    rows = tuple(_row(state, chunk, times, stuck) for chunk in state.chunks)
    merged = f"{state.merged.branch} at {state.merged.commit[:10]}" if state.merged else ""
    return View(
        spec=spec,
        title=state.plan.title,
        rows=rows,
        queue=tuple(state.queue),
        open=state.open,
        merged=merged,
        discarded=state.discarded,
        times=times,
        usage=state.spent,
        max_cost=state.max_cost,
        hold_until=state.hold_until,
        flaky=tuple(
            name or key.partition("\n")[0]
            for key, names in state.gate.flaky.items()
            for name in sorted(names)
        ),
        strays=state.strays,
        qa=state.qa,
        reviewers=state.usage_of(REVIEWER),
        standing=state.qa.standing_after(state.head),
        parked=state.parked,
    )


def plan_notes(state: RunState) -> dict[ChunkId, dict[str, Any]]:
    """Return what the plan file says of each chunk: its status, and how it came to it."""
    stuck = blocked(state)
    return {chunk: _note(now, stuck.get(chunk, ())) for chunk, now in state.chunks.items()}


def _note(now: ChunkState, roots: Iterable[ChunkId]) -> dict[str, Any]:
    by = list(roots)
    note: dict[str, Any] = {"status": _file_status(now, blocked_by=bool(by)).value}
    attempts = now.attempt.number if isinstance(now, Live) else now.attempts
    if attempts:
        note["attempts"] = attempts
    match now:
        case Landed():
            note["commit"] = now.commit
            if now.unverified:
                note["to_be_verified"] = now.unverified
            if now.dropped:
                note["left_out"] = list(now.dropped)
        case Failed():
            note["reason"] = f"{now.outcome.value}: {now.reason.partition(chr(10))[0]}"
        case Skipped():
            note["reason"] = now.why
        case Undone():
            note["undone"] = now.commit
            note["reason"] = _UNDONE
        case _ if by:
            note["reason"] = f"blocked by {', '.join(by)}"
        case _:
            pass
    return note


def _file_status(now: ChunkState, *, blocked_by: bool) -> FileStatus:
    match now:
        case Landed() | Skipped():
            return FileStatus.COMPLETED
        case Failed():
            return FileStatus.FAILED
        case Undone():  # neither done nor to be begun: what somebody writes in its place counts
            return FileStatus.BLOCKED
        case Pending() | SetAside():
            return FileStatus.BLOCKED if blocked_by else FileStatus.PENDING
        case _:
            return FileStatus.IN_PROGRESS


def _row(
    state: RunState,
    chunk: ChunkId,
    times: Times,
    stuck: Mapping[ChunkId, tuple[ChunkId, ...]],
) -> Row:
    now = state.chunks[chunk]
    plan = state.plan.chunks[chunk]
    phase = state.plan.phase_of[chunk]
    work = now.work if isinstance(now, Live) and not isinstance(now, Running | Parked) else None
    return Row(
        id=chunk,
        title=plan.title or chunk,
        phase=phase.name or phase.id,
        label=_label(state, chunk, stuck),
        attempt=now.attempt.number if isinstance(now, Live) else now.attempts,
        slot=now.attempt.slot if isinstance(now, Live) else None,
        since=times.since.get(chunk),
        note=_reason(state, chunk, stuck),
        commit=now.commit if isinstance(now, Landed) else "",
        claims=tuple(claim.text for claim in state.held(chunk)),
        outside=_outside(now),
        unverified=now.unverified if isinstance(now, Landed | Passed) else "",
        dropped=now.dropped if isinstance(now, Landed | Passed) else (),
        pin=now.pin if isinstance(now, Failed) else (work.pin if work else ""),
        usage=state.usage_of(chunk),
        until=max(now.until, state.hold_until) if isinstance(now, Parked) else None,
    )


def _outside(now: ChunkState) -> tuple[str, ...]:
    match now:
        case Queued() | Gating() | Rejected() | Passed() | Landing():
            return now.work.outside
        case Landed():
            return now.outside
        case _:
            return ()


def _label(  # noqa: C901 - one word for each state
    state: RunState, chunk: ChunkId, stuck: Mapping[ChunkId, tuple[ChunkId, ...]]
) -> Label:
    if chunk in stuck:
        return Label.BLOCKED
    match state.chunks[chunk]:
        case Pending():
            return Label.WAITING if waits_for(state, chunk) else Label.PENDING
        case SetAside():
            return Label.SET_ASIDE
        case Running(rejected=None):
            return Label.RUNNING
        case Running() | Rejected():
            return Label.REPAIRING
        case Parked():
            return Label.PARKED
        case Queued():
            return Label.QUEUED
        case Gating():
            return Label.CHECKING
        case Passed() | Landing():
            return Label.LANDING
        case Landed():
            return Label.LANDED
        case Skipped():
            return Label.SKIPPED
        case Failed():
            return Label.FAILED
        case Undone():
            return Label.UNDONE


def _reason(state: RunState, chunk: ChunkId, stuck: Mapping[ChunkId, tuple[ChunkId, ...]]) -> str:
    now = state.chunks[chunk]
    if chunk in stuck:
        return f"blocked by {', '.join(_named(state, one) for one in stuck[chunk])}"
    match now:
        case Pending():
            others = waits_for(state, chunk)
            return f"after {', '.join(others)}" if others else ""
        case SetAside():
            return f"in conflict over {', '.join(now.paths)}: runs alone at the end"
        case Rejected(conflict=paths) | Running(rejected=Rejected(conflict=paths)) if paths:
            return f"its agent resolves the conflict over {', '.join(paths)}"
        case Parked():
            return f"{now.why.outcome.value}: {now.why.reason}"
        case Failed():
            return f"{now.outcome.value}: {now.reason}"
        case Skipped():
            return now.why
        case Undone():
            return _UNDONE
        case _:
            return ""


def _named(state: RunState, chunk: ChunkId) -> str:
    return f"{chunk} (undone)" if isinstance(state.chunks[chunk], Undone) else chunk


_UNDONE: Final = "taken out of staging: redo brings it back, retry has it done again"
