"""Which landed chunks a red candidate does not get along with: the exact set, within a bound."""

import pytest

from auto_build.core import events as ev
from auto_build.core.blame import bound
from tests.e2e.project import Project, chunk, sleep, write

NAMES = [f"c{n}" for n in range(1, 9)]
QUARRELS = [("c1", "c2"), ("c3", "c8"), ("c1", "c4", "c7"), ("c2", "c5", "c6")]


@pytest.mark.parametrize("quarrel", QUARRELS, ids="-".join)
async def test_the_exact_set_is_named_and_its_last_is_mended_and_lands(
    project: Project, quarrel: tuple[str, ...]
) -> None:
    there = " && ".join(f"test -e parts/{name}" for name in quarrel)
    rule = f"test -e peace || ! {{ {there}; }}"
    project.settings(f'[gate]\nchecks = ["{rule}"]')
    project.commit_all("The rule")
    project.plan_of(*(chunk(name, files=[f"parts/{name}"]) for name in NAMES))
    for place, name in enumerate(NAMES):
        project.agent(name, sleep(0.5 + 0.1 * place), write(f"parts/{name}"))
        project.agent(name, write("peace"), round=1)

    report = await project.run(workers=8)

    assert report.view.finished
    red = report.only(ev.CandidateRejected)
    assert {red.chunk, *red.culprits} == set(quarrel)
    assert red.surely
    landed_since = project.landings().index(red.chunk)
    tried = [one for one in report.notices if one.text.startswith("looking for the cause: with")]
    assert 1 <= len(tried) <= 1 + bound(landed_since), "the first is the work by itself"


async def test_work_that_is_red_by_itself_is_nobody_elses_fault(project: Project) -> None:
    project.plan_of(
        chunk("fine", files=["fine.py"]),
        chunk("bad", files=["bad.py"], verify="echo it is bad; grep -q good bad.py"),
    )
    project.agent("fine", write("fine.py"))
    project.agent("bad", sleep(0.8), write("bad.py", "bad\n"))
    project.agent("bad", write("bad.py", "good\n"), round=1)

    report = await project.run()

    assert report.view.finished
    assert report.only(ev.CandidateRejected).culprits == ()
    tried = [one.text for one in report.notices if "looking for the cause" in one.text]
    assert tried == ["looking for the cause: with nothing that landed since"]
