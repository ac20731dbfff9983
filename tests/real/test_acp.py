"""The demo's plan, built through the Agent Client Protocol by agents that people have."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from auto_build import View
from auto_build.core import events as ev
from tests.agents.installed import codex_home, gemini_home, require_program, with_programs
from tests.real.demo import SCENARIO, RealDemo, demo_script
from tests.stubs.server import ModelStub, Served

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Kind:
    """An agent: its program and profile, how it is settled offline, and its model."""

    program: str
    home: Callable[[Path, str], Mapping[str, str]]
    model: str = ""


KINDS = [Kind("gemini", gemini_home, "gemini-2.5-flash"), Kind("codex-acp", codex_home)]


@dataclass(frozen=True)
class Built:
    """The demo as an agent built it, and what the stub served for it."""

    demo: RealDemo
    view: View
    served: tuple[Served, ...]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind, id=kind.program, marks=pytest.mark.xdist_group(kind.program))
        for kind in KINDS
    ],
)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Built]:
    kind: Kind = request.param
    require_program(kind.program)
    with ModelStub() as stub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", with_programs(os.environ["PATH"]))
        url = stub.play_script(SCENARIO, demo_script())
        folder = tmp_path_factory.mktemp("real")
        env = kind.home(folder / "home", url)
        demo = RealDemo(folder, f'kind = "acp"\nprofile = "{kind.program}"', env)
        asyncio.run(demo.make())
        view = asyncio.run(demo.run(workers=3, model=kind.model or None))
        yield Built(demo, view, stub.served(SCENARIO))


async def test_everything_lands_and_its_tests_are_green(built: Built) -> None:
    assert {row.label.value for row in built.view.rows} == {"landed"}
    assert (await built.demo.tests(built.view)).passed


def test_a_red_check_was_mended(built: Built) -> None:
    repaired = {one.chunk for one in built.demo.events if isinstance(one, ev.RepairStarted)}
    assert "3-1" in repaired


def test_every_token_is_counted(built: Built) -> None:
    """What the program asks a model for itself, without tools, it does not count either."""
    used = [one.usage for one in built.served if one.usage and one.talk.tools]
    told = built.view.usage
    assert told.output_tokens == sum(one.output for one in used)
    assert told.input_tokens == sum(one.input for one in used)
