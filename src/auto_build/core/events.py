"""Facts about a run. Each is journaled once, in order; `state.apply` folds them into a RunState.

An event holds what happened and nothing that can be computed from earlier ones. The time of an
event is the journal's business. Commit, tree and head ids are full hexadecimal object ids.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from auto_build.core.findings import Comment, Review
from auto_build.core.plan import ChunkId, Phase, Plan
from auto_build.core.suite import Check
from auto_build.core.usage import Usage
from auto_build.core.verdict import Standing


class Outcome(StrEnum):
    """How a chunk's try ended when nothing of it could land."""

    NO_CHANGE = "no-change"
    NEEDS_INPUT = "needs-input"
    REFUSED = "refused"
    MAX_TURNS = "max-turns"
    BUDGET = "budget"
    CONTEXT_FULL = "context-full"
    AUTH = "auth"
    RATE_LIMIT = "rate-limit"
    OVERLOADED = "overloaded"
    AGENT_ERROR = "agent-error"
    IDLE = "idle"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    CAPTURE_FAILED = "capture-failed"
    CHECKS_RED = "checks-red"
    CONFLICT = "conflict"


class Revision(StrEnum):
    """What is done to chunks that have landed, between runs."""

    UNDO = "undo"
    REDO = "redo"


class MergeForm(StrEnum):
    """How staging comes into the user's branch."""

    FAST_FORWARD = "fast-forward"
    MERGE = "merge"
    SQUASH = "squash"


class Ending(StrEnum):
    """How a session of the coordinator ended."""

    DONE = "done"
    UNFINISHED = "unfinished"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check came to on one tree, in all the times that it was run there.

    `passed` says that nothing is held against the tree: it is green, or what fails failed before.
    `code` is the exit code that the verdict rests on, or None where it was stopped at its time
    limit; `seconds` is wall time, of all `runs`, which are 0 where the answer was known; `output`
    is the tail of what it printed, bounded by `checks.OUTPUT_TAIL`; `note` says what the verdict
    rests on where that is more than the exit code.

    `failed` are the tests that failed in each run, old failures among them; `whole` says that it
    was red and named none. `flaky` are tests that both failed and passed on this very tree;
    `succeeded` is how many passed, where the output says so. What is red is `steady` if it was so
    in the same tests each time.
    """

    command: str
    passed: bool
    code: int | None
    seconds: float
    output: str = ""
    note: str = ""
    expected: str = ""
    failed: tuple[str, ...] = ()
    whole: bool = False
    flaky: tuple[str, ...] = ()
    succeeded: int | None = None
    runs: int = 1
    steady: bool = True

    @property
    def check(self) -> Check:
        """The command, as the suite names it."""
        return Check(self.command, self.expected)

    @property
    def standing(self) -> Standing:
        """How the check stands on the tree."""
        return Standing(frozenset(self.failed), self.whole)


# --- the run -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A build of `plan` begins on `base`.

    `landed` maps chunks to commits already in the base or in staging that carry this spec's
    trailers, `undone` those whose landings were taken out there; `attempts` holds the highest
    attempt number pinned earlier, so that no pin is re-used.
    """

    plan: Plan
    base: str
    landed: Mapping[ChunkId, str] = field(default_factory=dict)
    attempts: Mapping[ChunkId, int] = field(default_factory=dict)
    undone: Mapping[ChunkId, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A coordinator took up the run, with these bounds.

    `slots` are worker slots, `repair_rounds` rounds per attempt, `retries` further tries of a chunk
    whose agent failed; `max_cost` and `chunk_cost` are US dollars for the run and for one chunk.
    `window` is how many candidates may be checked at once.
    """

    slots: int
    repair_rounds: int
    retries: int = 0
    max_cost: float | None = None
    chunk_cost: float | None = None
    window: int = 1


@dataclass(frozen=True, slots=True)
class BaseChecked:
    """The suite was run on staging's `head` before any agent began: what fails there is old."""

    head: str
    checks: tuple[CheckResult, ...] = ()


@dataclass(frozen=True, slots=True)
class QueuePaced:
    """From now on candidates are checked one by one, or `ahead` of each other on predicted heads.

    The choice rests on the mean seconds of an agent and of a gate, with so many worker slots.
    """

    ahead: bool
    agent_s: float
    gate_s: float
    slots: int


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The coordinator let the run go."""

    ending: Ending


@dataclass(frozen=True, slots=True)
class PlanChanged:
    """The plan file was edited between sessions.

    `attempts`, `landed` and `undone` are as in `RunStarted`, for chunks that the plan did not have
    before.
    """

    plan: Plan
    attempts: Mapping[ChunkId, int] = field(default_factory=dict)
    landed: Mapping[ChunkId, str] = field(default_factory=dict)
    undone: Mapping[ChunkId, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunPaused:
    """No agent is started any more in this session; what is under way goes on to its end."""

    why: str


@dataclass(frozen=True, slots=True)
class RevisionPassed:
    """`candidate` (on top of `head`) is green, and staging is meant to move there: the intent.

    An undo takes the landings out of staging, which are the commits in `landings`; a redo brings
    chunks back, as those commits. `checks` is how the suite of what there is then stands.
    """

    revision: Revision
    landings: Mapping[ChunkId, str]
    candidate: str
    head: str
    checks: tuple[CheckResult, ...] = ()


@dataclass(frozen=True, slots=True)
class RevisionLanded:
    """Staging's head is or contains what was meant; `view` says why the worktree is behind."""

    view: str = ""


@dataclass(frozen=True, slots=True)
class RevisionVoided:
    """What was meant did not come about, and will not: staging's head is `head`."""

    head: str


# --- reviews -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QaBegan:
    """Review rounds begin, at most `rounds` of them."""

    rounds: int


@dataclass(frozen=True, slots=True)
class QaStopped:
    """The rounds end without an approval, and why; nobody goes on by himself."""

    why: str


@dataclass(frozen=True, slots=True)
class QaSkipped:
    """Somebody says that the build needs no review; nothing was looked at."""

    why: str


@dataclass(frozen=True, slots=True)
class ReviewStarted:
    """A reviewer is about to look at staging's `commit`; it may spend `budget` US dollars."""

    round: int
    commit: str
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class ReviewSpent:
    """What the reviewer's conversation `session` has used up so far."""

    session: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A review came to its end; what a person says of the build is one, too."""

    review: Review


@dataclass(frozen=True, slots=True)
class FixesAsked:
    """What a review found is to be mended by the chunks of a phase.

    `in_staging` says that its agent works in the staging worktree, and not in a worker slot;
    `attempts` holds the highest attempt number pinned earlier under the name of each chunk.
    """

    phase: Phase
    in_staging: bool = False
    attempts: Mapping[ChunkId, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Commented:
    """A person has something to say of the build, or of a chunk, for whoever reviews it."""

    comment: Comment


# --- the way to the user's branch ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MergeMeant:
    """The user's branch is about to be moved from `was` to `commit`: the intent of a merge.

    `branch` is its short name, empty on a detached HEAD; `staging` is the commit that it brings in.
    `forced` is the reason that somebody gave for merging what is not approved.
    """

    branch: str
    was: str
    commit: str
    staging: str
    form: MergeForm
    forced: str = ""


@dataclass(frozen=True, slots=True)
class MergeVoided:
    """What was meant did not come about, and will not."""

    why: str


@dataclass(frozen=True, slots=True)
class RunMerged:
    """Staging was brought into the user's branch, as `commit`; before that, it was at `was`."""

    branch: str
    commit: str
    was: str = ""


@dataclass(frozen=True, slots=True)
class MergeUndone:
    """The user's branch is back at `commit`, where it was before the merge; staging is back, too.

    Or what was merged was taken back by `commit`, on top of what has come since.
    """

    commit: str


@dataclass(frozen=True, slots=True)
class RunParked:
    """The build is put aside at staging's `head`, so that another one can be built."""

    head: str


@dataclass(frozen=True, slots=True)
class RunUnparked:
    """The build has its staging worktree again."""


@dataclass(frozen=True, slots=True)
class RunDiscarded:
    """Staging was thrown away, its last commit kept under the ref `pin`."""

    pin: str


@dataclass(frozen=True, slots=True)
class Steered:
    """Somebody has something to say to the agent of a chunk, or to all of them.

    `file` says that it is the whole content of the spec's file for that, which replaces what was
    there before.
    """

    text: str
    to: ChunkId | None = None
    file: bool = False


@dataclass(frozen=True, slots=True)
class StraysFound:
    """What was changed on the user's side while `chunks` were at work, in words.

    `back` was put back as it was, `told` was not; what was there instead is `kept`.
    """

    chunks: tuple[ChunkId, ...]
    back: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    kept: str = ""


# --- a chunk -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChunkReset:
    """Somebody wants the chunk to be done again."""

    chunk: ChunkId
    why: str


@dataclass(frozen=True, slots=True)
class ChunkSkipped:
    """Somebody says that the chunk needs no doing; nothing was checked."""

    chunk: ChunkId
    why: str


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """An agent is about to be given the chunk, in a worker slot; it may spend `budget` dollars."""

    chunk: ChunkId
    attempt: int
    slot: int
    alone: bool = False
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class RepairStarted:
    """The agent is about to be given the failing output; it may spend `budget` US dollars."""

    chunk: ChunkId
    round: int
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class ResumeStarted:
    """The agent of a chunk that was parked is about to go on."""

    chunk: ChunkId
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class ConversationBegan:
    """The agent calls its conversation `session`; its work is measured from the commit `base`."""

    chunk: ChunkId
    session: str
    base: str


@dataclass(frozen=True, slots=True)
class UsageReported:
    """What the conversation `session` has used up so far, from its very beginning."""

    chunk: ChunkId
    session: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class ClaimTaken:
    """The agent is about to write a path that nobody holds; it is the chunk's until it lands."""

    chunk: ChunkId
    path: str


@dataclass(frozen=True, slots=True)
class AttemptLost:
    """The coordinator ended while the agent was at work; what it left is pinned."""

    chunk: ChunkId


@dataclass(frozen=True, slots=True)
class WorkCaptured:
    """The agent's work is committed as `commit` on top of `base`, and pinned under `pin`.

    `touched` are the paths that differ between the two. `seconds` is the session's wall time.
    `dropped` are the agent's words on what it left out on purpose: a path and a reason in each.
    """

    chunk: ChunkId
    base: str
    commit: str
    pin: str
    touched: tuple[str, ...]
    seconds: float = 0.0
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """The agent stopped and there is nothing to put before the gate.

    What it left is `commit` on top of `base`, kept under `pin` where it left anything. `until` is
    the time before which trying again is of no use, in seconds since the epoch.
    """

    chunk: ChunkId
    outcome: Outcome
    detail: str
    seconds: float = 0.0
    pin: str = ""
    base: str = ""
    commit: str = ""
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class GateStarted:
    """The chunk's work is about to be merged and checked.

    It is merged onto staging's head, or onto `onto`: the candidate of the chunk `ahead`, which is
    expected to land before.
    """

    chunk: ChunkId
    ahead: ChunkId | None = None
    onto: str = ""


@dataclass(frozen=True, slots=True)
class CandidateBuilt:
    """The work was merged as `candidate` on top of `head`, and is being checked."""

    chunk: ChunkId
    candidate: str
    head: str


@dataclass(frozen=True, slots=True)
class CandidateSuspected:
    """The candidate was red once and is run again; meanwhile nobody builds on it."""

    chunk: ChunkId


@dataclass(frozen=True, slots=True)
class GateVoided:
    """The candidate was built on one that did not land; it is queued again, in its place."""

    chunk: ChunkId


@dataclass(frozen=True, slots=True)
class GateLost:
    """The coordinator ended while the gate was at work."""

    chunk: ChunkId


@dataclass(frozen=True, slots=True)
class CandidatePassed:
    """`candidate` (on top of `head`) is green, and is meant to land: the intent of the landing.

    `unverified` holds what no command could check and QA or a person has to; `dropped` says which
    lines of either side its agent left out, and why.
    """

    chunk: ChunkId
    candidate: str
    head: str
    checks: tuple[CheckResult, ...] = ()
    unverified: str = ""
    replayed: bool = False
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CandidateDoubted:
    """What was built on the candidate of another does not pass, or does not merge with it.

    Whose fault that is cannot be told before that one has landed or failed; then it is checked
    again. `why` is what was seen.
    """

    chunk: ChunkId
    why: str
    checks: tuple[CheckResult, ...] = ()


@dataclass(frozen=True, slots=True)
class CandidateRejected:
    """`candidate` is red; `feedback` is what the agent is told, `commit` its work to go on from.

    `culprits` are the landed chunks together with which it is red, where it is green without them;
    `surely` says that leaving out any one of them was seen to make it green. `lost` are the paths
    in which lines of a side were missing.
    """

    chunk: ChunkId
    candidate: str
    head: str
    commit: str
    feedback: str
    checks: tuple[CheckResult, ...] = ()
    culprits: tuple[ChunkId, ...] = ()
    surely: bool = True
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CandidateConflicted:
    """The work does not merge onto `head`, nor does its replay; `paths` are in conflict.

    `commit` holds the merge as far as it goes, with markers where it does not; `feedback` is what
    the agent is told that is to resolve it. `culprits` landed what the work is in conflict with.
    """

    chunk: ChunkId
    head: str
    paths: tuple[str, ...]
    commit: str = ""
    feedback: str = ""
    culprits: tuple[ChunkId, ...] = ()


@dataclass(frozen=True, slots=True)
class LandStarted:
    """Staging is about to be moved to the candidate."""

    chunk: ChunkId


@dataclass(frozen=True, slots=True)
class LandLost:
    """The coordinator ended while staging was being moved; git knows whether it was."""

    chunk: ChunkId


@dataclass(frozen=True, slots=True)
class CandidateLanded:
    """Staging's head is or contains `commit`; `view` says why the worktree is behind, if it is."""

    chunk: ChunkId
    commit: str
    view: str = ""


@dataclass(frozen=True, slots=True)
class LandingVoided:
    """Staging was moved by somebody else since the candidate was built; it is gated again."""

    chunk: ChunkId
    head: str


ChunkEvent = (
    ChunkReset
    | ChunkSkipped
    | AttemptStarted
    | RepairStarted
    | ResumeStarted
    | ConversationBegan
    | UsageReported
    | ClaimTaken
    | AttemptLost
    | WorkCaptured
    | AttemptEnded
    | GateStarted
    | CandidateBuilt
    | CandidateSuspected
    | GateVoided
    | GateLost
    | CandidatePassed
    | CandidateDoubted
    | CandidateRejected
    | CandidateConflicted
    | LandStarted
    | LandLost
    | CandidateLanded
    | LandingVoided
)
QaEvent = QaBegan | QaStopped | QaSkipped | ReviewStarted | Reviewed | FixesAsked | Commented
RunEvent = (
    RunStarted
    | SessionOpened
    | SessionClosed
    | BaseChecked
    | QueuePaced
    | PlanChanged
    | RunPaused
    | RevisionPassed
    | RevisionLanded
    | RevisionVoided
    | QaEvent
    | ReviewSpent
    | MergeMeant
    | MergeVoided
    | RunMerged
    | MergeUndone
    | RunParked
    | RunUnparked
    | RunDiscarded
    | Steered
    | StraysFound
)
Event = RunEvent | ChunkEvent
