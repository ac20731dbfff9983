"""A person looks at a build, and says what he thinks of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from auto_build.core.findings import Finding, Severity, Source, Verdict
from auto_build.delivery import Build
from auto_build.errors import NotReady, UsageProblem
from auto_build.journal import Journal, RunLock
from auto_build.judging import approve, comment, reject
from tests.e2e.commands import auto_build
from tests.e2e.project import SPEC, Project, chunk, fail, run_git, write

BAD = Finding(severity=Severity.MAJOR, what="bad", source=Source.PERSON)


async def test_a_build_is_looked_at_rejected_commented_on_and_approved(
    project: Project,
) -> None:
    by_eye = {"type": "manual", "instructions": "look at y"}
    project.plan_of(
        chunk("1-1", files=["x.py"], verify="python3 -m py_compile x.py"),
        chunk("1-2", files=["y.html"], title="<b>Nice</b>", verification=by_eye),
    )
    project.agent("1-1", write("x.py", "x = 1\n"))
    project.agent("1-2", write("y.html", "<script>alert(1)</script>\n"))
    assert (await project.run()).view.finished
    head = run_git(project.path, "rev-parse", project.branch()).strip()

    told = auto_build(project, "review", "001").out
    assert "not reviewed" in told
    assert "✓ $ python3 -m py_compile x.py" in told
    assert "1-2: manual: look at y; for you" in told
    assert "\x1b" not in told
    assert "+x = 1" in auto_build(project, "review", "001", "--chunk", "1-1").out
    story = auto_build(project, "review", "001", "--json").value
    assert [(one["id"], one["kept"]) for one in story["chapters"]] == [
        ("1-1", "git keeps the same"),
        ("1-2", "git keeps the same"),
    ]
    page = Path(auto_build(project, "review", "001", "--html", "--json").value["page"])
    assert page == project.path / ".git/auto-build/review" / f"{SPEC}.html"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.read_text(encoding="utf-8")
    assert auto_build(project, "review", "001", "--html", str(project.path / ".git")).code == 3

    rejected = auto_build(
        project, "reject", "001", "x is two", "--chunk", "1-1", "--file", "x.py", "--line", "1"
    )
    assert rejected.code == 0, rejected.err
    assert "x is two  (x.py:1)" in rejected.out
    assert "auto-build qa 001" in rejected.out
    again = auto_build(project, "reject", "001", "y is loud", "--severity", "critical", "--json")
    assert [one["what"] for one in again.value["open"]] == ["x is two", "y is loud"]
    said = auto_build(project, "comment", "001", "I like x", "--chunk", "1-1", "--json").value
    assert said["comment"] == {"text": "I like x", "chunk": "1-1", "by": "Ada"}
    approved = auto_build(project, "approve", "001", "--note", "good enough")
    assert approved.code == 0, approved.err
    assert "over 2 open findings:" in approved.out
    assert "1-2: manual: look at y; for you" in approved.out
    told = auto_build(project, "review", "001").out
    assert "approved by Ada" in told
    assert "Ada: I like x" in told

    with Journal.open(project.path / ".git/auto-build", SPEC) as journal:
        reviews = [one.event.review for one in journal.history() if hasattr(one.event, "review")]
    assert [(one.verdict, one.of, one.by, one.commit, one.round) for one in reviews] == [
        (Verdict.REJECTED, Source.PERSON, "Ada", head, 1),
        (Verdict.REJECTED, Source.PERSON, "Ada", head, 1),
        (Verdict.APPROVED, Source.PERSON, "Ada", head, 1),
    ]
    (finding,) = reviews[0].findings
    assert (finding.place, finding.chunk, finding.severity) == ("x.py:1", "1-1", Severity.MAJOR)
    assert reviews[2].summary == "good enough"


async def test_what_cannot_be_judged_is_refused_and_nothing_is_noted(project: Project) -> None:
    project.plan_of(chunk("1-1", files=["x.py"]), chunk("1-2", files=["y.py"]))
    project.agent("1-1", write("x.py"))
    project.agent("1-2", fail())
    build = await Build.open(project.path, SPEC)
    with pytest.raises(NotReady, match="not built yet"):
        await comment(build, "go on")
    await project.run()

    with pytest.raises(NotReady, match="before all of it is done: 1-2"):
        await approve(build)
    for finding in (
        replace(BAD, what=" "),
        replace(BAD, chunk="9-9"),
        replace(BAD, file="../x"),
        replace(BAD, line=3),
    ):
        with pytest.raises(UsageProblem):
            await reject(build, finding)
    for text, chunk_ in ((" ", ""), ("hm", "9-9")):
        with pytest.raises(UsageProblem):
            await comment(build, text, chunk=chunk_)
    with RunLock.acquire(build.workspace.state_dir, SPEC):
        locked = auto_build(project, "comment", "001", "hm")
    assert (locked.code, "wait for it" in locked.err) == (4, True)
    state, _ = build.require_begun()
    assert (state.qa.reviews, state.qa.comments) == ((), ())
    assert (await reject(build, BAD)).open == (BAD,)  # what has landed can be wrong already
