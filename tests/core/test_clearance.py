"""On whose word a build may be merged, and what lacks where it may not."""

import pytest

from auto_build.core import events as ev
from auto_build.core.clearance import Cleared, Held, find_clearance
from auto_build.core.findings import Finding, Review, Severity, Source, Verdict
from auto_build.core.qa import Qa

HEAD, OTHER = "a" * 40, "b" * 40
WRONG = Finding(severity=Severity.MAJOR, what="it is wrong")


def reviewed(verdict: Verdict, commit: str = HEAD, *found: Finding, by: str = "") -> Qa:
    review = Review(round=2, commit=commit, verdict=verdict, findings=found, by=by)
    return after(ev.Reviewed(review))


def after(event: ev.QaEvent) -> Qa:
    return Qa().after(event, HEAD)


BY_ADA = Review(round=1, commit=HEAD, verdict=Verdict.APPROVED, of=Source.PERSON)


@pytest.mark.parametrize(
    ("qa", "why"),
    [
        (Qa(), "nobody has reviewed it"),
        (after(ev.ReviewStarted(1, HEAD)), "a review was begun and has not ended"),
        (reviewed(Verdict.REJECTED, HEAD, WRONG), "of round 2 rejected it, with 1 finding"),
        (reviewed(Verdict.APPROVED, OTHER), f"approved is {OTHER[:10]}, and staging is at"),
        (after(ev.QaStopped("no money")), "ended without an approval: no money"),
    ],
)
def test_what_nobody_has_approved_is_held(qa: Qa, why: str) -> None:
    held = find_clearance(qa, HEAD, reviews=True)
    assert isinstance(held, Held)
    assert why in held.why
    forced = find_clearance(qa, HEAD, reviews=True, forced="tried by hand")
    assert forced == Cleared("merged without an approval: tried by hand")
    assert isinstance(find_clearance(qa, HEAD, reviews=False), Cleared)


@pytest.mark.parametrize(
    ("qa", "why"),
    [
        (reviewed(Verdict.APPROVED, by="claude"), "approved by claude in round 2"),
        (after(ev.Reviewed(BY_ADA)), "approved by a person in round 1"),
        (after(ev.QaSkipped("a typo")), "not reviewed: a typo"),
    ],
)
def test_who_has_approved_it_is_said(qa: Qa, why: str) -> None:
    assert find_clearance(qa, HEAD, reviews=True) == Cleared(why)


def test_nobody_can_have_approved_a_part_as_the_whole() -> None:
    approved = reviewed(Verdict.APPROVED)
    assert isinstance(find_clearance(approved, HEAD, reviews=True, whole=False), Held)
    assert isinstance(find_clearance(approved, HEAD, reviews=False, whole=False), Cleared)
