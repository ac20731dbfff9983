"""The coordinator: takes a plan through a run, from an empty journal or from where one stopped.

`drive` is the whole loop: decide, journal, act, journal. `SwarmCoordinator` sets the world up for
it and takes it down again, and is the Python API that the command line uses.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from auto_build.agents.base import Agent
from auto_build.agents.choose import agent_environment, build_agent, require_working
from auto_build.assembly import Site, assemble, review_rounds
from auto_build.containment.watch import Round
from auto_build.core import events as ev
from auto_build.core.commands import Effect, Withdraw
from auto_build.core.planfile import PlanFile
from auto_build.core.reconcile import describe_change, is_admissible
from auto_build.core.rounds import is_due, is_reviewable
from auto_build.core.scheduler import decide, next_wake, out_of_money
from auto_build.core.stack import pace
from auto_build.core.state import Running, RunState
from auto_build.core.transitions import step
from auto_build.core.view import Times, View, build_view
from auto_build.engine.base import Engine, Ledger
from auto_build.engine.local import LocalEngine
from auto_build.errors import AutoBuildError, EnvironmentUnfit, NotReady
from auto_build.gate.baseline import Baseline
from auto_build.gate.secrets import GET_IT, MISSING, find_program, is_missed
from auto_build.git.landing import branch_of
from auto_build.git.repo import Repo
from auto_build.git.worktree import Worktrees
from auto_build.groundwork import Groundwork
from auto_build.history import fold, load_view
from auto_build.holding import require_place
from auto_build.inbox import Inbox, NoteFile
from auto_build.journal import Journal, RunLock, now
from auto_build.machine import cores, free_mb, too_many
from auto_build.policy.environment import Environment
from auto_build.process import Processes, end_marked
from auto_build.prompts import Prompts
from auto_build.qa.papers import Papers
from auto_build.qa.rounds import Rounds
from auto_build.settings import Settings, load_settings
from auto_build.updates import Listener, Notice, Update
from auto_build.workspace import HUMAN_INPUT, Spec, Workspace

_STREAM_LIMIT: Final = 10_000
_SESSIONS: Final = (ev.AttemptStarted, ev.RepairStarted, ev.ResumeStarted, ev.ReviewStarted)
_MOST_AT_THE_GATE: Final = 4  # candidates checked at once, unless the settings say otherwise


async def drive(
    ledger: Ledger, *, engine: Engine, slots: int, inbox: Inbox, max_wait_s: float
) -> RunState:
    """Carry the run on until nothing can be done and nothing is under way.

    Args:
        ledger: where the run stands, and where what happens is recorded.
        engine: carries out what is decided.
        slots: how many chunks may be under way at once.
        inbox: people's wishes.
        max_wait_s: how long to wait while nobody is at work, for a usage limit to end.

    Raises:
        EnvironmentUnfit: no agent can work, as without a login.
    """
    async with asyncio.TaskGroup() as group:
        under_way: dict[asyncio.Task[ev.Event], Effect] = {}
        wishes = group.create_task(inbox.wait())
        while True:
            begun: list[Effect] = []
            if choice := pace(ledger.state, slots=slots):
                ledger.record(choice)
            while ready := decide(ledger.state, slots=slots, now=now()):
                first = ready[0]  # one by one: recording a start may pause the run
                if isinstance(first, Withdraw):
                    begun = [one for one in begun if one.chunk != first.chunk]
                    await _stop(under_way, first)
                else:
                    begun.append(first)
                ledger.record(first.started)  # before the effect: a crash must leave a trace
            for one in begun:
                under_way[group.create_task(engine.run(one, ledger.state))] = one
            _require_agents(ledger.state)
            pause_s = _pause_s(ledger, idle=not under_way, max_wait_s=max_wait_s)
            if not under_way and pause_s is None:
                wishes.cancel()
                return ledger.state
            await asyncio.wait(
                {*under_way, wishes}, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED
            )
            for task in [task for task in under_way if task.done()]:
                del under_way[task]
                ledger.record(task.result())
            if wishes.done():
                await _grant(wishes.result(), ledger, engine)
                wishes = group.create_task(inbox.wait())


async def _stop(under_way: dict[asyncio.Task[ev.Event], Effect], command: Withdraw) -> None:
    """Stop checking a candidate, and wait until its slot is free; what it came to is forgotten."""
    for task in [task for task, one in under_way.items() if one.chunk == command.chunk]:
        del under_way[task]
        task.cancel()
        await asyncio.wait({task})


def _pause_s(ledger: Ledger, *, idle: bool, max_wait_s: float) -> float | None:
    """Return the seconds after which there is something to do although nothing happens."""
    at = now()
    wake = next_wake(ledger.state, now=at)
    if wake is None:
        return None
    if idle and wake - at > max_wait_s:
        hours = max_wait_s / 3600
        ledger.record(ev.RunPaused(f"the limit lasts longer than max_wait_h = {hours:g} hours"))
        return None
    return max(wake - at, 0.0)


def _require_agents(state: RunState) -> None:
    if state.halt:
        raise EnvironmentUnfit(
            f"no agent can work: {state.halt}",
            hint="log in again, or mend the agent's key (auto-build doctor); then run the same"
            " command: it goes on where it stopped",
        )


async def _grant(wishes: Iterable[ev.Event], ledger: Ledger, engine: Engine) -> None:
    for wish in wishes:
        if is_admissible(ledger.state, wish):
            ledger.record(wish)
            if isinstance(wish, ev.Steered):
                await engine.steer(wish.to, wish.text)


class Reviews(StrEnum):
    """What becomes of the review rounds when all chunks have landed."""

    AS_SET = "as-set"  # as the settings and the journal say
    AGAIN = "again"
    SKIPPED = "skipped"


class SwarmCoordinator:
    """Builds one spec with several agents, and has it reviewed.

    Args:
        project_dir: a folder in the user's repository.
        spec: the spec's name or number, such as `001`.
        max_workers: how many agents may work at once; 2 unless set here or in the settings.
        agent: which of the agents in the settings to use.
        model: the model, for agents that take one.
        settings: further values for the [run] table of the settings.
        reviews: whether the finished build is reviewed, once more or not at all.
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
        reviews: Reviews = Reviews.AS_SET,
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
        self._reviews = reviews
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
        prompts = Prompts.load(repo.project)

        def tidy() -> None:
            if lost := end_marked({"GIT_CEILING_DIRECTORIES": Worktrees(repo).ceiling}):
                text = f"ended {lost} processes that an earlier run had left without a guard"
                self._tell(Update(Notice("", text), None, None))

        with RunLock.acquire(workspace.state_dir, spec.name, tidy=tidy) as lock:
            processes = Processes(lock.lease)
            repo = replace(repo, processes=processes)
            await require_place(repo, workspace, spec.name)
            agent = build_agent(
                name,
                chosen,
                project=repo.project,
                spec_dir=spec.folder,
                processes=processes,
            )
            environment = agent_environment(settings.environment, chosen, repo.project)
            await require_working(
                agent, environment, workspace.probe_dir(), settings.models_of_a_run
            )
            with Journal.open(workspace.state_dir, spec.name) as journal:
                session = _Session(
                    repo=repo,
                    worktrees=Worktrees(repo),
                    workspace=workspace,
                    spec=spec,
                    settings=settings,
                    agent=agent,
                    priced=chosen.price is not None,
                    need_mb=chosen.memory_mb or agent.abilities.memory_mb,
                    environment=environment,
                    prompts=prompts,
                    journal=journal,
                    papers=Papers.of(spec, workspace.state_dir, journal.history()),
                    reviews=self._reviews,
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


@dataclass(slots=True, kw_only=True)
class _Session:
    """One coordinator's time with a run: sets up, takes in what changed, drives, cleans up."""

    repo: Repo
    worktrees: Worktrees
    workspace: Workspace
    spec: Spec
    settings: Settings
    agent: Agent
    priced: bool
    need_mb: int
    environment: Environment
    prompts: Prompts
    journal: Journal
    papers: Papers
    reviews: Reviews
    tell: Listener
    current: RunState | None = None
    times: Times = field(default_factory=Times)
    sessions_left: int | None = None
    warned: str = ""

    async def run(self, file: PlanFile) -> View:
        """Take the build as far as it goes."""
        self.sessions_left = self.settings.run.max_iterations
        self.current, self.times = fold(self.journal.history())
        engine, baseline = self._assemble()
        await self._prepare(file)
        if self.reviews is Reviews.AGAIN and not is_reviewable(self.state):
            raise NotReady(
                f"not every chunk of {self.spec.name} has landed, so that there is nothing to"
                " review yet",
                hint=f"auto-build run {self.spec.name}",
            )
        inbox = Inbox(self.workspace.state_dir, self.spec.name, self._note_file())

        def hear() -> None:
            for wish in inbox.take():
                if is_admissible(self.state, wish):
                    self.record(wish)

        hear()
        run = self.settings.run

        async def build() -> RunState:
            await drive(
                self,
                engine=engine,
                slots=run.parallel,
                inbox=inbox,
                max_wait_s=run.max_wait_h * 3600,
            )
            if why := out_of_money(self.state, slots=run.parallel):
                self.record(ev.RunPaused(why))
            return self.state

        async with self._opened(engine):
            await self._measure(baseline)
            await engine.watch.take()
            await build()
            if rounds := self._rounds(engine, file, build, hear):
                await rounds.run(again=self.reviews is Reviews.AGAIN)
        return self.view()

    def _rounds(
        self,
        engine: LocalEngine,
        file: PlanFile,
        build: Callable[[], Awaitable[RunState]],
        hear: Callable[[], None],
    ) -> Rounds | None:
        """Return the review rounds of a build that is finished, unless nobody wants any."""
        if not is_reviewable(self.state) or self.state.paused:
            return None
        if self.reviews is Reviews.SKIPPED and not self.state.qa.skipped:
            self.record(ev.QaSkipped("asked for"))
        if not self._wants_reviews:
            return None
        return review_rounds(
            self._site,
            engine,
            ground=self._ground,
            drive=build,
            hear=hear,
            document=file.document,
        )

    @property
    def _wants_reviews(self) -> bool:
        if self.reviews is Reviews.AS_SET:
            return self.settings.qa.review
        return self.reviews is Reviews.AGAIN

    @property
    def state(self) -> RunState:
        """How things stand."""
        if self.current is None:
            raise AssertionError("the run was not begun")
        return self.current

    def _note_file(self) -> NoteFile:
        said = [note.text for note in self.state.notes if note.file]
        return NoteFile(self.spec.folder / HUMAN_INPUT, said[-1] if said else "")

    async def _prepare(self, file: PlanFile) -> None:
        """Make what the run stands on, and record what changed while nobody was watching."""
        warn = self._warn
        ground = self._ground
        await ground.lay(self.current)
        await ground.keep_leftovers(self.current)
        await ground.warn_of_unsaved()
        for event in await ground.find_news(self.current, file):
            if isinstance(event, ev.PlanChanged) and self.current:
                self._say(f"the plan was edited: {describe_change(self.current.plan, event.plan)}")
            self.record(event)
        for warning in self._doubts():
            warn(warning)
        for hint in file.hints:
            if hint.aloud:
                warn(hint.what)

    async def _measure(self, baseline: Baseline) -> None:
        """See how the suite stands before anybody is paid, if anything is left to be done."""
        head = await self.repo.require_commit(branch_of(self.spec.name))
        again = self.reviews is Reviews.AGAIN
        due = self._wants_reviews and is_due(self.state, head, again=again)
        if self.state.paused or (self.view().finished and not due):
            return
        self.record(await baseline.measure(self.state, head))

    def _doubts(self) -> Iterator[str]:
        """Yield what may go wrong with the agents, as far as it can be told before."""
        yield from self.prompts.outdated
        if is_missed(self.settings.containment.secrets, find_program()):
            yield f"{MISSING} ({GET_IT})"
        run = self.settings.run
        if crowded := too_many(run.parallel, self.need_mb, free_mb()):
            yield crowded
        bounded = run.max_cost is not None or run.max_chunk_cost is not None
        if bounded and not (self.priced or self.agent.abilities.reports_cost):
            yield (
                f"agent {self.agent.name!r} does not say what it costs, so that no budget can hold"
                f" it: give it a price under [agents.{self.agent.name}] in auto-build.toml"
            )

    def view(self) -> View:
        """Return how things stand, as screens show it."""
        return build_view(self.spec.name, self.state, self.times)

    def record(self, event: ev.Event) -> RunState:
        """Journal one event, show it, and return the state after it."""
        after = step(self.current, event)
        record = self.journal.append(event)
        self.current = after
        self.times = self.times.seen(record.at, event)
        self.papers.seen(record, self.state)
        self._write_plan(self.state)
        self.tell(Update(record, self.state, self.view()))
        if isinstance(event, _SESSIONS):
            self._count_session()
        return self.state

    def _count_session(self) -> None:
        if self.sessions_left is None:
            return
        self.sessions_left -= 1
        if self.sessions_left == 0:
            limit = self.settings.run.max_iterations
            self.record(ev.RunPaused(f"the limit of {limit} agent sessions is reached"))

    def _write_plan(self, state: RunState) -> None:
        warning = self.papers.write(state)
        if warning and warning != self.warned:
            self._say(warning, warning=True)
        self.warned = warning

    def _say(self, text: str, *, chunk: str = "", warning: bool = False) -> None:
        view = self.view() if self.current else None
        self.tell(Update(Notice(chunk, text, warning), self.current, view))

    def _assemble(self) -> tuple[LocalEngine, Baseline]:
        def notice(chunk: str, text: str) -> None:
            self._say(text, chunk=chunk)

        return assemble(self._site, self.agent, ledger=self, notice=notice, warn=self._warn)

    @property
    def _site(self) -> Site:
        return Site(
            repo=self.repo,
            worktrees=self.worktrees,
            workspace=self.workspace,
            spec=self.spec,
            settings=self.settings,
            environment=self.environment,
            prompts=self.prompts,
        )

    @property
    def _ground(self) -> Groundwork:
        most = self.settings.containment.most_file_bytes
        return Groundwork(self.repo, self.worktrees, self.spec.name, self._say, self._warn, most)

    def _warn(self, text: str) -> None:
        self._say(text, warning=True)

    @asynccontextmanager
    async def _opened(self, engine: LocalEngine) -> AsyncIterator[None]:
        run = self.settings.run
        self.record(
            ev.SessionOpened(
                slots=run.parallel,
                repair_rounds=run.repair_rounds,
                retries=run.retries,
                max_cost=run.max_cost,
                chunk_cost=run.max_chunk_cost,
                window=self.settings.gate.window or min(cores(), _MOST_AT_THE_GATE),
            )
        )
        try:
            yield
        except asyncio.CancelledError:
            await asyncio.shield(self._close(engine, ev.Ending.INTERRUPTED))
            raise
        except AutoBuildError:
            await self._close(engine, ev.Ending.UNFINISHED)
            raise
        except BaseExceptionGroup as group:
            known = group.subgroup((AutoBuildError, OSError))
            with suppress(AutoBuildError, OSError):  # the first failure is the one to tell
                await self._close(engine, ev.Ending.INTERRUPTED)
            if known is not None:
                raise _first(known) from group
            raise
        else:
            done = self.view().complete
            await self._close(engine, ev.Ending.DONE if done else ev.Ending.UNFINISHED)

    async def _close(self, engine: LocalEngine, ending: ev.Ending) -> None:
        """Keep what agents that were cut off have left, then give up the slots and the run."""
        for chunk, one in self.state.live.items():
            if isinstance(one, Running):
                await engine.salvage(chunk, one.attempt.number, one.attempt.slot)
        await self._look_outside(engine)
        await self._ground.take_back_staging()
        if not self.settings.run.keep_worktrees:
            for slot in self.worktrees.slots():
                await self.worktrees.remove(self.worktrees.slot_path(slot))
        self.record(ev.SessionClosed(ending))

    async def _look_outside(self, engine: LocalEngine) -> None:
        """See for the last time what was done on the user's side."""
        running = [chunk for chunk, one in self.state.live.items() if isinstance(one, Running)]
        try:
            await engine.watch.close(Round(chunks=tuple(running), folder=engine.logs))
        except AutoBuildError as error:
            self._say(f"your checkout could not be looked at: {error}", warning=True)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
