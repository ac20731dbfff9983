"""Tidying up after builds: worktrees, branches, and in the end the pins.

Invariants: nothing is removed that is not landed or pinned; a pin is removed on somebody's word
only, and never of a build that is not over.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from auto_build.containment.pins import STAYING, USER
from auto_build.core import events as ev
from auto_build.delivery import Build
from auto_build.errors import RunLocked
from auto_build.git.evidence import holds
from auto_build.git.landing import BRANCHES, Label, branch_of, salvage
from auto_build.git.parse import Commit, Status
from auto_build.git.repo import Repo, ref_part
from auto_build.git.worktree import KEPT, PLANNER, Worktrees
from auto_build.history import fold
from auto_build.journal import Journal, RunLock, now
from auto_build.planning.reading import DRAFTING
from auto_build.process import Processes
from auto_build.settings import load_settings
from auto_build.workspace import Workspace

HANDED: Final = "refs/heads/auto-build-merge"  # what a user is to merge by hand
_REFS: Final = "refs/auto-build"
_SHOWN: Final = 10
_DAY_S: Final = 86_400.0


def handed_of(spec: str) -> str:
    """Return the branch in which a merge is handed to the user."""
    return f"{HANDED}/{ref_part(spec)}"


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was removed, and what was left with the reason why.

    `pins` are the refs that went, `young` how many stay for now because their builds were merged or
    discarded less than `days` days ago. With `dry` nothing was removed yet.
    """

    removed: tuple[str, ...]
    kept: tuple[str, ...]
    pins: tuple[str, ...] = ()
    young: int = 0
    days: int = 0
    dry: bool = False


async def remove_merged(build: Build, head: Commit) -> str:
    """Remove a build's staging and slots once the user's branch holds it.

    The branch goes last, so that whoever is cut off here can do it again.

    Returns:
        Why staging stays, if it does.
    """
    worktrees = build.worktrees
    staging = worktrees.find(worktrees.staging_path)
    if staging and await build.is_ours():
        await build.tidy_slots(head)
        if (await worktrees.status(staging)).dirty:
            return f"{staging.path} has unsaved changes and was left in place"
        await worktrees.remove(staging.path)
    if elsewhere := await build.checked_out_elsewhere():
        return f"{build.short_branch} is checked out in {elsewhere} and was left in place"
    await drop_handed(build)
    await build.repo.delete_ref(build.branch, head)
    return ""


async def drop_handed(build: Build) -> None:
    """Remove the branch in which a merge was handed to the user, unless he stands on it."""
    ref = handed_of(build.spec.name)
    handed = await build.repo.find_commit(ref)
    listed = await build.worktrees.listed()
    if handed and all(entry.branch != ref for entry in listed):
        await build.repo.delete_ref(ref, handed)


async def clean(folder: Path, *, pins: bool = False, dry_run: bool = False) -> Cleaned:
    """Remove worker slots, and the staging of builds that were merged; keep everything else.

    Args:
        folder: a folder in the repository.
        pins: remove also the pins of builds that have been over for long.
        dry_run: only say what would be removed.

    Raises:
        RunLocked: a run is going on.
    """
    repo = await Repo.open(folder, Processes())
    workspace = Workspace(repo.project, repo.common_dir)
    with RunLock.acquire(workspace.state_dir, "clean"):
        days = load_settings(repo.project, {}, {}).merge.keep_pins_days
        return await _Broom(repo, workspace, days, dry_run=dry_run).sweep(pins=pins)


@dataclass(slots=True)
class _Broom:
    """One cleaning: what it has removed and kept so far."""

    repo: Repo
    workspace: Workspace
    days: int
    dry_run: bool
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    @property
    def worktrees(self) -> Worktrees:
        return Worktrees(self.repo)

    async def sweep(self, *, pins: bool) -> Cleaned:
        user = await self.repo.require_user_head()
        for number in self.worktrees.slots():
            await self._slot(number, user)
        await self._staging(user)
        await self._planner()
        over = await _over(self.repo, self.workspace)
        await self._session_pins(over)
        gone, young = await self._pins(over) if pins else ((), 0)
        aside = self.worktrees.folder / KEPT
        self.kept += [f"{path}: files that git could not take" for path in sorted(aside.glob("*"))]
        return Cleaned(
            tuple(self.removed), tuple(self.kept), gone, young, self.days, dry=self.dry_run
        )

    async def _slot(self, number: int, user: Commit) -> None:
        worktrees = self.worktrees
        path = worktrees.slot_path(number)
        if self.dry_run:
            self.removed.append(str(path))
            return
        label = Label("clean", f"worker-{number}", 0)
        pin = await salvage(worktrees, number, label, user)
        await worktrees.remove(path)
        if path.is_symlink() or path.exists():
            self.kept.append(f"{path}: no worktree of this repository")
        else:
            self.removed.append(f"{path} (kept as {pin})" if pin else str(path))

    async def _staging(self, user: Commit) -> None:
        """Remove staging if the user's branch holds it."""
        worktrees = self.worktrees
        staging = worktrees.find(worktrees.staging_path)
        if staging is None:
            return
        status = await worktrees.status(staging)
        branch = f"refs/heads/{status.branch}" if status.branch else ""
        if why := await self._staging_stays(status, branch, user):
            self.kept.append(f"{staging.path}: {why}")
            return
        self.removed.append(str(staging.path))
        if self.dry_run:
            return
        await worktrees.remove(staging.path)
        if branch and status.head:
            await self.repo.delete_ref(branch, status.head)

    async def _staging_stays(self, status: Status, branch: str, user: Commit) -> str:
        """Say why staging is not removed; nothing where it may be."""
        spec, head = branch.removeprefix(f"{BRANCHES}/"), status.head
        if status.dirty:
            return f"has unsaved changes in {', '.join(status.dirty[:_SHOWN])}"
        if head is None or not await holds(self.repo, spec, user, head):
            return "is not merged yet (merge or discard it)"
        if branch and not branch.startswith(f"{BRANCHES}/"):
            return f"is on {branch.removeprefix('refs/heads/')}, which is no build's branch"
        return ""

    async def _planner(self) -> None:
        """Remove the planner's worktree, which only ever reads, if nobody drafts."""
        path = self.worktrees.folder / PLANNER
        if not path.exists():
            return
        try:
            lock = RunLock.acquire(self.workspace.state_dir / DRAFTING, "clean")
        except RunLocked:
            self.kept.append(f"{path}: an agent is drafting there")
            return
        with lock:
            if not self.dry_run:
                await self.worktrees.remove(path)
            self.removed.append(str(path))

    async def _session_pins(self, over: Mapping[str, float]) -> None:
        """Let go of what was kept of the user's side for sessions of builds that are over."""
        found = [
            ref
            for ref in await self.repo.refs(f"{USER}/")
            if _spec_of(ref) in over and not ref.split("/", 4)[4].startswith(STAYING)
        ]
        await self._delete(found)
        if found:
            self.removed.append(f"{len(found)} refs of sessions that were killed, in {USER}/")

    async def _pins(self, over: Mapping[str, float]) -> tuple[tuple[str, ...], int]:
        """Remove the pins of builds that have been over for long; return them, and who stays."""
        limit = now() - self.days * _DAY_S
        gone: list[str] = []
        young = 0
        for ref in await self.repo.refs(f"{_REFS}/"):
            at = over.get(_spec_of(ref))
            if at is not None and at <= limit:
                gone.append(ref)
            elif at is not None:
                young += 1
        await self._delete(gone)
        return tuple(gone), young

    async def _delete(self, refs: Iterable[str]) -> None:
        lines = "".join(f"delete {ref}\n" for ref in refs)
        if lines and not self.dry_run:
            await self.repo.git("update-ref", "--stdin", stdin=lines)


def _spec_of(ref: str) -> str:
    """Return whose a pin is, as refs spell it: it is named in the second place below ours."""
    _, _, place = ref.removeprefix(f"{_REFS}/").partition("/")
    return place.partition("/")[0]


async def _over(repo: Repo, workspace: Workspace) -> dict[str, float]:
    """Return when each build that is over came to its end, by its name in refs.

    It is over when the last that happened is that it was merged or discarded, and staging is gone.
    """
    journal = Journal.find(workspace.state_dir, "")
    if journal is None:
        return {}
    with journal:
        names = journal.specs()
    found: dict[str, float] = {}
    for name in names:
        one = Journal.find(workspace.state_dir, name)
        if one is None or await repo.find_commit(branch_of(name)):
            continue
        with one:
            records = one.history()
        state, _ = fold(records)
        ends = [
            record.at
            for record in records
            if isinstance(record.event, ev.RunMerged | ev.RunDiscarded)
        ]
        if state and ends and (state.merged or state.discarded):
            found[ref_part(name)] = ends[-1]
    return found
