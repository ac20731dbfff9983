"""Events on their way to the journal and back."""

import json
from typing import Any, get_args

import pytest

from auto_build.core import events as ev
from auto_build.core.acceptance import ItemResult, ItemState
from auto_build.core.claims import Claim
from auto_build.core.codec import decode_event, encode_event
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
from auto_build.core.plan import (
    Chunk,
    ChunkId,
    Phase,
    PhaseId,
    Plan,
    Verification,
    VerificationKind,
)
from auto_build.core.usage import CostSource, Usage

Json = Any


A = ChunkId("a")
PLAN = Plan(
    "Bells",
    (
        Phase(
            id=PhaseId("p"),
            name="Ring",
            chunks=(
                Chunk(id=A, title="One", description="Two", claims=(Claim("a.py"), Claim("docs/"))),
            ),
        ),
        Phase(
            id=PhaseId("q"),
            depends_on=(PhaseId("p"),),
            parallel_safe=False,
            chunks=(
                Chunk(
                    id=ChunkId("b"),
                    depends_on=(A,),
                    verification=Verification(
                        kind=VerificationKind.COMMAND,
                        command="make",
                        expected="OK",
                        timeout_s=1.5,
                    ),
                ),
            ),
        ),
    ),
)
RED = ev.CheckResult("make", passed=False, code=2, seconds=0.5, output="✗\x1b[0m", note="why")
FLAKY = ev.CheckResult(
    "pytest",
    passed=True,
    code=1,
    seconds=3.0,
    expected="ok",
    failed=("t.py::a",),
    whole=False,
    flaky=("t.py::b", ""),
    succeeded=7,
    runs=2,
)
STOPPED = ev.CheckResult("make", passed=False, code=None, seconds=900.0)
FINDING = Finding(
    severity=Severity.MAJOR,
    what="it crashes",
    file="ü b.py",
    line=3,
    why="no bell",
    verify="ring it",
    source=Source.CHECK,
    command="make",
    chunk="a",
)
REVIEWS = [
    Review(
        round=1,
        commit="head",
        verdict=verdict,
        by="claude",
        summary="looks well",
        why="nothing",
        findings=(FINDING,),
        criteria=(Criterion("it rings", Met.NO, "silence"),),
        items=(
            ItemResult(
                item="api-1",
                kind=VerificationKind.API,
                what="GET /",
                state=ItemState.FAILED,
                note="404",
                evidence=("/x.png",),
            ),
        ),
        notes=("it wrote files: undone",),
        seconds=1.5,
    )
    for verdict in Verdict
]
PHASE = Phase(id=PhaseId("qa-1"), chunks=(Chunk(id=ChunkId("qa-1")),), round=1)
EVENTS: list[ev.Event] = [
    ev.RunStarted(PLAN, "base", landed={A: "c0ffee"}, attempts={A: 3}),
    ev.RunStarted(PLAN, "base", undone={A: "c0ffee"}),
    ev.SessionOpened(3, 2, retries=2, max_cost=10.0, chunk_cost=2.5),
    *(ev.SessionClosed(ending) for ending in ev.Ending),
    ev.PlanChanged(PLAN, attempts={A: 1}),
    ev.BaseChecked("head", (RED, FLAKY)),
    ev.QueuePaced(ahead=True, agent_s=60.5, gate_s=30.0, slots=4),
    ev.RunPaused("lunch"),
    *(
        ev.RevisionPassed(revision, {A: "c0ffee"}, "candidate", "head", (RED,))
        for revision in ev.Revision
    ),
    ev.RevisionLanded("the worktree is dirty"),
    ev.RevisionVoided("head"),
    ev.QaBegan(10),
    ev.QaStopped("no progress"),
    ev.QaSkipped("asked for"),
    ev.ReviewStarted(1, "head", budget=2.5),
    ev.ReviewSpent("c0de", Usage(output_tokens=9)),
    *(ev.Reviewed(review) for review in REVIEWS),
    ev.FixesAsked(PHASE, in_staging=True, attempts={A: 2}),
    ev.Commented(Comment("too long", A, "me")),
    *(ev.MergeMeant("main", "was", "c0ffee", "head", form, "late") for form in ev.MergeForm),
    ev.MergeVoided("a hook said no"),
    ev.RunMerged("main", "c0ffee", "was"),
    ev.MergeUndone("was"),
    ev.RunParked("head"),
    ev.RunUnparked(),
    ev.RunDiscarded("refs/auto-build/discarded/1"),
    ev.Steered("use the new API", to=A),
    ev.Steered("be brief", file=True),
    ev.StraysFound((A,), ("a.txt was changed",), ("refs/x was deleted",), "git apply x"),
    ev.ChunkReset(A, "again"),
    ev.ChunkSkipped(A, "no need"),
    ev.AttemptStarted(A, 2, 1, alone=True),
    ev.RepairStarted(A, 1),
    ev.ResumeStarted(A, budget=1.25),
    ev.ConversationBegan(A, "c0de", "base"),
    ev.UsageReported(A, "c0de", Usage(input_tokens=9, cost_usd=0.1, source=CostSource.AGENT)),
    ev.ClaimTaken(A, "src/ü b.py"),
    ev.AttemptLost(A),
    ev.WorkCaptured(A, "base", "commit", "pin", ("a.py", "ü b\n.py"), 12.5),
    *(
        ev.AttemptEnded(A, outcome, "it said no", 3.0, "pin", "base", "commit", 1.5e9)
        for outcome in ev.Outcome
    ),
    ev.GateStarted(A),
    ev.GateStarted(A, ahead=ChunkId("b"), onto="candidate"),
    ev.CandidateBuilt(A, "candidate", "head"),
    ev.CandidateSuspected(A),
    ev.GateVoided(A),
    ev.GateLost(A),
    ev.CandidatePassed(A, "candidate", "head", (RED, STOPPED), "look at it", replayed=True),
    ev.CandidateRejected(A, "candidate", "head", "commit", "mend it", (RED,)),
    ev.CandidateDoubted(A, "red: $ make", (RED,)),
    ev.CandidateRejected(A, "c", "h", "w", "", culprits=(ChunkId("b"),), surely=False),
    ev.CandidateConflicted(A, "head", ("a.py",)),
    ev.CandidateConflicted(A, "head", ("a.py",), "commit", "both changed it", (ChunkId("b"),)),
    ev.WorkCaptured(A, "b", "c", "pin", ("a.py",), dropped=("a.py: twice",)),
    ev.LandStarted(A),
    ev.LandLost(A),
    ev.CandidateLanded(A, "commit", "the worktree is dirty"),
    ev.LandingVoided(A, "head"),
]


def test_the_table_has_every_event_there_is() -> None:
    kinds = {*get_args(ev.RunEvent), *get_args(ev.ChunkEvent)}
    assert {type(event) for event in EVENTS} == kinds


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_survives_the_journal(event: ev.Event) -> None:
    row = json.dumps(encode_event(event))
    assert decode_event(json.loads(row)) == event


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"chunk": "a"},
        {"type": "ChunkPainted", "chunk": "a"},
        {"type": ["GateStarted"], "chunk": "a"},
        {"type": "GateStarted"},
        {"type": "GateStarted", "chunk": "a", "colour": "red"},
        {"type": "AttemptStarted", "chunk": "a", "attempt": "many", "slot": 1},
        {"type": "RunStarted", "plan": {"title": "", "phases": []}, "base": "base"},
    ],
)
def test_a_row_of_another_version_is_refused(row: Json) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_event(row)
