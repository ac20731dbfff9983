"""May a build be merged? How its reviews stand, held against staging's head. Pure."""

from dataclasses import dataclass
from typing import Final

from auto_build.core.findings import Source
from auto_build.core.qa import Qa, Standing

_SHORT: Final = 10


@dataclass(frozen=True, slots=True)
class Cleared:
    """It may be; `why` says on whose word."""

    why: str


@dataclass(frozen=True, slots=True)
class Held:
    """It may not be, and why not; what is left is to be said with a reason."""

    why: str


def find_clearance(
    qa: Qa, head: str, *, reviews: bool, whole: bool = True, forced: str = ""
) -> Cleared | Held:
    """Say whether what staging holds at `head` may go to the user's branch.

    Args:
        qa: how the reviews stand.
        head: staging's head.
        reviews: whether the project has its builds reviewed.
        whole: whether everything has landed; nobody can have approved a part as the whole.
        forced: the reason that somebody gave for doing without an approval.
    """
    if forced:
        return Cleared(f"merged without an approval: {forced}")
    if not reviews:
        return Cleared("not reviewed: reviews are switched off in the settings ([qa] review)")
    if qa.skipped:
        return Cleared(f"not reviewed: {qa.skipped}")
    if not whole:
        return Held("a part of it has not landed, so that nobody has approved it as a whole")
    if approval := qa.find_approval(head):
        who = "a person" if approval.of is Source.PERSON else "a reviewer"
        return Cleared(f"approved by {approval.by or who} in round {approval.round}")
    return Held(_lacking(qa, head))


def _lacking(qa: Qa, head: str) -> str:
    match qa.standing(head):
        case Standing.REVIEWING:
            return "a review was begun and has not ended"
        case Standing.REJECTED | Standing.FIXING:
            count = len(qa.open)
            found = f"{count} finding{'' if count == 1 else 's'}"
            return f"the review of round {qa.round} rejected it, with {found}"
        case Standing.VOID if qa.last:
            return (
                f"what was approved is {qa.last.commit[:_SHORT]}, and staging is at"
                f" {head[:_SHORT]} now"
            )
        case Standing.STOPPED:
            return f"its reviews ended without an approval: {qa.stopped}"
        case _:
            return "nobody has reviewed it"
