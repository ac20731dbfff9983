"""Checks on trees: run in a worker's worktree, as often as it takes, or known from before.

Invariant: a check is run on exactly the tree it is asked about. What it leaves in the worktree is
taken back before the next one runs, and told.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from auto_build.checks import Run, known_green, run_check, settle
from auto_build.core.events import CheckResult
from auto_build.core.inputs import inputs_of, untouched
from auto_build.core.suite import Check
from auto_build.core.verdict import MANY, Answer, Standing
from auto_build.gate.verdicts import Verdicts
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo
from auto_build.git.worktree import Worktree
from auto_build.policy.environment import Seat
from auto_build.process import CommandFailed
from auto_build.slots import SetUpFailed, Slots

Notice = Callable[[str, str], None]  # chunk, what is being done
Traced = Callable[[dict[str, str]], dict[str, str]]
_AGAIN_S: Final = 600.0  # seconds that running a red check again may take, all together
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Runs the checks of one build; `limit_s` is the seconds that each run may take."""

    repo: Repo
    slots: Slots
    verdicts: Verdicts
    limit_s: float
    log: Path
    notice: Notice
    _red: dict[tuple[str, str], Run] = field(default_factory=dict)

    async def examine(
        self,
        check: Check,
        at: Commit,
        seat: Seat,
        *,
        before: Standing | None,
        runs: int,
        suspect: Callable[[], object] = lambda: None,
    ) -> CheckResult:
        """Return a check's verdict on a commit's tree.

        Args:
            check: the command.
            at: the commit.
            seat: the slot in which it is run, if it has to be.
            before: how it stood on the tree that it is compared with.
            runs: how often a red one is run before it counts.
            suspect: called where it is red and is run again.
        """
        if why := await self.known_green(check, at):
            return known_green(check, why)
        seen: list[Run] = []
        while True:
            seen.append(await self.run(check, at, seat))
            result = settle(check, seen, before)
            wanted = runs if result.steady or runs == 1 else MANY
            if result.passed or len(seen) >= wanted or not _worth_again(seen):
                return result
            self.notice(seat.chunk, f"red ({seen[-1].note}); run once more: $ {check.command}")
            suspect()

    async def again(self, check: Check, at: Commit, seat: Seat, *, runs: int) -> list[Run]:
        """Run a check on a commit's tree, whatever is known of it, until it is green or `runs`."""
        seen: list[Run] = []
        while not seen or (len(seen) < runs and not seen[-1].passed and _worth_again(seen)):
            seen.append(await self.run(check, at, seat))
        return seen

    async def try_once(self, check: Check, at: Commit, seat: Seat) -> Run | None:
        """Run a check once on a commit's tree; None where it is known to be green there."""
        if await self.known_green(check, at):
            return None
        tree = await self.repo.tree_of(at)
        if (tree, check.key) not in self._red:
            run = await self.run(check, at, seat)
            if run.passed:
                return None
            self._red[tree, check.key] = run
        return self._red[tree, check.key]

    async def set_up(self, at: Commit, seat: Seat) -> CheckResult | None:
        """Set a slot up for a commit; return the verdict where that cannot be done."""
        try:
            await self.slots.require(seat, at)
        except SetUpFailed as failed:
            red = Run(Answer(green=False), 1, 0.0, failed.note, failed.output)
            return settle(Check("[workspace] setup"), [red], None)
        return None

    async def run(
        self, check: Check, at: Commit, seat: Seat, *, traced: Traced = dict, keep: bool = True
    ) -> Run:
        """Run a check once, on exactly a commit's tree, and take back what it leaves there.

        `traced` may add to its environment; that it was green is kept in mind if `keep` is set.
        Where set-up fails on the tree, or somebody takes the worktree away, the check is red.
        """
        if seat.chunk:
            self.notice(seat.chunk, f"$ {check.command}")
        try:
            worktree = await self.slots.require(seat, at)
            run = await run_check(
                self.repo.processes,
                check,
                cwd=worktree.path,
                env=traced(self.slots.for_check(seat)),
                limit_s=self.limit_s,
                log=self.log,
            )
        except SetUpFailed as failed:
            return Run(Answer(green=False), 1, 0.0, failed.note, failed.output)
        except CommandFailed as failed:
            if self.slots.is_there(seat.worker):
                raise
            return Run(Answer(green=False), None, 0.0, f"its worktree was taken away: {failed}", "")
        if left := await self._left(worktree, at):
            self.notice(seat.chunk, f"the check {left}: taken back ($ {check.command})")
        if run.passed and keep:
            await self.keep(check, at)
        return run

    async def keep(self, check: Check, at: Commit) -> None:
        """Keep in mind that a check was green on a commit's tree."""
        self.verdicts.keep(await self.repo.tree_of(at), check.key, self.slots.digest)

    # --- known from before -----------------------------------------------------------------------

    async def known_green(self, check: Check, at: Commit) -> str:
        """Say why a check needs no run; empty where it does."""
        digest = self.slots.digest
        tree = await self.repo.tree_of(at)
        if self.verdicts.is_green(tree, check.key, digest):
            return "was green on the same tree"
        earlier = self.verdicts.last_green(check.key, digest)
        inputs = inputs_of(check.command) if earlier else None
        if earlier is None or inputs is None or not await self.repo.has_object(earlier):
            return ""
        changed = await self.repo.touched(earlier, tree)
        if any(entry.path.endswith(".gitattributes") for entry in changed):
            return ""  # it may change every file
        if not untouched(inputs, (entry.path for entry in changed)):
            return ""
        if not await self._are_files(tree, inputs):
            return ""
        self.verdicts.keep(tree, check.key, digest)
        return "was green before, and nothing that it reads has changed"

    async def _are_files(self, tree: str, inputs: frozenset[str]) -> bool:
        """Say whether all inputs are plain files that git tracks.

        A link leads elsewhere, a folder may hold what git ignores, and what is not in the tree may
        yet be in the worktree: none of that shows among the changes.
        """
        plain = {file.path for file in await self.repo.files(tree) if file.mode.startswith("100")}
        return inputs <= plain

    async def _left(self, worktree: Worktree, at: Commit) -> str:
        """Say what a check has done to its worktree, if anything."""
        if not worktree.is_there or not (worktree.path / ".git").is_file():
            return "deleted its worktree"
        try:
            status = await self.slots.worktrees.status(worktree)
        except CommandFailed:
            return "broke git in its worktree"
        if status.head != at:
            return "moved its worktree to another commit"
        if not status.dirty:
            await self.slots.worktrees.clean(worktree)  # git lists no empty folder
        return f"wrote {', '.join(_few(status.dirty))}" if status.dirty else ""


def _worth_again(seen: Sequence[Run]) -> bool:
    """Say whether a red check may be run again: once always, then while there is time."""
    if len(seen) == 1:
        return True
    return seen[-1].code is not None and sum(run.seconds for run in seen[1:]) < _AGAIN_S


def _few(paths: Sequence[str]) -> Sequence[str]:
    return paths if len(paths) <= _SHOWN else (*paths[:_SHOWN], f"{len(paths) - _SHOWN} more")
