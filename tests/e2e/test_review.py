"""A person looks at a build, and says what he thinks of it."""

from pathlib import Path

from auto_build.core.findings import Severity, Source, Verdict
from auto_build.journal import Journal, RunLock
from tests.e2e.commands import auto_build
from tests.e2e.project import SPEC, Project, chunk, fail, run_git, write


async def test_a_build_is_looked_at_rejected_commented_on_and_approved(
    project: Project, tmp_path: Path
) -> None:
    page = {"type": "manual", "instructions": "look at y"}
    project.plan_of(
        chunk("1-1", files=["x.py"], verify="python3 -m py_compile x.py"),
        chunk("1-2", files=["y.html"], title="<b>Nice</b>", verification=page),
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
    assert auto_build(project, "review", "001", "--chunk", "9-9").code == 2
    assert auto_build(project, "review", "001", "--diff").out.count("diff --git") == 2
    story = auto_build(project, "review", "001", "--json").value
    assert [(one["id"], one["kept"]) for one in story["chapters"]] == [
        ("1-1", "git keeps the same"),
        ("1-2", "git keeps the same"),
    ]
    at = auto_build(project, "review", "001", "--html", "--json").value["page"]
    assert Path(at) == project.path / ".git/auto-build/review" / f"{SPEC}.html"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in Path(at).read_text(encoding="utf-8")
    mine = tmp_path / "own" / "page.html"
    assert auto_build(project, "review", "001", "--html", str(mine)).out.strip() == str(mine)
    assert mine.read_text(encoding="utf-8") == Path(at).read_text(encoding="utf-8")
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
    told = auto_build(project, "review", "001").out
    assert ": rejected" in told
    assert "Ada: I like x" in told

    approved = auto_build(project, "approve", "001", "--note", "good enough")
    assert approved.code == 0, approved.err
    assert "over 2 open findings:" in approved.out
    assert "1-2: manual: look at y; for you" in approved.out
    assert "approved by Ada" in auto_build(project, "review", "001").out

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
    assert "not built yet" in auto_build(project, "comment", "001", "go on").err
    await project.run()

    refused = auto_build(project, "approve", "001")
    assert (refused.code, "before all of it is done: 1-2" in refused.err) == (1, True)
    for words in (
        ("reject", "001", " "),
        ("reject", "001", "bad", "--chunk", "9-9"),
        ("reject", "001", "bad", "--file", "../x"),
        ("reject", "001", "bad", "--line", "3"),
        ("reject", "001", "bad", "--severity", "minor"),
        ("comment", "001", " "),
        ("comment", "001", "hm", "--chunk", "9-9"),
    ):
        assert auto_build(project, *words).code == 2, words
    with RunLock.acquire(project.path / ".git/auto-build", SPEC):
        locked = auto_build(project, "comment", "001", "hm")
    assert (locked.code, "wait for it" in locked.err) == (4, True)
    assert auto_build(project, "review", "001", "--json").value["reviews"] == []
