"""`discard`, `clean`: throw away what was built, tidy up."""

import asyncio
from pathlib import Path

import click

from auto_build.cleaning import Cleaned, clean
from auto_build.cli.options import as_json, project_dir
from auto_build.cli.output import Out
from auto_build.delivery import Build
from auto_build.errors import EXIT_DONE, EXIT_UNFINISHED, UsageProblem
from auto_build.ui.words import counted


@click.command()
@click.argument("spec")
@click.option("--yes", is_flag=True, help="Do not ask.")
@project_dir
@as_json
def discard(spec: str, yes: bool, project_dir: Path, as_json: bool) -> int:
    """Throw staging away; the attempts and its last state stay pinned."""
    return do_discard(project_dir, spec, Out(as_json), yes=yes)


def do_discard(folder: Path, spec: str, out: Out, *, yes: bool) -> int:
    """Throw a build away, after asking."""
    found = asyncio.run(Build.open(folder, spec))
    asyncio.run(found.require_staging())
    if not yes:
        if out.json:
            raise UsageProblem("discard asks first", hint="add --yes to a command with --json")
        question = f"Throw away the build of {found.spec.name} ({found.short_branch})?"
        if not click.confirm(question, default=False):
            out.text("nothing was changed")
            return EXIT_UNFINISHED
    done = asyncio.run(found.discard())
    if out.json:
        out.value(done)
    else:
        out.text(f"discarded {done.spec}; its last state is kept: git log {done.pin}")
    return EXIT_DONE


@click.command("clean")
@click.option("--pins", is_flag=True, help="Also the pins of builds that were over long ago.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@project_dir
@as_json
def clean_(pins: bool, dry_run: bool, project_dir: Path, as_json: bool) -> int:
    """Remove the worktrees of builds that are over; only what is landed or pinned."""
    out = Out(as_json)
    done = asyncio.run(clean(project_dir, pins=pins, dry_run=dry_run))
    if out.json:
        out.value(done)
        return EXIT_DONE
    for line in _cleaned_lines(done, pins=pins):
        out.text(line)
    return EXIT_DONE


def _cleaned_lines(done: Cleaned, *, pins: bool) -> list[str]:
    verb = "would remove" if done.dry else "removed"
    lines = [f"{verb} {path}" for path in done.removed] + [f"kept    {path}" for path in done.kept]
    if pins:
        lines.append(f"{verb} {counted(len(done.pins), 'pin')} of builds that are over")
        if done.young:
            lines.append(f"kept    {counted(done.young, 'pin')} for {done.days} days after the end")
    return lines or ["nothing to clean"]
