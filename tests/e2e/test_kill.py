"""Kill the coordinator anywhere: the next run goes on, and every chunk lands exactly once."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from auto_build.delivery import Build
from auto_build.verifying import Verified, verify
from tests.e2e.project import (
    SPEC,
    Driver,
    Project,
    append,
    chunk,
    commit,
    edit,
    phase,
    run_git,
    shell,
    sleep,
    spawn,
    write,
)

CHUNKS = ["base", "left", "right", "clash", "mend", "own", "top", "last"]
EVENTS = 55  # a little fewer than an undisturbed run journals
SEED = 20_260


def _plan(project: Project) -> None:
    """Eight chunks: a conflict (clash), a repair (mend), own commits (own), background work."""
    project.plan(
        phase("p1", chunk("base", files=["base.py"], verify="test -f base.py")),
        phase(
            "p2",
            chunk("left", files=["left.py"]),
            chunk("right", files=["right.py"], verify="sleep 0.05"),
            chunk("clash", files=["clash.py"]),
            chunk("mend", files=["mend.py"], verify="grep -q good mend.py"),
            chunk("own", files=["own.py"]),
            after=["p1"],
        ),
        phase(
            "p3", chunk("top", files=["base.py"]), chunk("last", verify="cat *.py"), after=["p2"]
        ),
    )
    project.agent("base", write("base.py", "base\n"), sleep(0.05))
    project.agent("left", write("left.py", "left\n"), edit("a.txt", "b", "left"))
    project.agent("right", spawn("sleep 60"), write("right.py", "right\n"), sleep(0.1))
    line = "s/^b$/clash/; s/^left$/left clash/"
    project.agent(
        "clash", sleep(0.25), write("clash.py", "clash\n"), shell(f"sed -i '{line}' a.txt")
    )
    project.agent("mend", write("mend.py", "bad\n"))
    project.agent("mend", write("mend.py", "good\n"), round=1)
    project.agent("own", write("own.py", "1\n"), commit("half"), append("own.py", "2\n"))
    project.agent("top", append("base.py", "top\n"))


WHOLE = {
    "base.py": "base\ntop\n",
    "left.py": "left\n",
    "right.py": "right\n",
    "clash.py": "clash\n",
    "mend.py": "good\n",
    "own.py": "1\n2\n",
}


def _moments() -> Iterator[tuple[str, int, float]]:
    """Twenty moments: after the n-th event told, and at times between events."""
    chance = random.Random(SEED)
    for number in range(1, EVENTS, 4):
        yield f"after {number} events", number, 0.0
    for _ in range(6):
        number, wait_s = chance.randrange(EVENTS), round(chance.uniform(0.0, 0.15), 3)
        yield f"{wait_s} s after {number} events", number, wait_s


MOMENTS = list(_moments())


async def _verified(project: Project) -> Verified:
    return await verify(await Build.open(project.path, SPEC))


def _check_whole(project: Project) -> None:
    assert asyncio.run(_verified(project)).findings == ()
    assert sorted(project.landings()) == sorted(CHUNKS)
    tree = project.tree()
    assert {path: tree[path] for path in WHOLE} == WHOLE
    assert tree["a.txt"] == "a\nleft clash\nc\n"
    assert run_git(project.staging, "status", "--porcelain") == ""
    project.check_untouched()
    project.check_nothing_left()


@pytest.mark.slow
def test_left_alone_the_plan_has_a_conflict_and_a_repair_and_lands(project: Project) -> None:
    _plan(project)
    code, told = Driver.start(project, workers=3).end()

    assert code == 0, told[-1]
    kinds = {line.get("event") for line in told}
    assert {"CandidateConflicted", "CandidateRejected"} <= kinds
    assert len(told) > EVENTS
    _check_whole(project)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "wait_s"), [moment[1:] for moment in MOMENTS], ids=[one[0] for one in MOMENTS]
)
def test_killed_at_any_moment_the_next_run_lands_every_chunk_exactly_once(
    project: Project, number: int, wait_s: float
) -> None:
    _plan(project)
    run = Driver.start(project, workers=3)
    run.wait_for_lines(number)
    time.sleep(wait_s)  # the moment is what is tested: nothing is waited for
    run.kill()
    project.check_untouched()

    code, told = Driver.start(project, workers=3).end()

    assert code == 0, told[-1]
    _check_whole(project)


@pytest.mark.slow
def test_killed_again_and_again_the_build_still_comes_to_its_end(project: Project) -> None:
    _plan(project)
    chance = random.Random(SEED)
    for _ in range(12):
        run = Driver.start(project, workers=3)
        told = run.wait_for_lines(chance.randrange(4, 14))
        time.sleep(chance.uniform(0.0, 0.05))
        run.kill()
        if told == 0:
            break

    code, told_last = Driver.start(project, workers=3).end()

    assert code == 0, told_last[-1]
    _check_whole(project)


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(3))
def test_what_a_killed_run_had_finished_is_not_paid_for_twice(
    project: Project, tmp_path: Path, attempt: int
) -> None:
    _plan(project)
    bill = tmp_path / "bill"
    project.agent_forgets()
    names = ["base", "left", "right", "clash", "mend", "own", "top"]
    for name in names:
        path = "base.py" if name == "top" else f"{name}.py"
        text = "good\n" if name == "mend" else f"{name}\n"
        project.agent(name, write(path, text), shell(f'echo {name} >> "{bill}"'))
    run = Driver.start(project, workers=3)
    for line in run.lines():
        if line.get("event") == "WorkCaptured" and line["chunk"] == names[2 * attempt]:
            break
    run.kill()
    finished = {name.split("/")[1] for name in project.pins() if name.endswith("/1")}

    code, told = Driver.start(project, workers=3).end()

    assert code == 0, told[-1]
    paid = bill.read_text().split()
    assert finished
    assert {name: paid.count(name) for name in finished} == dict.fromkeys(finished, 1)
