"""Watches over the user's side while agents work: sees what strays there, takes it back, keeps it.

One look is taken before any agent begins, and compared with another one whenever an agent's prompt
has ended. Invariant: what the user does with git stays; nothing is undone that is not kept first.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from auto_build.containment.looks import Looking, Seen
from auto_build.containment.mending import Keeping, Mending
from auto_build.containment.own import CONFIG, HEAD, is_head, stash_entries
from auto_build.containment.places import Stamp, find_stamp
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
    written_specs,
)
from auto_build.core.events import StraysFound
from auto_build.core.plan import ChunkId
from auto_build.errors import EnvironmentUnfit
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo, ref_part
from auto_build.git.worktree import Worktrees
from auto_build.policy.paths import SPECS

USER: Final = "refs/auto-build/user"
_SHOWN: Final = 10
_PASSES: Final = 2  # once more where the list of what git ignores was put back
_WAIT_S: Final = 5.0
_GLANCE_S: Final = 0.05
_MOST_STASHED: Final = 500
_UNREADABLE: Final = "what git cannot read"
_IGNORE: Final = ".gitignore"


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
    def _refs(self) -> str:
        return f"{USER}/{ref_part(self.spec)}"

    @property
    def _looking(self) -> Looking:
        return Looking(self.repo, self.worktrees, Shadow(self.repo, self.folder))

    async def take(self) -> None:
        """Take in how everything is, before any agent begins; say what is not watched.

        Raises:
            EnvironmentUnfit: there is no room for it.
        """
        async with self._one_by_one:
            earlier = await self.repo.refs(f"{self._refs}/")
            self._stale = self._looking.own.locks()  # left by a git that was killed
            try:
                seen = await self._accept()
            except OSError as error:
                raise EnvironmentUnfit(
                    f"your checkout cannot be taken in: {error}",
                    hint="the .git folder must be writable and its disk must have space left",
                ) from error
            await self._compare_with_earlier(earlier, seen)
            if seen.unwatched:
                self.warn(
                    "not watched in your checkout, because it is too large, cannot be read or is a"
                    f" repository of its own: {_listed(seen.unwatched)}"
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
            mine = [ref for ref in await self.repo.refs(f"{self._refs}/") if not _stays(ref)]
            await self._update_refs(f"delete {ref}" for ref in mine)
            self._seen = None

    def expect_gone(self, slot: int) -> None:
        """Take note that a slot's worktree was moved away by us."""
        self._moved.add(slot)

    # --- looking ---------------------------------------------------------------------------------

    async def _accept(self) -> Seen:
        """Take everything as it is now, and keep it from being collected."""
        seen = self._seen = await self._looking.first()
        await self._looking.shadow.keep(f"{self._refs}/checkout")
        stashed = seen.side.stash[:_MOST_STASHED]
        await self._update_refs(f"update {self._refs}/stash/{oid} {oid}" for oid in stashed)
        return seen

    async def _update_refs(self, lines: Iterable[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        if text:
            await self.repo.git("update-ref", "--stdin", stdin=text)

    async def _compare_with_earlier(self, earlier: Mapping[str, Commit], seen: Seen) -> None:
        """Say what is otherwise than when a session began that was cut off; undo nothing."""
        old = earlier.get(f"{self._refs}/checkout")
        if old is None:
            return
        now = await self.repo.require_commit(f"{self._refs}/checkout")
        touched = [entry.path for entry in await self.repo.touched(old, now)]
        if paths := [path for path in touched if not path.startswith(SPECS)]:
            ref = f"{self._refs}/earlier/{old[:_SHOWN]}"
            await self.repo.create_ref(ref, old)
            self.warn(
                "your checkout is otherwise than when the session began that was cut off:"
                f" {_listed(paths)}; as they were: git diff {ref}"
            )
        pinned = {
            ref.rpartition("/")[2] for ref in earlier if ref.startswith(f"{self._refs}/stash/")
        }
        for oid in sorted(pinned - set(seen.side.stash)):
            await self._update_refs([f"update {self._refs}/lost/stash/{oid} {oid}"])
            self.warn(
                f"the stash entry {oid[:_SHOWN]} is gone since the session that was cut off (back:"
                f" git stash store -m kept {oid})"
            )

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
        await self._pin_lost(told)
        self._report(round_, [*broken, *restored], told, blocked, keeping)
        if steps[Step.ACCEPT]:
            self.say("you are at work in your checkout: what changed there is taken as yours")
        if steps[Step.ACCEPT] or (self.mode is Mode.REPORT and told):
            await self._accept()
            return False
        again = any(Path(one.name).name == _IGNORE for one in restored)
        if again:  # what is ignored was read by a list that somebody changed
            side = replace(now.side, ignored=before.side.ignored)
            now = replace(now, side=side, lent=before.lent)
        self._seen = await self._settled(before, now, blocked)
        return again

    def _expected(self, side: Side, round_: Round) -> Side:
        """Return the side with the slots that ought to be there."""
        slots = (side.slots | round_.owners.keys()) - self._moved - {round_.slot}
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

    async def _pin_lost(self, told: Sequence[Finding]) -> None:
        """Keep the commits that a branch or tag had, so that the way back stays open."""
        lost = [one for one in told if one.kind in {Kind.REF_MOVED, Kind.REF_GONE}]
        names = [(one.name.removeprefix("refs/"), one.old) for one in lost]
        await self._update_refs(f"update {self._refs}/lost/{name} {old}" for name, old in names)

    def _report(
        self,
        round_: Round,
        restored: Sequence[Finding],
        told: Sequence[Finding],
        blocked: Mapping[str, str],
        keeping: Keeping,
    ) -> None:
        back = tuple(one.words for one in restored if one.name not in blocked)
        stuck = [f"{f.words} ({blocked[f.name]})" for f in restored if f.name in blocked]
        left = (*(one.words for one in told), *stuck)
        if back or left:
            self.record(StraysFound(round_.chunks, back, left, keeping.words))

    async def _settled(self, before: Seen, now: Seen, blocked: Mapping[str, str]) -> Seen:
        """Return what the next look is compared with: as before, with what was only told."""
        project = self.repo.project
        own = {**self._looking.own.load()}
        own |= {name: raw for name, raw in before.own.items() if name in blocked}
        lent = {
            **now.lent,
            **{path: raw for path, raw in before.lent.items() if path not in now.lent},
        }
        listed = {**before.side.ignored, **now.side.ignored}
        ignored = {  # what was put back is there again, what was moved away is not
            path: now.side.ignored.get(path, kept)
            for path, kept in listed.items()
            if os.path.lexists(project / path)
        }
        there, was = now.side.files, before.side.files
        mended = [
            path
            for path in before.stamps
            if path not in now.stamps or there.get(path) != was.get(path)
        ]
        found = {path: find_stamp(project / path) for path in mended}
        stamps = {**now.stamps, **{path: stamp for path, stamp in found.items() if stamp}}
        written = written_specs(before.side, now.side)
        await self._looking.shadow.take_in(written)
        side = replace(
            before.side,
            files={**was, **{path: there[path] for path in written}},
            ignored=ignored,
            refs=now.side.refs,
            slots=now.side.slots,
            stash=stash_entries(own),
        )
        return replace(before, side=side, stamps=stamps, own=own, lent=lent)


def _stays(ref: str) -> bool:
    return ref.split("/")[4] in {"lost", "earlier"}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
