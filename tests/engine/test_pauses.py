"""Pauses grow, have an end, and do not bring everybody back at the same moment."""

from auto_build.engine.pauses import Pauses


def test_each_pause_is_about_twice_as_long_until_it_is_long_enough() -> None:
    pauses = Pauses(10.0)
    for number in range(1, 12):
        least = min(10.0 * 2 ** (number - 1), 600.0)
        assert least <= pauses.for_overload(number) <= least + 5.0


def test_a_limit_of_unknown_length_is_waited_for_longer_than_a_crowd() -> None:
    assert Pauses(10.0).for_limit(1) >= 60.0
    assert Pauses(10.0).for_limit(99) <= 3_600.0 + 30.0


def test_pauses_are_spread() -> None:
    assert len({Pauses(10.0).for_overload(3) for _ in range(20)}) > 1
