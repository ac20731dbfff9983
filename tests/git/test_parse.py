"""git's machine-readable output, with the names that only machines come up with."""

import pytest

from auto_build.git.parse import (
    Commit,
    Entry,
    Landing,
    MergeTree,
    Status,
    Tree,
    WorktreeEntry,
    parse_landings,
    parse_merge_tree,
    parse_raw_diff,
    parse_status,
    parse_version,
    parse_worktrees,
)

ODD = [
    "a b.txt",
    "new\nline",
    'quo"te',
    "tab\there",
    "ünï/漢字.txt",
    "-dash",
    "# 1 hash",
    "1 .M",
    "? x",
]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("git version 2.39.5\n", (2, 39, 5)),
        ("git version 2.38", (2, 38, 0)),
        ("git version 2.39.3 (Apple Git-146)", (2, 39, 3)),
        ("git version 2.45.1.windows.1", (2, 45, 1)),
        ("no git", (0, 0, 0)),
        ("", (0, 0, 0)),
    ],
)
def test_a_version_is_read(text: str, version: tuple[int, int, int]) -> None:
    assert parse_version(text) == version


OIDS = "0" * 40
HEADER = f"# branch.oid {OIDS}\0# branch.head main\0"


@pytest.mark.parametrize("path", ODD)
def test_a_status_is_read_whatever_the_paths_are_called(path: str) -> None:
    text = (
        f"{HEADER}1 .M N... 100644 100644 100644 {OIDS} {OIDS} {path}\0"
        f"2 R. N... 100644 100644 100644 {OIDS} {OIDS} R100 {path}.new\0{path}.old\0"
        f"u UU N... 100644 100644 100644 100644 {OIDS} {OIDS} {OIDS} {path}.both\0"
        f"? {path}.more\0"
    )
    assert parse_status(text) == Status(
        head=Commit(OIDS),
        branch="main",
        changed=(path, f"{path}.new", f"{path}.old"),
        untracked=(f"{path}.more",),
        unmerged=(f"{path}.both",),
    )


def test_a_status_without_a_commit_or_a_branch_is_read() -> None:
    status = parse_status("# branch.oid (initial)\0# branch.head (detached)\0")
    assert (status.head, status.branch, status.dirty) == (None, None, ())


@pytest.mark.parametrize("path", ODD)
def test_a_raw_diff_is_read_whatever_the_paths_are_called(path: str) -> None:
    text = f":100644 000000 a b D\0{path}\0:000000 160000 a b A\0{path}2\0"
    assert parse_raw_diff(text) == (Entry("000000", path), Entry("160000", f"{path}2"))
    assert parse_raw_diff("") == ()


@pytest.mark.parametrize("path", ODD)
def test_a_merge_is_read_whatever_the_paths_are_called(path: str) -> None:
    assert parse_merge_tree("tree\0\0") == MergeTree(Tree("tree"))
    stages = f"100644 b1 1\t{path}\x00100755 b2 2\t{path}\0"
    said = (
        f"1\0{path}\0Auto-merging\0Auto-merging x\n\x002\0{path}\0y\0CONFLICT (x)\0CONFLICT it\n\0"
    )
    assert parse_merge_tree(f"tree\0{stages}\0{said}") == MergeTree(
        Tree("tree"),
        ("CONFLICT it",),
        (path,),
    )
    assert parse_merge_tree(f"tree\0\0{said}").paths == (path, "y"), "it names none by a version"


def test_landings_are_read_newest_first_and_only_where_all_is_said() -> None:
    text = (
        "c1\0chunk a\x002\x00spec\0\nc2\0\0\0\0\nc3\0é/b\x00x\x00spec\0\nc4\0é/b\x0011\x00spec\0\n"
    )
    assert parse_landings(text, "spec") == (
        Landing(Commit("c1"), "chunk a", 2),
        Landing(Commit("c4"), "é/b", 11),
    )


@pytest.mark.parametrize("path", ["/a b/c", "/new\nline", "/ünï"])
def test_worktrees_are_read(path: str) -> None:
    text = (
        f"worktree {path}\0HEAD abc\0branch refs/heads/main\0\0"
        "worktree /w\0HEAD def\0detached\0prunable gone\0\0"
        "worktree /bare\0bare\0\0"
    )
    assert parse_worktrees(text) == (
        WorktreeEntry(path, "abc", "refs/heads/main", prunable=False),
        WorktreeEntry("/w", "def", None, prunable=True),
        WorktreeEntry("/bare", "", None, prunable=False),
    )
