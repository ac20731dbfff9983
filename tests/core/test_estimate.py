"""What more workers would gain: a plan played out in virtual time."""

import pytest

from auto_build.core import events as ev
from auto_build.core.claims import Claim
from auto_build.core.estimate import longest_way, simulate, simulate_rest, speedups
from auto_build.core.plan import Chunk, ChunkId, Phase, PhaseId, Plan
from auto_build.core.state import RunState
from auto_build.core.transitions import apply, start

A, B, C, D = (ChunkId(name) for name in "abcd")


def chunk(name: ChunkId, *after: ChunkId, writes: str = "") -> Chunk:
    return Chunk(id=name, claims=(Claim.parse(writes or f"{name}.py"),), depends_on=after)


def plan(*chunks: Chunk) -> Plan:
    return Plan("", (Phase(id=PhaseId("1"), chunks=chunks),))


def played(plan: Plan, *events: ev.Event) -> RunState:
    state = start(ev.RunStarted(plan, "base"))
    for event in events:
        state = apply(state, event)
    return state


def captured(name: ChunkId) -> ev.WorkCaptured:
    return ev.WorkCaptured(name, "base", "commit", "pin", ())


DIAMOND = plan(chunk(A), chunk(B, A), chunk(C, A), chunk(D, B, C))
FOUR_ALIKE = plan(chunk(A), chunk(B), chunk(C), chunk(D))


def test_a_diamond_takes_three_steps_with_two_workers() -> None:
    schedule = simulate(DIAMOND, slots=2)
    assert schedule.waves() == ((A,), (B, C), (D,))
    assert schedule.makespan == 3
    assert {span.chunk: (span.begin, span.end) for span in schedule.spans} == {
        A: (0, 1),
        B: (1, 2),
        C: (1, 2),
        D: (2, 3),
    }


def test_one_worker_does_one_chunk_after_the_other() -> None:
    schedule = simulate(DIAMOND, slots=1)
    assert schedule.waves() == ((A,), (B,), (C,), (D,))
    assert {span.slot for span in schedule.spans} == {1}


def test_side_by_side_each_chunk_has_a_slot_of_its_own() -> None:
    assert [span.slot for span in simulate(FOUR_ALIKE, slots=4).spans] == [1, 2, 3, 4]


def test_chunks_that_write_one_file_gain_nothing_from_more_workers() -> None:
    shared = plan(*(chunk(name, writes="app.py") for name in (A, B, C)))
    assert simulate(shared, slots=3).makespan == 3
    assert speedups(shared, 3) == {2: 1.0, 3: 1.0}


def test_chunks_that_claim_nothing_run_alone_and_last() -> None:
    silent = plan(chunk(A), chunk(B), Chunk(id=C))
    assert simulate(silent, slots=3).waves() == ((A, B), (C,))


@pytest.mark.parametrize(
    ("of", "gains"),
    [(FOUR_ALIKE, {2: 2.0, 3: 2.0, 4: 4.0}), (DIAMOND, {2: 4 / 3, 3: 4 / 3, 4: 4 / 3})],
    ids=["four alike", "a diamond"],
)
def test_the_gain_is_told_for_each_number_of_workers(of: Plan, gains: dict[int, float]) -> None:
    assert speedups(of, 4) == pytest.approx(gains)


def test_the_longest_way_bounds_what_any_number_of_workers_can_do() -> None:
    assert longest_way(DIAMOND) == 3
    assert longest_way(FOUR_ALIKE) == 1


def test_gates_run_one_at_a_time_after_the_agents() -> None:
    assert simulate(FOUR_ALIKE, slots=4, agent=10, gate=2).makespan == 10 + 4 * 2


def test_what_has_landed_is_not_played_again() -> None:
    landed = start(ev.RunStarted(DIAMOND, "base", landed={A: "commit"}))
    rest = simulate_rest(landed, slots=2, agent=1, gate=0)
    assert rest.waves() == ((B, C), (D,))


def test_an_agent_at_work_is_played_to_its_end() -> None:
    at_work = played(DIAMOND, ev.AttemptStarted(A, 1, 1))
    rest = simulate_rest(at_work, slots=2, agent=1, gate=0)
    assert rest.waves() == ((A,), (B, C), (D,))
    assert rest.makespan == 3


@pytest.mark.parametrize(
    "way",
    [
        (),
        (ev.GateStarted(A),),
        (ev.GateStarted(A), ev.CandidatePassed(A, "candidate", "head")),
        (ev.GateStarted(A), ev.CandidatePassed(A, "candidate", "head"), ev.LandStarted(A)),
    ],
    ids=["queued", "at the gate", "green", "landing"],
)
def test_work_between_its_agent_and_staging_needs_no_agent_any_more(
    way: tuple[ev.Event, ...],
) -> None:
    state = played(DIAMOND, ev.AttemptStarted(A, 1, 1), captured(A), *way)
    rest = simulate_rest(state, slots=2, agent=1, gate=0)
    assert rest.waves() == ((B, C), (D,))


def test_a_repair_that_is_under_way_takes_an_agents_time() -> None:
    state = played(
        DIAMOND,
        ev.AttemptStarted(A, 1, 1),
        captured(A),
        ev.GateStarted(A),
        ev.CandidateRejected(A, "candidate", "head", "commit", "a test failed"),
        ev.RepairStarted(A, 1),
    )
    assert simulate_rest(state, slots=2, agent=1, gate=0).makespan == 3


def test_what_a_failure_blocks_is_not_waited_for() -> None:
    state = played(
        DIAMOND, ev.AttemptStarted(A, 1, 1), ev.AttemptEnded(A, ev.Outcome.NO_CHANGE, "")
    )
    rest = simulate_rest(state, slots=2, agent=1, gate=0)
    assert rest.spans == ()
    assert rest.makespan == 0
