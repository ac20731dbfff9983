"""Taking a merge back: the user's branch as it was before, or one commit that reverts it.

Invariants: nothing that the user committed or published is ever rewritten; what is unsaved stays;
what was merged is in staging again, or in the user's history, before his branch moves.
"""

from dataclasses import dataclass
from typing import Final

from auto_build.composing import refusal
from auto_build.core import events as ev
from auto_build.core.brief import Brief
from auto_build.core.conservation import describe
from auto_build.core.events import MergeForm
from auto_build.core.state import RunState
from auto_build.delivery import Build
from auto_build.errors import NotReady, RepositoryUnfit
from auto_build.git.conservation import find_lost
from auto_build.git.parse import Commit
from auto_build.git.repo import Conflict, Repo
from auto_build.git.user import Refused, UserGit
from auto_build.groundwork import DETACHED, is_parked
from auto_build.journal import Journal
from auto_build.readiness import SHOWN, require_free, require_settled

_SHORT: Final = 10


@dataclass(frozen=True, slots=True)
class Unmerged:
    """A merge that was taken back: `commit` is now the head of `branch`.

    It is a `reverted` one where a commit was made for it; else staging is there again. `notes` is
    what else people should know.
    """

    spec: str
    branch: str
    commit: str
    reverted: bool
    notes: tuple[str, ...] = ()


async def unmerge(build: Build, *, revert: bool) -> Unmerged:
    """Take the last merge of a build back.

    Args:
        build: the build.
        revert: take it back by a commit on top, where others may have the merge already.

    Raises:
        NotReady: it was not merged, was published, or was built upon; nothing was changed.
        RunLocked: a run is going on.
    """
    with build.held() as held:
        state = await held.settle(held.require_begun()[0])
        meant = _last_merge(held, state)
        return await _Unmerger(held, state, meant).unmerge(revert=revert)


def _last_merge(build: Build, state: RunState) -> ev.MergeMeant:
    """Return how the merge came about that the journal knows last.

    Raises:
        NotReady: there is none, or it was not made by this program.
    """
    journal = Journal.find(build.workspace.state_dir, build.spec.name)
    if state.merged is None or journal is None:
        raise NotReady(
            f"{build.spec.name} is not merged, so there is nothing to take back",
            hint=f"auto-build status {build.spec.name}",
        )
    with journal:
        events = [record.event for record in journal.history()]
    last = state.merged.commit
    found = [one for one in events if isinstance(one, ev.MergeMeant) and one.commit == last]
    if not found:
        raise NotReady(
            f"{build.spec.name} was merged by hand, into {state.merged.branch}",
            hint="take it back by hand, too: git log shows the merge, git revert takes it back",
        )
    return found[-1]


@dataclass(frozen=True, slots=True)
class _Unmerger:
    """Takes one merge back, while nobody else builds here."""

    build: Build
    state: RunState
    meant: ev.MergeMeant

    @property
    def _repo(self) -> Repo:
        return self.build.repo

    async def unmerge(self, *, revert: bool) -> Unmerged:
        require_settled(self._repo)
        name = await self._require_branch()
        head = await self._repo.require_user_head()
        commit, was = Commit(self.meant.commit), Commit(self.meant.was)
        if not await self._repo.is_ancestor(commit, head):  # it was taken back already
            return await self._restored(name, head)
        if revert:
            return await self._revert(name, head, commit, was)
        await self._require_own(name, head, commit)
        await require_free(self._repo, await self._repo.changes(head, was))
        await self._require_branch_back()
        said = await UserGit(self._repo).move_back(was)
        if await self._repo.require_user_head() != was:
            raise NotReady(
                f"git would not move your checkout back: {said or 'without a word'}",
                hint="see to what it says, then do it again",
            )
        return await self._restored(name, was)

    async def _require_branch(self) -> str:
        """See that the user stands where the merge went to."""
        branch = (await self._repo.user_status()).branch
        if (branch or "") != self.meant.branch:
            wanted = self.meant.branch
            raise NotReady(
                f"it was merged into {wanted or DETACHED}, and you are on {branch or DETACHED}",
                hint=f"git switch {wanted or f'--detach {self.meant.commit}'}, then do it again",
            )
        return branch or DETACHED

    async def _require_own(self, name: str, head: Commit, commit: Commit) -> None:
        """See that nobody else has the merge, and nothing was built on it."""
        again = f"auto-build undo-merge {self.build.spec.name} --revert"
        done = await self._repo.git(
            "for-each-ref", "--format=%(refname:short)", f"--contains={commit}", "refs/remotes"
        )
        if published := done.stdout.split():
            raise NotReady(
                f"the merge is published already, in {', '.join(published[:SHOWN])}",
                hint=f"what others may have is not rewritten; a commit takes it back: {again}",
            )
        if head != commit:
            later = len(await self._repo.commits_between(commit, head))
            raise NotReady(
                f"{name} has gone on since the merge: {later} commit{'s' if later > 1 else ''}",
                hint=f"a commit on top takes the merge back: {again}{self._by_hand()}",
            )

    def _by_hand(self) -> str:
        """Return the git command that does the same, where one does."""
        match self.meant.form:
            case MergeForm.MERGE:
                return f" (by hand: git revert -m 1 {self.meant.commit[:_SHORT]})"
            case MergeForm.SQUASH:
                return f" (by hand: git revert {self.meant.commit[:_SHORT]})"
            case MergeForm.FAST_FORWARD:
                return ""

    # --- back to where it was --------------------------------------------------------------------

    async def _require_branch_back(self) -> None:
        """Make staging's branch again, before the user's branch lets go of what it held."""
        staging = Commit(self.meant.staging)
        there = await self._repo.find_commit(self.build.branch)
        if there is None:
            await self._repo.create_ref(self.build.branch, staging)
        elif not await self._repo.is_ancestor(staging, there):
            raise NotReady(
                f"{self.build.short_branch} is another build by now, at {there[:_SHORT]}",
                hint="merge or discard that one first; or take the merge back with --revert",
            )

    async def _restored(self, name: str, commit: Commit) -> Unmerged:
        """Take note of it, and show staging again."""
        await self._require_branch_back()
        self.build.record(ev.MergeUndone(commit))
        notes = await self._show_staging()
        return Unmerged(self.build.spec.name, name, commit, reverted=False, notes=notes)

    async def _show_staging(self) -> tuple[str, ...]:
        """Make staging's worktree again; return why it is not made, for the branch is enough."""
        if is_parked(self.state):
            return (f"{self.build.spec.name} is parked, so that it has no worktree",)
        try:
            await self.build.worktrees.exclude()
            await self.build.worktrees.require_staging(self.build.branch)
        except RepositoryUnfit as unfit:  # another build is shown there
            return (f"staging's worktree was not made: {unfit}",)
        return ()

    # --- by a commit on top ----------------------------------------------------------------------

    async def _revert(self, name: str, head: Commit, commit: Commit, was: Commit) -> Unmerged:
        """Make one commit that takes the merge back, off-tree, and move the checkout on to it."""
        repo, git = self._repo, UserGit(self._repo)
        before = await repo.commit_tree(await repo.tree_of(was), [commit], "before\n")
        tree = await repo.graft(commit, before, head)
        if isinstance(tree, Conflict):
            raise NotReady(
                f"what came later changed the same lines of {', '.join(tree.paths[:SHOWN])}",
                hint="nothing was changed. Take it back by hand, with git revert" + self._by_hand(),
            )
        brief = Brief(self.build.spec.name, self.build.short_branch, self.meant.staging, self.state)
        made = await git.commit(tree, [head], brief.revert_message(commit))
        if isinstance(made, Refused):
            raise refusal(made)
        found = await find_lost(repo, commit, head, before, made)
        if found.lost:
            raise NotReady(
                f"taking the merge back would lose lines that came later:\n{describe(found.lost)}",
                hint="nothing was changed. Take it back by hand, with git revert",
            )
        await require_free(repo, await repo.changes(head, made))
        said = await git.fast_forward(made)
        if not await repo.is_ancestor(made, await repo.require_user_head()):
            raise NotReady(
                f"git would not move your checkout on: {said or 'without a word'}",
                hint="see to what it says, then do it again; nothing was changed",
            )
        self.build.record(ev.MergeUndone(made))
        note = f"nothing has tested it; it comes back with: git revert {made[:_SHORT]}"
        return Unmerged(self.build.spec.name, name, made, reverted=True, notes=(note,))
