"""Checks that misbehave: each is bounded and told of, and the run goes on without it.

What a check leaves in its worktree is taken back, and nothing that it started lives on; the second
is seen to after every test, by `the_user_is_safe`.
"""

import resource
from dataclasses import dataclass

import psutil
import pytest

from auto_build.core import events as ev
from auto_build.process import LOG_LIMIT
from tests.e2e.project import Project, Report, chunk, run_git, write

LIMIT_MIN = 0.05
HELD_MB = 300  # what may be held in memory of a gigabyte
HOLDS_WHAT_IT_SHOULD = 'test "$(cat a.txt)" = "$(printf "a\\nb\\nc")" && ! test -e left.txt'


@dataclass(frozen=True)
class Hostile:
    """A command, whether it is green all the same, and what is told of it."""

    command: str
    green: bool
    told: str = ""


TOO_LONG = "stopped after its time limit of 3 s"
SLEEP = "sleep 600"
CHECKS = {
    "hangs": Hostile(SLEEP, green=False, told=TOO_LONG),
    "hangs and will not be told": Hostile(
        "trap '' TERM INT HUP; while :; do sleep 1; done", green=False, told=TOO_LONG
    ),
    "stops itself": Hostile("kill -STOP $$; sleep 600", green=False, told=TOO_LONG),
    "asks at the terminal": Hostile("read answer < /dev/tty", green=False, told="/dev/tty"),
    "asks on its input": Hostile("python3 -c 'input()'", green=False, told="EOFError"),
    "waits for what is never typed": Hostile("cat; read answer", green=False, told="exit code 1"),
    "kills its shell": Hostile("kill -KILL $$", green=False, told="exit code 137"),
    "leaves children behind": Hostile(
        f"{SLEEP} & nohup {SLEEP} > /dev/null 2>&1 & (setsid {SLEEP} &); true", green=True
    ),
    "leaves a daemon that nobody knows any more": Hostile(
        f"(env -i setsid sh -c 'cd /; trap \"\" TERM; {SLEEP}; :' < /dev/null > /dev/null 2>&1 &)",
        green=True,
    ),
    "writes into the tree": Hostile(
        "echo broken > a.txt; echo x > left.txt", green=True, told="wrote a.txt, left.txt"
    ),
    "makes a commit": Hostile(
        "echo x > left.txt; git add -A; git commit -qm stray",
        green=True,
        told="moved its worktree to another commit",
    ),
    "deletes its worktree": Hostile('rm -rf "$PWD"', green=True, told="deleted its worktree"),
    "deletes what makes it a worktree": Hostile(
        "rm .git; git add -A; git commit -qm stray; true", green=True, told="deleted its worktree"
    ),
    "makes a repository of its own": Hostile(
        "rm .git; git init -q; echo x > left.txt; git add -A;"
        " git -c user.name=x -c user.email=x@y commit -qm stray",
        green=True,
        told="deleted its worktree",
    ),
    "has git remove its worktree": Hostile(
        'git worktree remove --force "$PWD"', green=True, told="deleted its worktree"
    ),
    "deletes git's folder of its worktree": Hostile(
        'rm -rf "$(git rev-parse --absolute-git-dir)"', green=True, told="its worktree"
    ),
    "leaves git's lock behind": Hostile(
        'echo broken > a.txt; touch "$(git rev-parse --git-path index.lock)"',
        green=True,
        told="wrote a.txt",
    ),
    "breaks git's index": Hostile('echo broken > "$(git rev-parse --git-path index)"', green=True),
}


@pytest.mark.parametrize("name", CHECKS)
async def test_as_a_verification_it_fails_alone_and_the_others_land(
    project: Project, name: str
) -> None:
    hostile = CHECKS[name]
    project.plan_of(
        chunk("bad", files=["bad.py"], verify=hostile.command),
        chunk("good", files=["good.py"], verify=HOLDS_WHAT_IT_SHOULD),
        chunk("next", files=["next.py"], verify="test -f good.py", after=["good"]),
    )
    for one in ("bad", "good", "next"):
        project.agent(one, write(f"{one}.py"))

    report = await project.run(check_timeout_min=LIMIT_MIN, repair_rounds=0)

    bad = "landed" if hostile.green else "failed"
    assert report.labels() == {"bad": bad, "good": "landed", "next": "landed"}
    assert hostile.told in (told(report) if hostile.green else report.row("bad").note)
    assert project.tree().keys() >= {"good.py", "next.py"}
    check_nothing_came_of_it(project)


@pytest.mark.parametrize("name", [one for one in CHECKS if one != "stops itself"])
async def test_as_a_check_of_the_project_it_keeps_nobody_from_landing(
    project: Project, name: str
) -> None:
    hostile = CHECKS[name]
    quoted = hostile.command.replace("\\", "\\\\").replace('"', '\\"')
    project.settings(f"[gate]\nchecks = [\"{quoted}\", '{HOLDS_WHAT_IT_SHOULD}']")
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"]))
    for one in ("one", "two"):
        project.agent(one, write(f"{one}.py"))

    report = await project.run(check_timeout_min=LIMIT_MIN)

    assert report.labels() == {"one": "landed", "two": "landed"}
    on_base, holds = report.only(ev.BaseChecked).checks
    assert (on_base.passed, holds.passed) == (hostile.green, True)
    assert hostile.told in (told(report) if hostile.green else on_base.note + on_base.output)
    if not hostile.green:
        assert "it is red on the unchanged base" in report.warnings
        assert hostile.command in report.row("one").unverified
    check_nothing_came_of_it(project)


async def test_nothing_that_a_check_started_is_there_while_the_next_one_runs(
    project: Project,
) -> None:
    seen = project.path.parent / "seen"
    project.settings(
        "[gate]\nchecks = ['exec -a lingerer sleep 600 & exec -a lingerer setsid sleep 600 & true',"
        f" 'pgrep -f ^lingerer > \"{seen}\"; true']"
    )
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", write("one.py"))

    report = await project.run()

    assert report.view.finished
    assert seen.read_text() == ""


LOUD = {
    "in lines": "yes 'all is well and more of it' | head -c 1000000000",
    "in one line": "head -c 1000000000 /dev/zero | tr '\\0' x",
    "as errors": "head -c 1000000000 /dev/zero >&2",
}


@pytest.mark.parametrize("command", LOUD.values(), ids=LOUD)
async def test_a_gigabyte_of_output_is_held_neither_in_memory_nor_on_disk(
    project: Project, command: str
) -> None:
    project.plan_of(
        chunk("loud", files=["loud.py"], verify=command), chunk("good", files=["good.py"])
    )
    project.agent("loud", write("loud.py"))
    project.agent("good", write("good.py"))
    before = psutil.Process().memory_info().rss

    report = await project.run(check_timeout_min=2, workers=1)

    assert report.labels() == {"loud": "landed", "good": "landed"}
    (check,) = report.only(ev.CandidatePassed, "loud").checks
    assert len(check.output) < 10_000
    kept = sum(path.stat().st_size for path in (project.path / ".git").rglob("*.log"))
    assert kept < 3 * LOG_LIMIT
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert peak - before < HELD_MB * 1024 * 1024


async def test_endless_output_ends_at_the_time_limit(project: Project) -> None:
    project.plan_of(
        chunk("loud", files=["loud.py"], verify="yes"), chunk("good", files=["good.py"])
    )
    project.agent("loud", write("loud.py"))
    project.agent("good", write("good.py"))

    report = await project.run(check_timeout_min=LIMIT_MIN, repair_rounds=0)

    assert report.labels() == {"loud": "failed", "good": "landed"}
    assert TOO_LONG in report.row("loud").note


async def test_a_check_sees_no_commit_of_the_one_before_it_and_none_is_landed(
    project: Project,
) -> None:
    project.settings(
        "[gate]\nchecks = ['echo mine > a.txt; git commit -qam stray',"
        " 'test \"$(git log -1 --format=%s)\" != stray && grep -q b a.txt']"
    )
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"], after=["one"]))
    project.agent("one", write("one.py"))
    project.agent("two", write("two.py"))

    report = await project.run()

    assert report.view.finished
    subjects = run_git(project.path, "log", "--format=%s", project.branch())
    assert "stray" not in subjects.splitlines()


async def test_an_agent_finds_nothing_of_what_checks_left_in_its_worktree(
    project: Project,
) -> None:
    project.settings("[gate]\nchecks = ['echo broken > a.txt; echo x > left.txt']")
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"], after=["one"]))
    project.agent("one", write("one.py"))
    project.agent("two", write("two.py"))

    report = await project.run(workers=1)

    assert report.view.finished
    assert [one.touched for one in report.of(ev.WorkCaptured)] == [("one.py",), ("two.py",)]


def told(report: Report) -> str:
    return "\n".join(notice.text for notice in report.notices)


def check_nothing_came_of_it(project: Project) -> None:
    """See that what a check did to its worktree is in no commit, and in nothing of the user's."""
    project.check_untouched()
    assert project.left_processes() == []
    assert project.show("a.txt") == "a\nb\nc\n"
    assert "left.txt" not in project.tree()
    subjects = run_git(project.path, "log", "--format=%s", project.branch())
    assert "stray" not in subjects.splitlines()
    for commit in project.pins().values():
        assert "left.txt" not in project.tree(commit)
