"""Pages that a plan names are opened in a real browser; what it cannot decide is left to people."""

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from auto_build.core.acceptance import ItemState
from auto_build.tryout.looks import judge, texts_in
from auto_build.tryout.visit import Sight
from tests.programs import is_alive, wait_until_gone
from tests.tryout.conftest import SHOP, Bench
from tests.tryout.test_tryout import page

PNG = b"\x89PNG\r\n\x1a\n"
HOME = "http://localhost:8000/page"


needs_browser = pytest.mark.skipif(
    not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    reason="no Chromium is installed",
)


@pytest.mark.slow
@needs_browser
async def test_pages_are_opened_and_seen(bench: Bench) -> None:
    found = await bench.try_out(
        page("all", HOME, 'Heading "Welcome back" is visible', "No console errors", "renders"),
        page("hidden", HOME, '"Sold out" is shown'),
        page("errors", "/broken", "no-console-errors"),
        page("absent", "/absent"),
        page("away", "/away", "renders"),
        page("elsewhere", "https://example.org/"),
        services=[SHOP],
    )
    assert {name: result.state for name, result in found.items()} == {
        "service shop": ItemState.PASSED,
        "all": ItemState.PASSED,
        "hidden": ItemState.FAILED,
        "errors": ItemState.FAILED,
        "absent": ItemState.FAILED,
        "away": ItemState.UNVERIFIED,
        "elsewhere": ItemState.UNVERIFIED,
    }
    assert found["hidden"].note.endswith('does not hold: "Sold out" is shown')
    assert found["errors"].output == "console error: oh no"
    assert f"leads on to http://127.0.0.1:{bench.port}/page" in found["away"].note
    (picture,) = found["all"].evidence
    assert Path(picture).read_bytes().startswith(PNG)


@pytest.mark.slow
@needs_browser
async def test_a_browser_goes_with_whoever_needed_it(bench: Bench) -> None:
    """Trying out is stopped while a page hangs: nothing of the browser is left."""
    task = asyncio.create_task(bench.try_out(page("h", "/hangs"), services=[SHOP]))
    async with asyncio.timeout(60):
        while not (browsers := in_browser()):
            await asyncio.wait({task}, timeout=0.1)
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    wait_until_gone(browsers)
    assert in_browser() == []


def in_browser() -> list[psutil.Process]:
    """Return what runs of browsers below this program."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "chrom" in process.name() and is_alive(process):
                found.append(process)
    return found


@pytest.mark.slow
async def test_a_browser_that_cannot_be_started_is_told_and_fails_nothing(bench: Bench) -> None:
    found = await bench.try_out(page("home", HOME), services=[SHOP], browser="/no/such/browser")
    assert found["home"].state is ItemState.UNVERIFIED
    assert found["home"].note.startswith("/no/such/browser cannot be started: ")


@pytest.mark.parametrize(
    ("check", "sight", "state"),
    [
        ('text "Hi" visible', Sight(status=200, seen={"Hi": True}), ItemState.PASSED),
        ("\u201cHi\u201d is displayed.", Sight(status=200, seen={"Hi": False}), ItemState.FAILED),
        ('"Hi" is not visible', Sight(status=200), ItemState.UNVERIFIED),
        ('Clicking "Hi" shows "Ho"', Sight(status=200), ItemState.UNVERIFIED),
        ("No console errors", Sight(status=200, errors=("x",)), ItemState.FAILED),
        ("No console errors (except ads)", Sight(status=200), ItemState.UNVERIFIED),
        ("The colours match the brand", Sight(status=200), ItemState.UNVERIFIED),
        ("Page loads", Sight(status=200, errors=("x",)), ItemState.PASSED),
        ("Page loads", Sight(status=500), ItemState.FAILED),
        ("Page loads", Sight(why="refused"), ItemState.FAILED),
        ("Page loads", Sight(lacks="no Chromium was found"), ItemState.UNVERIFIED),
    ],
)
def test_what_a_browser_decides(check: str, sight: Sight, state: ItemState) -> None:
    assert judge((check,), sight, "http://localhost:1/").state is state


def test_texts_are_looked_for_where_they_are_to_be_seen() -> None:
    checks = ('the title "A b" appears', '"A b"', 'no "C"', "D is visible")
    assert texts_in(checks) == ("A b",)
