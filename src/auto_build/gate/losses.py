"""Whether a candidate kept every line that the sides of its integrations had added.

A candidate comes about by a merge, by a replay commit by commit, by an agent's resolution of a
conflict, or by a merge that an agent made itself, and each is looked into. What is missing is held
against it, unless its agent has said why the lines of that file were to go: then it is told on, for
a person to see.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from auto_build.core.conservation import Lost, describe, find_reasons
from auto_build.core.state import Gating
from auto_build.git.conservation import Findings, find_lost
from auto_build.git.landing import Candidate
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo

_MOST_STEPS: Final = 50  # commits of a replay that are looked into one by one
_HOW_TO_DROP: Final = (
    "Where a line is meant to go, or has become another, say why at the end, for each file on a"
    " line of its own: DROPPED: path: reason"
)
_MERGED: Final = (
    "Merging your work with what has landed loses lines that were added since it began (ours is"
    " what has landed, theirs is your own work). Put back what is to stay:"
)
_RESOLVED: Final = (
    "Resolving the conflict has lost lines that a side had added (ours is what has landed, theirs"
    " is your own work). Put back what is to stay:"
)
_SIDES: Final = {"ours": "what had landed", "theirs": "its own work"}


@dataclass(frozen=True, slots=True)
class Complete:
    """Nothing is missing; `dropped` says what was left out on purpose, or not looked at."""

    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Incomplete:
    """Lines are missing in `paths`; `why` is for the agent that is to put them back."""

    why: str
    paths: tuple[str, ...]


class _Integration(NamedTuple):
    """Two sides that were brought together since their merge base, and what came of it.

    `lead` says so where something is missing. Markers are looked for where an agent resolved it.
    """

    base: Commit
    ours: Commit
    theirs: Commit
    result: Commit
    lead: str = _MERGED
    resolved: bool = False


@dataclass(frozen=True, slots=True)
class Losses:
    """Looks into the integrations of candidates."""

    repo: Repo

    async def find(self, now: Gating, built: Candidate) -> Complete | Incomplete:
        """Say what a candidate has lost of the work that it is made of, or of what has landed."""
        told: list[str] = []
        async for one in self._integrations(now, built):
            found = await find_lost(self.repo, one.base, one.ours, one.theirs, one.result)
            if one.resolved and (marked := await self._marked(one, found)):
                return Incomplete(
                    f"There are conflict markers left in {', '.join(marked)}: bring both sides"
                    " together there and take the markers out.",
                    marked,
                )
            reasons = find_reasons(now.work.dropped, {lost.path for lost in found.lost})
            if missing := [lost for lost in found.lost if lost.path not in reasons]:
                return Incomplete(
                    f"{one.lead}\n{describe(missing)}\n{_HOW_TO_DROP}",
                    tuple(dict.fromkeys(lost.path for lost in missing)),
                )
            told += (_left_out(lost, reasons[lost.path]) for lost in found.lost)
            told += _unseen(found)
        if built.replayed and (left := await self._beyond(now)):
            told.append(f"{left} commits of a replay were not looked at for lost lines")
        return Complete(tuple(dict.fromkeys(told)))

    async def _integrations(self, now: Gating, built: Candidate) -> AsyncIterator[_Integration]:
        work = Commit(now.work.commit)
        if built.replayed:
            for step in await self._steps(now, built):
                yield step
        else:
            base = await self.repo.merge_base(built.head, work)
            if base not in {None, work}:
                yield _Integration(Commit(base or ""), built.head, work, built.commit)
            if base not in {None, now.work.base}:  # its agent has merged what landed meanwhile
                yield _Integration(Commit(now.work.base), Commit(base or ""), work, work)
        if resolution := await self._resolution(now):
            yield resolution

    async def _steps(self, now: Gating, built: Candidate) -> list[_Integration]:
        """Return a replay commit by commit: a later one may rewrite what an earlier one brought."""
        old = await self.repo.commits_between(Commit(now.work.base), Commit(now.work.commit))
        new = await self.repo.commits_between(built.head, Commit(f"{built.commit}^2"))
        return [
            _Integration(_parent(before), _parent(after), before, after)
            for before, after in list(zip(old, new, strict=True))[:_MOST_STEPS]
        ]

    async def _beyond(self, now: Gating) -> int:
        """Return how many commits of a replay are too many to be looked into."""
        work = Commit(now.work.commit)
        commits = await self.repo.commits_between(Commit(now.work.base), work)
        return max(0, len(commits) - _MOST_STEPS)

    async def _resolution(self, now: Gating) -> _Integration | None:
        """Return what an agent brought together, until that was found to be whole."""
        clash = now.attempt.clash
        if clash is None or clash.settled:
            return None
        ours, theirs = Commit(now.work.base), Commit(clash.work)
        base = await self.repo.merge_base(ours, theirs)
        if base is None or theirs == now.work.commit:  # it is as it was
            return None
        work = Commit(now.work.commit)
        return _Integration(base, ours, theirs, work, _RESOLVED, resolved=True)

    async def _marked(self, one: _Integration, found: Findings) -> tuple[str, ...]:
        """Return where a conflict shows yet: in markers, or in the names that git gave to files."""
        ends = tuple(f"~{side}" for side in (one.ours, one.theirs))
        touched = [entry.path for entry in await self.repo.touched(one.ours, one.result)]
        named = [path for path in touched if any(end in path for end in ends)]
        return (*found.marked, *named)


def _parent(commit: Commit) -> Commit:
    return Commit(f"{commit}^1")


def _left_out(lost: Lost, why: str) -> str:
    number = f"{lost.count} line{'' if lost.count == 1 else 's'}"
    first = f", such as {lost.lines[0].strip()!r}," if lost.lines else ""
    what = f"{number}{first} of" if lost.count else "the version of"
    return f"{lost.path}: {what} {_SIDES[lost.side]} left out: {why}"


def _unseen(found: Findings) -> Iterator[str]:
    if found.unseen:
        yield f"{found.unseen} files were too many or too large to be looked at for lost lines"
