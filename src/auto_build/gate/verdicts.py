"""What is known of trees: which check was green on which, in which environment.

Only what is green is kept between runs: why something was red may have been the machine, and is
found out anew. The file is a cache; losing it costs time and nothing else.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS green (
    seq   INTEGER PRIMARY KEY AUTOINCREMENT,
    tree  TEXT NOT NULL,
    key   TEXT NOT NULL,
    env   TEXT NOT NULL,
    UNIQUE (tree, key, env)
) STRICT;
CREATE INDEX IF NOT EXISTS latest ON green (key, env, seq);
"""
_MOST: Final = 20_000  # rows that are kept, the newest
_BUSY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The cache in a file of its own; where that cannot be used, nothing is known."""

    path: Path

    def is_green(self, tree: str, key: str, env: str) -> bool:
        """Say whether a check was green on a tree, in an environment with this digest."""
        query = "SELECT 1 FROM green WHERE tree = ? AND key = ? AND env = ?"
        return self._ask(query, tree, key, env) is not None

    def last_green(self, key: str, env: str) -> str | None:
        """Return the tree on which a check was green last."""
        query = "SELECT tree FROM green WHERE key = ? AND env = ? ORDER BY seq DESC LIMIT 1"
        row = self._ask(query, key, env)
        return str(row[0]) if row else None

    def keep(self, tree: str, key: str, env: str) -> None:
        """Note that a check was green on a tree."""
        self._ask("INSERT OR REPLACE INTO green (tree, key, env) VALUES (?, ?, ?)", tree, key, env)
        self._ask("DELETE FROM green WHERE seq <= (SELECT max(seq) FROM green) - ?", _MOST)

    def _ask(self, query: str, *values: str | int) -> tuple[object, ...] | None:
        """Return the first row of an answer; None, too, where the file cannot be used."""
        try:
            with closing(sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)) as db:
                db.executescript(_SCHEMA)
                row: tuple[object, ...] | None = db.execute(query, values).fetchone()
                return row
        except sqlite3.OperationalError:  # busy, full, read-only: it is only a cache
            return None
        except sqlite3.DatabaseError:  # damaged: the next one begins with an empty one
            self.path.unlink(missing_ok=True)
            return None
