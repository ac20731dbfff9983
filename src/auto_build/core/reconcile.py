"""What changed while no coordinator was watching: the plan file and git, held against the state.

Pure: what was read comes in as values, and the events that account for it go out. Git is believed
where it and a file disagree; a status in the file counts where somebody edited it since the tool
last wrote it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from auto_build.core import events as ev
from auto_build.core.dialects import FileStatus
from auto_build.core.plan import ChunkId, Plan
from auto_build.core.planfile import PlanFile
from auto_build.core.scheduler import lost
from auto_build.core.state import Done, Landed, Live, Parked, Pending, RunState, Undone
from auto_build.core.transitions import apply, start

NOTHING: Final[Mapping[ChunkId, str]] = MappingProxyType({})
_DONE: Final = frozenset({FileStatus.COMPLETED, FileStatus.SKIPPED})


def begin(
    file: PlanFile,
    *,
    base: str,
    landed: Mapping[ChunkId, str],
    attempts: Mapping[ChunkId, int],
    undone: Mapping[ChunkId, str] = NOTHING,
) -> tuple[ev.Event, ...]:
    """Return the events that begin a build from a plan file.

    Args:
        file: the plan as it was read.
        base: the commit that the build starts from.
        landed: chunks whose commits git already has, in the base or in staging.
        attempts: the highest attempt number pinned for each chunk.
        undone: chunks whose landings were taken out of staging.
    """
    started = ev.RunStarted(file.plan, base, dict(landed), dict(attempts), dict(undone))
    state = start(started)
    return (started, *_marked_done(state, file, state.chunks))


def take_in(
    state: RunState,
    file: PlanFile,
    *,
    landed: Mapping[ChunkId, str],
    attempts: Mapping[ChunkId, int],
    undone: Mapping[ChunkId, str] = NOTHING,
) -> tuple[ev.Event, ...]:
    """Return the events that account for what happened since the last session.

    Arguments as for `begin`; they are looked up anew.
    """
    found: list[ev.Event] = list(lost(state))
    known = state.chunks
    if file.plan.phases != state.plan.own or file.plan.title != state.plan.title:
        fresh = {
            chunk: landed[chunk] for chunk in file.plan.chunks if chunk in landed.keys() - known
        }
        gone = {
            chunk: undone[chunk] for chunk in file.plan.chunks if chunk in undone.keys() - known
        }
        found.append(ev.PlanChanged(file.plan, dict(attempts), fresh, gone))
    for event in found:
        state = apply(state, event)
    added = [chunk for chunk in state.chunks if chunk not in known and chunk not in file.edited]
    wishes = (*_edited(state, file), *_marked_done(state, file, added))
    heard = {wish.chunk for wish in wishes}
    found.extend(wishes)
    found.extend(
        ev.ChunkReset(chunk, f"its commit {now.commit[:10]} is no longer in staging")
        for chunk, now in state.chunks.items()
        if isinstance(now, Landed) and landed.get(chunk) is None and chunk not in heard
    )
    return tuple(found)


def describe_change(old: Plan, new: Plan) -> str:
    """Say in a few words how a plan was edited, apart from what mends the findings of reviews."""
    old, new = (replace(plan, phases=plan.own) for plan in (old, new))
    added = [chunk for chunk in new.chunks if chunk not in old.chunks]
    removed = [chunk for chunk in old.chunks if chunk not in new.chunks]
    changed = [
        chunk
        for chunk in new.chunks
        if chunk in old.chunks and new.chunks[chunk] != old.chunks[chunk]
    ]
    parts = [
        f"{word} {', '.join(chunks)}"
        for word, chunks in (("added", added), ("removed", removed), ("changed", changed))
        if chunks
    ]
    return "; ".join(parts) or "phases changed"


def is_admissible(state: RunState, wish: ev.Event) -> bool:
    """Say whether somebody's wish can be granted now; work that is under way is never cut off."""
    match wish:
        case ev.RunPaused():
            return True
        case ev.Steered():
            return wish.to is None or wish.to in state.chunks
        case ev.ChunkReset() | ev.ChunkSkipped():
            now = state.chunks.get(wish.chunk)
            return now is not None and (isinstance(now, Parked) or not isinstance(now, Live))
        case _:
            return False


def _edited(state: RunState, file: PlanFile) -> Iterator[ev.ChunkReset | ev.ChunkSkipped]:
    for chunk in file.plan.chunks:
        now = state.chunks[chunk]
        if chunk not in file.edited:
            continue
        if file.statuses[chunk] in _DONE and not isinstance(now, Done):
            yield ev.ChunkSkipped(chunk, "marked as done in the plan file")
        elif file.statuses[chunk] is FileStatus.PENDING and not isinstance(now, Pending):
            yield ev.ChunkReset(chunk, "set back to pending in the plan file")


def _marked_done(
    state: RunState, file: PlanFile, among: Iterable[ChunkId]
) -> Iterator[ev.ChunkSkipped]:
    for chunk in among:
        if file.statuses[chunk] in _DONE and not isinstance(state.chunks[chunk], Done | Undone):
            yield ev.ChunkSkipped(chunk, "the plan file says it is done; no commit shows it")
