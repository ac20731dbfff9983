"""Looking ahead is never slower than one by one, and faster where gates take long."""

from functools import cache

import pytest
from benchmarks.merge_queue import Cell, measure

GATES = (0.1, 0.4, 1.0)
BAD = (0.0, 0.05, 0.15, 0.3)


@cache
def cell(chunks: int, workers: int, gate: float, bad: float) -> Cell:
    return measure(chunks=chunks, workers=workers, gate=gate, bad=bad, seeds=2)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("workers", [2, 4, 8])
@pytest.mark.parametrize(
    "chunks",
    [20, pytest.param(40, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.slow)],
)
def test_it_is_never_slower_than_one_by_one(chunks: int, workers: int, bad: float) -> None:
    for gate in GATES:
        found = cell(chunks, workers, gate, bad)
        assert found.ratio <= 1.02, found


@pytest.mark.parametrize(("workers", "gate"), [(4, 0.6), (4, 1.0), (8, 0.4), (8, 1.0)])
def test_it_is_faster_where_gates_take_long_and_little_is_bad(workers: int, gate: float) -> None:
    assert cell(20, workers, gate, 0.0).ratio <= 0.8
    assert cell(20, workers, gate, 0.15).ratio <= 0.9


def test_while_gates_are_short_everything_is_as_one_by_one() -> None:
    found = cell(20, 4, 0.05, 0.0)
    assert (found.ratio, found.gates) == (1.0, 1.0)
