"""Makes the demo's project: a git repository with a reading list in it, and a spec to build.

Its files are kept beside this module as they are, those of which our own tools would take notice
with `.txt` at the end of their names. Nothing of the user's git configuration reaches the project.
"""

import json
import os
import shlex
import sys
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from auto_build.errors import EnvironmentUnfit
from auto_build.git.repo import git_environment, require_git
from auto_build.process import Processes
from auto_build.settings import FILE
from auto_build.workspace import HOME

SPEC_NAME: Final = "001-reading-insights"
SCRIPT: Final = "script.toml"
_STORED: Final = ".txt"
_RENAMED: Final = {"gitignore": ".gitignore"}
_CONFIG: Final = (
    ("user.name", "Demo"),
    ("user.email", "demo@localhost"),
    ("commit.gpgSign", "false"),
    ("core.autocrlf", "false"),
)

Prepare = Callable[[Path], Awaitable[None]]


async def build_project(
    folder: Path, processes: Processes, *, pace: float = 1.0, prepare: Prepare | None = None
) -> None:
    """Make the demo's project in `folder`, with everything in it committed.

    Args:
        folder: where; made if it is not there.
        processes: start git.
        pace: multiplies the times that the scripted agent works.
        prepare: called with the folder, a git repository by then, before the commit.

    Raises:
        EnvironmentUnfit: pytest is missing, or git is, or nothing can be written there.
    """
    await require_git(processes)
    await _require_pytest(processes)
    _write(folder, pace)
    await _git(processes, folder, "init", "--quiet", "--initial-branch=main")
    for key, value in _CONFIG:
        await _git(processes, folder, "config", key, value)
    if prepare:
        await prepare(folder)
    await _git(processes, folder, "add", "--all")
    await _git(processes, folder, "commit", "--quiet", "--message=Shelf 1.0, and what to build")


def project_files(pace: float = 1.0) -> dict[str, str]:
    """Return the project's files by their paths, as they are committed."""
    here = files(__package__)
    spec = f"{HOME}/specs/{SPEC_NAME}"
    found = {_name(path): text for path, text in _texts(here / "project")}
    found |= {f"{spec}/{path}": _fill(text) for path, text in _texts(here / "spec")}
    found[f"{spec}/{SCRIPT}"] = f"pace = {pace:g}\n\n{found[f'{spec}/{SCRIPT}']}"
    found[FILE] = _fill((here / FILE).read_text(encoding="utf-8"))
    return found


def _write(folder: Path, pace: float) -> None:
    try:
        for name, text in project_files(pace).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise EnvironmentUnfit(
            f"the demo cannot be written into {folder}: {error.strerror}",
            hint="it needs a folder that is writable and has space left",
        ) from error


def _texts(folder: Traversable, above: str = "") -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = f"{above}{entry.name}"
        if entry.is_dir():
            yield from _texts(entry, f"{name}/")
        else:
            yield name, entry.read_text(encoding="utf-8")


def _name(stored: str) -> str:
    name = stored.removesuffix(_STORED)
    return _RENAMED.get(name, name)


def _fill(text: str) -> str:
    """Put in the Python that runs us: by its name, found first in a PATH that begins with it."""
    python = Path(sys.executable)
    path = os.pathsep.join((str(python.parent), os.environ.get("PATH", os.defpath)))
    quoted = json.dumps(path, ensure_ascii=False)  # a TOML string too
    return text.replace("{python}", shlex.quote(python.name)).replace("{path}", quoted)


async def _require_pytest(processes: Processes) -> None:
    """Start pytest once, which also has its bytecode written: the checks write none."""
    done = await processes.run(
        *(sys.executable, "-m", "pytest", "--version"),
        cwd=Path(sys.executable).parent,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        ok=range(256),
    )
    if done.code != 0:
        raise EnvironmentUnfit("the demo's checks need pytest", hint="pip install pytest")


async def _git(processes: Processes, folder: Path, *args: str) -> None:
    env = {
        **git_environment(os.environ),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    await processes.run("git", *args, cwd=folder, env=env)
