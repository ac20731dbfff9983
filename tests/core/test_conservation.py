"""No integration may lose a line that a side added: what is noticed, and what is no loss."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from auto_build.core.conservation import (
    MOST_FILES,
    MOST_LINES,
    MOST_WIDTH,
    Files,
    Lost,
    describe,
    find_lost,
    find_lost_versions,
    find_markers,
)

BASE = "import os\n\n\ndef first():\n    return os\n"
SECOND = "\n\ndef second():\n    return 2\n"
THIRD = "\n\ndef third():\n    return 3\n"
WAGES = "def wages(hours):\n    return 12 * hours\n"


# --- one file ------------------------------------------------------------------------------------


def lost_lines(base: str, ours: str, theirs: str, result: str) -> tuple[str, ...]:
    """Return the lines of ours that the result lacks, of those that are shown."""
    sides = ({"f": text} for text in (base, ours, theirs, result))
    return next((one.lines for one in find_lost(*sides) if one.side == "ours"), ())


def test_a_merge_of_both_sides_loses_nothing() -> None:
    both = BASE + SECOND + THIRD
    assert lost_lines(BASE, BASE + SECOND, BASE + THIRD, both) == ()
    assert lost_lines(BASE, BASE + THIRD, BASE + SECOND, both) == ()


def test_the_lines_of_a_side_that_was_dropped_are_told_in_its_order() -> None:
    assert lost_lines(BASE, BASE + SECOND, BASE + THIRD, BASE + THIRD) == (
        "def second():",
        "    return 2",
    )


def test_a_line_that_a_side_deleted_may_be_gone() -> None:
    assert (
        lost_lines(BASE, "def first():\n    return 1\n", BASE, "def first():\n    return 1") == ()
    )


def test_a_line_of_the_base_is_nobodys_addition() -> None:
    assert lost_lines("a\nb\n", "a\nb\nnew\n", "a\nb\n", "b\nnew\n") == ()


def test_a_changed_line_counts_as_added() -> None:
    ours = BASE.replace("return os", "return os.name")
    assert lost_lines(BASE, ours, BASE + SECOND, BASE + SECOND) == ("    return os.name",)


def test_a_second_copy_of_a_line_counts() -> None:
    ours = BASE + SECOND + "\n\ndef same():\n    return 2\n"
    assert lost_lines(BASE + SECOND, ours, BASE + SECOND, BASE + SECOND + "def same():") == (
        "    return 2",
    )


def test_one_copy_is_enough_where_both_sides_added_the_same() -> None:
    assert lost_lines(BASE, BASE + SECOND, BASE + SECOND, BASE + SECOND) == ()


def test_the_bases_copies_may_go_with_the_other_side_and_the_own_ones_not() -> None:
    base, ours, theirs = "log()\na\n", "log()\na\nlog()\n", "a\n"
    assert lost_lines(base, ours, theirs, "a\nlog()\n") == ()
    assert lost_lines(base, ours, theirs, "a\n") == ("log()",)


@pytest.mark.parametrize(
    "result",
    [
        pytest.param("a  \nnew\n", id="white space at the end"),
        pytest.param("a\r\nnew\r\n", id="line endings"),
        pytest.param("if a:\n\t\tnew\na", id="indentation"),
        pytest.param("a\nnew", id="no end of the last line"),
    ],
)
def test_white_space_around_a_line_does_not_count(result: str) -> None:
    assert lost_lines("a\n", "a\n    new\n", "a\n", result) == ()


@pytest.mark.parametrize("line", ["", "   ", "}", "---", "),", "____", "***"])
def test_a_line_without_a_letter_or_a_digit_does_not_count(line: str) -> None:
    assert lost_lines("a\n", f"a\n{line}\n", "a\n", "a\n") == ()


@pytest.mark.parametrize(
    "line", ["x", "7", "é", "変", "* [ ] é", b"\xe9\xe8".decode(errors="surrogateescape")]
)
def test_any_letter_or_digit_counts_in_any_encoding(line: str) -> None:
    assert len(lost_lines("a\n", f"a\n{line}\n", "a\n", "a\n")) == 1


@pytest.mark.slow
def test_a_file_of_200_000_lines_is_no_trouble() -> None:
    base = "".join(f"    value_{number} = {number}\n" for number in range(200_000))
    ours, theirs = f"first = 1\n{base}", f"{base}last = 1\n"
    found = find_lost({"f": base}, {"f": ours}, {"f": theirs}, {"f": base + "other = 1\n"})
    assert [one.lines for one in found] == [("first = 1",), ("last = 1",)]


# --- a tree of files -----------------------------------------------------------------------------


def test_each_file_is_told_with_the_side_that_lost() -> None:
    base = {"a.py": BASE, "b.py": BASE}
    ours = {"a.py": BASE + SECOND, "b.py": BASE}
    theirs = {"a.py": BASE, "b.py": BASE + THIRD}
    assert find_lost(base, ours, theirs, base) == (
        Lost("a.py", "ours", ("def second():", "    return 2"), 2),
        Lost("b.py", "theirs", ("def third():", "    return 3"), 2),
    )


def test_of_many_lost_lines_the_first_are_shown_and_all_counted() -> None:
    long = "".join(f"line {number} {'x' * 200}\n" for number in range(100))
    [lost] = find_lost({}, {"a": long}, {}, {"a": "other\n"})
    assert (len(lost.lines), lost.count) == (MOST_LINES, 100)
    assert {len(line) for line in lost.lines} == {MOST_WIDTH}


def test_a_file_that_was_added_and_is_gone_is_lost_as_a_whole() -> None:
    assert find_lost({}, {"a.py": WAGES}, {}, {}) == (
        Lost("a.py", "ours", ("def wages(hours):", "    return 12 * hours"), 2, whole=True),
    )


def test_a_change_of_a_file_that_the_other_side_deleted_is_lost_with_the_file() -> None:
    assert find_lost({"a.py": BASE}, {"a.py": None}, {"a.py": BASE + SECOND}, {"a.py": None}) == (
        Lost("a.py", "theirs", ("def second():", "    return 2"), 2, whole=True),
    )


def test_a_file_that_one_side_deleted_may_be_gone() -> None:
    assert find_lost({"a.py": BASE}, {"a.py": None}, {"a.py": BASE}, {"a.py": None}) == ()
    shorter = BASE.replace("import os\n", "")
    assert find_lost({"a.py": BASE}, {"a.py": None}, {"a.py": shorter}, {"a.py": None}) == ()


def test_an_empty_file_that_was_added_must_be_there() -> None:
    added: Files = {"pkg/__init__.py": ""}
    assert find_lost({}, added, {}, {}) == (Lost("pkg/__init__.py", "ours", (), 0, whole=True),)
    assert find_lost({}, added, {}, added) == ()
    assert find_lost({}, added, {}, {"lib/__init__.py": ""}) == (), "it moved with its folder"
    assert find_lost({}, added, {"lib/__init__.py": ""}, {"lib/__init__.py": ""}), "that is another"
    two: Files = {"old/a/__init__.py": "", "old/b/__init__.py": ""}
    assert len(find_lost({}, two, {}, {"new/a/__init__.py": ""})) == 1, "one moved, one is gone"


# --- what moved ----------------------------------------------------------------------------------


def test_a_line_that_the_result_has_in_another_file_was_moved() -> None:
    base, theirs = {"a.py": BASE}, {"a.py": BASE + WAGES}
    assert find_lost(base, base, theirs, {"a.py": BASE, "pay.py": WAGES}) == ()


def test_a_line_that_another_file_had_anyway_was_not_moved_there() -> None:
    base, theirs = {"a.py": BASE, "pay.py": WAGES}, {"a.py": BASE + WAGES, "pay.py": WAGES}
    assert [one.count for one in find_lost(base, base, theirs, base)] == [2]


def test_what_both_sides_added_to_another_file_is_its_own() -> None:
    log = "log.warning('late')\n"
    base = {"a": "1\n", "b": "1\n2\n"}
    ours = {"a": "1\n", "b": f"{log}1\n2\n"}
    theirs = {"a": f"1\n{log}", "b": f"1\n2\n{log}"}
    result = {"a": "1\n", "b": f"{log}1\n2\n{log}"}
    assert [(one.path, one.side) for one in find_lost(base, ours, theirs, result)] == [
        ("a", "theirs")
    ]


def test_a_copy_that_a_side_added_where_the_other_removed_one_is_its_own() -> None:
    log = "log.warning('late')\n"
    base = {"a": "1\n", "b": f"{log}1\n"}
    ours = {"a": "1\n", "b": f"{log}1\n{log}"}
    theirs = {"a": f"1\n{log}", "b": "1\n"}
    assert [one.path for one in find_lost(base, ours, theirs, ours)] == ["a"]


def test_one_copy_elsewhere_stands_for_one_line() -> None:
    theirs = {"a.py": BASE + WAGES, "b.py": BASE + WAGES}
    base = {"a.py": BASE, "b.py": BASE}
    found = find_lost(base, base, theirs, {**base, "pay.py": WAGES})
    assert [(one.path, one.count) for one in found] == [("b.py", 2)]


def test_one_copy_elsewhere_is_enough_for_what_both_sides_added() -> None:
    both = {"a.py": BASE + WAGES}
    assert find_lost({"a.py": BASE}, both, both, {"a.py": BASE, "pay.py": WAGES}) == ()
    twice = {**both, "b.py": BASE + WAGES}
    base = {"a.py": BASE, "b.py": BASE}
    assert find_lost(base, twice, twice, {**base, "pay.py": WAGES, "wage.py": WAGES}) == ()


def test_changes_follow_a_file_that_the_other_side_renamed() -> None:
    base = {"a.py": BASE + WAGES}
    ours = {"b.py": BASE + WAGES}
    theirs = {"a.py": (BASE + WAGES + SECOND).replace("12 *", "13 *").replace("import os\n", "")}
    merged = {"b.py": theirs["a.py"]}
    assert find_lost(base, ours, theirs, merged) == ()
    assert [one.lines for one in find_lost(base, ours, theirs, ours)] == [
        ("    return 13 * hours", "def second():", "    return 2")
    ]


def test_a_file_that_both_sides_renamed_differently_may_have_either_name() -> None:
    base, ours, theirs = {"a.py": WAGES}, {"b.py": WAGES}, {"c.py": WAGES}
    assert find_lost(base, ours, theirs, ours) == ()
    assert [one.whole for one in find_lost(base, ours, theirs, {})] == [True]


def test_a_copy_elsewhere_and_a_removal_excuse_two_files() -> None:
    base = {"a.py": BASE + WAGES, "b.py": BASE, "c.py": BASE}
    ours = {**base, "a.py": BASE}
    theirs = {"a.py": BASE, "b.py": BASE + WAGES, "c.py": BASE + WAGES}
    assert find_lost(base, ours, theirs, {**ours, "pay.py": WAGES}) == ()
    assert [one.path for one in find_lost(base, ours, theirs, ours)] == ["c.py"]


def test_what_both_sides_moved_to_the_same_file_must_be_there() -> None:
    both = {"b.py": WAGES + THIRD}
    found = find_lost({"a.py": WAGES}, both, both, {"b.py": THIRD})
    assert [(one.side, one.count) for one in found] == [("ours", 2), ("theirs", 2)]


def test_a_file_added_to_a_folder_that_the_other_side_renamed_goes_along() -> None:
    base, ours = {"old/a.py": BASE}, {"new/a.py": BASE}
    theirs = {"old/a.py": BASE, "old/pay.py": WAGES}
    assert find_lost(base, ours, theirs, {"new/a.py": BASE, "new/pay.py": WAGES}) == ()


def test_a_move_that_was_undone_is_lost() -> None:
    base = {"a.py": BASE + WAGES}
    ours = {"a.py": BASE, "pay.py": WAGES}
    assert [(one.path, one.whole) for one in find_lost(base, ours, base, base)] == [
        ("pay.py", True)
    ]


# --- random merges -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Region:
    """A stretch of lines that at most one side rewrites."""

    before: list[str]
    after: list[str]
    writer: str | None

    def seen_by(self, *sides: str) -> list[str]:
        return self.after if self.writer in sides else self.before


def regions(lines: st.SearchStrategy[str]) -> st.SearchStrategy[list[Region]]:
    some = st.lists(lines, max_size=4)
    writers = st.sampled_from(["ours", "theirs", None])
    return st.lists(st.builds(Region, some, some, writers), max_size=8)


def text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def version(parts: list[Region], *sides: str) -> list[str]:
    return [line for region in parts for line in region.seen_by(*sides)]


# few enough to stand there several times, and some that do not count
REPEATED = st.sampled_from(["a = 1", "  a = 1", "b()", "return", "}", ""])


@given(regions(REPEATED))
def test_a_true_merge_of_separate_changes_loses_nothing(parts: list[Region]) -> None:
    base, ours, theirs = (text(version(parts, *side)) for side in ((), ("ours",), ("theirs",)))
    merged = text(version(parts, "ours", "theirs"))
    assert lost_lines(base, ours, theirs, merged) == ()
    assert lost_lines(base, theirs, ours, merged) == ()


@given(regions(REPEATED), st.data())
def test_a_line_of_one_side_that_is_dropped_from_a_merge_is_found(
    parts: list[Region], data: st.DataObject
) -> None:
    base, ours, theirs = (version(parts, *side) for side in ((), ("ours",), ("theirs",)))
    had, mine, others = (Counter(map(str.strip, lines)) for lines in (base, ours, theirs))
    added = sorted(
        line for line in mine if mine[line] > had[line] >= others[line] and line not in ("}", "")
    )
    assume(added)
    line = data.draw(st.sampled_from(added))
    merged = version(parts, "ours", "theirs")
    at = data.draw(st.sampled_from([n for n, one in enumerate(merged) if one.strip() == line]))
    del merged[at]

    lost = lost_lines(text(base), text(ours), text(theirs), text(merged))

    assert [one.strip() for one in lost] == [line]


@given(regions(REPEATED))
def test_taking_one_side_is_found_whenever_the_other_added_something(parts: list[Region]) -> None:
    base, ours, theirs = (version(parts, *side) for side in ((), ("ours",), ("theirs",)))
    had, mine, others = (Counter(map(str.strip, lines)) for lines in (base, ours, theirs))
    added = {
        line
        for line in others
        if others[line] > max(had[line], mine[line]) and line not in ("}", "")
    }
    lost = find_lost({"f": text(base)}, {"f": text(ours)}, {"f": text(theirs)}, {"f": text(ours)})
    assert [one.side for one in lost] == ["theirs"] * bool(added)


@given(regions(REPEATED), st.sampled_from(["new name", None]))
def test_a_true_merge_loses_nothing_where_a_side_renamed_the_file(
    parts: list[Region], name: str | None
) -> None:
    base, ours, theirs = (text(version(parts, *side)) for side in ((), ("ours",), ("theirs",)))
    merged = text(version(parts, "ours", "theirs"))
    to = name or "f"
    assert find_lost({"f": base}, {to: ours}, {"f": theirs}, {to: merged}) == ()


# --- binary files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "result", "losers"),
    [
        pytest.param("1", "2", "1", "2", [], id="one changed it"),
        pytest.param("1", "2", "1", "1", ["ours"], id="the change is undone"),
        pytest.param("1", "2", "1", "9", ["ours"], id="it is neither"),
        pytest.param("1", "2", "3", "2", ["theirs"], id="both changed it: ours"),
        pytest.param("1", "2", "3", "3", ["ours"], id="both changed it: theirs"),
        pytest.param("1", "2", "3", "9", ["ours", "theirs"], id="both changed it: neither"),
        pytest.param("1", "2", "2", "2", [], id="both made the same change"),
        pytest.param("1", None, "2", None, ["theirs"], id="deleted by ours"),
        pytest.param("1", None, "2", "2", [], id="deleted by ours and kept"),
        pytest.param("1", None, "1", None, [], id="deleted"),
        pytest.param(None, "1", None, None, ["ours"], id="added and gone"),
        pytest.param(None, "1", "1", None, ["ours", "theirs"], id="added by both and gone"),
    ],
)
def test_of_a_binary_file_each_changed_version_must_be_there(
    base: str | None, ours: str | None, theirs: str | None, result: str | None, losers: list[str]
) -> None:
    found = find_lost_versions({"p": base}, {"p": ours}, {"p": theirs}, {"p": result})
    assert [(one.side, one.whole) for one in found] == [(side, True) for side in losers]


def test_a_binary_file_may_be_renamed() -> None:
    base, ours = {"a.png": "1"}, {"b.png": "1"}
    assert find_lost_versions(base, ours, {"a.png": "2"}, {"b.png": "2"}) == ()
    assert find_lost_versions(base, ours, base, ours) == ()
    assert find_lost_versions(base, ours, ours, {}), "both renamed it"


def test_a_copy_that_a_side_has_itself_stands_for_no_other() -> None:
    ours = {"a.png": "1", "b.png": "1"}
    assert [one.path for one in find_lost_versions({}, ours, {}, {"a.png": "1"})] == ["b.png"]


# --- conflict markers ----------------------------------------------------------------------------

MARKED = "a\n<<<<<<< ours\nb\n||||||| base\n=======\nc\n>>>>>>> theirs\n"


@pytest.mark.parametrize(
    "left", ["<<<<<<< HEAD", "=======", ">>>>>>> abc (said)", "||||||| base", "=======\r"]
)
def test_a_conflict_marker_that_is_left_is_found(left: str) -> None:
    clean = {"a": "1\n", "b": "1\n"}
    assert find_markers(clean, clean, {"a": f"1\n{left}\n2\n", "b": "1\n"}) == ("a",)


@pytest.mark.parametrize(
    "line", ["========", "= ======", " =======", "x <<<<<<< y", "<<<<<<<", ">>> 1", "=======>"]
)
def test_what_only_resembles_a_marker_is_none(line: str) -> None:
    assert find_markers({}, {}, {"a": f"{line}\n"}) == ()


def test_a_page_about_markers_may_have_them() -> None:
    page = {"page.md": MARKED}
    assert find_markers(page, page, page) == ()
    assert find_markers(page, {}, {"moved/page.md": MARKED}) == ()
    assert find_markers(page, {}, {"page.md": MARKED, "copy.md": MARKED}) == ("copy.md",)
    assert find_markers(page, {}, {"a/page.md": MARKED, "b/page.md": MARKED}) == ("b/page.md",)
    assert find_markers(page, {}, {"page.md": MARKED.replace("a\n", "<<<<<<< HEAD\n")}) == (
        "page.md",
    )


# --- in words ------------------------------------------------------------------------------------


def test_what_was_lost_is_told_in_words() -> None:
    lost = [
        Lost("a.py", "ours", ("def second():", "    return 2"), 9),
        Lost("b.py", "theirs", ("x = 1",), 1),
        Lost("c.py", "theirs", ("x = 1",), 1, whole=True),
        Lost("logo.png", "ours", (), 0, whole=True),
    ]
    assert describe(lost).splitlines() == [
        "a.py: 9 lines that ours added are missing",
        "    def second():",
        "        return 2",
        "    … and 7 more",
        "b.py: 1 line that theirs added is missing",
        "    x = 1",
        "c.py: the version of theirs is gone, with 1 line that theirs added",
        "    x = 1",
        "logo.png: the version of ours is gone",
    ]
    assert describe([]) == ""


def test_the_words_are_bounded() -> None:
    long = "".join(f"{number} {'x' * 500}\n" for number in range(100))
    names = [f"{'d' * 200}/{number}" for number in range(MOST_FILES + 7)]
    told = describe(find_lost({}, dict.fromkeys(names, long), {}, {}))
    assert told.endswith("\n… and 7 more")
    assert len(told) < (MOST_FILES + 1) * (MOST_LINES + 3) * (MOST_WIDTH + 10)


def test_the_words_can_be_sent_and_printed_whatever_the_files_hold() -> None:
    hostile = b"caf\xe9 \x1b[2J\tbell\x07 \xe2\x80\xae".decode(errors="surrogateescape")
    told = describe(find_lost({}, {hostile: f"{hostile} text\n"}, {}, {}))
    assert told.count("caf\ufffd \ufffd[2J bell\ufffd \ufffd") == 2
    assert told.encode()
