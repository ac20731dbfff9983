"""What `drive` asks of whatever carries out its commands, and where both of them keep the facts."""

from typing import Protocol

from auto_build.core.commands import Effect
from auto_build.core.events import Event
from auto_build.core.plan import ChunkId
from auto_build.core.state import RunState


class Ledger(Protocol):
    """The run as it is now; the one way to change it is to record what happened."""

    @property
    def state(self) -> RunState:
        """How things stand."""
        ...

    def record(self, event: Event) -> RunState:
        """Journal an event, and return the state after it."""
        ...


class Engine(Protocol):
    """Turns a command into the event that it came to.

    Each command may be repeated safely. An expected failure is an event; an exception is a bug or a
    broken world, and ends the run. What happens on the way (a conversation begins, money is spent)
    is recorded in the ledger as it happens.
    """

    async def run(self, command: Effect, state: RunState) -> Event:
        """Carry out a command; `state` is the one it was decided in."""
        ...

    async def steer(self, chunk: ChunkId | None, text: str) -> None:
        """Tell the agent of a chunk something while it works, or all of them where none is named.

        Who cannot hear it now reads it with the next prompt.
        """
        ...
