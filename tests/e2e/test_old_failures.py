"""A suite that is not green to begin with: what failed before is held against nobody, and no more.

The project is a real one with pytest: 37 articles have no price, which 37 tests tell.
"""

import os
import sys
from pathlib import Path

import pytest

from auto_build import Update
from auto_build.core import events as ev
from auto_build.errors import EnvironmentUnfit
from auto_build.journal import Record
from tests.e2e.project import Project, append, chunk, edit, write

OLD = 37
PRICES = """\
OF = {100: 5}


def total(articles):
    return sum(map(OF.get, articles))
"""
SUITE = f"""\
import prices
import pytest


@pytest.mark.parametrize("article", range({OLD}))
def test_has_a_price(article):
    assert article in prices.OF


def test_totals():
    assert prices.total([100, 100]) == 10


def test_of_nothing():
    assert prices.total([]) == 0
"""
BREAK_TOTAL = edit("prices.py", "sum(map(OF.get, articles))", "max(map(OF.get, articles))")
CHECK = "python -m pytest -q -p no:cacheprovider"


def price(article: int) -> dict[str, object]:
    """Give an article a price."""
    return append("prices.py", f"\nOF[{article}] = 1\n")


def named(article: int) -> str:
    return f"test_prices.py::test_has_a_price[{article}]"


@pytest.fixture(autouse=True)
def pytest_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `python` be the one that has pytest."""
    here = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", os.pathsep.join((here, os.environ["PATH"])))


@pytest.fixture
def shop(project: Project) -> Project:
    """Return a project in which 37 tests fail and two pass."""
    project.write("prices.py", PRICES)
    project.write("test_prices.py", SUITE)
    checked_by(project, CHECK)
    project.commit_all("A shop")
    return project


def checked_by(project: Project, *commands: str) -> None:
    lines = ", ".join(f"'{command}'" for command in commands)
    project.settings(f"[gate]\nchecks = [{lines}]")


async def test_an_innocent_chunk_lands_beside_37_old_failures_that_are_told_once(
    shop: Project,
) -> None:
    shop.plan_of(chunk("notes", files=["notes.md"]), chunk("more", files=["more.md"]))
    shop.agent("notes", write("notes.md"))
    shop.agent("more", write("more.md"))

    report = await shop.run()

    assert report.view.finished
    (base,) = report.only(ev.BaseChecked).checks
    assert base.failed == tuple(sorted(map(named, range(OLD))))
    assert base.succeeded == 2
    assert not report.of(ev.CandidateRejected)
    assert report.view.flaky == ()
    told = [text for text in report.warnings.splitlines() if f"{OLD} of its tests fail" in text]
    assert len(told) == 1, report.warnings


async def test_a_chunk_that_mends_one_old_failure_and_breaks_another_test_does_not_land(
    shop: Project,
) -> None:
    shop.plan_of(chunk("swap", files=["prices.py"]), chunk("notes", files=["notes.md"]))
    shop.agent("swap", price(3), BREAK_TOTAL)
    shop.agent("notes", write("notes.md"))

    report = await shop.run(repair_rounds=0)

    assert report.labels() == {"swap": "failed", "notes": "landed"}
    red = report.only(ev.CandidateRejected)
    (check,) = red.checks
    assert len(check.failed) == OLD + 1, "one is mended, and two are broken"
    assert "test_prices.py::test_totals" in check.note
    assert "test_prices.py::test_of_nothing" in check.note
    assert not any(named(article) in check.note for article in range(OLD))
    assert "test_totals" in report.row("swap").note


async def test_as_many_failures_as_before_are_no_excuse_for_a_new_one(shop: Project) -> None:
    shop.plan_of(chunk("swap", files=["prices.py"]))
    shop.agent("swap", price(3), edit("prices.py", "100: 5", "100: 6"))

    report = await shop.run(repair_rounds=0)

    assert report.labels() == {"swap": "failed"}
    (check,) = report.only(ev.CandidateRejected).checks
    assert len(check.failed) == OLD
    assert "test_prices.py::test_totals did not fail before" in check.note


async def test_an_agent_is_told_the_test_that_it_broke_and_lands_when_it_has_mended_it(
    shop: Project,
) -> None:
    shop.plan_of(chunk("one", files=["prices.py"]))
    shop.agent("one", price(3), BREAK_TOTAL)
    shop.agent("one", edit("prices.py", "max(", "sum("), round=1)

    report = await shop.run()

    assert report.view.finished
    assert "test_totals" in report.only(ev.CandidateRejected).feedback
    (check,) = report.only(ev.CandidatePassed).checks
    assert set(check.failed) == set(map(named, range(OLD))) - {named(3)}


async def test_what_one_chunk_has_mended_no_later_one_may_break(shop: Project) -> None:
    shop.plan_of(
        chunk("mend", files=["prices.py"]),
        chunk("again", files=["prices.py"], after=["mend"]),
        chunk("other", files=["other.md"], after=["mend"]),
    )
    shop.agent("mend", price(3), price(4))
    shop.agent("again", edit("prices.py", "OF[3] = 1", ""))
    shop.agent("other", write("other.md"))

    report = await shop.run(repair_rounds=0)

    assert report.labels() == {"mend": "landed", "again": "failed", "other": "landed"}
    (check,) = report.only(ev.CandidateRejected).checks
    assert f"{named(3)} did not fail before" in check.note
    assert named(4) not in check.note
    assert "OF[3] = 1" in shop.show("prices.py")


async def test_what_was_mended_stays_mended_for_the_next_run(shop: Project) -> None:
    shop.plan_of(
        chunk("mend", files=["prices.py"]), chunk("again", files=["prices.py"], after=["mend"])
    )
    shop.agent("mend", price(3))
    shop.agent("again", edit("prices.py", "OF[3] = 1", ""))

    first = await shop.run(max_iterations=1)
    assert first.labels()["mend"] == "landed"
    report = await shop.run(repair_rounds=0)

    assert report.labels() == {"mend": "landed", "again": "failed"}
    (base,) = report.only(ev.BaseChecked).checks
    assert named(3) not in base.failed
    assert f"{named(3)} did not fail before" in report.only(ev.CandidateRejected).checks[0].note


async def test_a_test_that_fails_every_second_time_is_told_as_flaky_and_the_chunk_lands(
    shop: Project, tmp_path: Path
) -> None:
    shop.write("test_weather.py", every_second_time(tmp_path / "runs"))
    shop.commit_all("A flaky test")
    shop.plan_of(chunk("notes", files=["notes.md"]))
    shop.agent("notes", write("notes.md"))

    report = await shop.run(workers=1)

    assert report.view.finished
    assert report.view.flaky == ("test_weather.py::test_is_fine",)
    (check,) = report.only(ev.CandidatePassed).checks
    assert check.flaky == ("test_weather.py::test_is_fine",)
    assert "flaky" in check.note
    assert len(check.failed) == OLD


async def test_beside_a_flaky_test_a_broken_one_is_still_named_alone(
    shop: Project, tmp_path: Path
) -> None:
    shop.write("test_weather.py", every_second_time(tmp_path / "runs"))
    shop.commit_all("A flaky test")
    shop.plan_of(chunk("one", files=["prices.py"]))
    shop.agent("one", edit("prices.py", "100: 5", "100: 6"))

    report = await shop.run(workers=1, repair_rounds=0)

    assert report.labels() == {"one": "failed"}
    (check,) = report.only(ev.CandidateRejected).checks
    assert "test_prices.py::test_totals did not fail before" in check.note
    assert "test_weather.py::test_is_fine" not in check.failed
    assert check.flaky == ("test_weather.py::test_is_fine",)


async def test_a_command_that_names_no_tests_and_was_red_before_may_stay_red(
    shop: Project,
) -> None:
    checked_by(shop, "test -f never.txt", CHECK)
    shop.plan_of(chunk("notes", files=["notes.md"]), chunk("bad", files=["prices.py"]))
    shop.agent("notes", write("notes.md"))
    shop.agent("bad", edit("prices.py", "100: 5", "100: 6"))

    report = await shop.run(repair_rounds=0)

    assert report.labels() == {"notes": "landed", "bad": "failed"}
    assert "test_totals" in report.row("bad").note
    assert "$ test -f never.txt: it is red on the unchanged base" in report.warnings
    assert "$ test -f never.txt" in report.row("notes").unverified


async def test_a_chunks_own_verification_forgives_old_failures_only_where_more_tests_pass(
    shop: Project,
) -> None:
    shop.settings("")
    shop.plan_of(
        chunk("done", files=["test_done.py"], verify=CHECK),
        chunk("idle", files=["idle.md"], verify=f"{CHECK} -v", after=["done"]),
    )
    shop.agent("done", write("test_done.py", "def test_done():\n    pass\n"))
    shop.agent("idle", write("idle.md"))

    report = await shop.run(repair_rounds=0)

    assert report.labels() == {"done": "landed", "idle": "failed"}
    assert f"{OLD} tests failed before" in report.row("done").unverified


# --- a ground on which nothing can be judged ----------------------------------------------------

BROKEN = {
    "no such program": ("no-such-program --all", "no-such-program: command not found"),
    "no such tool": ("python -m no_such_tool", "No module named no_such_tool"),
    "a module of a test": ("python -m pytest -q", "No module named 'no_such_library'"),
    "a module of all tests": ("python -m pytest test_lib.py", "No module named 'no_such_library'"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_where_something_is_missing_for_a_check_no_agent_is_started(
    shop: Project, name: str
) -> None:
    command, said = BROKEN[name]
    if "module" in name:
        shop.write("test_lib.py", "import no_such_library\n\n\ndef test_it():\n    pass\n")
    checked_by(shop, command)
    shop.commit_all("As it stands")
    shop.plan_of(chunk("one", files=["one.md"]))
    shop.agent("one", write("one.md"))
    updates: list[Update] = []

    with pytest.raises(EnvironmentUnfit) as unfit:
        await shop.run(on_update=updates.append)

    assert f"$ {command}" in str(unfit.value)
    assert said in str(unfit.value)
    assert "setup under [workspace]" in unfit.value.hint
    assert not started(updates)


async def test_a_check_of_what_is_yet_to_be_built_is_red_and_stops_nobody(shop: Project) -> None:
    checked_by(shop, "python app.py --self-test")
    shop.plan_of(chunk("app", files=["app.py"]), chunk("bad", files=["app.py"], after=["app"]))
    shop.agent("app", write("app.py", "print('fine')\n"))
    shop.agent("bad", write("app.py", "assert False, 'no more'\n"))

    report = await shop.run(repair_rounds=0)

    assert report.labels() == {"app": "landed", "bad": "failed"}
    assert "no more" in report.row("bad").note


async def test_a_run_that_stopped_for_its_ground_goes_on_when_that_is_mended(
    shop: Project,
) -> None:
    checked_by(shop, "no-such-program")
    shop.plan_of(chunk("one", files=["one.md"]))
    shop.agent("one", write("one.md"))
    with pytest.raises(EnvironmentUnfit):
        await shop.run()

    checked_by(shop, CHECK)
    report = await shop.run()

    assert report.view.finished
    assert report.only(ev.AttemptStarted).attempt == 1


def started(updates: list[Update]) -> list[ev.AttemptStarted]:
    events = [one.what.event for one in updates if isinstance(one.what, Record)]
    return [event for event in events if isinstance(event, ev.AttemptStarted)]


def every_second_time(counter: Path) -> str:
    """Return tests of which one fails in every odd run."""
    return f"""\
from pathlib import Path


def test_is_fine():
    counter = Path({str(counter)!r})
    runs = len(counter.read_text()) if counter.exists() else 0
    counter.write_text("x" * (runs + 1))
    assert runs % 2
"""
