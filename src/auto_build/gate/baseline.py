"""How the suite stands before any agent is paid, and whether its verdicts mean anything.

The suite is run on staging's head, in worker slots that are set up as agents will find them. What
is red there is old, and is held against nobody. What makes every verdict worthless stops the run
instead: a program that is missing, a file that only the user's checkout has, a check that reads the
user's checkout in place of the slot, or one that cannot run in two slots at once.
"""

import asyncio
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from auto_build.checks import Run, known_green, settle
from auto_build.core import events as ev
from auto_build.core.state import Done, Landed, RunState
from auto_build.core.suite import Check, suite
from auto_build.core.verdict import FEW
from auto_build.errors import EnvironmentUnfit
from auto_build.gate.trials import Trials
from auto_build.git.parse import Commit
from auto_build.policy.environment import Seat
from auto_build.probe.leaks import find_leaks
from auto_build.probe.loads import Tracer
from auto_build.probe.look import find_editable, find_packages, find_virtualenvs, look
from auto_build.settings import FILE
from auto_build.slots import Slots

_NOT_THERE: Final = frozenset({126, 127})  # what a shell says of a program that it cannot run
_MISSING: Final = re.compile(
    r"No module named|ModuleNotFoundError|Cannot find (?:module|package)|command not found"
)
_ONCE_MORE: Final = 2  # times that a collision must be seen again before it counts as one
_SMALL: Final = 1_000_000  # bytes of a file that may be copied to try whether it is what is missing
_MOST_FILES: Final = 20
_LOCAL: Final = re.compile(r"(^|/)(\.env[^/]*|[^/]*\.local|[^/]*\.local\.[^/]*|local[._-][^/]*)$")
_LOOK: Final = f'or set probe = "warn" under [workspace] in {FILE} to go on all the same'


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Measures the ground that a run stands on.

    `workers` is how many slots will be used; `probe` what to do where a verdict means nothing;
    `folder` is ours, for what the probe notes; `warn` is told what people should know.
    """

    trials: Trials
    checks: tuple[str, ...]
    workers: int
    probe: Literal["stop", "warn", "off"]
    folder: Path
    warn: Callable[[str], None]

    @property
    def slots(self) -> Slots:
        """The worker slots."""
        return self.trials.slots

    async def measure(self, state: RunState, head: Commit) -> ev.BaseChecked:
        """Set the slots up and run the suite on `head`.

        Raises:
            EnvironmentUnfit: agents' work could not be judged.
        """
        await self.slots.require_fit(head)
        left = sum(not isinstance(now, Done) for now in state.chunks.values())
        seats = [self.slots.seat(n) for n in range(1, max(1, min(self.workers, left)) + 1)]
        await self._set_up(seats, head)
        landed = [chunk for chunk, now in state.chunks.items() if isinstance(now, Landed)]
        todo = suite(state.plan, self.checks, landed)
        results = [await self._stand(check, head, seats) for check in todo]
        await self._look(seats[0], head)
        return ev.BaseChecked(head, tuple(results))

    async def _set_up(self, seats: Sequence[Seat], head: Commit) -> None:
        if not self.slots.settings.setup:
            return
        await self.slots.require(seats[0], head)
        async with asyncio.TaskGroup() as group:
            for seat in seats[1:]:
                group.create_task(self.slots.require(seat, head))

    # --- one check -------------------------------------------------------------------------------

    async def _stand(self, check: Check, head: Commit, seats: Sequence[Seat]) -> ev.CheckResult:
        """Return how a check stands on the base, having seen that its answer means something."""
        if why := await self.trials.known_green(check, head):
            return known_green(check, why)
        self.trials.notice("", f"on the unchanged base: $ {check.command}")
        beside = await self._side_by_side(check, head, seats)
        if all(run.passed for run in beside):
            await self.trials.keep(check, head)
            return settle(check, beside[:1], None)
        runs = beside[:1] if len(beside) == 1 else []
        while len(runs) < FEW and not any(run.passed for run in runs):
            runs.append(await self.trials.run(check, head, seats[0], keep=False))
        result = settle(check, runs, None)
        if not result.passed:
            await self._require_sound(check, head, seats[0], result)
            return result
        if len(beside) > 1 and (red := await self._collides(check, head, seats)):
            self._doubt(
                f"$ {check.command} is green alone and red when it runs in two worker slots at"
                f" once:\n{red.output.strip()}",
                hint="give each slot a port, a database or a folder of its own, as with"
                f' environment = {{ PORT = "{{port}}" }} under [workspace] in {FILE}',
            )
        await self.trials.keep(check, head)
        return result

    async def _collides(self, check: Check, head: Commit, seats: Sequence[Seat]) -> Run | None:
        """Return a red run of a check that is green alone, each time, and never beside itself."""
        red: Run | None = None
        for _ in range(_ONCE_MORE):
            together = await self._side_by_side(check, head, seats)
            red = next((run for run in together if not run.passed), None)
            alone = await self.trials.run(check, head, seats[0], keep=False)
            if red is None or not alone.passed:
                return None  # a flake
        return red

    async def _side_by_side(self, check: Check, head: Commit, seats: Sequence[Seat]) -> list[Run]:
        """Run a check in the first slot, its loads noted, and in the second at the same time."""
        wanted = seats[:1] if self.probe == "off" else seats[:2]
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        tracer = Tracer(self._project, self.folder)

        def noting(env: dict[str, str]) -> dict[str, str]:
            return env if self.probe == "off" else _harmless(tracer.environment(env))

        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    self.trials.run(
                        check, head, seat, traced=_harmless if n else noting, keep=False
                    )
                )
                for n, seat in enumerate(wanted)
            ]
        await self._require_own(tracer.loaded(), seats[0], check)
        return [task.result() for task in tasks]

    async def _require_sound(
        self, check: Check, head: Commit, seat: Seat, result: ev.CheckResult
    ) -> None:
        """See that a red check is red for what is in the repository, not for what is missing.

        Raises:
            EnvironmentUnfit: it is not.
        """
        shown = f"$ {check.command}\n{result.note}\n{result.output.strip()}"
        lacking = await self._lacking()
        if result.code in _NOT_THERE or _could_not_begin(result):
            self._doubt(
                f"a check cannot do its work on the unchanged base:\n{shown}",
                hint=f"install what it needs with setup under [workspace] in {FILE}, or mend the"
                f" check{_only_there(lacking)}",
            )
        if files := [path for path in lacking if self._may_be_it(path, seat)]:
            better = await self._with(files, check, head, seat)
            if better.passed or set(better.failed) < set(result.failed):
                self._doubt(
                    f"a check is red on the unchanged base for want of {', '.join(files)}, which"
                    f" only your checkout has:\n{shown}",
                    hint=f"copy = {_toml(files)} under [workspace] in {FILE}",
                )
        tests = f"{len(result.failed)} of its tests fail" if result.failed else "it is red"
        self.warn(
            f"$ {check.command}: {tests} on the unchanged base ({result.note}); that is held"
            " against no chunk"
        )

    async def _lacking(self) -> tuple[str, ...]:
        """Return what only the user's checkout has, since git ignores it."""
        given = {*self.slots.settings.copied, *self.slots.settings.link}
        ignored = await self.trials.repo.ignored()
        return tuple(path for path in ignored if path.rstrip("/") not in given)

    def _may_be_it(self, path: str, seat: Seat) -> bool:
        file = self._project / path
        small = file.is_file() and file.stat().st_size <= _SMALL
        return small and bool(_LOCAL.search(path)) and not (Path(seat.worktree) / path).exists()

    async def _with(
        self, files: Sequence[str], check: Check, head: Commit, seat: Seat
    ) -> ev.CheckResult:
        """Run a check once with some of the user's files lent to the slot."""
        wider = self.slots.settings.model_copy(
            update={"copied": (*self.slots.settings.copied, *files[:_MOST_FILES])}
        )
        lent = replace(self.trials, slots=replace(self.slots, settings=wider))
        run = await lent.run(check, head, seat, keep=False)
        for path in files[:_MOST_FILES]:
            (Path(seat.worktree) / path).unlink(missing_ok=True)
        return settle(check, [run], None)

    # --- what is loaded --------------------------------------------------------------------------

    @property
    def _project(self) -> Path:
        return self.trials.repo.project

    async def _look(self, seat: Seat, head: Commit) -> None:
        """Tell what may lead from a slot to the user's checkout, seen without running anything.

        What checks have loaded is known better; then only settings that name the checkout are told.
        """
        if self.probe == "off":
            return
        worktree = await self.slots.require(seat, head)
        leaks = await look(
            self.trials.repo.processes,
            project=self._project,
            slot=worktree.path,
            env=self.slots.for_check(seat),
            linked=self.slots.settings.link,
        )
        for leak in leaks:
            if not leak.mend or not self.checks:
                mend = f"; in {FILE}:\n{leak.mend}" if leak.mend else ""
                self.warn(f"{leak.what} ({', '.join(leak.paths)}){mend}")

    async def _require_own(self, loaded: Sequence[str], seat: Seat, check: Check) -> None:
        """See that a check has loaded nothing of the user's checkout.

        Raises:
            EnvironmentUnfit: it has, so that what it says is not about the slot.
        """
        if not loaded:
            return
        editable = await find_editable(
            self.trials.repo.processes,
            project=self._project,
            slot=Path(seat.worktree),
            env=self.slots.for_check(seat),
        )
        leaks = find_leaks(
            loaded,
            project=str(self._project),
            linked=(*self.slots.settings.link, *self.slots.settings.copied),
            virtualenvs=find_virtualenvs(self._project),
            editable=editable,
            packages=find_packages(self._project),
            top=[path.name for path in Path(seat.worktree).iterdir()],
        )
        if not leaks:
            return
        found = "\n".join(f"  {leak.what} ({', '.join(leak.paths)})" for leak in leaks)
        mend = "\n".join(dict.fromkeys(leak.mend for leak in leaks if leak.mend)).strip()
        self._doubt(
            f"$ {check.command} would judge your checkout in place of an agent's work:\n{found}",
            hint=f"in {FILE}:\n{mend}\n" if mend else "take that path out",
        )

    def _doubt(self, fact: str, *, hint: str) -> None:
        """Stop before anything is paid for, or warn where that is what is wanted."""
        if self.probe == "stop":
            raise EnvironmentUnfit(fact, hint=f"{hint}, {_LOOK}")
        self.warn(f"{fact}; mend it with {hint}")


def _could_not_begin(result: ev.CheckResult) -> bool:
    """Say whether a check found no module that it needs, so that none of its tests was run."""
    none_ran = result.whole or not (result.succeeded or any("::" in one for one in result.failed))
    return none_ran and bool(_MISSING.search(result.output))


def _harmless(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which Python compiles nothing into a checkout that it leads to."""
    return {**env, "PYTHONDONTWRITEBYTECODE": "1"}


def _only_there(lacking: Sequence[str]) -> str:
    named = [path for path in lacking if not _CACHE.search(path)]
    return f"; only your checkout has {', '.join(named[:_MOST_FILES])}" if named else ""


def _toml(paths: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{path}"' for path in paths) + "]"


_CACHE: Final = re.compile(r"(^|/)(__pycache__|\.[a-z_]+_cache|dist|build|coverage|\.worktrees)/?$")
