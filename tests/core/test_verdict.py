"""What a red check holds against a candidate, and what several runs of it say together."""

import pytest

from auto_build.core.runners import Tests as Said
from auto_build.core.verdict import GREEN, NO_TESTS, WHOLE, Answer, Standing, combine


def green() -> Answer:
    return Answer(green=True, tests=Said(frozenset(), 9))


def red(*failed: str) -> Answer:
    return Answer(green=False, tests=Said(frozenset(failed), 9 - len(failed)))


def crash() -> Answer:
    return Answer(green=False)


def standing(*failed: str) -> Standing:
    return Standing(frozenset(failed))


# --- several runs on one tree --------------------------------------------------------------------


def test_what_failed_in_each_run_fails() -> None:
    both = combine([red("a", "b"), red("b", "c")])
    assert (both.passed, both.standing, both.flaky) == (False, standing("b"), frozenset("ac"))


def test_one_green_run_is_enough_and_what_failed_in_the_others_is_flaky() -> None:
    both = combine([red("a"), crash(), green()])
    assert (both.passed, both.standing, both.flaky) == (True, GREEN, frozenset("a"))


def test_one_run_in_which_only_old_failures_are_left_is_enough() -> None:
    both = combine([red("a", "old"), red("old")], standing("old"))
    assert (both.passed, both.standing, both.flaky) == (True, standing("old"), frozenset("a"))


def test_runs_that_only_clear_each_other_are_no_pass() -> None:
    both = combine([red("a"), red("b")])
    assert not both.passed
    assert not both.steady
    assert both.standing == standing("b"), "the last one is what an agent is told"
    assert not combine([red("a", "old"), red("b", "old")], standing("old")).passed


def test_a_run_that_names_no_tests_clears_none() -> None:
    assert combine([red("a"), crash()]).standing == standing("a")
    assert combine([crash(), crash()]).standing == WHOLE


def test_a_command_that_names_no_tests_can_be_flaky_as_a_whole() -> None:
    both = combine([crash(), green()])
    assert (both.standing, both.flaky, both.flaky_as_a_whole) == (GREEN, frozenset(), True)
    assert not combine([green()]).flaky_as_a_whole
    assert not combine([red("a"), green()]).flaky_as_a_whole, "its test is"


def test_a_suite_without_tests_fails_by_that_and_by_nothing_else() -> None:
    none = Answer(green=False, tests=Said(frozenset(), 0))
    assert combine([none]).standing == standing(NO_TESTS)


# --- compared with the tree before ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "before", "new"),
    [
        (standing("a"), standing("a", "b"), set()),
        (standing("a", "c"), standing("a", "b"), {"c"}),  # as many as before, and one of them new
        (standing("a"), GREEN, {"a"}),
        (standing("a"), None, {"a"}),
        (GREEN, standing("a"), set()),
        (WHOLE, WHOLE, set()),
        (standing("a"), WHOLE, set()),  # what is new cannot be told
        (WHOLE, standing("a"), None),
        (WHOLE, GREEN, None),
        (standing(NO_TESTS), standing(NO_TESTS), set()),
        (standing("a"), standing(NO_TESTS), {"a"}),
        (standing(NO_TESTS), GREEN, {NO_TESTS}),  # somebody deleted them all
    ],
)
def test_only_what_is_new_is_held_against_a_candidate(
    now: Standing, before: Standing | None, new: set[str] | None
) -> None:
    assert now.holds_against(before) == new
    assert now.is_no_worse_than(before) is (new == set())
