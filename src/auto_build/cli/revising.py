"""`undo`, `redo`, `verify`: take what landed out, bring it back, see that what git keeps holds."""

import asyncio
from pathlib import Path
from typing import Final

import click

from auto_build.cli.options import Command, as_json, project_dir
from auto_build.cli.output import Out
from auto_build.core.events import Revision
from auto_build.delivery import Build
from auto_build.errors import EXIT_DONE, EXIT_UNFINISHED, NotReady, UsageProblem
from auto_build.git.landing import BRANCHES, branch_of
from auto_build.git.repo import Repo
from auto_build.holding import find_holding
from auto_build.process import Processes
from auto_build.ui.words import counted
from auto_build.undoing import Revised, Reviser
from auto_build.verifying import Verified, is_in_git, verify
from auto_build.workspace import Workspace

_SHORT: Final = 10


def _options(command: Command) -> Command:
    """Add what undo and redo have in common."""
    for option in (
        as_json,
        project_dir,
        click.option("--dry-run", is_flag=True, help="Only say which chunks it comes to."),
        click.option("--spec", help="The spec; the one in staging unless given."),
        click.argument("chunks", nargs=-1, required=True),
    ):
        command = option(command)
    return command


@click.command()
@_options
def undo(
    chunks: tuple[str, ...], spec: str | None, dry_run: bool, project_dir: Path, as_json: bool
) -> int:
    """Take CHUNKS out of staging, with all that builds on them, if the rest is green then."""
    out = Out(as_json)
    return asyncio.run(_revise(project_dir, spec, Revision.UNDO, chunks, out, dry_run=dry_run))


@click.command()
@_options
def redo(
    chunks: tuple[str, ...], spec: str | None, dry_run: bool, project_dir: Path, as_json: bool
) -> int:
    """Bring CHUNKS that were undone back into staging, with all that they need."""
    out = Out(as_json)
    return asyncio.run(_revise(project_dir, spec, Revision.REDO, chunks, out, dry_run=dry_run))


async def _revise(
    folder: Path,
    spec: str | None,
    revision: Revision,
    chunks: tuple[str, ...],
    out: Out,
    *,
    dry_run: bool,
) -> int:
    build = await Build.open(folder, spec or await _in_staging(folder))

    def say(text: str) -> None:
        if not out.json:
            out.text(text)

    reviser = Reviser(build, say, say)
    act = reviser.preview if dry_run else reviser.revise
    done = await act(revision, chunks)
    if out.json:
        out.value(done)
    else:
        _show(done, out)
    return EXIT_DONE


async def _in_staging(folder: Path) -> str:
    """Return the spec whose build the staging worktree holds, else the one that has a branch.

    Raises:
        NotReady: none has one.
        UsageProblem: several do.
    """
    repo = await Repo.open(folder, Processes())
    workspace = Workspace(repo.project, repo.common_dir)
    if (held := await find_holding(repo, workspace)) and held.view:
        return held.spec
    branches = await repo.refs(f"{BRANCHES}/")
    found = [spec.name for spec in workspace.specs() if branch_of(spec.name) in branches]
    if not found:
        raise NotReady("there is no staging here", hint="build something: auto-build run 001")
    if len(found) > 1:
        raise UsageProblem("which spec?", hint=f"name it with --spec: {', '.join(found)}")
    return found[0]


def _show(done: Revised, out: Out) -> None:
    named = ", ".join(done.chunks)
    back = done.revision is Revision.REDO
    if not done.commit:
        out.text(f"would {'bring back' if back else 'take out'}: {named}; nothing was changed")
        return
    checks = counted(len(done.checks), "check")
    what = "back in staging" if back else "out of staging"
    out.text(f"{named}: {what} at {done.commit[:_SHORT]}; {checks} passed on what is there now")
    if done.view:
        out.text(f"the staging worktree does not show it: {done.view}")
    if not back:
        out.text(f"bring it back: auto-build redo {' '.join(done.chunks)} --spec {done.spec}")
        out.text(f"or have it done again: auto-build retry {done.spec} {' '.join(done.chunks)}")


@click.command("verify")
@click.argument("spec", required=False)
@project_dir
@as_json
def verify_(spec: str | None, project_dir: Path, as_json: bool) -> int:
    """Hold the landings of SPEC against what git keeps of them; of all specs, if none is named."""
    out = Out(as_json)
    found = asyncio.run(_verify(project_dir, spec))
    if out.json:
        out.value({"verified": found})
    else:
        for one in found:
            _show_verified(one, out)
    sound = not any(one.findings for one in found)
    return EXIT_DONE if sound else EXIT_UNFINISHED


async def _verify(folder: Path, spec: str | None) -> list[Verified]:
    if spec is not None:
        return [await verify(await Build.open(folder, spec))]
    repo = await Repo.open(folder, Processes())
    found: list[Verified] = []
    for one in Workspace(repo.project, repo.common_dir).specs():
        build = await Build.open(folder, one.name)
        if await is_in_git(build):
            found.append(await verify(build))
    if not found:
        raise NotReady("nothing has landed here yet", hint="build something: auto-build run 001")
    return found


def _show_verified(done: Verified, out: Out) -> None:
    commits = counted(done.commits, "commit")
    where = f"{done.spec}: {commits} in {done.place} ({done.base[:_SHORT]}..{done.head[:_SHORT]})"
    if not done.findings:
        out.text(f"✓ {where}: all hold")
        return
    out.text(f"✗ {where}: {counted(len(done.findings), 'finding')}")
    for one in done.findings:
        chunk = f"{one.chunk}: " if one.chunk else ""
        out.text(f"  {one.fault.value:<20}  {one.commit[:_SHORT]}  {chunk}{one.what}")
