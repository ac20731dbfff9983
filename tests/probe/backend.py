"""A build backend, copied into the projects of these tests: it makes editable wheels, offline.

What it writes is what hatchling and setuptools write, after `style.txt`: a .pth file that names
`src`, or one that imports a finder which knows where each package is, or a folder of links.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

_FINDER = """\
from __future__ import annotations
import sys
from importlib.machinery import PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path

MAPPING: dict[str, str] = {mapping!r}
NAMESPACES: dict[str, list[str]] = {{}}
PATH_PLACEHOLDER = "__editable__.app-0.1.finder" + ".__path_hook__"


class _EditableFinder:
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname not in MAPPING:
            return None
        init = Path(MAPPING[fullname]) / "__init__.py"
        return spec_from_file_location(fullname, init)


def install():
    sys.meta_path.append(_EditableFinder)
"""
_WHEEL = "Wheel-Version: 1.0\nGenerator: backend\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_editable(
    wheel_directory: str, config_settings: object = None, metadata_directory: object = None
) -> str:
    here = Path.cwd()
    style = Path("style.txt").read_text()
    if style == "finder":
        files = {
            "__editable___app_0_1_finder.py": _FINDER.format(mapping={"app": str(here / "app")}),
            "__editable__.app-0.1.pth": "import __editable___app_0_1_finder; "
            "__editable___app_0_1_finder.install()\n",
        }
    elif style == "links":
        links = here / "build" / "__editable__.app-0.1"
        (links / "app").mkdir(parents=True)
        for file in (here / "src" / "app").glob("*.py"):
            (links / "app" / file.name).symlink_to(file)
        files = {"__editable__.app-0.1.pth": str(links)}
    else:
        files = {"_app.pth": str(here / "src")}
    return _wheel(Path(wheel_directory), files)


def _wheel(folder: Path, files: dict[str, str]) -> str:
    notes = "app-0.1.dist-info/"
    files[notes + "METADATA"] = "Metadata-Version: 2.1\nName: app\nVersion: 0.1\n"
    files[notes + "WHEEL"] = _WHEEL
    record = notes + "RECORD"
    files[record] = "".join(f"{name},,\n" for name in [*files, record])
    with zipfile.ZipFile(folder / "app-0.1-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "app-0.1-py3-none-any.whl"
