"""A merge that silently drops what one side wrote neither lands nor reaches the user's branch."""

import pytest

from auto_build.core import events as ev
from auto_build.delivery import Build
from auto_build.errors import NotReady
from auto_build.merging import merge
from auto_build.readiness import Wish
from tests.e2e.project import Project, chunk, edit, shell, sleep, write


def keeps_ours(project: Project, path: str) -> None:
    """Have git settle conflicts in a file by taking one side, as people do with lock files."""
    project.write(".git/info/attributes", f"{path} merge=ours\n")
    project.write(path, "top\n")
    project.git("config", "merge.ours.driver", "true")
    project.commit_all("Take ours")


async def test_lines_that_a_merge_driver_drops_go_back_to_the_agent(project: Project) -> None:
    keeps_ours(project, "list.txt")
    project.plan_of(chunk("one", files=["one.txt"], verify="true"), chunk("two", files=["two.txt"]))
    project.agent("one", shell("echo of one >> list.txt"))
    project.agent("two", sleep(0.8), write("two.txt"), shell("echo of two >> list.txt"))
    project.agent("two", shell("echo of two >> list.txt"), round=1)

    report = await project.run()

    assert report.view.finished
    (red,) = report.of(ev.CandidateRejected, "two")
    assert "of two" in red.feedback
    assert project.show("list.txt") == "top\nof one\nof two\n"


async def test_a_merge_into_the_users_branch_that_drops_lines_is_refused(project: Project) -> None:
    keeps_ours(project, "list.txt")
    project.plan_of(chunk("one", files=["list.txt"], verify="true"))
    project.agent("one", edit("list.txt", "top\n", "top\nof the build\n"))
    assert (await project.run()).view.finished
    project.write("list.txt", "top\nof the user\n")
    project.commit_all("Mine")
    before = project.git("rev-parse", "main")

    with pytest.raises(NotReady, match="would lose lines") as caught:
        await merge(await Build.open(project.path, "001-demo"), Wish())

    assert "of the build" in str(caught.value)
    assert project.git("rev-parse", "main") == before
