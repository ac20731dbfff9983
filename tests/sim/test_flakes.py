"""Old failures and flaky tests cost no innocent chunk its work, and hide no guilty one."""

from dataclasses import dataclass, field
from random import Random

import pytest
from benchmarks.merge_queue import independent

from auto_build.checks import Run, settle
from auto_build.core import events as ev
from auto_build.core.commands import Effect, Gate, Land, Repair, Resume, StartAttempt
from auto_build.core.estimate import play
from auto_build.core.plan import ChunkId
from auto_build.core.runners import Tests as Said
from auto_build.core.state import Gating, Landed, Passed, RunState
from auto_build.core.suite import Check
from auto_build.core.transitions import apply, start
from auto_build.core.verdict import FEW, Answer

OLD = frozenset(f"test_old_{n}" for n in range(37))
FLAKY = "test_flaky"
CHECK = Check("pytest -q")
CHUNKS = 5
GUILTY = ChunkId("c3")
SEEDS = 200


@dataclass
class World:
    """A project with 37 failing tests and a flaky one; the agents see nothing to be mended.

    The guilty chunk, if there is one, mends an old failure and breaks another test, so that as many
    fail as before.
    """

    seed: int
    rate: float = 0.3
    guilty: ChunkId | None = None
    gates: list[ev.CheckResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)

    def run(self, holds: frozenset[ChunkId]) -> Run:
        """Run the suite once on a tree that holds these chunks."""
        failed = set(OLD)
        if self.guilty in holds:
            failed = failed - {"test_old_0"} | {"test_broken"}
        if self.chance.random() < self.rate:
            failed.add(FLAKY)
        answer = Answer(green=False, tests=Said(frozenset(failed), 200 - len(failed)))
        return Run(answer, 1, 1.0, "exit code 1", "")

    def base(self) -> ev.BaseChecked:
        runs = [self.run(frozenset()) for _ in range(FEW)]
        return ev.BaseChecked("base", (settle(CHECK, runs, None),))

    def length(self, command: Effect, state: RunState) -> float:
        del state
        return 3.0 if isinstance(command, Gate) else 10.0

    def outcome(self, command: Effect, took: float, state: RunState) -> ev.Event:
        one = command.chunk
        match command:
            case StartAttempt():
                return ev.WorkCaptured(one, "", "", "", (), took)
            case Repair() | Resume():
                return ev.AttemptEnded(one, ev.Outcome.NO_CHANGE, "nothing to be mended")
            case Land():
                return ev.CandidateLanded(one, command.candidate)
            case Gate():
                return self._gate(command, state)

    def on_the_way(self, command: Effect, state: RunState) -> None:
        del command, state

    def _gate(self, command: Gate, state: RunState) -> ev.Event:
        holds = {chunk for chunk, now in state.chunks.items() if isinstance(now, Landed)}
        under: ChunkId | None = command.ahead
        while under is not None:
            holds.add(under)
            now = state.chunks[under]
            under = now.ahead if isinstance(now, Gating | Passed) else None
        runs: list[Run] = []
        before = state.gate.standing[CHECK.key]
        while True:
            runs.append(self.run(frozenset({*holds, command.chunk})))
            result = settle(CHECK, runs, before)
            if result.passed or len(runs) >= command.runs:
                break
        self.gates.append(result)
        if result.passed:
            return ev.CandidatePassed(command.chunk, "", "", (result,))
        if command.ahead:
            return ev.CandidateDoubted(command.chunk, "red", (result,))
        return ev.CandidateRejected(command.chunk, "", "", "", "red", (result,))


def built(world: World, *, workers: int) -> RunState:
    """Return how a run ends in a world, the last state that it came to."""
    opened = ev.SessionOpened(slots=workers, repair_rounds=2, window=4)
    state = apply(start(ev.RunStarted(independent(CHUNKS), "")), opened)
    return play(apply(state, world.base()), slots=workers, world=world).end


@pytest.mark.parametrize("workers", [1, 4])
def test_no_innocent_chunk_fails_in_200_runs(workers: int) -> None:
    for seed in range(SEEDS):
        state = built(World(seed), workers=workers)
        assert all(isinstance(now, Landed) for now in state.chunks.values()), seed


@pytest.mark.parametrize("workers", [1, 4])
def test_a_regression_that_keeps_the_count_is_caught_in_each_of_200_runs(workers: int) -> None:
    for seed in range(SEEDS):
        state = built(World(seed, guilty=GUILTY), workers=workers)
        landed = {chunk for chunk, now in state.chunks.items() if isinstance(now, Landed)}
        assert landed == set(state.chunks) - {GUILTY}, seed


def test_the_flaky_test_is_told_of_in_most_runs() -> None:
    told = sum(
        FLAKY in built(World(seed), workers=1).gate.flaky.get(CHECK.key, ())
        for seed in range(SEEDS)
    )
    assert told > SEEDS // 2


def test_with_a_test_that_fails_always_there_would_be_something_to_see() -> None:
    """The flaky test at 100 % is an old failure, and at 0 % is none at all."""
    for rate in (0.0, 1.0):
        state = built(World(1, rate=rate), workers=4)
        assert all(isinstance(now, Landed) for now in state.chunks.values())
        assert (FLAKY in state.gate.standing[CHECK.key].failed) is (rate == 1.0)
