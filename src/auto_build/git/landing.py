"""From an agent's worktree to a commit on staging: capture, pin, candidate.

Invariants: a capture moves no branch and runs no hook; work is pinned before anybody is told of
it; a candidate is built from object ids alone, without touching a worktree.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial as bound
from pathlib import Path
from typing import Final

from auto_build.core.evidence import SPEC_TRAILER
from auto_build.git.parse import GITLINK, Commit, Tree
from auto_build.git.repo import Conflict, Repo, ref_part
from auto_build.git.worktree import Worktree, Worktrees
from auto_build.policy.tree import MOST_FILE_BYTES, too_large
from auto_build.process import CommandFailed

BRANCHES: Final = "refs/heads/auto-build"
PINS: Final = "refs/auto-build/attempts"
REJECTED: Final = "refs/auto-build/rejected"
DISCARDED: Final = "refs/auto-build/discarded"
PARKED: Final = "refs/auto-build/parked"
_SHOWN: Final = 5  # files that are named because they are too large


@dataclass(frozen=True, slots=True)
class Captured:
    """An agent's work: `commit` descends from `base`; `touched` are the paths that differ."""

    base: Commit
    commit: Commit
    touched: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CaptureRefused:
    """What the agent left cannot become a commit; `why` is for people."""

    why: str


@dataclass(frozen=True, slots=True)
class Label:
    """What a commit of ours says about itself in its trailers."""

    spec: str
    chunk: str
    attempt: int
    title: str = ""

    @property
    def heading(self) -> str:
        """The chunk with its title."""
        return f"{self.chunk}: {self.title}" if self.title else self.chunk

    def message(self, subject: str, *, head: Commit, work: Commit, tree: Tree) -> str:
        """Return the message of `work` merged on `head` as `tree`, with trailers that say so."""
        return (
            f"{subject}\n\n{SPEC_TRAILER}: {self.spec}\n"
            f"Auto-Build-Chunk: {self.chunk}\nAuto-Build-Attempt: {self.attempt}\n"
            f"Auto-Build-Base: {head}\nAuto-Build-Work: {work}\nAuto-Build-Tree: {tree}\n"
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A merge commit on top of staging's head, not yet checked."""

    commit: Commit
    tree: Tree
    head: Commit
    replayed: bool


def branch_of(spec: str) -> str:
    """Return the full name of a build's staging branch."""
    return f"{BRANCHES}/{ref_part(spec)}"


def pins_of(spec: str) -> str:
    """Return the prefix of a build's pins."""
    return f"{PINS}/{ref_part(spec)}/"


def pin_of(spec: str, chunk: str, attempt: int, suffix: str = "") -> str:
    """Return the ref that keeps an attempt's work; `suffix` tells its rounds apart."""
    return f"{pins_of(spec)}{ref_part(chunk)}/{attempt}{suffix}"


def rejected_of(spec: str, chunk: str) -> str:
    """Return the ref that keeps what a chunk's agent goes on from after a red check."""
    return f"{REJECTED}/{ref_part(spec)}/{ref_part(chunk)}"


def partial(commit: Commit) -> str:
    """Return the pin's suffix for work that its agent did not finish."""
    return f"-partial-{commit[:7]}"


async def find_parked(repo: Repo, spec: str) -> tuple[str, Commit] | None:
    """Return the last pin of a build's staging worktree as it was parked, and what it names.

    What staging's branch holds anyway says that nothing is to be put back.
    """
    pins = await repo.refs(f"{PARKED}/{ref_part(spec)}/")
    return max(pins.items(), key=lambda one: int(one[0].rpartition("/")[2]), default=None)


async def pin_parked(repo: Repo, spec: str, commit: Commit) -> str:
    """Pin the state in which a build's staging worktree is parked; return the pin."""
    last = await find_parked(repo, spec)
    number = int(last[0].rpartition("/")[2]) + 1 if last else 1
    pin = f"{PARKED}/{ref_part(spec)}/{number}"
    await repo.create_ref(pin, commit)
    return pin


async def forget_parked(repo: Repo, spec: str, head: Commit) -> None:
    """Note that nothing of what was parked is to be put back any more; its pins stay."""
    last = await find_parked(repo, spec)
    if last and not await repo.is_ancestor(last[1], head):
        await pin_parked(repo, spec, head)


async def find_partial(repo: Repo, spec: str, chunk: str, attempt: int) -> Commit | None:
    """Return the last of what was kept of an attempt that its agent did not finish, if any was."""
    found: Commit | None = None
    prefix = pin_of(spec, chunk, attempt, "-partial-*")
    for commit in (await repo.refs(prefix, sort="committerdate")).values():
        if found is None or not await repo.is_ancestor(commit, found):
            found = commit
    return found


async def salvage(
    worktrees: Worktrees,
    number: int,
    label: Label,
    onto: Commit,
    *,
    most_bytes: int = MOST_FILE_BYTES,
) -> str:
    """Keep what lies in a worker slot's worktree, whoever left it there.

    A file of more than `most_bytes` is not taken into git. What was left by the run of another spec
    is kept under that one's name, whatever `label` says.

    Returns:
        The pin, or the folder where git could not take it; nothing where there was nothing.
    """
    slot = worktrees.find_slot(number)
    if slot is None:
        return ""
    repo = worktrees.repo
    owner = worktrees.find_owner(number)
    if owner and owner != label.spec:
        label = Label(owner, f"worker-{number}", 0)
        onto = await repo.find_commit(branch_of(owner)) or onto
    status = await worktrees.status(slot)
    base = (status.head and await repo.merge_base(status.head, onto)) or onto
    taken = await capture(repo, slot, base, label, most_bytes=most_bytes)
    if isinstance(taken, CaptureRefused):
        return str(await keep_whole(worktrees, slot, label) or "")
    if not taken.touched or taken.commit in (await repo.refs("refs/auto-build")).values():
        return ""
    pin = pin_of(label.spec, label.chunk, label.attempt, partial(taken.commit))
    await repo.create_ref(pin, taken.commit)
    return pin


async def keep_whole(worktrees: Worktrees, slot: Worktree, label: Label) -> Path | None:
    """Keep a worktree that git cannot take: pin its commits, and move its files aside.

    Returns:
        Where the files are now; None where the folder is gone.
    """
    head = await worktrees.find_head(slot)
    if head is not None:
        pin = pin_of(label.spec, label.chunk, label.attempt, partial(head))
        await worktrees.repo.create_ref(pin, head)
    return await worktrees.keep_aside(slot, f"{ref_part(label.chunk)}-{label.attempt}")


async def capture(
    repo: Repo, slot: Worktree, base: Commit, label: Label, *, most_bytes: int | None = None
) -> Captured | CaptureRefused:
    """Commit what an agent left in its worktree, ignored files excepted.

    The agent's own commits are kept where they build on `base`; else only the outcome is. A file
    of more than `most_bytes` is refused before git reads it.
    """
    if not slot.is_there:
        return CaptureRefused("its worktree is gone")
    try:
        await repo.clear_flags(slot.git_dir, slot.path)
        status = await repo.status(slot.git_dir, slot.path)
    except CommandFailed as error:
        return CaptureRefused(f"its worktree cannot be read: {error}")
    if status.unmerged:
        return CaptureRefused(f"it left an unfinished merge in {', '.join(status.unmerged)}")
    if status.modules:
        where = ", ".join(status.modules)
        return CaptureRefused(f"it changed files in the submodule {where}, which is not its own")
    head = status.head or base
    if status.dirty:
        committed = await _commit_rest(repo, slot, head, label, status.dirty, most_bytes)
        if isinstance(committed, CaptureRefused):
            return committed
        head = committed
    if head != base and not await repo.is_ancestor(base, head):
        head = await repo.commit_tree(await repo.tree_of(head), [base], _subject(label))
    entries = await repo.touched(base, head)
    if nested := [entry.path for entry in entries if entry.mode == GITLINK]:
        return CaptureRefused(f"it left a git repository of its own in {', '.join(nested)}")
    if not entries:
        head = base
    return Captured(base, head, tuple(entry.path for entry in entries))


async def _commit_rest(
    repo: Repo,
    slot: Worktree,
    head: Commit,
    label: Label,
    dirty: Sequence[str],
    most_bytes: int | None,
) -> Commit | CaptureRefused:
    found = _sizes(slot.path, dirty)
    if most_bytes and (large := await _too_large(repo, slot, found, most_bytes)):
        return CaptureRefused(f"it left what is too large for git: {'; '.join(large)}")
    git = bound(repo.git, git_dir=slot.git_dir, work_tree=slot.path)
    try:
        if odd := [path for path, size in found.items() if size is None]:
            listed = "".join(f"{path}\0" for path in odd)
            await git("update-index", "--force-remove", "-z", "--stdin", stdin=listed)
        await git("add", "--all")
        tree = await git("write-tree")
    except CommandFailed as error:
        return CaptureRefused(f"git cannot take what it left: {error}")
    return await repo.commit_tree(Tree(tree.stdout.strip()), [head], _subject(label))


def _sizes(folder: Path, paths: Sequence[str]) -> dict[str, int | None]:
    """Return how large files are that are there; None for a pipe, a socket or a device.

    Of those git lists only what is in the place of a file that it tracks.
    """
    found: dict[str, int | None] = {}
    for path in paths:
        with suppress(OSError):  # it is gone
            about = os.lstat(os.fsencode(folder) + b"/" + os.fsencode(path))
            kind = stat.S_IFMT(about.st_mode)
            if kind == stat.S_IFREG:
                found[path] = about.st_size
            elif kind not in {stat.S_IFLNK, stat.S_IFDIR}:
                found[path] = None
    return found


async def _too_large(
    repo: Repo, slot: Worktree, sizes: Mapping[str, int | None], most_bytes: int
) -> tuple[str, ...]:
    """Return in words which files are too large, but for those that Git LFS keeps elsewhere."""
    told = {path: too_large(path, size, most_bytes) for path, size in sizes.items() if size}
    large = [path for path, words in told.items() if words]
    kept = await repo.kept_elsewhere(large, slot.git_dir, slot.path) if large else ()
    return tuple(told[path] for path in large if path not in kept)[:_SHOWN]


def _subject(label: Label) -> str:
    """Return the message of work that has not landed: without trailers, which mean landed."""
    return f"{label.heading}\n"


async def build_candidate(
    repo: Repo, head: Commit, base: Commit, work: Commit, label: Label
) -> Candidate | Conflict:
    """Merge an attempt's work onto staging's head; in conflict, try again commit by commit."""
    subject = f"Land {label.heading}"
    if work == base:  # nothing but a verdict to record
        tree = await repo.tree_of(head)
        message = label.message(subject, head=head, work=work, tree=tree)
        return Candidate(await repo.commit_tree(tree, [head], message), tree, head, replayed=False)
    merged = await repo.try_merge(head, work)
    brought = work
    if isinstance(merged, Conflict):
        again = await repo.replay(base, work, head)
        if isinstance(again, Conflict):
            return merged
        brought = again
        merged = await repo.tree_of(again)
    message = label.message(subject, head=head, work=work, tree=merged)
    commit = await repo.commit_tree(merged, [head, brought], message)
    return Candidate(commit, merged, head, replayed=brought != work)


async def unresolved(repo: Repo, head: Commit, work: Commit, tree: Tree, label: Label) -> Commit:
    """Return a merge that is in conflict as a commit of both sides, for an agent to resolve."""
    return await repo.commit_tree(tree, [head, work], _subject(label), author_of=work)


async def resolved(repo: Repo, taken: Captured, work: Commit, label: Label) -> Captured:
    """Return what an agent made of a conflict as one merge of both sides, without the markers.

    `work` is its own side; the other is what `taken` builds on.
    """
    tree = await repo.tree_of(taken.commit)
    merged = await repo.commit_tree(tree, [taken.base, work], _subject(label), author_of=work)
    return Captured(taken.base, merged, taken.touched)


async def onto_head(repo: Repo, candidate: Candidate, work: Commit, label: Label) -> Commit:
    """Return the candidate's tree as one commit on the head, for the agent to go on from."""
    return await repo.commit_tree(candidate.tree, [candidate.head], _subject(label), author_of=work)


async def flatten(repo: Repo, candidate: Candidate, work: Commit, label: Label) -> Candidate:
    """Return a candidate of the same tree whose work is one commit, without its way there."""
    said = await repo.git("log", "-1", "--format=%B", candidate.commit)
    flat = await onto_head(repo, candidate, work, label)
    commit = await repo.commit_tree(candidate.tree, [candidate.head, flat], said.stdout)
    return replace(candidate, commit=commit)
