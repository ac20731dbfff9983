"""How a run changes: the one door, and the whole table of what may follow what.

`apply` is that table; what it does not name is illegal and raises.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce
from types import MappingProxyType

from auto_build.core import events as ev
from auto_build.core.claims import covers, touches
from auto_build.core.findings import Verdict
from auto_build.core.gatebook import GateBook
from auto_build.core.outcomes import MOST_BACKOFFS, NEXT, Setback, Step, repeats
from auto_build.core.plan import ChunkId
from auto_build.core.state import (
    CENT,
    REVIEWER,
    Attempt,
    ChunkState,
    Clash,
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
    Work,
)
from auto_build.core.usage import Usage


class IllegalTransition(Exception):
    """An event that the chunk's state does not allow: a bug, or a journal from elsewhere."""

    def __init__(self, state: object, event: ev.Event) -> None:
        super().__init__(f"{type(event).__name__} is not possible now ({state!r}): {event!r}")


def start(event: ev.RunStarted) -> RunState:
    """Return the state that a run begins with."""
    chunks = {chunk: _first(chunk, event) for chunk in event.plan.chunks}
    return RunState(event.plan, event.base, MappingProxyType(chunks))


def _first(chunk: ChunkId, event: ev.RunStarted | ev.PlanChanged) -> ChunkState:
    """Return the state of a chunk that a run has not seen before."""
    tried = event.attempts.get(chunk, 0)
    if chunk in event.landed:
        return Landed(tried, event.landed[chunk])
    if chunk in event.undone:
        return Undone(Landed(tried, event.undone[chunk]))
    return Pending(tried)


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
    if isinstance(event, ev.UsageReported):
        return _account(state, event)
    after = _next(state, before, event)
    state = _around(state, event)
    chunks = MappingProxyType({**state.chunks, event.chunk: after})
    queue = _queue(state.queue, event.chunk, after)
    merged = None if isinstance(event, ev.AttemptStarted) else state.merged
    head = event.commit if isinstance(event, ev.CandidateLanded) else state.head
    return replace(state, chunks=chunks, queue=queue, merged=merged, head=head)


def _apply_to_run(state: RunState, event: ev.RunEvent) -> RunState:  # noqa: C901 - a table
    match event:
        case ev.SessionOpened():
            return replace(
                state,
                gate=state.gate.opened(event.window),
                open=True,
                paused="",
                halt="",
                width=None,
                repair_rounds=event.repair_rounds,
                retries=event.retries,
                max_cost=event.max_cost,
                chunk_cost=event.chunk_cost,
            )
        case ev.SessionClosed():
            return replace(state, open=False)
        case ev.PlanChanged():
            return _change_plan(state, event)
        case ev.BaseChecked():
            return replace(state, gate=state.gate.begun(event.checks))
        case ev.QueuePaced():
            return replace(state, gate=state.gate.chosen(event))
        case ev.RunPaused():
            return replace(state, paused=event.why)
        case ev.RevisionPassed() | ev.RevisionLanded() | ev.RevisionVoided():
            return _revise(state, event)
        case ev.ReviewSpent():
            return _account(state, ev.UsageReported(REVIEWER, event.session, event.usage))
        case ev.MergeMeant() | ev.MergeVoided() | ev.RunMerged() | ev.MergeUndone():
            return _merge(state, event)
        case ev.RunParked() | ev.RunUnparked():
            return _park(state, event)
        case ev.RunDiscarded():
            return replace(state, discarded=True)
        case ev.Steered():
            return replace(state, notes=(*state.notes, event))
        case ev.StraysFound():
            return replace(state, strays=(*state.strays, event))
        case ev.RunStarted():
            return start(event)
        case _:
            return _review(state, event)


def _review(state: RunState, event: ev.QaEvent) -> RunState:
    """Return the state with what reviewers and people say of it."""
    reviewed = replace(state, qa=state.qa.after(event, state.head))
    match event:
        case ev.ReviewStarted() if state.live:
            raise IllegalTransition(state.live, event)
        case ev.FixesAsked():
            return _ask_for_fixes(reviewed, event)
        case ev.Reviewed() if event.review.verdict is not Verdict.NONE:
            return _supersede(reviewed, event.review.round)
        case _:
            return reviewed


def _ask_for_fixes(state: RunState, event: ev.FixesAsked) -> RunState:
    phase = event.phase
    if state.live or not phase.round or any(one.id in state.chunks for one in phase.chunks):
        raise IllegalTransition(state.live, event)
    plan = replace(state.plan, phases=(*state.plan.phases, phase))
    fresh = {chunk.id: Pending(event.attempts.get(chunk.id, 0)) for chunk in phase.chunks}
    chunks = {**state.chunks, **fresh}
    return replace(state, plan=plan, chunks=MappingProxyType(chunks))


def _supersede(state: RunState, round_: int) -> RunState:
    """Return a state in which what could not be mended is left to the findings of a new review."""
    over = {
        chunk.id: Skipped(_attempts(now), f"review {round_} has looked at its findings again")
        for phase in state.plan.phases
        for chunk in phase.chunks
        if phase.round and isinstance(now := state.chunks[chunk.id], Failed | Pending | SetAside)
    }
    return replace(state, chunks=MappingProxyType({**state.chunks, **over})) if over else state


def _merge(
    state: RunState, event: ev.MergeMeant | ev.MergeVoided | ev.RunMerged | ev.MergeUndone
) -> RunState:
    """Return the state while a merge is meant, after it came about or did not, or was undone."""
    match event:
        case ev.MergeMeant() if state.merging is None:
            return replace(state, merging=event)
        case ev.MergeVoided() if state.merging is not None:
            return replace(state, merging=None)
        case ev.RunMerged():
            return replace(state, merging=None, merged=event)
        case ev.MergeUndone() if state.merged is not None:
            return replace(state, merged=None)
        case _:
            raise IllegalTransition(state.merging, event)


def _park(state: RunState, event: ev.RunParked | ev.RunUnparked) -> RunState:
    parks = isinstance(event, ev.RunParked)
    if state.parked is parks:
        raise IllegalTransition(state.parked, event)
    return replace(state, parked=parks)


def _change_plan(state: RunState, event: ev.PlanChanged) -> RunState:
    """Return the state with another plan; what mends the findings of reviews stays in it."""
    mending = tuple(phase for phase in state.plan.phases if phase.round)
    plan = replace(event.plan, phases=(*event.plan.own, *mending))
    chunks: dict[ChunkId, ChunkState] = {
        chunk: state.chunks.get(chunk) or _first(chunk, event) for chunk in plan.chunks
    }
    queue = tuple(chunk for chunk in state.queue if chunk in chunks)
    return replace(state, plan=plan, chunks=MappingProxyType(chunks), queue=queue)


def _revise(
    state: RunState, event: ev.RevisionPassed | ev.RevisionLanded | ev.RevisionVoided
) -> RunState:
    """Return the state while an undo or redo is meant, and after it came about or did not."""
    meant = state.revision
    match event:
        case ev.RevisionPassed() if meant is None and all(
            _may_be_revised(state.chunks.get(chunk), event) for chunk in event.landings
        ):
            return replace(state, revision=event)
        case ev.RevisionVoided() if meant is not None:
            return replace(state, revision=None)
        case ev.RevisionLanded() if meant is not None:
            changed = {
                chunk: _revised(state.chunks[chunk], commit)
                for chunk, commit in meant.landings.items()
            }
            return replace(
                state,
                chunks=MappingProxyType({**state.chunks, **changed}),
                gate=state.gate.begun(meant.checks),
                head=meant.candidate,
                merged=None,
                revision=None,
            )
        case _:
            raise IllegalTransition(meant, event)


def _may_be_revised(now: ChunkState | None, event: ev.RevisionPassed) -> bool:
    return isinstance(now, Landed if event.revision is ev.Revision.UNDO else Undone)


def _revised(now: ChunkState, commit: str) -> ChunkState:
    """Return where a chunk stands after its landing was undone, or redone as `commit`."""
    match now:
        case Landed():
            return Undone(now)
        case Undone():
            return replace(now.was, commit=commit)
        case _:
            raise AssertionError("only what landed is undone, and only what is undone comes back")


def _queue(queue: tuple[ChunkId, ...], chunk: ChunkId, after: ChunkState) -> tuple[ChunkId, ...]:
    waits = isinstance(after, Queued)
    if waits and chunk not in queue:
        return (*queue, chunk)
    if waits or isinstance(after, Gating):
        return queue
    return tuple(one for one in queue if one != chunk)


def _account(state: RunState, event: ev.UsageReported) -> RunState:
    """Note what a conversation has used up; it never becomes less."""
    sessions = dict(state.usage.get(event.chunk, {}))
    sessions[event.session] = event.usage.at_least(sessions.get(event.session, Usage()))
    usage = {**state.usage, event.chunk: MappingProxyType(sessions)}
    return replace(state, usage=MappingProxyType(usage))


def _around(state: RunState, event: ev.ChunkEvent) -> RunState:
    """Return the state with what an event means for the others."""
    match event:
        case ev.ChunkReset():
            forgiven = {**state.forgiven, event.chunk: state.cost_of(event.chunk)}
            return replace(state, forgiven=MappingProxyType(forgiven))
        case ev.WorkCaptured():
            wider = None if state.width is None else state.width + 1
            return replace(state, width=wider, gate=state.gate.worked(event.seconds))
        case ev.AttemptEnded():
            return _after_end(state, event)
        case _:
            return replace(state, gate=_booked(state, event))


def _booked(state: RunState, event: ev.ChunkEvent) -> GateBook:
    """Return what the gate knows after an event."""
    book = state.gate
    match event:
        case ev.GateStarted():
            before = state.queue[: state.queue.index(event.chunk)]
            waiting = {one for one in before if isinstance(state.chunks[one], Queued)}
            return book.passed_over(event.chunk, state.queue, waiting)
        case ev.CandidatePassed() | ev.CandidateDoubted():
            return book.gated(event.checks)
        case ev.CandidateRejected():
            return book.gated(event.checks).failed()
        case ev.CandidateConflicted():
            return book.failed()
        case ev.CandidateLanded():
            now = state.chunks[event.chunk]
            return book.landed(now.passed.checks if isinstance(now, Landing) else ())
        case _:
            return book


def _after_end(state: RunState, event: ev.AttemptEnded) -> RunState:
    match NEXT[event.outcome]:
        case Step.WAIT:
            return replace(state, hold_until=max(state.hold_until, event.until))
        case Step.BACK_OFF:
            running = sum(isinstance(now, Running) for now in state.chunks.values())
            return replace(state, width=max(1, min(running, state.width or running) // 2))
        case Step.STOP_RUN:
            return replace(state, halt=event.detail)
        case _:
            return state


def _next(state: RunState, now: ChunkState, event: ev.ChunkEvent) -> ChunkState:  # noqa: C901 - the table
    match now, event:
        case Pending() | SetAside(), ev.AttemptStarted():
            return _begun(state, now, event)
        case Rejected(), ev.RepairStarted():
            spent = state.cost_of(event.chunk)
            attempt = replace(
                now.attempt, round=event.round, backoffs=0, budget=event.budget, before=spent
            )
            return Running(attempt, rejected=now)
        case Parked(), ev.ResumeStarted():
            spent = state.cost_of(event.chunk)
            attempt = replace(now.attempt, budget=event.budget, before=spent)
            return Running(attempt, now.aside, now.rejected)
        case Running(), ev.ConversationBegan():
            attempt = replace(now.attempt, session=event.session, base=event.base)
            return replace(now, attempt=attempt)
        case Running(), ev.ClaimTaken():
            return _taking(state, now, event)
        case Running(), ev.WorkCaptured():
            return Queued(now.attempt, _work(state, now, event))
        case Running(), ev.AttemptEnded():
            return _ended(state, now, event)
        case Running(), ev.AttemptLost():
            return _cut_off(now)
        case Queued(), ev.GateStarted():
            return Gating(now.attempt, now.work, event.ahead, head=event.onto, last=state.head)
        case Gating(), ev.CandidateBuilt():
            return replace(now, candidate=event.candidate, head=event.head)
        case Gating(), ev.CandidateSuspected():
            return replace(now, suspected=True)
        case Gating(), ev.GateLost():
            return Queued(now.attempt, now.work)
        case Gating() | Passed(), ev.GateVoided():
            return Queued(now.attempt, now.work)
        case Gating(), ev.CandidatePassed():
            return _passed(now, event)
        case Gating(), ev.CandidateDoubted():
            return Queued(now.attempt, now.work, now.ahead, now.head)
        case Gating(), ev.CandidateRejected():
            return _rejected(state, now, event)
        case Gating(), ev.CandidateConflicted():
            return _conflicted(state, now, event)
        case Passed(), ev.LandStarted():
            return Landing(now)
        case Landing(), ev.LandLost():
            return replace(now.passed, begun=True)
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


def _passed(now: Gating, event: ev.CandidatePassed) -> Passed:
    return Passed(
        attempt=now.attempt,
        work=now.work,
        candidate=event.candidate,
        head=event.head,
        unverified=event.unverified,
        dropped=event.dropped,
        ahead=now.ahead,
        checks=event.checks,
        suspected=now.suspected,
        last=now.last,
    )


def _begun(state: RunState, now: Pending | SetAside, event: ev.AttemptStarted) -> Running:
    attempt = Attempt(
        number=event.attempt,
        slot=event.slot,
        alone=event.alone,
        setbacks=now.setbacks if isinstance(now, Pending) else (),
        budget=event.budget,
        before=state.cost_of(event.chunk),
    )
    return Running(attempt, aside=now if isinstance(now, SetAside) else None)


def _cut_off(now: Running) -> ChunkState:
    """Return where a chunk stands whose coordinator was killed while its agent worked."""
    if now.attempt.session:
        why = Setback(ev.Outcome.CRASHED, "the run was cut off while the agent worked")
        base = now.rejected.head if now.rejected else now.attempt.base
        return Parked(now.attempt, why, 0.0, base, "", now.aside, now.rejected)
    return now.rejected or now.aside or Pending(now.attempt.number - 1, now.attempt.setbacks)


def _ended(state: RunState, now: Running, event: ev.AttemptEnded) -> ChunkState:
    """Return what follows where an agent stopped without work that could land.

    One that cannot resolve a conflict has not failed: the chunk is done anew, without a conflict.
    """
    after = _after_ending(state, now, event)
    resolving = now.rejected is not None and bool(now.rejected.conflict)
    clash = now.attempt.clash if resolving and not now.attempt.alone else None
    if isinstance(after, Failed) and clash and event.outcome is not ev.Outcome.BUDGET:
        return SetAside(now.attempt.number, clash.paths, now.attempt.session)
    return after


def _after_ending(state: RunState, now: Running, event: ev.AttemptEnded) -> ChunkState:
    setback = Setback(event.outcome, event.detail, event.pin)
    attempt = now.attempt
    failed = _failed(now, setback, setback.in_words())
    parked = Parked(
        attempt, setback, event.until, event.base, event.commit, now.aside, now.rejected
    )
    if event.outcome is ev.Outcome.NO_CHANGE and now.rejected:
        return _disputed(now, now.rejected, setback)
    match NEXT[event.outcome]:
        case Step.GIVE_UP:
            return failed
        case Step.WAIT:
            return replace(parked, attempt=replace(attempt, backoffs=attempt.backoffs + 1))
        case Step.STOP_RUN:
            return parked
        case Step.ASK_FOR_MONEY:
            left = state.left_for(event.chunk)
            return failed if attempt.budget is None or (left or CENT) < CENT else parked
        case Step.BACK_OFF:
            if attempt.backoffs >= MOST_BACKOFFS:
                return failed
            return replace(parked, attempt=replace(attempt, backoffs=attempt.backoffs + 1))
        case Step.AGAIN | Step.RESUME as step:
            return _once_more(state, now, parked, setback, resume=step is Step.RESUME)


def _disputed(now: Running, rejected: Rejected, setback: Setback) -> Queued:
    """Return work that its agent finds nothing wrong with: its checks have the last word."""
    attempt = replace(now.attempt, setbacks=(*now.attempt.setbacks, setback))
    return Queued(attempt, rejected.work)


def _once_more(
    state: RunState, now: Running, parked: Parked, setback: Setback, *, resume: bool
) -> ChunkState:
    """Return the next try after a failure, unless it was met before or no try is left."""
    earlier = now.attempt.setbacks
    tried = sum(one.outcome is not ev.Outcome.CHECKS_RED for one in earlier)
    if tried >= state.retries:
        return _failed(now, setback, setback.in_words())
    if repeats(earlier, setback):
        return _failed(now, setback, f"the same failure twice: {setback.in_words()}")
    attempt = replace(now.attempt, setbacks=(*earlier, setback))
    if resume and attempt.session:
        return replace(parked, attempt=attempt)
    if now.rejected:
        return replace(now.rejected, attempt=replace(attempt, round=now.rejected.attempt.round))
    return now.aside or Pending(attempt.number, attempt.setbacks)


def _failed(now: Running, setback: Setback, reason: str) -> Failed:
    pin = setback.pin or (now.rejected.work.pin if now.rejected else "")
    return Failed(now.attempt.number, setback.outcome, reason, pin)


def _landed(passed: Passed, event: ev.CandidateLanded) -> Landed:
    return Landed(
        attempts=passed.attempt.number,
        commit=event.commit,
        unverified=passed.unverified,
        dropped=passed.dropped,
        repairs=passed.attempt.round,
        outside=passed.work.outside,
    )


def _rejected(
    state: RunState, now: Gating, event: ev.CandidateRejected
) -> Rejected | SetAside | Failed:
    red = Setback(ev.Outcome.CHECKS_RED, event.feedback, now.work.pin)
    if failed := _beyond_repair(state, now.attempt, red):
        clash = now.attempt.clash
        if clash and not now.attempt.alone:  # resolved badly: it is done anew, without a conflict
            return SetAside(now.attempt.number, clash.paths, now.attempt.session)
        return failed
    attempt = replace(now.attempt, setbacks=(*now.attempt.setbacks, red))
    attempt = replace(attempt, culprits=event.culprits or _same_culprits(now.attempt, red))
    clash = attempt.clash
    if event.lost and clash is None:  # git merged it, and what is missing is looked for again
        clash = Clash(now.work.commit, event.lost)
    elif clash and event.checks:  # none is run before both sides were found whole
        clash = replace(clash, settled=True)
    attempt = replace(attempt, clash=clash)
    return Rejected(attempt, now.work, event.commit, event.head, event.feedback)


def _beyond_repair(state: RunState, attempt: Attempt, red: Setback) -> Failed | None:
    """Return how a chunk fails whose work is red, where no repair round can help any more."""
    last = attempt.setbacks[-1:]
    if last and last[0].outcome is ev.Outcome.NO_CHANGE and attempt.round:
        why = f"its agent changed nothing in repair round {attempt.round}; run again, it is"
        return Failed(attempt.number, last[0].outcome, f"{why} still red: {red.reason}", red.pin)
    if attempt.round >= state.rounds_of(attempt):
        return Failed(attempt.number, red.outcome, red.reason, red.pin)
    if repeats(attempt.setbacks, red):
        why = f"the same failure twice, with a repair in between: {red.reason}"
        return Failed(attempt.number, red.outcome, why, red.pin)
    return None


def _same_culprits(attempt: Attempt, red: Setback) -> tuple[ChunkId, ...]:
    """Return with whom the work was red before, if it is red by the same check again."""
    before = attempt.setbacks[-1:]
    line = red.reason.partition("\n")[0]
    same = bool(before) and before[0].reason.partition("\n")[0] == line
    return attempt.culprits if same else ()


def _conflicted(
    state: RunState, now: Gating, event: ev.CandidateConflicted
) -> Rejected | SetAside | Failed:
    """Return the next rung: its agent resolves it, or does it anew and alone, or nobody can.

    Who resolves it holds the paths that are free, so that no other one is in conflict there next.
    """
    attempt, pin = now.attempt, now.work.pin
    where = ", ".join(event.paths)
    if attempt.alone:
        reason = (
            f"conflicts with staging in {where}, although it ran alone; its side is kept as {pin},"
            f" the other one is {event.head[:10]} in staging"
        )
        return Failed(attempt.number, ev.Outcome.CONFLICT, reason, pin)
    if attempt.clash or not event.commit:
        return SetAside(attempt.number, event.paths, attempt.session)
    clash = Clash(now.work.commit, event.paths)
    asked = replace(attempt, clash=clash, culprits=event.culprits)
    free = {claim for path in event.paths if (claim := state.free_claim(event.chunk, path))}
    work = replace(now.work, granted=tuple(sorted({*now.work.granted, *free})))
    return Rejected(asked, work, event.commit, event.head, event.feedback, event.paths)


def _work(state: RunState, now: Running, event: ev.WorkCaptured) -> Work:
    """Grant the paths written outside the claims, but for those that another live chunk holds."""
    before = now.rejected.work if now.rejected else None
    own = state.plan.chunks[event.chunk].claims
    beyond = [path for path in event.touched if not any(covers(claim, path) for claim in own)]
    others = state.held_by_others(event.chunk)
    granted = set(before.granted if before else ())
    outside = set(before.outside if before else ())
    dropped = dict.fromkeys((*(before.dropped if before else ()), *event.dropped))
    for path in beyond:
        if claim := state.free_claim(event.chunk, path):
            granted.add(claim)
        if own or any(touches(other, path) for other in others):
            outside.add(path)
    return Work(
        base=event.base,
        commit=event.commit,
        pin=event.pin,
        granted=tuple(sorted(granted)),
        outside=tuple(sorted(outside)),
        dropped=tuple(dropped),
    )


def _taking(state: RunState, now: Running, event: ev.ClaimTaken) -> Running:
    """Return a chunk with one more claim, which nobody else may hold."""
    claim = state.free_claim(event.chunk, event.path)
    if claim is None:
        raise IllegalTransition(now, event)
    attempt = replace(now.attempt, taken=tuple(sorted({*now.attempt.taken, claim})))
    return replace(now, attempt=attempt)


def _attempts(now: ChunkState) -> int:
    return now.attempt.number if isinstance(now, Live) else now.attempts
