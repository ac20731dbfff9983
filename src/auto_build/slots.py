"""Worker slots, furnished: a worktree at a commit, with all that a program needs to run in it.

A slot gets the files and links that the settings name, and has the set-up commands run in it: once,
and again when a file that they read has changed. Nothing of that is ever committed: it is ignored
by git, which `require_fit` sees to before a run begins.
"""

import asyncio
import filecmp
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

from pydantic import BaseModel, ValidationError

from auto_build.errors import EnvironmentUnfit
from auto_build.git.parse import GITLINK, Commit, File
from auto_build.git.worktree import Worktree, Worktrees
from auto_build.journal import now
from auto_build.policy.environment import Environment, Seat
from auto_build.process import CommandFailed
from auto_build.settings import FILE, LOCK_FILES, WorkspaceSettings

_MARK: Final = "auto-build-setup"  # in the worktree's own git folder: what its set-up was made for
_TAIL: Final = 4_000  # characters of a failing set-up that are shown
_SEATLESS: Final = Seat("", "", 0, 0)


class SetUpFailed(EnvironmentUnfit):
    """A set-up command did not work on a tree; `note` says how, `output` what it printed."""

    def __init__(self, fact: str, *, hint: str, note: str, output: str) -> None:
        super().__init__(fact, hint=hint)
        self.note = note
        self.output = output


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """The worker slots of one build; `notice` is told what is being done for which chunk."""

    worktrees: Worktrees
    environment: Environment
    settings: WorkspaceSettings
    spec: str
    logs: Path
    notice: Callable[[str, str], None]
    _busy: dict[int, asyncio.Lock] = field(default_factory=dict)
    _written: dict[int, float] = field(default_factory=dict)  # when, in seconds since the epoch

    def seat(self, number: int, chunk: str = "", attempt: int = 0) -> Seat:
        """Return where a program in a slot runs."""
        return Seat(self.spec, chunk, attempt, number, str(self.worktrees.slot_path(number)))

    def for_agent(self, seat: Seat) -> dict[str, str]:
        """Return the environment of an agent in a slot."""
        return self.environment.for_agent(seat, self.worktrees.ceiling)

    def for_check(self, seat: Seat) -> dict[str, str]:
        """Return the environment of a check, or of a set-up command, in a slot."""
        return self.environment.for_check(seat, self.worktrees.ceiling)

    @property
    def digest(self) -> str:
        """What makes the environments of two checks the same, whichever slots they run in."""
        stated = self.environment.for_check(_SEATLESS, "")
        told = (stated, dict(self.environment.per_slot), self.settings.model_dump(mode="json"))
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    async def require(self, seat: Seat, commit: Commit) -> Worktree:
        """Return a slot's worktree at `commit`, furnished, without anything that git would list.

        Raises:
            EnvironmentUnfit: what it needs is not there.
            SetUpFailed: a set-up command did not work.
        """
        async with self._busy.setdefault(seat.worker, asyncio.Lock()):
            worktree = await self._check_out(seat.worker, commit)
            files = await self.worktrees.repo.files(commit) if self._is_furnished else ()
            self._copy(worktree, files)
            self._link(worktree, files)
            await self._set_up(worktree, seat, files)
            return worktree

    async def require_for_agent(self, seat: Seat, commit: Commit) -> Worktree:
        """Return a slot for an agent that goes on with work of its own, set up as far as can be.

        Set-up that fails may be what the agent has to mend.
        """
        try:
            return await self.require(seat, commit)
        except SetUpFailed as failed:
            self.notice(seat.chunk, str(failed))
            return await self._check_out(seat.worker, commit)

    async def require_fit(self, commit: Commit) -> None:
        """See that what the settings name can be given to slots and will not be committed.

        Raises:
            EnvironmentUnfit: it cannot, or would.
        """
        named = (*self.settings.copied, *self.settings.link)
        repo = self.worktrees.repo
        for path in named:
            if not os.path.lexists(repo.project / path):
                raise EnvironmentUnfit(
                    f"[workspace] names {path}, which is not in {repo.project}",
                    hint=f"make it there, or take it out of {FILE}",
                )
        if exposed := await repo.not_ignored(named):
            raise EnvironmentUnfit(
                f"[workspace] names {', '.join(exposed)}, which git does not ignore: agents' work"
                " would take it along",
                hint="add it to .gitignore and commit that; files that git tracks are in every"
                " worktree anyway",
            )
        files = await repo.files(commit)
        if tracked := [path for path in named if _tracks(files, path)]:
            raise EnvironmentUnfit(
                f"[workspace] names {', '.join(tracked)}, where git tracks files: they are in every"
                " worktree anyway",
                hint=f"take it out of {FILE}",
            )
        await self.worktrees.exclude(*named)  # a chunk may change .gitignore
        modules = [file.path for file in files if file.mode == GITLINK]
        if modules and not any("submodule" in line for line in self.settings.setup):
            raise EnvironmentUnfit(
                f"there are submodules ({', '.join(modules)}), and worktrees begin without their"
                " files",
                hint=f"have each set up, in {FILE}:\n[workspace]\n"
                'setup = ["git submodule update --init --recursive"]',
            )
        await self._require_lfs(files)

    async def _require_lfs(self, files: Iterable[File]) -> None:
        repo = self.worktrees.repo
        for file in files:
            if (
                PurePosixPath(file.path).name == ".gitattributes"
                and "filter=lfs" in await repo.content_of(file.oid)
                and not await repo.has_lfs()
            ):
                raise EnvironmentUnfit(
                    f"{file.path} keeps files in Git LFS, which is not installed: worktrees would"
                    " hold pointers in their place",
                    hint="install git-lfs, then: git lfs install",
                )

    def lent(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return those of some paths that slots only have because they are copied or linked."""
        wanted = [path.strip("/") for path in (*self.settings.copied, *self.settings.link)]
        return tuple(
            path
            for path in paths
            if any(path == one or path.startswith(f"{one}/") for one in wanted)
        )

    def require_clean(self, worktree: Worktree, left: Sequence[str]) -> None:
        """See that set-up has left nothing that agents' work would take along.

        Raises:
            EnvironmentUnfit: it has.
        """
        if left:
            raise EnvironmentUnfit(
                f"set-up leaves {', '.join(left)} in {worktree.path}, which git does not ignore:"
                " agents' work would take it along",
                hint="add it to .gitignore and commit that, or use a set-up command that leaves"
                " tracked files alone (npm ci, not npm install)",
            )

    async def _check_out(self, number: int, commit: Commit) -> Worktree:
        """Return a slot's worktree at a commit; its files are touched only where they have to be.

        Python, make and others tell versions of a file apart by its size and the second in which it
        was written. So no two trees are written in the same second, or a check would judge one by
        what was compiled from the other.
        """
        there = self.worktrees.find_slot(number)
        if there and await self._is_at(there, commit):
            return there
        wait_s = 1.0 - (now() - self._written.get(number, 0.0))
        if 0.0 < wait_s <= 1.0:
            await asyncio.sleep(wait_s)
        worktree = await self.worktrees.require_slot(number, commit)
        self._written[number] = float(int(now()))
        return worktree

    async def _is_at(self, worktree: Worktree, commit: Commit) -> bool:
        try:
            status = await self.worktrees.status(worktree)
        except CommandFailed:  # an agent broke it: it is mended when it is checked out
            return False
        return status.head == commit and status.branch is None and not status.dirty

    # --- furnishing ------------------------------------------------------------------------------

    @property
    def _is_furnished(self) -> bool:
        return bool(self.settings.setup or self.settings.copied or self.settings.link)

    def _copy(self, worktree: Worktree, files: Sequence[File]) -> None:
        for path in self.settings.copied:
            if _tracks(files, path):  # the work that is looked at has committed one
                continue
            source, target = self.worktrees.repo.project / path, worktree.path / path
            try:
                _copy(source, target)
            except (OSError, shutil.Error) as error:
                raise EnvironmentUnfit(f"{source} cannot be copied to {target}: {error}") from error

    def _link(self, worktree: Worktree, files: Sequence[File]) -> None:
        for path in self.settings.link:
            source, target = self.worktrees.repo.project / path, worktree.path / path
            if _tracks(files, path) or (target.is_symlink() and target.readlink() == source):
                continue
            try:
                if target.is_symlink() or target.is_file():
                    target.unlink()
                elif target.is_dir():
                    shutil.rmtree(target)  # an agent's own: what it holds is ignored by git
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(source)
            except OSError as error:
                raise EnvironmentUnfit(f"{target} cannot be linked to {source}: {error}") from error

    async def _set_up(self, worktree: Worktree, seat: Seat, files: Sequence[File]) -> None:
        """Run the set-up commands, unless that was done for these inputs and nothing is gone."""
        if not self.settings.setup:
            return
        wanted = self._digest_of_inputs(files)
        path = worktree.git_dir / _MARK
        mark = _load_mark(path)
        if mark and mark.inputs == wanted and mark.is_whole(worktree.path):
            return
        path.unlink(missing_ok=True)
        for line in self.settings.setup:
            await self._run(line, worktree, seat)
        made = await self.worktrees.repo.ignored_in(worktree.git_dir, worktree.path)
        path.write_text(_Mark(inputs=wanted, made=made).model_dump_json(), encoding="utf-8")

    def _digest_of_inputs(self, files: Iterable[File]) -> str:
        """Return a digest of all that the set-up commands are known to read."""
        read = sorted((file.path, file.oid) for file in files if self._is_input(file.path))
        told = (self.settings.model_dump(mode="json"), read)
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    @property
    def _input_globs(self) -> tuple[str, ...]:
        return (*LOCK_FILES, *self.settings.inputs)

    def _is_input(self, path: str) -> bool:
        names = (path, PurePosixPath(path).name)
        return any(fnmatchcase(name, glob) for glob in self._input_globs for name in names)

    async def _run(self, line: str, worktree: Worktree, seat: Seat) -> None:
        self.notice(seat.chunk, f"worker {seat.worker}, set-up: $ {line}")
        shell = shutil.which("bash") or "sh"
        limit_s = self.settings.setup_timeout_min * 60
        done = await self.worktrees.repo.processes.run_guarded(
            (shell, "-c", line),
            cwd=worktree.path,
            env=self.for_check(seat),
            limit_s=limit_s,
            tail_limit=_TAIL,
            log=self.logs / f"set-up-{seat.worker}.log",
        )
        if done.code == 0:
            return
        how = "took longer than its limit" if done.code is None else f"failed ({done.code})"
        raise SetUpFailed(
            f"set-up of worker {seat.worker} {how}: $ {line}\n{done.tail.strip()}",
            hint=f"try it in a fresh clone, and mend [workspace] setup in {FILE}; its log is"
            f" {self.logs / f'set-up-{seat.worker}.log'}",
            note=f"set-up {how}: $ {line}",
            output=done.tail,
        )


class _Mark(BaseModel):
    """What a slot was set up for, and which ignored files and folders it had then."""

    inputs: str
    made: tuple[str, ...] = ()

    def is_whole(self, folder: Path) -> bool:
        """Say whether nothing of it was deleted."""
        return all(os.path.lexists(folder / path) for path in self.made)


def _load_mark(path: Path) -> _Mark | None:
    try:
        return _Mark.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):  # there is none, or half of one: it is set up anew
        return None


def _tracks(files: Iterable[File], path: str) -> bool:
    """Say whether a commit has a file at a path, or in a folder there."""
    wanted = path.strip("/")
    return any(file.path == wanted or file.path.startswith(f"{wanted}/") for file in files)


def _copy(source: Path, target: Path) -> None:
    """Copy a file that differs, or a folder that is not there."""
    if source.is_dir():
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target, symlinks=True)
        return
    if target.is_symlink() or not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
        target.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
