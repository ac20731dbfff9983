"""A plan that exists is valid, and says what each chunk needs and follows."""

import pytest
from hypothesis import given, settings

from auto_build.core.graph import order
from auto_build.core.plan import (
    ChunkId,
    Flaw,
    InvalidPlan,
    Phase,
    Plan,
    find_flaws,
    upstream,
)
from tests.core.strategies import chunk, phase, plans

A, B, C, D = ChunkId("a"), ChunkId("b"), ChunkId("c"), ChunkId("d")
S1, S2 = ChunkId("s1"), ChunkId("s2")


def the_flaw(*phases: Phase) -> Flaw:
    """Return the one thing that is wrong with these phases."""
    (flaw,) = find_flaws(phases)
    return flaw


# --- what is refused -----------------------------------------------------------------------------


def test_a_plan_without_chunks_is_refused() -> None:
    assert the_flaw().what == "the plan has no chunks"
    assert the_flaw(phase("p"), phase("q")).where == ("phases",)


def test_two_chunks_of_one_id_are_refused_and_the_first_is_named() -> None:
    flaw = the_flaw(phase("p", chunk("a")), phase("q", chunk("b"), chunk("a")))
    assert flaw.where == ("phases", 1, "chunks", 1, "id")
    assert flaw.what == "chunk id is taken already, by phases[0] chunk 1"
    assert flaw.value == "a"


def test_ids_that_differ_by_case_only_are_refused_since_they_share_a_pin() -> None:
    flaw = the_flaw(phase("p", chunk("Login"), chunk("login")))
    assert flaw.where == ("phases", 0, "chunks", 1, "id")
    assert "differ by case only" in flaw.what


def test_two_phases_of_one_id_are_refused() -> None:
    flaw = the_flaw(phase("p", chunk("a")), phase("p", chunk("b")))
    assert flaw.where == ("phases", 1, "id")
    assert flaw.what == "phase id is taken already, by phases[0]"


def test_an_unknown_chunk_is_refused_with_the_one_that_may_be_meant() -> None:
    flaw = the_flaw(phase("p", chunk("add-login"), chunk("b", after=["add-logn"])))
    assert flaw.where == ("phases", 0, "chunks", 1, "depends_on", 0)
    assert flaw.suggestion == "did you mean 'add-login'?"


def test_an_unknown_chunk_like_no_other_is_refused_with_those_there_are() -> None:
    flaw = the_flaw(phase("p", chunk("a"), chunk("b", after=["zzz"])))
    assert flaw.suggestion == "known chunk ids: a, b"


def test_an_unknown_phase_is_refused() -> None:
    flaw = the_flaw(phase("setup", chunk("a")), phase("q", after=["set-up"]))
    assert flaw.where == ("phases", 1, "depends_on", 0)
    assert flaw.suggestion == "did you mean 'setup'?"


def test_nothing_depends_on_itself() -> None:
    assert the_flaw(phase("p", chunk("a", after="a"))).what == "chunk depends on itself"
    assert the_flaw(phase("p", chunk("a"), after="p")).what == "phase depends on itself"


@pytest.mark.parametrize(
    ("phases", "circle"),
    [
        (
            (phase("p", chunk("a", after="b"), chunk("b", after="a")),),
            {"a", "b"},
        ),
        (
            (
                phase("p", chunk("a"), after="r"),
                phase("q", chunk("b"), after="p"),
                phase("r", chunk("c"), after="q"),
            ),
            {"p", "q", "r"},
        ),
        (
            (phase("p", chunk("a", after="b")), phase("q", chunk("b"), after="p")),
            {"a", "b"},
        ),
        (
            (phase("p", chunk("a", after="b"), chunk("b"), parallel_safe=False),),
            {"a", "b"},
        ),
        (
            (
                phase("p", chunk("a", after="c")),
                phase("empty", after="p"),
                phase("r", chunk("c"), after=["empty"]),
            ),
            {"a", "c"},
        ),
    ],
    ids=["chunks", "phases", "a chunk and a phase", "an order inside a phase", "an empty phase"],
)
def test_a_circle_is_refused_and_printed(phases: tuple[Phase, ...], circle: set[str]) -> None:
    flaw = the_flaw(*phases)
    assert flaw.what == "the dependencies go in a circle"
    first, *rest = str(flaw.value).split(" → ")
    assert first == rest[-1]
    assert set(rest) == circle


def test_all_flaws_are_found_at_once() -> None:
    flaws = find_flaws(
        (phase("p", chunk("a", after=["a", "nobody"]), after=["nowhere"]), phase("p", chunk("a")))
    )
    assert [flaw.where for flaw in flaws] == [
        ("phases", 1, "id"),
        ("phases", 1, "chunks", 0, "id"),
        ("phases", 0, "depends_on", 0),
        ("phases", 0, "chunks", 0, "depends_on", 0),
        ("phases", 0, "chunks", 0, "depends_on", 1),
    ]


def test_what_is_no_plan_cannot_be_made_one() -> None:
    with pytest.raises(InvalidPlan) as refused:
        Plan("", (phase("p", chunk("a", after="a")),))
    assert [flaw.value for flaw in refused.value.flaws] == ["a"]


# --- needs ---------------------------------------------------------------------------------------


def test_a_chunk_needs_what_it_depends_on_and_every_chunk_of_the_phases_before() -> None:
    first = phase("p", chunk("a"), chunk("b"))
    plan = Plan("", (first, phase("q", chunk("c"), chunk("d", after="c"), after="p")))
    assert plan.needs == {A: set(), B: set(), C: {A, B}, D: {A, B, C}}


def test_phases_that_say_nothing_need_nothing() -> None:
    plan = Plan("", (phase("p", chunk("a")), phase("q", chunk("b"))))
    assert plan.needs[B] == set()


def test_an_empty_phase_lets_through_to_what_is_before_it() -> None:
    empty = phase("empty", after="p")
    plan = Plan("", (phase("p", chunk("a")), empty, phase("q", chunk("b"), after=["empty"])))
    assert plan.needs[B] == {A}


def test_in_a_phase_that_is_not_parallel_safe_each_chunk_needs_the_one_before() -> None:
    plan = Plan("", (phase("p", chunk("a"), chunk("b"), chunk("c"), parallel_safe=False),))
    assert plan.needs == {A: set(), B: {A}, C: {B}}


# --- follows -------------------------------------------------------------------------------------


def test_a_chunk_that_claims_nothing_follows_those_listed_before_it_in_its_phase() -> None:
    listed = phase("p", chunk("a", "a"), chunk("b", "b"), chunk("s1"), chunk("c", "c"))
    plan = Plan("", (listed, phase("q", chunk("d", "d"), chunk("s2"))))
    assert plan.follows[S1] == {A, B}
    assert plan.follows[S2] == {D}
    assert all(plan.follows[one] == set() for one in (A, B, C, D))


def test_what_depends_on_a_chunk_that_claims_nothing_is_not_followed_by_it() -> None:
    plan = Plan("", (phase("p", chunk("a", "a", after=["s1"]), chunk("b", "b"), chunk("s1")),))
    assert plan.follows[S1] == {B}


def test_following_never_closes_a_circle_through_another_phase() -> None:
    one = phase("p", chunk("a", "a", after=["s2"]), chunk("s1"))
    other = phase("q", chunk("b", "b", after=["s1"]), chunk("s2"))
    plan = Plan("", (one, other))
    assert plan.follows[S1] == {A}
    assert plan.follows[S2] == set()  # b comes after s1, which follows a, which needs s2
    assert order(plan) == (S2, A, S1, B)


@settings(max_examples=40, deadline=None)
@given(plans())
def test_every_plan_has_an_order_in_which_it_can_be_done(plan: Plan) -> None:
    place = {one: n for n, one in enumerate(order(plan))}
    assert set(place) == set(plan.chunks)
    for one in plan.chunks:
        assert all(place[above] < place[one] for above in plan.needs[one] | plan.follows[one])


@settings(max_examples=40, deadline=None)
@given(plans())
def test_following_is_left_out_only_where_it_would_close_a_circle(plan: Plan) -> None:
    edges = {one: plan.needs[one] | plan.follows[one] for one in plan.chunks}
    for listed in plan.phases:
        for place, silent in enumerate(listed.chunks):
            if not silent.claims:
                for earlier in listed.chunks[:place]:
                    followed = earlier.id in edges[silent.id]
                    assert followed or silent.id in upstream(edges, earlier.id)


def test_upstream_is_everything_above_however_far() -> None:
    edges = {A: frozenset[ChunkId](), B: frozenset({A}), C: frozenset({B}), D: frozenset({A})}
    assert upstream(edges, C) == {A, B}
    assert upstream(edges, A) == set()
