"""What happened to the user's side while agents worked, and what follows. Pure.

Two looks at it are compared; each difference is a finding, and one table says for each kind of
finding what is done about it. Invariant: what a user does with git in a checkout is never undone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from auto_build.policy.paths import SPECS

_SHOWN: Final = 10  # characters of an object id
_BRANCH: Final = "ref: "
_ELSEWHERE: Final = "refs/remotes/"  # editors fetch by themselves
_OURS: Final = ".worktrees/"


class Kind(StrEnum):
    """What can be found."""

    ADDED = "added"
    CHANGED = "changed"
    DELETED = "deleted"
    IGNORED_CHANGED = "ignored-changed"
    IGNORED_DELETED = "ignored-deleted"
    IGNORED_LOST = "ignored-lost"  # a folder, or a file of which no copy was kept
    HEAD = "head"
    INDEX = "index"
    CONFIG = "config"
    HOOK = "hook"
    INFO = "info"
    STASH = "stash"
    REF_MOVED = "ref-moved"
    REF_GONE = "ref-gone"
    STAGING = "staging"
    SLOT = "slot"


class Hand(StrEnum):
    """Whose git was at work in the user's checkout, as far as it can be told."""

    NOBODY = "nobody"
    AGENT = "agent"
    USER = "user"


class Mode(StrEnum):
    """What is done about strays: the setting `strays`."""

    TAKE_BACK = "take-back"
    REPORT = "report"


class Step(StrEnum):
    """What follows from a finding."""

    RESTORE = "restore"
    TELL = "tell"
    ACCEPT = "accept"  # it is the user's own


_STEPS: Final[Mapping[Kind, Step]] = MappingProxyType(
    {
        Kind.ADDED: Step.RESTORE,
        Kind.CHANGED: Step.RESTORE,
        Kind.DELETED: Step.RESTORE,
        Kind.IGNORED_CHANGED: Step.TELL,  # a program of the user's may have written it
        Kind.IGNORED_DELETED: Step.RESTORE,
        Kind.IGNORED_LOST: Step.TELL,
        Kind.HEAD: Step.RESTORE,
        Kind.INDEX: Step.RESTORE,
        Kind.CONFIG: Step.RESTORE,
        Kind.HOOK: Step.RESTORE,
        Kind.INFO: Step.RESTORE,
        Kind.STASH: Step.RESTORE,
        Kind.REF_MOVED: Step.TELL,
        Kind.REF_GONE: Step.TELL,
        Kind.STAGING: Step.RESTORE,
        Kind.SLOT: Step.TELL,
    }
)
_OF_THE_USER: Final = frozenset(  # where the user's own git is at work at that moment
    {
        Kind.ADDED,
        Kind.CHANGED,
        Kind.DELETED,
        Kind.IGNORED_CHANGED,
        Kind.IGNORED_DELETED,
        Kind.IGNORED_LOST,
        Kind.HEAD,
        Kind.INDEX,
        Kind.CONFIG,
    }
)
_ALWAYS: Final = frozenset({Kind.STASH, Kind.STAGING})  # nothing of the user's is undone by these
FILES: Final = frozenset({Kind.ADDED, Kind.CHANGED, Kind.DELETED})


@dataclass(frozen=True, slots=True)
class Kept:
    """A file at one moment: the mode, as `lstat` has it, and the id of its content.

    Where the content is not known, as of a folder or a file that is too large, the id is empty.
    """

    mode: int
    oid: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """The user's side at one moment.

    `files` are those that git tracks or would add, `ignored` single ones that it ignores, and
    folders (their names end in `/`). `head` is HEAD's text, `index` a digest of the entries, `own`
    git's settings, hooks and info, `stash` the ids of its entries, the newest first. `slots` are
    the worker slots whose worktrees are there.
    """

    files: Mapping[str, Kept] = field(default_factory=dict)
    ignored: Mapping[str, Kept] = field(default_factory=dict)
    head: str = ""
    index: str = ""
    own: Mapping[str, Kept] = field(default_factory=dict)
    stash: tuple[str, ...] = ()
    refs: Mapping[str, str] = field(default_factory=dict)
    staging: bool = True
    slots: frozenset[int] = frozenset()

    @property
    def branch(self) -> str:
        """The ref that HEAD stands for; empty where it is detached."""
        return self.head.removeprefix(_BRANCH) if self.head.startswith(_BRANCH) else ""

    @property
    def commit(self) -> str:
        """The commit that is checked out; empty where there is none yet."""
        return self.refs.get(self.branch, "") if self.branch else self.head


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is no longer as it was; `old` and `new` say how, where that helps."""

    kind: Kind
    name: str
    old: str = ""
    new: str = ""

    @property
    def words(self) -> str:
        """What happened."""
        return _WORDS[self.kind].format(
            name=self.name, old=self.old, new=self.new, was=self.old[:_SHOWN], now=self.new[:_SHOWN]
        )


_WORDS: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.ADDED: "{name} was added",
        Kind.CHANGED: "{name} was changed",
        Kind.DELETED: "{name} was deleted",
        Kind.IGNORED_CHANGED: "{name}, which git ignores, was changed",
        Kind.IGNORED_DELETED: "{name}, which git ignores, was deleted",
        Kind.IGNORED_LOST: "{name}, which git ignores and of which there is no copy, was deleted",
        Kind.HEAD: "HEAD was moved from {old} to {new}",
        Kind.INDEX: "the index was changed",
        Kind.CONFIG: "git's {name} was changed",
        Kind.HOOK: "git's {name} was {new}",
        Kind.INFO: "git's {name} was {new}",
        Kind.STASH: "the stash entry {was} was taken away",
        Kind.REF_MOVED: "{name} was moved from {was} to {now} (back: git update-ref {name} {old})",
        Kind.REF_GONE: "{name} was deleted at {was} (back: git update-ref {name} {old})",
        Kind.STAGING: "the staging worktree was removed",
        Kind.SLOT: "the worktree of worker {name} was removed{new}",
    }
)


def hand_of(before: Side, now: Side, *, touched: bool, watched: bool) -> Hand:
    """Say whose git was at work in the user's checkout.

    Args:
        before: the side as it was.
        now: the side as it is.
        touched: there is evidence that an agent's git did something there.
        watched: agents' git leaves evidence where it stashes something, so that none means that it
            was not them. That an entry was taken away leaves none, while others are left.
    """
    committed = before.head == now.head and before.commit != now.commit
    if touched:  # which cannot move a branch
        return Hand.USER if committed else Hand.AGENT
    moved = before.head != now.head or before.index != now.index or committed
    if moved or (watched and set(now.stash) > set(before.stash)):
        return Hand.USER
    return Hand.NOBODY


def written_specs(before: Side, now: Side) -> tuple[str, ...]:
    """Return the files of specs that were written: by us, or by people, as is meant."""
    there = now.files.items()
    return tuple(p for p, kept in there if p.startswith(SPECS) and before.files.get(p) != kept)


def follow(kind: Kind, hand: Hand, mode: Mode) -> Step:
    """Return what is done about a finding."""
    if hand is Hand.USER and kind in _OF_THE_USER:
        return Step.ACCEPT
    if mode is Mode.REPORT and kind not in _ALWAYS:
        return Step.TELL
    return _STEPS[kind]


def compare(
    before: Side, now: Side, hand: Hand, owners: Mapping[int, str] = MappingProxyType({})
) -> tuple[Finding, ...]:
    """Return what is different, as it is told; `owners` says whose a slot is."""
    return (
        *_files(before, now),
        *_ignored(before, now),
        *_git(before, now),
        *_refs(before, now, hand),
        *_worktrees(before, now, owners),
    )


def _files(before: Side, now: Side) -> Iterator[Finding]:
    for path in sorted(before.files.keys() | now.files.keys()):
        was, there = before.files.get(path), now.files.get(path)
        if was == there or path.startswith(_OURS) or (there and path.startswith(SPECS)):
            continue
        if was is None:
            if not _was_ignored(before, path):
                yield Finding(Kind.ADDED, path)
        else:
            yield Finding(Kind.DELETED if there is None else Kind.CHANGED, path)


def _was_ignored(before: Side, path: str) -> bool:
    """Say whether a path is new only because git's list of what to ignore is another one."""
    folders = (path[: at + 1] for at, char in enumerate(path) if char == "/")
    return path in before.ignored or any(folder in before.ignored for folder in folders)


def _ignored(before: Side, now: Side) -> Iterator[Finding]:
    for path, was in sorted(before.ignored.items()):
        there = now.ignored.get(path)
        if there is None and not path.startswith(_OURS):
            yield Finding(Kind.IGNORED_DELETED if was.oid else Kind.IGNORED_LOST, path)
        elif there and was != there and not path.endswith("/"):
            yield Finding(Kind.IGNORED_CHANGED, path)


def _git(before: Side, now: Side) -> Iterator[Finding]:
    if before.head != now.head:
        yield Finding(Kind.HEAD, "HEAD", short(before.head), short(now.head))
    if before.index != now.index:
        yield Finding(Kind.INDEX, "index")
    for name in sorted(before.own.keys() | now.own.keys()):
        was, there = before.own.get(name), now.own.get(name)
        if was != there:
            verb = "added" if was is None else "deleted" if there is None else "changed"
            yield Finding(kind_of(name), name, new=verb)
    left = list(now.stash)
    for oid in before.stash:
        if oid in left:
            left.remove(oid)
        else:
            yield Finding(Kind.STASH, oid, old=oid)


def kind_of(name: str) -> Kind:
    """Return what a file of git's own is."""
    folder = name.partition("/")[0]
    return {"hooks": Kind.HOOK, "info": Kind.INFO}.get(folder, Kind.CONFIG)


def short(head: str) -> str:
    """Return what HEAD says as people say it: the name of a branch, or a commit."""
    return head.removeprefix(_BRANCH).removeprefix("refs/heads/")


def _refs(before: Side, now: Side, hand: Hand) -> Iterator[Finding]:
    silent = {before.branch, now.branch} if hand is not Hand.AGENT else set()
    for name, old in sorted(before.refs.items()):
        new = now.refs.get(name, "")
        if old == new or name in silent:
            continue
        if not new:
            yield Finding(Kind.REF_GONE, name, old)
        elif hand is Hand.AGENT or not name.startswith(_ELSEWHERE):
            yield Finding(Kind.REF_MOVED, name, old, new)


def _worktrees(before: Side, now: Side, owners: Mapping[int, str]) -> Iterator[Finding]:
    if before.staging and not now.staging:
        yield Finding(Kind.STAGING, "staging")
    for slot in sorted(before.slots - now.slots):
        whose = f", with what chunk {owners[slot]} had there" if slot in owners else ""
        yield Finding(Kind.SLOT, str(slot), new=whose)
