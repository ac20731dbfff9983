"""Which chunks an undo takes out and a redo brings back, and what stands in the way. Pure.

Who is taken out takes along what needs it, and who comes back brings what it needs: staging never
holds a chunk without those that it was built on.
"""

from collections.abc import Iterable

from auto_build.core.plan import ChunkId, upstream
from auto_build.core.state import Done, Landed, Live, RunState, Undone


def taken_out(state: RunState, wanted: Iterable[ChunkId]) -> tuple[ChunkId, ...]:
    """Return the landed chunks among those wanted, with all landed ones that need them."""
    roots = set(wanted)
    return tuple(
        chunk
        for chunk, now in state.chunks.items()
        if isinstance(now, Landed) and (chunk in roots or _needs(state, chunk) & roots)
    )


def brought_back(state: RunState, wanted: Iterable[ChunkId]) -> tuple[ChunkId, ...]:
    """Return the undone chunks among those wanted, with all undone ones that they need."""
    tops = set(wanted)
    needed = {one for chunk in tops for one in _needs(state, chunk)}
    return tuple(
        chunk
        for chunk, now in state.chunks.items()
        if isinstance(now, Undone) and chunk in tops | needed
    )


def under_way(state: RunState, chunks: Iterable[ChunkId]) -> tuple[ChunkId, ...]:
    """Return the chunks that are at work, or wait for the gate, on what some chunks brought."""
    roots = set(chunks)
    return tuple(
        chunk
        for chunk, now in state.chunks.items()
        if isinstance(now, Live) and _needs(state, chunk) & roots
    )


def missing(state: RunState, chunks: Iterable[ChunkId]) -> tuple[ChunkId, ...]:
    """Return what chunks need that is not done, themselves excepted."""
    there = set(chunks)
    needed = {one for chunk in there for one in _needs(state, chunk)} - there
    return tuple(
        chunk
        for chunk, now in state.chunks.items()
        if chunk in needed and not isinstance(now, Done)
    )


def _needs(state: RunState, chunk: ChunkId) -> frozenset[ChunkId]:
    return upstream(state.plan.needs, chunk)
