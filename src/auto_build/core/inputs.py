r"""Which files the verdict of a verification command can depend on.

Invariant: never too few. A command line counts as readable only if every letter of it is of a kind
listed here, every program is one of a closed list that reads nothing but what it is told to, and
every option is known not to read more; anything else may depend on everything.

What a path's content depends on besides itself is the caller's business, who sees the repository,
as this module sees a line of text: `.gitattributes` decides how a file is checked out; what an
input is, holds or lies under may be a symbolic link to somewhere else; and a file that git does not
track (because of `.gitignore`, say, like what a build leaves behind) changes without ever being
among the changed paths. The environment (PATH, PYTHONPATH, GREP_COLORS) is taken to stay the same.

The words are not split by `shlex`: it takes the quotes off before one can ask whether `'&&'` and
`'$x'` were inside of them, which decides everything here.
"""

import re
import sys
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain
from types import MappingProxyType
from typing import Final

_Inputs = frozenset[str]
_MANY: Final = 1 << 20  # more arguments than a command line can hold
_NOTHING: Final[_Inputs] = frozenset()
_END: Final = r"(?=[ \t;|&]|\Z)"

# no letter that bash or sh reads in a way of its own, unless it is spelled out here
_TOKEN: Final = re.compile(
    rf"""
    (?P<blank> [ \t]+ )
    | (?P<joint> && | \|\| | ; | \| )
    | (?P<redirection> (?: 2>&1 | (?: [12]? | & )>[ \t]*/dev/null ) {_END} )
    | (?P<standing> (?: ! | \[\[? | \]\]? ) {_END} )
    | (?P<word>
        (?: [A-Za-z0-9_\-./:,+@%=^]++        # neither glob, brace, variable, comment nor home
          | \\ [^\n\0]                       # an escaped letter stands for itself
          | ' [^'\0]*+ '
          | " (?: [^"\\$`\0] | \\ [^\n\0] )*+ "
        )++ {_END}
      )
    """,
    re.VERBOSE,
)
_PIECE: Final = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^'"\\]+)""", re.DOTALL)
_ESCAPED_IN_QUOTES: Final = re.compile(r'\\(["\\$`])')  # any other backslash stays one

# `python -m` looks at the top first, and takes what it finds there for the standard library
STANDARD_LIBRARY: Final[_Inputs] = frozenset(
    name + ending for name in sys.stdlib_module_names for ending in ("/", ".py", ".pyc", ".so")
)
# which release a program is, where asdf, mise, proto, pyenv or nodenv picks it
RELEASES: Final[_Inputs] = frozenset(
    {
        *(".tool-versions", "mise.toml", ".mise.toml", ".prototools"),
        *(".python-version", ".node-version", ".nvmrc"),
    }
)


def inputs_of(command: str) -> frozenset[str] | None:
    """Return the paths on which the verdict of a shell command line can depend.

    The command is taken to run at the repository's top, without anything on its standard input.
    Paths are normalised and relative to the top; what was written with a `/` at its end keeps it.
    None means that it may depend on anything.
    """
    tokens = _lex(command.strip(" \t\n"))
    if tokens is None:
        return None
    found: set[str] = set()
    for part in _commands(tokens):
        inputs = _read(part)
        if inputs is None:
            return None
        found |= inputs
    return frozenset(found)


def untouched(inputs: frozenset[str], changed: Iterable[str]) -> bool:
    """Say whether no changed path is one of the inputs, lies beneath one or is a folder above one.

    Each input is taken to be a file or a folder, whichever the change makes it. Case is ignored,
    since the file system may ignore it.
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


class _Joint(Enum):
    PIPE = auto()
    OTHER = auto()


_Token = str | _Joint


@dataclass(frozen=True, slots=True)
class _Command:
    """The words of one command, and whether another's output is fed to it."""

    words: Sequence[str]
    fed: bool


def _lex(text: str) -> list[_Token] | None:
    """Split a line into words and what joins the commands, or return None if it says more."""
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        at = match.end()
        if match.lastgroup == "joint":
            tokens.append(_Joint.PIPE if match[0] == "|" else _Joint.OTHER)
        elif match.lastgroup in {"word", "standing"}:
            tokens.append(_unquote(match[0]))
    return tokens


def _unquote(word: str) -> str:
    return "".join(
        single + _ESCAPED_IN_QUOTES.sub(r"\1", double) + escaped + plain
        for single, double, escaped, plain in _PIECE.findall(word)
    )


def _commands(tokens: Sequence[_Token]) -> Iterator[_Command]:
    words: list[str] = []
    fed = False
    for token in tokens:
        if isinstance(token, str):
            words.append(token)
            continue
        yield _Command(words, fed)
        words, fed = [], token is _Joint.PIPE
    if words or not tokens or tokens[-1] is not _Joint.OTHER:  # `;` may end a line
        yield _Command(words, fed)


def _read(command: _Command) -> _Inputs | None:
    name, *arguments = command.words or ("",)
    if name == "!" and arguments:
        name, *arguments = arguments
    reads = _PROGRAMS.get(name)
    return reads(_Command(arguments, command.fed)) if reads else None


# --- paths ---------------------------------------------------------------------------------------


def _path(name: str) -> _Inputs | None:
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if not parts or name.startswith(("/", "-")) or ".." in parts:
        return None
    if not name.isprintable() or "\\" in name or ":" in name:  # Windows reads these in its own way
        return None
    if any(_fold(part) == ".git" for part in parts):  # git's own, which no changed path tells of
        return None
    folder = "/" if name.endswith(("/", "/.")) else ""
    return frozenset({unicodedata.normalize("NFC", "/".join(parts)) + folder})


def _paths(names: Iterable[str], *, fed: bool = False) -> _Inputs | None:
    """Return what all the names stand for; `-` is what the command is fed with."""
    return _together(*(_NOTHING if name == "-" and fed else _path(name) for name in names))


def _together(*inputs: _Inputs | None) -> _Inputs | None:
    known = [one for one in inputs if one is not None]
    return _NOTHING.union(*known) if len(known) == len(inputs) else None


def _beside(path: str, name: str) -> str:
    return path.rpartition("/")[0] + "/" + name if "/" in path else name


def _above(paths: Iterable[str], *names: str) -> _Inputs:
    """Return files of these names beside each path and in every folder above it."""
    ends = {end for path in paths for end in _ends(path.rstrip("/")) if end}
    return frozenset(_beside(end, name) for end in ends for name in names)


# --- arguments -----------------------------------------------------------------------------------

_Options = Mapping[str, int]  # each known option, and how many values it takes


@dataclass(frozen=True, slots=True)
class _Arguments:
    options: Sequence[tuple[str, Sequence[str]]]
    operands: Sequence[str]

    def have(self, *names: str) -> bool:
        return any(name in names for name, _ in self.options)

    def values(self, *names: str) -> list[str]:
        return [value for name, values in self.options if name in names for value in values]


def _options(
    flags: str = "", valued: str = "", *, words: str = "", valued_words: str = ""
) -> _Options:
    return MappingProxyType(
        {f"-{letter}": 0 for letter in flags}
        | {f"-{letter}": 1 for letter in valued}
        | {f"--{word}": 0 for word in words.split()}
        | {f"--{word}": 1 for word in valued_words.split()}
    )


def _parse(arguments: Sequence[str], known: _Options) -> _Arguments | None:
    """Tell options from operands, wherever they stand; return None if an option is not known."""
    options: list[tuple[str, Sequence[str]]] = []
    operands: list[str] = []
    rest = deque(arguments)
    while rest:
        word = rest.popleft()
        if word == "--":
            operands += rest
            break
        if word == "-" or not word.startswith("-"):
            operands.append(word)
            continue
        for name, attached in _split(word, known):
            missing = known.get(name, _MANY) - len(attached)
            if missing > len(rest):
                return None
            options.append((name, [*attached, *(rest.popleft() for _ in range(missing))]))
    return _Arguments(options, operands)


def _split(word: str, known: _Options) -> Iterator[tuple[str, list[str]]]:
    """Return the options in one word (`--name=value`, `-rnA5`), each with the value attached."""
    if word.startswith("--"):
        name, has_value, value = word.partition("=")
        yield name, [value] if has_value else []
        return
    for at, letter in enumerate(word[1:], start=2):
        name = f"-{letter}"
        value = word[at:] if known.get(name) else ""
        yield name, [value] if value else []
        if value:
            return


# --- programs ------------------------------------------------------------------------------------

_Reader = Callable[[_Command], _Inputs | None]
_DIGITS: Final = "0123456789"  # head -20
_CONTEXT: Final = "after-context before-context context max-count"


def _nothing(_: _Command) -> _Inputs | None:
    return _NOTHING


def _files(known: _Options, *, most: int = _MANY, can_be_fed: bool = True) -> _Reader:
    """Return what a program reads whose operands are files, all of them."""

    def reads(command: _Command) -> _Inputs | None:
        arguments = _parse(command.words, known)
        if arguments is None or len(arguments.operands) > most:
            return None
        if not arguments.operands:
            return _NOTHING if can_be_fed and command.fed else None
        return _paths(arguments.operands, fed=can_be_fed and command.fed)

    return reads


def _test(*closing: str) -> _Reader:
    """Return what `test` reads if it asks about files only (`! -f a -a -d b`)."""

    def reads(command: _Command) -> _Inputs | None:
        end = len(command.words) - len(closing)
        if (*command.words[max(end, 0) :],) != closing:
            return None
        return _asked(deque(command.words[:end]))

    return reads


def _asked(words: deque[str]) -> _Inputs | None:
    found: set[str] = set()
    while words:
        while words and words[0] == "!":
            words.popleft()
        if len(words) < 2 or words.popleft() not in _ABOUT_A_FILE:
            return None
        inputs = _path(words.popleft())
        if inputs is None:
            return None
        found |= inputs
        if not words:
            return frozenset(found)
        if words.popleft() not in {"-a", "-o"}:
            return None
    return None


# those of access and kind, not those that compare times: a checkout sets these
_ABOUT_A_FILE: Final = frozenset({"-e", "-f", "-d", "-s", "-r", "-w", "-x", "-L", "-h"})

_GREP: Final = _options(
    "EFGPivwxcLloqsHhnaIrRTUyZz" + _DIGITS,
    "ABCmef",
    words="basic-regexp extended-regexp fixed-strings perl-regexp ignore-case no-ignore-case"
    " invert-match word-regexp line-regexp count color colour files-with-matches"
    " files-without-match only-matching quiet silent no-messages with-filename no-filename"
    " line-number recursive dereference-recursive text",
    valued_words=f"regexp file include exclude exclude-dir {_CONTEXT}",
)
_RG: Final = _options(
    "FivwxcloqsSHINnPU",
    "ABCmefgt",
    words="fixed-strings ignore-case case-sensitive smart-case invert-match word-regexp line-regexp"
    " count files-with-matches files-without-match only-matching quiet no-messages with-filename"
    " no-filename line-number no-line-number no-heading pcre2 multiline hidden no-ignore",
    valued_words=f"regexp file glob type color {_CONTEXT}",
)


def _grep(command: _Command) -> _Inputs | None:
    arguments = _parse(command.words, _GREP)
    if arguments is None:
        return None
    patterns, paths = _searched(arguments)
    everywhere = arguments.have("-r", "-R", "--recursive", "--dereference-recursive")
    if not paths and (everywhere or not command.fed):
        return None
    return _paths((*patterns, *paths), fed=command.fed)


def _rg(command: _Command) -> _Inputs | None:
    arguments = _parse(command.words, _RG)
    if arguments is None:
        return None
    patterns, paths = _searched(arguments)
    if not paths:  # what it is fed with or all that lies here, by a rule of its own
        return None
    inputs = _paths((*patterns, *paths))
    return inputs and inputs | _above(inputs, ".gitignore", ".ignore", ".rgignore") | RELEASES


def _searched(arguments: _Arguments) -> tuple[Sequence[str], Sequence[str]]:
    """Return the files that hold patterns, and the paths that are searched for them."""
    given = arguments.have("-e", "--regexp", "-f", "--file")
    paths = arguments.operands if given else arguments.operands[1:]
    return arguments.values("-f", "--file"), paths


_JQ: Final = MappingProxyType(
    {
        **_options(
            "recsnSCMjaR",
            words="raw-output exit-status compact-output slurp null-input sort-keys color-output"
            " monochrome-output join-output ascii-output raw-input tab seq stream",
            valued_words="indent",
        ),
        "--arg": 2,
        "--argjson": 2,
    }
)
_JQ_READS_MORE: Final = re.compile(r"\b(?:import|include|modulemeta)\b")


def _jq(command: _Command) -> _Inputs | None:
    arguments = _parse(command.words, _JQ)
    if arguments is None or not arguments.operands:
        return None
    wanted, *paths = arguments.operands
    if _JQ_READS_MORE.search(wanted):
        return None
    if not paths and not command.fed and not arguments.have("-n", "--null-input"):
        return None
    return _together(_paths(paths), RELEASES)


_json_tool: Final = _files(
    _options(
        words="sort-keys no-ensure-ascii json-lines tab compact no-indent", valued_words="indent"
    ),
    most=1,  # a second one is written
)
_compiled: Final = _files(_options("q", words="quiet"), can_be_fed=False)


def _py_compile(command: _Command) -> _Inputs | None:
    inputs = _compiled(command)
    # what stands in the way there makes it fail
    return inputs and inputs | {_beside(path, "__pycache__/") for path in inputs}


_MODULES: Final[Mapping[tuple[str, ...], _Reader]] = MappingProxyType(
    {("-m", "json.tool"): _json_tool, ("-m", "py_compile"): _py_compile}
)


def _python(command: _Command) -> _Inputs | None:
    reads = _MODULES.get(tuple(command.words[:2]))
    if reads is None:
        return None
    inputs = reads(_Command(command.words[2:], command.fed))
    return _together(inputs, STANDARD_LIBRARY, RELEASES)


def _node(command: _Command) -> _Inputs | None:
    """Return what `node --check` reads: package.json says what kind of module a file is."""
    arguments = _parse(command.words, _options("c", words="check"))
    if arguments is None or len(arguments.operands) != 1 or not arguments.options:
        return None
    inputs = _paths(arguments.operands)
    if inputs is None or not arguments.operands[0].endswith((".js", ".mjs", ".cjs")):
        return None
    # a name that is not there is tried with these at its end
    tried = {path + ending for path in inputs for ending in ("", ".js", ".json", ".node")}
    return _above(inputs, "package.json") | tried | RELEASES


def _bash(command: _Command) -> _Inputs | None:
    match command.words:
        case ["-n", path]:
            return _path(path)
        case _:
            return None


_COUNTED: Final = _options("qvz" + _DIGITS, "nc", words="quiet", valued_words="lines bytes")

_PROGRAMS: Final[Mapping[str, _Reader]] = MappingProxyType(
    {
        "true": _nothing,
        "false": _nothing,
        "echo": _nothing,
        "test": _test(),
        "[": _test("]"),
        "[[": _test("]]"),
        "grep": _grep,
        "egrep": _grep,
        "fgrep": _grep,
        "rg": _rg,
        "jq": _jq,
        "python": _python,
        "python3": _python,
        "node": _node,
        "bash": _bash,
        "cat": _files(_options("AbeEnstTuv")),
        "head": _files(_COUNTED),
        "tail": _files(_COUNTED),
        "wc": _files(_options("lwcmL", words="lines words bytes chars max-line-length")),
        "sort": _files(_options("bdfghnruVzc", "kt", words="unique reverse numeric-sort")),
        # a second operand is written
        "uniq": _files(_options("cdiu", "fsw", words="count repeated unique"), most=1),
        "cmp": _files(_options("bls", "n", words="silent quiet")),
        "diff": _files(
            _options(
                "abBciNqrsuwyE" + _DIGITS,
                "UCxW",
                words="brief recursive new-file text unified side-by-side ignore-case"
                " ignore-all-space ignore-space-change ignore-blank-lines",
                valued_words="exclude",
            )
        ),
        # what -l and `stat` add (times, owners, links) is another in each checkout anyway
        "ls": _files(
            _options("1aAdFghlnopRrSX", words="all almost-all directory recursive color"),
            can_be_fed=False,
        ),
        "stat": _files(
            _options("Lt", "c", words="dereference terse", valued_words="format printf"),
            can_be_fed=False,
        ),
    }
)
