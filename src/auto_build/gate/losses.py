"""Whether a candidate kept every line that the sides of its integrations had added.

A candidate comes about by a merge, by a replay commit by commit, or by an agent's resolution of a
conflict, and each is looked into. What is missing is held against it, unless its agent has said
why the lines of that file were to go: then it is told on, for a person to see.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from auto_build.core.conservation import Lost, describe
from auto_build.core.events import Dropped
from auto_build.core.state import Gating
from auto_build.git.conservation import find_lost
from auto_build.git.landing import Candidate
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo

_MOST_STEPS: Final = 50  # commits of a replay that are looked into one by one
_HOW_TO_DROP: Final = (
    "Where a line is meant to go, or has become another, say why at the end, for each file on a"
    " line of its own: DROPPED: path: reason"
)


@dataclass(frozen=True, slots=True)
class Complete:
    """Nothing is missing; `dropped` says what was left out on purpose, file by file."""

    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Incomplete:
    """Something is missing; `why` is for the agent that is to put it back."""

    why: str


class _Integration(NamedTuple):
    """Two sides that were brought together since their merge base, and what came of it."""

    base: Commit
    ours: Commit
    theirs: Commit
    result: Commit


@dataclass(frozen=True, slots=True)
class Losses:
    """Looks into the integrations of candidates."""

    repo: Repo

    async def find(self, now: Gating, built: Candidate) -> Complete | Incomplete:
        """Say what a candidate has lost of the work that it is made of, or of what has landed."""
        dropped: list[str] = []
        for one in await self._of_candidate(now, built):
            found = await find_lost(self.repo, *one)
            if missing := _not_named(found.lost, now.work.dropped):
                return Incomplete(
                    "Merging your work with what has landed loses lines that were added since it"
                    f" began. Put back what is to stay:\n{describe(missing)}\n{_HOW_TO_DROP}"
                )
            dropped += _named(found.lost, now.work.dropped)
        if resolution := await self._resolution(now):
            found = await find_lost(self.repo, *resolution)
            if found.marked:
                return Incomplete(
                    f"There are conflict markers left in {', '.join(found.marked)}: bring both"
                    " sides together there and take the markers out."
                )
            if missing := _not_named(found.lost, now.work.dropped):
                return Incomplete(
                    "Resolving the conflict has lost lines that a side had added (ours is what has"
                    " landed, theirs is your own work). Put back what is to stay:\n"
                    f"{describe(missing)}\n{_HOW_TO_DROP}"
                )
            dropped += _named(found.lost, now.work.dropped)
        return Complete(tuple(dict.fromkeys(dropped)))

    async def _of_candidate(self, now: Gating, built: Candidate) -> list[_Integration]:
        """Return what the gate itself brought together: in one merge, or commit by commit."""
        work = Commit(now.work.commit)
        if built.replayed:
            old = await self.repo.commits_between(Commit(now.work.base), work)
            new = await self.repo.commits_between(built.head, Commit(f"{built.commit}^2"))
            return [
                _Integration(_parent(before), _parent(after), before, after)
                for before, after in list(zip(old, new, strict=True))[:_MOST_STEPS]
            ]
        base = await self.repo.merge_base(built.head, work)
        if base is None or base == work:
            return []
        return [_Integration(base, built.head, work, built.commit)]

    async def _resolution(self, now: Gating) -> _Integration | None:
        """Return what an agent brought together, until that was found to be whole."""
        clash = now.attempt.clash
        if clash is None or clash.settled:
            return None
        ours, theirs = Commit(now.work.base), Commit(clash.work)
        base = await self.repo.merge_base(ours, theirs)
        return _Integration(base, ours, theirs, Commit(now.work.commit)) if base else None


def _parent(commit: Commit) -> Commit:
    return Commit(f"{commit}^1")


def _not_named(lost: Iterable[Lost], dropped: Iterable[Dropped]) -> list[Lost]:
    named = {one.path for one in dropped}
    return [one for one in lost if one.path not in named]


def _named(lost: Iterable[Lost], dropped: Iterable[Dropped]) -> list[str]:
    reasons = {one.path: one.reason for one in dropped}
    return [
        f"{one.count} lines of {one.side} left out of {one.path} by its agent: {reasons[one.path]}"
        for one in lost
        if one.path in reasons
    ]
