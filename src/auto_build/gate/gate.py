"""The gate: from pinned work to a commit on staging. During a run, the sole writer of staging.

A candidate is merged off-tree onto staging's head, or onto the one that is to land before it. It
must pass its own verification, the project's checks and the verifications of all that landed, each
on exactly its tree, in the worker's worktree; then it lands by a compare-and-swap of one ref. That
it is meant to land is journaled between the two (`CandidatePassed`), so that a crash never lands
anything twice or unseen.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from auto_build.checks import explain
from auto_build.core import commands as cmd
from auto_build.core import events as ev
from auto_build.core.claims import Claim, covers
from auto_build.core.evidence import write_note
from auto_build.core.plan import Chunk, ChunkId, VerificationKind
from auto_build.core.state import Gating, Landed, Landing, Passed, RunState
from auto_build.core.suite import Check, suite
from auto_build.core.verdict import FEW, MANY, combine
from auto_build.errors import EnvironmentUnfit
from auto_build.gate.blame import Blame, Case
from auto_build.gate.conflicts import Conflicts
from auto_build.gate.entrance import Entrance, Seen
from auto_build.gate.losses import Complete, Incomplete, Losses
from auto_build.gate.trials import Trials
from auto_build.git.evidence import keep_notes, pin_landed, read_trailers
from auto_build.git.landing import (
    Candidate,
    Label,
    branch_of,
    build_candidate,
    flatten,
    onto_head,
    rejected_of,
)
from auto_build.git.parse import Commit
from auto_build.git.repo import Conflict, Repo
from auto_build.git.worktree import Worktrees
from auto_build.policy.environment import Seat
from auto_build.policy.paths import forbidden
from auto_build.policy.permission import ClaimMode

Verdict = ev.CandidatePassed | ev.CandidateDoubted | ev.CandidateRejected | ev.CandidateConflicted


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Checks candidates of one build and lands them.

    `checks` are the project's own commands; `record` journals what happens on the way.
    """

    repo: Repo
    worktrees: Worktrees
    trials: Trials
    blame: Blame
    conflicts: Conflicts
    losses: Losses
    entrance: Entrance
    record: Callable[[ev.Event], object]
    spec: str
    checks: tuple[str, ...]
    claims: ClaimMode

    @property
    def branch(self) -> str:
        """The staging branch, by its full name."""
        return branch_of(self.spec)

    async def check(self, command: cmd.Gate, state: RunState) -> Verdict:
        """Build a chunk's candidate and run its checks."""
        chunk = state.plan.chunks[command.chunk]
        label = Label(self.spec, chunk.id, command.attempt, chunk.title)
        head = Commit(command.onto) if command.onto else await self.repo.require_commit(self.branch)
        work = Commit(command.commit)
        built = await build_candidate(self.repo, head, Commit(command.base), work, label)
        if isinstance(built, Conflict):
            if command.ahead:
                where = ", ".join(built.paths)
                return ev.CandidateDoubted(chunk.id, f"in conflict with it in {where}")
            return await self.conflicts.describe(command, state, head, built)
        touched = [entry.path for entry in await self.repo.touched(head, built.commit)]
        seen = Seen(self._refusal(touched, chunk.claims))
        if not seen.refusal:
            seen = await self.entrance.look(built)
        found = await self.losses.find(_gating(state, chunk.id), built)
        lost = found if isinstance(found, Incomplete) else Incomplete("", ())
        if seen.detour:
            built = await flatten(self.repo, built, work, label)
        self.record(ev.CandidateBuilt(chunk.id, built.commit, head))
        if why := seen.refusal or lost.why:
            if command.ahead:  # with a work in it that may not land
                return ev.CandidateDoubted(chunk.id, why)
            rejected = await self._reject(command, built, label, why, ())
            return replace(rejected, lost=() if seen.refusal else lost.paths)
        verdict = await self._examine(command, state, built, label)
        if isinstance(verdict, ev.CandidatePassed) and isinstance(found, Complete):
            return replace(verdict, dropped=found.dropped)
        return verdict

    async def land(
        self, command: cmd.Land, state: RunState
    ) -> ev.CandidateLanded | ev.LandingVoided:
        """Move staging to a green candidate, unless it is there already or was moved meanwhile.

        What its checks came to is noted before that, and its landing pinned after it.
        """
        candidate, head = Commit(command.candidate), Commit(command.head)
        now = await self.repo.require_commit(self.branch)
        if await self.repo.find_commit(candidate) is None:  # it is in no ref: git gc may take it
            return ev.LandingVoided(command.chunk, now)
        if not await self._is_own(command.chunk, candidate):
            return ev.LandingVoided(command.chunk, now)
        if not await self.repo.is_ancestor(candidate, now):
            if command.begun:
                return ev.LandingVoided(command.chunk, now)
            await self._note(command.chunk, candidate, state)
            why = f"auto-build: land {command.chunk}"
            if not await self.repo.swap_ref(self.branch, candidate, head, why):
                now = await self.repo.require_commit(self.branch)
                return ev.LandingVoided(command.chunk, now)
            now = candidate
        await pin_landed(self.repo, self.spec, command.chunk, candidate)
        return ev.CandidateLanded(command.chunk, candidate, await self.sync_view(head, now))

    async def _is_own(self, chunk: ChunkId, candidate: Commit) -> bool:
        """Say whether a candidate is of this build: no spec's work lands on another's branch."""
        signed = await read_trailers(self.repo, candidate)
        return (signed.spec, signed.chunk) == (self.spec, chunk)

    async def _note(self, chunk: ChunkId, candidate: Commit, state: RunState) -> None:
        landing = state.chunks[chunk]
        checks = landing.passed.checks if isinstance(landing, Landing) else ()
        note = write_note(await self.repo.tree_of(candidate), checks)
        await keep_notes(self.repo, self.spec, {candidate: note})

    async def sync_view(self, old: Commit, new: Commit) -> str:
        """Show staging's head in its worktree; return why it stays behind, if it does."""
        staging = self.worktrees.find(self.worktrees.staging_path)
        if staging is None:
            return "the staging worktree is gone; the branch is not"
        return await self.worktrees.sync_view(staging, old, new)

    # --- checking --------------------------------------------------------------------------------

    def _refusal(self, touched: Sequence[str], claims: Sequence[Claim]) -> str:
        """Say which paths a work changes that no work may change; empty where there are none."""
        if ours := forbidden(touched):
            return (
                f"The work changes {', '.join(ours)}, which only the coordinator writes: undo it."
            )
        beyond = [path for path in touched if not any(covers(one, path) for one in claims)]
        if claims and beyond and self.claims is ClaimMode.STRICT:
            return (
                f"The work changes {', '.join(beyond)}, which the chunk does not claim: undo that,"
                " and say at the end what is left to do there."
            )
        lent = self.trials.slots.lent(touched)
        if lent:
            return (
                f"The work commits {', '.join(lent)}, which is the user's own and was only lent to"
                " this worktree: take it out of your commits (git rm --cached)."
            )
        return ""

    async def _examine(
        self, command: cmd.Gate, state: RunState, built: Candidate, label: Label
    ) -> Verdict:
        """Run the whole suite on a candidate, up to the first check that is held against it."""
        chunk = state.plan.chunks[command.chunk]
        seat = self.trials.slots.seat(command.slot, chunk.id, command.attempt)
        results: list[ev.CheckResult] = []
        if failed := await self.trials.set_up(built.commit, seat):
            if command.ahead:
                return ev.CandidateDoubted(chunk.id, failed.note, (failed,))
            return await self._reject(command, built, label, explain(failed), (failed,))
        for check in suite(state.plan, self.checks, _below(state, command), chunk.id):
            result = await self._judge(check, state, built, seat, command.runs)
            results.append(result)
            if not result.passed and command.ahead:
                why = f"red: $ {check.command} ({result.note})"
                return ev.CandidateDoubted(chunk.id, why, tuple(results))
            if not result.passed:
                return await self._refuse(command, state, built, label, check, results)
        return ev.CandidatePassed(
            chunk=chunk.id,
            candidate=built.commit,
            head=built.head,
            checks=tuple(results),
            unverified=self._unverified(chunk, results),
            replayed=built.replayed,
        )

    async def _refuse(
        self,
        command: cmd.Gate,
        state: RunState,
        built: Candidate,
        label: Label,
        check: Check,
        results: Sequence[ev.CheckResult],
    ) -> ev.CandidateRejected:
        """Reject a candidate for a red check, having found out with whose work it is red."""
        case = Case(
            check=check,
            result=results[-1],
            before=state.gate.standing.get(check.key),
            base=Commit(command.base),
            work=Commit(command.commit),
            head=built.head,
            seat=self.trials.slots.seat(command.slot, command.chunk, command.attempt),
        )
        found = await self.blame.find(case)
        other = check.of if check.of and check.of != command.chunk else ""
        why = explain(results[-1], other)
        rejected = await self._reject(command, built, label, why, tuple(results))
        return replace(rejected, culprits=found.together, surely=found.minimal)

    async def _judge(
        self, check: Check, state: RunState, built: Candidate, seat: Seat, runs: int
    ) -> ev.CheckResult:
        """Return a check's verdict on a candidate, old failures forgiven."""
        before = state.gate.standing.get(check.key)
        result = await self.trials.examine(
            check,
            built.commit,
            seat,
            before=before,
            runs=runs,
            suspect=lambda: self.record(ev.CandidateSuspected(ChunkId(seat.chunk))),
        )
        if result.passed or runs == 1:  # stacked: it is looked at again when it is the lowest
            return result
        if before is None:
            return await self._forgive(check, result, built, seat)
        return await self._excuse(check, result, built, seat)

    async def _excuse(
        self, check: Check, result: ev.CheckResult, built: Candidate, seat: Seat
    ) -> ev.CheckResult:
        """Hold nothing against a candidate that fails in the same slot without it, too.

        A check can become red without anybody's work: a service that is down, a date, a file that
        git ignores and only one slot has. Where that leaves no test that tells anything, nothing
        can be judged any more.

        Raises:
            EnvironmentUnfit: the whole check is red without anybody's work.
        """
        runs = await self.trials.again(check, built.head, seat, runs=MANY)
        alone = combine([run.answer for run in runs])
        if alone.passed or not result.standing.is_no_worse_than(alone.standing):
            return result
        if alone.standing.whole:
            raise EnvironmentUnfit(
                f"$ {check.command} was green on staging's head and is red there now, in worker"
                f" {seat.worker}, without anybody's work:\n{runs[-1].note}\n{runs[-1].output}",
                hint="something that git does not know has changed: a service, an ignored file, the"
                " date. Mend it, and run the same command again: it goes on where it stopped",
            )
        where = f"it is red on staging's head, too, in worker {seat.worker}"
        self.trials.notice(seat.chunk, f"{where}: held against nobody ($ {check.command})")
        return replace(result, passed=True, note=f"{result.note}; {where}")

    async def _forgive(
        self, check: Check, result: ev.CheckResult, built: Candidate, seat: Seat
    ) -> ev.CheckResult:
        """Hold nothing against a chunk that failed before it, in the command that verifies it.

        That command is to fail before the work is done, so that old failures alone prove nothing:
        they are forgiven where more tests pass than before.
        """
        if result.whole:
            return result
        runs = await self.trials.again(check, built.head, seat, runs=FEW)
        old = combine([run.answer for run in runs]).standing
        passed = [run.answer.tests.passed for run in runs if run.answer.tests]
        if not passed or result.succeeded is None or result.succeeded <= max(passed):
            return result
        if old.whole or not result.standing.is_no_worse_than(old):
            return result
        note = (
            f"{len(result.failed)} tests failed before, too; {result.succeeded} pass, where"
            f" {max(passed)} did"
        )
        return replace(result, passed=True, note=note)

    def _unverified(self, chunk: Chunk, results: list[ev.CheckResult]) -> str:
        """Say what no command has checked, or has checked and found as red as before."""
        kind = chunk.verification.kind
        if kind not in {VerificationKind.COMMAND, VerificationKind.NONE}:
            return f"{kind.value}: {chunk.verification.instructions}"
        if kind is VerificationKind.NONE and not self.checks:
            return "no command was run: the chunk names none and [gate] checks is empty"
        old = [one for one in results if one.failed or one.whole]
        return "; ".join(f"$ {one.command}: {one.note}" for one in old)

    async def _reject(
        self,
        command: cmd.Gate,
        candidate: Candidate,
        label: Label,
        feedback: str,
        results: tuple[ev.CheckResult, ...],
    ) -> ev.CandidateRejected:
        commit = await onto_head(self.repo, candidate, Commit(command.commit), label)
        await self.repo.create_ref(rejected_of(self.spec, command.chunk), commit)
        return ev.CandidateRejected(
            chunk=command.chunk,
            candidate=candidate.commit,
            head=candidate.head,
            commit=commit,
            feedback=feedback,
            checks=results,
        )


def _gating(state: RunState, chunk: ChunkId) -> Gating:
    now = state.chunks[chunk]
    if not isinstance(now, Gating):
        raise TypeError(f"{chunk} is not at the gate: {now!r}")
    return now


def _below(state: RunState, command: cmd.Gate) -> Iterator[ChunkId]:
    """Yield the chunks that the candidate is built upon: those that landed, and those to land."""
    yield from (chunk for chunk, now in state.chunks.items() if isinstance(now, Landed))
    ahead = command.ahead
    while ahead is not None:
        yield ahead
        match state.chunks[ahead]:
            case Gating() | Passed() as now:
                ahead = now.ahead
            case Landing() as now:
                ahead = now.passed.ahead
            case _:
                ahead = None
