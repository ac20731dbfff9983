"""What the gate knows: how each check stands on staging's head, and how gates go in this run.

A value that is only replaced; each method returns the book after something was seen.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Self

from auto_build.core.events import CheckResult, QueuePaced
from auto_build.core.plan import ChunkId
from auto_build.core.verdict import GREEN, Standing

_FIRST_WINDOW: Final = 2


@dataclass(frozen=True, slots=True)
class Pace:
    """How long agents and gates take, in seconds, all together and how many there were."""

    agent_s: float = 0.0
    agents: int = 0
    gate_s: float = 0.0
    gates: int = 0

    @property
    def agent_mean_s(self) -> float:
        """How long an agent takes, on the average."""
        return self.agent_s / self.agents if self.agents else 0.0

    @property
    def gate_mean_s(self) -> float:
        """How long a gate takes, on the average."""
        return self.gate_s / self.gates if self.gates else 0.0


@dataclass(frozen=True, slots=True)
class GateBook:
    """What deciding about candidates needs to know besides the chunks.

    `standing` is how each check of the suite stands on staging's head, `flaky` the tests of each
    that both failed and passed on one tree. Candidates are checked ahead of each other where
    `paced` says so, as many as `window`, which is at most `widest`; `overtaken` counts how often
    one that waits was passed over for another that came later.
    """

    standing: Mapping[str, Standing] = field(default_factory=dict)
    flaky: Mapping[str, frozenset[str]] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    paced: QueuePaced | None = None
    window: int = 1
    widest: int = 1
    overtaken: Mapping[ChunkId, int] = field(default_factory=dict)

    @property
    def looks_ahead(self) -> bool:
        """Whether candidates are checked ahead of each other."""
        return self.paced is not None and self.paced.ahead

    def opened(self, widest: int) -> Self:
        """Begin a session: one by one, until there is a reason for more."""
        return replace(self, paced=None, window=1, widest=widest)

    def chosen(self, choice: QueuePaced) -> Self:
        """Take note of how candidates are checked from now on."""
        return replace(
            self, paced=choice, window=min(_FIRST_WINDOW, self.widest) if choice.ahead else 1
        )

    def worked(self, seconds: float) -> Self:
        """Take note of how long an agent took."""
        pace = self.pace
        return replace(
            self, pace=replace(pace, agent_s=pace.agent_s + seconds, agents=pace.agents + 1)
        )

    def gated(self, checks: Iterable[CheckResult]) -> Self:
        """Take note of what a gate has shown, whatever its verdict."""
        results = tuple(checks)
        seconds = sum(result.seconds for result in results)
        pace = replace(self.pace, gate_s=self.pace.gate_s + seconds, gates=self.pace.gates + 1)
        return replace(self, pace=pace, flaky=self._with_flakes(results))

    def failed(self) -> Self:
        """Take note of a candidate that was rejected."""
        return replace(self, window=max(1, self.window // 2))

    def landed(self, checks: Iterable[CheckResult]) -> Self:
        """Take note of how checks stand on a candidate that is staging's head now."""
        book = self._measured(checks, self.standing)
        if not self.looks_ahead:
            return book
        return replace(book, window=min(self.window + 1, self.widest))

    def begun(self, checks: Iterable[CheckResult]) -> Self:
        """Take note of how the suite stands before any agent begins."""
        return self._measured(checks, {})

    def passed_over(
        self, first: ChunkId, queue: Collection[ChunkId], waiting: set[ChunkId]
    ) -> Self:
        """Take note of who was queued before the one that is checked, and is `waiting` still."""
        overtaken = {
            one: self.overtaken.get(one, 0) + (one in waiting)
            for one in queue
            if one != first and (one in waiting or one in self.overtaken)
        }
        return replace(self, overtaken=MappingProxyType(overtaken))

    def _measured(self, checks: Iterable[CheckResult], before: Mapping[str, Standing]) -> Self:
        """Return the book where this is how the checks stand.

        A flaky test that failed before stays known as failing: that it passed once does not mend
        it.
        """
        results = tuple(checks)
        flaky = self._with_flakes(results)
        standing = dict(before)
        for result in results:
            key = result.check.key
            kept = standing.get(key, GREEN).failed & flaky.get(key, frozenset())
            now = result.standing
            standing[key] = replace(now, failed=now.failed | kept)
        return replace(self, standing=MappingProxyType(standing), flaky=flaky)

    def _with_flakes(self, results: Iterable[CheckResult]) -> Mapping[str, frozenset[str]]:
        found = dict(self.flaky)
        for result in results:
            if result.flaky:
                key = result.check.key
                found[key] = found.get(key, frozenset()) | frozenset(result.flaky)
        return MappingProxyType(found)
