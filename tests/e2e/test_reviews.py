"""Review rounds on staging: looked at, mended, looked at again, until it is approved."""

from pathlib import Path
from typing import Any

import pytest

from auto_build.coordinator import Reviews
from auto_build.core import events as ev
from auto_build.core.findings import Source
from auto_build.core.qa import Standing
from auto_build.history import load_state
from auto_build.workspace import Workspace
from tests.e2e.commands import auto_build
from tests.e2e.project import SPEC, Driver, Project, Report, append, chunk, shell, sleep, write

Json = Any
QA = '[qa]\n{more}\n[gate]\nchecks = ["! grep -q broken a.txt"]\n'


def answer(verdict: str, *findings: Json, **more: Json) -> Json:
    value = {"verdict": verdict, "summary": "Read it.", "findings": list(findings), **more}
    return {"do": "answer", "value": value}


def finding(what: str, file: str = "a.txt", severity: str = "major") -> Json:
    where = {"file": file, "line": 1, "severity": severity}
    return {"what": what, "why": "it was asked", "verify": "read it", **where}


APPROVED = answer("approved")
BELL = answer("rejected", finding("no bell"))


@pytest.fixture
def built(project: Project) -> Project:
    """A project of one chunk that asks for reviews."""
    project.settings(QA.format(more=""))
    project.plan_of(chunk("one", files=["a.txt"]))
    project.agent("one", append("a.txt", "one\n"))
    return project


def verdicts(report: Report) -> list[str]:
    return [f"{one.round} {one.verdict.value}" for one in report.view.qa.reviews]


def staging_of(project: Project) -> Path:
    return project.path / ".worktrees/auto-build"


def check_shown(project: Project) -> None:
    """See that the staging worktree shows its branch, and nothing else."""
    shown = project.git("status", "--porcelain", "--branch", cwd=staging_of(project)).split("\n")
    assert shown == [f"## {project.branch().removeprefix('refs/heads/')}", ""]
    assert project.git("diff", "--stat", project.branch(), cwd=staging_of(project)) == ""


async def test_what_a_review_finds_is_mended_in_staging_and_looked_at_again(
    built: Project,
) -> None:
    two = (finding("no bell"), finding("no whistle", "b.txt"))
    built.agent("review", answer("rejected", *two), attempt=1)
    built.agent("qa-1", shell("pwd > where.txt"), append("a.txt", "bell\n"), write("b.txt"))
    built.agent("review", APPROVED, attempt=2)

    report = await built.run()

    assert verdicts(report) == ["1 rejected", "2 approved"]
    assert report.view.complete
    assert "bell" in built.show("a.txt")
    assert built.show("where.txt").strip().endswith("/.worktrees/auto-build")
    last = report.view.qa.reviews[-1]
    assert last.commit == built.head()
    check_shown(built)
    sign = built.plan_document()["qa_signoff"]
    assert (sign["status"], sign["qa_session"], sign["commit"]) == ("approved", 2, last.commit)
    folder = built.plan_path().parent
    assert "**approved**, round 2" in (folder / "qa_report.md").read_text()
    assert "Nothing is open" in (folder / "QA_FIX_REQUEST.md").read_text()
    assert [row.label.value for row in report.view.rows] == ["landed", "landed"]


async def test_findings_in_different_files_are_mended_side_by_side_in_worker_slots(
    built: Project,
) -> None:
    built.settings(QA.format(more='fix = "parallel"'))
    two = (finding("no bell"), finding("no whistle", "b.txt"))
    built.agent("review", answer("rejected", *two), attempt=1)
    built.agent("qa-1-1", sleep(0.3), append("a.txt", "bell\n"))
    built.agent("qa-1-2", sleep(0.3), write("b.txt"))
    built.agent("review", APPROVED, attempt=2)

    report = await built.run()

    assert report.view.complete
    at_once = [set(state.live) for _, state in report.states()]
    assert {"qa-1-1", "qa-1-2"} in at_once
    assert built.landings() == ["one", *sorted(built.landings()[1:])]


async def test_a_review_holds_against_the_build_what_is_red_whatever_the_reviewer_says(
    built: Project,
) -> None:
    def ask_for_more(plan: Json) -> None:
        step = {"name": "It rings", "command": "grep -q bell a.txt", "type": "test"}
        plan["verification_strategy"] = {"verification_steps": [step]}

    built.edit_plan(ask_for_more)
    built.agent("review", APPROVED)
    built.agent("qa-1", append("a.txt", "bell\n"))

    report = await built.run()

    assert verdicts(report) == ["1 rejected", "2 approved"]
    first = report.view.qa.reviews[0]
    assert [one.source for one in first.blocking] == [Source.CHECK]
    assert "approved although 1 of what was run is red" in first.notes[0]
    assert report.only(ev.CandidatePassed, "qa-1").checks[0].command == ("grep -q bell a.txt")


async def test_what_a_reviewer_writes_is_undone_kept_and_told(built: Project) -> None:
    built.agent("review", write("a.txt", "mine\n"), write("note.txt"), APPROVED)

    report = await built.run()

    (review,) = report.view.qa.reviews
    (note,) = review.notes
    assert "wrote a.txt, note.txt: that is undone, and kept as refs/auto-build/attempts/" in note
    assert built.show("a.txt", note.rsplit(" ", 1)[1]) == "mine\n"
    check_shown(built)
    assert report.view.standing is Standing.APPROVED


@pytest.mark.parametrize(
    ("answers", "came", "word"),
    [
        ([[{"do": "answer", "value": {"verdict": "perhaps"}}]], ["1 none", "1 none"], "no usable"),
        ([[{"do": "say", "text": "Fine."}]], ["1 none", "1 none"], "no usable answer in 3 rounds"),
        ([[{"do": "hang"}]], ["1 none", "1 none"], "it did and said nothing for"),
        ([[{"do": "fail", "text": "boom"}]], ["1 none", "1 none"], "agent-error: boom"),
        ([[answer("rejected")]], ["1 none", "1 none"], "you reject, and have no finding"),
        (
            [[answer("approved", finding("no bell"))], [APPROVED]],
            ["1 approved"],
            "answer 1 was not taken: you approve, and have 1 findings",
        ),
        (
            [[answer("approved", finding("no bell"))]] * 3,
            ["1 rejected", "2 rejected"],
            "it does not agree with itself",
        ),
    ],
    ids=["nonsense", "no answer", "never ends", "fails", "nothing named", "amended", "contradicts"],
)
async def test_a_reviewer_that_is_of_no_use_is_bounded_and_said(
    built: Project, answers: list[list[Json]], came: list[str], word: str
) -> None:
    for attempt in (1, 2):
        for round_, steps in enumerate(answers * (3 if len(answers) == 1 else 1)):
            built.agent("review", *steps, attempt=attempt, round=round_)
    built.agent("qa-1", append("a.txt", "more\n"))

    report = await built.run(idle_timeout_min=0.02)

    assert verdicts(report) == came
    told = " ".join((*report.view.qa.reviews[0].notes, report.view.qa.reviews[0].why))
    assert word in told
    assert report.view.complete is (came[-1] == "1 approved")
    assert bool(report.view.qa.stopped) is not report.view.complete


async def test_rounds_without_progress_end_and_say_what_is_open(built: Project) -> None:
    built.agent("review", BELL)
    built.agent("qa-1", append("a.txt", "no bell yet\n"))

    report = await built.run()

    assert verdicts(report) == ["1 rejected", "2 rejected"]
    assert report.view.qa.stopped == "no progress: the same findings twice (1 finding)"
    assert [one.what for one in report.view.qa.open] == ["no bell"]
    assert not report.view.complete
    text = (built.plan_path().parent / "qa_report.md").read_text()
    assert "to be mended: no bell" in text


async def test_a_fixer_that_changes_nothing_ends_the_rounds(built: Project) -> None:
    built.agent("review", BELL)

    report = await built.run()

    assert report.view.qa.stopped.startswith("no progress: nothing of what was to mend")
    check_shown(built)


async def test_a_fix_that_is_red_is_taken_back_and_staging_stays_green(built: Project) -> None:
    built.agent("review", BELL)
    built.agent("qa-1", append("a.txt", "broken bell\n"))
    before = "a\nb\nc\none\n"

    report = await built.run(repair_rounds=0)

    assert report.labels() == {"one": "landed", "qa-1": "failed"}
    assert built.show("a.txt") == before
    assert (staging_of(built) / "a.txt").read_text() == before
    check_shown(built)


async def test_rounds_end_at_their_limit(built: Project) -> None:
    for round_ in range(1, 4):
        built.agent("review", answer("rejected", finding(f"no {round_}")), attempt=round_)
        built.agent(f"qa-{round_}", append("a.txt", f"{round_}\n"))

    report = await built.run(max_qa_rounds=2)

    assert verdicts(report) == ["1 rejected", "2 rejected"]
    assert report.view.qa.stopped == "1 finding left after 2 rounds"

    built.agent("review", APPROVED, attempt=4)
    again = await built.run(reviews=Reviews.AGAIN)
    assert verdicts(again)[2:] == ["3 rejected", "4 approved"]
    assert again.view.complete


async def test_an_approval_is_of_one_commit(built: Project) -> None:
    built.agent("review", APPROVED)
    assert (await built.run()).view.complete
    staging = staging_of(built)
    (staging / "late.txt").write_text("late\n")
    built.git("add", "late.txt", cwd=staging)
    built.git("commit", "--quiet", "-m", "Late", cwd=staging)

    report = await built.run()

    assert verdicts(report) == ["1 approved", "2 approved"]
    assert [one.commit for one in report.view.qa.reviews][1] == built.head()


async def test_what_somebody_changed_in_staging_is_left_there(built: Project) -> None:
    built.agent("one", sleep(0.2))
    built.agent("review", BELL, attempt=1)
    built.agent("qa-1", shell("pwd > where.txt"), append("a.txt", "bell\n"))
    built.agent("review", APPROVED, attempt=2)

    def try_out(update: Any) -> None:
        if getattr(update.what, "event", None).__class__ is ev.QaBegan:
            (staging_of(built) / "tried.txt").write_text("mine\n")

    report = await built.run(on_update=try_out)

    assert report.view.complete
    assert (staging_of(built) / "tried.txt").read_text() == "mine\n"
    assert built.show("where.txt").strip().endswith("/auto-build-worker-1")


async def test_a_review_can_be_skipped_and_asked_for_later(built: Project) -> None:
    built.agent("review", APPROVED)
    skipped = await built.run(reviews=Reviews.SKIPPED)
    assert (skipped.view.standing, skipped.view.complete) == (Standing.SKIPPED, True)
    assert (await built.run()).view.standing is Standing.SKIPPED
    assert (await built.run(reviews=Reviews.AGAIN)).view.standing is Standing.APPROVED


async def test_the_budget_ends_the_rounds(built: Project) -> None:
    spend = {"do": "spend", "cost_usd": 0.6}
    built.agent("review", spend, BELL, attempt=1)
    built.agent("qa-1", spend, append("a.txt", "bell\n"))

    report = await built.run(max_cost=1.0)

    assert not report.view.complete
    assert report.only(ev.RunPaused).why.startswith("the run's budget of $1.00 is used up")
    assert (report.view.usage.cost_usd or 0) <= 1.3


TRANSITIONS = (
    "QaBegan",
    "ReviewStarted",
    "Reviewed",
    "FixesAsked",
    "AttemptStarted",
    "WorkCaptured",
    "GateStarted",
    "CandidateBuilt",
    "CandidatePassed",
    "LandStarted",
    "CandidateLanded",
    "ReviewStarted",
    "Reviewed",
)


def test_killed_at_every_transition_the_rounds_go_on_in_the_round_that_they_were_in(
    built: Project,
) -> None:
    built.agent("review", sleep(0.1), BELL, attempt=1)
    built.agent("qa-1", append("a.txt", "bell\n"), sleep(0.1))
    built.agent("review", sleep(0.1), APPROVED, attempt=2)
    for event in TRANSITIONS:
        run = Driver.start(built)
        run.wait_for(event)
        run.kill()
        built.check_untouched()

    code, told = Driver.start(built).end()

    assert code == 0, told[-1]
    assert built.landings() == ["one", "qa-1"]
    assert built.show("a.txt") == "a\nb\nc\none\nbell\n"
    state, _ = load_state(Workspace(built.path, built.path / ".git"), SPEC)
    assert state
    assert [one.verdict.value for one in state.qa.reviews] == ["rejected", "approved"]
    assert state.qa.find_approval(built.head())
    check_shown(built)
    built.check_nothing_left()


@pytest.mark.parametrize("command", ["merge", "discard", "park"])
def test_after_a_fixer_was_killed_in_staging_people_find_it_as_it_was(
    built: Project, command: str
) -> None:
    built.agent("review", BELL)
    built.agent("qa-1", append("a.txt", "half a bell\n"), shell("touch begun.log; sleep 300"))
    run = Driver.start(built)
    run.wait_for("AttemptStarted", "qa-1")
    built.wait_until_exists(staging_of(built) / "begun.log")
    run.kill()

    with built.user_acts():
        done = auto_build(built, command, "001", *(["--yes"] if command == "discard" else []))

    assert done.code == (1 if command == "merge" else 0), done.err
    (kept,) = [pin for pin in built.pins() if "partial" in pin]
    assert kept.startswith("001-demo/qa-1/1-partial-")
    assert "half a bell" in built.show("a.txt", f"refs/auto-build/attempts/{kept}")
    if command == "merge":
        assert "chunks have not landed: qa-1" in done.err
        check_shown(built)
        assert auto_build(built, "discard", "001", "--yes").code == 0
    else:
        assert not staging_of(built).exists()


async def test_after_a_discard_a_fix_is_made_anew(built: Project) -> None:
    built.agent("review", BELL, attempt=1)
    built.agent("qa-1", append("a.txt", "old bell\n"), attempt=1)
    built.agent("qa-1", append("a.txt", "new bell\n"), attempt=2)
    built.agent("review", APPROVED, attempt=2)
    await built.run()
    with built.user_acts():
        assert auto_build(built, "discard", "001", "--yes").code == 0

    report = await built.run()

    assert report.view.complete
    assert built.show("a.txt").endswith("new bell\n")
