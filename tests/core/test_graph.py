"""An order to work in, the longest way to the end, and who would meet over a file."""

from hypothesis import given, settings

from auto_build.core.claims import Claim
from auto_build.core.graph import length_to_end, order, overlapping_pairs
from auto_build.core.plan import ChunkId, Plan
from tests.core.strategies import chunk, phase, plans

A, B, C, D = ChunkId("a"), ChunkId("b"), ChunkId("c"), ChunkId("d")


def test_each_chunk_comes_after_what_it_depends_on() -> None:
    late = phase("p", chunk("c", "c", after="b"), chunk("b", "b", after="a"))
    plan = Plan("", (late, phase("q", chunk("a", "a"))))
    assert order(plan) == (A, B, C)


def test_the_length_to_the_end_counts_the_chunks_on_the_longest_way() -> None:
    top, left = chunk("a", "a"), chunk("b", "b", after="a")
    bottom, beside = chunk("c", "c", after="ab"), chunk("d", "d")
    plan = Plan("", (phase("p", top, left, bottom, beside),))
    assert length_to_end(plan) == {A: 3, B: 2, C: 1, D: 1}


def test_a_chunk_that_is_only_followed_counts_as_well() -> None:
    plan = Plan("", (phase("p", chunk("a", "a"), chunk("b")),))
    assert length_to_end(plan) == {A: 2, B: 1}


@settings(max_examples=40, deadline=None)
@given(plans())
def test_the_way_to_the_end_gets_shorter_with_each_chunk(plan: Plan) -> None:
    length = length_to_end(plan)
    assert min(length.values()) == 1
    for one in plan.chunks:
        for above in plan.needs[one] | plan.follows[one]:
            assert length[above] > length[one]


def test_chunks_that_could_run_side_by_side_but_for_a_claim_are_paired() -> None:
    one, other = phase("p", chunk("a", "src/")), phase("q", chunk("b", "x", "SRC/a.py"))
    assert overlapping_pairs(Plan("", (one, other))) == [(A, B, Claim("src/"), Claim("SRC/a.py"))]


def test_chunks_that_come_after_each_other_anyway_are_no_pair() -> None:
    chunks = (chunk("a", "x"), chunk("b", "b", after="a"), chunk("c", "x", after="b"))
    assert overlapping_pairs(Plan("", (phase("p", *chunks),))) == []
    assert overlapping_pairs(Plan("", (phase("p", *reversed(chunks)),))) == []


def test_no_more_than_two_hundred_pairs_are_told() -> None:
    chunks = (chunk(f"c{n}", "same") for n in range(25))  # 300 pairs
    assert len(overlapping_pairs(Plan("", (phase("p", *chunks),)))) == 200
