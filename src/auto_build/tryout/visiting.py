"""The program that opens pages, run behind the guard: a tour on stdin, a line for each page.

It is the only place where Playwright is imported. The browser is headless, forgets everything, and
is ended together with this program.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    FloatRect,
    Page,
    Playwright,
    sync_playwright,
)

from auto_build.tryout.visit import MARK, Sight, Tour, Visit

_FLAGS: Final = ["--disable-gpu", "--disable-sync"]  # Playwright itself turns off the other traffic
_WIDTH: Final = 1280
_HEIGHT: Final = 800
_TALLEST: Final = 8_000  # pixels of a page that are in its picture
_QUIET_MS: Final = 3_000.0  # how long requests may go on after the page has loaded
_MOST: Final = 50  # errors, and requests, that are told of
_LONGEST: Final = 500
_NO_BROWSER: Final = (
    "no Chromium was found: run 'playwright install chromium', install your system's, or set"
    " browser under [qa]"
)


def main() -> None:
    """Open every page of the tour on standard input, and tell of each as it is seen."""
    tour = Tour.model_validate_json(sys.stdin.read())
    with sync_playwright() as playwright:
        for sight in _sights(playwright, tour):
            sys.stdout.write(f"{MARK}{sight.model_dump_json()}\n")
            sys.stdout.flush()


def _sights(playwright: Playwright, tour: Tour) -> Iterator[Sight]:
    program = _find_browser(playwright, tour)
    if not program:
        yield Sight(lacks=_NO_BROWSER)
        return
    try:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
    except Error as error:
        yield Sight(lacks=f"{program} cannot be started: {_line(error.message)}")
        return
    for visit in tour.visits:
        yield _look(browser, visit, tour)
    browser.close()


def _find_browser(playwright: Playwright, tour: Tour) -> str:
    own = playwright.chromium.executable_path
    return tour.browser or (own if Path(own).is_file() else tour.fallback)


def _look(browser: Browser, visit: Visit, tour: Tour) -> Sight:
    context = browser.new_context(
        service_workers="block", viewport={"width": _WIDTH, "height": _HEIGHT}
    )
    page = context.new_page()
    errors: list[str] = []
    failed: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if _is_error(said) else None)
    page.on("pageerror", lambda error: errors.append(error.message))
    page.on("requestfailed", lambda one: failed.append(f"{one.method} {one.url}: {one.failure}"))
    try:
        return _open(page, visit, tour, errors, failed)
    except Error as error:
        return Sight(why=_line(error.message), errors=_few(errors), failed=_few(failed))
    finally:
        context.close()


def _is_error(said: ConsoleMessage) -> bool:
    """Say whether the page has an error; that it has no icon is the browser's own idea."""
    return said.type == "error" and not said.location["url"].endswith("/favicon.ico")


def _open(page: Page, visit: Visit, tour: Tour, errors: list[str], failed: list[str]) -> Sight:
    page.set_default_timeout(tour.page_s * 1000)
    answer = page.goto(visit.url, wait_until="load")
    with suppress(Error):  # one that polls is never quiet
        page.wait_for_load_state("networkidle", timeout=_QUIET_MS)
    if not any(_is_at(page.url, origin) for origin in tour.origins):
        return Sight(left_for=_line(page.url))
    seen = {text: _is_visible(page, text, tour.text_s) for text in visit.texts}
    return Sight(
        status=answer.status if answer else None,
        why="" if answer else "it gave no answer",
        seen=seen,
        picture=_picture(page, visit.picture),
        errors=_few(errors),
        failed=_few(failed),
    )


def _is_at(url: str, origin: str) -> bool:
    return urlsplit(url)[:2] == urlsplit(origin)[:2]


def _is_visible(page: Page, text: str, limit_s: float) -> bool:
    try:
        page.get_by_text(text).filter(visible=True).first.wait_for(timeout=limit_s * 1000)
    except Error:
        return False
    return True


def _picture(page: Page, path: str) -> str:
    """Take a picture of the whole page, as far as it goes; a page may refuse to stand still."""
    try:
        tall = int(page.evaluate("document.documentElement.scrollHeight"))
        clip = FloatRect(x=0, y=0, width=_WIDTH, height=min(tall, _TALLEST))
        page.screenshot(path=path, full_page=True, clip=clip)
    except (Error, ValueError):
        return ""
    return path


def _few(lines: list[str]) -> tuple[str, ...]:
    return tuple(_line(one) for one in dict.fromkeys(lines))[:_MOST]


def _line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]


if __name__ == "__main__":
    main()
