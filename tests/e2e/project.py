"""A project that agents build in, told in the words of the domain; and what must not change in it.

A `Project` is a real git repository whose path holds a space and a letter beyond ASCII. What the
user does goes through it (`write`, `git`, `user_acts`), so that every other change of the user's
branch, index, files, stash or settings is noticed: `check_untouched` compares fingerprints.
"""

import hashlib
import json
import os
import stat
import subprocess  # noqa: TID251 - the user's own git and programs, not the coordinator's
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import psutil

from auto_build import Notice, Record, Row, SwarmCoordinator, Update, View
from auto_build.coordinator import Reviews
from auto_build.core.events import ChunkEvent, Event
from auto_build.core.state import RunState
from tests.programs import is_alive, wait_until_gone

Json = dict[str, Any]
Step = dict[str, Any]
Found = TypeVar("Found")

SPEC = "001-demo"
_SPECS = "auto-build/specs/"
_PLAN = "implementation_plan.json"
_OURS = (_PLAN, "qa_report.md", "QA_FIX_REQUEST.md")  # what the tool writes beside a spec


# --- what a plan and a script are written with ------------------------------------------------


def write(path: str, text: str = "done\n") -> Step:
    return {"do": "write", "path": path, "text": text}


def append(path: str, text: str) -> Step:
    return {"do": "append", "path": path, "text": text}


def edit(path: str, old: str, new: str) -> Step:
    return {"do": "edit", "path": path, "old": old, "new": new}


def shell(command: str) -> Step:
    return {"do": "run", "command": command}


def spawn(command: str) -> Step:
    return {"do": "spawn", "command": command}


def sleep(seconds: float) -> Step:
    return {"do": "sleep", "seconds": seconds}


def say(text: str) -> Step:
    return {"do": "say", "text": text}


def commit(message: str) -> Step:
    return {"do": "commit", "message": message}


def hang() -> Step:
    return {"do": "hang"}


def fail(text: str = "I give up") -> Step:
    return {"do": "fail", "text": text}


def crash(text: str = "a bug in the agent") -> Step:
    return {"do": "raise", "text": text}


def limit(reset_in_s: float | None = None) -> Step:
    """Run into a usage limit."""
    return {"do": "limit", "reset_in_s": reset_in_s, "text": "five hours are used up"}


def stop(why: str, text: str = "so it is") -> Step:
    """End for a reason that an agent can have."""
    return {"do": "stop", "stop": why, "text": text}


def ask(question: str) -> Step:
    return {"do": "ask", "text": question}


def spend(cost_usd: float | None = None, *, tokens: int = 100) -> Step:
    return {"do": "spend", "output_tokens": tokens, "cost_usd": cost_usd}


def hear(path: str) -> Step:
    """Wait to be told something, and note it in a file."""
    return {"do": "hear", "path": path}


def chunk(
    name: str,
    *,
    files: Sequence[str] = (),
    verify: str = "",
    after: Sequence[str] = (),
    **more: Any,
) -> Json:
    """Return a chunk as a plan file has it; `verify` is a command line."""
    found: Json = {"id": name, "description": f"do {name}", **more}
    if files:
        found["files_to_modify"] = list(files)
    if after:
        found["depends_on"] = list(after)
    found.setdefault(
        "verification",
        {"type": "command", "command": verify} if verify else {"type": "none"},
    )
    return found


def phase(name: str, *chunks: Json, after: Sequence[str] = (), **more: Any) -> Json:
    """Return a phase as a plan file has it."""
    return {"id": name, "depends_on": list(after), "chunks": list(chunks), **more}


# --- what came of a run -----------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    """How a run ended, and everything that it said on the way."""

    view: View
    updates: tuple[Update, ...]

    @property
    def events(self) -> list[Event]:
        return [one.what.event for one in self.updates if isinstance(one.what, Record)]

    @property
    def records(self) -> list[Record]:
        return [one.what for one in self.updates if isinstance(one.what, Record)]

    @property
    def notices(self) -> list[Notice]:
        return [one.what for one in self.updates if isinstance(one.what, Notice)]

    @property
    def warnings(self) -> str:
        return "\n".join(notice.text for notice in self.notices if notice.warning)

    def row(self, name: str) -> Row:
        return next(row for row in self.view.rows if row.id == name)

    def labels(self) -> dict[str, str]:
        return {row.id: row.label.value for row in self.view.rows}

    def of(self, kind: type[Found], name: str = "") -> list[Found]:
        """Return the events of one kind, of one chunk if `name` is given."""
        return [
            event
            for event in self.events
            if isinstance(event, kind) and (not name or _chunk_of(event) == name)
        ]

    def only(self, kind: type[Found], name: str = "") -> Found:
        """Return the one event of a kind."""
        (found,) = self.of(kind, name)
        return found

    def kinds(self, name: str) -> list[str]:
        """Return the story of one chunk: the names of its events."""
        return [type(event).__name__ for event in self.events if _chunk_of(event) == name]

    def states(self) -> Iterator[tuple[Event, RunState]]:
        """Yield each event with the state after it."""
        for one in self.updates:
            if isinstance(one.what, Record) and one.state is not None:
                yield one.what.event, one.state


def _chunk_of(event: object) -> str:
    return event.chunk if isinstance(event, ChunkEvent) else ""


# --- the project ------------------------------------------------------------------------------


@dataclass
class Project:
    """One user's repository, with specs to build."""

    path: Path
    allowed_slots: tuple[str, ...] = ()
    remembers: bool = False
    _turns: dict[str, list[Json]] = field(default_factory=dict)
    _seen: "Fingerprint | None" = None

    @classmethod
    def make(cls, path: Path, files: Mapping[str, str] | None = None) -> "Project":
        """Make a repository with one commit on `main`."""
        path.mkdir(parents=True)
        made = cls(path)
        made.git("init", "--quiet", "--initial-branch=main")
        made.git("config", "user.name", "Ada")
        made.git("config", "user.email", "ada@example.org")
        for name, text in (files or {"README.md": "# Démo\n", "a.txt": "a\nb\nc\n"}).items():
            made.write(name, text)
        made.write("auto-build.toml", _settings(""))
        made.write(".gitignore", "*.log\n.env\n__pycache__/\n")
        made.commit_all("Start")
        return made

    # what the user does

    def git(self, *args: str, ok: Iterable[int] = (0,), cwd: Path | None = None) -> str:
        """Run the user's git in the user's checkout; return what it prints."""
        with self.user_acts():
            return run_git(cwd or self.path, *args, ok=ok)

    def write(self, path: str, text: str) -> Path:
        """Write one of the user's files."""
        target = self.path / path
        with self.user_acts():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        return target

    def commit_all(self, message: str) -> str:
        """Commit everything; return the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--no-verify", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def commit_paths(self, *paths: str) -> None:
        """Commit some files and nothing else."""
        self.git("commit", "--quiet", "--no-verify", "-m", "Some", "--only", "--", *paths)

    def hook(self, name: str, script: str) -> None:
        """Install a hook in the user's repository."""
        path = self.write(f".git/hooks/{name}", f"#!/bin/sh\n{script}\n")
        with self.user_acts():
            path.chmod(0o755)

    def plan(self, *phases: Json, spec: str = SPEC) -> Path:
        """Write a spec's plan."""
        self.write(f"{_SPECS}{spec}/spec.md", f"# {spec}\nBuild it.\n")
        document = {"feature": f"The {spec}", "phases": list(phases)}
        path = self.write(f"{_SPECS}{spec}/{_PLAN}", json.dumps(document, indent=2))
        self._write_script(spec)
        return path

    def plan_of(self, *chunks: Json, spec: str = SPEC) -> Path:
        """Write a plan of one phase."""
        return self.plan(phase("p1", *chunks), spec=spec)

    def agent(
        self,
        name: str,
        *steps: Step,
        attempt: int = 0,
        round: int = 0,  # noqa: A002 - the script's own word
        resumed: bool | None = None,
        spec: str = SPEC,
    ) -> None:
        """Say what the agent does when it is given a chunk, or goes on with it."""
        turn = {
            "chunk": name,
            "attempt": attempt,
            "round": round,
            "resumed": resumed,
            "steps": list(steps),
        }
        self._turns.setdefault(spec, []).append(turn)
        self._write_script(spec)

    def agent_forgets(self, spec: str = SPEC) -> None:
        """Take back everything that was said of what the agent does."""
        self._turns[spec] = []
        self._write_script(spec)

    def _write_script(self, spec: str) -> None:
        script = {"remembers": self.remembers, "turn": self._turns.get(spec, [])}
        body = json.dumps(script, indent=1)
        self.write(f"{_SPECS}{spec}/script.json", body)

    def settings(self, text: str) -> None:
        """Add lines to the settings."""
        self.write("auto-build.toml", _settings(text))

    def plan_path(self, spec: str = SPEC) -> Path:
        return self.path / _SPECS / spec / _PLAN

    def plan_document(self, spec: str = SPEC) -> Any:
        return json.loads(self.plan_path(spec).read_text(encoding="utf-8"))

    def edit_plan(self, change: Callable[[Any], object], spec: str = SPEC) -> None:
        """Edit a plan file as a person would."""
        document = self.plan_document(spec)
        change(document)
        with self.user_acts():
            self.plan_path(spec).write_text(json.dumps(document, indent=2), encoding="utf-8")

    def plan_statuses(self, spec: str = SPEC) -> dict[str, str]:
        return {
            one["id"]: one.get("status", "")
            for each in self.plan_document(spec)["phases"]
            for one in each["chunks"]
        }

    # running

    async def run(
        self,
        spec: str = SPEC,
        *,
        workers: int = 2,
        reviews: Reviews = Reviews.AS_SET,
        on_update: Callable[[Update], None] | None = None,
        **settings: Any,
    ) -> Report:
        """Build a spec to where it goes, and see that the user's things are as they were."""
        updates: list[Update] = []
        self.watch()

        def take(update: Update) -> None:
            updates.append(update)
            if on_update:
                on_update(update)

        coordinator = SwarmCoordinator(
            self.path,
            spec,
            max_workers=workers,
            settings=settings,
            reviews=reviews,
            on_update=take,
        )
        view = await coordinator.run()
        self.check_untouched()
        return Report(view, tuple(updates))

    # what is in git

    def branch(self, spec: str = SPEC) -> str:
        return f"refs/heads/auto-build/{spec}"

    def head(self, spec: str = SPEC) -> str:
        """Return staging's head."""
        return run_git(self.path, "rev-parse", self.branch(spec)).strip()

    def tree(self, name: str = "") -> dict[str, str]:
        """Return every file of a commit (staging's head unless named) with its content."""
        at = name or self.branch()
        listed = run_git(self.path, "ls-tree", "-r", "-z", "--name-only", at)
        return {
            path: run_git(self.path, "show", f"{at}:{path}") for path in listed.split("\0") if path
        }

    def show(self, path: str, name: str = "") -> str:
        """Return one file of a commit, staging's head unless named."""
        return run_git(self.path, "show", f"{name or self.branch()}:{path}")

    def landings(self, spec: str = SPEC) -> list[str]:
        """Return the chunks that landed, by the trailers of staging's own line, oldest first."""
        trailers = "--format=%(trailers:key=Auto-Build-Chunk,valueonly,separator=%x2c)"
        branch = self.branch(spec)
        log = run_git(self.path, "log", "--first-parent", "--reverse", trailers, branch)
        return [line for line in log.splitlines() if line]

    def pins(self) -> dict[str, str]:
        """Return what is pinned: refs beneath refs/auto-build/attempts, without that prefix."""
        prefix = "refs/auto-build/attempts/"
        log = run_git(self.path, "for-each-ref", "--format=%(refname) %(objectname)", prefix)
        pairs = (line.split(" ") for line in log.splitlines())
        return {name.removeprefix(prefix): commit for name, commit in pairs}

    def pin_holding(self, path: str) -> str:
        """Return what is pinned of a file, by whichever pin has it last in order of name."""
        found = [
            run_git(self.path, "show", f"{commit}:{path}")
            for commit in self.pins().values()
            if run_git(self.path, "ls-tree", "--name-only", commit, path)
        ]
        return found[-1] if found else ""

    @property
    def staging(self) -> Path:
        return self.path / ".worktrees" / "auto-build"

    def slot(self, number: int) -> Path:
        return self.path / ".worktrees" / f"auto-build-worker-{number}"

    # safety

    @contextmanager
    def user_acts(self) -> Iterator[None]:
        """Let the user change something; whatever else changed by then is a fault."""
        if self._seen is None:
            yield
            return
        self.check_untouched()
        self._seen = None
        try:
            yield
        finally:
            self.watch()

    def watch(self) -> None:
        """From now on nothing of the user's may change."""
        if self._seen is None:
            self._seen = take_fingerprint(self.path)

    def check_untouched(self) -> None:
        """See that everything of the user's is as it was.

        Raises:
            AssertionError: something is not.
        """
        if self._seen is not None:
            now = take_fingerprint(self.path)
            assert now == self._seen, "the user's checkout was changed"

    def check_nothing_left(self) -> None:
        """See that no process, lock or worker's worktree is left behind.

        Raises:
            AssertionError: something is.
        """
        assert self.left_processes() == []
        assert self.left_locks() == []
        slots = sorted(path.name for path in self.path.glob(".worktrees/auto-build-worker-*"))
        assert slots == sorted(self.allowed_slots)
        if (self.path / ".git").is_dir():
            listed = run_git(self.path, "worktree", "list", "--porcelain")
            assert "prunable" not in listed

    def left_locks(self) -> list[str]:
        common = self.path / ".git"
        ignored = {"run.lock"}  # a file to lock, not a lock: it stays
        return [str(lock) for lock in common.rglob("*.lock") if lock.name not in ignored]

    def left_processes(self) -> list[str]:
        """Return what runs here, or was started by a run here, ourselves excepted."""
        return [" ".join(process.cmdline()) for process in self.processes()]

    def processes(self) -> list[psutil.Process]:
        return list(_running_in(self.path))

    def wait_until_exists(self, path: Path, limit_s: float = 20.0) -> None:
        """Wait for a file that an agent makes.

        Raises:
            AssertionError: it never came.
        """
        limit = time.monotonic() + limit_s
        while not path.exists():
            assert time.monotonic() < limit, f"{path} never came"
            time.sleep(0.02)

    def wait_until_processes_are_gone(self, limit_s: float = 20.0) -> None:
        """Wait for what a killed run had started.

        Raises:
            AssertionError: something lives on.
        """
        wait_until_gone(self.processes(), limit_s)
        assert self.left_processes() == []


_SETTINGS = """
[run]
check_timeout_min = 1
agent_timeout_min = 1
retries = 0
pause_s = 0.2
[agents.scripted]
kind = "scripted"
script = "{spec_dir}/script.json"
"""


def _settings(more: str) -> str:
    """Return a settings file; no secrets are looked for, and nothing is reviewed, unless asked."""
    quick = "" if "[containment]" in more else '[containment]\nsecrets = "off"\n'
    alone = "" if "[qa]" in more else "[qa]\nreview = false\n"
    return f"{_SETTINGS}\n{more}\n{quick}{alone}"


def run_git(where: Path, *args: str, ok: Iterable[int] = (0,)) -> str:
    """Run a git that never writes what it was not asked to."""
    done = subprocess.run(
        ("git", *args),
        cwd=where,
        capture_output=True,
        env={**_without_git(os.environ), "GIT_CONFIG_NOSYSTEM": "1", "GIT_OPTIONAL_LOCKS": "0"},
        timeout=60,
    )
    if done.returncode not in ok:
        raise AssertionError(f"git {' '.join(args)}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode("utf-8", "surrogateescape")


def _without_git(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("GIT_")}


@dataclass(frozen=True)
class Fingerprint:
    """Everything of the user's that a run must leave as it is."""

    head: str
    refs: str
    stash: str
    index: str
    entries: str
    config: str
    hooks: dict[str, str]
    files: dict[str, str]


def take_fingerprint(project: Path) -> Fingerprint:
    """Return what is to be compared; plan files are left out, for the tool keeps them."""
    git_dir, common = (
        (project / line).resolve()
        for line in run_git(
            project, "rev-parse", "--absolute-git-dir", "--git-common-dir"
        ).splitlines()
    )
    refs = run_git(project, "for-each-ref", "--format=%(refname) %(objectname)")
    ours = (
        "refs/heads/auto-build/",
        "refs/heads/auto-build-merge/",
        "refs/auto-build/",
        "refs/worktree/",
    )
    index = git_dir / "index"
    return Fingerprint(
        head=(git_dir / "HEAD").read_text(),
        refs="\n".join(line for line in refs.splitlines() if not line.startswith(ours)),
        stash=run_git(project, "stash", "list"),
        index=_digest(index.read_bytes()) if index.exists() else "",
        entries=run_git(project, "ls-files", "--stage"),
        config=(common / "config").read_text(),
        hooks={path.name: _identity(path) for path in (common / "hooks").glob("*")},
        files=dict(_files(project)),
    )


def _files(project: Path) -> Iterator[tuple[str, str]]:
    for folder, folders, names in os.walk(project):
        here = Path(folder)
        folders[:] = [
            name for name in folders if name not in {".git", ".worktrees"} or here != project
        ]
        for name in names:
            path = here / name
            relative = path.relative_to(project).as_posix()
            if not (relative.startswith(_SPECS) and name in _OURS):
                yield relative, _identity(path)


def _identity(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    return f"{stat.filemode(path.stat().st_mode)} {_digest(path.read_bytes())}"


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _running_in(folder: Path) -> Iterator[psutil.Process]:
    """Yield the programs that run in `folder` or were started by a run there."""
    inside = str(folder)
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or not is_alive(process):
                continue
            ceiling = process.environ().get("GIT_CEILING_DIRECTORIES", "")
            if process.cwd().startswith(inside) or ceiling.startswith(inside):
                yield process


# --- a coordinator in a process of its own ------------------------------------------------------


@dataclass
class Driver:
    """A coordinator that can be killed; what it tells comes line by line."""

    process: "subprocess.Popen[str]"

    @classmethod
    def start(cls, project: Project, *, spec: str = SPEC, workers: int = 2) -> "Driver":
        project.watch()
        program = str(Path(__file__).with_name("driver.py"))
        return cls(
            subprocess.Popen(
                (sys.executable, program, str(project.path), spec, str(workers)),
                stdout=subprocess.PIPE,
                text=True,
            )
        )

    def lines(self) -> Iterator[Json]:
        """Yield what it tells, until it ends."""
        assert self.process.stdout
        for line in self.process.stdout:
            yield json.loads(line)

    def wait_for(self, event: str, name: str = "") -> Json:
        """Wait until it tells of an event, of one chunk if `name` is given."""
        for line in self.lines():
            if line.get("event") == event and (not name or line["chunk"] == name):
                return line
        raise AssertionError(f"{event} {name} never came")

    def wait_for_lines(self, number: int) -> int:
        """Wait until it told that many things or ended; return how many it told."""
        return sum(1 for _ in islice(self.lines(), number))

    def kill(self) -> None:
        self.process.kill()
        self._forget()

    def end(self) -> tuple[int, list[Json]]:
        """Let it run to its end; return its exit code and what it told from now on."""
        told = list(self.lines())
        return self._forget(), told

    def _forget(self) -> int:
        code = self.process.wait(60)
        if self.process.stdout:
            self.process.stdout.close()
        return code
