"""What an undo or a redo comes to: which chunks, and the commits that staging would move to.

Invariant: it is built off-tree and is in no ref; nothing is changed by asking.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from auto_build.core import events as ev
from auto_build.core.conservation import describe
from auto_build.core.evidence import Landings, Signed
from auto_build.core.plan import ChunkId
from auto_build.core.revision import brought_back, missing, taken_out, under_way
from auto_build.core.state import Landed, Landing, Passed, RunState, Undone
from auto_build.core.transitions import apply
from auto_build.errors import NotReady, StagingMoved, UsageProblem
from auto_build.git.evidence import read_signed
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo
from auto_build.git.revising import Clash, Redone, bring_back, take_out


@dataclass(frozen=True, slots=True)
class Draft:
    """A revision that was built off-tree: where staging would go, and the landings it is about.

    `redone` are the commits that a redo consists of, the last of which is the candidate.
    """

    revision: ev.Revision
    head: Commit
    candidate: Commit
    landings: Mapping[ChunkId, str]
    redone: tuple[Redone, ...] = ()

    def meant(self, checks: tuple[ev.CheckResult, ...] = ()) -> ev.RevisionPassed:
        """Return the intent, with how the suite of what there would be stands."""
        return ev.RevisionPassed(self.revision, self.landings, self.candidate, self.head, checks)

    def applied(self, state: RunState) -> RunState:
        """Return how things would stand after it."""
        return apply(apply(state, self.meant()), ev.RevisionLanded())


@dataclass(frozen=True, slots=True)
class Drafts:
    """Builds undos and redos of one build."""

    repo: Repo
    spec: str

    def _known(self, state: RunState, wanted: Iterable[str]) -> tuple[ChunkId, ...]:
        """Return chunks that the plan has.

        Raises:
            UsageProblem: it lacks one of them.
        """
        for one in wanted:
            if one not in state.chunks:
                raise UsageProblem(
                    f"there is no chunk {one!r} in {self.spec}",
                    hint=f"there are: {', '.join(state.chunks)}",
                )
        return tuple(ChunkId(one) for one in wanted)

    async def draft(
        self, revision: ev.Revision, state: RunState, named: Sequence[str], head: Commit
    ) -> Draft:
        """Build an undo or redo of chunks, and of who belongs to them, on staging's `head`.

        Raises:
            UsageProblem: the plan has no such chunk.
            NotReady: it cannot be.
            StagingMoved: a landing is no longer in staging.
        """
        wanted = self._known(state, named)
        await self._require_settled(state, head)
        signed = await read_signed(self.repo, self.spec, head)
        if revision is ev.Revision.UNDO:
            return await self._undo(state, wanted, signed, head)
        return await self._redo(state, wanted, signed, head)

    async def _require_settled(self, state: RunState, head: Commit) -> None:
        """See that nothing is in staging of which the journal does not know."""
        for chunk, now in state.chunks.items():
            if isinstance(now, Passed | Landing) and await self.repo.is_ancestor(
                Commit(now.candidate), head
            ):
                raise NotReady(
                    f"the run was killed while chunk {chunk} landed",
                    hint=f"let it be taken note of first: auto-build run {self.spec}",
                )

    async def _undo(
        self,
        state: RunState,
        wanted: Sequence[ChunkId],
        signed: Sequence[Signed],
        head: Commit,
    ) -> Draft:
        for chunk in wanted:
            if not isinstance(state.chunks[chunk], Landed):
                raise NotReady(
                    f"chunk {chunk} has not landed, so there is nothing to undo",
                    hint=f"auto-build status {self.spec} shows what has",
                )
        chunks = taken_out(state, wanted)
        if busy := under_way(state, chunks):
            raise NotReady(
                f"chunk {', '.join(busy)} is under way and builds on what would be undone",
                hint=f"let it land or fail first: auto-build run {self.spec}",
            )
        landings = Landings.read(signed).standing
        gone = self._of(chunks, state, landings)
        stay = [one for several in landings.values() for one in several if one not in gone]
        latest_first = [one for one in signed if one in gone]
        built = await take_out(self.repo, self.spec, latest_first, stay, head)
        if isinstance(built, Clash):
            raise _in_the_way(
                f"{built.chunk} cannot be undone",
                built,
                hint="undo it, too: auto-build undo"
                f" {' '.join(dict.fromkeys((*wanted, *built.chunks)))}"
                if built.chunks
                else "what was done there by hand has to be undone by hand",
            )
        commits = {ChunkId(one.chunk): one.commit for one in gone}
        return Draft(ev.Revision.UNDO, head, built, commits)

    async def _redo(
        self,
        state: RunState,
        wanted: Sequence[ChunkId],
        signed: Sequence[Signed],
        head: Commit,
    ) -> Draft:
        for chunk in wanted:
            if not isinstance(state.chunks[chunk], Undone):
                raise NotReady(
                    f"chunk {chunk} was not undone, so there is nothing to redo",
                    hint=f"auto-build status {self.spec} shows what was",
                )
        chunks = brought_back(state, wanted)
        if lacking := missing(state, chunks):
            raise NotReady(
                f"what would come back needs {', '.join(lacking)}, which is not in staging",
                hint=f"let that land first: auto-build run {self.spec}",
            )
        landings = Landings.read(signed)
        back = self._of(chunks, state, landings.undone)
        titles = {chunk: state.plan.chunks[chunk].title for chunk in chunks}
        earliest_first = [one for one in reversed(signed) if one in back]
        stay = [one for several in landings.standing.values() for one in several]
        built = await bring_back(self.repo, self.spec, earliest_first, titles, stay, head)
        if isinstance(built, Clash):
            raise _in_the_way(
                f"{built.chunk} cannot be brought back",
                built,
                hint="have it done again in place of that:"
                f" auto-build retry {self.spec} {built.chunk}",
            )
        commits = {ChunkId(one.chunk): str(one.commit) for one in built}
        return Draft(ev.Revision.REDO, head, built[-1].commit, commits, built)

    def _of(
        self,
        chunks: Iterable[ChunkId],
        state: RunState,
        landings: Mapping[str, tuple[Signed, ...]],
    ) -> tuple[Signed, ...]:
        """Return all landings of some chunks, each chunk's latest last.

        Raises:
            StagingMoved: staging does not have the one that the journal knows.
        """
        found: list[Signed] = []
        for chunk in chunks:
            now, several = state.chunks[chunk], landings.get(chunk, ())
            known = now.commit if isinstance(now, Landed | Undone) else ""
            if not several or several[-1].commit != known:
                raise StagingMoved(
                    f"staging no longer contains {known[:10]}, where chunk {chunk} landed",
                    hint="bring it back (git branch -f to a commit that has it), or go on without"
                    f" it: auto-build run {self.spec}",
                )
            found.extend(several)
        return tuple(found)


def _in_the_way(fact: str, clash: Clash, *, hint: str) -> NotReady:
    """Return what keeps a landing from being taken out or brought back, in words."""
    who = f"chunk {', '.join(clash.chunks)}" if clash.chunks else "another commit"
    lines = f":\n{describe(clash.lost)}" if clash.lost else ""
    where = ", ".join(clash.paths)
    return NotReady(f"{fact}: {who} changed the same lines of {where} later{lines}", hint=hint)
