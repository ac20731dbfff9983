"""Whatever is done to the files of a checkout, in whatever order: it is byte for byte as before."""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.containment.side import Side
from tests.e2e.project import Project

pytestmark = pytest.mark.slow

NAMES = ("a", "b", "d", "d/x", "d/y", "d/e", "d/e/z", "n", "n/m", ".gitignore", "gone/g")
Harm = Callable[[Path], None]


def write(name: str, text: str) -> Harm:
    def do(top: Path) -> None:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)

    return do


def delete(name: str) -> Harm:
    def do(top: Path) -> None:
        here = top / name
        if here.is_dir() and not here.is_symlink():
            shutil.rmtree(here)
        else:
            here.unlink()

    return do


def link(name: str, to: str) -> Harm:
    return lambda top: (top / name).symlink_to(to)


def change_mode(name: str, mode: int) -> Harm:
    def do(top: Path) -> None:
        if (top / name).is_file():
            (top / name).chmod(mode)

    return do


def move(name: str, to: str) -> Harm:
    def do(top: Path) -> None:
        (top / name).rename(top / to)

    return do


names = st.sampled_from(NAMES)
harms = st.one_of(
    st.builds(write, names, st.sampled_from(["", "a\n", "harm\n", "*\n", "d/\n"])),
    st.builds(delete, names),
    st.builds(link, names, st.sampled_from(["a", "d", "..", "nowhere", "b"])),
    st.builds(change_mode, names, st.sampled_from([0o600, 0o644, 0o755])),
    st.builds(move, names, names),
)


def make_side(folder: Path) -> Project:
    files = {"a": "a\n", "b": "b\n", "d/x": "x\n", "d/y": "y\n", "gone/g": "g\n"}
    project = Project.make(folder, files)
    project.write("b", "unsaved\n")
    project.write("d/e/z", "untracked\n")
    (project.path / "d/y").chmod(0o755)
    project.git("mv", "gone/g", "gone/h")
    return project


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(harms, min_size=1, max_size=8))
def check_any(side: Side, loop: asyncio.Runner, done: list[Harm]) -> None:
    for harm in done:
        with suppress(OSError):
            harm(side.path)
    loop.run(side.check())
    assert side.same(), side.events


def test_any_harm_to_files_is_taken_back(tmp_path: Path) -> None:
    project = make_side(tmp_path / "any")
    with asyncio.Runner() as loop:
        side = loop.run(Side.make(project))
        loop.run(side.begin())
        check_any(side, loop)
    assert side.events, "there was harm"
