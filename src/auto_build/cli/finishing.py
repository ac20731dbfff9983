"""`merge`, `discard`, `clean`: from staging to the user."""

import asyncio
from pathlib import Path

import click

from auto_build.cli.options import as_json, project_dir
from auto_build.cli.output import Out
from auto_build.delivery import Build, clean
from auto_build.errors import EXIT_DONE, EXIT_UNFINISHED, UsageProblem


@click.command()
@click.argument("spec")
@click.option("--partial", is_flag=True, help="Merge although not every chunk has landed.")
@project_dir
@as_json
def merge(spec: str, partial: bool, project_dir: Path, as_json: bool) -> int:
    """Bring staging into the branch that you have checked out."""
    return do_merge(project_dir, spec, Out(as_json), partial=partial)


def do_merge(folder: Path, spec: str, out: Out, *, partial: bool) -> int:
    """Merge staging into the user's branch."""

    async def act() -> int:
        done = await (await Build.open(folder, spec)).merge(partial=partial)
        if out.json:
            out.value(done)
            return EXIT_DONE
        how = "fast-forward" if done.fast_forward else "merge commit; run your tests on it"
        out.text(f"merged into {done.branch}: {done.files} files, {done.commit[:10]} ({how})")
        if done.kept:
            out.text(done.kept)
        return EXIT_DONE

    return asyncio.run(act())


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
@project_dir
@as_json
def clean_(project_dir: Path, as_json: bool) -> int:
    """Remove the worktrees of builds that are over; only what is landed or pinned."""
    out = Out(as_json)
    done = asyncio.run(clean(project_dir))
    if out.json:
        out.value(done)
        return EXIT_DONE
    for path in done.removed:
        out.text(f"removed {path}")
    for path in done.kept:
        out.text(f"kept    {path}")
    if not done.removed and not done.kept:
        out.text("nothing to clean")
    return EXIT_DONE
