"""Who has the staging worktree, and how that build stands: there is one, for one build at a time.

Invariant: a build is only begun, or gone on with, where the place is its own or free, and where its
branch cannot be taken for that of another spec.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from auto_build.core.view import View
from auto_build.core.waiting import describe
from auto_build.errors import RepositoryUnfit
from auto_build.git.landing import BRANCHES, branch_of
from auto_build.git.repo import Repo
from auto_build.git.worktree import Worktrees, short_name
from auto_build.history import load_view
from auto_build.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Holding:
    """The build whose branch the staging worktree is on; `view` is None where none was begun."""

    spec: str
    branch: str
    view: View | None

    @property
    def stands(self) -> str:
        """How it stands, in a few words."""
        return describe(self.view) if self.view else "there is no journal of it"


async def find_holding(repo: Repo, workspace: Workspace) -> Holding | None:
    """Return whose build the staging worktree holds, if it holds one.

    A build whose spec's folder is gone goes by what its branch is called.
    """
    staged = await Worktrees(repo).find_staged()
    if staged is None or staged.branch is None or not staged.branch.startswith(f"{BRANCHES}/"):
        return None
    named = {branch_of(spec.name): spec.name for spec in workspace.specs()}
    spec = named.get(staged.branch, staged.branch.removeprefix(f"{BRANCHES}/"))
    return Holding(spec, staged.branch, load_view(workspace, spec))


async def require_place(repo: Repo, workspace: Workspace, spec: str) -> None:
    """See that the staging worktree is this build's, or free, and that its name is its own.

    Raises:
        RepositoryUnfit: another build has it, or another spec's branch could be taken for this one.
    """
    await _require_own_name(repo, [one.name for one in workspace.specs()], spec)
    held = await find_holding(repo, workspace)
    if held is None or held.branch == branch_of(spec):
        return
    path = Worktrees(repo).staging_path
    raise RepositoryUnfit(
        f"{path} holds another build, {short_name(held.branch)}: {held.stands}",
        hint=f"put it aside, with all that it has: auto-build park {held.spec}\n"
        f"  or bring it into your branch: auto-build merge {held.spec}\n"
        f"  or throw it away: auto-build discard {held.spec}"
        if held.view
        else f"nobody knows of it here; to keep the branch and free the place: git worktree remove"
        f" '{path}'",
    )


async def _require_own_name(repo: Repo, specs: Iterable[str], spec: str) -> None:
    """See that no other branch is the same where upper and lower case are not told apart.

    Which is so on the disks of many machines. Two long names can also have one branch.
    """
    wanted = branch_of(spec)
    by_name = {one: branch_of(one) for one in specs if one != spec}
    by_branch = {short_name(one): one for one in await repo.refs(f"{BRANCHES}/") if one != wanted}
    for other, branch in {**by_branch, **by_name}.items():
        if branch.casefold() == wanted.casefold():
            raise RepositoryUnfit(
                f"{spec} and {other} would have the same branch, {short_name(wanted)}, where upper"
                " and lower case are not told apart",
                hint="rename the folder of the spec that was not built yet",
            )
