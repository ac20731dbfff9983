"""Worlds that nobody plans for: what agents break, where users stand, what signals cut off."""

import os
import signal
import subprocess  # noqa: TID251 - what the user types is a process of its own
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from auto_build.core.events import CandidateLanded
from tests.e2e.project import SPEC, Driver, Project, chunk, run_git, shell, sleep, write

_LIMIT_S = 60.0
_STRICT_OUTPUT = "utf-8:strict"  # as in a locale that is not C


@dataclass(frozen=True)
class Typed:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def typed(argv: Sequence[str], where: Path) -> Typed:
    """Type a command in a folder."""
    done = subprocess.run(
        argv,
        cwd=where,
        env={**os.environ, "PYTHONIOENCODING": _STRICT_OUTPUT},
        capture_output=True,
        timeout=_LIMIT_S,
    )
    out, err = (raw.decode("utf-8", "surrogateescape") for raw in (done.stdout, done.stderr))
    assert "Traceback" not in err, err
    return Typed(done.returncode, out, err)


def auto_build(project: Project, *args: str) -> Typed:
    return typed((sys.executable, "-m", "auto_build", *args), project.path)


def in_shell(project: Project, line: str) -> Typed:
    """Type a shell line in which $AB is the program."""
    program = f'AB="{sys.executable} -m auto_build"; {line}'
    return typed(("bash", "-c", program), project.path)


def remove_from_slot(project: Project) -> None:
    """Remove what an agent put in the first worker's place, as a person would."""
    project.slot(1).unlink()
    project.git("worktree", "prune")


@pytest.fixture
def built(project: Project) -> Project:
    """Return a project whose spec has been built and waits in staging."""
    project.plan_of(chunk("1-1", files=["x.py"]), chunk("1-2", files=["y.py"]))
    project.agent("1-1", write("x.py"))
    project.agent("1-2", write("y.py"))
    project.commit_all("Specs")
    assert auto_build(project, "run", SPEC).code == 0
    return project


# --- what an agent leaves -------------------------------------------------------------------------


async def test_a_link_to_the_users_checkout_in_a_workers_place_harms_nothing(
    project: Project,
) -> None:
    project.plan_of(chunk("1-1", files=["x.py"], verify="true"))
    project.agent(
        "1-1", shell("cd .. && rm -rf auto-build-worker-1 && ln -s .. auto-build-worker-1")
    )
    project.write("unsaved.txt", "mine\n")

    report = await project.run()

    assert report.labels() == {"1-1": "failed"}
    assert "worktree is gone" in report.row("1-1").note
    assert project.slot(1).is_symlink()
    assert str(project.slot(1)) in auto_build(project, "clean").out
    remove_from_slot(project)


async def test_a_file_in_a_workers_place_fails_only_its_chunk(project: Project) -> None:
    project.plan_of(chunk("1-1", files=["x.py"]), chunk("1-2", files=["y.py"]))
    project.agent("1-1", shell("cd .. && rm -rf auto-build-worker-1 && touch auto-build-worker-1"))
    project.agent("1-2", sleep(0.5), write("y.py"))

    report = await project.run()

    assert report.labels() == {"1-1": "failed", "1-2": "landed"}
    remove_from_slot(project)


async def test_a_worktrees_link_of_no_text_is_mended(project: Project) -> None:
    project.plan_of(chunk("1-1", files=["x.py"], verify="true"))
    project.agent("1-1", write("x.py"), shell(r"rm .git; printf '\377' > .git"))

    report = await project.run()

    assert report.labels() == {"1-1": "landed"}


async def test_what_git_collected_between_two_runs_is_made_again(project: Project) -> None:
    project.plan_of(chunk("1-1", files=["x.py"], verify="grep -q good x.py"))
    project.agent("1-1", write("x.py", "bad\n"))
    project.agent("1-1", write("x.py", "good\n"), round=1)
    await project.run(max_iterations=1)
    project.git("gc", "--quiet", "--prune=now")

    report = await project.run()

    assert report.only(CandidateLanded).chunk == "1-1"


@pytest.mark.parametrize("ignored", [False, True])
def test_a_write_protected_folder_of_an_agents_is_removed_all_the_same(
    project: Project, ignored: bool
) -> None:
    project.write(".gitignore", "cache/\n" if ignored else "")
    project.commit_all("Ignore")
    project.plan_of(chunk("1-1", files=["x.py"]))
    project.agent("1-1", write("x.py"), write("cache/a/b"), shell("chmod -R a-w cache"))

    ended = in_shell(project, f"{_without_root_powers()} $AB run {SPEC}")

    assert ended.code == 0, ended.err
    assert not project.slot(1).exists()


def _without_root_powers() -> str:
    if os.geteuid() != 0:
        return ""
    powers = "-dac_override,-dac_read_search,-fowner"
    return f"setpriv --bounding-set={powers} --inh-caps={powers}"


# --- signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_git_takes_the_work_loses_nothing(project: Project, times: int) -> None:
    project.write(".gitattributes", "*.slow filter=slow\n")
    project.commit_all("A slow filter")
    project.git("config", "filter.slow.clean", f"touch '{project.path}-taken'; sleep 2; cat")
    project.plan_of(chunk("1-1", files=["x.slow"]))
    project.agent("1-1", write("x.slow", "dear\n"))
    run = subprocess.Popen(
        (sys.executable, "-m", "auto_build", "run", SPEC),
        cwd=project.path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    project.wait_until_exists(Path(f"{project.path}-taken"))
    for _ in range(times):
        run.send_signal(signal.SIGINT)
        time.sleep(0.3)
    _, err = run.communicate(timeout=_LIMIT_S)

    assert run.returncode == 130
    assert "Traceback" not in err
    assert project.pin_holding("x.slow") == "dear\n"


def test_closing_the_terminal_ends_a_run_tidily(project: Project) -> None:
    project.plan_of(chunk("1-1", files=["x.py"]))
    project.agent("1-1", write("x.py"), shell("touch begun.log; sleep 60"))
    run = subprocess.Popen(
        (sys.executable, "-m", "auto_build", "run", SPEC),
        cwd=project.path,
        stdout=subprocess.DEVNULL,
    )
    project.wait_until_exists(project.slot(1) / "begun.log")
    run.send_signal(signal.SIGHUP)

    assert run.wait(_LIMIT_S) == 130
    assert project.pin_holding("x.py") == "done\n"
    project.check_nothing_left()


@pytest.mark.parametrize("form", ["", "--json"])
def test_a_run_whose_output_nobody_reads_says_that_it_was_broken_off(
    project: Project, form: str
) -> None:
    project.plan_of(chunk("1-1", files=["x.py"]))
    project.agent("1-1", sleep(0.5), write("x.py"))

    ended = in_shell(project, f"$AB run {SPEC} {form} | head -1; exit ${{PIPESTATUS[0]}}")

    assert ended.code == 130
    assert auto_build(project, "run", SPEC).code == 0


# --- discard, clean and merge where the user stands oddly -----------------------------------------


def test_discard_is_refused_where_staging_holds_what_git_cannot_keep(built: Project) -> None:
    (built.staging / "mine.txt").write_text("mine\n")
    inner = built.staging / "lib"
    inner.mkdir()
    run_git(inner, "init", "--quiet")
    run_git(inner, "-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "x", "--allow-empty")

    refused = auto_build(built, "discard", SPEC, "--yes")

    assert refused.code == 1
    assert "a git repository of its own in lib" in refused.err
    assert (built.staging / "mine.txt").read_text() == "mine\n"


def test_discard_never_deletes_the_branch_that_the_user_is_on(built: Project) -> None:
    built.git("worktree", "remove", ".worktrees/auto-build")
    built.git("checkout", "--quiet", f"auto-build/{SPEC}")

    refused = auto_build(built, "discard", SPEC, "--yes")

    assert refused.code == 1
    assert str(built.path) in refused.err
    assert built.git("rev-parse", "HEAD") == built.git("rev-parse", built.branch())


def test_clean_never_deletes_a_branch_of_the_users(built: Project) -> None:
    assert auto_build(built, "merge", SPEC, "--partial").code == 0
    run_git(built.staging, "checkout", "--quiet", "-b", "my-idea")

    told = auto_build(built, "clean")

    assert "my-idea" in told.out
    assert "my-idea" in built.git("branch")
    assert built.staging.is_dir()


def test_a_merge_in_another_worktree_leaves_staging_whole(built: Project) -> None:
    other = built.path.parent / "other"
    built.git("worktree", "add", "--quiet", "-b", "side", str(other))

    merged = typed((sys.executable, "-m", "auto_build", "merge", SPEC), other)

    assert merged.code == 0
    assert "left in place" in merged.out
    assert run_git(built.staging, "status", "--porcelain") == ""


def test_a_merge_on_no_branch_keeps_the_build_s_branch(built: Project) -> None:
    built.git("checkout", "--quiet", "--detach")

    merged = auto_build(built, "merge", SPEC)

    assert merged.code == 0
    assert "you are on no branch" in merged.out
    assert built.git("rev-parse", "HEAD") == built.git("rev-parse", built.branch())


def test_a_merge_in_the_middle_of_a_rebase_is_refused(built: Project) -> None:
    built.write("new.txt", "1\n")
    built.commit_all("To be edited")
    built.git("-c", "sequence.editor=sed -i s/pick/edit/", "rebase", "--quiet", "-i", "HEAD~1")
    before = built.git("rev-parse", "HEAD")

    refused = auto_build(built, "merge", SPEC)

    assert refused.code == 1
    assert "in the middle of a rebase" in refused.err
    assert built.git("rev-parse", "HEAD") == before


def test_a_wish_dies_with_the_build_that_it_was_for(built: Project) -> None:
    assert auto_build(built, "skip", SPEC, "1-1").code == 0
    assert auto_build(built, "discard", SPEC, "--yes").code == 0

    assert auto_build(built, "run", SPEC).code == 0

    assert sorted(built.landings()) == ["1-1", "1-2"]


# --- odd repositories -----------------------------------------------------------------------------


async def test_another_specs_landings_are_not_taken_for_this_ones(project: Project) -> None:
    for spec in ("001-demo-more", SPEC):
        project.plan_of(chunk("1-1", files=[f"{spec}.py"]), spec=spec)
        project.agent("1-1", write(f"{spec}.py"), spec=spec)
    await project.run("001-demo-more")
    with project.user_acts():
        assert auto_build(project, "merge", "001-demo-more").code == 0

    report = await project.run()

    assert report.only(CandidateLanded).chunk == "1-1"
    assert f"{SPEC}.py" in project.tree()


async def test_agents_see_the_whole_tree_of_a_sparse_checkout(project: Project) -> None:
    project.write("far/a.txt", "a\n")
    project.commit_all("Far")
    project.git("sparse-checkout", "set", "--cone", "auto-build")
    project.plan_of(chunk("1-1", files=["far/b.txt"], verify="cat far/a.txt far/b.txt"))
    project.agent("1-1", write("far/b.txt"))

    report = await project.run()

    assert report.labels() == {"1-1": "landed"}
    assert not (project.path / "far").exists()


async def test_a_repository_with_sha256_object_ids_works(tmp_path: Path, project: Project) -> None:
    path = tmp_path / "sha256"
    path.mkdir()
    run_git(path, "init", "--quiet", "--initial-branch=main", "--object-format=sha256")
    other = Project(path)
    other.git("config", "user.name", "Ada")
    other.git("config", "user.email", "ada@example.org")
    other.write("auto-build.toml", (project.path / "auto-build.toml").read_text())
    other.commit_all("Start")
    other.plan_of(chunk("1-1", files=["x.py"]))
    other.agent("1-1", write("x.py"))

    report = await other.run()

    assert report.labels() == {"1-1": "landed"}
    assert auto_build(other, "merge", SPEC).code == 0


async def test_an_exclude_file_that_is_not_utf8_is_kept_as_it_is(project: Project) -> None:
    exclude = project.path / ".git" / "info" / "exclude"
    exclude.write_bytes(b"# caf\xe9")
    project.plan_of(chunk("1-1", files=["x.py"]))
    project.agent("1-1", write("x.py"))

    await project.run()

    assert exclude.read_bytes() == b"# caf\xe9\n/.worktrees/\n"


def test_a_file_where_the_worktrees_should_be_is_told(project: Project) -> None:
    project.plan_of(chunk("1-1", files=["x.py"]))
    (project.path / ".worktrees").write_text("mine\n")

    refused = auto_build(project, "run", SPEC)

    assert refused.code == 3
    assert ".worktrees is in the way" in refused.err


def test_a_plan_that_is_a_link_stays_one(project: Project) -> None:
    plan = project.plan_of(chunk("1-1", files=["x.py"]))
    project.agent("1-1", write("x.py"))
    real = plan.rename(plan.with_name("real.json"))
    plan.symlink_to(real.name)

    assert auto_build(project, "run", SPEC).code == 0

    assert plan.is_symlink()
    assert '"completed"' in real.read_text(encoding="utf-8")


# --- texts that are none --------------------------------------------------------------------------


def test_bytes_that_are_no_text_are_shown_as_they_are(project: Project) -> None:
    project.plan_of(chunk("1-1", files=["x.py"]))
    project.agent("1-1", shell(r"printf 'caf\351\n' > x.py; printf 1 > \"$(printf 'n\351')\""))
    assert auto_build(project, "run", SPEC).code == 0

    assert "+caf\udce9\n" in auto_build(project, "review", SPEC, "--diff").out
    assert "n\N{REPLACEMENT CHARACTER}" in auto_build(project, "review", SPEC).out
    assert auto_build(project, "review", SPEC, "--json").code == 0


def test_a_nul_in_a_plan_is_a_problem_of_the_plan(project: Project) -> None:
    project.plan_of(chunk("1-1", files=["x.py"], verify="echo a\0b"))

    refused = auto_build(project, "run", SPEC)

    assert refused.code == 2
    assert "holds a NUL" in refused.err


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        ('[environment]\nset = {"A=B" = "x"}', "environment.set"),
        ('[environment]\nset = {"A" = "x\\u0000"}', "environment.set.A"),
        ('[agents.other]\nargv = ["a\\u0000"]', "argv.0"),
        ('[gate]\nchecks = [""]', "gate.checks.0"),
    ],
)
def test_settings_that_no_program_can_be_given_are_told(
    project: Project, lines: str, place: str
) -> None:
    project.plan_of(chunk("1-1", files=["x.py"]))
    project.settings(lines)

    refused = auto_build(project, "run", SPEC, "--agent", "scripted")

    assert refused.code == 2
    assert place in refused.err


def test_a_folder_that_was_deleted_beneath_the_user_is_told(project: Project) -> None:
    gone = project.path.parent / "gone"

    refused = in_shell(project, f"mkdir '{gone}'; cd '{gone}'; rmdir '{gone}'; $AB list")

    assert refused.code == 3


async def test_an_agent_that_kills_its_own_guard_is_ended_all_the_same(project: Project) -> None:
    project.plan_of(chunk("1-1", files=["x.py"]), chunk("1-2", files=["y.py"]))
    project.agent("1-1", shell("kill -9 $PPID; (setsid sleep 300 &); sleep 300"), write("x.py"))
    project.agent("1-2", write("y.py"))

    report = await project.run()

    assert report.labels() == {"1-1": "landed", "1-2": "landed"}
    assert report.view.times.worked_s < 30, "nobody waits for what has lost its guard"
    project.check_nothing_left()


def test_what_a_killed_run_and_its_killed_guards_left_is_ended_by_the_next_run(
    project: Project,
) -> None:
    project.plan_of(chunk("1-1", files=["x.py"]))
    project.agent("1-1", shell("touch begun.log; sleep 300"), attempt=1)
    run = Driver.start(project)
    project.wait_until_exists(project.slot(1) / "begun.log")
    guards = psutil.Process(run.process.pid).children()
    for guard in guards:
        guard.suspend()  # or it ends its program as soon as the coordinator is gone
    for process in (psutil.Process(run.process.pid), *guards):
        process.kill()
    run.kill()
    assert project.left_processes() != [], "an orphan is left"
    project.agent_forgets()
    project.agent("1-1", write("x.py"))

    code, _ = Driver.start(project).end()

    assert code == 0
    assert project.landings() == ["1-1"]
    project.check_nothing_left()
