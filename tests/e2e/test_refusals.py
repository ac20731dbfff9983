"""What cannot be built is refused in words before anything starts, and nothing is deleted."""

import json
from pathlib import Path

import pytest

from auto_build import AutoBuildError, SwarmCoordinator
from auto_build.core import events as ev
from auto_build.errors import EnvironmentUnfit, RepositoryUnfit, UsageProblem
from auto_build.workspace import PlanProblem
from tests.e2e.project import SPEC, Json, Project, chunk, phase, run_git, write

ONE = chunk("one", files=["one.py"])

BAD_PLANS: dict[str, tuple[list[Json], list[str]]] = {
    "a cycle of phases": (
        [phase("a", ONE, after=["b"]), phase("b", chunk("two"), after=["a"])],
        ["circle", "a → b", "depends"],
    ),
    "a cycle of chunks": (
        [phase("a", chunk("one", after=["two"]), chunk("two", after=["one"]))],
        ["circle", "one", "two"],
    ),
    "an unknown phase": ([phase("core", ONE, after=["cor"])], ["unknown phase", "did you mean"]),
    "an unknown chunk": (
        [phase("a", ONE, chunk("two", after=["on"]))],
        ["$.phases[0].chunks[1].depends_on[0]", "did you mean 'one'"],
    ),
    "a dependency on itself": ([phase("a", chunk("one", after=["one"]))], ["depends on itself"]),
    "no chunks": ([phase("a")], ["no chunks"]),
    "no phases": ([], ["no chunks"]),
    "the same id twice": (
        [phase("a", ONE), phase("b", chunk("one", files=["two.py"]))],
        ["chunk id is taken already", "$.phases[1].chunks[0].id"],
    ),
    "ids that differ by case only": ([phase("a", ONE, chunk("ONE"))], ["differ by case only"]),
    "a path out of the repository": (
        [phase("a", chunk("one", files=["../../etc/passwd"]))],
        ["leaves the repository"],
    ),
    "an absolute path": ([phase("a", chunk("one", files=["/etc/passwd"]))], ["absolute"]),
}


@pytest.mark.parametrize(("phases", "words"), BAD_PLANS.values(), ids=BAD_PLANS)
async def test_a_plan_that_cannot_work_is_refused_before_anything_starts(
    project: Project, phases: list[Json], words: list[str]
) -> None:
    project.plan(*phases)
    before = project.plan_path().read_bytes()

    with pytest.raises(PlanProblem) as refused:
        await project.run()

    for word in words:
        assert word in str(refused.value)
    assert refused.value.exit_code == 2
    assert refused.value.hint
    assert project.plan_path().read_bytes() == before
    assert not (project.path / ".git/auto-build").exists()
    assert not (project.path / ".worktrees").exists()
    assert run_git(project.path, "for-each-ref", "refs/heads/auto-build") == ""


TORN = {
    "cut off": ('{"phases": [{"id": "a", "chunks": [{"id": "1"', "cut off"),
    "empty": ("", "empty"),
    "merge conflict": ('<<<<<<< HEAD\n{"phases": []}\n=======\n', "conflict markers"),
    "no object": ("[1, 2]", "not a JSON object"),
    "a comma too many": ('{\n  "phases": [],,\n}', "line 2, column"),
}


async def test_a_torn_plan_file_is_refused_with_words_and_nothing_is_lost(
    project: Project,
) -> None:
    project.plan_of(ONE, chunk("two", files=["two.py"]))
    project.agent("one", write("one.py"))
    whole = project.plan_path().read_text()
    await project.run(max_iterations=1)

    for text, words in TORN.values():
        with project.user_acts():
            project.plan_path().write_text(text)
        with pytest.raises(PlanProblem, match="is no plan that can be run") as refused:
            await project.run()
        assert words in str(refused.value)
        assert project.plan_path().read_text() == text

    with project.user_acts():
        project.plan_path().write_text(whole)
    project.agent("two", write("two.py"))
    report = await project.run()
    assert report.of(ev.AttemptStarted, "one") == []
    assert project.landings() == ["one", "two"]


@pytest.mark.quick
async def test_a_second_specs_work_never_lands_on_the_first_specs_branch(
    project: Project,
) -> None:
    project.plan_of(ONE)
    project.agent("one", write("one.py"))
    project.plan_of(chunk("other", files=["other.py"]), spec="002-next")
    project.agent("other", write("other.py"), spec="002-next")
    await project.run()
    before = run_git(project.path, "rev-parse", project.branch())

    with pytest.raises(
        RepositoryUnfit, match="holds another build, auto-build/001-demo"
    ) as refused:
        await project.run("002-next")

    assert "auto-build park 001-demo" in refused.value.hint
    assert "auto-build discard 001-demo" in refused.value.hint
    assert run_git(project.path, "rev-parse", project.branch()) == before
    assert project.landings() == ["one"]

    project.git("worktree", "remove", "--force", str(project.staging))
    assert (await project.run("002-next")).view.finished
    assert "one.py" not in project.tree(project.branch("002-next"))
    assert run_git(project.path, "rev-parse", project.branch()) == before


async def test_a_branch_called_auto_build_is_in_the_way_and_is_left_alone(
    project: Project,
) -> None:
    project.plan_of(ONE)
    project.git("branch", "auto-build")

    with pytest.raises(EnvironmentUnfit, match="a branch called 'auto-build'") as refused:
        await project.run()

    assert "git branch -m auto-build" in refused.value.hint


async def test_a_foreign_folder_where_a_worker_should_be_is_left_alone(project: Project) -> None:
    project.allowed_slots = ("auto-build-worker-1",)
    mine = project.write(".worktrees/auto-build-worker-1/mine.txt", "mine\n")
    project.plan_of(ONE)

    with pytest.raises(RepositoryUnfit, match="is in the way") as refused:
        await project.run()

    assert mine.read_text() == "mine\n"
    assert "move it" in refused.value.hint


async def test_a_foreign_folder_where_staging_should_be_is_left_alone(project: Project) -> None:
    mine = project.write(".worktrees/auto-build/mine.txt", "mine\n")
    project.plan_of(ONE)

    with pytest.raises(RepositoryUnfit, match="is in the way"):
        await project.run()

    assert mine.read_text() == "mine\n"


async def test_a_specs_branch_that_is_checked_out_elsewhere_is_refused(project: Project) -> None:
    project.plan_of(ONE)
    elsewhere = project.path.parent / "elsewhere"
    project.git("worktree", "add", "-q", "-b", f"auto-build/{SPEC}", str(elsewhere))

    with pytest.raises(RepositoryUnfit, match="is checked out in"):
        await project.run()


def _spec_in(folder: Path) -> None:
    spec = folder / "auto-build/specs" / SPEC
    spec.mkdir(parents=True)
    (spec / "implementation_plan.json").write_text(json.dumps({"phases": [phase("a", ONE)]}))
    (spec / "script.json").write_text("{}")
    (folder / "auto-build.toml").write_text(
        '[agents.s]\nkind = "scripted"\nscript = "{spec_dir}/script.json"\n'
    )


async def _refusal(folder: Path) -> AutoBuildError:
    with pytest.raises(AutoBuildError) as refused:
        await SwarmCoordinator(folder, SPEC).run()
    assert refused.value.hint, str(refused.value)
    return refused.value


async def test_a_folder_without_a_repository_is_refused(tmp_path: Path) -> None:
    _spec_in(tmp_path / "plain")
    refused = await _refusal(tmp_path / "plain")
    assert "is not in a git repository" in str(refused)
    assert "git init" in refused.hint
    assert not (tmp_path / "plain/.worktrees").exists()


async def test_a_repository_without_a_commit_is_refused(tmp_path: Path) -> None:
    _spec_in(tmp_path / "new")
    run_git(tmp_path / "new", "init", "-q", "-b", "main")
    refused = await _refusal(tmp_path / "new")
    assert "has no commit yet" in str(refused)
    assert "git commit" in refused.hint
    assert run_git(tmp_path / "new", "for-each-ref") == ""


async def test_a_bare_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    run_git(tmp_path / "bare", "init", "-q", "--bare")
    assert "bare repository" in str(await _refusal(tmp_path / "bare"))


async def test_a_submodule_is_refused(project: Project, tmp_path: Path) -> None:
    project.git("clone", "-q", str(project.path), str(tmp_path / "lib"))
    allow = ("-c", "protocol.file.allow=always")
    project.git(*allow, "submodule", "--quiet", "add", str(tmp_path / "lib"), "lib")
    assert "is a submodule" in str(await _refusal(project.path / "lib"))


async def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "is not a folder" in str(await _refusal(tmp_path / "nowhere"))


async def test_a_spec_that_is_not_there_is_refused_with_the_nearest(project: Project) -> None:
    project.plan_of(ONE, spec="001-demo")
    with pytest.raises(UsageProblem, match="there is no spec '001-dmeo'") as refused:
        await project.run("001-dmeo")
    assert "001-demo" in refused.value.hint


async def test_an_agent_whose_program_is_missing_is_refused_before_anything_starts(
    project: Project,
) -> None:
    project.plan_of(ONE)
    project.write("auto-build.toml", '[agents.mine]\nargv = ["no-such-agent-program"]\n')

    with pytest.raises(EnvironmentUnfit, match="'no-such-agent-program' is not in PATH"):
        await project.run()

    assert run_git(project.path, "for-each-ref", "refs/heads/auto-build") == ""


# --- what is unusual and works ------------------------------------------------------------------


async def test_a_detached_head_works(project: Project) -> None:
    project.plan_of(ONE)
    project.agent("one", write("one.py"))
    project.git("checkout", "-q", "--detach")

    assert (await project.run()).view.finished

    branches = run_git(project.path, "for-each-ref", "--format=%(refname)", "refs/heads")
    assert branches.split() == [project.branch(), "refs/heads/main"]


async def test_a_linked_worktree_of_the_users_works(project: Project) -> None:
    folder = project.path.parent / "linked wörktree"
    project.git("worktree", "add", "-q", "-b", "side", str(folder))
    linked = Project(folder)
    linked.plan_of(ONE)
    linked.agent("one", write("one.py"))

    report = await linked.run()

    assert report.view.finished
    assert "one.py" in linked.tree()
    assert (folder / ".worktrees/auto-build/one.py").exists()
    assert not (project.path / ".worktrees").exists()
    linked.check_nothing_left()


async def test_a_sub_folder_of_the_project_will_do(project: Project) -> None:
    project.plan_of(ONE)
    project.agent("one", write("one.py"))
    project.write("deep/er/x.txt", "x\n")
    project.watch()
    view = await SwarmCoordinator(project.path / "deep" / "er", "1").run()
    assert view.finished


async def test_without_a_user_name_the_commits_are_signed_auto_build(project: Project) -> None:
    project.git("config", "--unset", "user.name")
    project.git("config", "--unset", "user.email")
    project.plan_of(ONE)
    project.agent("one", write("one.py"))

    assert (await project.run()).view.finished

    signed = run_git(project.path, "log", "-1", "--format=%an <%ae>", project.branch())
    assert signed == "Auto-Build <auto-build@localhost>\n"
