"""Whatever is written when, nobody holds what another holds, and nobody waits for ever."""

from collections.abc import Iterator
from itertools import combinations
from random import Random

import pytest

from auto_build.core import events as ev
from auto_build.core.claims import first_overlap
from auto_build.core.plan import Plan
from auto_build.core.scheduler import blocked, decide, out_of_money
from auto_build.core.state import Done, Failed, RunState, Undone
from tests.core.strategies import CLAIMED, chunk, phase, played_out

SCHEDULES = 10_000


def plan(chance: Random) -> Plan:
    """Return a plan of a few chunks that often want the same paths."""
    count = chance.randint(2, 6)
    made = []
    for n in range(count):
        after = [f"c{m}" for m in range(n) if chance.random() < 0.2]
        made.append(chunk(f"c{n}", *chance.choice(CLAIMED), after=after))
    return Plan("a plan", (phase("p", *made),))


def holders(state: RunState) -> Iterator[str]:
    """Yield the pairs of live chunks that hold the same path."""
    for one, other in combinations(state.live, 2):
        if first_overlap(state.held(one), state.held(other)):
            yield f"{one} and {other}"


@pytest.mark.slow
def test_in_10000_random_schedules_there_are_no_two_holders_and_no_deadlock() -> None:
    taken = 0
    for seed in range(SCHEDULES):
        chance = Random(seed)
        build = played_out(chance, plan(chance))
        for state in build.states:
            assert list(holders(state)) == [], seed
        taken += sum(isinstance(event, ev.ClaimTaken) for event in build.history)
        end = build.state
        stuck = blocked(end)
        waiting = [
            one
            for one, now in end.chunks.items()
            if not isinstance(now, Done | Failed | Undone) and one not in stuck
        ]
        excused = end.paused or end.halt or out_of_money(end, slots=build.slots)
        assert excused or not waiting, seed
        assert decide(end, slots=build.slots) == (), seed
    assert taken > SCHEDULES, "nothing was written beyond the claims"
