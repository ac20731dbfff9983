"""The `auto-build` program: its sub-commands."""

import sys
from collections.abc import Sequence

import click

from auto_build.cli.boundary import invoke
from auto_build.cli.building import pause, retry, skip, steer
from auto_build.cli.drafting import draft, spec
from auto_build.cli.finishing import clean_, discard
from auto_build.cli.fitting import doctor, init
from auto_build.cli.judging import approve_, comment_, reject_
from auto_build.cli.launcher import launch
from auto_build.cli.looking import list_, logs, status
from auto_build.cli.merging import merge_, undo_merge
from auto_build.cli.parking import park, unpark
from auto_build.cli.plans import plan
from auto_build.cli.queueing import run
from auto_build.cli.reviewing import review
from auto_build.cli.revising import redo, undo, verify_
from auto_build.cli.rounds import qa
from auto_build.cli.showing import demo


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="auto-build")
def cli() -> None:
    """Several AI coding agents at once on one git repository: planned, isolated, tested, merged."""


for command in (
    demo,
    init,
    spec,
    plan,
    run,
    status,
    list_,
    logs,
    pause,
    retry,
    skip,
    steer,
    qa,
    review,
    approve_,
    reject_,
    comment_,
    verify_,
    undo,
    redo,
    merge_,
    undo_merge,
    discard,
    park,
    unpark,
    clean_,
    doctor,
):
    cli.add_command(command)
plan.add_command(draft)


def launch_main(argv: Sequence[str]) -> int:
    """Run what `run.py` was given: its flags, or a sub-command of the console script.

    Args:
        argv: `--project-dir`, the project, and what the user typed.
    """
    own, typed = argv[:2], argv[2:]
    if typed and not typed[0].startswith("-"):
        return invoke(cli, [*typed, *own] if own[0] not in typed else typed)
    return invoke(launch, argv)


def main() -> None:
    """Run the console script; `launch` is how run.py hands over to one that is installed."""
    if sys.argv[1:2] == ["launch"]:
        sys.exit(launch_main(sys.argv[2:]))
    sys.exit(invoke(cli, sys.argv[1:]))
