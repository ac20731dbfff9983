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

    @property
    def standing(self) -> Standing:
        """How the check stands, if this run is believed."""
        if self.green:
            return GREEN
        return WHOLE if self.tests is None else Standing(self.failed)


@dataclass(frozen=True, slots=True)
class Combined:
    """What several runs on the same tree came to.

    `passed` says that in one of them nothing failed that had not failed before. `flaky` are the
    tests that answered both ways; where a command did so without naming tests, `flaky_as_a_whole`
    is set. `steady` says that some test failed in each run that had not failed before.
    """

    passed: bool
    standing: Standing
    flaky: frozenset[str] = frozenset()
    flaky_as_a_whole: bool = False
    steady: bool = True


def combine(answers: Sequence[Answer], before: Standing | None = None) -> Combined:
    """Return what runs of one check on one tree say together, compared with how it stood before.

    One run in which nothing new fails is enough: whatever failed in the others is flaky. Runs that
    only clear each other's failures are not: then it was never seen to pass.
    """
    seen: frozenset[str] = reduce(frozenset.union, (one.failed for one in answers), frozenset())
    clean = next((one for one in answers if one.standing.is_no_worse_than(before)), None)
    if clean is not None:
        flaky = seen - clean.failed
        both = clean.green and not all(one.green for one in answers)
        return Combined(
            passed=True, standing=clean.standing, flaky=flaky, flaky_as_a_whole=both and not flaky
        )
    named = [one.failed for one in answers if one.tests is not None]
    if not named:
        return Combined(passed=False, standing=WHOLE)
    always = Standing(reduce(frozenset.intersection, named))
    steady = not always.is_no_worse_than(before)
    standing = always if steady else Standing(named[-1])
    return Combined(passed=False, standing=standing, flaky=seen - always.failed, steady=steady)
