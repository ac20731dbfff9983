"""How much sooner a plan ends with more workers, and what the coordinator itself costs.

Two plans are run, each with several numbers of workers, one run after the other:

* `independent`: chunks that share nothing and have nothing to check, so that everything beyond
  the agents' own time is the coordinator's (worktree, capture, pin, candidate, landing, journal);
* `demo`: the plan of `auto-build demo`, with dependencies, a conflict, a repair, and pytest.

The agents are scripted and their times are stated, so the ideal is known: the schedule that the
scheduler itself makes with agents of the mean measured time and a gate that takes none.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from auto_build.coordinator import Reviews, SwarmCoordinator
from auto_build.core.estimate import simulate
from auto_build.core.planfile import read_plan
from auto_build.core.view import View
from auto_build.demo.build import SCRIPT, build_project
from auto_build.demo.run import run_project
from auto_build.git.repo import require_git
from auto_build.process import Processes
from auto_build.settings import FILE
from auto_build.workspace import HOME, PLAN

INDEPENDENT: Final = "002-independent"
_SETTINGS: Final = '[agents.script]\nkind = "scripted"\n[containment]\nsecrets = "off"\n'


@dataclass(frozen=True, slots=True)
class Row:
    """One run. Times are seconds unless their names say otherwise.

    `ratio` is against the row of one worker; `over_ideal_ms` is what the run took beyond its ideal,
    divided by its chunks.
    """

    plan: str
    workers: int
    chunks: int
    agents_s: float
    seconds: float
    ideal_s: float
    ratio: float | None
    ideal_ratio: float
    over_ideal_ms: float
    conflicts: int
    repairs: int


def main() -> int:
    """Run the benchmark and print its table."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="auto-build-benchmark-") as folder:
        rows = asyncio.run(measure(Path(folder), options))
    world = asyncio.run(_world())
    if options.json:
        print(json.dumps({**world, "rows": [asdict(row) for row in rows]}, indent=2))
    else:
        print(", ".join(f"{key} {value}" for key, value in world.items()), end="\n\n")
        print(_table(rows))
    return 0


async def measure(folder: Path, options: argparse.Namespace) -> list[Row]:
    """Run both plans with every wanted number of workers."""
    rows: list[Row] = []
    for workers in options.workers:
        project = folder / f"independent-{workers}"
        _say(f"independent, {workers}")
        plan, script = _independent(options.chunks, options.seconds)
        view, seconds = await _run_independent(project, plan, script, workers)
        rows.append(_row("independent", plan, workers, view, seconds, rows))
    for workers in options.demo_workers:
        _say(f"demo, {workers}")
        run = await run_project(
            folder / f"demo-{workers}",
            workers=workers,
            pace=options.pace,
            reviews=Reviews.SKIPPED,
        )
        text = (run.spec / PLAN).read_text(encoding="utf-8")
        rows.append(_row("demo", text, workers, run.view, run.seconds, rows))
    return rows


def _independent(chunks: int, seconds: float) -> tuple[str, str]:
    """Return a plan of chunks that share nothing, and a script that plays it."""
    names = [f"1-{number}" for number in range(1, chunks + 1)]
    listed = [{"id": name, "title": name, "files_to_create": [f"{name}.txt"]} for name in names]
    turns = "\n".join(
        f'[[turn]]\nchunk = "{name}"\nsteps = [\n'
        f'  {{ do = "sleep", seconds = {seconds} }},\n'
        f'  {{ do = "write", path = "{name}.txt", text = "{name}" }},\n]'
        for name in names
    )
    phases = [{"id": "1", "depends_on": [], "chunks": listed}]
    return json.dumps({"feature": "Independent chunks", "phases": phases}), turns


async def _run_independent(
    project: Path, plan: str, script: str, workers: int
) -> tuple[View, float]:
    async def add_spec(project: Path) -> None:
        spec = project / HOME / "specs" / INDEPENDENT
        spec.mkdir()
        (spec / PLAN).write_text(plan, encoding="utf-8")
        (spec / SCRIPT).write_text(script, encoding="utf-8")
        (project / FILE).write_text(_SETTINGS, encoding="utf-8")  # no checks

    await build_project(project, Processes(), prepare=add_spec)
    clock = asyncio.get_running_loop().time
    begun = clock()
    view = await SwarmCoordinator(project, INDEPENDENT, max_workers=workers).run()
    return view, clock() - begun


def _row(name: str, plan: str, workers: int, view: View, seconds: float, before: list[Row]) -> Row:
    if not view.finished:
        raise SystemExit(f"{name} with {workers} workers did not land everything")
    read = read_plan(plan).plan
    chunks = len(read.chunks)
    alone = next((row for row in before if row.plan == name and row.workers == 1), None)
    agents = sum((alone.agents_s,) if alone else view.times.agent_s.values())
    ideal = simulate(read, slots=workers, agent=agents / chunks).makespan
    base = alone.seconds if alone else (seconds if workers == 1 else None)
    return Row(
        plan=name,
        workers=workers,
        chunks=chunks,
        agents_s=round(agents, 2),
        seconds=round(seconds, 2),
        ideal_s=round(ideal, 2),
        ratio=round(base / seconds, 2) if base else None,
        ideal_ratio=round(agents / ideal, 2),
        over_ideal_ms=round((seconds - ideal) / chunks * 1000),
        conflicts=view.times.conflicts,
        repairs=view.times.repairs,
    )


def _table(rows: list[Row]) -> str:
    head = (
        f"{'plan':<12}{'workers':>8}{'chunks':>8}{'took s':>9}{'ideal s':>9}{'ratio':>8}"
        f"{'ideal':>8}{'beyond ideal, ms/chunk':>24}{'conflicts':>11}{'repairs':>9}"
    )
    lines = [
        f"{row.plan:<12}{row.workers:>8}{row.chunks:>8}{row.seconds:>9.2f}{row.ideal_s:>9.2f}"
        f"{'-' if row.ratio is None else f'{row.ratio:.2f}':>8}{row.ideal_ratio:>8.2f}"
        f"{row.over_ideal_ms:>24}{row.conflicts:>11}{row.repairs:>9}"
        for row in rows
    ]
    return "\n".join([head, *lines])


async def _world() -> dict[str, Any]:
    git = await require_git(Processes())
    return {
        "python": platform.python_version(),
        "git": ".".join(map(str, git)),
        "system": platform.system(),
        "cores": os.cpu_count(),
    }


def _say(text: str) -> None:
    print(f"running: {text} worker(s)", file=sys.stderr)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--chunks", type=int, default=12, help="independent chunks")
    parser.add_argument("--seconds", type=float, default=1.0, help="that each of them takes")
    parser.add_argument("--workers", type=_numbers, default=[1, 2, 3, 4], metavar="1,2,3,4")
    parser.add_argument("--demo-workers", type=_numbers, default=[1, 3], metavar="1,3")
    parser.add_argument("--pace", type=float, default=1.0, help="multiplies the demo's work times")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
