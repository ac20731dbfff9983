"""From an agent's work to staging: nothing is done before it has landed, nothing made is lost."""

import pytest

from auto_build import Record, Update
from auto_build.core import events as ev
from auto_build.core.plan import ChunkId
from auto_build.core.state import Landed, Live, SetAside
from tests.e2e.project import (
    Project,
    append,
    chunk,
    commit,
    edit,
    phase,
    run_git,
    say,
    shell,
    sleep,
    write,
)


@pytest.mark.quick
async def test_a_chunk_is_neither_complete_nor_are_its_claims_freed_before_its_merge(
    project: Project,
) -> None:
    project.plan_of(
        chunk("first", files=["a.txt"], verify="sleep 0.1"), chunk("second", files=["a.txt"])
    )
    project.agent("first", append("a.txt", "first\n"))
    project.agent("second", append("a.txt", "second\n"))
    too_early: list[str] = []

    def look(_: Update) -> None:
        if "first" in project.landings():
            return
        if project.plan_statuses()["first"] == "completed":
            too_early.append("the plan file says completed")

    report = await project.run(on_update=look)

    assert too_early == []
    for event, state in report.states():
        if not isinstance(state.chunks[ChunkId("first")], Landed):
            assert not isinstance(state.chunks[ChunkId("second")], Live), event
    assert report.kinds("first")[-1] == "CandidateLanded"
    assert project.show("a.txt") == "a\nb\nc\nfirst\nsecond\n"


async def test_work_on_different_files_at_the_same_time_lands_in_one_tree(
    project: Project,
) -> None:
    project.plan_of(chunk("api", files=["api.py"]), chunk("ui", files=["ui.py"]))
    project.agent("api", sleep(0.2), write("api.py", "api\n"))
    project.agent("ui", sleep(0.2), write("ui.py", "ui\n"))

    report = await project.run()

    both = [len(state.live) == 2 for _, state in report.states()]
    assert any(both), "they ran one after the other"
    assert report.view.finished
    assert sorted(project.landings()) == ["api", "ui"]
    assert project.show("api.py") + project.show("ui.py") == "api\nui\n"


async def test_what_lands_was_verified_before_the_merge_and_on_the_merged_tree(
    project: Project,
) -> None:
    not_landed = f"! git cat-file -e {project.branch()}:late.py"
    project.plan_of(
        chunk("early", files=["early.py"]),
        chunk(
            "late", files=["late.py"], verify=f"test -f early.py && test -f late.py && {not_landed}"
        ),
    )
    project.agent("early", write("early.py"))
    project.agent("late", sleep(0.3), write("late.py"))

    report = await project.run()

    assert report.labels() == {"early": "landed", "late": "landed"}
    base = report.only(ev.WorkCaptured, "late").base
    assert "early.py" not in project.tree(base), "the two should have begun side by side"
    (check,) = report.only(ev.CandidatePassed, "late").checks
    assert check.passed


async def test_staging_is_green_at_every_commit(project: Project) -> None:
    project.settings('[gate]\nchecks = ["! grep -rq broken --include=*.py ."]')
    project.plan_of(chunk("good", files=["good.py"]), chunk("bad", files=["bad.py"]))
    project.agent("good", sleep(0.1), write("good.py", "fine\n"))
    project.agent("bad", write("bad.py", "broken\n"))
    project.agent("bad", write("bad.py", "mended\n"), round=1)

    report = await project.run()

    assert report.view.finished
    assert report.kinds("bad").count("CandidateRejected") == 1
    line = run_git(project.path, "rev-list", "--first-parent", project.branch()).split()
    assert len(line) == 3
    for landed in line:
        assert "broken\n" not in project.tree(landed).values()


async def test_a_merge_in_conflict_is_rebased_commit_by_commit(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"]))
    project.agent("one", edit("a.txt", "b", "B"))
    project.agent(
        "two",
        sleep(0.3),
        edit("a.txt", "b", "B"),
        commit("the same as the other did"),
        edit("a.txt", "B", "BB"),
        commit("and more"),
    )

    report = await project.run()

    assert report.only(ev.CandidatePassed, "two").replayed
    assert report.of(ev.CandidateConflicted) == []
    assert project.show("a.txt") == "a\nBB\nc\n"
    assert project.landings() == ["one", "two"]
    subjects = run_git(
        project.path, "log", "--format=%s", f"{project.branch()}^1..{project.branch()}"
    )
    assert {"the same as the other did", "and more"} & set(subjects.splitlines())


def _two_that_conflict(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"]))
    project.agent("one", edit("a.txt", "b", "one"))
    project.agent(
        "two", sleep(0.3), edit("a.txt", "b", "two"), write("two.py", "mine\n"), attempt=1
    )


async def test_a_conflict_never_deletes_the_agents_work(project: Project) -> None:
    _two_that_conflict(project)
    project.agent("two", edit("a.txt", "one", "one and two"), write("two.py", "again\n"), attempt=2)

    report = await project.run()

    first, again = report.of(ev.CandidateConflicted, "two")  # its agent left it as it was
    assert first.paths == again.paths == ("a.txt",)
    assert project.show("a.txt", project.pins()["001-demo/two/1"]) == "a\ntwo\nc\n"
    assert project.show("two.py", project.pins()["001-demo/two/1"]) == "mine\n"
    assert project.show("a.txt") == "a\none and two\nc\n"


@pytest.mark.quick
async def test_a_chunk_in_conflict_is_set_aside_and_run_again_alone_from_a_fresh_base(
    project: Project,
) -> None:
    _two_that_conflict(project)
    project.plan_of(
        chunk("one", files=["one.py"]),
        chunk("two", files=["two.py"]),
        chunk("long", files=["long.py"]),
    )
    project.agent("two", edit("a.txt", "one", "one and two"), attempt=2)
    project.agent("long", sleep(0.6), write("long.py"))

    report = await project.run(workers=3)

    assert report.view.finished
    aside = [s for _, s in report.states() if isinstance(s.chunks[ChunkId("two")], SetAside)]
    assert aside, "it was never set aside"
    again = report.of(ev.AttemptStarted, "two")[1]
    assert again.alone
    for _, state in report.states():
        if any(now.attempt.alone for now in state.live.values()):
            assert len(state.live) == 1
    second = report.of(ev.WorkCaptured, "two")[1]
    assert "long.py" in project.tree(second.base), "its base is not fresh"
    assert project.landings().count("two") == 1


async def test_an_agent_that_is_set_aside_is_told_what_it_ran_into(project: Project) -> None:
    _two_that_conflict(project)
    project.agent("two", write("two.py"), attempt=2)

    await project.run()

    log = project.path / ".git/auto-build/logs/001-demo/two/2/agent.log"
    told = log.read_text(encoding="utf-8")
    assert "- a.txt" in told
    assert "refs/auto-build/attempts/001-demo/two/1" in told


async def test_after_a_second_conflict_the_chunk_fails_with_everything_pinned(
    project: Project,
) -> None:
    _two_that_conflict(project)
    project.agent("two", say("go"), edit("a.txt", "one", "two"), sleep(0.1), attempt=2)

    def interfere(update: Update) -> None:
        if not isinstance(update.what, Record) and update.what.text == "go":
            (project.staging / "a.txt").write_text("a\nsomebody else\nc\n")
            project.git("commit", "--quiet", "-am", "By hand", cwd=project.staging)

    report = await project.run(on_update=interfere)

    row = report.row("two")
    assert row.label == "failed"
    assert "conflict" in row.note
    assert "a.txt" in row.note
    pins = project.pins()
    assert project.show("a.txt", pins["001-demo/two/1"]) == "a\ntwo\nc\n"
    assert project.show("a.txt", pins["001-demo/two/2"]) == "a\ntwo\nc\n"
    assert row.pin.endswith("two/2")
    assert not report.view.finished


async def test_a_commit_of_the_users_on_staging_voids_the_landing_and_the_chunk_lands_once(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one.py"], verify="ls > /dev/null"))
    project.agent("one", write("one.py"))

    def commit_by_hand(update: Update) -> None:
        first = isinstance(update.what, Record) and isinstance(
            update.what.event, ev.CandidatePassed
        )
        if first and not (project.staging / "hand.txt").exists():
            (project.staging / "hand.txt").write_text("by hand\n")
            project.git("add", "hand.txt", cwd=project.staging)
            project.git("commit", "--quiet", "-m", "By hand", cwd=project.staging)

    report = await project.run(on_update=commit_by_hand)

    assert len(report.of(ev.LandingVoided)) == 1
    assert len(report.of(ev.CandidatePassed)) == 2, "it was not gated again"
    assert report.view.finished
    assert project.landings() == ["one"]
    assert project.show("hand.txt") == "by hand\n"
    assert (project.staging / "one.py").exists()
    assert run_git(project.staging, "status", "--porcelain") == ""


async def test_a_change_of_the_users_in_staging_is_not_destroyed_and_the_view_says_it_is_behind(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["a.txt"]), chunk("two", files=["b.txt"], after=["one"]))
    project.agent("one", edit("a.txt", "a", "A"))
    project.agent("two", write("b.txt"))

    def try_something(update: Update) -> None:
        if isinstance(update.what, Record) and isinstance(update.what.event, ev.GateStarted):
            (project.staging / "a.txt").write_text("tried by hand\n")

    report = await project.run(on_update=try_something)

    assert report.view.finished
    assert (project.staging / "a.txt").read_text() == "tried by hand\n"
    behind = report.only(ev.CandidateLanded, "one").view
    assert "a.txt" in behind
    assert project.show("a.txt") == "A\nb\nc\n"

    (project.staging / "a.txt").write_text("a\nb\nc\n")
    await project.run()
    assert (project.staging / "a.txt").read_text() == "A\nb\nc\n"
    assert (project.staging / "b.txt").exists()


async def test_the_specs_branch_is_kept_and_used_again(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", write("one.py"))
    await project.run()
    first = run_git(project.path, "rev-parse", project.branch()).strip()
    project.git("worktree", "remove", "--force", str(project.staging))
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"]))
    project.agent("two", write("two.py"))

    report = await project.run()

    assert project.landings() == ["one", "two"]
    run_git(project.path, "merge-base", "--is-ancestor", first, project.branch())
    assert report.of(ev.AttemptStarted, "one") == []
    assert (project.staging / "two.py").exists()


async def test_landed_is_read_from_git_where_the_journal_is_gone(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"]))
    project.agent("one", write("one.py"))
    project.agent("two", write("two.py"))
    await project.run()
    for path in (project.path / ".git/auto-build").glob("journal.db*"):
        path.unlink()

    report = await project.run()

    assert report.of(ev.AttemptStarted) == []
    assert report.view.finished
    assert sorted(project.landings()) == ["one", "two"]


@pytest.mark.parametrize("keeps", [True, False])
async def test_worker_worktrees_are_kept_only_where_that_is_asked_for(
    project: Project, keeps: bool
) -> None:
    project.plan(phase("p1", chunk("one", files=["one.py"])))
    project.agent("one", write("one.py"), shell("echo cache > build.log"))
    project.allowed_slots = ("auto-build-worker-1",) if keeps else ()

    await project.run(keep_worktrees=keeps)

    assert project.slot(1).exists() is keeps
    assert project.staging.is_dir()
