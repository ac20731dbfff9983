"""Candidates that are checked ahead of each other, with real git and real checks."""

from auto_build.core import events as ev
from auto_build.core.state import Gating
from tests.e2e.project import Project, Report, chunk, write

SLOW = "sleep 0.7; ! test -e stop"


def planned(project: Project, *, count: int, checks: str = SLOW, window: int = 4) -> list[str]:
    """Plan chunks whose gate takes far longer than their agents."""
    project.settings(f'[gate]\nwindow = {window}\nchecks = ["{checks}"]')
    project.commit_all("The checks")
    names = [f"c{n}" for n in range(1, count + 1)]
    project.plan_of(*(chunk(name, files=[f"{name}.txt"]) for name in names))
    for name in names:
        project.agent(name, write(f"{name}.txt"))
    return names


def at_once(report: Report) -> int:
    """Return how many candidates were checked at the same time, at most."""
    return max(
        sum(isinstance(now, Gating) for now in state.chunks.values())
        for _, state in report.states()
    )


async def test_where_checks_take_long_several_candidates_are_checked_at_once(
    project: Project,
) -> None:
    names = planned(project, count=8)

    report = await project.run(workers=4)

    assert report.view.finished
    assert sorted(project.landings()) == names
    (choice,) = report.of(ev.QueuePaced)
    assert choice.ahead
    assert choice.gate_s * choice.slots >= 0.8 * choice.agent_s
    assert at_once(report) >= 2
    assert at_once(report) <= 4


async def test_one_by_one_is_kept_where_the_window_is_one(project: Project) -> None:
    names = planned(project, count=6, window=1)

    report = await project.run(workers=4)

    assert sorted(project.landings()) == names
    assert report.of(ev.QueuePaced) == []
    assert at_once(report) == 1


async def test_a_red_one_leaves_and_what_stood_on_it_is_checked_again_without_it(
    project: Project,
) -> None:
    names = planned(project, count=8, checks="sleep 0.7; ! grep -qs bad *.txt")
    project.agent_forgets()
    for name in names:
        project.agent(name, write(f"{name}.txt", "bad\n" if name == "c5" else "good\n"))

    report = await project.run(workers=4, repair_rounds=0)

    assert report.labels() == {name: "failed" if name == "c5" else "landed" for name in names}
    assert {red.chunk for red in report.of(ev.CandidateRejected)} == {"c5"}
    starts = [event.chunk for event in report.of(ev.AttemptStarted)]
    assert sorted(starts) == names, "no agent's work was thrown away"
    assert "c5.txt" not in project.tree()


async def test_a_run_that_was_cut_off_while_it_looked_ahead_goes_on(project: Project) -> None:
    names = planned(project, count=8)
    first = await project.run(workers=4, max_iterations=6)
    assert not first.view.finished

    second = await project.run(workers=4)

    assert second.view.finished
    assert sorted(project.landings()) == names
