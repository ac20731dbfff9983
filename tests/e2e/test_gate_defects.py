"""What a hostile reviewer found in the gate and in worker slots; none of it may come back.

Each test plays one of their experiments: an agent, a check or a set-up command that does what no
tidy one does, and the chunks beside it, to which nothing may come of that.
"""

import asyncio
import json
import re
import shlex
import sqlite3
import subprocess  # noqa: TID251 - a stranger who clones staging, and somebody's own git
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from auto_build import Record, Update
from auto_build.core import events as ev
from auto_build.errors import EnvironmentUnfit, UsageProblem
from tests.e2e.project import (
    Project,
    append,
    chunk,
    edit,
    run_git,
    shell,
    sleep,
    stop,
    write,
)
from tests.e2e.test_worker_slots import SERVER, free_port, needs_npm, plan_and_play, refused

PYTHON = shlex.quote(sys.executable)
PYTEST = f"{PYTHON} -m pytest -q -p no:cacheprovider"
LATIN = "caf\\351"  # as printf takes it: a name, and a word, that are no UTF-8


# --- what may land ------------------------------------------------------------------------------


async def test_nothing_of_one_that_fails_gets_into_staging_with_one_that_stands_on_it(
    project: Project,
) -> None:
    names = [f"c{n}" for n in range(1, 9)]
    settle(project, checks=["sleep 1; test -e a.txt"], more="window = 4")
    project.plan_of(
        *(
            chunk(
                name,
                files=[f"{name}.txt"],
                verify="sleep 2.5; grep -q good c5.txt" if name == "c5" else "",
            )
            for name in names
        )
    )
    others_plan = "auto-build/specs/other/implementation_plan.json"
    for name in names:
        own = write(f"{name}.txt", f"{name} is bad\n")
        project.agent(name, own, *([write(others_plan, "{}")] if name == "c6" else []))
    project.agent("c6", shell("rm -r auto-build/specs/other"), round=1)

    report = await project.run(workers=4, repair_rounds=1)

    gates = report.of(ev.GateStarted, "c6")
    assert any(gate.ahead for gate in gates), "it never stood on another"
    assert report.labels() == {name: "failed" if name == "c5" else "landed" for name in names}
    assert "c5.txt" not in paths_ever(project)
    assert others_plan not in project.tree()


ANOTHER_NAME = """import time
import pytest


@pytest.mark.parametrize("now", [time.time_ns()])
def test_new(now):
    assert 0
"""
OTHERS = {
    "alone": "def test_old():\n    assert 1\n",
    "beside one that always failed": "def test_old():\n    assert 0\n",
}


@pytest.mark.parametrize("old", OTHERS)
async def test_a_check_that_is_red_each_time_for_another_test_never_lands(
    project: Project, old: str
) -> None:
    project.write("test_old.py", OTHERS[old])
    settle(project, checks=[PYTEST])
    project.plan_of(chunk("bad", files=["test_new.py"]), chunk("good", files=["good.txt"]))
    project.agent("bad", write("test_new.py", ANOTHER_NAME))
    project.agent("good", write("good.txt"))

    report = await project.run(repair_rounds=0)

    assert report.labels() == {"bad": "failed", "good": "landed"}
    assert "test_new.py" not in project.tree()


@pytest.mark.parametrize("begun", [False, True], ids=["before landing", "while it lands"])
async def test_a_check_that_came_since_the_candidate_passed_is_asked_before_it_lands(
    project: Project, begun: bool
) -> None:
    settle(project, checks=["test -e a.txt"])
    project.plan_of(chunk("one", files=["one.txt"]), chunk("two", files=["two.txt"]))
    project.agent("one", write("one.txt", "bad\n"))
    project.agent("two", sleep(20), write("two.txt"))
    await cut_off(project, ev.CandidatePassed)
    forget_after(project, "LandStarted" if begun else "CandidatePassed")
    assert project.landings() == []
    project.settings(gate("test -e a.txt", "! grep -qs bad one.txt"))
    project.agent_forgets()
    project.agent("two", write("two.txt"))

    report = await project.run(repair_rounds=0)

    assert report.labels() == {"one": "failed", "two": "landed"}
    assert "one.txt" not in project.tree()


async def test_what_was_compiled_in_the_same_second_is_not_taken_for_what_lands(
    project: Project, tmp_path: Path
) -> None:
    clash = f"{PYTHON} -c 'import m; assert not (m.X == 2 and m.Y == 2)'"
    project.write("m.py", "X = 1\n\n\n\n\n\nY = 1\n")
    settle(project, checks=[clash])
    project.plan_of(chunk("one", files=["m.py"]), chunk("two", files=["n.py"]))
    project.agent("one", edit("m.py", "X = 1", "X = 2"))
    project.agent(
        "two",
        sleep(2.5),
        shell(f"{PYTHON} -c 'import time; time.sleep(1.02 - time.time() % 1)'"),
        edit("m.py", "Y = 1", "Y = 2"),
        shell(f"{PYTHON} -c 'import m'"),
    )

    report = await project.run(repair_rounds=0)

    assert report.labels() == {"one": "landed", "two": "failed"}
    assert is_green_in_a_clone(project, tmp_path / "clone", clash)


async def test_a_flaky_failure_of_the_base_is_no_excuse_to_break_that_test_for_good(
    project: Project, tmp_path: Path
) -> None:
    once = tmp_path / "failed once"
    project.write("m.py", "def f():\n    return 1\n")
    project.write(
        "test_m.py",
        f"""import pathlib
import m


def test_a():
    once = pathlib.Path({str(once)!r})
    again = once.exists()
    if m.f() == 1:
        once.touch()
    assert m.f() == 1 and again


def test_b():
    pass
""",
    )
    project.commit_all("Tests")
    project.plan_of(chunk("one", files=["m.py", "test_c.py"], verify=PYTEST))
    project.agent(
        "one",
        edit("m.py", "return 1", "return  2"),
        write("test_c.py", "def test_c():\n    pass\n"),
    )

    report = await project.run(repair_rounds=0)

    assert report.labels() == {"one": "failed"}
    assert once.exists(), "the base was never looked at"


# --- what is nobody's fault, or somebody else's -------------------------------------------------

GREEN_IN_ONE_SLOT = {
    "the project's check": ('for part in parts/*.sh; do . "$part" || exit 1; done', ""),
    "the verification of what landed": ("true", ". parts/one.sh"),
}


@pytest.mark.parametrize("whose", GREEN_IN_ONE_SLOT)
async def test_a_check_that_is_red_on_staging_too_for_what_git_ignores_stops_the_run(
    project: Project, whose: str
) -> None:
    check, verify = GREEN_IN_ONE_SLOT[whose]
    project.write(".gitignore", "lib/\n")
    project.write("parts/start.sh", "true\n")
    settle(project, checks=[check])
    project.plan_of(
        chunk("one", files=["parts/one.sh"], verify=verify),
        chunk("two", files=["parts/two.sh"]),
    )
    project.agent("one", write("lib/dep.sh", "true\n"), write("parts/one.sh", ". lib/dep.sh\n"))
    project.agent("two", sleep(2.5), write("parts/two.sh", "true\n"))

    seen: list[Update] = []
    with pytest.raises(EnvironmentUnfit, match="red there now, in worker 2, without anybody"):
        await project.run(repair_rounds=1, on_update=seen.append)

    assert project.landings() == ["one"]
    assert not any(is_event(one, ev.CandidateRejected, "two") for one in seen)


async def test_who_breaks_staging_by_hand_during_the_run_is_nobody_elses_fault(
    project: Project,
) -> None:
    settle(project, checks=["sleep 0.2; ! test -e broken.txt"])
    project.plan_of(chunk("one", files=["one.txt"]), chunk("two", files=["two.txt"]))
    project.agent("one", write("one.txt"))
    project.agent("two", sleep(2.5), write("two.txt"))

    rejected: list[Update] = []

    def break_staging(update: Update) -> None:
        rejected.extend([update] if is_event(update, ev.CandidateRejected, "two") else [])
        if is_event(update, ev.CandidateLanded, "one"):
            (project.staging / "broken.txt").write_text("x\n")
            run_git(project.staging, "add", "broken.txt")
            run_git(project.staging, "commit", "-qm", "By hand")

    with pytest.raises(EnvironmentUnfit, match="red there now"):
        async with asyncio.timeout(60):  # it may be checked again, but not for ever
            await project.run(repair_rounds=1, on_update=break_staging)

    assert project.landings()[0] == "one"
    assert rejected == []


async def test_a_second_round_that_is_red_for_its_own_reason_hears_nothing_of_earlier_culprits(
    project: Project,
) -> None:
    settle(project, checks=["sleep 0; ! test -e one.txt -a -e b.txt", "sleep 0; ! test -e oops"])
    project.plan_of(chunk("one", files=["one.txt"]), chunk("two", files=["b.txt", "oops"]))
    project.agent("one", write("one.txt"))
    project.agent("two", sleep(1.5), write("b.txt"))
    project.agent("two", shell("rm b.txt; touch oops"), round=1)
    project.agent("two", shell("rm oops; echo x > c.txt"), round=2)

    report = await project.run(repair_rounds=2)

    assert report.view.finished
    assert [red.culprits for red in report.of(ev.CandidateRejected)] == [("one",), ()]
    assert "fail only\ntogether" in prompts(project, "two", round_=1).partition("round 2")[0]
    assert "fail only\ntogether" not in prompts(project, "two", round_=2)


async def test_a_culprits_patch_with_bytes_that_are_no_utf_8_does_not_break_the_repair(
    project: Project,
) -> None:
    (project.path / "old.txt").write_bytes("caf\xe9\n".encode("latin-1"))
    settle(project, checks=["! { grep -qas new old.txt && test -e b.txt; }"])
    project.plan_of(chunk("one", files=["old.txt"]), chunk("two", files=["b.txt"]))
    project.agent("one", shell(f"printf 'new {LATIN}\\n' > old.txt"))
    project.agent("two", sleep(1.5), write("b.txt"))
    project.agent("two", shell("rm b.txt; echo x > c.txt"), round=1)

    report = await project.run(repair_rounds=1)

    assert report.view.finished
    assert report.only(ev.CandidateRejected).culprits == ("one",)
    assert "+new caf" in prompts(project, "two")


ODD = shell(f"echo $AUTO_BUILD_CHUNK > \"$(printf '{LATIN}.txt')\"")


async def test_a_file_name_that_is_no_utf_8_fails_nobody_who_begins_while_it_is_worked_on(
    project: Project,
) -> None:
    project.plan_of(
        chunk("one", files=["one.txt"], verify="test -e mended.txt"),
        chunk("two", files=["two.txt"]),
        chunk("three", files=["three.txt"], after=["two"]),
    )
    project.agent("one", write("one.txt"), ODD)
    project.agent("one", sleep(3), write("mended.txt"), round=1)
    project.agent("two", sleep(1), write("two.txt"))
    project.agent("three", write("three.txt"))

    report = await project.run(repair_rounds=1)

    assert report.labels() == dict.fromkeys(("one", "two", "three"), "landed")
    assert {"one.txt", "two.txt", "three.txt"} <= project.tree().keys()


async def test_two_that_write_a_file_whose_name_is_no_utf_8_fail_nobody_else(
    project: Project,
) -> None:
    settle(project, checks=["sleep 0.7; test -e a.txt"], more="window = 4")
    names = [f"c{n}" for n in range(1, 9)]
    odd = names[2:6]
    project.plan_of(*(chunk(name, files=[f"{name}.txt"]) for name in names))
    for name in names:
        project.agent(name, write(f"{name}.txt"), *([ODD] if name in odd else []))

    await project.run(workers=4, repair_rounds=1)

    assert set(project.landings()) >= set(names) - set(odd)
    assert set(project.landings()) & set(odd), "the first of them is in nobody's way"


# --- what is looked for before anybody is paid --------------------------------------------------


@pytest.mark.parametrize("fault", ["reads the checkout", "is green only alone"])
async def test_what_stopped_the_first_run_stops_the_second_where_nothing_was_mended(
    project: Project, fault: str
) -> None:
    project.write("app/__init__.py", "PRICE = 1\n")
    project.write("server.py", SERVER)
    project.write("port.txt", str(free_port()))
    elsewhere = f'python3 -B -c "import sys; sys.path.insert(0, {str(project.path)!r}); import app"'
    leaks = fault == "reads the checkout"
    settle(project, checks=[f"cd / && {elsewhere}" if leaks else "python3 server.py"])
    plan_and_play(project)

    first, second = await refused(project), await refused(project)

    why = "would judge your checkout" if leaks else "is green alone and red"
    assert why in str(first)
    assert why in str(second)


async def test_a_copied_file_that_changed_has_the_base_checked_again(project: Project) -> None:
    project.write(".env", "DB=1\n")
    settle(project, checks=["grep -q DB=1 .env || exit 3; test -d ."], slots='copy = [".env"]')
    await has_nothing_landed(project)
    project.write(".env", "DB=2\n")

    report = await project.run()

    (check,) = report.only(ev.BaseChecked).checks
    assert (check.passed, check.runs > 0) == (False, True)


async def test_another_session_of_the_user_does_not_have_the_base_checked_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(project, checks=["sleep 0; test -e a.txt"])
    monkeypatch.setenv("XDG_SESSION_ID", "1")
    await has_nothing_landed(project)
    monkeypatch.setenv("XDG_SESSION_ID", "2")

    report = await project.run()

    (check,) = report.only(ev.BaseChecked).checks
    assert (check.passed, check.runs) == (True, 0)


async def test_a_check_that_makes_an_empty_folder_does_not_help_the_next_one(
    project: Project,
) -> None:
    settle(project, checks=["mkdir -p out/deep", "sleep 0; test -d out"])
    project.plan_of(chunk("one", files=["one.txt"]))
    project.agent("one", write("one.txt"))

    report = await project.run()

    assert [check.passed for check in report.only(ev.BaseChecked).checks] == [True, False]


# --- what an agent does to git in its slot ------------------------------------------------------

HIDING = ["--skip-worktree", "--assume-unchanged"]


@pytest.mark.parametrize("flag", HIDING)
async def test_an_edit_that_an_agent_hides_from_git_lands_all_the_same(
    project: Project, flag: str
) -> None:
    project.plan_of(
        chunk("one", files=["a.txt"], verify="grep -q new a.txt"),
        chunk("two", files=["two.txt"], after=["one"], verify="cmp a.txt two.txt"),
    )
    project.agent("one", shell(f"git update-index {flag} a.txt"), write("a.txt", "new\n"))
    project.agent("two", shell("cp a.txt two.txt"))

    report = await project.run(workers=1, repair_rounds=0)

    assert report.labels() == {"one": "landed", "two": "landed"}
    assert (project.show("a.txt"), project.show("two.txt")) == ("new\n", "new\n")


@pytest.mark.parametrize("flag", HIDING)
async def test_what_a_failed_agent_hid_from_git_is_not_there_for_the_next_in_its_slot(
    project: Project, flag: str
) -> None:
    project.plan_of(
        chunk("one", files=["a.txt"], verify="false"),
        chunk("two", files=["two.txt"], verify="! grep -q new a.txt"),
    )
    project.agent("one", shell(f"git update-index {flag} a.txt"), write("a.txt", "new\n"))
    project.agent("two", shell("cp a.txt two.txt"))

    report = await project.run(workers=1, repair_rounds=0)

    assert report.labels() == {"one": "failed", "two": "landed"}
    assert project.show("two.txt") == "a\nb\nc\n"


async def test_what_an_agent_leaves_out_of_its_worktree_is_not_deleted_nor_missing_for_the_next(
    project: Project,
) -> None:
    project.git("config", "extensions.worktreeConfig", "true")  # else sparse-checkout sets it
    project.write("big/x.txt", "x\n")
    settle(project, checks=["sleep 0; test -e big/x.txt -a -e a.txt"])
    project.plan_of(chunk("one", files=["one.txt"]), chunk("two", files=["two.txt"], after=["one"]))
    project.agent("one", shell("git sparse-checkout set nowhere"), write("one.txt"))
    project.agent("two", shell("cat big/x.txt > two.txt"))
    before = project.tree("main").keys()

    report = await project.run(workers=1, repair_rounds=0)

    assert report.labels() == {"one": "landed", "two": "landed"}
    assert project.tree().keys() == before | {"one.txt", "two.txt"}
    assert project.show("two.txt") == "x\n"


COMMIT = "git -c user.name=x -c user.email=x@y commit -qam own"
INSIDE = {
    "a change": "echo new > lib/lib.txt",
    "a new file": "echo new > lib/own.txt",
    "a commit": f"cd lib && echo new > lib.txt && {COMMIT}",
}


@pytest.mark.parametrize("what", INSIDE)
async def test_what_an_agent_writes_inside_a_submodule_is_told_of_and_gone_for_the_next(
    project: Project, clean_environment: Path, what: str
) -> None:
    (clean_environment / ".gitconfig").write_text('[protocol "file"]\nallow = always\n')
    library = Project.make(project.path.parent / "library", {"lib.txt": "lib\n"})
    project.git("submodule", "--quiet", "add", str(library.path), "lib")
    settle(project, slots='setup = ["git submodule update --init --recursive"]')
    clean = "grep -q lib lib/lib.txt && ! test -e lib/own.txt"
    project.plan_of(
        chunk("one", files=["one.txt"], verify="grep -qr new lib"),
        chunk("two", files=["two.txt"], verify=clean),
    )
    project.agent("one", shell(INSIDE[what]), write("one.txt"))
    project.agent("two", shell(f"{clean} && echo clean > two.txt"))

    report = await project.run(workers=1, repair_rounds=0)

    assert report.labels() == {"one": "failed", "two": "landed"}
    ended = report.only(ev.AttemptEnded, "one")
    assert ended.outcome is ev.Outcome.CAPTURE_FAILED
    assert re.search(r"\blib\b", ended.detail)
    kept = project.path.glob(".worktrees/kept/*/lib/*.txt")
    assert "new\n" in [path.read_text() for path in kept]
    assert project.show("two.txt") == "clean\n"


# --- what set-up does ---------------------------------------------------------------------------


async def test_set_up_that_changes_tracked_files_on_a_chunks_work_is_red_and_says_which(
    project: Project,
) -> None:
    project.write("requirements.txt", "a\n")
    project.write("made.txt", "a\n")
    project.write("install.sh", "cp requirements.txt made.txt\n")
    settle(project, checks=["sleep 0; test -e a.txt"], slots='setup = ["bash install.sh"]')
    project.plan_of(chunk("one", files=["requirements.txt", "made.txt"]))
    project.agent("one", write("requirements.txt", "b\n"))
    project.agent("one", write("made.txt", "b\n"), round=1)

    report = await project.run(repair_rounds=1)

    assert report.view.finished
    assert "made.txt" in report.only(ev.CandidateRejected).feedback


KNOWN = {"there is no check": [], "every check is known to be green": ["grep -q . a.txt"]}


@pytest.mark.parametrize("checks", KNOWN.values(), ids=KNOWN)
async def test_work_that_cannot_be_set_up_is_red_even_where_no_check_has_to_be_run(
    project: Project, checks: list[str]
) -> None:
    project.write("requirements.txt", "tiny==1\n")
    settle(project, checks=checks, slots="setup = ['! grep no-such requirements.txt']")
    project.plan_of(
        chunk("bad", files=["requirements.txt"]),
        chunk("good", files=["good.txt"]),
        chunk("next", files=["next.txt"], after=["good"]),
    )
    project.agent("bad", append("requirements.txt", "no-such==1\n"))
    for name in ("good", "next"):
        project.agent(name, write(f"{name}.txt"))

    report = await project.run(repair_rounds=0)

    assert report.labels() == {"bad": "failed", "good": "landed", "next": "landed"}
    assert "no-such" in report.row("bad").note


async def test_set_up_that_fails_in_one_slot_while_others_are_at_it_ends_the_run_with_its_reason(
    project: Project,
) -> None:
    project.write(".gitignore", "built/\n")
    project.write(
        "install.sh",
        """case $AUTO_BUILD_WORKER in
2) for n in $(seq 200); do test -d ../auto-build-worker-3/built/9 && break; sleep 0.05; done
   echo out of milk; exit 3;;
3) for n in $(seq 20000); do mkdir -p "$PWD/built/$n"; : > "$PWD/built/$n/x"; done;;
esac
""",
    )
    settle(project, slots='setup = ["bash install.sh"]')
    plan_and_play(project)

    unfit = await refused(project)

    assert "set-up of worker 2 failed (3)" in str(unfit)
    assert "out of milk" in str(unfit)
    project.check_nothing_left()
    project.settings("")
    assert (await project.run(workers=3)).view.finished


async def test_set_up_may_leave_an_ignored_file_whose_name_is_no_utf_8(
    project: Project, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    project.write("install.sh", f"echo x >> '{told}'; touch \"$(printf '{LATIN}.log')\"\n")
    settle(project, slots='setup = ["bash install.sh"]')
    project.plan_of(chunk("one", files=["one.txt"]), chunk("two", files=["two.txt"], after=["one"]))
    for name in ("one", "two"):
        project.agent(name, write(f"{name}.txt"))

    report = await project.run(workers=1)

    assert report.view.finished
    assert told.read_text() == "x\n", "what it left was not known again"


# --- what is the user's -------------------------------------------------------------------------

NESTED = [
    'link = ["deps", "deps/.cache"]',
    'link = ["deps"]\ncopy = ["deps/.cache"]',
    'copy = ["deps"]\nlink = ["deps/.cache"]',
    'copy = ["deps"]\nlink = ["deps"]',
]


@pytest.mark.parametrize("lines", NESTED, ids=range(len(NESTED)))
async def test_a_path_inside_another_that_slots_are_given_is_refused(
    project: Project, lines: str
) -> None:
    kept = ignored_by(project, "deps/", "deps/.cache/x", "deps/y")
    settle(project, slots=lines)
    plan_and_play(project)

    with pytest.raises(UsageProblem, match="deps"):
        await project.run()

    check_kept(project, kept)


async def test_a_chunk_that_makes_a_link_to_the_users_folder_of_the_way_does_not_reach_into_it(
    project: Project,
) -> None:
    project.write("web/app.js", "1\n")
    kept = ignored_by(project, "node_modules", "web/node_modules/lib/index.js")
    settle(project, checks=["sleep 0; test -e a.txt"], slots='link = ["web/node_modules"]')
    project.plan_of(chunk("one", files=["web/**"]), chunk("two", files=["two.txt"]))
    project.agent("one", shell(f"rm -rf web && ln -s {shlex.quote(str(project.path))}/web web"))
    project.agent("two", sleep(2), write("two.txt"))

    report = await project.run(repair_rounds=0)

    check_kept(project, kept)
    assert report.labels() == {"one": "failed", "two": "landed"}


async def test_a_copy_is_not_made_through_a_link_that_an_agent_left_in_place_of_its_folder(
    project: Project,
) -> None:
    kept = ignored_by(project, "/config", "config/local.yml", "config/prod/local.yml")
    look = "grep -q config/local.yml config/local.yml"
    settle(project, checks=[f"sleep 0; {look}"], slots='copy = ["config/local.yml"]')
    prod = shlex.quote(f"{project.path}/config/prod")
    project.plan_of(chunk("one", files=["one.txt"]), chunk("two", files=["two.txt"]))
    project.agent("one", shell(f"rm -rf config; ln -s {prod} config"), write("one.txt"))
    project.agent("two", shell("cp config/local.yml two.txt"))

    report = await project.run(workers=1, repair_rounds=0)

    check_kept(project, kept)
    assert report.row("two").label.value == "landed"
    assert project.show("two.txt") == "of config/local.yml\n"


FILL = "rm -rf deps/* && mkdir -p deps && touch deps/new"


async def test_set_up_that_fills_a_linked_folder_never_empties_the_users(
    project: Project,
) -> None:
    kept = ignored_by(project, "deps", "deps/mine/index.js")
    settle(project, slots=f"link = ['deps']\nsetup = ['{FILL}']")
    plan_and_play(project)

    with suppress(EnvironmentUnfit):  # it may be refused; what it may not is do harm
        await project.run(workers=3)

    check_kept(project, kept)


@needs_npm
async def test_npm_ci_together_with_a_link_to_the_users_packages_never_empties_those(
    project: Project,
) -> None:
    kept = ignored_by(project, "node_modules", "node_modules/mine/index.js")
    project.write("package.json", '{"name": "x", "version": "1.0.0"}')
    project.write(
        "package-lock.json",
        '{"name": "x", "version": "1.0.0", "lockfileVersion": 3,'
        ' "packages": {"": {"name": "x", "version": "1.0.0"}}}',
    )
    settle(project, slots="link = ['node_modules']\nsetup = ['npm ci --offline']")
    plan_and_play(project)

    with suppress(EnvironmentUnfit):
        await project.run(workers=3)

    check_kept(project, kept)


async def test_a_kept_slot_with_a_link_of_an_earlier_run_does_not_lead_set_up_to_the_users_folder(
    project: Project,
) -> None:
    kept = ignored_by(project, "deps", "deps/mine/index.js")
    settle(project, slots="link = ['deps']")
    await has_nothing_landed(project, keep_worktrees=True)
    assert (project.slot(1) / "deps").is_symlink()
    settle(project, slots=f"setup = ['{FILL}']")

    report = await project.run(workers=1)

    check_kept(project, kept)
    assert report.row("two").label.value == "landed"


TURNS_INTO = {
    "a file into a folder": (".env", "rm .env; mkdir .env; touch .env/y"),
    "a file into a link": (".env", "mv .env other.log; echo x > other.log; ln -s other.log .env"),
    "a file of a folder": ("fixtures", "echo x > fixtures/v"),
    "what a folder holds": ("fixtures", "rm fixtures/v; touch fixtures/own"),
    "a folder into a file": ("fixtures", "rm -r fixtures; echo x > fixtures"),
}


@pytest.mark.parametrize("what", TURNS_INTO)
async def test_a_copy_that_an_agent_turned_into_something_else_is_as_the_users_again_for_the_next(
    project: Project, what: str
) -> None:
    path, how = TURNS_INTO[what]
    file = path if path == ".env" else "fixtures/v"
    kept = ignored_by(project, f"/{path}", file)
    settle(project, slots=f'copy = ["{path}"]')
    look = f"grep -q {file} {file} && ! test -e fixtures/own"
    project.plan_of(
        chunk("one", files=["one.txt"], verify=look),
        chunk("two", files=["two.txt"], verify=look, after=["one"]),
    )
    project.agent("one", shell(how), write("one.txt"))
    project.agent("two", shell(f"{look} && cp {file} two.txt"), shell(how))

    report = await project.run(workers=1, repair_rounds=0)

    check_kept(project, kept)
    assert report.labels() == {"one": "landed", "two": "landed"}
    assert project.show("two.txt") == f"of {file}\n"


# --- what an agent does to the slot of another --------------------------------------------------

SLOT = "../auto-build-worker-$((3 - AUTO_BUILD_WORKER))"
RAZED = f"rm -rf {SLOT} ../../.git/worktrees/auto-build-worker-$((3 - AUTO_BUILD_WORKER))"
HARM = {
    "deletes it": f"rm -rf {SLOT}",
    "makes a file of it": f"rm -rf {SLOT}; touch {SLOT}",
    "makes a link of it": f'rm -rf {SLOT}; ln -s "$PWD" {SLOT}',
    "makes another folder of it": f"{RAZED}; mkdir -p {SLOT}/x; touch {SLOT}/x/y",
}


@pytest.mark.parametrize("how", HARM)
async def test_an_agent_that_harms_the_slot_of_another_during_a_check_ends_nobodys_work(
    project: Project, tmp_path: Path, how: str
) -> None:
    checked = tmp_path / "checked"
    settle(project, checks=[f"! test -e two.txt || touch '{checked}'; sleep 1; test -e a.txt"])
    project.plan_of(
        chunk("evil", files=["evil.txt"]),
        chunk("two", files=["two.txt"]),
        chunk("three", files=["three.txt"], after=["two"]),
    )
    wait = f"for n in $(seq 200); do test -e '{checked}' && break; sleep 0.05; done; sleep 0.3"
    project.agent("evil", shell(f"{wait}; {HARM[how]}"), write("evil.txt"))
    project.agent("two", sleep(0.3), write("two.txt"))
    project.agent("three", write("three.txt"))

    report = await project.run(repair_rounds=0)

    assert checked.exists()
    assert report.row("two").label.value == "landed"
    assert report.row("three").label.value == "landed"


# --- what a story needs -------------------------------------------------------------------------


def gate(*checks: str) -> str:
    """Return the settings that have these checks."""
    quoted = ("'''" + check + "'''" for check in checks)
    return f"[gate]\nchecks = [{', '.join(quoted)}]\n"


def settle(
    project: Project, *, checks: list[str] | None = None, slots: str = "", more: str = ""
) -> None:
    """Set the project's checks and what slots are given, and commit everything."""
    project.settings(f"{gate(*checks or ())}{more}\n[workspace]\n{slots}")
    project.commit_all("What there is")


def ignored_by(project: Project, pattern: str, *paths: str) -> tuple[str, ...]:
    """Have git ignore a pattern, and write files of the user's that it fits; return their paths."""
    project.write(".gitignore", f"*.log\n{pattern}\n")
    for path in paths:
        project.write(path, f"of {path}\n")
    return paths


def check_kept(project: Project, paths: tuple[str, ...]) -> None:
    """See that files of the user's that git ignores are as they were, and no other came."""
    for path in paths:
        at = project.path / path
        assert at.resolve() == at, f"there is a link on the way to {path}"
        assert at.read_text() == f"of {path}\n"
    project.check_untouched()


async def has_nothing_landed(project: Project, **settings: Any) -> None:
    """Make a run in which the base is checked and the one agent refuses."""
    project.plan_of(chunk("one", files=["one.txt"]), chunk("two", files=["two.txt"]))
    for name in ("one", "two"):
        project.agent(name, stop("refused"))
    await project.run(workers=1, **settings)
    project.edit_plan(lambda plan: plan["phases"][0]["chunks"][1].update(status="pending"))
    project.agent_forgets()
    project.agent("two", write("two.txt"))


async def cut_off(project: Project, at: type[ev.Event]) -> None:
    """Run until something happens, and no further."""

    async def run_to() -> None:
        task = asyncio.current_task()

        def stop_at(update: Update) -> None:
            if task and is_event(update, at):
                task.cancel()

        await project.run(on_update=stop_at)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.ensure_future(run_to())


def forget_after(project: Project, kind: str) -> None:
    """Put the journal back to how a kill just after the first event of a kind leaves it."""
    with closing(sqlite3.connect(project.path / ".git/auto-build/journal.db")) as db, db:
        rows = db.execute("SELECT seq, body FROM event ORDER BY seq").fetchall()
        first = next(seq for seq, body in rows if json.loads(body)["type"] == kind)
        db.execute("DELETE FROM event WHERE seq > ?", (first,))


def is_event(update: Update, kind: type[ev.Event], name: str = "") -> bool:
    event = update.what.event if isinstance(update.what, Record) else None
    return isinstance(event, kind) and name in {"", getattr(event, "chunk", "")}


def prompts(project: Project, name: str, round_: int = 1) -> str:
    """Return what the agent of a chunk was told from a round on."""
    log = project.path / f".git/auto-build/logs/001-demo/{name}/1/agent.log"
    return log.read_text(encoding="utf-8").partition(f"--- prompt, round {round_}")[2]


def paths_ever(project: Project) -> set[str]:
    """Return every path that a commit in staging has, or had."""
    log = ("log", "-m", "--name-only", "--format=", "--full-history", "--root")
    return set(run_git(project.path, *log, project.branch()).splitlines())


def is_green_in_a_clone(project: Project, where: Path, command: str) -> bool:
    branch = project.branch().removeprefix("refs/heads/")
    run_git(project.path, "clone", "--quiet", "-b", branch, str(project.path), str(where))
    done = subprocess.run(("bash", "-c", command), cwd=where, capture_output=True)
    return done.returncode == 0
