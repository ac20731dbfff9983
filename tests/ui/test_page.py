"""The page of a review: one file, in which nothing that anybody wrote is more than text."""

import http.server
import re
import shutil
import subprocess  # noqa: TID251 - a browser is not the coordinator's program
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.stories import HOSTILE, WAYS, Told, mended_build, reviewed_build
from typing_extensions import override

from auto_build.telling import load_pictures
from auto_build.ui.page import draw_chart, render_page

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or ""
LIMIT_S = 60.0


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.links.add(given.get("href", ""))
        elif "href" in given or "src" in given:
            self.loads.add(given.get("src") or given["href"])


def page_of(build: Told) -> str:
    story = build.story()
    return render_page(story, WAYS, load_pictures(story))


# --- what anybody wrote ---------------------------------------------------------------------------


def test_whatever_anybody_wrote_is_text(tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    shot.write_bytes(PNG)
    text = page_of(reviewed_build(say=HOSTILE, evidence=(str(shot), f"/gone/{HOSTILE}")))
    plain = Page(page_of(reviewed_build(evidence=(str(shot), "/gone"))))
    hostile = Page(text)

    assert hostile.tags == plain.tags
    assert hostile.attributes == plain.attributes
    assert text.count(HOSTILE.partition("\x1b")[0]) == 0
    assert text.count("&lt;script&gt;") > 20
    assert "⟨U+202E⟩gnp.exe⟨U+200B⟩⟨U+0000⟩\N{REPLACEMENT CHARACTER}" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]", text)
    assert "{{ 7*7 }}" in text
    text.encode("utf-8")


def test_the_page_loads_nothing_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    shot.write_bytes(PNG)
    text = page_of(reviewed_build(evidence=(str(shot),)))
    page = Page(text)

    assert page.tags.isdisjoint({"script", "iframe", "object", "form"})
    assert {load.partition(",")[0] for load in page.loads} == {"data:", "data:image/png;base64"}
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in text
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_a_finding_leads_to_its_line_as_long_as_lines_have_not_moved() -> None:
    fresh, moved = Page(page_of(reviewed_build())), Page(page_of(mended_build()))
    assert {"#file-1-2", "#file-1-90"} <= fresh.links
    assert sorted(one for one in fresh.ids if one.startswith("file-1-")) == [
        "file-1-2",
        "file-1-90",
    ]
    assert "#file-1" in moved.links
    assert "#file-1-2" not in moved.links


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (PNG, True),
        (b"\xff\xd8\xff" + bytes(40), True),
        (b"<svg onload='alert(1)'/>", False),
        (PNG + bytes(3_000_000), False),
    ],
    ids=["png", "jpeg", "what could run", "too large"],
)
def test_only_pictures_of_a_bounded_size_are_put_into_the_page(
    tmp_path: Path, content: bytes, *, shown: bool
) -> None:
    path = tmp_path / "evidence"
    path.write_bytes(content)
    story = reviewed_build(evidence=(str(path), str(tmp_path), str(tmp_path / "gone"))).story()
    assert set(load_pictures(story)) == ({str(path)} if shown else set())


def test_the_picture_of_the_times_has_a_lane_for_each_worker_and_the_reviewer() -> None:
    chart = draw_chart(mended_build().story())
    assert chart is not None
    assert [name for name, _ in chart.lanes] == ["worker 1", "worker 2", "review"]
    assert all(bar.x >= 0 and bar.x + bar.width <= chart.width for bar in chart.bars)
    assert len(chart.landings) == 3


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a server, and what it was asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(204)
            self.end_headers()

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()
        thread.join()


def browse(page: Path, profile: Path) -> tuple[str, list[str]]:
    """Open a page; return what became of it, and what the browser's console says."""
    quiet = ("no-first-run", "disable-background-networking", "disable-component-update")
    flags = ("headless", "no-sandbox", "disable-gpu", "disable-sync", *quiet)
    done = subprocess.run(
        (
            *(BROWSER, *(f"--{flag}" for flag in flags), f"--user-data-dir={profile}"),
            *("--enable-logging=stderr", "--dump-dom", f"{page.as_uri()}#file-1-2"),
        ),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="no chromium here")
def test_in_a_real_browser_nothing_runs_and_nothing_is_asked_for(
    tmp_path: Path, asked: tuple[str, list[str]]
) -> None:
    address, paths = asked
    evil = (
        f"<script>document.title='owned';console.error('x')</script>"
        f"<img src='{address}/img'><style>@import '{address}/css';</style>"
    )
    page = tmp_path / "review.html"
    page.write_text(page_of(reviewed_build(say=evil)), encoding="utf-8")

    dom, console = browse(page, tmp_path / "profile")

    assert "<title>001-greet: fixing</title>" in dom
    assert re.search(r'<details class="file" id="file-1" open="">', dom)  # the finding's place
    assert console == []
    assert paths == []

    page.write_text(f"<title>x</title>{evil}", encoding="utf-8")  # what it would have come to
    dom, console = browse(page, tmp_path / "profile")
    assert "<title>owned</title>" in dom
    assert len(console) == 1
    assert set(paths) == {"/img", "/css"}
