"""`plan check` and `plan show`."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import click

from auto_build.cli.options import as_json, project_dir
from auto_build.cli.output import Out
from auto_build.core.document import Problem
from auto_build.core.estimate import longest_way, simulate, speedups
from auto_build.core.plan import Chunk, Plan
from auto_build.core.planfile import Hint, PlanFile
from auto_build.delivery import Build
from auto_build.errors import EXIT_DONE, EXIT_USAGE, UsageProblem
from auto_build.schemas import load_plan_schema
from auto_build.workspace import PlanProblem, load_plan

_WORKERS: Final = 4


@click.group()
def plan() -> None:
    """Look at plans before they are run."""


@plan.command()
@click.argument("what", metavar="PATH|SPEC")
@click.option("--ordered-phases", is_flag=True, help="As for run.")
@project_dir
@as_json
def check(what: str, ordered_phases: bool, project_dir: Path, as_json: bool) -> int:
    """Print everything that is wrong with a plan, and what may not be meant."""
    out = Out(as_json)
    path = _find(what, project_dir)
    try:
        file = load_plan(path, ordered_phases=ordered_phases)
    except PlanProblem as refused:
        _tell(out, path, refused.problems, ())
        return EXIT_USAGE
    _tell(out, path, (), file.hints)
    if not out.json:
        phases, chunks = len(file.plan.phases), len(file.plan.chunks)
        out.text(f"{path}: {chunks} chunks in {phases} phases, ready to run")
    return EXIT_DONE


@plan.command()
@click.argument("what", metavar="PATH|SPEC", required=False)
@click.option("--dot", is_flag=True, help="Print a graph for Graphviz: … --dot | dot -Tsvg")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of plan files.")
@click.option("--ordered-phases", is_flag=True, help="As for run.")
@project_dir
@as_json
def show(
    what: str | None,
    dot: bool,
    schema: bool,
    ordered_phases: bool,
    project_dir: Path,
    as_json: bool,
) -> int:
    """Print a plan's phases, chunks and claims, and what can run side by side."""
    out = Out(as_json)
    if schema:
        out.value(load_plan_schema())
        return EXIT_DONE
    if what is None:
        raise UsageProblem("which plan?", hint="auto-build plan show 001, or a path")
    file = load_plan(_find(what, project_dir), ordered_phases=ordered_phases)
    if dot:
        out.text(_dot(file.plan))
    elif out.json:
        out.value(plan_value(file))
    else:
        for line in describe_plan(file.plan):
            out.text(line)
    return EXIT_DONE


def _find(what: str, folder: Path) -> Path:
    path = Path(what)
    if path.is_file():
        return path
    if path.suffix == ".json" or "/" in what:
        raise UsageProblem(f"there is no plan at {path}", hint="check the path")
    return asyncio.run(Build.open(folder, what)).spec.plan_path


def _tell(out: Out, path: Path, problems: tuple[Problem, ...], hints: tuple[Hint, ...]) -> None:
    if out.json:
        out.value({"path": path, "ok": not problems, "problems": problems, "hints": hints})
        return
    for problem in problems:
        out.text(f"problem  {problem.path}: {problem.what}")
        if problem.value:
            out.text(f"         found: {problem.value}")
        out.text(f"         do:    {problem.suggestion}")
    for hint in hints:
        out.text(f"hint     {hint}")
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        out.text(f"{path}: {count}, nothing can be run")


def describe_plan(plan: Plan) -> list[str]:
    """Return the lines that show a plan to people."""
    lines = [plan.title] if plan.title else []
    for phase in plan.phases:
        after = f"  after {', '.join(phase.depends_on)}" if phase.depends_on else ""
        order = "" if phase.parallel_safe else "  in order"
        name = f"  {phase.name}" if phase.name else ""
        lines.append(f"\nphase {phase.id}{name}{after}{order}")
        lines.extend(line for chunk in phase.chunks for line in _chunk_text(chunk))
    lines.append("\nside by side, if every chunk took as long, with workers to spare:")
    waves = simulate(plan, slots=len(plan.chunks)).waves()
    lines.extend(f"  {number}. {', '.join(wave)}" for number, wave in enumerate(waves, 1))
    lines.append(f"\nat least {longest_way(plan)} chunks must follow each other; speed-up at best:")
    gains = [f"{n} workers {gain:.2f}x" for n, gain in speedups(plan, _WORKERS).items()]
    lines.append(f"  {', '.join(gains)}")
    return lines


def _chunk_text(chunk: Chunk) -> list[str]:
    claims = ", ".join(claim.text for claim in chunk.claims) or "(nothing: alone in its phase)"
    lines = [f"  {chunk.id}  {chunk.title}", f"      writes  {claims}"]
    if chunk.depends_on:
        lines.append(f"      after   {', '.join(chunk.depends_on)}")
    own = chunk.verification
    if own.command or own.instructions:
        said = (own.command or own.instructions).replace("\n", "; ")
        lines.append(f"      verify  {own.kind.value}: {said}")
    return lines


def plan_value(file: PlanFile) -> dict[str, Any]:
    """Return what `plan show --json` tells of a plan."""
    plan = file.plan
    return {
        "title": plan.title,
        "phases": plan.phases,
        "needs": {chunk: sorted(plan.needs[chunk]) for chunk in plan.chunks},
        "follows": {chunk: sorted(plan.follows[chunk]) for chunk in plan.chunks},
        "waves": simulate(plan, slots=len(plan.chunks)).waves(),
        "longest_way": longest_way(plan),
        "speedups": speedups(plan, _WORKERS),
        "hints": file.hints,
    }


def _dot(plan: Plan) -> str:
    quoted = json.dumps
    lines = ["digraph plan {", "  rankdir=LR; node [shape=box, style=rounded];"]
    for number, phase in enumerate(plan.phases):
        label = quoted(phase.name or str(phase.id))
        lines.append(f"  subgraph cluster_{number} {{ label={label};")
        lines.extend(
            f"    {quoted(chunk.id)} [label={quoted(f'{chunk.id} {chunk.title}'.strip())}];"
            for chunk in phase.chunks
        )
        lines.append("  }")
    for chunk in plan.chunks:
        lines.extend(f"  {quoted(one)} -> {quoted(chunk)};" for one in sorted(plan.needs[chunk]))
        lines.extend(
            f"  {quoted(one)} -> {quoted(chunk)} [style=dashed];"
            for one in sorted(plan.follows[chunk] - plan.needs[chunk])
        )
    lines.append("}")
    return "\n".join(lines)
