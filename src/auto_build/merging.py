"""The merge: from staging into the user's branch, once and whole.

Invariants: the user's branch is either before or after it, never between; what is unsaved in his
checkout is never touched. What is meant is journaled before the branch moves and what came of it
after that, so that a crash leaves nothing unknown.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from auto_build.cleaning import handed_of, remove_merged
from auto_build.composing import Composed, Composer, Target, require_whole
from auto_build.core import events as ev
from auto_build.core.brief import Brief
from auto_build.core.events import MergeForm
from auto_build.core.state import RunState
from auto_build.delivery import MERGED, Build
from auto_build.errors import NotReady
from auto_build.git.evidence import holds
from auto_build.git.parse import Commit, Tree
from auto_build.git.repo import Conflict
from auto_build.git.user import UserGit
from auto_build.groundwork import DETACHED
from auto_build.readiness import (
    SHOWN,
    Wish,
    require_clearance,
    require_finished,
    require_free,
    require_settled,
)
from auto_build.settings import Settings, load_settings

_SHORT: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A finished merge: `commit` is now the head of `branch` (or of a detached HEAD).

    `form` is None where everything was there already. `approval` says on whose word it was merged,
    `checks` is what was run on the merged tree, `kept` why staging was left in place, if it was;
    `notes` is what else people should know.
    """

    branch: str
    commit: str
    form: MergeForm | None
    was: str = ""
    files: int = 0
    approval: str = ""
    checks: tuple[ev.CheckResult, ...] = ()
    kept: str = ""
    notes: tuple[str, ...] = ()


async def merge(build: Build, wish: Wish, say: Callable[[str], None] = lambda _: None) -> Merged:
    """Bring staging into the branch that the user has checked out.

    Args:
        build: the build.
        wish: how it is wanted.
        say: takes what is being done.

    Raises:
        NotReady: chunks or an approval are missing, the two do not merge, the merged tree is red,
            or unsaved changes are in the way; nothing was changed.
        RunLocked: a run is going on.
    """
    with build.held() as held:
        settings = load_settings(held.repo.project, {}, os.environ)
        return await _Merger(held, wish, settings, say).merge()


@dataclass(frozen=True, slots=True)
class _Merger:
    """Merges one build, while nobody else builds here."""

    build: Build
    wish: Wish
    settings: Settings
    say: Callable[[str], None]

    async def merge(self) -> Merged:
        """See that it may be, build the commit, move the branch there, tidy up."""
        build, repo = self.build, self.build.repo
        state = await build.settle(build.require_begun()[0])
        _, view = build.require_begun()
        require_finished(view, partial=self.wish.partial)
        staging = await build.require_staging()
        require_settled(repo)
        target = await self._target()
        if await holds(repo, build.spec.name, target.head, staging):
            return await self._note(state, staging, target)
        approval = require_clearance(
            build.spec.name, state, view, staging, self.settings, self.wish.forced
        )
        behind = await repo.is_ancestor(target.head, staging)
        form = self._form(target, behind=behind)
        tree = await self._tree(staging, target, behind=behind)
        if tree == await repo.tree_of(target.head) and not behind:
            await require_whole(build, target.head, staging, target.head)
            return await self._note(state, staging, target)
        await require_free(repo, await repo.changes(target.head, tree))
        made = await self._compose(form, tree, state, staging, target)
        done = await self._move(form, made, staging, target)
        kept = await self._clean(staging, target)
        notes = await self._notes(state, target)
        return replace(done, approval=approval, checks=made.checks, kept=kept, notes=notes)

    async def _target(self) -> Target:
        head = await self.build.repo.require_user_head()
        branch = (await self.build.repo.user_status()).branch
        return Target(head, branch, branch or DETACHED)

    # --- what it comes to ------------------------------------------------------------------------

    def _form(self, target: Target, *, behind: bool) -> MergeForm:
        """Return what becomes of the wish.

        Raises:
            NotReady: only a fast-forward is wanted, and the branch has commits of its own.
        """
        match self.wish.form or self.settings.merge.form:
            case "squash":
                return MergeForm.SQUASH
            case "merge":
                return MergeForm.MERGE
            case "ff-only" if not behind:
                raise NotReady(
                    f"{target.name} has commits that {self.build.short_branch} lacks: it cannot"
                    " only be moved on",
                    hint="leave out --ff-only for a merge commit, or --squash for one commit",
                )
            case _:
                return MergeForm.FAST_FORWARD if behind else MergeForm.MERGE

    async def _tree(self, staging: Commit, target: Target, *, behind: bool) -> Tree:
        """Return the tree of both together.

        Raises:
            NotReady: they are in conflict, which is handed to the user in a branch.
        """
        repo = self.build.repo
        if behind:
            return await repo.tree_of(staging)
        tree = await repo.try_merge(target.head, staging)
        if not isinstance(tree, Conflict):
            return tree
        handed = handed_of(self.build.spec.name)
        if handed not in [one.branch for one in await self.build.worktrees.listed()]:
            await repo.create_ref(handed, staging)
        short = handed.removeprefix("refs/heads/")
        raise NotReady(
            f"{self.build.short_branch} and {target.name} both changed"
            f" {', '.join(tree.paths[:SHOWN])}",
            hint=f"your checkout was not touched. Merge it by hand:\n    git merge {short}\n"
            "    # resolve what is in conflict, run your tests, then:\n    git commit\n"
            f"    auto-build merge {self.build.spec.name}    # takes note of it, and tidies up",
        )

    async def _compose(
        self, form: MergeForm, tree: Tree, state: RunState, staging: Commit, target: Target
    ) -> Composed:
        if form is MergeForm.FAST_FORWARD:
            return Composed(staging)
        brief = Brief(self.build.spec.name, self.build.short_branch, staging, state)
        said = self.wish.message
        is_squash = form is MergeForm.SQUASH
        message = brief.squash_message(said) if is_squash else brief.merge_message(said)
        composer = Composer(self.build, self.settings, state, self.say)
        return await composer.compose(form, tree, staging, target, message)

    # --- moving ----------------------------------------------------------------------------------

    async def _move(
        self, form: MergeForm, made: Composed, staging: Commit, target: Target
    ) -> Merged:
        """Move the user's branch, between the intent and the mark in the journal.

        Raises:
            NotReady: something is in the way, or his git refuses.
        """
        build, repo = self.build, self.build.repo
        if await self._target() != target:  # he was at work while the checks ran
            raise NotReady(
                f"{target.name} has moved on while the merge was made ready",
                hint="merge again; nothing was changed",
            )
        changes = await repo.changes(target.head, made.commit)
        await require_free(repo, changes)
        if said := await UserGit(repo).find_refusal(target.head, made.commit):
            raise _unmoved(build, said)
        await build.pin(MERGED, staging)
        branch, commit = target.branch or "", made.commit
        forced = self.wish.forced
        build.record(ev.MergeMeant(branch, target.head, commit, staging, form, forced))
        said = await UserGit(repo).fast_forward(commit)
        if not await repo.is_ancestor(commit, await repo.require_user_head()):
            await UserGit(repo).take_back(target.head, changes)
            build.record(ev.MergeVoided(said or "git did not move the branch"))
            raise _unmoved(build, said)
        build.record(ev.RunMerged(target.name, commit, target.head))
        return Merged(
            branch=target.name, commit=commit, form=form, was=target.head, files=len(changes)
        )

    async def _note(self, state: RunState, staging: Commit, target: Target) -> Merged:
        """Take note that everything is in the user's branch, whoever brought it there; tidy up."""
        await self.build.pin(MERGED, staging)
        known = state.merged and await self.build.repo.is_ancestor(
            Commit(state.merged.commit), target.head
        )
        if not known:
            self.build.record(ev.RunMerged(target.name, target.head))
        kept = await self._clean(staging, target)
        return Merged(branch=target.name, commit=target.head, form=None, kept=kept)

    # --- afterwards ------------------------------------------------------------------------------

    async def _clean(self, staging: Commit, target: Target) -> str:
        """Remove staging, unless it is of use yet; return why it stays."""
        if target.branch is None:
            return f"{self.build.short_branch} was left in place: you are on no branch"
        if self.wish.partial:
            return f"{self.build.short_branch} was left in place, to be gone on with"
        return await remove_merged(self.build, staging)

    async def _notes(self, state: RunState, target: Target) -> tuple[str, ...]:
        """Say what may be otherwise than people expect."""
        if await self.build.repo.is_ancestor(Commit(state.base), target.head):
            return ()
        began = state.base[:_SHORT]
        return (f"{target.name} did not hold {began}, where the build began: that came along",)


def _unmoved(build: Build, said: str) -> NotReady:
    return NotReady(
        f"git would not move your checkout: {said or 'without a word'}",
        hint=f"see to what it says, then merge again; {build.short_branch} is untouched",
    )
