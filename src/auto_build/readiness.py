"""How somebody wants a build, and may it go to the user now? Each refusal in words.

Invariant: asking changes nothing.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from auto_build.core.clearance import Held, find_clearance
from auto_build.core.state import RunState
from auto_build.core.view import Label, View
from auto_build.errors import NotReady
from auto_build.git.parse import Change
from auto_build.git.repo import Repo
from auto_build.git.user import UserGit
from auto_build.settings import Settings

SHOWN: Final = 10  # of a list, in words
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


Form = Literal["auto", "merge", "squash", "ff-only"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How somebody wants a build merged.

    `form` is that of the settings unless given; `forced` why it is merged without an approval;
    `partial` says that what has landed is enough; `message` is that of the commit, if one is made.
    """

    form: Form | None = None
    forced: str = ""
    partial: bool = False
    message: str = ""


def require_finished(view: View, *, partial: bool) -> None:
    """See that everything has landed, or that a part is enough.

    Raises:
        NotReady: chunks are missing.
    """
    if view.finished or partial:
        return
    missing = [f"{row.id} ({row.label.value})" for row in view.rows if not row.commit]
    missing = [one for one in missing if "skipped" not in one]
    undone = any(row.label is Label.UNDONE for row in view.rows)
    way = "bring back what was undone (redo), or have it done again (retry)" if undone else ""
    raise NotReady(
        f"{len(missing)} of {len(view.rows)} chunks have not landed: {', '.join(missing[:SHOWN])}",
        hint=f"{way or 'run it again to go on'}, or merge what there is with --partial",
    )


def require_clearance(
    spec: str, state: RunState, view: View, head: str, settings: Settings, forced: str
) -> str:
    """Return on whose word what staging holds at `head` may go to the user.

    Raises:
        NotReady: nobody has approved it.
    """
    found = find_clearance(
        state.qa, head, reviews=settings.qa.review, whole=view.finished, forced=forced
    )
    if isinstance(found, Held):
        raise NotReady(
            f"{spec} is not approved: {found.why}",
            hint=f"have it reviewed: auto-build qa {spec}; or approve it as it is: auto-build"
            f" approve {spec}; or go without, and say why: auto-build merge {spec} --force"
            ' "REASON"',
        )
    return found.why


def require_settled(repo: Repo) -> None:
    """See that the user is not in the middle of something that moves his HEAD.

    Raises:
        NotReady: he is.
    """
    if going_on := [name for name in _UNDER_WAY if (repo.git_dir / name).exists()]:
        raise NotReady(
            f"your checkout is in the middle of a {_UNDER_WAY[going_on[0]]}",
            hint="end it or call it off, then merge again; nothing was changed",
        )


async def require_free(repo: Repo, changes: tuple[Change, ...]) -> None:
    """See that nothing unsaved lies where these changes would be written.

    Raises:
        NotReady: something does.
    """
    if in_the_way := await UserGit(repo).in_the_way(changes):
        more = " …" if len(in_the_way) > SHOWN else ""
        raise NotReady(
            f"the merge would write over your unsaved changes in"
            f" {', '.join(in_the_way[:SHOWN])}{more}",
            hint="commit or stash them, or move them away if git does not track them; then merge"
            " again: nothing was changed",
        )
