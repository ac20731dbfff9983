"""The plan: phases, chunks and what each chunk claims. Invariant: a Plan that exists is valid.

Two relations between chunks follow from a plan:

* `needs`: the chunk may start only when these have landed; if one fails, the chunk is blocked.
  From `depends_on` of chunks and phases, and from the order inside a phase that is not
  `parallel_safe`.
* `follows`: the chunk starts only when these have ended, well or not. From the rule that a chunk
  which claims nothing runs after the ones listed before it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import NewType

from auto_build.core.claims import Claim

ChunkId = NewType("ChunkId", str)
PhaseId = NewType("PhaseId", str)


class VerificationKind(StrEnum):
    """How a chunk is verified; all but `command` and `none` need QA or a person."""

    COMMAND = "command"
    NONE = "none"
    MANUAL = "manual"
    BROWSER = "browser"
    API = "api"
    E2E = "e2e"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What shows that a chunk is done.

    `command` is a shell command line, set exactly for kind `command`; `expected` is what the plan
    says of its output; `timeout_s` is None where the settings' limit holds; `instructions` is for
    people.
    """

    kind: VerificationKind = VerificationKind.NONE
    command: str = ""
    expected: str = ""
    timeout_s: float | None = None
    instructions: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The smallest unit of work that an agent is given."""

    id: ChunkId
    title: str = ""
    description: str = ""
    claims: tuple[Claim, ...] = ()
    depends_on: tuple[ChunkId, ...] = ()
    verification: Verification = field(default_factory=Verification)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Chunks that belong together; starts when every phase in `depends_on` has landed.

    One that mends what a review found is of that `round`; a plan's own phases are of none.
    """

    id: PhaseId
    name: str = ""
    depends_on: tuple[PhaseId, ...] = ()
    parallel_safe: bool = True
    chunks: tuple[Chunk, ...] = ()
    round: int = 0


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that makes a plan invalid.

    `where` locates it by structure: `("phases", 0, "chunks", 2, "depends_on", 1)`.
    """

    where: tuple[str | int, ...]
    what: str
    value: object
    suggestion: str


class InvalidPlan(ValueError):
    """The phases do not make a plan; `flaws` says why, all of them at once."""

    def __init__(self, flaws: Sequence[Flaw]) -> None:
        super().__init__("; ".join(f"{flaw.where}: {flaw.what}" for flaw in flaws))
        self.flaws = tuple(flaws)


@dataclass(frozen=True)
class Plan:
    """A valid plan: ids unique, dependencies known, no cycle, at least one chunk."""

    title: str
    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        if flaws := find_flaws(self.phases):
            raise InvalidPlan(flaws)

    @cached_property
    def chunks(self) -> Mapping[ChunkId, Chunk]:
        """Every chunk by id, in the order of the plan."""
        return {chunk.id: chunk for phase in self.phases for chunk in phase.chunks}

    @cached_property
    def own(self) -> tuple[Phase, ...]:
        """The phases that the plan file has; the others mend what reviews found."""
        return tuple(phase for phase in self.phases if not phase.round)

    def fixes_of(self, round_: int) -> tuple[ChunkId, ...]:
        """Return the chunks that mend what the review of a round found."""
        found = (phase.chunks for phase in self.phases if phase.round == round_ and round_)
        return tuple(chunk.id for chunks in found for chunk in chunks)

    @cached_property
    def phase_of(self) -> Mapping[ChunkId, Phase]:
        """The phase that each chunk belongs to."""
        return {chunk.id: phase for phase in self.phases for chunk in phase.chunks}

    @cached_property
    def needs(self) -> Mapping[ChunkId, frozenset[ChunkId]]:
        """What must have landed before each chunk starts."""
        return _needs(self.phases)

    @cached_property
    def follows(self) -> Mapping[ChunkId, frozenset[ChunkId]]:
        """What must have ended, well or not, before each chunk starts; never closes a circle."""
        edges: dict[ChunkId, set[ChunkId]] = {one: set(above) for one, above in self.needs.items()}
        result: dict[ChunkId, frozenset[ChunkId]] = {}
        for phase in self.phases:
            ids = [chunk.id for chunk in phase.chunks]
            for place, chunk in enumerate(phase.chunks):
                before = ids[:place] if not chunk.claims else []
                waits = {one for one in before if chunk.id not in upstream(edges, one)}
                edges[chunk.id] |= waits
                result[chunk.id] = frozenset(waits)
        return result


def upstream(
    edges: Mapping[ChunkId, frozenset[ChunkId]] | Mapping[ChunkId, set[ChunkId]], chunk: ChunkId
) -> frozenset[ChunkId]:
    """Return everything above `chunk`, however far."""
    seen: set[ChunkId] = set()
    todo = list(edges[chunk])
    while todo:
        if (one := todo.pop()) not in seen:
            seen.add(one)
            todo.extend(edges[one])
    return frozenset(seen)


def find_flaws(phases: Sequence[Phase]) -> list[Flaw]:
    """Return everything that keeps `phases` from being a plan, in reading order."""
    flaws = [*_doubles(phases), *_unknown(phases)]
    if not any(phase.chunks for phase in phases):
        flaws.append(
            Flaw(("phases",), "the plan has no chunks", len(phases), "add at least one chunk to do")
        )
    if not flaws and (cycle := _cycle(phases)):
        flaws.append(cycle)
    return flaws


def _doubles(phases: Sequence[Phase]) -> Iterator[Flaw]:
    seen: dict[str, str] = {}
    for i, phase in enumerate(phases):
        if (first := seen.setdefault(phase.id, f"phases[{i}]")) != f"phases[{i}]":
            yield Flaw(
                ("phases", i, "id"),
                f"phase id is taken already, by {first}",
                phase.id,
                "give each phase an id of its own",
            )
    taken: dict[str, tuple[str, str]] = {}
    for i, j, chunk in _numbered(phases):
        here = f"phases[{i}] chunk {j + 1}"
        first_id, first = taken.setdefault(chunk.id.casefold(), (chunk.id, here))
        if first != here:
            differs = "" if first_id == chunk.id else " (they differ by case only)"
            yield Flaw(
                ("phases", i, "chunks", j, "id"),
                f"chunk id is taken already, by {first}{differs}",
                chunk.id,
                "give each chunk an id of its own",
            )


def _unknown(phases: Sequence[Phase]) -> Iterator[Flaw]:
    phase_ids = [phase.id for phase in phases]
    chunk_ids = [chunk.id for _, _, chunk in _numbered(phases)]
    for i, phase in enumerate(phases):
        for k, phase_dep in enumerate(phase.depends_on):
            where = ("phases", i, "depends_on", k)
            yield from _bad_dependency(where, "phase", phase_dep, phase.id, phase_ids)
    for i, j, chunk in _numbered(phases):
        for k, chunk_dep in enumerate(chunk.depends_on):
            deep = ("phases", i, "chunks", j, "depends_on", k)
            yield from _bad_dependency(deep, "chunk", chunk_dep, chunk.id, chunk_ids)


def _bad_dependency(
    where: tuple[str | int, ...], kind: str, value: str, own: str, known: Sequence[str]
) -> Iterator[Flaw]:
    if value == own:
        yield Flaw(where, f"{kind} depends on itself", value, "remove this entry")
    elif value not in known:
        near = get_close_matches(value, known, n=1)
        ids = ", ".join(known[:8])
        advice = f"did you mean {near[0]!r}?" if near else f"known {kind} ids: {ids}"
        yield Flaw(where, f"{kind} depends on an unknown {kind}", value, advice)


def _cycle(phases: Sequence[Phase]) -> Flaw | None:
    upstream = {phase.id: frozenset(phase.depends_on) for phase in phases}
    loop = _loop(upstream)
    if loop is None:
        loop = _loop(_needs(phases))
    if loop is None:
        return None
    return Flaw(
        ("phases",),
        "the dependencies go in a circle",
        " → ".join(loop),
        "remove one of these dependencies (in a phase with parallel_safe: false each chunk also"
        " depends on the one before it)",
    )


def _loop(
    graph: Mapping[PhaseId, frozenset[PhaseId]] | Mapping[ChunkId, frozenset[ChunkId]],
) -> list[str] | None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return None


def _numbered(phases: Sequence[Phase]) -> Iterator[tuple[int, int, Chunk]]:
    for i, phase in enumerate(phases):
        for j, chunk in enumerate(phase.chunks):
            yield i, j, chunk


def _needs(phases: Sequence[Phase]) -> dict[ChunkId, frozenset[ChunkId]]:
    by_id = {phase.id: phase for phase in phases}
    result: dict[ChunkId, frozenset[ChunkId]] = {}
    for phase in phases:
        entry = _gate_chunks(phase, by_id)
        before: ChunkId | None = None
        for chunk in phase.chunks:
            chain = {before} if before is not None and not phase.parallel_safe else set()
            result[chunk.id] = frozenset(entry | chain | set(chunk.depends_on))
            before = chunk.id
    return result


def _gate_chunks(phase: Phase, by_id: Mapping[PhaseId, Phase]) -> set[ChunkId]:
    """Return the chunks of every phase upstream of `phase`; an empty phase lets through."""
    found: set[ChunkId] = set()
    seen: set[PhaseId] = set()
    todo = list(phase.depends_on)
    while todo:
        if (one := todo.pop()) in seen:
            continue
        seen.add(one)
        upstream = by_id[one]
        found.update(chunk.id for chunk in upstream.chunks)
        todo.extend(upstream.depends_on)
    return found
