"""Words of agents and services are read in bounded time, whatever they say."""

from time import process_time

import pytest

from auto_build.agents.words import find_answer, find_reset, why_in_words

NOW = 1_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("try again in 6m0s", 360.0), ("Please retry in 34.07s", 34.07), ('retryDelay: "34s"', 34.0)],
)
def test_a_limit_s_end_is_read_where_it_is_stated(text: str, seconds: float) -> None:
    assert find_reset(text, now=NOW) == pytest.approx(NOW + seconds)


def test_an_answer_behind_many_braces_that_begin_none_is_found() -> None:
    assert find_answer("{" * 500 + ' so: {"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    "text", ["try again in " + "1" * 100_000, "{" * 250_000, "retry after " + "1s, " * 50_000]
)
def test_hostile_words_do_not_hold_the_coordinator_up(text: str) -> None:
    begun = process_time()
    find_reset(text, now=NOW)
    find_answer(text)
    why_in_words(text)
    assert process_time() - begun < 20.0  # before they were bounded: minutes
