"""Requests to the engine: the output of deciding. Never stored; each can be repeated safely.

Every command knows the event that records its start. That event is journaled before the effect, so
that a crash leaves a trace.
"""

from dataclasses import dataclass

from auto_build.core.events import (
    AttemptStarted,
    GateStarted,
    GateVoided,
    LandStarted,
    RepairStarted,
    ResumeStarted,
)
from auto_build.core.plan import ChunkId
from auto_build.core.verdict import FEW


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Cut a worktree from staging's head and give the chunk to an agent.

    It may spend `budget` US dollars; None where nothing bounds it.
    """

    chunk: ChunkId
    attempt: int
    slot: int
    alone: bool = False
    budget: float | None = None

    @property
    def started(self) -> AttemptStarted:
        """The fact that this was begun."""
        return AttemptStarted(self.chunk, self.attempt, self.slot, self.alone, self.budget)


@dataclass(frozen=True, slots=True)
class Repair:
    """Give the failing output back to the agent, on top of `commit`, in its worktree."""

    chunk: ChunkId
    attempt: int
    round: int
    slot: int
    commit: str
    head: str
    feedback: str
    budget: float | None = None

    @property
    def started(self) -> RepairStarted:
        """The fact that this was begun."""
        return RepairStarted(self.chunk, self.round, self.budget)


@dataclass(frozen=True, slots=True)
class Resume:
    """Let the agent of a parked chunk go on, in its own conversation where that is possible.

    `base` is what its work is measured from and `commit` the work so far, both empty where the last
    coordinator was killed: then what lies pinned of the attempt is taken up.
    """

    chunk: ChunkId
    attempt: int
    round: int
    slot: int
    base: str
    commit: str
    budget: float | None = None

    @property
    def started(self) -> ResumeStarted:
        """The fact that this was begun."""
        return ResumeStarted(self.chunk, self.budget)


@dataclass(frozen=True, slots=True)
class Gate:
    """Merge the work, off-tree, and check exactly that tree in the slot.

    It goes onto staging's head, or onto `onto`, the candidate of the chunk `ahead`. A red check is
    run up to `runs` times before it counts.
    """

    chunk: ChunkId
    attempt: int
    slot: int
    base: str
    commit: str
    ahead: ChunkId | None = None
    onto: str = ""
    runs: int = FEW

    @property
    def started(self) -> GateStarted:
        """The fact that this was begun."""
        return GateStarted(self.chunk, self.ahead, self.onto)


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Stop checking a candidate that was built on one which did not land."""

    chunk: ChunkId

    @property
    def started(self) -> GateVoided:
        """The fact that this was done."""
        return GateVoided(self.chunk)


@dataclass(frozen=True, slots=True)
class Land:
    """Move staging from `head` to `candidate`, or find that it is there already.

    One that was `begun` by a coordinator that was killed is only looked for: checks may have been
    added since.
    """

    chunk: ChunkId
    candidate: str
    head: str
    begun: bool = False

    @property
    def started(self) -> LandStarted:
        """The fact that this was begun."""
        return LandStarted(self.chunk)


Effect = StartAttempt | Repair | Resume | Gate | Land  # each comes to an event
Command = Effect | Withdraw
