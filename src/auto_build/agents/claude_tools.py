"""What Claude's tools do, in our words: what kind of access, to which files, in one line.

Paths come out absolute and with every link followed, as the rules want them. They are read as
Claude reads them: blanks around a path do not count, and `~` is the home folder.
"""

import os.path
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from auto_build.policy.permission import Access, Request

QUESTION: Final = "AskUserQuestion"
SHELL: Final = "Bash"
READERS: Final = ("Read", "Glob", "Grep")

# what an agent that nobody watches has no use for: people, later, elsewhere
WITHHELD: Final = (
    "EnterPlanMode",
    "ExitPlanMode",
    "EnterWorktree",
    "ExitWorktree",
    "CronCreate",
    "CronDelete",
    "CronList",
    "ScheduleWakeup",
)

_ACCESS: Final[Mapping[str, Access]] = MappingProxyType(
    {
        "Write": Access.WRITE,
        "Edit": Access.WRITE,
        "MultiEdit": Access.WRITE,
        "NotebookEdit": Access.WRITE,
        SHELL: Access.RUN,
        "Read": Access.READ,
        "Glob": Access.READ,
        "Grep": Access.READ,
        "LS": Access.READ,
    }
)
_PATHS: Final = ("file_path", "notebook_path", "path")
_TELLING: Final = ("command", "pattern", "description", "query", "url", "skill")
_WORDS: Final = 160


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent works: its worktree, and its home folder."""

    root: str
    home: str

    def resolve(self, path: str) -> str:
        """Return where a path that Claude names leads to; it need not exist."""
        bare = path.strip()
        if bare == "~" or bare.startswith("~/"):
            bare = self.home + bare[1:]
        return os.path.realpath(os.path.join(self.root, bare))  # noqa: PTH118 - os.path throughout


def is_change(tool: str) -> bool:
    """Say whether a tool can change something: it writes or it runs."""
    return _ACCESS.get(tool) in {Access.WRITE, Access.RUN}


def request_of(tool: str, given: Mapping[str, Any], place: Place) -> Request:
    """Return what a tool call asks to do."""
    paths = tuple(
        place.resolve(given[key])
        for key in _PATHS
        if isinstance(given.get(key), str) and given[key]
    )
    return Request(_ACCESS.get(tool, Access.OTHER), in_words(tool, given, place), paths)


def in_words(tool: str, given: Mapping[str, Any], place: Place) -> str:
    """Return a tool call in one short line: the tool, and the file or command."""
    for key in (*_PATHS, *_TELLING):
        value = given.get(key)
        if isinstance(value, str) and value.strip():
            told = _inside(value.strip(), place) if key in _PATHS else value
            line = " ".join(f"{tool} {told}".split())
            return line if len(line) <= _WORDS else f"{line[: _WORDS - 1]}…"
    return tool


def _inside(path: str, place: Place) -> str:
    return path.removeprefix(place.root.rstrip("/") + "/")


def may_unasked(tool: str, allow: Iterable[str]) -> bool:
    """Say whether a tool as a whole is among those that may be used without asking."""
    return any(rule.strip() in {tool, f"{tool}()", f"{tool}(*)"} for rule in allow)
