"""Which landed chunks a red candidate does not get along with, where it is green without them.

Trees that never were are built off-tree: where the work began, some of what landed since, and the
work. On each the red check is run once, in the worker's slot; how many there are is bounded.
"""

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final

from auto_build.checks import Run
from auto_build.core.blame import Explanation, Trial, bound, explain
from auto_build.core.events import CheckResult, Outcome
from auto_build.core.outcomes import Setback
from auto_build.core.plan import ChunkId
from auto_build.core.suite import Check
from auto_build.core.verdict import Standing
from auto_build.gate.trials import Notice, Trials
from auto_build.git.parse import Commit
from auto_build.git.repo import Conflict, Repo
from auto_build.policy.environment import Seat

_TRIALS_S: Final = 900.0  # seconds that the search may take, all trials together
_SUBJECT: Final = "trial\n"


@dataclass(frozen=True, slots=True)
class Landing:
    """A commit on staging's own line, with its first parent.

    `chunk` is what landed with it; None where somebody made it by hand.
    """

    chunk: ChunkId | None
    commit: Commit
    parent: Commit

    @property
    def name(self) -> str:
        """What people call it."""
        return self.chunk or self.commit[:10]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A red check, and the work it is about: `work` on top of `base`, merged onto `head`."""

    check: Check
    result: CheckResult
    before: Standing | None
    base: Commit
    work: Commit
    head: Commit
    seat: Seat


@dataclass(frozen=True, slots=True)
class Blame:
    """Finds out with what a candidate is red."""

    repo: Repo
    trials: Trials
    notice: Notice
    spec: str

    async def find(self, case: Case) -> Explanation[ChunkId]:
        """Return the landed chunks that explain the red check; none where it is red by itself."""
        landings = await self._landings(case)
        if not landings or await self._try(case, ()) is not Trial.GREEN:
            return Explanation((), 0, minimal=True)
        asked = explain(landings, most=bound(len(landings)))
        found = await self._play(case, asked)
        names = ", ".join(landing.name for landing in found.together)
        self.notice(case.seat.chunk, f"green by itself, red together with {names}")
        chunks = tuple(landing.chunk for landing in found.together if landing.chunk)
        return Explanation(chunks, found.trials, found.minimal)

    async def _landings(self, case: Case) -> list[Landing]:
        """Return what landed since the work began, the oldest first."""
        commits = await self.repo.first_parents(case.base, case.head)
        named = {
            one.commit: ChunkId(one.chunk) for one in await self.repo.landings(self.spec, case.head)
        }
        parents = (case.base, *commits)
        return [
            Landing(named.get(commit), commit, parent)
            for commit, parent in zip(commits, parents, strict=False)
        ]

    async def _play(
        self, case: Case, asked: Generator[tuple[Landing, ...], Trial, Explanation[Landing]]
    ) -> Explanation[Landing]:
        clock = asyncio.get_running_loop().time
        until = clock() + _TRIALS_S
        try:
            wanted = next(asked)
            while True:
                out_of_time = clock() > until
                trial = Trial.UNRESOLVED if out_of_time else await self._try(case, wanted)
                wanted = asked.send(trial)
        except StopIteration as stop:
            found: Explanation[Landing] = stop.value
            return found

    async def _try(self, case: Case, landings: Sequence[Landing]) -> Trial:
        """Run the check on the work together with some of what landed since it began."""
        names = ", ".join(landing.name for landing in landings) or "nothing that landed since"
        self.notice(case.seat.chunk, f"looking for the cause: with {names}")
        onto = case.base
        for landing in landings:
            tree = await self.repo.graft(landing.parent, landing.commit, onto)
            if isinstance(tree, Conflict):
                return Trial.UNRESOLVED
            onto = await self.repo.commit_tree(tree, [case.base], _SUBJECT)
        merged = await self.repo.graft(case.base, case.work, onto)
        if isinstance(merged, Conflict):
            return Trial.UNRESOLVED
        at = await self.repo.commit_tree(merged, [onto], _SUBJECT)
        run = await self.trials.try_once(case.check, at, case.seat)
        return Trial.GREEN if run is None else self._compare(case, run)

    def _compare(self, case: Case, run: Run) -> Trial:
        """Say whether a run is red in the way that is looked for."""
        wanted = case.result.standing.holds_against(case.before)
        if wanted is not None and run.answer.tests is not None:
            return Trial.RED if wanted & run.answer.failed else Trial.GREEN
        ours, theirs = (_words(case.result.output), _words(run.output))
        return Trial.RED if ours == theirs else Trial.UNRESOLVED


def _words(output: str) -> str:
    """Return what a command printed without what differs from run to run."""
    return Setback(Outcome.CHECKS_RED, output).signature
