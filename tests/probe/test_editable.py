"""A slot whose checks import what the user has installed editable, from the user's checkout."""

import tomllib
from pathlib import Path

import pytest

from auto_build.probe.leaks import Leak, find_leaks
from auto_build.probe.look import find_editable, find_virtualenvs, look
from tests.probe.project import Project, environment, installed, project_with, virtualenv, write

SRC = {
    "src/app/__init__.py": "VALUE = 1\n",
    "test_app.py": "import app\n\n\ndef test_value():\n    assert app.VALUE == 1\n",
}
FLAT = {
    "app/__init__.py": "VALUE = 1\n",
    "checks/test_app.py": "import app\n\n\ndef test_value():\n    assert app.VALUE == 1\n",
}
STYLES = [
    (SRC, "path", "from src of your checkout"),
    (FLAT, "finder", "from app of your checkout"),
    (SRC, "links", "from your checkout"),
]
CHECK = "pytest -q -p no:cacheprovider"


async def judged(project: Project, env: dict[str, str]) -> tuple[Leak, ...]:
    editable = await find_editable(
        project.processes, project=project.root, slot=project.slot, env=env
    )
    return find_leaks(
        project.tracer.loaded(),
        project=str(project.root),
        linked=(),
        virtualenvs=find_virtualenvs(project.root),
        editable=editable,
        top={path.name for path in project.slot.iterdir()},
    )


@pytest.mark.slow
@pytest.mark.parametrize(("files", "style", "where"), STYLES, ids=["path", "finder", "links"])
async def test_an_editable_install_of_the_users_leads_back(
    tmp_path: Path, files: dict[str, str], style: str, where: str
) -> None:
    project, env = await installed(tmp_path, files, style)
    loaded = await project.load(CHECK, env)
    code = next(name for name in files if name.endswith("__init__.py"))
    assert code in loaded
    [leak] = await judged(project, env)
    assert leak.paths == (code,)
    assert leak.what.startswith(f"app is installed editable {where}, ")
    seen = await look(
        project.processes, project=project.root, slot=project.slot, env=env, linked=()
    )
    assert [(one.what, one.mend) for one in seen] == [(leak.what, leak.mend)]


@pytest.mark.slow
async def test_what_mends_it_mends_it(tmp_path: Path) -> None:
    project, users = await installed(tmp_path, SRC, "path")
    await project.load(CHECK, users)
    [leak] = await judged(project, users)
    mend = tomllib.loads(leak.mend)["workspace"]
    for command in mend["setup"]:
        done = await project.run(command, users)
        assert done.code == 0, done.tail
    path = mend["environment"]["PATH"]
    mended = {**users, "PATH": path.format(worktree=project.slot, PATH=users["PATH"])}
    (project.notes / "python.log").unlink()
    assert await project.load('python -c "import app"', mended) == ()
    assert (
        await find_editable(project.processes, project=project.root, slot=project.slot, env=mended)
        == {}
    )


@pytest.mark.slow
async def test_code_that_a_check_imports_from_the_slot_is_no_leak(tmp_path: Path) -> None:
    """Although the user's install is there: Python looks in PYTHONPATH first."""
    project, env = await installed(tmp_path, SRC, "path")
    here = {**env, "PYTHONPATH": str(project.slot / "src")}
    await project.load(CHECK, here)
    assert await judged(project, here) == ()


@pytest.mark.slow
async def test_an_environment_of_the_users_that_is_shared_leads_back(tmp_path: Path) -> None:
    project, _ = await installed(tmp_path, SRC, "path")
    (project.slot / ".venv").symlink_to(project.root / ".venv")
    [leak] = await look(
        project.processes,
        project=project.root,
        slot=project.slot,
        env=environment(),
        linked=[".venv"],
    )
    assert leak.mend.startswith('# take ".venv" out of `link` first')
    assert tomllib.loads(leak.mend)


@pytest.mark.slow
async def test_code_beside_the_tests_is_the_slots_where_python_looks_there_first(
    tmp_path: Path,
) -> None:
    project, env = await installed(tmp_path, FLAT, "finder")
    await project.load(f"python -m {CHECK}", env)
    assert await judged(project, env) == ()


# --- what is installed without a note of the installer's -----------------------------------------


@pytest.fixture
async def project(tmp_path: Path) -> Project:
    return await project_with(tmp_path, SRC)


async def editable_with(project: Project, lines: str) -> dict[str, str]:
    """Return what is found if the user's environment has a .pth file of these lines."""
    env = await virtualenv(project, project.root / "env")
    [site] = (project.root / "env").glob("lib/*/site-packages")
    write(site, {"mine.pth": lines})
    return await find_editable(project.processes, project=project.root, slot=project.slot, env=env)


async def test_a_pth_file_is_named_where_nothing_tells_of_a_distribution(project: Project) -> None:
    lines = f"# mine\nimport sys\n\n{project.root}/src\n/usr/share\n"
    assert await editable_with(project, lines) == {"mine.pth": f"{project.root}/src"}


async def test_an_old_install_is_named_for_its_egg_info(project: Project) -> None:
    write(project.root, {"src/old.egg-info/PKG-INFO": "Metadata-Version: 2.1\nName: old\n"})
    found = await editable_with(project, f"{project.root}/src\n")
    assert found == {"old": f"{project.root}/src"}


async def test_a_pth_file_that_leads_to_the_slot_is_well(project: Project) -> None:
    assert await editable_with(project, f"{project.slot}/src\n") == {}


async def test_a_pth_file_that_cannot_be_read_tells_nothing(project: Project) -> None:
    assert await editable_with(project, "\0\n") == {}


async def test_several_folders_are_named_by_what_holds_them(project: Project) -> None:
    lines = f"{project.root}/src/a\n{project.root}/src/b\n"
    assert await editable_with(project, lines) == {"mine.pth": f"{project.root}/src"}


@pytest.mark.parametrize("script", ["exit 1", "echo '{\"a\": 1}'", "echo '{'", "echo"])
async def test_a_python_that_answers_nonsense_tells_nothing(project: Project, script: str) -> None:
    write(project.notes, {"python3": f"#!/bin/sh\n{script}\n"})
    (project.notes / "python3").chmod(0o755)
    (project.notes / "python").symlink_to("python3")
    env = environment(project.notes)
    assert (
        await find_editable(project.processes, project=project.root, slot=project.slot, env=env)
        == {}
    )


async def test_without_any_python_there_is_nothing_to_ask(project: Project) -> None:
    env = {"PATH": str(project.notes)}
    assert (
        await find_editable(project.processes, project=project.root, slot=project.slot, env=env)
        == {}
    )
    assert (
        await find_editable(project.processes, project=project.root, slot=project.slot, env={})
        == {}
    )


async def test_virtual_environments_are_found_in_two_levels(project: Project) -> None:
    for name in ("env", ".tox/py311", "node_modules/x", "a/b/c"):
        write(project.root / name, {"pyvenv.cfg": ""})
    expected = (f"{project.root}/.tox/py311", f"{project.root}/env")
    assert find_virtualenvs(project.root) == expected


async def test_an_environment_of_conda_is_one_too(project: Project) -> None:
    (project.root / "conda/conda-meta").mkdir(parents=True)
    assert find_virtualenvs(project.root) == (f"{project.root}/conda",)
