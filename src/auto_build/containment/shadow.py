"""A git folder of our own, whose index holds the user's checkout byte for byte.

It knows no filter and no line ending, so that what is put back is what was there. Its objects lie
in the user's repository and its index beside; the user's own index and settings are only read.
Invariant: content that git ignores never enters it.
"""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auto_build.git.parse import GITLINK, Commit, File, Tree, parse_stage
from auto_build.git.repo import Repo
from auto_build.process import Finished

_RAW: Final = "* -text -crlf -ident !eol !filter !working-tree-encoding\n"
_CONVERTING: Final = ("text", "crlf", "ident", "filter", "working-tree-encoding")
_COPIED: Final = ("core.filemode", "core.ignorecase", "core.precomposeunicode", "core.symlinks")
_EXCLUDES: Final = "core.excludesfile"
_FORMAT: Final = "extensions.objectformat"
_NO: Final = "false"
_OURS: Final = b"\n/.worktrees/\n"
_AFTER: Final = "index.after"  # the checkout as it was found, to be kept as a patch


@dataclass(frozen=True, slots=True)
class Shadow:
    """The shadow of one build's checkout, in `folder`."""

    repo: Repo
    folder: Path

    async def git(
        self,
        *args: str,
        stdin: str | None = None,
        index: str = "index",
        ok: Sequence[int] = (0,),
    ) -> Finished:
        """Run git on the checkout, with our index, and objects in the user's repository."""
        where = {
            "GIT_OBJECT_DIRECTORY": str(self.repo.common_dir / "objects"),
            "GIT_INDEX_FILE": str(self.folder / index),
        }
        return await self.repo.git(
            *args,
            stdin=stdin,
            ok=ok,
            git_dir=self.folder,
            work_tree=self.repo.project,
            extra_env=where,
        )

    # --- making ----------------------------------------------------------------------------------

    async def make(self) -> None:
        """Begin anew, with what the user's index says; files that git would convert are left out.

        An index that says when a file was written keeps git from reading it once more.
        """
        self.remove()
        for name in ("refs", "objects", "info"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "HEAD").write_text("ref: refs/heads/none\n")
        told = await self._config()
        (self.folder / "config").write_text(_settings(told))
        (self.folder / "info" / "attributes").write_text(_RAW)
        exclude = self.repo.common_dir / "info" / "exclude"
        theirs = exclude.read_bytes() if exclude.is_file() else b""
        (self.folder / "info" / "exclude").write_bytes(theirs + _OURS)
        await self._begin_index(converting=told.get("core.autocrlf", _NO) != _NO)

    def remove(self) -> None:
        """Remove the folder; what it refers to in the repository is not touched."""
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _config(self) -> dict[str, str]:
        """Return what is set for the user's git, by the names of the keys in small letters."""
        listed = await self.repo.git("config", "--list", "-z", git_dir=self.repo.git_dir)
        pairs = (one.partition("\n") for one in listed.stdout.split("\0") if one)
        told = {key: value for key, _, value in pairs}
        if _EXCLUDES in told:
            path = ("config", "--type=path", "--get", _EXCLUDES)
            found = await self.repo.git(*path, git_dir=self.repo.git_dir)
            told[_EXCLUDES] = found.stdout.removesuffix("\n")
        return told

    async def _begin_index(self, *, converting: bool) -> None:
        theirs = self.repo.git_dir / "index"
        split = any(self.repo.git_dir.glob("sharedindex.*"))
        if theirs.is_file() and not split:
            shutil.copy2(theirs, self.folder / "index")  # its time tells git what it cannot trust
        elif theirs.is_file():
            listed = await self._of_the_user("ls-files", "--stage", "-z")
            await self.git("update-index", "-z", "--index-info", stdin=listed)
        await self.repo.clear_flags(self.folder, self.repo.project)
        listed = (await self.git("ls-files", "-z")).stdout
        converted = _split(listed) if converting else await self._converted(listed)
        if converted:
            await self.forget(converted)

    async def _of_the_user(self, *args: str, stdin: str | None = None) -> str:
        done = await self.repo.git(
            *args, stdin=stdin, git_dir=self.repo.git_dir, work_tree=self.repo.project
        )
        return done.stdout

    async def _converted(self, listed: str) -> list[str]:
        """Return those of the tracked files that may lie in the checkout otherwise than in git."""
        asked = ("check-attr", "-z", "--stdin", *_CONVERTING)
        told = _split(await self._of_the_user(*asked, stdin=listed))
        pairs = zip(told[::3], told[2::3], strict=True)
        return sorted({path for path, value in pairs if value not in {"unspecified", "unset"}})

    async def take_in(self, paths: Iterable[str]) -> None:
        """Take some files as they are now; one that is gone goes."""
        stdin = _joined(paths)
        update = ("update-index", "--add", "--remove", "--replace", "-z", "--stdin")
        if stdin:
            await self.git(*update, stdin=stdin)

    async def forget(self, paths: Iterable[str]) -> None:
        """Take files out of the index; the checkout stays as it is."""
        await self.git("update-index", "--force-remove", "-z", "--stdin", stdin=_joined(paths))

    async def keep(self, ref: str) -> Commit:
        """Keep what the index holds from being collected, under a ref."""
        tree = await self.git("write-tree", "--missing-ok")
        commit = await self.repo.commit_tree(Tree(tree.stdout.strip()), (), "The user's checkout\n")
        await self.repo.create_ref(ref, commit)
        return commit

    # --- asking ----------------------------------------------------------------------------------

    async def files(self) -> tuple[File, ...]:
        """Return every file that is held, submodules excepted."""
        done = await self.git("ls-files", "--stage", "-z")
        return tuple(file for file in parse_stage(done.stdout) if file.mode != GITLINK)

    async def differing(self) -> list[str]:
        """Return the tracked files that may differ from what is held, those that are gone too."""
        return _split((await self.git("diff-files", "--name-only", "-z")).stdout)

    async def others(self) -> list[str]:
        """Return the files that git would add; a repository of somebody's ends in `/`."""
        return _split((await self.git("ls-files", "-z", "--others", "--exclude-standard")).stdout)

    async def folders(self) -> list[str]:
        """Return the folders that hold nothing that is tracked, empty ones among them."""
        listed = ("ls-files", "-z", "--others", "--exclude-standard", "--directory")
        return [path for path in _split((await self.git(*listed)).stdout) if path.endswith("/")]

    async def ignored(self) -> list[str]:
        """Return single files that git ignores, and folders, which end in `/`."""
        listed = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
        return _split((await self.git(*listed)).stdout)

    async def parses(self, config: Path) -> bool:
        """Say whether a file is one of settings that git can read."""
        done = await self.git("config", "--file", str(config), "--list", "-z", ok=(0, 1, 128))
        return done.code == 0

    async def settings_in(self, config: Path) -> str:
        """Return what a file of settings says, but for submodules, which set-up writes."""
        done = await self.git("config", "--file", str(config), "--list", "-z", ok=(0, 1, 128))
        told = [one for one in done.stdout.split("\0") if not one.startswith("submodule.")]
        return "\0".join(told)

    # --- giving back -----------------------------------------------------------------------------

    async def export(self, paths: Iterable[str], folder: Path) -> None:
        """Write files as they are held into a folder."""
        await self.git(
            "checkout-index", "-z", "--stdin", f"--prefix={folder}{os.sep}", stdin=_joined(paths)
        )

    async def patch(self, there: Sequence[str], gone: Sequence[str]) -> str:
        """Return what `git apply` needs to bring the checkout from what is held to what it is."""
        shutil.copy2(self.folder / "index", self.folder / _AFTER)
        held = (await self.git("write-tree", "--missing-ok")).stdout.strip()
        remove = ("update-index", "--force-remove", "-z", "--stdin")
        add = ("update-index", "--add", "--replace", "-z", "--stdin")
        for update, paths in ((remove, gone), (add, there)):
            if paths:
                await self.git(*update, stdin=_joined(paths), index=_AFTER)
        found = (await self.git("write-tree", "--missing-ok", index=_AFTER)).stdout.strip()
        told = await self.git("diff-tree", "-r", "-p", "--binary", "--full-index", held, found)
        return told.stdout


def _settings(told: Mapping[str, str]) -> str:
    """Return the settings of a git folder that sees files as the user's git does, unconverted."""
    lines = ["[core]", "repositoryformatversion = 1", "bare = false", f"autocrlf = {_NO}"]
    lines += [f"{key.removeprefix('core.')} = {told[key]}" for key in _COPIED if key in told]
    if ignored := told.get(_EXCLUDES):
        escaped = ignored.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'excludesFile = "{escaped}"')
    if _FORMAT in told:
        lines += ["[extensions]", f"objectformat = {told[_FORMAT]}"]
    return "\n".join(lines) + "\n"


def _split(text: str) -> list[str]:
    return [one for one in text.split("\0") if one]


def _joined(paths: Iterable[str]) -> str:
    return "".join(f"{path}\0" for path in paths)
