"""The `auto-build` program: its sub-commands."""

import sys

import click

from auto_build.cli.boundary import invoke
from auto_build.cli.building import pause, retry, run, skip
from auto_build.cli.finishing import clean_, discard, merge, review
from auto_build.cli.fitting import doctor, init
from auto_build.cli.launcher import launch
from auto_build.cli.looking import list_, logs, status
from auto_build.cli.plans import plan
from auto_build.cli.showing import demo


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="auto-build")
def cli() -> None:
    """Several AI coding agents at once on one git repository: planned, isolated, tested, merged."""


for command in (
    demo,
    init,
    plan,
    run,
    status,
    list_,
    logs,
    pause,
    retry,
    skip,
    review,
    merge,
    discard,
    clean_,
    doctor,
    launch,
):
    cli.add_command(command)


def main() -> None:
    """Run the console script."""
    sys.exit(invoke(cli, sys.argv[1:]))
