"""Which of the user's files Python programs load in a slot, and that they do not notice."""

import os
from pathlib import Path

import psutil
import pytest

from auto_build.git.worktree import FOLDER
from auto_build.probe import loads
from auto_build.probe.loads import Tracer
from tests.probe.project import Project, environment, project_with, virtualenv, write

APP = {"src/app/__init__.py": "import app.core\n", "src/app/core.py": "VALUE = 1\n"}


@pytest.fixture
async def project(tmp_path: Path) -> Project:
    return await project_with(tmp_path, APP)


def of_the_user(project: Project, **more: str) -> dict[str, str]:
    return environment(PYTHONPATH=str(project.root / "src"), **more)


async def test_code_of_the_users_checkout_is_named(project: Project) -> None:
    found = await project.load("python -c 'import app'", of_the_user(project))
    assert found == ("src/app/__init__.py", "src/app/core.py")


async def test_code_of_the_slot_is_not_named(project: Project) -> None:
    env = environment(PYTHONPATH=str(project.slot / "src"))
    assert await project.load("python -c 'import app'", env) == ()


async def test_compiled_code_is_named_by_its_source(project: Project) -> None:
    env = of_the_user(project)
    await project.run("python -c 'import app'", env)
    assert list(project.root.glob("src/app/__pycache__/core.*.pyc"))
    assert "src/app/core.py" in await project.load("python -c 'import app'", env)


async def test_compiled_code_that_is_kept_elsewhere_is_named_by_its_source(
    project: Project, tmp_path: Path
) -> None:
    env = of_the_user(project, PYTHONPYCACHEPREFIX=str(tmp_path / "compiled"))
    await project.run("python -c 'import app'", env)
    assert list((tmp_path / "compiled").rglob("core.*.pyc"))
    assert "src/app/core.py" in await project.load("python -c 'import app'", env)


async def test_a_link_in_the_slot_is_followed(project: Project) -> None:
    (project.slot / "shared").symlink_to(project.root / "src")
    env = environment(PYTHONPATH="shared")
    assert "src/app/core.py" in await project.load("python -c 'import app'", env)


async def test_what_was_loaded_before_us_is_named(project: Project) -> None:
    """A .pth file may import; it is read before any sitecustomize."""
    env = await virtualenv(project, project.notes.parent / "env")
    [site] = (project.notes.parent / "env").glob("lib/*/site-packages")
    write(site, {"early.pth": f"import sys; sys.path.append('{project.root}/src'); import app\n"})
    assert "src/app/core.py" in await project.load("python -c pass", env)


async def test_a_program_of_the_user_is_named(project: Project) -> None:
    assert await project.load(f"python {project.root}/src/app/core.py") == ("src/app/core.py",)


async def test_data_that_is_read_is_named_and_what_is_written_is_not(project: Project) -> None:
    write(project.root, {"out": "before"})
    program = f"open('{project.root}/src/app/core.py').read(); open('{project.root}/out', 'w')"
    env = environment(PYTHONWARNINGS="ignore")
    assert await project.load(f'python -c "{program}"', env) == ("src/app/core.py",)
    assert (project.root / "out").read_text() == ""


async def test_a_compiled_extension_is_named(project: Project) -> None:
    [extension] = sorted(Path(psutil.__file__).parent.glob("_psutil_*.so"))[:1]
    name, copy = extension.name.partition(".")[0], project.root / "src" / extension.name
    copy.write_bytes(extension.read_bytes())
    found = await project.load(f"python -c 'import {name}'", of_the_user(project))
    assert found == (f"src/{extension.name}",)


async def test_forks_and_programs_that_it_starts_are_seen(project: Project) -> None:
    program = (
        "import os, subprocess, sys\n"
        "if os.fork() == 0:\n"
        "    import app.core\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "subprocess.run([sys.executable, '-c', 'import other'], check=True)\n"
    )
    write(project.root, {"src/other.py": ""})
    write(project.slot, {"check.py": program})
    found = await project.load("python check.py", of_the_user(project))
    assert found == ("src/app/__init__.py", "src/app/core.py", "src/other.py")


async def test_each_file_is_noted_once(project: Project) -> None:
    path = project.root / "src/app/core.py"
    program = f"import os; [open('{path}').close() for _ in range(9)]; os.chdir('{path.parent}'); "
    await project.load(f"python -c \"{program} [open('core.py').close() for _ in range(9)]\"")
    assert (project.notes / "python.log").read_text() == f"{path}\n"


@pytest.mark.slow
async def test_what_is_noted_has_a_limit(project: Project) -> None:
    many = project.root / "many"
    write(many, {f"{number}.txt": "" for number in range(2100)})
    program = f"[open('{many}/%d.txt' % number).close() for number in range(2100)]"
    assert len(await project.load(f'python -c "{program}"')) == 2000


async def test_a_line_that_was_cut_is_not_believed(project: Project) -> None:
    (project.notes / "python.log").write_text(f"{project.root}/a.py\n{project.root}/b")
    assert project.tracer.loaded() == (f"{project.root}/a.py",)


async def test_worktrees_and_git_are_not_the_users_files(project: Project) -> None:
    assert FOLDER in loads._APART
    program = f"open('{project.root}/.git/HEAD').close()"
    assert await project.load(f'python -c "{program}"') == ()


SHOW = "import sys; print(sys.path, sys.argv, sys.flags, sorted(sys.modules))"


async def test_the_program_sees_the_same_python(project: Project) -> None:
    env = of_the_user(project)
    alone = await project.run(f'python -c "{SHOW}"', env)
    traced = await project.run(f'python -c "{SHOW}"', project.tracer.environment(env))
    assert traced.code == 0
    assert traced.tail == alone.tail


async def test_a_sitecustomize_that_ours_hides_runs_as_if_it_were_alone(project: Project) -> None:
    write(project.slot, {"site/sitecustomize.py": "import sys; MARK = 7; print('hidden')"})
    env = environment(PYTHONPATH=str(project.slot / "site"))
    command = 'python -c "import sitecustomize; print(sitecustomize.MARK, sitecustomize.__file__)"'
    alone = await project.run(command, env)
    traced = await project.run(command, project.tracer.environment(env))
    assert traced.tail.splitlines() == ["hidden", f"7 {project.slot}/site/sitecustomize.py"]
    assert traced.tail == alone.tail


async def test_a_sitecustomize_that_fails_fails_as_if_it_were_alone(project: Project) -> None:
    write(project.slot, {"site/sitecustomize.py": "raise ValueError('broken')"})
    env = environment(PYTHONPATH=str(project.slot / "site"))
    alone = await project.run("python -c pass", env)
    traced = await project.run("python -c pass", project.tracer.environment(env))
    assert "broken" in alone.tail
    assert (traced.code, traced.tail) == (alone.code, alone.tail)


async def test_a_folder_that_is_gone_disturbs_nothing(project: Project) -> None:
    tracer = Tracer(project.root, project.notes / "gone")
    program = f"print(open('{project.root}/src/app/core.py').read())"
    done = await project.run(f'python -c "{program}"', tracer.environment(environment()))
    assert (done.code, done.tail.strip()) == (0, "VALUE = 1")
    assert tracer.loaded() == ()


async def test_a_python_without_our_variables_is_left_alone(project: Project) -> None:
    env = project.tracer.environment(of_the_user(project))
    bare = {name: value for name, value in env.items() if not name.startswith("AUTO_BUILD_")}
    done = await project.run("python -c 'import app'", bare)
    assert (done.code, done.tail, project.tracer.loaded()) == (0, "", ())


def test_what_was_on_pythonpath_is_kept_behind_ours(tmp_path: Path) -> None:
    tracer = Tracer(tmp_path, tmp_path / "notes")
    first, *rest = tracer.environment({"PYTHONPATH": "a:b"})["PYTHONPATH"].split(os.pathsep)
    assert (Path(first) / "sitecustomize.py").is_file()
    assert rest == ["a", "b"]
    assert tracer.environment({"PYTHONPATH": ""})["PYTHONPATH"] == first
