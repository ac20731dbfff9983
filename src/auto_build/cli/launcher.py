"""The flags of `python auto-build/run.py`, as the guide documents them."""

from pathlib import Path
from typing import Any

import click

from auto_build.cli.finishing import do_discard
from auto_build.cli.looking import show_list, show_status
from auto_build.cli.merging import do_merge, merge_options, read_wish
from auto_build.cli.options import as_json, build_options, project_dir, queue_options
from auto_build.cli.output import Out
from auto_build.cli.queueing import Order, build_all
from auto_build.cli.reviewing import Form, show_review
from auto_build.cli.rounds import show_qa
from auto_build.cli.ways import launcher_ways
from auto_build.coordinator import Reviews
from auto_build.errors import UsageProblem

_ACTIONS = ("list", "status", "review", "merge", "discard", "qa", "qa_status")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--spec", "specs", multiple=True, help="The spec: its number or its name; again for a queue."
)
@build_options
@queue_options
@click.option("--list", "list", is_flag=True, help="List the specs and how far each is.")
@click.option("--status", is_flag=True, help="Show how the build stands.")
@click.option("--review", is_flag=True, help="Tell the story of the build.")
@click.option("--merge", is_flag=True, help="Bring staging into your branch.")
@merge_options
@click.option("--discard", is_flag=True, help="Throw staging away (asks first).")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--qa", is_flag=True, help="Have the finished build reviewed again.")
@click.option("--qa-status", is_flag=True, help="Show how the review rounds stand.")
@click.option("--skip-qa", is_flag=True, help="Do not have the finished build reviewed.")
@project_dir
@as_json
def launch(
    specs: tuple[str, ...],
    project_dir: Path,
    as_json: bool,
    verbose: bool,
    yes: bool,
    squash: bool,
    force: str | None,
    pr: bool,
    remote: str,
    skip_qa: bool,
    park: bool,
    stop_on_failure: bool,
    **given: Any,
) -> int:
    """Build a spec with several agents at once: --spec 001 --parallel 2."""
    out = Out(as_json)
    asked = [name for name in _ACTIONS if given.pop(name)]
    if len(asked) > 1:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in asked)
        raise UsageProblem(f"{flags} are different things to do", hint="give one of them")
    action = asked[0] if asked else "build"
    if action == "list":
        return show_list(project_dir, out)
    if action in {"build", "qa"} and specs:
        order = Order(
            folder=project_dir,
            specs=specs,
            flags=given,
            out=out,
            ways=launcher_ways,
            verbose=verbose,
            yes=yes,
            park=park,
            stop_on_failure=stop_on_failure,
            reviews=_reviews(action, skip_qa=skip_qa),
        )
        return build_all(order)
    if len(specs) > 1:
        raise UsageProblem("one spec at a time", hint="only building takes several")
    spec = specs[0] if specs else None
    if action == "status":
        return show_status(project_dir, spec, out)
    if spec is None:
        raise UsageProblem("which spec?", hint="add --spec 001; --list shows what there is")
    if action == "merge":
        wish = read_wish(squash=squash, force=force)
        return do_merge(project_dir, spec, out, wish, remote=remote if pr else "")
    return _finish(action, project_dir, spec, out, yes=yes)


def _reviews(action: str, *, skip_qa: bool) -> Reviews:
    if action == "qa" and skip_qa:
        raise UsageProblem("--qa and --skip-qa are opposites", hint="give one of them")
    if action == "qa":
        return Reviews.AGAIN
    return Reviews.SKIPPED if skip_qa else Reviews.AS_SET


def _finish(action: str, folder: Path, spec: str, out: Out, *, yes: bool) -> int:
    match action:
        case "review":
            return show_review(folder, spec, out, launcher_ways(spec), Form())
        case "discard":
            return do_discard(folder, spec, out, yes=yes)
        case _:
            return show_qa(folder, spec, out)
