"""How a build stands, read from its journal: while a run goes on, after it, and after a crash."""

from collections.abc import Iterable

from auto_build.core.state import RunState
from auto_build.core.transitions import step
from auto_build.core.view import Times, View, build_view
from auto_build.journal import Journal, Record
from auto_build.workspace import Workspace


def load_view(workspace: Workspace, spec: str) -> View | None:
    """Return a build's view from its journal; None where it was never begun."""
    state, times = load_state(workspace, spec)
    return build_view(spec, state, times) if state else None


def load_state(workspace: Workspace, spec: str) -> tuple[RunState | None, Times]:
    """Fold a build's journal into its state and times."""
    journal = Journal.find(workspace.state_dir, spec)
    if journal is None:
        return None, Times()
    with journal:
        return fold(journal.history())


def fold(records: Iterable[Record]) -> tuple[RunState | None, Times]:
    """Fold records into the state and the times that they came to."""
    state: RunState | None = None
    times = Times()
    for record in records:
        state = step(state, record.event)
        times = times.seen(record.at, record.event)
    return state, times
