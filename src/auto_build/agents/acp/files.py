"""Files that an agent has us read and write for it: in its worktree, and nowhere else."""

from pathlib import Path
from typing import Final

from auto_build.agents.acp.reading import Json, Tool, as_text, resolve
from auto_build.agents.acp.turn import Rules

_LIMIT: Final = 16 * 1024 * 1024  # bytes of a file that is read


class FileRefused(Exception):
    """It may not, or cannot, be done: the words are for the agent."""


def read_text(asked: Json, rules: Rules) -> str:
    """Return a file's text, or the lines of it that are asked for.

    Raises:
        FileRefused: it may not be read, or cannot be.
    """
    path = _require(asked, "read", rules)
    try:
        with path.open("rb") as file:
            text = file.read(_LIMIT).decode("utf-8", "replace")
    except OSError as error:
        raise FileRefused(f"{path}: {error.strerror}") from error
    line, limit = asked.get("line"), asked.get("limit")
    if not isinstance(line, int) and not isinstance(limit, int):
        return text
    first = max(0, line - 1) if isinstance(line, int) else 0
    lines = text.splitlines(keepends=True)[first:]
    return "".join(lines[: max(0, limit)] if isinstance(limit, int) else lines)


def write_text(asked: Json, rules: Rules) -> None:
    """Write a whole file.

    Raises:
        FileRefused: it may not be written, or cannot be.
    """
    path = _require(asked, "edit", rules)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_text(asked.get("content")), encoding="utf-8", newline="")
    except (OSError, UnicodeEncodeError) as error:
        raise FileRefused(f"{path} cannot be written: {error}") from error


def _require(asked: Json, kind: str, rules: Rules) -> Path:
    named = as_text(asked.get("path"))
    path = resolve(named, rules.root)
    if not path.startswith(rules.root.rstrip("/") + "/"):
        raise FileRefused(
            f"{named or 'what is not named'} is outside of your worktree {rules.root}:"
            " keep beneath that folder."
        )
    if why := rules.refuse(Tool("", kind=kind, paths=(named,))):
        raise FileRefused(why)
    return Path(path)
