"""What agents are told: templates as files, a project's own in place of ours, and their rendering.

A template is Markdown in which `$name` stands for a value. Its first line may name its version and
is not sent. A project puts its own templates into `auto-build/prompts/`; all of them are read and
checked at once, before a run starts, so that no agent is ever told half of what it needs.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Final, Self

from auto_build.core.claims import Claim
from auto_build.core.plan import Chunk, ChunkId, VerificationKind
from auto_build.errors import EnvironmentUnfit, UsageProblem

FOLDER: Final = "auto-build/prompts"
_SPEC_LIMIT: Final = 60_000  # characters of the spec that a prompt carries
_HELD_LIMIT: Final = 40
_INSTRUCTIONS_LIMIT: Final = 20_000  # characters of each file that speaks to agents
_VERSION_LINE: Final = re.compile(r"\A<!-- auto-build prompt: (\S+), version (\d+) -->[^\n]*\n")
_MAY_LACK: Final = frozenset({"spec", "spec_text", "instructions"})
_BETTER: Final = (
    "It can be run. These things keep agents from working side by side, or may not be meant; mend"
    " those that can be mended and leave the others as they are:"
)
_IMPORT: Final = re.compile(r"^@(?:\./)?AGENTS\.md\s*$", re.MULTILINE)

# every template with what may stand in it; a project's own must hold all but `_MAY_LACK`
PLACEHOLDERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "implement": (
            "chunk",
            "title",
            "description",
            "claims",
            "held",
            "verification",
            "before",
            "human",
            "instructions",
            "spec",
            "spec_text",
        ),
        "fix": (
            "chunk",
            "request",
            "description",
            "claims",
            "held",
            "verification",
            "before",
            "human",
            "instructions",
            "spec",
            "spec_text",
        ),
        "review": (
            "round",
            "commit",
            "criteria",
            "items",
            "chunks",
            "before",
            "stat",
            "diff",
            "patch",
            "human",
            "instructions",
            "spec",
            "spec_text",
        ),
        "review-again": ("problems",),
        "repair": ("chunk", "title", "feedback", "round", "rounds", "human"),
        "together": ("others", "sides"),
        "resolve": ("chunk", "title", "paths", "said", "sides", "human"),
        "conflict": ("paths", "pin"),
        "again": ("outcome", "reason", "left"),
        "resume": ("chunk", "title", "why", "human"),
        "plan": ("form", "human", "instructions", "spec", "spec_text"),
        "plan-again": ("verdict", "problems"),
        "spec": ("wish", "instructions"),
        "spec-again": ("answers",),
    }
)


@dataclass(frozen=True, slots=True)
class Prompts:
    """Every template of a project, checked.

    `outdated` says which of the project's own were written for another version of ours.
    """

    templates: Mapping[str, Template]
    outdated: tuple[str, ...] = ()

    @classmethod
    def load(cls, project: Path | None = None) -> Self:
        """Read the templates: ours, and in their place those of the project's own.

        Raises:
            UsageProblem: a template of the project's cannot be used; all such places at once.
        """
        ours = {name: _load_ours(name) for name in PLACEHOLDERS}
        folder = project / FOLDER if project else None
        theirs = _load_theirs(folder) if folder and folder.is_dir() else {}
        wrong = [one for path, text in theirs.items() for one in _find_flaws(path, text)]
        if wrong:
            raise UsageProblem(
                "prompts of this project cannot be used:\n  " + "\n  ".join(wrong),
                hint="mend them; the prompts guide lists what each may hold",
            )
        own = {path.stem: text for path, text in theirs.items()}
        bodies = {name: _VERSION_LINE.sub("", text) for name, text in {**ours, **own}.items()}
        return cls(
            MappingProxyType({name: Template(body) for name, body in bodies.items()}),
            tuple(_find_outdated(ours, theirs)),
        )

    # --- building --------------------------------------------------------------------------------

    def implement(
        self,
        chunk: Chunk,
        *,
        spec: str,
        spec_text: str,
        held: Iterable[tuple[ChunkId, tuple[Claim, ...]]],
        checks: Iterable[str],
        before: str = "",
        human: str = "",
        instructions: str = "",
        request: str = "",
    ) -> str:
        """Return the first prompt of an attempt: the whole task.

        Args:
            chunk: the work.
            spec: the build's name.
            spec_text: the specification; cut at a bound, and said so.
            held: what other live chunks claim.
            checks: the project's own checks.
            before: what an earlier attempt came to, where there was one.
            human: what people have said about this work.
            instructions: what the repository says to agents.
            request: the file that people read the findings in, where the work is to mend some.
        """
        return self._fill(
            "fix" if request else "implement",
            request=request,
            spec=spec,
            spec_text=_cut(spec_text) or "(the spec has no text)",
            chunk=chunk.id,
            title=chunk.title,
            description=chunk.description or "(no more is said)",
            claims=_listed(claim.text for claim in chunk.claims)
            or "- none declared: touch what the work needs, and no more",
            held=_held(held),
            verification=_verification(chunk, checks),
            before=_block(before),
            human=_human(human),
            instructions=_instructions(instructions),
        )

    def repair(
        self, chunk: Chunk, *, feedback: str, round_: int, rounds: int, human: str = ""
    ) -> str:
        """Return the prompt that gives a red check's output back to the agent."""
        return self._fill(
            "repair",
            chunk=chunk.id,
            title=chunk.title,
            feedback=feedback,
            round=round_,
            rounds=rounds,
            human=_human(human),
        )

    def resume(self, chunk: Chunk, *, why: str, human: str = "") -> str:
        """Return what an agent is told that goes on with its own work; `why` it was broken off."""
        return self._fill("resume", chunk=chunk.id, title=chunk.title, why=why, human=_human(human))

    def together(self, sides: Sequence[tuple[Chunk, str]]) -> str:
        """Return what an agent is told whose work fails only together with others'.

        Each side is a chunk and its patch; the agent's own is the first.
        """
        others = ", ".join(chunk.id for chunk, _ in sides[1:])
        return self._fill("together", others=others, sides=_sides(sides))

    def resolve(
        self,
        chunk: Chunk,
        *,
        paths: Iterable[str],
        said: str,
        sides: Sequence[tuple[Chunk, str]],
        human: str = "",
    ) -> str:
        """Return the prompt that puts a conflict before the agent whose work is in it.

        Args:
            chunk: the work.
            paths: where it is in conflict.
            said: what git says of it.
            sides: chunks and their patches, the agent's own first.
            human: what people have said about this work.
        """
        return self._fill(
            "resolve",
            chunk=chunk.id,
            title=chunk.title,
            paths=_listed(paths),
            said=said,
            sides=_sides(sides),
            human=_human(human),
        )

    def conflict_note(self, paths: Iterable[str], pin: str) -> str:
        """Return what a chunk that was set aside is told about its first try."""
        return self._fill("conflict", paths=_listed(paths), pin=pin)

    def again_note(self, outcome: str, reason: str, pin: str) -> str:
        """Return what a chunk is told about a failed try; `pin` is empty where it left nothing."""
        left = f"What it left can be read with: git show {pin}" if pin else "It left no work."
        return self._fill("again", outcome=outcome, reason=reason, left=left)

    # --- reviewing -------------------------------------------------------------------------------

    def review(
        self,
        *,
        round_: int,
        commit: str,
        spec: str,
        spec_text: str,
        criteria: Sequence[str],
        items: Sequence[str],
        chunks: Sequence[str],
        stat: str,
        diff: str,
        patch: str,
        before: str = "",
        human: str = "",
        instructions: str = "",
    ) -> str:
        """Return the reviewer's first prompt.

        Args:
            round_: which review of the build it is.
            commit: what is reviewed.
            spec: the build's name.
            spec_text: the specification; cut at a bound, and said so.
            criteria: what the plan says is to be judged.
            items: what was run, and what came of it, a line or more each.
            chunks: what was built, a line or more each.
            stat: git's summary of the changes.
            diff: the beginning of their patch.
            patch: the file that holds the whole of it.
            before: what the round before found.
            human: what people have said about the build.
            instructions: what the repository says to agents.
        """
        return self._fill(
            "review",
            round=round_,
            commit=commit,
            spec=spec,
            spec_text=_cut(spec_text) or "(the spec has no text)",
            criteria=_listed(criteria) or "- the specification below, sentence by sentence",
            items=_listed(items) or "- nothing: the plan names nothing that can be run",
            chunks=_listed(chunks),
            stat=stat.strip(),
            diff=_cut(diff, what="diff"),
            patch=patch,
            before=_section("# What the round before has found", before),
            human=_human(human),
            instructions=_instructions(instructions),
        )

    def review_again(self, problems: Sequence[str]) -> str:
        """Return what a reviewer is told whose answer cannot be taken."""
        return self._fill("review-again", problems=_listed(problems))

    # --- planning --------------------------------------------------------------------------------

    def plan(
        self, *, spec: str, spec_text: str, form: str, human: str = "", instructions: str = ""
    ) -> str:
        """Return the planner's first prompt; `form` shows the form of a plan."""
        return self._fill(
            "plan",
            spec=spec,
            spec_text=_cut(spec_text),
            form=form,
            human=_human(human),
            instructions=_instructions(instructions),
        )

    def plan_again(self, remarks: Sequence[str], *, valid: bool) -> str:
        """Return what is said of a plan: how to better it, or why it is not `valid`."""
        verdict = _BETTER if valid else "It cannot be run like this. Mend all of these:"
        return self._fill("plan-again", verdict=verdict, problems=_listed(remarks))

    def spec(self, wish: str, *, instructions: str = "") -> str:
        """Return the prompt for a specification; `wish` is the sentence it is to come from."""
        return self._fill("spec", wish=wish, instructions=_instructions(instructions))

    def spec_again(self, answers: Sequence[tuple[str, str]]) -> str:
        """Return the prompt for the second text: each question with its answer, empty if open."""
        told = "\n\n".join(
            f"- {question}\n  {answer or '(left open)'}" for question, answer in answers
        )
        return self._fill("spec-again", answers=told)

    def _fill(self, name: str, **values: object) -> str:
        text = self.templates[name].substitute(values).strip() + "\n"
        return text.encode("utf-8", "replace").decode()  # names and patches need not be UTF-8


def load_instructions(folder: Path) -> str:
    """Return what a repository says to agents: its AGENTS.md and CLAUDE.md, at the top of `folder`.

    Each is cut at a bound. A CLAUDE.md that only repeats AGENTS.md, or takes it in, adds nothing.

    Raises:
        EnvironmentUnfit: one of them cannot be read.
    """
    shared = _load_instruction(folder / "AGENTS.md")
    own = _load_instruction(folder / "CLAUDE.md")
    if shared:
        own = _IMPORT.sub("", own).strip()
    told = {"AGENTS.md": shared, "CLAUDE.md": "" if own == shared else own}
    return "\n\n".join(
        f'<file path="{name}">\n{_cut(text, _INSTRUCTIONS_LIMIT, "file")}\n</file>'
        for name, text in told.items()
        if text
    )


def _load_instruction(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, IsADirectoryError):
        return ""
    except OSError as error:
        raise EnvironmentUnfit(
            f"{path} cannot be read: {error.strerror}",
            hint="agents are told what it says: make it readable",
        ) from error


# --- templates ------------------------------------------------------------------------------------


def _load_ours(name: str) -> str:
    return files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")


def _load_theirs(folder: Path) -> dict[Path, str]:
    found: dict[Path, str] = {}
    for path in sorted(folder.glob("*.md")):
        if path.name.casefold() == "readme.md":
            continue
        try:
            found[path] = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageProblem(
                f"{path} cannot be read: {error}", hint="save it as UTF-8"
            ) from error
    return found


def _find_flaws(path: Path, text: str) -> list[str]:
    """Return everything that is wrong with a template, each with its place."""
    name, shown = path.stem, f"{FOLDER}/{path.name}"
    known = PLACEHOLDERS.get(name)
    if known is None:
        near = get_close_matches(name, PLACEHOLDERS, n=1)
        meant = f"; did you mean {near[0]}.md?" if near else ""
        return [f"{shown}: there is no such prompt (there are: {', '.join(PLACEHOLDERS)}){meant}"]
    listed = ", ".join(f"${one}" for one in known)
    wrong: list[str] = []
    used: set[str] = set()
    for match in Template.pattern.finditer(text):
        word = match["named"] or match["braced"]
        line = text.count("\n", 0, match.start()) + 1
        if word:
            used.add(word)
            if word not in known:
                wrong.append(f"{shown}:{line}: ${word} stands for nothing (known: {listed})")
        elif match["invalid"] is not None:
            wrong.append(f"{shown}:{line}: a $ that is meant as itself is written $$")
    wrong.extend(
        f"{shown}: ${one} is missing (known: {listed})"
        for one in known
        if one not in used and one not in _MAY_LACK
    )
    return wrong


def _find_outdated(ours: Mapping[str, str], theirs: Mapping[Path, str]) -> Iterable[str]:
    for path, text in theirs.items():
        own, now = _VERSION_LINE.match(text), _VERSION_LINE.match(ours[path.stem])
        if own and now and own[2] != now[2]:
            yield (
                f"{FOLDER}/{path.name} was made from version {own[2]} of that prompt; it is now at"
                f" version {now[2]}"
            )


# --- parts ----------------------------------------------------------------------------------------


def _sides(sides: Sequence[tuple[Chunk, str]]) -> str:
    return "\n\n".join(
        f"## Chunk {chunk.id}: {chunk.title}\n\n{chunk.description}\n\n```diff\n{patch}\n```"
        for chunk, patch in sides
    )


def _block(text: str) -> str:
    """Return a part that may be empty, set off from what stands around it."""
    return f"\n{text.strip()}\n" if text.strip() else ""


def _human(text: str) -> str:
    return _section("# What people have said: it comes before all else", text)


def _instructions(text: str) -> str:
    return _section("# What this repository says to agents", text)


def _section(heading: str, text: str) -> str:
    return _block(f"{heading}\n\n{text.strip()}") if text.strip() else ""


def _cut(text: str, limit: int = _SPEC_LIMIT, what: str = "spec") -> str:
    text = text.strip()
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n\n(cut here: the {what} is longer)"


def _listed(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _held(held: Iterable[tuple[ChunkId, tuple[Claim, ...]]]) -> str:
    lines = [f"- {claim.text} (chunk {chunk})" for chunk, claims in held for claim in claims]
    if len(lines) > _HELD_LIMIT:
        lines = [*lines[:_HELD_LIMIT], f"- and {len(lines) - _HELD_LIMIT} more"]
    return "\n".join(lines) or "- nothing at the moment"


def _verification(chunk: Chunk, checks: Iterable[str]) -> str:
    lines = []
    own = chunk.verification
    if own.kind is VerificationKind.COMMAND:
        wanted = f" (expected: {own.expected})" if own.expected else ""
        lines.append(f"- `{own.command}`{wanted}")
    elif own.instructions:
        lines.append(f"- by a person or by QA ({own.kind.value}): {own.instructions}")
    lines.extend(f"- `{command}`" for command in checks)
    return "\n".join(lines) or "- no command is named: leave the project working"
