"""Who goes with a chunk that is undone, and who comes back with one that is redone."""

import pytest

from auto_build.core import events as ev
from auto_build.core.plan import ChunkId
from auto_build.core.revision import brought_back, missing, taken_out, under_way
from auto_build.core.scheduler import blocked, decide, waits_for
from auto_build.core.state import RunState
from auto_build.core.view import Times, build_view, plan_notes
from tests.core.strategies import (
    CANDIDATE,
    begun,
    captured,
    carry_out,
    chunk,
    land,
    phase,
    play,
    undoing,
)

A, B, C, D, E = (ChunkId(one) for one in "abcde")


def diamond() -> RunState:
    """Return a run of a, then b and c on it, then d on both, and e by itself; all have landed."""
    run = begun(
        phase("p1", chunk("a", "a")),
        phase("p2", chunk("b", "b"), chunk("c", "c"), after=["p1"]),
        phase("p3", chunk("d", "d"), after=["p2"]),
        phase("p4", chunk("e", "e")),
    )
    for chunks in ((A, E), (B, C), (D,)):
        run = land(carry_out(run, slots=2), *chunks)
    return run


@pytest.mark.parametrize(
    ("wanted", "gone"),
    [((B,), (B, D)), ((A,), (A, B, C, D)), ((D,), (D,)), ((E,), (E,)), ((B, E), (B, D, E))],
)
def test_a_chunk_takes_along_all_that_builds_on_it(
    wanted: tuple[ChunkId, ...], gone: tuple[ChunkId, ...]
) -> None:
    assert taken_out(diamond(), wanted) == gone


def test_what_has_not_landed_is_not_taken_out_but_leads_to_what_has() -> None:
    run = play(diamond(), ev.ChunkReset(B, "again"), ev.ChunkSkipped(B, "by hand"))
    assert taken_out(run, (A,)) == (A, C, D)


@pytest.mark.parametrize(
    ("wanted", "back"), [((D,), (B, D)), ((B,), (B,)), ((B, D), (B, D)), ((E,), ())]
)
def test_a_chunk_brings_along_all_that_it_needs(
    wanted: tuple[ChunkId, ...], back: tuple[ChunkId, ...]
) -> None:
    run = play(diamond(), undoing(B, D), ev.RevisionLanded())
    assert brought_back(run, wanted) == back


def test_what_an_undone_chunk_needs_besides_must_be_there() -> None:
    run = play(diamond(), undoing(B, D), ev.RevisionLanded())
    assert missing(run, (B, D)) == ()
    assert missing(run, (D,)) == (B,)
    run = play(run, ev.ChunkReset(A, "again"))
    assert missing(run, (B, D)) == (A,)


def test_who_is_at_work_on_what_would_go_is_known() -> None:
    run = play(diamond(), ev.ChunkReset(D, "again"))
    run = carry_out(run, slots=1)
    assert under_way(run, (B,)) == (D,)
    assert under_way(play(run, captured(D)), (A,)) == (D,)
    assert under_way(run, (E,)) == ()


def test_an_undone_chunk_is_not_begun_and_blocks_what_needs_it() -> None:
    run = play(diamond(), undoing(B, D), ev.RevisionLanded(), ev.ChunkReset(D, "again"))
    assert decide(run, slots=4) == ()
    assert blocked(run) == {D: (B,)}
    assert waits_for(run, D) == (B,)
    view = build_view("001", run, Times())
    notes = {row.id: (row.label.value, row.note) for row in view.rows if not row.commit}
    assert notes == {
        B: ("undone", "taken out of staging: redo brings it back, retry has it done again"),
        D: ("blocked", "blocked by b (undone)"),
    }
    assert not view.finished


def test_what_only_follows_an_undone_chunk_is_not_kept_from_starting() -> None:
    run = begun(phase("p", chunk("a", "x"), chunk("b", "x")))
    run = land(carry_out(run, slots=1), A)
    run = play(run, undoing(A), ev.RevisionLanded())
    assert [command.chunk for command in decide(run, slots=2)] == [B]


def test_the_plan_file_says_neither_done_nor_to_be_done() -> None:
    run = play(diamond(), undoing(E), ev.RevisionLanded())
    note = plan_notes(run)[E]
    assert (note["status"], note["undone"]) == ("blocked", CANDIDATE)
