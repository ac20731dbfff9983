"""What follows when an agent stops without work that could land. One table, and when it ends.

An outcome is what was seen, not what was said. What follows from it is decided here and nowhere
else; how often it may follow is bounded by `retries` and by `repeats`: the same failure twice on a
chunk stops that chunk.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from auto_build.core.events import Outcome

MOST_BACKOFFS: Final = 8  # pauses of one attempt because the service is overloaded


class Step(StrEnum):
    """What follows."""

    GIVE_UP = "give up"  # nothing lands; a person has to say what to do
    AGAIN = "again"  # from a fresh base, with a fresh conversation
    RESUME = "resume"  # the same conversation, at once
    WAIT = "wait"  # the same conversation, when the usage limit has reset; nobody starts before
    BACK_OFF = "back off"  # the same conversation, after a pause, with fewer at once
    STOP_RUN = "stop the run"  # nobody can work; the same conversation in the next run
    ASK_FOR_MONEY = "ask for money"  # the same conversation, while the run's budget has any left


NEXT: Final[Mapping[Outcome, Step]] = MappingProxyType(
    {
        Outcome.NO_CHANGE: Step.GIVE_UP,
        Outcome.NEEDS_INPUT: Step.GIVE_UP,
        Outcome.REFUSED: Step.GIVE_UP,
        Outcome.MAX_TURNS: Step.GIVE_UP,
        Outcome.BUDGET: Step.ASK_FOR_MONEY,
        Outcome.CONTEXT_FULL: Step.AGAIN,
        Outcome.AUTH: Step.STOP_RUN,
        Outcome.RATE_LIMIT: Step.WAIT,
        Outcome.OVERLOADED: Step.BACK_OFF,
        Outcome.AGENT_ERROR: Step.AGAIN,
        Outcome.IDLE: Step.AGAIN,
        Outcome.TIMEOUT: Step.AGAIN,
        Outcome.CRASHED: Step.RESUME,
        Outcome.CAPTURE_FAILED: Step.AGAIN,
        Outcome.CHECKS_RED: Step.GIVE_UP,
        Outcome.CONFLICT: Step.GIVE_UP,
    }
)


@dataclass(frozen=True, slots=True)
class Setback:
    """How a try failed: what was seen, in words, and where what it left is pinned, if anywhere."""

    outcome: Outcome
    reason: str
    pin: str = ""

    @property
    def signature(self) -> str:
        """What makes two failures the same: times, ids and places in them do not."""
        text = self.reason.casefold()
        for pattern, word in _VARYING:
            text = pattern.sub(word, text)
        return f"{self.outcome.value}: {' '.join(text.split())[:2000]}"

    def in_words(self) -> str:
        """Return the reason, and where what it left is kept."""
        return f"{self.reason}; what it left is kept as {self.pin}" if self.pin else self.reason


def repeats(earlier: Iterable[Setback], setback: Setback) -> bool:
    """Say whether a failure was met before."""
    return setback.signature in {one.signature for one in earlier}


_VARYING: Final = (
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b(?=\w*\d)[0-9a-f]{7,40}\b"), "<id>"),
    (re.compile(r"/\S*auto-build-worker-\d+"), "<worktree>"),
    (re.compile(r"/\S*\.worktrees/kept/\S+"), "<kept>"),
    (re.compile(r"\b\d+(?:\.\d+)? ?(?:m?s|min|seconds)\b|\b\d+\.\d+\b"), "<time>"),
)
