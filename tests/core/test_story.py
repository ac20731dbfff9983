"""What is told of a build: what was tried on this very commit, and what nobody has verified."""

from dataclasses import replace

import pytest

from auto_build.core import events as ev
from auto_build.core.acceptance import ItemResult, ItemState
from auto_build.core.findings import Review, Source, Verdict
from auto_build.core.plan import VerificationKind
from auto_build.core.qa import Standing
from auto_build.core.story import Kept, Whom, weigh
from auto_build.core.view import Label
from tests.stories import A, B, Told, chunk, green, mended_build, note_of, reviewed_build


def built() -> Told:
    told = Told().begin(chunk(A, "a", "do a"), chunk(B, "b", "do b", "browser"))
    told.start(A, 1).start(B, 2).work(A).land(A, green())
    return told.work(B).land(B, green("npm test"), unverified="open /hello")


def item(state: ItemState, *, of: str = B) -> ItemResult:
    return ItemResult(
        item="i1",
        kind=VerificationKind.BROWSER,
        what="open /hello",
        state=state,
        note="there is no browser",
        chunk=of,
    )


def looked(commit: str, verdict: Verdict, *items: ItemResult, of: Source) -> ev.Reviewed:
    return ev.Reviewed(Review(round=1, commit=commit, verdict=verdict, of=of, items=items))


def test_a_chunk_is_told_with_all_that_it_took_and_what_shows_that_it_is_right() -> None:
    first, second, fix = mended_build().story().chapters
    assert (first.label, first.attempts, first.agent_s, first.gate_s) == (
        Label.LANDED,
        1,
        30.0,
        20.0,
    )
    assert [file.path for file in first.files] == ["src/app.py"]
    assert [(one.command, one.passed, one.seconds) for one in second.checks] == [
        ("pytest -q", True, 2.5)
    ]
    assert (second.unverified, len(second.dropped), len(second.strays)) == (
        "look at the page ",
        1,
        1,
    )
    assert [said.text for said in first.comments] == ["I like it "]
    assert (first.round, fix.round) == (0, 1)


@pytest.mark.parametrize(
    ("items", "left"),
    [
        ((), [("open /hello", Whom.REVIEWER, "")]),
        ((item(ItemState.PASSED),), []),
        ((item(ItemState.UNVERIFIED),), [("open /hello", Whom.REVIEWER, "there is no browser")]),
        (
            (item(ItemState.PASSED, of=""),),  # of the plan's own, and no word on the chunk's
            [("open /hello", Whom.REVIEWER, "")],
        ),
    ],
)
def test_what_no_command_checks_is_unverified_until_it_was_tried(
    items: tuple[ItemResult, ...], left: list[tuple[str, Whom, str]]
) -> None:
    told = built()
    told.tell(looked(told.head, Verdict.APPROVED, *items, of=Source.REVIEWER))
    assert [(one.what, one.whom, one.why) for one in told.story().unverified] == left


def test_what_was_tried_on_another_commit_shows_nothing_of_this_one() -> None:
    told = built()
    told.tell(looked("f" * 40, Verdict.APPROVED, item(ItemState.PASSED), of=Source.REVIEWER))
    story = told.story()
    assert story.standing is Standing.VOID
    assert story.approval is None
    assert [one.what for one in story.unverified] == [
        "nobody has reviewed this very commit",
        "open /hello",
    ]


def test_a_chunk_that_was_skipped_and_a_criterion_nobody_could_judge_are_unverified() -> None:
    told = Told().begin(chunk(A, "a", "do a"), chunk(B, "b", "do b"))
    told.tell(ev.ChunkSkipped(B, "later")).start(A, 1).work(A).land(A, green())
    told.tell(ev.Reviewed(replace(reviewed_build().story().reviews[0], commit=told.head)))
    left = [(one.chunk, one.what, one.why) for one in told.story().unverified]
    assert left == [(B, "it was taken as done", "later"), ("", "it is quick", "not measured")]


def test_evidence_is_held_against_what_git_keeps() -> None:
    told = built()
    kept = {
        what: {one.kept for one in told.story(note).chapters}
        for what, note in {
            "same": note_of,
            "other": lambda _: note_of((green("true"),)),
            "none": lambda _: None,
        }.items()
    }
    assert kept == {"same": {Kept.AGREES}, "other": {Kept.DIFFERS}, "none": {Kept.MISSING}}


def test_where_the_journal_is_silent_gits_note_is_told() -> None:
    assert weigh(None, None) == ((), Kept.MISSING)
    (proof,), kept = weigh(None, note_of((green(),)))
    assert (proof.command, proof.passed, proof.seconds, kept) == (
        "pytest -q",
        True,
        None,
        Kept.ONLY_GIT,
    )


def test_the_tests_that_are_counted_are_those_of_this_very_commit() -> None:
    told = built()
    assert told.story().tests == 12
    told.tell(ev.RevisionPassed(ev.Revision.UNDO, {B: told.head}, "u" * 40, told.head))
    told.tell(ev.RevisionLanded())
    assert told.story().tests is None
