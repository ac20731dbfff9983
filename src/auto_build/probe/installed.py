"""Says what a Python imports from a project: run by it as `python installed.py PROJECT SLOT`.

It prints a line of JSON: the folders in PROJECT, but not in SLOT, from which each distribution that
is installed editable is imported. One of which the installer has left no note is named for what it
did leave, a .pth file. Runs in any Python from 3.8 on, and imports nothing but its library.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path
from urllib.parse import unquote, urlsplit

_FILE_BYTES = 200_000  # of a .pth file or of a finder that are read
_FILES = 500  # .pth files that are looked at
_LINES = 1000  # lines of one of them
_LINKS = os.sep + "__editable__."  # setuptools' strict mode: a folder of links
# setuptools keeps where its packages are in a finder: MAPPING: dict[str, str] = {"app": "/..."}
_MAPPING = re.compile(r"^MAPPING\b[^=\n]*=\s*(\{.*\})\s*$", re.MULTILINE)


def main(project: str, slot: str) -> None:
    """Print what is imported from the project."""
    found: dict[str, list[str]] = {}
    explained: set[Path] = set()
    for distribution in distributions():
        folder = _editable_folder(distribution)
        if folder and _is_in(folder, project):
            files = _files_of(distribution)
            explained.update(files)
            roots = [root for file in files for root in _folders_of(file)]
            if not roots or any(_LINKS in root for root in roots):
                roots = [folder]
            found.setdefault(distribution.metadata["Name"] or folder, []).extend(roots)
    for file in _path_files():
        if file not in explained:
            for folder in _folders_of(file):
                found.setdefault(_name_of(Path(folder), file), []).append(folder)
    inside = {name: _inside(folders, project, slot) for name, folders in found.items()}
    told = {name: folders for name, folders in inside.items() if folders}
    sys.stdout.write("\n" + json.dumps(told) + "\n")


def _editable_folder(distribution: Distribution) -> str | None:
    try:
        told = json.loads(distribution.read_text("direct_url.json") or "{}")
        url = urlsplit(told["url"]) if told["dir_info"]["editable"] else None
    except (ValueError, KeyError, TypeError):
        return None
    return os.path.realpath(unquote(url.path)) if url and url.scheme == "file" else None


def _files_of(distribution: Distribution) -> list[Path]:
    """Return the files by which Python finds an editable distribution."""
    files = [Path(os.path.realpath(str(file.locate()))) for file in distribution.files or ()]
    return [file for file in files if file.suffix in {".pth", ".py"}]


def _path_files() -> list[Path]:
    """Return the .pth files of all folders that Python imports from."""
    folders = sorted({os.path.realpath(path) for path in sys.path if path})
    return [file for folder in folders for file in sorted(Path(folder).glob("*.pth"))][:_FILES]


def _folders_of(file: Path) -> list[str]:
    """Return the folders that a .pth file, or the finder of an editable install, names."""
    try:
        with file.open("rb") as opened:
            text = opened.read(_FILE_BYTES).decode("utf-8", "surrogateescape")
        if file.suffix == ".pth":
            lines = [line.strip() for line in text.splitlines()[:_LINES]]
            named = [line for line in lines if line and not line.startswith(("#", "import "))]
        else:
            mapping = _MAPPING.search(text)
            named = list(ast.literal_eval(mapping.group(1)).values()) if mapping else []
        return [os.path.realpath(str(file.parent / str(name))) for name in named]
    except (OSError, ValueError, SyntaxError, AttributeError):
        return []


def _name_of(folder: Path, file: Path) -> str:
    """Return what an old installer called the distribution in a folder, or the .pth file's name."""
    notes = sorted(folder.glob("*.egg-info"))
    return notes[0].stem if notes else file.name


def _inside(folders: Iterable[str], project: str, slot: str) -> list[str]:
    wanted = {one for one in folders if _is_in(one, project) and not _is_in(one, slot)}
    return sorted(wanted)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


if __name__ == "__main__":
    here = str(Path(__file__).resolve().parent)  # no folder to import from
    sys.path[:] = [path for path in sys.path if os.path.realpath(path) != here]
    main(os.path.realpath(sys.argv[1]), os.path.realpath(sys.argv[2]))
