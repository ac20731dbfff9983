"""What to type next, in the spelling that the user knows."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from auto_build.ui.console import Ways


def subcommand_ways(
    spec: str, flags: Mapping[str, Any] | None = None, queue: Sequence[str] = ()
) -> Ways:
    """Return the ways on for users of the console script.

    `flags` are those of the run, and `queue` are the specs that were named with it, if it was one.
    """
    return Ways(
        run=f"auto-build run {' '.join(queue or (spec,))}{_typed(flags or {})}",
        review=f"auto-build review {spec}",
        qa=f"auto-build qa {spec}",
        qa_status=f"auto-build qa {spec} --status",
        page=f"auto-build review {spec} --html --open",
        approve=f"auto-build approve {spec}",
        reject=f"auto-build reject {spec}",
        merge=f"auto-build merge {spec}",
        logs=f"auto-build logs {spec}",
        retry=f"auto-build retry {spec}",
        redo=f"auto-build redo --spec {spec}",
    )


def launcher_ways(
    spec: str, flags: Mapping[str, Any] | None = None, queue: Sequence[str] = ()
) -> Ways:
    """Return the ways on for users of `run.py`.

    `flags` are those of the run, and `queue` are the specs that were named with it, if it was one.
    """
    start = "python auto-build/run.py"
    return Ways(
        run=f"{start} --spec {' --spec '.join(queue or (spec,))}{_typed(flags or {})}",
        review=f"{start} --spec {spec} --review",
        qa=f"{start} --spec {spec} --qa",
        qa_status=f"{start} --spec {spec} --qa-status",
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
