"""Conversations with an agent that reads a repository and answers.

Invariant: the agent works in a worktree of its own, in which what it writes is undone and told; at
the end the worktree is gone. Only one such agent is at work in a repository at a time.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from auto_build.agents.base import (
    Agent,
    AgentEvent,
    Began,
    Denied,
    Doing,
    Earlier,
    Ended,
    Session,
    SessionSpec,
    Spent,
    Text,
)
from auto_build.containment.firewall import Firewall
from auto_build.core.document import Json
from auto_build.core.events import Outcome
from auto_build.core.usage import Usage
from auto_build.engine.conversation import Failure, Patience, converse
from auto_build.errors import EXIT_UNFINISHED, AutoBuildError, EnvironmentUnfit, RunLocked
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo, ref_part
from auto_build.git.worktree import Worktree, Worktrees
from auto_build.journal import RunLock, find_holder
from auto_build.planning.drafts import Author
from auto_build.policy.environment import Environment, Seat
from auto_build.policy.permission import judge
from auto_build.process import end_marked
from auto_build.workspace import Workspace

DRAFTING: Final = "drafting"  # the folder of the lock of those who draft
_NOTICE: Final = 200
_SHOWN: Final = 4


class NoDraft(AutoBuildError):
    """An agent was asked for a draft, and none came that can be used; nothing was written."""

    exit_code = EXIT_UNFINISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where an agent reads, and who it is; `say` and `warn` take what people should know of it."""

    repo: Repo
    workspace: Workspace
    agent: Agent
    environment: Environment
    model: str
    patience: Patience
    say: Callable[[str], None]
    warn: Callable[[str], None]

    @asynccontextmanager
    async def open(
        self, seat: Seat, schema: Mapping[str, Any], *, earlier: Author | None = None
    ) -> AsyncIterator["Reading"]:
        """Open a conversation; with `earlier`, the last one of that author goes on if it can.

        Raises:
            RunLocked: another agent is drafting in this repository.
            RepositoryUnfit: there is no commit yet, or something is in the way of the worktree.
        """
        worktrees = Worktrees(self.repo)
        # not the ceiling of a run: one that begins meanwhile would take ours for its leftovers
        ceiling = os.pathsep.join((worktrees.ceiling, str(self.workspace.state_dir)))
        with _alone(self.workspace, seat.spec, ceiling):
            head = await self.repo.require_user_head()
            await worktrees.exclude()
            worktree = await worktrees.require_planner(head)
            try:
                spec = self._session_spec(seat, schema, worktree, ceiling)
                if earlier:
                    spec = replace(spec, round=earlier.rounds, earlier=_last(earlier))
                session = await self.agent.start(spec)
                try:
                    before = earlier or Author(self.agent.name, self.model, 0)
                    yield Reading(self, session, worktree.path, head, spec.log, before)
                finally:
                    await session.close()
            finally:
                await asyncio.shield(worktrees.remove(worktree.path))

    def _session_spec(
        self, seat: Seat, schema: Mapping[str, Any], worktree: Worktree, ceiling: str
    ) -> SessionSpec:
        scratch = self.workspace.logs_dir(ref_part(seat.spec)) / "drafting"
        scratch.mkdir(parents=True, exist_ok=True)
        root = os.path.realpath(worktree.path)
        # not the folder of a run, which may be going on
        firewall = Firewall(self.workspace.state_dir / "planner-hooks", self.repo.common_dir)
        firewall.write()
        return SessionSpec(
            cwd=worktree.path,
            env=firewall.environment(
                self.environment.for_agent(seat, ceiling),
                git_dir=worktree.git_dir,
                worker=seat.worker,
            ),
            seat=seat,
            round=0,
            model=self.model,
            scratch=scratch,
            log=scratch / "agent.log",
            permit=lambda request: judge(request, root=root, read_only=True),
            read_only=True,
            schema=schema,
        )


class Reading:
    """One conversation: its answers, and what it uses up."""

    def __init__(
        self,
        desk: Desk,
        session: Session,
        folder: Path,
        head: Commit,
        log: Path,
        before: Author,
    ) -> None:
        self.folder = folder
        self.log = log
        self.rounds = 0
        self._head = head
        self._desk = desk
        self._session = session
        self._before = before
        self._usage = dict(before.usage)
        self._answer: Json = None

    @property
    def remembers(self) -> bool:
        """Whether the agent knows what was said to it before the next prompt."""
        return self._desk.agent.abilities.resumes if self.rounds else self._session.resumed

    @property
    def author(self) -> Author:
        """Who drafted, up to now."""
        return replace(
            self._before, rounds=self._before.rounds + self.rounds, usage=dict(self._usage)
        )

    async def ask(self, text: str) -> Json:
        """Prompt the agent and return its structured answer, None where it gave none.

        Raises:
            NoDraft: it did not come to its end, or asks something.
            EnvironmentUnfit: it cannot work.
        """
        self.rounds += 1
        self._answer = None
        patience = self._desk.patience
        failure = await converse(self._session, text, patience=patience, hear=self._hear)
        await self._undo()
        if failure is not None:
            raise _in_words(failure, self.log)
        return self._answer

    def _hear(self, event: AgentEvent) -> Failure | None:
        say = self._desk.say
        match event:
            case Text() | Doing():
                say(event.text[:_NOTICE])
            case Denied():
                say(f"not allowed: {event.text}: {event.why}"[:_NOTICE])
            case Began():
                self._usage.setdefault(event.session, Usage())
            case Spent():
                self._usage[event.session] = event.usage
            case Ended():
                self._answer = event.answer
        return None

    async def _undo(self) -> None:
        """Put the worktree back to what it was, and say what was written there."""
        worktrees = Worktrees(self._desk.repo)
        worktree = worktrees.find(self.folder)
        if worktree is None:
            wrote = ["over the whole worktree"]
        else:
            wrote = list((await worktrees.status(worktree)).dirty)
            if await worktrees.find_head(worktree) != self._head:
                wrote.append("a commit")
        if wrote:
            await worktrees.require_planner(self._head)
            shown = ", ".join(wrote[:_SHOWN]) + (" …" if len(wrote) > _SHOWN else "")
            self._desk.warn(f"the agent was to read only, and wrote {shown}: that is undone")


@contextmanager
def _alone(workspace: Workspace, spec: str, ceiling: str) -> Iterator[None]:
    """Hold the lock of those who draft, once nothing of an earlier one is alive."""
    folder = workspace.state_dir / DRAFTING

    def tidy() -> None:
        end_marked({"GIT_CEILING_DIRECTORIES": ceiling})

    try:
        lock = RunLock.acquire(folder, spec, tidy=tidy)
    except RunLocked as held:
        holder = find_holder(folder)
        if holder is None:
            raise
        raise RunLocked(
            f"an agent is drafting in this repository already: process {holder.pid} on"
            f" {holder.host}, for {holder.spec}",
            hint="wait until it is done, or stop it with Ctrl-C where it runs",
        ) from held
    with lock:
        yield


def _last(author: Author) -> Earlier | None:
    """Return an author's last conversation, to go on with."""
    if not author.usage:
        return None
    session = list(author.usage)[-1]
    return Earlier(session, author.usage[session])


# --- words ----------------------------------------------------------------------------------------

_WAYS_OUT: Final[Mapping[Outcome, str]] = MappingProxyType(
    {
        Outcome.NEEDS_INPUT: "answer it in the spec, or in HUMAN_INPUT.md beside it",
        Outcome.REFUSED: "word it otherwise, or try another model with --model",
        Outcome.MAX_TURNS: "allow the agent more turns in its settings, or ask for less at once",
        Outcome.BUDGET: "allow the agent to cost more, or ask for less at once",
        Outcome.CONTEXT_FULL: "ask for less at once: split the spec into several",
        Outcome.RATE_LIMIT: "wait until the limit is over",
        Outcome.OVERLOADED: "wait a few minutes",
        Outcome.IDLE: "look at {log}, or set a longer idle_timeout_min under [run]",
        Outcome.TIMEOUT: "look at {log}, or set a longer agent_timeout_min under [run]",
    }
)


def _in_words(failure: Failure, log: Path) -> AutoBuildError:
    """Return the error that tells how an agent failed to answer, and the way out."""
    if failure.outcome is Outcome.AUTH:
        return EnvironmentUnfit(
            f"the agent cannot work: {failure.why}",
            hint="log in again, or mend the agent's key (auto-build doctor); nothing was written",
        )
    if failure.outcome is Outcome.NEEDS_INPUT:
        fact = f"the agent asks: {failure.why}"
    else:
        fact = f"no draft came ({failure.outcome.value}): {failure.why}"
    if failure.reset_at is not None:
        fact += f" (until {_local(failure.reset_at)})"
    way = _WAYS_OUT.get(failure.outcome, "look at {log}").format(log=log)
    return NoDraft(fact, hint=f"{way}; then the same command again. Nothing was written")


def _local(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
