"""The state of a run: the fold of its events, and the one door through which it changes.

Each chunk is in exactly one of the states below, and each carries what only it has. `apply` is the
whole transition table; what it does not name is illegal and raises.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from types import MappingProxyType

from auto_build.core import events as ev
from auto_build.core.claims import BadClaim, Claim, covers, first_overlap, touches
from auto_build.core.plan import ChunkId, Plan


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a chunk: its number, its worker slot, and whether nothing else may run."""

    number: int
    slot: int
    alone: bool = False
    round: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """What an agent made: `commit` on top of `base`.

    `granted` are claims it took by writing there; `outside` the paths it wrote without having
    claimed them before, whoever holds them. A chunk that claims nothing may write anywhere, so that
    only what another one holds is outside.
    """

    base: str
    commit: str
    pin: str
    granted: tuple[Claim, ...] = ()
    outside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """Not begun, or to be begun again; `attempts` were made before."""

    attempts: int = 0


@dataclass(frozen=True, slots=True)
class SetAside:
    """In conflict with what landed meanwhile: waits until nothing else runs."""

    attempts: int
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Running:
    """An agent is at work; `rejected` is set in a repair round."""

    attempt: Attempt
    aside: SetAside | None = None
    rejected: "Rejected | None" = None


@dataclass(frozen=True, slots=True)
class Queued:
    """The work is pinned and waits for the gate."""

    attempt: Attempt
    work: Work


@dataclass(frozen=True, slots=True)
class Gating:
    """The candidate is being built and checked."""

    attempt: Attempt
    work: Work


@dataclass(frozen=True, slots=True)
class Rejected:
    """The candidate was red and the agent has repair rounds left."""

    attempt: Attempt
    work: Work
    commit: str
    head: str
    feedback: str


@dataclass(frozen=True, slots=True)
class Passed:
    """The candidate is green and may land."""

    attempt: Attempt
    work: Work
    candidate: str
    head: str
    unverified: str


@dataclass(frozen=True, slots=True)
class Landing:
    """Staging is being moved to the candidate."""

    passed: Passed

    @property
    def attempt(self) -> Attempt:
        """The attempt whose candidate lands."""
        return self.passed.attempt

    @property
    def work(self) -> Work:
        """The work that lands."""
        return self.passed.work


@dataclass(frozen=True, slots=True)
class Landed:
    """The chunk's commit is in staging."""

    attempts: int
    commit: str
    unverified: str = ""
    repairs: int = 0
    outside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """Taken as done on somebody's word."""

    attempts: int
    why: str


@dataclass(frozen=True, slots=True)
class Failed:
    """No further step is left; `pin` keeps the last work, if there was any."""

    attempts: int
    outcome: ev.Outcome
    reason: str
    pin: str = ""


Live = Running | Queued | Gating | Rejected | Passed | Landing
Done = Landed | Skipped
ChunkState = Pending | SetAside | Live | Done | Failed


class IllegalTransition(Exception):
    """An event that the chunk's state does not allow: a bug, or a journal from elsewhere."""

    def __init__(self, state: object, event: ev.Event) -> None:
        super().__init__(f"{type(event).__name__} is not possible now ({state!r}): {event!r}")


@dataclass(frozen=True)
class RunState:
    """Everything that deciding needs to know."""

    plan: Plan
    base: str
    chunks: Mapping[ChunkId, ChunkState]
    queue: tuple[ChunkId, ...] = ()
    repair_rounds: int = 2
    open: bool = False
    paused: str = ""
    merged: ev.RunMerged | None = None
    discarded: bool = False
    head: str = ""  # the commit that landed last

    @property
    def live(self) -> Mapping[ChunkId, Live]:
        """The chunks that hold their claims and a worker slot, in the order of the plan."""
        chunks = self.chunks
        return {one: now for one in self.plan.chunks if isinstance(now := chunks[one], Live)}

    def held(self, chunk: ChunkId) -> tuple[Claim, ...]:
        """Return the claims of a chunk, those it took by writing included."""
        now = self.chunks[chunk]
        return self.plan.chunks[chunk].claims + (_granted(now) if isinstance(now, Live) else ())


def start(event: ev.RunStarted) -> RunState:
    """Return the state that a run begins with."""
    chunks = {chunk: _first(chunk, event.attempts, event.landed) for chunk in event.plan.chunks}
    return RunState(event.plan, event.base, MappingProxyType(chunks))


def _first(
    chunk: ChunkId, attempts: Mapping[ChunkId, int], landed: Mapping[ChunkId, str]
) -> ChunkState:
    """Return the state of a chunk that a run has not seen before."""
    tried = attempts.get(chunk, 0)
    return Landed(tried, landed[chunk]) if chunk in landed else Pending(tried)


def replay(history: Iterable[ev.Event]) -> RunState | None:
    """Fold a whole history; None where no run was ever started, or the last one was discarded."""
    return reduce(step, history, None)


def step(state: RunState | None, event: ev.Event) -> RunState | None:
    """Return the state after `event`, where there may be no run before or after it.

    Raises:
        IllegalTransition: there is no run and the event does not start one.
    """
    if isinstance(event, ev.RunStarted):
        return start(event)
    if state is None:
        raise IllegalTransition(None, event)
    return apply(state, event)


def apply(state: RunState, event: ev.Event) -> RunState:
    """Return the state after `event`.

    Raises:
        IllegalTransition: the state does not allow it; `state` is unchanged.
    """
    if isinstance(event, ev.RunEvent):
        return _apply_to_run(state, event)
    before = state.chunks.get(event.chunk)
    if before is None:
        raise IllegalTransition(None, event)
    after = _next(state, before, event)
    chunks = MappingProxyType({**state.chunks, event.chunk: after})
    queue = _queue(state.queue, event.chunk, after)
    merged = None if isinstance(event, ev.AttemptStarted) else state.merged
    head = event.commit if isinstance(event, ev.CandidateLanded) else state.head
    return replace(state, chunks=chunks, queue=queue, merged=merged, head=head)


def _apply_to_run(state: RunState, event: ev.RunEvent) -> RunState:
    match event:
        case ev.SessionOpened():
            return replace(state, open=True, paused="", repair_rounds=event.repair_rounds)
        case ev.SessionClosed():
            return replace(state, open=False)
        case ev.PlanChanged():
            return _change_plan(state, event)
        case ev.RunPaused():
            return replace(state, paused=event.why)
        case ev.RunMerged():
            return replace(state, merged=event)
        case ev.RunDiscarded():
            return replace(state, discarded=True)
        case ev.RunStarted():
            return start(event)


def _change_plan(state: RunState, event: ev.PlanChanged) -> RunState:
    chunks: dict[ChunkId, ChunkState] = {
        chunk: state.chunks.get(chunk) or _first(chunk, event.attempts, event.landed)
        for chunk in event.plan.chunks
    }
    queue = tuple(chunk for chunk in state.queue if chunk in chunks)
    return replace(state, plan=event.plan, chunks=MappingProxyType(chunks), queue=queue)


def _queue(queue: tuple[ChunkId, ...], chunk: ChunkId, after: ChunkState) -> tuple[ChunkId, ...]:
    waits = isinstance(after, Queued)
    if waits and chunk not in queue:
        return (*queue, chunk)
    if waits or isinstance(after, Gating):
        return queue
    return tuple(one for one in queue if one != chunk)


def _next(state: RunState, now: ChunkState, event: ev.ChunkEvent) -> ChunkState:  # noqa: C901 - the table
    match now, event:
        case Pending() | SetAside(), ev.AttemptStarted():
            attempt = Attempt(event.attempt, event.slot, event.alone)
            return Running(attempt, aside=now if isinstance(now, SetAside) else None)
        case Rejected(), ev.RepairStarted():
            return Running(replace(now.attempt, round=event.round), rejected=now)
        case Running(), ev.WorkCaptured():
            return Queued(now.attempt, _work(state, now, event))
        case Running(), ev.AttemptEnded():
            pin = now.rejected.work.pin if now.rejected else ""
            return Failed(now.attempt.number, event.outcome, event.detail, pin)
        case Running(), ev.AttemptLost():
            return now.rejected or now.aside or Pending(now.attempt.number - 1)
        case Queued(), ev.GateStarted():
            return Gating(now.attempt, now.work)
        case Gating(), ev.GateLost():
            return Queued(now.attempt, now.work)
        case Gating(), ev.CandidatePassed():
            return Passed(now.attempt, now.work, event.candidate, event.head, event.unverified)
        case Gating(), ev.CandidateRejected():
            return _rejected(state, now, event)
        case Gating(), ev.CandidateConflicted():
            return _conflicted(now, event)
        case Passed(), ev.LandStarted():
            return Landing(now)
        case Landing(), ev.LandLost():
            return now.passed
        case Landing(), ev.CandidateLanded():
            return _landed(now.passed, event)
        case Landing(), ev.LandingVoided():
            return Queued(now.attempt, now.work)
        case _, ev.ChunkReset():
            return Pending(_attempts(now))
        case _, ev.ChunkSkipped():
            return Skipped(_attempts(now), event.why)
        case _:
            raise IllegalTransition(now, event)


def _landed(passed: Passed, event: ev.CandidateLanded) -> Landed:
    return Landed(
        attempts=passed.attempt.number,
        commit=event.commit,
        unverified=passed.unverified,
        repairs=passed.attempt.round,
        outside=passed.work.outside,
    )


def _rejected(state: RunState, now: Gating, event: ev.CandidateRejected) -> Rejected | Failed:
    if now.attempt.round >= state.repair_rounds:
        return Failed(now.attempt.number, ev.Outcome.CHECKS_RED, event.feedback, now.work.pin)
    return Rejected(now.attempt, now.work, event.commit, event.head, event.feedback)


def _conflicted(now: Gating, event: ev.CandidateConflicted) -> SetAside | Failed:
    if not now.attempt.alone:
        return SetAside(now.attempt.number, event.paths)
    where = ", ".join(event.paths)
    reason = f"conflicts with staging in {where}, although it ran alone"
    return Failed(now.attempt.number, ev.Outcome.CONFLICT, reason, now.work.pin)


def _work(state: RunState, now: Running, event: ev.WorkCaptured) -> Work:
    """Grant the paths written outside the claims, but for those that another live chunk holds."""
    before = now.rejected.work if now.rejected else None
    own = state.plan.chunks[event.chunk].claims
    beyond = [path for path in event.touched if not any(covers(claim, path) for claim in own)]
    others = [claim for other in state.live if other != event.chunk for claim in state.held(other)]
    granted = set(before.granted if before else ())
    outside = set(before.outside if before else ())
    for path in beyond:
        claim = _claim(path)
        if claim and not first_overlap((claim,), others):
            granted.add(claim)
        if own or any(touches(other, path) for other in others):
            outside.add(path)
    return Work(event.base, event.commit, event.pin, tuple(sorted(granted)), tuple(sorted(outside)))


def _claim(path: str) -> Claim | None:
    try:
        return Claim.parse(path)
    except BadClaim:  # a name that no claim can spell, such as a leading `~`: it cannot be granted
        return None


def _granted(now: Live) -> tuple[Claim, ...]:
    match now:
        case Running():
            return now.rejected.work.granted if now.rejected else ()
        case _:
            return now.work.granted


def _attempts(now: ChunkState) -> int:
    return now.attempt.number if isinstance(now, Live) else now.attempts
