"""What people say of a build between its runs: it is good, it is not, or something to bear in mind.

Invariants: a verdict is for the commit that staging is at while the run lock is held; it is
journaled before anybody is told of it; nothing else is changed.
"""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from typing import Final

from auto_build.core import events as ev
from auto_build.core.claims import find_claim
from auto_build.core.findings import Comment, Finding, Review, Source, Verdict
from auto_build.core.plan import ChunkId
from auto_build.core.rounds import is_reviewable, round_of_person
from auto_build.core.state import Done, RunState
from auto_build.core.story import Unverified, find_unverified
from auto_build.core.transitions import apply
from auto_build.delivery import Build
from auto_build.errors import NotReady, UsageProblem
from auto_build.git.parse import Commit
from auto_build.journal import Journal, RunLock
from auto_build.qa.papers import Papers

_SHOWN: Final = 10
_REJECT: Final = 'auto-build reject 001 "what is wrong"'
_SOMEBODY: Final = "somebody"  # whom git does not know by name


@dataclass(frozen=True, slots=True)
class Judged:
    """A person's verdict: the review as it was journaled.

    `open` are findings that are still there: those that an approval sets aside, or what is to be
    mended after a rejection. `unverified` is what nobody has verified on this commit; `warning`
    says why the plan file does not tell of it, if it does not.
    """

    spec: str
    review: Review
    open: tuple[Finding, ...]
    unverified: tuple[Unverified, ...]
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A comment as it was journaled."""

    spec: str
    comment: Comment
    warning: str = ""


async def approve(build: Build, *, note: str = "") -> Judged:
    """Approve of what staging holds now, whatever reviewers said of it.

    Raises:
        NotReady: there is no staging, or not all is done.
        RunLocked: a run is going on.
    """
    with RunLock.acquire(build.workspace.state_dir, build.spec.name):
        state, head = await _present(build)
        _require_done(build, state)
        review = Review(
            round=round_of_person(state),
            commit=head,
            verdict=Verdict.APPROVED,
            by=await _name(build),
            of=Source.PERSON,
            summary=note.strip(),
            notes=tuple(f"approved all the same: {one.what}" for one in state.qa.open),
        )
        after, warning = _record(build, state, ev.Reviewed(review))
        unverified = find_unverified(after, head)
        return Judged(build.spec.name, review, state.qa.open, unverified, warning)


async def reject(build: Build, finding: Finding) -> Judged:
    """Say what is wrong with what staging holds now; it is to be mended.

    Raises:
        NotReady: there is no staging.
        UsageProblem: the finding is about something that there is not.
        RunLocked: a run is going on.
    """
    with RunLock.acquire(build.workspace.state_dir, build.spec.name):
        state, head = await _present(build)
        _require_finding(state, build.spec.name, finding)
        review = Review(
            round=round_of_person(state),
            commit=head,
            verdict=Verdict.REJECTED,
            by=await _name(build),
            of=Source.PERSON,
            findings=(finding,),
        )
        after, warning = _record(build, state, ev.Reviewed(review))
        unverified = find_unverified(after, head)
        return Judged(build.spec.name, review, after.qa.open, unverified, warning)


async def comment(build: Build, text: str, *, chunk: str = "") -> Said:
    """Say something of a build, or of a chunk, for whoever reviews or mends it next.

    Raises:
        NotReady: it was not begun.
        UsageProblem: there is no such chunk, or nothing is said.
        RunLocked: a run is going on.
    """
    with RunLock.acquire(build.workspace.state_dir, build.spec.name):
        state, _ = build.require_begun()
        _require_chunk(state, build.spec.name, chunk)
        if not text.strip():
            raise UsageProblem("the comment says nothing", hint='auto-build comment 001 "…"')
        made = Comment(text.strip(), ChunkId(chunk) if chunk else None, await _name(build))
        _, warning = _record(build, state, ev.Commented(made))
        return Said(build.spec.name, made, warning)


def _record(
    build: Build, state: RunState, event: ev.Reviewed | ev.Commented
) -> tuple[RunState, str]:
    """Journal what was said, and write it into the papers: the one place for that.

    Returns:
        How the build stands then, and why the plan file does not say so, if it does not.
    """
    after = apply(state, event)
    folder = build.workspace.state_dir
    with Journal.open(folder, build.spec.name) as journal:
        journal.append(event)
        papers = Papers.of(build.spec, folder, journal.history())
    papers.report(after)
    return after, papers.write(after)


async def _present(build: Build) -> tuple[RunState, Commit]:
    """Return how the build stands, and staging's head; what was cut off is accounted for."""
    state, _ = build.require_begun()
    head = await build.require_staging()
    return await build.settle(state), head


async def _name(build: Build) -> str:
    """Return what git calls the user."""
    done = await build.repo.git("config", "--get", "user.name", ok=(0, 1))
    return done.stdout.strip() or _SOMEBODY


# --- what can be judged ---------------------------------------------------------------------------


def _require_done(build: Build, state: RunState) -> None:
    if is_reviewable(state):
        return
    own = [chunk.id for phase in state.plan.own for chunk in phase.chunks]
    missing = [one for one in own if not isinstance(state.chunks[one], Done)]
    names = _named(missing or state.live)
    raise NotReady(
        f"{build.spec.name} cannot be approved before all of it is done: {names}",
        hint=f"run it again to go on: auto-build run {build.spec.name}; or have these chunks done"
        " again (retry), brought back (redo) or left out (skip)",
    )


def _require_finding(state: RunState, spec: str, finding: Finding) -> None:
    if not finding.what.strip():
        raise UsageProblem("the rejection does not say what is wrong", hint=_REJECT)
    _require_chunk(state, spec, finding.chunk)
    if finding.file and find_claim(finding.file) is None:
        raise UsageProblem(
            f"{finding.file!r} is no path in this repository",
            hint="write it from the repository's top, as in --file src/app.py",
        )
    if finding.line is not None and not finding.file:
        raise UsageProblem("the line has no file", hint="add --file src/app.py")


def _require_chunk(state: RunState, spec: str, chunk: str) -> None:
    if chunk and chunk not in state.chunks:
        raise UsageProblem(
            f"there is no chunk {chunk!r} in {spec}", hint=f"there are: {_named(state.chunks)}"
        )


def _named(chunks: Collection[str]) -> str:
    shown = ", ".join(islice(chunks, _SHOWN))
    return f"{shown} and {len(chunks) - _SHOWN} more" if len(chunks) > _SHOWN else shown
