"""Watches over the user's side while agents work: sees what strays there, takes it back, keeps it.

One look is taken before any agent begins, and compared with another one whenever an agent's prompt
has ended. Invariant: what the user does with git stays; nothing is undone that is not kept first.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from auto_build.containment.looks import Looking, Seen
from auto_build.containment.mending import Keeping, Mending
from auto_build.containment.own import CONFIG, HEAD, is_head
from auto_build.containment.pins import Pins, listed
from auto_build.containment.places import Stamp
from auto_build.containment.shadow import Shadow
from auto_build.containment.strays import (
    Finding,
    Hand,
    Kind,
    Mode,
    Side,
    Step,
    compare,
    follow,
    hand_of,
    short,
)
from auto_build.core.events import StraysFound
from auto_build.core.plan import ChunkId
from auto_build.core.state import STAGING_SLOT
from auto_build.errors import EnvironmentUnfit
from auto_build.git.repo import Repo
from auto_build.git.worktree import Worktrees

_PASSES: Final = 2  # once more where the list of what git ignores was put back
_WAIT_S: Final = 5.0
_GLANCE_S: Final = 0.05
_MOST_TOLD: Final = 200  # findings of a check
_UNREADABLE: Final = "what git cannot read"


class Trace(Protocol):
    """Evidence that an agent's git did something in a git folder that is not its slot's."""

    @property
    def git_dir(self) -> str:
        """The git folder."""
        ...


@dataclass(frozen=True, slots=True)
class Round:
    """One check: whose prompts may have done it, where what is kept goes, whose slots are whose.

    `slot` is the one of the agent that has just ended: that it is gone is told by the capture.
    """

    chunks: tuple[ChunkId, ...]
    folder: Path
    owners: Mapping[int, str] = field(default_factory=dict)
    slot: int = 0


@dataclass(slots=True, kw_only=True)
class Watch:
    """One session's watch; `evidence` hands over what agents' git left since it was asked last."""

    repo: Repo
    worktrees: Worktrees
    spec: str
    branch: str
    mode: Mode
    folder: Path
    record: Callable[[StraysFound], object]
    say: Callable[[str], None]
    warn: Callable[[str], None]
    evidence: Callable[[], Sequence[Trace]] | None = None
    _seen: Seen | None = None
    _traces: list[Trace] = field(default_factory=list)
    _stale: frozenset[Stamp] = frozenset()
    _moved: set[int] = field(default_factory=set)
    _one_by_one: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def _pins(self) -> Pins:
        return Pins(self.repo, self.spec)

    @property
    def _looking(self) -> Looking:
        return Looking(self.repo, self.worktrees, Shadow(self.repo, self.folder))

    async def take(self) -> None:
        """Take in how everything is, before any agent begins; say what is not watched.

        Raises:
            EnvironmentUnfit: there is no room for it.
        """
        async with self._one_by_one:
            if self.evidence is not None:
                self.evidence()  # of an earlier session, which nothing of this one can have done
            earlier = await self._pins.load()
            self._stale = self._looking.own.locks()  # left by a git that was killed
            try:
                seen = await self._accept()
            except OSError as error:
                raise EnvironmentUnfit(
                    f"your checkout cannot be taken in: {error}",
                    hint="the .git folder must be writable and its disk must have space left",
                ) from error
            await self._pins.compare(earlier, seen.side, self.warn)
            if seen.unwatched:
                self.warn(
                    "not watched in your checkout, because it is too large, cannot be read or is a"
                    f" repository of its own: {listed([*seen.unwatched])}"
                )

    async def check(self, round_: Round) -> None:
        """See what is otherwise than it was, and do about it what follows.

        Raises:
            EnvironmentUnfit: what is there cannot be kept, so that nothing is put back.
        """
        async with self._one_by_one:
            if self.evidence is not None:
                self._traces.extend(self.evidence())
            if self._seen is None or not await self._is_quiet():
                return
            try:
                for _ in range(_PASSES):
                    if not await self._pass(self._seen, round_):
                        break
            except OSError as error:
                raise EnvironmentUnfit(
                    f"what was changed in your checkout cannot be kept: {error}",
                    hint="nothing was put back; see that its disk has space left, and run again",
                ) from error
            self._traces.clear()
            self._moved.clear()

    async def close(self, round_: Round) -> None:
        """Check for the last time, and let go of what was kept for the session only."""
        await self.check(round_)
        async with self._one_by_one:
            await self._pins.release()
            self._looking.shadow.remove()
            self._seen = None

    def expect_gone(self, slot: int) -> None:
        """Take note that a slot's worktree was moved away by us."""
        self._moved.add(slot)

    # --- looking ---------------------------------------------------------------------------------

    async def _accept(self) -> Seen:
        """Take everything as it is now, and keep it from being collected."""
        seen = self._seen = await self._looking.first()
        await self._looking.shadow.keep(self._pins.checkout)
        await self._pins.keep_stash(seen.side)
        return seen

    async def _is_quiet(self) -> bool:
        """Wait until no git is at work on the user's index; say whether it came to that."""
        own, waited_s = self._looking.own, 0.0
        while (busy := own.locks() - self._stale) and waited_s < _WAIT_S:
            await asyncio.sleep(_GLANCE_S)
            waited_s += _GLANCE_S
        if busy:
            self.warn("your checkout is not looked at now: some git is at work on its index")
        return not busy

    # --- acting ----------------------------------------------------------------------------------

    async def _pass(self, before: Seen, round_: Round) -> bool:
        """Look and act once; say whether it is worth to look again."""
        keeping = Keeping.fresh(round_.folder)
        broken = await self._mend_broken(before, keeping)
        now = await self._looking.again(before)
        was = self._expected(before.side, round_)
        hand = Hand.AGENT if broken else self._hand(was, now.side)
        steps: dict[Step, list[Finding]] = {step: [] for step in Step}
        for finding in compare(was, now.side, hand, round_.owners):
            steps[follow(finding.kind, hand, self.mode)].append(finding)
        restored, told = steps[Step.RESTORE], steps[Step.TELL]
        mending = Mending(self.repo, self._looking.shadow, before, now, keeping)
        held = await mending.keep([*restored, *told])
        blocked = await self._restore(mending, restored, held)
        await self._pins.keep_lost(f for f in told if f.kind in {Kind.REF_MOVED, Kind.REF_GONE})
        self._report(round_, [*broken, *restored], told, blocked, keeping)
        if steps[Step.ACCEPT]:
            self.say("you are at work in your checkout: what changed there is taken as yours")
        if steps[Step.ACCEPT] or (self.mode is Mode.REPORT and told):
            await self._accept()
            return False
        misled = mending.is_misled(restored)
        self._seen = await mending.settle(frozenset(blocked), misled=misled)
        return misled

    def _expected(self, side: Side, round_: Round) -> Side:
        """Return the side with the slots that ought to be there; staging is looked for apart."""
        slots = (side.slots | round_.owners.keys()) - self._moved - {round_.slot, STAGING_SLOT}
        return replace(side, slots=frozenset(slots))

    def _hand(self, was: Side, now: Side) -> Hand:
        here = self.repo.git_dir
        touched = any(Path(trace.git_dir).resolve() == here for trace in self._traces)
        return hand_of(was, now, touched=touched, watched=self.evidence is not None)

    async def _mend_broken(self, before: Seen, keeping: Keeping) -> list[Finding]:
        """Put back a HEAD or settings that no git can read: it could not be asked anything else."""
        looking = self._looking
        own = looking.own.load()
        findings: list[Finding] = []
        if not is_head(own.get(HEAD)) and HEAD in before.own:
            findings.append(Finding(Kind.HEAD, HEAD, short(before.side.head), _UNREADABLE))
        written = own.get(CONFIG) != before.own.get(CONFIG)
        if written and not await looking.shadow.parses(looking.own.path(CONFIG)):
            findings.append(Finding(Kind.CONFIG, CONFIG))
        if findings:
            now = replace(before, own=own)
            mending = Mending(self.repo, looking.shadow, before, now, keeping)
            await mending.restore(findings, await mending.keep(findings))
        return findings

    async def _restore(
        self, mending: Mending, findings: Sequence[Finding], held: frozenset[str]
    ) -> dict[str, str]:
        blocked = {one.name: one.why for one in await mending.restore(findings, held)}
        if any(one.kind is Kind.STAGING for one in findings):
            await self.worktrees.require_staging(self.branch)
        return blocked

    def _report(
        self,
        round_: Round,
        restored: Sequence[Finding],
        told: Sequence[Finding],
        blocked: Mapping[str, str],
        keeping: Keeping,
    ) -> None:
        back = [one.words for one in restored if one.name not in blocked]
        stuck = [f"{f.words} ({blocked[f.name]})" for f in restored if f.name in blocked]
        left = [*(one.words for one in told), *stuck]
        if back or left:
            event = StraysFound(round_.chunks, _bounded(back), _bounded(left), keeping.words)
            self.record(event)


def _bounded(words: list[str]) -> tuple[str, ...]:
    """Return as many findings as are told; the patch has them all."""
    more = len(words) - _MOST_TOLD
    return tuple([*words[:_MOST_TOLD], f"and {more} more"] if more > 0 else words)
