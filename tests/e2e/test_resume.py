"""A run that was cut off, or whose plan was edited, goes on where it stopped."""

import asyncio
import json
import sqlite3
from typing import Any

import pytest

from auto_build import Notice, Record, Update
from auto_build.core import events as ev
from auto_build.delivery import Build
from auto_build.merging import merge
from auto_build.readiness import Wish
from tests.e2e.project import (
    Driver,
    Project,
    append,
    chunk,
    edit,
    fail,
    hang,
    phase,
    say,
    shell,
    sleep,
    spawn,
    write,
)


class Stopper:
    """Presses Ctrl-C at the first update that fits."""

    def __init__(self, fits: "type[ev.Event] | str") -> None:
        self._fits = fits
        self._task = asyncio.current_task()

    def __call__(self, update: Update) -> None:
        what = update.what
        said = isinstance(what, Notice) and what.text == self._fits
        came = isinstance(what, Record) and type(what.event) is self._fits
        if (said or came) and self._task:
            self._task.cancel()


async def _interrupt(project: Project, at: "type[ev.Event] | str", **settings: Any) -> None:
    run = asyncio.ensure_future(_run_and_stop(project, at, settings))
    with pytest.raises(asyncio.CancelledError):
        await run
    project.check_untouched()


async def _run_and_stop(
    project: Project, at: "type[ev.Event] | str", settings: dict[str, Any]
) -> None:
    await project.run(on_update=Stopper(at), **settings)


# --- Ctrl-C -----------------------------------------------------------------------------------


async def test_ctrl_c_leaves_no_workers_worktree_and_partial_work_is_pinned(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"]))
    project.agent("one", write("one.py", "half\n"), spawn("sleep 300"), say("now"), hang())
    project.agent("two", write("two.py", "half too\n"), hang())

    await _interrupt(project, "now")

    assert not list(project.path.glob(".worktrees/auto-build-worker-*"))
    assert project.left_processes() == []
    assert project.pin_holding("one.py") == "half\n"
    assert project.staging.is_dir()


@pytest.mark.quick
async def test_an_interrupted_chunk_is_run_again(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"], after=["one"]))
    project.agent("one", write("one.py", "half\n"), say("now"), hang())
    await _interrupt(project, "now")
    assert project.plan_statuses()["one"] == "in_progress"
    project.agent_forgets()
    project.agent("one", write("one.py", "whole\n"))
    project.agent("two", write("two.py"))

    report = await project.run()

    assert report.kinds("one")[:2] == ["AttemptLost", "AttemptStarted"]
    assert report.view.finished
    assert project.landings() == ["one", "two"]
    assert project.show("one.py") == "whole\n"


@pytest.mark.parametrize(
    "moment",
    [
        ev.GateStarted,
        ev.LandStarted,
        pytest.param(ev.CandidatePassed, marks=pytest.mark.slow),
        ev.CandidateRejected,
        pytest.param(ev.RepairStarted, marks=pytest.mark.slow),
    ],
)
async def test_ctrl_c_at_any_stage_repeats_no_agent_and_lands_once(
    project: Project, moment: type[ev.Event]
) -> None:
    project.plan_of(chunk("one", files=["one.py"], verify="grep -q good one.py"))
    project.agent("one", append("tries.txt", "first\n"), write("one.py", "bad\n"))
    project.agent("one", append("tries.txt", "repair\n"), write("one.py", "good\n"), round=1)

    await _interrupt(project, moment)
    report = await project.run()

    assert report.view.finished
    assert report.of(ev.AttemptStarted) == []
    assert project.show("tries.txt") == "first\nrepair\n"
    assert project.landings() == ["one"]


# --- SIGKILL ----------------------------------------------------------------------------------


async def test_after_sigkill_no_child_of_an_agent_survives_nor_does_a_daemon(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    daemon = "(setsid sh -c 'sleep 300; :' >/dev/null 2>&1 &)"
    project.agent(
        "one",
        spawn("sleep 300 & sleep 300"),
        shell(f"{daemon}; {daemon}"),
        spawn(f"{daemon}; echo half > one.py; touch started.log; sleep 300"),
        hang(),
    )
    run = Driver.start(project)
    run.wait_for("AttemptStarted")
    started = project.slot(1) / "started.log"
    project.wait_until_exists(started)
    assert len(project.processes()) > 4

    run.kill()

    project.wait_until_processes_are_gone()
    project.agent_forgets()
    project.agent("one", write("one.py", "whole\n"))
    report = await project.run()
    assert report.view.finished
    assert "half\n" in [project.show("one.py", pin) for pin in project.pins().values()]


async def test_killed_between_pin_and_journal_the_agent_is_not_run_twice(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", write("one.py", "paid for\n"))
    await _interrupt(project, ev.WorkCaptured)
    assert "001-demo/one/1" in project.pins()
    _forget_from(project, "WorkCaptured")
    project.agent_forgets()
    project.agent("one", fail("run a second time"))

    report = await project.run()

    assert report.kinds("one")[:3] == ["AttemptLost", "AttemptStarted", "WorkCaptured"]
    assert report.view.finished
    assert project.show("one.py") == "paid for\n"


async def test_killed_between_landing_and_journal_the_chunk_lands_once(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", write("one.py"))
    await project.run()
    head = project.landings()
    _forget_from(project, "CandidateLanded")

    report = await project.run()

    assert report.kinds("one") == ["LandLost", "LandStarted", "CandidateLanded"]
    assert project.landings() == head == ["one"]


def _forget_from(project: Project, kind: str) -> None:
    """Put the journal back to how a kill just before the first event of a kind leaves it."""
    with sqlite3.connect(project.path / ".git/auto-build/journal.db") as db:
        rows = db.execute("SELECT seq, body FROM event ORDER BY seq").fetchall()
        first = next(seq for seq, body in rows if json.loads(body)["type"] == kind)
        db.execute("DELETE FROM event WHERE seq >= ?", (first,))
    db.close()


async def test_work_found_in_a_slot_after_a_kill_is_pinned_before_the_slot_is_used_again(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", write("one.py", "half\n"), spawn("touch started.log; sleep 300"), hang())
    run = Driver.start(project)
    started = project.slot(1) / "started.log"
    project.wait_until_exists(started)
    run.kill()
    project.agent_forgets()
    project.agent("one", write("one.py", "whole\n"))

    report = await project.run()

    said = [notice.text for notice in report.notices if "unfinished work" in notice.text]
    (text,) = said
    pin = text.rpartition(" ")[2]
    assert project.show("one.py", pin) == "half\n"
    assert project.show("one.py") == "whole\n"


async def test_a_lock_left_by_a_killed_git_is_cleared_and_said(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", write("one.py"))
    await project.run()
    (admin,) = (project.path / ".git/worktrees").iterdir()
    (admin / "index.lock").touch()
    (project.path / ".git/refs/heads/auto-build/001-demo.lock").touch()
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"]))
    project.agent("two", write("two.py"))

    report = await project.run()

    assert report.view.finished
    assert len([notice for notice in report.notices if notice.text.startswith("removed ")]) == 2


# --- the plan, edited between and during runs ---------------------------------------------------


def _chunks(document: Any) -> list[Any]:
    found: list[Any] = document["phases"][0]["chunks"]
    return found


async def _run_two(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"]))
    project.agent("one", write("one.py", "first\n"), attempt=1)
    project.agent("one", edit("one.py", "first", "second"), attempt=2)
    await project.run()


async def test_a_chunk_set_back_to_pending_is_done_again(project: Project) -> None:
    await _run_two(project)
    project.edit_plan(lambda plan: _chunks(plan)[0].update(status="pending"))

    report = await project.run()

    assert report.only(ev.ChunkReset, "one").why == "set back to pending in the plan file"
    assert project.landings() == ["one", "one"]
    assert project.show("one.py") == "second\n"
    assert "001-demo/one/1" in project.pins()


async def test_a_failed_chunk_set_back_to_pending_is_tried_again(project: Project) -> None:
    await _run_two(project)
    assert project.plan_statuses()["two"] == "failed"
    project.agent("two", write("two.py"))
    project.edit_plan(lambda plan: _chunks(plan)[1].update(status="pending"))

    report = await project.run()

    assert report.view.finished
    assert report.only(ev.AttemptStarted, "two").attempt == 2


async def test_a_chunk_marked_completed_by_hand_is_taken_as_done_and_said_to_be(
    project: Project,
) -> None:
    await _run_two(project)
    project.edit_plan(lambda plan: _chunks(plan)[1].update(status="completed"))

    report = await project.run()

    row = report.row("two")
    assert row.label == "skipped"
    assert row.note == "marked as done in the plan file"
    assert report.view.finished


async def test_chunks_added_and_removed_between_runs_are_taken_in(project: Project) -> None:
    await _run_two(project)
    project.agent("three", write("three.py"))

    def change(plan: Any) -> None:
        del _chunks(plan)[1]
        _chunks(plan).append(chunk("three", files=["three.py"]))

    project.edit_plan(change)

    report = await project.run()

    assert report.labels() == {"one": "landed", "three": "landed"}
    said = [notice.text for notice in report.notices]
    assert "the plan was edited: added three; removed two" in said
    assert project.landings() == ["one", "three"]


async def test_a_landed_chunk_taken_out_of_the_plan_and_put_back_does_not_land_twice(
    project: Project,
) -> None:
    await _run_two(project)
    taken_out: list[Any] = []
    project.edit_plan(lambda plan: taken_out.append(_chunks(plan).pop(0)))
    await project.run()
    taken_out[0].pop("auto_build")
    taken_out[0]["status"] = "pending"
    project.edit_plan(lambda plan: _chunks(plan).append(taken_out[0]))

    report = await project.run()

    assert report.labels()["one"] == "landed"
    assert project.landings() == ["one"]


async def test_a_plan_edited_during_the_run_is_not_overwritten(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", say("now"), write("one.py"))
    project.agent("two", write("two.py"))

    def edit_it(update: Update) -> None:
        if isinstance(update.what, Notice) and update.what.text == "now":

            def change(plan: Any) -> None:
                plan["remark"] = "mine"
                _chunks(plan)[0]["description"] = "reworded"
                _chunks(plan).append(chunk("two", files=["two.py"]))

            project.edit_plan(change)

    report = await project.run(on_update=edit_it)

    document = project.plan_document()
    assert document["remark"] == "mine"
    assert _chunks(document)[0]["description"] == "reworded"
    assert [one["id"] for one in _chunks(document)] == ["one", "two"]
    assert project.plan_statuses()["one"] == "completed"
    assert report.labels() == {"one": "landed"}

    assert (await project.run()).labels() == {"one": "landed", "two": "landed"}


async def test_a_plan_torn_during_the_run_is_left_alone_and_said(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", say("now"), write("one.py"))

    def tear(update: Update) -> None:
        if isinstance(update.what, Notice) and update.what.text == "now":
            project.plan_path().write_text('{"phases": [')

    report = await project.run(on_update=tear)

    assert project.plan_path().read_text() == '{"phases": ['
    assert report.warnings.count("left alone") == 1
    assert project.landings() == ["one"]


async def test_unknown_keys_of_a_plan_survive_the_run(project: Project) -> None:
    project.plan(
        phase("p1", chunk("one", files=["one.py"], effort=3, tags=["é"]), colour="red"),
    )
    project.agent("one", write("one.py"))

    await project.run()

    document = project.plan_document()
    assert document["phases"][0]["colour"] == "red"
    assert _chunks(document)[0]["effort"] == 3
    assert _chunks(document)[0]["tags"] == ["é"]
    assert project.plan_statuses() == {"one": "completed"}


async def test_a_staging_branch_moved_back_by_the_user_has_the_chunk_done_again(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", write("one.py"))
    await project.run()
    project.git("reset", "-q", "--hard", "HEAD~", cwd=project.staging)
    assert project.landings() == []

    report = await project.run()

    assert "no longer in staging" in report.only(ev.ChunkReset).why
    assert project.landings() == ["one"]


async def test_a_staging_branch_that_was_deleted_is_made_again_where_it_was(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", write("one.py"))
    await project.run()
    project.git("worktree", "remove", "--force", str(project.staging))
    project.git("branch", "-D", "auto-build/001-demo")

    report = await project.run()

    assert report.of(ev.AttemptStarted) == [], "nothing is paid for twice"
    assert "the staging branch was gone" in report.warnings
    assert project.landings() == ["one"]
    assert project.show("one.py") == "done\n"


async def test_a_merge_that_was_taken_back_leaves_everything_in_staging(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", write("one.py"))
    await project.run()
    with project.user_acts():
        await merge(await Build.open(project.path, "001"), Wish())
    project.git("reset", "--quiet", "--hard", "HEAD@{1}")

    report = await project.run()

    assert report.of(ev.AttemptStarted) == []
    assert report.view.finished
    assert project.show("one.py") == "done\n", "it is in staging again, ready to be merged"


async def test_a_finished_build_run_again_does_nothing(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", sleep(0), write("one.py"))
    await project.run()
    head = project.tree()

    report = await project.run()

    assert [type(event) for event in report.events] == [ev.SessionOpened, ev.SessionClosed]
    assert report.view.finished
    assert project.tree() == head
