"""One run of a build, and the wishes that reach one: `retry`, `skip`, `pause`."""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from auto_build.cli.drafting import draft_plan
from auto_build.cli.options import as_json, project_dir
from auto_build.cli.output import Out, plain, silence_stdout
from auto_build.coordinator import Reviews, SwarmCoordinator
from auto_build.core.events import ChunkReset, ChunkSkipped, Outcome, RunPaused, Steered
from auto_build.core.plan import ChunkId
from auto_build.core.reconcile import is_admissible
from auto_build.core.view import Label, View
from auto_build.delivery import Build
from auto_build.errors import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_UNFINISHED,
    NotReady,
    UsageProblem,
)
from auto_build.git.repo import Repo
from auto_build.git.worktree import Worktrees
from auto_build.inbox import Inbox, Wish
from auto_build.journal import find_holder
from auto_build.process import Processes
from auto_build.settings import load_settings
from auto_build.ui.console import JsonLines, Ways, choose_console, summary


def build(
    folder: Path,
    spec: str,
    *,
    flags: Mapping[str, Any],
    out: Out,
    verbose: bool,
    ways: Ways,
    yes: bool = False,
    reviews: Reviews = Reviews.AS_SET,
) -> int:
    """Run a build to its end, show it, and return the exit code.

    A spec without a plan has one drafted first, which is asked to be confirmed unless `yes`.
    """
    if reviews is Reviews.AGAIN:
        asyncio.run(Build.open(folder, spec)).require_begun()
    elif not asyncio.run(_has_plan(folder, spec)):
        lines = Out(out.json, lines=True)
        code = draft_plan(folder, spec, flags=flags, out=lines, yes=yes)
        if code != EXIT_DONE:
            return code
    return asyncio.run(_build(folder, spec, flags, out, ways, verbose=verbose, reviews=reviews))


async def _has_plan(folder: Path, spec: str) -> bool:
    found = await Build.open(folder, spec)
    return found.spec.plan_path.exists()


async def _build(
    folder: Path,
    spec: str,
    flags: Mapping[str, Any],
    out: Out,
    ways: Ways,
    *,
    verbose: bool,
    reviews: Reviews,
) -> int:
    repo = await Repo.open(folder, Processes())
    slots = load_settings(repo.project, flags, os.environ).run.parallel
    console = out.console
    shown = choose_console(
        console=console, slots=slots, verbose=verbose, json=out.json, environment=os.environ
    )
    coordinator = SwarmCoordinator(folder, spec, settings=flags, reviews=reviews, on_update=shown)
    running = asyncio.create_task(coordinator.run())
    _stop_on_signals(running)
    try:
        with shown:
            view = await running
    except BrokenPipeError:  # nobody is left to tell; the next run goes on
        silence_stdout()
        return EXIT_INTERRUPTED
    except asyncio.CancelledError:
        if not out.json:
            again = f"interrupted; what was done is kept. Go on with: {ways.run}"
            console.print(again, markup=False)
        return EXIT_INTERRUPTED
    if isinstance(shown, JsonLines):
        told = {"type": "Summary", "finished": view.finished, **brief(view)}
        click.echo(json.dumps(plain(told)))
    else:
        staging = Worktrees(repo).staging_path
        console.print(summary(view, ways, staging=str(staging)))
    return EXIT_DONE if view.complete else EXIT_UNFINISHED


def _stop_on_signals(running: "asyncio.Task[View]") -> None:
    """Let the first signal end the run; further ones must not cut off its tidying up."""

    def stop() -> None:
        if not running.cancelling():
            running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            asyncio.get_running_loop().add_signal_handler(number, stop)


def brief(view: View) -> dict[str, Any]:
    """Return what programs are told of how a run ended."""
    return {
        "spec": view.spec,
        "chunks": [
            {"id": row.id, "state": row.label.value, "note": row.note, "commit": row.commit}
            for row in view.rows
        ],
        "seconds": round(view.times.worked_s, 3),
        "usage": view.usage,
        "conflicts": view.times.conflicts,
        "repairs": view.times.repairs,
        "flaky": view.flaky,
        "strays": view.strays,
        "review": {
            "standing": view.standing,
            "rounds": view.qa.round,
            "stopped": view.qa.stopped,
            "open": view.qa.open,
        },
    }


@click.command()
@click.argument("spec")
@click.argument("chunks", nargs=-1)
@click.option("--failed", is_flag=True, help="Every chunk that failed.")
@project_dir
@as_json
def retry(
    spec: str,
    chunks: tuple[str, ...],
    failed: bool,
    project_dir: Path,
    as_json: bool,
) -> int:
    """Have CHUNKS of SPEC done again, at once or in the next run."""

    def wishes(view: View) -> list[Wish]:
        wanted = [row.id for row in view.rows if failed and row.label.value == "failed"]
        return [ChunkReset(ChunkId(one), "asked for") for one in (*chunks, *wanted)]

    return _wish(project_dir, spec, wishes, Out(as_json))


@click.command()
@click.argument("spec")
@click.argument("chunks", nargs=-1, required=True)
@click.option("--why", default="skipped by hand", help="The reason, for the record.")
@project_dir
@as_json
def skip(
    spec: str,
    chunks: tuple[str, ...],
    why: str,
    project_dir: Path,
    as_json: bool,
) -> int:
    """Take CHUNKS of SPEC as done; what depends on them may start."""
    return _wish(
        project_dir,
        spec,
        lambda _: [ChunkSkipped(ChunkId(one), why) for one in chunks],
        Out(as_json),
    )


@click.command()
@click.argument("spec")
@project_dir
@as_json
def pause(spec: str, project_dir: Path, as_json: bool) -> int:
    """Let the run of SPEC end after what is under way; run it again to go on."""
    return _wish(project_dir, spec, lambda _: [RunPaused("asked for")], Out(as_json))


@click.command()
@click.argument("spec")
@click.argument("text", nargs=-1, required=True)
@click.option("--chunk", help="Tell only the agent of this chunk.")
@project_dir
@as_json
def steer(
    spec: str, text: tuple[str, ...], chunk: str | None, project_dir: Path, as_json: bool
) -> int:
    """Tell the agents of SPEC something: at once where they can hear it, else next time.

    A chunk whose agent had asked a question is done again with the answer.
    """
    to = ChunkId(chunk) if chunk else None

    def wishes(view: View) -> list[Wish]:
        asked = [
            ChunkReset(ChunkId(row.id), "its question was answered")
            for row in view.at(Label.FAILED)
            if row.id == chunk and row.note.startswith(Outcome.NEEDS_INPUT.value)
        ]
        return [Steered(" ".join(text), to=to), *asked]

    return _wish(project_dir, spec, wishes, Out(as_json))


def _wish(folder: Path, spec: str, wishes: Any, out: Out) -> int:
    found = asyncio.run(Build.open(folder, spec))
    state, view = found.require_begun()
    wanted: list[Wish] = wishes(view)
    holder = find_holder(found.workspace.state_dir)
    if holder and holder.spec != view.spec:
        holder = None  # another build's run takes no wishes of this one
    if not wanted:
        raise NotReady("there is no such chunk to act on", hint=f"auto-build status {spec}")
    for wish in wanted:
        chunk = wish.to if isinstance(wish, Steered) else getattr(wish, "chunk", None)
        if chunk is not None and chunk not in state.chunks:
            raise UsageProblem(
                f"there is no chunk {chunk!r} in {view.spec}",
                hint=f"there are: {', '.join(state.chunks)}",
            )
        if not is_admissible(state, wish):
            raise NotReady(
                f"chunk {chunk} is under way",
                hint="wait until it has landed or failed"
                if holder
                else f"its run was killed; go on with it first: auto-build run {spec}",
            )
    inbox = Inbox(found.workspace.state_dir, view.spec)
    if holder is None and any(isinstance(wish, RunPaused) for wish in wanted):
        raise NotReady(f"no run of {view.spec} is going on")
    for wish in wanted:
        inbox.put(wish)
    when = "at once" if holder else f"with the next run: auto-build run {spec}"
    if out.json:
        out.value({"wishes": plain(wanted), "taken": when})
    else:
        out.text(f"noted; it is taken up {when}")
    return EXIT_DONE
