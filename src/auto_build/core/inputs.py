"""Which files the verdict of a verification command can depend on.

Invariant: never too few. A command line counts as readable only if every letter of it is of a kind
listed here, every program is one of a few that read nothing but what they are told to, and every
option is known not to read more; anything else may depend on everything.

What is found are names in a line of text. It is the caller, who sees the repository, that may rely
on them only where each is a regular file that git tracks: a link leads elsewhere, and what a folder
holds, or what git ignores, changes unseen. That leaves `.gitattributes`, which decides how a file
is checked out, to the caller too. The environment (PATH, BASH_ENV) is taken to stay the same.

The words are not split by `shlex`: it takes the quotes off before one can ask whether `'&&'` and
`'$x'` were inside of them, which decides everything here.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from getopt import GetoptError, getopt
from itertools import chain
from types import MappingProxyType
from typing import Final

# no letter that bash or sh reads in a way of its own, unless it is spelled out here
_END: Final = r"(?=[ \t;|&]|\Z)"
_TOKEN: Final = re.compile(
    rf"""
    (?P<blank> [ \t]+ )
    | (?P<joint> && | \|\| | ; | \| )
    | (?P<redirection> (?: 2>&1 | (?: [12]? | & )>[ \t]*/dev/null ) {_END} )
    | (?P<word>
        (?: ! | \[\[? | \]\]?                # these as words of their own only
          | (?: [A-Za-z0-9_\-./:,+@%=^]++    # neither glob, brace, variable, comment nor home
              | \\ [^\n\0]                   # an escaped letter stands for itself
              | ' [^'\0]*+ '
              | " (?: [^"\\$`\0] | \\ [^\n\0] )*+ "
            )++
        ) {_END}
      )
    """,
    re.VERBOSE,
)
_PIECE: Final = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^'"\\]+)""", re.DOTALL)
_ESCAPED_IN_QUOTES: Final = re.compile(r'\\(["\\$`])')  # any other backslash stays one

# the options as getopt takes them, `:` after one that has a value
_GREP: Final = "EFiqcnwvrRlose:A:B:C:"
_LONG: Final = ("quiet", "recursive", "fixed-strings", "extended-regexp", "ignore-case", "count")
_RECURSIVE: Final = frozenset({"-r", "-R", "--recursive"})
_OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {"cat": "", "head": "n:c:", "tail": "n:c:", "wc": "lwcm", "sort": "nruk:t:", "uniq": "cdu"}
)
_LINES: Final = re.compile("-[0-9]+")  # head -20; a letter after it would have another meaning
# those of access and kind, not those that compare times: a checkout sets these
_ABOUT_A_FILE: Final = frozenset({"-e", "-f", "-d", "-s", "-r", "-w", "-x"})


def inputs_of(command: str) -> frozenset[str] | None:
    """Return the paths on which the verdict of a shell command line can depend.

    The command is taken to run at the repository's top, without anything on its standard input.
    Paths are relative to the top, without `.` or a `/` at the end. None means that it may depend on
    anything.
    """
    commands = _commands(command.strip(" \t\n").removesuffix(";"))
    if commands is None:
        return None
    found: set[str] = set()
    for words, fed in commands:
        names = _named(words, fed=fed)
        if names is None:
            return None
        for name in names:
            parts = [part for part in name.split("/") if part not in {"", "."}]
            if not parts or ".." in parts or name.startswith(("/", "-")):
                return None
            found.add("/".join(parts))
    return frozenset(found)


def untouched(inputs: frozenset[str], changed: Iterable[str]) -> bool:
    """Say whether no changed path is one of the inputs, lies beneath one or is a folder above one.

    Case is ignored, since the file system may ignore it.
    """
    held = {_fold(path) for path in inputs}
    above = set(chain.from_iterable(_ends(path) for path in held))
    return all(path not in above and held.isdisjoint(_ends(path)) for path in map(_fold, changed))


def _fold(path: str) -> str:
    composed = unicodedata.normalize("NFC", path.strip("/"))
    return unicodedata.normalize("NFC", composed.casefold())


def _ends(path: str) -> Iterator[str]:
    """Return the path and each folder above it, the top (an empty text) among them."""
    yield path
    while path:
        path = path.rpartition("/")[0]
        yield path


# --- the shell -----------------------------------------------------------------------------------


def _commands(line: str) -> Sequence[tuple[Sequence[str], bool]] | None:
    """Return each command's words, and whether it is fed another's output; None if more is said."""
    words: list[str] = []
    commands = [(words, False)]
    at = 0
    while at < len(line):
        match = _TOKEN.match(line, at)
        if match is None:
            return None
        at = match.end()
        if match.lastgroup == "joint":
            words = []
            commands.append((words, match[0] == "|"))
        elif match.lastgroup == "word":
            words.append(
                "".join(
                    single + _ESCAPED_IN_QUOTES.sub(r"\1", double) + escaped + plain
                    for single, double, escaped, plain in _PIECE.findall(match[0])
                )
            )
    return commands


# --- programs: the names of the files that each reads, or None ------------------------------------


def _named(words: Sequence[str], *, fed: bool) -> Sequence[str] | None:
    match words[1:] if words[:1] == ["!"] else words:
        case ["true" | "false" | "echo", *_]:
            return ()
        case ["test", *asked] | ["[", *asked, "]"] | ["[[", *asked, "]]"]:
            return _tested(asked)
        case ["bash", "-n", script]:
            return (script,)
        case ["grep" | "egrep" | "fgrep", *arguments]:
            return _searched(arguments, fed=fed)
        case [program, *arguments] if program in _OPTIONS:
            return _operands(program, arguments, fed=fed)
        case _:
            return None


def _tested(words: Sequence[str]) -> Sequence[str] | None:
    """Return what `test` reads if it asks about files only (`! -f a -a -d b`)."""
    names: list[str] = []
    while True:
        match words:
            case ["!", *words]:
                pass
            case [asked, name] if asked in _ABOUT_A_FILE:
                return [*names, name]
            case [asked, name, "-a" | "-o", *words] if asked in _ABOUT_A_FILE:
                names.append(name)
            case _:
                return None


def _searched(arguments: Sequence[str], *, fed: bool) -> Sequence[str] | None:
    try:  # an option cut short is the same one to grep, or an error
        options, operands = getopt([*arguments], _GREP, _LONG)
    except GetoptError:
        return None
    given = {name for name, _ in options}
    names = operands if "-e" in given else operands[1:]
    return names if names or (fed and given.isdisjoint(_RECURSIVE)) else None


def _operands(program: str, arguments: Sequence[str], *, fed: bool) -> Sequence[str] | None:
    if program in {"head", "tail"} and arguments and _LINES.fullmatch(arguments[0]):
        arguments = arguments[1:]
    try:  # it ends the options at the first operand, as BSD does; one that follows is no name
        _, names = getopt([*arguments], _OPTIONS[program])
    except GetoptError:
        return None
    if program == "uniq" and len(names) > 1:  # a second one is written
        return None
    return names if names or fed else None
