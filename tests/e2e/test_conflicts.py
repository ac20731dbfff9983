"""A conflict, rung by rung; and at each of them the work of both sides is in staging or pinned."""

import pytest

from auto_build.core import events as ev
from auto_build.core.state import SetAside
from auto_build.core.transitions import replay
from tests.e2e.project import Project, Report, chunk, edit, run_git, say, shell, sleep, write

BOTH = "a\none and two\nc\n"
SAID = say("DROPPED: a.txt: the line of one now also says two")


def two_that_conflict(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"]))
    project.agent("one", edit("a.txt", "b", "one"), write("test_one.py", "def test_one():\n"))
    project.agent("two", sleep(0.3), edit("a.txt", "b", "two"), write("two.py", "mine\n"))


def set_aside(report: Report, name: str) -> bool:
    return any(isinstance(state.chunks[name], SetAside) for _, state in report.states())  # type: ignore[index]


@pytest.mark.quick
async def test_its_own_agent_resolves_it_in_its_worktree_and_both_sides_land(
    project: Project,
) -> None:
    two_that_conflict(project)
    project.agent("two", write("a.txt", BOTH), SAID, round=1)

    report = await project.run()

    assert report.view.finished
    assert not set_aside(report, "two")
    (conflict,) = report.of(ev.CandidateConflicted)
    assert (conflict.chunk, conflict.paths, conflict.culprits) == ("two", ("a.txt",), ("one",))
    assert len(report.of(ev.AttemptStarted, "two")) == 1
    assert project.show("a.txt") == BOTH
    assert project.show("two.py") == "mine\n"
    assert "the line of one now also says two" in report.row("two").unverified
    work = report.of(ev.WorkCaptured, "two")[1].commit
    first = project.pins()["001-demo/two/1"]
    assert run_git(project.path, "rev-list", "--parents", "-1", work).split()[1:] == [
        conflict.head,
        first,
    ], "history does not tell that two sides were merged"
    landed = run_git(project.path, "log", "-p", "--format=", project.branch())
    assert "<<<<<<<" not in landed


async def test_the_agent_sees_the_markers_both_intents_and_both_patches(project: Project) -> None:
    two_that_conflict(project)
    project.agent(
        "two", shell("sed 's/^/|/' a.txt > seen.txt"), write("a.txt", BOTH), SAID, round=1
    )

    await project.run()

    seen = project.show("seen.txt").replace("|", "").splitlines()
    assert [line for line in seen if line[0] not in "<>"] == ["a", "one", "=======", "two", "c"]
    log = project.path / ".git/auto-build/logs/001-demo/two/1/agent.log"
    told = log.read_text(encoding="utf-8").partition("round 1\n")[2]
    assert "CONFLICT (content): Merge conflict in a.txt" in told
    assert told.index("## Chunk two") < told.index("+two") < told.index("## Chunk one")
    assert told.index("## Chunk one") < told.index("+one")


@pytest.mark.parametrize(
    ("steps", "lost"),
    [
        pytest.param([shell("git checkout HEAD^1 -- a.txt")], "two", id="ours"),
        pytest.param([shell("git checkout HEAD^2 -- a.txt")], "one", id="theirs"),
        pytest.param(
            [write("a.txt", BOTH), SAID, shell("rm test_one.py")], "def test_one", id="a test"
        ),
        pytest.param([write("a.txt", BOTH), SAID, shell("rm two.py")], "mine", id="a file"),
    ],
)
async def test_a_resolution_that_drops_lines_goes_back_with_the_lines_in_it(
    project: Project, steps: list[dict[str, object]], lost: str
) -> None:
    two_that_conflict(project)
    project.agent("two", *steps, round=1)
    mend = [write("a.txt", BOTH), write("two.py", "mine\n"), SAID]
    project.agent("two", *mend, write("test_one.py", "def test_one():\n"), round=2)

    report = await project.run()

    assert report.view.finished
    (red,) = report.of(ev.CandidateRejected, "two")
    assert lost in red.feedback.partition("\n")[2]
    assert project.show("a.txt") == BOTH
    assert project.show("two.py") == "mine\n"
    assert project.show("test_one.py") == "def test_one():\n"


async def test_a_word_on_why_is_enough_where_nothing_else_was_wrong(project: Project) -> None:
    two_that_conflict(project)
    project.agent("two", write("a.txt", BOTH), round=1)
    project.agent("two", SAID, round=2)

    report = await project.run()

    assert report.view.finished
    assert len(report.of(ev.CandidateRejected, "two")) == 1
    assert "the line of one now also says two" in report.row("two").unverified


async def test_markers_that_were_left_are_named(project: Project) -> None:
    two_that_conflict(project)
    project.agent("two", write("more.py"), round=1)
    project.agent("two", write("a.txt", BOTH), SAID, round=2)

    report = await project.run()

    assert report.view.finished
    assert "markers left in a.txt" in report.only(ev.CandidateRejected, "two").feedback
    assert project.show("a.txt") == BOTH


async def test_a_resolution_that_stays_red_is_done_anew_alone(project: Project) -> None:
    two_that_conflict(project)
    for number in (1, 2, 3):
        project.agent("two", write("a.txt", f"{number}\n"), round=number)
    project.agent("two", edit("a.txt", "one", "one and two"), write("two.py", "mine\n"), attempt=2)

    report = await project.run()

    assert report.view.finished
    assert set_aside(report, "two")
    assert report.of(ev.AttemptStarted, "two")[1].alone
    assert project.show("a.txt") == BOTH
    assert project.show("a.txt", project.pins()["001-demo/two/1"]) == "a\ntwo\nc\n"


async def test_an_agents_end_in_the_middle_of_a_resolution_is_met_again_there(
    project: Project,
) -> None:
    two_that_conflict(project)
    project.remembers = True
    project.agent("two", {"do": "stop", "stop": "overloaded", "text": "busy"}, round=1)
    project.agent("two", write("a.txt", BOTH), SAID, round=1, resumed=True)

    report = await project.run()

    assert report.view.finished
    assert project.show("a.txt") == BOTH
    assert replay(report.events) is not None
