"""`merge`, `undo-merge`: staging comes into the user's branch, and out of it again."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from auto_build.cli.options import Command, as_json, project_dir
from auto_build.cli.output import Out
from auto_build.core.events import MergeForm
from auto_build.delivery import Build
from auto_build.errors import EXIT_DONE, UsageProblem
from auto_build.merging import Merged, merge
from auto_build.proposing import Proposed, propose
from auto_build.readiness import Form, Wish
from auto_build.ui.words import counted
from auto_build.unmerging import Unmerged, unmerge

_SHORT: Final = 10
_WORDS: Final = {
    MergeForm.FAST_FORWARD: "fast-forward",
    MergeForm.MERGE: "merge commit",
    MergeForm.SQUASH: "one commit",
}


def merge_options(command: Command) -> Command:
    """Add what a merge can be told, in `merge` and in the launcher alike."""
    for option in (
        click.option("--remote", default="origin", help="Where --pr pushes to."),
        click.option("--pr", is_flag=True, help="Push, and open a pull request; merge nothing."),
        click.option("--squash", is_flag=True, help="Merge as one commit."),
        click.option("--force", metavar="WHY", help="Merge without an approval, and say why."),
    ):
        command = option(command)
    return command


@click.command("merge")
@click.argument("spec")
@click.option("--partial", is_flag=True, help="Merge although not every chunk has landed.")
@click.option("--no-ff", is_flag=True, help="Make a merge commit in any case.")
@click.option("--ff-only", is_flag=True, help="Move the branch on, or do nothing.")
@click.option("--message", default="", help="The message of the commit that is made.")
@merge_options
@project_dir
@as_json
def merge_(
    spec: str,
    partial: bool,
    no_ff: bool,
    ff_only: bool,
    message: str,
    squash: bool,
    force: str | None,
    pr: bool,
    remote: str,
    project_dir: Path,
    as_json: bool,
) -> int:
    """Bring staging into the branch that you have checked out."""
    wish = read_wish(
        squash=squash,
        no_ff=no_ff,
        ff_only=ff_only,
        force=force,
        partial=partial,
        message=message,
    )
    return do_merge(project_dir, spec, Out(as_json), wish, remote=remote if pr else "")


def read_wish(
    *,
    squash: bool,
    force: str | None,
    no_ff: bool = False,
    ff_only: bool = False,
    partial: bool = False,
    message: str = "",
) -> Wish:
    """Return what was typed as a wish.

    Raises:
        UsageProblem: flags exclude each other, or the reason is empty.
    """
    flags: dict[Form, bool] = {"squash": squash, "merge": no_ff, "ff-only": ff_only}
    asked = [form for form, given in flags.items() if given]
    if len(asked) > 1:
        raise UsageProblem(
            "--squash, --no-ff and --ff-only exclude each other", hint="give one of them"
        )
    if force is not None and not force.strip():
        raise UsageProblem(
            "--force needs a reason, which is kept", hint='write it behind: --force "tried by hand"'
        )
    form = asked[0] if asked else None
    return Wish(form=form, forced=(force or "").strip(), partial=partial, message=message)


def do_merge(folder: Path, spec: str, out: Out, wish: Wish, *, remote: str = "") -> int:
    """Merge staging into the user's branch; with a `remote`, open a pull request there."""
    say = _teller(out)

    async def act() -> int:
        build = await Build.open(folder, spec)
        if remote:
            proposed = await propose(build, wish, remote, say)
            _tell(out, proposed, _proposed_lines(proposed))
        else:
            merged = await merge(build, wish, say)
            _tell(out, merged, _merged_lines(merged))
        return EXIT_DONE

    return asyncio.run(act())


@click.command("undo-merge")
@click.argument("spec")
@click.option("--revert", is_flag=True, help="Take it back by a commit on top.")
@project_dir
@as_json
def undo_merge(spec: str, revert: bool, project_dir: Path, as_json: bool) -> int:
    """Take the merge of SPEC back: your branch is as before it, and staging is there again."""
    out = Out(as_json)

    async def act() -> int:
        done = await unmerge(await Build.open(project_dir, spec), revert=revert)
        _tell(out, done, _unmerged_lines(done))
        return EXIT_DONE

    return asyncio.run(act())


def _teller(out: Out) -> Callable[[str], None]:
    def say(text: str) -> None:
        if not out.json:
            out.text(text)

    return say


def _tell(out: Out, value: object, lines: list[str]) -> None:
    if out.json:
        out.value(value)
        return
    for line in lines:
        out.text(line)


def _merged_lines(done: Merged) -> list[str]:
    if done.form is None:
        lines = [f"{done.branch} holds everything already: taken note of"]
    else:
        files = counted(done.files, "file")
        how = _WORDS[done.form]
        lines = [f"merged into {done.branch}: {files}, {done.commit[:_SHORT]} ({how})"]
        lines.append(done.approval)
    if done.checks:
        lines.append(f"{counted(len(done.checks), 'check')} passed on the merged tree")
    lines.extend(done.notes)
    return [*lines, done.kept] if done.kept else lines


def _proposed_lines(done: Proposed) -> list[str]:
    into = f" into {done.base}" if done.base else ""
    lines = [f"pushed {done.branch} to {done.remote}", done.approval]
    if done.program:
        return [*lines, f"{done.program}: {done.url}"]
    where = f"from {done.branch}{into}"
    return [*lines, f"neither gh nor glab is installed: open it on your host's page, {where}"]


def _unmerged_lines(done: Unmerged) -> list[str]:
    what = "a commit takes the merge back" if done.reverted else "as before the merge"
    lines = [f"{done.branch} is at {done.commit[:_SHORT]}: {what}"]
    if not done.reverted:
        lines.append(f"{done.spec} is in staging again: auto-build merge {done.spec}")
    return [*lines, *done.notes]
