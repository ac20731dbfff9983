"""A reviewer's session: it reads staging at one commit, and answers with a verdict.

Invariants: the verdict is of the commit that was asked about; what the reviewer writes is kept,
told and undone; nothing it says takes away what was run and found red.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Final, Protocol

from auto_build.agents.base import (
    Agent,
    AgentEvent,
    Began,
    Denied,
    Doing,
    Ended,
    Limits,
    Session,
    SessionSpec,
    Spent,
    Text,
)
from auto_build.containment.watch import Round, Watch
from auto_build.core import events as ev
from auto_build.core.acceptance import Acceptance, Item, ItemResult
from auto_build.core.document import Json
from auto_build.core.findings import Review, Verdict
from auto_build.core.state import REVIEWER, STAGING_SLOT
from auto_build.engine.base import Ledger
from auto_build.engine.conversation import Failure, Patience, converse
from auto_build.errors import EnvironmentUnfit
from auto_build.gate.trials import Notice
from auto_build.git.landing import Label, branch_of, salvage
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo
from auto_build.groundwork import Groundwork
from auto_build.policy.environment import Seat
from auto_build.policy.permission import judge
from auto_build.prompts import Prompts
from auto_build.qa.telling import before_words, chunk_words, item_words
from auto_build.qa.verdict import VERDICT_SCHEMA, Opinion, Unusable, read_opinion, settle
from auto_build.slots import Slots

ANSWERS: Final = 3  # prompts for one verdict, the first included
_NOTICE: Final = 200
_WAITS: Final = frozenset({ev.Outcome.RATE_LIMIT, ev.Outcome.OVERLOADED})


class TryOut(Protocol):
    """Runs what can be run of a plan's items, on exactly a commit's tree."""

    async def __call__(self, items: Sequence[Item], at: Commit) -> tuple[ItemResult, ...]:
        """Return what came of each item."""
        ...


@dataclass(frozen=True, slots=True)
class Later:
    """The reviewer cannot work now; `until` is in seconds since the epoch, None if unknown."""

    failure: Failure

    @property
    def until(self) -> float | None:
        """When its limit ends, where that is known."""
        return self.failure.reset_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewer:
    """Reviews one build; `notice` is told what is being done."""

    repo: Repo
    slots: Slots
    ground: Groundwork
    agent: Agent
    ledger: Ledger
    prompts: Prompts
    patience: Patience
    watch: Watch
    try_out: TryOut
    model: str
    spec: str
    spec_text: Callable[[], str]
    instructions: str
    acceptance: Acceptance
    logs: Path
    notice: Notice

    async def review(self, started: ev.ReviewStarted) -> Review | Later:
        """Have staging's commit reviewed; what was run there is a part of it.

        Raises:
            EnvironmentUnfit: the agent cannot work at all.
        """
        begun = monotonic()
        commit = Commit(started.commit)
        items = await self.try_out(self.acceptance.items, commit)
        seat = await self._seat(started)
        folder = self.logs / REVIEWER / str(started.round)
        folder.mkdir(parents=True, exist_ok=True)
        slot = await self.slots.require_for_agent(seat, commit)
        talk = _Talk(self, started, folder, self._session_spec(started, seat, slot.path, folder))
        said = await talk.hold(await self._prompt(started, items, folder))
        written = await self._give_back(seat)
        await self.watch.check(Round(chunks=(REVIEWER,), folder=folder, slot=seat.worker))
        if isinstance(said, Failure) and said.outcome in _WAITS:
            return Later(said)
        review = self._settle(started, said, items, [*self._beyond(), *talk.notes, *written])
        return replace(review, seconds=round(monotonic() - begun, 3))

    def _settle(
        self,
        started: ev.ReviewStarted,
        said: Opinion | Unusable | Failure,
        items: tuple[ItemResult, ...],
        notes: Sequence[str],
    ) -> Review:
        if isinstance(said, Unusable) and said.opinion and said.opinion.blocks:
            notes = [*notes, f"it does not agree with itself: {'; '.join(said.problems)}"]
            said = replace(said.opinion, approves=False)
        if isinstance(said, Opinion):
            return settle(
                said,
                items,
                round_=started.round,
                commit=started.commit,
                by=self.agent.name,
                notes=notes,
            )
        why = (
            f"{said.outcome.value}: {said.why}"
            if isinstance(said, Failure)
            else f"no usable answer in {ANSWERS} rounds: {'; '.join(said.problems)}"
        )
        return Review(
            round=started.round,
            commit=started.commit,
            verdict=Verdict.NONE,
            by=self.agent.name,
            why=why,
            items=items,
            notes=tuple(notes),
        )

    def _beyond(self) -> list[str]:
        """Say how much of the plan was neither tried nor judged, because it is too much."""
        more = self.acceptance.left_out
        return [f"{more} more things that the plan asks for were left out"] if more else []

    # --- its place -------------------------------------------------------------------------------

    async def _seat(self, started: ev.ReviewStarted) -> Seat:
        """Return where the reviewer reads: in staging, unless somebody is at work there."""
        number = STAGING_SLOT
        if not await self.ground.staging_is_free():
            self.notice("", "the staging worktree is in use: the review is held in worker 1")
            number = 1
        return self.slots.seat(number, REVIEWER, started.round)

    async def _give_back(self, seat: Seat) -> list[str]:
        """Undo what the reviewer wrote, and say so; it is kept first."""
        worktrees = self.slots.worktrees
        slot = worktrees.find_slot(seat.worker)
        wrote = list((await worktrees.status(slot)).dirty) if slot else ["over its whole worktree"]
        onto = await self.repo.require_commit(branch_of(self.spec))
        label = Label(self.spec, REVIEWER, seat.attempt)
        kept = await salvage(worktrees, seat.worker, label, onto)
        await self.ground.take_back_staging(REVIEWER)
        if not kept and not wrote:
            return []
        what = ", ".join(wrote) or "a commit"
        where = f", and kept as {kept}" if kept else ""
        return [f"the reviewer was to read only, and wrote {what}: that is undone{where}"]

    def _session_spec(
        self, started: ev.ReviewStarted, seat: Seat, path: Path, folder: Path
    ) -> SessionSpec:
        root = str(path.resolve())
        return SessionSpec(
            cwd=path,
            env=self.slots.for_agent(seat),
            seat=seat,
            round=0,
            model=self.model,
            scratch=folder,
            log=folder / "agent.log",
            permit=lambda request: judge(request, root=root, read_only=True),
            limits=Limits(cost_usd=started.budget),
            read_only=True,
            schema=VERDICT_SCHEMA,
        )

    # --- what it is told -------------------------------------------------------------------------

    async def _prompt(
        self, started: ev.ReviewStarted, items: Sequence[ItemResult], folder: Path
    ) -> str:
        state = self.ledger.state
        span = (state.base, started.commit)
        plain = ("--no-ext-diff", "--no-textconv")
        patch = (await self.repo.git("diff", *plain, *span)).stdout
        path = folder / "changes.diff"
        path.write_text(patch, encoding="utf-8", errors="surrogateescape")
        return self.prompts.review(
            round_=started.round,
            commit=started.commit,
            spec=self.spec,
            spec_text=self.spec_text(),
            criteria=self.acceptance.criteria,
            items=[item_words(one) for one in items],
            chunks=chunk_words(state),
            stat=(await self.repo.git("diff", "--stat=78", *plain, *span)).stdout,
            diff=patch,
            patch=str(path),
            before=before_words(state),
            human=state.notes_for(REVIEWER),
            instructions=self.instructions,
        )


@dataclass(slots=True)
class _Talk:
    """One conversation with a reviewer, until it gives an answer that can be taken."""

    of: Reviewer
    started: ev.ReviewStarted
    folder: Path
    spec: SessionSpec
    notes: list[str] = field(default_factory=list)
    answer: Json = None
    spent: float = 0.0

    async def hold(self, prompt: str) -> Opinion | Unusable | Failure:
        """Ask, and ask again where the answer cannot be taken.

        Raises:
            EnvironmentUnfit: the agent cannot log in.
        """
        session = await self.of.agent.start(self.spec)
        try:
            return await self._ask(session, prompt)
        finally:
            await session.close()

    async def _ask(self, session: Session, prompt: str) -> Opinion | Unusable | Failure:
        text = prompt
        said: Opinion | Unusable = Unusable(())
        for number in range(1, ANSWERS + 1):
            self.answer = None
            failure = await converse(session, text, patience=self.of.patience, hear=self._hear)
            if failure is not None and failure.outcome is ev.Outcome.AUTH:
                raise EnvironmentUnfit(
                    f"no agent can work: {failure.why}",
                    hint="log in again, or mend the agent's key (auto-build doctor); then run the"
                    " same command: it goes on where it stopped",
                )
            if failure is not None:
                return failure
            said = read_opinion(self.answer, self.of.acceptance.criteria)
            if isinstance(said, Opinion):
                return said
            if number == ANSWERS:
                break
            self.notes.append(f"answer {number} was not taken: {'; '.join(said.problems)}")
            text = self.of.prompts.review_again(said.problems)
            if not self.of.agent.abilities.resumes:
                text = f"{prompt}\n{text}"
        return said

    def _hear(self, event: AgentEvent) -> Failure | None:
        notice, record = self.of.notice, self.of.ledger.record
        match event:
            case Text() | Doing():
                notice(REVIEWER, event.text[:_NOTICE])
            case Denied():
                notice(REVIEWER, f"not allowed: {event.text}: {event.why}"[:_NOTICE])
            case Began():
                pass  # a review that is cut off begins anew
            case Spent():
                record(ev.ReviewSpent(event.session, event.usage))
                self.spent = event.usage.cost_usd or 0.0
                return self._overspent()
            case Ended():
                self.answer = event.answer
        return None

    def _overspent(self) -> Failure | None:
        budget = self.started.budget
        if budget is None or self.spent < budget:
            return None
        why = f"it has spent ${self.spent:.2f} of the ${budget:.2f} that it may"
        return Failure(ev.Outcome.BUDGET, why)
