"""Runs the demo: several workers, the review, the tests, the merge; then again with one worker.

The second run, which is not reviewed, is made in a copy, one after the other on the same machine,
so that the speed-up that is told is measured and not promised.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auto_build.checks import Run, run_check
from auto_build.coordinator import Reviews, SwarmCoordinator
from auto_build.core.events import QaBegan
from auto_build.core.suite import Check
from auto_build.core.view import View
from auto_build.demo.build import SPEC_NAME, Prepare, build_project
from auto_build.git.worktree import FOLDER, STAGING
from auto_build.journal import Record
from auto_build.policy.environment import Environment, Seat
from auto_build.process import Processes
from auto_build.settings import load_settings
from auto_build.updates import Listener, Update
from auto_build.workspace import HOME

PROJECT: Final = "shelf"
ALONE: Final = "shelf-one-worker"
_TESTS_LIMIT_S: Final = 120.0

Listen = Callable[[Path, int], Listener]  # project, workers
Merge = Callable[[Path], Awaitable[str]]  # project; returns what it did, in words


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of the demo's plan: how it ended, and the seconds from its start until all was built.

    `review_s` is what the review rounds took after that.
    """

    project: Path
    workers: int
    view: View
    seconds: float
    review_s: float = 0.0

    @property
    def staging(self) -> Path:
        """The worktree that collected what landed."""
        return self.project / FOLDER / STAGING

    @property
    def spec(self) -> Path:
        """The folder of the spec, its plan and its script."""
        return self.project / HOME / "specs" / SPEC_NAME

    @property
    def outside(self) -> dict[str, tuple[str, ...]]:
        """The paths that chunks wrote beyond their claims."""
        return {row.id: row.outside for row in self.view.rows if row.outside}

    @property
    def conflicts(self) -> int:
        """How many candidates did not merge."""
        return self.view.times.conflicts

    @property
    def aside(self) -> int:
        """How many chunks were set aside and begun anew, alone."""
        return self.view.times.aside

    @property
    def repairs(self) -> int:
        """How many times failing output went back to the agent."""
        return self.view.times.repairs


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What the demo came to.

    `tests` is the whole suite run in staging after the run; `merged` says what the merge did, and
    is empty where there was none; `alone` is the run with one worker, if it was made.
    """

    run: Measured
    tests: Run
    merged: str = ""
    alone: Measured | None = None

    @property
    def finished(self) -> bool:
        """Whether everything landed and its tests are green."""
        return self.run.view.complete and self.tests.passed

    @property
    def tests_line(self) -> str:
        """Pytest's closing line."""
        lines = self.tests.output.strip().splitlines()
        return lines[-1].strip("= ") if lines else self.tests.note

    @property
    def speedup(self) -> float | None:
        """How many times sooner than one worker; None where that was not measured."""
        return self.alone.seconds / self.run.seconds if self.alone else None


async def run_demo(
    folder: Path,
    *,
    workers: int = 3,
    pace: float = 1.0,
    measure: bool = True,
    listen: Listen | None = None,
    prepare: Prepare | None = None,
    merge: Merge | None = None,
) -> DemoReport:
    """Build the demo's project in `folder`, run its plan, test, merge, and measure.

    Args:
        folder: an empty folder; the projects are made in it.
        workers: how many agents work at once.
        pace: multiplies the times that they work.
        measure: whether to run everything again with one worker.
        listen: called before each run; what it returns is told of every update.
        prepare: called with each project before its first commit.
        merge: brings the build into the project's branch; called if all is landed and green.
    """
    run = await run_project(
        folder / PROJECT, workers=workers, pace=pace, listen=listen, prepare=prepare
    )
    tests = await run_tests(run)
    wanted = merge is not None and run.view.complete and tests.passed
    merged = await merge(run.project) if merge and wanted else ""
    alone = None
    if measure and workers > 1:
        alone = await run_project(
            folder / ALONE,
            workers=1,
            pace=pace,
            reviews=Reviews.SKIPPED,
            listen=listen,
            prepare=prepare,
        )
    return DemoReport(run, tests, merged, alone)


async def run_project(
    project: Path,
    *,
    workers: int,
    pace: float = 1.0,
    reviews: Reviews = Reviews.AS_SET,
    listen: Listen | None = None,
    prepare: Prepare | None = None,
) -> Measured:
    """Build the demo's project and run its plan once, reviewed unless that is to be skipped."""
    await build_project(project, Processes(), pace=pace, prepare=prepare)
    listener = listen(project, workers) if listen else None
    clock = asyncio.get_running_loop().time
    built: list[float] = []

    def hear(update: Update) -> None:
        if isinstance(update.what, Record) and isinstance(update.what.event, QaBegan):
            built.append(clock())
        if listener:
            listener(update)

    begun = clock()
    view = await SwarmCoordinator(
        project, SPEC_NAME, max_workers=workers, reviews=reviews, on_update=hear
    ).run()
    ended = clock()
    done = built[0] if built else ended
    return Measured(project, workers, view, done - begun, ended - done)


async def run_tests(run: Measured) -> Run:
    """Run the project's own checks once more, on what staging shows."""
    settings = load_settings(run.project, {}, os.environ)
    environment = Environment(os.environ, settings.environment.passed, settings.environment.set)
    (line,) = settings.gate.checks
    return await run_check(
        Processes(),
        Check(line),
        cwd=run.staging,
        env=environment.for_check(Seat(SPEC_NAME, "", 0, 0), str(run.project)),
        limit_s=_TESTS_LIMIT_S,
    )
