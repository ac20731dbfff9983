"""How commands speak: text for people, one JSON value for programs, and errors in one form."""

import codecs
import io
import json
import os
import sys
from dataclasses import asdict, dataclass, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from typing_extensions import override

from auto_build.errors import AutoBuildError

_WIDTH: Final = 100


class _Screen(Console):
    """A console that leaves it to its user what a broken pipe means."""

    @override
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


@dataclass(frozen=True, slots=True)
class Out:
    """Where a command's answer goes: `json` asks for one JSON value on standard output.

    With `lines` a value is printed on one line, for answers that consist of several.
    """

    json: bool = False
    lines: bool = False

    @property
    def console(self) -> Console:
        """The terminal, or a plain pipe that is never wrapped at 80 columns."""
        plain = _Screen(highlight=False, emoji=False)
        if plain.is_terminal or "COLUMNS" in os.environ:
            return plain
        return _Screen(highlight=False, emoji=False, width=_WIDTH, soft_wrap=True)

    def value(self, value: object) -> None:
        """Print a value as JSON."""
        indent = None if self.lines else 2
        click.echo(json.dumps(plain(value), indent=indent, ensure_ascii=False))

    def text(self, line: str = "") -> None:
        """Print a line for people."""
        click.echo(line)


def plain(value: Any) -> Any:
    """Return a value as plain JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    match value:
        case Enum():
            return value.value
        case Path():
            return str(value)
        case dict():
            return {str(plain(key)): plain(one) for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(one) for one in value]
        case _:
            return value


def prepare_streams() -> None:
    """Let every text be written, whatever the terminal's encoding and whatever git printed."""
    codecs.register_error("auto-build", _spell)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="auto-build")


def _spell(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write bytes that were no text as they came, and what an encoding lacks as `?`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    one = error.object[error.start]
    came_as_byte = "\udc80" <= one <= "\udcff"
    return (bytes([ord(one) & 0xFF]) if came_as_byte else "?"), error.start + 1


def is_terminal() -> bool:
    """Say whether somebody is there to be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def silence_stdout() -> None:
    """Write to nowhere from now on: whoever read standard output has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_error(error: AutoBuildError, *, as_json: bool) -> None:
    """Print what went wrong and the way out, on standard error; as JSON on standard output."""
    if as_json:
        told = {"error": str(error), "hint": error.hint, "exit_code": error.exit_code}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    click.echo(click.style("error: ", fg="red", bold=True) + str(error), err=True)
    if error.hint:
        click.echo(f"  what to do: {error.hint}", err=True)
