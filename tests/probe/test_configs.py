"""Configuration in a slot that names the user's checkout by its absolute path."""

from pathlib import Path

import pytest

from auto_build.probe.look import _line_that_names, look
from tests.probe.project import Project, project_with, write


@pytest.fixture
async def project(tmp_path: Path) -> Project:
    return await project_with(tmp_path, {"src/a.py": ""})


async def named(project: Project, file: str, text: str) -> list[tuple[tuple[str, ...], str]]:
    write(project.slot, {file: text})
    found = await look(
        project.processes, project=project.root, slot=project.slot, env={}, linked=()
    )
    return [(leak.paths, leak.what.partition(" names")[0]) for leak in found]


@pytest.mark.parametrize(
    "file",
    [
        *("pyproject.toml", "sub/setup.cfg", "tsconfig.base.json", "jest.config.ts", "Makefile"),
        *(".npmrc", "my.code-workspace", ".vscode/settings.json", ".env"),
    ],
)
async def test_configuration_that_names_the_checkout_is_named(project: Project, file: str) -> None:
    found = await named(project, file, f'first\npath = "{project.root}/src"\n{project.root}\n')
    assert found == [((file,), f"line 2 of {file}")]


@pytest.mark.parametrize("file", ["README.md", "a/b/tox.ini", "node_modules/a/package.json"])
async def test_other_files_are_not_looked_at(project: Project, file: str) -> None:
    assert await named(project, file, str(project.root)) == []


@pytest.mark.parametrize("path", ["{}2/src", "/mnt{}", "{}-old", "{}.bak", "{}/gone", "src"])
async def test_other_paths_are_well(project: Project, path: str) -> None:
    assert await named(project, "tox.ini", path.format(project.root)) == []


async def test_a_path_into_worktrees_is_well(project: Project) -> None:
    assert await named(project, "tox.ini", str(project.slot)) == []


@pytest.mark.parametrize("line", ["file://{}/src", "-I{}", "[{}]", "x:{}/src:y", "{}/src/*.py"])
async def test_a_path_is_found_in_what_surrounds_it(project: Project, line: str) -> None:
    found = await named(project, "tox.ini", line.format(project.root))
    assert found == [(("tox.ini",), "line 1 of tox.ini")]


async def test_a_file_too_large_for_configuration_is_not_read(project: Project) -> None:
    assert await named(project, "tox.ini", f"{project.root}\n" + "x" * 500_000) == []


async def test_a_link_is_not_read(project: Project) -> None:
    write(project.root, {"mine.txt": str(project.root)})
    (project.slot / "tox.ini").symlink_to(project.root / "mine.txt")
    assert await named(project, "README.md", "") == []
    (project.slot / "tox.ini").unlink()
    assert await named(project, "tox.ini", str(project.root)) != []


def test_a_project_with_a_short_path_is_not_meant_by_every_word() -> None:
    assert _line_that_names(Path("/usr"), 'homepage = "/usr"') == 0
    assert _line_that_names(Path("/usr"), 'path = "/usr/lib"') == 1
