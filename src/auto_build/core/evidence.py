"""What git keeps to prove a build: trailers, notes and pins; and where they do not agree.

Pure: what was read from git comes in as values, and findings go out. A note holds the outputs of
the checks beside their digests, so that whoever has the repository can compute them anew.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from auto_build.core.events import CheckResult

SPEC_TRAILER: Final = "Auto-Build-Spec"
SQUASHED_TRAILER: Final = "Auto-Build-Squashed"
_CHECKED: Final = "Auto-Build-Checked"
_CHECK: Final = re.compile(r'Auto-Build-Check: sha256:([0-9a-f]{64}) (-?\d+|-) (".*")')
_OUTPUT: Final = re.compile(rb"--- (\d+) bytes, (\d+) runs(?:, (\".*\"))?")
_SHORT: Final = 10


class Fault(StrEnum):
    """What can be wrong with what git keeps of a build."""

    TRAILER = "changed trailer"
    BY_HAND = "commit added by hand"
    REWRITTEN = "rewritten landing"
    NO_PIN = "missing pin"
    NO_EVIDENCE = "missing evidence"
    EVIDENCE = "changed evidence"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: with which commit, of which chunk, and in words what it is."""

    fault: Fault
    commit: str
    chunk: str
    what: str


@dataclass(frozen=True, slots=True)
class Signed:
    """A commit, and what its trailers say; `said_tree` is the tree that they name.

    It is a landing where it names a `chunk`, of which `redo` is an earlier landing that it brings
    back; and an undo where it names those that it takes out.
    """

    commit: str
    parents: tuple[str, ...]
    tree: str
    subject: str
    spec: str = ""
    chunk: str = ""
    attempt: str = ""
    base: str = ""
    work: str = ""
    said_tree: str = ""
    undo: tuple[str, ...] = ()
    redo: str = ""

    @property
    def number(self) -> int:
        """The number of the attempt; 0 where it is none."""
        return int(self.attempt) if self.attempt.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Checked:
    """A check as a note tells of it; `code` is None where it was stopped at its time limit."""

    command: str
    code: int | None
    digest: str
    output: str


@dataclass(frozen=True, slots=True)
class Note:
    """What a note says: which tree was checked, and what that came to."""

    tree: str
    checks: tuple[Checked, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that git keeps of one build.

    `line` are the commits on staging's own line, oldest first, on top of the tree `base_tree`.
    `pinned` are the works pinned for the attempt that a commit names, `replays` the commits whose
    second parent is a replay and fits, both by commit. `landed` is what each chunk's pin names;
    `below` those of them that were there before the line began. `notes` are texts, by commit.
    """

    spec: str
    base_tree: str
    line: tuple[Signed, ...]
    pinned: Mapping[str, frozenset[str]] = field(default_factory=dict)
    replays: frozenset[str] = frozenset()
    landed: Mapping[str, str] = field(default_factory=dict)
    below: frozenset[str] = frozenset()
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Landings:
    """Which landings staging holds and which were taken out of it, by chunk, the latest last.

    A chunk that was done again has several; one that was undone and done again is not undone.
    """

    standing: Mapping[str, tuple[Signed, ...]]
    undone: Mapping[str, tuple[Signed, ...]]

    @classmethod
    def read(cls, signed: Sequence[Signed]) -> "Landings":
        """Follow landings, undos and redos; they come with the newest first, as git lists them."""
        standing: dict[str, tuple[Signed, ...]] = {}
        undone: dict[str, tuple[Signed, ...]] = {}
        for one in reversed(signed):
            for chunk in one.undo:
                undone[chunk] = standing.pop(chunk, undone.get(chunk, ()))
            if one.chunk and one.number:
                standing[one.chunk] = (*standing.get(one.chunk, ()), one)
                undone.pop(one.chunk, None)
        return cls(standing, undone)


# --- notes ---------------------------------------------------------------------------------------


def digest_of(output: str) -> str:
    """Return the digest of a check's output."""
    return hashlib.sha256(_raw(output)).hexdigest()


def write_note(tree: str, results: Iterable[CheckResult]) -> str:
    """Return what is noted of checks that were run on `tree`.

    A check that was known from before has no output; what is known of it stands beside that.
    """
    checks = tuple(results)
    heads = (f"{_CHECKED}: {tree}", *(_head(one) for one in checks))
    return "\n".join(heads) + "\n\n" + "".join(_body(one) for one in checks)


def read_note(text: str) -> Note | None:
    """Return what a note says; None where it is none of ours, or was cut."""
    raw = _raw(text)
    head, _, rest = raw.partition(b"\n\n")
    first, *lines = head.decode("utf-8", "surrogateescape").rstrip("\n").split("\n")
    key, _, tree = first.partition(": ")
    checks: list[Checked] = []
    for line in lines:
        told = _CHECK.fullmatch(line)
        start, _, rest = rest.partition(b"\n")
        kept = _OUTPUT.fullmatch(start)
        if told is None or kept is None or rest[int(kept[1]) : int(kept[1]) + 1] != b"\n":
            return None
        size = int(kept[1])
        output = rest[:size].decode("utf-8", "surrogateescape")
        code = None if told[2] == "-" else int(told[2])
        checks.append(Checked(str(json.loads(told[3])), code, told[1], output))
        rest = rest[size + 1 :]
    return Note(tree, tuple(checks)) if key == _CHECKED and not rest else None


def _head(result: CheckResult) -> str:
    code = "-" if result.code is None else result.code
    command = json.dumps(result.command)  # on one line, whatever is in it
    return f"Auto-Build-Check: sha256:{digest_of(result.output)} {code} {command}"


def _body(result: CheckResult) -> str:
    note = f", {json.dumps(result.note)}" if result.note else ""
    size = len(_raw(result.output))
    return f"--- {size} bytes, {result.runs} runs{note}\n{result.output}\n"


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# --- what is wrong -------------------------------------------------------------------------------


def find_faults(evidence: Evidence) -> tuple[Finding, ...]:
    """Return everything that does not hold, in the order of the line."""
    found: list[Finding] = []
    tree = evidence.base_tree
    for place, one in enumerate(evidence.line):
        if one.spec != evidence.spec or not (one.chunk or one.undo):
            what = f"{one.subject!r} is no landing, undo or redo of {evidence.spec}"
            found.append(Finding(Fault.BY_HAND, one.commit, "", what))
        else:
            trees = {later.tree for later in evidence.line[place:] if later is one or later.redo}
            found.extend(_of_trailers(evidence, one, tree))
            found.extend(_of_note(one, evidence.notes.get(one.commit), trees))
        tree = one.tree
    return (*found, *_of_landed(evidence))


def _of_trailers(evidence: Evidence, one: Signed, tree_before: str) -> Iterator[Finding]:
    """Yield where a commit's trailers do not say what git says of it."""
    who = one.chunk or ", ".join(one.undo)
    first = one.parents[0] if one.parents else ""
    for key, said, real in (("Base", one.base, first), ("Tree", one.said_tree, one.tree)):
        if said != real:
            what = f"Auto-Build-{key} says {said[:_SHORT] or 'nothing'}, git {real[:_SHORT]}"
            yield Finding(Fault.TRAILER, one.commit, who, what)
    if one.undo:
        if len(one.parents) != 1:
            yield Finding(Fault.TRAILER, one.commit, who, "an undo has one parent")
        return
    if not _brings(evidence, one, tree_before):
        what = f"Auto-Build-Work says {one.work[:_SHORT] or 'nothing'}, which it does not merge"
        yield Finding(Fault.TRAILER, one.commit, who, what)
    elif one.work not in evidence.pinned.get(one.commit, frozenset()):
        what = f"no pin of attempt {one.attempt or '?'} holds {one.work[:_SHORT]}"
        yield Finding(Fault.NO_PIN, one.commit, who, what)


def _brings(evidence: Evidence, one: Signed, tree_before: str) -> bool:
    """Say whether a landing merges the work that it names: itself, its replay, or none at all."""
    if not one.work:
        return False
    if len(one.parents) == 1:
        return one.tree == tree_before  # a verdict, and nothing else
    others = one.parents[1:]
    return others == (one.work,) or one.commit in evidence.replays


def _of_note(one: Signed, text: str | None, trees: set[str]) -> Iterator[Finding]:
    """Yield what is wrong with a commit's note; a redo is checked together with later ones."""
    who = one.chunk or ", ".join(one.undo)
    if text is None:
        yield Finding(Fault.NO_EVIDENCE, one.commit, who, "it has no note of its checks")
        return
    note = read_note(text)
    if note is None:
        yield Finding(Fault.EVIDENCE, one.commit, who, "its note cannot be read")
        return
    if note.tree not in (trees if one.redo else {one.tree}):
        what = f"its note is about the tree {note.tree[:_SHORT]}"
        yield Finding(Fault.EVIDENCE, one.commit, who, what)
    for check in note.checks:
        if digest_of(check.output) != check.digest:
            what = f"the output of $ {check.command} is not what its digest says"
            yield Finding(Fault.EVIDENCE, one.commit, who, what)


def _of_landed(evidence: Evidence) -> Iterator[Finding]:
    """Yield landings that are gone from the line, and those that nothing pins."""
    there = {one.commit for one in evidence.line} | evidence.below
    for chunk, commit in evidence.landed.items():
        if commit not in there:
            what = "the commit that its pin names is not in staging"
            yield Finding(Fault.REWRITTEN, commit, chunk, what)
    for one in {one.chunk: one for one in evidence.line if one.chunk}.values():
        if one.spec == evidence.spec and one.chunk not in evidence.landed:
            what = "no pin names its landing"
            yield Finding(Fault.NO_PIN, one.commit, one.chunk, what)
