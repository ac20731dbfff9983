"""Undos and redos as commits on top of staging, built off-tree.

Invariants: history is never rewritten; what is built here is in no ref; each step is a three-way
merge that is seen to keep every line that was added since. What stands in the way is a value.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from auto_build.core.conservation import Lost
from auto_build.core.evidence import SPEC_TRAILER, Signed
from auto_build.core.plan import ChunkId
from auto_build.git.conservation import find_lost
from auto_build.git.landing import Label
from auto_build.git.parse import Commit, Tree
from auto_build.git.repo import Conflict, Repo

_STEP: Final = "step\n"  # of commits that only lead to a tree
_NAMED: Final = 4  # chunks in a subject


@dataclass(frozen=True, slots=True)
class Clash:
    """A landing whose change cannot be taken out, or brought back: others wrote in its place.

    `chunks` are those whose landings touched the `paths` later; `lost` the lines that a merge would
    have dropped without a conflict.
    """

    chunk: str
    paths: tuple[str, ...]
    chunks: tuple[str, ...] = ()
    lost: tuple[Lost, ...] = ()


@dataclass(frozen=True, slots=True)
class Redone:
    """A landing that was brought back: `commit` on top of what was there."""

    chunk: str
    commit: Commit
    tree: Tree


async def take_out(
    repo: Repo, spec: str, landings: Sequence[Signed], stay: Iterable[Signed], head: Commit
) -> Commit | Clash:
    """Return a commit on `head` without what landings brought; they come with the latest first.

    `stay` are the other landings that staging holds.
    """
    others = tuple(stay)
    onto = head
    for landing in landings:
        old = Commit(landing.commit)
        before = await repo.commit_tree(await repo.tree_of(_parent(landing)), [old], _STEP)
        tree = await repo.graft(old, before, onto)
        if isinstance(tree, Conflict):
            return await _clash(repo, landing, others, tree.paths)
        after = await repo.commit_tree(tree, [head], _STEP)
        if lost := (await find_lost(repo, old, onto, before, after)).lost:
            paths = tuple(dict.fromkeys(one.path for one in lost))
            return await _clash(repo, landing, others, paths, lost)
        onto = after
    tree = await repo.tree_of(onto)
    chunks = tuple(dict.fromkeys(one.chunk for one in reversed(landings)))
    return await repo.commit_tree(tree, [head], _undo_message(spec, chunks, head, tree))


async def bring_back(
    repo: Repo,
    spec: str,
    landings: Sequence[Signed],
    titles: Mapping[ChunkId, str],
    stay: Iterable[Signed],
    head: Commit,
) -> tuple[Redone, ...] | Clash:
    """Return landings made anew on `head`, one on top of the other; the earliest come first.

    `titles` are those of their chunks, `stay` the landings that staging holds.
    """
    others = tuple(stay)
    onto = head
    made: list[Redone] = []
    for landing in landings:
        parent, old = _parent(landing), Commit(landing.commit)
        tree = await repo.graft(parent, old, onto)
        if isinstance(tree, Conflict):
            return await _clash(repo, landing, others, tree.paths)
        work = Commit(landing.work or landing.parents[-1])
        label = Label(spec, landing.chunk, landing.number, titles[ChunkId(landing.chunk)])
        message = label.message(f"Redo {label.heading}", head=onto, work=work, tree=tree)
        brought = [Commit(parent) for parent in landing.parents[1:]]
        trailer = f"Auto-Build-Redo: {landing.commit}\n"
        commit = await repo.commit_tree(tree, [onto, *brought], message + trailer)
        if lost := (await find_lost(repo, parent, onto, old, commit)).lost:
            paths = tuple(dict.fromkeys(one.path for one in lost))
            return await _clash(repo, landing, others, paths, lost)
        made.append(Redone(landing.chunk, commit, tree))
        onto = commit
    return tuple(made)


async def _clash(
    repo: Repo,
    landing: Signed,
    others: Iterable[Signed],
    paths: tuple[str, ...],
    lost: tuple[Lost, ...] = (),
) -> Clash:
    """Return who wrote to the paths after a landing."""
    wrote = []
    for other in others:
        if await repo.is_ancestor(Commit(other.commit), Commit(landing.commit)):
            continue
        touched = {entry.path for entry in await repo.touched(_parent(other), other.commit)}
        if touched & set(paths):
            wrote.append(other.chunk)
    return Clash(landing.chunk, paths, tuple(dict.fromkeys(wrote)), lost)


def _parent(landing: Signed) -> Commit:
    return Commit(landing.parents[0])


def _undo_message(spec: str, chunks: Sequence[str], head: Commit, tree: Tree) -> str:
    more = f" and {len(chunks) - _NAMED} more" if len(chunks) > _NAMED else ""
    undone = "".join(f"Auto-Build-Undo: {chunk}\n" for chunk in chunks)
    return (
        f"Undo {', '.join(chunks[:_NAMED])}{more}\n\n{SPEC_TRAILER}: {spec}\n{undone}"
        f"Auto-Build-Base: {head}\nAuto-Build-Tree: {tree}\n"
    )
