"""What `drive` asks of whatever carries out its commands."""

from typing import Protocol

from auto_build.core.commands import Command
from auto_build.core.events import Event
from auto_build.core.state import RunState


class Engine(Protocol):
    """Turns a command into the event that it came to.

    Each command may be repeated safely. An expected failure is an event; an exception is a bug or a
    broken world, and ends the run.
    """

    async def run(self, command: Command, state: RunState) -> Event:
        """Carry out a command; `state` is the one it was decided in."""
        ...
