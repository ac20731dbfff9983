"""`park`, `unpark`: put a build aside for another one, and take it up again."""

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

import click

from auto_build.cli.options import as_json, project_dir
from auto_build.cli.output import Out, is_terminal
from auto_build.delivery import Build
from auto_build.errors import EXIT_DONE
from auto_build.holding import Holding, find_holding
from auto_build.journal import find_holder
from auto_build.parking import Parked, Parking


@click.command()
@click.argument("spec")
@project_dir
@as_json
def park(spec: str, project_dir: Path, as_json: bool) -> int:
    """Put the build of SPEC aside, with all that it has, so that another one can be built."""
    out = Out(as_json)
    done = asyncio.run(_park(project_dir, spec, out))
    if out.json:
        out.value(done)
        return EXIT_DONE
    out.text(f"parked {done.spec}: it stays on {done.branch} at {done.head[:10]}")
    if done.unsaved:
        out.text(f"what was unsaved in its staging worktree is kept as {done.pin}")
    out.text(f"take it up again: auto-build unpark {spec}, or auto-build run {spec}")
    return EXIT_DONE


async def _park(folder: Path, spec: str, out: Out) -> Parked:
    return await Parking(await Build.open(folder, spec), _teller(out)).park()


@click.command()
@click.argument("spec")
@project_dir
@as_json
def unpark(spec: str, project_dir: Path, as_json: bool) -> int:
    """Give the build of SPEC its staging worktree again."""
    out = Out(as_json)

    async def act() -> int:
        done = await Parking(await Build.open(project_dir, spec), _teller(out)).unpark()
        if out.json:
            out.value(done)
            return EXIT_DONE
        out.text(f"{done.spec} is in {done.worktree} again, at {done.head[:10]}")
        for line in done.told:
            out.text(line)
        return EXIT_DONE

    return asyncio.run(act())


def make_room(folder: Path, spec: str, out: Out, *, mine: Collection[str], park: bool) -> None:
    """Park the build that has the staging worktree, where `spec` is to be built and it is another.

    Only if that was said: with `park`, by naming both for one queue (`mine`), or when somebody who
    can be asked says so. Otherwise nothing is done, and the run will say who is there.
    """
    other = asyncio.run(_find_other(folder, spec))
    if other is None or not (park or other.spec in mine or _is_agreed(other, spec, out)):
        return
    done = asyncio.run(_park(folder, other.spec, out))
    if not out.json:
        out.text(f"parked {done.spec} ({other.stands}): auto-build unpark {done.spec}")


async def _find_other(folder: Path, spec: str) -> Holding | None:
    """Return the build that is in the way, if one is and no run is going on."""
    build = await Build.open(folder, spec)
    held = await find_holding(build.repo, build.workspace)
    going = find_holder(build.workspace.state_dir) is not None
    return None if held is None or held.branch == build.branch or going else held


def _is_agreed(other: Holding, spec: str, out: Out) -> bool:
    if out.json or other.view is None or not is_terminal():
        return False
    out.text(f"{other.spec} has the staging worktree: {other.stands}")
    return click.confirm(f"Park it, and build {spec}?", default=False)


def _teller(out: Out) -> Callable[[str], None]:
    return (lambda _: None) if out.json else out.text
