"""What an agent does to git in its slot neither hides its work nor stays for the next one."""

from pathlib import Path

import pytest

from auto_build.git.landing import Captured, Label, capture
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo
from auto_build.git.worktree import Worktree, Worktrees
from tests.e2e.project import run_git

LABEL = Label("001", "one", 1, "Do one")
HIDING = ["--skip-worktree", "--assume-unchanged"]


@pytest.fixture
def worktrees(repo: Repo) -> Worktrees:
    return Worktrees(repo)


@pytest.fixture
async def head(repo: Repo) -> Commit:
    return await repo.require_user_head()


@pytest.fixture
async def slot(worktrees: Worktrees, head: Commit) -> Worktree:
    return await worktrees.require_slot(1, head)


async def captured(repo: Repo, slot: Worktree, base: Commit) -> Captured:
    taken = await capture(repo, slot, base, LABEL)
    assert isinstance(taken, Captured)
    return taken


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".git"}


@pytest.mark.parametrize("flag", HIDING)
async def test_an_edit_that_is_hidden_from_git_is_captured(
    repo: Repo, slot: Worktree, head: Commit, flag: str
) -> None:
    run_git(slot.path, "update-index", flag, "a.txt")
    (slot.path / "a.txt").write_text("new\n")

    taken = await captured(repo, slot, head)

    assert taken.touched == ("a.txt",)
    assert run_git(repo.project, "show", f"{taken.commit}:a.txt") == "new\n"


async def test_a_file_whose_deletion_is_hidden_from_git_is_captured_as_deleted(
    repo: Repo, slot: Worktree, head: Commit
) -> None:
    run_git(slot.path, "update-index", "--assume-unchanged", "a.txt")
    (slot.path / "a.txt").unlink()

    taken = await captured(repo, slot, head)

    assert taken.touched == ("a.txt",)


@pytest.mark.parametrize("flag", HIDING)
async def test_a_slot_used_again_holds_its_commit_whatever_was_hidden_in_it(
    worktrees: Worktrees, slot: Worktree, head: Commit, flag: str
) -> None:
    run_git(slot.path, "update-index", flag, "a.txt")
    (slot.path / "a.txt").write_text("new\n")

    again = await worktrees.require_slot(1, head)

    assert (again.path / "a.txt").read_text() == "1\n2\n3\n"
    assert {line[0] for line in run_git(slot.path, "ls-files", "-v").splitlines()} == {"H"}


@pytest.mark.parametrize("how", ["set --no-cone '/*' '!/a.txt'", "set --no-cone nowhere"])
async def test_what_a_sparse_checkout_leaves_out_is_neither_deleted_nor_missing_later(
    repo: Repo, worktrees: Worktrees, slot: Worktree, head: Commit, how: str
) -> None:
    await repo.processes.run(
        "sh", "-c", f"git sparse-checkout {how}", cwd=slot.path, env={"PATH": "/usr/bin:/bin"}
    )
    (slot.path / "b.txt").write_text("b\n")

    taken = await captured(repo, slot, head)
    again = await worktrees.require_slot(1, head)

    assert taken.touched == ("b.txt",)
    assert files_in(again.path) == {"a.txt", ".gitignore"}
