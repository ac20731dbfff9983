"""Plan files to Plans and back; events to plain JSON values and back.

Reading finds every problem of a file at once, each with its JSON path, its value and what to write
instead. Writing changes the statuses of chunks and nothing else: keys that we do not know survive.
"""

import copy
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, get_args

from pydantic import TypeAdapter
from typing_extensions import override

from auto_build.core import dialects, events
from auto_build.core.claims import BadClaim, Claim
from auto_build.core.dialects import FileStatus
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

Json = Any  # a plain JSON value: checked where it is read
MARK: Final = "auto_build"  # the key under which the tool notes what it wrote
_SHOWN: Final = 80
_DEEPEST: Final = 100  # levels of nesting
_LONGEST_S: Final = 7 * 24 * 3600
_HALF: Final = re.compile("[\ud800-\udfff]")  # half of a character: no file can hold it
_ROOT: Final = re.compile(r"^(?:[A-Za-z]:|~|\.{1,2}(?=[/\\])|[/\\])+")
_NO_PATH: Final = re.compile(
    r"(?:tbd|tba|todo|n/?a|none|unknown|various|multiple|any)(?=$|[\s:,])", re.IGNORECASE
)
_REMARK: Final = re.compile(r"\s+\([^()]*\)$|\s+[-\u2013\u2014]\s+.*$")
_LINES: Final = re.compile(r":\d+(?:-\d+)?$")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that must be mended before the plan can be run."""

    path: str
    what: str
    value: str
    suggestion: str

    @override
    def __str__(self) -> str:
        shown = f" ({self.value})" if self.value else ""
        return f"{self.path}: {self.what}{shown}. {self.suggestion}"


@dataclass(frozen=True, slots=True)
class Hint:
    """One thing that is allowed and may not be meant."""

    path: str
    what: str

    @override
    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


class PlanRefused(ValueError):
    """The file is no plan; `problems` says why, all at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


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
    document = _load(text)
    reader = _Reader()
    plan = reader.plan(document, ordered_phases=ordered_phases)
    if reader.problems or plan is None:
        raise PlanRefused(reader.problems)
    return PlanFile(plan, reader.statuses, frozenset(reader.edited), tuple(reader.hints), document)


def load_document(text: str) -> dict[str, Json]:
    """Return the JSON object in `text`.

    Raises:
        PlanRefused: it is not JSON, or not an object.
    """
    return _load(text)


def write_statuses(
    document: Mapping[str, Json], notes: Mapping[ChunkId, Mapping[str, Json]]
) -> str:
    """Return the file's new text: each chunk's `status`, and our notes under `auto_build`.

    `notes` holds for each chunk at least `status`. A status that somebody edited since our last
    writing is left alone: it is a wish, taken in at the next start, until it has come true.
    """
    fresh = copy.deepcopy(dict(document))
    for phase in _listed(fresh.get("phases")):
        for chunk in _listed(_pick(phase, dialects.CHUNKS)[1]):
            note = notes.get(ChunkId(_text(_pick(chunk, dialects.CHUNK_IDS)[1])))
            if note is None or (_is_edited(chunk) and _status(chunk) != note["status"]):
                continue
            chunk["status"] = note["status"]
            chunk[MARK] = dict(note)
    return json.dumps(fresh, indent=2, ensure_ascii=False) + "\n"


def encode_event(event: events.Event) -> dict[str, Json]:
    """Return an event as plain JSON values, its type under `type`."""
    body: dict[str, Json] = _ADAPTERS[type(event).__name__].dump_python(event, mode="json")
    return {"type": type(event).__name__, **body}


def decode_event(value: Mapping[str, Json]) -> events.Event:
    """Return the event that `encode_event` wrote.

    Raises:
        ValueError: its type or its fields are unknown; the journal is of a later version.
    """
    body = dict(value)
    name = body.pop("type", None)
    if not isinstance(name, str) or name not in _ADAPTERS:
        raise ValueError(f"unknown event type {name!r}")
    if unknown := body.keys() - {one.name for one in fields(_EVENTS[name])}:
        raise ValueError(f"unknown fields of {name}: {', '.join(sorted(unknown))}")
    event: events.Event = _ADAPTERS[name].validate_python(body)
    return event


_EVENTS: Final[Mapping[str, type[events.Event]]] = {
    kind.__name__: kind for kind in (*get_args(events.RunEvent), *get_args(events.ChunkEvent))
}


_ADAPTERS: Final[Mapping[str, TypeAdapter[Any]]] = {
    name: TypeAdapter(kind) for name, kind in _EVENTS.items()
}


# --- JSON ----------------------------------------------------------------------------------------


def _load(text: str) -> dict[str, Json]:
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise PlanRefused(
            [Problem("$", "the file is empty", "", "write a plan with phases and chunks")]
        )
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise PlanRefused([_not_json(text, error)]) from error
    except RecursionError as error:
        raise PlanRefused([_TOO_DEEP]) from error
    except ValueError as error:  # a number of thousands of digits
        raise PlanRefused([Problem("$", f"is not JSON: {error}", "", "mend it")]) from error
    if unfit := _find_unfit(document):
        raise PlanRefused([unfit])
    if not isinstance(document, dict):
        wrong = Problem("$", "is not a JSON object", _show(document), 'begin with {"phases": [')
        raise PlanRefused([wrong])
    return document


_TOO_DEEP: Final = Problem("$", "is nested too deeply to be a plan", "", "restore the file")


def _find_unfit(document: Json) -> Problem | None:
    """Find what Python's JSON takes and no file can hold: it could not be written back."""
    level: list[tuple[str, Json]] = [("$", document)]
    for _ in range(_DEEPEST):
        below: list[tuple[str, Json]] = []
        for path, value in level:
            if isinstance(value, str) and _HALF.search(value):
                return Problem(path, "holds half of a character", ascii(value), "write it anew")
            if isinstance(value, float) and not math.isfinite(value):
                return Problem(path, "is no number that JSON knows", str(value), "write a number")
            if isinstance(value, dict):
                below.extend((path, key) for key in value)
                below.extend((f"{path}.{key}", one) for key, one in value.items())
            elif isinstance(value, list):
                below.extend((f"{path}[{i}]", one) for i, one in enumerate(value))
        if not below:
            return None
        level = below
    return _TOO_DEEP


def _not_json(text: str, error: json.JSONDecodeError) -> Problem:
    lines = text.splitlines() or [""]
    line = lines[min(error.lineno, len(lines)) - 1]
    advice = "mend the JSON there"
    if any(one.startswith(("<<<<<<< ", ">>>>>>> ")) for one in lines):
        advice = "the file holds git conflict markers: resolve them, then try again"
    elif error.pos >= len(text.rstrip()) or _opens_no_end(text[error.pos :]):
        advice = "the file seems to be cut off: restore its end"
    where = f"line {error.lineno}, column {error.colno}"
    return Problem("$", f"is not JSON: {error.msg} at {where}", _show(line.strip()), advice)


def _opens_no_end(rest: str) -> bool:
    return rest.startswith('"') and rest.count('"') == 1


def _show(value: Json) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _pick(value: Json, keys: Sequence[str]) -> tuple[str, Json]:
    """Return the first of `keys` that holds something, with its value; else the first, None."""
    if isinstance(value, dict):
        for key in keys:
            if value.get(key) is not None:
                return key, value[key]
    return keys[0], None


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value.strip()
    if value is None:
        return ""
    if isinstance(value, list):
        return "\n".join(_text(one) for one in value)
    return str(value) if isinstance(value, int | float) else json.dumps(value, ensure_ascii=False)


def _is_edited(chunk: Mapping[str, Json]) -> bool:
    mark = chunk.get(MARK)
    now = _status(chunk)
    return isinstance(mark, dict) and now != mark.get("status") and now in dialects.WISHES


def _status(chunk: Mapping[str, Json]) -> FileStatus | None:
    word = _text(chunk.get("status")).casefold().replace("-", "_").replace(" ", "_")
    return dialects.STATUS.get(word) if word else FileStatus.PENDING


# --- one pass over the document ------------------------------------------------------------------


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
            shown = "" if raw is None else _show(raw)
            self._refuse("$.phases", what, shown, 'write "phases": [{"id": ..., "chunks": [...]}]')
            return None
        names = [self._names(i, phase) for i, phase in enumerate(raw)]
        phases = [self._phase(phase, name) for phase, name in zip(raw, names, strict=True)]
        phases = self._resolve(raw, phases, names)
        phases = self._mind_silence(raw, phases, names, ordered_phases=ordered_phases)
        self.problems.extend(_located(flaw, names) for flaw in find_flaws(phases))
        if self.problems:
            return None
        plan = Plan(_text(_pick(document, dialects.PLAN_TITLE)[1]), tuple(phases))
        self._hint_at_overlaps(plan)
        return plan

    def _refuse(self, path: str, what: str, value: Json, suggestion: str) -> None:
        self.problems.append(Problem(path, what, _show(value), suggestion))

    def _names(self, i: int, phase: Json) -> _Names:
        id_key, own = _pick(phase, dialects.PHASE_IDS)
        known = [_text(phase.get(key)) for key in dialects.PHASE_IDS] if _is_object(phase) else []
        aliases = (
            _text(own),
            *known,
            f"phase-{i + 1}",
            _text(_pick(phase, dialects.PHASE_NAME)[1]),
        )
        return _Names(
            path=f"$.phases[{i}]",
            chunks=_pick(phase, dialects.CHUNKS)[0],
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
        safe_key, safe = _pick(raw, dialects.PARALLEL_SAFE)
        if safe is not None and not isinstance(safe, bool):
            self._refuse(f"{names.path}.{safe_key}", "is not true or false", safe, "write true")
            safe = None
        chunks = raw.get(names.chunks)
        if chunks is not None and not isinstance(chunks, list):
            self._refuse(f"{names.path}.{names.chunks}", "is not a list", chunks, "write [...]")
            chunks = None
        return Phase(
            id=PhaseId(names.aliases[0] if names.aliases else names.path),
            name=_text(_pick(raw, dialects.PHASE_NAME)[1]),
            parallel_safe=safe is not False,
            chunks=tuple(self._chunk(one, j, names) for j, one in enumerate(chunks or [])),
        )

    def _chunk(self, raw: Json, j: int, names: _Names) -> Chunk:
        path = f"{names.path}.{names.chunks}[{j}]"
        id_key, own = _pick(raw, dialects.CHUNK_IDS)
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
        chunk_id = ChunkId(_text(own))
        self._read_status(raw, chunk_id, path)
        title = _text(_pick(raw, dialects.CHUNK_TITLE)[1])
        text = "\n\n".join(
            dict.fromkeys(_text(raw[key]) for key in dialects.CHUNK_TEXT if raw.get(key))
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
            value = _pick(value, ("path", "file", "name"))[1]
        if not isinstance(value, str):
            self._refuse(where, "is no path", value, "write a path relative to the repository")
            return None
        text = value.strip().strip("`")
        if not text or _NO_PATH.match(text):
            self.hints.append(Hint(where, f"{_show(value)!r} is no path and claims nothing"))
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
            text = _text(value)
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
        lines = (_text(one) if key in bare else f"{key}: {_text(one)}" for key, one in told.items())
        return Verification(kind=kind, instructions="\n".join(lines))

    def _kind(self, value: Mapping[str, Json], path: str) -> VerificationKind:
        word = _text(value.get("type")).casefold()
        if word in set(VerificationKind):
            return VerificationKind(word)
        if word:
            runs = isinstance(value.get("command"), str)
            kind = VerificationKind.COMMAND if runs else VerificationKind.MANUAL
            self.hints.append(Hint(f"{path}.type", f"{word!r} is taken as {kind.value!r}"))
            return kind
        return _guess(value)

    def _command(self, value: Mapping[str, Json], path: str) -> Verification:
        key, command = _pick(value, ("command", "run"))
        if not isinstance(command, str) or not command.strip():
            self._refuse(
                f"{path}.{key}", "is missing or no text", command, 'write "command": "make test"'
            )
            return Verification()
        expected = _text(value.get("expected"))
        if expected and not reads_like_output(expected, command):
            says = f"{_show(expected)!r} reads like a sentence: the exit code alone will decide"
            self.hints.append(Hint(f"{path}.expected", says))
        return Verification(
            kind=VerificationKind.COMMAND,
            command=command.strip(),
            expected=expected,
            timeout_s=self._timeout(value, path),
        )

    def _timeout(self, value: Mapping[str, Json], path: str) -> float | None:
        key, limit = _pick(value, dialects.TIMEOUT)
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
        key, value = _pick(raw, dialects.DEPENDS)
        if value is None:
            return []
        many = value if isinstance(value, list) else [value]
        found: list[tuple[str, str]] = []
        for k, one in enumerate(many):
            where = f"{path}.{key}[{k}]" if isinstance(value, list) else f"{path}.{key}"
            if _is_id(one):
                found.append((where, _text(one)))
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
            if i > 0 and _is_object(source) and _pick(source, dialects.DEPENDS)[1] is None
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
            self.hints.append(Hint(names[free[0]].path, says))
        return result

    def _hint_at_overlaps(self, plan: Plan) -> None:
        for one, other, claim, theirs in overlapping_pairs(plan):
            both = claim.text if claim == theirs else f"{claim.text} and {theirs.text}"
            says = f"chunks {one!r} and {other!r} both claim {both}: they run one after the other"
            self.hints.append(Hint("$.phases", says))


def _is_object(value: Json) -> bool:
    return isinstance(value, dict)


def _is_id(value: Json) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and bool(_text(value))


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
    return Problem(path, flaw.what, _show(flaw.value), flaw.suggestion)
