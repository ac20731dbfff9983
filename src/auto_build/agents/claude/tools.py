"""What Claude's tools do, in our words, and whether they may be used.

Paths come out absolute and with every link followed, as the rules want them. They are read as
Claude reads them: blanks around a path do not count, and `~` is the home folder.
"""

import os.path
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from auto_build.policy.permission import Access, Deny, Permit, Request

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
_NOBODY: Final = (
    "Nobody is there to answer. Decide it yourself as well as you can from what you were told;"
    " where you cannot, end, and say as your last sentence what you need to know."
)


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


@dataclass(frozen=True, slots=True)
class Rules:
    """What the agent `name` may do in its place; `allow` are the tools that it need not ask for."""

    name: str
    allow: tuple[str, ...]
    place: Place

    def refuse(self, tool: str, given: Mapping[str, Any], permit: Permit, *, unasked: bool) -> str:
        """Return why a tool may not be used; empty where it may.

        Claude asks twice: always before it uses a tool (`unasked`), and once more where none of its
        own rules allows it.
        """
        request = request_of(tool, given, self.place)
        if tool == QUESTION:
            return _NOBODY
        decision = permit(request)
        if isinstance(decision, Deny):
            return decision.why
        if unasked or request.access in {Access.READ, Access.WRITE}:
            return ""
        return "" if may_unasked(tool, self.allow) else self._not_allowed(tool)

    def _not_allowed(self, tool: str) -> str:
        return (
            f"{tool} in this form is not among the tools that may be used here"
            f" (`allow` of [agents.{self.name}] in auto-build.toml): do it another way."
        )
