"""The papers of a review as people read them: report, fix request, the plan's sign-off. Pure.

Everything in them is computed from the state, so that they can be written again at any time.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from auto_build.core.acceptance import ItemResult, ItemState
from auto_build.core.findings import Comment, Finding, Review, Source, Verdict
from auto_build.core.plan import VerificationKind
from auto_build.core.qa import Qa
from auto_build.core.rounds import in_words
from auto_build.core.state import Failed, Landed, RunState

_OUTPUT: Final = 3_000  # characters of an item's output that the report carries
_WORDS: Final = {
    Verdict.APPROVED: "approved",
    Verdict.REJECTED: "rejected",
    Verdict.NONE: "no verdict",
}


def report_text(spec: str, state: RunState) -> str:
    """Return `qa_report.md`: the last review with its evidence, and those before it in short."""
    qa, last = state.qa, state.qa.last
    if last is None:
        return ""
    criteria = [_row(one.text, one.met.value, one.evidence) for one in last.criteria]
    parts = [
        f"# Review of {spec}",
        "\n".join(_head(qa, last)),
        *_section("Findings", [_finding(one) for one in last.findings]),
        *_section("What is open", _open(state)),
        *_section("Criteria", criteria),
        *_section("What was run", [_item(one) for one in last.items if _ran(one)]),
        *_section("What nobody has run", [_item(one) for one in last.items if not _ran(one)]),
        *_section("What was built and no command has checked", _unverified(state)),
        *_section("About the review", list(last.notes)),
        *_section("What people said", [_comment(one) for one in qa.comments]),
        *_section("Rounds", [_round(state, review) for review in qa.reviews]),
    ]
    return "\n\n".join(parts) + "\n"


def _head(qa: Qa, last: Review) -> Iterator[str]:
    verdict = _WORDS[last.verdict]
    yield f"**{verdict}**, round {last.round}, at commit `{last.commit}`, by {last.by or 'nobody'}."
    if last.verdict is Verdict.APPROVED:
        yield "This is of that commit: whatever lands afterwards has to be reviewed again."
    if last.why:
        yield f"Why: {last.why}"
    if qa.stopped:
        yield f"The rounds have stopped: {qa.stopped}"
    if last.summary:
        yield f"\n{last.summary}"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines)] if lines else []


def _finding(one: Finding) -> str:
    return _indented(f"**{one.severity.value}** ({one.source.value}) {_tail(in_words(one))}")


def _tail(words: str) -> str:
    return words.partition("] ")[2]


def _row(what: str, state: str, evidence: str) -> str:
    return _indented(f"**{state}** {what}" + (f"\n{evidence}" if evidence else ""))


def _ran(one: ItemResult) -> bool:
    return one.state is not ItemState.UNVERIFIED


def _item(one: ItemResult) -> str:
    whose = f" (chunk {one.chunk})" if one.chunk else ""
    lines = [f"**{one.state.value}** {one.kind.value}{whose}: {one.what}: {one.note}"]
    lines += [f"![{one.what}]({path})" for path in one.evidence if path.endswith(".png")]
    lines += [f"see {path}" for path in one.evidence if not path.endswith(".png")]
    if output := one.output.strip()[-_OUTPUT:]:
        fence = "```" if "```" not in output else "~~~~"
        lines.append(f"{fence}text\n{output}\n{fence}")
    return _indented("\n".join(lines))


def _unverified(state: RunState) -> list[str]:
    return [
        f"{chunk} {state.plan.chunks[chunk].title}: {now.unverified}"
        for chunk, now in state.chunks.items()
        if isinstance(now, Landed) and now.unverified
    ]


def _open(state: RunState) -> list[str]:
    """Say what is left, and for whom."""
    last = state.qa.last
    if last is None:
        return []
    people = (VerificationKind.MANUAL, VerificationKind.E2E)
    left = [f"to be mended: {one.what}" for one in state.qa.open]
    left += [
        f"for a person: {one.what}" if one.kind in people else f"not run: {one.what}: {one.note}"
        for one in last.items
        if not _ran(one)
    ]
    return left


def _comment(one: Comment) -> str:
    where = f" on {one.chunk}" if one.chunk else ""
    return _indented(f"{one.by or 'somebody'}{where}: {one.text}")


def _round(state: RunState, review: Review) -> str:
    found = len(review.blocking)
    line = f"round {review.round}, `{review.commit[:10]}`, by {review.by}: {_WORDS[review.verdict]}"
    if found:
        line += f", {found} finding{'' if found == 1 else 's'}"
    fixes = state.plan.fixes_of(review.round) if review.verdict is Verdict.REJECTED else ()
    if fixes:
        became = (f"{chunk} {_became(state, chunk)}" for chunk in fixes)
        line += f"; mending: {', '.join(became)}"
    return line


def _became(state: RunState, chunk: Any) -> str:
    match state.chunks[chunk]:
        case Landed(commit=commit):
            return f"landed as `{commit[:10]}`"
        case Failed(reason=reason):
            return f"failed ({reason.partition(chr(10))[0]})"
        case now:
            return type(now).__name__.casefold()


def _indented(text: str) -> str:
    first, *rest = text.splitlines()
    return "\n".join([first, *(f"  {line}".rstrip() for line in rest)])


# --- the fix request -----------------------------------------------------------------------------


def request_text(spec: str, state: RunState) -> str:
    """Return `QA_FIX_REQUEST.md`: what has to be mended, for the fixer and for people."""
    last = state.qa.last
    if last is None:
        return ""
    if not state.qa.open:
        return f"# Fix request for {spec}\n\nNothing is open after round {last.round}.\n"
    found = "\n\n".join(
        f"## {place}. {one.what}\n\n{in_words(one)}"
        for place, one in enumerate(state.qa.open, start=1)
    )
    return (
        f"# Fix request for {spec}\n\nFound in round {last.round}, at commit `{last.commit}`.\n\n"
        f"{found}\n"
    )


# --- the plan file -------------------------------------------------------------------------------


def signoff(state: RunState, at: float) -> dict[str, Any] | None:
    """Return the plan's `qa_signoff`, as other tools of this kind write it.

    Args:
        state: how things stand.
        at: when the last word was said, in seconds since the epoch.
    """
    qa, last = state.qa, state.qa.last
    if last is None:
        return None
    word = {Verdict.APPROVED: "approved", Verdict.REJECTED: "rejected", Verdict.NONE: "pending"}
    return {
        "status": word[last.verdict],
        "timestamp": datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"),
        "qa_session": last.round,
        "commit": last.commit,
        "verified_by": last.by or ("a person" if last.of is Source.PERSON else "nobody"),
        "report_file": "qa_report.md",
        "fix_request_file": "QA_FIX_REQUEST.md",
        "issues_found": [
            {
                "type": one.severity.value,
                "title": one.what,
                "location": one.place,
                "fix_required": one.verify or one.why,
            }
            for one in last.findings
        ],
        "tests_passed": {
            state.value: sum(one.state is state for one in last.items) for state in ItemState
        },
        **({"stopped": qa.stopped} if qa.stopped else {}),
    }
