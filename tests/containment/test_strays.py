"""What follows from each difference between two looks at the user's side."""

import stat
from dataclasses import replace

import pytest

from auto_build.containment.strays import (
    Finding,
    Hand,
    Kept,
    Kind,
    Mode,
    Side,
    Step,
    compare,
    follow,
    hand_of,
    kind_of,
)

FILE, FOLDER = stat.S_IFREG | 0o644, stat.S_IFDIR
OLD, NEW, OTHER = "a" * 40, "b" * 40, "c" * 40
A_FILE = Kept(FILE, OLD)
SPEC = "auto-build/specs/001/spec.md"
SIDE = Side(
    files={"a.txt": A_FILE, "b.txt": A_FILE, SPEC: A_FILE},
    ignored={".env": Kept(FILE, OLD), "big.log": Kept(FILE), "node_modules/": Kept(FOLDER)},
    head="ref: refs/heads/main",
    index="as staged",
    own={"config": Kept(FILE, OLD), "hooks/pre-commit": Kept(FILE, OLD)},
    stash=("2", "1"),
    refs={"refs/heads/main": OLD, "refs/heads/other": OLD, "refs/remotes/origin/main": OLD},
    slots=frozenset({1, 2}),
)


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({}, []),
        ({"files": {**SIDE.files, "new": Kept(FILE, NEW)}}, [(Kind.ADDED, "new")]),
        ({"files": {**SIDE.files, "a.txt": Kept(FILE, NEW)}}, [(Kind.CHANGED, "a.txt")]),
        ({"files": {**SIDE.files, "a.txt": Kept(FILE | 0o111, OLD)}}, [(Kind.CHANGED, "a.txt")]),
        ({"files": {"a.txt": A_FILE, SPEC: A_FILE}}, [(Kind.DELETED, "b.txt")]),
        ({"files": {**SIDE.files, "auto-build/specs/001/new.md": Kept(FILE, NEW)}}, []),
        ({"files": {**SIDE.files, SPEC: Kept(FILE, NEW)}}, []),
        (
            {"files": {path: SIDE.files[path] for path in ("a.txt", "b.txt")}},
            [(Kind.DELETED, SPEC)],
        ),
        ({"files": {**SIDE.files, ".worktrees/auto-build/x": Kept(FILE, NEW)}}, []),
        ({"files": {**SIDE.files, ".env": Kept(FILE, OLD)}}, []),
        ({"files": {**SIDE.files, "node_modules/x": Kept(FILE, OLD)}}, []),
        ({"ignored": {**SIDE.ignored, ".env": Kept(FILE, NEW)}}, [(Kind.IGNORED_CHANGED, ".env")]),
        ({"ignored": {**SIDE.ignored, "new.log": Kept(FILE, NEW)}}, []),
        (
            {"ignored": {}},
            [
                (Kind.IGNORED_DELETED, ".env"),
                (Kind.IGNORED_LOST, "big.log"),
                (Kind.IGNORED_LOST, "node_modules/"),
            ],
        ),
        ({"head": "ref: refs/heads/other"}, [(Kind.HEAD, "HEAD")]),
        ({"index": "otherwise"}, [(Kind.INDEX, "index")]),
        ({"own": {**SIDE.own, "config": Kept(FILE, NEW)}}, [(Kind.CONFIG, "config")]),
        ({"own": {"config": Kept(FILE, OLD)}}, [(Kind.HOOK, "hooks/pre-commit")]),
        ({"own": {**SIDE.own, "info/attributes": Kept(FILE)}}, [(Kind.INFO, "info/attributes")]),
        ({"stash": ("2",)}, [(Kind.STASH, "1")]),
        ({"stash": ("3", "2", "1")}, []),
        ({"stash": ()}, [(Kind.STASH, "2"), (Kind.STASH, "1")]),
        ({"refs": {**SIDE.refs, "refs/heads/new": NEW}}, []),
        (
            {"refs": {**SIDE.refs, "refs/heads/other": NEW}},
            [(Kind.REF_MOVED, "refs/heads/other")],
        ),
        ({"refs": {**SIDE.refs, "refs/heads/main": NEW}}, []),
        ({"refs": {**SIDE.refs, "refs/remotes/origin/main": NEW}}, []),
        (
            {"refs": {"refs/heads/main": OLD, "refs/remotes/origin/main": OLD}},
            [(Kind.REF_GONE, "refs/heads/other")],
        ),
        ({"staging": False}, [(Kind.STAGING, "staging")]),
        ({"slots": frozenset({1})}, [(Kind.SLOT, "2")]),
        ({"slots": frozenset({1, 2, 3})}, []),
    ],
)
def test_each_difference_is_found_by_its_name(
    change: dict[str, object], kinds: list[tuple[Kind, str]]
) -> None:
    found = compare(SIDE, replace(SIDE, **change), Hand.NOBODY)  # type: ignore[arg-type]
    assert [(one.kind, one.name) for one in found] == kinds


def test_a_branch_that_an_agents_git_moved_is_told_wherever_head_is() -> None:
    now = replace(SIDE, refs={**SIDE.refs, "refs/heads/main": NEW})
    (found,) = compare(SIDE, now, Hand.AGENT)
    assert found == Finding(Kind.REF_MOVED, "refs/heads/main", OLD, NEW)
    assert f"git update-ref refs/heads/main {OLD}" in found.words


@pytest.mark.parametrize(
    ("change", "touched", "watched", "hand"),
    [
        ({}, False, True, Hand.NOBODY),
        ({"files": {}}, False, True, Hand.NOBODY),
        ({"index": "otherwise"}, False, True, Hand.USER),
        ({"head": OTHER}, False, True, Hand.USER),
        ({"refs": {**SIDE.refs, "refs/heads/main": NEW}}, False, True, Hand.USER),
        ({"refs": {**SIDE.refs, "refs/heads/other": NEW}}, False, True, Hand.NOBODY),
        ({"stash": ("3", "2", "1")}, False, True, Hand.USER),
        ({"stash": ("3", "2", "1")}, False, False, Hand.NOBODY),
        ({"stash": ("2",)}, False, True, Hand.NOBODY),
        ({}, True, True, Hand.AGENT),
        ({"index": "otherwise"}, True, True, Hand.AGENT),
        ({"head": OTHER}, True, True, Hand.AGENT),
        ({"refs": {**SIDE.refs, "refs/heads/main": NEW}}, True, True, Hand.USER),
    ],
)
def test_whose_git_was_at_work(
    change: dict[str, object], touched: bool, watched: bool, hand: Hand
) -> None:
    now = replace(SIDE, **change)  # type: ignore[arg-type]
    assert hand_of(SIDE, now, touched=touched, watched=watched) is hand


TOLD = {Kind.IGNORED_CHANGED, Kind.IGNORED_LOST, Kind.REF_MOVED, Kind.REF_GONE, Kind.SLOT}
NEVER_HIS = {Kind.HOOK, Kind.INFO, Kind.STASH, Kind.STAGING, *TOLD} - {
    Kind.IGNORED_CHANGED,
    Kind.IGNORED_LOST,
}


@pytest.mark.parametrize("kind", Kind)
def test_what_follows_from_each_kind(kind: Kind) -> None:
    usually = Step.TELL if kind in TOLD else Step.RESTORE
    for hand in (Hand.AGENT, Hand.NOBODY):
        assert follow(kind, hand, Mode.TAKE_BACK) is usually
        only = Step.RESTORE if kind in {Kind.STASH, Kind.STAGING} else Step.TELL
        assert follow(kind, hand, Mode.REPORT) is only
    his = usually if kind in NEVER_HIS else Step.ACCEPT
    assert follow(kind, Hand.USER, Mode.TAKE_BACK) is his


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_has_its_words(kind: Kind) -> None:
    words = Finding(kind, "the name", OLD, NEW).words
    assert "{" not in words
    assert len(words) > len("the name")


def test_git_files_are_told_apart_by_their_folder() -> None:
    names = ("config", "config.worktree", "hooks/pre-commit", "hooks", "info/attributes")
    assert [kind_of(name) for name in names] == [
        Kind.CONFIG,
        Kind.CONFIG,
        Kind.HOOK,
        Kind.HOOK,
        Kind.INFO,
    ]


def test_a_detached_head_is_a_commit_and_no_branch() -> None:
    assert (SIDE.branch, SIDE.commit) == ("refs/heads/main", OLD)
    detached = replace(SIDE, head=OTHER)
    assert (detached.branch, detached.commit) == ("", OTHER)
