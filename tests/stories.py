"""A build told to its end, with everything in it that a review can show; and a hostile one."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from auto_build.core import events as ev
from auto_build.core.acceptance import ItemResult, ItemState
from auto_build.core.evidence import Note, read_note, write_note
from auto_build.core.findings import (
    Comment,
    Criterion,
    Finding,
    Met,
    Review,
    Severity,
    Verdict,
)
from auto_build.core.patch import read_patch
from auto_build.core.plan import (
    Chunk,
    ChunkId,
    Phase,
    PhaseId,
    Plan,
    Verification,
    VerificationKind,
)
from auto_build.core.rounds import plan_fixes
from auto_build.core.state import RunState
from auto_build.core.story import Made, Story, tell
from auto_build.core.timeline import read_timeline
from auto_build.core.transitions import step
from auto_build.core.usage import CostSource, Usage
from auto_build.core.view import Times, build_view
from auto_build.ui.screens import Ways

A, B = ChunkId("1-1"), ChunkId("1-2")
Checks = tuple[ev.CheckResult, ...]
BASE = "b" * 40
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=http://x.invalid/ onerror=alert(1)>"
    "\x1b]0;x\x07\"' {{ 7*7 }} \u202egnp.exe\u200b\x00\udcff"
)
WAYS = Ways(
    run="auto-build run 001",
    review="auto-build review 001",
    qa="auto-build qa 001",
    qa_status="auto-build qa 001 --status",
    page="auto-build review 001 --html --open",
    approve="auto-build approve 001",
    reject="auto-build reject 001",
    merge="auto-build merge 001",
    logs="auto-build logs 001",
    retry="auto-build retry 001",
    redo="auto-build redo --spec 001",
)
PATCH = """diff --git a/src/app.py b/src/app.py
index 1..2 100644
--- a/src/app.py
+++ b/src/app.py
@@ -1,3 +1,4 @@ def main():
 import sys
-print("hello")
+name = sys.argv[1]
+print(f"hello {name}")
 exit(0)
\\ No newline at end of file
"""
NUMBERS = "2\t1\tsrc/app.py\0"


def note_of(checks: Checks) -> Note | None:
    """Return what git keeps of checks."""
    return read_note(write_note("t" * 40, checks))


@dataclass
class Told:
    """A build told event by event; each takes `pace` seconds."""

    pace: float = 10.0
    records: list[tuple[float, ev.Event]] = field(default_factory=list)
    state: RunState | None = None
    times: Times = field(default_factory=Times)

    def tell(self, *events: ev.Event) -> "Told":
        for event in events:
            at = 1_000.0 + self.pace * len(self.records)
            self.records.append((at, event))
            self.state = step(self.state, event)
            self.times = self.times.seen(at, event)
        return self

    def begin(self, *chunks: Chunk, title: str = "Greet people by name") -> "Told":
        own = Phase(id=PhaseId("p1"), name="Greeting", chunks=chunks)
        plan = Plan(title, (own,))
        return self.tell(
            ev.RunStarted(plan, BASE), ev.SessionOpened(slots=2, repair_rounds=2, retries=0)
        )

    def start(self, chunk: ChunkId, slot: int) -> "Told":
        return self.tell(ev.AttemptStarted(chunk, 1, slot))

    def work(self, chunk: ChunkId) -> "Told":
        used = Usage(output_tokens=900, cost_usd=0.25, source=CostSource.AGENT)
        return self.tell(
            ev.UsageReported(chunk, f"s{chunk}", used),
            ev.WorkCaptured(chunk, BASE, "a" * 40, f"pin/{chunk}", ("src/app.py",), 30.0),
        )

    def land(
        self,
        chunk: ChunkId,
        check: ev.CheckResult,
        *,
        unverified: str = "",
        dropped: tuple[str, ...] = (),
    ) -> "Told":
        candidate = commit_of(chunk)
        return self.tell(
            ev.GateStarted(chunk),
            ev.CandidateBuilt(chunk, candidate, self.head),
            ev.CandidatePassed(chunk, candidate, self.head, (check,), unverified, dropped=dropped),
            ev.LandStarted(chunk),
            ev.CandidateLanded(chunk, candidate),
        )

    @property
    def head(self) -> str:
        return (self.state.head if self.state else "") or BASE

    def story(self, note: Callable[[Checks], Note | None] = note_of) -> Story:
        """Return the story; `note` is what git keeps of checks."""
        assert self.state is not None
        timeline = read_timeline(self.records)
        files = read_patch(NUMBERS, PATCH)
        return tell(
            self.state,
            build_view("001-greet", self.state, self.times),
            timeline,
            Made(
                patches=dict.fromkeys(self.state.chunks, files),
                notes={commit: note(checks) for commit, checks in timeline.checks.items()},
                whole=files,
            ),
            branch="auto-build/001-greet",
            head=self.head,
            base=BASE,
            worktree="/there/.worktrees/auto-build",
        )


def commit_of(chunk: str) -> str:
    """Return the commit with which a chunk lands."""
    return hashlib.sha1(chunk.encode(), usedforsecurity=False).hexdigest()


def chunk(name: ChunkId, title: str, intent: str, kind: str = "none") -> Chunk:
    return Chunk(
        id=name,
        title=title,
        description=intent,
        verification=Verification(kind=VerificationKind(kind)),
    )


def green(command: str = "pytest -q") -> ev.CheckResult:
    return ev.CheckResult(
        command=command, passed=True, code=0, seconds=2.5, output="12 passed", succeeded=12
    )


def reviewed_build(*, say: str = "", evidence: tuple[str, ...] = ()) -> Told:
    """Return a build of two chunks, of which a reviewer says what is wrong.

    `say` is put into everything that an agent, a plan or a person can write.
    """
    build = Told().begin(
        chunk(A, f"Take a name {say}", f"The program takes a name.\nIt greets.{say}"),
        chunk(B, f"Look nice {say}", "A page that looks nice.", "manual"),
        title=f"Greet people by name {say}",
    )
    build.start(A, 1).start(B, 2).work(A)
    build.land(A, green(f"pytest -q {say}"))
    build.work(B)
    left_out = f"src/app.py: an old greeting {say}"
    build.land(B, green(), unverified=f"look at the page {say}", dropped=(left_out,))
    return build.tell(
        ev.QaBegan(3),
        ev.ReviewStarted(1, build.head),
        ev.Reviewed(review_of(build.head, say, evidence)),
        ev.Commented(Comment(f"I like it {say}", A, f"Ada {say}")),
        ev.Commented(Comment(f"Mind the tests {say}", None, "Ada")),
        ev.StraysFound((B,), back=(f"README.md {say}",)),
    )


def mended_build() -> Told:
    """Return a build in which a chunk has mended what the reviewer found."""
    build = reviewed_build()
    fix = ChunkId("qa-1")
    build.tell(ev.FixesAsked(plan_fixes(1, [FINDING], apart=False)))
    return build.start(fix, 1).work(fix).land(fix, green())


FINDING = Finding(
    severity=Severity.MAJOR,
    what="a name of blanks is greeted",
    file="src/app.py",
    line=2,
    why="the spec says that it is refused",
    verify="run it with ' '",
)


def review_of(commit: str, say: str, evidence: tuple[str, ...]) -> Review:
    """Return what a reviewer says, who found something and tried something."""
    finding = replace(
        FINDING,
        what=f"{FINDING.what} {say}",
        why=f"{FINDING.why} {say}",
        verify=f"{FINDING.verify} {say}",
    )
    item = ItemResult(
        item="i1",
        kind=VerificationKind.BROWSER,
        what=f"the page greets {say}",
        state=ItemState.PASSED,
        note=f"opened in a browser {say}",
        output=f"200 OK {say}",
        evidence=evidence,
    )
    return Review(
        round=1,
        commit=commit,
        verdict=Verdict.REJECTED,
        by="claude",
        summary=f"Nearly. {say}",
        findings=(
            finding,
            replace(finding, severity=Severity.MINOR, what=f"no test of that {say}"),
            replace(finding, severity=Severity.MINOR, what="far below", line=90),
            replace(finding, severity=Severity.MINOR, what="as far below", line=90),
            Finding(severity=Severity.MINOR, what=f"a typo {say}"),
        ),
        criteria=(
            Criterion(f"it greets {say}", Met.YES, f"seen {say}"),
            Criterion("blanks are refused", Met.NO),
            Criterion("it is quick", Met.UNKNOWN, "not measured"),
        ),
        items=(item,),
        seconds=12.0,
    )
