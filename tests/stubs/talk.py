"""A request as a stub sees it, and a model's act in the tools that the client offers."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from tests.stubs import acts

Json = dict[str, Any]
_WRITERS: Final = ("Write", "write_file", "write", "create_file", "edit_file")
_SHELLS: Final = (
    "Bash",
    "bash",
    "run_shell_command",
    "exec_command",
    "shell_command",
    "shell",
    "local_shell",
    "container.exec",
    "execute",
)
_ids = count(1)


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool said."""

    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation: what a person says, or tools; or a model's that used tools."""

    prompt: str = ""
    results: tuple[Result, ...] = ()
    used_tools: bool = False


@dataclass(frozen=True, slots=True)
class Talk:
    """A request: the conversation so far, and the tools offered with their arguments' names."""

    api: str
    model: str
    stream: bool
    turns: tuple[Turn, ...]
    tools: Mapping[str, frozenset[str]]
    side: bool = False

    @property
    def prompts(self) -> tuple[str, ...]:
        """What people said, the oldest first."""
        return tuple(turn.prompt for turn in self.turns if turn.prompt)

    @property
    def results(self) -> tuple[Result, ...]:
        """What tools said, the oldest first."""
        return tuple(result for turn in self.turns for result in turn.results)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of the client's tools."""

    id: str
    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in no API's form; `stop` is end, tool, length or refusal."""

    text: str
    calls: tuple[Call, ...]
    stop: str
    usage: acts.Tokens


def reply_to(act: acts.Act, talk: Talk) -> Reply:
    """Return what the model says and calls."""
    match act:
        case acts.Say() | acts.Ask():
            return Reply(act.text, (), "end", act.usage)
        case acts.Answer() if "StructuredOutput" in talk.tools:
            call = Call(_id(), "StructuredOutput", act.value)
            return Reply("", (call,), "tool", act.usage)
        case acts.Answer():
            return Reply(json.dumps(act.value), (), "end", act.usage)
        case acts.Refuse():
            return Reply("I will not do that.", (), "refusal", act.usage)
        case acts.MaxTokens():
            return Reply("This is a long st", (), "length", act.usage)
        case acts.Flood():
            return Reply("word word\n" * (act.size // 10), (), "end", act.usage)
        case acts.LongLine():
            return Reply("x" * act.size, (), "end", act.usage)
        case acts.Hang() | acts.Drop():
            if act.where is acts.Where.MID_TOOL:
                return Reply("", (_shell("true", talk),), "tool", act.usage)
            return Reply("thinking about it " * 50, (), "end", act.usage)
        case _:
            return Reply("", tuple(_calls(act, talk)), "tool", act.usage)


def _calls(act: acts.Act, talk: Talk) -> Iterator[Call]:
    match act:
        case acts.Together():
            for one in act.acts:
                yield from _calls(one, talk)
        case acts.UseTool():
            yield Call(_id(), act.name, act.arguments)
        case acts.RunCommand():
            yield _shell(act.command, talk)
        case acts.WriteFile():
            yield from _write(act, talk)
        case acts.EditFile() if "Edit" in talk.tools:
            yield Call(_id(), "Read", {"file_path": act.path})
            told = {"file_path": act.path, "old_string": act.old, "new_string": act.new}
            yield Call(_id(), "Edit", told)
        case acts.EditFile():
            yield _shell(edit_command(act.path, act.old, act.new), talk)
        case _:
            raise TypeError(f"no tool call: {act!r}")


def _write(act: acts.WriteFile, talk: Talk) -> Iterator[Call]:
    name = next((one for one in _WRITERS if one in talk.tools), "")
    if not name:
        yield _shell(write_command(act.path, act.text), talk)
        return
    if name == "Write" and "Read" in talk.tools:  # Claude overwrites only what it has read
        yield Call(_id(), "Read", {"file_path": act.path})
    known = talk.tools[name]
    told = {"file_path": act.path, "path": act.path, "filePath": act.path, "content": act.text}
    yield Call(_id(), name, {key: value for key, value in told.items() if key in known})


def _shell(command: str, talk: Talk) -> Call:
    name = next((one for one in _SHELLS if one in talk.tools), "")
    if not name:
        raise LookupError(f"{talk.api} offers no shell: {', '.join(talk.tools)}")
    known = talk.tools[name]
    as_words = name in {"shell", "container.exec"}
    words: str | list[str] = ["bash", "-lc", command] if as_words else command
    told = {"command": words, "cmd": command, "description": "do it", "is_background": False}
    return Call(_id(), name, {key: value for key, value in told.items() if key in known})


def write_command(path: str, text: str) -> str:
    """Return a shell command that writes a file."""
    program = (
        "import pathlib,sys;p=pathlib.Path(sys.argv[1]);p.parent.mkdir(0o777,True,True);"
        "p.write_text(sys.argv[2])"
    )
    return shlex.join(("python3", "-c", program, path, text))


def append_command(path: str, text: str) -> str:
    """Return a shell command that adds to a file."""
    program = "import sys;open(sys.argv[1],'a').write(sys.argv[2])"
    return shlex.join(("python3", "-c", program, path, text))


def edit_command(path: str, old: str, new: str) -> str:
    """Return a shell command that replaces a text, which must be there."""
    program = (
        "import sys;f,o,n=sys.argv[1:];t=open(f).read();assert o in t;"
        "open(f,'w').write(t.replace(o,n,1))"
    )
    return shlex.join(("python3", "-c", program, path, old, new))


def _id() -> str:
    return f"call_{next(_ids):06}"
