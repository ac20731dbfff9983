"""The merge, wherever the user stands: what is said, and what is as it was."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from auto_build.core.events import MergeForm
from auto_build.errors import NotReady
from auto_build.merging import merge
from auto_build.readiness import Wish
from tests.e2e.finished import BUILT, Finished, finish
from tests.e2e.project import SPEC, Project

pytestmark = pytest.mark.quick

Arrange = Callable[[Finished], object]
FF, MERGE, SQUASH = MergeForm.FAST_FORWARD, MergeForm.MERGE, MergeForm.SQUASH


def nothing(_: Finished) -> None:
    return None


def moved(found: Finished) -> None:
    found.later()


def in_conflict(found: Finished) -> None:
    found.later("a.txt", "a\nmine\nc\n")


def edits(path: str, text: str = "mine\n") -> Arrange:
    return lambda found: found.project.write(path, text)


def stages(path: str) -> Arrange:
    def act(found: Finished) -> None:
        found.project.write(path, "mine\n")
        found.git("add", "-f", path)

    return act


def ignored_file(found: Finished) -> None:
    (found.path / ".git/info/exclude").write_text("/.worktrees/\none.py\n")
    found.project.write("one.py", "mine\n")


def hidden_edit(found: Finished) -> None:
    found.git("update-index", "--assume-unchanged", "a.txt")
    found.project.write("a.txt", "mine\n")


def folder_in_the_way(found: Finished) -> None:
    found.project.write("one.py/mine.txt", "mine\n")


def detached(found: Finished) -> None:
    found.git("checkout", "-q", "--detach")


def on_another_branch(found: Finished) -> None:
    found.git("switch", "-q", "-c", "other", "HEAD~1")


def staging_elsewhere(found: Finished) -> None:
    found.git("worktree", "remove", ".worktrees/auto-build")
    elsewhere = str(found.path.parent / "elsewhere")
    found.git("worktree", "add", "-q", elsewhere, f"auto-build/{SPEC}")


def unsaved_in_staging(found: Finished) -> None:
    (found.project.staging / "tried.txt").write_text("mine\n")


def hook(name: str, script: str = "echo protected >&2; exit 1") -> Arrange:
    return lambda found: found.project.hook(name, script)


def both(*acts: Arrange) -> Arrange:
    def act(found: Finished) -> None:
        for one in acts:
            one(found)

    return act


def in_the_middle_of_a_merge(found: Finished) -> None:
    (found.path / ".git/MERGE_HEAD").write_text(f"{found.base}\n")


def red_together(found: Finished) -> None:
    found.later("no-one.txt", "")


def by_hand(found: Finished) -> None:
    found.git("merge", "-q", "--ff-only", f"auto-build/{SPEC}")


ONLY = "git would not move your checkout|refuses the merge"
UNSAVED = "would write over your unsaved changes in"


@dataclass(frozen=True)
class Row:
    """Where the user stands, how he wants it, and what comes of it: a form, or words."""

    name: str
    arrange: Arrange
    comes: MergeForm | str | None
    wish: Wish = Wish()  # noqa: RUF009 - a frozen value
    kept: str = ""


ROWS = [
    # the user's branch has not moved
    Row("as it was", nothing, FF),
    Row("a merge commit is wanted", nothing, MERGE, Wish(form="merge")),
    Row("one commit is wanted", nothing, SQUASH, Wish(form="squash")),
    Row("unsaved elsewhere", edits("README.md"), FF),
    Row("staged elsewhere", stages("README.md"), FF),
    Row("untracked elsewhere", edits("notes.txt"), FF),
    Row("unsaved where it writes", edits("a.txt"), rf"{UNSAVED} a\.txt"),
    Row("staged where it writes", stages("a.txt"), rf"{UNSAVED} a\.txt"),
    Row("unsaved, and git is told not to look", hidden_edit, rf"{UNSAVED} a\.txt"),
    Row("untracked where it writes", edits("one.py"), rf"{UNSAVED} one\.py"),
    Row("ignored where it writes", ignored_file, rf"{UNSAVED} one\.py"),
    Row("a folder where it writes", folder_in_the_way, rf"{UNSAVED} one\.py/mine\.txt"),
    # it has
    Row("moved", moved, MERGE),
    Row("moved, one commit is wanted", moved, SQUASH, Wish(form="squash")),
    Row("moved, only forward", moved, "main has commits that .* lacks", Wish(form="ff-only")),
    Row("moved, unsaved elsewhere", both(moved, edits("README.md")), MERGE),
    Row("moved, unsaved where it writes", both(moved, edits("a.txt")), rf"{UNSAVED} a\.txt"),
    Row("moved, untracked there", both(moved, edits("one.py")), rf"{UNSAVED} one\.py"),
    Row("moved, red together", red_together, r"main and .* are red together:\n\$ test ! -f no-one"),
    Row("in conflict", in_conflict, r"auto-build/001-demo and main both changed a\.txt"),
    # where he stands
    Row("on no branch", detached, FF, kept="you are on no branch"),
    Row("on no branch, moved", both(detached, moved), MERGE, kept="you are on no branch"),
    Row("on another branch, below", on_another_branch, FF),
    Row("in the middle of a merge", in_the_middle_of_a_merge, "in the middle of a merge"),
    Row("staging is checked out elsewhere", staging_elsewhere, FF, kept="is checked out in"),
    Row("something unsaved in staging", unsaved_in_staging, FF, kept="has unsaved changes"),
    Row("merged by hand", by_hand, None),
    # what his hooks say
    Row("a branch that a hook protects", hook("reference-transaction"), f"{ONLY}: protected"),
    Row(
        "moved, and a hook protects it",
        both(moved, hook("reference-transaction")),
        "would not move your checkout: protected",
    ),
    Row(
        "a hook against merges",
        both(moved, hook("pre-merge-commit")),
        "your hook pre-merge-commit refuses the merge: protected",
    ),
    Row("a hook against merges, none made", hook("pre-merge-commit"), FF),
    Row(
        "a hook against commits on main",
        hook("pre-commit", '[ "$(git symbolic-ref --short HEAD)" != main ] || exit 1'),
        "your hook pre-commit refuses the merge: without a word",
        Wish(form="squash"),
    ),
    Row(
        "a hook against the message",
        both(moved, hook("commit-msg", 'grep -q JIRA "$1" || { echo no issue; exit 1; }')),
        "your hook commit-msg refuses the merge: no issue",
    ),
    Row(
        "a message that the hook likes",
        both(moved, hook("commit-msg", 'grep -q JIRA "$1"')),
        MERGE,
        Wish(message="JIRA-1"),
    ),
]


@dataclass(frozen=True)
class Seen:
    """What must be as it was where a merge is refused."""

    head: str
    branch: str
    staging: str
    status: str
    entries: str
    files: dict[str, bytes]

    @classmethod
    def of(cls, found: Finished) -> "Seen":
        tracked = [path for path in found.path.rglob("*") if path.is_file()]
        return cls(
            head=found.head,
            branch=found.git("rev-parse", "--abbrev-ref", "HEAD"),
            staging=found.git("rev-parse", f"auto-build/{SPEC}"),
            status=found.git("status", "--porcelain", "--ignored"),
            entries=found.git("ls-files", "--stage"),
            files={
                str(path): path.read_bytes()
                for path in tracked
                if not {".git", ".worktrees"} & {*path.relative_to(found.path).parts}
            },
        )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_merge(project: Project, row: Row) -> None:
    found = await finish(project, checks="test ! -f no-one.txt")
    row.arrange(found)
    before = Seen.of(found)
    if row.comes is not None and not isinstance(row.comes, MergeForm):
        with pytest.raises(NotReady, match=row.comes) as refused:
            await merge(found.build, row.wish)
        assert Seen.of(found) == before
        assert refused.value.hint
        assert not found.build.require_begun()[0].merging
        return

    done = await merge(found.build, row.wish)

    after = Seen.of(found) if row.kept else None
    assert done.form is row.comes
    assert row.kept in done.kept
    assert bool(done.kept) is bool(row.kept)
    assert (found.head, done.branch) == (done.commit, before.branch.replace("HEAD", done.branch))
    assert {path: (found.path / path).read_text() for path in BUILT} == BUILT
    assert found.git("status", "--porcelain") == before.status.partition("!!")[0].strip()
    assert found.merges() == 1
    assert found.kinds().count("RunMerged") == 1
    assert found.git("rev-parse", f"refs/auto-build/merged/{SPEC}/1") == found.staging
    there = found.git("branch", "--list", f"auto-build/{SPEC}", "--format=x")
    assert bool(there) is bool(after)


async def test_a_conflict_is_handed_over_in_a_branch_and_noted_when_it_is_resolved(
    project: Project,
) -> None:
    found = await finish(project)
    in_conflict(found)
    with pytest.raises(NotReady, match="both changed") as refused:
        await merge(found.build, Wish())
    commands = [line.strip() for line in refused.value.hint.splitlines()[1:]]
    typed = [shlex.split(line, comments=True) for line in commands]
    assert typed[0] == ["git", "merge", f"auto-build-merge/{SPEC}"]
    assert typed[-1] == ["auto-build", "merge", SPEC]
    project.git(*typed[0][1:], ok=(1,))
    project.write("a.txt", "a\nmine and built\nc\n")
    project.commit_all("Resolved")
    head = found.head

    done = await merge(found.build, Wish())

    assert (done.form, done.commit, found.head) == (None, head, head)
    assert found.git("branch", "--format=%(refname:short)") == "main"
    assert not found.project.staging.exists()


async def test_what_the_users_hooks_see_is_the_merge_and_not_his_checkout(
    project: Project, tmp_path: Path
) -> None:
    found = await finish(project)
    moved(found)
    project.write("README.md", "mine\n")
    seen = shlex.quote(str(tmp_path / "seen"))
    look = "pwd; git diff --cached --name-only; git status --porcelain; cat README.md"
    project.hook("pre-merge-commit", f"({look}) >> {seen}; echo hooked > hooked.txt; git add .")

    done = await merge(found.build, Wish())

    told = (tmp_path / "seen").read_text().splitlines()
    assert told[0].endswith("auto-build-worker-1")
    assert {"a.txt", "one.py", "M  a.txt", "A  one.py"} <= {*told}
    assert "mine" not in told
    assert [check.command for check in done.checks] == ["true", "test -f one.py"]
    assert (found.path / "hooked.txt").read_text() == "hooked\n", "as git, the hook may add to it"
    assert (found.path / "README.md").read_text() == "mine\n"
