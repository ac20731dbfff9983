"""Puts the user's side back as it was, after keeping what is there instead.

Invariants: nothing is touched that is not different; nothing is removed that was not kept before;
what somebody wrote since it was looked at is left alone.
"""

import asyncio
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from auto_build.containment.looks import Seen
from auto_build.containment.own import HEAD, INDEX, STASH_LOG, Own, stash_entries, with_entries
from auto_build.containment.places import (
    Blocked,
    Raw,
    Stamp,
    drop_empty,
    find_stamp,
    load,
    move_aside,
    put,
)
from auto_build.containment.shadow import Shadow
from auto_build.containment.strays import FILES, Finding, Kept, Kind, Side, written_specs
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo

_MOST_PATCH_BYTES: Final = 64 * 1024 * 1024  # of all files in a patch; the others are moved
_MOST_RESTORED_BYTES: Final = 512 * 1024 * 1024
_IGNORE: Final = ".gitignore"
_OWN: Final[Mapping[Kind, str]] = {Kind.HEAD: HEAD, Kind.INDEX: INDEX}


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where what strays left is kept: a patch, and files that no patch can hold beside it."""

    patch: Path
    files: Path

    @classmethod
    def fresh(cls, folder: Path) -> "Keeping":
        """Return names that are not taken in a folder."""
        number = 1 + len(list(folder.glob("strays-*")))
        return cls(folder / f"strays-{number}.patch", folder / f"strays-{number}.files")

    @property
    def words(self) -> str:
        """Where it is and how to get it back; empty where nothing was kept."""
        told = [f"git apply {self.patch}"] if self.patch.exists() else []
        return "; ".join([*told, *([str(self.files)] if self.files.exists() else [])])


@dataclass(frozen=True, slots=True)
class Mending:
    """Keeps and restores what differs between two looks."""

    repo: Repo
    shadow: Shadow
    before: Seen
    now: Seen
    keeping: Keeping

    @property
    def own(self) -> Own:
        """Git's own files."""
        return Own(self.repo)

    async def keep(self, findings: Sequence[Finding]) -> frozenset[str]:
        """Keep what there is instead of what there was; return the files that the patch holds."""
        there = [f.name for f in findings if f.kind in {Kind.ADDED, Kind.CHANGED}]
        gone = [f.name for f in findings if f.kind is Kind.DELETED]
        fit = self._fitting(there)
        if fit or gone:
            text = await self.shadow.patch(fit, gone)
            self._write(self.keeping.patch, text.encode("utf-8", "surrogateescape"))
        for finding in findings:
            self._keep_bytes(finding)
        return frozenset(fit)

    def _fitting(self, paths: Iterable[str]) -> list[str]:
        """Return the files that a patch has room for."""
        room = _MOST_PATCH_BYTES
        fit: list[str] = []
        for path in paths:
            stamp = self.now.stamps.get(path)
            if stamp and self.now.side.files[path].oid and stamp.size <= room:
                room -= stamp.size
                fit.append(path)
        return fit

    def _keep_bytes(self, finding: Finding) -> None:
        match finding.kind:
            case Kind.HEAD | Kind.INDEX | Kind.CONFIG | Kind.HOOK | Kind.INFO:
                name = _OWN.get(finding.kind, finding.name)
                self._write_raw(f"git/{name}", self.now.own.get(name))
            case Kind.IGNORED_CHANGED:  # the old one: the new one stays where it is
                self._write_raw(f"before/{finding.name}", self.before.lent.get(finding.name))
            case _:
                return

    def _write_raw(self, name: str, raw: Raw | None) -> None:
        if raw is not None:
            self.keeping.files.mkdir(parents=True, exist_ok=True)
            put(self.keeping.files, name, raw)

    def _write(self, path: Path, data: bytes) -> None:
        if data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    async def restore(
        self, findings: Sequence[Finding], held: frozenset[str]
    ) -> tuple[Blocked, ...]:
        """Put back what these findings tell of; return what could not be.

        What a patch has `held` is written over; other files are moved to where they are kept.
        """
        blocked = [self._restore_own(one) for one in findings if one.kind not in FILES]
        blocked += await self._restore_stash([f.old for f in findings if f.kind is Kind.STASH])
        files = [one for one in findings if one.kind in FILES]
        added = [one.name for one in files if one.kind is Kind.ADDED]
        blocked += [self._clear(path, held) for path in reversed(added)]
        spared = self._spared() if added else frozenset()
        for path in reversed(added):
            drop_empty(self.repo.project, PurePosixPath(path).parent, spared)
        blocked += await self._rewrite([f.name for f in files if f.kind is not Kind.ADDED], held)
        return tuple(one for one in blocked if one is not None)

    def _restore_own(self, finding: Finding) -> Blocked | None:
        match finding.kind:
            case Kind.HEAD | Kind.INDEX | Kind.CONFIG | Kind.HOOK | Kind.INFO:
                name = _OWN.get(finding.kind, finding.name)
                return self.own.put(name, self.before.own.get(name))
            case Kind.IGNORED_DELETED:
                return put(self.repo.project, finding.name, self.before.lent[finding.name])
            case _:
                return None

    async def _restore_stash(self, gone: Sequence[str]) -> list[Blocked | None]:
        if not gone:
            return []
        was = self.before.own[STASH_LOG]
        log = with_entries(was, self.now.own.get(STASH_LOG))
        top = log.splitlines()[-1].split(b" ", 2)[1].decode()
        await self.repo.create_ref("refs/stash", Commit(top))
        return [self.own.put(STASH_LOG, Raw(was.mode, was.mtime_ns, log))]

    # --- afterwards ------------------------------------------------------------------------------

    def is_misled(self, restored: Sequence[Finding]) -> bool:
        """Say whether the look rests on a list of what to ignore that somebody had changed."""
        return any(PurePosixPath(one.name).name == _IGNORE for one in restored)

    async def settle(self, blocked: frozenset[str], *, misled: bool = False) -> Seen:
        """Return what the next look is compared with: as before, and what was only told as now.

        What is in `blocked` could not be put back, and will be found again.
        """
        own = self.own.load()
        own |= {name: raw for name, raw in self.before.own.items() if name in blocked}
        files = await self._settled_files()
        seen = self.before if misled else self.now
        lent = {**seen.lent, **{p: r for p, r in self.before.lent.items() if p not in seen.lent}}
        side = replace(
            self.before.side,
            files=files,
            ignored=self._settled_ignored(seen.side),
            refs=self.now.side.refs,
            slots=self.now.side.slots,
            stash=stash_entries(own),
        )
        return replace(self.before, side=side, stamps=self._settled_stamps(), own=own, lent=lent)

    async def _settled_files(self) -> dict[str, Kept]:
        """Return the files as they were; those of specs as they are now, to come back so."""
        written = written_specs(self.before.side, self.now.side)
        await self.shadow.take_in(written)
        there = self.now.side.files
        return {**self.before.side.files, **{path: there[path] for path in written}}

    def _settled_ignored(self, seen: Side) -> dict[str, Kept]:
        """Return what is ignored: what was put back is there again, what was moved away is not."""
        paths = {**self.before.side.ignored, **seen.ignored}
        return {p: kept for p, kept in paths.items() if os.path.lexists(self.repo.project / p)}

    def _settled_stamps(self) -> dict[str, Stamp]:
        there, was = self.now.side.files, self.before.side.files
        mended = [
            path
            for path in self.before.stamps
            if path not in self.now.stamps or there.get(path) != was.get(path)
        ]
        found = {path: find_stamp(self.repo.project / path) for path in mended}
        return {**self.now.stamps, **{path: stamp for path, stamp in found.items() if stamp}}

    # --- files -----------------------------------------------------------------------------------

    def _clear(self, path: str, held: frozenset[str]) -> Blocked | None:
        """Make room for what was at a path; what no patch holds is moved to where it is kept."""
        where = self.repo.project / path
        if find_stamp(where) != self.now.stamps.get(path):
            return Blocked(path, "it was written since")
        if path in held:
            return put(self.repo.project, path, None)
        return self._move(path)

    def _move(self, path: str) -> Blocked | None:
        """Move what is at a path to where it is kept, unless there is nothing."""
        where = self.repo.project / path
        if not os.path.lexists(where) or _is_empty(where):
            return None
        return move_aside(where, self.keeping.files / path)

    def _spared(self) -> frozenset[str]:
        """Return the folders that were there."""
        held = {str(PurePosixPath(path).parent) for path in self.before.side.files}
        above = {
            str(one) for path in held for one in (PurePosixPath(path), *PurePosixPath(path).parents)
        }
        return frozenset({*(f"{one}/" for one in above), *self.before.folders})

    async def _rewrite(self, paths: Sequence[str], held: frozenset[str]) -> list[Blocked | None]:
        """Put back files that were changed or deleted."""
        if not paths:
            return []
        out = self.shadow.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        await self.shadow.export(paths, out)
        try:
            return await asyncio.to_thread(self._rewrite_all, paths, out, held)
        finally:
            shutil.rmtree(out, ignore_errors=True)

    def _rewrite_all(
        self, paths: Sequence[str], out: Path, held: frozenset[str]
    ) -> list[Blocked | None]:
        return [self._rewrite_one(path, out / path, held) for path in paths]

    def _rewrite_one(self, path: str, source: Path, held: frozenset[str]) -> Blocked | None:
        raw = load(source, _MOST_RESTORED_BYTES)
        if raw is None:
            return Blocked(path, "there is no copy of it, or a very large one")
        where = self.repo.project / path
        if find_stamp(where) != self.now.stamps.get(path):
            return Blocked(path, "it was written since")
        if path not in held and (blocked := self._move(path)):
            return blocked
        was = self.before.side.files[path]
        stamp = self.before.stamps[path]
        return put(self.repo.project, path, Raw(was.mode, stamp.mtime_ns, raw.data))


def _is_empty(path: Path) -> bool:
    """Say whether that is a folder with nothing in it."""
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())
