#!/usr/bin/env python3
"""Runs Auto-Build in this repository:  python auto-build/run.py --spec 001 --parallel 2

Works with any python3. Where the auto_build package is not installed for it, this hands over to
the project's virtual environment, or to an `auto-build` in PATH. Written by `auto-build init`.
"""

import os
import shutil
import subprocess
import sys

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HANDED_OVER = "AUTO_BUILD_HANDED_OVER"


def environments():
    """Yield the pythons of the project's virtual environments."""
    roots = [os.path.join(PROJECT, ".venv"), os.path.join(PROJECT, "venv")]
    if os.environ.get("VIRTUAL_ENV"):
        roots.append(os.environ["VIRTUAL_ENV"])
    for root in roots:
        for python in ("bin/python", "Scripts/python.exe"):
            path = os.path.join(root, python)
            if os.path.exists(path):
                yield path


def has_package(python):
    """Say whether a python can import auto_build."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.call([python, "-c", "import auto_build.cli.main"], **quiet) == 0


def hand_over():
    """Go on with another python; does not come back."""
    os.environ[HANDED_OVER] = "1"
    for python in environments():
        if has_package(python):
            os.execv(python, [python, os.path.abspath(__file__)] + sys.argv[1:])
    program = shutil.which("auto-build")
    if program:
        os.execv(program, [program, "launch", "--project-dir", PROJECT] + sys.argv[1:])


def main():
    """Run the launcher, here or elsewhere."""
    if sys.version_info >= (3, 11):
        try:
            from auto_build.cli.main import launch_main as launch
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("auto_build"):
                raise
        else:
            return launch(["--project-dir", PROJECT] + sys.argv[1:])
    if not os.environ.get(HANDED_OVER):
        hand_over()
    sys.stderr.write(
        "auto-build is not installed for %s (Python %d.%d; it needs 3.11 or newer).\n"
        % (sys.executable, sys.version_info[0], sys.version_info[1])
        + "Install it into this project:\n"
        "  python3 -m venv .venv && .venv/bin/pip install PATH-TO-A-CLONE-OF-AUTO-BUILD\n"
        "or, in a clone of auto-build itself:\n"
        "  make setup\n"
        "then run the same command again.\n"
    )
    return 3


if __name__ == "__main__":
    sys.exit(main())
