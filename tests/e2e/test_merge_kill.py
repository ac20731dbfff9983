"""Kill the merge at any of its transitions: the next one goes on, and nothing is merged twice."""

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.commands import auto_build
from tests.e2e.finished import BUILT, Finished, finish
from tests.e2e.project import SPEC, Project, run_git

KILLER = '''
"""Kills the merge that it was started by, once: when it is called for the N-th time."""
import os, pathlib, signal, sys
import psutil

said, count, at = sys.stdin.read(), pathlib.Path(sys.argv[1]), int(sys.argv[2])
if "refs/heads/main" in said or len(sys.argv) > 4:
    calls = int(count.read_text() or 0) + 1 if count.exists() else 1
    count.write_text(str(calls))
    if calls == at:
        for parent in psutil.Process().parents():
            if "auto_build" in parent.cmdline() and "merge" in parent.cmdline():
                os.kill(parent.pid, signal.SIGKILL)
        sys.exit(int(sys.argv[3]))
'''

Arm = Callable[["Finished", Path], None]


def _killer(tmp_path: Path, *args: object) -> str:
    program = tmp_path / "killer.py"
    program.write_text(KILLER)
    return shlex.join((sys.executable, str(program), str(tmp_path / "calls"), *map(str, args)))


def _guard(found: Finished, tmp_path: Path, at: int, code: int) -> None:
    """Have git's question whether a branch may move answered by the killer, the `at`-th time."""
    killer = _killer(tmp_path, at, code)
    found.project.hook("reference-transaction", f'[ "$1" != prepared ] || {killer}')


def at_the_message(found: Finished, tmp_path: Path) -> None:
    """Before anything is meant: while a hook looks at the message of the commit."""
    found.project.hook("commit-msg", f"{_killer(tmp_path, 1, 1, 'any')} < /dev/null")


def while_asked(found: Finished, tmp_path: Path) -> None:
    """Before anything is meant: while a hook is asked whether the branch may move."""
    found.project.hook(
        "reference-transaction", f'[ "$1" != prepared ] || {_killer(tmp_path, 1, 1)}'
    )


def before_it_moves(found: Finished, tmp_path: Path) -> None:
    """Meant, and the files written; git is kept from moving the branch."""
    found.project.hook(
        "reference-transaction", f'[ "$1" != prepared ] || {_killer(tmp_path, 2, 1)}'
    )


def while_it_moves(found: Finished, tmp_path: Path) -> None:
    """Meant; git goes on without whoever started it."""
    found.project.hook(
        "reference-transaction", f'[ "$1" != prepared ] || {_killer(tmp_path, 2, 0)}'
    )


def when_it_has_moved(found: Finished, tmp_path: Path) -> None:
    """The branch has moved, and nobody has noted it."""
    found.project.hook("post-merge", f"{_killer(tmp_path, 1, 0, 'any')} < /dev/null")


def while_tidying_up(found: Finished, tmp_path: Path) -> None:
    """It is noted; staging is looked at, to be removed."""
    found.git("config", "filter.stop.clean", f"cat; {_killer(tmp_path, 1, 0, 'any')} < /dev/null")
    (found.path / ".git/info/attributes").write_text("one.py filter=stop\n")
    (found.project.staging / "one.py").touch()


@dataclass(frozen=True)
class Moment:
    """When it is killed, how it is merged, and whether the branch is after it by then."""

    arm: Arm
    flags: tuple[str, ...]
    after: bool
    moved: bool = False  # the user's branch has gone on since the build began


MOMENTS = [
    Moment(at_the_message, (), after=False, moved=True),
    Moment(at_the_message, ("--squash",), after=False),
    Moment(while_asked, (), after=False),
    Moment(before_it_moves, (), after=False),
    Moment(before_it_moves, ("--squash",), after=False, moved=True),
    Moment(while_it_moves, ("--no-ff",), after=True),
    Moment(when_it_has_moved, (), after=True),
    Moment(when_it_has_moved, ("--squash",), after=True),
    Moment(while_tidying_up, (), after=True),
    Moment(while_tidying_up, ("--squash",), after=True),
]


def _named(moment: Moment) -> str:
    return " ".join([moment.arm.__name__, *moment.flags, *(["moved"] if moment.moved else [])])


@pytest.mark.parametrize("moment", MOMENTS, ids=_named)
async def test_killed_at_any_transition_a_merge_comes_about_once_or_not_at_all(
    project: Project, tmp_path: Path, moment: Moment
) -> None:
    found = await finish(project)
    if moment.moved:
        found.later()
    project.write("README.md", "mine, not committed\n")
    before, status = found.head, found.git("status", "--porcelain")
    moment.arm(found, tmp_path)

    killed = auto_build(project, "merge", SPEC, *moment.flags)

    assert killed.code == -9
    project.wait_until_processes_are_gone()  # a git that it had started goes on without it
    assert (found.head != before) is moment.after
    assert found.merges() == int(moment.after)
    moved_to = found.head

    again = auto_build(project, "merge", SPEC, *moment.flags, "--json")

    assert again.code == 0, again.out
    assert json.loads(again.out)["kept"] == ""
    assert not moment.after or found.head == moved_to
    assert found.merges() == 1
    assert found.kinds()[-1] == "RunMerged"
    assert found.kinds().count("RunMerged") == 1
    assert found.git("status", "--porcelain") == status
    assert {path: (found.path / path).read_text() for path in BUILT} == BUILT
    assert (found.path / "README.md").read_text() == "mine, not committed\n"
    assert not project.staging.exists()
    assert run_git(project.path, "branch", "--format=%(refname:short)").split() == ["main"]
