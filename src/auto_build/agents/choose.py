"""From settings to an agent.

Backends that need an extra are loaded by name, so that the others work without it.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, assert_never

from auto_build import settings
from auto_build.agents.base import Agent
from auto_build.agents.command import CommandAgent
from auto_build.agents.scripted import ScriptedAgent, load_script
from auto_build.errors import EnvironmentUnfit
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
            return CommandAgent(name, chosen.argv, chosen.prompt, processes)
        case settings.ScriptedAgent():
            path = project / chosen.script.replace("{spec_dir}", str(spec_dir))
            return ScriptedAgent(name, load_script(path), processes)
        case settings.ClaudeAgent():
            build: Build = _load("claude", "claude_agent_sdk", name).build
            return build(name, chosen, processes)
        case settings.AcpAgent():
            build = _load("acp", "acp", name).build
            return build(name, chosen, processes)
        case _:
            assert_never(chosen)


def _load(backend: str, package: str, name: str) -> Any:
    """Return the module of a backend whose third-party package is an extra."""
    if find_spec(package) is None:
        raise EnvironmentUnfit(
            f"agent {name!r} needs the extra {backend!r}, which is not installed",
            hint=f"pip install 'auto-build[{backend}]'",
        )
    return import_module(f"auto_build.agents.{backend}")
