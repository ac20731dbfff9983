"""What is next in the review rounds, and which chunks mend what was found. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from auto_build.core.claims import Claim, find_claim
from auto_build.core.findings import Finding, Review, Source, Verdict
from auto_build.core.plan import Chunk, ChunkId, Phase, PhaseId, Verification, VerificationKind
from auto_build.core.qa import Qa
from auto_build.core.state import Done, Failed, Landed, RunState, Undone

MOST_SILENT: Final = 2  # reviews of a commit, one after the other, that come to no verdict
_TITLE: Final = 72


@dataclass(frozen=True, slots=True)
class Look:
    """Staging is to be reviewed."""

    round: int


@dataclass(frozen=True, slots=True)
class Mend:
    """What the review of a round found is to be mended."""

    round: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """The rounds lead no further, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Approved:
    """Nothing is left to be done."""


Step = Look | Mend | Stop | Approved


def is_reviewable(state: RunState) -> bool:
    """Say whether all that the plan asks for is done, and nobody is at work."""
    own = [chunk.id for phase in state.plan.own for chunk in phase.chunks]
    return not state.live and all(isinstance(state.chunks[one], Done) for one in own)


def are_mended(state: RunState) -> bool:
    """Say whether every chunk that mends a finding has come to its end, well or not."""
    mending = [chunk.id for phase in state.plan.phases if phase.round for chunk in phase.chunks]
    return all(isinstance(state.chunks[one], Done | Failed | Undone) for one in mending)


def is_due(state: RunState, head: str, *, again: bool) -> bool:
    """Say whether the rounds are to begin, or to go on, where staging is at `head`."""
    if again:
        return True
    qa, last = state.qa, state.qa.last
    if qa.under_way or qa.skipped or last is None:
        return not qa.skipped
    if qa.find_approval(head):
        return False
    by_person = last.of is Source.PERSON and last.verdict is Verdict.REJECTED
    return by_person or last.commit != head or not qa.stopped


def next_step(state: RunState, head: str) -> Step:
    """Return what comes next in the rounds that are under way, where staging is at `head`."""
    qa = state.qa
    last = qa.last
    if last is None:
        return Look(1)
    match last.verdict:
        case Verdict.APPROVED:
            return Approved() if last.commit == head else _look_again(qa)
        case Verdict.NONE:
            return Stop(last.why) if _silent(qa, head) >= MOST_SILENT else Look(last.round)
        case Verdict.REJECTED:
            return _after_rejection(state, last, head)


def _after_rejection(state: RunState, last: Review, head: str) -> Step:
    qa = state.qa
    fixes = state.plan.fixes_of(last.round)
    if fixes:
        landed = any(isinstance(state.chunks[one], Landed) for one in fixes)
        anew = last.round <= qa.begun_at
        if landed or anew or head != last.commit:
            return _look_again(qa)
        return Stop("no progress: nothing of what was to mend the findings has landed")
    if last.commit != head and last.of is not Source.PERSON:
        return _look_again(qa)  # somebody else has changed staging
    if repeated := _repeated(qa):
        return Stop(f"no progress: the same findings twice ({_counted(repeated)})")
    if qa.round - qa.begun_at >= qa.rounds:
        return Stop(f"{_counted(qa.open)} left after {qa.rounds} rounds")
    return Mend(last.round, qa.open)


def _look_again(qa: Qa) -> Step:
    if qa.round - qa.begun_at >= qa.rounds:
        return Stop(f"it is not approved after {qa.rounds} rounds")
    return Look(qa.round + 1)


def _silent(qa: Qa, head: str) -> int:
    """Return how many reviews in a row have come to nothing, in the present rounds."""
    count = 0
    for review in reversed(qa.reviews[qa.before :]):
        if review.verdict is not Verdict.NONE or review.commit != head:
            break
        count += 1
    return count


def _repeated(qa: Qa) -> tuple[Finding, ...]:
    """Return the findings of the last round, where those of the one before were the same."""
    before = {
        one.key
        for review in qa.reviews
        if review.round == qa.round - 1 and review.round > qa.begun_at
        for one in review.blocking
    }
    now = {one.key for one in qa.open}
    return qa.open if now and now == before else ()


def _counted(findings: Sequence[Finding]) -> str:
    return f"{len(findings)} finding{'' if len(findings) == 1 else 's'}"


def round_of_person(state: RunState) -> int:
    """Return the round that a person's verdict belongs to: the last, unless it was mended."""
    number = state.qa.round
    return max(number, 1) if not state.plan.fixes_of(number) else number + 1


# --- mending -------------------------------------------------------------------------------------


def plan_fixes(
    round_: int, findings: Sequence[Finding], *, apart: bool, taken: Collection[str] = ()
) -> Phase:
    """Return the phase that mends findings, under names that are not `taken`.

    `apart` has those in different files mended by chunks of their own, which claim these files;
    where one has no place, nobody can tell what it needs, and one chunk mends them all.
    """
    base = f"qa-{round_}"
    while any(one == base or one.startswith(f"{base}-") for one in taken):
        base = f"fix-{base}"
    claimed = _by_claim(findings) if apart else None
    groups = claimed if claimed and len(claimed) > 1 else {None: list(findings)}
    several = len(groups) > 1
    chunks = tuple(
        _fix(f"{base}-{place}" if several else base, claim, group)
        for place, (claim, group) in enumerate(groups.items(), start=1)
    )
    name = f"Mending what review {round_} found"
    return Phase(id=PhaseId(base), name=name, chunks=chunks, round=round_)


def _by_claim(findings: Iterable[Finding]) -> Mapping[Claim | None, list[Finding]] | None:
    """Return the findings by the file that they are in; None where one is in none."""
    groups: dict[Claim | None, list[Finding]] = {}
    for finding in findings:
        claim = find_claim(finding.file) if finding.file else None
        if claim is None:
            return None
        groups.setdefault(claim, []).append(finding)
    return groups


def _fix(name: str, claim: Claim | None, findings: Sequence[Finding]) -> Chunk:
    first = findings[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return Chunk(
        id=ChunkId(name),
        title=f"mend: {first.what[:_TITLE]}{more}",
        description="\n\n".join(in_words(one) for one in findings),
        claims=(claim,) if claim else (),
        verification=_verification(findings),
    )


def _verification(findings: Sequence[Finding]) -> Verification:
    """Return the command that shows that all is mended, where there is one for each finding."""
    commands = list(dict.fromkeys(one.command for one in findings))
    if not all(commands):
        return Verification()
    return Verification(kind=VerificationKind.COMMAND, command=" && ".join(commands))


def in_words(finding: Finding) -> str:
    """Return a finding as its fixer reads it."""
    lines = [f"[{finding.severity.value}] {finding.what}"]
    if finding.place:
        lines.append(f"Where: {finding.place}")
    if finding.why:
        lines.append(f"Why: {finding.why}")
    if finding.command:
        lines.append(f"Red: $ {finding.command}")
    if finding.verify:
        lines.append(f"How to see that it is mended: {finding.verify}")
    return "\n".join(lines)
