"""What becomes of drafts: a spec of the project's, its plan, or a file kept aside.

Invariants: a draft is on the disk before anybody is asked about it; no plan is replaced that was
not meant to be, nor while a run builds from it; no specification is ever replaced.
"""

from contextlib import suppress
from itertools import count
from pathlib import Path

from auto_build.errors import EnvironmentUnfit, RunLocked, UsageProblem
from auto_build.git.repo import ref_part
from auto_build.journal import RunLock, find_holder
from auto_build.planning.drafts import SpecDraft
from auto_build.workspace import SPEC, Spec, Workspace, write_atomically


def keep_draft(workspace: Workspace, name: str, text: str) -> Path:
    """Keep a draft's text aside, in place of an earlier one of that name; return where.

    Raises:
        EnvironmentUnfit: it cannot be written.
    """
    folder = workspace.state_dir / "drafts"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentUnfit(
            f"{folder} cannot be written: {error.strerror}",
            hint="the .git folder must be writable and its disk must have space left",
        ) from error
    path = folder / ref_part(name)
    write_atomically(path, text, scratch=folder)
    return path


def drop_draft(path: Path) -> None:
    """Forget a draft that has come to its place."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def require_plan_free(workspace: Workspace, spec: Spec, *, force: bool) -> None:
    """Make sure that a spec's plan may be written.

    Raises:
        UsageProblem: there is one, and it was not said that it may be replaced.
        RunLocked: a run of the spec is going on.
    """
    holder = find_holder(workspace.state_dir)
    if holder is not None and holder.spec == spec.name:
        raise RunLocked(
            f"process {holder.pid} on {holder.host} is building {spec.name} from its plan",
            hint="wait for it, or stop it with Ctrl-C where it runs",
        )
    if not force and spec.plan_path.exists():
        raise UsageProblem(
            f"{spec.name} has a plan already: {spec.plan_path}",
            hint="--force has it replaced; auto-build plan show prints it",
        )


def write_plan(workspace: Workspace, spec: Spec, text: str, *, force: bool) -> None:
    """Write a spec's plan.

    Raises:
        UsageProblem: there is one, and it was not said that it may be replaced.
        RunLocked: a run of the spec is going on.
        EnvironmentUnfit: it cannot be written.
    """
    try:
        with RunLock.acquire(workspace.state_dir, spec.name):
            _write_plan(workspace, spec, text, force=force)
    except RunLocked:  # another spec's run is no hindrance
        require_plan_free(workspace, spec, force=force)
        _write_plan(workspace, spec, text, force=force)


def _write_plan(workspace: Workspace, spec: Spec, text: str, *, force: bool) -> None:
    if not force and spec.plan_path.exists():
        raise UsageProblem(
            f"{spec.plan_path} was written by somebody else meanwhile",
            hint="--force has it replaced",
        )
    write_atomically(spec.plan_path, text, scratch=workspace.state_dir)


def write_spec(workspace: Workspace, draft: SpecDraft) -> Path:
    """Write a specification into a folder of its own, under the next free number; return its path.

    Raises:
        EnvironmentUnfit: it cannot be written.
    """
    try:
        workspace.specs_dir.mkdir(parents=True, exist_ok=True)
        path = _next_folder(workspace, draft.slug) / SPEC
        with path.open("x", encoding="utf-8", errors="replace") as file:
            file.write(draft.text)
    except OSError as error:
        raise EnvironmentUnfit(
            f"{workspace.specs_dir} cannot be written: {error.strerror}",
            hint="the folder must be writable and its disk must have space left",
        ) from error
    return path


def _next_folder(workspace: Workspace, slug: str) -> Path:
    numbers = [spec.name.partition("-")[0] for spec in workspace.specs()]
    highest = max((int(number) for number in numbers if number.isdecimal()), default=0)
    for number in count(highest + 1):
        folder = workspace.specs_dir / f"{number:03}-{slug}"
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("numbers do not end")
