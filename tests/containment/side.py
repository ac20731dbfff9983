"""A user's checkout under watch, and the harm that comes to it."""

import os
import subprocess  # noqa: TID251 - what harms the checkout is no program of the coordinator's
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from auto_build.containment.strays import Mode
from auto_build.containment.watch import Round, Watch
from auto_build.core.events import StraysFound
from auto_build.core.plan import ChunkId
from auto_build.git.landing import branch_of
from auto_build.git.repo import Repo
from auto_build.git.worktree import Worktrees
from auto_build.process import Processes
from tests.e2e.project import SPEC, Project, run_git, take_fingerprint

A = ChunkId("a")


@dataclass(frozen=True)
class Trace:
    """What an agent's git leaves behind."""

    git_dir: str


@dataclass
class Side:
    """A watched checkout: what was found in it, and what was said."""

    project: Project
    watch: Watch
    worktrees: Worktrees
    logs: Path
    events: list[StraysFound] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)

    @classmethod
    async def make(
        cls, project: Project, *, mode: Mode = Mode.TAKE_BACK, watched: bool = True
    ) -> "Side":
        repo = await Repo.open(project.path, Processes())
        worktrees = Worktrees(repo)
        branch = branch_of(SPEC)
        await repo.create_ref(branch, await repo.require_user_head())
        await worktrees.exclude()
        await worktrees.require_staging(branch)
        events: list[StraysFound] = []
        said: list[str] = []
        traces: list[Trace] = []

        def take_evidence() -> Sequence[Trace]:
            taken = tuple(traces)
            traces.clear()
            return taken

        watch = Watch(
            repo=repo,
            worktrees=worktrees,
            spec=SPEC,
            branch=branch,
            mode=mode,
            folder=repo.common_dir / "auto-build" / "watch" / SPEC,
            record=events.append,
            say=said.append,
            warn=said.append,
            evidence=take_evidence if watched else None,
        )
        logs = repo.common_dir / "auto-build" / "logs"
        return cls(project, watch, worktrees, logs, events, said, traces)

    @property
    def path(self) -> Path:
        return self.project.path

    async def begin(self) -> None:
        """Take the side in; from now on nothing of it may change."""
        await self.watch.take()
        self.before = take_fingerprint(self.path)

    async def check(self, *chunks: ChunkId) -> None:
        await self.watch.check(Round(chunks=chunks or (A,), folder=self.logs))

    def same(self) -> bool:
        return take_fingerprint(self.path) == self.before

    def git(self, *args: str) -> str:
        """Run a git that somebody else started."""
        return run_git(self.path, *args)

    def shell(self, command: str) -> None:
        """Do something in the checkout that nobody was asked for."""
        subprocess.run(("sh", "-c", command), cwd=self.path, check=True, timeout=60)

    def agent_git(self, *args: str) -> str:
        """Run a git of an agent's, which leaves evidence."""
        self.traces.append(Trace(str(self.path / ".git")))
        return self.git(*args)

    @property
    def back(self) -> tuple[str, ...]:
        return tuple(words for event in self.events for words in event.back)

    @property
    def told(self) -> tuple[str, ...]:
        return tuple(words for event in self.events for words in event.told)

    def kept_patch(self) -> Path:
        """Return the only patch that was kept."""
        (patch,) = self.logs.glob("strays-*.patch")
        return patch

    def times(self) -> dict[str, int]:
        """Return when each file of the checkout was written."""
        listed = run_git(self.path, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        files = [self.path / name for name in listed.split("\0") if name]
        return {str(file): os.lstat(file).st_mtime_ns for file in files if os.path.lexists(file)}
