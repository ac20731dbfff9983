"""`demo`: watch several agents build a small real feature, and measure it against one."""

import asyncio
import os
import shlex
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from auto_build.cli.options import as_json
from auto_build.cli.output import Out
from auto_build.delivery import Build
from auto_build.demo.build import SPEC_NAME
from auto_build.demo.run import ALONE, DemoReport, Measured, run_demo
from auto_build.errors import EXIT_DONE, EXIT_UNFINISHED
from auto_build.merging import merge
from auto_build.readiness import Wish
from auto_build.scaffold import write_scaffold
from auto_build.ui.console import choose_console
from auto_build.updates import Listener, Update

_SLOW: Final = 4.0


@click.command()
@click.option(
    "--workers",
    type=click.IntRange(1, 16),
    default=3,
    show_default=True,
    help="How many agents work at once.",
)
@click.option("--slow", is_flag=True, help="Let the agents take four times as long, to watch.")
@click.option("--keep", is_flag=True, help="Keep the one-worker copy of the project as well.")
@as_json
def demo(workers: int, slow: bool, keep: bool, as_json: bool) -> int:
    """Build a small feature with several agents, in a temporary repository."""
    out = Out(as_json)
    folder = Path(tempfile.mkdtemp(prefix="auto-build-demo-"))
    with ExitStack() as screens:
        stage = _Stage(out, screens)
        try:
            report = asyncio.run(
                run_demo(
                    folder,
                    workers=workers,
                    pace=_SLOW if slow else 1.0,
                    listen=stage.listen,
                    prepare=_prepare,
                    merge=_merge,
                )
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    if not keep:
        shutil.rmtree(folder / ALONE, ignore_errors=True)
    if out.json:
        out.value(_as_value(report, kept=keep))
    else:
        for line in _as_text(report, kept=keep):
            out.text(line)
    return EXIT_DONE if report.finished and report.merged else EXIT_UNFINISHED


@dataclass(slots=True)
class _Stage:
    """Shows each run on a screen of its own, one after the other; nothing where JSON is asked."""

    out: Out
    screens: ExitStack
    runs: list[int] = field(default_factory=list)

    def listen(self, project: Path, workers: int) -> Listener:
        """Open the screen of the next run."""
        self.screens.close()
        self.runs.append(workers)
        if self.out.json:
            return _ignore
        if len(self.runs) == 1:
            self.out.text(f"{workers} scripted agents build a feature in {project}\n")
        else:
            self.out.text("\nnow the same with one worker, to measure the difference\n")
        console = choose_console(
            console=self.out.console,
            slots=workers,
            verbose=False,
            json=False,
            environment=os.environ,
        )
        self.screens.enter_context(console)
        return console


def _ignore(_: Update) -> None:
    """Take no notice: the answer is one JSON value at the end."""


async def _prepare(project: Path) -> None:
    write_scaffold(project)


async def _merge(project: Path) -> str:
    done = await merge(await Build.open(project, SPEC_NAME), Wish())
    return f"{done.files} files into {done.branch}, {done.commit[:10]}"


def _resolved(conflicts: int, aside: int) -> str:
    """Say what became of conflicts, of which some were set aside."""
    if not aside:
        return "resolved in place by the agent whose work was in it"
    return f"{min(aside, conflicts)} of them set aside and run again alone"


def _as_text(report: DemoReport, *, kept: bool) -> list[str]:
    run = report.run
    lines = ["", f"{run.view.done} of {len(run.view.rows)} chunks landed", f"  {_speed(report)}"]
    lines.append(f"  {_count(run.conflicts, 'conflict')}, {_resolved(run.conflicts, run.aside)}")
    lines.append(f"  {_count(run.repairs, 'repair')}, where red tests went back to the agent")
    lines.extend(
        f"  chunk {chunk} wrote outside its claim: {', '.join(paths)}"
        for chunk, paths in sorted(run.outside.items())
    )
    lines.append(f"  {_reviewed(run)}")
    lines.append(f"  tests on the merged feature: {report.tests_line}")
    lines.append(f"  merged: {report.merged or 'no'}")
    lines += ["", "look at it:", f"  cd {run.project}", "  git log --graph --oneline"]
    program = shlex.join((sys.executable, "-m", "auto_build"))  # it need not be in PATH
    lines.append(f"  {program} logs {SPEC_NAME.partition('-')[0]}")
    if kept and report.alone:
        lines.append(f"  the one-worker copy: {report.alone.project}")
    lines.append(f"and when you have seen enough: rm -r {run.project.parent}")
    return lines


def _reviewed(run: Measured) -> str:
    """Say what the review rounds came to."""
    qa = run.view.qa
    found = _count(sum(len(review.blocking) for review in qa.reviews), "finding")
    rounds = _count(qa.round, "round")
    return f"{run.view.standing.value} after {rounds}, {found} mended ({run.review_s:.1f} s)"


def _speed(report: DemoReport) -> str:
    run = report.run
    took = f"{run.seconds:.1f} s with {_count(run.workers, 'worker')}"
    if report.alone is None or report.speedup is None:
        return took
    return f"{took}, {report.alone.seconds:.1f} s with one: {report.speedup:.1f} times as fast"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _as_value(report: DemoReport, *, kept: bool) -> dict[str, Any]:
    alone = _run_value(report.alone) if report.alone else None
    if alone and not kept:
        del alone["project"]
    return {
        "finished": report.finished,
        "run": _run_value(report.run),
        "alone": alone,
        "speedup": round(report.speedup, 2) if report.speedup else None,
        "tests": report.tests_line,
        "merged": report.merged,
    }


def _run_value(run: Measured) -> dict[str, Any]:
    return {
        "project": run.project,
        "workers": run.workers,
        "seconds": round(run.seconds, 2),
        "chunks": len(run.view.rows),
        "landed": run.view.done,
        "conflicts": run.conflicts,
        "set_aside": run.aside,
        "repairs": run.repairs,
        "review": {
            "standing": run.view.standing,
            "rounds": run.view.qa.round,
            "seconds": round(run.review_s, 2),
        },
        "outside": run.outside,
    }
