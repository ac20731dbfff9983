"""What an agent says over the Agent Client Protocol, in our words. Pure, but for links in paths.

What it sends was written by somebody else's program: a field that is missing, or of another type
than the protocol has, counts as not said. Paths come out absolute and with every link followed.
"""

import os.path
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from auto_build.policy.permission import Access, Request

Json = dict[str, Any]
FINISHED: Final = frozenset({"completed", "failed"})
_BEGUN: Final = frozenset({"in_progress", *FINISHED})
_CHANGES: Final = frozenset({Access.WRITE, Access.RUN})
_WORDS: Final = 160
_ACCESS: Final[Mapping[str, Access]] = MappingProxyType(
    {
        "edit": Access.WRITE,
        "delete": Access.WRITE,
        "move": Access.WRITE,
        "execute": Access.RUN,
        "read": Access.READ,
        "search": Access.READ,
        "fetch": Access.OTHER,
        "think": Access.OTHER,
        "switch_mode": Access.OTHER,
        "other": Access.OTHER,
    }
)
_PATHS: Final = (
    "path",
    "file_path",
    "filePath",
    "filepath",
    "absolute_path",
    "notebook_path",
    "old_path",
    "new_path",
    "source",
    "destination",
)
_COMMANDS: Final = ("command", "cmd")


def as_map(value: Any) -> Json:
    """Return a JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return a JSON array; an empty one for anything else."""
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """Return a JSON string; an empty one for anything else."""
    return value if isinstance(value, str) else ""


def maps_in(value: Any) -> list[Json]:
    """Return the objects of a JSON array."""
    return [one for one in as_list(value) if isinstance(one, dict)]


def resolve(path: str, root: str) -> str:
    """Return where a path leads to that was named in the worktree `root`; it need not exist."""
    return os.path.realpath(os.path.join(root, path.replace("\0", "")))  # noqa: PTH118


# --- what it does --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tool:
    """A call of one of its tools, as far as it is known by now; `paths` as the agent names them."""

    id: str
    kind: str = ""
    title: str = ""
    status: str = ""
    command: str = ""
    paths: tuple[str, ...] = ()
    has_diff: bool = False

    def updated(self, told: Json) -> "Tool":
        """Return it with what is told anew; what is not told stays as it was."""
        given = as_map(told.get("rawInput"))
        paths = dict.fromkeys((*self.paths, *_paths_in(told, given)))
        return replace(
            self,
            kind=as_text(told.get("kind")) or self.kind,
            title=as_text(told.get("title")) or self.title,
            status=as_text(told.get("status")) or self.status,
            command=_command_in(given) or self.command,
            paths=tuple(paths),
            has_diff=self.has_diff or any(_diffs_in(told)),
        )

    @property
    def access(self) -> Access | None:
        """What kind of thing it does; None where that cannot be told."""
        if self.has_diff:
            return Access.WRITE
        if self.command:  # whatever it is called: Codex guesses what a command is for
            return Access.RUN
        return _ACCESS.get(self.kind)

    @property
    def changes(self) -> bool:
        """Whether it can change something: it writes or it runs."""
        return self.access in _CHANGES

    @property
    def is_known(self) -> bool:
        """Whether enough is known of it to say what it does."""
        return bool(self.command or self.paths) or self.status in _BEGUN

    def in_words(self, root: str) -> str:
        """Return it in one short line: what it does, and the file or command."""
        if self.access is Access.RUN and self.command:
            told = f"run {self.command}"
        elif self.paths and self.access in {Access.WRITE, Access.READ}:
            verb = self.kind if _ACCESS.get(self.kind) is self.access else "edit"
            told = f"{verb} {', '.join(_inside(path, root) for path in self.paths[:3])}"
        else:
            told = self.title or self.kind or "something that it does not name"
        return shorten(told)

    def request(self, root: str) -> Request:
        """Return what it asks to do."""
        paths = tuple(resolve(path, root) for path in self.paths)
        return Request(self.access or Access.OTHER, self.in_words(root), paths)


def shorten(text: str, limit: int = _WORDS) -> str:
    """Return a text in one line of at most `limit` characters."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _paths_in(told: Json, given: Json) -> Iterator[str]:
    places = (one.get("path") for one in (*maps_in(told.get("locations")), *_diffs_in(told)))
    named = (given.get(key) for key in _PATHS)
    return (path for path in (*places, *named) if isinstance(path, str) and path.strip())


def _diffs_in(told: Json) -> list[Json]:
    return [one for one in maps_in(told.get("content")) if one.get("type") == "diff"]


def _command_in(given: Json) -> str:
    for key in _COMMANDS:
        value = given.get(key)
        if isinstance(value, list):
            value = " ".join(str(word) for word in value)
        if isinstance(value, str) and value.strip():
            return value
    return ""


def _inside(path: str, root: str) -> str:
    return path.removeprefix(root.rstrip("/") + "/")


def choose(options: Iterable[Json], *, allow: bool) -> Json:
    """Return the outcome of a request for permission: once rather than always, or cancelled."""
    kinds = ("allow_once", "allow_always") if allow else ("reject_once", "reject_always")
    offered = {as_text(one.get("kind")): as_text(one.get("optionId")) for one in options}
    for kind in kinds:
        if offered.get(kind):
            return {"outcome": {"outcome": "selected", "optionId": offered[kind]}}
    return {"outcome": {"outcome": "cancelled"}}


# --- what it offers ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that can be chosen, and how: as option `option`, or by a method of its own."""

    value: str
    name: str
    option: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """What an agent lets be chosen in a conversation."""

    modes: tuple[Choice, ...] = ()
    models: tuple[Choice, ...] = ()

    @classmethod
    def read(cls, answer: Json) -> "Offer":
        """Read the answer to a request for a conversation."""
        modes, models = as_map(answer.get("modes")), as_map(answer.get("models"))
        offered = maps_in(models.get("availableModels"))
        current = {"modelId": as_text(models.get("currentModelId"))}
        options = maps_in(answer.get("configOptions"))
        return cls(
            (*_choices(maps_in(modes.get("availableModes")), "id"), *_options(options, "mode")),
            (*_options(options, "model"), *_choices([*offered, current], "modelId")),
        )


def find_choice(wanted: str, choices: Iterable[Choice]) -> Choice | None:
    """Return the first choice of that value; else the first of that name."""
    known = tuple(choices)
    by_value = (one for one in known if one.value == wanted)
    return next(by_value, next((one for one in known if one.name == wanted), None))


def _choices(told: list[Json], key: str) -> Iterator[Choice]:
    for one in told:
        if value := as_text(one.get(key)):
            yield Choice(value, as_text(one.get("name")))


def _options(told: list[Json], category: str) -> Iterator[Choice]:
    for option in told:
        if category not in {option.get("category"), option.get("id")}:
            continue
        entries = maps_in(option.get("options"))
        grouped = [inner for one in entries for inner in maps_in(one.get("options"))]
        current = {"value": option.get("currentValue")}
        for one in (*entries, *grouped, current):
            if value := as_text(one.get("value")):
                yield Choice(value, as_text(one.get("name")), as_text(option.get("id")))
