"""The cache of what was green: it may forget, and it may not be wrong."""

from pathlib import Path

import pytest

from auto_build.gate import verdicts
from auto_build.gate.verdicts import Verdicts


@pytest.fixture
def known(tmp_path: Path) -> Verdicts:
    found = Verdicts(tmp_path / "verdicts.db")
    found.keep("tree", "make", "env")
    return found


def test_what_was_green_is_known_to_the_next_run(known: Verdicts) -> None:
    assert Verdicts(known.path).is_green("tree", "make", "env")


@pytest.mark.parametrize(
    ("tree", "key", "env"),
    [("other", "make", "env"), ("tree", "make\nOK", "env"), ("tree", "make", "other")],
)
def test_another_tree_command_or_environment_is_another_question(
    known: Verdicts, tree: str, key: str, env: str
) -> None:
    assert not known.is_green(tree, key, env)


def test_the_last_tree_on_which_a_check_was_green_is_known(known: Verdicts) -> None:
    known.keep("later", "make", "env")
    known.keep("elsewhere", "make", "other")
    assert known.last_green("make", "env") == "later"
    known.keep("tree", "make", "env")
    assert known.last_green("make", "env") == "tree"
    assert known.last_green("test", "env") is None


def test_only_so_many_are_kept(known: Verdicts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "_MOST", 3)
    for n in range(5):
        known.keep(f"tree {n}", "make", "env")
    assert [known.is_green(f"tree {n}", "make", "env") for n in range(5)] == [False] * 2 + [
        True
    ] * 3


def test_a_damaged_file_is_begun_anew(known: Verdicts) -> None:
    known.path.write_bytes(b"no database at all, but long enough to be taken for one" * 100)
    assert not known.is_green("tree", "make", "env")
    known.keep("tree", "make", "env")
    assert known.is_green("tree", "make", "env")


def test_where_nothing_can_be_kept_nothing_is_known(tmp_path: Path) -> None:
    nowhere = Verdicts(tmp_path / "missing" / "verdicts.db")
    nowhere.keep("tree", "make", "env")
    assert not nowhere.is_green("tree", "make", "env")
