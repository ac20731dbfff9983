"""What a run tells whoever listens, step by step."""

from collections.abc import Callable
from dataclasses import dataclass

from auto_build.core.state import RunState
from auto_build.core.view import View
from auto_build.journal import Record


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth saying that is no event: what an agent does, a hint, a warning.

    `chunk` is empty where it concerns the run.
    """

    chunk: str
    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """One step of a run, for whoever listens: what happened, and how things stand now."""

    what: Record | Notice
    state: RunState | None
    view: View | None


Listener = Callable[[Update], None]
