"""One git repository, as the coordinator uses it.

Every call runs in a stated environment (nothing inherited that begins with GIT_, hooks off), with
an explicit --git-dir, so that a broken or vanished folder can never make git find another
repository around it. What cannot be built in is refused here, in words.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from auto_build.core.evidence import SPEC_TRAILER
from auto_build.errors import EnvironmentUnfit, RepositoryUnfit
from auto_build.git import parse
from auto_build.git.parse import Change, Commit, Entry, File, Landing, Status, Tree
from auto_build.process import CommandFailed, Finished, Processes

NEEDED: Final = (2, 38, 0)
_FLAGS: Final = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "core.fsync=all",
    "commit.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "rerere.enabled=false",
    "submodule.recurse=false",
    "core.sparseCheckout=false",  # agents and checks see the whole tree
    "log.showSignature=false",
    "advice.detachedHead=false",
)
_NAME: Final = "Auto-Build"
_EMAIL: Final = "auto-build@localhost"
_LONG: Final = 100


def git_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the coordinator's own git: the user's, without GIT_* in it."""
    kept = {key: value for key, value in inherited.items() if not key.startswith("GIT_")}
    return {
        **kept,
        "LC_ALL": "C.UTF-8",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_EDITOR": "false",
        "GIT_NO_REPLACE_OBJECTS": "1",
    }


def ref_part(name: str) -> str:
    """Return `name` as one component of a ref: unchanged where git allows it, else escaped."""
    safe = quote(name, safe="").replace("~", "%7E")
    safe = safe.replace("..", ".%2E")
    if safe.startswith((".", "-")):
        safe = f"%{ord(safe[0]):02X}{safe[1:]}"
    if safe.endswith((".", ".lock")):
        safe = f"{safe[: safe.rindex('.')]}%2E{safe[safe.rindex('.') + 1 :]}"
    if len(safe) > _LONG:
        safe = f"{safe[: _LONG - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return safe


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two commits that do not merge; these paths need a decision.

    `tree` holds the merge as far as it goes, with markers where it does not; `said` is what git
    says of it.
    """

    paths: tuple[str, ...]
    tree: Tree | None = None
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository that Auto-Build can work in.

    `project` is the top of the worktree that the user works in, `git_dir` that worktree's own git
    folder, `common_dir` the one that all worktrees share. All are absolute and real.
    """

    processes: Processes
    project: Path
    git_dir: Path
    common_dir: Path
    identity: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    async def open(cls, folder: Path, processes: Processes) -> "Repo":
        """Find the repository around `folder`.

        Raises:
            EnvironmentUnfit: git is missing or older than 2.38.
            RepositoryUnfit: there is no repository, or it is bare or a submodule.
        """
        await require_git(processes)
        if not folder.is_dir():
            raise RepositoryUnfit(f"{folder} is not a folder", hint="check --project-dir")
        env = git_environment(os.environ)

        async def ask(*args: str) -> str:
            done = await processes.run(
                "git", "rev-parse", *args, cwd=folder, env=env, ok=(0, 1, 128)
            )
            return done.stdout.strip("\n") if done.code == 0 else ""

        if not (git_dir := await ask("--absolute-git-dir")):
            raise await _no_repository(folder, processes, env)
        if not (top := await ask("--show-toplevel")):
            raise RepositoryUnfit(
                f"{git_dir} is a bare repository, or {folder} is inside a .git folder",
                hint="run this in a checkout: git clone or git worktree add makes one",
            )
        if await ask("--show-superproject-working-tree"):
            raise RepositoryUnfit(
                f"{top} is a submodule: its worktrees would be tied to the outer repository's",
                hint="clone the submodule's repository by itself and run there",
            )
        common = (folder / await ask("--git-common-dir")).resolve()
        project = Path(top).resolve()
        identity = await _identity(processes, project)
        return cls(processes, project, Path(git_dir).resolve(), common, identity)

    # --- asking --------------------------------------------------------------------------------

    async def git(
        self,
        *args: str,
        ok: Sequence[int] = (0,),
        stdin: str | None = None,
        git_dir: Path | None = None,
        work_tree: Path | None = None,
        extra_env: Mapping[str, str] | None = None,
    ) -> Finished:
        """Run git on the shared repository, or on one worktree of it.

        Raises:
            CommandFailed: git ended with a code not in `ok`.
        """
        where = [f"--git-dir={git_dir or self.common_dir}"]
        if work_tree:
            where.append(f"--work-tree={work_tree}")
        flags = [part for flag in _FLAGS for part in ("-c", flag)]
        return await self.processes.run(
            "git",
            *where,
            *flags,
            *args,
            cwd=work_tree or self.common_dir,
            env={**git_environment(os.environ), **self.identity, **(extra_env or {})},
            ok=ok,
            stdin=stdin,
            called=f"git {args[0]}",
        )

    async def find_commit(self, name: str) -> Commit | None:
        """Return the commit that `name` (a ref or an object id) stands for, if there is one."""
        spec = f"{name}^{{commit}}"
        done = await self.git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", spec, ok=(0, 1, 128)
        )
        return Commit(done.stdout.strip()) if done.code == 0 else None

    async def require_commit(self, name: str) -> Commit:
        """Return the commit that `name` stands for.

        Raises:
            RepositoryUnfit: there is none.
        """
        found = await self.find_commit(name)
        if found is None:
            raise RepositoryUnfit(f"{name} is no commit in this repository")
        return found

    async def require_user_head(self) -> Commit:
        """Return the commit that the user has checked out, on a branch or detached.

        Raises:
            RepositoryUnfit: the repository has no commit yet.
        """
        done = await self.git(
            "rev-parse",
            "--verify",
            "--quiet",
            "HEAD^{commit}",
            git_dir=self.git_dir,
            ok=(0, 1, 128),
        )
        if done.code != 0:
            raise RepositoryUnfit(
                f"{self.project} has no commit yet, so there is nothing to build on",
                hint="make a first one: git add -A && git commit -m 'Start'",
            )
        return Commit(done.stdout.strip())

    async def user_status(self) -> Status:
        """Return the state of the user's own worktree, without refreshing its index."""
        return await self.status(self.git_dir, self.project)

    async def status(self, git_dir: Path, work_tree: Path) -> Status:
        """Return the state of one worktree; ignored files are left out."""
        done = await self.git(
            "status",
            "--porcelain=v2",
            "--branch",
            "-z",
            "--untracked-files=all",
            "--ignore-submodules=none",
            "--no-renames",
            git_dir=git_dir,
            work_tree=work_tree,
        )
        return parse.parse_status(done.stdout)

    async def tree_of(self, commit: Commit) -> Tree:
        """Return a commit's tree."""
        done = await self.git("rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}")
        return Tree(done.stdout.strip())

    async def clear_flags(self, git_dir: Path, work_tree: Path) -> None:
        """Have git look at every file again that an index entry says not to look at.

        A file that sparse checkout keeps out of the worktree is left alone: it is no deletion.
        """
        done = await self.git("ls-files", "-v", "-z", git_dir=git_dir, work_tree=work_tree)
        marked = [(line[0], line[2:]) for line in done.stdout.split("\0") if line]
        hidden = [path for tag, path in marked if tag.islower()]
        skipped = [
            path
            for tag, path in marked
            if tag in "Ss" and os.path.lexists(os.fsencode(work_tree) + b"/" + os.fsencode(path))
        ]
        for flag, paths in (("--no-assume-unchanged", hidden), ("--no-skip-worktree", skipped)):
            if paths:
                await self.git(
                    "update-index",
                    flag,
                    "-z",
                    "--stdin",
                    stdin="".join(f"{path}\0" for path in paths),
                    git_dir=git_dir,
                    work_tree=work_tree,
                )

    async def has_object(self, name: str) -> bool:
        """Say whether an object of this id is there."""
        return (await self.git("cat-file", "-e", name, ok=(0, 1, 128))).code == 0

    async def ignored(self) -> tuple[str, ...]:
        """Return what lies in the user's worktree and git ignores; folders end in `/`."""
        return await self.ignored_in(self.git_dir, self.project)

    async def ignored_in(self, git_dir: Path, work_tree: Path) -> tuple[str, ...]:
        """Return what lies in a worktree and git ignores; folders end in `/`."""
        done = await self.git(
            "ls-files",
            "-z",
            "--others",
            "--ignored",
            "--exclude-standard",
            "--directory",
            git_dir=git_dir,
            work_tree=work_tree,
        )
        return tuple(path for path in done.stdout.split("\0") if path)

    async def is_ancestor(self, old: Commit, new: Commit) -> bool:
        """Say whether `new` contains `old`; an object that is gone is contained in nothing."""
        done = await self.git("merge-base", "--is-ancestor", old, new, ok=(0, 1, 128))
        return done.code == 0

    async def merge_base(self, one: Commit, other: Commit) -> Commit | None:
        """Return a best common ancestor, if there is one."""
        done = await self.git("merge-base", one, other, ok=(0, 1))
        return Commit(done.stdout.split("\n")[0]) if done.code == 0 else None

    async def touched(self, old: str, new: str) -> tuple[Entry, ...]:
        """Return what differs between two commits or trees, file by file; a rename is two."""
        done = await self.git(
            "diff-tree", "-r", "--raw", "-z", "--no-renames", "--no-commit-id", old, new
        )
        return parse.parse_raw_diff(done.stdout)

    async def changes(self, old: str, new: str) -> tuple[Change, ...]:
        """Return what differs between two commits or trees, with what was there before."""
        done = await self.git(
            *("diff-tree", "-r", "--raw", "-z", "--no-renames", "--no-abbrev", "--no-commit-id"),
            *(old, new),
        )
        return parse.parse_changes(done.stdout)

    async def objects_between(self, old: Commit, new: Commit) -> dict[str, str]:
        """Return every object that `new` has beyond `old`: its id, and where it was met first."""
        done = await self.git("rev-list", "--objects", new, f"^{old}")
        pairs = (line.partition(" ") for line in done.stdout.split("\n") if line)
        return {oid: path for oid, _, path in pairs}

    async def files(self, tree: str) -> tuple[File, ...]:
        """Return every file of a tree or commit, submodules and symbolic links among them."""
        done = await self.git("ls-tree", "-r", "-z", "--full-tree", "--end-of-options", tree)
        return parse.parse_tree(done.stdout)

    async def content_of(self, oid: str) -> str:
        """Return the text of a file by its object id."""
        return (await self.git("cat-file", "blob", oid)).stdout

    async def not_ignored(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Return those of some paths in the user's worktree that git does not ignore."""
        if not paths:
            return ()
        done = await self.git(
            "check-ignore",
            "-z",
            "--stdin",
            ok=(0, 1),
            stdin="".join(f"./{path}\0" for path in paths),
            git_dir=self.git_dir,
            work_tree=self.project,
            extra_env={"GIT_LITERAL_PATHSPECS": "0"},  # which this command cannot work with
        )
        ignored = set(done.stdout.split("\0"))
        return tuple(path for path in paths if f"./{path}" not in ignored)

    async def has_lfs(self) -> bool:
        """Say whether git can fetch and store files with Git LFS here."""
        asked = ("config", "--get", "filter.lfs.process")
        installed = (await self.git("lfs", "version", ok=(0, 1, 128))).code == 0
        return installed and (await self.git(*asked, ok=(0, 1))).code == 0

    async def kept_elsewhere(
        self, paths: Sequence[str], git_dir: Path, work_tree: Path
    ) -> frozenset[str]:
        """Return those of some paths of which Git LFS takes the content, and git a pointer."""
        if not await self.has_lfs():
            return frozenset()
        done = await self.git(
            *("check-attr", "-z", "--stdin", "filter"),
            stdin="".join(f"{path}\0" for path in paths),
            git_dir=git_dir,
            work_tree=work_tree,
        )
        fields = done.stdout.split("\0")
        triples = zip(fields[::3], fields[2::3], strict=False)
        return frozenset(path for path, value in triples if value == "lfs")

    async def diff(self, old: Commit, new: Commit, *, most: int) -> str:
        """Return what differs between two commits as a patch, cut at `most` characters."""
        done = await self.git(
            "diff-tree", "-p", "--no-ext-diff", "--no-textconv", "--no-commit-id", old, new
        )
        cut = "\n… (cut)\n" if len(done.stdout) > most else ""
        return done.stdout[:most] + cut

    async def patch(self, old: str, new: str) -> tuple[str, str]:
        """Return what differs between two commits: line counts (`--numstat -z`), and the patch.

        A rename is two files; the user's settings for diffs change nothing.
        """
        plain = ("diff-tree", "-r", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color")
        prefixes = ("--src-prefix=a/", "--dst-prefix=b/")
        numbers = await self.git(*plain, "--numstat", "-z", "--no-commit-id", old, new)
        patch = await self.git(*plain, *prefixes, "--patch", "--no-commit-id", old, new)
        return numbers.stdout, patch.stdout

    async def first_parents(self, old: Commit, new: Commit) -> tuple[Commit, ...]:
        """Return the commits on the first-parent line of `new` down to `old`, oldest first."""
        done = await self.git("rev-list", "--first-parent", "--reverse", f"{old}..{new}")
        return tuple(Commit(line) for line in done.stdout.split())

    async def commits_between(self, old: Commit, new: Commit) -> tuple[Commit, ...]:
        """Return the commits that `new` has beyond `old`, oldest first."""
        done = await self.git("rev-list", "--reverse", "--topo-order", f"{old}..{new}")
        return tuple(Commit(line) for line in done.stdout.split())

    async def landings(
        self, spec: str, head: Commit, since: Commit | None = None
    ) -> tuple[Landing, ...]:
        """Return the commits of this spec's chunks that `head` contains, newest first."""
        span = f"{since}..{head}" if since else head
        trailer = f"{SPEC_TRAILER}: {spec}"
        done = await self.git(
            "log",
            parse.LANDING_FORMAT,
            "--fixed-strings",
            f"--grep={trailer}",
            "--end-of-options",
            span,
        )
        return parse.parse_landings(done.stdout, spec)

    async def refs(self, prefix: str, *, sort: str = "refname") -> Mapping[str, Commit]:
        """Return the refs beneath `prefix`, or that it fits as a pattern, by full name."""
        form = "--format=%(refname) %(objectname)"
        done = await self.git("for-each-ref", form, f"--sort={sort}", prefix)
        pairs = (line.split(" ") for line in done.stdout.splitlines())
        return {name: Commit(commit) for name, commit in pairs}

    # --- making, off-tree ------------------------------------------------------------------------

    async def try_merge(self, ours: Commit, theirs: Commit) -> Tree | Conflict:
        """Merge two commits without touching any worktree or index.

        Merge drivers are those that the attributes in the user's checkout name.
        """
        done = await self.git(
            "merge-tree",
            "--write-tree",
            "--messages",
            "-z",
            "--end-of-options",
            ours,
            theirs,
            ok=(0, 1),
            work_tree=self.project if self.project.is_dir() else None,
        )
        if not done.stdout:  # exit code 1 is also that of an object that is not there
            raise CommandFailed(f"{ours} and {theirs} cannot be merged: {done.stderr.strip()}")
        made = parse.parse_merge_tree(done.stdout)
        if done.code == 0:
            return made.tree
        return Conflict(made.paths, made.tree, made.said)

    async def make_tree(self, entries: str) -> Tree:
        """Make a tree object from entries in the form of `ls-tree -z`."""
        return Tree((await self.git("mktree", "-z", stdin=entries)).stdout.strip())

    async def commit_tree(
        self,
        tree: Tree,
        parents: Sequence[Commit],
        message: str,
        author_of: Commit | None = None,
    ) -> Commit:
        """Make a commit object; no ref moves. `author_of` names a commit whose author is kept."""
        named = [part for parent in parents for part in ("-p", parent)]
        author = await self._author(author_of) if author_of else {}
        done = await self.git("commit-tree", tree, *named, stdin=message, extra_env=author)
        return Commit(done.stdout.strip())

    async def _author(self, commit: Commit) -> dict[str, str]:
        done = await self.git("log", "-1", "--format=%an%x00%ae%x00%aI", commit)
        name, email, date = done.stdout.rstrip("\n").split("\0")
        return {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": email, "GIT_AUTHOR_DATE": date}

    async def replay(self, base: Commit, work: Commit, onto: Commit) -> Commit | Conflict:
        """Put the commits `base..work` one by one on top of `onto`, as a rebase would.

        A merge commit among them cannot be replayed and counts as a conflict without paths.
        """
        head = onto
        for commit in await self.commits_between(base, work):
            parents = await self._parents(commit)
            if len(parents) != 1:
                return Conflict(())
            picked = await self._pick(commit, parents[0], head)
            if isinstance(picked, Conflict):
                return picked
            head = picked
        return head

    async def graft(self, old: Commit, new: Commit, onto: Commit) -> Tree | Conflict:
        """Apply what changed from `old` to `new` onto another commit, and return the tree.

        It is a merge whose base is `old`, which git 2.38 can do if both sides descend from it.
        """
        ours = await self.commit_tree(await self.tree_of(onto), [old], "graft: onto\n")
        return await self.try_merge(ours, new)

    async def _pick(self, commit: Commit, parent: Commit, onto: Commit) -> Commit | Conflict:
        merged = await self.graft(parent, commit, onto)
        if isinstance(merged, Conflict):
            return merged
        said = await self.git("log", "-1", "--format=%B", commit)
        return await self.commit_tree(merged, [onto], said.stdout, author_of=commit)

    async def _parents(self, commit: Commit) -> tuple[Commit, ...]:
        done = await self.git("rev-list", "--parents", "--max-count=1", "--end-of-options", commit)
        return tuple(Commit(line) for line in done.stdout.split()[1:])

    # --- refs ----------------------------------------------------------------------------------

    async def create_ref(self, ref: str, commit: Commit) -> None:
        """Create a ref, or move it; the old value stays in the reflog only if git keeps one."""
        await self.git("update-ref", "-m", "auto-build", ref, commit)

    async def swap_ref(self, ref: str, new: Commit, old: Commit, why: str) -> bool:
        """Move a ref from `old` to `new` in one step; False where it is no longer at `old`.

        Raises:
            CommandFailed: it is at `old` and git could not move it.
        """
        done = await self.git("update-ref", "-m", why, ref, new, old, ok=(0, 1, 128))
        if done.code == 0:
            return True
        if await self.find_commit(ref) != old:
            return False
        raise CommandFailed(
            f"{ref} cannot be moved: {done.stderr.strip()}",
            hint="check the disk and the permissions of the .git folder, then run again",
        )

    async def delete_ref(self, ref: str, old: Commit) -> None:
        """Delete a ref that is still at `old`."""
        await self.git("update-ref", "-d", ref, old)


async def require_git(processes: Processes) -> tuple[int, int, int]:
    """Return git's version.

    Raises:
        EnvironmentUnfit: it is missing or too old.
    """
    try:
        done = await processes.run(
            "git", "--version", cwd=Path("/"), env=git_environment(os.environ)
        )
    except CommandFailed as error:
        raise EnvironmentUnfit(
            f"git cannot be run: {error}", hint="install git 2.38 or newer"
        ) from (error)
    version = parse.parse_version(done.stdout)
    if version < NEEDED:
        shown = ".".join(map(str, version))
        raise EnvironmentUnfit(
            f"git {shown} is too old: merging without a worktree needs git 2.38",
            hint="install git 2.38 or newer and put it first in PATH",
        )
    return version


async def _no_repository(
    folder: Path, processes: Processes, env: Mapping[str, str]
) -> RepositoryUnfit:
    done = await processes.run("git", "rev-parse", "--git-dir", cwd=folder, env=env, ok=(0, 1, 128))
    if "dubious ownership" in done.stderr:  # git has no exit code of its own for this refusal
        return RepositoryUnfit(
            f"git does not trust {folder}: it belongs to another user",
            hint=f"git config --global --add safe.directory '{folder}'",
        )
    return RepositoryUnfit(
        f"{folder} is not in a git repository",
        hint="go into your project, or: git init && git add -A && git commit -m 'Start'",
    )


async def _identity(processes: Processes, project: Path) -> dict[str, str]:
    """Return who signs the commits: the user as git knows them, else Auto-Build."""
    env = git_environment(os.environ)

    async def get(key: str) -> str:
        done = await processes.run("git", "config", "--get", key, cwd=project, env=env, ok=(0, 1))
        return done.stdout.strip()

    name = await get("user.name") or _NAME
    email = await get("user.email") or _EMAIL
    return {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email,
    }
