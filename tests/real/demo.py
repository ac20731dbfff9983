"""The demo's project, built by a real agent whose model is a stub that plays the demo's script."""

import asyncio
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from auto_build import Record, SwarmCoordinator, Update, View
from auto_build.agents.script import Script, Sleep, Step
from auto_build.checks import Run
from auto_build.core.events import Event
from auto_build.demo.build import SCRIPT, SPEC_NAME, build_project, project_files
from auto_build.demo.run import Measured, run_tests
from auto_build.process import Processes
from auto_build.settings import FILE
from auto_build.workspace import HOME

SCENARIO = "demo"


def demo_script() -> Script:
    """Return the demo's script, without its pauses."""
    text = project_files(pace=1.0)[f"{HOME}/specs/{SPEC_NAME}/{SCRIPT}"]
    script = Script.model_validate(tomllib.loads(text))
    turns = (turn.model_copy(update={"steps": tuple(_busy(turn.steps))}) for turn in script.turn)
    return script.model_copy(update={"turn": tuple(turns)})


def _busy(steps: Iterable[Step]) -> Iterator[Step]:
    return (step for step in steps if not isinstance(step, Sleep))


@dataclass
class RealDemo:
    """A project to be built by `agent`, a table of the settings file."""

    folder: Path
    agent: str
    env: Mapping[str, str]
    updates: list[Update] = field(default_factory=list)

    @property
    def project(self) -> Path:
        return self.folder / "shelf"

    async def make(self) -> None:
        """Make the project, with the agent in its settings."""

        async def settle(project: Path) -> None:
            path = project / FILE
            kept = path.read_text(encoding="utf-8").partition("[gate]")[2]
            own, _, table = kept.partition("[environment.set]\n")
            more = "".join(f"{name} = {_quoted(value)}\n" for name, value in self.env.items())
            path.write_text(
                f'[run]\nagent = "real"\n\n[agents.real]\n{self.agent}\n\n[gate]{own}'
                f"[environment.set]\n{more}{table}",
                encoding="utf-8",
            )

        await build_project(self.project, Processes(), pace=0.0, prepare=settle)

    async def run(
        self,
        *,
        workers: int = 3,
        on_update: Callable[[Update], None] = lambda _: None,
        **settings: object,
    ) -> View:
        """Build it, or go on with it."""

        def take(update: Update) -> None:
            self.updates.append(update)
            on_update(update)

        coordinator = SwarmCoordinator(
            self.project, SPEC_NAME, max_workers=workers, settings=settings, on_update=take
        )
        return await coordinator.run()

    async def tests(self, view: View) -> Run:
        """Run the whole suite on what staging shows."""
        return await run_tests(Measured(self.project, 0, view, 0.0))

    @property
    def events(self) -> list[Event]:
        return [one.what.event for one in self.updates if isinstance(one.what, Record)]


def build_demo(demo: RealDemo) -> None:
    """Make a demo's project where there is no loop."""
    asyncio.run(demo.make())


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
