"""What an integration lost, seen in real commits: merges, resolutions and squashes."""

from dataclasses import dataclass

import pytest

from auto_build.core.conservation import Lost
from auto_build.git.conservation import Findings, Limits, find_lost
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo
from auto_build.process import CommandFailed
from tests.e2e.project import run_git
from tests.git.conftest import History

NOTHING = Findings((), ())
CODE = "import os\n\n\ndef first():\n    return os\n\n\ndef last():\n    return None\n"
TESTS = "def test_first():\n    assert first()\n"
MORE_TESTS = "\n\ndef test_second():\n    assert second()\n"
PICTURE = "\x89PNG\0"


@dataclass(frozen=True)
class Checkout:
    """The user's checkout, in which git merges as it does by hand."""

    repo: Repo

    def branch(self, name: str, start: str, files: dict[str, str | bytes | None]) -> Commit:
        """Make a branch with one commit that writes these files; None deletes one."""
        self.git("checkout", "-q", "-B", name, start)
        return self.commit(files)

    def commit(self, files: dict[str, str | bytes | None]) -> Commit:
        for path, content in files.items():
            place = self.repo.project / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                place.unlink()
            else:
                place.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "x")
        return self.head

    def merge(self, ours: Commit, theirs: Commit, *how: str) -> Commit:
        """Merge as git does with these options."""
        self.git("checkout", "-q", "--detach", ours)
        follow = ("-c", "merge.directoryRenames=true")
        self.git(*follow, "merge", "-q", "-m", "merge", *how, theirs)
        return self.head

    @property
    def head(self) -> Commit:
        return Commit(self.git("rev-parse", "HEAD").strip())

    def git(self, *args: str) -> str:
        return run_git(self.repo.project, *args)


@pytest.fixture
def checkout(repo: Repo) -> Checkout:
    return Checkout(repo)


def told(found: Findings) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.path, one.side, one.lines) for one in found.lost]


# --- merges --------------------------------------------------------------------------------------


async def test_a_clean_merge_loses_nothing(checkout: Checkout) -> None:
    base = checkout.branch("base", "main", {"src/app.py": CODE, "old.txt": "old\n"})
    first = {"src/app.py": f"import sys\n{CODE}", "ours.py": TESTS, "old.txt": None}
    ours = checkout.branch("ours", base, dict(first))
    theirs = checkout.branch(
        "theirs", base, {"src/app.py": f"{CODE}    # end\n", "ü b/t.py": TESTS}
    )
    merge = checkout.merge(ours, theirs)
    assert await find_lost(checkout.repo, base, ours, theirs, merge) == NOTHING


@pytest.mark.parametrize(("how", "loser"), [("ours", "theirs"), ("theirs", "ours")])
async def test_a_conflict_that_is_resolved_for_one_side_loses_the_other(
    checkout: Checkout, how: str, loser: str
) -> None:
    base = checkout.branch("base", "main", {"app.py": CODE, "kept.py": "1\n"})
    mine = CODE.replace("return None", "return 'ours'")
    ours = checkout.branch("ours", base, {"app.py": mine, "ours.py": TESTS})
    other = CODE.replace("return None", "return 'theirs'")
    theirs = checkout.branch("theirs", base, {"app.py": other, "theirs.py": TESTS})

    merge = checkout.merge(ours, theirs, "-X", how)

    found = await find_lost(checkout.repo, base, ours, theirs, merge)
    assert told(found) == [("app.py", loser, (f"    return '{loser}'",))]


async def test_a_merge_that_takes_nothing_of_the_other_side_loses_all_of_it(
    checkout: Checkout,
) -> None:
    base = checkout.branch("base", "main", {"app.py": CODE})
    ours = checkout.branch("ours", base, {"ours.py": "1\n"})
    theirs = checkout.branch("theirs", base, {"app.py": f"import re\n{CODE}", "t.py": TESTS})
    merge = checkout.merge(ours, theirs, "-s", "ours")
    found = await find_lost(checkout.repo, base, ours, theirs, merge)
    assert told(found) == [
        ("app.py", "theirs", ("import re",)),
        ("t.py", "theirs", ("def test_first():", "    assert first()")),
    ]
    assert [one.whole for one in found.lost] == [False, True]


async def test_a_test_that_a_resolver_dropped_is_found(history: History) -> None:
    base = await history.commit({"app.py": CODE, "test_app.py": TESTS})
    ours = await history.commit({"app.py": CODE, "test_app.py": f"import app\n{TESTS}"}, base)
    theirs = await history.commit({"app.py": CODE, "test_app.py": TESTS + MORE_TESTS}, base)
    resolved = await history.commit({"app.py": CODE, "test_app.py": f"import app\n{TESTS}"}, ours)
    found = await find_lost(history.repo, base, ours, theirs, resolved)
    assert found.lost == (
        Lost("test_app.py", "theirs", ("def test_second():", "    assert second()"), 2),
    )


async def test_a_file_that_a_resolver_dropped_is_found(history: History) -> None:
    base = await history.commit({"app.py": CODE})
    ours = await history.commit({"app.py": CODE, "a.py": TESTS, "empty.py": ""}, base)
    theirs = await history.commit({"app.py": CODE, "b.py": MORE_TESTS}, base)
    resolved = await history.commit({"app.py": CODE, "b.py": MORE_TESTS}, ours, theirs)
    found = await find_lost(history.repo, base, ours, theirs, resolved)
    assert [(one.path, one.side, one.whole) for one in found.lost] == [
        ("a.py", "ours", True),
        ("empty.py", "ours", True),
    ]


async def test_what_a_resolver_moved_to_a_new_file_is_not_lost(history: History) -> None:
    base = await history.commit({"app.py": CODE})
    ours = await history.commit({"app.py": f"import re\n{CODE}"}, base)
    theirs = await history.commit({"app.py": CODE + TESTS}, base)
    resolved = {"app.py": f"import re\n{CODE}", "test_app.py": TESTS}
    result = await history.commit(resolved, ours, theirs)
    assert await find_lost(history.repo, base, ours, theirs, result) == NOTHING


async def test_conflict_markers_that_a_resolver_left_are_found(history: History) -> None:
    base = await history.commit({"a.txt": "1\n", "b.txt": "1\n"})
    ours = await history.commit({"a.txt": "ours\n", "b.txt": "1\n"}, base)
    theirs = await history.commit({"a.txt": "theirs\n", "b.txt": "2\n"}, base)
    marked = "<<<<<<< HEAD\nours\n=======\ntheirs\n>>>>>>> theirs\n"
    result = await history.commit({"a.txt": marked, "b.txt": "2\n"}, ours, theirs)
    assert await find_lost(history.repo, base, ours, theirs, result) == Findings((), ("a.txt",))


async def test_a_replay_is_compared_like_a_merge(history: History) -> None:
    repo = history.repo
    base = await history.commit({"app.py": CODE})
    onto = await history.commit({"app.py": f"import re\n{CODE}"}, base)
    work = await history.commit({"app.py": CODE + TESTS}, base)
    replayed = await repo.replay(base, work, onto)
    assert isinstance(replayed, str)
    assert await find_lost(repo, base, onto, work, replayed) == NOTHING
    assert told(await find_lost(repo, base, onto, work, work)) == [
        ("app.py", "ours", ("import re",))
    ]


# --- the squash at the end -----------------------------------------------------------------------


async def test_a_squash_that_misses_one_of_three_branches_is_found(checkout: Checkout) -> None:
    fork = checkout.branch("fork", "main", {"app.py": CODE})
    names = ("one", "two", "three")
    branches = {
        name: checkout.branch(name, fork, {f"{name}.py": f"def {name}():\n    return '{name}'\n"})
        for name in names
    }
    main = checkout.branch("user", fork, {"app.py": f"import re\n{CODE}"})
    checkout.git("merge", "-q", "-m", "merge", branches["one"], branches["three"])
    checkout.git("reset", "-q", "--soft", main)
    squash = checkout.commit({})

    found = {
        name: await find_lost(checkout.repo, fork, main, work, squash)
        for name, work in branches.items()
    }

    assert found["one"] == found["three"] == NOTHING
    assert found["two"].lost == (
        Lost("two.py", "theirs", ("def two():", "    return 'two'"), 2, whole=True),
    )


# --- renames, line endings, encodings, binary files ----------------------------------------------


async def test_edits_go_along_with_a_file_that_the_other_side_renamed(checkout: Checkout) -> None:
    base = checkout.branch("base", "main", {"old/app.py": CODE})
    ours = checkout.branch("ours", base, {"old/app.py": None, "new/app.py": CODE})
    edited = CODE.replace("return os", "return os.name") + TESTS
    theirs = checkout.branch("theirs", base, {"old/app.py": edited, "old/more.py": MORE_TESTS})

    merge = checkout.merge(ours, theirs)

    assert (checkout.repo.project / "new/app.py").read_text() == edited
    assert (checkout.repo.project / "new/more.py").read_text() == MORE_TESTS
    assert await find_lost(checkout.repo, base, ours, theirs, merge) == NOTHING
    dropped = await find_lost(checkout.repo, base, ours, theirs, ours)
    assert [(one.path, one.count) for one in dropped.lost] == [
        ("old/app.py", 3),
        ("old/more.py", 2),
    ]


async def test_what_one_side_moved_and_the_other_removed_may_be_gone(history: History) -> None:
    base = await history.commit({"a.py": CODE + TESTS, "b.py": "1\n"})
    ours = await history.commit({"a.py": CODE, "b.py": f"1\n{TESTS}"}, base)
    theirs = await history.commit({"a.py": CODE, "b.py": "1\n"}, base)
    assert await find_lost(history.repo, base, ours, theirs, theirs) == NOTHING
    assert len((await find_lost(history.repo, base, ours, base, theirs)).lost) == 1


async def test_other_line_endings_are_no_loss(history: History) -> None:
    base = await history.commit({"app.py": CODE})
    ours = await history.commit({"app.py": CODE.replace("\n", "\r\n")}, base)
    theirs = await history.commit({"app.py": CODE + TESTS}, base)
    merged = await history.commit({"app.py": (CODE + TESTS).replace("\n", "\r\n")}, ours, theirs)
    assert await find_lost(history.repo, base, ours, theirs, merged) == NOTHING
    assert told(await find_lost(history.repo, base, ours, theirs, ours)) == [
        ("app.py", "theirs", ("def test_first():", "    assert first()"))
    ]


async def test_bytes_that_are_no_utf_8_are_read_as_they_are(checkout: Checkout) -> None:
    base = checkout.branch("base", "main", {"a": b"caf\xe9", "b": b"\xfc\xfc\n"})
    ours = checkout.branch("ours", base, {"a": b"\xe9\xe9\ncaf\xe9", "c": b"\xe2\x82"})
    theirs = checkout.branch("theirs", base, {"a": b"caf\xe9\nth\xe9\n", "b": b"\xfc\n\xff"})
    both = {"a": b"\xe9\xe9\ncaf\xe9\nth\xe9", "b": b"\xfc\n\xff", "c": b"\xe2\x82"}
    assert (
        await find_lost(checkout.repo, base, ours, theirs, checkout.commit(dict(both))) == NOTHING
    )
    less = checkout.commit({"a": b"\xe9\xe9\ncaf\xe9\nth", "b": b"\xfc\n\xfe"})
    assert told(await find_lost(checkout.repo, base, ours, theirs, less)) == [
        ("a", "theirs", ("th\ufffd",)),
        ("b", "theirs", ("\ufffd",)),
    ]


async def test_of_a_binary_file_the_result_must_have_each_version(history: History) -> None:
    base = await history.commit({"logo.png": PICTURE, "icon.png": PICTURE, "text": "1\n"})
    ours = await history.commit(
        {"logo.png": f"{PICTURE}1", "icon.png": f"{PICTURE}1", "text": "1\n"}, base
    )
    theirs = await history.commit(
        {"logo.png": f"{PICTURE}2", "icon.png": PICTURE, "text": "1\n\0"}, base
    )
    merged = {"logo.png": f"{PICTURE}1", "icon.png": f"{PICTURE}1", "text": "1\n\0"}
    result = await history.commit(merged, ours, theirs)
    assert (await find_lost(history.repo, base, ours, theirs, result)).lost == (
        Lost("logo.png", "theirs", (), 0, whole=True),
    )
    neither = await history.commit({**merged, "logo.png": "3", "icon.png": "3"}, ours, theirs)
    assert [
        (one.path, one.side)
        for one in (await find_lost(history.repo, base, ours, theirs, neither)).lost
    ] == [("icon.png", "ours"), ("logo.png", "ours"), ("logo.png", "theirs")]


async def test_a_binary_file_that_one_side_renamed_may_have_the_others_content(
    history: History,
) -> None:
    base = await history.commit({"logo.png": PICTURE})
    ours = await history.commit({"brand.png": PICTURE}, base)
    theirs = await history.commit({"logo.png": f"{PICTURE}2"}, base)
    merged = await history.commit({"brand.png": f"{PICTURE}2"}, ours, theirs)
    assert await find_lost(history.repo, base, ours, theirs, merged) == NOTHING
    assert told(await find_lost(history.repo, base, ours, theirs, ours)) == [
        ("logo.png", "theirs", ())
    ]


async def test_a_submodule_must_be_at_the_commit_of_the_side_that_moved_it(
    history: History,
) -> None:
    repo = history.repo
    pins = [await history.commit({"sub.txt": f"{number}\n"}) for number in range(3)]

    async def pinned(at: Commit, *parents: Commit) -> Commit:
        run_git(repo.project, "read-tree", "--empty")
        run_git(repo.project, "update-index", "--add", "--cacheinfo", f"160000,{at},lib")
        tree = run_git(repo.project, "write-tree").strip()
        return await repo.commit_tree(type(await repo.tree_of(at))(tree), parents, "x\n")

    base, ours, theirs = [await pinned(pin) for pin in pins]
    assert await find_lost(repo, base, ours, base, ours) == NOTHING
    assert told(await find_lost(repo, base, ours, theirs, ours)) == [("lib", "theirs", ())]


async def test_a_file_that_only_became_executable_loses_nothing(checkout: Checkout) -> None:
    base = checkout.branch("base", "main", {"run.sh": "echo 1\n"})
    checkout.git("checkout", "-q", "-B", "ours", base)
    checkout.git("update-index", "--chmod=+x", "run.sh")
    checkout.git("commit", "-q", "-m", "x")
    ours = checkout.head
    checkout.git("reset", "-q", "--hard")
    theirs = checkout.branch("theirs", base, {"run.sh": "echo 1\necho 2\n"})
    assert await find_lost(checkout.repo, base, ours, theirs, theirs) == NOTHING


# --- limits --------------------------------------------------------------------------------------


async def test_what_is_not_looked_into_is_counted(history: History) -> None:
    base = await history.commit({"z": "z\n"})
    theirs = await history.commit({name: f"{name * 9}\n" for name in "abcdez"}, base)
    only_a = await history.commit({"a": f"{'a' * 9}\n", "z": "z\n"}, base)

    by_number = await find_lost(history.repo, base, base, theirs, only_a, limits=Limits(files=2))
    by_size = await find_lost(history.repo, base, base, theirs, only_a, limits=Limits(all_bytes=25))

    assert [one.path for one in by_number.lost] == ["b", "c"], "nothing of a can be lost"
    assert [one.path for one in by_size.lost] == ["b", "c"]
    assert by_number.unseen == by_size.unseen == 3
    assert (await find_lost(history.repo, base, base, theirs, only_a)).unseen == 0


async def test_a_large_integration_of_which_nothing_can_be_lost_is_seen_whole(
    history: History,
) -> None:
    base = await history.commit({"z": "z\n"})
    ours = await history.commit({name: f"{name}\n" for name in "abcdefz"}, base)
    found = await find_lost(history.repo, base, ours, base, ours, limits=Limits(files=2))
    assert found == NOTHING


async def test_files_that_can_lose_something_are_looked_into_first(history: History) -> None:
    base = await history.commit({"z": "z\n"})
    ours = await history.commit({"z": "z\nours\n"}, base)
    result = await history.commit({"a": "made by the resolver\n", "z": "z\n"}, ours, base)
    found = await find_lost(history.repo, base, ours, base, result, limits=Limits(files=1))
    assert (told(found), found.unseen) == ([("z", "ours", ("ours",))], 0)


async def test_a_file_beyond_the_limit_is_compared_like_a_binary_one(history: History) -> None:
    base = await history.commit({"a": "1\n"})
    ours = await history.commit({"a": "1\nours\n"}, base)
    theirs = await history.commit({"a": "theirs\n1\n"}, base)
    merged = await history.commit({"a": "theirs\n1\nours\n"}, ours, theirs)
    small = Limits(file_bytes=8)
    one = await find_lost(history.repo, base, ours, theirs, ours, limits=small)
    both = await find_lost(history.repo, base, ours, theirs, merged, limits=small)
    assert one.lost == (Lost("a", "theirs", (), 0, whole=True),)
    assert [(lost.side, lost.whole) for lost in both.lost] == [("ours", True), ("theirs", True)]
    assert await find_lost(history.repo, base, ours, theirs, merged) == NOTHING


async def test_a_commit_that_is_not_there_is_an_error(history: History) -> None:
    base = await history.commit({"a": "1\n"})
    with pytest.raises(CommandFailed):
        await find_lost(history.repo, base, base, base, Commit("0" * 40))
