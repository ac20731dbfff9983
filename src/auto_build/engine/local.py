"""Carries out commands on this machine: worktrees, agents, and the gate.

Invariant: whatever an agent made is pinned before the event that tells of it is returned, and
before its worktree is used again.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final, assert_never

from auto_build.agents.base import (
    Agent,
    Began,
    Denied,
    Doing,
    Ended,
    SessionSpec,
    Spent,
    Stop,
    Text,
)
from auto_build.core import commands as cmd
from auto_build.core import events as ev
from auto_build.core.plan import Chunk, ChunkId, VerificationKind
from auto_build.core.state import Landed, Running, RunState, SetAside
from auto_build.errors import StagingMoved
from auto_build.gate import Gate, Notice
from auto_build.git.landing import (
    Captured,
    CaptureRefused,
    Label,
    capture,
    keep_whole,
    partial,
    pin_of,
    salvage,
)
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo, ref_part
from auto_build.git.worktree import Worktree, Worktrees
from auto_build.policy.environment import Environment, Seat
from auto_build.prompts import render_conflict_note, render_implement, render_repair

_NOTICE_LIMIT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEngine:
    """One build's engine. `agent_limit_s` bounds each agent session, in seconds."""

    repo: Repo
    worktrees: Worktrees
    gate: Gate
    agent: Agent
    environment: Environment
    spec: str
    spec_text: str
    model: str
    agent_limit_s: float
    logs: Path
    notice: Notice

    async def run(self, command: cmd.Command, state: RunState) -> ev.Event:
        """Carry out a command."""
        match command:
            case cmd.StartAttempt():
                return await self._attempt(command, state)
            case cmd.Repair():
                return await self._repair(command, state)
            case cmd.Gate():
                return await self.gate.check(command, state.plan.chunks[command.chunk])
            case cmd.Land():
                return await self.gate.land(command)
            case _:
                assert_never(command)

    # --- agents ----------------------------------------------------------------------------------

    async def _attempt(self, command: cmd.StartAttempt, state: RunState) -> ev.Event:
        chunk = state.plan.chunks[command.chunk]
        head = await self.repo.require_commit(self.gate.branch)
        pin = pin_of(self.spec, chunk.id, command.attempt)
        if done := await self.repo.find_commit(pin):  # a crash fell between pin and journal
            base = await self.repo.merge_base(done, head) or head
            touched = tuple(entry.path for entry in await self.repo.touched(base, done))
            return ev.WorkCaptured(chunk.id, base, done, pin, touched)
        await self._require_dependencies(chunk, head, state)
        prompt = render_implement(
            chunk,
            spec=self.spec,
            spec_text=self.spec_text,
            held=[(other, state.held(other)) for other in state.live if other != command.chunk],
            checks=self.gate.checks,
            before=self._before(command, state),
        )
        slot = await self.worktrees.require_slot(command.slot, head)
        return await self._work(
            _Task(chunk, command.attempt, 0, slot, command.slot, head, head, prompt)
        )

    async def _repair(self, command: cmd.Repair, state: RunState) -> ev.Event:
        chunk = state.plan.chunks[command.chunk]
        start, head = Commit(command.commit), Commit(command.head)
        prompt = render_repair(
            chunk, feedback=command.feedback, round_=command.round, rounds=state.repair_rounds
        )
        slot = await self.worktrees.require_slot(command.slot, start)
        return await self._work(
            _Task(chunk, command.attempt, command.round, slot, command.slot, head, start, prompt)
        )

    async def _work(self, task: "_Task") -> ev.Event:
        """Let an agent work on a task, and take what it leaves."""
        begun = monotonic()
        failure = await self._prompt(task)
        seconds = round(monotonic() - begun, 3)
        label = Label(self.spec, task.chunk.id, task.attempt, task.chunk.title)
        taken = await capture(self.repo, task.slot, task.base, label)
        if isinstance(taken, CaptureRefused):
            kept = await keep_whole(self.worktrees, task.slot, label)
            why = f"{taken.why}; its files are kept in {kept}" if kept else taken.why
            return ev.AttemptEnded(task.chunk.id, ev.Outcome.CAPTURE_FAILED, why, seconds)
        if failure is not None:
            return await self._failed(task, taken, *failure, seconds)
        if await self._changed_nothing(task, taken):
            why = "the agent ended without changing anything"
            return ev.AttemptEnded(task.chunk.id, ev.Outcome.NO_CHANGE, why, seconds)
        suffix = f"-repair-{task.round}" if task.round else ""
        pin = pin_of(self.spec, task.chunk.id, task.attempt, suffix)
        await self.repo.create_ref(pin, taken.commit)
        return ev.WorkCaptured(task.chunk.id, taken.base, taken.commit, pin, taken.touched, seconds)

    async def _prompt(self, task: "_Task") -> tuple[ev.Outcome, str] | None:
        """Run one agent session; return how it failed, or None where it says it is done."""
        seat = Seat(self.spec, task.chunk.id, task.attempt, task.number)
        scratch = self.logs / ref_part(task.chunk.id) / str(task.attempt)
        scratch.mkdir(parents=True, exist_ok=True)
        spec = SessionSpec(
            cwd=task.slot.path,
            env=self.environment.for_agent(seat, self.worktrees.ceiling),
            seat=seat,
            round=task.round,
            model=self.model,
            scratch=scratch,
            log=scratch / "agent.log",
        )
        session = await self.agent.start(spec)
        stream = session.prompt(task.prompt)
        ended = Ended(stop=Stop.CRASHED, detail="it stopped without a word")
        limit = asyncio.timeout(self.agent_limit_s)
        try:
            async with limit:
                async for event in stream:
                    match event:
                        case Ended():
                            ended = event
                        case Doing() | Text() | Denied():
                            self.notice(task.chunk.id, event.text[:_NOTICE_LIMIT])
                        case Began() | Spent():
                            pass
        except TimeoutError as crash:
            if limit.expired():
                minutes = self.agent_limit_s / 60
                return ev.Outcome.TIMEOUT, f"stopped after its time limit of {minutes:g} min"
            return ev.Outcome.CRASHED, f"TimeoutError: {crash}"
        except Exception as crash:  # noqa: BLE001 - an agent's own crash is an outcome, not ours
            return ev.Outcome.CRASHED, f"{type(crash).__name__}: {crash}"
        finally:
            await stream.aclose()
            await session.close()
        match ended.stop:
            case Stop.DONE:
                return None
            case Stop.ERROR:
                return ev.Outcome.AGENT_ERROR, ended.detail
            case _:
                return ev.Outcome.CRASHED, ended.detail

    async def _failed(
        self, task: "_Task", taken: Captured, outcome: ev.Outcome, why: str, seconds: float
    ) -> ev.AttemptEnded:
        if not taken.touched:
            return ev.AttemptEnded(task.chunk.id, outcome, f"{why}; it left no work", seconds)
        pin = pin_of(self.spec, task.chunk.id, task.attempt, partial(taken.commit))
        await self.repo.create_ref(pin, taken.commit)
        return ev.AttemptEnded(
            task.chunk.id, outcome, f"{why}; what it left is kept as {pin}", seconds
        )

    async def _changed_nothing(self, task: "_Task", taken: Captured) -> bool:
        if task.round:
            return await self.repo.tree_of(taken.commit) == await self.repo.tree_of(task.start)
        judged = task.chunk.verification.kind is VerificationKind.COMMAND
        return not taken.touched and not (judged and not task.chunk.claims)

    async def _require_dependencies(self, chunk: Chunk, head: Commit, state: RunState) -> None:
        """Make sure that what the chunk builds on really is in what it starts from."""
        for one in sorted(state.plan.needs[chunk.id]):
            now = state.chunks[one]
            if isinstance(now, Landed) and not await self.repo.is_ancestor(
                Commit(now.commit), head
            ):
                raise StagingMoved(
                    f"staging no longer contains {now.commit[:10]}, where chunk {one} landed",
                    hint=f"bring it back (git branch -f to a commit that has it), or set {one} back"
                    " to pending in the plan file to have it done again",
                )

    def _before(self, command: cmd.StartAttempt, state: RunState) -> str:
        now = state.chunks[command.chunk]
        if isinstance(now, Running) and isinstance(now.aside, SetAside):
            pin = pin_of(self.spec, command.chunk, now.aside.attempts)
            return render_conflict_note(now.aside.paths, pin)
        return ""

    # --- what a dead coordinator or a stopped agent left ---------------------------------------

    async def salvage(self, chunk: ChunkId, attempt: int, number: int) -> str:
        """Keep what lies in a slot's worktree; return where, if there was anything."""
        onto = await self.repo.require_commit(self.gate.branch)
        return await salvage(self.worktrees, number, Label(self.spec, chunk, attempt), onto)


@dataclass(frozen=True, slots=True)
class _Task:
    """One prompt to an agent: work on `start` in a slot; what it does is measured from `base`."""

    chunk: Chunk
    attempt: int
    round: int
    slot: Worktree
    number: int
    base: Commit
    start: Commit
    prompt: str
