"""A build that has landed, made of git commands and one event, in a fraction of a build's time."""

from dataclasses import dataclass
from pathlib import Path

from auto_build.core.events import Event, RunStarted
from auto_build.core.plan import ChunkId
from auto_build.delivery import Build
from auto_build.journal import Journal
from tests.e2e.project import SPEC, Project, chunk, run_git

BUILT = {"one.py": "one\n", "a.txt": "a\nbuilt\nc\n"}  # what staging has, beside what the user has


@dataclass(frozen=True)
class Finished:
    """A project with a build in staging: one chunk, landed as `staging` on top of `base`."""

    project: Project
    build: Build
    base: str
    staging: str

    @property
    def path(self) -> Path:
        return self.project.path

    def git(self, *args: str) -> str:
        return run_git(self.path, *args).strip()

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    @property
    def events(self) -> list[Event]:
        journal = Journal.find(self.build.workspace.state_dir, SPEC)
        assert journal
        with journal:
            return [record.event for record in journal.history()]

    def kinds(self) -> list[str]:
        """Return the names of what happened since the build was begun."""
        return [type(event).__name__ for event in self.events[1:]]

    def later(self, path: str = "later.txt", text: str = "later\n") -> str:
        """Let the user commit something meanwhile."""
        self.project.write(path, text)
        return self.project.commit_all("Later")

    def merges(self) -> int:
        """Return how many commits of the user's own line brought the build."""
        line = self.git("log", "--first-parent", "--format=%H", "HEAD", "--", "one.py")
        return len(line.split())


async def finish(project: Project, *, checks: str = "true", settings: str = "") -> Finished:
    """Let a build be finished in a project that has no plan yet."""
    project.settings(f'[gate]\nchecks = ["{checks}"]\n{settings}')
    project.plan_of(chunk("one", files=list(BUILT), verify="test -f one.py"))
    project.commit_all("Plan")
    base = project.git("rev-parse", "HEAD").strip()
    branch = f"auto-build/{SPEC}"
    exclude = project.path / ".git" / "info" / "exclude"
    exclude.write_text("/.worktrees/\n")
    project.git("worktree", "add", "-q", "-b", branch, str(project.staging))
    for name, text in BUILT.items():
        (project.staging / name).write_text(text)
    run_git(project.staging, "add", "-A")
    trailers = f"Auto-Build-Spec: {SPEC}\nAuto-Build-Chunk: one\nAuto-Build-Attempt: 1\n"
    run_git(project.staging, "commit", "-q", "-m", f"Land one\n\n{trailers}")
    staging = run_git(project.staging, "rev-parse", "HEAD").strip()
    build = await Build.open(project.path, SPEC)
    one = ChunkId("one")
    plan = build.spec.load_plan().plan
    build.record(RunStarted(plan, base, {one: staging}, {one: 1}))
    return Finished(project, build, base, staging)
