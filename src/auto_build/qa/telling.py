"""What a reviewer is told of a build, in lines. Pure."""

from typing import Final

from auto_build.core.acceptance import ItemResult, ItemState
from auto_build.core.plan import ChunkId
from auto_build.core.rounds import in_words
from auto_build.core.state import Failed, Landed, RunState, Skipped

_TAIL: Final = 2_000  # characters of a red item's output
_MOST_PATHS: Final = 20


def item_words(one: ItemResult) -> str:
    """Return what was run, and what came of it; of what is red, the end of its output too."""
    whose = f" (chunk {one.chunk})" if one.chunk else ""
    line = f"[{one.state.value}] {one.kind.value}{whose}: {one.what}: {one.note}"
    if one.state is ItemState.FAILED and one.output.strip():
        return f"{line}\n{_indented(one.output.strip()[-_TAIL:])}"
    return line


def chunk_words(state: RunState) -> list[str]:
    """Return what was built: each chunk with what nobody has verified of it."""
    return [_chunk_words(state, chunk) for chunk in state.chunks]


def _chunk_words(state: RunState, chunk: ChunkId) -> str:
    now = state.chunks[chunk]
    line = f"{chunk} {state.plan.chunks[chunk].title}"
    match now:
        case Landed():
            facts = [
                f"not verified by a command: {now.unverified}" if now.unverified else "",
                *(f"left out: {one}" for one in now.dropped),
                f"wrote beyond its paths: {', '.join(now.outside[:_MOST_PATHS])}"
                if now.outside
                else "",
            ]
            told = "; ".join(fact for fact in facts if fact)
            return f"{line} ({now.commit[:10]})" + (f": {told}" if told else "")
        case Skipped():
            return f"{line}: skipped: {now.why}"
        case Failed():
            return f"{line}: failed: {now.reason}"
        case _:
            return line


def before_words(state: RunState) -> str:
    """Return what the round before found, and what became of it; empty in the first."""
    last = state.qa.last
    if last is None or not last.findings:
        return ""
    found = "\n\n".join(in_words(one) for one in last.findings)
    fixes = state.plan.fixes_of(last.round)
    mended = "\n".join(f"- {_chunk_words(state, chunk)}" for chunk in fixes)
    became = f"\n\nMended since then, as far as it landed:\n\n{mended}" if mended else ""
    return f"{found}{became}\n\nSee whether each is mended, and whether mending broke something."


def _indented(text: str) -> str:
    return "\n".join(f"      {line}" for line in text.splitlines())
