"""A work that does not merge, put before its agent: what is in conflict, and with whose work.

Nothing is decided here about what follows; the two sides are kept, and both are told of.
"""

from dataclasses import dataclass

from auto_build.core import commands as cmd
from auto_build.core import events as ev
from auto_build.core.plan import ChunkId
from auto_build.core.state import Landed, RunState
from auto_build.git.landing import Label, rejected_of, unresolved
from auto_build.git.parse import Commit
from auto_build.git.repo import Conflict, Repo


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Tells of the conflicts of one build."""

    repo: Repo
    spec: str

    async def describe(
        self, command: cmd.Gate, state: RunState, head: Commit, conflict: Conflict
    ) -> ev.CandidateConflicted:
        """Return a conflict as an event, with the half-made merge kept for the agent."""
        chunk, work = command.chunk, Commit(command.commit)
        if conflict.tree is None:
            return ev.CandidateConflicted(chunk, head, conflict.paths)
        label = Label(self.spec, chunk, command.attempt, state.plan.chunks[chunk].title)
        commit = await unresolved(self.repo, head, work, conflict.tree, label)
        await self.repo.create_ref(rejected_of(self.spec, chunk), commit)
        return ev.CandidateConflicted(
            chunk=chunk,
            head=head,
            paths=conflict.paths,
            commit=commit,
            feedback=_in_words(conflict, head, work),
            culprits=await self._others(state, Commit(command.base), head, conflict.paths),
        )

    async def _others(
        self, state: RunState, base: Commit, head: Commit, paths: tuple[str, ...]
    ) -> tuple[ChunkId, ...]:
        """Return who landed a change of these paths since the work was begun, the first first."""
        since = await self.repo.first_parents(base, head)
        landed = {now.commit: one for one, now in state.chunks.items() if isinstance(now, Landed)}
        found: list[ChunkId] = []
        for commit in since:
            if (chunk := landed.get(commit)) is None:
                continue
            touched = {entry.path for entry in await self.repo.touched(f"{commit}^1", commit)}
            if touched.intersection(paths):
                found.append(chunk)
        return tuple(found)


def _in_words(conflict: Conflict, head: Commit, work: Commit) -> str:
    """Return what git says, with the two sides called by what they are."""
    said = "\n".join(f"- {one}" for one in conflict.said)
    return said.replace(head, "what has landed").replace(work, "your work")
