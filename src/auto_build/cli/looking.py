"""`status`, `list`, `logs`: how builds stand and how they came there."""

import asyncio
import time
from pathlib import Path
from typing import Any

import click

from auto_build.cli.options import as_json, project_dir
from auto_build.cli.output import Out
from auto_build.core import events as ev
from auto_build.core.codec import encode_event
from auto_build.delivery import Build
from auto_build.errors import EXIT_DONE, AutoBuildError, UsageProblem
from auto_build.git.repo import Repo, ref_part
from auto_build.history import load_view
from auto_build.journal import Journal, Record, find_holder
from auto_build.process import Processes
from auto_build.ui.console import status_table
from auto_build.ui.words import harmless
from auto_build.workspace import Spec, Workspace


@click.command()
@click.argument("spec", required=False)
@project_dir
@as_json
def status(spec: str | None, project_dir: Path, as_json: bool) -> int:
    """Show how the build of SPEC stands: while it runs, after it, and after a crash."""
    return show_status(project_dir, spec, Out(as_json))


def show_status(folder: Path, spec: str | None, out: Out) -> int:
    """Print a build's status; of all specs, where none is named."""
    if spec is None:
        return show_list(folder, out)
    found = asyncio.run(Build.open(folder, spec))
    view = load_view(found.workspace, found.spec.name)
    holder = find_holder(found.workspace.state_dir)
    going = holder is not None and holder.spec == found.spec.name
    if out.json:
        out.value({"spec": found.spec.name, "running": going, "build": view})
        return EXIT_DONE
    if view is None or view.discarded:
        chunks = len(found.spec.load_plan().plan.chunks)
        what = "was discarded" if view else "was not built yet"
        out.text(f"{found.spec.name} {what} ({chunks} chunks); auto-build run {spec}")
        return EXIT_DONE
    out.console.print(status_table(view, going_on=going))
    if going and holder:
        out.text(f"running in process {holder.pid} on {holder.host}")
    elif view.parked and not view.merged:
        out.text(f"parked: its staging worktree comes back with: auto-build unpark {spec}")
    elif view.open:
        out.text("the last run was killed; the same command goes on where it stopped")
    return EXIT_DONE


@click.command("list")
@project_dir
@as_json
def list_(project_dir: Path, as_json: bool) -> int:
    """List the specs and how far each is."""
    return show_list(project_dir, Out(as_json))


def show_list(folder: Path, out: Out) -> int:
    """Print every spec and how far it is."""
    repo = asyncio.run(Repo.open(folder, Processes()))
    workspace = Workspace(repo.project, repo.common_dir)
    rows = [_progress(workspace, spec) for spec in workspace.specs()]
    if out.json:
        out.value({"specs": rows})
        return EXIT_DONE
    if not rows:
        out.text(f"no specs in {workspace.specs_dir}; auto-build init makes the folder")
    width = max((len(row["spec"]) for row in rows), default=0)
    for row in rows:
        out.text(f"{row['spec']:<{width}}  {row['state']}")
    return EXIT_DONE


def _progress(workspace: Workspace, spec: Spec) -> dict[str, Any]:
    try:
        view = load_view(workspace, spec.name)
        if view is None or view.discarded:
            chunks = len(spec.load_plan().plan.chunks)
            return {"spec": spec.name, "state": f"not begun, {chunks} chunks", "done": 0}
    except AutoBuildError as error:
        return {"spec": spec.name, "state": str(error).partition("\n")[0], "done": 0}
    total = len(view.rows)
    state = f"{view.done} of {total} chunks landed"
    if view.merged:
        state += f", merged into {view.merged}"
    elif view.finished:
        state += ", ready to review and merge"
    if view.parked and not view.merged:
        state += ", parked"
    return {"spec": spec.name, "state": state, "done": view.done, "chunks": total}


@click.command()
@click.argument("spec")
@click.argument("chunk", required=False)
@project_dir
@as_json
def logs(spec: str, chunk: str | None, project_dir: Path, as_json: bool) -> int:
    """Tell what happened in the build of SPEC, or to one CHUNK with its agent's output."""
    out = Out(as_json)
    found = asyncio.run(Build.open(project_dir, spec))
    state, _ = found.require_begun()
    if chunk is not None and chunk not in state.chunks:
        raise UsageProblem(
            f"there is no chunk {chunk!r}", hint=f"there are: {', '.join(state.chunks)}"
        )
    records = _records(found, chunk)
    files = _agent_logs(found, chunk)
    if out.json:
        told = [
            {"seq": record.seq, "at": record.at, **_shortened(record.event)} for record in records
        ]
        out.value({"events": told, "logs": files})
        return EXIT_DONE
    for record in records:
        out.text(harmless(_line(record)))
    for path in files:
        out.text(f"\n--- {path}")
        out.text(harmless(path.read_text(encoding="utf-8", errors="replace")))
    return EXIT_DONE


def _records(found: Build, chunk: str | None) -> list[Record]:
    journal = Journal.find(found.workspace.state_dir, found.spec.name)
    if journal is None:
        return []
    with journal:
        records = journal.history()
    if chunk is None:
        return records
    return [record for record in records if getattr(record.event, "chunk", None) == chunk]


def _agent_logs(found: Build, chunk: str | None) -> list[Path]:
    if chunk is None:
        return []
    folder = found.workspace.logs_dir(ref_part(found.spec.name)) / ref_part(chunk)
    return sorted(folder.glob("*/agent.log"))


def _shortened(event: ev.Event) -> dict[str, Any]:
    told = encode_event(event)
    if "plan" in told:
        told["plan"] = f"{len(told['plan']['phases'])} phases"
    return told


def _line(record: Record) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(record.at))
    told = _shortened(record.event)
    name = told.pop("type")
    chunk = told.pop("chunk", "")
    checks = told.pop("checks", [])
    parts = [f"{key}={_brief(value)}" for key, value in told.items() if value not in ("", None, [])]
    lines = [f"{at}  {name:<20} {chunk:<10} {' '.join(parts)}".rstrip()]
    lines.extend(
        f"{'':10}{'ok ' if one['passed'] else 'RED'} {one['seconds']:.1f}s $ {one['command']}"
        for one in checks
    )
    feedback = getattr(record.event, "feedback", "") or getattr(record.event, "detail", "")
    lines.extend(f"          | {line}" for line in feedback.splitlines())
    return "\n".join(lines)


def _brief(value: object) -> str:
    text = str(value).partition("\n")[0]
    return text if len(text) <= 60 else f"{text[:59]}…"
