"""The review rounds of one session: looks, has what was found mended, and looks again.

What comes next is decided in `core.rounds`; the chunks that mend are driven like all others. All of
it is journaled before and after, so that a killed run goes on in the round that it was in.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from auto_build.core import events as ev
from auto_build.core.budget import LEAST
from auto_build.core.findings import Review
from auto_build.core.rounds import (
    Approved,
    Look,
    Mend,
    Stop,
    are_mended,
    is_due,
    is_reviewable,
    next_step,
    plan_fixes,
)
from auto_build.core.state import RunState
from auto_build.engine.base import Ledger
from auto_build.engine.pauses import Pauses
from auto_build.git.landing import branch_of
from auto_build.git.repo import Repo
from auto_build.groundwork import Groundwork
from auto_build.qa.reviewer import Later, Reviewer
from auto_build.settings import QaSettings

_MOST_WAITS: Final = 5  # pauses in a row for a service that turns the reviewer away


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Reviews one build until it is approved, or nobody can go on.

    `drive` has chunks done; `workers` is how many may be at work. A usage limit is waited for up to
    `max_wait_s` seconds; `clock` gives the seconds since the epoch, `hear` takes up wishes.
    """

    ledger: Ledger
    reviewer: Reviewer
    repo: Repo
    ground: Groundwork
    settings: QaSettings
    drive: Callable[[], Awaitable[RunState]]
    hear: Callable[[], None]
    workers: int
    pauses: Pauses
    max_wait_s: float
    clock: Callable[[], float]

    async def run(self, *, again: bool) -> None:
        """Carry the rounds on to their end; `again` begins them anew, whatever was said before.

        Raises:
            EnvironmentUnfit: the reviewer cannot work.
        """
        head = await self._head()
        if not is_due(self.ledger.state, head, again=again):
            return
        if again or not self.ledger.state.qa.under_way:
            self.ledger.record(ev.QaBegan(self.settings.rounds))
        while await self._step():
            self.hear()
            if self.ledger.state.paused:
                return

    async def _step(self) -> bool:
        """Take one step; say whether another one follows."""
        state = self.ledger.state
        if not are_mended(state):
            await self.drive()
            await self.ground.take_back_staging()
            return are_mended(self.ledger.state)
        if not is_reviewable(state):
            return False
        match next_step(state, await self._head()):
            case Look(round_):
                return await self._look(round_)
            case Mend():
                await self._ask_for_fixes()
                return True
            case Stop(why):
                self.ledger.record(ev.QaStopped(why))
                return False
            case Approved():
                return False

    async def _head(self) -> str:
        return await self.repo.require_commit(branch_of(self.ground.spec))

    async def _look(self, round_: int) -> bool:
        state = self.ledger.state
        left = None if state.max_cost is None else state.max_cost - (state.spent.cost_usd or 0.0)
        if left is not None and left < LEAST:
            self.ledger.record(
                ev.QaStopped(f"the run's budget of ${state.max_cost or 0.0:.2f} is used up")
            )
            return False
        started = ev.ReviewStarted(round_, await self._head(), left)
        self.ledger.record(started)
        for number in range(1, _MOST_WAITS + 1):
            came = await self.reviewer.review(started)
            if isinstance(came, Review):
                self.ledger.record(ev.Reviewed(came))
                return True
            if not await self._wait(came, number):
                return False
        self.ledger.record(ev.RunPaused(f"the reviewer was turned away {_MOST_WAITS} times"))
        return False

    async def _wait(self, later: Later, number: int) -> bool:
        """Wait until the reviewer may come back; say whether it is worth it."""
        if later.until is not None:
            pause_s = max(later.until - self.clock(), 0.0)
        elif later.failure.outcome is ev.Outcome.RATE_LIMIT:
            pause_s = self.pauses.for_limit(number)
        else:
            pause_s = self.pauses.for_overload(number)
        if pause_s > self.max_wait_s:
            hours = self.max_wait_s / 3600
            why = f"the reviewer's limit lasts longer than max_wait_h = {hours:g} hours"
            self.ledger.record(ev.RunPaused(why))
            return False
        self.reviewer.notice("", f"{later.failure.why}: the review waits {pause_s:.0f} s")
        await asyncio.sleep(pause_s)
        return True

    async def _ask_for_fixes(self) -> None:
        """Make chunks of what was found: one in staging, or several in worker slots."""
        state = self.ledger.state
        in_staging = self.settings.fix == "staging" and await self.ground.staging_is_free()
        if self.settings.fix == "staging" and not in_staging:
            self.reviewer.notice("", "the staging worktree is in use: it is mended in a worker")
        phase = plan_fixes(
            state.qa.round,
            state.qa.open,
            apart=not in_staging and self.workers > 1,
            taken={*state.chunks, *(one.id for one in state.plan.phases)},
        )
        attempts = await self.ground.find_attempts([chunk.id for chunk in phase.chunks])
        self.ledger.record(ev.FixesAsked(phase, in_staging, attempts))
