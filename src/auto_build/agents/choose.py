"""From settings to an agent."""

from pathlib import Path
from typing import assert_never

from auto_build import settings
from auto_build.agents.base import Agent
from auto_build.agents.command import CommandAgent
from auto_build.agents.scripted import ScriptedAgent, load_script
from auto_build.process import Processes


def build_agent(
    name: str,
    chosen: settings.CommandAgent | settings.ScriptedAgent,
    *,
    project: Path,
    spec_dir: Path,
    processes: Processes,
) -> Agent:
    """Return the agent that the settings describe.

    Raises:
        UsageProblem: its script cannot be read.
    """
    match chosen:
        case settings.CommandAgent():
            return CommandAgent(name, chosen.argv, chosen.prompt, processes)
        case settings.ScriptedAgent():
            path = project / chosen.script.replace("{spec_dir}", str(spec_dir))
            return ScriptedAgent(name, load_script(path), processes)
        case _:
            assert_never(chosen)
