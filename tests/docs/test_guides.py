"""The documentation, held against the code: what it quotes, names and links to must be there."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import click
import pytest

import auto_build
from auto_build.agents.script import Step
from auto_build.cli.launcher import launch
from auto_build.cli.main import cli
from auto_build.core.events import Outcome
from auto_build.errors import AutoBuildError
from auto_build.policy.environment import AGENT, BASE, Environment, Seat
from auto_build.settings import (
    AcpAgent,
    ClaimSettings,
    ClaudeAgent,
    CommandAgent,
    ContainmentSettings,
    EnvironmentSettings,
    GateSettings,
    MergeSettings,
    ModelSettings,
    QaSettings,
    RunSettings,
    ScriptedAgent,
    ServiceSettings,
    Settings,
    WorkspaceSettings,
)

TOP = Path(__file__).parents[2]
SOURCE = Path(auto_build.__file__).parent
GUIDES = TOP / "docs" / "guides"
PAGES = (TOP / "README.md", *sorted((TOP / "docs").rglob("*.md")))
SOME = "…"  # stands for a name, a path or a number

_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def test_every_message_that_the_guide_quotes_is_printed_by_the_code() -> None:
    known = [text for _, text in sentences()]
    quoted = messages()
    assert len(quoted) > 80
    missing = [one for one in quoted if not any(one in text for text in known)]
    assert missing == []


def test_every_error_is_explained_in_the_guide() -> None:
    quoted = messages()
    untold = [
        f"{place}: {fact}"
        for place, fact in facts()
        if letters(fact) and not any(one in fact for one in quoted)
    ]
    assert untold == [], (
        "docs/guides/parallel-execution.md, troubleshooting: add a row for each: what it means,"
        " what to do"
    )


@pytest.mark.parametrize(
    ("heading", "tables"),
    [
        ("`[run]`", [RunSettings]),
        ("`[gate]`", [GateSettings]),
        ("`[merge]`", [MergeSettings]),
        ("`[claims]`", [ClaimSettings]),
        ("`[workspace]`", [WorkspaceSettings]),
        ("`[containment]`", [ContainmentSettings]),
        ("`[environment]`", [EnvironmentSettings]),
        ("`[models]`", [ModelSettings]),
        ("`[qa]`", [QaSettings, ServiceSettings]),
        ("`[agents.NAME]`", [CommandAgent, ScriptedAgent, ClaudeAgent, AcpAgent]),
    ],
)
def test_the_settings_guide_lists_every_key_with_its_default(
    heading: str, tables: list[type[RunSettings]]
) -> None:
    page = (GUIDES / "settings.md").read_text()
    told = [rows for rows in tables_below(page, heading) if rows[0][:2] == ["key", "default"]]
    assert len(told) == len(tables)
    for rows, table in zip(told, tables, strict=True):
        listed = {unquote(row[0]): unquote(row[1]) for row in rows[1:]}
        fields = {field.alias or name: field for name, field in table.model_fields.items()}
        assert listed == {
            name: "required"
            if field.is_required()
            else toml(field.get_default(call_default_factory=True))
            for name, field in fields.items()
        }


def test_the_settings_guide_has_a_heading_for_every_table() -> None:
    page = (GUIDES / "settings.md").read_text()
    headings = set(re.findall(r"^## `\[(\w+)", page, re.MULTILINE))
    assert headings == set(Settings.model_fields)


def test_the_settings_guide_lists_what_agents_and_checks_see() -> None:
    page = (GUIDES / "settings.md").read_text()
    section = page.partition("### What agents and checks see")[2].partition("\n## ")[0]
    spans = {text for _, text in _SPAN.findall(section)}
    given = Environment({}).for_check(Seat("s", "c", 1, 1), "/")
    assert {*BASE, *AGENT, *given} <= spans


def test_the_agents_guide_lists_every_step_of_a_script() -> None:
    page = (GUIDES / "agents.md").read_text()
    (rows,) = (rows for rows in tables_below(page, "The scripted agent") if rows[0][0] == "`do`")
    listed = {
        unquote(row[0]): {unquote(one) for one in row[1].split(", ") if one} for row in rows[1:]
    }
    kinds = get_args(get_args(Step)[0])
    assert listed == {
        get_args(kind.model_fields["do"].annotation)[0]: set(kind.model_fields) - {"do"}
        for kind in kinds
    }


def test_the_agents_guide_tells_of_every_outcome() -> None:
    page = (GUIDES / "agents.md").read_text()
    tables = tables_below(page, "How an agent's end is judged")
    (rows,) = (rows for rows in tables if rows[0][0] == "outcome")
    assert {unquote(row[0]) for row in rows[1:]} == {"landed", *Outcome}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(TOP).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(without_code(page.read_text())):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(TOP).as_posix())
def test_commands_exist_as_they_are_written(page: Path) -> None:
    targets = set(re.findall(r"^(\w+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    wrong = []
    for words in commands(page.read_text()):
        match words:
            case ["make", target, *_]:
                fits = target in targets
            case ["auto-build", *rest]:
                fits = is_command(cli, rest)
            case [_, "auto-build/run.py", *rest]:
                flags = not rest or rest[0].startswith("-")
                fits = is_command(launch if flags else cli, rest)
            case _:
                continue
        if not fits:
            wrong.append(" ".join(words))
    assert wrong == []


def test_the_readme_lists_every_command() -> None:
    told = {words[1] for words in commands((TOP / "README.md").read_text()) if len(words) > 1}
    assert {name for name, command in cli.commands.items() if not command.hidden} <= told


def test_the_python_example_imports_what_there_is() -> None:
    (body,) = (
        body
        for _, kind, body in _FENCE.findall((TOP / "README.md").read_text())
        if kind == "python"
    )
    for node in ast.walk(ast.parse(body)):
        if isinstance(node, ast.ImportFrom) and node.module == "auto_build":
            assert {alias.name for alias in node.names} <= set(auto_build.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(TOP).as_posix())
def test_pictures_load_nothing_from_elsewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        if link.endswith(".svg"):
            picture = (page.parent / link).read_text()
            assert len(picture) < 300_000
            assert "url(" not in picture
            assert set(re.findall(r"https?://[^\"' )]+", picture)) <= {"http://www.w3.org/2000/svg"}


# --- what the code says --------------------------------------------------------------------------


@cache
def sentences() -> tuple[tuple[str, str], ...]:
    """Return every text in the package with its place; `…` stands for what is filled in."""
    return tuple(
        (f"{path.relative_to(TOP)}:{node.lineno}", text)
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant | ast.JoinedStr) and (text := spelled(node))
    )


def facts() -> Iterator[tuple[str, str]]:
    """Yield the sentence of every error that is raised, with its place."""
    names = {kind.__name__ for kind in kinds(AutoBuildError)}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in {*names, "CaptureRefused"}
                and node.args
                and (fact := spelled(node.args[0]))
            ):
                yield f"{path.relative_to(TOP)}:{node.lineno}", fact


def kinds(kind: type[AutoBuildError]) -> Iterator[type[AutoBuildError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


def spelled(node: ast.expr) -> str:
    """Return a literal as it is printed; nothing where it is no literal."""
    match node:
        case ast.Constant(value=str(text)):
            return squeezed(text)
        case ast.JoinedStr(values=parts):
            told = (part.value if isinstance(part, ast.Constant) else SOME for part in parts)
            return squeezed("".join(str(one) for one in told))
        case _:
            return ""


def squeezed(text: str) -> str:
    return re.sub(f"{SOME}+", SOME, " ".join(text.split()))


def letters(text: str) -> bool:
    return any(char.isalpha() for char in text)


# --- what the pages say --------------------------------------------------------------------------


def messages() -> list[str]:
    """Return the messages that the troubleshooting tables quote."""
    page = (GUIDES / "parallel-execution.md").read_text()
    tables = tables_below(page, "Troubleshooting by message")
    quoted = [unquote(row[0]) for rows in tables if rows[0][0] == "message" for row in rows[1:]]
    return [squeezed(one) for one in quoted]


def tables_below(page: str, heading: str) -> list[list[list[str]]]:
    """Return the tables of a section as rows of cells, without the rule below their heads."""
    level = next(line for line in page.splitlines() if line.lstrip("#").strip() == heading)
    hashes = level.partition(" ")[0]
    section = page.partition(f"{level}\n")[2]
    section = re.split(rf"^#{{1,{len(hashes)}}} ", section, maxsplit=1, flags=re.MULTILINE)[0]
    found: list[list[list[str]]] = [[]]
    for line in section.splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not set("".join(cells)) <= set("-: "):
                found[-1].append(cells)
        elif found[-1]:
            found.append([])
    return [rows for rows in found if rows]


def unquote(cell: str) -> str:
    return cell.strip("`").strip()


def toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case tuple():
            return str(list(value))
        case None:
            return "none"
        case _:
            return str(value)


def without_code(page: str) -> str:
    return _SPAN.sub("", _FENCE.sub("", page))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    heads = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


def commands(page: str) -> Iterator[list[str]]:
    """Yield the words of every command in a page's shell blocks and code spans."""
    blocks = [body for _, kind, body in _FENCE.findall(page) if kind in {"sh", "console"}]
    lines = [line.strip().removeprefix("$ ") for body in blocks for line in body.splitlines()]
    lines += [text for _, text in _SPAN.findall(_FENCE.sub("", page))]
    for line in lines:
        for part in line.partition(" #")[0].split(" && "):
            words = part.removeprefix(".venv/bin/").split()
            if len(words) > 1 and words[0] in {"make", "auto-build", "python", "python3"}:
                yield words


def is_command(command: click.Command, words: list[str]) -> bool:
    """Say whether words are a command of ours with flags that it has."""
    while isinstance(command, click.Group):
        if words and words[0] in {"-h", "--help", "--version"}:
            return True
        found = command.commands.get(words[0]) if words else None
        if found is None:
            return False
        command, words = found, words[1:]
    known = {flag for param in command.params for flag in param.opts} | {"-h", "--help"}
    return all(word in known for word in words if word.startswith("-"))
