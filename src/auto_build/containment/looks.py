"""One look at the user's side: what is there, told by stamps and read only where these differ.

The first look reads what git has no record of; later ones compare stamps, so that a look at many
files that nobody touched costs little. What is beyond a bound is named and not watched.
"""

import asyncio
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from auto_build.containment.own import (
    CONFIG,
    HEAD,
    INDEX,
    STASH_LOG,
    Own,
    head_text,
    stash_entries,
)
from auto_build.containment.places import Raw, Stamp, find_stamp, load
from auto_build.containment.shadow import Shadow
from auto_build.containment.strays import Kept, Side
from auto_build.git.repo import Repo
from auto_build.git.worktree import Worktrees

MOST_FILES: Final = 200_000
MOST_BYTES: Final = 50 * 1024 * 1024  # of one file that git has no copy of
ROOM_BYTES: Final = 512 * 1024 * 1024  # of all such files
_MOST_IGNORED: Final = 2_000
_IGNORED_BYTES: Final = 1024 * 1024  # of one file, kept in memory
_ALL_IGNORED_BYTES: Final = 32 * 1024 * 1024
_SHA1: Final = 40  # hexadecimal digits of an object id
_OURS: Final = ("refs/auto-build/", "refs/heads/auto-build/", "refs/worktree/", "refs/stash")
_SETTINGS: Final = (CONFIG, "config.worktree")
_LATER: Final = (HEAD, INDEX, STASH_LOG)  # compared by what they say


@dataclass(frozen=True, slots=True)
class Seen:
    """The user's side at one moment, with what it takes to see changes and to undo them.

    `own` are the bytes of git's own files, `lent` those of files that git ignores: they may be
    secrets and stay in memory. `folders` hold nothing that is tracked. Where there are `too_many`
    files, none is looked at.
    """

    side: Side
    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    own: Mapping[str, Raw] = field(default_factory=dict)
    lent: Mapping[str, Raw] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    unwatched: tuple[str, ...] = ()
    too_many: bool = False
    hashed: str = "sha1"


@dataclass(frozen=True, slots=True)
class Looking:
    """Looks at the user's side of a repository."""

    repo: Repo
    worktrees: Worktrees
    shadow: Shadow
    most_files: int = MOST_FILES
    room_bytes: int = ROOM_BYTES

    @property
    def own(self) -> Own:
        """Git's own files."""
        return Own(self.repo)

    async def first(self) -> Seen:
        """Take everything in, as it is now."""
        await self.shadow.make()
        others, differing, folders = await asyncio.gather(
            self.shadow.others(), self.shadow.differing(), self.shadow.folders()
        )
        new, left_out = self._chosen(dict.fromkeys([*differing, *others]))
        await self.shadow.take_in(new)
        unwatched = frozenset(left_out)
        held = await self.shadow.files()
        files = {file.path: file.oid for file in held if file.path not in unwatched}
        too_many = len(files) > self.most_files
        if too_many:
            left_out = [f"{len(files)} files, more than {self.most_files}"]
            files = {}
        wide = any(len(oid) > _SHA1 for oid in files.values())
        seen = Seen(
            Side(),
            folders=frozenset(folders),
            unwatched=tuple(left_out),
            too_many=too_many,
            hashed="sha256" if wide else "sha1",
        )
        return await self._look(seen, files)

    async def again(self, before: Seen) -> Seen:
        """Look at what there is now; what was known `before` is read only where it was written."""
        return await self._look(before, {})

    def _chosen(self, paths: Iterable[str]) -> tuple[list[str], list[str]]:
        """Return which files are taken in, and which are not watched."""
        taken: list[str] = []
        left_out: list[str] = []
        room = self.room_bytes
        for path in paths:
            where = self.repo.project / path
            at = find_stamp(where)
            size = at.size if at else 0
            linked = at is not None and stat.S_ISLNK(at.mode)
            readable = at is None or linked or os.access(where, os.R_OK)
            fits = size <= min(MOST_BYTES, room) and not path.endswith("/")
            if readable and fits:
                room -= size
            (taken if readable and fits else left_out).append(path)
        return taken, left_out

    async def _look(self, before: Seen, held: Mapping[str, str]) -> Seen:
        """Look at everything; the content of files that are `held` is known by its id."""
        own = self.own.load()
        others, ignored, refs, settings, index = await asyncio.gather(
            self.shadow.others(),
            self.shadow.ignored(),
            self._refs(),
            self._settings(own, before),
            self._index(own, before),
        )
        known = [*held, *before.side.files]
        fresh = [] if before.too_many else _watched(others, before.unwatched)
        new = frozenset(path for path in (*fresh, *ignored) if not path.endswith("/"))
        paths = dict.fromkeys([*known, *fresh])
        blocked = new - before.side.files.keys() - held.keys()
        files, stamps = await asyncio.to_thread(self._files, before, held, paths, blocked)
        lent, kept, marks = await asyncio.to_thread(self._lent, before, ignored)
        side = Side(
            files=files,
            ignored=kept,
            head=head_text(own),
            index=index,
            own={
                name: Kept(raw.mode, settings.get(name) or _digest(raw.data))
                for name, raw in own.items()
                if name not in _LATER
            },
            stash=stash_entries(own),
            refs=refs,
            staging=self._is_there(self.worktrees.staging_path),
            slots=frozenset(
                slot
                for slot in self.worktrees.slots()
                if self._is_there(self.worktrees.slot_path(slot))
            ),
        )
        return replace(before, side=side, stamps={**stamps, **marks}, own=own, lent=lent)

    def _is_there(self, path: Path) -> bool:
        return self.worktrees.find(path) is not None

    def _files(
        self,
        before: Seen,
        held: Mapping[str, str],
        paths: Iterable[str],
        blocked: frozenset[str],
    ) -> tuple[dict[str, Kept], dict[str, Stamp]]:
        """Return what is in each file; below a file or link that is new there is nothing."""
        there: dict[str, Kept] = {}
        stamps: dict[str, Stamp] = {}
        project = f"{self.repo.project}/"
        for path in paths:
            where = project + path
            stamp = find_stamp(where)
            if stamp is None and path.endswith("/") and Path(where).is_dir():
                there[path] = Kept(stat.S_IFDIR)
            elif stamp is not None and not _is_below(path, blocked):
                stamps[path] = stamp
                was = before.side.files.get(path)
                if path in held:
                    there[path] = Kept(stamp.mode, held[path])
                elif was and stamp == before.stamps.get(path):
                    there[path] = was
                else:
                    there[path] = self._read(where, stamp, before.hashed)
        return there, stamps

    def _read(self, where: str, stamp: Stamp, hashed: str) -> Kept:
        raw = load(where, MOST_BYTES)
        return Kept(stamp.mode, _blob(raw.data, hashed) if raw else "")

    def _lent(
        self, before: Seen, ignored: Sequence[str]
    ) -> tuple[dict[str, Raw], dict[str, Kept], dict[str, Stamp]]:
        """Return what git ignores: small files with their bytes, as far as there is room."""
        lent: dict[str, Raw] = {}
        kept: dict[str, Kept] = {}
        marks: dict[str, Stamp] = {}
        room = _ALL_IGNORED_BYTES
        for path in dict.fromkeys([*before.side.ignored, *ignored]):
            if len(kept) >= _MOST_IGNORED:
                kept[path] = Kept(0)  # known by its name only
                continue
            where = f"{self.repo.project}/{path}"
            stamp = find_stamp(where)
            if stamp is None:
                if Path(where).is_dir():
                    kept[path] = Kept(stat.S_IFDIR)
                continue
            marks[path] = stamp
            was = before.lent.get(path) if stamp == before.stamps.get(path) else None
            raw = was or load(where, min(_IGNORED_BYTES, room))
            kept[path] = Kept(stamp.mode, _digest(raw.data) if raw else "")
            if raw:
                lent[path] = raw
                room -= len(raw.data)
        return lent, kept, marks

    async def _refs(self) -> dict[str, str]:
        form = "--format=%(refname) %(objectname)"
        done = await self.repo.git("for-each-ref", form, git_dir=self.repo.git_dir)
        pairs = (line.split(" ", 1) for line in done.stdout.splitlines())
        return {name: oid for name, oid in pairs if not name.startswith(_OURS)}

    async def _index(self, own: Mapping[str, Raw], before: Seen) -> str:
        """Return a digest of what is staged; only asked for where the file was written anew."""
        raw = own.get(INDEX)
        was = before.own.get(INDEX)
        if raw is None:
            return ""
        if was is not None and was.data == raw.data:
            return before.side.index
        staged = ("ls-files", "--stage", "-v", "-z")
        done = await self.repo.git(*staged, git_dir=self.repo.git_dir, work_tree=self.repo.project)
        return _digest(done.stdout.encode("utf-8", "surrogateescape"))

    async def _settings(self, own: Mapping[str, Raw], before: Seen) -> dict[str, str]:
        """Return digests of what git's settings say, which may be written in several ways."""
        found: dict[str, str] = {}
        for name in _SETTINGS:
            raw, was = own.get(name), before.own.get(name)
            if raw and was and raw.data == was.data:
                found[name] = before.side.own[name].oid
            elif raw:
                told = await self.shadow.settings_in(self.own.path(name))
                found[name] = _digest(told.encode("utf-8", "surrogateescape"))
        return found


def _watched(paths: Sequence[str], unwatched: Sequence[str]) -> list[str]:
    """Return the paths that are not left out, nor lie in a repository that is."""
    left_out = frozenset(unwatched)
    folders = frozenset(one.removesuffix("/") for one in left_out if one.endswith("/"))
    return [path for path in paths if path not in left_out and not _is_below(path, folders)]


def _is_below(path: str, blocked: frozenset[str]) -> bool:
    """Say whether a path leads through one of these, which are no folders."""
    if not blocked:
        return False
    return any(path[:at] in blocked for at, char in enumerate(path) if char == "/")


def _blob(data: bytes, hashed: str) -> str:
    """Return the id that git gives to a file's content."""
    content = b"blob %d\0" % len(data) + data
    return hashlib.new(hashed, content, usedforsecurity=False).hexdigest()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
