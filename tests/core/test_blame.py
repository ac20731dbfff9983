"""Blame: a red check is laid to the few landings that it takes, and to no more than was tried."""

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auto_build.core.blame import Explanation, Trial, bound, explain

Tried = tuple[str, ...]
Oracle = Callable[[Tried], Trial]

EIGHT = tuple("abcdefgh")


def landed(count: int) -> tuple[str, ...]:
    """Return the names of this many landings, oldest first."""
    return tuple(f"landing-{number}" for number in range(count))


def caused_by(cause: Iterable[str]) -> Oracle:
    """Return a check that is red as soon as all of the cause has landed."""
    needed = frozenset(cause)
    return lambda tried: Trial.RED if needed <= set(tried) else Trial.GREEN


def run(items: Sequence[str], oracle: Oracle, *, most: int) -> tuple[Explanation[str], list[Tried]]:
    """Drive the search with the oracle's answers; return its result and all that it tried."""
    search = explain(items, most=most)
    tried: list[Tried] = []
    answer: Trial | None = None
    while True:
        try:
            asked = next(search) if answer is None else search.send(answer)
        except StopIteration as done:
            found: Explanation[str] = done.value
            return found, tried
        tried.append(asked)
        answer = oracle(asked)


def causes(items: Sequence[str]) -> list[Tried]:
    """Return all singles, pairs and triples."""
    return [cause for size in (1, 2, 3) for cause in combinations(items, size)]


# --- causes that stay when more lands ------------------------------------------------------------


@pytest.mark.parametrize("cause", causes(EIGHT), ids="".join)
def test_any_one_two_or_three_of_eight_landings_are_named_within_the_bound(cause: Tried) -> None:
    found, tried = run(EIGHT, caused_by(cause), most=bound(8))
    assert found == Explanation(cause, trials=len(tried), minimal=True)


@pytest.mark.parametrize("count", range(1, 13))
def test_the_bound_is_enough_for_every_cause_and_one_less_is_not(count: int) -> None:
    items = landed(count)
    spent = []
    for cause in causes(items):
        found, tried = run(items, caused_by(cause), most=bound(count))
        assert (found.together, found.minimal) == (cause, True)
        spent.append(len(tried))
    assert max(spent) == bound(count)


@pytest.mark.parametrize("count", [*range(13, 33), 33, 48, 64, 100])
def test_the_bound_is_enough_for_causes_drawn_from_longer_queues(count: int) -> None:
    items = landed(count)
    dice = Random(count)
    for size in (1, 2, 3):
        for _ in range(40):
            cause = tuple(items[place] for place in sorted(dice.sample(range(count), size)))
            found, _ = run(items, caused_by(cause), most=bound(count))
            assert (found.together, found.minimal) == (cause, True)


@pytest.mark.slow
@pytest.mark.parametrize("count", range(13, 33))
def test_the_bound_is_exact_up_to_thirty_two_landings(count: int) -> None:
    items = landed(count)
    runs = [(cause, run(items, caused_by(cause), most=99)) for cause in causes(items)]
    assert all(found.together == cause and found.minimal for cause, (found, _) in runs)
    assert max(found.trials for _, (found, _) in runs) == bound(count)


def test_more_landings_never_get_fewer_trials() -> None:
    bounds = [bound(count) for count in range(200)]
    assert bounds == sorted(bounds)
    assert (bounds[0], bounds[1]) == (0, 0)


def test_a_newer_landing_is_found_in_fewer_trials_where_the_count_allows_it() -> None:
    items = landed(20)
    newest, _ = run(items, caused_by(items[-1:]), most=99)
    oldest, _ = run(items, caused_by(items[:1]), most=99)
    assert newest.trials < oldest.trials


def test_a_cause_of_more_than_three_is_named_too_if_there_are_trials_for_it() -> None:
    cause = tuple("bdefh")
    found, _ = run(EIGHT, caused_by(cause), most=99)
    assert (found.together, found.minimal) == (cause, True)


@pytest.mark.parametrize("items", [(), ("a",)])
def test_nothing_is_tried_where_at_most_one_landing_can_be_to_blame(items: Tried) -> None:
    found, tried = run(items, caused_by(items), most=99)
    assert found == Explanation(items, trials=0, minimal=True)
    assert tried == []


def test_landings_that_look_alike_are_told_apart_by_their_place() -> None:
    found, tried = run(("x", "x", "x"), lambda _: Trial.GREEN, most=99)
    assert found == Explanation(("x", "x", "x"), trials=len(tried), minimal=True)
    assert tried.count(("x", "x")) == 3, "each of the three was left out once"


# --- trials that say nothing ---------------------------------------------------------------------


def test_a_landing_that_cannot_be_built_without_an_earlier_one_brings_it_along() -> None:
    def oracle(tried: Tried) -> Trial:
        if "g" in tried and "c" not in tried:
            return Trial.UNRESOLVED
        return caused_by("g")(tried)

    found, _ = run(EIGHT, oracle, most=99)
    assert found.together == ("c", "g")
    assert not found.minimal, "the check was never seen green without c"


def test_a_trial_that_is_beside_the_point_does_not_keep_the_answer_from_being_minimal() -> None:
    def oracle(tried: Tried) -> Trial:
        if tried == tuple("abcd"):
            return Trial.UNRESOLVED
        return caused_by("bf")(tried)

    found, tried = run(EIGHT, oracle, most=99)
    assert tuple("abcd") in tried
    assert (found.together, found.minimal) == (("b", "f"), True)


def test_if_no_trial_says_anything_all_landings_stay_under_suspicion() -> None:
    found, tried = run(EIGHT, lambda _: Trial.UNRESOLVED, most=99)
    assert (found.together, found.minimal) == (EIGHT, False)
    assert found.trials == len(tried) <= 99


# --- the bound is reached ------------------------------------------------------------------------


def test_without_a_single_trial_all_landings_explain_it() -> None:
    found, tried = run(EIGHT, caused_by("b"), most=0)
    assert found == Explanation(EIGHT, trials=0, minimal=False)
    assert tried == []


@pytest.mark.parametrize("most", range(12))
def test_at_the_bound_the_smallest_set_seen_red_is_named(most: int) -> None:
    oracle = caused_by("adg")
    found, tried = run(EIGHT, oracle, most=most)
    red = [EIGHT, *(one for one in tried if oracle(one) is Trial.RED)]
    assert len(tried) <= most
    assert found.together == min(red, key=len)
    assert not found.minimal


def test_one_trial_short_of_proving_it_the_right_set_is_not_called_minimal() -> None:
    whole, _ = run(EIGHT, caused_by("adg"), most=99)
    short, _ = run(EIGHT, caused_by("adg"), most=whole.trials - 1)
    assert short == Explanation(("a", "d", "g"), trials=whole.trials - 1, minimal=False)


# --- checks that obey no rule --------------------------------------------------------------------

answers = st.lists(st.sampled_from(Trial), min_size=1, max_size=40)


def whimsical(answers: Sequence[Trial]) -> tuple[Oracle, dict[Tried, Trial]]:
    """Return an oracle that answers from the list in turn, and what it has said."""
    said: dict[Tried, Trial] = {}

    def oracle(tried: Tried) -> Trial:
        said.setdefault(tried, answers[len(said) % len(answers)])
        return said[tried]

    return oracle, said


@given(st.integers(0, 12), answers, st.integers(0, 60))
@example(3, [Trial.GREEN, Trial.RED], 60)  # a part is red, though the first half of it is not
def test_whatever_the_trials_say_the_answer_is_red_and_minimal_only_if_it_was_seen(
    count: int, answers: list[Trial], most: int
) -> None:
    items = landed(count)
    oracle, said = whimsical(answers)
    found, tried = run(items, oracle, most=most)
    said |= {(): Trial.GREEN} | ({items: Trial.RED} if items else {})
    without_one = list(combinations(found.together, max(len(found.together) - 1, 0)))

    assert len(set(tried)) == len(tried) == found.trials <= most
    assert not {(), items} & set(tried)
    assert all(one == tuple(name for name in items if name in one) for one in tried)
    if items:
        assert said[found.together] is Trial.RED
        assert found.minimal == all(said.get(one) is Trial.GREEN for one in without_one)
    if found.trials < most:
        assert all(said.get(one) is not Trial.RED for one in without_one if one != items)


@given(st.sets(st.sets(st.sampled_from(EIGHT), min_size=1).map(frozenset), max_size=20))
def test_a_check_that_is_red_on_some_sets_only_is_explained_by_one_of_them(
    red: set[frozenset[str]],
) -> None:
    red = red | {frozenset(EIGHT)}
    found, _ = run(
        EIGHT, lambda tried: Trial.RED if frozenset(tried) in red else Trial.GREEN, most=999
    )
    together = frozenset(found.together)
    assert together in red
    assert found.minimal
    assert not any(together - {name} in red for name in together)
