"""How a build stands, in the words that lists, refusals and queues use."""

from dataclasses import replace

import pytest

from auto_build.core.findings import Finding, Review, Severity, Verdict
from auto_build.core.qa import Qa, Standing
from auto_build.core.view import Label, Row, Times, View
from auto_build.core.waiting import describe, is_through

ROW = Row("one", "", "p1", Label.LANDED, 1, None, None, "", "c0ffee", (), (), "", "")
DONE = View("001", "", (ROW,), (), open=False, merged="", discarded=False, times=Times())
FAILED = replace(DONE, rows=(ROW, replace(ROW, id="two", label=Label.FAILED)))
FOUND = tuple(Finding(severity=Severity.MAJOR, what=f"{number}") for number in range(2))


def _reviewed(standing: Standing, verdict: Verdict, *found: Finding, stopped: str = "") -> View:
    review = Review(round=1, commit="c0ffee0123456789", verdict=verdict, findings=found)
    return replace(DONE, standing=standing, qa=Qa(reviews=(review,), stopped=stopped))


@pytest.mark.parametrize(
    ("view", "words", "through", "unreviewed"),
    [
        (DONE, "finished, waiting for your approval", False, True),
        (replace(DONE, parked=True), "parked, finished, waiting for your approval", False, True),
        (FAILED, "unfinished, 1 of 2 chunks landed, 1 failed", False, False),
        (replace(FAILED, merged="main at 1"), "merged into main at 1", True, True),
        (
            _reviewed(Standing.APPROVED, Verdict.APPROVED),
            "approved at c0ffee0123, waiting to be merged",
            True,
            True,
        ),
        (
            _reviewed(Standing.VOID, Verdict.APPROVED),
            "approved, and changed since",
            False,
            False,
        ),
        (
            _reviewed(Standing.REJECTED, Verdict.REJECTED, *FOUND),
            "rejected with 2 findings",
            False,
            False,
        ),
        (
            _reviewed(Standing.STOPPED, Verdict.REJECTED, *FOUND, stopped="no progress"),
            "not approved: no progress",
            False,
            False,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_build_stands_in_a_few_words_and_is_through_or_can_be_gone_on_with(
    view: View,
    words: str,
    through: bool,
    unreviewed: bool,
) -> None:
    assert describe(view) == words
    assert is_through(view, reviewed=True) is through
    assert is_through(view, reviewed=False) is unreviewed
