"""The story of a build, for whoever is to judge it: what was asked, made and checked, and what not.

Pure: what git and the journal hold comes in as values. Nothing is told as verified that was not
tried on the very commit that staging is at.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from auto_build.core import events as ev
from auto_build.core.acceptance import ItemResult, ItemState
from auto_build.core.evidence import Note, digest_of
from auto_build.core.findings import Comment, Finding, Met, Review, Source, Verdict
from auto_build.core.patch import FilePatch
from auto_build.core.plan import ChunkId, VerificationKind
from auto_build.core.qa import Standing
from auto_build.core.state import Landed, RunState, Skipped
from auto_build.core.timeline import Act, Stretch, Timeline
from auto_build.core.usage import Usage
from auto_build.core.view import Label, View


class Kept(StrEnum):
    """Whether git's note of a landing says what the journal says of its checks."""

    AGREES = "git keeps the same"
    DIFFERS = "git keeps something else"
    MISSING = "git keeps no note"
    ONLY_GIT = "from git's note alone"


class Whom(StrEnum):
    """Who could verify what no command can."""

    REVIEWER = "a reviewer, or you"
    PERSON = "you"


@dataclass(frozen=True, slots=True)
class Proof:
    """One check of a landing: `seconds` is None where only git's note tells of it.

    `runs` is how often it was run on that tree: 0 where the answer was known. `succeeded` is how
    many tests passed, where its output says so.
    """

    command: str
    passed: bool
    code: int | None
    seconds: float | None = None
    runs: int = 1
    note: str = ""
    succeeded: int | None = None
    output: str = ""


@dataclass(frozen=True, slots=True)
class Unverified:
    """What nobody has verified on staging's head, who could, and why it was not."""

    what: str
    whom: Whom
    chunk: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """What git has to tell: what each landing changed, what was noted of it, and what all is.

    `notes` go by commit, `patches` by chunk.
    """

    patches: Mapping[ChunkId, tuple[FilePatch, ...]] = field(default_factory=dict)
    notes: Mapping[str, Note | None] = field(default_factory=dict)
    whole: tuple[FilePatch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One chunk: what was asked, what came of it, what it took, and what shows that it is right.

    `round` is that of the review whose findings it mends, 0 for what the plan asks for. `files` are
    what its landing changed; empty where it has not landed.
    """

    id: str
    title: str
    phase: str
    round: int
    intent: str
    label: Label
    note: str
    commit: str
    attempts: int
    repairs: int
    conflicts: int
    agent_s: float
    gate_s: float
    usage: Usage
    files: tuple[FilePatch, ...] = ()
    checks: tuple[Proof, ...] = ()
    kept: Kept = Kept.MISSING
    unverified: str = ""
    dropped: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    strays: tuple[ev.StraysFound, ...] = ()
    comments: tuple[Comment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A build, told to its end so far; staging is at `head`, and grew from `base`.

    `comments` are those about the whole, `open` is what has to be mended, `checks` what the last
    gate said of this very commit.
    """

    spec: str
    title: str
    branch: str
    head: str
    base: str
    worktree: str
    standing: Standing
    approval: Review | None
    chapters: tuple[Chapter, ...]
    reviews: tuple[Review, ...]
    open: tuple[Finding, ...]
    comments: tuple[Comment, ...]
    unverified: tuple[Unverified, ...]
    checks: tuple[Proof, ...]
    whole: tuple[FilePatch, ...]
    stretches: tuple[Stretch, ...]
    landings: tuple[tuple[str, float], ...]
    worked_s: float
    agent_s: float
    gate_s: float
    speed: float | None
    usage: Usage
    conflicts: int
    repairs: int
    flaky: tuple[str, ...]
    strays: tuple[ev.StraysFound, ...]
    merged: str = ""
    parked: bool = False

    @property
    def done(self) -> int:
        """How many chunks need nothing more."""
        return sum(one.label in {Label.LANDED, Label.SKIPPED} for one in self.chapters)

    @property
    def tests(self) -> int | None:
        """How many tests passed on this commit; None where no output says so."""
        told = [one.succeeded for one in self.checks if one.succeeded is not None]
        return sum(told) if told else None

    @property
    def lines(self) -> tuple[int, int]:
        """How many lines were added and removed in all."""
        return count_lines(self.whole)


def count_lines(files: Iterable[FilePatch]) -> tuple[int, int]:
    """Return how many lines were added and removed in files."""
    several = tuple(files)
    return sum(one.added or 0 for one in several), sum(one.removed or 0 for one in several)


def tell(
    state: RunState,
    view: View,
    timeline: Timeline,
    made: Made,
    *,
    branch: str,
    head: str,
    base: str,
    worktree: str,
) -> Story:
    """Return the story of a build whose staging is at `head`."""
    return Story(
        spec=view.spec,
        title=view.title,
        branch=branch,
        head=head,
        base=base,
        worktree=worktree,
        standing=state.qa.standing(head),
        approval=state.qa.find_approval(head),
        chapters=tuple(_chapters(state, view, timeline, made)),
        reviews=state.qa.reviews,
        open=state.qa.open,
        comments=tuple(one for one in state.qa.comments if one.chunk is None),
        unverified=find_unverified(state, head),
        checks=_proofs(timeline.checks.get(head, ())),
        whole=made.whole,
        stretches=timeline.stretches,
        landings=timeline.landings,
        worked_s=view.times.worked_s,
        agent_s=sum(view.times.agent_s.values()),
        gate_s=sum(view.times.gate_s.values()),
        speed=timeline.speed,
        usage=view.usage,
        conflicts=view.times.conflicts,
        repairs=view.times.repairs,
        flaky=view.flaky,
        strays=view.strays,
        merged=view.merged,
        parked=view.parked,
    )


def find_unverified(state: RunState, head: str) -> tuple[Unverified, ...]:
    """Return what nobody has verified on staging's `head`, in the order of the plan."""
    tried = _tried(state, head)
    seen = any(one.commit == head and one.verdict is not Verdict.NONE for one in state.qa.reviews)
    return (
        *(() if seen else (Unverified("nobody has reviewed this very commit", Whom.REVIEWER),)),
        *_unverified_chunks(state, {one.chunk for one in tried}),
        *(_unverified_item(one) for one in tried if one.state is ItemState.UNVERIFIED),
        *_unknown_criteria(state, head),
    )


def _tried(state: RunState, head: str) -> tuple[ItemResult, ...]:
    """Return what came of each item on `head`, by the last review that tried it there."""
    last = {
        one.item: one
        for review in state.qa.reviews
        if review.commit == head
        for one in review.items
    }
    return tuple(last.values())


def _unverified_chunks(state: RunState, tried: set[str]) -> Iterator[Unverified]:
    """Yield what chunks leave to be verified, but for those whose items were tried."""
    for chunk, now in state.chunks.items():
        match now:
            case Skipped() if not state.plan.phase_of[chunk].round:
                yield Unverified("it was taken as done", Whom.PERSON, chunk, now.why)
            case Landed(unverified=what) if what and chunk not in tried:
                yield Unverified(what, _whom(state.plan.chunks[chunk].verification.kind), chunk)
            case _:
                pass


def _unverified_item(item: ItemResult) -> Unverified:
    return Unverified(item.what, _whom(item.kind), item.chunk, item.note)


def _unknown_criteria(state: RunState, head: str) -> Iterator[Unverified]:
    """Yield the criteria of which the last reviewer at `head` could not say if they are met."""
    looked = [one for one in state.qa.reviews if one.commit == head and one.of is Source.REVIEWER]
    for criterion in looked[-1].criteria if looked else ():
        if criterion.met is Met.UNKNOWN:
            yield Unverified(criterion.text, Whom.PERSON, why=criterion.evidence)


def _whom(kind: VerificationKind) -> Whom:
    return Whom.PERSON if kind is VerificationKind.MANUAL else Whom.REVIEWER


def _chapters(state: RunState, view: View, timeline: Timeline, made: Made) -> Iterator[Chapter]:
    for row in view.rows:
        chunk = ChunkId(row.id)
        now = state.chunks[chunk]
        checks, kept = weigh(timeline.checks.get(row.commit), made.notes.get(row.commit))
        yield Chapter(
            id=row.id,
            title=row.title,
            phase=row.phase,
            round=state.plan.phase_of[chunk].round,
            intent=state.plan.chunks[chunk].description,
            label=row.label,
            note=row.note,
            commit=row.commit,
            attempts=row.attempt,
            repairs=now.repairs if isinstance(now, Landed) else 0,
            conflicts=timeline.conflicts.get(chunk, 0),
            agent_s=timeline.spent_s(Act.AGENT, chunk),
            gate_s=timeline.spent_s(Act.GATE, chunk),
            usage=row.usage,
            files=made.patches.get(chunk, ()),
            checks=checks,
            kept=kept,
            unverified=row.unverified,
            dropped=row.dropped,
            outside=row.outside,
            strays=tuple(one for one in state.strays if chunk in one.chunks),
            comments=tuple(one for one in state.qa.comments if one.chunk == chunk),
        )


def weigh(
    told: tuple[ev.CheckResult, ...] | None, note: Note | None
) -> tuple[tuple[Proof, ...], Kept]:
    """Return what was checked of a landing, and whether git tells the same of it.

    `told` is what the journal has, `note` what git keeps; either may be silent.
    """
    if told is None:
        if note is None:
            return (), Kept.MISSING
        proofs = (Proof(one.command, one.code == 0, one.code) for one in note.checks)
        return tuple(proofs), Kept.ONLY_GIT
    if note is None:
        return _proofs(told), Kept.MISSING
    ours = [(one.command, one.code, digest_of(one.output)) for one in told]
    same = ours == [(one.command, one.code, digest_of(one.output)) for one in note.checks]
    return _proofs(told), Kept.AGREES if same else Kept.DIFFERS


def _proofs(checks: Iterable[ev.CheckResult]) -> tuple[Proof, ...]:
    return tuple(
        Proof(
            command=one.command,
            passed=one.passed,
            code=one.code,
            seconds=one.seconds,
            runs=one.runs,
            note=one.note,
            succeeded=one.succeeded,
            output=one.output,
        )
        for one in checks
    )
