"""Several specs in one repository: one has staging, the others wait on their own branches."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess  # noqa: TID251 - what the user types is a process of its own
import sys
from contextlib import closing
from pathlib import Path

import pytest

from auto_build.core import events as ev
from auto_build.delivery import Build
from auto_build.errors import RepositoryUnfit
from auto_build.git.repo import ref_part
from auto_build.history import load_view
from auto_build.journal import FILE
from auto_build.parking import Parking
from auto_build.updates import Update
from auto_build.verifying import verify
from auto_build.workspace import Workspace
from tests.e2e.commands import LIMIT_S, auto_build, run_py
from tests.e2e.project import Driver, Project, chunk, fail, hang, run_git, write

NEXT = "002-next"
LAST = "003-last"
PARKED = "refs/auto-build/parked/001-demo"
GIT = shutil.which("git") or "git"


@pytest.fixture
def two(project: Project) -> Project:
    """Return a project with two specs whose chunks have the same id and write the same file."""
    for spec in ("001-demo", NEXT):
        project.plan_of(chunk("one", files=["one.py"]), spec=spec)
        project.agent("one", write("one.py", f"{spec}\n"), spec=spec)
    return project


async def _park(project: Project, spec: str = "001") -> None:
    await Parking(await Build.open(project.path, spec), lambda _: None).park()


async def _unpark(project: Project, spec: str = "001") -> tuple[str, ...]:
    return (await Parking(await Build.open(project.path, spec), lambda _: None).unpark()).told


def _parked(project: Project, spec: str = "001-demo") -> bool:
    view = load_view(Workspace(project.path, project.path / ".git"), spec)
    assert view is not None
    return view.parked


def _landings(project: Project) -> dict[str, list[str]]:
    """Return for each build which spec and chunk each commit of its own line says it is of."""
    told = "%(trailers:key=Auto-Build-Spec,valueonly,separator=) "
    told += "%(trailers:key=Auto-Build-Chunk,valueonly,separator=)"
    found: dict[str, list[str]] = {}
    for branch in run_git(
        project.path, "for-each-ref", "--format=%(refname:short)", "refs/heads/auto-build/"
    ).split():
        log = run_git(project.path, "log", "--first-parent", f"--format={told}", f"main..{branch}")
        found[branch.removeprefix("auto-build/")] = log.splitlines()
    return found


# --- a queue --------------------------------------------------------------------------------------


def test_a_queue_builds_each_spec_on_its_own_branch_and_parks_it_for_the_next(two: Project) -> None:
    two.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"]), spec=LAST)
    two.agent("one", write("one.py", "last\n"), spec=LAST)
    two.agent("two", fail(), spec=LAST)
    two.watch()

    ran = auto_build(two, "run", "001", "003", "002")

    assert ran.code == 1
    assert "parked 001-demo (finished, waiting for your approval)" in ran.out
    *_, first, second, third = ran.out.splitlines()
    assert first.split(maxsplit=2)[1:] == [
        "001-demo",
        "parked, finished, waiting for your approval; next: auto-build merge 001-demo",
    ]
    assert "parked, unfinished, 1 of 2 chunks landed, 1 failed; next: auto-build run 003" in second
    assert third.split(maxsplit=1)[1].startswith("002-next  finished, waiting")
    assert _landings(two) == {
        "001-demo": ["001-demo one"],
        NEXT: [f"{NEXT} one"],
        LAST: [f"{LAST} one"],
    }
    assert (two.staging / "one.py").read_text() == f"{NEXT}\n"

    again = auto_build(two, "run", "001", "002", "--json")  # what is through is not begun again
    lines = [json.loads(line) for line in again.out.splitlines()]
    assert [(one["type"], one.get("spec"), one.get("skipped")) for one in lines] == [
        ("Summary", "001-demo", True),
        ("Summary", NEXT, True),
        ("Total", None, None),
    ]
    assert again.code == lines[-1]["exit_code"] == 0


def test_a_queue_can_stop_at_the_first_that_fails_and_goes_on_with_the_same_command(
    two: Project,
) -> None:
    two.agent_forgets()
    two.agent("one", fail())

    with two.user_acts():
        auto_build(two, "init")
    queue = ("--spec", "001", "--spec", "002")
    ran = run_py(two, *queue, "--stop-on-failure")

    assert ran.code == 1
    assert "1 of 2 specs" in ran.out
    assert list(_landings(two)) == ["001-demo"]
    two.agent_forgets()
    two.agent("one", write("one.py"))
    assert auto_build(two, "retry", "001", "--failed").code == 0
    ran = run_py(two, *queue)
    assert ran.code == 0, ran.out + ran.err
    assert _parked(two)


def test_an_interrupted_queue_goes_on_with_the_one_that_was_interrupted(two: Project) -> None:
    two.agent_forgets(NEXT)
    two.agent("one", write("begun.txt"), hang(), spec=NEXT)
    two.watch()
    queue = (sys.executable, "-m", "auto_build", "run", "001", "002")
    with subprocess.Popen(queue, cwd=two.path, stdout=subprocess.PIPE, text=True) as running:
        two.wait_until_exists(two.slot(1) / "begun.txt")
        running.send_signal(signal.SIGINT)
        told, _ = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 130
    assert "Go on with: auto-build run 001 002\n" in told
    two.agent_forgets(NEXT)
    two.agent("one", write("one.py"), spec=NEXT)

    again = auto_build(two, "run", "001", "002")

    assert again.code == 0
    assert "001-demo: nothing to do, it is parked, finished" in again.out
    assert _landings(two) == {"001-demo": ["001-demo one"], NEXT: [f"{NEXT} one"]}


def test_a_queue_is_refused_before_anything_is_begun(two: Project) -> None:
    twice = auto_build(two, "run", "001", "001")
    assert (twice.code, "001-demo is named twice" in twice.err) == (2, True)
    two.plan_path(NEXT).write_text("{")
    assert auto_build(two, "run", "001", "002").code == 2
    assert _landings(two) == {}


# --- another build has staging -------------------------------------------------------------------


def test_a_run_says_how_the_build_stands_that_has_staging_and_parks_it_when_asked_to(
    two: Project,
) -> None:
    assert auto_build(two, "run", "001").code == 0

    refused = auto_build(two, "run", "002")

    assert refused.code == 3
    assert "holds another build, auto-build/001-demo: finished, waiting for" in refused.err
    for way in ("park", "merge", "discard"):
        assert f"auto-build {way} 001-demo" in refused.err
    assert auto_build(two, "run", "002", "--park").code == 0
    assert "001-demo  1 of 1 chunks landed, ready to review and merge, parked" in (
        auto_build(two, "list").out
    )
    assert "auto-build unpark 001" in auto_build(two, "status", "001").out
    refused = auto_build(two, "unpark", "001")
    assert (refused.code, f"holds another build, auto-build/{NEXT}" in refused.err) == (3, True)
    assert _landings(two) == {"001-demo": ["001-demo one"], NEXT: [f"{NEXT} one"]}


async def test_a_parked_build_is_verified_merged_and_discarded_where_it_is(two: Project) -> None:
    await two.run()
    await _park(two)
    await two.run(NEXT)
    build = await Build.open(two.path, "001")
    assert (await verify(build)).findings == ()
    told = auto_build(two, "review", "001", "--plain").out
    assert "unpark" in told

    with two.user_acts():
        assert auto_build(two, "merge", "001").code == 0
    assert (two.path / "one.py").read_text() == "001-demo\n"
    assert (two.staging / "one.py").read_text() == f"{NEXT}\n"

    await _park(two, "002")
    assert auto_build(two, "discard", "002", "--yes").code == 0
    assert _landings(two) == {}
    assert not two.staging.exists()


async def test_what_was_unsaved_comes_back_and_a_run_unparks_by_itself(two: Project) -> None:
    await two.run()
    (two.staging / "a.txt").write_text("tried\n")
    (two.staging / "new.txt").write_text("new\n")
    await _park(two)
    await _park(two)  # nothing more is done
    assert not two.staging.exists()
    assert _parked(two)

    report = await two.run()

    assert report.view.finished
    assert not report.view.parked
    assert (two.staging / "a.txt").read_text() == "tried\n"
    assert run_git(two.staging, "status", "--porcelain").splitlines() == [" M a.txt", "?? new.txt"]

    run_git(two.staging, "checkout", "a.txt")
    (two.staging / "new.txt").unlink()
    await _park(two)
    assert await _unpark(two) == ()  # what came back once does not come again
    (two.staging / "new.txt").write_text("new\n")
    await _park(two)
    moved = run_git(
        two.path, "commit-tree", "-p", two.branch(), "-m", "x", f"{two.branch()}^{{tree}}"
    )
    run_git(two.path, "update-ref", two.branch(), moved.strip())
    (told,) = await _unpark(two)
    assert "cherry-pick --no-commit refs/auto-build/parked/001-demo/" in told
    run_git(two.staging, "cherry-pick", "--no-commit", told.split()[-1])
    assert (two.staging / "new.txt").read_text() == "new\n"


async def test_an_undo_unparks_and_needs_the_place_to_be_free(two: Project) -> None:
    await two.run()
    await _park(two)
    await two.run(NEXT)
    refused = auto_build(two, "undo", "one", "--spec", "001")
    assert (refused.code, f"another build, auto-build/{NEXT}" in refused.err) == (3, True)
    assert auto_build(two, "undo", "one", "--dry-run", "--json").value["spec"] == NEXT
    await _park(two, "002")

    assert auto_build(two, "undo", "one", "--spec", "001").code == 0

    assert not _parked(two)
    assert not (two.staging / "one.py").exists()
    assert (await verify(await Build.open(two.path, "001"))).findings == ()


@pytest.mark.parametrize(
    ("command", "moment"),
    [
        ("park", "commit-tree"),
        ("park", f"update-ref -m auto-build {PARKED}"),
        ("park", "worktree remove"),
        ("unpark", "worktree add"),
        ("unpark", "read-tree -m -u"),
        ("unpark", f"update-ref -m auto-build {PARKED}"),
    ],
)
async def test_killed_in_the_middle_of_parking_the_same_command_comes_to_its_end(
    two: Project, tmp_path: Path, command: str, moment: str
) -> None:
    await two.run()
    (two.staging / "new.txt").write_text("new\n")
    if command == "unpark":
        await _park(two)
    killer = tmp_path / "bin" / "git"
    killer.parent.mkdir()
    killer.write_text(
        f'#!/bin/sh\n"{GIT}" "$@"\ncode=$?\n'
        f'case "$*" in *"{moment}"*) kill -9 $PPID;; esac\nexit $code\n'
    )
    killer.chmod(0o755)

    path = f"{killer.parent}{os.pathsep}{os.environ['PATH']}"
    assert auto_build(two, command, "001", env={"PATH": path}).code == -9
    done = auto_build(two, command, "001")

    assert done.code == 0, done.err
    assert _parked(two) == (command == "park")
    if command == "park":
        await _unpark(two)
    assert (two.staging / "new.txt").read_text() == "new\n"
    assert _landings(two) == {"001-demo": ["001-demo one"]}


# --- nothing lands on another's branch ------------------------------------------------------------


async def test_staging_on_another_branch_is_not_written_to_by_a_landing(two: Project) -> None:
    await two.run()
    await _park(two)
    two.plan_of(chunk("one", files=["one.py"]), chunk("two", after=["one"]), spec=NEXT)
    two.agent("two", write("two.py"), spec=NEXT)

    def switch(update: Update) -> None:
        if isinstance(getattr(update.what, "event", None), ev.CandidateLanded):
            run_git(two.staging, "checkout", "--quiet", "auto-build/001-demo")

    report = await two.run(NEXT, on_update=switch)

    assert report.view.finished
    assert [one.view != "" for one in report.of(ev.CandidateLanded)] == [False, True]
    assert run_git(two.staging, "status", "--porcelain") == ""
    assert (two.staging / "one.py").read_text() == "001-demo\n"
    assert _landings(two) == {"001-demo": ["001-demo one"], NEXT: [f"{NEXT} two", f"{NEXT} one"]}
    with pytest.raises(RepositoryUnfit, match="holds another build, auto-build/001-demo: parked"):
        await two.run(NEXT)


async def test_what_a_killed_run_left_in_a_slot_is_not_taken_for_another_specs_work(
    two: Project,
) -> None:
    two.agent_forgets()
    two.agent("one", write("half.txt"), hang())
    run = Driver.start(two)
    two.wait_until_exists(two.slot(1) / "half.txt")
    run.kill()
    run_git(two.path, "worktree", "remove", "--force", str(two.staging))

    await two.run(NEXT)

    pins = {name.rpartition("/")[0]: commit for name, commit in two.pins().items()}
    assert set(pins) == {"001-demo/worker-1", f"{NEXT}/one"}
    assert "half.txt" in two.tree(pins["001-demo/worker-1"])
    assert "half.txt" not in two.tree(two.branch(NEXT))


async def test_what_landed_for_another_spec_is_no_landing_of_this_one(two: Project) -> None:
    await two.run()
    with two.user_acts():
        auto_build(two, "merge", "001")
    foreign = run_git(two.path, "rev-parse", "main").strip()

    def cut_off(update: Update) -> None:
        if isinstance(getattr(update.what, "event", None), ev.LandStarted):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await two.run(NEXT, on_update=cut_off)
    with closing(sqlite3.connect(two.path / ".git" / "auto-build" / FILE)) as db, db:
        change = "UPDATE event SET body = json_set(body, '$.candidate', ?)"
        where = "spec = ? AND json_extract(body, '$.type') = 'CandidatePassed'"
        assert db.execute(f"{change} WHERE {where}", (foreign, NEXT)).rowcount == 1

    report = await two.run(NEXT)

    assert [one.chunk for one in report.of(ev.LandingVoided)] == ["one"]
    assert _landings(two) == {NEXT: [f"{NEXT} one"]}


@pytest.mark.quick
async def test_specs_whose_branches_could_be_taken_for_each_other_are_refused(
    project: Project,
) -> None:
    long = "9" * 120
    for spec in ("001-A", "001-a", long, ref_part(long), "002-b"):
        project.plan_of(chunk("one"), spec=spec)
    project.git("update-ref", "refs/heads/auto-build/002-B", "HEAD")
    for spec, other in [
        ("001-A", "001-a"),
        ("001-a", "001-A"),
        (long, ref_part(long)),
        ("002-b", "auto-build/002-B"),
    ]:
        with pytest.raises(RepositoryUnfit, match=f"{spec} and {other} would have the same branch"):
            await project.run(spec)
    assert not project.staging.exists()
