"""The coordinator: takes a plan through a run, from an empty journal or from where one stopped.

`drive` is the whole loop: decide, journal, act, journal. `SwarmCoordinator` sets the world up for
it and takes it down again, and is the Python API that the command line uses.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from auto_build.agents.base import Agent
from auto_build.agents.choose import build_agent
from auto_build.core import events as ev
from auto_build.core.commands import Command
from auto_build.core.plan import ChunkId
from auto_build.core.planfile import Hint, PlanFile
from auto_build.core.reconcile import begin, describe_change, is_admissible, take_in
from auto_build.core.scheduler import decide
from auto_build.core.state import Landed, Running, RunState, step
from auto_build.core.view import Times, View, build_view, plan_notes
from auto_build.engine.base import Engine
from auto_build.engine.local import LocalEngine
from auto_build.errors import AutoBuildError, EnvironmentUnfit
from auto_build.gate import Gate
from auto_build.git.landing import branch_of, pins_of
from auto_build.git.parse import Commit, Landing
from auto_build.git.repo import Repo, ref_part
from auto_build.git.worktree import Worktrees
from auto_build.inbox import Inbox
from auto_build.journal import Journal, Record, RunLock
from auto_build.policy.environment import Environment
from auto_build.policy.paths import SPECS
from auto_build.process import Processes
from auto_build.settings import Settings, load_settings
from auto_build.updates import Listener, Notice, Update
from auto_build.workspace import PlanWriter, Spec, Workspace

_STREAM_LIMIT: Final = 10_000


Recorder = Callable[[ev.Event], RunState]


async def drive(
    state: RunState, *, engine: Engine, record: Recorder, slots: int, inbox: Inbox
) -> RunState:
    """Carry the run on until nothing can be done and nothing is under way.

    Args:
        state: where the run stands.
        engine: carries out what is decided.
        record: journals an event and returns the state after it.
        slots: how many chunks may be under way at once.
        inbox: people's wishes.
    """
    async with asyncio.TaskGroup() as group:
        under_way: set[asyncio.Task[ev.Event]] = set()
        wishes = group.create_task(inbox.wait())
        while True:
            begun: list[Command] = []
            while ready := decide(state, slots=slots):
                begun.append(ready[0])  # one by one: recording a start may pause the run
                state = record(ready[0].started)  # before the effect: a crash must leave a trace
            under_way |= {group.create_task(engine.run(command, state)) for command in begun}
            if not under_way:
                wishes.cancel()
                return state
            await asyncio.wait({*under_way, wishes}, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in under_way if task.done()]:
                under_way.remove(task)
                state = record(task.result())
            if wishes.done():
                for wish in wishes.result():
                    state = record(wish) if is_admissible(state, wish) else state
                wishes = group.create_task(inbox.wait())


class SwarmCoordinator:
    """Builds one spec with several agents.

    Args:
        project_dir: a folder in the user's repository.
        spec: the spec's name or number, such as `001`.
        max_workers: how many agents may work at once; 2 unless set here or in the settings.
        agent: which of the agents in the settings to use.
        model: the model, for agents that take one.
        settings: further values for the [run] table of the settings.
        on_update: called with every event and notice, from the loop that `run` runs in.

    Example:
        report = await SwarmCoordinator(".", "001", max_workers=3).run()
        assert report.finished
    """

    def __init__(
        self,
        project_dir: str | Path,
        spec: str,
        *,
        max_workers: int | None = None,
        agent: str | None = None,
        model: str | None = None,
        settings: Mapping[str, Any] | None = None,
        on_update: Listener | None = None,
    ) -> None:
        self._folder = Path(project_dir)
        self._wanted = spec
        self._flags = {
            "parallel": max_workers,
            "agent": agent,
            "model": model,
            **(settings or {}),
        }
        self._listener = on_update
        self._streams: list[asyncio.Queue[Update | None]] = []

    async def run(self) -> View:
        """Build the spec, or go on where an earlier run stopped; return how it ended.

        Raises:
            AutoBuildError: it cannot be begun or carried on; what was done is kept.
        """
        try:
            return await self._run()
        finally:
            for queue in self._streams:
                queue.put_nowait(None)
            self._streams.clear()

    async def _run(self) -> View:
        repo = await Repo.open(self._folder, Processes())
        workspace = Workspace(repo.project, repo.common_dir)
        settings = load_settings(repo.project, self._flags, os.environ)
        spec = workspace.require_spec(self._wanted)
        file = spec.load_plan(ordered_phases=settings.run.ordered_phases)
        name, chosen = settings.require_agent()
        with RunLock.acquire(workspace.state_dir, spec.name) as lock:
            processes = Processes(lock.lease)
            repo = replace(repo, processes=processes)
            agent = build_agent(
                name,
                chosen,
                project=repo.project,
                spec_dir=spec.folder,
                processes=processes,
            )
            await _require_working(agent)
            with Journal.open(workspace.state_dir, spec.name) as journal:
                session = _Session(
                    repo=repo,
                    worktrees=Worktrees(repo),
                    workspace=workspace,
                    spec=spec,
                    settings=settings,
                    agent=agent,
                    journal=journal,
                    writer=PlanWriter(spec.plan_path),
                    tell=self._tell,
                )
                return await session.run(file)

    async def status(self) -> View | None:
        """Return how the build stands, from its journal; None where it was never begun.

        Works while a run is going on, here or in another process, and after a crash.
        """
        repo = await Repo.open(self._folder, Processes())
        workspace = Workspace(repo.project, repo.common_dir)
        return load_view(workspace, workspace.require_spec(self._wanted).name)

    async def events(self) -> AsyncIterator[Update]:
        """Yield every update of `run` from now on; ends when the run ends, however it ends.

        A listener that falls 10,000 updates behind misses the oldest.
        """
        queue: asyncio.Queue[Update | None] = asyncio.Queue()
        self._streams.append(queue)
        while (update := await queue.get()) is not None:
            yield update

    def _tell(self, update: Update) -> None:
        if self._listener:
            self._listener(update)
        for queue in self._streams:
            if queue.qsize() >= _STREAM_LIMIT:
                queue.get_nowait()
            queue.put_nowait(update)


def load_view(workspace: Workspace, spec: str) -> View | None:
    """Return a build's view from its journal; None where it was never begun."""
    state, times = load_state(workspace, spec)
    return build_view(spec, state, times) if state else None


def load_state(workspace: Workspace, spec: str) -> tuple[RunState | None, Times]:
    """Fold a build's journal into its state and times."""
    journal = Journal.find(workspace.state_dir, spec)
    if journal is None:
        return None, Times()
    with journal:
        return _fold(journal.history())


def _fold(records: list[Record]) -> tuple[RunState | None, Times]:
    state: RunState | None = None
    times = Times()
    for record in records:
        state = step(state, record.event)
        times = times.seen(record.at, record.event)
    return state, times


async def _require_working(agent: Agent) -> None:
    problems = await agent.check()
    if problems:
        raise EnvironmentUnfit(
            "\n".join(problem.what for problem in problems),
            hint="; ".join(problem.hint for problem in problems),
        )


@dataclass(slots=True, kw_only=True)
class _Session:
    """One coordinator's time with a run: sets up, takes in what changed, drives, cleans up."""

    repo: Repo
    worktrees: Worktrees
    workspace: Workspace
    spec: Spec
    settings: Settings
    agent: Agent
    journal: Journal
    writer: PlanWriter
    tell: Listener
    state: RunState | None = None
    times: Times = field(default_factory=Times)
    sessions_left: int | None = None
    warned: str = ""

    async def run(self, file: PlanFile) -> View:
        """Take the build as far as it goes."""
        self.sessions_left = self.settings.run.max_iterations
        self.state, self.times = _fold(self.journal.history())
        engine = self._engine()
        await self._set_up(engine)
        await self._take_in(file)
        inbox = Inbox(self.workspace.state_dir, self.spec.name)
        for wish in inbox.take():
            if is_admissible(self._require_state(), wish):
                self.record(wish)
        async with self._opened(engine):
            await drive(
                self._require_state(),
                engine=engine,
                record=self.record,
                slots=self.settings.run.parallel,
                inbox=inbox,
            )
        return self.view()

    def view(self) -> View:
        """Return how things stand."""
        return build_view(self.spec.name, self._require_state(), self.times)

    def record(self, event: ev.Event) -> RunState:
        """Journal one event, show it, and return the state after it."""
        after = step(self.state, event)
        record = self.journal.append(event)
        self.state = after
        self.times = self.times.seen(record.at, event)
        state = self._require_state()
        self._write_plan(state)
        self.tell(Update(record, state, self.view()))
        if isinstance(event, ev.AttemptStarted | ev.RepairStarted):
            self._count_session()
        return self._require_state()

    def _count_session(self) -> None:
        if self.sessions_left is None:
            return
        self.sessions_left -= 1
        if self.sessions_left == 0:
            limit = self.settings.run.max_iterations
            self.record(ev.RunPaused(f"the limit of {limit} agent sessions is reached"))

    def _require_state(self) -> RunState:
        if self.state is None:
            raise AssertionError("the run was not begun")
        return self.state

    def _write_plan(self, state: RunState) -> None:
        warning = self.writer.write(plan_notes(state))
        if warning and warning != self.warned:
            self._say(warning, warning=True)
        self.warned = warning

    def _say(self, text: str, *, chunk: str = "", warning: bool = False) -> None:
        view = self.view() if self.state else None
        self.tell(Update(Notice(chunk, text, warning), self.state, view))

    def _engine(self) -> LocalEngine:
        run = self.settings.run
        logs = self.workspace.logs_dir(ref_part(self.spec.name))
        logs.mkdir(parents=True, exist_ok=True)
        environment = Environment(
            os.environ, self.settings.environment.passed, self.settings.environment.set
        )

        def notice(chunk: str, text: str) -> None:
            self._say(text, chunk=chunk)

        gate = Gate(
            repo=self.repo,
            worktrees=self.worktrees,
            environment=environment,
            spec=self.spec.name,
            checks=self.settings.gate.checks,
            limit_s=run.check_timeout_min * 60,
            logs=logs,
            notice=notice,
        )
        return LocalEngine(
            repo=self.repo,
            worktrees=self.worktrees,
            gate=gate,
            agent=self.agent,
            environment=environment,
            spec=self.spec.name,
            spec_text=self.spec.load_text(),
            model=run.model,
            agent_limit_s=run.agent_timeout_min * 60,
            logs=logs,
            notice=notice,
        )

    # --- before ------------------------------------------------------------------------------

    async def _set_up(self, engine: LocalEngine) -> None:
        """Make staging, and keep what a killed session left in its worktrees."""
        base = await self.repo.require_user_head()
        branch = branch_of(self.spec.name)
        await _require_room_for(self.repo, branch)
        for lock in self.worktrees.clear_locks():
            self._say(f"removed {lock}, left by a git that was killed")
        await self.worktrees.exclude()
        head = await self.repo.find_commit(branch)
        if head is None:
            head = base
            await self.repo.create_ref(branch, head)
        await self.worktrees.require_staging(branch)
        behind = await engine.gate.sync_view(head, head)
        if behind:
            self._say(f"the staging worktree is behind its branch: {behind}", warning=True)
        await self._salvage(engine)
        await self._say_what_agents_miss()

    async def _salvage(self, engine: LocalEngine) -> None:
        live = self.state.live if self.state else {}
        owners = {now.attempt.slot: (chunk, now) for chunk, now in live.items()}
        for slot in self.worktrees.slots():
            chunk, now = owners.get(slot, (ChunkId(f"worker-{slot}"), None))
            if now is not None and not isinstance(now, Running):
                continue  # its work is pinned already
            attempt = now.attempt.number if now else 0
            if kept := await engine.salvage(chunk, attempt, slot):
                self._say(f"unfinished work found in worker {slot} is kept as {kept}")

    async def _say_what_agents_miss(self) -> None:
        status = await self.repo.user_status()
        unsaved = [path for path in status.dirty if not path.startswith(SPECS)]
        if unsaved:
            shown = ", ".join(unsaved[:10]) + (" …" if len(unsaved) > 10 else "")
            self._say(
                f"agents start from the last commit and do not see {len(unsaved)} unsaved"
                f" file{'s' if len(unsaved) > 1 else ''}: {shown}",
                warning=True,
            )

    async def _take_in(self, file: PlanFile) -> None:
        """Record what the plan file and git say that the journal does not know."""
        branch = branch_of(self.spec.name)
        head = await self.repo.require_commit(branch)
        landings = await self.repo.landings(self.spec.name, head)
        landed = _latest(landings)
        attempts = _pinned_attempts(await self.repo.refs(pins_of(self.spec.name)), file.plan.chunks)
        for landing in landings:
            chunk = ChunkId(landing.chunk)
            attempts[chunk] = max(attempts.get(chunk, 0), landing.attempt)
        if self.state is None or self.state.discarded:
            base = await self.repo.merge_base(head, await self.repo.require_user_head()) or head
            known = {chunk: commit for chunk, commit in landed.items() if chunk in file.plan.chunks}
            news = begin(file, base=base, landed=known, attempts=attempts)
        else:
            present = await self._present(self.state, head, landed)
            news = take_in(self.state, file, landed=present, attempts=attempts)
        for event in news:
            if isinstance(event, ev.PlanChanged) and self.state:
                change = describe_change(self.state.plan, event.plan)
                self._say(f"the plan was edited: {change}")
            self.record(event)
        self._say_hints(file.hints)

    async def _present(
        self, state: RunState, head: Commit, landed: Mapping[ChunkId, str]
    ) -> dict[ChunkId, str]:
        """Return the landed chunks whose commits staging contains, those new to the plan too."""
        found = {chunk: commit for chunk, commit in landed.items() if chunk not in state.chunks}
        for chunk, now in state.chunks.items():
            if isinstance(now, Landed) and (
                state.merged or await self.repo.is_ancestor(Commit(now.commit), head)
            ):
                found[chunk] = now.commit
        return found

    def _say_hints(self, hints: tuple[Hint, ...]) -> None:
        for hint in hints:
            if "depends_on" in hint.what:
                self._say(hint.what, warning=True)

    # --- around -----------------------------------------------------------------------------------

    @asynccontextmanager
    async def _opened(self, engine: LocalEngine) -> AsyncIterator[None]:
        run = self.settings.run
        self.record(ev.SessionOpened(run.parallel, run.repair_rounds))
        try:
            yield
        except asyncio.CancelledError:
            await asyncio.shield(self._close(engine, ev.Ending.INTERRUPTED))
            raise
        except BaseExceptionGroup as group:
            known = group.subgroup((AutoBuildError, OSError))
            with suppress(AutoBuildError, OSError):  # the first failure is the one to tell
                await self._close(engine, ev.Ending.INTERRUPTED)
            if known is not None:
                raise _first(known) from group
            raise
        else:
            done = self.view().finished
            await self._close(engine, ev.Ending.DONE if done else ev.Ending.UNFINISHED)

    async def _close(self, engine: LocalEngine, ending: ev.Ending) -> None:
        """Keep what agents that were cut off have left, then give up the slots and the run."""
        for chunk, now in self._require_state().live.items():
            if isinstance(now, Running):
                await engine.salvage(chunk, now.attempt.number, now.attempt.slot)
        if not self.settings.run.keep_worktrees:
            for slot in self.worktrees.slots():
                await self.worktrees.remove(self.worktrees.slot_path(slot))
        self.record(ev.SessionClosed(ending))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _latest(landings: tuple[Landing, ...]) -> dict[ChunkId, str]:
    found: dict[ChunkId, str] = {}
    for landing in landings:  # newest first
        found.setdefault(ChunkId(landing.chunk), landing.commit)
    return found


def _pinned_attempts(
    refs: Mapping[str, Commit], chunks: Mapping[ChunkId, object]
) -> dict[ChunkId, int]:
    """Return the highest attempt number among the pins of each chunk."""
    by_part = {ref_part(chunk): chunk for chunk in chunks}
    found: dict[ChunkId, int] = {}
    for ref in refs:
        *_, part, attempt = ref.split("/")
        number = attempt.partition("-")[0]
        if part in by_part and number.isdigit():
            chunk = by_part[part]
            found[chunk] = max(found.get(chunk, 0), int(number))
    return found


async def _require_room_for(repo: Repo, branch: str) -> None:
    """Make sure that no branch of the user's keeps ours from being made."""
    parent = branch.rpartition("/")[0]
    if await repo.find_commit(parent):
        short = parent.removeprefix("refs/heads/")
        raise EnvironmentUnfit(
            f"a branch called {short!r} keeps git from making {branch.removeprefix('refs/heads/')}",
            hint=f"rename it: git branch -m {short} {short}-old",
        )
