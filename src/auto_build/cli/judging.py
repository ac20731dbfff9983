"""`approve`, `reject`, `comment`: what you say of a build."""

import asyncio
from pathlib import Path
from typing import Final

import click

from auto_build.cli.options import as_json, project_dir
from auto_build.cli.output import Out
from auto_build.core.findings import Finding, Severity, Source
from auto_build.delivery import Build
from auto_build.errors import EXIT_DONE
from auto_build.judging import Judged, Said, approve, comment, reject
from auto_build.ui.words import clean, counted

_SHORT: Final = 10


@click.command("approve")
@click.argument("spec")
@click.option("--note", default="", help="What you want to be kept with it.")
@project_dir
@as_json
def approve_(spec: str, note: str, project_dir: Path, as_json: bool) -> int:
    """Say that the build of SPEC is good as it is in staging now."""
    return asyncio.run(_approve(project_dir, spec, note, Out(as_json)))


async def _approve(folder: Path, spec: str, note: str, out: Out) -> int:
    done = await approve(await Build.open(folder, spec), note=note)
    if out.json:
        out.value(done)
        return EXIT_DONE
    review = done.review
    out.text(f"approved by {clean(review.by)}: {done.spec} at {review.commit[:_SHORT]}")
    if done.open:
        out.text(f"over {counted(len(done.open), 'open finding')}:")
        _list_findings(done, out)
    if done.unverified:
        out.text("what nobody has verified:")
    for one in done.unverified:
        chunk = f"{clean(one.chunk)}: " if one.chunk else ""
        out.text(f"  ! {chunk}{clean(one.what)}; for {one.whom.value}")
    out.text(f"whatever lands now voids it; bring it into your branch: auto-build merge {spec}")
    _warn(done, out)
    return EXIT_DONE


@click.command("reject")
@click.argument("spec")
@click.argument("what")
@click.option("--chunk", default="", help="The chunk that it is about.")
@click.option("--file", default="", help="The file, from the repository's top.")
@click.option("--line", type=click.IntRange(min=1), help="The line in that file.")
@click.option("--why", default="", help="What makes it wrong.")
@click.option(
    "--severity",
    type=click.Choice([Severity.CRITICAL.value, Severity.MAJOR.value]),
    default=Severity.MAJOR.value,
    show_default=True,
    help="How bad it is.",
)
@project_dir
@as_json
def reject_(
    spec: str,
    what: str,
    chunk: str,
    file: str,
    line: int | None,
    why: str,
    severity: str,
    project_dir: Path,
    as_json: bool,
) -> int:
    """Say WHAT is wrong with the build of SPEC; the next review round has it mended."""
    finding = Finding(
        severity=Severity(severity),
        what=what.strip(),
        file=file,
        line=line,
        why=why,
        source=Source.PERSON,
        chunk=chunk,
    )
    return asyncio.run(_reject(project_dir, spec, finding, Out(as_json)))


async def _reject(folder: Path, spec: str, finding: Finding, out: Out) -> int:
    done = await reject(await Build.open(folder, spec), finding)
    if out.json:
        out.value(done)
        return EXIT_DONE
    review = done.review
    out.text(f"rejected by {clean(review.by)}: {done.spec} at {review.commit[:_SHORT]}")
    out.text("to be mended:")
    _list_findings(done, out)
    out.text(f"have that done: auto-build qa {spec}")
    _warn(done, out)
    return EXIT_DONE


def _list_findings(done: Judged, out: Out) -> None:
    for one in done.open:
        place = f"  ({clean(one.place)})" if one.place else ""
        out.text(f"  {one.severity.value}: {clean(one.what)}{place}")


def _warn(done: Judged | Said, out: Out) -> None:
    if done.warning:
        out.text(clean(done.warning))


@click.command("comment")
@click.argument("spec")
@click.argument("text")
@click.option("--chunk", default="", help="The chunk that it is about.")
@project_dir
@as_json
def comment_(spec: str, text: str, chunk: str, project_dir: Path, as_json: bool) -> int:
    """Say something of the build of SPEC, for whoever reviews or mends it next."""
    out = Out(as_json)

    async def act() -> Said:
        return await comment(await Build.open(project_dir, spec), text, chunk=chunk)

    done = asyncio.run(act())
    if out.json:
        out.value(done)
    else:
        about = f"chunk {clean(chunk)}" if chunk else done.spec
        out.text(f"noted on {about}: it is in the review, and told to who reviews or mends it next")
        _warn(done, out)
    return EXIT_DONE
