"""What is next in the review rounds, decided from values alone."""

from dataclasses import replace

import pytest

from auto_build.core import events as ev
from auto_build.core.findings import Finding, Review, Severity, Source, Verdict
from auto_build.core.plan import Chunk, ChunkId, Phase, PhaseId, Plan, VerificationKind
from auto_build.core.qa import Standing
from auto_build.core.rounds import (
    Approved,
    Look,
    Mend,
    Step,
    Stop,
    is_due,
    next_step,
    plan_fixes,
    round_of_person,
)
from auto_build.core.state import Landed, Pending, RunState, Skipped
from auto_build.core.transitions import IllegalTransition, apply, start
from auto_build.core.view import Times, build_view

ONE = ChunkId("one")
BELL = Finding(severity=Severity.MAJOR, what="no bell", file="a.py", line=3)
REWORDED = replace(BELL, what="No  bell", line=9)
WHISTLE = Finding(severity=Severity.CRITICAL, what="no whistle", file="b.py")
DUST = Finding(severity=Severity.MINOR, what="dust", file="c.py")


def built() -> RunState:
    """Return a build of one chunk that has landed as `h0`."""
    plan = Plan("Bells", (Phase(id=PhaseId("p"), chunks=(Chunk(id=ONE),)),))
    state = start(ev.RunStarted(plan, "base", landed={ONE: "h0"}))
    return apply(state, ev.QaBegan(3))


def play(state: RunState, *events: ev.Event) -> RunState:
    for event in events:
        state = apply(state, event)
    return state


def looked(
    round_: int, commit: str, *findings: Finding, of: Source = Source.REVIEWER
) -> ev.Reviewed:
    verdict = Verdict.REJECTED if any(one.blocks for one in findings) else Verdict.APPROVED
    return ev.Reviewed(
        Review(round=round_, commit=commit, verdict=verdict, findings=findings, of=of)
    )


def silent(round_: int, commit: str) -> ev.Reviewed:
    return ev.Reviewed(Review(round=round_, commit=commit, verdict=Verdict.NONE, why="nonsense"))


def mended(state: RunState, commit: str) -> RunState:
    """Return the state after all that was found was mended, as `commit`."""
    phase = plan_fixes(state.qa.round, state.qa.open, apart=False)
    (fix,) = (chunk.id for chunk in phase.chunks)
    return play(
        state,
        ev.FixesAsked(phase),
        ev.AttemptStarted(fix, 1, 1),
        ev.WorkCaptured(fix, "h", "w", "pin", ("a.py",)),
        ev.GateStarted(fix),
        ev.CandidatePassed(fix, commit, "h"),
        ev.LandStarted(fix),
        ev.CandidateLanded(fix, commit),
    )


def failed(state: RunState) -> RunState:
    """Return the state after the fixer could not mend anything."""
    phase = plan_fixes(state.qa.round, state.qa.open, apart=False)
    (fix,) = (chunk.id for chunk in phase.chunks)
    ended = ev.AttemptEnded(fix, ev.Outcome.NO_CHANGE, "nothing")
    return play(state, ev.FixesAsked(phase), ev.AttemptStarted(fix, 1, 1), ended)


FIRST = built()
REJECTED = play(FIRST, looked(1, "h0", BELL))
MENDED = mended(REJECTED, "h1")
UNMENDED = failed(REJECTED)


@pytest.mark.parametrize(
    ("state", "head", "step"),
    [
        (FIRST, "h0", Look(1)),
        (play(FIRST, looked(1, "h0")), "h0", Approved()),
        (play(FIRST, looked(1, "h0", DUST)), "h0", Approved()),
        (play(FIRST, looked(1, "h0")), "h1", Look(2)),
        (REJECTED, "h0", Mend(1, (BELL,))),
        (REJECTED, "h9", Look(2)),
        (MENDED, "h1", Look(2)),
        (UNMENDED, "h0", Stop("no progress: nothing of what was to mend the findings has landed")),
        (UNMENDED, "h9", Look(2)),
        (play(UNMENDED, ev.QaStopped("x"), ev.QaBegan(3)), "h0", Look(2)),
        (
            play(MENDED, looked(2, "h1", REWORDED)),
            "h1",
            Stop("no progress: the same findings twice (1 finding)"),
        ),
        (play(MENDED, looked(2, "h1", BELL, WHISTLE)), "h1", Mend(2, (BELL, WHISTLE))),
        (
            play(MENDED, looked(2, "h1", BELL), ev.QaStopped("x"), ev.QaBegan(3)),
            "h1",
            Mend(2, (BELL,)),
        ),
        (play(FIRST, silent(1, "h0")), "h0", Look(1)),
        (play(FIRST, silent(1, "h0"), silent(1, "h0")), "h0", Stop("nonsense")),
        (
            play(FIRST, silent(1, "h0"), silent(1, "h0"), ev.QaStopped("x"), ev.QaBegan(3)),
            "h0",
            Look(1),
        ),
        (
            play(FIRST, looked(1, "h0"), looked(1, "h0", BELL, of=Source.PERSON)),
            "h0",
            Mend(1, (BELL,)),
        ),
        (
            play(REJECTED, looked(1, "h0", WHISTLE, of=Source.PERSON)),
            "h0",
            Mend(1, (BELL, WHISTLE)),
        ),
        (play(REJECTED, looked(1, "h0", of=Source.PERSON)), "h0", Approved()),
        (
            play(
                REJECTED,
                looked(1, "h0", of=Source.PERSON),
                looked(1, "h0", WHISTLE, of=Source.PERSON),
            ),
            "h0",
            Mend(1, (WHISTLE,)),
        ),
    ],
)
def test_what_is_next(state: RunState, head: str, step: Step) -> None:
    assert next_step(state, head) == step


def test_the_rounds_are_counted_from_when_they_began() -> None:
    state = FIRST
    for round_ in range(1, 4):
        state = play(state, looked(round_, f"h{round_ - 1}", replace(BELL, what=f"no {round_}")))
        if round_ < 3:
            state = mended(state, f"h{round_}")
    assert next_step(state, "h2") == Stop("1 finding left after 3 rounds")
    again = play(state, ev.QaStopped("x"), ev.QaBegan(1))
    assert isinstance(next_step(again, "h2"), Mend)


def test_rounds_are_due_until_staging_is_approved_as_it_is() -> None:
    approved = play(FIRST, looked(1, "h0"))
    assert not is_due(approved, "h0", again=False)
    assert is_due(approved, "h0", again=True)
    assert is_due(approved, "h1", again=False)
    stopped = play(REJECTED, ev.QaStopped("no progress"))
    assert not is_due(stopped, "h0", again=False)
    assert is_due(stopped, "h1", again=False)
    by_person = play(stopped, looked(1, "h0", WHISTLE, of=Source.PERSON))
    assert is_due(by_person, "h0", again=False)
    assert not is_due(play(FIRST, ev.QaSkipped("asked")), "h0", again=False)


def test_an_approval_is_void_once_something_has_landed() -> None:
    approved = play(MENDED, looked(2, "h1"))
    assert build_view("001", approved, Times()).standing is Standing.APPROVED
    assert approved.qa.find_approval("h1")
    assert approved.qa.find_approval("h2") is None
    later = mended(play(approved, looked(3, "h1", WHISTLE, of=Source.PERSON)), "h2")
    assert build_view("001", later, Times()).standing is not Standing.APPROVED


def test_what_could_not_be_mended_is_left_to_the_findings_of_the_next_review() -> None:
    state = play(UNMENDED, looked(2, "h9"))
    assert isinstance(state.chunks[ChunkId("qa-1")], Skipped)
    assert build_view("001", state, Times()).complete


def test_an_edited_plan_keeps_what_mends_findings() -> None:
    edited = Plan("Bells", (Phase(id=PhaseId("p"), chunks=(Chunk(id=ONE, title="Ring"),)),))
    state = play(MENDED, ev.PlanChanged(edited))
    assert isinstance(state.chunks[ChunkId("qa-1")], Landed)
    assert state.plan.own == edited.phases


def test_nothing_is_asked_for_twice_or_while_somebody_is_at_work() -> None:
    phase = plan_fixes(1, (BELL,), apart=False)
    state = play(REJECTED, ev.FixesAsked(phase))
    with pytest.raises(IllegalTransition):
        apply(state, ev.FixesAsked(phase))
    at_work = apply(state, ev.AttemptStarted(ChunkId("qa-1"), 1, 0))
    with pytest.raises(IllegalTransition):
        apply(at_work, ev.ReviewStarted(2, "h0"))


def test_findings_in_different_files_are_chunks_of_their_own() -> None:
    apart = plan_fixes(2, (BELL, WHISTLE, REWORDED), apart=True)
    assert [(one.id, [claim.text for claim in one.claims]) for one in apart.chunks] == [
        ("qa-2-1", ["a.py"]),
        ("qa-2-2", ["b.py"]),
    ]
    nowhere = replace(BELL, file="")
    (alone,) = plan_fixes(2, (nowhere, WHISTLE), apart=True).chunks
    assert (alone.id, alone.claims) == ("qa-2", ())


def test_what_checks_found_red_verifies_its_fix() -> None:
    red = Finding(severity=Severity.CRITICAL, what="red", command="make", source=Source.CHECK)
    (fix,) = plan_fixes(1, (red,), apart=False).chunks
    assert (fix.verification.kind, fix.verification.command) == (VerificationKind.COMMAND, "make")
    (mixed,) = plan_fixes(1, (red, BELL), apart=False).chunks
    assert mixed.verification.kind is VerificationKind.NONE


def test_a_persons_word_belongs_to_the_round_that_is_not_mended_yet() -> None:
    assert round_of_person(FIRST) == 1
    assert round_of_person(REJECTED) == 1
    assert round_of_person(MENDED) == 2


def test_a_plans_own_chunks_keep_their_names() -> None:
    taken = ("one", "qa-1", "fix-qa-1-2")
    (fix,) = plan_fixes(1, (BELL,), apart=False, taken=taken).chunks
    assert fix.id == "fix-fix-qa-1"


def test_what_was_pinned_under_the_name_of_a_fix_is_not_taken_for_its_work() -> None:
    phase = plan_fixes(1, (BELL,), apart=False)
    state = play(REJECTED, ev.FixesAsked(phase, attempts={ChunkId("qa-1"): 2}))
    assert state.chunks[ChunkId("qa-1")] == Pending(2)
