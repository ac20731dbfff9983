"""What a reviewer's answer is worth, and what it cannot take away."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_build.core.acceptance import ItemResult, ItemState
from auto_build.core.findings import Met, Severity, Source, Verdict
from auto_build.core.plan import VerificationKind
from auto_build.qa.verdict import Opinion, Unusable, read_opinion, settle

Json = Any
FINDING = {"severity": "major", "what": "no bell", "why": "asked", "verify": "ring"}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
fields = st.sampled_from(["verdict", "summary", "findings", "criteria", "unverified"])


def answer(verdict: str, *findings: Json, **more: Json) -> Json:
    return {"verdict": verdict, "summary": "Read.", "findings": list(findings), **more}


def item(state: ItemState, *, required: bool = True) -> ItemResult:
    return ItemResult(
        item="command-1",
        kind=VerificationKind.COMMAND,
        what="make test",
        state=state,
        note="exit code 2",
        command="make test",
        required=required,
        output="boom",
    )


def opinion(of: Json, criteria: tuple[str, ...] = ()) -> Opinion:
    read = read_opinion(of, criteria)
    assert isinstance(read, Opinion), read
    return read


@given(json_values | st.dictionaries(fields, json_values))
def test_any_answer_is_read_or_said_to_be_of_no_use(value: Json) -> None:
    read = read_opinion(value, ("it rings",))
    assert isinstance(read, Opinion) or read.problems


@pytest.mark.parametrize(
    ("value", "criteria", "says"),
    [
        (None, (), "there was no answer"),
        ("approved", (), "valid dictionary"),
        (answer("none"), (), "either approved or rejected"),
        (answer("rejected"), (), "you reject, and have no finding"),
        (answer("approved", FINDING), (), "you approve, and have 1 findings"),
        (answer("approved"), ("it rings", "it shines"), "2 of the 2 criteria"),
        (
            answer("approved", criteria=[{"criterion": "it rings", "met": "no"}]),
            ("it rings",),
            "say that this is not met: it rings",
        ),
        (answer("rejected", {**FINDING, "severity": "awful"}), (), "findings.0.severity"),
    ],
)
def test_what_cannot_be_taken_is_said_to_the_reviewer(
    value: Json, criteria: tuple[str, ...], says: str
) -> None:
    read = read_opinion(value, criteria)
    assert isinstance(read, Unusable)
    assert says in "; ".join(read.problems)


@pytest.mark.parametrize(
    ("path", "kept"),
    [("./src/a.py", "src/a.py"), ("/etc/passwd", ""), ("../x", ""), ("~/x", ""), ("a\nb", "")],
)
def test_a_finding_has_a_place_in_the_repository_or_none(path: str, kept: str) -> None:
    (finding,) = opinion(answer("rejected", {**FINDING, "file": path, "line": 0})).findings
    assert (finding.file, finding.line) == (kept, None)


def test_approved_is_what_is_approved_and_in_which_nothing_is_red() -> None:
    said = opinion(answer("approved", {**FINDING, "severity": "Minor"}))
    green = settle(said, [item(ItemState.PASSED)], round_=1, commit="c", by="claude")
    assert green.verdict is Verdict.APPROVED
    red = settle(said, [item(ItemState.FAILED)], round_=1, commit="c", by="claude")
    assert red.verdict is Verdict.REJECTED
    (blocking,) = red.blocking
    assert (blocking.source, blocking.command) == (Source.CHECK, "make test")
    assert blocking.severity is Severity.CRITICAL
    assert "claude approved although 1" in red.notes[0]
    optional = item(ItemState.FAILED, required=False)
    assert settle(said, [optional], round_=1, commit="c", by="x").verdict is Verdict.APPROVED


def test_a_criterion_that_is_not_met_is_a_finding_where_none_says_so() -> None:
    unmet = [{"criterion": "it rings", "met": "no", "evidence": "silence"}]
    alone = Opinion(
        approves=False,
        summary="",
        criteria=opinion(answer("rejected", FINDING, criteria=unmet), ("it rings",)).criteria,
    )
    review = settle(alone, [], round_=1, commit="c", by="x")
    assert [one.what for one in review.findings] == ["not met: it rings"]
    assert review.criteria[0].met is Met.NO


def test_what_the_reviewer_did_about_an_item_stands_beside_it() -> None:
    said = opinion(answer("approved", unverified=[{"item": "Make  Test", "done": "read it"}]))
    (one,) = settle(said, [item(ItemState.UNVERIFIED)], round_=1, commit="c", by="x").items
    assert one.note == "exit code 2; the reviewer: read it"
