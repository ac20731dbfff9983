"""The gate: from pinned work to a commit on staging. The sole writer of the staging branch.

A candidate is merged off-tree onto staging's head, checked on exactly that tree in the worker's
worktree, and lands by a compare-and-swap of one ref. That it is meant to land is journaled between
the two (`CandidatePassed`), so that a crash never lands anything twice or unseen.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from auto_build.checks import explain, run_check
from auto_build.core import commands as cmd
from auto_build.core import events as ev
from auto_build.core.plan import Chunk, VerificationKind
from auto_build.git.landing import (
    Candidate,
    Label,
    branch_of,
    build_candidate,
    onto_head,
    rejected_of,
)
from auto_build.git.parse import Commit
from auto_build.git.repo import Conflict, Repo
from auto_build.git.worktree import Worktrees
from auto_build.policy.environment import Environment, Seat
from auto_build.policy.paths import forbidden

Notice = Callable[[str, str], None]  # chunk, what is being done


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Checks candidates of one build and lands them.

    `checks` are the project's own commands, `limit_s` the seconds that each command may take.
    """

    repo: Repo
    worktrees: Worktrees
    environment: Environment
    spec: str
    checks: tuple[str, ...]
    limit_s: float
    logs: Path
    notice: Notice

    @property
    def branch(self) -> str:
        """The staging branch, by its full name."""
        return branch_of(self.spec)

    async def check(
        self, command: cmd.Gate, chunk: Chunk
    ) -> ev.CandidatePassed | ev.CandidateRejected | ev.CandidateConflicted:
        """Build a chunk's candidate and run its checks."""
        label = Label(self.spec, chunk.id, command.attempt, chunk.title)
        head = await self.repo.require_commit(self.branch)
        work = Commit(command.commit)
        built = await build_candidate(self.repo, head, Commit(command.base), work, label)
        if isinstance(built, Conflict):
            return ev.CandidateConflicted(chunk.id, head, built.paths)
        if ours := forbidden(entry.path for entry in await self.repo.touched(head, built.commit)):
            why = f"The work changes {', '.join(ours)}, which only the coordinator writes: undo it."
            return await self._reject(chunk, built, work, label, why, ())
        results: list[ev.CheckResult] = []
        async for result in self._run(chunk, command, built):
            results.append(result)
            if not result.passed:
                return await self._reject(
                    chunk, built, work, label, explain(result), tuple(results)
                )
        return ev.CandidatePassed(
            chunk=chunk.id,
            candidate=built.commit,
            head=head,
            checks=tuple(results),
            unverified=_unverified(chunk, results),
            replayed=built.replayed,
        )

    async def land(self, command: cmd.Land) -> ev.CandidateLanded | ev.LandingVoided:
        """Move staging to a green candidate, unless it is there already or was moved meanwhile."""
        candidate, head = Commit(command.candidate), Commit(command.head)
        now = await self.repo.require_commit(self.branch)
        if await self.repo.find_commit(candidate) is None:  # it is in no ref: git gc may take it
            return ev.LandingVoided(command.chunk, now)
        if not await self.repo.is_ancestor(candidate, now):
            why = f"auto-build: land {command.chunk}"
            if not await self.repo.swap_ref(self.branch, candidate, head, why):
                now = await self.repo.require_commit(self.branch)
                return ev.LandingVoided(command.chunk, now)
            now = candidate
        return ev.CandidateLanded(command.chunk, candidate, await self.sync_view(head, now))

    async def sync_view(self, old: Commit, new: Commit) -> str:
        """Show staging's head in its worktree; return why it stays behind, if it does."""
        staging = self.worktrees.find(self.worktrees.staging_path)
        if staging is None:
            return "the staging worktree is gone; the branch is not"
        return await self.worktrees.sync_view(staging, old, new)

    async def _run(
        self, chunk: Chunk, command: cmd.Gate, candidate: Candidate
    ) -> AsyncIterator[ev.CheckResult]:
        own = chunk.verification
        lines = [(line, "", None) for line in self.checks if line != own.command]
        todo: list[tuple[str, str, float | None]] = list(lines)
        if own.kind is VerificationKind.COMMAND:
            todo.insert(0, (own.command, own.expected, own.timeout_s))
        if not todo:
            return
        slot = await self.worktrees.require_slot(command.slot, candidate.commit)
        seat = Seat(self.spec, chunk.id, command.attempt, command.slot)
        env = self.environment.for_check(seat, self.worktrees.ceiling)
        for line, expected, timeout_s in todo:
            self.notice(chunk.id, f"$ {line}")
            yield await run_check(
                self.repo.processes,
                line,
                cwd=slot.path,
                env=env,
                limit_s=timeout_s or self.limit_s,
                expected=expected,
                log=self.logs / "gate.log",
            )

    async def _reject(
        self,
        chunk: Chunk,
        candidate: Candidate,
        work: Commit,
        label: Label,
        feedback: str,
        results: tuple[ev.CheckResult, ...],
    ) -> ev.CandidateRejected:
        commit = await onto_head(self.repo, candidate, work, label)
        await self.repo.create_ref(rejected_of(self.spec, chunk.id), commit)
        return ev.CandidateRejected(
            chunk=chunk.id,
            candidate=candidate.commit,
            head=candidate.head,
            commit=commit,
            feedback=feedback,
            checks=results,
        )


def _unverified(chunk: Chunk, results: list[ev.CheckResult]) -> str:
    own = chunk.verification
    if own.kind not in {VerificationKind.COMMAND, VerificationKind.NONE}:
        return f"{own.kind.value}: {own.instructions}"
    if not results:
        return "no command was run: the chunk names none and [gate] checks is empty"
    return ""
