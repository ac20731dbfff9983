"""So many agents are held against the memory that is free."""

from auto_build.machine import free_mb, too_many


def test_what_fits_is_not_worth_a_word() -> None:
    assert too_many(2, 300, free=4_000) == ""


def test_what_does_not_fit_is_told_with_what_would() -> None:
    told = too_many(8, 1_024, free=4_000)
    assert told.startswith("8 workers need about 8.0 GiB of memory (1024 MiB each)")
    assert told.endswith("--parallel 3 would fit")


def test_one_worker_is_the_least() -> None:
    assert too_many(2, 9_000, free=100).endswith("--parallel 1 would fit")


def test_something_is_free_here() -> None:
    assert free_mb() > 0
