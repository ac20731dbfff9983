"""What an agent leaves in its worktree that git is not to take, or must not wait for."""

import os
import socket
from pathlib import Path

import pytest

from auto_build.git.landing import Captured, CaptureRefused, Label, capture, salvage
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo
from auto_build.git.worktree import Worktree, Worktrees
from tests.e2e.project import run_git

LABEL = Label("001", "one", 1, "Do one")
MOST = 1_000_000


@pytest.fixture
async def head(repo: Repo) -> Commit:
    return await repo.require_user_head()


@pytest.fixture
async def slot(repo: Repo, head: Commit) -> Worktree:
    return await Worktrees(repo).require_slot(1, head)


def objects(repo: Repo) -> int:
    """Return how many KiB of objects there are."""
    told = run_git(repo.project, "count-objects", "-v")
    return int(dict(line.split(": ") for line in told.splitlines())["size"])


async def test_a_file_that_is_too_large_is_refused_before_git_reads_it(
    repo: Repo, slot: Worktree, head: Commit
) -> None:
    (slot.path / "data dir").mkdir()
    (slot.path / "data dir" / "big ü.bin").write_bytes(os.urandom(MOST + 100_000))
    (slot.path / "a.txt").write_bytes(os.urandom(MOST + 200_000))
    (slot.path / "small.txt").write_text("small\n")
    before = objects(repo)

    taken = await capture(repo, slot, head, LABEL, most_bytes=MOST)

    assert taken == CaptureRefused(
        "it left what is too large for git: a.txt has 1.2 MB, and a file may have 1 MB;"
        " data dir/big ü.bin has 1.1 MB, and a file may have 1 MB"
    )
    assert objects(repo) == before


async def test_a_file_that_is_ignored_or_as_large_as_it_may_be_is_no_reason(
    repo: Repo, slot: Worktree, head: Commit
) -> None:
    (slot.path / "huge.log").write_bytes(b"x" * (MOST + 1))
    (slot.path / "b.txt").write_bytes(b"x" * MOST)
    (slot.path / "a.txt").unlink()
    taken = await capture(repo, slot, head, LABEL, most_bytes=MOST)
    assert isinstance(taken, Captured)
    assert taken.touched == ("a.txt", "b.txt")


async def test_what_a_cut_off_agent_left_that_is_too_large_is_kept_as_files(
    repo: Repo, slot: Worktree, head: Commit
) -> None:
    (slot.path / "big.bin").write_bytes(b"x" * (MOST + 1))
    kept = await salvage(Worktrees(repo), 1, LABEL, head, most_bytes=MOST)
    assert (Path(kept) / "big.bin").stat().st_size == MOST + 1


async def test_pipes_and_sockets_are_left_out(
    repo: Repo, slot: Worktree, head: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(slot.path / "pipe")
    (slot.path / "a.txt").unlink()
    os.mkfifo(slot.path / "a.txt")  # in the place of a file that git tracks
    monkeypatch.chdir(slot.path)  # a socket's path must be short
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("socket")
    (slot.path / "new.txt").write_text("new\n")

    taken = await capture(repo, slot, head, LABEL, most_bytes=MOST)
    listening.close()

    assert isinstance(taken, Captured)
    assert taken.touched == ("a.txt", "new.txt")
    assert "a.txt" not in run_git(repo.project, "ls-tree", "--name-only", taken.commit)


@pytest.mark.parametrize("name", [".GIT", "git~1", ".g\u200cit", ".git "])
async def test_what_git_itself_does_not_add_is_told(
    repo: Repo, slot: Worktree, head: Commit, name: str
) -> None:
    """Where the user's git protects other systems' checkouts, too, it refuses such a name."""
    for setting in ("core.protectNTFS", "core.protectHFS"):
        run_git(repo.project, "config", setting, "true")
    (slot.path / name).mkdir()
    (slot.path / name / "x").write_text("x\n")

    taken = await capture(repo, slot, head, LABEL, most_bytes=MOST)

    assert isinstance(taken, CaptureRefused)
    assert "git cannot take what it left" in taken.why
