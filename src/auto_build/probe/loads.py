"""Notes which files of the user's checkout a command loads that runs in a worktree.

Python programs write them down through a sitecustomize of ours; node writes a coverage report for
each of its processes, which names every script. Programs in other languages, and Python programs
that take no notice of PYTHONPATH (`python -I`, a tox that does not pass it on), tell nothing.

Invariant: what is noted is the truth or too little, never more than was loaded.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_PYTHON: Final = str(Path(__file__).resolve().with_name("python"))
_APART: Final = (".worktrees", ".git")  # folders of the project that are not the user's checkout
_LOG: Final = "python.log"
_NODE: Final = "node"
_LOG_BYTES: Final = 8 * 1024 * 1024  # what of the log is read; sitecustomize.py writes half of it
_REPORT_BYTES: Final = 50 * 1024 * 1024  # a report that is larger is not read
_REPORTS_BYTES: Final = 500 * 1024 * 1024  # of all reports of node together
# A quote inside of a JSON string is escaped, so that this is found nowhere but as a key: a report
# need not be whole, and need not be held in memory as objects.
_URL: Final = re.compile(rb'"url":\s*("(?:file:|/)(?:[^"\\]|\\.)*")')


@dataclass(frozen=True, slots=True)
class Tracer:
    """Notes which files of the user's checkout a command loads that runs somewhere else.

    `project` is the user's checkout, an absolute path with every link followed; `folder` is an
    empty folder of ours for what is noted.
    """

    project: Path
    folder: Path

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return `env` with what the tracing needs added, for the command to be run with."""
        paths = [_PYTHON, *filter(None, [env.get("PYTHONPATH", "")])]
        return {
            **env,
            "PYTHONPATH": os.pathsep.join(paths),
            "AUTO_BUILD_PROBE_UNDER": str(self.project),
            "AUTO_BUILD_PROBE_EXCEPT": os.pathsep.join(self._apart()),
            "AUTO_BUILD_PROBE_LOG": str(self.folder / _LOG),
            "NODE_V8_COVERAGE": env.get("NODE_V8_COVERAGE") or str(self.folder / _NODE),
        }

    def loaded(self) -> tuple[str, ...]:
        """Return the files of the user's checkout that were loaded: real paths, sorted."""
        return tuple(sorted({*self._by_python(), *self._by_node()}))

    def _apart(self) -> tuple[str, ...]:
        return tuple(str(self.project / name) for name in _APART)

    def _is_users(self, path: str) -> bool:
        below = Path(path).is_relative_to
        return below(self.project) and not any(map(below, self._apart()))

    def _by_python(self) -> Iterator[str]:
        with suppress(OSError), (self.folder / _LOG).open("rb") as log:
            lines = log.read(_LOG_BYTES).decode("utf-8", "surrogateescape").split("\n")
            yield from filter(self._is_users, lines[:-1])

    def _by_node(self) -> Iterator[str]:
        for report in _reports(self.folder / _NODE):
            yield from filter(self._is_users, _scripts(report))


def _reports(folder: Path) -> Iterator[bytes]:
    """Return node's reports one after the other, within the limits."""
    left = _REPORTS_BYTES
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError):
            size = path.stat().st_size
            if size <= min(left, _REPORT_BYTES):
                left -= size
                yield path.read_bytes()


def _scripts(report: bytes) -> Iterator[str]:
    """Return the files that a report names, as URLs or absolute paths; real paths."""
    for found in set(_URL.findall(report)):
        with suppress(ValueError):  # no JSON, no URL, or no path
            url = urlsplit(str(json.loads(found)))
            yield os.path.realpath(unquote(url.path))
