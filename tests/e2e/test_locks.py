"""Two coordinators at once: one works, the other is told who does."""

import asyncio
import os

import pytest

from auto_build import Notice, Update
from auto_build.errors import RunLocked
from tests.e2e.project import Driver, Project, chunk, say, shell, sleep, write


@pytest.mark.slow
async def test_a_second_coordinator_is_told_who_holds_the_lock_and_the_first_is_unharmed(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"], after=["one"]))
    project.agent(
        "one", write("one.py"), say("at work"), shell("until test -e go.log; do sleep 0.05; done")
    )
    project.agent("two", write("two.py"))
    at_work = asyncio.Event()

    def listen(update: Update) -> None:
        if isinstance(update.what, Notice) and update.what.text == "at work":
            at_work.set()

    first = asyncio.create_task(project.run(on_update=listen))
    await at_work.wait()

    with pytest.raises(RunLocked, match=f"process {os.getpid()} on .*, building 001-demo") as told:
        await project.run()
    assert told.value.exit_code == 4
    assert told.value.hint
    assert project.slot(1).is_dir()

    code, lines = await asyncio.to_thread(lambda: Driver.start(project).end())
    assert code == 4
    assert f"process {os.getpid()}" in lines[-1]["error"]

    (project.slot(1) / "go.log").touch()
    report = await first
    assert report.view.finished
    assert project.landings() == ["one", "two"]


@pytest.mark.slow
async def test_a_run_in_another_process_holds_the_lock_and_lets_it_go_at_its_end(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", write("one.py"), sleep(1.5))
    first = Driver.start(project)
    first.wait_for("AttemptStarted")

    with pytest.raises(RunLocked, match=f"process {first.process.pid} on "):
        await project.run()

    code, lines = first.end()
    assert code == 0
    assert lines[-1]["labels"] == {"one": "landed"}
    assert (await project.run()).view.finished
    assert project.landings() == ["one"]
