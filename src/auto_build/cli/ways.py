"""What to type next, in the spelling that the user knows."""

import shlex
from collections.abc import Mapping
from typing import Any

from auto_build.ui.console import Ways


def subcommand_ways(spec: str, flags: Mapping[str, Any] | None = None) -> Ways:
    """Return the ways on for users of the console script; `flags` are those of the run."""
    return Ways(
        run=f"auto-build run {spec}{_typed(flags or {})}",
        review=f"auto-build review {spec}",
        page=f"auto-build review {spec} --html --open",
        approve=f"auto-build approve {spec}",
        reject=f"auto-build reject {spec}",
        merge=f"auto-build merge {spec}",
        logs=f"auto-build logs {spec}",
        retry=f"auto-build retry {spec}",
        redo=f"auto-build redo --spec {spec}",
    )


def launcher_ways(spec: str, flags: Mapping[str, Any] | None = None) -> Ways:
    """Return the ways on for users of `run.py`; `flags` are those of the run."""
    start = "python auto-build/run.py"
    return Ways(
        run=f"{start} --spec {spec}{_typed(flags or {})}",
        review=f"{start} --spec {spec} --review",
        page=f"{start} review {spec} --html --open",
        approve=f"{start} approve {spec}",
        reject=f"{start} reject {spec}",
        merge=f"{start} --spec {spec} --merge",
        logs=f"{start} logs {spec}",
        retry=f"{start} retry {spec}",
        redo=f"{start} redo --spec {spec}",
    )


def _typed(flags: Mapping[str, Any]) -> str:
    given = {name: value for name, value in flags.items() if value is not None}
    return "".join(
        f" --{name.replace('_', '-')}" + ("" if value is True else f" {shlex.quote(str(value))}")
        for name, value in given.items()
    )
