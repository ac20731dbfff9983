"""Which commands a candidate must pass: its own, the project's, and those of all that landed."""

from collections.abc import Iterable
from dataclasses import dataclass

from auto_build.core.plan import ChunkId, Plan, VerificationKind


@dataclass(frozen=True, slots=True)
class Check:
    """One command of the suite; `of` is the chunk that it verifies, None for the project's own.

    `expected` is what the plan says of its output, `timeout_s` its own limit, if it has one.
    """

    command: str
    expected: str = ""
    timeout_s: float | None = None
    of: ChunkId | None = None

    @property
    def key(self) -> str:
        """What makes two checks the same."""
        return f"{self.command}\n{self.expected}" if self.expected else self.command


def verification_of(plan: Plan, chunk: ChunkId) -> Check | None:
    """Return the command that verifies a chunk, if one does."""
    own = plan.chunks[chunk].verification
    if own.kind is not VerificationKind.COMMAND:
        return None
    return Check(own.command, own.expected, own.timeout_s, chunk)


def suite(
    plan: Plan, checks: Iterable[str], landed: Iterable[ChunkId], own: ChunkId | None = None
) -> tuple[Check, ...]:
    """Return the whole suite, each command once.

    First what verifies `own`, then the project's `checks`, then what verifies the chunks in
    `landed`, in the order given.
    """
    verifications = [verification_of(plan, one) for one in (*([own] if own else ()), *landed)]
    first, rest = (verifications[:1], verifications[1:]) if own else ([], verifications)
    todo = [*first, *(Check(line) for line in checks), *rest]
    found: dict[str, Check] = {}
    for check in todo:
        if check is not None:
            found.setdefault(check.key, check)
    return tuple(found.values())
