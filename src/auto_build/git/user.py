"""The user's own git in the user's own checkout: his hooks, his signature, his credentials.

Everything else in this program uses a git of ours (`auto_build.git.repo`). Invariants: the checkout
moves only forward by `merge --ff-only` or back by `reset --keep`, both of which keep what is
unsaved; a commit is made as his git would make it, or it is refused in words.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auto_build.git.parse import Change, Commit, Tree
from auto_build.git.repo import Repo
from auto_build.git.worktree import Worktree
from auto_build.process import Finished

_ANY: Final = range(256)  # exit codes
_LOCAL: Final = frozenset(  # where a git is at work: `git rev-parse --local-env-vars` names them
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_GRAFT_FILE",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_REPLACE_REF_BASE",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_SHALLOW_FILE",
        "GIT_COMMON_DIR",
    }
)
# a gc in the background would keep the lease of the command that began it
_QUIET: Final = ("-c", "gc.auto=0", "-c", "maintenance.auto=false")


def user_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the user's git: his own, but for where some other git works."""
    kept = {key: value for key, value in inherited.items() if key not in _LOCAL}
    return {**kept, "GIT_EDITOR": ":", "GIT_MERGE_AUTOEDIT": "no"}


@dataclass(frozen=True, slots=True)
class Refused:
    """What the user's git, or a hook of his, said instead of doing it."""

    what: str
    said: str


@dataclass(frozen=True, slots=True)
class UserGit:
    """Runs the user's git on his checkout."""

    repo: Repo

    async def run(
        self,
        *args: str,
        cwd: Path | None = None,
        stdin: str | None = None,
        ok: Sequence[int] = _ANY,
    ) -> Finished:
        """Run git as the user would; its exit code is for the caller to judge."""
        env = {**self.repo.identity, **user_environment(os.environ)}
        return await self.repo.processes.run(
            *("git", *_QUIET, *args),
            cwd=cwd or self.repo.project,
            env=env,
            ok=ok,
            stdin=stdin,
            called=f"git {args[0]}",
        )

    # --- moving the checkout ---------------------------------------------------------------------

    async def find_refusal(self, old: Commit, new: Commit) -> str:
        """Return what a hook of his says against moving his branch, without moving anything.

        git asks that hook only when it has written the files already.
        """
        if not await self.find_hooks(("reference-transaction",)):
            return ""
        steps = f"start\nupdate HEAD {new} {old}\nprepare\nabort\n"
        done = await self.run("update-ref", "--stdin", stdin=steps)
        return "" if done.code == 0 else done.stderr.strip() or "a hook refuses it"

    async def fast_forward(self, commit: Commit) -> str:
        """Bring the checkout forward to a commit; return what git said, whatever came of it."""
        flags = ("--ff-only", "--no-overwrite-ignore", "--no-autostash", "--quiet")
        return (await self.run("merge", *flags, commit)).stderr.strip()

    async def move_back(self, commit: Commit) -> str:
        """Bring the checkout back to a commit; return what git said, whatever came of it."""
        return (await self.run("reset", "--keep", "--quiet", commit)).stderr.strip()

    async def take_back(self, was: Commit, changes: Sequence[Change]) -> tuple[str, ...]:
        """Take back what a fast-forward has written that was cut off before it moved the branch.

        Only files that are exactly as after it, so that nothing of the user's can be lost.
        """
        dirty = set((await self.repo.user_status()).dirty)
        written = [one for one in changes if one.path in dirty and await self._is_written(one)]
        old = "".join(f"{one.path}\0" for one in written if one.before)
        new = [one.path for one in written if not one.before]
        listed = ("--pathspec-from-file=-", "--pathspec-file-nul")
        literal = "--literal-pathspecs"
        if old:
            flags = (f"--source={was}", "--staged", "--worktree")
            await self.run(literal, "restore", *flags, *listed, stdin=old, ok=(0,))
        if new:
            text = "".join(f"{path}\0" for path in new)
            flags = ("--cached", "--quiet", "--ignore-unmatch")
            await self.run(literal, "rm", *flags, *listed, stdin=text, ok=(0,))
        for path in new:
            (self.repo.project / path).unlink(missing_ok=True)
        return tuple(one.path for one in written)

    async def _is_written(self, change: Change) -> bool:
        return await self.hash_of(change.path) == (change.after.oid if change.after else "")

    # --- making a commit as he would -------------------------------------------------------------

    async def commit(self, tree: Tree, parents: Sequence[Commit], message: str) -> Commit | Refused:
        """Make a commit, signed where his settings sign commits; no ref moves."""
        asked = ("config", "--type=bool", "--get", "commit.gpgSign")
        signs = (await self.run(*asked)).stdout.strip() == "true"
        named = [part for parent in parents for part in ("-p", parent)]
        flags = ["-S"] if signs else []
        done = await self.run("commit-tree", *flags, tree, *named, stdin=message)
        if done.code != 0:
            return Refused("your signature" if signs else "git", done.stderr.strip())
        return Commit(done.stdout.strip())

    async def find_hooks(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return those of some hooks that he has."""
        folder = await self._hooks()
        return tuple(name for name in names if os.access(folder / name, os.X_OK))

    async def run_hook(self, name: str, *args: str, worktree: Worktree) -> Refused | None:
        """Run a hook of his in a worktree; return what it said where it refuses."""
        folder = await self._hooks()
        setting = ("-c", f"core.hooksPath={folder}")
        called = ("hook", "run", "--ignore-missing", name, "--", *args)
        done = await self.run(*setting, *called, cwd=worktree.path)
        if done.code == 0:
            return None
        return Refused(f"your hook {name}", f"{done.stdout}\n{done.stderr}".strip())

    async def _hooks(self) -> Path:
        done = await self.run("rev-parse", "--git-path", "hooks", ok=(0,))
        return self.repo.project / done.stdout.strip("\n")

    # --- what is unsaved -------------------------------------------------------------------------

    async def in_the_way(self, changes: Sequence[Change]) -> tuple[str, ...]:
        """Return what is unsaved in the checkout where these changes would be written."""
        status = await self.repo.user_status()
        touched = {change.path for change in changes}
        dirty = {path for path in status.dirty if _touches(path, touched)}
        new = [change.path for change in changes if change.before is None]
        tracked = {change.path for change in changes if change.before is not None}
        found = {path for one in new if (path := self._obstacle(one)) and path not in tracked}
        return tuple(sorted(dirty | found | await self._hidden(touched)))

    def _obstacle(self, path: str) -> str:
        """Return what stands where a new file is to be written, be it ignored by git or not."""
        for above in reversed(Path(path).parents[:-1]):
            place = self.repo.project / above
            if os.path.lexists(place) and (place.is_symlink() or not place.is_dir()):
                return str(above)
        place = self.repo.project / path
        there = os.path.lexists(place) and (place.is_symlink() or not place.is_dir())
        return path if there else ""

    async def _hidden(self, touched: set[str]) -> set[str]:
        """Return those of some paths that git was told not to look at, and that differ."""
        repo = self.repo
        done = await repo.git("ls-files", "-v", "-z", git_dir=repo.git_dir, work_tree=repo.project)
        listed = done.stdout.split("\0")
        marked = [line[2:] for line in listed if line[:1].islower() or line.startswith("S")]
        found: set[str] = set()
        for path in touched.intersection(marked):
            if os.path.lexists(self.repo.project / path) and not await self._is_as_in_index(path):
                found.add(path)
        return found

    async def _is_as_in_index(self, path: str) -> bool:
        noted = await self.run("rev-parse", "--verify", "--quiet", f":0:{path}")
        return noted.stdout.strip() == await self.hash_of(path)

    async def hash_of(self, path: str) -> str:
        """Return the object id that a file of the checkout would have; empty where it is none."""
        place = self.repo.project / path
        if place.is_symlink():
            target = os.fsdecode(os.readlink(place))  # noqa: PTH115 - bytes that are no text, too
            return (await self.run("hash-object", "--stdin", stdin=target, ok=(0,))).stdout.strip()
        if not place.is_file():
            return ""
        return (await self.run("hash-object", "--", path)).stdout.strip()


def _touches(path: str, touched: set[str]) -> bool:
    """Say whether an unsaved path is written by a merge, or stands in a folder's place."""
    return path in touched or any(
        one.startswith(f"{path}/") or path.startswith(f"{one}/") for one in touched
    )
