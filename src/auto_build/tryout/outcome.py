"""What came of trying one thing, before it is a result of its item."""

from dataclasses import dataclass
from typing import Final

from auto_build.core.acceptance import Item, ItemResult, ItemState

TAIL: Final = 4_000  # characters of output that a result keeps
_LONGEST: Final = 2_000  # characters of a note


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended, in a state and a sentence; `output` and `evidence` show it."""

    state: ItemState
    note: str
    output: str = ""
    evidence: tuple[str, ...] = ()
    seconds: float = 0.0

    def of(self, item: Item, *, alone: bool = False) -> ItemResult:
        """Return the result of an item; what it has besides for people is told with it.

        `alone` says that a command of it can be run without a service, so that the gate can, too.
        """
        tried = item.command or item.request or item.page
        more = f"; not judged: {'; '.join(item.steps)}" if tried and item.steps else ""
        return ItemResult(
            item=item.id,
            kind=item.kind,
            what=item.what,
            state=self.state,
            note=_bounded(self.note + more),
            chunk=item.chunk,
            required=item.required,
            command=item.command if alone else "",
            output=self.output[-TAIL:],
            evidence=self.evidence,
            seconds=round(self.seconds, 3),
        )


def _bounded(note: str) -> str:
    return note if len(note) <= _LONGEST else note[: _LONGEST - 1] + "…"
