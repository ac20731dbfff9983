"""`init` and `doctor`: is this repository ready?"""

import asyncio
from pathlib import Path

import click

from auto_build.cli.options import as_json, project_dir
from auto_build.cli.output import Out
from auto_build.doctor import Health, examine
from auto_build.errors import EXIT_DONE, EXIT_UNFIT
from auto_build.git.repo import Repo
from auto_build.process import Processes
from auto_build.scaffold import write_scaffold

_MARKS = {Health.GOOD: "ok  ", Health.NOTE: "note", Health.BAD: "BAD "}


@click.command()
@project_dir
@as_json
def init(project_dir: Path, as_json: bool) -> int:
    """Write auto-build/run.py, auto-build/specs/ and auto-build.toml; overwrite nothing."""
    out = Out(as_json)
    repo = asyncio.run(Repo.open(project_dir, Processes()))
    written = write_scaffold(repo.project)
    if out.json:
        out.value({"project": repo.project, "files": written})
        return EXIT_DONE
    for one in written:
        word = "wrote" if one.fresh else "kept "
        out.text(f"{word}  {one.path.relative_to(repo.project)}")
    out.text("\nnext: choose an agent in auto-build.toml, and see that it can work")
    out.text("  auto-build doctor")
    out.text("then say what is to be built, have it planned, and build it")
    out.text("  auto-build spec new 'count the words of a file'")
    out.text("  auto-build plan draft 001")
    out.text("  python auto-build/run.py --spec 001 --parallel 2")
    return EXIT_DONE


@click.command()
@project_dir
@as_json
def doctor(project_dir: Path, as_json: bool) -> int:
    """Check git, the repository, the agents and leftovers, and say how to mend each."""
    out = Out(as_json)
    found = asyncio.run(examine(project_dir))
    fit = all(finding.health is not Health.BAD for finding in found)
    if out.json:
        out.value({"fit": fit, "findings": found})
    else:
        for finding in found:
            out.text(f"{_MARKS[finding.health]}  {finding.what}")
            if finding.hint and finding.health is not Health.GOOD:
                out.text(f"      what to do: {finding.hint}")
        out.text("fit to build" if fit else "not fit to build yet")
    return EXIT_DONE if fit else EXIT_UNFIT
