"""From settings to an agent.

Backends that need an extra are loaded by name, so that the others work without it.
"""

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, assert_never

from auto_build import settings
from auto_build.agents.base import Agent, Probe, Problem
from auto_build.agents.command import CommandAgent
from auto_build.agents.script import load_script
from auto_build.agents.scripted import ScriptedAgent
from auto_build.core.usage import Price
from auto_build.errors import EnvironmentUnfit
from auto_build.policy.environment import Environment, Seat
from auto_build.process import Processes

Build = Callable[[str, Any, Processes], Agent]


def build_agent(
    name: str,
    chosen: settings.AnyAgent,
    *,
    project: Path,
    spec_dir: Path,
    processes: Processes,
) -> Agent:
    """Return the agent that the settings describe.

    Raises:
        UsageProblem: its script cannot be read, or its profile is not known.
        EnvironmentUnfit: it needs an extra that is not installed.
    """
    match chosen:
        case settings.CommandAgent():
            price = Price(**chosen.price.model_dump()) if chosen.price else None
            return CommandAgent(name, chosen.argv, chosen.prompt, processes, chosen.preset, price)
        case settings.ScriptedAgent():
            path = project / chosen.script.replace("{spec_dir}", str(spec_dir))
            return ScriptedAgent(name, load_script(path), processes)
        case settings.ClaudeAgent():
            build: Build = load_backend("claude", "claude_agent_sdk", name).build
            return build(name, chosen, processes)
        case settings.AcpAgent():
            build = load_backend("acp", "acp", name).build
            return build(name, chosen, processes)
        case _:
            assert_never(chosen)


def load_backend(backend: str, package: str, name: str) -> Any:
    """Return the module of a backend whose third-party package is an extra."""
    if find_spec(package) is None:
        raise EnvironmentUnfit(
            f"agent {name!r} needs the extra {backend!r}, which is not installed",
            hint=f"pip install 'auto-build[{backend}]', or 'FOLDER[{backend}]' from a clone",
        )
    return import_module(f"auto_build.agents.{backend}.backend")


def agent_environment(
    own: settings.EnvironmentSettings, chosen: settings.AnyAgent, project: Path
) -> Environment:
    """Return how the environments of an agent and of checks are stated, with the agent's keys.

    Raises:
        EnvironmentUnfit: a key's file cannot be read.
    """
    keys = settings.load_keys(project, chosen.key_files)
    return Environment(
        os.environ, own.passed, own.set, keys, secrets=own.secrets, shown=chosen.secrets
    )


async def find_problems(
    agent: Agent, environment: Environment, folder: Path, models: Sequence[str]
) -> list[Problem]:
    """Return what keeps an agent from working, without calling a model.

    Args:
        agent: who is to work.
        environment: how its environment is stated.
        folder: an empty one, to start its program in.
        models: the models that it is to use.
    """
    env = environment.for_agent(Seat("", "", 0, 0), str(folder))
    return await agent.check(Probe(env=env, folder=folder, models=tuple(models)))


async def require_working(
    agent: Agent, environment: Environment, folder: Path, models: Sequence[str]
) -> None:
    """Make sure that an agent can work, before anything is made or paid for.

    Raises:
        EnvironmentUnfit: it cannot, and what to do about it.
    """
    problems = await find_problems(agent, environment, folder, models)
    if problems:
        raise EnvironmentUnfit(
            "\n".join(problem.what for problem in problems),
            hint="; ".join(problem.hint for problem in problems),
        )
