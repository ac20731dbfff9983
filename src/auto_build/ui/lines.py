"""What happened, in one line: who, what and where, in words that need no explanation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from auto_build.core import events as ev
from auto_build.core.findings import Review, Verdict
from auto_build.core.plan import ChunkId, Plan
from auto_build.core.scheduler import blocked
from auto_build.core.state import (
    Failed,
    Live,
    Parked,
    Queued,
    Rejected,
    Running,
    RunState,
    SetAside,
)
from auto_build.core.view import Label, View
from auto_build.journal import Record
from auto_build.ui.marks import MARKS, WORD_WIDTH, Mark, hanging, numbers, one_line
from auto_build.ui.words import (
    clean,
    clip,
    counted,
    listed,
    place,
    span,
    stray_words,
    time_of_day,
    used,
)
from auto_build.updates import Notice, Update

_WHO_WIDTH: Final = 5
_TITLE_WIDTH: Final = 34
_COMMAND_WIDTH: Final = 28

_BEGUN: Final = Mark("▶", "begun", "bold")
_OPENED: Final = Mark("▶", "at work", "bold")
_CHANGED: Final = Mark("~", "plan", "yellow")
_PAUSED: Final = Mark("‖", "paused", "yellow")
_STOPPED: Final = Mark("■", "stopped", "yellow")
_INTERRUPTED: Final = Mark("■", "broken off", "yellow")
_FINISHED: Final = Mark("■", "finished", "bold green")
_MERGED: Final = Mark("✓", "merged", "green")
_DISCARDED: Final = Mark("-", "discarded", "yellow")
_RESET: Final = Mark("↷", "again", "yellow")
_STARTED: Final = Mark("●", "started", "cyan")
_REPAIR: Final = Mark("↻", "repair", "yellow")
_LOST: Final = Mark("↷", "cut off", "yellow")
_RESUMED: Final = Mark("●", "goes on", "cyan")
_SAID: Final = Mark("»", "said", "bold")
_CAPTURED: Final = Mark("○", "kept", "dim")
_OUTSIDE: Final = Mark("!", "outside", "yellow")
_CHECKING: Final = Mark("◐", "checking", "dim")
_GREEN: Final = Mark("✓", "green", "dim")
_FLAKY: Final = Mark("≈", "flaky", "yellow")
_TOGETHER: Final = Mark("≠", "together", "yellow")
_GROUND: Final = Mark("✓", "base", "dim")
_QUEUE: Final = Mark("⇉", "queue")
_RED: Final = Mark("✗", "red", "red")
_CONFLICT: Final = Mark("↷", "conflict", "yellow")
_ASIDE: Final = "set aside, runs alone at the end"
_LANDING: Final = Mark("▲", "landing", "dim")
_MOVED: Final = Mark("↷", "moved", "yellow")
_REVISED: Final = Mark("↶", "revised", "yellow")
_BEHIND: Final = Mark("!", "behind", "yellow")
_STRAYED: Final = Mark("!", "strayed", "yellow")
_BLOCKS: Final = Mark("!", "blocks", "red")
_REVIEW: Final = Mark("?", "review", "cyan")
_APPROVED: Final = Mark("✓", "approved", "bold green")
_REJECTED: Final = Mark("✗", "findings", "red")
_SILENT: Final = Mark("!", "no answer", "yellow")
_MENDING: Final = Mark("↻", "mending", "yellow")
_COMMENT: Final = Mark("»", "comment", "bold")
_PARKED: Final = Mark("‖", "parked", "yellow")
_LEFT_OUT: Final = Mark("!", "left out", "yellow")
_UNVERIFIED: Final = Mark("!", "to verify", "yellow")
_WARNING: Final = Mark("!", "warning", "yellow")
_NOTE: Final = Mark("·", "note")
_DOING: Final = Mark("·", "doing", "dim")


@dataclass(frozen=True, slots=True)
class Line:
    """One line on a screen.

    A quiet one is for those who want to see everything; a whole one is said nowhere else, and is
    not cut off.
    """

    mark: Mark
    who: str
    what: str
    quiet: bool = False
    whole: bool = False

    @property
    def text(self) -> Text:
        """The line as it is shown where there is room for all of it."""
        return one_line(self._start, clean(self.what))

    def layout(self, width: int) -> list[Text]:
        """Return the line cut off at `width` columns; one to be read whole goes on below."""
        if self.whole:
            return hanging(self._start, clean(self.what), width)
        return [self.text]

    @property
    def _start(self) -> Text:
        who = f"{clean(self.who):<{_WHO_WIDTH}}  " if self.who else ""
        start = f"{self.mark.glyph} {self.mark.word:<{WORD_WIDTH}}  "
        return one_line((start, self.mark.style), (who, "bold"))


def describe(update: Update) -> tuple[Line, ...]:
    """Return the lines that tell of an update, if it is worth any."""
    match update.what:
        case Notice():
            return (_notice(update.what),)
        case Record():
            if update.state is None or update.view is None:
                return ()
            return tuple(_event_lines(update.what.event, update.state, update.view))


def _notice(notice: Notice) -> Line:
    if notice.warning:
        return Line(_WARNING, notice.chunk, notice.text, whole=True)
    return Line(_DOING if notice.chunk else _NOTE, notice.chunk, notice.text, bool(notice.chunk))


def _event_lines(event: ev.Event, state: RunState, view: View) -> Iterator[Line]:
    if isinstance(event, ev.RunEvent):
        yield _run_line(event, view)
    else:
        yield from _chunk_lines(event, state, view)
    if isinstance(event, ev.BaseChecked | ev.CandidatePassed | ev.CandidateRejected):
        yield from _flakes(event)


def _run_line(event: ev.RunEvent, view: View) -> Line:  # noqa: C901 - what is said of each event
    match event:
        case ev.RunStarted():
            return Line(_BEGUN, "", f"{_size(event.plan)}, from commit {event.base[:10]}")
        case ev.SessionOpened():
            return Line(_OPENED, "", f"{counted(event.slots, 'worker')}; {_standing(view)}")
        case ev.SessionClosed():
            return Line(_closing(event, view), "", _standing(view))
        case ev.PlanChanged():
            return Line(_CHANGED, "", f"is now {_size(event.plan)}")
        case ev.BaseChecked():
            return Line(_GROUND, "", f"{_answers(event.checks)} on the unchanged base", quiet=True)
        case ev.QueuePaced():
            return _paced(event)
        case ev.RunPaused():
            return Line(_PAUSED, "", f"no agent is started any more: {event.why}")
        case ev.RevisionPassed():
            what = (
                f"{event.revision.value} {listed(list(event.landings))}, as {event.candidate[:10]}"
            )
            return Line(_GREEN, "", f"{_answers(event.checks)}: {what}", quiet=True)
        case ev.RevisionLanded():
            behind = f"; the staging worktree does not show it: {event.view}" if event.view else ""
            return Line(
                _REVISED, "", f"staging was changed between runs: {_standing(view)}{behind}"
            )
        case ev.RevisionVoided():
            return Line(_LOST, "", "before an undo or redo came about: staging is as it was")
        case ev.MergeMeant():
            where = event.branch or "your checkout"
            return Line(_LANDING, "", f"{where} goes to {event.commit[:10]} ({event.form.value})")
        case ev.MergeVoided():
            return Line(_LOST, "", f"the merge did not come about: {event.why}")
        case ev.RunMerged():
            return Line(_MERGED, "", f"into {event.branch} at {event.commit[:10]}")
        case ev.MergeUndone():
            return Line(_REVISED, "", f"the merge is undone: your branch is at {event.commit[:10]}")
        case ev.RunParked():
            return Line(_PARKED, "", f"at {event.head[:10]}: another spec may be built")
        case ev.RunUnparked():
            return Line(_OPENED, "", "staging is this build's again")
        case ev.RunDiscarded():
            return Line(_DISCARDED, "", f"staging is gone; its last commit is kept as {event.pin}")
        case ev.Steered():
            whom = event.to or "every agent"
            return Line(_SAID, event.to or "", f"to {whom}: {event.text}")
        case ev.StraysFound():
            who = event.chunks[0] if len(event.chunks) == 1 else ""
            return Line(_STRAYED, who, stray_words(event), whole=True)
        case ev.ReviewSpent():
            return Line(_DOING, "", f"the reviewer has used {used(event.usage)}", quiet=True)
        case _:
            return _qa_line(event)


def _qa_line(event: ev.QaEvent) -> Line:
    match event:
        case ev.QaBegan():
            return Line(_REVIEW, "", f"staging is reviewed, in {event.rounds} rounds at most")
        case ev.QaStopped():
            return Line(_STOPPED, "", f"the review rounds: {event.why}", whole=True)
        case ev.QaSkipped():
            return Line(_NOTE, "", f"no review: {event.why}")
        case ev.ReviewStarted():
            return Line(_REVIEW, "", f"round {event.round}: staging at {event.commit[:10]}")
        case ev.Reviewed():
            return _reviewed(event.review)
        case ev.FixesAsked():
            where = "in staging" if event.in_staging else "in worker slots"
            work = counted(len(event.phase.chunks), "chunk")
            return Line(_MENDING, "", f"round {event.phase.round}: {work}, {where}")
        case ev.Commented():
            whom = event.comment.chunk or ""
            return Line(_COMMENT, whom, f"{event.comment.by}: {event.comment.text}".lstrip(": "))


def _reviewed(review: Review) -> Line:
    by = f" by {review.by}" if review.by else ""
    match review.verdict:
        case Verdict.APPROVED:
            return Line(_APPROVED, "", f"{review.commit[:10]}{by}: {review.summary}".rstrip(": "))
        case Verdict.NONE:
            return Line(_SILENT, "", f"the review came to no verdict: {review.why}", whole=True)
        case Verdict.REJECTED:
            found = "; ".join(
                f"{one.place}: {one.what}" if one.place else one.what for one in review.blocking
            )
            many = counted(len(review.blocking), "finding")
            return Line(_REJECTED, "", f"{many}{by}: {found}", whole=True)


def _chunk_lines(  # noqa: C901 - what is said of each event
    event: ev.ChunkEvent, state: RunState, view: View
) -> Iterator[Line]:
    chunk = event.chunk
    match event:
        case ev.ChunkReset():
            yield Line(_RESET, chunk, f"to be done again: {event.why}")
        case ev.ChunkSkipped():
            yield Line(MARKS[Label.SKIPPED], chunk, event.why)
        case ev.AttemptStarted():
            yield _started(event, state)
        case ev.RepairStarted():
            yield Line(_REPAIR, chunk, _repairs(event, state))
        case ev.AttemptLost():
            goes_on = isinstance(state.chunks[chunk], Parked)
            then = "goes on where it was" if goes_on else "begins anew"
            yield Line(_LOST, chunk, f"in the last session while the agent worked: {then}")
        case ev.ResumeStarted():
            yield Line(_RESUMED, chunk, _title(state, chunk))
        case ev.ConversationBegan():
            yield Line(_NOTE, chunk, f"conversation {event.session}", quiet=True)
        case ev.UsageReported():
            yield Line(_NOTE, chunk, f"used {used(state.usage_of(chunk))} so far", quiet=True)
        case ev.ClaimTaken():
            yield Line(_OUTSIDE, chunk, f"takes {event.path}, which nobody holds", quiet=True)
        case ev.WorkCaptured():
            yield from _captured(event, state)
        case ev.AttemptEnded():
            yield from _stopped(event, state)
        case ev.GateStarted():
            onto = f"{event.ahead}, which is to land before it" if event.ahead else "staging"
            yield Line(_CHECKING, chunk, f"merged onto {onto}, off-tree", quiet=True)
        case ev.CandidateBuilt():
            yield Line(_CHECKING, chunk, f"as {event.candidate[:10]}", quiet=True)
        case ev.CandidateSuspected():
            yield Line(
                _CHECKING, chunk, "red once: nobody builds on it until it is clear", quiet=True
            )
        case ev.GateVoided():
            why = "what it was merged onto did not land: checked anew"
            yield Line(_MOVED, chunk, why, quiet=True)
        case ev.GateLost():
            yield Line(_LOST, chunk, "while it was checked: is checked anew", quiet=True)
        case ev.CandidatePassed():
            yield _passed(event)
        case ev.CandidateDoubted():
            yield Line(_MOVED, chunk, f"{event.why}; checked anew once the other has landed or not")
        case ev.CandidateRejected():
            yield from _rejected(event, state)
        case ev.CandidateConflicted():
            yield from _conflicted(event, state)
        case ev.LandStarted():
            yield Line(_LANDING, chunk, "", quiet=True)
        case ev.LandLost():
            yield Line(_LOST, chunk, "while it landed: git is asked whether it did", quiet=True)
        case ev.CandidateLanded():
            yield from _landed(event, view)
        case ev.LandingVoided():
            yield Line(_MOVED, chunk, "somebody else moved staging meanwhile: checked anew")


def _size(plan: Plan) -> str:
    return f"{counted(len(plan.chunks), 'chunk')} in {counted(len(plan.phases), 'phase')}"


def _standing(view: View) -> str:
    done = f"{view.done} of {counted(len(view.rows), 'chunk')} done"
    return ", ".join([done, *numbers(view, Label.FAILED, Label.UNDONE, Label.BLOCKED)])


def _closing(event: ev.SessionClosed, view: View) -> Mark:
    if event.ending is ev.Ending.INTERRUPTED:
        return _INTERRUPTED
    return _FINISHED if view.finished else _STOPPED


def _title(state: RunState, chunk: ChunkId) -> str:
    return clip(clean(state.plan.chunks[chunk].title), _TITLE_WIDTH)


def _started(event: ev.AttemptStarted, state: RunState) -> Line:
    parts = [_title(state, event.chunk), place(event.slot)]
    if event.attempt > 1:
        parts.append(f"attempt {event.attempt}")
    if event.alone:
        parts.append("alone")
    return Line(_STARTED, event.chunk, ", ".join(part for part in parts if part))


def _captured(event: ev.WorkCaptured, state: RunState) -> Iterator[Line]:
    now = state.chunks[event.chunk]
    files = counted(len(event.touched), "file")
    yield Line(_CAPTURED, event.chunk, f"{files} after {span(event.seconds)}", quiet=True)
    outside = now.work.outside if isinstance(now, Queued) else ()
    if outside:
        wrote = listed(list(outside))
        yield Line(_OUTSIDE, event.chunk, f"wrote {wrote}, which it had not claimed")


def _passed(event: ev.CandidatePassed) -> Line:
    return Line(_GREEN, event.chunk, _answers(event.checks), quiet=True)


def _answers(checks: Sequence[ev.CheckResult]) -> str:
    """Say how many checks were run, in which time, and how many of them had no need to be."""
    seconds = span(sum(check.seconds for check in checks))
    known = sum(not check.runs for check in checks)
    red = sum(not check.passed for check in checks)
    parts = [f"{counted(len(checks), 'check')} in {seconds}"]
    parts += [f"{known} known from before"] if known else []
    parts += [f"{red} red"] if red else []
    return ", ".join(parts)


def _flakes(event: ev.BaseChecked | ev.CandidatePassed | ev.CandidateRejected) -> Iterator[Line]:
    who = "" if isinstance(event, ev.BaseChecked) else event.chunk
    for check in event.checks:
        if check.flaky:
            tests = listed([name or "it" for name in check.flaky])
            what = f"{tests} failed and passed on the same tree ($ {check.command})"
            yield Line(_FLAKY, who, what)


def _paced(event: ev.QueuePaced) -> Line:
    figures = (
        f"a gate takes {span(event.gate_s)}, an agent {span(event.agent_s)},"
        f" {counted(event.slots, 'worker')}"
    )
    if event.ahead:
        return Line(_QUEUE, "", f"candidates are checked ahead of each other: {figures}")
    return Line(_QUEUE, "", f"candidates are checked one by one: {figures}")


def _stopped(event: ev.AttemptEnded, state: RunState) -> Iterator[Line]:
    """Tell why an agent stopped, and what follows."""
    why = f"{event.outcome.value}: {event.detail}"
    now = state.chunks[event.chunk]
    match now:
        case Failed():
            yield from _failed(event.chunk, f"{now.outcome.value}: {now.reason}", state)
        case Parked() if state.halt:
            yield Line(MARKS[Label.PARKED], event.chunk, why, whole=True)
        case Parked() if now.until:
            then = f"goes on at {time_of_day(now.until)}"
            yield Line(MARKS[Label.PARKED], event.chunk, f"{then}; {why}", whole=True)
        case Parked():
            yield Line(MARKS[Label.PARKED], event.chunk, f"goes on as soon as it can; {why}")
        case _:
            yield Line(_RESET, event.chunk, f"is tried once more; {why}")


def _failed(chunk: ChunkId, why: str, state: RunState) -> Iterator[Line]:
    yield Line(MARKS[Label.FAILED], chunk, why)
    held_up = [other for other, roots in blocked(state).items() if chunk in roots]
    if held_up:
        yield Line(_BLOCKS, chunk, f"cannot start without it: {listed(list(held_up))}")


def _rejected(event: ev.CandidateRejected, state: RunState) -> Iterator[Line]:
    now = state.chunks[event.chunk]
    red = next((check for check in event.checks if not check.passed), None)
    why = f"{clip(clean(red.command), _COMMAND_WIDTH)}: {red.note}" if red else event.feedback
    if event.culprits:
        others = listed(list(event.culprits))
        unsure = "" if event.surely else ", as far as could be tried"
        yield Line(_TOGETHER, event.chunk, f"green by itself, red together with {others}{unsure}")
    if isinstance(now, Failed):
        yield Line(_RED, event.chunk, why)
        again = now.reason != event.feedback
        then = "a repair did not change that" if again else "no repair round is left"
        yield from _failed(event.chunk, f"still red, and {then}", state)
    elif isinstance(now, SetAside):
        yield Line(_RED, event.chunk, f"{why}: {_ASIDE}")
    else:
        done = now.attempt.round if isinstance(now, Live) else 0
        of = state.rounds_of(now.attempt) if isinstance(now, Live) else state.repair_rounds
        then = f"→ repair {done + 1} of {of}"
        yield Line(_RED, event.chunk, f"{why} {then}" if red else f"{then}: {why}")


def _repairs(event: ev.RepairStarted, state: RunState) -> str:
    now = state.chunks[event.chunk]
    if isinstance(now, Running) and now.rejected and now.rejected.conflict:
        return "the agent has both sides of the conflict"
    of = state.rounds_of(now.attempt) if isinstance(now, Live) else state.repair_rounds
    return f"the agent has the failing output, round {event.round} of {of}"


def _conflicted(event: ev.CandidateConflicted, state: RunState) -> Iterator[Line]:
    where = listed(list(event.paths), most=2)
    match state.chunks[event.chunk]:
        case Failed():
            yield from _failed(event.chunk, f"conflicts with staging in {where}, even alone", state)
        case Rejected():
            others = f" with {listed(list(event.culprits))}" if event.culprits else ""
            yield Line(_CONFLICT, event.chunk, f"in {where}{others}: its agent resolves it")
        case _:
            yield Line(_CONFLICT, event.chunk, f"in {where}: {_ASIDE}")


def _landed(event: ev.CandidateLanded, view: View) -> Iterator[Line]:
    row = next(row for row in view.rows if row.id == event.chunk)
    title = clip(clean(row.title), _TITLE_WIDTH)
    took = span(view.times.durations[-1]) if view.times.durations else ""
    what = f"{title}  ({view.done}/{len(view.rows)})  {took}"
    yield Line(MARKS[Label.LANDED], event.chunk, what)
    if row.unverified:
        yield Line(_UNVERIFIED, event.chunk, row.unverified)
    for one in row.dropped:
        yield Line(_LEFT_OUT, event.chunk, one, whole=True)
    if event.view:
        yield Line(
            _BEHIND, event.chunk, f"the staging worktree does not show it: {event.view}", whole=True
        )
