"""The journal: what happened, in order, in SQLite beneath `.git/auto-build/`; and the run lock.

Invariants: an event is on the disk before `append` returns; one process writes at a time, which the
run lock sees to; readers never block the writer. This module owns the clock.
"""

import fcntl
import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from auto_build.core.codec import decode_event, encode_event
from auto_build.core.events import Event
from auto_build.errors import EnvironmentUnfit, RunLocked

FILE: Final = "journal.db"
_BUSY_S: Final = 10.0
_LEASE_S: Final = 60.0
_POLL_S: Final = 0.05
_GLANCE_S: Final = 1.0  # longer than `find_holder` holds the lock to see whether it is free
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS event (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    spec TEXT NOT NULL,
    at   REAL NOT NULL,
    body TEXT NOT NULL CHECK (json_valid(body))
) STRICT;
CREATE INDEX IF NOT EXISTS event_of_spec ON event (spec, seq);
"""


@dataclass(frozen=True, slots=True)
class Record:
    """An event as it was journaled: its number, and its time in seconds since the epoch (UTC)."""

    seq: int
    at: float
    event: Event


class Journal:
    """The events of one spec's runs."""

    def __init__(self, connection: sqlite3.Connection, spec: str) -> None:
        self._db = connection
        self._spec = spec

    @classmethod
    def open(cls, folder: Path, spec: str) -> "Journal":
        """Open the journal in `folder` for writing; make it where there is none.

        Raises:
            EnvironmentUnfit: it cannot be written, or a later version wrote it.
        """
        with _in_words(folder):
            folder.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(folder / FILE, timeout=_BUSY_S, isolation_level=None)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            version: int = db.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise EnvironmentUnfit(
                    f"{folder / FILE} was written by a later version of auto-build",
                    hint="update auto-build",
                )
            db.executescript(_SCHEMA)
            db.execute(f"PRAGMA user_version={_VERSION}")
        return cls(db, spec)

    @classmethod
    def find(cls, folder: Path, spec: str) -> "Journal | None":
        """Open the journal for reading only; None where there is none."""
        path = folder / FILE
        if not path.exists():
            return None
        with _in_words(folder):
            uri = f"{path.as_uri()}?mode=ro"
            db = sqlite3.connect(uri, timeout=_BUSY_S, isolation_level=None, uri=True)
            return cls(db, spec)

    def append(self, event: Event) -> Record:
        """Write one event durably and return its record."""
        at = time.time()  # noqa: TID251 - the clock's home
        body = json.dumps(encode_event(event))
        with _in_words(Path(FILE)):
            cursor = self._db.execute(
                "INSERT INTO event (spec, at, body) VALUES (?, ?, ?)", (self._spec, at, body)
            )
        return Record(cursor.lastrowid or 0, at, event)

    def history(self, *, after: int = 0) -> list[Record]:
        """Return the records numbered above `after`, oldest first.

        Raises:
            EnvironmentUnfit: a row cannot be read back.
        """
        query = "SELECT seq, at, body FROM event WHERE spec = ? AND seq > ? ORDER BY seq"
        with _in_words(Path(FILE)):
            rows = self._db.execute(query, (self._spec, after)).fetchall()
            return [Record(seq, at, decode_event(json.loads(body))) for seq, at, body in rows]

    def specs(self) -> list[str]:
        """Return every spec that has events, the latest last."""
        query = "SELECT spec FROM event GROUP BY spec ORDER BY max(seq)"
        with _in_words(Path(FILE)):
            return [name for (name,) in self._db.execute(query)]

    def close(self) -> None:
        """Let the file go."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def now() -> float:
    """Return the time in seconds since the epoch (UTC)."""
    return time.time()  # noqa: TID251 - the clock's home


@contextmanager
def _in_words(where: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise _unusable(where, error) from error
        raise EnvironmentUnfit(
            f"the journal in {where} is damaged: {error}",
            hint="move it aside and run again: what has landed is read from git",
        ) from error
    except (sqlite3.Error, OSError) as error:
        raise _unusable(where, error) from error
    except (ValueError, ValidationError) as error:
        raise EnvironmentUnfit(
            f"the journal holds an entry that this version cannot read: {error}",
            hint="update auto-build",
        ) from error


def _unusable(where: Path, error: Exception) -> EnvironmentUnfit:
    return EnvironmentUnfit(
        f"the journal in {where} cannot be used: {error}",
        hint="the .git folder must be writable and have space left; nothing was lost, run the"
        " same command again afterwards",
    )


class Holder(BaseModel, frozen=True):
    """Who holds the run lock."""

    pid: int
    host: str
    spec: str
    since: float


class RunLock:
    """One run at a time in a repository.

    While it is held, `lease` is an open lock that every program the run starts inherits. The next
    run waits until all of those are gone, so that it never meets a killed run's agents.
    """

    def __init__(self, lock: FileLock, lease: int) -> None:
        self._lock = lock
        self.lease = lease

    @classmethod
    def acquire(
        cls, folder: Path, spec: str, *, tidy: Callable[[], object] = lambda: None
    ) -> "RunLock":
        """Take the lock; `tidy` is called once no other run is alive, before the lease is awaited.

        Raises:
            RunLocked: another run holds it, or something that a killed run started lives on.
            EnvironmentUnfit: the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / "run.lock")
            lock.acquire(timeout=_GLANCE_S)
            try:
                tidy()
                lease = _lease(folder / "lease")
                me = Holder(pid=os.getpid(), host=socket.gethostname(), spec=spec, since=now())
                (folder / "run.json").write_text(me.model_dump_json())
            except BaseException:
                lock.release()
                raise
        except Timeout as error:
            raise _held(folder) from error
        except OSError as error:
            raise EnvironmentUnfit(
                f"{folder} cannot be written: {error.strerror}",
                hint="the .git folder must be writable and have space left on its disk",
            ) from error
        return cls(lock, lease)

    def release(self) -> None:
        """Let the next run in."""
        os.close(self.lease)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def find_holder(folder: Path) -> Holder | None:
    """Return who holds the run lock now; None where nobody does."""
    path = folder / "run.lock"
    if not path.exists():
        return None
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return _load_holder(folder)
    except OSError:  # it cannot even be opened: nobody can build here
        return None
    lock.release()
    return None


def _load_holder(folder: Path) -> Holder:
    with suppress(OSError, ValidationError):
        return Holder.model_validate_json((folder / "run.json").read_text())
    return Holder(pid=0, host="", spec="", since=0.0)


def _held(folder: Path) -> RunLocked:
    holder = find_holder(folder)
    who = f"process {holder.pid} on {holder.host}, building {holder.spec}" if holder else "it ended"
    return RunLocked(
        f"another run holds this repository: {who}",
        hint="wait for it, look at it with --status, or stop it with Ctrl-C where it runs",
    )


def _lease(path: Path) -> int:
    """Return an inheritable shared lock on `path`, once nothing holds it any more."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    limit = time.monotonic() + _LEASE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if time.monotonic() > limit:
                os.close(file)
                raise RunLocked(
                    f"programs that an earlier run started are still alive after {_LEASE_S:.0f} s",
                    hint=f"find them with: lsof {path}",
                ) from None
            time.sleep(_POLL_S)
    fcntl.flock(file, fcntl.LOCK_SH)
    return file
