"""Worktrees: made one at a time, used again, and never at the cost of what is in them."""

import asyncio
import os
from pathlib import Path

import pytest

from auto_build.errors import RepositoryUnfit
from auto_build.git.landing import Captured, CaptureRefused, Label, capture, salvage
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo
from auto_build.git.worktree import Worktree, Worktrees
from tests.e2e.project import run_git, take_fingerprint
from tests.git.conftest import History

BRANCH = "refs/heads/auto-build/001"
LABEL = Label("001", "one", 1, "Do one")


@pytest.fixture
def worktrees(repo: Repo) -> Worktrees:
    return Worktrees(repo)


@pytest.fixture
async def head(repo: Repo) -> Commit:
    return await repo.require_user_head()


@pytest.fixture
async def staging(worktrees: Worktrees, head: Commit) -> Worktree:
    await worktrees.repo.create_ref(BRANCH, head)
    await worktrees.exclude()
    made = await worktrees.require_staging(BRANCH)
    assert await worktrees.sync_view(made, head, head) == ""
    return made


async def test_many_worktrees_asked_for_at_once_are_all_made(
    worktrees: Worktrees, head: Commit
) -> None:
    made = await asyncio.gather(*(worktrees.require_slot(n, head) for n in range(1, 9)))
    assert len({slot.git_dir for slot in made}) == 8
    assert all((slot.path / "a.txt").exists() for slot in made)
    assert worktrees.slots() == tuple(range(1, 9))


async def test_a_slot_used_again_holds_its_commit_and_its_caches_and_nothing_else(
    worktrees: Worktrees, head: Commit
) -> None:
    slot = await worktrees.require_slot(1, head)
    (slot.path / "a.txt").write_text("changed\n")
    (slot.path / "stray.txt").write_text("stray\n")
    (slot.path / "cache.log").write_text("cache\n")
    run_git(slot.path, "add", "stray.txt")

    again = await worktrees.require_slot(1, head)

    assert again == slot
    assert (await worktrees.status(again)).dirty == ()
    assert (slot.path / "a.txt").read_text() == "1\n2\n3\n"
    assert not (slot.path / "stray.txt").exists()
    assert (slot.path / "cache.log").exists()


@pytest.mark.parametrize(
    "breaking", ["rm .git", "echo x > .git", "rm .git; mkdir .git", "rm .git; git init -q ."]
)
async def test_a_broken_link_to_the_repository_is_mended(
    worktrees: Worktrees, head: Commit, breaking: str
) -> None:
    slot = await worktrees.require_slot(1, head)
    await worktrees.repo.processes.run(
        "sh", "-c", breaking, cwd=slot.path, env={"PATH": "/usr/bin:/bin"}
    )
    await worktrees.require_slot(1, head)
    assert run_git(slot.path, "rev-parse", "HEAD").strip() == head
    assert run_git(slot.path, "rev-parse", "--show-toplevel").strip() == str(slot.path)


async def test_a_foreign_folder_is_never_taken_nor_removed(
    worktrees: Worktrees, head: Commit
) -> None:
    mine = worktrees.slot_path(1) / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine\n")
    with pytest.raises(RepositoryUnfit, match="in the way"):
        await worktrees.require_slot(1, head)
    await worktrees.remove(worktrees.slot_path(1))
    assert mine.read_text() == "mine\n"


async def test_what_is_removed_leaves_nothing_and_removing_again_does_no_harm(
    worktrees: Worktrees, head: Commit
) -> None:
    slot = await worktrees.require_slot(1, head)
    for _ in range(2):
        await worktrees.remove(slot.path)
    assert not worktrees.folder.exists()
    assert len(await worktrees.listed()) == 1


async def test_the_folder_is_excluded_once_and_keeps_what_was_there(worktrees: Worktrees) -> None:
    path = worktrees.repo.common_dir / "info" / "exclude"
    path.write_text("mine")
    for _ in range(2):
        await worktrees.exclude()
    assert path.read_text() == "mine\n/.worktrees/\n"


# --- the view of staging ----------------------------------------------------------------------


async def test_the_view_follows_the_branch(
    worktrees: Worktrees, staging: Worktree, history: History, head: Commit
) -> None:
    new = await history.commit({"a.txt": "1\n2\n3\n", "b.txt": "b\n"}, head)
    await worktrees.repo.swap_ref(BRANCH, new, head, "x")
    assert await worktrees.sync_view(staging, head, new) == ""
    assert (staging.path / "b.txt").read_text() == "b\n"
    assert not (staging.path / ".gitignore").exists()
    assert (await worktrees.status(staging)).dirty == ()


async def test_a_file_that_was_only_touched_does_not_hold_the_view_back(
    worktrees: Worktrees, staging: Worktree, history: History, head: Commit
) -> None:
    new = await history.commit({"a.txt": "new\n", ".gitignore": "*.log\n"}, head)
    await worktrees.repo.swap_ref(BRANCH, new, head, "x")
    os.utime(staging.path / "a.txt", (1_000_000_000, 1_000_000_000))
    assert await worktrees.sync_view(staging, head, new) == ""
    assert (staging.path / "a.txt").read_text() == "new\n"


async def test_what_the_user_changed_in_the_view_is_kept_and_the_view_catches_up_later(
    worktrees: Worktrees, staging: Worktree, history: History, head: Commit
) -> None:
    base = {"a.txt": "1\n2\n3\n", ".gitignore": "*.log\n"}
    one = await history.commit({**base, "a.txt": "one\n"}, head)
    two = await history.commit({**base, "a.txt": "one\n", "b.txt": "b\n"}, one)
    (staging.path / "a.txt").write_text("mine\n")
    (staging.path / "untracked.txt").write_text("mine too\n")
    (staging.path / "built.log").write_text("built\n")
    repo = worktrees.repo

    await repo.swap_ref(BRANCH, one, head, "x")
    assert "a.txt" in await worktrees.sync_view(staging, head, one)
    await repo.swap_ref(BRANCH, two, one, "x")
    assert "a.txt" in await worktrees.sync_view(staging, one, two)
    assert (staging.path / "a.txt").read_text() == "mine\n"
    assert (staging.path / "untracked.txt").exists()

    (staging.path / "a.txt").write_text("1\n2\n3\n")
    assert await worktrees.sync_view(staging, two, two) == ""
    assert (staging.path / "a.txt").read_text() == "one\n"
    assert (staging.path / "b.txt").read_text() == "b\n"
    assert (staging.path / "untracked.txt").read_text() == "mine too\n"
    assert (staging.path / "built.log").exists()


async def test_an_untracked_file_in_the_way_is_never_overwritten(
    worktrees: Worktrees, staging: Worktree, history: History, head: Commit
) -> None:
    new = await history.commit({"a.txt": "1\n2\n3\n", "b.txt": "theirs\n"}, head)
    (staging.path / "b.txt").write_text("mine\n")
    await worktrees.repo.swap_ref(BRANCH, new, head, "x")
    assert "b.txt" in await worktrees.sync_view(staging, head, new)
    assert (staging.path / "b.txt").read_text() == "mine\n"


async def test_staging_holds_one_build_at_a_time(
    worktrees: Worktrees, staging: Worktree, head: Commit
) -> None:
    await worktrees.repo.create_ref("refs/heads/auto-build/002", head)
    with pytest.raises(RepositoryUnfit, match="is on auto-build/001, not on auto-build/002"):
        await worktrees.require_staging("refs/heads/auto-build/002")
    assert await worktrees.require_staging(BRANCH) == staging

    run_git(staging.path, "checkout", "--quiet", "--detach")
    with pytest.raises(RepositoryUnfit, match="is on no branch, not on auto-build/001"):
        await worktrees.require_staging(BRANCH)


async def test_staging_that_is_lent_is_still_its_builds(
    worktrees: Worktrees, staging: Worktree, head: Commit
) -> None:
    await worktrees.repo.create_ref("refs/heads/auto-build/002", head)
    for _ in range(2):  # it is lent again, to the next fixer
        await worktrees.lend_staging(BRANCH, head)

    staged = await worktrees.find_staged()
    assert (staged and staged.branch) == BRANCH
    with pytest.raises(RepositoryUnfit, match="is on auto-build/001, not on auto-build/002"):
        await worktrees.take_back_staging("refs/heads/auto-build/002")

    await worktrees.take_back_staging(BRANCH)
    assert run_git(staging.path, "symbolic-ref", "HEAD").strip() == BRANCH
    assert not worktrees.is_lent()


@pytest.mark.parametrize("instead", [("-b", "mine"), ("auto-build/002",), ("--detach",)])
async def test_where_another_branch_is_checked_out_by_hand_the_view_is_left_alone(
    worktrees: Worktrees, staging: Worktree, history: History, head: Commit, instead: list[str]
) -> None:
    other = await history.commit({"a.txt": "other\n", ".gitignore": "*.log\n"}, head)
    await worktrees.repo.create_ref("refs/heads/auto-build/002", other)
    run_git(staging.path, "checkout", "--quiet", *instead)
    before = (staging.path / "a.txt").read_text()
    new = await history.commit({"a.txt": "1\n2\n3\n", "b.txt": "b\n"}, head)
    await worktrees.repo.swap_ref(BRANCH, new, head, "x")

    assert "another branch" in await worktrees.sync_view(staging, head, new)

    assert (staging.path / "a.txt").read_text() == before
    assert not (staging.path / "b.txt").exists()
    assert (await worktrees.status(staging)).dirty == ()

    run_git(staging.path, "checkout", "--quiet", "auto-build/001")
    assert await worktrees.sync_view(staging, new, new) == ""
    assert (staging.path / "b.txt").read_text() == "b\n"


async def test_what_lies_in_a_slot_is_kept_under_the_spec_that_it_was_made_ready_for(
    worktrees: Worktrees, head: Commit
) -> None:
    slot = await worktrees.require_slot(1, head)
    worktrees.mark_slot(slot, "002-next")
    (slot.path / "new.txt").write_text("new\n")

    pin = await salvage(worktrees, 1, LABEL, head)

    assert pin.startswith("refs/auto-build/attempts/002-next/worker-1/0-partial-")


async def test_only_locks_in_what_is_ours_are_cleared(
    worktrees: Worktrees, staging: Worktree
) -> None:
    common = worktrees.repo.common_dir
    ours = [staging.git_dir / "index.lock", common / f"{BRANCH}.lock"]
    theirs = [common / "index.lock", common / "refs" / "heads" / "main.lock"]
    for lock in (*ours, *theirs):
        lock.touch()

    assert set(worktrees.clear_locks()) == set(ours)

    assert not any(lock.exists() for lock in ours)
    assert all(lock.exists() for lock in theirs)


# --- taking what an agent left ------------------------------------------------------------------


@pytest.fixture
async def slot(worktrees: Worktrees, head: Commit) -> Worktree:
    return await worktrees.require_slot(1, head)


async def _take(repo: Repo, slot: Worktree, base: Commit) -> Captured:
    taken = await capture(repo, slot, base, LABEL)
    assert isinstance(taken, Captured), taken
    return taken


async def test_everything_but_ignored_files_is_taken(
    repo: Repo, slot: Worktree, head: Commit, history: History
) -> None:
    (slot.path / "a.txt").unlink()
    (slot.path / "noise.log").write_text("noise\n")
    odd = ['quo"te.txt', "new\nline.txt", "ü.txt", "-dash", ":(glob)x", "*.txt"]
    for name in odd:
        (slot.path / name).write_text("x\n")

    taken = await _take(repo, slot, head)

    assert sorted(taken.touched) == sorted(["a.txt", *odd])
    assert sorted(await history.read(taken.commit)) == sorted([".gitignore", *odd])


async def test_nothing_left_is_nothing_taken(repo: Repo, slot: Worktree, head: Commit) -> None:
    (slot.path / "noise.log").write_text("noise\n")
    taken = await _take(repo, slot, head)
    assert (taken.commit, taken.touched) == (head, ())


async def test_the_agents_own_commits_and_the_rest_are_taken_together(
    repo: Repo, slot: Worktree, head: Commit
) -> None:
    (slot.path / "one.txt").write_text("1\n")
    run_git(slot.path, "add", "-A")
    run_git(slot.path, "commit", "-qm", "own")
    (slot.path / "two.txt").write_text("2\n")

    taken = await _take(repo, slot, head)

    said = run_git(repo.project, "log", "--format=%s", f"{head}..{taken.commit}")
    assert said.splitlines() == ["one: Do one", "own"]
    assert taken.touched == ("one.txt", "two.txt")


async def test_a_commit_and_its_revert_come_to_nothing(
    repo: Repo, slot: Worktree, head: Commit
) -> None:
    (slot.path / "one.txt").write_text("1\n")
    run_git(slot.path, "add", "-A")
    run_git(slot.path, "commit", "-qm", "own")
    run_git(slot.path, "revert", "--no-edit", "HEAD")
    taken = await _take(repo, slot, head)
    assert (taken.commit, taken.touched) == (head, ())


async def test_taking_moves_no_branch_and_runs_no_hook(
    repo: Repo, slot: Worktree, head: Commit
) -> None:
    for name in ("pre-commit", "commit-msg", "post-commit", "reference-transaction"):
        hook = repo.common_dir / "hooks" / name
        hook.write_text("#!/bin/sh\ntouch ran.txt\nexit 1\n")
        hook.chmod(0o755)
    before = take_fingerprint(repo.project)
    (slot.path / "one.txt").write_text("1\n")
    run_git(slot.path, "-c", "core.hooksPath=/dev/null", "checkout", "-q", "--detach")

    taken = await _take(repo, slot, head)

    assert taken.touched == ("one.txt",)
    assert take_fingerprint(repo.project) == before


def _inner_repository(folder: Path) -> None:
    folder.mkdir()
    run_git(folder, "init", "-q")
    (folder / "x").write_text("x\n")
    run_git(folder, "add", "-A")
    run_git(folder, "-c", "user.name=x", "-c", "user.email=y", "commit", "-qm", "inner")


async def test_a_repository_within_is_refused_by_name(
    repo: Repo, slot: Worktree, head: Commit
) -> None:
    _inner_repository(slot.path / "lib")
    taken = await capture(repo, slot, head, LABEL)
    assert isinstance(taken, CaptureRefused)
    assert "of its own in lib" in taken.why


async def test_a_worktree_that_is_gone_is_refused_in_words(
    worktrees: Worktrees, slot: Worktree, head: Commit
) -> None:
    slot.path.rename(slot.path.with_name("moved"))
    assert await capture(worktrees.repo, slot, head, LABEL) == CaptureRefused(
        "its worktree is gone"
    )
    assert await worktrees.keep_aside(slot, "one-1") is None
    assert (await worktrees.require_slot(1, head)).path.is_dir()


async def test_what_is_kept_aside_never_replaces_what_was_kept_before(
    worktrees: Worktrees, head: Commit
) -> None:
    kept = []
    for text in ("first", "second"):
        slot = await worktrees.require_slot(1, head)
        (slot.path / "x.txt").write_text(text)
        kept.append(await worktrees.keep_aside(slot, "one-1"))
    assert [(path / "x.txt").read_text() for path in kept if path] == ["first", "second"]
