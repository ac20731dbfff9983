"""Carries out commands on this machine: worktrees, agents, and the gate.

Invariant: whatever an agent made is pinned before the event that tells of it is returned, and
before its worktree is used again.
"""

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Final, assert_never

from auto_build.agents.base import (
    Agent,
    AgentEvent,
    Began,
    Denied,
    Doing,
    Earlier,
    Ended,
    Limits,
    Session,
    SessionSpec,
    Spent,
    Text,
)
from auto_build.agents.words import find_dropped
from auto_build.containment.watch import Round, Watch
from auto_build.core import commands as cmd
from auto_build.core import events as ev
from auto_build.core.outcomes import NEXT, Step
from auto_build.core.plan import Chunk, ChunkId, VerificationKind
from auto_build.core.state import Landed, Running, RunState
from auto_build.core.usage import Usage
from auto_build.engine.base import Ledger
from auto_build.engine.briefing import Brief, Briefing
from auto_build.engine.conversation import Failure, Patience, converse
from auto_build.engine.pauses import Pauses
from auto_build.errors import StagingMoved
from auto_build.gate.gate import Gate
from auto_build.gate.trials import Notice
from auto_build.git.landing import (
    Captured,
    CaptureRefused,
    Label,
    capture,
    find_partial,
    keep_whole,
    partial,
    pin_of,
    resolved,
    salvage,
)
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo, ref_part
from auto_build.git.worktree import Worktree
from auto_build.policy.environment import Seat
from auto_build.policy.permission import Allow, ClaimMode, Decision, Request, judge
from auto_build.slots import Slots

_NOTICE_LIMIT: Final = 200
_MOST_SAID: Final = 200  # the last texts of an agent, in which statements are looked for
_SAID_LIMIT: Final = 20_000  # characters of each
_MOST_SIDES: Final = 5  # landed chunks whose work an agent is shown that does not fit its own
_PATCH_LIMIT: Final = 12_000  # characters of each patch


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEngine:
    """One build's engine; `clock` gives the seconds since the epoch."""

    repo: Repo
    slots: Slots
    gate: Gate
    agent: Agent
    ledger: Ledger
    briefing: Briefing
    spec: str
    model: str
    repair_model: str
    patience: Patience
    pauses: Pauses
    claims: ClaimMode
    clock: Callable[[], float]
    logs: Path
    notice: Notice
    most_file_bytes: int
    watch: Watch
    talking: dict[ChunkId, Session] = field(default_factory=dict)

    async def run(self, command: cmd.Effect, state: RunState) -> ev.Event:
        """Carry out a command."""
        match command:
            case cmd.StartAttempt():
                return await self._attempt(command, state)
            case cmd.Repair():
                return await self._repair(command, state)
            case cmd.Resume():
                return await self._resume(command, state)
            case cmd.Gate():
                return await self.gate.check(command, state)
            case cmd.Land():
                return await self.gate.land(command, state)
            case _:
                assert_never(command)

    async def steer(self, chunk: ChunkId | None, text: str) -> None:
        """Tell agents something while they work; the others read it with their next prompt."""
        for one, session in tuple(self.talking.items()):
            if chunk in {None, one} and await session.steer(text):
                self.notice(one, f"was told: {text}"[:_NOTICE_LIMIT])

    # --- agents ----------------------------------------------------------------------------------

    async def _attempt(self, command: cmd.StartAttempt, state: RunState) -> ev.Event:
        chunk = state.plan.chunks[command.chunk]
        head = await self.repo.require_commit(self.gate.branch)
        if done := await self._find_done(chunk.id, command.attempt, head):
            return done
        await self._require_dependencies(chunk, head, state)
        now = state.chunks[chunk.id]
        aside = now.aside if isinstance(now, Running) else None
        return await self._work(
            _Task(
                chunk=chunk,
                attempt=command.attempt,
                slot=await self.slots.require(self._seat(command), head),
                seat=self._seat(command),
                base=head,
                start=head,
                brief=self.briefing.attempt(command, state),
                budget=command.budget,
                session=aside.session if aside else "",
            )
        )

    async def _repair(self, command: cmd.Repair, state: RunState) -> ev.Event:
        start = Commit(command.commit)
        return await self._work(
            _Task(
                chunk=state.plan.chunks[command.chunk],
                attempt=command.attempt,
                round=command.round,
                slot=await self.slots.require_for_agent(self._seat(command), start),
                seat=self._seat(command),
                base=Commit(command.head),
                start=start,
                brief=self.briefing.repair(command, state, await self._sides(command.chunk, state)),
                budget=command.budget,
                session=_session_of(state, command.chunk),
                merges=_in_conflict(state, command.chunk),
            )
        )

    async def _sides(self, own: ChunkId, state: RunState) -> list[tuple[ChunkId, str]]:
        """Return who did what, as patches, where a work does not go together with others'."""
        now = state.chunks[own]
        if not isinstance(now, Running) or not now.rejected:
            return []
        if not now.attempt.culprits and not now.rejected.conflict:
            return []
        work = now.rejected.work
        spans = [(own, work.base, work.commit)]
        for chunk in now.attempt.culprits[:_MOST_SIDES]:
            one = state.chunks.get(chunk)
            if isinstance(one, Landed):
                spans.append((chunk, f"{one.commit}^1", one.commit))
        return [
            (chunk, await self.repo.diff(Commit(old), Commit(new), most=_PATCH_LIMIT))
            for chunk, old, new in spans
        ]

    async def _resume(self, command: cmd.Resume, state: RunState) -> ev.Event:
        """Let an agent go on, in a worktree that holds what it had done, committed."""
        chunk = state.plan.chunks[command.chunk]
        head = await self.repo.require_commit(self.gate.branch)
        if not command.round and (done := await self._find_done(chunk.id, command.attempt, head)):
            return done
        now = state.chunks[chunk.id]
        rejected = now.rejected if isinstance(now, Running) else None
        base = Commit(rejected.head if rejected else command.base or head)
        start = Commit(rejected.commit) if rejected else base
        so_far = Commit(command.commit) if command.commit else await self._left(command, start)
        return await self._work(
            _Task(
                chunk=chunk,
                attempt=command.attempt,
                round=command.round,
                slot=await self.slots.require_for_agent(self._seat(command), so_far),
                seat=self._seat(command),
                base=base,
                start=start,
                brief=self.briefing.resume(command, state, await self._sides(command.chunk, state)),
                budget=command.budget,
                session=_session_of(state, command.chunk),
                merges=_in_conflict(state, command.chunk),
            )
        )

    def _seat(self, command: cmd.StartAttempt | cmd.Repair | cmd.Resume) -> Seat:
        return self.slots.seat(command.slot, command.chunk, command.attempt)

    async def _left(self, command: cmd.Resume, start: Commit) -> Commit:
        """Return what was kept of an attempt whose coordinator was killed; its start otherwise."""
        kept = await find_partial(self.repo, self.spec, command.chunk, command.attempt)
        return kept if kept and await self.repo.is_ancestor(start, kept) else start

    async def _find_done(
        self, chunk: ChunkId, attempt: int, head: Commit
    ) -> ev.WorkCaptured | None:
        """Return work that is pinned already: a crash fell between pin and journal."""
        pin = pin_of(self.spec, chunk, attempt)
        done = await self.repo.find_commit(pin)
        if done is None:
            return None
        base = await self.repo.merge_base(done, head) or head
        touched = tuple(entry.path for entry in await self.repo.touched(base, done))
        return ev.WorkCaptured(chunk, base, done, pin, touched)

    async def _work(self, task: "_Task") -> ev.Event:
        """Let an agent work on a task, and take what it leaves."""
        begun = monotonic()
        said: deque[str] = deque(maxlen=_MOST_SAID)
        failure = await self._talk(task, said)
        dropped = find_dropped("\n".join(said))
        seconds = round(monotonic() - begun, 3)
        await self._look_outside(task)
        label = Label(self.spec, task.chunk.id, task.attempt, task.chunk.title)
        taken = await capture(
            self.repo, task.slot, task.base, label, most_bytes=self.most_file_bytes
        )
        if isinstance(taken, CaptureRefused):
            kept = await keep_whole(self.slots.worktrees, task.slot, label)
            self.watch.expect_gone(task.seat.worker)
            why = f"{taken.why}; its files are kept in {kept}" if kept else taken.why
            return ev.AttemptEnded(task.chunk.id, ev.Outcome.CAPTURE_FAILED, why, seconds)
        speaks = dropped and self._is_resolving(task)
        if failure is None and not speaks and await self._changed_nothing(task, taken):
            why = "the agent ended without changing anything"
            return ev.AttemptEnded(task.chunk.id, ev.Outcome.NO_CHANGE, why, seconds)
        if failure is not None:
            return await self._failed(task, taken, failure, seconds)
        if task.merges:
            taken = await resolved(self.repo, taken, task.merges, label)
        suffix = f"-repair-{task.round}" if task.round else ""
        pin = pin_of(self.spec, task.chunk.id, task.attempt, suffix)
        await self.repo.create_ref(pin, taken.commit)
        return ev.WorkCaptured(
            chunk=task.chunk.id,
            base=taken.base,
            commit=taken.commit,
            pin=pin,
            touched=taken.touched,
            seconds=seconds,
            dropped=dropped,
        )

    async def _look_outside(self, task: "_Task") -> None:
        """See what was done on the user's side; every agent that is at work may have done it."""
        live = self.ledger.state.live
        at_work = {live[one].attempt.slot: one for one in self.talking if one in live}
        await self.watch.check(
            Round(
                chunks=(task.chunk.id, *at_work.values()),
                folder=self._scratch(task),
                owners=at_work,
                slot=task.seat.worker,
            )
        )

    def _scratch(self, task: "_Task") -> Path:
        """Return the folder of an attempt, where what it leaves for people to read is kept."""
        return self.logs / ref_part(task.chunk.id) / str(task.attempt)

    async def _talk(self, task: "_Task", said: deque[str]) -> Failure | None:
        """Run one prompt; return how it failed, or None where the agent says it is done.

        What it says is added to `said`.
        """
        chunk = task.chunk.id
        session = await self.agent.start(self._session_spec(task))
        self.talking[chunk] = session
        try:
            return await converse(
                session,
                task.brief.for_agent(resumed=session.resumed),
                patience=self.patience,
                hear=lambda event: self._hear(task, event, said),
            )
        finally:
            del self.talking[chunk]
            await session.close()

    def _session_spec(self, task: "_Task") -> SessionSpec:
        scratch = self._scratch(task)
        scratch.mkdir(parents=True, exist_ok=True)
        used = self.ledger.state.usage.get(task.chunk.id, {}).get(task.session, Usage())
        return SessionSpec(
            cwd=task.slot.path,
            env=self.slots.for_agent(task.seat),
            seat=task.seat,
            round=task.round,
            model=self.repair_model if task.round else self.model,
            scratch=scratch,
            log=scratch / "agent.log",
            permit=lambda request: self._permit(task, request),
            limits=Limits(cost_usd=task.budget),
            earlier=Earlier(task.session, used) if task.session else None,
        )

    def _permit(self, task: "_Task", request: Request) -> Decision:
        """Answer an agent that asks, by what holds at this moment."""
        state = self.ledger.state
        chunk = task.chunk.id
        decision = judge(
            request,
            root=os.path.realpath(task.slot.path),
            held=[(other, state.held(other)) for other in state.live if other != chunk],
            own=state.held(chunk),
            mode=self.claims,
        )
        if isinstance(decision, Allow):
            self._take(task, decision)
        return decision

    def _take(self, task: "_Task", decision: Allow) -> None:
        """Claim what an agent is about to write, before it does."""
        if decision.warning:
            self.notice(task.chunk.id, decision.warning)
        for path in decision.takes:
            if self.ledger.state.free_claim(task.chunk.id, path):
                self.ledger.record(ev.ClaimTaken(task.chunk.id, path))

    def _hear(self, task: "_Task", event: AgentEvent, said: deque[str]) -> Failure | None:
        """Take in one event of an agent's; say whether it has to stop."""
        chunk = task.chunk.id
        match event:
            case Text():
                said.append(event.text[:_SAID_LIMIT])
                self.notice(chunk, event.text[:_NOTICE_LIMIT])
            case Doing():
                self.notice(chunk, event.text[:_NOTICE_LIMIT])
            case Denied():
                self.notice(chunk, f"not allowed: {event.text}: {event.why}"[:_NOTICE_LIMIT])
            case Began():
                self.ledger.record(ev.ConversationBegan(chunk, event.session, task.base))
            case Spent():
                self.ledger.record(ev.UsageReported(chunk, event.session, event.usage))
                return self._overspent(task)
            case Ended():
                pass
        return None

    def _overspent(self, task: "_Task") -> Failure | None:
        state = self.ledger.state
        now = state.chunks[task.chunk.id]
        if task.budget is None or not isinstance(now, Running):
            return None
        spent = state.cost_of(task.chunk.id) - now.attempt.before
        if spent < task.budget:
            return None
        why = f"it has spent ${spent:.2f} of the ${task.budget:.2f} that it may"
        return Failure(ev.Outcome.BUDGET, why)

    async def _failed(
        self, task: "_Task", taken: Captured, failure: Failure, seconds: float
    ) -> ev.AttemptEnded:
        pin = ""
        if taken.touched:
            pin = pin_of(self.spec, task.chunk.id, task.attempt, partial(taken.commit))
            await self.repo.create_ref(pin, taken.commit)
        return ev.AttemptEnded(
            chunk=task.chunk.id,
            outcome=failure.outcome,
            detail=failure.why if pin else f"{failure.why}; it left no work",
            seconds=seconds,
            pin=pin,
            base=taken.base,
            commit=taken.commit,
            until=self._until(task, failure),
        )

    def _until(self, task: "_Task", failure: Failure) -> float:
        """Return when trying again may be of use, in seconds since the epoch."""
        if failure.reset_at is not None:
            return failure.reset_at
        now = self.ledger.state.chunks[task.chunk.id]
        before = now.attempt.backoffs if isinstance(now, Running) else 0
        match NEXT[failure.outcome]:
            case Step.WAIT:
                return self.clock() + self.pauses.for_limit(before + 1)
            case Step.BACK_OFF:
                return self.clock() + self.pauses.for_overload(before + 1)
            case _:
                return 0.0

    def _is_resolving(self, task: "_Task") -> bool:
        """Say whether an agent's word on what it left out is asked for, and enough."""
        now = self.ledger.state.chunks[task.chunk.id]
        clash = now.attempt.clash if isinstance(now, Running) else None
        return clash is not None and not clash.settled

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

    # --- what a dead coordinator or a stopped agent left ---------------------------------------

    async def salvage(self, chunk: ChunkId, attempt: int, number: int) -> str:
        """Keep what lies in a slot's worktree; return where, if there was anything."""
        onto = await self.repo.require_commit(self.gate.branch)
        label = Label(self.spec, chunk, attempt)
        worktrees, most = self.slots.worktrees, self.most_file_bytes
        return await salvage(worktrees, number, label, onto, most_bytes=most)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One prompt to an agent in a slot.

    What it does is measured from `base`; a repair must change `start`. It may spend `budget` US
    dollars, and goes on with the conversation `session` where there is one. Where it resolves a
    conflict, it merges its own earlier work, `merges`.
    """

    chunk: Chunk
    attempt: int
    slot: Worktree
    seat: Seat
    base: Commit
    start: Commit
    brief: Brief
    round: int = 0
    budget: float | None = None
    session: str = ""
    merges: Commit | None = None


def _in_conflict(state: RunState, chunk: ChunkId) -> Commit | None:
    """Return the work that its agent is asked to bring together with what has landed, if it is."""
    now = state.chunks[chunk]
    rejected = now.rejected if isinstance(now, Running) else None
    return Commit(rejected.work.commit) if rejected and rejected.conflict else None


def _session_of(state: RunState, chunk: ChunkId) -> str:
    now = state.chunks[chunk]
    return now.attempt.session if isinstance(now, Running) else ""
