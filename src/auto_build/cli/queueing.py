"""`run`: one build, or several one after the other, each on a branch of its own.

There is one staging worktree: a build of a queue is parked when the next one begins, whatever came
of it, and waits on its branch. The same command goes on where a queue was interrupted.
"""

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from auto_build.cli.building import brief, build
from auto_build.cli.options import as_json, build_options, project_dir, queue_options
from auto_build.cli.output import Out, plain, show_error
from auto_build.cli.parking import make_room
from auto_build.cli.ways import subcommand_ways
from auto_build.coordinator import Reviews
from auto_build.core.qa import Standing
from auto_build.core.view import View
from auto_build.core.waiting import describe, is_through
from auto_build.errors import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_UNFINISHED,
    AutoBuildError,
    EnvironmentUnfit,
    RunLocked,
    UsageProblem,
)
from auto_build.git.repo import Repo
from auto_build.history import load_view
from auto_build.process import Processes
from auto_build.settings import load_settings
from auto_build.ui.console import Ways
from auto_build.workspace import Spec, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was typed: which specs are to be built, and how; `ways` spells what to type next."""

    folder: Path
    specs: tuple[str, ...]
    flags: Mapping[str, Any]
    out: Out
    ways: Callable[..., Ways]
    verbose: bool = False
    yes: bool = False
    park: bool = False
    stop_on_failure: bool = False
    reviews: Reviews = Reviews.AS_SET


@dataclass(frozen=True, slots=True)
class _Came:
    """What came of one build of a queue; `error` says why it could not be begun or gone on with."""

    spec: str
    code: int
    error: str = ""
    skipped: bool = False


def build_all(order: Order) -> int:
    """Build what was asked for, and return the exit code."""
    if len(order.specs) == 1:
        spec = order.specs[0]
        make_room(order.folder, spec, order.out, mine=(), park=order.park)
        return _build(order, spec, order.ways(spec, order.flags))
    return asyncio.run(_open(order)).build()


def _build(order: Order, spec: str, ways: Ways) -> int:
    return build(
        order.folder,
        spec,
        flags=order.flags,
        out=order.out,
        verbose=order.verbose,
        ways=ways,
        yes=order.yes,
        reviews=order.reviews,
    )


async def _open(order: Order) -> "_Queue":
    """Find all specs of a queue, and read their plans, before any of them is begun.

    Raises:
        AutoBuildError: one is not there, is named twice, or has a plan that cannot be run.
    """
    repo = await Repo.open(order.folder, Processes())
    workspace = Workspace(repo.project, repo.common_dir)
    settings = load_settings(repo.project, order.flags, os.environ)
    specs = tuple(workspace.require_spec(one) for one in order.specs)
    for spec in specs:
        if specs.count(spec) > 1:
            raise UsageProblem(f"{spec.name} is named twice", hint="name each spec once")
        if spec.plan_path.exists():
            spec.load_plan(ordered_phases=settings.run.ordered_phases)
    reviewed = settings.qa.review and order.reviews is Reviews.AS_SET
    return _Queue(order, workspace, specs, reviewed=reviewed)


@dataclass(frozen=True, slots=True)
class _Queue:
    """Several builds, one after the other; `reviewed` says that each is looked at at its end."""

    order: Order
    workspace: Workspace
    specs: Sequence[Spec]
    reviewed: bool

    def build(self) -> int:
        """Build all of them, and say at the end how each stands; return the exit code."""
        came: list[_Came] = []
        try:
            for spec in self.specs:
                came.append(self._one(spec))
                code = came[-1].code
                if code == EXIT_INTERRUPTED or (code and self.order.stop_on_failure):
                    break
        except AutoBuildError as error:
            self._conclude(came, error.exit_code)
            raise
        return self._conclude(came, _exit_code(came))

    def _one(self, spec: Spec) -> _Came:
        """Build one of them, unless nothing is left to be done.

        Raises:
            EnvironmentUnfit: nothing can be built here, so that the next could not be either.
            RunLocked: another run is going on.
        """
        view = load_view(self.workspace, spec.name)
        again = self.order.reviews is Reviews.AGAIN
        try:
            through = view and is_through(view, reviewed=self.reviewed) and not again
            if view and through and not _has_news(spec, view):
                self._tell_skipped(view)
                return _Came(spec.name, EXIT_DONE, skipped=True)
            return _Came(spec.name, self._build(spec.name))
        except (EnvironmentUnfit, RunLocked):
            raise
        except AutoBuildError as error:
            self._tell_error(spec, error)
            return _Came(spec.name, EXIT_UNFINISHED, str(error))

    def _build(self, spec: str) -> int:
        order = self.order
        names = [one.name for one in self.specs]
        make_room(order.folder, spec, order.out, mine=names, park=order.park)
        if not order.out.json:
            order.out.text(f"\n{spec} ({names.index(spec) + 1} of {len(names)})")
        return _build(order, spec, order.ways(spec, order.flags, order.specs))

    def _next(self, spec: str, view: View | None) -> str:
        """Return what to type next for a build; nothing where it was merged."""
        ways = self.order.ways(spec, self.order.flags)
        if view is None or not view.finished:
            return ways.run
        if view.merged:
            return ""
        ready = {Standing.APPROVED, Standing.SKIPPED, Standing.NONE}
        return ways.merge if view.standing in ready else ways.review

    def _tell_skipped(self, view: View) -> None:
        if self.order.out.json:
            _line({"type": "Summary", "skipped": True, "finished": True, **brief(view)})
        else:
            self.order.out.text(f"\n{view.spec}: nothing to do, it is {describe(view)}")

    def _tell_error(self, spec: Spec, error: AutoBuildError) -> None:
        if self.order.out.json:
            told = {"error": str(error), "hint": error.hint, "exit_code": error.exit_code}
            _line({"type": "Summary", "spec": spec.name, "finished": False, **told})
        else:
            show_error(error, as_json=False)

    def _conclude(self, came: Sequence[_Came], code: int) -> int:
        """Say how every build stands now; return the exit code."""
        told = [self._stands(one) for one in came]
        out = self.order.out
        if out.json:
            _line({"type": "Total", "builds": told, "exit_code": code})
            return code
        out.text(f"\n{len(told)} of {len(self.specs)} specs:")
        width = max((len(one["spec"]) for one in told), default=0)
        for one in told:
            mark = "■" if one["exit_code"] else "✓"
            more = f"; next: {one['next']}" if one["next"] else ""
            out.text(f"  {mark} {one['spec']:<{width}}  {one['state']}{more}")
        return code

    def _stands(self, came: _Came) -> dict[str, Any]:
        """Return how a build stands now: all but the last were parked after they had ended."""
        view = load_view(self.workspace, came.spec)
        state = describe(view) if view else "not begun"
        return {
            "spec": came.spec,
            "state": f"{state}: {came.error.partition(chr(10))[0]}" if came.error else state,
            "exit_code": came.code,
            "skipped": came.skipped,
            "next": self._next(came.spec, view),
        }


def _exit_code(came: Sequence[_Came]) -> int:
    codes = {one.code for one in came}
    if EXIT_INTERRUPTED in codes:
        return EXIT_INTERRUPTED
    return EXIT_UNFINISHED if codes - {EXIT_DONE} else EXIT_DONE


def _has_news(spec: Spec, view: View) -> bool:
    """Say whether a plan has chunks of which its build knows nothing yet."""
    known = {row.id for row in view.rows}
    return spec.plan_path.exists() and not set(spec.load_plan().plan.chunks) <= known


def _line(value: Mapping[str, Any]) -> None:
    click.echo(json.dumps(plain(dict(value)), ensure_ascii=False))


@click.command()
@click.argument("specs", nargs=-1)
@click.option("--spec", "named", multiple=True, help="A spec, as an option.")
@click.option("--yes", is_flag=True, help="Build from a drafted plan without asking.")
@click.option("--skip-qa", is_flag=True, help="Do not have the finished builds reviewed.")
@build_options
@queue_options
@project_dir
@as_json
def run(
    specs: tuple[str, ...],
    named: tuple[str, ...],
    yes: bool,
    skip_qa: bool,
    park: bool,
    stop_on_failure: bool,
    project_dir: Path,
    as_json: bool,
    verbose: bool,
    **flags: Any,
) -> int:
    """Build SPECS one after the other, or go on where an earlier run of them stopped.

    A spec without a plan has one drafted first.
    """
    wanted = (*specs, *named)
    if not wanted:
        raise UsageProblem("which spec?", hint="auto-build run 001; auto-build list shows them")
    order = Order(
        folder=project_dir,
        specs=wanted,
        flags=flags,
        out=Out(as_json),
        ways=subcommand_ways,
        verbose=verbose,
        yes=yes,
        park=park,
        stop_on_failure=stop_on_failure,
        reviews=Reviews.SKIPPED if skip_qa else Reviews.AS_SET,
    )
    return build_all(order)
