"""People's wishes on their way to the coordinator: retry, skip, pause, steer.

A wish is an event in waiting. It is left here by any command at any time; the coordinator takes it
when it can be granted, which for a run that is not going on is when the next one starts.
"""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from auto_build.core.codec import decode_event, encode_event
from auto_build.core.events import ChunkReset, ChunkSkipped, Event, RunPaused, Steered
from auto_build.errors import EnvironmentUnfit

FILE: Final = "inbox.db"
Wish = ChunkReset | ChunkSkipped | RunPaused | Steered
NOTE_LIMIT: Final = 20_000  # characters of the file that are read
_BUSY_S: Final = 10.0
_POLL_S: Final = 0.5
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS wish (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    spec TEXT NOT NULL,
    body TEXT NOT NULL CHECK (json_valid(body))
) STRICT
"""


class Inbox:
    """The wishes for one spec's build, in the order they were made.

    Where `note` is given, whatever is new in that file is one too.
    """

    def __init__(self, folder: Path, spec: str, note: "NoteFile | None" = None) -> None:
        self._path = folder / FILE
        self._spec = spec
        self._note = note

    def put(self, wish: Wish) -> None:
        """Leave a wish."""
        body = json.dumps(encode_event(wish))
        with self._open() as db:
            db.execute("INSERT INTO wish (spec, body) VALUES (?, ?)", (self._spec, body))

    def take(self) -> list[Event]:
        """Return every wish, and forget them."""
        said = self._note.take() if self._note else []
        return [*said, *self._take()]

    def _take(self) -> list[Event]:
        if not self._path.exists():
            return []
        with self._open() as db:
            query = "DELETE FROM wish WHERE spec = ? RETURNING id, body"
            rows: list[tuple[int, str]] = db.execute(query, (self._spec,)).fetchall()
        return [decode_event(json.loads(body)) for _, body in sorted(rows)]

    async def wait(self) -> list[Event]:
        """Wait until there is a wish; return all there are."""
        while True:
            if wishes := self.take():
                return wishes
            await asyncio.sleep(_POLL_S)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self._path, timeout=_BUSY_S)
            try:
                with db:
                    db.execute(_SCHEMA)
                    yield db
            finally:
                db.close()
        except (sqlite3.Error, OSError) as error:
            raise EnvironmentUnfit(
                f"{self._path} cannot be used: {error}",
                hint="the .git folder must be writable and have space left on its disk",
            ) from error


class NoteFile:
    """A file in which people tell the agents something; its whole content is what they say."""

    def __init__(self, path: Path, heard: str) -> None:
        self._path = path
        self._heard = heard

    def take(self) -> list[Event]:
        """Return what the file says, if that is new; a file that is gone says nothing."""
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")[:NOTE_LIMIT]
        except FileNotFoundError:
            text = ""
        except OSError as error:
            raise EnvironmentUnfit(f"{self._path} cannot be read: {error.strerror}") from error
        if text == self._heard:
            return []
        self._heard = text
        return [Steered(text, file=True)]
