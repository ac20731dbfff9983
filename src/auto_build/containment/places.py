"""Reading and putting back single files, without following a link anywhere on the way.

Invariant: a file is replaced in one step, by one that has its content, mode and time already.
"""

import errno
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FRESH: Final = ".auto-build-new"


@dataclass(frozen=True, slots=True)
class Raw:
    """A file, or a link and where it leads: its mode as `lstat` has it, its time and its bytes."""

    mode: int
    mtime_ns: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Blocked:
    """What could not be put back, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells that a file was written: a file that has the same one is the same."""

    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def find_stamp(path: str | Path) -> Stamp | None:
    """Return a file's or link's stamp; None where there is none, or something else."""
    try:
        at = os.lstat(path)
    except OSError:
        return None
    if not (stat.S_ISREG(at.st_mode) or stat.S_ISLNK(at.st_mode)):
        return None
    return Stamp(at.st_mode, at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino)


def load(path: str | Path, most_bytes: int) -> Raw | None:
    """Return a file or link; None where there is none, or it is larger than `most_bytes`."""
    try:
        at = os.lstat(path)
        if stat.S_ISLNK(at.st_mode):
            return Raw(at.st_mode, at.st_mtime_ns, os.fsencode(Path(path).readlink()))
        if not stat.S_ISREG(at.st_mode) or at.st_size > most_bytes:
            return None
        with os.fdopen(os.open(path, _FILE), "rb") as file:
            data = file.read(most_bytes + 1)
    except OSError:
        return None
    return Raw(at.st_mode, at.st_mtime_ns, data) if len(data) <= most_bytes else None


def put(root: Path, name: str, raw: Raw | None) -> Blocked | None:
    """Write a file beneath `root` as it was, or remove it; say what stands in the way, if any."""
    try:
        folder = _open_folder(root, PurePosixPath(name).parent, make=raw is not None)
    except OSError as error:
        gone = raw is None and error.errno in {errno.ENOENT, errno.ENOTDIR}
        return None if gone else Blocked(name, error.strerror or "")
    last = PurePosixPath(name).name
    try:
        if raw is None:
            os.unlink(last, dir_fd=folder)
        else:
            _replace(folder, last, raw)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Blocked(name, error.strerror or "")
    finally:
        os.close(folder)
    return None


def _open_folder(root: Path, relative: PurePosixPath, *, make: bool) -> int:
    """Open a folder step by step, so that no link is followed; make what is missing."""
    here = os.open(root, _FOLDER)
    for part in relative.parts:
        try:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=here)
            inner = os.open(part, _FOLDER, dir_fd=here)
        finally:
            os.close(here)
        here = inner
    return here


def _replace(folder: int, name: str, raw: Raw) -> None:
    fresh = f".{name[:100]}{_FRESH}"
    with suppress(FileNotFoundError):
        os.unlink(fresh, dir_fd=folder)
    try:
        _write(folder, fresh, raw)
        with suppress(NotADirectoryError, FileNotFoundError):
            os.rmdir(name, dir_fd=folder)  # an empty folder in its place
        os.replace(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(fresh, dir_fd=folder)
        raise


def _write(folder: int, name: str, raw: Raw) -> None:
    if stat.S_ISLNK(raw.mode):
        os.symlink(os.fsdecode(raw.data), name, dir_fd=folder)
        times = (raw.mtime_ns, raw.mtime_ns)
        os.utime(name, ns=times, dir_fd=folder, follow_symlinks=False)
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb") as file:
        file.write(raw.data)
        file.flush()
        os.fchmod(file.fileno(), stat.S_IMODE(raw.mode))
        os.utime(file.fileno(), ns=(raw.mtime_ns, raw.mtime_ns))


def move_aside(source: Path, target: Path) -> Blocked | None:
    """Move whatever lies at `source` to `target`, as it is."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)
    except (OSError, shutil.Error) as error:
        return Blocked(str(source), str(error))
    return None


def drop_empty(root: Path, folder: PurePosixPath, spared: frozenset[str]) -> None:
    """Remove a folder and those above it, as long as they are empty and not among the `spared`."""
    while folder.parts and f"{folder}/" not in spared:
        try:
            (root / folder).rmdir()
        except OSError:
            return
        folder = folder.parent
