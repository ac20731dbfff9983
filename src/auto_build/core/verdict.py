"""What a red check holds against a candidate: only what is new, and was seen more than once.

A check is run on one tree once, or several times where it is red. Each run is an `Answer`; together
they say how the check stands on that tree (`Standing`), and a candidate is judged by how it stands
on the tree before. Where the output names the failing tests the judgement is made test by test;
else it is made by the command as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

from auto_build.core.runners import Tests

FEW: Final = 2  # runs of a red check before its agent hears of it
MANY: Final = 8  # runs before a chunk fails: a test that fails in 30 % does so 8 times in 0.007 %
NO_TESTS: Final = "(no tests were found)"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one run of a check came to; `tests` is None where its output names none."""

    green: bool
    tests: Tests | None = None

    @property
    def failed(self) -> frozenset[str]:
        """The tests that failed, as far as they are named."""
        if self.green or self.tests is None:
            return frozenset()
        return self.tests.failed or frozenset({NO_TESTS})


@dataclass(frozen=True, slots=True)
class Standing:
    """How a check stands on a tree: these tests fail, or, with `whole`, it does and names none."""

    failed: frozenset[str] = frozenset()
    whole: bool = False

    @property
    def green(self) -> bool:
        """Whether nothing fails."""
        return not self.failed and not self.whole

    def holds_against(self, before: "Standing | None") -> frozenset[str] | None:
        """Return the tests that fail here and did not before; None where no test is to be named.

        A check that was red as a whole cannot tell what is new: then nothing is held against
        anybody. One that names no tests, and did or was green before, is red as a whole.
        """
        known = before or Standing()
        if known.whole:
            return frozenset()
        return None if self.whole else self.failed - known.failed

    def is_no_worse_than(self, before: "Standing | None") -> bool:
        """Say whether nothing fails that did not before."""
        return self.holds_against(before) == frozenset()


GREEN: Final = Standing()
WHOLE: Final = Standing(whole=True)


@dataclass(frozen=True, slots=True)
class Combined:
    """What several runs on the same tree came to; `flaky` are the tests that answered both ways.

    Where a command answered both ways without naming tests, `flaky_as_a_whole` is set.
    """

    standing: Standing
    flaky: frozenset[str] = frozenset()
    flaky_as_a_whole: bool = False


def combine(answers: Sequence[Answer]) -> Combined:
    """Return what runs of one check on one tree say together.

    A test counts as failing if no run cleared it: one that passed once, passes. A run that names no
    tests clears none.
    """
    seen: frozenset[str] = reduce(frozenset.union, (one.failed for one in answers), frozenset())
    if any(one.green for one in answers):
        return Combined(GREEN, seen, not seen and not all(one.green for one in answers))
    named = [one.failed for one in answers if one.tests is not None]
    if not named:
        return Combined(WHOLE)
    always = reduce(frozenset.intersection, named)
    return Combined(Standing(always), seen - always)
