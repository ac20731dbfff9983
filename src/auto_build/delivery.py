"""One spec's build between its runs: throw it away, and what whoever merges it needs.

Invariant: nothing is removed that is not landed or pinned.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from auto_build.core import events as ev
from auto_build.core.dialects import FileStatus
from auto_build.core.state import RunState
from auto_build.core.transitions import apply
from auto_build.core.view import View, build_view
from auto_build.errors import NotReady
from auto_build.git.evidence import forget_line
from auto_build.git.landing import (
    DISCARDED,
    CaptureRefused,
    Label,
    branch_of,
    capture,
    salvage,
)
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo, ref_part
from auto_build.git.worktree import Worktrees
from auto_build.groundwork import Groundwork, find_settled, take_back_half
from auto_build.history import load_state
from auto_build.inbox import Inbox
from auto_build.journal import Journal, RunLock
from auto_build.process import Processes, end_marked
from auto_build.workspace import PlanWriter, Spec, Workspace

MERGED: Final = "refs/auto-build/merged"


@dataclass(frozen=True, slots=True)
class Discarded:
    """A build that was thrown away; `pin` keeps its last state."""

    spec: str
    pin: str


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

    @contextmanager
    def held(self) -> Iterator["Build"]:
        """Yield the build while nobody else can build here; what it starts carries the lease.

        Raises:
            RunLocked: a run is going on.
        """

        def tidy() -> None:
            end_marked({"GIT_CEILING_DIRECTORIES": self.worktrees.ceiling})

        with RunLock.acquire(self.workspace.state_dir, self.spec.name, tidy=tidy) as lock:
            yield replace(self, repo=replace(self.repo, processes=Processes(lock.lease)))

    async def settle(self, state: RunState) -> RunState:
        """Return how the build stands, an undo, redo or merge that was cut off accounted for.

        A staging worktree that a killed run had lent shows its branch again; what was left in it is
        kept.
        """
        await take_back_half(self.repo, state)
        if self.worktrees.find_lender() == self.branch:
            await self._ground.keep_leftovers(state)
        for event in await find_settled(self.repo, self.branch, state):
            self.record(event)
            state = apply(state, event)
        return state

    async def discard(self) -> Discarded:
        """Throw staging away; its last state, unsaved changes included, is pinned first.

        Raises:
            NotReady: there is nothing to discard.
        """
        with self.held() as build:
            return await build._discard()  # noqa: SLF001 - itself, with the lease

    async def _discard(self) -> Discarded:
        state, _ = load_state(self.workspace, self.spec.name)
        head = await self.require_staging()
        if elsewhere := await self.checked_out_elsewhere():
            raise NotReady(
                f"{self.short_branch} is checked out in {elsewhere}",
                hint="check out another branch there, then discard it again",
            )
        if state and not state.discarded:
            state = await self.settle(state)
        pin = await self.pin(DISCARDED, await self._last_state(head))
        await self.tidy_slots(head)
        if await self.is_ours():
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
        if staging is None or not await self.is_ours():
            return head
        label = Label(self.spec.name, "staging", 0, "as it was discarded")
        taken = await capture(self.repo, staging, head, label)
        if isinstance(taken, CaptureRefused):
            raise NotReady(
                f"what is unsaved in {staging.path} cannot be kept: {taken.why}",
                hint="settle that there, then discard it again; nothing was changed",
            )
        return taken.commit

    # --- shared ----------------------------------------------------------------------------------

    @property
    def _ground(self) -> Groundwork:
        return Groundwork(self.repo, self.worktrees, self.spec.name, _quietly, _quietly)

    async def is_ours(self) -> bool:
        """Say whether the staging worktree shows this build and not another."""
        staged = await self.worktrees.find_staged()
        return staged is not None and staged.branch == self.branch

    async def checked_out_elsewhere(self) -> str:
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

    async def pin(self, kind: str, commit: Commit) -> str:
        """Keep a commit under the next free ref of a kind of pins; return which."""
        prefix = f"{kind}/{ref_part(self.spec.name)}"
        taken = await self.repo.refs(prefix)
        if there := [ref for ref, one in taken.items() if one == commit]:
            return there[-1]
        pin = f"{prefix}/{len(taken) + 1}"
        await self.repo.create_ref(pin, commit)
        return pin

    async def tidy_slots(self, onto: Commit) -> list[str]:
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


def _quietly(_: str) -> None:
    """Say nothing: what is kept is under a pin, which `clean --pins` and git tell."""
