"""Putting a build aside, so that another one can have the staging worktree, and taking it up again.

Invariants: a parked build keeps its branch, pins and journal, and needs no worktree; what was
unsaved in its staging worktree is pinned before that is removed. Both ways may be gone again at any
time: the fact is journaled last, and what was done already is not done twice.
"""

from collections.abc import Callable
from dataclasses import dataclass

from auto_build.core import events as ev
from auto_build.delivery import Build
from auto_build.errors import NotReady
from auto_build.git.landing import CaptureRefused, Label, capture, forget_parked, pin_parked
from auto_build.git.parse import Commit
from auto_build.groundwork import Groundwork, is_parked
from auto_build.holding import require_place


@dataclass(frozen=True, slots=True)
class Parked:
    """A build that was put aside at `head`; `unsaved` is kept in `pin`, with all else."""

    spec: str
    branch: str
    head: str
    pin: str
    unsaved: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unparked:
    """A build that has its staging worktree again; `told` says what became of unsaved changes."""

    spec: str
    branch: str
    head: str
    worktree: str
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parking:
    """Parks and unparks one build; `say` takes what people should know."""

    build: Build
    say: Callable[[str], None]

    async def park(self) -> Parked:
        """Put the build aside; nothing is done where it is aside already.

        Raises:
            NotReady: there is nothing to park, or what is unsaved cannot be kept.
            RunLocked: a run is going on.
        """
        with self.build.held() as build:
            return await _Held(build, self.say).park()

    async def unpark(self) -> Unparked:
        """Give the build its staging worktree again.

        Raises:
            NotReady: it is not parked.
            RepositoryUnfit: another build has the worktree.
            RunLocked: a run is going on.
        """
        with self.build.held() as build:
            return await _Held(build, self.say).unpark()


@dataclass(frozen=True, slots=True)
class _Held:
    """Parks and unparks while nobody else builds here."""

    build: Build
    say: Callable[[str], None]

    def ground(self, say: Callable[[str], None]) -> Groundwork:
        """Return what the build stands on."""
        build = self.build
        return Groundwork(build.repo, build.worktrees, build.spec.name, say, say)

    async def park(self) -> Parked:
        """Pin, remove the worktrees, and journal it."""
        build = self.build
        state, _ = build.require_begun()
        head = await build.require_staging()
        state = await build.settle(state)
        for lock in build.worktrees.clear_locks():
            self.say(f"removed {lock}, left by a git that was killed")
        await self.ground(self.say).keep_leftovers(state)
        pin, unsaved = await self._keep_unsaved(head)
        for slot in build.worktrees.slots():
            await build.worktrees.remove(build.worktrees.slot_path(slot))
        if await self._is_staged():
            await build.worktrees.remove(build.worktrees.staging_path)
        if not is_parked(state):
            build.record(ev.RunParked(head))
        return Parked(build.spec.name, build.short_branch, head, pin, unsaved)

    async def unpark(self) -> Unparked:
        """Make the worktree, put back what was unsaved, and journal it."""
        build = self.build
        state, _ = build.require_begun()
        head = await build.require_staging()
        if not is_parked(state):
            raise NotReady(
                f"{build.spec.name} is not parked", hint=f"auto-build status {build.spec.name}"
            )
        told: list[str] = []
        await require_place(build.repo, build.workspace, build.spec.name)
        await self.ground(told.append).lay(state)
        build.record(ev.RunUnparked())
        worktree = str(build.worktrees.staging_path)
        return Unparked(build.spec.name, build.short_branch, head, worktree, tuple(told))

    async def _is_staged(self) -> bool:
        """Say whether the staging worktree is on this build's branch."""
        staged = await self.build.worktrees.find_staged()
        return staged is not None and staged.branch == self.build.branch

    async def _keep_unsaved(self, head: Commit) -> tuple[str, tuple[str, ...]]:
        """Pin what is unsaved in the staging worktree; return the pin, and the paths.

        It is pinned as changes of the commit that it shows: of `head`, unless it is behind.
        """
        repo, worktrees, spec = self.build.repo, self.build.worktrees, self.build.spec.name
        staging = worktrees.find(worktrees.staging_path)
        if staging is None or not await self._is_staged():
            return "", ()
        shown = await worktrees.shown(staging, head)
        taken = await capture(repo, staging, head, Label(spec, "staging", 0, "as it was parked"))
        if isinstance(taken, CaptureRefused):
            raise NotReady(
                f"what is unsaved in {staging.path} cannot be kept: {taken.why}",
                hint="settle that there, then park it again; nothing was changed",
            )
        unsaved = tuple(entry.path for entry in await repo.touched(shown, taken.commit))
        if not unsaved:
            await forget_parked(repo, spec, head)
            return "", ()
        tree = await repo.tree_of(taken.commit)
        kept = await repo.commit_tree(tree, [shown], f"{spec}: unsaved when it was parked\n")
        return await pin_parked(repo, spec, kept), unsaved
