"""What a run stands on: staging, what earlier runs left, and what git and the plan file say.

Everything here can be done again at any time; nothing is removed that is not kept elsewhere first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auto_build.core.events import (
    Event,
    MergeVoided,
    RevisionLanded,
    RevisionVoided,
    RunMerged,
    RunUnparked,
)
from auto_build.core.evidence import Landings, Signed
from auto_build.core.plan import ChunkId
from auto_build.core.planfile import PlanFile
from auto_build.core.reconcile import begin, take_in
from auto_build.core.state import STAGING_SLOT, Landed, Running, RunState
from auto_build.core.transitions import apply
from auto_build.errors import EnvironmentUnfit, UsageProblem
from auto_build.git.evidence import base_of, find_squashed, holds, mend_pins, read_signed
from auto_build.git.landing import Label, branch_of, find_parked, forget_parked, pins_of, salvage
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo, ref_part
from auto_build.git.user import UserGit
from auto_build.git.worktree import FOLDER, Worktree, Worktrees
from auto_build.policy.paths import SPECS
from auto_build.policy.tree import MOST_FILE_BYTES

_SHOWN: Final = 10
DETACHED: Final = "HEAD (detached)"  # as the name of a branch, for people


@dataclass(frozen=True, slots=True)
class Groundwork:
    """Prepares one build's repository; `say` and `warn` take what people should know of it."""

    repo: Repo
    worktrees: Worktrees
    spec: str
    say: Callable[[str], None]
    warn: Callable[[str], None]
    most_file_bytes: int = MOST_FILE_BYTES

    @property
    def branch(self) -> str:
        """The staging branch, by its full name."""
        return branch_of(self.spec)

    async def lay(self, state: RunState | None) -> None:
        """Make staging where there is none, and bring its worktree up to date.

        A branch that somebody deleted, or merged and took back, is made again where it was. Of a
        build that is parked, what was unsaved in the worktree is put back.

        Raises:
            RepositoryUnfit: another build is there, or something else is in the way.
        """
        base = await self.repo.require_user_head()
        if state and (back := await take_back_half(self.repo, state)):
            self.say(f"put back what a merge that was cut off had written: {', '.join(back)}")
        await self._require_room()
        for lock in self.worktrees.clear_locks():
            self.say(f"removed {lock}, left by a git that was killed")
        await self.worktrees.exclude()
        head = await self.repo.find_commit(self.branch)
        if head is None:
            head = await self._last_head(state, base)
            if head == base:
                await self.repo.create_ref(base_of(self.spec), base)
            await self.repo.create_ref(self.branch, head)
        staging = await self.worktrees.require_staging(self.branch)
        if behind := await self.worktrees.sync_view(staging, head, head):
            self.warn(f"the staging worktree is behind its branch: {behind}")
        if is_parked(state):
            await self._put_back(staging, head)

    async def _put_back(self, staging: Worktree, head: Commit) -> None:
        """Put back what was unsaved when the build was parked, where nothing else is there now."""
        parked = await find_parked(self.repo, self.spec)
        if parked is None or await self.repo.is_ancestor(parked[1], head):
            return  # nothing was unsaved
        pin, commit = parked
        clean = not (await self.worktrees.status(staging)).dirty
        if clean and await self.repo.merge_base(commit, head) == head:
            await self.worktrees.overlay(staging, head, commit)
            paths = [entry.path for entry in await self.repo.touched(head, commit)]
            self.say(f"what was unsaved in staging is there again: {', '.join(paths[:_SHOWN])}")
        else:
            self.warn(
                f"what was unsaved in staging is kept as {pin}; it comes back with:"
                f" git -C '{staging.path}' cherry-pick --no-commit {pin}"
            )
        await forget_parked(self.repo, self.spec, head)

    async def _last_head(self, state: RunState | None, base: Commit) -> Commit:
        """Return where staging begins: what landed last, unless the user's branch has it."""
        if state is None or state.discarded or not state.head:
            return base
        last = await self.repo.find_commit(state.head)
        if last is None or await holds(self.repo, self.spec, base, last):
            return base
        self.warn(f"the staging branch was gone; it is made again at {last[:10]}, what landed last")
        return last

    async def keep_leftovers(self, state: RunState | None) -> None:
        """Keep what agents that were cut off left in the worker slots."""
        onto = await self.repo.require_commit(self.branch)
        live = state.live if state else {}
        owners = {now.attempt.slot: (chunk, now) for chunk, now in live.items()}
        lent = (STAGING_SLOT,) if self._has_lent else ()
        for slot in (*self.worktrees.slots(), *lent):
            ours = self.worktrees.find_owner(slot) in {"", self.spec}
            nobody = (ChunkId(f"worker-{slot}"), None)
            chunk, now = owners.get(slot, nobody) if ours else nobody
            if now is not None and not isinstance(now, Running):
                continue  # its work is pinned already
            label = Label(self.spec, chunk, now.attempt.number if now else 0)
            most = self.most_file_bytes
            if kept := await salvage(self.worktrees, slot, label, onto, most_bytes=most):
                self.say(f"unfinished work found in worker {slot} is kept as {kept}")
        if lent:
            await self.worktrees.take_back_staging(self.branch)

    @property
    def _has_lent(self) -> bool:
        """Say whether the staging worktree is lent, and was this build's when it was."""
        return self.worktrees.find_lender() == self.branch

    async def staging_is_free(self) -> bool:
        """Say whether the staging worktree shows its branch, and nobody has changed it there."""
        staging = self.worktrees.find(self.worktrees.staging_path)
        if staging is None or self.worktrees.is_lent():
            return False
        status = await self.worktrees.status(staging)
        shown = status.branch == self.branch.removeprefix("refs/heads/")
        return shown and not status.dirty

    async def take_back_staging(self, whose: str = "staging") -> str:
        """Have a staging worktree that was lent show its branch again; return what was kept of it.

        That is the pin of what `whose` agent left there, or nothing.
        """
        if not self._has_lent:
            return ""
        onto = await self.repo.require_commit(self.branch)
        label, most = Label(self.spec, whose, 0), self.most_file_bytes
        kept = await salvage(self.worktrees, STAGING_SLOT, label, onto, most_bytes=most)
        await self.worktrees.take_back_staging(self.branch)
        return kept

    async def warn_of_unsaved(self) -> None:
        """Say which of the user's unsaved files agents will not see."""
        status = await self.repo.user_status()
        unsaved = [path for path in status.dirty if not path.startswith(SPECS)]
        if unsaved:
            shown = ", ".join(unsaved[:_SHOWN]) + (" …" if len(unsaved) > _SHOWN else "")
            self.warn(
                f"agents start from the last commit and do not see {len(unsaved)} unsaved"
                f" file{'s' if len(unsaved) > 1 else ''}: {shown}"
            )

    async def find_attempts(self, chunks: Iterable[ChunkId]) -> dict[ChunkId, int]:
        """Return the highest attempt number that was landed or pinned under each chunk's name."""
        head = await self.repo.require_commit(self.branch)
        landings = await read_signed(self.repo, self.spec, head)
        return _highest(landings, await self.repo.refs(pins_of(self.spec)), chunks)

    async def find_news(self, state: RunState | None, file: PlanFile) -> tuple[Event, ...]:
        """Return the events that say what the plan file and git know and the journal does not."""
        head = await self.repo.require_commit(self.branch)
        landings = await read_signed(self.repo, self.spec, head)
        found = Landings.read(landings)
        landed, undone = _last(found.standing), _last(found.undone)
        attempts = _highest(landings, await self.repo.refs(pins_of(self.spec)), file.plan.chunks)
        _require_own_names(state, file)
        if state is None or state.discarded:
            base = await self.repo.merge_base(head, await self.repo.require_user_head()) or head
            known, gone = (
                {chunk: commit for chunk, commit in found.items() if chunk in file.plan.chunks}
                for found in (landed, undone)
            )
            await mend_pins(self.repo, self.spec, {**known, **gone}.items())
            return begin(file, base=base, landed=known, attempts=attempts, undone=gone)
        settled: list[Event] = [*await find_settled(self.repo, self.branch, state)]
        if is_parked(state):
            settled.append(RunUnparked())  # it has its worktree again
        for event in settled:
            state = apply(state, event)
        present = await self._present(state, head, landed)
        gone = {chunk: commit for chunk, commit in undone.items() if chunk not in state.chunks}
        await mend_pins(self.repo, self.spec, {**undone, **present}.items())
        news = take_in(state, file, landed=present, attempts=attempts, undone=gone)
        return (*settled, *news)

    async def _present(
        self, state: RunState, head: Commit, landed: Mapping[ChunkId, str]
    ) -> dict[ChunkId, Commit]:
        """Return the landed chunks whose commits staging contains, those new to the plan too."""
        found = {
            chunk: Commit(commit) for chunk, commit in landed.items() if chunk not in state.chunks
        }
        merged = state.merged and Commit(state.merged.commit)
        is_merged = merged and await self.repo.is_ancestor(merged, head)
        heads = (head, *await find_squashed(self.repo, self.spec, head))
        for chunk, now in state.chunks.items():
            if not isinstance(now, Landed):
                continue
            commit = Commit(now.commit)
            if is_merged or any([await self.repo.is_ancestor(commit, one) for one in heads]):
                found[chunk] = commit
        return found

    async def _require_room(self) -> None:
        """Make sure that no branch of the user's keeps ours from being made."""
        parent = self.branch.rpartition("/")[0]
        if await self.repo.find_commit(parent):
            short, ours = (one.removeprefix("refs/heads/") for one in (parent, self.branch))
            raise EnvironmentUnfit(
                f"a branch called {short!r} keeps git from making {ours}",
                hint=f"rename it: git branch -m {short} {short}-old",
            )


def is_parked(state: RunState | None) -> bool:
    """Say whether a build was put aside, and was not thrown away since."""
    return state is not None and state.parked and not state.discarded


async def find_settled(repo: Repo, branch: str, state: RunState) -> tuple[Event, ...]:
    """Return what became of an undo, a redo or a merge that was meant when somebody was killed."""
    return (*await _find_revised(repo, branch, state), *await _find_merged(repo, state))


async def take_back_half(repo: Repo, state: RunState) -> tuple[str, ...]:
    """Put back what a merge had written whose git was ended before it moved the user's branch."""
    meant = state.merging
    if meant is None or not await repo.has_object(meant.commit):
        return ()
    was = Commit(meant.was)
    branch = (await repo.user_status()).branch or ""
    if branch != meant.branch or await repo.require_user_head() != was:
        return ()
    return await UserGit(repo).take_back(was, await repo.changes(was, meant.commit))


async def _find_merged(repo: Repo, state: RunState) -> tuple[RunMerged | MergeVoided, ...]:
    """Return whether a merge that was meant has come about, by where the user's branch is."""
    meant = state.merging
    if meant is None:
        return ()
    wanted = f"refs/heads/{meant.branch}" if meant.branch else None
    theirs = [one for one in await Worktrees(repo).listed() if Path(one.path).parent.name != FOLDER]
    heads = [one.head for one in theirs if one.branch == wanted]
    if wanted and (head := await repo.find_commit(wanted)):
        heads.append(head)
    for one in heads:
        if await repo.is_ancestor(Commit(meant.commit), Commit(one)):
            return (RunMerged(meant.branch or DETACHED, meant.commit, meant.was),)
    return (MergeVoided("it was cut off before your branch was moved"),)


async def _find_revised(
    repo: Repo, branch: str, state: RunState
) -> tuple[RevisionLanded | RevisionVoided, ...]:
    head = await repo.find_commit(branch)
    if state.revision is None or head is None:
        return ()
    if await repo.is_ancestor(Commit(state.revision.candidate), head):
        return (RevisionLanded(),)
    return (RevisionVoided(head),)


def _require_own_names(state: RunState | None, file: PlanFile) -> None:
    """See that no chunk of the plan file has the name of one that mends a finding."""
    if state is None or state.discarded:
        return
    mending = {chunk.id for phase in state.plan.phases if phase.round for chunk in phase.chunks}
    if both := sorted(mending & file.plan.chunks.keys()):
        raise UsageProblem(
            f"{', '.join(both)} in the plan has the name of a chunk that mends a finding",
            hint="give it another id in the plan file",
        )


def _last(landings: Mapping[str, Sequence[Signed]]) -> dict[ChunkId, Commit]:
    return {
        ChunkId(chunk): Commit(several[-1].commit) for chunk, several in landings.items() if several
    }


def _highest(
    landings: Iterable[Signed], pins: Iterable[str], chunks: Iterable[ChunkId]
) -> dict[ChunkId, int]:
    """Return the highest attempt number that each chunk was landed or pinned with."""
    by_part = {ref_part(chunk): chunk for chunk in chunks}
    used = [(ChunkId(one.chunk), one.number) for one in landings if one.chunk]
    for pin in pins:
        *_, part, attempt = pin.split("/")
        plain = attempt.partition("-")[0]
        if part in by_part and plain.isdigit():
            used.append((by_part[part], int(plain)))
    found: dict[ChunkId, int] = {}
    for chunk, number in used:
        found[chunk] = max(found.get(chunk, 0), number)
    return found
