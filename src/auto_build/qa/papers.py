"""Writes what reviews came to into the spec's folder: for people, and for tools that read it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from auto_build.core.events import QaEvent
from auto_build.core.state import RunState
from auto_build.core.view import plan_notes
from auto_build.journal import Record
from auto_build.qa.report import report_text, request_text, signoff
from auto_build.workspace import FIX_REQUEST, REPORT, PlanWriter, Spec, write_atomically


@dataclass(slots=True)
class Papers:
    """The files of one build; `scratch` is a folder of the coordinator's own.

    `said_at` is when the last review or word of a person came, in seconds since the epoch.
    """

    spec: Spec
    scratch: Path
    said_at: float = 0.0

    @classmethod
    def of(cls, spec: Spec, scratch: Path, history: Iterable[Record]) -> Self:
        """Return the papers of a build with this history."""
        said = [record.at for record in history if isinstance(record.event, QaEvent)]
        return cls(spec, scratch, max(said, default=0.0))

    def seen(self, record: Record, state: RunState) -> None:
        """Write the report and the fix request again where a record changes them.

        Raises:
            EnvironmentUnfit: they cannot be written.
        """
        if isinstance(record.event, QaEvent):
            self.said_at = record.at
            self.report(state)

    def write(self, state: RunState) -> str:
        """Bring the plan file's statuses and sign-off up to date; return a warning, or nothing."""
        writer = PlanWriter(self.spec.plan_path, self.scratch)
        return writer.write(plan_notes(state), signoff(state, self.said_at))

    def report(self, state: RunState) -> None:
        """Write the report and the fix request, once there was a review.

        Raises:
            EnvironmentUnfit: they cannot be written.
        """
        if state.qa.last is None:
            return
        name = self.spec.name
        for path, text in (
            (self.spec.folder / REPORT, report_text(name, state)),
            (self.spec.folder / FIX_REQUEST, request_text(name, state)),
        ):
            write_atomically(path, text, scratch=self.scratch)
