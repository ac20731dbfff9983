"""What follows from a plan's dependencies: an order, and how long the way to the end is."""

from collections.abc import Mapping
from functools import lru_cache
from graphlib import TopologicalSorter
from types import MappingProxyType
from typing import Final

from auto_build.core.claims import Claim, first_overlap
from auto_build.core.plan import ChunkId, Plan, upstream

_PAIRS: Final = 200
_PLANS: Final = 16  # plans of which the lengths are kept: deciding asks for them all the time


def order(plan: Plan) -> tuple[ChunkId, ...]:
    """Return every chunk, each after what it needs and follows."""
    return tuple(TopologicalSorter(_edges(plan)).static_order())


@lru_cache(maxsize=_PLANS)
def length_to_end(plan: Plan) -> Mapping[ChunkId, int]:
    """Return how many chunks stand on the longest way from each chunk to the end, itself included.

    The chunk with the longest way is the one to start first.
    """
    after: dict[ChunkId, set[ChunkId]] = {chunk: set() for chunk in plan.chunks}
    for chunk, needed in _edges(plan).items():
        for one in needed:
            after[one].add(chunk)
    length: dict[ChunkId, int] = {}
    for chunk in reversed(order(plan)):
        length[chunk] = 1 + max((length[one] for one in after[chunk]), default=0)
    return MappingProxyType(length)


def overlapping_pairs(plan: Plan) -> list[tuple[ChunkId, ChunkId, Claim, Claim]]:
    """Return pairs of chunks that could run side by side but for one claim; at most 200."""
    edges = _edges(plan)
    above = {chunk: upstream(edges, chunk) for chunk in plan.chunks}
    found: list[tuple[ChunkId, ChunkId, Claim, Claim]] = []
    ids = list(plan.chunks)
    for place, one in enumerate(ids):
        for other in ids[place + 1 :]:
            if one in above[other] or other in above[one]:
                continue
            if pair := first_overlap(plan.chunks[one].claims, plan.chunks[other].claims):
                found.append((one, other, *pair))
                if len(found) == _PAIRS:
                    return found
    return found


def _edges(plan: Plan) -> dict[ChunkId, frozenset[ChunkId]]:
    return {chunk: plan.needs[chunk] | plan.follows[chunk] for chunk in plan.chunks}
