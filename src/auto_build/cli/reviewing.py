"""`review`: the story of a build, on the terminal, as one page, as JSON, or as a patch."""

import asyncio
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from auto_build.cli.options import as_json, project_dir
from auto_build.cli.output import Out
from auto_build.cli.ways import subcommand_ways
from auto_build.core.story import Chapter, Story
from auto_build.delivery import Build
from auto_build.errors import EXIT_DONE, EnvironmentUnfit, UsageProblem
from auto_build.telling import Teller, load_pictures
from auto_build.ui.marks import Sheet
from auto_build.ui.page import render_page
from auto_build.ui.screens import Ways
from auto_build.ui.story import chapter_sheet, story_sheet

_ROOM: Final = 1  # line of the screen that the prompt needs


@dataclass(frozen=True, slots=True)
class Form:
    """How a review is to be shown; `page` is where it is written to, empty for our own place."""

    diff: bool = False
    chunk: str = ""
    page: str | None = None
    opened: bool = False
    plain: bool = False
    pager: bool = True


@click.command()
@click.argument("spec")
@click.option("--diff", is_flag=True, help="Print the whole diff.")
@click.option("--chunk", default="", help="Show one chunk, with its diff.")
@click.option(
    "--html", is_flag=False, flag_value="", metavar="[FILE]", help="Write it as one page instead."
)
@click.option("--open", "opened", is_flag=True, help="Show that page in your browser.")
@click.option("--plain", is_flag=True, help="Print it without colours, and without a pager.")
@click.option("--no-pager", is_flag=True, help="Print it without a pager.")
@project_dir
@as_json
def review(
    spec: str,
    diff: bool,
    chunk: str,
    html: str | None,
    opened: bool,
    plain: bool,
    no_pager: bool,
    project_dir: Path,
    as_json: bool,
) -> int:
    """Tell the story of SPEC: chunks and their evidence, what was found, what is not verified."""
    page = html if html is not None or not opened else ""
    form = Form(diff, chunk, page, opened, plain, pager=not (no_pager or plain))
    return show_review(project_dir, spec, Out(as_json), subcommand_ways(spec), form)


def show_review(folder: Path, spec: str, out: Out, ways: Ways, form: Form) -> int:
    """Show what staging adds, in one form or another."""
    return asyncio.run(_show(folder, spec, out, ways, form))


async def _show(folder: Path, spec: str, out: Out, ways: Ways, form: Form) -> int:
    build = await Build.open(folder, spec)
    build.require_begun()
    head = await build.require_staging()
    teller = Teller(
        build.repo,
        build.workspace,
        build.spec.name,
        build.short_branch,
        build.worktrees.staging_path,
    )
    if form.diff and not out.json:
        out.text(await teller.diff(head))
        return EXIT_DONE
    story = await teller.story(head)
    if form.page is not None:
        _write_page(_place(build, form.page), story, out, ways, opened=form.opened)
    elif form.chunk:
        chapter = _require_chapter(story, form.chunk)
        _tell(chapter, chapter_sheet(chapter), out, form)
    else:
        _tell(story, story_sheet(story, ways), out, form)
    return EXIT_DONE


def _tell(value: Story | Chapter, sheet: Sheet, out: Out, form: Form) -> None:
    if out.json:
        out.value(value)
        return
    console = out.console
    text = _drawn(sheet, console)
    if form.plain:
        text = click.unstyle(text)
    long = text.count("\n") > console.height - _ROOM
    if form.pager and long and sys.stdout.isatty():
        click.echo_via_pager(text, color=True)
    else:
        click.echo(text, nl=False)


def _drawn(sheet: Sheet, console: Console) -> str:
    with console.capture() as captured:
        console.print(sheet)
    return captured.get()


def _require_chapter(story: Story, chunk: str) -> Chapter:
    for one in story.chapters:
        if one.id == chunk:
            return one
    known = ", ".join(one.id for one in story.chapters)
    raise UsageProblem(f"there is no chunk {chunk!r} in {story.spec}", hint=f"there are: {known}")


# --- the page -------------------------------------------------------------------------------------


def _place(build: Build, wanted: str) -> Path:
    """Return where the page goes: what was asked for, or a place that no checkout sees."""
    if wanted:
        return Path(wanted).absolute()
    return build.workspace.state_dir / "review" / f"{build.spec.name}.html"


def _write_page(path: Path, story: Story, out: Out, ways: Ways, *, opened: bool) -> None:
    page = render_page(story, ways, load_pictures(story))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise EnvironmentUnfit(
            f"the page {path} cannot be written: {error.strerror}",
            hint="name another place: --html FILE",
        ) from error
    if opened and not webbrowser.open(path.as_uri()):
        raise EnvironmentUnfit(
            "no browser could be started to show the page", hint=f"open it yourself: {path}"
        )
    if out.json:
        out.value({"page": path})
    else:
        out.text(str(path))
