"""What the gate does next: which candidate is checked on top of which, and which may land. Pure.

Candidates that are checked or green form a stack: the lowest stands on staging's head, each other
on the candidate of the one `ahead` of it, in the belief that it will land. Only the lowest lands,
and only the lowest can be rejected: of another that is red nobody knows yet whose fault it is, so
that it leaves the stack and waits for those it stood on. The lowest leaves it as soon as it is red
once, and is run again beside it. Where one leaves without landing, what was built on it is
withdrawn and checked again, on the nearest that has not failed. No agent's work is touched by any
of that. How high the stack may be is the gate book's `window`: 1 is one after the other, and the
only height while gates are short.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from auto_build.core import events as ev
from auto_build.core.claims import Claim, touches
from auto_build.core.commands import Gate, Land, Withdraw
from auto_build.core.graph import length_to_end
from auto_build.core.plan import ChunkId, upstream
from auto_build.core.state import Gating, Landed, Landing, Passed, Queued, RunState, Stacked
from auto_build.core.verdict import FEW, MANY

AHEAD_FROM: Final = 0.8  # gate time x workers / agent time, from which on looking ahead pays
ONE_BY_ONE_BELOW: Final = 0.5
_MEASURED: Final = 2  # agents and gates that must be measured before anything is chosen


def pace(state: RunState, *, slots: int) -> ev.QueuePaced | None:
    """Return how candidates are to be checked from now on, where that changes."""
    times, ahead = state.gate.pace, state.gate.looks_ahead
    if min(times.agents, times.gates) < _MEASURED or min(slots, state.gate.widest) < 2:
        return None
    limit = ONE_BY_ONE_BELOW if ahead else AHEAD_FROM
    wanted = times.gate_mean_s * slots >= limit * times.agent_mean_s
    if wanted == ahead:
        return None
    agent_s, gate_s = round(times.agent_mean_s, 3), round(times.gate_mean_s, 3)
    return ev.QueuePaced(wanted, agent_s, gate_s, slots)


def withdraw(state: RunState) -> Withdraw | None:
    """Return a candidate that stands on one which did not land, or that was left behind."""
    for chunk, now in state.chunks.items():
        if isinstance(now, Gating | Passed) and not _stands(state, now):
            return Withdraw(chunk)
        if isinstance(now, Passed) and _is_left_behind(state, now):
            return Withdraw(chunk)
    return None


def land(state: RunState) -> Land | None:
    """Return the landing of the lowest candidate, if it is green."""
    for chunk, now in state.chunks.items():
        if isinstance(now, Passed) and not _is_landing(state, now.ahead):
            return Land(chunk, now.candidate, now.head, now.begun)
    return None


def gate(state: RunState) -> Gate | None:
    """Return the candidate to be checked next, if another one may be."""
    stack = dict(_stack(state))
    under_way = sum(isinstance(now, Stacked) for now in state.chunks.values())
    if under_way >= state.gate.window:
        return None
    top = _top(stack)
    if top and not stack[top].candidate:
        return None  # it is being built
    for chunk in _by_urgency(state):
        now = state.chunks[chunk]
        if isinstance(now, Queued):
            return Gate(
                chunk=chunk,
                attempt=now.attempt.number,
                slot=now.attempt.slot,
                base=now.work.base,
                commit=now.work.commit,
                ahead=top,
                onto=stack[top].candidate if top else "",
                runs=1 if top else _runs(state, now),
            )
    return None


def _runs(state: RunState, now: Queued) -> int:
    """Return how often a red check is run: before a chunk fails for good, more than before."""
    was_red = any(one.outcome is ev.Outcome.CHECKS_RED for one in now.attempt.setbacks)
    return MANY if was_red or now.attempt.round >= state.rounds_of(now.attempt) else FEW


# --- the stack -----------------------------------------------------------------------------------


def _stack(state: RunState) -> Iterator[tuple[ChunkId, Stacked]]:
    for chunk in state.plan.chunks:
        now = state.chunks[chunk]
        if isinstance(now, Stacked) and not _is_suspected(now):
            yield chunk, now


def _is_suspected(now: Stacked) -> bool:
    return not isinstance(now, Landing) and now.suspected


def _is_left_behind(state: RunState, now: Passed) -> bool:
    """Say whether others went on without a candidate that was red once and then green."""
    if not now.suspected or now.begun:
        return False
    return state.head != now.last or next(_stack(state), None) is not None


def _top(stack: Mapping[ChunkId, Stacked]) -> ChunkId | None:
    """Return the one on which nobody stands."""
    below = {_ahead(now) for now in stack.values()}
    return next((chunk for chunk in stack if chunk not in below), None)


def _ahead(now: Stacked) -> ChunkId | None:
    return now.passed.ahead if isinstance(now, Landing) else now.ahead


def _is_landing(state: RunState, ahead: ChunkId | None) -> bool:
    """Say whether the one ahead has yet to land."""
    return ahead is not None and not isinstance(state.chunks.get(ahead), Landed)


def _stands(state: RunState, now: Gating | Passed) -> bool:
    """Say whether what a candidate was built on has landed or still may.

    One that passed is held, too, against what landed meanwhile: a test that the one ahead has
    mended may not fail in it again.
    """
    if now.ahead is None or (isinstance(now, Passed) and now.begun):
        return True
    under = state.chunks.get(now.ahead)
    if isinstance(under, Landed):
        return under.commit == now.head and _is_no_worse(state, now)
    if not isinstance(under, Stacked) or _is_suspected(under) or under.candidate != now.head:
        return False
    return isinstance(under, Landing) or _stands(state, under)


def _is_no_worse(state: RunState, now: Gating | Passed) -> bool:
    return isinstance(now, Gating) or all(
        result.standing.is_no_worse_than(state.gate.standing[result.check.key])
        for result in now.checks
        if result.check.key in state.gate.standing
    )


# --- the queue -----------------------------------------------------------------------------------


def _by_urgency(state: RunState) -> list[ChunkId]:
    """Return who may be checked now: first what most waits for, then what has waited longest.

    Each time that somebody who came later goes first counts as much as a chunk on the longest way
    to the end, so that nobody waits for ever.
    """
    length = length_to_end(state.plan)
    after = _trespasses(state)
    waiting = [
        chunk for chunk in state.queue if _may_land(chunk, after) and not _doubts(state, chunk)
    ]
    return sorted(
        waiting, key=lambda one: -(length[one] + state.gate.overtaken.get(one, 0))
    )  # stable


def _doubts(state: RunState, chunk: ChunkId) -> bool:
    """Say whether a chunk waits to see what becomes of one on which it was red."""
    now = state.chunks[chunk]
    if not isinstance(now, Queued) or now.doubts is None:
        return False
    under = state.chunks.get(now.doubts)
    return isinstance(under, Stacked) and under.candidate == now.head


def _trespasses(state: RunState) -> Mapping[ChunkId, frozenset[ChunkId]]:
    """Return for each live chunk the ones into whose claims its work was written."""
    live = state.live
    return {
        chunk: frozenset(
            other
            for other in live
            if other != chunk and isinstance(now, Queued) and _wrote_into(now, state.held(other))
        )
        for chunk, now in live.items()
    }


def _wrote_into(now: Queued, claims: Sequence[Claim]) -> bool:
    return any(touches(claim, path) for path in now.work.outside for claim in claims)


def _may_land(chunk: ChunkId, after: Mapping[ChunkId, frozenset[ChunkId]]) -> bool:
    """Say whether nobody is left whom the chunk has to let land before it.

    A chunk at work waits for nobody, and chunks that wrote into each other do not wait for each
    other, so that there is always one that may land or is at work.
    """
    return all(chunk in upstream(after, other) for other in after[chunk])
