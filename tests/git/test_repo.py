"""Merging, replaying and moving refs, without touching any worktree."""

import asyncio
import subprocess  # noqa: TID251 - git's own opinion of a ref's name
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from auto_build.git.parse import Commit, Entry
from auto_build.git.repo import Conflict, Repo, ref_part
from auto_build.process import CommandFailed
from tests.e2e.project import run_git, take_fingerprint
from tests.git.conftest import History

BASE = {"a.txt": "1\n2\n3\n", "b.txt": "b\n"}


async def test_changes_of_different_files_and_lines_merge(history: History) -> None:
    base = await history.commit(BASE)
    ours = await history.commit({**BASE, "a.txt": "one\n2\n3\n"}, base)
    theirs = await history.commit({**BASE, "b.txt": "B\n", "c.txt": "c\n"}, base)

    merged = await history.repo.try_merge(ours, theirs)

    assert isinstance(merged, str)
    assert await history.read(merged) == {"a.txt": "one\n2\n3\n", "b.txt": "B\n", "c.txt": "c\n"}


async def test_changes_of_the_same_line_conflict_with_the_paths_named(history: History) -> None:
    paths = ['quo"te ü.txt', "new\nline.txt"]
    base = await history.commit(dict.fromkeys(paths, "1\n"))
    ours = await history.commit(dict.fromkeys(paths, "2\n"), base)
    theirs = await history.commit(dict.fromkeys(paths, "3\n"), base)

    merged = await history.repo.try_merge(ours, theirs)

    assert isinstance(merged, Conflict)
    assert sorted(merged.paths) == sorted(paths)


async def test_a_file_changed_here_and_deleted_there_conflicts(history: History) -> None:
    base = await history.commit(BASE)
    ours = await history.commit({**BASE, "b.txt": "changed\n"}, base)
    theirs = await history.commit({"a.txt": BASE["a.txt"]}, base)
    conflict = await history.repo.try_merge(ours, theirs)
    assert isinstance(conflict, Conflict)
    assert conflict.paths == ("b.txt",)
    (said,) = conflict.said
    assert said.startswith("CONFLICT (modify/delete): b.txt deleted in")


async def test_a_conflict_holds_both_sides_between_markers(history: History) -> None:
    base = await history.commit(BASE)
    ours = await history.commit({**BASE, "a.txt": "1\nours\n3\n"}, base)
    theirs = await history.commit({**BASE, "a.txt": "1\ntheirs\n3\n"}, base)
    conflict = await history.repo.try_merge(ours, theirs)
    assert isinstance(conflict, Conflict)
    assert conflict.tree is not None
    held = {file.path: file.oid for file in await history.repo.files(conflict.tree)}
    text = await history.repo.content_of(held["a.txt"])
    assert text == f"1\n<<<<<<< {ours}\nours\n=======\ntheirs\n>>>>>>> {theirs}\n3\n"


async def test_a_merge_driver_that_the_user_has_set_up_is_used(
    history: History, clean_environment: Path
) -> None:
    """As a structural one is: by attributes and a program in the user's own settings."""
    attributes = clean_environment / "attributes"
    attributes.write_text("*.txt merge=structural\n")
    run_git(history.repo.project, "config", "--global", "core.attributesFile", str(attributes))
    driver = "git merge-file --union %A %O %B"
    run_git(history.repo.project, "config", "--global", "merge.structural.driver", driver)
    base = await history.commit(BASE)
    ours = await history.commit({**BASE, "a.txt": "1\nours\n3\n"}, base)
    theirs = await history.commit({**BASE, "a.txt": "1\ntheirs\n3\n"}, base)
    merged = await history.repo.try_merge(ours, theirs)
    assert not isinstance(merged, Conflict)
    assert (await history.read(merged))["a.txt"] == "1\nours\ntheirs\n3\n"


async def test_merging_what_does_not_exist_is_an_error_and_no_conflict(history: History) -> None:
    base = await history.commit(BASE)
    with pytest.raises(CommandFailed):
        await history.repo.try_merge(base, Commit("0" * 40))


async def test_merging_leaves_the_users_checkout_as_it_is(history: History) -> None:
    project = history.repo.project
    (project / "a.txt").write_text("unsaved\n")
    before = take_fingerprint(project)
    base = await history.commit(BASE)
    ours = await history.commit({**BASE, "b.txt": "1\n"}, base)
    await history.repo.try_merge(ours, await history.commit({**BASE, "b.txt": "2\n"}, base))
    await history.repo.replay(base, ours, base)
    assert take_fingerprint(project) == before


async def test_a_replay_lands_what_a_merge_cannot(history: History) -> None:
    base = await history.commit(BASE)
    onto = await history.commit({**BASE, "a.txt": "1\ntwo\n3\n"}, base)
    same = await history.commit({**BASE, "a.txt": "1\ntwo\n3\n"}, base, said="same")
    work = await history.commit({**BASE, "a.txt": "1\nTWO\n3\n"}, same, said="more")
    assert isinstance(await history.repo.try_merge(onto, work), Conflict)

    replayed = await history.repo.replay(base, work, onto)

    assert isinstance(replayed, str)
    assert (await history.read(replayed))["a.txt"] == "1\nTWO\n3\n"
    said = run_git(history.repo.project, "log", "--format=%s", f"{onto}..{replayed}")
    assert said.split() == ["more", "same"]


async def test_a_replay_keeps_who_wrote_each_commit_and_when(history: History) -> None:
    repo = history.repo
    base = await history.commit(BASE)
    onto = await history.commit({**BASE, "b.txt": "other\n"}, base)
    tree = await repo.tree_of(await history.commit({**BASE, "c.txt": "c\n"}))
    who = {
        "GIT_AUTHOR_NAME": "Grace Ünïcode",
        "GIT_AUTHOR_EMAIL": "g@x",
        "GIT_AUTHOR_DATE": "2001-02-03T04:05:06+00:00",
    }
    done = await repo.git("commit-tree", tree, "-p", base, stdin="mine\n", extra_env=who)

    replayed = await repo.replay(base, Commit(done.stdout.strip()), onto)

    shown = run_git(repo.project, "log", "-1", "--format=%an %ae %aI", str(replayed))
    assert shown.strip() == "Grace Ünïcode g@x 2001-02-03T04:05:06+00:00"


async def test_a_replay_of_the_same_line_conflicts(history: History) -> None:
    base = await history.commit(BASE)
    onto = await history.commit({**BASE, "a.txt": "1\nX\n3\n"}, base)
    first = await history.commit({**BASE, "c.txt": "fine\n"}, base)
    work = await history.commit({**BASE, "c.txt": "fine\n", "a.txt": "1\nY\n3\n"}, first)
    conflict = await history.repo.replay(base, work, onto)
    assert isinstance(conflict, Conflict)
    assert conflict.paths == ("a.txt",)


async def test_a_merge_among_the_commits_cannot_be_replayed(history: History) -> None:
    base = await history.commit(BASE)
    onto = await history.commit({**BASE, "b.txt": "x\n"}, base)
    one = await history.commit({**BASE, "c.txt": "c\n"}, base)
    other = await history.commit({**BASE, "d.txt": "d\n"}, base)
    merge = await history.commit({**BASE, "c.txt": "c\n", "d.txt": "d\n"}, one, other)
    assert await history.repo.replay(base, merge, onto) == Conflict(())


async def test_what_differs_is_listed_file_by_file(history: History) -> None:
    old = await history.commit({"keep": "k\n", "gone": "g\n", "old name": "same\n" * 20})
    new = await history.commit({"keep": "k\n", "new ü": "n\n", "new name": "same\n" * 20}, old)
    assert set(await history.repo.touched(old, new)) == {
        Entry("000000", "gone"),
        Entry("000000", "old name"),
        Entry("100644", "new ü"),
        Entry("100644", "new name"),
    }


# --- refs -----------------------------------------------------------------------------------------

REF = "refs/heads/auto-build/001"


async def test_of_many_that_move_a_ref_at_once_one_succeeds(history: History) -> None:
    repo = history.repo
    old = await history.commit(BASE)
    await repo.create_ref(REF, old)
    news = [await history.commit({"n": f"{number}\n"}, old) for number in range(8)]

    moved = await asyncio.gather(*(repo.swap_ref(REF, new, old, "race") for new in news))

    assert moved.count(True) == 1
    assert await repo.find_commit(REF) == news[moved.index(True)]


async def test_a_ref_that_was_moved_meanwhile_is_left_where_it_is(history: History) -> None:
    repo = history.repo
    old = await history.commit(BASE)
    theirs = await history.commit({"t": "t\n"}, old)
    await repo.create_ref(REF, theirs)
    assert not await repo.swap_ref(REF, await history.commit({"o": "o\n"}, old), old, "late")
    assert await repo.find_commit(REF) == theirs


async def test_a_ref_that_cannot_be_moved_is_an_error_and_no_lost_race(history: History) -> None:
    repo = history.repo
    old = await history.commit(BASE)
    new = await history.commit({"n": "n\n"}, old)
    await repo.create_ref(REF, old)
    (repo.common_dir / f"{REF}.lock").touch()
    with pytest.raises(CommandFailed, match="cannot be moved") as refused:
        await repo.swap_ref(REF, new, old, "locked")
    assert refused.value.hint


async def test_a_name_that_is_none_is_not_found(repo: Repo) -> None:
    for name in ("nowhere", "--help", "HEAD:a.txt", "", "refs/heads/main^{tree}"):
        assert await repo.find_commit(name) is None


async def test_contained_is_said_of_commits_and_never_of_what_is_gone(history: History) -> None:
    old = await history.commit(BASE)
    new = await history.commit({"n": "n\n"}, old)
    other = await history.commit({"o": "o\n"})
    repo = history.repo
    assert await repo.is_ancestor(old, new)
    assert not await repo.is_ancestor(new, old)
    assert not await repo.is_ancestor(Commit("0" * 40), new)
    assert await repo.merge_base(old, new) == old
    assert await repo.merge_base(other, new) is None


class Judge:
    """`git check-ref-format` asked many times over: once per name, in one shell."""

    def __init__(self) -> None:
        script = (
            'while IFS= read -r -d "" n; do git check-ref-format "$n" && echo y || echo n; done'
        )
        self._shell = subprocess.Popen(
            ("bash", "-c", script), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._turn = threading.Lock()

    def accepts(self, ref: str) -> bool:
        assert self._shell.stdin
        assert self._shell.stdout
        with self._turn:
            self._shell.stdin.write(ref.encode() + b"\0")
            self._shell.stdin.flush()
            return self._shell.stdout.readline() == b"y\n"

    def close(self) -> None:
        self._shell.communicate()


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    judge = Judge()
    yield judge
    judge.close()


TRICKY = st.text(
    alphabet=st.sampled_from(list("ab.~^:?*[\\@{}/-% lock\té\n")), min_size=1, max_size=12
)
NAMES = TRICKY | st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\0"),
    min_size=1,
    max_size=300,
)


@settings(max_examples=40, deadline=None)
@given(name=NAMES)
@example(name="a..b")
@example(name="...")
@example(name=".lock")
@example(name="x.lock.lock")
@example(name="@")
@example(name="-")
@example(name="é" * 300)
@example(name="." * 300)
@example(name=("a" * 90) + "." * 30)
@example(name=("a" * 86) + ".lock" * 10)
def test_any_name_makes_a_part_of_a_ref_that_git_accepts(judge: Judge, name: str) -> None:
    part = ref_part(name)
    assert judge.accepts(f"refs/x/{part}"), part
    assert judge.accepts(f"refs/x/{part}/1"), part
    assert len(part) <= 100
    assert "/" not in part


@settings(max_examples=200, deadline=None)
@given(names=st.lists(NAMES, min_size=2, max_size=20, unique=True))
@example(names=["a/b", "a%2Fb", "a~b", "a%7Eb", "a..b", "a.%2Eb"])
@example(names=["x" * 300, "x" * 301, "x" * 100, "x" * 101])
def test_different_names_make_different_parts(names: list[str]) -> None:
    assert len({ref_part(name) for name in names}) == len(names)


@pytest.mark.parametrize("name", ["1-1", "001-login", "a_b.c", "Setup"])
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert ref_part(name) == name


# --- opening --------------------------------------------------------------------------------------


async def test_the_repository_is_found_from_a_folder_within(repo: Repo) -> None:
    deep = repo.project / "deep" / "er"
    deep.mkdir(parents=True)
    found = await Repo.open(deep, repo.processes)
    assert (found.project, found.common_dir) == (repo.project, repo.project / ".git")


async def test_inherited_git_variables_lead_nobody_astray(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    found = await Repo.open(repo.project, repo.processes)
    assert found.project == repo.project
    assert (await found.user_status()).dirty == ()
