"""A user's project with a worker slot: a real repository, a real worktree, real environments."""

import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auto_build.probe.loads import Tracer
from auto_build.process import Exit, Processes

_GIT: Final = ("git", "-c", "user.name=A", "-c", "user.email=a@example.org")
_BACKEND: Final = Path(__file__).with_name("backend.py")
_PYTEST: Final = "import sys\nimport pytest\nsys.exit(pytest.console_main())\n"
PYPROJECT: Final = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "app"
version = "0.1"
"""


@dataclass(frozen=True, slots=True)
class Project:
    """The user's checkout in `root`, with the worktree `slot`; `notes` is for what is traced."""

    root: Path
    slot: Path
    notes: Path
    processes: Processes

    @property
    def tracer(self) -> Tracer:
        return Tracer(self.root, self.notes)

    async def run(self, command: str, env: Mapping[str, str], cwd: Path | None = None) -> Exit:
        """Run a command line in the slot."""
        return await self.processes.run_guarded(
            ("sh", "-c", command), cwd=cwd or self.slot, env=env, limit_s=120, tail_limit=20_000
        )

    async def load(self, command: str, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Run a command line in the slot, traced, and return which files of the user it loaded.

        They are relative to the project.
        """
        done = await self.run(command, self.tracer.environment(env or environment()))
        assert done.code == 0, done.tail
        return tuple(str(Path(path).relative_to(self.root)) for path in self.tracer.loaded())


async def project_with(folder: Path, files: Mapping[str, str]) -> Project:
    """Return a project that has committed these files."""
    root, notes = (folder / "project").resolve(), folder / "notes"
    notes.mkdir()
    write(root, files)
    processes, env = Processes(), environment()
    slot = root / ".worktrees" / "auto-build-worker-1"
    for args in (
        ("init", "-q"),
        ("add", "-A"),
        ("commit", "-q", "-m", "begin"),
        ("worktree", "add", "-q", "--detach", str(slot)),
    ):
        await processes.run(*_GIT, *args, cwd=root, env=env)
    return Project(root, slot, notes, processes)


async def installed(
    folder: Path, files: Mapping[str, str], style: str
) -> tuple[Project, dict[str, str]]:
    """Return a project whose user has installed it editable, and an environment to use it in."""
    own = {"pyproject.toml": PYPROJECT, "backend.py": _BACKEND.read_text(), "style.txt": style}
    project = await project_with(folder, {**own, **files, ".gitignore": ".venv\n"})
    env = await virtualenv(project, project.root / ".venv")
    done = await project.run(
        "python -m pip install --no-build-isolation --no-deps -e .", env, cwd=project.root
    )
    assert done.code == 0, done.tail
    return project, env


async def virtualenv(project: Project, folder: Path) -> dict[str, str]:
    """Make an environment of Python that sees the packages of ours; return how to work in it."""
    await project.processes.run(
        *(sys.executable, "-m", "venv", "--without-pip", str(folder)),
        cwd=project.root,
        env=environment(),
    )
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    ours = folder / "lib" / version / "site-packages" / "ours.pth"
    ours.write_text(sysconfig.get_path("purelib") + "\n")
    write(folder, {"bin/pytest": f"#!{folder}/bin/python\n{_PYTEST}"})
    (folder / "bin" / "pytest").chmod(0o755)
    return environment(folder / "bin")


def environment(*first: Path, **more: str) -> dict[str, str]:
    """Return what a check gets; programs are looked for in `first` before anywhere else."""
    ours = Path(sys.executable).parent
    return {
        "PATH": os.pathsep.join([*map(str, first), str(ours), os.environ["PATH"]]),
        "HOME": os.environ["HOME"],
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **more,
    }


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
