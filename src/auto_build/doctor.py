"""Is this machine, and this repository, fit to build in? Looks, says, and mends nothing."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from auto_build.agents.choose import agent_environment, build_agent, find_problems
from auto_build.errors import AutoBuildError
from auto_build.gate.secrets import GET_IT, MISSING, PROGRAM, Mode, find_program, is_missed
from auto_build.git.repo import Repo, require_git
from auto_build.git.worktree import KEPT, Worktrees
from auto_build.history import load_state
from auto_build.journal import find_holder
from auto_build.machine import free_mb, too_many
from auto_build.process import Processes
from auto_build.settings import Settings, load_settings
from auto_build.workspace import Workspace

_FIRST_SPEC: Final = "auto-build spec new 'what is to be built', then auto-build plan draft 001"


class Health(StrEnum):
    """How a thing stands."""

    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `hint` says how to mend it."""

    health: Health
    what: str
    hint: str = ""


async def examine(folder: Path) -> list[Finding]:
    """Look at everything that a run needs, and at what earlier runs left."""
    found = [Finding(Health.GOOD, f"Python {sys.version.split()[0]}")]
    processes = Processes()
    try:
        version = await require_git(processes)
        found.append(Finding(Health.GOOD, f"git {'.'.join(map(str, version))}"))
        repo = await Repo.open(folder, processes)
        head = await repo.require_user_head()
    except AutoBuildError as error:
        return [*found, _bad(error)]
    found.append(Finding(Health.GOOD, f"repository {repo.project} at {head[:10]}"))
    workspace = Workspace(repo.project, repo.common_dir)
    found.extend(_writable(workspace))
    found.extend([finding async for finding in _agents(workspace, processes)])
    found.extend(_scanner(workspace))
    found.extend(_specs(workspace))
    found.extend([finding async for finding in _leftovers(repo, workspace)])
    return found


def _bad(error: AutoBuildError) -> Finding:
    return Finding(Health.BAD, str(error), error.hint)


def _writable(workspace: Workspace) -> list[Finding]:
    if os.access(workspace.common_dir, os.W_OK) and os.access(workspace.project, os.W_OK):
        return []
    what = f"{workspace.project} or its .git folder cannot be written"
    return [Finding(Health.BAD, what, "give yourself the right to write there")]


async def _agents(workspace: Workspace, processes: Processes) -> AsyncIterator[Finding]:
    try:
        settings = load_settings(workspace.project, {}, os.environ)
    except AutoBuildError as error:
        yield _bad(error)
        return
    try:
        chosen, _ = settings.require_agent()
    except AutoBuildError as error:
        yield _bad(error)
        chosen = ""
    for name in settings.agents:
        async for finding in _agent(name, chosen, settings, workspace, processes):
            yield finding


async def _agent(
    name: str,
    chosen: str,
    settings: Settings,
    workspace: Workspace,
    processes: Processes,
) -> AsyncIterator[Finding]:
    if settings.agents[name].kind == "scripted":
        yield Finding(Health.GOOD, f"agent {name!r} is scripted: it needs no program")
        for finding in _crowd(settings, name, 1):
            yield finding
        return
    health = Health.BAD if name == chosen else Health.NOTE
    try:
        agent = build_agent(
            name,
            settings.agents[name],
            project=workspace.project,
            spec_dir=workspace.specs_dir,
            processes=processes,
        )
        models = settings.models_of_a_run if name == chosen else ()
        environment = agent_environment(
            settings.environment, settings.agents[name], workspace.project
        )
        problems = await find_problems(agent, environment, workspace.probe_dir(), models)
    except AutoBuildError as error:
        yield Finding(health, str(error), error.hint)
        return
    for problem in problems:
        yield Finding(health, problem.what, problem.hint)
    if not problems:
        yield Finding(Health.GOOD, f"agent {name!r} is installed")
    if name == chosen:
        for finding in _crowd(settings, name, agent.abilities.memory_mb):
            yield finding


def _scanner(workspace: Workspace) -> list[Finding]:
    try:
        mode = load_settings(workspace.project, {}, os.environ).containment.secrets
    except AutoBuildError:
        return []  # told already
    return judge_scanner(mode, find_program())


def judge_scanner(mode: Mode, program: str) -> list[Finding]:
    """Return how it stands with looking for secrets, where that is wanted; `program` is where."""
    if is_missed(mode, program):
        return [Finding(Health.BAD if mode == "require" else Health.NOTE, MISSING, GET_IT)]
    if mode == "off":
        return []
    return [Finding(Health.GOOD, f"{PROGRAM} looks works through for secrets")]


def _crowd(settings: Settings, name: str, usual_mb: int) -> Iterator[Finding]:
    """Yield a word where so many agents do not fit into memory; `usual_mb` is for one session."""
    need_mb = settings.agents[name].memory_mb or usual_mb
    if crowded := too_many(settings.run.parallel, need_mb, free_mb()):
        yield Finding(Health.NOTE, crowded, "see `parallel` and `memory_mb` in the settings")


def _specs(workspace: Workspace) -> list[Finding]:
    specs = workspace.specs()
    if not specs:
        return [Finding(Health.NOTE, f"{workspace.specs_dir} has no specs", _FIRST_SPEC)]
    found: list[Finding] = []
    for spec in specs:
        try:
            chunks = len(spec.load_plan().plan.chunks)
            found.append(Finding(Health.GOOD, f"spec {spec.name}: {chunks} chunks"))
        except AutoBuildError as error:
            found.append(Finding(Health.NOTE, str(error), error.hint))
        found.append(_run(workspace, spec.name))
    return [finding for finding in found if finding.what]


def _run(workspace: Workspace, spec: str) -> Finding:
    try:
        state, _ = load_state(workspace, spec)
    except AutoBuildError as error:
        return _bad(error)
    if state is None or not state.open or find_holder(workspace.state_dir):
        return Finding(Health.GOOD, "")
    return Finding(
        Health.NOTE,
        f"the last run of {spec} was killed",
        f"go on where it stopped: auto-build run {spec}",
    )


async def _leftovers(repo: Repo, workspace: Workspace) -> AsyncIterator[Finding]:
    holder = find_holder(workspace.state_dir)
    if holder:
        yield Finding(Health.NOTE, f"a run is going on: process {holder.pid}, {holder.spec}")
        return
    worktrees = Worktrees(repo)
    for number in worktrees.slots():
        path = worktrees.slot_path(number)
        yield Finding(Health.NOTE, f"{path} is left from an earlier run", "auto-build clean")
    for path in sorted((worktrees.folder / KEPT).glob("*")):
        hint = "take what you need out of it and delete it yourself"
        yield Finding(Health.NOTE, f"{path} holds files that git could not take", hint)
    for lock in worktrees.locks():
        hint = "the next run removes it; by hand: delete it while no git is running"
        yield Finding(Health.NOTE, f"{lock} was left by a git that was killed", hint)
    for entry in await worktrees.listed():
        if entry.prunable and worktrees.folder in Path(entry.path).parents:
            yield Finding(
                Health.NOTE, f"git remembers {entry.path}, which is gone", "git worktree prune"
            )
