"""`spec new` and `plan draft`: an agent drafts, a person decides."""

import asyncio
import shlex
import signal
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from auto_build.cli.options import as_json, project_dir
from auto_build.cli.output import Out, is_terminal
from auto_build.cli.plans import describe_plan, plan_value
from auto_build.delivery import Build
from auto_build.errors import (
    EXIT_DONE,
    EXIT_UNFINISHED,
    EXIT_USAGE,
    AutoBuildError,
    UsageProblem,
)
from auto_build.git.repo import Repo
from auto_build.planning.drafts import DRAFTED_BY, Author, Draft, SpecDraft, outline
from auto_build.planning.keeping import (
    drop_draft,
    keep_draft,
    require_plan_free,
    write_plan,
    write_spec,
)
from auto_build.planning.planner import NEW_SPEC, Planner, open_planner
from auto_build.process import Processes
from auto_build.ui.words import clean, counted, harmless, source, used
from auto_build.workspace import Spec, Workspace

_AGENT: Final = click.option("--agent", help="Which agent of auto-build.toml to use.")
_MODEL: Final = click.option("--model", help="The model, for agents that take one.")
T = TypeVar("T")


# --- plans ----------------------------------------------------------------------------------------


@click.command()
@click.argument("spec")
@click.option("--yes", "-y", is_flag=True, help="Write the plan without asking.")
@click.option("--force", is_flag=True, help="Replace a plan that is there.")
@_MODEL
@_AGENT
@project_dir
@as_json
def draft(
    spec: str,
    yes: bool,
    force: bool,
    agent: str | None,
    model: str | None,
    project_dir: Path,
    as_json: bool,
) -> int:
    """Have an agent read the repository and draft the plan of SPEC."""
    flags = {"agent": agent, "model": model}
    return draft_plan(project_dir, spec, flags=flags, out=Out(as_json), yes=yes, force=force)


def draft_plan(
    folder: Path,
    wanted: str,
    *,
    flags: Mapping[str, Any],
    out: Out,
    yes: bool,
    force: bool = False,
) -> int:
    """Have a spec's plan drafted, shown, confirmed and written; return the exit code.

    Args:
        folder: a folder in the repository.
        wanted: the spec.
        flags: what was typed for the [run] table; `model` is also the planner's.
        out: where the answer goes.
        yes: write it without asking.
        force: replace a plan that is there.
    """
    teller = _Teller(out)
    found = asyncio.run(Build.open(folder, wanted))
    require_plan_free(found.workspace, found.spec, force=force)
    made = _carry_out(_plan(folder, found.spec, flags, teller))
    kept = keep_draft(found.workspace, f"{found.spec.name}.json", made.text)
    if not out.json:
        _show(made, out)
    if not (yes or _confirmed(out, found.spec, kept)):
        return _leave(made, found.spec, kept, teller)
    with _kept(kept):
        write_plan(found.workspace, found.spec, made.text, force=force)
    drop_draft(kept)
    if out.json:
        out.value(_plan_value(made, found.spec, None, teller))
    else:
        out.text(f"written to {found.spec.plan_path}; next: auto-build run {wanted}")
    return EXIT_DONE


async def _plan(folder: Path, spec: Spec, flags: Mapping[str, Any], teller: "_Teller") -> Draft:
    planner = await open_planner(folder, flags=flags, say=teller.say, warn=teller.warn, spec=spec)
    return await planner.draft_plan(spec)


def _show(made: Draft, out: Out) -> None:
    for line in describe_plan(made.file.plan):
        out.text(harmless(line))
    out.text()
    for advice in made.advice:
        out.text(f"hint     {clean(advice)}")
    out.text(_drafted_by(made.author))


def _confirmed(out: Out, spec: Spec, kept: Path) -> bool:
    """Ask whether the plan is to be written, where there is somebody to ask."""
    if out.json or not is_terminal():
        return False
    with _kept(kept):
        return click.confirm(f"write it to {spec.plan_path}?", default=None)


def _leave(made: Draft, spec: Spec, kept: Path, teller: "_Teller") -> int:
    """Tell that the plan was not written, and how to take it all the same."""
    take = f"cp {shlex.quote(str(kept))} {shlex.quote(str(spec.plan_path))}"
    if teller.out.json:
        hint = f"--yes has it written; to take this one: {take}"
        teller.out.value({**_plan_value(made, spec, kept, teller), "hint": hint})
        return EXIT_USAGE
    if is_terminal():
        teller.out.text(f"not written; the draft is kept, to take it: {take}")
        return EXIT_UNFINISHED
    raise UsageProblem(
        "the plan was not written: there is no terminal to ask whether it may be",
        hint=f"--yes has it written without asking; to take this one: {take}",
    )


def _plan_value(made: Draft, spec: Spec, kept: Path | None, teller: "_Teller") -> dict[str, Any]:
    return {
        "spec": spec.name,
        "path": spec.plan_path,
        "written": kept is None,
        "kept": kept,
        **plan_value(made.file),
        "advice": made.advice,
        "warnings": teller.warnings,
        DRAFTED_BY: made.author.as_note(),
    }


# --- specifications -------------------------------------------------------------------------------


@click.group()
def spec() -> None:
    """Write specifications: what is to be built, before anybody plans how."""


@spec.command()
@click.argument("text")
@click.option("--no-agent", is_flag=True, help="Write a skeleton, without any model.")
@_MODEL
@_AGENT
@project_dir
@as_json
def new(
    text: str,
    no_agent: bool,
    agent: str | None,
    model: str | None,
    project_dir: Path,
    as_json: bool,
) -> int:
    """Draft auto-build/specs/NNN-name/spec.md from a sentence."""
    if not text.strip():
        raise UsageProblem("what is to be built?", hint="auto-build spec new 'Count words'")
    teller = _Teller(Out(as_json))
    repo = asyncio.run(Repo.open(project_dir, Processes()))
    workspace = Workspace(repo.project, repo.common_dir)
    if no_agent:
        made = outline(text)
    else:
        flags = {"agent": agent, "model": model}
        made = _specify(project_dir, workspace, text, flags, teller)
    path = write_spec(workspace, made)
    if teller.out.json:
        teller.out.value(_spec_value(made, path, teller))
    else:
        _tell(made, path, teller.out, agent=not no_agent)
    return EXIT_DONE


def _specify(
    folder: Path,
    workspace: Workspace,
    wish: str,
    flags: Mapping[str, Any],
    teller: "_Teller",
) -> SpecDraft:
    """Have a specification drafted, and its questions answered where there is somebody to ask."""
    planner, made = _carry_out(_first(folder, wish, flags, teller))
    if not made.questions or teller.out.json or not is_terminal():
        return made
    kept = keep_draft(workspace, f"{NEW_SPEC}.md", made.text)
    with _kept(kept):
        answers = _ask(made)
        if any(answers):
            made = _carry_out(planner.revise_spec(made, answers))
    drop_draft(kept)
    return made


async def _first(
    folder: Path, wish: str, flags: Mapping[str, Any], teller: "_Teller"
) -> tuple[Planner, SpecDraft]:
    planner = await open_planner(folder, flags=flags, say=teller.say, warn=teller.warn)
    return planner, await planner.draft_spec(wish)


def _ask(made: SpecDraft) -> list[str]:
    click.echo(f"{made.title}: the agent has {counted(len(made.questions), 'question')}; an empty")
    click.echo("answer leaves one open\n")
    return [
        click.prompt(clean(question), default="", show_default=False).strip()
        for question in made.questions
    ]


def _tell(made: SpecDraft, path: Path, out: Out, *, agent: bool) -> None:
    out.text(f"{path}: {clean(made.title)}")
    for question in made.questions:
        out.text(f"open     {clean(question)}")
    if agent:
        out.text(_drafted_by(made.author))
    out.text(f"read it and mend it; next: auto-build plan draft {path.parent.name}")


def _spec_value(made: SpecDraft, path: Path, teller: "_Teller") -> dict[str, Any]:
    return {
        "spec": path.parent.name,
        "path": path,
        "title": made.title,
        "questions": made.questions,
        "warnings": teller.warnings,
        DRAFTED_BY: made.author.as_note() if made.author.agent else None,
    }


# --- both -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Teller:
    """Tells on standard error what the agent does; warnings are also kept, for programs."""

    out: Out
    warnings: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        if not self.out.json and (line := clean(text)):
            click.echo(click.style(f"  · {line}", dim=True), err=True)

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        if not self.out.json:
            click.echo(click.style("warning: ", fg="yellow") + clean(text), err=True)


def _drafted_by(author: Author) -> str:
    model = f" ({author.model})" if author.model else ""
    rounds = counted(author.rounds, "round")
    cost = used(author.used)
    told = f"{cost} ({source(author.used)})" if cost else "what it cost is not known"
    return f"drafted by {author.agent}{model} in {rounds}: {told}"


@contextmanager
def _kept(path: Path) -> Iterator[None]:
    """Say where a draft is kept when something comes between it and its place."""
    try:
        yield
    except (click.Abort, AutoBuildError):
        click.echo(f"\nthe draft is kept: {path}", err=True)
        raise


def _carry_out(work: Coroutine[Any, Any, T]) -> T:
    """Run an agent's work to its end; the first signal ends it, and it tidies up after itself."""

    async def watched() -> T:
        working = asyncio.ensure_future(work)

        def stop() -> None:
            if not working.cancelling():
                working.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                asyncio.get_running_loop().add_signal_handler(number, stop)
        return await working

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        raise click.Abort from None
