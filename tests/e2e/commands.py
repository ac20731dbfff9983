"""Typing commands as a user does."""

import json
import os
import subprocess  # noqa: TID251 - what the user types is a process of its own
import sys
from pathlib import Path
from typing import Any

from tests.e2e.project import Project

LIMIT_S = 60.0


class Typed:
    """What a command printed, and its exit code."""

    def __init__(self, done: "subprocess.CompletedProcess[str]") -> None:
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr
        assert "Traceback" not in self.err, self.err

    @property
    def value(self) -> Any:
        """The JSON value that it printed."""
        return json.loads(self.out)


def type_in(project: Path, *argv: str, env: dict[str, str] | None = None, said: str = "") -> Typed:
    """Type a command in a folder."""
    return Typed(
        subprocess.run(
            argv,
            cwd=project,
            env={**os.environ, **(env or {})},
            input=said,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
    )


def auto_build(project: Project, *args: str, **more: Any) -> Typed:
    return type_in(project.path, sys.executable, "-m", "auto_build", *args, **more)


def run_py(project: Project, *args: str, **more: Any) -> Typed:
    return type_in(project.path, sys.executable, "auto-build/run.py", *args, **more)
