"""The folders and files of a project: specs, plans, and what the coordinator keeps under .git.

The plan file is written here and nowhere else, atomically; a file that somebody edited meanwhile
is never overwritten with what was there before.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from auto_build.core.document import PlanRefused, load_document
from auto_build.core.plan import ChunkId
from auto_build.core.planfile import PlanFile, read_plan, write_statuses
from auto_build.errors import EnvironmentUnfit, UsageProblem

HOME: Final = "auto-build"
PLAN: Final = "implementation_plan.json"
SPEC: Final = "spec.md"
REPORT: Final = "qa_report.md"
FIX_REQUEST: Final = "QA_FIX_REQUEST.md"
HUMAN_INPUT: Final = "HUMAN_INPUT.md"


class PlanProblem(UsageProblem):
    """The plan file cannot be used; `problems` lists why."""

    def __init__(self, path: Path, refused: PlanRefused) -> None:
        lines = "\n  ".join(map(str, refused.problems))
        super().__init__(f"{path} is no plan that can be run:\n  {lines}")
        self.hint = "mend these places; `auto-build plan check` shows them again"
        self.problems = refused.problems


@dataclass(frozen=True, slots=True)
class Spec:
    """One specification: its folder's name, which is also the build's name."""

    folder: Path

    @property
    def name(self) -> str:
        """The name of the build."""
        return self.folder.name

    @property
    def plan_path(self) -> Path:
        """Where its plan is."""
        return self.folder / PLAN

    def load_text(self) -> str:
        """Return the specification's text; empty where there is none."""
        path = self.folder / SPEC
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise EnvironmentUnfit(f"{path} cannot be read: {error.strerror}") from error

    def load_plan(self, *, ordered_phases: bool = False) -> PlanFile:
        """Read the plan.

        Raises:
            UsageProblem: there is none.
            PlanProblem: it is not valid.
        """
        return load_plan(self.plan_path, ordered_phases=ordered_phases)


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where things are in one project."""

    project: Path
    common_dir: Path

    @property
    def specs_dir(self) -> Path:
        """The folder that holds the specs."""
        return self.project / HOME / "specs"

    @property
    def state_dir(self) -> Path:
        """The folder of the journal, the lock and the logs, which no editor or linter sees."""
        return self.common_dir / "auto-build"

    def logs_dir(self, spec: str) -> Path:
        """The folder of a build's logs."""
        return self.state_dir / "logs" / spec

    def probe_dir(self) -> Path:
        """Return an empty folder in which programs can be looked at."""
        folder = self.state_dir / "probe"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = error.strerror
            raise EnvironmentUnfit(f"the probe folder {folder} cannot be made: {why}") from error
        return folder

    def specs(self) -> tuple[Spec, ...]:
        """Return every spec, by name."""
        if not self.specs_dir.is_dir():
            return ()
        folders = sorted(path for path in self.specs_dir.iterdir() if path.is_dir())
        return tuple(Spec(folder) for folder in folders if not folder.name.startswith("."))

    def require_spec(self, wanted: str) -> Spec:
        """Return the spec called `wanted`, or whose name begins with `wanted-`.

        Raises:
            UsageProblem: there is none, or more than one.
        """
        specs = self.specs()
        if exact := [spec for spec in specs if spec.name == wanted]:
            return exact[0]
        found = [spec for spec in specs if spec.name.startswith(f"{wanted}-")]
        if not found and wanted.isdigit():
            number = wanted.lstrip("0")
            found = [s for s in specs if s.name.partition("-")[0].lstrip("0") == number]
        if len(found) == 1:
            return found[0]
        names = [spec.name for spec in (found or specs)]
        if found:
            raise UsageProblem(
                f"{wanted!r} fits several specs: {', '.join(names)}", hint="write the whole name"
            )
        near = get_close_matches(wanted, names, n=1)
        there = f"there are: {', '.join(names)}" if names else f"{self.specs_dir} has none"
        raise UsageProblem(
            f"there is no spec {wanted!r}; {there}",
            hint=f"did you mean {near[0]}?" if near else _where_from(names),
        )


def _where_from(names: list[str]) -> str:
    return "name one of those" if names else "auto-build init makes the folders"


def load_plan(path: Path, *, ordered_phases: bool = False) -> PlanFile:
    """Read a plan file.

    Raises:
        UsageProblem: there is none, or it cannot be read.
        PlanProblem: it is not valid.
    """
    text = _load_text(path)
    try:
        return read_plan(text, ordered_phases=ordered_phases)
    except PlanRefused as refused:
        raise PlanProblem(path, refused) from refused


def _load_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageProblem(
            f"there is no plan at {path}",
            hint="`auto-build plan draft` has one drafted; `plan show --schema` prints its form",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageProblem(f"{path} is not UTF-8 text: {error}", hint="save it as UTF-8") from error
    except OSError as error:
        raise UsageProblem(f"{path} cannot be read: {error.strerror}") from error


class PlanWriter:
    """Keeps a plan file's statuses up to date, and what anybody else writes there.

    `scratch` is a folder of the coordinator's own, for a file that is being written.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        self._path = path
        self._scratch = scratch

    def write(
        self,
        notes: Mapping[ChunkId, Mapping[str, Any]],
        signoff: Mapping[str, Any] | None = None,
    ) -> str:
        """Write the statuses into the file as it is now; return a warning, or nothing.

        A file that cannot be read back is left as it is: somebody is at work on it.
        """
        try:
            current = _load_text(self._path)
            text = write_statuses(load_document(current), notes, signoff)
        except (UsageProblem, PlanRefused) as error:
            return f"the plan file was changed and is left alone: {error}"
        if text != current:
            write_atomically(self._path, text, scratch=self._scratch)
        return ""


def write_atomically(path: Path, text: str, *, scratch: Path) -> None:
    """Replace a file's content in one step, durably, keeping its permissions.

    Only one process may do so at a time. The new content is made ready in the folder `scratch`, so
    that a kill leaves nothing in the user's folder; beside the file where that is on another disk.

    Raises:
        EnvironmentUnfit: it cannot be written; the old content is still there.
    """
    target = path.resolve()  # a link stays a link
    try:
        fresh = _ready(target, scratch)
        try:
            with fresh.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                fresh.chmod(target.stat().st_mode & 0o7777)
            fresh.replace(target)
        except BaseException:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise EnvironmentUnfit(
            f"{path} cannot be written: {error.strerror}",
            hint="it must be writable and its disk must have space left; nothing was lost",
        ) from error


def _ready(target: Path, scratch: Path) -> Path:
    near = target.parent.stat().st_dev == scratch.stat().st_dev
    folder = scratch if near else target.parent
    return folder / f".{target.name}.new"
