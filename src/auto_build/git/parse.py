"""git's machine-readable output, read into our types. Pure: text in, values out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NewType

from auto_build.core.evidence import Signed

Commit = NewType("Commit", str)
Tree = NewType("Tree", str)
GITLINK: Final = "160000"
_NO_FILE: Final = "000000"
_VERSION: Final = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class Status:
    """`git status --porcelain=v2 --branch -z`: the commit at HEAD and what differs from it.

    `modules` are the submodules in which files were changed.
    """

    head: Commit | None
    branch: str | None
    changed: tuple[str, ...]
    untracked: tuple[str, ...]
    unmerged: tuple[str, ...]
    modules: tuple[str, ...] = ()

    @property
    def dirty(self) -> tuple[str, ...]:
        """Every path that differs, sorted."""
        return tuple(sorted({*self.changed, *self.untracked, *self.unmerged}))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a raw diff: the new mode and the path."""

    mode: str
    path: str


@dataclass(frozen=True, slots=True)
class File:
    """One line of `git ls-tree -r -z`: the mode, the object id and the path."""

    mode: str
    oid: str
    path: str


@dataclass(frozen=True, slots=True)
class MergeTree:
    """What `merge-tree` made: a tree, and what git says of conflicts in which paths."""

    tree: Tree
    said: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One path in which two trees differ: what was there and what is; None where nothing is."""

    path: str
    before: File | None
    after: File | None


@dataclass(frozen=True, slots=True)
class Landing:
    """A commit that carries our trailers."""

    commit: Commit
    chunk: str
    attempt: int


@dataclass(frozen=True, slots=True)
class WorktreeEntry:
    """One worktree as git lists it; `branch` is a full ref name or None where detached."""

    path: str
    head: str
    branch: str | None
    prunable: bool


def parse_version(text: str) -> tuple[int, int, int]:
    """Return the version in `git --version`'s line; (0, 0, 0) where there is none."""
    found = _VERSION.search(text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else (0, 0, 0)


def parse_status(text: str) -> Status:
    """Read `status --porcelain=v2 --branch -z`."""
    head: Commit | None = None
    branch: str | None = None
    changed: list[str] = []
    untracked: list[str] = []
    unmerged: list[str] = []
    modules: list[str] = []
    fields = iter(text.split("\0"))
    for one in fields:
        match one[:2]:
            case "# ":
                _, key, value = one.split(" ", 2)
                if key == "branch.oid" and value != "(initial)":
                    head = Commit(value)
                elif key == "branch.head" and value != "(detached)":
                    branch = value
            case "1 ":
                _, _, module, *_, path = one.split(" ", 8)
                changed.append(path)
                if module.startswith("S") and module[2:] != "..":
                    modules.append(path)
            case "2 ":
                changed.extend((one.split(" ", 9)[9], next(fields)))
            case "u ":
                unmerged.append(one.split(" ", 10)[10])
            case "? ":
                untracked.append(one[2:])
            case _:
                continue
    return Status(head, branch, tuple(changed), tuple(untracked), tuple(unmerged), tuple(modules))


def parse_raw_diff(text: str) -> tuple[Entry, ...]:
    """Read `diff-tree -r --raw -z --no-renames`."""
    fields = text.split("\0")
    return tuple(
        Entry(meta.split(" ")[1], path)
        for meta, path in zip(fields[::2], fields[1::2], strict=False)
        if meta.startswith(":")
    )


def parse_changes(text: str) -> tuple[Change, ...]:
    """Read `diff-tree -r --raw -z --no-renames --no-abbrev`, with what was there before."""
    found: list[Change] = []
    fields = text.split("\0")
    for about, path in zip(fields[::2], fields[1::2], strict=False):
        old_mode, new_mode, old, new, _ = about.removeprefix(":").split(" ")
        sides = ((old_mode, old), (new_mode, new))
        before, after = (None if m == _NO_FILE else File(m, oid, path) for m, oid in sides)
        found.append(Change(path, before, after))
    return tuple(found)


def parse_tree(text: str) -> tuple[File, ...]:
    """Return the entries of a tree."""
    found: list[File] = []
    for line in text.split("\0"):
        if line:
            about, _, path = line.partition("\t")
            mode, _, oid = about.split(" ")
            found.append(File(mode, oid, path))
    return tuple(found)


def parse_stage(text: str) -> tuple[File, ...]:
    """Return the entries of `ls-files --stage -z` that are merged."""
    found: list[File] = []
    for line in text.split("\0"):
        about, _, path = line.partition("\t")
        if about.endswith(" 0"):
            mode, oid, _ = about.split(" ")
            found.append(File(mode, oid, path))
    return tuple(found)


def parse_merge_tree(text: str) -> MergeTree:
    """Read `merge-tree --write-tree --messages -z`."""
    tree, *fields = text.split("\0")
    end = fields.index("")
    told = tuple(_conflicts(fields[end + 1 :]))
    unmerged = [line.partition("\t")[2] for line in fields[:end]]
    named = unmerged or [path for paths, _ in told for path in paths]
    said = tuple(text for _, text in told)
    return MergeTree(Tree(tree), said, tuple(dict.fromkeys(named)))


def _conflicts(fields: list[str]) -> Iterator[tuple[list[str], str]]:
    """Yield where and what git says of each conflict; what it merged by itself is left out."""
    rest = iter(fields)
    for count in rest:
        if not count.isdigit():  # the end of the output
            return
        paths = [next(rest) for _ in range(int(count))]
        kind, said = next(rest), next(rest)
        if kind.startswith("CONFLICT"):
            yield paths, said.strip()


def parse_landings(text: str, spec: str) -> tuple[Landing, ...]:
    """Read the landings of one spec from a log written with `LANDING_FORMAT`, newest first."""
    return tuple(_landings(text, spec))


LANDING_FORMAT: Final = (
    "--format=%H%x00%(trailers:key=Auto-Build-Chunk,valueonly,separator=%x1f)"
    "%x00%(trailers:key=Auto-Build-Attempt,valueonly,separator=%x1f)"
    "%x00%(trailers:key=Auto-Build-Spec,valueonly,separator=%x1f)%x00"
)


def _landings(text: str, wanted: str) -> Iterator[Landing]:
    fields = [field.strip("\n") for field in text.split("\0")]
    for commit, chunk, attempt, spec in zip(
        fields[::4], fields[1::4], fields[2::4], fields[3::4], strict=False
    ):
        if spec == wanted and chunk and attempt.isdigit():
            yield Landing(Commit(commit), chunk, int(attempt))


_SEPARATOR: Final = "\x1f"
_SAID: Final = ("Spec", "Chunk", "Attempt", "Base", "Work", "Tree", "Undo", "Redo")
LINE_FORMAT: Final = "--format=%H%x00%P%x00%T%x00%s%x00" + "".join(
    f"%(trailers:key=Auto-Build-{key},valueonly,separator=%x1f)%x00" for key in _SAID
)


def parse_line(text: str) -> tuple[Signed, ...]:
    """Read commits with their trailers from a log written with `LINE_FORMAT`."""
    fields = [field.strip("\n") for field in text.split("\0")]
    width = 4 + len(_SAID)
    rows = (fields[at : at + width] for at in range(0, len(fields) - width + 1, width))
    return tuple(_signed(*row) for row in rows)


def _signed(commit: str, parents: str, tree: str, subject: str, *said: str) -> Signed:
    spec, chunk, attempt, base, work, said_tree, undo, redo = said
    return Signed(
        commit=commit,
        parents=tuple(parents.split()),
        tree=tree,
        subject=subject,
        spec=spec,
        chunk=chunk,
        attempt=attempt,
        base=base,
        work=work,
        said_tree=said_tree,
        undo=tuple(undo.split(_SEPARATOR)) if undo else (),
        redo=redo,
    )


def parse_worktrees(text: str) -> tuple[WorktreeEntry, ...]:
    """Read `worktree list --porcelain -z`."""
    return tuple(
        WorktreeEntry(
            path=fields["worktree"],
            head=fields.get("HEAD", ""),
            branch=fields.get("branch"),
            prunable="prunable" in fields,
        )
        for block in text.split("\0\0")
        if (fields := dict(_pair(line) for line in block.split("\0") if line)).get("worktree")
    )


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.partition(" ")
    return key, value
