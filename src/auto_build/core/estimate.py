"""What a plan can gain from more workers: bounds, and a schedule played out in virtual time.

The schedule is made by the very scheduler that runs builds, so that it promises nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heappop, heappush

from auto_build.core import events as ev
from auto_build.core.commands import Command, Gate, Land, Repair, Resume, StartAttempt
from auto_build.core.graph import length_to_end
from auto_build.core.plan import ChunkId, Plan
from auto_build.core.scheduler import decide, lost
from auto_build.core.state import RunState
from auto_build.core.transitions import apply, start


@dataclass(frozen=True, slots=True)
class Span:
    """One chunk in a schedule: its worker slot and its agent's start and end, in units of time."""

    chunk: ChunkId
    slot: int
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """A plan played out: when it ends, and who did what when."""

    makespan: float
    spans: tuple[Span, ...]

    def waves(self) -> tuple[tuple[ChunkId, ...], ...]:
        """Return the chunks grouped by the time they start at."""
        starts = sorted({span.begin for span in self.spans})
        return tuple(
            tuple(span.chunk for span in self.spans if span.begin == begin) for begin in starts
        )


def simulate(plan: Plan, *, slots: int, agent: float = 1.0, gate: float = 0.0) -> Schedule:
    """Play a plan with every agent taking `agent` and every gate `gate` units of time."""
    return simulate_rest(start(ev.RunStarted(plan, "")), slots=slots, agent=agent, gate=gate)


def simulate_rest(state: RunState, *, slots: int, agent: float, gate: float) -> Schedule:
    """Play what is left of a state to its end, everything going well.

    What is under way there is begun anew: a state does not say how far it has come.
    """
    for event in lost(state):
        state = apply(state, event)
    now, order = 0.0, 0
    under_way: list[tuple[float, int, float, Command]] = []
    spans: list[Span] = []
    while True:
        for command in decide(state, slots=slots):
            state = apply(state, command.started)
            order += 1
            heappush(under_way, (now + _length(command, agent, gate), order, now, command))
        if not under_way:
            return Schedule(now, tuple(spans))
        end, _, begin, command = heappop(under_way)
        if isinstance(command, StartAttempt):
            spans.append(Span(command.chunk, command.slot, begin, end))
        now = end
        state = apply(state, _success(command))


def speedups(plan: Plan, workers: int) -> Mapping[int, float]:
    """Return how many times sooner the plan ends with 2 to `workers` workers than with one."""
    alone = simulate(plan, slots=1).makespan
    return {n: alone / simulate(plan, slots=n).makespan for n in range(2, workers + 1)}


def longest_way(plan: Plan) -> int:
    """Return how many chunks must follow each other whatever the number of workers."""
    return max(length_to_end(plan).values())


def _length(command: Command, agent: float, gate: float) -> float:
    match command:
        case StartAttempt() | Repair() | Resume():
            return agent
        case Gate():
            return gate
        case Land():
            return 0.0


def _success(command: Command) -> ev.Event:
    match command:
        case StartAttempt() | Repair() | Resume():
            return ev.WorkCaptured(command.chunk, "", "", "", ())
        case Gate():
            return ev.CandidatePassed(command.chunk, "", "")
        case Land():
            return ev.CandidateLanded(command.chunk, "")
