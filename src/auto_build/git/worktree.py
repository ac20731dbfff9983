"""The worktrees of a build: one staging, and one for each worker slot.

They are made once and used again; making them is serialised by one lock, since git's own is not
enough (12 `worktree add` at once: 35 of 60 failed). Nothing is removed or overwritten here that
was not pinned before: callers hand in what they know to be safe. The staging worktree only ever
shows the branch that it is on; a slot knows for which spec it was made ready.
"""

import asyncio
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from auto_build.core.state import STAGING_SLOT
from auto_build.errors import RepositoryUnfit
from auto_build.git.parse import Commit, Status, WorktreeEntry, parse_worktrees
from auto_build.git.repo import Repo
from auto_build.process import CommandFailed

FOLDER: Final = ".worktrees"
STAGING: Final = "auto-build"
WORKER: Final = "auto-build-worker-"
PLANNER: Final = "auto-build-planner"
KEPT: Final = "kept"
_VIEW: Final = "refs/worktree/auto-build-view"
_OWNER: Final = "auto-build-spec"  # in a slot's git folder
_LENT: Final = "auto-build-lent"  # in staging's git folder while it serves as a slot
_EXCLUDE: Final = f"/{FOLDER}/".encode()


@dataclass(frozen=True, slots=True)
class Worktree:
    """One of our worktrees: where it is, and the git folder that belongs to it."""

    path: Path
    git_dir: Path

    @property
    def is_there(self) -> bool:
        """Say whether its folder is there: a link in its place leads to files of somebody else."""
        return self.path.is_dir() and not self.path.is_symlink()


@dataclass(frozen=True, slots=True)
class Worktrees:
    """Makes, resets and removes the worktrees of one repository."""

    repo: Repo
    _making: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def folder(self) -> Path:
        """The folder that holds them all."""
        return self.repo.project / FOLDER

    @property
    def ceiling(self) -> str:
        """The folders that git in a worktree must not look in, as GIT_CEILING_DIRECTORIES.

        The project is among them for an agent whose own folder is gone and that works in the one
        above it: git would find the user's repository from there.
        """
        return os.pathsep.join((str(self.folder), str(self.repo.project)))

    def slot_path(self, slot: int) -> Path:
        """Return where the worktree of a worker slot is; staging stands for the first, if lent."""
        return self.folder / f"{WORKER}{slot}" if slot != STAGING_SLOT else self.staging_path

    @property
    def staging_path(self) -> Path:
        """Where the staging worktree is."""
        return self.folder / STAGING

    async def exclude(self, *paths: str) -> None:
        """Keep `.worktrees/`, and what is linked into slots, out of every status.

        Both are written to info/exclude: a pattern such as `node_modules/` in a .gitignore does not
        fit a symbolic link of that name.
        """
        path = self.repo.common_dir / "info" / "exclude"
        wanted = [_EXCLUDE, *(os.fsencode(f"/{one.strip('/')}") for one in paths)]
        try:
            text = path.read_bytes() if path.exists() else b""
            missing = [line for line in wanted if line not in text.splitlines()]
            if not missing:
                return
            path.parent.mkdir(exist_ok=True)
            ending = b"" if not text or text.endswith(b"\n") else b"\n"
            path.write_bytes(text + ending + b"".join(b"%b\n" % line for line in missing))
        except OSError as error:
            raise RepositoryUnfit(
                f"{path} cannot be written: {error.strerror}",
                hint="the repository must be writable and have space left on its disk",
            ) from error

    async def listed(self) -> tuple[WorktreeEntry, ...]:
        """Return every worktree of the repository as git lists them."""
        done = await self.repo.git("worktree", "list", "--porcelain", "-z")
        return parse_worktrees(done.stdout)

    def find(self, path: Path) -> Worktree | None:
        """Return our worktree at `path`, if git knows it and its folder is there."""
        admin = self._admin(path)
        found = Worktree(path, admin) if admin else None
        return found if found and found.is_there else None

    async def find_staged(self) -> WorktreeEntry | None:
        """Return the staging worktree as git lists it, if it is there; lent, by its own branch."""
        path = self.staging_path.resolve()
        listed = await self.listed()
        there = [one for one in listed if not one.prunable and Path(one.path).resolve() == path]
        if there and there[0].branch is None:
            return replace(there[0], branch=self.find_lender() or None)
        return there[0] if there else None

    async def require_staging(self, branch: str) -> Worktree:
        """Return the staging worktree, checked out on `branch` (a full ref name).

        Raises:
            RepositoryUnfit: another build's staging is there, something else is in the way, or the
                branch is checked out elsewhere.
        """
        staged = await self.find_staged()
        if staged and staged.branch != branch:
            raise RepositoryUnfit(
                f"{self.staging_path} is on {short_name(staged.branch)}, not on"
                f" {short_name(branch)}",
                hint=f"git -C '{self.staging_path}' checkout {short_name(branch)}",
            )
        for entry in await self.listed():
            here = Path(entry.path).resolve() == self.staging_path.resolve()
            if not here and entry.branch == branch and not entry.prunable:
                raise RepositoryUnfit(
                    f"{branch.removeprefix('refs/heads/')} is checked out in {entry.path}",
                    hint="check out another branch there: staging must be the only one on it",
                )
        short = branch.removeprefix("refs/heads/")
        return await self._require(self.staging_path, short)

    async def require_slot(self, slot: int, commit: Commit) -> Worktree:
        """Return a slot's worktree, detached at `commit`, without anything that git would list.

        Ignored files stay: they are the caches that make the next check quick.
        """
        return await self._require_at(self.slot_path(slot), commit)

    async def lend_staging(self, branch: str, commit: Commit) -> Worktree:
        """Return the staging worktree as a slot, off its `branch` until it is taken back."""
        staging = await self._require(self.staging_path, "--detach", commit)
        (staging.git_dir / _LENT).write_text(branch, encoding="utf-8", errors="surrogateescape")
        return await self._require_at(self.staging_path, commit)

    def is_lent(self) -> bool:
        """Say whether the staging worktree serves as a slot, and shows no branch meanwhile."""
        return bool(self.find_lender())

    def find_lender(self) -> str:
        """Return the branch that the staging worktree was lent from; nothing where it is not."""
        return self._noted(self.staging_path, _LENT)

    def mark_slot(self, slot: Worktree, spec: str) -> None:
        """Note for which spec a slot is made ready: what lies in it is that one's work."""
        (slot.git_dir / _OWNER).write_text(spec, encoding="utf-8", errors="surrogateescape")

    def find_owner(self, slot: int) -> str:
        """Return the spec whose work lies in a slot; nothing where nobody noted it."""
        return self._noted(self.slot_path(slot), _OWNER)

    def _noted(self, path: Path, name: str) -> str:
        """Return what is noted in the git folder of the worktree at `path`, if anything is."""
        admin = self._admin(path)
        with suppress(OSError):
            if admin:
                return (admin / name).read_text(encoding="utf-8", errors="surrogateescape")
        return ""

    async def take_back_staging(self, branch: str) -> None:
        """Have the staging worktree show its branch again, and nothing else."""
        staging = await self.require_staging(branch)
        head = await self.repo.require_commit(branch)
        await self._reset(staging, head)
        await self.repo.git("symbolic-ref", "HEAD", branch, git_dir=staging.git_dir)
        await self.repo.git("update-ref", _VIEW, head, git_dir=staging.git_dir)
        for name in (_OWNER, _LENT):
            (staging.git_dir / name).unlink(missing_ok=True)

    async def require_planner(self, commit: Commit) -> Worktree:
        """Return the worktree in which a planner reads, at `commit`, without anything else.

        Whatever was written there is undone: a planner only reads.
        """
        return await self._require_at(self.folder / PLANNER, commit)

    async def _require_at(self, path: Path, commit: Commit) -> Worktree:
        worktree = await self._require(path, "--detach", commit)
        self._mend_link(worktree)
        try:
            await self._reset(worktree, commit)
        except CommandFailed:  # files that cannot be written, a lock left behind, a broken index
            _make_writable(worktree.path)
            for name in ("index", "index.lock", "HEAD.lock"):
                (worktree.git_dir / name).unlink(missing_ok=True)
            await self._reset(worktree, commit)
        return worktree

    async def _reset(self, worktree: Worktree, commit: Commit) -> None:
        await self.take_flags_off(worktree)
        for args in (
            ("checkout", "--quiet", "--force", "--detach", commit),
            ("clean", "-ffdq"),
        ):
            await self.repo.git(*args, git_dir=worktree.git_dir, work_tree=worktree.path)

    async def take_flags_off(self, worktree: Worktree) -> None:
        """Have a checkout touch all files, whatever somebody wrote into the index about them."""
        listed = await self.repo.git(
            "ls-files", "-v", "-z", git_dir=worktree.git_dir, work_tree=worktree.path
        )
        if any(line[:1].islower() or line.startswith("S") for line in listed.stdout.split("\0")):
            (worktree.git_dir / "index").unlink()

    async def clean(self, worktree: Worktree) -> None:
        """Remove what git does not track and does not ignore, empty folders too."""
        await self.repo.git("clean", "-ffdq", git_dir=worktree.git_dir, work_tree=worktree.path)

    async def set_aside(self, path: Path) -> None:
        """Move away whatever stands in the place of a slot that was ours."""
        async with self._making:
            if os.path.lexists(path) and self.find(path) is None:
                self._move_aside(path, path.name)

    def find_slot(self, slot: int) -> Worktree | None:
        """Return a slot's worktree if it is there; its link to the repository is mended."""
        worktree = self.find(self.slot_path(slot))
        if worktree:
            self._mend_link(worktree)
        return worktree

    def slots(self) -> tuple[int, ...]:
        """Return the numbers of the slots that git knows, or that have a folder of that name."""
        known = [path for path, _ in self._registered() if path.parent == self.folder.resolve()]
        found = [path.name for path in (*known, *self.folder.glob(f"{WORKER}*"))]
        names = {name.removeprefix(WORKER) for name in found if name.startswith(WORKER)}
        return tuple(sorted(int(name) for name in names if name.isdigit()))

    async def status(self, worktree: Worktree) -> Status:
        """Return what differs in a worktree from its HEAD."""
        return await self.repo.status(worktree.git_dir, worktree.path)

    async def find_head(self, worktree: Worktree) -> Commit | None:
        """Return the commit that a worktree is at, if it is at one."""
        done = await self.repo.git(
            "rev-parse",
            "--verify",
            "--quiet",
            "HEAD^{commit}",
            ok=(0, 1, 128),
            git_dir=worktree.git_dir,
        )
        return Commit(done.stdout.strip()) if done.code == 0 else None

    async def remove(self, path: Path) -> None:
        """Remove one of our worktrees; whatever else is at its path is left alone."""
        async with self._making:
            foreign = path.is_symlink() or path.is_file()
            if foreign or (self._admin(path) is None and not self._is_orphan(path)):
                return
            if self._is_orphan(path):
                self._move_aside(path, path.name)
            await self._forget(path)
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
            if self.folder.is_dir() and not any(self.folder.iterdir()):
                self.folder.rmdir()

    async def keep_aside(self, worktree: Worktree, name: str) -> Path | None:
        """Move a slot's files out of the way of its next use, as they are; return where to.

        None where the folder is gone, so that there is nothing to keep.
        """
        async with self._making:
            if worktree.path.is_symlink() or worktree.path.is_file():
                return None
            kept = self._move_aside(worktree.path, name) if worktree.is_there else None
            await self._forget(worktree.path)
            return kept

    def _move_aside(self, path: Path, name: str) -> Path:
        taken = len(list((self.folder / KEPT).glob(f"{name}*")))
        kept = self.folder / KEPT / (f"{name}-{taken + 1}" if taken else name)
        kept.parent.mkdir(exist_ok=True)
        path.rename(kept)
        link = kept / ".git"
        if link.is_file():
            link.unlink()  # it names the slot's git folder, which goes
        return kept

    async def _forget(self, path: Path) -> None:
        admin = self._admin(path)
        if admin is None:
            return
        if there := self.find(path):
            self._mend_link(there)
            _make_writable(path)
        try:
            await self.repo.git("worktree", "remove", "--force", "--force", "--", str(path))
        except CommandFailed:  # git cannot make sense of it any more
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)  # something may write into it yet
            if not os.path.lexists(path):
                shutil.rmtree(admin, ignore_errors=True)

    async def sync_view(self, staging: Worktree, old: Commit, new: Commit) -> str:
        """Bring the staging worktree's files from `old` to `new`; return why not, if not.

        What the user changed or built in there is never overwritten: git refuses then, and the
        view stays behind until the next landing. So it does where another branch was checked out
        there by hand: the files of one build are never written among those of another. While it is
        lent, it shows what is done there.
        """
        if self.is_lent():
            return ""
        if await self.find_head(staging) != new:
            return "another branch, or another commit, is checked out there"
        seen = await self.shown(staging, old)
        await self.repo.git(  # a file that was only touched is no change of the user's
            "update-index",
            "-q",
            "--refresh",
            ok=(0, 1, 128),
            git_dir=staging.git_dir,
            work_tree=staging.path,
        )
        done = await self.repo.git(
            "read-tree",
            "-m",
            "-u",
            seen,
            new,
            ok=(0, 1, 128),
            git_dir=staging.git_dir,
            work_tree=staging.path,
        )
        if done.code != 0:
            return done.stderr.strip().partition("\n")[0]
        await self.repo.git("update-ref", _VIEW, new, git_dir=staging.git_dir)
        return ""

    async def overlay(self, staging: Worktree, head: Commit, top: Commit) -> None:
        """Have the staging worktree, clean at `head`, hold what `top` changes, as unsaved."""
        git = partial(self.repo.git, git_dir=staging.git_dir, work_tree=staging.path)
        await git("read-tree", "-m", "-u", head, top)
        await git("read-tree", head)
        await git("update-index", "-q", "--refresh", ok=(0, 1))

    async def shown(self, staging: Worktree, old: Commit) -> Commit:
        """Return the commit that the view shows: the noted one, unless its index is at `old`."""
        same = await self.repo.git(
            "diff-index",
            "--cached",
            "--quiet",
            old,
            ok=(0, 1),
            git_dir=staging.git_dir,
            work_tree=staging.path,
        )
        if same.code == 0:
            return old
        noted = await self.repo.git(
            "rev-parse", "--verify", "--quiet", _VIEW, ok=(0, 1), git_dir=staging.git_dir
        )
        return Commit(noted.stdout.strip()) if noted.code == 0 else old

    def locks(self) -> tuple[Path, ...]:
        """Return the lock files in what is ours: our worktrees, branches and pins."""
        found: list[Path] = []
        for path in (self.staging_path, *map(self.slot_path, self.slots())):
            admin = self._admin(path)
            found.extend(admin.glob("*.lock") if admin else ())
        for refs in ("heads/auto-build", "auto-build"):
            found.extend((self.repo.common_dir / "refs" / refs).rglob("*.lock"))
        return tuple(found)

    def clear_locks(self) -> tuple[Path, ...]:
        """Remove the lock files that a killed git left in what is ours; return them.

        Only to be called when no git of ours is alive, which the lease shows.
        """
        found = self.locks()
        for lock in found:
            lock.unlink(missing_ok=True)
        return found

    def _admin(self, path: Path) -> Path | None:
        """Return the git folder of the worktree at `path`, read from the repository's side.

        Links on the way to the worktree are followed; one in its own place is not.
        """
        wanted = path.parent.resolve() / path.name
        return next((admin for one, admin in self._registered() if one == wanted), None)

    def _registered(self) -> Iterator[tuple[Path, Path]]:
        """Yield the folder of each worktree that git knows, and the git folder that it has."""
        for link in (self.repo.common_dir / "worktrees").glob("*/gitdir"):
            with suppress(OSError):
                named = (link.parent / os.fsdecode(link.read_bytes().strip())).parent
                yield named.parent.resolve() / named.name, link.parent

    def _is_orphan(self, path: Path) -> bool:
        """Say whether a folder was our worktree, and git's side of it is gone."""
        link = path / ".git"
        if path.is_symlink() or link.is_symlink() or not link.is_file():
            return False
        ours = os.fsencode(f"gitdir: {self.repo.common_dir / 'worktrees' / path.name}")
        with suppress(OSError):
            return link.read_bytes().strip() == ours and self._admin(path) is None
        return False

    def _mend_link(self, worktree: Worktree) -> None:
        """Write a worktree's `.git` file anew where an agent broke it."""
        link = worktree.path / ".git"
        right = os.fsencode(f"gitdir: {worktree.git_dir}\n")
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
        if not link.is_file() or link.is_symlink() or link.read_bytes() != right:
            link.unlink(missing_ok=True)
            link.write_bytes(right)

    async def _require(self, path: Path, *checkout: str) -> Worktree:
        async with self._making:
            if (there := self.find(path)) is not None:
                return there
            if self.folder.exists() and not self.folder.is_dir():
                raise _in_the_way(self.folder)
            if self._is_orphan(path):
                self._move_aside(path, path.name)
            if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
                raise _in_the_way(path)
            await self.repo.git("worktree", "add", "--force", "--quiet", str(path), *checkout)
            made = self.find(path)
            if made is None:
                raise RepositoryUnfit(f"git made no worktree at {path}")
            return made


def short_name(branch: str | None) -> str:
    """Return a branch as a user writes it."""
    return branch.removeprefix("refs/heads/") if branch else "no branch"


def _make_writable(folder: Path) -> None:
    """Take the write protection off every folder in `folder`, as of a module cache of an agent's.

    git cannot remove what lies in a folder that it cannot write.
    """
    for here, names, _ in os.walk(folder):
        for name in names:
            inner = Path(here, name)
            if not inner.is_symlink():
                with suppress(OSError):
                    inner.chmod(inner.stat().st_mode | stat.S_IRWXU)


def _in_the_way(path: Path) -> RepositoryUnfit:
    return RepositoryUnfit(
        f"{path} is in the way: it is no worktree of this repository",
        hint="move it elsewhere; auto-build never deletes what it did not make",
    )
