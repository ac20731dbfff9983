"""Plan files to Plans and back, in every spelling that planners write.

Reading finds every problem of a file at once, each with its JSON path, its value and what to write
instead. Writing changes the statuses of chunks and nothing else: keys that we do not know survive.
"""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from typing_extensions import override

from auto_build.core import dialects
from auto_build.core.claims import BadClaim, Claim
from auto_build.core.dialects import FileStatus
from auto_build.core.document import (
    Json,
    PlanRefused,
    Problem,
    as_list,
    as_text,
    load_document,
    pick,
    shorten,
)
from auto_build.core.graph import overlapping_pairs
from auto_build.core.plan import (
    Chunk,
    ChunkId,
    Flaw,
    Phase,
    PhaseId,
    Plan,
    Verification,
    VerificationKind,
    find_flaws,
)
from auto_build.core.verification import reads_like_output

MARK: Final = "auto_build"  # the key under which the tool notes what it wrote
_LONGEST_S: Final = 7 * 24 * 3600
_LONGEST_COMMAND: Final = 20_000  # characters; systems refuse far longer ones
_ROOT: Final = re.compile(r"^(?:[A-Za-z]:|~|\.{1,2}(?=[/\\])|[/\\])+")
_NO_PATH: Final = re.compile(
    r"(?:tbd|tba|todo|n/?a|none|unknown|various|multiple|any)(?=$|[\s:,])", re.IGNORECASE
)
_REMARK: Final = re.compile(r"\s+\([^()]*\)$|\s+[-\u2013\u2014]\s+.*$")
_LINES: Final = re.compile(r":\d+(?:-\d+)?$")


@dataclass(frozen=True, slots=True)
class Hint:
    """One thing that is allowed and may not be meant; a run says it too where it is `aloud`."""

    path: str
    what: str
    aloud: bool = False

    @override
    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan as it was read: its meaning, what it says of each chunk, and the document itself.

    `edited` are the chunks whose status somebody changed since the tool last wrote the file.
    """

    plan: Plan
    statuses: Mapping[ChunkId, FileStatus]
    edited: frozenset[ChunkId]
    hints: tuple[Hint, ...]
    document: Mapping[str, Json]


def read_plan(text: str, *, ordered_phases: bool = False) -> PlanFile:
    """Read a plan file in any known dialect.

    Args:
        text: the file's content.
        ordered_phases: take a phase that names no dependency as coming after the one before it.

    Raises:
        PlanRefused: it is not JSON, or not a valid plan.
    """
    document = load_document(text)
    reader = _Reader()
    plan = reader.plan(document, ordered_phases=ordered_phases)
    if reader.problems or plan is None:
        raise PlanRefused(reader.problems)
    return PlanFile(plan, reader.statuses, frozenset(reader.edited), tuple(reader.hints), document)


def write_statuses(
    document: Mapping[str, Json],
    notes: Mapping[ChunkId, Mapping[str, Json]],
    signoff: Mapping[str, Json] | None = None,
) -> str:
    """Return the file's new text: each chunk's `status`, and our notes under `auto_build`.

    `signoff` is what reviews came to, for the plan's `qa_signoff`, once there is something to say.

    `notes` holds for each chunk at least `status`. A status that somebody edited since our last
    writing is left alone: it is a wish, taken in at the next start, until it has come true.
    """
    fresh = copy.deepcopy(dict(document))
    for phase in as_list(fresh.get("phases")):
        for chunk in as_list(pick(phase, dialects.CHUNKS)[1]):
            note = notes.get(ChunkId(as_text(pick(chunk, dialects.CHUNK_IDS)[1])))
            if note is None or (_is_edited(chunk) and _status(chunk) != note["status"]):
                continue
            chunk["status"] = note["status"]
            chunk[MARK] = dict(note)
    if signoff is not None:
        fresh["qa_signoff"] = dict(signoff)
    return json.dumps(fresh, indent=2, ensure_ascii=False) + "\n"


def _is_edited(chunk: Mapping[str, Json]) -> bool:
    mark = chunk.get(MARK)
    now = _status(chunk)
    return isinstance(mark, dict) and now != mark.get("status") and now in dialects.WISHES


def _status(chunk: Mapping[str, Json]) -> FileStatus | None:
    word = as_text(chunk.get("status")).casefold().replace("-", "_").replace(" ", "_")
    return dialects.STATUS.get(word) if word else FileStatus.PENDING


@dataclass(slots=True)
class _Names:
    """How one phase is spelled in its file, for JSON paths, and what others may call it."""

    path: str
    chunks: str
    id_key: str
    aliases: tuple[str, ...]
    depends: list[str] = field(default_factory=list)  # the JSON path of each dependency
    chunk_paths: list[str] = field(default_factory=list)
    chunk_id_keys: list[str] = field(default_factory=list)
    chunk_depends: list[list[str]] = field(default_factory=list)


class _Reader:
    """Reads one document and gathers its problems, hints and statuses on the way."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.hints: list[Hint] = []
        self.statuses: dict[ChunkId, FileStatus] = {}
        self.edited: set[ChunkId] = set()

    def plan(self, document: Mapping[str, Json], *, ordered_phases: bool) -> Plan | None:
        raw = document.get("phases")
        if not isinstance(raw, list):
            what = "is missing" if raw is None else "is not a list"
            shown = "" if raw is None else shorten(raw)
            self._refuse("$.phases", what, shown, 'write "phases": [{"id": ..., "chunks": [...]}]')
            return None
        names = [self._names(i, phase) for i, phase in enumerate(raw)]
        phases = [self._phase(phase, name) for phase, name in zip(raw, names, strict=True)]
        phases = self._resolve(raw, phases, names)
        phases = self._mind_silence(raw, phases, names, ordered_phases=ordered_phases)
        self.problems.extend(_located(flaw, names) for flaw in find_flaws(phases))
        if self.problems:
            return None
        plan = Plan(as_text(pick(document, dialects.PLAN_TITLE)[1]), tuple(phases))
        self._hint_at_overlaps(plan)
        return plan

    def _refuse(self, path: str, what: str, value: Json, suggestion: str) -> None:
        self.problems.append(Problem(path, what, shorten(value), suggestion))

    def _names(self, i: int, phase: Json) -> _Names:
        id_key, own = pick(phase, dialects.PHASE_IDS)
        known = [as_text(phase.get(key)) for key in dialects.PHASE_IDS] if _is_object(phase) else []
        aliases = (
            as_text(own),
            *known,
            f"phase-{i + 1}",
            as_text(pick(phase, dialects.PHASE_NAME)[1]),
        )
        return _Names(
            path=f"$.phases[{i}]",
            chunks=pick(phase, dialects.CHUNKS)[0],
            id_key=id_key,
            aliases=tuple(dict.fromkeys(alias for alias in aliases if alias)),
        )

    def _phase(self, raw: Json, names: _Names) -> Phase:
        if not _is_object(raw):
            self._refuse(names.path, "is not an object", raw, 'write {"id": ..., "chunks": [...]}')
            raw = {}
        own = raw.get(names.id_key)
        if own is not None and not _is_id(own):
            self._refuse(f"{names.path}.{names.id_key}", "is no id", own, "write the id as text")
        safe_key, safe = pick(raw, dialects.PARALLEL_SAFE)
        if safe is not None and not isinstance(safe, bool):
            self._refuse(f"{names.path}.{safe_key}", "is not true or false", safe, "write true")
            safe = None
        chunks = raw.get(names.chunks)
        if chunks is not None and not isinstance(chunks, list):
            self._refuse(f"{names.path}.{names.chunks}", "is not a list", chunks, "write [...]")
            chunks = None
        return Phase(
            id=PhaseId(names.aliases[0] if names.aliases else names.path),
            name=as_text(pick(raw, dialects.PHASE_NAME)[1]),
            parallel_safe=safe is not False,
            chunks=tuple(self._chunk(one, j, names) for j, one in enumerate(chunks or [])),
        )

    def _chunk(self, raw: Json, j: int, names: _Names) -> Chunk:
        path = f"{names.path}.{names.chunks}[{j}]"
        id_key, own = pick(raw, dialects.CHUNK_IDS)
        names.chunk_paths.append(path)
        names.chunk_id_keys.append(id_key)
        if not _is_object(raw):
            self._refuse(path, "is not an object", raw, 'write {"id": ..., "description": ...}')
            return Chunk(id=ChunkId(path))
        if not _is_id(own):
            what = "is missing" if own is None else "is no id"
            fit = own if isinstance(own, float) else j + 1
            self._refuse(f"{path}.{id_key}", what, own, f'write "{id_key}": "{fit}"')
            own = path
        chunk_id = ChunkId(as_text(own))
        self._read_status(raw, chunk_id, path)
        title = as_text(pick(raw, dialects.CHUNK_TITLE)[1])
        text = "\n\n".join(
            dict.fromkeys(as_text(raw[key]) for key in dialects.CHUNK_TEXT if raw.get(key))
        )
        return Chunk(
            id=chunk_id,
            title=title or text.partition("\n")[0],
            description=text or title,
            claims=self._claims(raw, path),
            verification=self._verification(raw.get("verification"), f"{path}.verification"),
        )

    def _read_status(self, raw: Mapping[str, Json], chunk: ChunkId, path: str) -> None:
        status = _status(raw)
        if status is None:
            known = ", ".join(FileStatus)
            self._refuse(f"{path}.status", "is no known status", raw["status"], f"write {known}")
            return
        self.statuses[chunk] = status
        if _is_edited(raw):
            self.edited.add(chunk)

    # claims

    def _claims(self, raw: Mapping[str, Json], path: str) -> tuple[Claim, ...]:
        found: dict[str, Claim] = {}
        for key in dialects.FILES:
            value = raw.get(key)
            if value is None:
                continue
            many = value if isinstance(value, list) else [value]
            for k, one in enumerate(many):
                where = f"{path}.{key}[{k}]" if isinstance(value, list) else f"{path}.{key}"
                if claim := self._claim(one, where):
                    found.setdefault(claim.text.casefold(), claim)
        if not found:
            self.hints.append(Hint(path, "claims no files: it will run alone within its phase"))
        return tuple(found.values())

    def _claim(self, value: Json, where: str) -> Claim | None:
        if isinstance(value, dict):
            value = pick(value, ("path", "file", "name"))[1]
        if not isinstance(value, str):
            self._refuse(where, "is no path", value, "write a path relative to the repository")
            return None
        text = value.strip().strip("`")
        if not text or _NO_PATH.match(text):
            self.hints.append(Hint(where, f"{shorten(value)!r} is no path and claims nothing"))
            return None
        text = _LINES.sub("", _REMARK.sub("", text))
        try:
            return Claim.parse(text)
        except BadClaim as error:
            near = _ROOT.sub("", text)
            near = near if near and near != text and ".." not in near else "src/file.py"
            self._refuse(where, str(error), value, f"write it from the repository's top: {near!r}")
            return None

    # verification

    def _verification(self, value: Json, path: str) -> Verification:
        if value is None or value in ("", {}, []):
            return Verification()
        if isinstance(value, str | list):
            text = as_text(value)
            return Verification(kind=VerificationKind.MANUAL, instructions=text)
        if not _is_object(value):
            self._refuse(path, "is not an object", value, 'write {"type": "none"}')
            return Verification()
        kind = self._kind(value, path)
        if kind is VerificationKind.COMMAND:
            return self._command(value, path)
        if kind is VerificationKind.NONE:
            return Verification()
        told = {key: one for key, one in value.items() if key != "type" and one is not None}
        bare = ("instructions", "manual", "run")  # these say what to do in whole sentences
        lines = (
            as_text(one) if key in bare else f"{key}: {as_text(one)}" for key, one in told.items()
        )
        return Verification(kind=kind, instructions="\n".join(lines))

    def _kind(self, value: Mapping[str, Json], path: str) -> VerificationKind:
        word = as_text(value.get("type")).casefold()
        if word in set(VerificationKind):
            return VerificationKind(word)
        if word:
            runs = isinstance(value.get("command"), str)
            kind = VerificationKind.COMMAND if runs else VerificationKind.MANUAL
            self.hints.append(Hint(f"{path}.type", f"{word!r} is taken as {kind.value!r}"))
            return kind
        return _guess(value)

    def _command(self, value: Mapping[str, Json], path: str) -> Verification:
        key, command = pick(value, ("command", "run"))
        if not isinstance(command, str) or not command.strip():
            self._refuse(
                f"{path}.{key}", "is missing or no text", command, 'write "command": "make test"'
            )
            return Verification()
        if len(command) > _LONGEST_COMMAND:
            what = f"is longer than {_LONGEST_COMMAND} characters"
            self._refuse(f"{path}.{key}", what, command, "put it into a script and run that")
            return Verification()
        expected = as_text(value.get("expected"))
        if expected and not reads_like_output(expected, command):
            says = f"{shorten(expected)!r} reads like a sentence: the exit code alone will decide"
            self.hints.append(Hint(f"{path}.expected", says))
        return Verification(
            kind=VerificationKind.COMMAND,
            command=command.strip(),
            expected=expected,
            timeout_s=self._timeout(value, path),
        )

    def _timeout(self, value: Mapping[str, Json], path: str) -> float | None:
        key, limit = pick(value, dialects.TIMEOUT)
        if limit is None:
            return None
        number = isinstance(limit, int | float) and not isinstance(limit, bool)
        if not number or not 0 < limit <= _LONGEST_S:
            what = f"is no number of seconds between 0 and {_LONGEST_S}"
            self._refuse(f"{path}.{key}", what, limit, "write 900")
            return None
        return float(limit)

    # dependencies

    def _resolve(
        self, raw: Sequence[Json], phases: Sequence[Phase], names: Sequence[_Names]
    ) -> list[Phase]:
        by_alias = _aliases(names)
        chunk_ids = {chunk.id for phase in phases for chunk in phase.chunks}
        members = {phase.id: [chunk.id for chunk in phase.chunks] for phase in phases}
        result: list[Phase] = []
        for source, phase, name in zip(raw, phases, names, strict=True):
            listed = self._dependencies(source, name.path)
            name.depends.extend(path for path, _ in listed)
            depends = tuple(PhaseId(by_alias.get(one, one)) for _, one in listed)
            chunks: list[Chunk] = []
            for j, chunk in enumerate(phase.chunks):
                found: list[tuple[str, ChunkId]] = []
                for path, one in self._dependencies(source[name.chunks][j], name.chunk_paths[j]):
                    whole = members.get(PhaseId(by_alias.get(one, one)))
                    if one in chunk_ids or whole is None:
                        found.append((path, ChunkId(one)))
                    else:
                        found.extend((path, other) for other in whole if other != chunk.id)
                name.chunk_depends.append([path for path, _ in found])
                chunks.append(replace(chunk, depends_on=tuple(one for _, one in found)))
            result.append(replace(phase, depends_on=depends, chunks=tuple(chunks)))
        return result

    def _dependencies(self, raw: Json, path: str) -> list[tuple[str, str]]:
        """Return each dependency with its JSON path, as it is written."""
        key, value = pick(raw, dialects.DEPENDS)
        if value is None:
            return []
        many = value if isinstance(value, list) else [value]
        found: list[tuple[str, str]] = []
        for k, one in enumerate(many):
            where = f"{path}.{key}[{k}]" if isinstance(value, list) else f"{path}.{key}"
            if _is_id(one):
                found.append((where, as_text(one)))
            else:
                self._refuse(where, "is no id", one, "write the id as text")
        return found

    def _mind_silence(
        self,
        raw: Sequence[Json],
        phases: Sequence[Phase],
        names: Sequence[_Names],
        *,
        ordered_phases: bool,
    ) -> list[Phase]:
        """Point out, or with `ordered_phases` fill, phases that say nothing of dependencies."""
        result = list(phases)
        silent = [
            i
            for i, source in enumerate(raw)
            if i > 0 and _is_object(source) and pick(source, dialects.DEPENDS)[1] is None
        ]
        free = [i for i in silent if any(not one.depends_on for one in phases[i].chunks)]
        if ordered_phases:
            for i in silent:
                result[i] = replace(phases[i], depends_on=(phases[i - 1].id,))
        elif free:
            which = ", ".join(repr(str(phases[i].id)) for i in free)
            says = (
                f"phases {which} name no depends_on and may start at once; if they are meant"
                " to follow each other, write it there or run with --ordered-phases"
            )
            self.hints.append(Hint(names[free[0]].path, says, aloud=True))
        return result

    def _hint_at_overlaps(self, plan: Plan) -> None:
        for one, other, claim, theirs in overlapping_pairs(plan):
            both = claim.text if claim == theirs else f"{claim.text} and {theirs.text}"
            says = f"chunks {one!r} and {other!r} both claim {both}: they run one after the other"
            self.hints.append(Hint("$.phases", says))


def _is_object(value: Json) -> bool:
    return isinstance(value, dict)


def _is_id(value: Json) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and bool(as_text(value))


def _guess(value: Mapping[str, Json]) -> VerificationKind:
    for key, kind in (
        ("command", VerificationKind.COMMAND),
        ("run", VerificationKind.COMMAND),
        ("method", VerificationKind.API),
        ("steps", VerificationKind.E2E),
        ("checks", VerificationKind.BROWSER),
    ):
        if value.get(key):
            return kind
    return VerificationKind.MANUAL


def _aliases(names: Sequence[_Names]) -> dict[str, str]:
    """Map each name that a phase may be called by to its id; an exact id wins over the rest."""
    found: dict[str, str] = {}
    for rank in range(max((len(name.aliases) for name in names), default=0)):
        for name in names:
            if rank < len(name.aliases):
                found.setdefault(name.aliases[rank], name.aliases[0])
    for i, name in enumerate(names):
        found.setdefault(str(i + 1), name.aliases[0])
    return found


def _located(flaw: Flaw, names: Sequence[_Names]) -> Problem:
    """Turn a place in the structure into a JSON path in the file's own spelling."""
    match flaw.where:
        case ("phases", int(i), "chunks", int(j), "id"):
            path = f"{names[i].chunk_paths[j]}.{names[i].chunk_id_keys[j]}"
        case ("phases", int(i), "chunks", int(j), "depends_on", int(k)):
            path = names[i].chunk_depends[j][k]
        case ("phases", int(i), "depends_on", int(k)):
            path = names[i].depends[k]
        case ("phases", int(i), "id"):
            path = f"{names[i].path}.{names[i].id_key}"
        case _:
            path = "$." + ".".join(str(part) for part in flaw.where)
    return Problem(path, flaw.what, shorten(flaw.value), flaw.suggestion)
