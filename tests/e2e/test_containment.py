"""THE accidental agent: what it does to the user's side is taken back, told by name, and kept."""

import shlex
from pathlib import Path

import pytest

from auto_build import Notice, Update
from auto_build.core import events as ev
from tests.e2e.project import SPEC, Project, Report, chunk, run_git, say, shell, sleep, write

# What an agent does by mistake from its slot, with `U` the user's checkout.
ACCIDENTS = """
U="$(cd ../.. && pwd)"
git branch -f other HEAD
git -C "$U" checkout -q -f other
echo harm > "$U/README.md"
echo harm > "$U/a.txt"
echo harm > "$U/new.txt"
echo harm > "$U/stray.txt"
rm "$U/.env" "$U/b.txt"
rm -r "$U/docs"
git stash pop -q; git checkout -q -f HEAD -- .; git stash list > /dev/null
git config user.name Eve
printf '#!/bin/sh\\nexit 1\\n' > "$U/.git/hooks/pre-commit"; chmod +x "$U/.git/hooks/pre-commit"
echo '* -diff' > "$U/.git/info/attributes"
git -C "$U" add -A
git -C "$U" commit -qm harm
git worktree remove --force ../auto-build-worker-2
rm -rf ../auto-build-worker-3
rm -rf ../auto-build
"""
BACK = {
    "HEAD was moved from main to other",
    "the index was changed",
    ".env, which git ignores, was deleted",
    "README.md was changed",
    "a.txt was changed",
    "b.txt was deleted",
    "docs/x.md was deleted",
    "git's config was changed",
    "git's hooks/pre-commit was added",
    "git's info/attributes was added",
    "new.txt was changed",
    "stray.txt was added",
    "the staging worktree was removed",
}


@pytest.fixture
def at_work(project: Project) -> Project:
    """Return a checkout in which somebody is in the middle of things."""
    project.write("b.txt", "b\n")
    project.write("docs/x.md", "x\n")
    project.commit_all("More")
    project.git("branch", "other", "HEAD~")
    project.write("a.txt", "stashed\n")
    project.git("stash", "push", "-q", "-m", "for later")
    project.write("a.txt", "a\nunsaved\nc\n")
    project.write("b.txt", "staged\n")
    project.git("add", "b.txt")
    project.write("new.txt", "new\n")
    project.write(".env", "TOKEN=1\n")
    return project


def check_taken_back(project: Project, report: Report, *more: str) -> None:
    """See that all of it was taken back, told of, and kept; `run` has seen what is untouched."""
    (event,) = report.of(ev.StraysFound)
    assert event.chunks == ("accident",)
    stash = [words for words in event.back if words.startswith("the stash entry")]
    assert len(stash) == 1
    assert {*event.back} - {*stash} == {*BACK, *more}
    assert project.show("accident.py") == "done\n"
    assert project.show("a.txt") == "a\nb\nc\n"
    patch = event.kept.partition("git apply ")[2].partition("; ")[0]
    assert "+harm" in Path(patch).read_text()
    assert report.view.strays == (event,)
    kept = run_git(project.path, "for-each-ref", "--format=%(refname)", "refs/auto-build/user")
    assert kept == "", "what was kept for the session only is gone with it"


async def test_what_an_agent_does_by_mistake_on_the_users_side_is_taken_back(
    at_work: Project,
) -> None:
    first = [chunk(name, files=[f"{name}.py"]) for name in ("one", "two", "three")]
    after = ["one", "two", "three"]
    at_work.plan_of(*first, chunk("accident", files=["accident.py"], after=after))
    for name in after:
        at_work.agent(name, sleep(0.3), write(f"{name}.py"))
    at_work.agent("accident", shell(ACCIDENTS), write("accident.py"))

    report = await at_work.run(workers=3)

    assert report.view.finished
    check_taken_back(at_work, report)
    (event,) = report.of(ev.StraysFound)
    assert event.told == (
        "the worktree of worker 2 was removed",
        "the worktree of worker 3 was removed",
    )


async def test_a_program_that_does_the_same_is_held_just_so(at_work: Project) -> None:
    script = at_work.path.parent / "agent.sh"
    script.write_text(f"cat > /dev/null\n{ACCIDENTS}\necho done > accident.py\n")
    argv = f'["sh", {shlex.quote(str(script))!r}]'.replace("'", '"').replace('""', '"')
    at_work.settings(f'[agents.program]\nkind = "command"\nargv = {argv}')
    at_work.commit_paths("auto-build.toml")
    at_work.plan_of(chunk("accident", files=["accident.py"]))

    report = await at_work.run(agent="program")

    assert report.view.finished
    check_taken_back(at_work, report, "auto-build.toml was changed")


async def test_what_the_user_does_meanwhile_with_git_is_not_undone(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"], after=["one"]))
    project.agent("one", say("go"), sleep(0.1), write("one.py"))
    project.agent("two", write("two.py"))

    def work(update: Update) -> None:
        if isinstance(update.what, Notice) and update.what.text == "go":
            project.write("mine.txt", "mine\n")
            project.commit_all("Mine")
            project.write("a.txt", "unsaved\n")
            project.git("checkout", "-q", "-b", "topic")

    report = await project.run(on_update=work)

    assert report.view.finished
    assert report.of(ev.StraysFound) == []
    assert (project.path / "a.txt").read_text() == "unsaved\n"
    assert any("taken as yours" in notice.text for notice in report.notices)


async def test_with_report_what_the_user_edits_meanwhile_stays(project: Project) -> None:
    project.settings('[containment]\nstrays = "report"')
    project.commit_all("Settings")
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", say("go"), sleep(0.1), write("one.py"))

    def work(update: Update) -> None:
        if isinstance(update.what, Notice) and update.what.text == "go":
            project.write("a.txt", "unsaved\n")

    report = await project.run(on_update=work)

    (event,) = report.of(ev.StraysFound)
    assert (event.back, event.told) == ((), ("a.txt was changed",))
    assert (project.path / "a.txt").read_text() == "unsaved\n"


async def test_what_strays_while_several_are_at_work_is_told_of_all_of_them(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"]))
    meet = 'touch "$HOME/$AUTO_BUILD_CHUNK"; until test -e "$HOME/{other}"; do sleep 0.05; done'
    project.agent(
        "one", shell(meet.format(other="two")), shell("echo x > ../../a.txt"), write("one.py")
    )
    project.agent(
        "two",
        shell(meet.format(other="one")),
        shell('until grep -q "b" ../../a.txt && test -e "$HOME/found"; do sleep 0.05; done'),
        write("two.py"),
    )

    def seen(update: Update) -> None:
        if "StraysFound" in type(getattr(update.what, "event", None)).__name__:
            Path.home().joinpath("found").touch()

    report = await project.run(on_update=seen)

    assert report.view.finished
    assert report.only(ev.StraysFound).chunks == ("one", "two")


async def test_a_hook_planted_before_a_merge_never_runs(project: Project) -> None:
    project.plan_of(chunk("one", files=["one.py"]))
    ran = project.path.parent / "ran"
    plant = f"echo 'touch {shlex.quote(str(ran))}' > ../../.git/hooks/post-merge"
    project.agent("one", shell(f"{plant}; chmod +x ../../.git/hooks/post-merge"), write("one.py"))

    await project.run()
    project.git("merge", "-q", "--no-edit", f"auto-build/{SPEC}")

    assert not ran.exists()
