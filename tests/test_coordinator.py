"""The Python API: a coordinator whose run is awaited while its updates are read."""

import asyncio
from pathlib import Path

import pytest

from auto_build import AutoBuildError, Record, SwarmCoordinator
from auto_build.core.events import CandidateLanded, SessionClosed
from tests.e2e.project import Project, chunk, write


async def test_updates_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "proj")
    project.plan_of(chunk("1-1", files=["x"]), chunk("1-2", files=["y"]))
    project.agent("1-1", write("x"))
    project.agent("1-2", write("y"))
    coordinator = SwarmCoordinator(project.path, "001")

    async def read() -> list[str]:
        return [
            type(update.what.event).__name__
            async for update in coordinator.events()
            if isinstance(update.what, Record)
        ]

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)  # let it subscribe
    view = await coordinator.run()
    seen = await reading
    assert view.finished
    assert seen.count(CandidateLanded.__name__) == 2
    assert seen[-1] == SessionClosed.__name__
    later = await coordinator.status()
    assert later is not None
    assert later.done == 2


async def test_the_stream_ends_also_where_the_run_cannot_begin(tmp_path: Path) -> None:
    coordinator = SwarmCoordinator(tmp_path, "001")

    async def read() -> int:
        return len([update async for update in coordinator.events()])

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)  # let it subscribe
    with pytest.raises(AutoBuildError, match="not in a git repository"):
        await coordinator.run()
    assert await reading == 0
