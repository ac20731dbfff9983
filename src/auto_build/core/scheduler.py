"""What to do next, given a state. Pure, deterministic, and never stuck.

Order of service: finish what is nearly done first (land, gate, repair), then start new chunks,
those with the longest way to the end first. What the gate does stands in `stack`. A chunk that was
set aside starts when nothing else runs or could, and then runs alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import inf

from auto_build.core import events as ev
from auto_build.core.budget import LEAST, find_grant
from auto_build.core.claims import first_overlap
from auto_build.core.commands import Command, Repair, Resume, StartAttempt
from auto_build.core.graph import length_to_end
from auto_build.core.plan import ChunkId
from auto_build.core.stack import gate, land, withdraw
from auto_build.core.state import (
    STAGING_SLOT,
    Done,
    Failed,
    Gating,
    Landing,
    Parked,
    Passed,
    Pending,
    Rejected,
    Running,
    RunState,
    SetAside,
    Undone,
)
from auto_build.core.transitions import apply


def decide(state: RunState, *, slots: int, now: float = inf) -> tuple[Command, ...]:
    """Return every command that can be started now.

    Args:
        state: how things stand.
        slots: how many worker slots there are.
        now: the time in seconds since the epoch; without one, nothing has to be waited for.
    """
    commands: list[Command] = []
    while (command := _first(state, slots, now)) is not None:
        commands.append(command)
        state = apply(state, command.started)
    return tuple(commands)


def next_wake(state: RunState, *, now: float) -> float | None:
    """Return when there is something to do again without anything happening before.

    In seconds since the epoch; None where waiting is of no use.
    """
    if state.paused or state.halt:
        return None
    times = [one.until for one in state.chunks.values() if isinstance(one, Parked)]
    if state.hold_until > now:
        times.append(state.hold_until)
    later = [max(at, state.hold_until) for at in times if max(at, state.hold_until) > now]
    return min(later, default=None)


def out_of_money(state: RunState, *, slots: int, now: float = inf) -> str:
    """Say which budget keeps anything from being started, where nothing else does."""
    if decide(state, slots=slots, now=now):
        return ""
    unbound = replace(state, max_cost=None, chunk_cost=None)
    kept = [one.chunk for one in decide(unbound, slots=slots, now=now)]
    if not kept:
        return ""
    spent = state.spent.cost_usd or 0.0
    for chunk in kept:
        left = state.left_for(chunk)
        if left is not None and left < LEAST:
            return f"the budget of chunk {chunk} is used up: ${state.cost_of(chunk):.2f} spent"
    return f"the run's budget of ${state.max_cost or 0.0:.2f} is used up: ${spent:.2f} spent"


def lost(state: RunState) -> tuple[ev.Event, ...]:
    """Return the events that account for what a dead coordinator had begun and not ended."""
    return tuple(event for chunk in state.chunks for event in _lost(state, chunk))


def blocked(state: RunState) -> Mapping[ChunkId, tuple[ChunkId, ...]]:
    """Return the chunks that can never start as things stand, with who keeps them from it.

    Those are chunks that failed, or were undone.
    """
    roots: dict[ChunkId, tuple[ChunkId, ...]] = {}
    for chunk in state.chunks:
        if isinstance(state.chunks[chunk], Pending | SetAside) and (
            found := _failed_above(state, chunk)
        ):
            roots[chunk] = found
    return roots


def waits_for(state: RunState, chunk: ChunkId) -> tuple[ChunkId, ...]:
    """Return what a pending chunk waits for: dependencies first, else the holders of its claims."""
    needs = state.plan.needs[chunk] | state.plan.follows[chunk]
    missing = tuple(
        one for one in state.plan.chunks if one in needs and not _let_through(state, chunk, one)
    )
    return missing or tuple(_in_the_way(state, chunk))


def _first(state: RunState, slots: int, now: float) -> Command | None:
    nearly_done = withdraw(state) or land(state) or gate(state)
    if nearly_done or state.paused or state.halt or now < state.hold_until:
        return nearly_done
    return _repair(state, slots) or _resume(state, slots, now) or _start(state, slots)


def _repair(state: RunState, slots: int) -> Repair | None:
    for chunk in state.plan.chunks:
        now = state.chunks[chunk]
        if isinstance(now, Rejected) and (grant := find_grant(state, chunk, slots=slots)):
            attempt = now.attempt
            return Repair(
                chunk=chunk,
                attempt=attempt.number,
                round=attempt.round + 1,
                slot=attempt.slot,
                commit=now.commit,
                head=now.head,
                feedback=now.feedback,
                budget=grant.limit,
            )
    return None


def _resume(state: RunState, slots: int, now: float) -> Resume | None:
    if not _room(state, slots):
        return None
    for chunk in _by_urgency(state):
        one = state.chunks[chunk]
        if (
            isinstance(one, Parked)
            and one.until <= now
            and (grant := find_grant(state, chunk, slots=slots))
        ):
            return Resume(
                chunk=chunk,
                attempt=one.attempt.number,
                round=one.attempt.round,
                slot=one.attempt.slot,
                base=one.base,
                commit=one.commit,
                budget=grant.limit,
            )
    return None


def _room(state: RunState, slots: int) -> bool:
    """Say whether another agent may be at work."""
    running = sum(isinstance(now, Running) for now in state.chunks.values())
    return running < min(slots, state.width or slots)


def _start(state: RunState, slots: int) -> StartAttempt | None:
    live = state.live
    slot = _free_slot(state, slots)
    if slot is None or any(now.attempt.alone for now in live.values()):
        return None
    for chunk in _by_urgency(state):
        now = state.chunks[chunk]
        if (
            isinstance(now, Pending)
            and _can_start(state, chunk)
            and (grant := find_grant(state, chunk, slots=slots))
        ):
            place = _place_of(state, chunk, slot)
            return StartAttempt(chunk, now.attempts + 1, place, budget=grant.limit)
    if live:
        return None
    for chunk in _by_urgency(state):
        now = state.chunks[chunk]
        if (
            isinstance(now, SetAside)
            and _can_start(state, chunk)
            and (grant := find_grant(state, chunk, slots=slots))
        ):
            place = _place_of(state, chunk, slot)
            return StartAttempt(chunk, now.attempts + 1, place, alone=True, budget=grant.limit)
    return None


def _place_of(state: RunState, chunk: ChunkId, slot: int) -> int:
    """Return where a chunk's agent works: in the slot, or in the staging worktree.

    Of those that work in staging there is one at a time: they are asked for one by one, when nobody
    else is at work.
    """
    return STAGING_SLOT if chunk in state.qa.in_staging else slot


def _free_slot(state: RunState, slots: int) -> int | None:
    """Return the lowest free worker slot, if another agent may be at work."""
    taken = {now.attempt.slot for now in state.live.values()}
    if len(taken) >= slots or not _room(state, slots):
        return None
    return next(number for number in range(1, len(taken) + 2) if number not in taken)


def _by_urgency(state: RunState) -> list[ChunkId]:
    length = length_to_end(state.plan)
    return sorted(state.plan.chunks, key=lambda chunk: -length[chunk])  # stable: then as listed


def _can_start(state: RunState, chunk: ChunkId) -> bool:
    needs = state.plan.needs[chunk] | state.plan.follows[chunk]
    if not all(_let_through(state, chunk, one) for one in needs):
        return False
    return next(_in_the_way(state, chunk), None) is None


def _let_through(state: RunState, chunk: ChunkId, upstream: ChunkId) -> bool:
    now = state.chunks[upstream]
    if isinstance(now, Done):
        return True
    if upstream in state.plan.needs[chunk]:
        return False
    return isinstance(now, Failed | Undone) or (
        isinstance(now, Pending | SetAside) and bool(_failed_above(state, upstream))
    )


def _in_the_way(state: RunState, chunk: ChunkId) -> Iterator[ChunkId]:
    """Yield the live chunks beside which `chunk` must not run."""
    claims = state.held(chunk)
    phase = state.plan.phase_of[chunk]
    for other in state.live:
        theirs = state.plan.chunks[other].claims
        silent = not theirs or not state.plan.chunks[chunk].claims
        if (silent and state.plan.phase_of[other] == phase) or first_overlap(
            claims, state.held(other)
        ):
            yield other


def _failed_above(state: RunState, chunk: ChunkId) -> tuple[ChunkId, ...]:
    seen: set[ChunkId] = set()
    todo = list(state.plan.needs[chunk])
    while todo:
        one = todo.pop()
        if one not in seen and not isinstance(state.chunks[one], Done):
            seen.add(one)
            todo.extend(state.plan.needs[one])
    return tuple(
        one
        for one in state.chunks
        if one in seen and isinstance(state.chunks[one], Failed | Undone)
    )


def _lost(state: RunState, chunk: ChunkId) -> Iterator[ev.Event]:
    match state.chunks[chunk]:
        case Running():
            yield ev.AttemptLost(chunk)
        case Gating():
            yield ev.GateLost(chunk)
        case Passed(begun=False):  # checks may have been added since
            yield ev.GateVoided(chunk)
        case Landing():
            yield ev.LandLost(chunk)
        case _:
            return
