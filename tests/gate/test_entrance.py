"""What a candidate may not bring into staging is seen before any check runs."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from auto_build.gate.entrance import Entrance, Seen
from auto_build.gate.secrets import Scanner, find_program
from auto_build.git.landing import Candidate, Label, build_candidate, flatten
from auto_build.git.parse import Commit, Tree
from auto_build.git.repo import Repo
from auto_build.process import Processes
from tests.e2e.project import run_git
from tests.gate.secret_words import assigned, made_up

pytestmark = pytest.mark.slow

LABEL = Label("001", "one", 1, "Do one")
MOST = 100_000
Files = Mapping[str, tuple[str, str]]  # path → mode and content


@pytest.fixture
async def repo(tmp_path: Path) -> Repo:
    folder = tmp_path / "my pröject"
    folder.mkdir()
    run_git(folder, "init", "-q", "-b", "main")
    run_git(folder, "config", "user.name", "Ada")
    run_git(folder, "config", "user.email", "ada@example.org")
    (folder / "README.md").write_text("# Démo\n")
    (folder / "key.py").write_text(assigned())
    run_git(folder, "add", "-A")
    run_git(folder, "commit", "-q", "-m", "Start")
    return await Repo.open(folder, Processes())


@pytest.fixture
async def head(repo: Repo) -> Commit:
    return await repo.require_user_head()


def text(content: str) -> tuple[str, str]:
    return "100644", content


def link(target: str) -> tuple[str, str]:
    return "120000", target


async def work(repo: Repo, parent: Commit, files: Files, *gone: str) -> Commit:
    """Commit as an agent can that writes git's objects itself, past what `git add` refuses."""
    tree = {file.path: (file.mode, file.oid) for file in await repo.files(parent)}
    for path in gone:
        del tree[path]
    for path, (mode, content) in files.items():
        done = await repo.git("hash-object", "-w", "--stdin", stdin=content)
        tree[path] = (mode, done.stdout.strip())
    return await repo.commit_tree(await _tree(repo, tree), [parent], "work\n")


async def _tree(repo: Repo, files: Files) -> Tree:
    below: dict[str, dict[str, tuple[str, str]]] = {}
    lines = []
    for path, (mode, oid) in files.items():
        top, _, rest = path.partition("/")
        if rest:
            below.setdefault(top, {})[rest] = (mode, oid)
        else:
            lines.append(f"{mode} blob {oid}\t{path}\0")
    for name, inner in below.items():
        lines.append(f"040000 tree {await _tree(repo, inner)}\t{name}\0")
    done = await repo.git("mktree", "-z", stdin="".join(lines))
    return Tree(done.stdout.strip())


async def candidate(repo: Repo, head: Commit, made: Commit) -> Candidate:
    built = await build_candidate(repo, head, head, made, LABEL)
    assert isinstance(built, Candidate)
    return built


async def look(repo: Repo, head: Commit, made: Commit, *allowed: str, scan: bool = False) -> Seen:
    built = await candidate(repo, head, made)
    scanner = _scanner(repo) if scan else None
    at = Entrance(repo=repo, most_file_bytes=MOST, scanner=scanner, allowed=allowed)
    return await at.look(built)


def _scanner(repo: Repo) -> Scanner:
    if not find_program():
        pytest.skip("kingfisher is not installed: pip install 'auto-build[secrets]'")
    return Scanner(repo.processes, find_program())


# --- trees ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "entry", "words"),
    [
        ("secrets", link("/etc/passwd"), "'secrets' is a symbolic link to '/etc/passwd'"),
        ("docs/up", link("../../outside"), "may lead out"),
        (".gitmodules", link("README.md"), "symbolic link, where git reads"),
        (".GIT/hooks/post-checkout", text("#!/bin/sh\n"), ".git on some file systems"),
        ("lib/git~1/config", text("x\n"), ".git on some file systems"),
        (".g\u200cit/config", text("x\n"), ".git on some file systems"),
        ("readme.md", text("# Other\n"), "one and the same"),
        ("big.bin", text("x" * (MOST + 1)), "big.bin has 0.1 MB"),
    ],
)
async def test_a_commit_that_an_agent_made_past_git_add_is_refused_by_name(
    repo: Repo, head: Commit, path: str, entry: tuple[str, str], words: str
) -> None:
    made = await work(repo, head, {path: entry, "fine.txt": text("fine\n")})
    seen = await look(repo, head, made)
    assert words in seen.refusal
    assert "fine.txt" not in seen.refusal


async def test_what_is_fit_is_let_in(repo: Repo, head: Commit) -> None:
    made = await work(
        repo,
        head,
        {"docs/a": link("../README.md"), "con": text("x\n"), "Readme.md": text("# New\n")},
        "README.md",
    )
    assert await look(repo, head, made) == Seen()
    assert await look(repo, head, head) == Seen()


async def test_what_the_base_has_is_not_held_against_a_work(repo: Repo, head: Commit) -> None:
    base = await work(
        repo,
        head,
        {"out": link("/etc/passwd"), "readme.md": text("x\n"), "big": text("x" * (MOST + 1))},
    )
    made = await work(repo, base, {"new.txt": text("new\n"), "readme.md": text("y\n")})
    assert await look(repo, base, made) == Seen()


async def test_a_large_file_that_was_taken_out_again_does_not_land_with_the_history(
    repo: Repo, head: Commit
) -> None:
    large = await work(repo, head, {"big.bin": text("x" * (MOST + 1)), "a.txt": text("a\n")})
    made = await work(repo, large, {}, "big.bin")

    seen = await look(repo, head, made)
    assert seen == Seen(detour=True)
    built = await candidate(repo, head, made)
    flat = await flatten(repo, built, made, LABEL)

    assert await repo.tree_of(flat.commit) == built.tree
    assert not await repo.is_ancestor(large, flat.commit)
    (landing,) = await repo.landings("001", flat.commit)
    assert (landing.commit, landing.chunk) == (flat.commit, "one")


# --- secrets -------------------------------------------------------------------------------------


async def test_a_secret_is_refused_with_its_place_and_without_itself(
    repo: Repo, head: Commit
) -> None:
    made = await work(repo, head, {"src/a.py": text("\n\n" + assigned(1))})
    seen = await look(repo, head, made, scan=True)
    assert "src/a.py:3 (github-pat)" in seen.refusal
    assert made_up(1) not in seen.refusal
    assert await look(repo, head, made, "src/*", scan=True) == Seen()


async def test_a_secret_that_was_there_before_does_not_count(repo: Repo, head: Commit) -> None:
    changed = await work(repo, head, {"key.py": text("# a key\n" + assigned())})
    assert await look(repo, head, changed, scan=True) == Seen()
    moved = await work(repo, head, {"lib/key.py": text("# it\n" + assigned())}, "key.py")
    assert await look(repo, head, moved, scan=True) == Seen()
    another = await work(repo, head, {"key.py": text(assigned() + assigned(1))})
    assert "key.py:2" in (await look(repo, head, another, scan=True)).refusal


async def test_a_secret_that_was_taken_out_again_does_not_land_with_the_history(
    repo: Repo, head: Commit
) -> None:
    leaked = await work(repo, head, {"a.py": text(assigned(1))})
    made = await work(repo, leaked, {"a.py": text("import os\n")})
    assert await look(repo, head, made, scan=True) == Seen(detour=True)
    plain = await work(repo, await work(repo, head, {"a.py": text("1\n")}), {"a.py": text("2\n")})
    assert await look(repo, head, plain, scan=True) == Seen()
