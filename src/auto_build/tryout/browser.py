"""Pages that a plan names, opened in a headless Chromium, with a picture of each.

Playwright and the browser run in a program of their own behind the guard. Where the extra or the
browser is missing nothing fails: the pages stay unverified, with what to install.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from auto_build.core.acceptance import Item, ItemState, Page
from auto_build.process import Processes
from auto_build.tryout.addresses import Address, Nowhere, resolve
from auto_build.tryout.looks import judge, texts_in
from auto_build.tryout.outcome import TAIL, Outcome
from auto_build.tryout.visit import MARK, Sight, Tour, Visit

_PROGRAM: Final = "auto_build.tryout.visiting"
_SYSTEM: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PAGE_S: Final = 90.0  # seconds that a page may take, all that is done with it together
_START_S: Final = 60.0
_LAST: Final = 300  # characters of the last line of one that ended before its time
_NO_EXTRA: Final = (
    "pages are opened with the extra 'browser', which is not installed: pip install"
    " 'auto-build[browser]'"
)
_NAME: Final = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Browsing:
    """Opens pages; pictures go to `evidence`, `browser` is the one to start, if one is set."""

    processes: Processes
    env: Mapping[str, str]
    evidence: Path
    browser: str = ""

    async def try_pages(
        self, items: Sequence[Item], services: Sequence[Address], *, limit_s: float
    ) -> dict[str, Outcome]:
        """Open the pages of items within `limit_s` seconds; return what came of each, by id."""
        found: dict[str, Outcome] = {}
        todo: list[tuple[Item, Page, str]] = []
        for item in items:
            place = resolve(item.page.url, services) if item.page else Nowhere("it has no page")
            if isinstance(place, Nowhere):
                found[item.id] = Outcome(ItemState.UNVERIFIED, place.why)
            elif find_spec("playwright") is None:
                found[item.id] = Outcome(ItemState.UNVERIFIED, _NO_EXTRA)
            elif item.page:
                todo.append((item, item.page, place))
        if todo:
            origins = tuple(service.url for service in services)
            sights = await self._tour(todo, origins, limit_s)
            for (item, page, place), sight in zip(todo, sights, strict=True):
                found[item.id] = judge(page.checks, sight, place)
        return found

    async def _tour(
        self, todo: Sequence[tuple[Item, Page, str]], origins: tuple[str, ...], limit_s: float
    ) -> list[Sight]:
        """Return what was seen of each page, or why nothing was."""
        self.evidence.mkdir(parents=True, exist_ok=True)
        tour = Tour(
            visits=tuple(
                Visit(url=url, texts=texts_in(page.checks), picture=self._picture(place, item))
                for place, (item, page, url) in enumerate(todo, start=1)
            ),
            origins=origins,
            browser=str(Path(self.browser).expanduser()) if self.browser else "",
            fallback=_find_system(self.env.get("PATH", "")),
        )
        lines: list[str] = []
        with tempfile.TemporaryDirectory(prefix="auto-build-", ignore_cleanup_errors=True) as own:
            done = await self.processes.run_guarded(
                (sys.executable, "-I", "-m", _PROGRAM),
                cwd=Path(own),
                env={**self.env, "TMPDIR": own},
                limit_s=min(limit_s, _START_S + _PAGE_S * len(todo)),
                tail_limit=TAIL,
                stdin=tour.model_dump_json(),
                on_line=lambda line: lines.append(line) if line.startswith(MARK) else None,
            )
        sights = [_read(line) for line in lines[: len(todo)]]
        how = "was stopped at its limit" if done.code is None else f"ended with {done.code}"
        last = next(iter(done.tail.strip().splitlines()[-1:]), "")
        rest = Sight(lacks=f"not opened: what opens pages {how} ({last[:_LAST]})")
        if sights and sights[0].lacks:
            rest = sights[0]
        return sights + [rest] * (len(todo) - len(sights))

    def _picture(self, place: int, item: Item) -> str:
        return str(self.evidence.absolute() / f"{place:02}-{_NAME.sub('-', item.id)[:60]}.png")


def _find_system(path: str) -> str:
    return next((found for name in _SYSTEM if (found := shutil.which(name, path=path))), "")


def _read(line: str) -> Sight:
    try:
        return Sight.model_validate_json(line.removeprefix(MARK))
    except ValidationError:  # cut at the bound of a line
        return Sight(lacks="what was seen of it cannot be read")
