"""The commit that a merge consists of: built off-tree, and proven, before anything moves.

Invariants: no ref moves here; the tree of what is returned is staging's own, or one on which the
suite was run; the user's hooks have seen it, in a worktree of ours and never in his checkout.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from auto_build.checks import explain
from auto_build.core.conservation import describe
from auto_build.core.events import CheckResult, MergeForm
from auto_build.core.state import Landed, RunState
from auto_build.delivery import Build
from auto_build.errors import NotReady
from auto_build.git.conservation import find_lost
from auto_build.git.parse import Commit, Tree
from auto_build.git.user import Refused, UserGit
from auto_build.git.worktree import Worktree
from auto_build.groundwork import Groundwork
from auto_build.proving import Prover, Red
from auto_build.settings import Settings

_DRAFT: Final = "draft\n"  # of a commit that is only looked at
_HOOKS: Final[Mapping[MergeForm, tuple[str, ...]]] = MappingProxyType(  # as git runs them
    {
        MergeForm.MERGE: ("pre-merge-commit", "prepare-commit-msg", "commit-msg"),
        MergeForm.SQUASH: ("pre-commit", "prepare-commit-msg", "commit-msg"),
    }
)
_SOURCE: Final[Mapping[MergeForm, str]] = MappingProxyType(  # of a message, for its hook
    {MergeForm.MERGE: "merge", MergeForm.SQUASH: "squash"}
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a build goes: the user's `head`, on `branch`, or on none where he is detached."""

    head: Commit
    branch: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Composed:
    """A commit to move to, and what was run on its tree."""

    commit: Commit
    checks: tuple[CheckResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Composer:
    """Composes commits for one build; `say` takes what is being done."""

    build: Build
    settings: Settings
    state: RunState
    say: Callable[[str], None]

    async def compose(
        self, form: MergeForm, tree: Tree, staging: Commit, target: Target, message: str
    ) -> Composed:
        """Return the commit of a merge or squash of staging into what the user has.

        Raises:
            NotReady: it would lose lines, is red, or a hook or the signature of his refuses it.
        """
        repo, git = self.build.repo, UserGit(self.build.repo)
        known = await repo.tree_of(staging)
        hooks = await git.find_hooks(_HOOKS[form])
        checks: tuple[CheckResult, ...] = ()
        if hooks or tree != known:
            await self._keep_leftovers()
            async with Prover.open(self.build, self.settings, self.say, "merge") as prover:
                if hooks:
                    worktree = await prover.show(target.head)
                    room = _HookRoom(self.build, git, worktree, target)
                    tree, message = await room.run(form, hooks, tree, message)
                draft = await repo.commit_tree(tree, [target.head, staging], _DRAFT)
                await require_whole(self.build, target.head, staging, draft)
                if tree != known:
                    checks = await self._require_green(prover, draft, target)
        parents = [target.head, staging] if form is MergeForm.MERGE else [target.head]
        made = await git.commit(tree, parents, message)
        if isinstance(made, Refused):
            raise refusal(made)
        return Composed(made, checks)

    async def _keep_leftovers(self) -> None:
        """Keep what an earlier run left in the worker slots, which are to be used."""
        build, most = self.build, self.settings.containment.most_file_bytes
        ground = Groundwork(build.repo, build.worktrees, build.spec.name, self.say, self.say, most)
        await build.worktrees.exclude()
        await ground.keep_leftovers(self.state)

    async def _require_green(
        self, prover: Prover, at: Commit, target: Target
    ) -> tuple[CheckResult, ...]:
        """Run the suite on the merged tree."""
        landed = [chunk for chunk, now in self.state.chunks.items() if isinstance(now, Landed)]
        found = await prover.prove(at, self.state, landed)
        if isinstance(found, Red):
            raise NotReady(
                f"{target.name} and {self.build.short_branch} are red together:"
                f"\n{explain(found.result)}",
                hint="nothing was changed. Mend it in your branch and commit, or take the chunk out"
                " that does not go with it (auto-build undo); then merge again",
            )
        return found


@dataclass(frozen=True, slots=True)
class _HookRoom:
    """A worktree in which the user's hooks see a commit as his git would show it to them.

    It is on his branch, at his head, with the merged tree in its index and its files.
    """

    build: Build
    git: UserGit
    worktree: Worktree
    target: Target

    async def run(
        self, form: MergeForm, hooks: tuple[str, ...], tree: Tree, message: str
    ) -> tuple[Tree, str]:
        """Run hooks; return the tree and the message as they leave them.

        Raises:
            NotReady: one of them refuses.
        """
        text = self.worktree.git_dir / "COMMIT_EDITMSG"
        text.write_text(message, encoding="utf-8")
        arguments = {"prepare-commit-msg": (str(text), _SOURCE[form]), "commit-msg": (str(text),)}
        await self._show(tree)
        try:
            for name in hooks:
                args = arguments.get(name, ())
                if refused := await self.git.run_hook(name, *args, worktree=self.worktree):
                    raise refusal(refused)
            left = await self._ours("write-tree")
        finally:
            await self._ours("update-ref", "--no-deref", "HEAD", self.target.head)
        said = text.read_text(encoding="utf-8", errors="surrogateescape")
        return Tree(left), said

    async def _show(self, tree: Tree) -> None:
        await self._ours("read-tree", "--reset", "-u", tree)  # the worktree is ours, and clean
        if self.target.branch:  # plumbing does not mind that it is checked out elsewhere, too
            await self._ours("symbolic-ref", "HEAD", f"refs/heads/{self.target.branch}")

    async def _ours(self, *args: str) -> str:
        where = self.worktree
        done = await self.build.repo.git(*args, git_dir=where.git_dir, work_tree=where.path)
        return done.stdout.strip()


async def require_whole(build: Build, user: Commit, staging: Commit, merged: Commit) -> None:
    """See that no line that either side added is missing in what both became.

    Raises:
        NotReady: one is.
    """
    base = await build.repo.merge_base(user, staging)
    if base is None:
        return
    found = await find_lost(build.repo, base, user, staging, merged)
    if found.lost:
        raise NotReady(
            f"the merge would lose lines that one side added:\n{describe(found.lost)}",
            hint="a merge driver in git's attributes may do that; merge it by hand: git merge"
            f" {build.short_branch}",
        )


def refusal(refused: Refused) -> NotReady:
    """Return in words what keeps a commit from being made."""
    return NotReady(
        f"{refused.what} refuses the merge: {refused.said or 'without a word'}",
        hint="see to what it says, then merge again; nothing was changed",
    )
