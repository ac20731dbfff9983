"""Words of agents and services are read in bounded time, whatever they say."""

from time import process_time

import pytest

from auto_build.agents.words import find_answer, find_dropped, find_reset, why_in_words
from auto_build.core.conservation import find_reasons

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
    find_dropped(text)
    why_in_words(text)
    assert process_time() - begun < 20.0  # before they were bounded: minutes


@pytest.mark.parametrize(
    "said",
    [
        "DROPPED: a.txt: twice",
        "**DROPPED:** `a.txt`: twice",
        "- Dropped: ./a.txt - twice",
        '1. DROPPED: "a.txt" \N{EM DASH} twice',
        "> DROPPED: a.txt (line 2): twice",
        "DROPPED: a.txt:2: twice",
        "DROPPED: a.txt:\n  twice",
    ],
)
def test_what_an_agent_left_out_is_read_as_agents_write_it(said: str) -> None:
    statements = find_dropped(f"I am done.\n{said}\nThat is all.")
    assert find_reasons(statements, {"a.txt", "a", "b.txt"}) == {"a.txt": "twice"}


def test_a_path_may_hold_what_ends_it_in_others() -> None:
    said = "DROPPED: x:y.txt: one\nDROPPED: a b: two"
    found = find_reasons(find_dropped(said), {"x:y.txt", "x", "a b", "a"})
    assert found == {"x:y.txt": "one", "a b": "two"}


def test_a_statement_without_a_reason_or_about_another_file_says_nothing() -> None:
    said = "DROPPED: a.txt\nDROPPED: a.txt:\nDROPPED: a.txt.bak: old"
    assert find_reasons(find_dropped(said), {"a.txt"}) == {}
