"""What a plan can gain from more workers: bounds, and a schedule played out in virtual time.

The schedule is made by the very scheduler that runs builds, so that it promises nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from typing import Protocol

from auto_build.core import events as ev
from auto_build.core.commands import (
    Effect,
    Gate,
    Land,
    Repair,
    Resume,
    StartAttempt,
    Withdraw,
)
from auto_build.core.graph import length_to_end
from auto_build.core.plan import ChunkId, Plan
from auto_build.core.scheduler import decide, lost
from auto_build.core.stack import pace
from auto_build.core.state import Gating, Landing, RunState
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
    """A plan played out: when it ends, who did what when, and how it ends."""

    makespan: float
    spans: tuple[Span, ...]
    end: RunState

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
    return play(state, slots=slots, world=_Smooth(agent, gate))


class World(Protocol):
    """How long things take in a simulation, in units of time, and what they come to."""

    def length(self, command: Effect, state: RunState) -> float:
        """Return how long a command takes that is begun in `state`."""
        ...

    def outcome(self, command: Effect, took: float, state: RunState) -> ev.Event:
        """Return what a command came to that took so long and ends in `state`."""
        ...

    def on_the_way(self, command: Effect, state: RunState) -> tuple[float, ev.Event] | None:
        """Return what happens while a command is carried out, if anything, and how long after."""
        ...


def play(state: RunState, *, slots: int, world: World) -> Schedule:
    """Play a run to its end in virtual time, by the decisions that real runs are made of."""
    now, order = 0.0, 0
    under_way: list[tuple[float, int, float, Effect, ev.Event | None]] = []
    spans: list[Span] = []
    while True:
        if change := pace(state, slots=slots):
            state = apply(state, change)
        for command in decide(state, slots=slots):
            state = apply(state, command.started)
            if isinstance(command, Withdraw):
                under_way = [one for one in under_way if one[3].chunk != command.chunk]
                heapify(under_way)
                continue
            order += 1
            if isinstance(command, Gate):
                state = apply(state, _built(command, order))
            if between := world.on_the_way(command, state):
                heappush(under_way, (now + between[0], -order, now, command, between[1]))
            heappush(under_way, (now + world.length(command, state), order, now, command, None))
        if not under_way:
            return Schedule(now, tuple(spans), state)
        end, _, begin, effect, happened = heappop(under_way)
        if happened is not None:
            now, state = end, apply(state, happened)
            continue
        if isinstance(effect, StartAttempt):
            spans.append(Span(effect.chunk, effect.slot, begin, end))
        now = end
        state = apply(state, _with_ids(state, world.outcome(effect, end - begin, state)))


def _built(command: Gate, number: int) -> ev.CandidateBuilt:
    return ev.CandidateBuilt(command.chunk, f"candidate {number}", command.onto)


def _with_ids(state: RunState, event: ev.Event) -> ev.Event:
    """Return what a gate came to, with the ids of the candidate that it was about."""
    if isinstance(event, ev.CandidatePassed | ev.CandidateRejected):
        now = state.chunks[event.chunk]
        if isinstance(now, Gating):
            return replace(event, candidate=now.candidate, head=now.head)
    if isinstance(event, ev.CandidateLanded):
        now = state.chunks[event.chunk]
        if isinstance(now, Landing):
            return replace(event, commit=now.candidate)
    return event


@dataclass(frozen=True, slots=True)
class _Smooth:
    """A world in which everything goes well and takes the same time."""

    agent: float
    gate: float

    def length(self, command: Effect, state: RunState) -> float:
        del state
        match command:
            case StartAttempt() | Repair() | Resume():
                return self.agent
            case Gate():
                return self.gate
            case Land():
                return 0.0

    def outcome(self, command: Effect, took: float, state: RunState) -> ev.Event:
        del state
        match command:
            case StartAttempt() | Repair() | Resume():
                return ev.WorkCaptured(command.chunk, "", "", "", (), took)
            case Gate():
                check = ev.CheckResult("", passed=True, code=0, seconds=took)
                return ev.CandidatePassed(command.chunk, "", "", (check,))
            case Land():
                return ev.CandidateLanded(command.chunk, "")

    def on_the_way(self, command: Effect, state: RunState) -> None:
        del command, state


def speedups(plan: Plan, workers: int) -> Mapping[int, float]:
    """Return how many times sooner the plan ends with 2 to `workers` workers than with one."""
    alone = simulate(plan, slots=1).makespan
    return {n: alone / simulate(plan, slots=n).makespan for n in range(2, workers + 1)}


def longest_way(plan: Plan) -> int:
    """Return how many chunks must follow each other whatever the number of workers."""
    return max(length_to_end(plan).values())
