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
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from pydantic import BaseModel, ValidationError

from auto_build.containment.firewall import Firewall
from auto_build.core.state import STAGING_SLOT
from auto_build.errors import EnvironmentUnfit, RepositoryUnfit
from auto_build.git.landing import Label, branch_of, salvage
from auto_build.git.parse import GITLINK, Commit, File, Status
from auto_build.git.worktree import Worktree, Worktrees
from auto_build.journal import now
from auto_build.policy.environment import Environment, Seat
from auto_build.process import CommandFailed
from auto_build.settings import FILE, LOCK_FILES, WorkspaceSettings

_LINKS: Final = "auto-build-links"  # beside it: the links that we made
_OF_A_LOGIN: Final = ("XDG_SESSION_", "XDG_RUNTIME_DIR", "XDG_VTNR", "XDG_SEAT", "TERM")
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
    firewall: Firewall
    environment: Environment
    settings: WorkspaceSettings
    spec: str
    logs: Path
    notice: Callable[[str, str], None]
    _busy: dict[int, asyncio.Lock] = field(default_factory=dict)
    _stamped: dict[int, int] = field(default_factory=dict)  # seconds since the epoch
    _used: set[int] = field(default_factory=set)  # slots that were made, or found, by us

    def seat(self, number: int, chunk: str = "", attempt: int = 0) -> Seat:
        """Return where a program in a slot runs."""
        return Seat(self.spec, chunk, attempt, number, str(self.worktrees.slot_path(number)))

    def for_agent(self, seat: Seat) -> dict[str, str]:
        """Return the environment of an agent in a slot."""
        return self._bounded(self.environment.for_agent(seat, self.worktrees.ceiling), seat)

    def for_check(self, seat: Seat) -> dict[str, str]:
        """Return the environment of a check in a slot."""
        return self._bounded(self.environment.for_check(seat, self.worktrees.ceiling), seat)

    def _bounded(self, stated: dict[str, str], seat: Seat) -> dict[str, str]:
        """Return an environment in which git writes only what is the slot's own.

        In a slot that is not there, nothing is: its folder is no git folder.
        """
        path = self.worktrees.slot_path(seat.worker)
        there = self.worktrees.find(path)
        own = there.git_dir if there else path
        return self.firewall.environment(stated, git_dir=own, worker=seat.worker)

    @property
    def digest(self) -> str:
        """What makes the environments of two checks the same, whichever slots they run in."""
        stated = self.environment.for_check(_SEATLESS, "")
        kept = {key: value for key, value in stated.items() if not key.startswith(_OF_A_LOGIN)}
        lent = [_stamp(self.worktrees.repo.project / path) for path in self.settings.copied]
        told = (kept, dict(self.environment.per_slot), self.settings.model_dump(mode="json"), lent)
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    async def require(self, seat: Seat, commit: Commit) -> Worktree:
        """Return a slot's worktree at `commit`, furnished, without anything that git would list.

        Raises:
            EnvironmentUnfit: what it needs is not there.
            SetUpFailed: a set-up command did not work.
        """
        async with self._busy.setdefault(seat.worker, asyncio.Lock()):
            worktree = await self._check_out(seat.worker, commit)
            if self._is_furnished:
                files = await self.worktrees.repo.files(commit)
                self._copy(worktree, files)
                await self._set_up(worktree, seat, files)
                self._link(worktree, files)
            self._take_back_links(worktree)
            return worktree

    def is_there(self, number: int) -> bool:
        """Say whether a slot has its worktree."""
        return self.worktrees.find(self.worktrees.slot_path(number)) is not None

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

    async def _check_out(self, number: int, commit: Commit) -> Worktree:
        """Return a slot's worktree at a commit; its files are touched only where they have to be.

        Python, make and others tell versions of a file apart by its size and the second in which it
        was written. So what is written anew gets the time of a second that has not yet been, or a
        check would judge one tree by what was compiled from another.
        """
        there = self.worktrees.find_slot(number)
        status = await self._status(there) if there else None
        if number == STAGING_SLOT and not self.worktrees.is_lent():
            await self._keep_staging(commit, status)
            there = None
        if there and status and status.head == commit and not (status.branch or status.dirty):
            self.worktrees.mark_slot(there, self.spec)
            return there
        try:
            worktree = await self._occupy(number, commit)
        except (RepositoryUnfit, CommandFailed):
            if number not in self._used:
                raise
            await self.worktrees.set_aside(self.worktrees.slot_path(number))  # it was ours
            worktree = await self._occupy(number, commit)
        self._used.add(number)
        self.worktrees.mark_slot(worktree, self.spec)
        if status and status.head:
            changed = await self.worktrees.repo.touched(status.head, commit)
            self._renew(worktree, status.modules)
            self._stamp(number, worktree, {*status.dirty, *(entry.path for entry in changed)})
        return worktree

    async def _occupy(self, number: int, commit: Commit) -> Worktree:
        """Return a slot's worktree at a commit, whatever was there before."""
        if number == STAGING_SLOT:
            return await self.worktrees.lend_staging(branch_of(self.spec), commit)
        return await self.worktrees.require_slot(number, commit)

    async def _keep_staging(self, commit: Commit, status: Status | None) -> None:
        """Keep what somebody did in the staging worktree before it is lent."""
        if status is None or not status.dirty:
            return
        label = Label(self.spec, "staging", 0, "as it was before it was lent")
        if kept := await salvage(self.worktrees, STAGING_SLOT, label, commit):
            self.notice("", f"what was unsaved in the staging worktree is kept as {kept}")

    async def _status(self, worktree: Worktree) -> Status | None:
        try:
            await self.worktrees.take_flags_off(worktree)
            return await self.worktrees.status(worktree)
        except CommandFailed:  # an agent broke it: it is mended when it is checked out
            return None

    def _stamp(self, number: int, worktree: Worktree, paths: Iterable[str]) -> None:
        """Give files that were written anew a time that nothing in the slot had before."""
        at = max(int(now()), self._stamped.get(number, 0)) + 1
        self._stamped[number] = at
        for path in paths:
            file = worktree.path / path
            with suppress(OSError):
                if file.is_file() and not file.is_symlink():
                    os.utime(file, (at, at))

    def _renew(self, worktree: Worktree, modules: Iterable[str]) -> None:
        """Throw away submodules in which somebody wrote; set-up fetches them again."""
        for path in modules:
            shutil.rmtree(worktree.path / path, ignore_errors=True)
            (worktree.path / path).mkdir(exist_ok=True)
            (worktree.git_dir / _MARK).unlink(missing_ok=True)

    # --- furnishing ------------------------------------------------------------------------------

    @property
    def _is_furnished(self) -> bool:
        return bool(self.settings.setup or self.settings.copied or self.settings.link)

    def _copy(self, worktree: Worktree, files: Sequence[File]) -> None:
        for path in self.settings.copied:
            if _tracks(files, path):  # the work that is looked at has committed one
                continue
            source = self.worktrees.repo.project / path
            target = _require_place(worktree, path, files)
            try:
                if not _same(source, target):
                    _remove(target)
                    _copy(source, target)
            except (OSError, shutil.Error) as error:
                raise EnvironmentUnfit(f"{source} cannot be copied to {target}: {error}") from error

    def _link(self, worktree: Worktree, files: Sequence[File]) -> None:
        """Make the links; set-up has run by now, so that nothing it does goes through one."""
        for path in self.settings.link:
            source = self.worktrees.repo.project / path
            if _tracks(files, path):
                continue
            target = _require_place(worktree, path, files)
            try:
                if not (target.is_symlink() and target.readlink() == source):
                    _remove(target)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.symlink_to(source)
            except OSError as error:
                raise EnvironmentUnfit(f"{target} cannot be linked to {source}: {error}") from error
        noted = worktree.git_dir / _LINKS
        noted.write_text(json.dumps(self.settings.link), encoding="utf-8")

    def _take_back_links(self, worktree: Worktree, *, all_of_them: bool = False) -> None:
        """Remove links of ours that the settings no longer name, or all while set-up runs."""
        noted = worktree.git_dir / _LINKS
        made = json.loads(noted.read_text(encoding="utf-8")) if noted.is_file() else []
        for path in made:
            target = worktree.path / path
            if (all_of_them or path not in self.settings.link) and target.is_symlink():
                target.unlink()

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
        self._take_back_links(worktree, all_of_them=True)
        for line in self.settings.setup:
            await self._run(line, worktree, seat)
        await self._require_clean(worktree, seat)
        made = await self.worktrees.repo.ignored_in(worktree.git_dir, worktree.path)
        kept = [quote(os.fsencode(one)) for one in made if one.strip("/") not in self.settings.link]
        path.write_text(_Mark(inputs=wanted, made=tuple(kept)).model_dump_json(), encoding="utf-8")

    async def _require_clean(self, worktree: Worktree, seat: Seat) -> None:
        """See that set-up has left nothing that agents' work would take along."""
        left = (await self.worktrees.status(worktree)).dirty
        if left:
            names = ", ".join(left)
            raise SetUpFailed(
                f"set-up leaves {names} in {worktree.path}, which git does not ignore: agents' work"
                " would take it along",
                hint="add it to .gitignore and commit that, or use a set-up command that leaves"
                " tracked files alone (npm ci, not npm install)",
                note=f"set-up of worker {seat.worker} changes {names}",
                output="",
            )

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
            env=self.environment.for_check(seat, self.worktrees.ceiling),  # the user's own words
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
        top = os.fsencode(folder)
        return all(os.path.lexists(top + b"/" + unquote_to_bytes(path)) for path in self.made)


def _load_mark(path: Path) -> _Mark | None:
    try:
        return _Mark.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):  # there is none, or half of one: it is set up anew
        return None


def _tracks(files: Iterable[File], path: str) -> bool:
    """Say whether a commit has a file at a path, or in a folder there."""
    wanted = path.strip("/")
    return any(file.path == wanted or file.path.startswith(f"{wanted}/") for file in files)


def _require_place(worktree: Worktree, path: str, files: Sequence[File]) -> Path:
    """Return where a copy or link goes, which is in the worktree and nowhere else.

    What an agent has left in the place of a folder is removed, unless the tree has it there.
    """
    target = worktree.path / path
    above = [one for one in target.parents if one.is_relative_to(worktree.path)][:-1]
    for folder in reversed(above):
        if not os.path.lexists(folder) or (folder.is_dir() and not folder.is_symlink()):
            continue
        name = folder.relative_to(worktree.path).as_posix()
        if _tracks(files, name):
            note = f"{path} has no place in this tree: {name} is no folder there"
            hint = f"take it out of {FILE}, or mend the tree"
            raise SetUpFailed(f"{target} cannot be made: {note}", hint=hint, note=note, output="")
        folder.unlink()
    return target


def _remove(target: Path) -> None:
    """Remove what stands in a slot where something of the user's goes; git ignores it."""
    if target.is_symlink() or target.is_file():
        target.unlink()
    elif target.is_dir():
        shutil.rmtree(target)


def _same(source: Path, target: Path) -> bool:
    """Say whether a copy is still as its source; a source that is gone leaves the copy alone."""
    if not os.path.lexists(source):
        return os.path.lexists(target)
    if source.is_dir():
        return target.is_dir() and not target.is_symlink() and _same_folder(source, target)
    plain = target.is_file() and not target.is_symlink()
    return plain and filecmp.cmp(source, target, shallow=False)


def _same_folder(source: Path, target: Path) -> bool:
    ours, theirs = ({one.name for one in folder.iterdir()} for folder in (source, target))
    return ours == theirs and all(_same(source / name, target / name) for name in ours)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target)


def _stamp(path: Path) -> str:
    """Return what tells versions of a copied file, or of a copied folder's entries, apart."""
    with suppress(OSError):
        if path.is_dir():
            entries = sorted(f"{one.name} {one.stat().st_mtime_ns}" for one in path.iterdir())
            return hashlib.sha256("\n".join(entries).encode("utf-8", "replace")).hexdigest()
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""
