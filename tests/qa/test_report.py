"""The papers of a review, computed from the state."""

import json

from auto_build.core import events as ev
from auto_build.core.acceptance import ItemResult, ItemState
from auto_build.core.findings import (
    Comment,
    Criterion,
    Finding,
    Met,
    Review,
    Severity,
    Source,
    Verdict,
)
from auto_build.core.plan import Chunk, ChunkId, Phase, PhaseId, Plan, VerificationKind
from auto_build.core.rounds import plan_fixes
from auto_build.core.state import RunState
from auto_build.core.transitions import apply, start
from auto_build.qa.report import report_text, request_text, signoff

ONE = ChunkId("one")
BELL = Finding(severity=Severity.MAJOR, what="no bell", file="a.py", line=3, verify="ring it")
ITEMS = (
    ItemResult(
        item="command-1",
        kind=VerificationKind.COMMAND,
        what="make test",
        state=ItemState.FAILED,
        note="exit code 2",
        output="```\nboom",
        evidence=("/tmp/a.png",),
    ),
    ItemResult(
        item="manual-1",
        kind=VerificationKind.MANUAL,
        what="Ring it by hand",
        state=ItemState.UNVERIFIED,
        note="for a person",
    ),
)


def rejected() -> RunState:
    plan = Plan("Bells", (Phase(id=PhaseId("p"), chunks=(Chunk(id=ONE, title="Ring"),)),))
    state = start(ev.RunStarted(plan, "base", landed={ONE: "h0"}))
    review = Review(
        round=1,
        commit="c0ffee",
        verdict=Verdict.REJECTED,
        by="claude",
        summary="Silent.",
        findings=(BELL,),
        criteria=(Criterion("it rings", Met.NO, "silence"),),
        items=ITEMS,
        notes=("it wrote files",),
    )
    for event in (
        ev.QaBegan(3),
        ev.Commented(Comment("loud, please", ONE, "Ada")),
        ev.Reviewed(review),
        ev.FixesAsked(plan_fixes(1, (BELL,), apart=False)),
        ev.QaStopped("no progress"),
    ):
        state = apply(state, event)
    return state


def test_the_report_says_what_was_found_run_and_left_open() -> None:
    text = report_text("001-bells", rejected())
    for line in (
        "**rejected**, round 1, at commit `c0ffee`, by claude.",
        "The rounds have stopped: no progress",
        "- **major** (reviewer) no bell\n  Where: a.py:3",
        "- **no** it rings\n  silence",
        "- **failed** command: make test: exit code 2\n  ![make test](/tmp/a.png)",
        "~~~~text",
        "- **unverified** manual: Ring it by hand: for a person",
        "- for a person: Ring it by hand",
        "- to be mended: no bell",
        "- it wrote files",
        "- Ada on one: loud, please",
        "by claude: rejected, 1 finding; mending: qa-1 pending",
    ):
        assert line in text, line


def test_the_fix_request_holds_what_is_open_and_nothing_once_it_is_mended() -> None:
    state = rejected()
    assert "## 1. no bell" in request_text("001-bells", state)
    word = Review(round=1, commit="c0ffee", verdict=Verdict.APPROVED, by="Ada", of=Source.PERSON)
    approved = apply(state, ev.Reviewed(word))
    assert "Nothing is open after round 1." in request_text("001-bells", approved)


def test_the_sign_off_is_what_other_tools_write() -> None:
    sign = signoff(rejected(), at=0.0)
    assert sign is not None
    assert json.loads(json.dumps(sign)) == {
        "status": "rejected",
        "timestamp": "1970-01-01T00:00:00+00:00",
        "qa_session": 1,
        "commit": "c0ffee",
        "verified_by": "claude",
        "report_file": "qa_report.md",
        "fix_request_file": "QA_FIX_REQUEST.md",
        "issues_found": [
            {
                "type": "major",
                "title": "no bell",
                "location": "a.py:3",
                "fix_required": "ring it",
            }
        ],
        "tests_passed": {"passed": 0, "failed": 1, "unverified": 1},
        "stopped": "no progress",
    }


def test_before_any_review_there_is_nothing_to_say() -> None:
    plan = Plan("Bells", (Phase(id=PhaseId("p"), chunks=(Chunk(id=ONE),)),))
    state = start(ev.RunStarted(plan, "base"))
    assert (report_text("001", state), request_text("001", state)) == ("", "")
    assert signoff(state, at=0.0) is None
