"""Notes that are written and read, who landed by the trailers, and what does not hold."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_build.core.events import CheckResult
from auto_build.core.evidence import (
    Evidence,
    Fault,
    Landings,
    Signed,
    find_faults,
    read_note,
    write_note,
)

OUTPUT = "1 passed\n--- 3 bytes, 1 runs\nü\x00\udcff"


def result(command: str = "make", output: str = OUTPUT, code: int | None = 0) -> CheckResult:
    return CheckResult(command, passed=True, code=code, seconds=1.0, output=output)


def landing(chunk: str, on: str, **more: Any) -> Signed:
    """Return a landing of attempt 1, named after its chunk."""
    said: dict[str, Any] = {
        "attempt": "1",
        "base": on,
        "work": f"work-{chunk}",
        "said_tree": f"tree-{chunk}",
    }
    return Signed(
        commit=more.pop("commit", chunk),
        parents=(on, f"work-{chunk}"),
        tree=f"tree-{chunk}",
        subject=f"Land {chunk}",
        spec="001",
        chunk=chunk,
        **{**said, **more},
    )


def undo(commit: str, on: str, *chunks: str) -> Signed:
    tree = f"tree-{commit}"
    return Signed(commit, (on,), tree, "Undo", "001", base=on, said_tree=tree, undo=chunks)


def evidence(*line: Signed) -> Evidence:
    """Return what git keeps of a line on which everything holds."""
    return Evidence(
        spec="001",
        base_tree="tree-base",
        line=line,
        pinned={one.commit: frozenset({one.work}) for one in line if one.chunk},
        landed={one.chunk: one.commit for one in line if one.chunk},
        notes={one.commit: write_note(one.tree, [result()]) for one in line},
    )


SOUND = evidence(landing("a", "base"), landing("b", "a"), undo("u", "b", "b"))


# --- notes ----------------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8") | st.just("\udc80"), max_size=40)


@given(st.lists(st.tuples(texts, texts, st.none() | st.integers(-1, 300), texts), max_size=4))
def test_a_note_is_read_as_it_was_written(
    checks: list[tuple[str, str, int | None, str]],
) -> None:
    results = [
        replace(result(command, output, code), note=note) for command, output, code, note in checks
    ]
    note = read_note(write_note("7ee", results))
    assert note is not None
    assert note.tree == "7ee"
    told = [(one.command, one.output, one.code) for one in note.checks]
    assert told == [check[:3] for check in checks]


@pytest.mark.parametrize("end", [1, 40, -1, -2, -len(OUTPUT)])
def test_a_note_that_was_cut_is_no_note(end: int) -> None:
    assert read_note(write_note("7ee", [result()])[:end]) is None


def test_a_command_of_several_lines_stays_on_one() -> None:
    text = write_note("7ee", [result("make \\\n  test", "")])
    assert text.splitlines()[1].endswith(' 0 "make \\\\\\n  test"')


# --- who landed -----------------------------------------------------------------------------------


def latest(landings: dict[str, tuple[Signed, ...]]) -> dict[str, str]:
    return {chunk: several[-1].commit for chunk, several in landings.items()}


def test_what_was_undone_has_not_landed_until_it_comes_back_or_is_done_again() -> None:
    first = [landing("a", "base"), landing("b", "a"), undo("u", "b", "b")]
    redone = landing("b", "u", commit="b2", redo="b")
    found = Landings.read(first[::-1])
    assert latest(dict(found.standing)) == {"a": "a"}
    assert latest(dict(found.undone)) == {"b": "b"}
    found = Landings.read([*first, redone][::-1])
    assert latest(dict(found.standing)) == {"a": "a", "b": "b2"}
    assert found.undone == {}
    found = Landings.read([*first, redone, undo("v", "b2", "b", "a")][::-1])
    assert found.standing == {}
    assert latest(dict(found.undone)) == {"a": "a", "b": "b2"}


def test_a_chunk_that_was_done_again_has_all_its_landings() -> None:
    again = landing("a", "a", commit="a2", attempt="2")
    found = Landings.read([again, landing("a", "base")])
    assert [one.commit for one in found.standing["a"]] == ["a", "a2"]


# --- what does not hold ---------------------------------------------------------------------------


def faults(of: Evidence) -> list[tuple[Fault, str]]:
    return [(one.fault, one.commit) for one in find_faults(of)]


def test_on_a_line_that_nobody_touched_everything_holds() -> None:
    assert find_faults(SOUND) == ()
    redone = landing("b", "u", commit="b2", redo="b")
    assert find_faults(evidence(*SOUND.line, redone)) == ()


@pytest.mark.parametrize(
    "change",
    [{"base": "elsewhere"}, {"said_tree": "another"}, {"work": "other"}, {"base": ""}],
    ids=["base", "tree", "work", "none"],
)
def test_a_changed_trailer_is_found(change: dict[str, str]) -> None:
    line = (landing("a", "base", **change), *SOUND.line[1:])
    assert faults(replace(SOUND, line=line)) == [(Fault.TRAILER, "a")]


def test_a_changed_attempt_has_no_pin() -> None:
    assert faults(replace(SOUND, pinned={"b": frozenset({"work-b"})})) == [(Fault.NO_PIN, "a")]


def test_a_replay_brings_its_work_only_where_it_fits() -> None:
    line = (replace(SOUND.line[0], parents=("base", "replay")), *SOUND.line[1:])
    assert faults(replace(SOUND, line=line, replays=frozenset({"a"}))) == []
    assert faults(replace(SOUND, line=line)) == [(Fault.TRAILER, "a")]


def test_a_verdict_alone_brings_no_change() -> None:
    alone = replace(SOUND.line[0], parents=("base",), tree="tree-base", said_tree="tree-base")
    line = (alone, *SOUND.line[1:])
    notes = {**SOUND.notes, "a": write_note("tree-base", [])}
    assert faults(replace(SOUND, line=line, notes=notes)) == []
    assert faults(replace(SOUND, line=line, notes=notes, base_tree="x")) == [(Fault.TRAILER, "a")]


def test_a_commit_added_by_hand_is_found() -> None:
    mine = Signed("mine", ("u",), "tree", "Mine")
    other = replace(landing("x", "mine"), spec="002")
    found = faults(replace(SOUND, line=(*SOUND.line, mine, other)))
    assert found == [(Fault.BY_HAND, "mine"), (Fault.BY_HAND, "x")]


def test_a_rewritten_landing_is_found_unless_it_was_there_before() -> None:
    pins = {**SOUND.landed, "c": "c"}
    assert faults(replace(SOUND, landed=pins)) == [(Fault.REWRITTEN, "c")]
    assert faults(replace(SOUND, landed=pins, below=frozenset({"c"}))) == []


def test_a_landing_that_nothing_pins_is_found() -> None:
    assert faults(replace(SOUND, landed={"b": "b"})) == [(Fault.NO_PIN, "a")]


def test_missing_evidence_is_found() -> None:
    notes = {key: text for key, text in SOUND.notes.items() if key != "u"}
    assert faults(replace(SOUND, notes=notes)) == [(Fault.NO_EVIDENCE, "u")]


@pytest.mark.parametrize(
    "text",
    [
        SOUND.notes["a"].replace("1 passed", "2 passed"),
        SOUND.notes["b"],
        SOUND.notes["a"][:-1],
        "",
    ],
    ids=["another output", "another tree", "cut", "empty"],
)
def test_changed_evidence_is_found(text: str) -> None:
    assert faults(replace(SOUND, notes={**SOUND.notes, "a": text})) == [(Fault.EVIDENCE, "a")]


def test_a_redo_may_be_checked_together_with_the_next() -> None:
    one = landing("a", "u", commit="a2", redo="a")
    two = landing("b", "a2", commit="b2", redo="b")
    whole = evidence(*SOUND.line, one, two)
    notes = {**whole.notes, "a2": write_note(two.tree, [result()])}
    assert faults(replace(whole, notes=notes)) == []
    notes = {**whole.notes, "b2": write_note(one.tree, [result()])}
    assert faults(replace(whole, notes=notes)) == [(Fault.EVIDENCE, "b2")]
