"""The commands as a user types them, in a repository of his own: their words and exit codes."""

import os
import shutil
import signal
import subprocess  # noqa: TID251 - what the user types is a process of its own
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.commands import LIMIT_S, auto_build, run_py, type_in
from tests.e2e.project import SPEC, Project, chunk, fail, phase, run_git, sleep, write
from tests.stubs.server import ModelStub


@pytest.fixture
def built(project: Project) -> Project:
    """Return a project whose spec has two chunks that land."""
    project.plan_of(chunk("1-1", files=["x.py"]), chunk("1-2", files=["y.py"]))
    project.agent("1-1", write("x.py"))
    project.agent("1-2", write("y.py"))
    return project


# --- the documented way ---------------------------------------------------------------------------


def test_the_guides_commands_work_to_the_letter_where_init_prepared_the_repository(
    built: Project,
) -> None:
    with built.user_acts():
        assert auto_build(built, "init").code == 0
    built.watch()
    ran = run_py(built, "--spec", "001", "--parallel", "2")
    assert ran.code == 0, ran.out + ran.err
    assert "2 of 2" in ran.out
    assert "python auto-build/run.py --spec 001 --merge" in ran.out
    assert "2 of 2 chunks landed" in run_py(built, "--list").out
    status = run_py(built, "--spec", "001", "--status")
    assert status.code == 0
    assert status.out.count("landed") >= 2
    review = run_py(built, "--spec", "001", "--review")
    assert "x.py" in review.out
    with built.user_acts():
        merged = run_py(built, "--spec", "001", "--merge")
    assert merged.code == 0, merged.err
    assert (built.path / "x.py").read_text() == "done\n"
    assert run_git(built.path, "branch", "--list", "auto-build/*") == ""


def test_run_py_takes_the_sub_commands_too(built: Project) -> None:
    with built.user_acts():
        auto_build(built, "init")
    assert run_py(built, "plan", "check", "001").code == 0
    assert run_py(built, "list", "--json").value["specs"][0]["spec"] == SPEC


def test_init_overwrites_nothing(project: Project) -> None:
    mine = (project.path / "auto-build.toml").read_text()
    with project.user_acts():
        first = auto_build(project, "init", "--json").value
        launcher = project.path / "auto-build" / "run.py"
        launcher.write_text("# mine\n")
        again = auto_build(project, "init", "--json").value
    assert [one["fresh"] for one in first["files"]] == [True, True, False]
    assert [one["fresh"] for one in again["files"]] == [False, False, False]
    assert launcher.read_text() == "# mine\n"
    assert (project.path / "auto-build.toml").read_text() == mine


def test_the_settings_that_init_writes_are_valid(project: Project) -> None:
    with project.user_acts():
        (project.path / "auto-build.toml").unlink()
        auto_build(project, "init")
    with ModelStub() as stub:
        doctor = auto_build(
            project, "doctor", "--json", env={"ANTHROPIC_BASE_URL": stub.url("x")}
        ).value
    assert [one["what"] for one in doctor["findings"] if one["health"] == "bad"] == []
    assert sum("agent" in one["what"] for one in doctor["findings"]) >= 4


def test_run_py_says_what_to_type_where_nothing_is_installed(
    project: Project, tmp_path: Path
) -> None:
    with project.user_acts():
        auto_build(project, "init")
    bare = tmp_path / "bare"
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", str(bare)), check=True)
    clean = {"PATH": "/usr/bin:/bin", "VIRTUAL_ENV": ""}
    told = type_in(project.path, str(bare / "bin/python"), "auto-build/run.py", "--list", env=clean)
    assert told.code == 3
    assert ".venv/bin/pip install" in told.err


def test_run_py_hands_over_to_the_projects_virtual_environment(
    built: Project, tmp_path: Path
) -> None:
    with built.user_acts():
        auto_build(built, "init")
        (built.path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    bare = tmp_path / "bare"
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", str(bare)), check=True)
    told = type_in(built.path, str(bare / "bin/python"), "auto-build/run.py", "--list", "--json")
    assert told.value["specs"][0]["spec"] == SPEC


# --- exit codes -------------------------------------------------------------------------------


def test_a_run_that_ends_with_a_failure_says_who_failed_and_who_is_blocked(
    project: Project,
) -> None:
    project.plan(
        phase("p1", chunk("1-1", files=["x.py"]), chunk("1-2", files=["y.py"])),
        phase("p2", chunk("2-1", files=["z.py"], after=["1-1"])),
    )
    project.agent("1-1", fail("no idea"))
    project.agent("1-2", write("y.py"))
    ran = auto_build(project, "run", "001")
    assert ran.code == 1
    assert "no idea" in ran.out
    assert "blocked" in ran.out
    assert "auto-build retry 001" in ran.out
    refused = auto_build(project, "merge", "001")
    assert refused.code == 1
    assert "2 of 3 chunks have not landed" in refused.err


def test_a_chunk_that_failed_is_done_again_when_asked_for(project: Project) -> None:
    project.plan_of(chunk("1-1", files=["x.py"]))
    project.agent("1-1", fail("no idea"), attempt=1)
    project.agent("1-1", write("x.py"), attempt=2)
    assert auto_build(project, "run", "001").code == 1
    assert auto_build(project, "run", "001").code == 1, "a failure is not tried again unasked"
    assert auto_build(project, "retry", "001", "--failed").code == 0
    assert auto_build(project, "run", "001").code == 0


def test_a_chunk_can_be_skipped_and_its_dependants_go_on(project: Project) -> None:
    project.plan_of(chunk("1-1", files=["x.py"]), chunk("1-2", files=["y.py"], after=["1-1"]))
    project.agent("1-1", fail())
    project.agent("1-2", write("y.py"))
    assert auto_build(project, "run", "001").code == 1
    assert auto_build(project, "skip", "001", "1-1", "--why", "done by hand").code == 0
    assert auto_build(project, "run", "001").code == 0
    assert "done by hand" in auto_build(project, "status", "001").out


def test_a_second_run_is_told_who_holds_the_lock_and_the_status_works_meanwhile(
    project: Project,
) -> None:
    project.plan_of(chunk("1-1", files=["x.py"]))
    project.agent("1-1", sleep(30), write("x.py"))
    with _running(project) as first:
        second = auto_build(project, "run", "001")
        assert second.code == 4
        assert str(first.pid) in second.err
        assert "running" in auto_build(project, "status", "001").out
        assert auto_build(project, "discard", "001", "--yes").code == 4
        first.send_signal(signal.SIGINT)
        assert first.wait(LIMIT_S) == 130
    assert auto_build(project, "status", "001", "--json").value["build"]["open"] is False


def test_sigterm_stops_a_run_so_that_it_can_go_on(project: Project) -> None:
    project.plan_of(chunk("1-1", files=["x.py"]))
    project.agent("1-1", sleep(30), write("x.py"))
    with _running(project) as first:
        first.terminate()
        assert first.wait(LIMIT_S) == 130
    project.agent_forgets()
    project.agent("1-1", write("x.py"))
    assert auto_build(project, "run", "001").code == 0


class _running:  # noqa: N801 - reads as a word where it is used
    """A run in the background, from when its first agent is at work."""

    def __init__(self, project: Project) -> None:
        argv = (sys.executable, "-m", "auto_build", "run", "001", "--json")
        self._run = subprocess.Popen(
            argv, cwd=project.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def __enter__(self) -> "subprocess.Popen[str]":
        assert self._run.stdout is not None
        for line in self._run.stdout:
            if '"AttemptStarted"' in line:
                return self._run
        raise AssertionError("the run ended before an agent started")

    def __exit__(self, *_: object) -> None:
        self._run.kill()
        self._run.communicate()


# --- bad input --------------------------------------------------------------------------------


def test_broken_json_is_told_with_line_and_column(project: Project) -> None:
    project.plan_of(chunk("1-1", files=["x.py"]))
    project.plan_path().write_text('{"phases": [\n  {"id": "p1",,}\n]}')
    told = auto_build(project, "run", "001")
    assert told.code == 2
    assert "line 2, column 15" in told.err
    checked = auto_build(project, "plan", "check", "001", "--json")
    assert checked.code == 2
    assert checked.value["ok"] is False


@pytest.mark.quick
def test_every_problem_of_a_plan_is_told_at_once(project: Project) -> None:
    project.plan_of(
        chunk("1-1", files=["/etc/passwd"]), chunk("1-1", files=["x"]), chunk("2", after=["3"])
    )
    told = auto_build(project, "plan", "check", "001")
    assert told.code == 2
    assert "$.phases[0].chunks[0].files_to_modify[0]" in told.out
    assert "$.phases[0].chunks[1].id" in told.out
    assert "$.phases[0].chunks[2].depends_on[0]" in told.out


def test_a_missing_spec_is_told_with_what_there_is(built: Project) -> None:
    told = auto_build(built, "run", "002")
    assert told.code == 2
    assert SPEC in told.err


def test_an_unknown_agent_is_told_with_those_there_are(built: Project) -> None:
    told = auto_build(built, "run", "001", "--agent", "nobody")
    assert told.code == 2
    assert "scripted" in told.err


def test_wrong_settings_are_told_all_at_once(built: Project) -> None:
    built.write("auto-build.toml", '[run]\nparallel = "many"\nspeed = 3\n')
    told = auto_build(built, "run", "001")
    assert told.code == 2
    assert "run.parallel" in told.err
    assert "run.speed" in told.err


def test_a_folder_that_is_no_repository_is_told(tmp_path: Path, project: Project) -> None:
    told = auto_build(project, "list", "--project-dir", str(tmp_path))
    assert told.code == 3
    assert "git init" in told.err


def test_a_git_that_is_too_old_is_told(built: Project, tmp_path: Path) -> None:
    old = tmp_path / "old" / "git"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho git version 2.30.1\n")
    old.chmod(0o755)
    told = auto_build(built, "run", "001", env={"PATH": f"{old.parent}:{os.environ['PATH']}"})
    assert told.code == 3
    assert "2.38" in told.err


def test_errors_are_json_where_json_is_asked_for(built: Project) -> None:
    told = auto_build(built, "run", "002", "--json")
    assert told.code == 2
    assert told.value["exit_code"] == 2


def test_an_unknown_flag_is_a_usage_error(built: Project) -> None:
    assert auto_build(built, "run", "--sped", "001").code == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of a few megabytes, where that is permitted."""
    where = tmp_path / "small"
    where.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(where))
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield where
    subprocess.run(("umount", str(where)), check=True)


def test_a_full_disk_is_told_and_loses_nothing(small_disk: Path) -> None:
    full = Project.make(small_disk / "proj")
    full.plan_of(*(chunk(f"1-{n}", files=[f"f{n}"]) for n in range(1, 4)))
    for n in range(1, 4):
        full.agent(f"1-{n}", write(f"f{n}", "x\n"))
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    before = run_git(full.path, "rev-parse", "HEAD")
    told = auto_build(full, "run", "001")
    assert told.code in {1, 3}, told.out
    assert "space" in told.err.casefold() + told.out.casefold()
    ballast.unlink()
    assert run_git(full.path, "rev-parse", "HEAD") == before
    assert auto_build(full, "retry", "001", "--failed").code in {0, 1}
    again = auto_build(full, "run", "001")
    assert again.code == 0, again.out + again.err


def test_a_read_only_repository_is_told(built: Project) -> None:
    mount = ("mount", "--bind", str(built.path), str(built.path))
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        again = ("mount", "-o", "remount,ro,bind", str(built.path))
        subprocess.run(again, check=True, capture_output=True)
        told = auto_build(built, "run", "001")
        assert told.code == 3
        assert "written" in told.err
    finally:
        subprocess.run(("umount", str(built.path)), check=True)


# --- staging and the user ---------------------------------------------------------------------


def test_a_merge_over_unsaved_changes_is_refused_and_changes_nothing(built: Project) -> None:
    assert auto_build(built, "run", "001").code == 0
    built.write("x.py", "mine, not committed\n")
    told = auto_build(built, "merge", "001")
    assert told.code == 1
    assert "x.py" in told.err
    assert (built.path / "x.py").read_text() == "mine, not committed\n"


def test_a_merge_beside_unsaved_changes_leaves_them_alone(built: Project) -> None:
    assert auto_build(built, "run", "001").code == 0
    built.write("a.txt", "mine\n")
    with built.user_acts():
        assert auto_build(built, "merge", "001").code == 0
    assert (built.path / "a.txt").read_text() == "mine\n"
    assert (built.path / "y.py").exists()


def test_a_branch_that_moved_meanwhile_is_merged_off_tree(built: Project) -> None:
    assert auto_build(built, "run", "001").code == 0
    built.write("b.txt", "later\n")
    later = built.commit_all("Later")
    with built.user_acts():
        done = auto_build(built, "merge", "001", "--json").value
    assert done["form"] == "merge"
    parents = run_git(built.path, "rev-parse", "HEAD^1", "HEAD^2").split()
    assert parents[0] == later


def test_a_merge_in_conflict_is_handed_to_the_user(built: Project) -> None:
    assert auto_build(built, "run", "001").code == 0
    built.write("x.py", "other\n")
    head = built.commit_all("Other")
    told = auto_build(built, "merge", "001")
    assert told.code == 1
    assert "git merge auto-build-merge/001-demo" in told.err
    assert run_git(built.path, "rev-parse", "HEAD").strip() == head


def test_discard_asks_and_keeps_the_pins(built: Project) -> None:
    assert auto_build(built, "run", "001").code == 0
    pins = built.pins()
    assert auto_build(built, "discard", "001", said="n\n").code == 1
    assert built.staging.is_dir()
    done = auto_build(built, "discard", "001", said="y\n")
    assert done.code == 0, done.err
    assert not built.staging.exists()
    assert built.pins() == pins
    kept = run_git(built.path, "for-each-ref", "refs/auto-build/discarded")
    assert "001-demo" in kept
    assert set(built.plan_statuses().values()) == {"pending"}
    assert auto_build(built, "run", "001").code == 0, "and it can be built again from the start"
    assert len(built.pins()) == 4


def test_clean_removes_only_what_is_landed_or_pinned(built: Project) -> None:
    ran = auto_build(built, "run", "001", "--keep-worktrees")
    assert ran.code == 0
    built.slot(1).joinpath("note.txt").write_text("unfinished\n")
    told = auto_build(built, "clean", "--json").value
    assert any("worker-1" in path for path in told["removed"])
    assert any("not merged" in path for path in told["kept"])
    assert built.pin_holding("note.txt") == "unfinished\n"


def test_logs_tell_the_story_of_a_chunk_with_its_agents_output(built: Project) -> None:
    assert auto_build(built, "run", "001").code == 0
    told = auto_build(built, "logs", "001", "1-1").out
    assert "CandidateLanded" in told
    assert "--- prompt" in told
    assert auto_build(built, "logs", "001", "7-7").code == 2


def test_plan_show_tells_what_can_run_side_by_side(built: Project) -> None:
    told = auto_build(built, "plan", "show", "001", "--json").value
    assert told["waves"] == [["1-1", "1-2"]]
    assert auto_build(built, "plan", "show", "001", "--dot").out.startswith("digraph")
    assert auto_build(built, "plan", "show", "--schema").value["$schema"]


def test_doctor_says_how_to_mend_what_a_killed_run_left(project: Project) -> None:
    project.plan_of(chunk("1-1", files=["x.py"]))
    project.agent("1-1", sleep(30))
    with _running(project) as first:
        first.kill()
        first.wait(LIMIT_S)
    told = auto_build(project, "doctor")
    assert told.code == 0, told.out
    assert "was killed" in told.out
    assert "auto-build run 001-demo" in told.out
    project.agent_forgets()
    project.agent("1-1", write("x.py"))
    assert auto_build(project, "run", "001").code == 0
