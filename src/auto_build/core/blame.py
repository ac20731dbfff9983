"""Which of the landed chunks explain, together with a candidate, that a check is red.

This module asks and never runs a check: `explain` yields what to try, and whoever drives it sends
back what came of it. Invariant: what it answers with was tried and found red, whatever the trials
say.

It is delta debugging: A. Zeller and R. Hildebrandt, "Simplifying and Isolating Failure-Inducing
Input", IEEE Transactions on Software Engineering 28(2), 2002. Their ddmin, which asks nothing of
the check, has the last word (`_pare`). It goes over what `_bisect` leaves, since the sets are small
here and most causes stay when more is added to them; those are found in far fewer trials.
"""

from bisect import bisect_left
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Generic, TypeVar

T = TypeVar("T")
_Chosen = tuple[int, ...]  # places in the items, rising

# how many landings 0, 1, 2, ... trials are enough for, as `bound` promises it
_ENOUGH_FOR: Final = (1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 5, 5, 6, 7, 8, 12, 14, 16, 24, 28, 32)


class Trial(StrEnum):
    """What the check came to on the base with some of the landings and the candidate.

    Unresolved: the tree cannot be built, or the check failed in another way.
    """

    RED = "red"
    GREEN = "green"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True)
class Explanation(Generic[T]):
    """The smallest set that was found red, in the order of the items.

    `minimal` says that the check was seen green without any one of them. It is False where the
    bound was reached first, or where leaving one out could not be tried.
    """

    together: tuple[T, ...]
    trials: int
    minimal: bool


def bound(n: int) -> int:
    """Return how many trials find any cause of up to three landings among `n`, exactly.

    Up to 32 landings it is what the worst triple takes, measured over all of them, so one trial
    less would not do. The worst cases were:

        landings   2   3   4   5   6   7   8  12  16  24  32
        a single   2   3   3   4   4   4   4   5   5   6   6
        a pair     2   5   7   8   8   9   9  10  11  12  13
        a triple       4   9  10  12  13  14  15  17  18  20
    """
    if n <= _ENOUGH_FOR[-1]:
        return bisect_left(_ENOUGH_FOR, n)
    # three rounds that bisect and try what is found, then two trials that leave one of three out
    return 3 * ((n - 1).bit_length() + 1) + 2


def explain(items: Sequence[T], *, most: int) -> Generator[tuple[T, ...], Trial, Explanation[T]]:
    """Yield the subsets to try, oldest first as in `items`; return what explains the red check.

    All of `items` together are known to be red and none of them to be green: neither is yielded,
    and no subset twice. At most `most` trials are asked for. Without items the candidate is red by
    itself, and nothing is needed to explain it.
    """
    trials = _Trials(items, most)
    held = yield from _bisect(trials)
    held = yield from _pare(trials, held)
    return Explanation(
        together=trials.named(held),
        trials=trials.made,
        minimal=all(trials.known.get(rest) is Trial.GREEN for rest in _without_one(held)),
    )


@dataclass(slots=True)
class _Trials(Generic[T]):
    """What has been tried. Past the bound nothing is asked, and what is not known is not red."""

    items: Sequence[T]
    most: int
    known: dict[_Chosen, Trial] = field(init=False)
    made: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.known = {self.whole: Trial.RED, (): Trial.GREEN}

    @property
    def whole(self) -> _Chosen:
        return tuple(range(len(self.items)))

    def named(self, chosen: _Chosen) -> tuple[T, ...]:
        return tuple(self.items[place] for place in chosen)

    def is_red(self, chosen: _Chosen) -> Generator[tuple[T, ...], Trial, bool]:
        if chosen not in self.known and self.made < self.most:
            self.made += 1
            self.known[chosen] = yield self.named(chosen)
        return self.known.get(chosen) is Trial.RED


def _bisect(trials: _Trials[T]) -> Generator[tuple[T, ...], Trial, _Chosen]:
    """Return a red set that holds nothing but its causes, if adding to a cause leaves it one.

    The landings are cut off after the newest that is needed, then after the next newest together
    with that one, and so on. It goes from this end because the first landings alone are a tree
    that has existed; a later landing without the earlier ones may not even merge.
    """
    older = trials.whole
    needed: _Chosen = ()  # red together with the older ones
    while older and not (yield from trials.is_red(needed)):
        enough = yield from _shortest(trials, older, needed)
        older, needed = older[: enough - 1], (older[enough - 1], *needed)
    return needed


def _shortest(
    trials: _Trials[T], older: _Chosen, needed: _Chosen
) -> Generator[tuple[T, ...], Trial, int]:
    """Return how many of the older ones, from the oldest on, are red with those needed."""
    few, enough = 0, len(older)
    while enough - few > 1:
        # the power of two goes to the old side: the newer are likelier, and so take fewer trials
        middle = few + (1 << (enough - few - 1).bit_length() - 1)
        if (yield from trials.is_red(older[:middle] + needed)):
            enough = middle
        else:
            few = middle
    return enough


def _pare(trials: _Trials[T], held: _Chosen) -> Generator[tuple[T, ...], Trial, _Chosen]:
    """Return a red part of `held` from which no single one can be left out.

    This is ddmin at its finest grain. The coarser ones, which drop halves and quarters, were found
    to save nothing over what `_bisect` leaves, be the check monotone or not.
    """
    while len(held) > 1:
        for rest in _without_one(held):
            if (yield from trials.is_red(rest)):
                held = rest
                break
        else:
            break
    return held


def _without_one(held: _Chosen) -> Iterator[_Chosen]:
    """Leave out one at a time, the oldest first: the newer are likelier to be needed."""
    return (held[:place] + held[place + 1 :] for place in range(len(held)))
