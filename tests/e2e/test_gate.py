"""Staging is green at every commit, whatever merges cleanly: what a candidate has to pass."""

import subprocess  # noqa: TID251 - a stranger who checks staging out
from pathlib import Path

import pytest

from auto_build.core import events as ev
from tests.e2e.project import Project, chunk, edit, run_git, shell, sleep, write

GEO = "def area(a, b=1):\n    return a * b\n\n\ndef legacy():\n    return 1\n"
RENAME = edit("geo.py", "def area", "def surface")
CALL = write("report.py", "import geo\n\n\ndef total():\n    return geo.area(2, 3)\n")
CALL_RENAMED = edit("report.py", "geo.area", "geo.surface")
REPORTS = "python3 -c 'import report; assert report.total() == 6'"
ALL_IMPORT = 'for one in *.py; do python3 -c "import ${one%.py}" || exit 1; done'
NUMBERS = 'test -z "$(ls migrations | cut -c1-4 | sort | uniq -d)"'

# what two agents do of which each passes alone, what passes, and how the second mends it
CLASHES = {
    "a rename against a new caller": (
        RENAME,
        "python3 -c 'import geo; assert geo.surface(2, 3) == 6'",
        CALL,
        REPORTS,
        CALL_RENAMED,
    ),
    "a removed symbol": (
        edit("geo.py", "\n\ndef legacy():\n    return 1\n", ""),
        "! grep -q legacy geo.py",
        write("old.py", "import geo\n\nVALUE = geo.legacy()\n"),
        "python3 -c 'import old; assert old.VALUE == 1'",
        write("old.py", "VALUE = 1\n"),
    ),
    "a changed default": (
        edit("geo.py", "b=1", "b=2"),
        "python3 -c 'import geo; assert geo.area(3) == 6'",
        write("square.py", "import geo\n\nLINE = geo.area(3)\n"),
        "python3 -c 'import square; assert square.LINE == 3'",
        write("square.py", "import geo\n\nLINE = geo.area(3, 1)\n"),
    ),
    "two migrations with one number": (
        write("migrations/0002_users.sql", "create table users;\n"),
        "test -f migrations/0002_users.sql",
        write("migrations/0002_items.sql", "create table items;\n"),
        "ls migrations | grep -q items",
        shell("git mv migrations/0002_items.sql migrations/0003_items.sql"),
    ),
}


def check_every_commit(project: Project, where: Path, checks: list[str]) -> int:
    """Check out every commit of staging's own line, and run all that must be green on it."""
    run_git(project.path, "clone", "--quiet", str(project.path), str(where))
    span = f"main..{project.branch()}"
    log = run_git(project.path, "log", "--first-parent", "--reverse", "--format=%H", span)
    document = project.plan_document()
    verifies = {
        one["id"]: one["verification"].get("command", "")
        for phase in document["phases"]
        for one in phase["chunks"]
    }
    landed = project.landings()
    for number, commit in enumerate(log.split(), start=1):
        run_git(where, "fetch", "--quiet", "origin", commit)
        run_git(where, "checkout", "--quiet", "--detach", commit)
        run_git(where, "clean", "-ffdxq")
        for command in (*checks, *(verifies[one] for one in landed[:number])):
            done = subprocess.run(("bash", "-c", command), cwd=where, capture_output=True)
            assert done.returncode == 0, f"{commit}: {command}: {done.stdout!r} {done.stderr!r}"
    return len(log.split())


@pytest.mark.parametrize("name", CLASHES)
async def test_what_passes_alone_and_not_together_never_lands_together(
    project: Project, tmp_path: Path, name: str
) -> None:
    first, first_passes, second, second_passes, mend = CLASHES[name]
    project.write("geo.py", GEO)
    project.write("migrations/0001_start.sql", "create table start;\n")
    checks = [ALL_IMPORT, NUMBERS]
    project.settings(f"[gate]\nchecks = [{', '.join(map(_quoted, checks))}]")
    project.commit_all("What there is")
    project.plan_of(
        chunk("first", files=["geo.py", "migrations/0002_users.sql"], verify=first_passes),
        chunk("second", files=["*.py", "migrations/000[2-9]_items.sql"][1:], verify=second_passes)
        if "migrations" in name
        else chunk("second", files=[str(second["path"])], verify=second_passes),
    )
    project.agent("first", first)
    project.agent("second", sleep(0.8), second)
    project.agent("second", mend, round=1)

    report = await project.run()

    assert report.labels() == {"first": "landed", "second": "landed"}
    red = report.only(ev.CandidateRejected)
    assert (red.chunk, red.culprits, red.surely) == ("second", ("first",), True)
    assert project.landings() == ["first", "second"]
    assert check_every_commit(project, tmp_path / "stranger", checks) == 2
    told = _prompts(project, "second")
    assert "do first" in told, "the other side's intent is not told"
    assert "fail only\ntogether" in told
    assert told.count("```diff") == 2


async def test_a_chunk_that_breaks_what_landed_before_is_told_so_and_does_not_land(
    project: Project,
) -> None:
    project.write("geo.py", GEO)
    project.commit_all("What there is")
    project.plan_of(
        chunk("one", files=["one.py"], verify="python3 -c 'import geo; assert geo.area(2) == 2'"),
        chunk("two", files=["geo.py"], verify="true", after=["one"]),
    )
    project.agent("one", write("one.py"))
    project.agent("two", edit("geo.py", "b=1", "b=5"))

    report = await project.run(repair_rounds=0)

    assert report.labels() == {"one": "landed", "two": "failed"}
    assert "geo.area(2) == 2" in report.row("two").note
    assert report.only(ev.CandidateRejected).culprits == ()


async def test_a_check_is_not_run_again_on_a_tree_on_which_it_was_green(project: Project) -> None:
    count = project.path.parent / "runs"
    counted = f"echo x >> '{count}'; grep -q good one.py"
    project.plan_of(chunk("one", files=["one.py"], verify=counted), chunk("two", files=["two.py"]))
    project.agent("one", write("one.py", "good\n"))

    report = await project.run(workers=1)
    assert report.labels() == {"one": "landed", "two": "failed"}
    assert count.read_text() == "x\n"

    project.agent("two", write("two.py"))
    project.edit_plan(lambda plan: plan["phases"][0]["chunks"][1].update(status="pending"))
    report = await project.run(workers=1)

    assert report.view.finished
    (base,) = report.only(ev.BaseChecked).checks
    assert base.runs == 0
    assert count.read_text() == "x\nx\n", "once for each tree that it was asked about"


async def test_a_check_that_reads_only_its_own_files_is_not_run_for_others(
    project: Project,
) -> None:
    project.plan_of(
        chunk("one", files=["one.py"], verify="grep -q good one.py"),
        chunk("two", files=["two.py"], verify="grep -q fine two.py", after=["one"]),
        chunk("three", files=["one.py"], verify="test -f one.py", after=["two"]),
    )
    project.agent("one", write("one.py", "good\n"))
    project.agent("two", write("two.py", "fine\n"))
    project.agent("three", write("one.py", "good still\n"))

    report = await project.run()

    two, three = (report.only(ev.CandidatePassed, name).checks for name in ("two", "three"))
    assert [(one.command, one.runs) for one in two] == [
        ("grep -q fine two.py", 1),
        ("grep -q good one.py", 0),
    ]
    assert {one.command: one.runs for one in three} == {
        "test -f one.py": 1,
        "grep -q good one.py": 1,
        "grep -q fine two.py": 0,
    }


async def test_a_red_check_that_is_green_the_second_time_is_a_flake_and_lands(
    project: Project,
) -> None:
    once = project.path.parent / "once"
    flaky = f"test -e '{once}' || {{ touch '{once}'; exit 1; }}"
    project.plan_of(chunk("one", files=["one.py"], verify=flaky))
    project.agent("one", write("one.py"))

    report = await project.run()

    assert report.view.finished
    (check,) = report.only(ev.CandidatePassed).checks
    assert check.runs == 2
    assert "flaky" in check.note
    assert report.view.flaky == (flaky,)


async def test_a_check_that_changes_the_tree_is_told_of_and_the_next_sees_the_candidate(
    project: Project,
) -> None:
    project.write("style.txt", "a\n")
    project.settings(
        '[gate]\nchecks = ["echo changed > style.txt; touch new.txt", "grep -q a style.txt", '
        '"! test -e new.txt"]'
    )
    project.commit_all("Style")
    project.plan_of(chunk("one", files=["one.py"], verify="true"))
    project.agent("one", write("one.py"))

    report = await project.run()

    assert report.view.finished
    assert project.show("style.txt") == "a\n"
    assert "new.txt" not in project.tree()
    assert any("wrote new.txt, style.txt: taken back" in one.text for one in report.notices)


def _prompts(project: Project, name: str) -> str:
    log = project.path / f".git/auto-build/logs/001-demo/{name}/1/agent.log"
    return log.read_text(encoding="utf-8").partition("--- prompt, round 1")[2]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
