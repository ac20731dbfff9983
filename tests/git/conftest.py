"""A repository with one commit, and ways to make more."""

from pathlib import Path

import pytest

from auto_build.git.parse import Commit, Tree
from auto_build.git.repo import Repo
from auto_build.process import Processes
from tests.e2e.project import run_git


class History:
    """Makes commits from whole trees, without touching the checkout."""

    def __init__(self, repo: Repo) -> None:
        self.repo = repo

    async def commit(self, files: dict[str, str], *parents: Commit, said: str = "x") -> Commit:
        """Make a commit with exactly these files at its top."""
        lines = []
        for path, text in files.items():
            done = await self.repo.git("hash-object", "-w", "--stdin", stdin=text)
            lines.append(f"100644 blob {done.stdout.strip()}\t{path}\0")
        tree = await self.repo.git("mktree", "-z", stdin="".join(lines))
        return await self.repo.commit_tree(Tree(tree.stdout.strip()), parents, f"{said}\n")

    async def read(self, name: str) -> dict[str, str]:
        """Return the files at the top of a commit or tree."""
        done = await self.repo.git("ls-tree", "-z", "--name-only", name)
        paths = [path for path in done.stdout.split("\0") if path]
        return {path: (await self.repo.git("show", f"{name}:{path}")).stdout for path in paths}


@pytest.fixture
async def repo(tmp_path: Path) -> Repo:
    """Return a repository whose path holds a space and a letter beyond ASCII."""
    folder = tmp_path / "my pröject"
    folder.mkdir()
    run_git(folder, "init", "-q", "-b", "main")
    run_git(folder, "config", "user.name", "Ada")
    run_git(folder, "config", "user.email", "ada@example.org")
    (folder / "a.txt").write_text("1\n2\n3\n")
    (folder / ".gitignore").write_text("*.log\n")
    run_git(folder, "add", "-A")
    run_git(folder, "commit", "-q", "-m", "Start")
    return await Repo.open(folder, Processes())


@pytest.fixture
def history(repo: Repo) -> History:
    return History(repo)
