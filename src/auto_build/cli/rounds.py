"""`qa`: the review rounds of a finished build, begun again, or how they stand."""

import asyncio
from pathlib import Path
from typing import Any

import click

from auto_build.cli.building import build
from auto_build.cli.options import as_json, build_options, project_dir
from auto_build.cli.output import Out
from auto_build.cli.ways import subcommand_ways
from auto_build.coordinator import Reviews
from auto_build.core.acceptance import ItemState
from auto_build.core.findings import Finding, Verdict
from auto_build.core.qa import Qa, Standing
from auto_build.delivery import Build
from auto_build.errors import EXIT_DONE, EXIT_UNFINISHED
from auto_build.workspace import FIX_REQUEST, REPORT


@click.command()
@click.argument("spec")
@click.option("--status", is_flag=True, help="Only show how the rounds stand.")
@build_options
@project_dir
@as_json
def qa(
    spec: str, status: bool, project_dir: Path, as_json: bool, verbose: bool, **flags: Any
) -> int:
    """Have the finished build of SPEC reviewed again, and mended, until it is approved."""
    out = Out(as_json)
    if status:
        return show_qa(project_dir, spec, out)
    return build(
        project_dir,
        spec,
        flags=flags,
        out=out,
        verbose=verbose,
        ways=subcommand_ways(spec, flags),
        reviews=Reviews.AGAIN,
    )


def show_qa(folder: Path, spec: str, out: Out) -> int:
    """Print how the rounds stand; the exit code says whether staging is approved as it is."""

    async def look() -> int:
        found = await Build.open(folder, spec)
        state, _ = found.require_begun()
        head = await found.require_staging()
        qa, standing = state.qa, state.qa.standing(head)
        code = EXIT_DONE if standing is Standing.APPROVED else EXIT_UNFINISHED
        if out.json:
            out.value({"spec": found.spec.name, "standing": standing, "head": head, "qa": qa})
            return code
        out.text(f"{found.spec.name}: {standing.value} (staging is at {head[:10]})")
        for line in _rounds(qa):
            out.text(line)
        for name in (REPORT, FIX_REQUEST):
            if (found.spec.folder / name).exists():
                out.text(f"see {found.spec.folder / name}")
        return code

    return asyncio.run(look())


def _rounds(qa: Qa) -> list[str]:
    lines = []
    for review in qa.reviews:
        word = "no verdict" if review.verdict is Verdict.NONE else review.verdict.value
        by = review.by or "nobody"
        lines.append(f"  round {review.round} at {review.commit[:10]}: {word}, by {by}")
        if review.verdict is Verdict.NONE:
            lines.append(f"    {review.why}")
        lines.extend(f"    {_finding(one)}" for one in review.findings)
        lines.extend(f"    ! {note}" for note in review.notes)
    last = qa.last
    if last:
        unverified = [one for one in last.items if one.state is ItemState.UNVERIFIED]
        lines.extend(f"  not run: {one.what}: {one.note}" for one in unverified)
    if qa.stopped:
        lines.append(f"  the rounds have stopped: {qa.stopped}")
    if qa.skipped:
        lines.append(f"  no review: {qa.skipped}")
    return lines


def _finding(one: Finding) -> str:
    where = f"{one.place}: " if one.place else ""
    return f"{one.severity.value}: {where}{one.what}"
