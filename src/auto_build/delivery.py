"""From staging to the user: merge it, throw it away, tidy up after it.

Invariants: the user's branch is either before or after a merge, never between; his unsaved changes
are never touched; nothing is removed that is not landed or pinned.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from auto_build.core import events as ev
from auto_build.core.conservation import describe
from auto_build.core.dialects import FileStatus
from auto_build.core.state import RunState
from auto_build.core.transitions import apply
from auto_build.core.view import Label as Word
from auto_build.core.view import View, build_view
from auto_build.errors import NotReady
from auto_build.git.conservation import find_lost
from auto_build.git.evidence import forget_line
from auto_build.git.landing import (
    BRANCHES,
    DISCARDED,
    CaptureRefused,
    Label,
    branch_of,
    capture,
    salvage,
)
from auto_build.git.parse import Commit
from auto_build.git.repo import Conflict, Repo, git_environment, ref_part
from auto_build.git.worktree import KEPT, Worktrees
from auto_build.groundwork import find_settled
from auto_build.history import load_state
from auto_build.inbox import Inbox
from auto_build.journal import Journal, RunLock
from auto_build.process import Processes
from auto_build.workspace import PlanWriter, Spec, Workspace

_SHOWN: Final = 10
_UNDER_WAY: Final = MappingProxyType(
    {
        "rebase-merge": "rebase",
        "rebase-apply": "rebase",
        "MERGE_HEAD": "merge",
        "CHERRY_PICK_HEAD": "cherry-pick",
        "REVERT_HEAD": "revert",
        "BISECT_LOG": "bisection",
    }
)


@dataclass(frozen=True, slots=True)
class Merged:
    """A finished merge: `commit` is now the head of `branch` (or of a detached HEAD).

    `kept` says why staging was left in place, if it was.
    """

    branch: str
    commit: str
    fast_forward: bool
    files: int
    kept: str


@dataclass(frozen=True, slots=True)
class Discarded:
    """A build that was thrown away; `pin` keeps its last state."""

    spec: str
    pin: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was removed, and what was left with the reason why."""

    removed: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Build:
    """One spec's build in a repository, between or after its runs."""

    repo: Repo
    workspace: Workspace
    spec: Spec

    @classmethod
    async def open(cls, folder: Path, wanted: str) -> "Build":
        """Find a spec's build.

        Raises:
            AutoBuildError: there is no such repository or spec.
        """
        repo = await Repo.open(folder, Processes())
        workspace = Workspace(repo.project, repo.common_dir)
        return cls(repo, workspace, workspace.require_spec(wanted))

    @property
    def branch(self) -> str:
        """The staging branch, by its full name."""
        return branch_of(self.spec.name)

    @property
    def short_branch(self) -> str:
        """The staging branch, as a user writes it."""
        return self.branch.removeprefix("refs/heads/")

    @property
    def worktrees(self) -> Worktrees:
        """The worktrees of the repository."""
        return Worktrees(self.repo)

    async def merge(self, *, partial: bool) -> Merged:
        """Bring staging into the branch that the user has checked out.

        Args:
            partial: merge although not every chunk has landed.

        Raises:
            NotReady: chunks are missing, the two do not merge, or unsaved changes are in the way;
                nothing was changed.
        """
        with RunLock.acquire(self.workspace.state_dir, self.spec.name):
            state, _ = self.require_begun()
            await self.settle(state)
            _, view = self.require_begun()
            if not view.finished and not partial:
                raise _not_finished(view)
            staging = await self.require_staging()
            self._require_settled()
            user = await self.repo.require_user_head()
            branch = (await self.repo.user_status()).branch
            name = branch or "HEAD (detached)"
            if await self.repo.is_ancestor(staging, user):
                raise NotReady(f"{name} already holds everything in {self.short_branch}")
            result = await self._merged(staging, user, name)
            files = await self._require_free(user, result)
            await self._move_user(result)
            self.record(ev.RunMerged(name, result))
            kept = ""
            if branch is None:
                kept = f"{self.short_branch} was left in place: you are on no branch"
            elif not partial:
                kept = await self._remove_staging(staging)
            return Merged(name, result, result == staging, files, kept)

    async def settle(self, state: RunState) -> RunState:
        """Return how the build stands, an undo or redo that was cut off accounted for."""
        for event in await find_settled(self.repo, self.branch, state):
            self.record(event)
            state = apply(state, event)
        return state

    async def discard(self) -> Discarded:
        """Throw staging away; its last state, unsaved changes included, is pinned first.

        Raises:
            NotReady: there is nothing to discard.
        """
        with RunLock.acquire(self.workspace.state_dir, self.spec.name):
            state, _ = load_state(self.workspace, self.spec.name)
            head = await self.require_staging()
            if elsewhere := await self._checked_out_elsewhere():
                raise NotReady(
                    f"{self.short_branch} is checked out in {elsewhere}",
                    hint="check out another branch there, then discard it again",
                )
            pin = await self._pin_discarded(await self._last_state(head))
            await self._tidy_slots(head)
            if await self._is_ours():
                await self.worktrees.remove(self.worktrees.staging_path)
            await forget_line(self.repo, self.spec.name)
            await self.repo.delete_ref(self.branch, head)
            Inbox(self.workspace.state_dir, self.spec.name).take()  # wishes die with the build
            if state:
                self.record(ev.RunDiscarded(pin))
                self._reset_plan(state)
            return Discarded(self.spec.name, pin)

    async def _last_state(self, head: Commit) -> Commit:
        """Return staging's head with the unsaved changes in its worktree on top."""
        staging = self.worktrees.find(self.worktrees.staging_path)
        if staging is None or not await self._is_ours():
            return head
        label = Label(self.spec.name, "staging", 0, "as it was discarded")
        taken = await capture(self.repo, staging, head, label)
        if isinstance(taken, CaptureRefused):
            raise NotReady(
                f"what is unsaved in {staging.path} cannot be kept: {taken.why}",
                hint="settle that there, then discard it again; nothing was changed",
            )
        return taken.commit

    # --- parts of a merge ------------------------------------------------------------------------

    def _require_settled(self) -> None:
        """Make sure that the user is not in the middle of something that moves his HEAD."""
        if going_on := [name for name in _UNDER_WAY if (self.repo.git_dir / name).exists()]:
            raise NotReady(
                f"your checkout is in the middle of a {_UNDER_WAY[going_on[0]]}",
                hint="end it or call it off, then merge again; nothing was changed",
            )

    async def _merged(self, staging: Commit, user: Commit, name: str) -> Commit:
        if await self.repo.is_ancestor(user, staging):
            return staging
        tree = await self.repo.try_merge(user, staging)
        if isinstance(tree, Conflict):
            raise NotReady(
                f"{self.short_branch} and {name} both changed {', '.join(tree.paths)}",
                hint=f"merge it by hand: git merge {self.short_branch}, resolve, git commit",
            )
        message = f"Merge branch '{self.short_branch}'\n"
        merged = await self.repo.commit_tree(tree, [user, staging], message)
        await self._require_whole(user, staging, merged)
        return merged

    async def _require_whole(self, user: Commit, staging: Commit, merged: Commit) -> None:
        """See that no line that either side added is missing in the merge."""
        base = await self.repo.merge_base(user, staging)
        if base is None:
            return
        found = await find_lost(self.repo, base, user, staging, merged)
        if found.lost:
            raise NotReady(
                f"the merge would lose lines that one side added:\n{describe(found.lost)}",
                hint="a merge driver in git's attributes may do that; merge it by hand: git merge"
                f" {self.short_branch}",
            )

    async def _require_free(self, user: Commit, result: Commit) -> int:
        """Make sure that no unsaved change lies where the merge writes; return how many files."""
        touched = {entry.path for entry in await self.repo.touched(user, result)}
        status = await self.repo.user_status()
        in_the_way = [path for path in status.dirty if _touches(path, touched)]
        if in_the_way:
            shown = ", ".join(in_the_way[:_SHOWN])
            raise NotReady(
                f"the merge would write over your unsaved changes in {shown}",
                hint="commit or stash them, then merge again; nothing was changed",
            )
        return len(touched)

    async def _move_user(self, result: Commit) -> None:
        """Fast-forward the user's checkout, with his own hooks and settings, as he would do it."""
        argv = ("git", "merge", "--ff-only", "--no-overwrite-ignore", "--quiet", result)
        env = git_environment(os.environ)
        done = await self.repo.processes.run(
            *argv, cwd=self.repo.project, env=env, ok=(0, 1, 2, 128)
        )
        if done.code != 0:
            raise NotReady(
                f"git would not move your checkout: {done.stderr.strip()}",
                hint=f"see to what it says, then merge again; {self.short_branch} is untouched",
            )

    async def _remove_staging(self, head: Commit) -> str:
        """Remove staging once the user's branch holds it; return why it stays, if it does."""
        worktrees = self.worktrees
        staging = worktrees.find(worktrees.staging_path)
        if staging and await self._is_ours():
            if (await worktrees.status(staging)).dirty:
                return f"{staging.path} has unsaved changes and was left in place"
            await worktrees.remove(staging.path)
        if elsewhere := await self._checked_out_elsewhere():
            return f"{self.short_branch} is checked out in {elsewhere} and was left in place"
        await self.repo.delete_ref(self.branch, head)
        return ""

    # --- shared ----------------------------------------------------------------------------------

    async def _is_ours(self) -> bool:
        """Say whether the staging worktree shows this build and not another."""
        path = self.worktrees.staging_path.resolve()
        return any(
            Path(entry.path).resolve() == path and entry.branch == self.branch
            for entry in await self.worktrees.listed()
        )

    async def _checked_out_elsewhere(self) -> str:
        """Return the worktree besides staging that has the build's branch checked out, if any."""
        staging = self.worktrees.staging_path.resolve()
        return next(
            (
                entry.path
                for entry in await self.worktrees.listed()
                if entry.branch == self.branch
                and not entry.prunable
                and Path(entry.path).resolve() != staging
            ),
            "",
        )

    async def _pin_discarded(self, commit: Commit) -> str:
        prefix = f"{DISCARDED}/{ref_part(self.spec.name)}"
        taken = await self.repo.refs(prefix)
        pin = f"{prefix}/{len(taken) + 1}"
        await self.repo.create_ref(pin, commit)
        return pin

    async def _tidy_slots(self, onto: Commit) -> list[str]:
        """Remove the worker slots; what lies in them is kept first."""
        removed: list[str] = []
        for number in self.worktrees.slots():
            label = Label(self.spec.name, f"worker-{number}", 0)
            await salvage(self.worktrees, number, label, onto)
            path = self.worktrees.slot_path(number)
            await self.worktrees.remove(path)
            if not path.exists():
                removed.append(str(path))
        return removed

    async def require_staging(self) -> Commit:
        """Return staging's head.

        Raises:
            NotReady: there is no staging branch.
        """
        head = await self.repo.find_commit(self.branch)
        if head is None:
            state, _ = load_state(self.workspace, self.spec.name)
            gone = "was merged or discarded" if state and state.merged else "was never begun"
            raise NotReady(
                f"there is no staging for {self.spec.name}: it {gone}",
                hint=f"build it: auto-build run {self.spec.name}",
            )
        return head

    def require_begun(self) -> tuple[RunState, View]:
        """Return how the build stands.

        Raises:
            NotReady: it was not begun, or it was discarded.
        """
        state, times = load_state(self.workspace, self.spec.name)
        if state is None or state.discarded:
            raise NotReady(
                f"{self.spec.name} was not built yet", hint=f"auto-build run {self.spec.name}"
            )
        return state, build_view(self.spec.name, state, times)

    def record(self, event: ev.Event) -> None:
        """Journal one event; the run lock must be held."""
        with Journal.open(self.workspace.state_dir, self.spec.name) as journal:
            journal.append(event)

    def _reset_plan(self, state: RunState) -> None:
        notes = {chunk: {"status": FileStatus.PENDING.value} for chunk in state.chunks}
        PlanWriter(self.spec.plan_path, self.workspace.state_dir).write(notes)


async def clean(folder: Path) -> Cleaned:
    """Remove worker slots, and the staging of builds that were merged; keep everything else.

    Raises:
        RunLocked: a run is going on.
    """
    repo = await Repo.open(folder, Processes())
    workspace = Workspace(repo.project, repo.common_dir)
    worktrees = Worktrees(repo)
    with RunLock.acquire(workspace.state_dir, "clean"):
        user = await repo.require_user_head()
        removed: list[str] = []
        kept: list[str] = []
        for number in worktrees.slots():
            label = Label("clean", f"worker-{number}", 0)
            pin = await salvage(worktrees, number, label, user)
            path = worktrees.slot_path(number)
            await worktrees.remove(path)
            if path.is_symlink() or path.exists():
                kept.append(f"{path}: no worktree of this repository")
            else:
                removed.append(f"{path} (kept as {pin})" if pin else str(path))
        reason = await _clean_staging(worktrees, user)
        if reason is None:
            removed.append(str(worktrees.staging_path))
        elif reason:
            kept.append(f"{worktrees.staging_path}: {reason}")
        aside = worktrees.folder / KEPT
        kept.extend(f"{path}: files that git could not take" for path in sorted(aside.glob("*")))
        return Cleaned(tuple(removed), tuple(kept))


async def _clean_staging(worktrees: Worktrees, user: Commit) -> str | None:
    """Remove staging if the user's branch holds it; None if removed, else why not, or nothing."""
    staging = worktrees.find(worktrees.staging_path)
    if staging is None:
        return ""
    status = await worktrees.status(staging)
    if status.dirty:
        return f"has unsaved changes in {', '.join(status.dirty[:_SHOWN])}"
    if status.head is None or not await worktrees.repo.is_ancestor(status.head, user):
        return "is not merged yet (merge or discard it)"
    branch = f"refs/heads/{status.branch}"
    if status.branch and not branch.startswith(f"{BRANCHES}/"):
        return f"is on {status.branch}, which is no build's branch"
    await worktrees.remove(staging.path)
    if status.branch:
        await worktrees.repo.delete_ref(branch, status.head)
    return None


def _touches(path: str, touched: set[str]) -> bool:
    """Say whether an unsaved path is written by a merge, or stands in a folder's place."""
    return path in touched or any(
        one.startswith(f"{path}/") or path.startswith(f"{one}/") for one in touched
    )


def _not_finished(view: View) -> NotReady:
    missing = [f"{row.id} ({row.label.value})" for row in view.rows if not row.commit]
    missing = [one for one in missing if "skipped" not in one]
    shown = ", ".join(missing[:_SHOWN])
    undone = any(row.label is Word.UNDONE for row in view.rows)
    way = "bring back what was undone (redo), or have it done again (retry)" if undone else ""
    return NotReady(
        f"{len(missing)} of {len(view.rows)} chunks have not landed: {shown}",
        hint=f"{way or 'run it again to go on'}, or merge what there is with --partial",
    )
