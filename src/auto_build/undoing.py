"""Undo and redo: take landed chunks out of staging between runs, and bring them back.

Invariants: staging moves only to what passed the suite of what is then in it; what is meant is
journaled before it moves and what came of it after that, so that a crash leaves nothing unknown;
history is never rewritten, and nothing that landed is lost.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from auto_build.checks import explain
from auto_build.core import events as ev
from auto_build.core.evidence import write_note
from auto_build.core.state import Landed, RunState
from auto_build.core.transitions import apply
from auto_build.core.view import plan_notes
from auto_build.delivery import Build
from auto_build.errors import NotReady, StagingMoved
from auto_build.git.evidence import keep_notes, pin_landed
from auto_build.groundwork import Groundwork, find_settled, is_parked
from auto_build.holding import require_place
from auto_build.proving import Prover, Red
from auto_build.revising import Draft, Drafts
from auto_build.settings import Settings, load_settings
from auto_build.workspace import PlanWriter


@dataclass(frozen=True, slots=True)
class Revised:
    """What was undone or redone: `commit` is staging's head now; empty where it was only tried.

    `view` says why the staging worktree does not show it, if it does not.
    """

    spec: str
    revision: ev.Revision
    chunks: tuple[str, ...]
    commit: str = ""
    checks: tuple[ev.CheckResult, ...] = ()
    view: str = ""


@dataclass(frozen=True, slots=True)
class Reviser:
    """Undoes and redoes chunks of one build; `say` and `warn` take what people should know."""

    build: Build
    say: Callable[[str], None]
    warn: Callable[[str], None]

    async def preview(self, revision: ev.Revision, wanted: Sequence[str]) -> Revised:
        """Return what would be undone or redone, without checking anything.

        Raises:
            NotReady: it cannot be.
        """
        state, _ = self.build.require_begun()
        build = self.build
        head = await build.require_staging()
        for event in await find_settled(build.repo, build.branch, state):
            state = apply(state, event)
        draft = await Drafts(build.repo, build.spec.name).draft(revision, state, wanted, head)
        return Revised(build.spec.name, revision, tuple(draft.landings))

    async def revise(self, revision: ev.Revision, wanted: Sequence[str]) -> Revised:
        """Undo or redo chunks, and who belongs to them.

        Raises:
            NotReady: it cannot be, or what would be in staging is red; nothing was changed.
            RunLocked: a run is going on.
        """
        with self.build.held() as build:
            return await _Held(build, self.say, self.warn).revise(revision, wanted)


@dataclass(frozen=True, slots=True)
class _Held:
    """Carries a revision out while nobody else builds here."""

    build: Build
    say: Callable[[str], None]
    warn: Callable[[str], None]

    async def revise(self, revision: ev.Revision, wanted: Sequence[str]) -> Revised:
        """Build it, check it, and move staging there."""
        build = self.build
        state, _ = build.require_begun()
        head = await build.require_staging()
        settings = load_settings(build.repo.project, {}, os.environ)
        ground = Groundwork(
            repo=build.repo,
            worktrees=build.worktrees,
            spec=build.spec.name,
            say=self.say,
            warn=self.warn,
            most_file_bytes=settings.containment.most_file_bytes,
        )
        await require_place(build.repo, build.workspace, build.spec.name)
        await ground.lay(state)
        if is_parked(state):
            build.record(ev.RunUnparked())
            state = apply(state, ev.RunUnparked())
        state = await build.settle(state)
        draft = await Drafts(build.repo, build.spec.name).draft(revision, state, wanted, head)
        await ground.keep_leftovers(state)
        checks = await self._check(draft, state, settings)
        return await self._land(draft, state, checks)

    async def _check(
        self, draft: Draft, state: RunState, settings: Settings
    ) -> tuple[ev.CheckResult, ...]:
        """Run the suite of what would be in staging, in a worker slot.

        Raises:
            NotReady: something is red there that is not red in staging.
        """
        after = draft.applied(state)
        landed = [chunk for chunk, now in after.chunks.items() if isinstance(now, Landed)]
        async with Prover.open(self.build, settings, self.say, draft.revision.value) as prover:
            found = await prover.prove(draft.candidate, state, landed)
        if isinstance(found, Red):
            raise _red(draft, found.result)
        return found

    async def _land(
        self, draft: Draft, state: RunState, checks: tuple[ev.CheckResult, ...]
    ) -> Revised:
        """Move staging in one step, between the intent and the mark in the journal."""
        build, name = self.build, self.build.spec.name
        note = write_note(await build.repo.tree_of(draft.candidate), checks)
        commits = [one.commit for one in draft.redone] or [draft.candidate]
        await keep_notes(build.repo, name, dict.fromkeys(commits, note))
        meant = draft.meant(checks)
        build.record(meant)
        why = f"auto-build: {draft.revision.value} {', '.join(draft.landings)}"
        if not await build.repo.swap_ref(build.branch, draft.candidate, draft.head, why):
            now = await build.require_staging()
            build.record(ev.RevisionVoided(now))
            raise StagingMoved(f"somebody else moved {build.short_branch} meanwhile")
        for one in draft.redone:
            await pin_landed(build.repo, name, one.chunk, one.commit)
        view = await self._sync_view(draft)
        build.record(ev.RevisionLanded(view))
        after = apply(apply(state, meant), ev.RevisionLanded(view))
        writer = PlanWriter(build.spec.plan_path, build.workspace.state_dir)
        if warning := writer.write(plan_notes(after)):
            self.warn(warning)
        return Revised(name, draft.revision, tuple(draft.landings), draft.candidate, checks, view)

    async def _sync_view(self, draft: Draft) -> str:
        worktrees = self.build.worktrees
        staging = worktrees.find(worktrees.staging_path)
        if staging is None:
            return "the staging worktree is gone; the branch is not"
        return await worktrees.sync_view(staging, draft.head, draft.candidate)


def _red(draft: Draft, result: ev.CheckResult) -> NotReady:
    what = "without" if draft.revision is ev.Revision.UNDO else "with"
    return NotReady(
        f"staging would be red {what} {', '.join(draft.landings)}:\n{explain(result)}",
        hint="nothing was changed; what the check needs has to be undone or redone with them, or"
        " mended by a chunk",
    )
