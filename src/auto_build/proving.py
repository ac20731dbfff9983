"""The suite of a build, run between its runs on exactly one tree, in a worker slot.

Invariant: what lies in the slots was kept before they are used, and they are gone afterwards.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from auto_build.assembly import Bench, furnish
from auto_build.core.events import CheckResult
from auto_build.core.plan import ChunkId
from auto_build.core.state import RunState
from auto_build.core.suite import suite
from auto_build.core.verdict import FEW
from auto_build.delivery import Build
from auto_build.gate.trials import Trials
from auto_build.git.parse import Commit
from auto_build.git.worktree import Worktree
from auto_build.policy.environment import Environment, Seat
from auto_build.settings import Settings


@dataclass(frozen=True, slots=True)
class Red:
    """What failed there and does not fail on staging's head."""

    result: CheckResult


@dataclass(frozen=True, slots=True)
class Prover:
    """Runs a build's suite in one slot; the run lock must be held."""

    trials: Trials
    settings: Settings
    seat: Seat

    @classmethod
    @asynccontextmanager
    async def open(
        cls, build: Build, settings: Settings, say: Callable[[str], None], job: str
    ) -> AsyncIterator["Prover"]:
        """Open a slot for a `job`, in a word; it is given up afterwards, whatever happens."""
        own = settings.environment
        bench = Bench(
            repo=build.repo,
            worktrees=build.worktrees,
            workspace=build.workspace,
            spec=build.spec,
            settings=settings,
            environment=Environment(os.environ, own.passed, own.set, secrets=own.secrets),
        )
        trials = furnish(bench, lambda _, text: say(text))
        try:
            yield cls(trials, settings, trials.slots.seat(1, job))
        finally:
            if not settings.run.keep_worktrees:
                for slot in build.worktrees.slots():
                    await build.worktrees.remove(build.worktrees.slot_path(slot))

    async def prove(
        self, at: Commit, state: RunState, landed: Iterable[ChunkId]
    ) -> tuple[CheckResult, ...] | Red:
        """Return how the suite stands on a commit's tree, or the first of it that is red.

        Args:
            at: the commit.
            state: how the build stands; what failed in its staging is held against nobody.
            landed: the chunks that the tree holds.
        """
        await self.trials.slots.require_fit(at)
        if failed := await self.trials.set_up(at, self.seat):
            return Red(failed)
        results: list[CheckResult] = []
        for check in suite(state.plan, self.settings.gate.checks, landed):
            before = state.gate.standing.get(check.key)
            result = await self.trials.examine(check, at, self.seat, before=before, runs=FEW)
            if not result.passed:
                return Red(result)
            results.append(result)
        return tuple(results)

    async def show(self, at: Commit) -> Worktree:
        """Return the slot's worktree, set up at a commit."""
        return await self.trials.slots.require(self.seat, at)
