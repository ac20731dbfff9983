"""Prompts: templates as files beside this one, and their rendering."""

from collections.abc import Iterable
from importlib.resources import files
from string import Template
from typing import Final

from auto_build.core.claims import Claim
from auto_build.core.plan import Chunk, ChunkId, VerificationKind

_SPEC_LIMIT: Final = 60_000  # characters of the spec that a prompt carries
_HELD_LIMIT: Final = 40


def render_implement(
    chunk: Chunk,
    *,
    spec: str,
    spec_text: str,
    held: Iterable[tuple[ChunkId, tuple[Claim, ...]]],
    checks: Iterable[str],
    before: str = "",
) -> str:
    """Return the first prompt of an attempt.

    Args:
        chunk: the work.
        spec: the build's name.
        spec_text: the specification; cut at a bound, and said so.
        held: what other live chunks claim.
        checks: the project's own checks.
        before: what an earlier attempt came to, where there was one.
    """
    return _template("implement.md").substitute(
        spec=spec,
        spec_text=_cut(spec_text) or "(the spec has no text)",
        chunk=chunk.id,
        title=chunk.title,
        description=chunk.description or "(no more is said)",
        claims=_listed(claim.text for claim in chunk.claims)
        or "- none declared: touch what the work needs, and no more",
        held=_held(held),
        verification=_verification(chunk, checks),
        before=before,
    )


def render_repair(chunk: Chunk, *, feedback: str, round_: int, rounds: int) -> str:
    """Return the prompt that gives a red check's output back to the agent."""
    return _template("repair.md").substitute(
        chunk=chunk.id, title=chunk.title, feedback=feedback, round=round_, rounds=rounds
    )


def render_conflict_note(paths: Iterable[str], pin: str) -> str:
    """Return what a chunk that was set aside is told about its first try."""
    return _template("conflict.md").substitute(paths=_listed(paths), pin=pin)


def _template(name: str) -> Template:
    return Template(files(__name__).joinpath(name).read_text(encoding="utf-8"))


def _cut(text: str) -> str:
    text = text.strip()
    if len(text) <= _SPEC_LIMIT:
        return text
    return f"{text[:_SPEC_LIMIT]}\n\n(cut here: the spec is longer)"


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
