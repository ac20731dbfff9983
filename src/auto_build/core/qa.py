"""How the review rounds of a build stand: the part of a RunState that reviews and people write.

An approval is for one commit, and whatever lands afterwards voids it: it is always asked for
together with staging's head.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from auto_build.core import events as ev
from auto_build.core.findings import Comment, Finding, Review, Verdict
from auto_build.core.plan import ChunkId


class Standing(StrEnum):
    """How the rounds stand, in a word."""

    NONE = "not reviewed"
    REVIEWING = "reviewing"
    FIXING = "fixing"
    APPROVED = "approved"
    VOID = "approved, and changed since"
    REJECTED = "rejected"
    STOPPED = "stopped"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Qa:
    """What was reviewed so far, the oldest first.

    `reviewing` is a review that was begun and has not ended. The present rounds began after round
    `begun_at`, with `before` reviews; they may be `rounds`, and are `under_way` until they end.
    `stopped` says why they ended without an approval, `skipped` why nobody is to look. `at` is what
    had landed last when the last review ended; `in_staging` are chunks whose agents work in the
    staging worktree.
    """

    reviews: tuple[Review, ...] = ()
    reviewing: ev.ReviewStarted | None = None
    comments: tuple[Comment, ...] = ()
    begun_at: int = 0
    before: int = 0
    rounds: int = 0
    under_way: bool = False
    stopped: str = ""
    skipped: str = ""
    at: str = ""
    in_staging: frozenset[ChunkId] = frozenset()

    @property
    def last(self) -> Review | None:
        """The last review that came to its end, with or without a verdict."""
        return self.reviews[-1] if self.reviews else None

    @property
    def round(self) -> int:
        """The round of the last review, 0 before the first."""
        return self.last.round if self.last else 0

    @property
    def open(self) -> tuple[Finding, ...]:
        """What has to be mended: what the last round found since its last approval, each once."""
        found: list[Finding] = []
        for review in reversed(self.reviews):
            if review.round != self.round or review.verdict is Verdict.APPROVED:
                break
            found[:0] = review.blocking
        return tuple({one.key: one for one in found}.values())

    def find_approval(self, head: str) -> Review | None:
        """Return the approval of staging's head, if the last word on it is one."""
        last = self.last
        approved = last is not None and last.verdict is Verdict.APPROVED and last.commit == head
        return last if approved else None

    def standing_after(self, landed: str) -> Standing:
        """Say in a word how the rounds stand, where `landed` is what has landed last."""
        same = self.last is not None and landed == self.at
        return self.standing(self.last.commit if self.last and same else landed)

    def standing(self, head: str) -> Standing:
        """Say in a word how the rounds stand, where staging is at `head`."""
        if self.skipped:
            return Standing.SKIPPED
        if self.reviewing:
            return Standing.REVIEWING
        match self.last.verdict if self.last else None:
            case Verdict.APPROVED:
                return Standing.APPROVED if self.find_approval(head) else Standing.VOID
            case Verdict.REJECTED if self.under_way:
                return Standing.FIXING
            case Verdict.REJECTED if not self.stopped:
                return Standing.REJECTED
            case _:
                return Standing.STOPPED if self.stopped else Standing.NONE

    def after(self, event: ev.QaEvent, landed: str) -> "Qa":
        """Return how the rounds stand after an event; `landed` is what had landed last."""
        match event:
            case ev.QaBegan():
                return replace(
                    self,
                    begun_at=self.round,
                    before=len(self.reviews),
                    rounds=event.rounds,
                    under_way=True,
                    stopped="",
                    skipped="",
                )
            case ev.QaStopped():
                return replace(self, under_way=False, reviewing=None, stopped=event.why)
            case ev.QaSkipped():
                return replace(self, under_way=False, reviewing=None, skipped=event.why)
            case ev.ReviewStarted():
                return replace(self, reviewing=event)
            case ev.Reviewed():
                return replace(self._reviewed(event.review), at=landed)
            case ev.FixesAsked():
                ids = {chunk.id for chunk in event.phase.chunks} if event.in_staging else set()
                return replace(self, in_staging=self.in_staging | ids)
            case ev.Commented():
                return replace(self, comments=(*self.comments, event.comment))

    def _reviewed(self, review: Review) -> "Qa":
        approved = review.verdict is Verdict.APPROVED
        return replace(
            self,
            reviews=(*self.reviews, review),
            reviewing=None,
            under_way=self.under_way and not approved,
            stopped="" if review.verdict is not Verdict.NONE else self.stopped,
            skipped="",
        )
