"""Between runs, landed chunks are taken out of staging and brought back; whatever is cut off."""

from pathlib import Path

import pytest

from auto_build.core import events as ev
from auto_build.core.events import Revision
from auto_build.delivery import Build
from auto_build.errors import NotReady, RunLocked
from auto_build.journal import RunLock
from auto_build.merging import merge
from auto_build.readiness import Wish
from auto_build.revising import Draft, Drafts
from auto_build.undoing import Revised, Reviser
from auto_build.verifying import verify
from tests.e2e.commands import auto_build
from tests.e2e.project import SPEC, Project, append, chunk, edit, phase, run_git, shell, write


async def undo(project: Project, *chunks: str) -> Revised:
    return await _revise(project, Revision.UNDO, *chunks)


async def redo(project: Project, *chunks: str) -> Revised:
    return await _revise(project, Revision.REDO, *chunks)


async def _revise(project: Project, revision: Revision, *chunks: str) -> Revised:
    said: list[str] = []
    build = await Build.open(project.path, SPEC)
    done = await Reviser(build, said.append, said.append).revise(revision, chunks)
    project.check_untouched()
    return done


async def labels(project: Project) -> dict[str, str]:
    _, view = (await Build.open(project.path, SPEC)).require_begun()
    return {row.id: row.label.value for row in view.rows}


async def findings(project: Project) -> list[str]:
    return [one.what for one in (await verify(await Build.open(project.path, SPEC))).findings]


def _diamond(project: Project) -> None:
    """a, then b and c on it, then d on both; and e, which needs nobody."""
    project.plan(
        phase("p1", chunk("a", files=["a.py"], verify="test -f a.py")),
        phase("p2", chunk("b", files=["b.py"], verify="test -f b.py"), after=["p1"]),
        phase("p3", chunk("c", files=["c.py"], verify="cat a.py c.py"), after=["p1"]),
        phase("p4", chunk("d", files=["d.py", "a.py"], verify="cat b.py"), after=["p2", "p3"]),
        phase("p5", chunk("e", files=["e.py"], verify="test -f e.py")),
    )
    for name in "abce":
        project.agent(name, write(f"{name}.py", f"{name}\n"))
    project.agent("d", write("d.py", "d\n"), append("a.py", "d was here\n"))


def _suite_of(plan: Project, landed: set[str]) -> list[str]:
    return [
        one["verification"]["command"]
        for each in plan.plan_document()["phases"]
        for one in each["chunks"]
        if one["id"] in landed
    ]


@pytest.mark.quick
async def test_a_chunk_goes_with_what_needs_it_and_comes_back_as_it_was(
    project: Project, tmp_path: Path
) -> None:
    _diamond(project)
    await project.run()
    whole = project.tree()
    head = project.git("rev-parse", project.branch()).strip()
    assert await findings(project) == []

    undone = await undo(project, "b")

    assert set(undone.chunks) == {"b", "d"}
    assert {*project.tree()} == {*whole} - {"b.py", "d.py"}
    assert project.show("a.py") == "a\n"
    assert project.git("rev-parse", f"{project.branch()}^").strip() == head
    assert run_git(project.staging, "status", "--porcelain") == ""
    assert not (project.staging / "b.py").exists()
    there = {"a": "landed", "b": "undone", "c": "landed", "d": "undone", "e": "landed"}
    assert await labels(project) == there
    assert await findings(project) == []
    stranger = tmp_path / "stranger"
    project.git("clone", "-q", "-b", project.branch()[11:], str(project.path), str(stranger))
    for command in _suite_of(project, {"a", "c", "e"}):
        assert auto_build_shell(stranger, command) == 0, command

    report = await project.run()

    assert not report.view.finished
    assert report.labels() == there
    assert report.of(ev.AttemptStarted) == []

    back = await redo(project, "d")

    assert set(back.chunks) == {"b", "d"}
    assert project.tree() == whole
    assert await labels(project) == dict.fromkeys("abcde", "landed")
    assert await findings(project) == []
    assert (await project.run()).view.finished


def auto_build_shell(where: Path, command: str) -> int:
    """Run a command of a plan as anybody would."""
    return int(run_git(where, "-c", f"alias.x=!{command} >/dev/null; echo $?", "x").strip())


async def test_an_undone_chunk_is_done_again_on_somebodys_word(project: Project) -> None:
    _diamond(project)
    await project.run()
    await undo(project, "b")
    project.agent_forgets()
    project.agent("b", write("b.py", "better\n"))

    asked = auto_build(project, "retry", "001", "b")
    report = await project.run()

    assert asked.code == 0, asked.err
    assert report.labels() == {**dict.fromkeys("abce", "landed"), "d": "undone"}
    assert project.show("b.py") == "better\n"
    assert await findings(project) == []
    assert (await redo(project, "d")).chunks == ("d",)
    assert (await project.run()).view.finished


async def test_a_chunk_whose_lines_a_later_one_changed_goes_only_together_with_it(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["a.txt"]), chunk("two", files=["a.txt"]))
    project.agent("one", edit("a.txt", "b", "bold"))
    project.agent("two", edit("a.txt", "bold", "bolder"))
    await project.run()
    head = project.git("rev-parse", project.branch())

    with pytest.raises(NotReady, match=r"chunk two changed the same lines of a\.txt") as refused:
        await undo(project, "one")

    assert refused.value.hint == "undo it, too: auto-build undo one two"
    assert project.git("rev-parse", project.branch()) == head
    assert await labels(project) == {"one": "landed", "two": "landed"}
    await undo(project, "one", "two")
    assert project.show("a.txt") == "a\nb\nc\n"
    assert (await redo(project, "one")).chunks == ("one",)
    assert project.show("a.txt") == "a\nbold\nc\n"


async def test_what_the_rest_cannot_do_without_stays(project: Project) -> None:
    project.plan_of(
        chunk("lib", files=["lib.txt"]), chunk("use", verify="grep -q lib lib.txt", files=["u"])
    )
    project.agent("lib", write("lib.txt", "lib\n"))
    project.agent("use", shell("cp lib.txt u"))
    await project.run(workers=1)
    head = project.git("rev-parse", project.branch())

    with pytest.raises(NotReady, match=r"red without lib:\n\$ grep -q lib lib\.txt\nexit code 2"):
        await undo(project, "lib")

    assert project.git("rev-parse", project.branch()) == head
    assert await labels(project) == {"lib": "landed", "use": "landed"}
    assert await findings(project) == []


# --- cut off --------------------------------------------------------------------------------------


async def _meant(project: Project) -> tuple[Build, Draft]:
    """Leave an undo where a kill right after its intent leaves it."""
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"]))
    project.agent("one", write("one.py"))
    project.agent("two", write("two.py"))
    await project.run()
    build = await Build.open(project.path, SPEC)
    state, _ = build.require_begun()
    head = await build.require_staging()
    draft = await Drafts(build.repo, SPEC).draft(Revision.UNDO, state, ["one"], head)
    build.record(draft.meant())
    return build, draft


async def test_an_undo_that_was_killed_before_it_came_about_did_not(project: Project) -> None:
    _, draft = await _meant(project)

    report = await project.run()

    assert report.of(ev.RevisionVoided) == [ev.RevisionVoided(draft.head)]
    assert report.view.finished
    assert project.show("one.py") == "done\n"
    assert (await undo(project, "one")).chunks == ("one",)


async def test_an_undo_that_was_killed_before_it_was_noted_is_noted(project: Project) -> None:
    build, draft = await _meant(project)
    assert await build.repo.swap_ref(build.branch, draft.candidate, draft.head, "undo")

    report = await project.run()

    assert report.of(ev.RevisionLanded) == [ev.RevisionLanded()]
    assert report.labels() == {"one": "undone", "two": "landed"}
    assert "one.py" not in project.tree()
    assert run_git(project.staging, "status", "--porcelain") == ""
    assert project.plan_statuses()["one"] == "blocked"


async def test_a_merge_takes_note_of_an_undo_first(project: Project) -> None:
    build, draft = await _meant(project)
    assert await build.repo.swap_ref(build.branch, draft.candidate, draft.head, "undo")

    with pytest.raises(NotReady, match=r"1 of 2 chunks have not landed: one \(undone\)"):
        await merge(build, Wish())


async def test_without_a_journal_git_tells_what_was_undone(project: Project) -> None:
    build, draft = await _meant(project)
    assert await build.repo.swap_ref(build.branch, draft.candidate, draft.head, "undo")
    for file in build.workspace.state_dir.glob("journal.db*"):
        file.unlink()

    report = await project.run()

    assert report.labels() == {"one": "undone", "two": "landed"}
    assert report.of(ev.AttemptStarted) == []


async def test_a_landing_whose_pin_was_not_made_gets_it_in_the_next_run(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"]))
    project.agent("one", write("one.py"))
    await project.run()
    pin = f"refs/auto-build/landed/{SPEC}/one"
    project.git("update-ref", "-d", pin)
    assert await findings(project) == ["no pin names its landing"]
    project.agent("two", write("two.py"))

    await project.run()

    assert await findings(project) == []


# --- as a user types it ---------------------------------------------------------------------------


async def test_the_commands_say_what_they_did_and_what_they_would(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"], after=["one"]))
    project.agent("one", write("one.py"))
    project.agent("two", write("two.py"))
    await project.run()

    tried = auto_build(project, "undo", "one", "--dry-run", "--json")
    unknown = auto_build(project, "undo", "three")
    done = auto_build(project, "undo", "one", "--spec", "001")
    held = auto_build(project, "verify")

    assert (tried.code, tried.value["chunks"], tried.value["commit"]) == (0, ["one", "two"], "")
    assert unknown.code == 2
    assert done.code == 0, done.err
    assert "one, two: out of staging" in done.out
    assert held.code == 0, held.out
    assert f"{SPEC}: 3 commits in auto-build/{SPEC}" in held.out
    assert await labels(project) == {"one": "undone", "two": "undone"}


async def test_once_staging_is_merged_the_users_branch_is_looked_at(project: Project) -> None:
    build, draft = await _meant(project)
    with RunLock.acquire(build.workspace.state_dir, SPEC), pytest.raises(RunLocked):
        await undo(project, "one")
    with pytest.raises(NotReady, match="chunk one was not undone"):
        await redo(project, "one")
    with project.user_acts():
        await merge(build, Wish())

    found = await verify(build)

    assert found.findings == ()
    assert found.place == "main, up to the last landing, for staging is gone"
    assert (found.head, found.commits) == (draft.head, 2)


async def test_what_somebody_adds_to_staging_by_hand_is_found(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", write("one.py"))
    await project.run()
    mine = project.git(
        "commit-tree", f"{project.branch()}^{{tree}}", "-p", project.branch(), "-m", "Mine"
    ).strip()
    project.git("update-ref", project.branch(), mine)

    found = auto_build(project, "verify", "001")

    assert found.code == 1
    assert f"commit added by hand  {mine[:10]}" in found.out
