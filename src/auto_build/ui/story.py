"""The story of a build on a terminal: what to read before it is approved, or is not."""

from collections.abc import Iterator
from typing import Final

from rich.text import Text

from auto_build.core.findings import Comment, Finding, Met, Review, Source, Verdict
from auto_build.core.patch import FilePatch, Mark
from auto_build.core.qa import Standing
from auto_build.core.story import Chapter, Kept, Proof, Story, Unverified, count_lines
from auto_build.core.view import Label
from auto_build.ui.marks import MARKS, Sheet, one_line
from auto_build.ui.screens import Ways
from auto_build.ui.words import (
    clean,
    clean_lines,
    counted,
    revealed,
    source,
    span,
    stray_words,
    used,
)

_FILES_SHOWN: Final = 12
_PROOFS_SHOWN: Final = 2
_INTENT_LINES: Final = 4
_OUTPUT_LINES: Final = 15
_FINE: Final = frozenset({Standing.APPROVED, Standing.SKIPPED})
_MET: Final = {Met.YES: ("✓", "green"), Met.NO: ("✗", "red"), Met.UNKNOWN: ("?", "yellow")}
_VERDICT: Final = {
    Verdict.APPROVED: "bold green",
    Verdict.REJECTED: "bold red",
    Verdict.NONE: "yellow",
}
_LINE: Final = {Mark.ADDED: "green", Mark.REMOVED: "red", Mark.SAME: "", Mark.REMARK: "dim"}


def story_sheet(story: Story, ways: Ways) -> Sheet:
    """Return the whole story: each chunk, what was found, what nobody verified, and the ways on."""

    def layout(_: int) -> Iterator[Text]:
        yield from _head(story)
        for chapter in story.chapters:
            yield Text()
            yield from _chapter(chapter)
        for review in story.reviews:
            yield Text()
            yield from _review(review)
        yield from _section("comments", [_comment(one) for one in story.comments])
        yield from _section("outside the slots", [clean(one) for one in _strays(story)])
        yield from _section("flaky", [f"failed and passed: {clean(one)}" for one in story.flaky])
        yield from _section("what nobody has verified", [_unverified(o) for o in story.unverified])
        yield Text()
        yield from _ways(story, ways)

    return Sheet(layout)


def chapter_sheet(chapter: Chapter) -> Sheet:
    """Return one chunk with all of its diff, and what its checks printed."""

    def layout(_: int) -> Iterator[Text]:
        yield from _chapter(chapter, whole=True)
        for proof in chapter.checks:
            if lines := clean_lines(proof.output, most=_OUTPUT_LINES):
                yield Text()
                yield one_line((f"$ {clean(proof.command)}", "bold"))
                yield from (one_line(f"  {line}") for line in lines)
        for file in chapter.files:
            yield Text()
            yield from _diff(file)

    return Sheet(layout)


# --- parts ---------------------------------------------------------------------------------------


def _head(story: Story) -> Iterator[Text]:
    style = "bold green" if story.standing in _FINE else "bold yellow"
    yield one_line((f"{clean(story.spec)}  {clean(story.title)}", "bold"))
    by = f" by {clean(story.approval.by)}" if story.approval and story.approval.by else ""
    done = f"{story.done} of {counted(len(story.chapters), 'chunk')}"
    where = f"{story.branch} at {story.head[:10]}, {done}: "
    yield Text.assemble(clean(where), " ", (f"{story.standing.value}{by}", style))
    yield Text("  " + " · ".join(_figures(story)), style="dim")


def _figures(story: Story) -> Iterator[str]:
    added, removed = story.lines
    yield f"{counted(len(story.whole), 'file')}, +{added} -{removed}"
    yield checked_words(story)
    yield f"{span(story.worked_s)} of work"
    if story.speed is not None:
        yield f"about {story.speed:.1f} times as fast as one by one"
    yield counted(story.conflicts, "conflict")
    yield counted(story.repairs, "repair")
    if story.usage:
        yield f"{used(story.usage)} ({source(story.usage)})"


def checked_words(story: Story) -> str:
    """Say what was checked on exactly this commit."""
    if not story.checks:
        return "no checks known of this very commit"
    green = sum(one.passed for one in story.checks)
    tests = f", {counted(story.tests, 'test')} passed" if story.tests is not None else ""
    return f"{green} of {counted(len(story.checks), 'check')} green{tests}"


def _chapter(chapter: Chapter, *, whole: bool = False) -> Iterator[Text]:
    mark = MARKS[chapter.label]
    commit = f"  ({chapter.commit[:10]})" if chapter.commit else ""
    name = f"{clean(chapter.id)}  {clean(chapter.title)}"
    mends = f"  mends what review {chapter.round} found" if chapter.round else ""
    yield Text.assemble((f"{mark.glyph} ", mark.style), (name, "bold"), (commit + mends, "dim"))
    if chapter.label is not Label.LANDED:
        yield Text(f"  {mark.word}: {clean(chapter.note)}" if chapter.note else f"  {mark.word}")
    for line in clean_lines(chapter.intent, most=_INTENT_LINES if not whole else 1_000):
        if line != clean(chapter.title):
            yield Text(f"  {line}")
    yield one_line((f"  {' · '.join(_effort(chapter))}", "dim"))
    yield from _files(chapter)
    yield from _proofs(chapter.checks, most=len(chapter.checks) if whole else _PROOFS_SHOWN)
    if chapter.commit and chapter.kept is not Kept.AGREES:
        yield Text(f"  ! evidence: {chapter.kept.value}", style="yellow")
    yield from (Text(f"  ! {one}", style="yellow") for one in warnings(chapter))
    yield from (Text(f"  ” {_comment(one)}") for one in chapter.comments)


def _effort(chapter: Chapter) -> Iterator[str]:
    if chapter.attempts > 1:
        yield f"{chapter.attempts} attempts"
    if chapter.repairs:
        yield counted(chapter.repairs, "repair")
    if chapter.conflicts:
        yield counted(chapter.conflicts, "conflict")
    yield f"agent {span(chapter.agent_s)}"
    yield f"checks {span(chapter.gate_s)}"
    if chapter.usage:
        yield used(chapter.usage)


def _files(chapter: Chapter) -> Iterator[Text]:
    if chapter.commit and not chapter.files:
        yield Text("  (changes no file)")
    for file in chapter.files[:_FILES_SHOWN]:
        yield Text.assemble(f"  {clean(file.path)}  ", *_counts(file))
    if (more := len(chapter.files) - _FILES_SHOWN) > 0:
        added, removed = count_lines(chapter.files[_FILES_SHOWN:])
        yield Text(f"  and {counted(more, 'file')} more  +{added} -{removed}")


def _counts(file: FilePatch) -> tuple[tuple[str, str], ...]:
    if file.added is None:
        return (("no text", "dim"),)
    return ((f"+{file.added} ", "green"), (f"-{file.removed}", "red"))


def _proofs(proofs: tuple[Proof, ...], *, most: int) -> Iterator[Text]:
    """Yield the first checks, which are a chunk's own, and each that is red."""
    shown = [one for place, one in enumerate(proofs) if place < most or not one.passed]
    yield from (_proof(one) for one in shown)
    if more := len(proofs) - len(shown):
        yield Text(f"    and {counted(more, 'check')} more, green", style="dim")


def _proof(proof: Proof) -> Text:
    style = "green" if proof.passed else "red"
    facts = [f"{proof.succeeded} tests passed" if proof.succeeded is not None else ""]
    facts.append("known from before" if not proof.runs else "")
    facts.append(span(proof.seconds) if proof.seconds is not None and proof.runs else "")
    facts.append(clean(proof.note))
    told = ", ".join(one for one in facts if one)
    glyph = "✓" if proof.passed else "✗"
    return Text.assemble((f"  {glyph} ", style), f"$ {clean(proof.command)}", (f"  {told}", "dim"))


def warnings(chapter: Chapter) -> Iterator[str]:
    """Yield what people should know before they trust a chunk."""
    if chapter.unverified:
        yield f"not verified by a command: {clean(chapter.unverified)}"
    yield from (f"left out: {clean(one)}" for one in chapter.dropped)
    if chapter.outside:
        yield f"wrote outside its claims: {', '.join(clean(one) for one in chapter.outside)}"
    yield from (f"outside the slots: {clean(stray_words(one))}" for one in chapter.strays)


def _review(review: Review) -> Iterator[Text]:
    yield Text.assemble(
        (f"review {review.round}  ", "bold"),
        (review.verdict.value, _VERDICT[review.verdict]),
        (f"  {by_words(review)}, at {review.commit[:10]}", "dim"),
    )
    for text in (review.summary, review.why):
        yield from (Text(f"  {line}") for line in clean_lines(text, most=_INTENT_LINES))
    for finding in review.findings:
        yield from _finding(finding)
    for criterion in review.criteria:
        glyph, style = _MET[criterion.met]
        evidence = f"  {clean(criterion.evidence)}" if criterion.evidence else ""
        yield Text.assemble((f"  {glyph} ", style), clean(criterion.text), (evidence, "dim"))
    for item in review.items:
        note = f"  {clean(item.note)}" if item.note else ""
        yield Text.assemble(f"  {item.state.value:<10} {clean(item.what)}", (note, "dim"))
        yield from (Text(f"             shown in {clean(path)}") for path in item.evidence)
    yield from (Text(f"  · {clean(note)}") for note in review.notes)


def by_words(review: Review) -> str:
    """Say who reviewed."""
    who = clean(review.by) or "somebody"
    return who if review.of is not Source.REVIEWER else f"{who}, an agent"


def _finding(finding: Finding) -> Iterator[Text]:
    style = "red" if finding.blocks else "yellow"
    place = f"  {clean(finding.place)}" if finding.place else ""
    chunk = f"  (chunk {clean(finding.chunk)})" if finding.chunk else ""
    yield Text.assemble(
        (f"  {finding.severity.value}: ", style), clean(finding.what), (place + chunk, "dim")
    )
    if finding.why:
        yield Text(f"      why: {clean(finding.why)}")
    if finding.command:
        yield Text(f"      red: $ {clean(finding.command)}")
    if finding.verify:
        yield Text(f"      mended when: {clean(finding.verify)}")


def _comment(comment: Comment) -> str:
    return f"{clean(comment.by) or 'somebody'}: {clean(comment.text)}"


def _unverified(one: Unverified) -> str:
    chunk = f"{clean(one.chunk)}: " if one.chunk else ""
    why = f" ({clean(one.why)})" if one.why else ""
    return f"{chunk}{clean(one.what)}{why}; for {one.whom.value}"


def _strays(story: Story) -> Iterator[str]:
    """Yield what was changed on the user's side and is not told of a chunk."""
    told = {one for chapter in story.chapters for one in chapter.strays}
    yield from (stray_words(one) for one in story.strays if one not in told)


def _section(title: str, lines: list[str]) -> Iterator[Text]:
    if lines:
        yield Text()
        yield Text(title, style="bold")
        yield from (Text(f"  ! {line}") for line in lines)


def _diff(file: FilePatch) -> Iterator[Text]:
    yield Text.assemble((clean(file.path), "bold"), "  ", *_counts(file))
    for hunk in file.hunks:
        yield Text(f"@@ -{hunk.old} +{hunk.new} @@ {clean(hunk.heading)}", style="cyan")
        for line in hunk.lines:
            yield Text(revealed(line), style=_LINE[Mark(line[0])], overflow="fold")
    if file.cut:
        yield Text(f"… {counted(file.cut, 'line')} more: git diff shows them", style="dim")


def _ways(story: Story, ways: Ways) -> Iterator[Text]:
    place = f"auto-build unpark {story.spec}" if story.parked else clean(story.worktree)
    for what, command in (
        ("try it out, once it is unparked" if story.parked else "try it out in", place),
        ("read the whole diff", f"git diff {story.base[:10]} {clean(story.branch)}"),
        ("as a page in your browser", ways.page),
        ("say that it is good", ways.approve),
        ("say what is not", f'{ways.reject} "what is wrong"'),
        ("bring it into your branch", ways.merge),
    ):
        yield Text.assemble((f"{what}: ", "bold"), command, overflow="fold")
