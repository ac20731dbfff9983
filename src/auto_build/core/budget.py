"""What the next agent may spend: reserved when it is started, so that the sum cannot be overshot.

What agents at work have been granted and not yet spent is reserved. The rest of the run's budget is
shared evenly among the worker slots that are free. An agent whose cost nobody knows spends nothing
here: such a budget bounds no more than how many of them are started.
"""

from dataclasses import dataclass
from typing import Final

from auto_build.core.plan import ChunkId
from auto_build.core.state import Running, RunState

LEAST: Final = 0.01  # US dollars, below which starting an agent is of no use


@dataclass(frozen=True, slots=True)
class Grant:
    """What an agent may spend, in US dollars; None is any amount."""

    limit: float | None


def find_grant(state: RunState, chunk: ChunkId, *, slots: int) -> Grant | None:
    """Return what the chunk's next agent may spend, or None where there is no money for it."""
    bounds = [
        bound for bound in (state.left_for(chunk), _share(state, slots=slots)) if bound is not None
    ]
    if not bounds:
        return Grant(None)
    least = min(bounds)
    return Grant(round(least, 6)) if least >= LEAST else None


def reserved(state: RunState) -> float:
    """Return what agents at work may still spend, in US dollars."""
    return sum(
        max(0.0, now.attempt.budget - (state.cost_of(chunk) - now.attempt.before))
        for chunk, now in state.chunks.items()
        if isinstance(now, Running) and now.attempt.budget is not None
    )


def _share(state: RunState, *, slots: int) -> float | None:
    if state.max_cost is None:
        return None
    running = sum(isinstance(now, Running) for now in state.chunks.values())
    free = state.max_cost - (state.spent.cost_usd or 0.0) - reserved(state)
    return free / max(1, slots - running)
