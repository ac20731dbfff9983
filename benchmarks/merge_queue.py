"""What checking candidates ahead of each other gains, played out in virtual time.

The decisions are those of real runs; agents and checks are figures. Each cell plays the same
agents, with the same times and mistakes, with the gate one by one and with its own choice.

    python benchmarks/merge_queue.py --chunks 40 --seeds 10
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from math import log
from random import Random
from statistics import mean

from auto_build.core import events as ev
from auto_build.core.claims import Claim
from auto_build.core.commands import Effect, Gate, Land, Repair, Resume, StartAttempt
from auto_build.core.estimate import play
from auto_build.core.plan import Chunk, ChunkId, Phase, PhaseId, Plan
from auto_build.core.state import Gating, Landed, Live, Passed, RunState
from auto_build.core.transitions import apply, start

AGENT = 10.0  # minutes, the mean
SPREAD = 0.6  # standard deviation of an agent's time, as a share of its mean
REPAIR = 0.5  # of the time of the chunk's first session
WINDOW = 4


@dataclass(frozen=True)
class Cell:
    """One line of the table: what was played, and how it ended, means over the seeds.

    `serial` and `chosen` are makespans in minutes, `ratio` the second by the first; `gates` is how
    many gates were run, for each that one by one would have run.
    """

    chunks: int
    workers: int
    gate: float
    bad: float
    serial: float
    chosen: float
    gates: float

    @property
    def ratio(self) -> float:
        """How long it takes, compared with one by one."""
        return self.chosen / self.serial


@dataclass
class World:
    """Agents whose times are log-normal, and of which some make a mistake that a repair mends."""

    seed: int
    gate: float
    bad: float
    gates: int = 0
    _times: dict[ChunkId, float] = field(default_factory=dict)

    def length(self, command: Effect, state: RunState) -> float:
        """Return how many minutes a command takes."""
        match command:
            case StartAttempt() | Resume():
                return self._agent(command.chunk)
            case Repair():
                return self._agent(command.chunk) * REPAIR
            case Gate():
                self.gates += 1
                if command.ahead or not self._is_red(command, state):
                    return self.gate
                return self.gate * (command.runs + 1)  # and once without the work
            case Land():
                return 0.0

    def outcome(self, command: Effect, took: float, state: RunState) -> ev.Event:
        """Return what a command came to."""
        one = command.chunk
        match command:
            case StartAttempt() | Repair() | Resume():
                return ev.WorkCaptured(one, "", "", "", (), took)
            case Gate():
                check = ev.CheckResult("", passed=True, code=0, seconds=took)
                if not self._is_red(command, state):
                    return ev.CandidatePassed(one, "", "", (check,))
                if command.ahead:
                    return ev.CandidateDoubted(one, "red", (check,))
                return ev.CandidateRejected(one, "", "", "", "red", (check,))
            case Land():
                return ev.CandidateLanded(one, command.candidate)

    def on_the_way(self, command: Effect, state: RunState) -> tuple[float, ev.Event] | None:
        """Return the moment at which a red candidate that is run again was red once."""
        if isinstance(command, Gate) and command.runs > 1 and self._is_red(command, state):
            return self.gate, ev.CandidateSuspected(command.chunk)
        return None

    def _agent(self, chunk: ChunkId) -> float:
        sigma = log(1 + SPREAD**2)
        chance = Random(f"{self.seed} {chunk}")
        return chance.lognormvariate(log(AGENT) - sigma / 2, sigma**0.5)

    def _is_red(self, command: Gate, state: RunState) -> bool:
        """Say whether the chunk, or one that it stands on, has a mistake in it."""
        under: ChunkId | None = command.ahead
        if self._is_bad(command.chunk, state):
            return True
        while under is not None:
            if self._is_bad(under, state):
                return True
            now = state.chunks[under]
            under = now.ahead if isinstance(now, Gating | Passed) else None
        return False

    def _is_bad(self, chunk: ChunkId, state: RunState) -> bool:
        now = state.chunks[chunk]
        if isinstance(now, Landed) or (isinstance(now, Live) and now.attempt.round):
            return False
        return Random(f"bad {self.seed} {chunk}").random() < self.bad


def independent(chunks: int) -> Plan:
    """Return a plan of chunks that share nothing."""
    made = tuple(
        Chunk(id=ChunkId(f"c{n}"), claims=(Claim.parse(f"c{n}.py"),)) for n in range(chunks)
    )
    return Plan("independent", (Phase(id=PhaseId("p"), chunks=made),))


def measure(*, chunks: int, workers: int, gate: float, bad: float, seeds: int) -> Cell:
    """Play one cell of the table; `gate` is the time of a gate as a share of an agent's."""
    plan = independent(chunks)
    spans: dict[int, list[float]] = {1: [], WINDOW: []}
    gates = {1: 0, WINDOW: 0}
    for seed in range(seeds):
        for window, found in spans.items():
            world = World(seed, gate * AGENT, bad)
            opened = ev.SessionOpened(slots=workers, repair_rounds=2, window=window)
            state = apply(start(ev.RunStarted(plan, "")), opened)
            found.append(play(state, slots=workers, world=world).makespan)
            gates[window] += world.gates
    serial, chosen = (mean(spans[window]) for window in (1, WINDOW))
    return Cell(chunks, workers, gate, bad, serial, chosen, gates[WINDOW] / gates[1])


def table(cells: list[Cell]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| chunks | workers | gate / agent | bad | one by one | its own choice | ratio | gates |"
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|"
    for cell in cells:
        yield (
            f"| {cell.chunks} | {cell.workers} | {cell.gate:g} | {cell.bad:.0%} |"
            f" {cell.serial:.0f} min | {cell.chosen:.0f} min | {cell.ratio:.2f} |"
            f" {cell.gates:.2f} |"
        )


def main() -> None:
    """Print the table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--chunks", default="20,40,100")
    asked.add_argument("--workers", default="2,4,8")
    asked.add_argument("--gate", default="0.05,0.1,0.2,0.4,0.6,1")
    asked.add_argument("--bad", default="0,0.05,0.15,0.3")
    asked.add_argument("--seeds", type=int, default=10)
    asked.add_argument("--json", action="store_true")
    told = asked.parse_args()
    cells = [
        measure(chunks=chunks, workers=workers, gate=gate, bad=bad, seeds=told.seeds)
        for chunks in map(int, told.chunks.split(","))
        for workers in map(int, told.workers.split(","))
        for gate in map(float, told.gate.split(","))
        for bad in map(float, told.bad.split(","))
    ]
    if told.json:
        print(json.dumps([{**asdict(cell), "ratio": cell.ratio} for cell in cells], indent=1))
    else:
        print("\n".join(table(cells)))


if __name__ == "__main__":
    main()
