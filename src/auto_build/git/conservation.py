"""Whether a commit kept what two sides wrote since their merge base, read from the repository.

What is compared is decided in `auto_build.core.conservation`; here the versions are found and read.
A file is read only if something of it can be lost, or if it can tell where something went.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from auto_build.core import conservation
from auto_build.core.conservation import Lost
from auto_build.git.blobs import load_contents, load_headers
from auto_build.git.parse import GITLINK, Commit, File
from auto_build.git.repo import Repo

MOST_FILES: Final = 2_000  # that are looked into; those come first in which something can be lost
MOST_FILE_BYTES: Final = 5_000_000  # of one version; a file with a larger one counts as binary
MOST_BYTES: Final = 100_000_000  # of all versions together


@dataclass(frozen=True, slots=True)
class Findings:
    """What an integration lost, and the files of its result with conflict markers left in them.

    `unseen` is the number of files that could have lost something and were not looked into, because
    there were too many or they were too large together: where it is not 0, finding nothing proves
    nothing.
    """

    lost: tuple[Lost, ...]
    marked: tuple[str, ...]
    unseen: int = 0


class Limits(NamedTuple):
    """How much is looked into."""

    files: int = MOST_FILES
    file_bytes: int = MOST_FILE_BYTES
    all_bytes: int = MOST_BYTES


LIMITS: Final = Limits()


class _Blob(NamedTuple):
    """What is at a path in a tree."""

    mode: str
    oid: str


class _Versions(NamedTuple):
    """What is at a path in the four trees; None where nothing is."""

    base: _Blob | None
    ours: _Blob | None
    theirs: _Blob | None
    result: _Blob | None

    @property
    def oids(self) -> tuple[str | None, str | None, str | None, str | None]:
        """The object ids: a mode that changed is nothing that can be lost here."""
        base, ours, theirs, result = (one.oid if one else None for one in self)
        return base, ours, theirs, result

    @property
    def can_lose(self) -> bool:
        """Whether a side has another version than the base and the result."""
        base, ours, theirs, result = self.oids
        return ours not in (None, base, result) or theirs not in (None, base, result)

    @property
    def can_explain(self) -> bool:
        """Whether lines can have come here from another file, or gone from here by both sides."""
        base, ours, theirs, result = self.oids
        return result not in (None, base, ours, theirs) or base not in (None, ours, theirs)


async def find_lost(
    repo: Repo,
    base: Commit,
    ours: Commit,
    theirs: Commit,
    result: Commit,
    *,
    limits: Limits = LIMITS,
) -> Findings:
    """Return what `result` lost of what `ours` and `theirs` added since `base`.

    A file is binary if one of its versions is larger than `limits.file_bytes`, has a NUL byte or is
    a submodule. Of such a one the result must have the version of each side that changed it.

    Raises:
        CommandFailed: an object is not there.
    """
    versions = await _find_versions(repo, base, ours, theirs, result)
    paths = sorted(
        (path for path, four in versions.items() if four.can_lose or four.can_explain),
        key=lambda path: (not versions[path].can_lose, path),
    )
    oids = {path: _contents(versions[path]) for path in paths}
    wanted = {oid for path in paths[: limits.files] for oid in oids[path]}
    sizes = {oid: one.size for oid, one in (await load_headers(repo, wanted)).items()}
    seen = _within(limits, paths, oids, sizes)
    small = {oid for path in seen for oid in oids[path] if sizes[oid] <= limits.file_bytes}
    contents = await load_contents(repo, small)
    texts = {oid: raw.decode("utf-8", "surrogateescape") for oid, raw in contents.items()}
    unseen = sum(versions[path].can_lose for path in paths[len(seen) :])
    return await asyncio.to_thread(_compare, {path: versions[path] for path in seen}, texts, unseen)


# --- which files, and how large ------------------------------------------------------------------


async def _find_versions(
    repo: Repo, base: Commit, ours: Commit, theirs: Commit, result: Commit
) -> dict[str, _Versions]:
    """Return the versions of every file in which one of the three differs from the base."""
    ends = [await _changes(repo, base, end) for end in (ours, theirs, result)]
    found: dict[str, _Versions] = {}
    for path in sorted({path for changes in ends for path in changes}):
        before = next(changes[path][0] for changes in ends if path in changes)
        after = (changes[path][1] if path in changes else before for changes in ends)
        found[path] = _Versions(before, *after)
    return found


async def _changes(
    repo: Repo, old: Commit, new: Commit
) -> dict[str, tuple[_Blob | None, _Blob | None]]:
    """Return what was and what is at each path in which two commits differ."""
    changes = await repo.changes(old, new)
    return {one.path: (_blob(one.before), _blob(one.after)) for one in changes}


def _blob(file: File | None) -> _Blob | None:
    return _Blob(file.mode, file.oid) if file else None


def _contents(versions: _Versions) -> tuple[str, ...]:
    """Return the ids of what can be read of a file; a submodule's commit is elsewhere."""
    if any(one.mode == GITLINK for one in versions if one):
        return ()
    return tuple({one.oid: None for one in versions if one})


def _within(
    limits: Limits,
    paths: Sequence[str],
    oids: Mapping[str, Sequence[str]],
    sizes: Mapping[str, int],
) -> tuple[str, ...]:
    """Return the first of the paths, as many as may be looked into."""
    room = limits.all_bytes
    for number, path in enumerate(paths[: limits.files]):
        room -= sum(size for oid in oids[path] if (size := sizes[oid]) <= limits.file_bytes)
        if room < 0:
            return tuple(paths[:number])
    return tuple(paths[: limits.files])


# --- comparing -----------------------------------------------------------------------------------


def _compare(versions: Mapping[str, _Versions], texts: Mapping[str, str], unseen: int) -> Findings:
    binary = {path for path, four in versions.items() if not _is_text(four, texts)}
    by_id = _trees({path: versions[path].oids for path in binary})
    base, ours, theirs, result = _trees(
        {
            path: [None if oid is None else texts[oid] for oid in four.oids]
            for path, four in versions.items()
            if path not in binary
        }
    )
    lost = (
        *conservation.find_lost(base, ours, theirs, result),
        *conservation.find_lost_versions(*by_id),
    )
    marked = conservation.find_markers(ours, theirs, result)
    return Findings(tuple(sorted(lost, key=lambda one: (one.path, one.side))), marked, unseen)


def _is_text(versions: _Versions, texts: Mapping[str, str]) -> bool:
    oids = _contents(versions)
    return bool(oids) and all(oid in texts and "\0" not in texts[oid] for oid in oids)


def _trees(
    files: Mapping[str, Sequence[str | None]],
) -> tuple[conservation.Files, conservation.Files, conservation.Files, conservation.Files]:
    """Return four trees by path from files in four versions."""
    base, ours, theirs, result = (
        {path: versions[number] for path, versions in files.items()} for number in range(4)
    )
    return base, ours, theirs, result
