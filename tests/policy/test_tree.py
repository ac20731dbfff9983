"""What a work may not bring into a tree: links that lead out, names that clash, large files."""

import pytest

from auto_build.policy.tree import LINK, Touched, Unfit, describe, find_unfit, is_git, too_large

MOST = 1_000
FILE = "100644"


def added(path: str, size: int = 1) -> Touched:
    return Touched(path, FILE, size)


def changed(path: str, size: int = 1) -> Touched:
    return Touched(path, FILE, size, is_new=False)


def link(path: str, target: str) -> Touched:
    return Touched(path, LINK, len(target), target)


def unfit(*touched: Touched, before: tuple[str, ...] = (), gone: tuple[str, ...] = ()) -> list[str]:
    found = find_unfit(touched, before, gone, most_bytes=MOST)
    assert all(one.words for one in found)
    return [one.path for one in found]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a", "/etc/passwd"),
        ("a", ".."),
        ("a", "../other"),
        ("docs/a", "../../other"),
        ("docs/a", "../x/../../.."),
        ("a", "folder/../../other"),  # where `folder` is a link, this is anywhere
        ("a", "~/x"),
        ("a", ".git/config"),
        ("docs/a", "../.git/hooks"),
        ("a", "sub/.GIT"),
        ("a", ".git"),
    ],
)
def test_a_link_that_leaves_the_tree_is_unfit(path: str, target: str) -> None:
    assert unfit(link(path, target)) == [path]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a", "b"),
        ("a", "./docs/b.md"),
        ("docs/a", "../README.md"),
        ("docs/deep/a", "../../README.md"),
        ("a", ".gitignore"),
        ("a", "..b/c"),
        ("a", "nowhere"),
    ],
)
def test_a_link_that_stays_in_the_tree_is_fit(path: str, target: str) -> None:
    assert unfit(link(path, target)) == []


@pytest.mark.parametrize("name", [".gitmodules", ".GITMODULES", "gitmod~1", ".gitmodules. "])
def test_a_link_in_the_place_of_gitmodules_is_unfit(name: str) -> None:
    assert unfit(link(name, "modules")) == [name]
    assert unfit(added(name)) == []


@pytest.mark.parametrize(
    "name",
    [
        ".git",
        ".GIT",
        ".Git ",
        ".git.",
        ".git . .",
        "git~1",
        "GIT~1",
        ".git::$INDEX_ALLOCATION",
        ".git:x",
        ".g\u200cit",
        "\ufeff.git",
        ".gi\u202et",
        "a\\.git\\b",
    ],
)
def test_what_a_file_system_takes_for_git_is_unfit(name: str) -> None:
    assert is_git(name)
    assert unfit(added(f"{name}/hooks/x")) == [f"{name}/hooks/x"]
    assert unfit(added(f"lib/{name}")) == [f"lib/{name}"]


@pytest.mark.parametrize(
    "name", [".gitignore", ".github", "git", ".git2", "git~2", "x.git", "...", "con", "a\tb", "ü:x"]
)
def test_other_names_are_fit_even_where_windows_cannot_hold_them(name: str) -> None:
    assert not is_git(name)
    assert unfit(added(f"{name}/x"), added(f"lib/{name}")) == []


@pytest.mark.parametrize("path", ["../x", "a/../b", "./a", "a//b"])
def test_a_path_that_is_none_is_unfit(path: str) -> None:
    assert unfit(added(path)) == [path]


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("readme.md", "README.md"),
        ("SRC/x.py", "src/x.py"),
        ("SRC/y.py", "src/x.py"),
        ("src", "SRC/x.py"),
        ("caf\u00e9", "cafe\u0301"),
        ("CAF\u00c9/a", "cafe\u0301/a"),
        ("STRASSE", "straße"),
    ],
)
def test_a_new_name_that_is_another_one_elsewhere_is_unfit(new: str, old: str) -> None:
    assert unfit(added(new), before=(old,)) == [new]
    (one,) = find_unfit([added(new)], [old], [], most_bytes=MOST)
    assert repr(old.split("/", maxsplit=1)[0]) in one.words or repr(old) in one.words


def test_two_new_names_that_are_one_are_told_once() -> None:
    assert unfit(added("a/b"), added("A/c"), added("A/d")) == ["a/b"]


def test_a_name_that_was_spelled_anew_is_fit() -> None:
    assert unfit(added("Readme.md"), before=("README.md", "x"), gone=("README.md",)) == []
    assert unfit(added("Src/a"), before=("src/a",), gone=("src/a",)) == []


def test_what_was_there_before_is_not_held_against_a_work() -> None:
    before = ("README.md", "readme.md", ".GIT/x", "src/a")
    assert unfit(changed("readme.md"), changed(".GIT/x"), added("src/b"), before=before) == []
    mode_only = Touched("big", "100755", MOST + 1, is_new=False, differs=False)
    assert unfit(mode_only, before=("big",)) == []


def test_a_large_file_is_unfit_with_its_size() -> None:
    assert unfit(added("a", MOST)) == []
    assert unfit(added("a", MOST + 1), changed("b", MOST + 1)) == ["a", "b"]
    assert too_large("a.bin", 61_240_000, 50_000_000) == (
        "a.bin has 61.2 MB, and a file may have 50 MB"
    )


def test_reasons_are_told_one_a_line_up_to_a_number() -> None:
    told = describe([Unfit(f"{n}", f"{n} is bad") for n in range(12)])
    assert told.splitlines()[0] == "- 0 is bad"
    assert told.splitlines()[-1] == "- and 2 more"
    assert describe([]) == ""
