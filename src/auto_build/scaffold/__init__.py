"""What `auto-build init` writes into a repository. Nothing that is there is ever overwritten."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from auto_build.errors import EnvironmentUnfit

_FILES: Final = (
    ("run.py.txt", "auto-build/run.py", 0o755),
    ("specs.md.txt", "auto-build/specs/README.md", 0o644),
    ("auto-build.toml.txt", "auto-build.toml", 0o644),
)


@dataclass(frozen=True, slots=True)
class Written:
    """A file of the scaffold; `fresh` where it was not there before."""

    path: Path
    fresh: bool


def write_scaffold(project: Path) -> tuple[Written, ...]:
    """Write the launcher, the specs folder and a commented settings file.

    Raises:
        EnvironmentUnfit: the project cannot be written.
    """
    return tuple(_write(project / path, name, mode) for name, path, mode in _FILES)


def _write(path: Path, name: str, mode: int) -> Written:
    if path.exists():
        return Written(path, fresh=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(files(__name__).joinpath(name).read_text(encoding="utf-8"))
        path.chmod(mode)
    except OSError as error:
        raise EnvironmentUnfit(
            f"{path} cannot be written: {error.strerror}",
            hint="the folder must be writable and have space left on its disk",
        ) from error
    return Written(path, fresh=True)
