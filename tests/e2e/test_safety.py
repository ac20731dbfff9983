"""What agents, hooks and broken folders cannot do: reach the user's things, or lose work."""

import os
import shutil
from pathlib import Path

import pytest

from auto_build import AutoBuildError, Notice, Record, Update
from auto_build.core import events as ev
from tests.e2e.project import (
    SPEC,
    Project,
    append,
    chunk,
    commit,
    run_git,
    say,
    shell,
    sleep,
    write,
)

PLAN = f"auto-build/specs/{SPEC}/implementation_plan.json"


async def test_ignored_files_artefacts_and_secrets_are_not_captured(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent(
        "one",
        write("one.py"),
        write(".env", "TOKEN=secret\n"),
        write("build.log", "noise\n"),
        write("__pycache__/one.pyc", "noise\n"),
    )

    report = await project.run()

    assert report.only(ev.WorkCaptured).touched == ("one.py",)
    everything = run_git(project.path, "rev-list", "--objects", "--all")
    for name in (".env", "build.log", "one.pyc"):
        assert not any(line.endswith(name) for line in everything.splitlines())
    assert sorted(project.tree()) == sorted(
        [*run_git(project.path, "ls-files").split("\n")[:-1], "one.py"]
    )


BREAKING = {
    "the .git file is deleted": "rm .git",
    "the .git file is broken": "echo broken > .git",
    "a repository of its own is made in its place": "rm .git && git init -q .",
}


@pytest.mark.parametrize("command", BREAKING.values(), ids=BREAKING)
async def test_git_in_a_broken_worker_folder_never_finds_the_users_repository(
    project: Project, command: str
) -> None:
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"], after=["one"]))
    project.agent(
        "one",
        write("one.py"),
        shell(command),
        shell("git add -A; git commit -q -m stray; git status; git stash; git stash pop"),
    )
    project.agent("two", write("two.py"))

    report = await project.run(workers=1)

    project.check_untouched()
    assert report.labels() == {"one": "landed", "two": "landed"}
    assert {"one.py", "two.py"} <= set(project.tree())


async def test_an_agent_that_deletes_its_whole_folder_fails_and_the_next_one_works(
    project: Project,
) -> None:
    project.plan_of(chunk("gone", files=["gone.py"]), chunk("two", files=["two.py"]))
    project.agent("gone", shell('rm -rf "$PWD"; cd ..; git add -A; git commit -q -m stray'))
    project.agent("two", write("two.py"))

    report = await project.run(workers=1)

    assert report.labels() == {"gone": "failed", "two": "landed"}
    assert "capture-failed" in report.row("gone").note


async def test_an_agent_that_makes_its_folder_anew_harms_nobody(project: Project) -> None:
    project.plan_of(
        chunk("anew", files=["anew.py"], verify="test -f README.md"),
        chunk("two", files=["two.py"]),
    )
    project.agent(
        "anew",
        shell(
            'here="$PWD"; cd ..; rm -rf "$here"; mkdir "$here"; cd "$here"; echo x > anew.py;'
            " git add -A; git commit -q -m stray"
        ),
    )
    project.agent("two", write("two.py"))

    report = await project.run(workers=1, repair_rounds=0)

    assert report.labels() == {"anew": "failed", "two": "landed"}
    assert project.pin_holding("anew.py") == "x\n"
    assert "README.md" in project.tree()


@pytest.mark.parametrize("hook", ["pre-commit", "commit-msg"])
async def test_a_commit_refused_by_a_hook_of_the_users_does_not_lose_the_agents_work(
    project: Project, hook: str
) -> None:
    project.hook(hook, 'echo "not in this house" >&2; exit 1')
    project.plan_of(chunk("own", files=["own.py"]), chunk("left", files=["left.py"]))
    project.agent("own", write("own.py", "own\n"), commit("my own commit"))
    project.agent("left", write("left.py", "left\n"))

    report = await project.run()

    assert report.view.finished
    assert (project.show("own.py"), project.show("left.py")) == ("own\n", "left\n")


async def test_the_coordinators_own_git_runs_no_hook_of_the_users(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", write("one.py"))
    seen = project.path.parent / "hook-ran"
    for hook in ("post-checkout", "reference-transaction", "post-commit", "pre-commit"):
        project.hook(hook, f'touch "{seen}"; exit 1')

    report = await project.run()

    assert report.view.finished
    assert not seen.exists()


async def test_an_agents_own_commits_land_as_they_are(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent(
        "one", write("one.py", "1\n"), commit("first half"), append("one.py", "2\n"), commit("rest")
    )

    await project.run()

    subjects = run_git(project.path, "log", "--format=%s", project.branch()).splitlines()
    assert {"first half", "rest"} <= set(subjects)
    assert project.landings() == ["one"]


@pytest.mark.quick
async def test_the_agents_edit_of_the_plan_file_is_refused_and_goes_back_to_the_agent(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", write("one.py"), write(PLAN, '{"phases": []}'))
    project.agent("one", shell(f"git checkout -q HEAD~ -- {PLAN} || git rm -qf {PLAN}"), round=1)
    project.commit_all("The plan")
    before = project.show(PLAN, "main")

    report = await project.run()

    feedback = report.only(ev.CandidateRejected).feedback
    assert PLAN in feedback
    assert report.view.finished, report.row("one").note
    assert project.show(PLAN) == before
    assert "one" in project.plan_statuses()


async def test_a_git_repository_left_by_the_agent_is_refused_by_name_and_its_files_kept(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["vendor/"]), chunk("two", files=["two.py"]))
    project.agent(
        "one",
        shell(
            "git init -q vendor/lib && cd vendor/lib && echo x > precious.txt && git add -A"
            " && git -c user.name=x -c user.email=x@y commit -qm inner"
        ),
    )
    project.agent("two", write("two.py"))

    report = await project.run()

    assert report.labels() == {"one": "failed", "two": "landed"}
    note = report.row("one").note
    assert "vendor/lib" in note
    kept = project.path / ".worktrees" / "kept" / "one-1" / "vendor" / "lib" / "precious.txt"
    assert kept.read_text() == "x\n"
    assert str(kept.parents[2]) in note


async def test_an_unfinished_merge_left_by_the_agent_is_refused_and_its_files_kept(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["a.txt"]), chunk("two", files=["two.py"]))
    project.agent(
        "one",
        shell(
            "echo mine > a.txt; git commit -qam mine; mine=$(git rev-parse HEAD);"
            " git checkout -q --detach HEAD~; echo theirs > a.txt; git commit -qam theirs;"
            " git merge -q $mine"
        ),
    )
    project.agent("two", write("two.py"))

    report = await project.run(workers=1)

    assert report.labels() == {"one": "failed", "two": "landed"}
    assert "unfinished merge in a.txt" in report.row("one").note
    kept = (project.path / ".worktrees" / "kept" / "one-1" / "a.txt").read_text()
    assert "mine" in kept
    assert "theirs" in kept
    pinned = [project.show("a.txt", commit) for commit in project.pins().values()]
    assert "theirs\n" in pinned, "and its commits are pinned"


async def test_refs_of_the_users_are_refused_to_agents_and_checks_and_the_work_lands(
    project: Project,
) -> None:
    project.git("branch", "mine")
    verify = "git branch stray 2>&1 | grep 'refs/heads/stray is not yours to write'"
    project.plan_of(chunk("one", files=["one.txt"], verify=verify))
    project.agent(
        "one", shell(f"git branch -f mine HEAD 2> one.txt; git branch -f auto-build/{SPEC} HEAD~")
    )
    project.commit_all("The plan")

    report = await project.run()

    assert report.view.finished, report.row("one").note
    assert "refs/heads/mine is not yours to write" in project.show("one.txt")
    assert project.landings() == ["one"]


async def test_history_rewritten_by_the_agent_still_lands_on_staging(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent(
        "one",
        write("one.py"),
        shell(
            "git add -A && git checkout -q --detach $(git commit-tree -m root $(git write-tree))"
        ),
    )

    report = await project.run()

    assert report.view.finished
    assert {"one.py", "README.md"} <= set(project.tree())


async def test_agents_and_checks_are_given_a_stated_environment(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.settings('[environment]\npass = ["PASSED_*"]\nset = { FIXED = "value" }')
    project.plan_of(chunk("one", files=["env.txt"], verify='env > "$HOME/check-env"'))
    project.agent("one", shell("env > env.txt"))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_AUTHOR_NAME", "GIT_SSH"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("SECRET_OF_MINE", "secret")
    monkeypatch.setenv("PASSED_ON", "yes")

    report = await project.run()

    assert report.view.finished
    home = os.environ["HOME"]
    agent = _variables(project.show("env.txt"))
    check = _variables(Path(home, "check-env").read_text())
    for given in (agent, check):
        named = {key for key in given if key.startswith("GIT_")}
        firewall = {"GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0"}
        assert named == {"GIT_CEILING_DIRECTORIES", "GIT_TERMINAL_PROMPT", *firewall}
        assert given["GIT_CONFIG_KEY_0"] == "core.hooksPath"
        ceilings = given["GIT_CEILING_DIRECTORIES"].split(os.pathsep)
        assert ceilings == [str(project.path / ".worktrees"), str(project.path)]
        assert given["AUTO_BUILD_SPEC"] == SPEC
        assert given["AUTO_BUILD_CHUNK"] == "one"
        assert given["AUTO_BUILD_ATTEMPT"] == "1"
        assert given["AUTO_BUILD_WORKER"] == "1"
        assert given["PASSED_ON"] == "yes"
        assert given["FIXED"] == "value"
        assert "SECRET_OF_MINE" not in given
    assert agent["ANTHROPIC_API_KEY"] == "dummy"
    assert agent["OPENAI_API_KEY"] == "dummy"
    assert not {"ANTHROPIC_API_KEY", "OPENAI_API_KEY"} & set(check)


def _variables(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


async def test_the_run_says_which_unsaved_files_the_agents_do_not_see(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"], verify="! grep -q unsaved a.txt"))
    project.agent("one", write("one.py"))
    project.write("a.txt", "unsaved\n")
    project.write("new file.py", "unsaved\n")

    report = await project.run()

    assert "2 unsaved files: a.txt, new file.py" in report.warnings
    assert report.view.finished
    assert (project.path / "a.txt").read_text() == "unsaved\n"


async def test_the_user_works_on_while_agents_do(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", say("go"), sleep(0.1), write("one.py"))

    def work(update: Update) -> None:
        if isinstance(update.what, Notice) and update.what.text == "go":
            project.write("mine.txt", "mine\n")
            project.commit_all("Mine")
            project.write("a.txt", "unsaved\n")
            project.git("stash")

    report = await project.run(on_update=work)

    assert report.view.finished
    assert "mine.txt" not in project.tree()
    assert project.git("stash", "list")


async def test_a_staging_worktree_that_is_deleted_during_the_run_is_made_again(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"], after=["one"]))
    project.agent("one", say("go"), write("one.py"))
    project.agent("two", write("two.py"))

    def delete(update: Update) -> None:
        if isinstance(update.what, Notice) and update.what.text == "go":
            shutil.rmtree(project.staging)

    report = await project.run(on_update=delete)

    assert project.landings() == ["one", "two"]
    assert report.only(ev.StraysFound).back == ("the staging worktree was removed",)
    assert report.only(ev.CandidateLanded, "one").view == ""
    assert (project.staging / "two.py").exists()


async def test_a_staging_worktree_that_is_deleted_while_it_checks_is_shown_by_the_next_run(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", write("one.py"))

    def delete(update: Update) -> None:
        if isinstance(update.what, Record) and isinstance(update.what.event, ev.GateStarted):
            shutil.rmtree(project.staging)

    report = await project.run(on_update=delete)
    assert project.landings() == ["one"]
    assert "gone" in report.only(ev.CandidateLanded, "one").view

    await project.run()
    assert (project.staging / "one.py").exists()


async def test_a_read_only_git_folder_is_an_error_in_words(project: Project) -> None:
    if os.geteuid() == 0:
        pytest.skip("nothing is read-only for root")
    project.plan_of(chunk("one", files=["one.py"]))
    (project.path / ".git").chmod(0o555)
    try:
        with pytest.raises(AutoBuildError) as refused:
            await project.run()
    finally:
        (project.path / ".git").chmod(0o755)
    assert refused.value.hint
