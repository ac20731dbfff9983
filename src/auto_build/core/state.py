"""The state of a run: the fold of its events.

Each chunk is in exactly one of the states below, and each carries what only it has. How one follows
another stands in `transitions`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from auto_build.core import events as ev
from auto_build.core.claims import Claim, find_claim, first_overlap
from auto_build.core.gatebook import GateBook
from auto_build.core.outcomes import Setback
from auto_build.core.plan import ChunkId, Plan
from auto_build.core.qa import Qa
from auto_build.core.usage import Usage, total

CENT: Final = 0.01
STAGING_SLOT: Final = 0  # the number under which the staging worktree is lent to a fixer
REVIEWER: Final = ChunkId("review")  # under which what reviewers use up is kept


@dataclass(frozen=True, slots=True)
class Clash:
    """An attempt's `work` (a commit) did not merge with what had landed, over these paths.

    Or it did, and lines of them were lost. It is `settled` once what came of it was found to keep
    what both sides had added.
    """

    work: str
    paths: tuple[str, ...]
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a chunk: its number, its worker slot, and whether nothing else may run.

    `session` is what the agent calls its conversation, measured from the commit `base`; `setbacks`
    are how the chunk failed before, `backoffs` the pauses that its service asked for. It may
    spend `budget` dollars beyond the `before` that the chunk had cost when it was begun. `culprits`
    are the landed chunks together with which its work was red, and is not without them, or with
    which it was in conflict. `taken` are claims on paths that its agent asked for and nobody held.
    `clash` is the conflict that its agent was asked to resolve, if it was.
    """

    number: int
    slot: int
    alone: bool = False
    round: int = 0
    session: str = ""
    base: str = ""
    setbacks: tuple[Setback, ...] = ()
    backoffs: int = 0
    budget: float | None = None
    before: float = 0.0
    culprits: tuple[ChunkId, ...] = ()
    taken: tuple[Claim, ...] = ()
    clash: Clash | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What an agent made: `commit` on top of `base`.

    `granted` are claims it took by writing there; `outside` the paths it wrote without having
    claimed them before, whoever holds them. A chunk that claims nothing may write anywhere, so that
    only what another one holds is outside. `dropped` are its agent's words on what it left out.
    """

    base: str
    commit: str
    pin: str
    granted: tuple[Claim, ...] = ()
    outside: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """Not begun, or to be begun again; `attempts` were made before, and failed as `setbacks`."""

    attempts: int = 0
    setbacks: tuple[Setback, ...] = ()


@dataclass(frozen=True, slots=True)
class SetAside:
    """In conflict with what landed meanwhile: waits until nothing else runs.

    `session` is the agent's conversation, which knows what was meant.
    """

    attempts: int
    paths: tuple[str, ...]
    session: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """An agent is at work; `rejected` is set in a repair round."""

    attempt: Attempt
    aside: SetAside | None = None
    rejected: "Rejected | None" = None


@dataclass(frozen=True, slots=True)
class Parked:
    """The agent cannot go on now; it keeps its claims and its worker slot.

    It goes on after `until`, in seconds since the epoch, with `commit` on top of `base` before it.
    """

    attempt: Attempt
    why: Setback
    until: float
    base: str
    commit: str
    aside: SetAside | None = None
    rejected: "Rejected | None" = None


@dataclass(frozen=True, slots=True)
class Queued:
    """The work is pinned and waits for the gate.

    Where it was red on the candidate `head` of the chunk `doubts`, it waits for what becomes of it.
    """

    attempt: Attempt
    work: Work
    doubts: ChunkId | None = None
    head: str = ""


@dataclass(frozen=True, slots=True)
class Gating:
    """The candidate is being built and checked, on top of `head`.

    Where that is not staging's head but the candidate of another chunk, that one is `ahead`. It is
    `suspected` when it was red once and is run again. `last` is what had landed last at its start.
    """

    attempt: Attempt
    work: Work
    ahead: ChunkId | None = None
    candidate: str = ""
    head: str = ""
    suspected: bool = False
    last: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The candidate was red and the agent has repair rounds left.

    Or it is in `conflict` over these paths, and the agent is to resolve that, once in an attempt.
    """

    attempt: Attempt
    work: Work
    commit: str
    head: str
    feedback: str
    conflict: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Passed:
    """The candidate is green and may land, once the one `ahead` of it has.

    Where its landing was `begun` and cut off, it may be in staging already.
    """

    attempt: Attempt
    work: Work
    candidate: str
    head: str
    unverified: str
    ahead: ChunkId | None = None
    checks: tuple[ev.CheckResult, ...] = ()
    suspected: bool = False
    last: str = ""
    begun: bool = False
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Landing:
    """Staging is being moved to the candidate."""

    passed: Passed

    @property
    def attempt(self) -> Attempt:
        """The attempt whose candidate lands."""
        return self.passed.attempt

    @property
    def work(self) -> Work:
        """The work that lands."""
        return self.passed.work

    @property
    def candidate(self) -> str:
        """The commit that lands."""
        return self.passed.candidate


@dataclass(frozen=True, slots=True)
class Landed:
    """The chunk's commit is in staging."""

    attempts: int
    commit: str
    unverified: str = ""
    repairs: int = 0
    outside: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Undone:
    """It had landed as `was`, and was taken out of staging; it is not begun again by itself."""

    was: Landed

    @property
    def attempts(self) -> int:
        """How many attempts were made."""
        return self.was.attempts

    @property
    def commit(self) -> str:
        """The landing that was undone."""
        return self.was.commit


@dataclass(frozen=True, slots=True)
class Skipped:
    """Taken as done on somebody's word."""

    attempts: int
    why: str


@dataclass(frozen=True, slots=True)
class Failed:
    """No further step is left; `pin` keeps the last work, if there was any."""

    attempts: int
    outcome: ev.Outcome
    reason: str
    pin: str = ""


Stacked = Gating | Passed | Landing
Live = Running | Parked | Queued | Stacked | Rejected
Done = Landed | Skipped
ChunkState = Pending | SetAside | Live | Done | Failed | Undone


@dataclass(frozen=True)
class RunState:
    """Everything that deciding needs to know.

    `width` is how many agents may be at work, where that is fewer than there are slots; nobody may
    begin before `hold_until`, in seconds since the epoch. `halt` says why nobody can work at all.
    `usage` is what each chunk's conversations have used up; `forgiven` what a chunk had cost, in
    dollars, when somebody asked for it again. `revision` is an undo or redo that was meant and of
    which nobody knows yet whether it came about, `merging` such a merge. `parked` says that another
    build may have the staging worktree.
    """

    plan: Plan
    base: str
    chunks: Mapping[ChunkId, ChunkState]
    queue: tuple[ChunkId, ...] = ()
    repair_rounds: int = 2
    retries: int = 0
    max_cost: float | None = None
    chunk_cost: float | None = None
    open: bool = False
    paused: str = ""
    halt: str = ""
    width: int | None = None
    hold_until: float = 0.0
    usage: Mapping[ChunkId, Mapping[str, Usage]] = field(default_factory=dict)
    forgiven: Mapping[ChunkId, float] = field(default_factory=dict)
    notes: tuple[ev.Steered, ...] = ()
    strays: tuple[ev.StraysFound, ...] = ()
    qa: Qa = field(default_factory=Qa)
    merging: ev.MergeMeant | None = None
    merged: ev.RunMerged | None = None
    parked: bool = False
    discarded: bool = False
    revision: ev.RevisionPassed | None = None
    head: str = ""  # the commit that landed last, or an undo
    gate: GateBook = field(default_factory=GateBook)

    @property
    def live(self) -> Mapping[ChunkId, Live]:
        """The chunks that hold their claims and a worker slot, in the order of the plan."""
        chunks = self.chunks
        return {one: now for one in self.plan.chunks if isinstance(now := chunks[one], Live)}

    def held(self, chunk: ChunkId) -> tuple[Claim, ...]:
        """Return the claims of a chunk, those it took by writing included."""
        now = self.chunks[chunk]
        return self.plan.chunks[chunk].claims + (_granted(now) if isinstance(now, Live) else ())

    def held_by_others(self, chunk: ChunkId) -> tuple[Claim, ...]:
        """Return what all other live chunks hold."""
        return tuple(claim for other in self.live if other != chunk for claim in self.held(other))

    def free_claim(self, chunk: ChunkId, path: str) -> Claim | None:
        """Return the claim on a path, if one can be made of it and no other chunk stands in it."""
        claim = find_claim(path)
        taken = claim is None or first_overlap((claim,), self.held_by_others(chunk))
        return None if taken else claim

    def rounds_of(self, attempt: Attempt) -> int:
        """Return how often an attempt's agent may mend it; resolving a conflict comes on top."""
        return self.repair_rounds + (attempt.clash is not None)

    def usage_of(self, chunk: ChunkId) -> Usage:
        """Return what a chunk has used up, in all its attempts."""
        return total(self.usage.get(chunk, {}).values())

    def cost_of(self, chunk: ChunkId) -> float:
        """Return what a chunk has cost, in US dollars, as far as anybody knows."""
        return self.usage_of(chunk).cost_usd or 0.0

    @property
    def spent(self) -> Usage:
        """What the whole run has used up, chunks that are no longer in the plan included."""
        return total(used for sessions in self.usage.values() for used in sessions.values())

    def left_for(self, chunk: ChunkId) -> float | None:
        """Return what may still be spent on a chunk by its own limit; None where there is none."""
        if self.chunk_cost is None:
            return None
        return self.chunk_cost - (self.cost_of(chunk) - self.forgiven.get(chunk, 0.0))

    def notes_for(self, chunk: ChunkId) -> str:
        """Return what people have to say to a chunk's agent, the oldest first."""
        files = [note for note in self.notes if note.file]
        heard = [
            note.text.strip()
            for note in self.notes
            if note.to in {None, chunk} and (not note.file or note is files[-1])
        ]
        return "\n\n".join(text for text in (*heard, *self._comments_for(chunk)) if text)

    def _comments_for(self, chunk: ChunkId) -> tuple[str, ...]:
        """Return what people say of the build to those who review it, or mend what was found."""
        phase = self.plan.phase_of.get(chunk)
        if chunk != REVIEWER and not (phase and phase.round):
            return ()
        return tuple(
            f"On chunk {one.chunk}: {one.text}" if one.chunk else one.text
            for one in self.qa.comments
        )


def _granted(now: Live) -> tuple[Claim, ...]:
    match now:
        case Running() | Parked():
            captured = now.rejected.work.granted if now.rejected else ()
        case _:
            captured = now.work.granted
    return now.attempt.taken + captured
