"""How long a build will still take, and what comes next: guesses, made with the real scheduler."""

from dataclasses import dataclass
from typing import Final

from auto_build.core.commands import StartAttempt
from auto_build.core.estimate import simulate_rest
from auto_build.core.plan import ChunkId
from auto_build.core.scheduler import decide
from auto_build.core.state import Running, RunState
from auto_build.core.view import Label, View

_LANDED_BEFORE: Final = 2  # a mean of fewer is no mean
_LARGE: Final = 60  # chunks; playing a larger plan takes too long to do between two events
_AHEAD: Final = 4


@dataclass(frozen=True, slots=True)
class Guess:
    """When the build will end if all goes well, in seconds since the epoch."""

    end: float

    def left(self, now: float) -> float:
        """Return the seconds that are left."""
        return max(self.end - now, 0.0)


def guess_end(state: RunState, view: View, *, slots: int) -> Guess | None:
    """Return when the build ends at the pace so far; None while nothing speaks for any pace."""
    times = view.times
    if len(times.durations) < _LANDED_BEFORE or state.paused:
        return None
    landed = [row.id for row in view.at(Label.LANDED)]
    gate = sum(times.gate_s.get(ChunkId(one), 0.0) for one in landed) / max(len(landed), 1)
    mean = sum(times.durations) / len(times.durations)
    agent = max(mean - gate, 0.0)
    if len(state.chunks) > _LARGE:
        over = (Label.LANDED, Label.SKIPPED, Label.FAILED, Label.BLOCKED, Label.UNDONE)
        todo = len(view.rows) - view.count(*over)
        return Guess(times.last + todo * mean / slots)
    spent = [
        min(times.last - times.since.get(chunk, times.last), agent)
        for chunk, now in state.chunks.items()
        if isinstance(now, Running)
    ]
    length = simulate_rest(state, slots=slots, agent=agent, gate=gate).makespan
    head_start = sum(spent) / len(spent) if spent else 0.0  # what is under way was begun anew there
    return Guess(times.last + max(length - head_start, 0.0))


def next_up(state: RunState) -> tuple[ChunkId, ...]:
    """Return the chunks that the scheduler would start now if more workers were free."""
    commands = decide(state, slots=len(state.live) + _AHEAD)
    return tuple(one.chunk for one in commands if isinstance(one, StartAttempt))
