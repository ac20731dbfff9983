"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]


def project_dir(command: Command) -> Command:
    """Add --project-dir."""
    return click.option(
        "--project-dir",
        type=click.Path(path_type=Path),
        default=Path(),
        help="A folder in the repository to work in; the current one unless given.",
    )(command)


def as_json(command: Command) -> Command:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(command)


def queue_options(command: Command) -> Command:
    """Add what a run can be told of the builds beside and after it."""
    for option in (
        click.option(
            "--stop-on-failure", is_flag=True, help="Of several specs, none after one that fails."
        ),
        click.option("--park", is_flag=True, help="Put the build aside that has staging now."),
    ):
        command = option(command)
    return command


def build_options(command: Command) -> Command:
    """Add what a run can be told, apart from its spec."""
    for option in (
        click.option("--verbose", is_flag=True, help="Show what the agents say and do."),
        click.option(
            "--ordered-phases",
            is_flag=True,
            default=None,
            help="Take a phase without depends_on as following the one before it.",
        ),
        click.option(
            "--keep-worktrees", is_flag=True, default=None, help="Keep the workers' worktrees."
        ),
        click.option(
            "--max-qa-rounds",
            type=click.IntRange(min=1, max=100),
            help="Review the finished build at most so many times (10 unless set).",
        ),
        click.option(
            "--max-iterations", type=click.IntRange(min=1), help="Stop after so many sessions."
        ),
        click.option(
            "--max-chunk-cost",
            type=click.FloatRange(min=0, min_open=True),
            help="Spend at most so many US dollars on one chunk.",
        ),
        click.option(
            "--max-cost",
            type=click.FloatRange(min=0, min_open=True),
            help="Spend at most so many US dollars in all.",
        ),
        click.option("--model", help="The model, for agents that take one."),
        click.option("--agent", help="Which agent of auto-build.toml to use."),
        click.option(
            "--parallel",
            type=click.IntRange(1, 64),
            help="How many agents work at once (2 unless set).",
        ),
    ):
        command = option(command)
    return command
