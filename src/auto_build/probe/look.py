"""What leads from a slot back to the user's checkout, as far as it shows without running a check.

Everything is bounded, and a program that fails or a file that cannot be read tells nothing: this is
a look around, and no verdict that all is well.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from pydantic import BaseModel, TypeAdapter, ValidationError

from auto_build.probe.leaks import Leak, editable_leak, modules_leak, package_leak
from auto_build.process import CommandFailed, Processes

_ASKED_LIMIT_S: Final = 20.0  # for one interpreter
_ANSWER: Final = 100_000  # characters
_INSTALLED: Final = str(Path(__file__).resolve().with_name("installed.py"))
_FOLDERS: Final = TypeAdapter(dict[str, list[str]])
_MODULES: Final = "node_modules"
_ENTRIES: Final = 5_000  # of one folder that are looked at
_CONFIG_BYTES: Final = 500_000  # a larger file is no configuration
_CONFIGS: Final = (
    *("pyproject.toml", "setup.cfg", "setup.py", "tox.ini", "pytest.ini", ".pytest.ini"),
    *("mypy.ini", ".mypy.ini", "noxfile.py", "conftest.py", ".coveragerc", ".flake8", ".pylintrc"),
    *("ruff.toml", ".ruff.toml", "pyrightconfig.json", "package.json", ".npmrc", ".yarnrc*"),
    *("*.config.js", "*.config.cjs", "*.config.mjs", "*.config.ts", "*.config.mts", "*.config.cts"),
    *("*.config.json", "tsconfig*.json", "jsconfig*.json", ".eslintrc*", ".babelrc*", ".mocharc*"),
    *("Makefile", "makefile", "GNUmakefile", "justfile", "Justfile", "Taskfile.y*ml", "Cargo.toml"),
    *("*.code-workspace", ".env", ".envrc", "go.work", "CMakePresets.json"),
)


class _Manifest(BaseModel):
    """What of a package.json matters here."""

    dependencies: dict[str, object] = {}
    devDependencies: dict[str, object] = {}  # noqa: N815 - as npm spells it


async def look(
    processes: Processes,
    *,
    project: Path,
    slot: Path,
    env: Mapping[str, str],
    linked: Sequence[str],
) -> tuple[Leak, ...]:
    """Return what would lead a check in `slot`, run with `env`, to the user's checkout.

    `linked` are paths, relative to the project, that the settings link into slots on purpose.
    """
    root, here = project.resolve(), slot.resolve()
    editable = await find_editable(processes, project=root, slot=here, env=env)
    return (
        *_look_at_node(root, here, linked),
        *(
            _editable(name, _relative(folder, root), linked)
            for name, folder in sorted(editable.items())
        ),
        *_look_at_configs(root, here),
    )


def _editable(name: str, folder: str, linked: Sequence[str]) -> Leak:
    return editable_leak(name, folder, (folder or ".",), linked=linked)


async def find_editable(
    processes: Processes, *, project: Path, slot: Path, env: Mapping[str, str]
) -> dict[str, str]:
    """Return what the interpreters that a check finds import from the project but not the slot.

    Each distribution's name goes with the folder that its code is in, a real path.
    """
    found: dict[str, list[str]] = {}
    for python in _interpreters(slot, env):
        answer = await _ask(processes, python, project, slot, env)
        for name, folders in answer.items():
            found.setdefault(name, []).extend(folders)
    return {name: os.path.commonpath(folders) for name, folders in found.items() if folders}


def find_virtualenvs(project: Path) -> tuple[str, ...]:
    """Return the environments of Python in the top two levels of the project, as real paths."""
    root = project.resolve()
    marks = ("pyvenv.cfg", "conda-meta")
    folders = (
        folder for folder in _folders(root) if any((folder / name).exists() for name in marks)
    )
    return tuple(sorted({str(folder.resolve()) for folder in folders}))


def find_packages(project: Path) -> dict[str, str]:
    """Return the packages of the project itself to which links in its node_modules lead.

    Each name goes with the folder of the package, a real path.
    """
    root = project.resolve()
    found = {}
    for entry in _entries(root / _MODULES):
        scoped = _entries(entry) if entry.name.startswith("@") and not entry.is_symlink() else ()
        for link in (entry, *scoped):
            folder = Path(os.path.realpath(link))
            if link.is_symlink() and _is_package(folder, root):
                found[str(link.relative_to(root / _MODULES))] = str(folder)
    return found


def _is_package(folder: Path, root: Path) -> bool:
    inside = folder.is_relative_to(root) and folder.is_dir()
    return inside and _MODULES not in folder.relative_to(root).parts


# --- python --------------------------------------------------------------------------------------


def _interpreters(slot: Path, env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the interpreters a check may run; links are not followed, they make environments."""
    named = (shutil.which(name, path=env.get("PATH", "")) for name in ("python3", "python"))
    own = slot / ".venv" / "bin" / "python"
    found = [*filter(None, named), *([str(own)] if own.exists() else [])]
    return tuple(dict.fromkeys(found))


async def _ask(
    processes: Processes, python: str, project: Path, slot: Path, env: Mapping[str, str]
) -> dict[str, list[str]]:
    try:
        done = await processes.run_guarded(
            (python, _INSTALLED, str(project), str(slot)),
            cwd=slot,
            env=env,
            limit_s=_ASKED_LIMIT_S,
            tail_limit=_ANSWER,
        )
    except CommandFailed:
        return {}
    answers = [line for line in done.tail.splitlines() if line.startswith("{")]
    try:
        return _FOLDERS.validate_json(answers[-1]) if answers else {}
    except ValidationError:
        return {}


# --- node ----------------------------------------------------------------------------------------


def _look_at_node(project: Path, slot: Path, linked: Sequence[str]) -> Iterator[Leak]:
    if not _has_dependencies(slot / "package.json") or not (project / _MODULES).is_dir():
        return
    top = {entry.name for entry in _entries(slot)}
    own = slot / _MODULES
    if own.is_dir() and own.resolve() != (project / _MODULES).resolve():
        return
    if not own.is_dir() and _MODULES not in {path.strip("/") for path in linked}:
        yield modules_leak((_MODULES,), linked=linked, top=top)
    for name, folder in sorted(find_packages(project).items()):
        inside = _relative(folder, project)
        yield package_leak(name, inside, (inside,), linked=linked, top=top)


def _has_dependencies(path: Path) -> bool:
    try:
        manifest = _Manifest.model_validate_json(_read(path))
    except ValidationError:
        return False
    return bool(manifest.dependencies or manifest.devDependencies)


# --- configuration -------------------------------------------------------------------------------


def _look_at_configs(project: Path, slot: Path) -> Iterator[Leak]:
    for path in _configs(slot):
        line = _line_that_names(project, _read(path).decode("utf-8", "surrogateescape"))
        if line:
            name = str(path.relative_to(slot))
            what = (
                f"line {line} of {name} names your checkout by its absolute path, and so a check in"
                " a worktree uses your files; name them relative to the configuration's own folder"
            )
            yield Leak((name,), what, "")


def _configs(slot: Path) -> Iterator[Path]:
    for folder in (slot, *_folders(slot, levels=1)):
        for path in _entries(folder):
            known = any(fnmatchcase(path.name, pattern) for pattern in _CONFIGS)
            if (known or folder.name == ".vscode") and path.is_file() and not path.is_symlink():
                yield path


def _line_that_names(project: Path, text: str) -> int:
    """Return the first line that names something in the project; 0 if there is none.

    What is named must be there: a project in /app is not what "/app" in a web application means.
    """
    before, after = r"(?:(?<![\w.-])|(?<=-[A-Z]))", r"(?![\w-]|\.\w)"  # -I/home/..., a compiler's
    wanted = re.compile(rf"{before}{re.escape(str(project))}{after}([^\s\"'`,;:()<>\]}}|&$]*)")
    for number, line in enumerate(text.splitlines(), 1):
        for found in wanted.finditer(line):
            if _leads_into(project, found[1].strip("/")):
                return number
    return 0


def _leads_into(project: Path, rest: str) -> bool:
    if not rest:
        return len(project.parts) > 2  # more than a name, such as /app
    with suppress(OSError, ValueError):
        return not rest.startswith(".worktrees") and (project / rest.split("*")[0]).exists()
    return False


# --- files ---------------------------------------------------------------------------------------


def _folders(root: Path, levels: int = 2) -> Iterator[Path]:
    """Return the folders of the top levels, but those that others fill."""
    for folder in _entries(root):
        apart = folder.name in {_MODULES, ".git", ".worktrees", "site-packages"}
        if not apart and folder.is_dir() and not folder.is_symlink():
            yield folder
            if levels > 1:
                yield from _folders(folder, levels - 1)


def _entries(folder: Path) -> Iterable[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_ENTRIES), strict=False)]
    except OSError:
        return ()
    return [folder / name for name in sorted(names)]


def _read(path: Path) -> bytes:
    """Return a file's content; nothing if it cannot be read or is too large."""
    with suppress(OSError):
        if path.stat().st_size <= _CONFIG_BYTES:
            return path.read_bytes()
    return b""


def _relative(folder: str, root: Path) -> str:
    path = str(Path(folder).relative_to(root))
    return "" if path == "." else path
