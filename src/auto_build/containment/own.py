"""git's own files on the user's side: HEAD, index, settings, info, hooks and the stash's log.

They are read and written directly, for a git whose settings are broken cannot be asked. Names are
those that git gives them; nothing is read or written through a link.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auto_build.containment.places import Blocked, Raw, Stamp, find_stamp, load, put
from auto_build.git.repo import Repo

HEAD: Final = "HEAD"
INDEX: Final = "index"
CONFIG: Final = "config"
STASH_LOG: Final = "logs/refs/stash"
_OF_WORKTREE: Final = (HEAD, INDEX, "config.worktree")
_FOLDERS: Final = ("info", "hooks")
_NOT_WATCHED: Final = frozenset({"info/refs"})  # written by `git gc`
_MOST_BYTES: Final = 64 * 1024 * 1024
_HEAD: Final = re.compile(rb"(ref: refs/[^\n]+|[0-9a-f]{40,64})\n?\Z")


@dataclass(frozen=True, slots=True)
class Own:
    """Where git's own files are, and what they hold."""

    repo: Repo

    def place(self, name: str) -> tuple[Path, str]:
        """Return the folder that a file's name is relative to, and that name."""
        return (self.repo.git_dir if name in _OF_WORKTREE else self.repo.common_dir), name

    def path(self, name: str) -> Path:
        """Return where a file is."""
        return Path(*self.place(name))

    def load(self) -> dict[str, Raw]:
        """Return every file that is watched, and what is in it."""
        found = {name: load(self.path(name), _MOST_BYTES) for name in self._names()}
        return {name: raw for name, raw in found.items() if raw is not None}

    def _names(self) -> Iterator[str]:
        yield from (*_OF_WORKTREE, CONFIG, STASH_LOG)
        for folder in _FOLDERS:
            path = self.repo.common_dir / folder
            if path.is_symlink():
                yield folder
                continue
            with suppress(OSError):
                names = sorted(f"{folder}/{inner.name}" for inner in path.iterdir())
                yield from (name for name in names if name not in _NOT_WATCHED)

    def put(self, name: str, raw: Raw | None) -> Blocked | None:
        """Write a file as it was, or remove it; an index only where no git is at work on it."""
        root, relative = self.place(name)
        if name != INDEX:
            return put(root, relative, raw)
        lock = f"{INDEX}.lock"
        try:
            os.close(os.open(root / lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            return Blocked(name, f"{root / lock}: {error.strerror}")
        try:
            return put(root, relative, raw)
        finally:
            (root / lock).unlink(missing_ok=True)

    def locks(self) -> frozenset[Stamp]:
        """Return the locks that a git holds while it writes the user's index or HEAD."""
        found = (find_stamp(self.repo.git_dir / f"{one}.lock") for one in (INDEX, HEAD))
        return frozenset(stamp for stamp in found if stamp is not None)


def is_head(raw: Raw | None) -> bool:
    """Say whether that is a HEAD which git can read."""
    return raw is not None and stat.S_ISREG(raw.mode) and _HEAD.match(raw.data) is not None


def head_text(raws: Mapping[str, Raw]) -> str:
    """Return what HEAD says."""
    raw = raws.get(HEAD)
    return os.fsdecode(raw.data).strip() if raw else ""


def stash_entries(raws: Mapping[str, Raw]) -> tuple[str, ...]:
    """Return the ids of the stash's entries, the newest first."""
    raw = raws.get(STASH_LOG)
    lines = raw.data.splitlines() if raw else []
    return tuple(line.split(b" ", 2)[1].decode() for line in reversed(lines) if b" " in line)


def with_entries(was: Raw, there: Raw | None) -> bytes:
    """Return the stash's log with all entries of `was`, and those that came since on top."""
    lines = was.data.splitlines(keepends=True)
    since = there.data.splitlines(keepends=True) if there else []
    known = {_entry(line) for line in lines}
    return b"".join([*lines, *(line for line in since if _entry(line) not in known)])


def _entry(line: bytes) -> bytes:
    """Return what stays of an entry's line when one below it is dropped: git rewrites the first."""
    return line.partition(b" ")[2]
