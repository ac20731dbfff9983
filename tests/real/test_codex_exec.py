"""The demo's plan, built by `codex exec` as a plain command whose output is understood."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from auto_build import View
from auto_build.core import events as ev
from auto_build.core.usage import CostSource
from tests.agents.installed import codex_home, require_program, with_programs
from tests.real.demo import SCENARIO, RealDemo, demo_script
from tests.stubs.server import ModelStub, Served

# one process builds it, for all that look at it
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("codex_exec")]
PRICE = "price = { input = 2.0, output = 10.0 }"


class Built:
    """The demo as it was built, and what the stub served for it."""

    def __init__(self, folder: Path, stub: ModelStub) -> None:
        url = stub.play_script(SCENARIO, demo_script())
        env = codex_home(folder / "home", url)
        self.demo = RealDemo(folder, f'preset = "codex"\n{PRICE}', env)
        self._stub = stub
        self.view: View

    async def build(self) -> None:
        await self.demo.make()
        self.view = await self.demo.run(workers=3)

    @property
    def served(self) -> tuple[Served, ...]:
        return self._stub.served(SCENARIO)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    require_program("codex")
    with ModelStub() as stub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", with_programs(os.environ["PATH"]))
        made = Built(tmp_path_factory.mktemp("real"), stub)
        asyncio.run(made.build())
        yield made


async def test_everything_lands_and_its_tests_are_green(built: Built) -> None:
    assert {row.label.value for row in built.view.rows} == {"landed"}
    assert (await built.demo.tests(built.view)).passed


def test_a_red_check_goes_back_into_the_same_conversation(built: Built) -> None:
    story = [event for event in built.demo.events if getattr(event, "chunk", "") == "3-1"]
    assert any(isinstance(event, ev.RepairStarted) for event in story)
    assert len({one.session for one in story if isinstance(one, ev.ConversationBegan)}) == 1


def test_tokens_are_counted_and_priced_by_the_settings(built: Built) -> None:
    used = [one.usage for one in built.served if one.usage and one.talk.tools]
    told = built.view.usage
    assert told.output_tokens == sum(one.output for one in used)
    assert told.source is CostSource.PRICED
    cost = (told.input_tokens * 2.0 + told.output_tokens * 10.0) / 1_000_000
    assert told.cost_usd == pytest.approx(cost)
