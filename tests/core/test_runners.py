"""What test runners print, as recorded: which tests failed, or that one cannot say.

The files in recorded/runners come from pytest 9.2.0 with xdist 3.8.0, jest 30.5.2, vitest 4.1.12,
go 1.19.8 and cargo 1.95.0, each run on a small project; its folder is written as /project.
"""

import re
import time
from pathlib import Path

import pytest

from auto_build.core.runners import Tests as Said
from auto_build.core.runners import read_tests

FOLDER = Path(__file__).parent / "recorded" / "runners"

SHELF = frozenset(
    {
        "test_shelf.py::TestReader::test_forgets",
        "test_shelf.py::test_on_the_shelf",
        "test_shelf.py::test_subtracts",
        "test_shelf.py::test_titles[a - b]",
        "test_shelf.py::test_titles[x[1] - y]",
        "test_shelf.py::test_under_the_lamp",
    }
)
JEST = frozenset(
    {
        "src/shelf.test.js > reader > forgets > all",
        "src/shelf.test.js > reader > slow > waits 2 s",
        "src/shelf.test.js > subtracts",
    }
)
VITEST = frozenset(
    {
        "src/shelf.test.js > less > more",
        "src/shelf.test.js > reader > forgets \u203a all",
        "src/shelf.test.js > reader > slow > waits 2 s",
        "src/shelf.test.js > subtracts",
    }
)
SUITES = frozenset({"src/after.test.js", "src/broken.test.js", "src/empty.test.js"})
TWICE = frozenset({"src/twice.test.js > both", "src/twice.test.js > only after"})
GO = frozenset(
    {
        "example.com/library/shelf.TestSubtracts",
        "example.com/library/shelf.TestTitles",
        "example.com/library/shelf.TestTitles/a_-_b",
        "example.com/library/shelf.TestTitles/x",
    }
)
CARGO = frozenset(
    {
        "-p shelf --lib tests::panics",
        "-p shelf --lib tests::subtracts",
        "-p shelf --test reading forgets",
    }
)
DOC = frozenset({"-p shelf --doc shelf/src/lib.rs - add (2)"})
FIRST_TWO = ("first", "second")
BROKEN_JS = "src/broken.test.js"
NONE: frozenset[str] = frozenset()
SUMMARY = "== short test summary info ==\n"


def recorded(name: str) -> str:
    return (FOLDER / f"{name}.txt").read_bytes().decode()


def cut_before(mark: str, output: str) -> str:
    """Return the end of an output that was cut in the middle of a mark."""
    return output[output.index(mark) + len(mark) // 2 :]


@pytest.mark.parametrize(
    ("name", "code", "failed", "passed"),
    [
        ("pytest", 1, SHELF, 5),
        ("pytest-quiet", 1, SHELF, 5),
        ("pytest-verbose", 1, SHELF, 5),
        ("pytest-colour", 1, SHELF, 5),
        ("pytest-xdist", 1, SHELF, 5),
        ("pytest-ci", 1, SHELF, 5),
        ("pytest-goes-on", 1, SHELF | {"broken/test_broken.py"}, 3),
        ("pytest-only-broken", 2, {"broken/test_broken.py"}, 0),
        ("pytest-xdist-broken", 1, {"broken/test_broken.py"}, 2),
        ("pytest-xdist-crash", 1, {f"crash/test_crash.py::test_{t}" for t in ("dies", "b")}, 1),
        ("make-pytest", 2, SHELF, 5),
        ("jest", 1, JEST | SUITES | {f"src/hooks.test.js > hooks > {t}" for t in FIRST_TWO}, 6),
        ("jest-verbose", 1, JEST, 5),
        ("jest-twice", 1, TWICE, 0),
        ("jest-many", 1, {f"many/m{t}.test.js > t{t}" for t in (3, 14)} | {BROKEN_JS}, 20),
        ("vitest", 1, VITEST | SUITES | {"src/hooks.test.js > hooks"}, 6),
        ("vitest-colour", 1, VITEST, 5),
        ("vitest-twice", 1, TWICE, 0),
        ("go", 1, GO, 1),
        ("go-verbose", 1, GO, 4),
        ("go-cover", 1, GO, 0),
        ("go-not-built", 2, GO | {"example.com/library/broken"}, 1),
        ("cargo", 101, CARGO | DOC, 5),
        ("cargo-colour", 101, CARGO | DOC, 5),
        ("cargo-quiet", 101, CARGO, 2),
    ],
)
def test_each_test_that_failed_is_named(
    name: str, code: int, failed: frozenset[str], passed: int
) -> None:
    assert read_tests(recorded(name), code) == Said(frozenset(failed), passed)


@pytest.mark.parametrize(
    ("name", "passed"),
    [
        ("pytest-passed", 2),
        ("pytest-passed-quiet", 2),
        ("jest-passed", 2),
        ("vitest-passed", 2),
        ("go-passed", 2),
        ("cargo-passed", 2),
    ],
)
def test_where_all_pass_nothing_is_named(name: str, passed: int) -> None:
    assert read_tests(recorded(name), 0) == Said(NONE, passed)
    assert read_tests(recorded(name), 1) is None, "something else failed"


@pytest.mark.parametrize(("name", "code"), [("pytest-none", 5), ("make-pytest-none", 2)])
def test_no_tests_at_all_is_an_answer_of_its_own(name: str, code: int) -> None:
    assert read_tests(recorded(name), code) == Said(NONE, 0)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("pytest-first-only", 1),
        ("pytest-maxfail", 1),
        ("pytest-xdist-first-only", 2),
        ("pytest-collection-error", 2),
        ("jest-bail", 1),
        ("vitest-bail", 1),
        ("cargo-stops", 101),
    ],
)
def test_a_runner_that_stopped_early_has_not_named_all(name: str, code: int) -> None:
    assert read_tests(recorded(name), code) is None


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("pytest-dies", 3),
        ("pytest-usage", 4),
        ("pytest-no-summary", 1),
        ("jest-none", 1),
        ("vitest-none", 1),
        ("go-panic", 1),
        ("go-glued", 1),
        ("cargo-dies", 101),
        ("cargo-not-built", 101),
    ],
)
def test_a_crash_or_a_failure_without_a_name_is_no_answer(name: str, code: int) -> None:
    assert read_tests(recorded(name), code) is None


@pytest.mark.parametrize("name", ["jest-coverage", "vitest-unhandled"])
def test_a_runner_that_failed_for_more_than_its_tests_is_no_answer(name: str) -> None:
    assert read_tests(recorded(name), 1) is None


def test_coverage_that_is_too_low_is_more_than_the_tests_of_pytest() -> None:
    output = recorded("pytest")
    missed = "FAIL Required test coverage of 90% not reached. Total coverage: 10.00%\n"
    assert read_tests(output.replace("=====", missed + "=====", 1), 1) is None


RED = {"pytest": 1, "pytest-quiet": 1, "jest": 1, "vitest": 1, "go": 1, "cargo": 101}


@pytest.mark.parametrize(("name", "code"), RED.items())
def test_the_exit_code_has_to_fit(name: str, code: int) -> None:
    output = recorded(name)
    assert read_tests(output, code) is not None
    assert read_tests(output, 0) is None, "it says that nothing failed"
    assert read_tests(output, None) is None, "it was stopped"
    assert read_tests(output, 137) is None, "it was killed"
    assert read_tests(output, 2 if name == "cargo" else 101) is None


@pytest.mark.parametrize(("name", "code"), RED.items())
def test_the_answer_is_the_same_among_other_text_and_with_other_line_ends(
    name: str, code: int
) -> None:
    output = recorded(name)
    alone = read_tests(output, code)
    assert alone is not None
    assert read_tests(f"$ make test\nbuilding ...\n{output}\nnpm error code 1\n", code) == alone
    assert read_tests(output.replace("\n", "\r\n"), code) == alone
    assert read_tests("0 %\r50 %\r" + output, code) == alone


@pytest.mark.parametrize(
    ("name", "code", "mark"),
    [
        ("pytest", 1, "FAILED test_shelf.py::test_subtracts -"),
        ("pytest-quiet", 1, "== short test summary info"),
        ("jest", 1, "FAIL src/shelf.test.js"),
        ("jest", 1, "reader \u203a forgets"),
        ("vitest", 1, "Failed Suites 4"),
        ("vitest", 1, "Failed Tests 4"),
        ("vitest", 1, " FAIL  src/hooks.test.js > hooks"),
        ("cargo", 101, "    tests::subtracts"),
        ("cargo", 101, "rerun pass `-p shelf --lib`"),
    ],
)
def test_names_that_were_cut_off_are_missed(name: str, code: int, mark: str) -> None:
    assert read_tests(cut_before(mark, recorded(name)), code) is None


def test_what_was_cut_off_before_the_names_is_not_missed() -> None:
    for name, mark in (
        ("pytest", "= FAILURES ="),
        ("jest-many", "Summary of all failing tests"),
        ("vitest", "Failed Suites"),
    ):
        output = recorded(name)
        end = output[output.index(mark) - 20 :]
        whole, rest = read_tests(output, 1), read_tests(end, 1)
        assert whole is not None
        assert rest == whole, name


def test_go_does_not_count_so_nothing_may_be_cut_off() -> None:
    assert read_tests(recorded("go"), 1, cut=True) is None
    assert read_tests(recorded("pytest"), 1, cut=True) is not None
    end = cut_before("=== RUN   TestSubtracts", recorded("go-verbose"))
    assert read_tests(end, 1) is None, "a test failed that did not start"


@pytest.mark.parametrize(
    ("name", "code", "counts"),
    [
        ("pytest", 1, "5 failed"),
        ("pytest-quiet", 1, "2 errors"),
        ("jest", 1, "5 failed, 1 skipped"),
        ("jest", 1, "5 failed, 1 passed"),
        ("vitest", 1, "4 failed | 6 passed"),
        ("vitest", 1, "Failed Suites 4"),
        ("cargo", 101, "2 failed;"),
        ("cargo", 101, "3 targets failed"),
    ],
)
def test_names_have_to_add_up_to_the_counts(name: str, code: int, counts: str) -> None:
    output = recorded(name)
    assert counts in output
    for other in ("1", "9"):
        wrong = output.replace(counts, re.sub(r"\d", other, counts, count=1))
        assert read_tests(wrong, code) is None


def test_several_runners_are_added_up() -> None:
    both = recorded("pytest-passed") + recorded("jest")
    alone = read_tests(recorded("jest"), 1)
    assert alone is not None
    assert read_tests(both, 1) == Said(alone.failed, alone.passed + 2)
    all_red = recorded("pytest") + recorded("jest-verbose") + recorded("vitest-twice")
    assert read_tests(all_red, 1) == Said(SHELF | JEST | TWICE, 10)
    the_other_way = recorded("vitest-colour") + recorded("jest-twice") + recorded("go")
    assert read_tests(the_other_way, 1) == Said(VITEST | TWICE | GO, 6)


def test_several_runs_of_one_runner_are_added_up() -> None:
    green_then_red = recorded("pytest-passed-quiet") + recorded("pytest-quiet")
    assert read_tests(green_then_red, 1) == Said(SHELF, 7)
    elsewhere = recorded("pytest").replace("test_shelf.py", "test_lamp.py")
    lamp = {name.replace("test_shelf.py", "test_lamp.py") for name in SHELF}
    assert read_tests(recorded("pytest") + elsewhere, 1) == Said(SHELF | lamp, 10)


@pytest.mark.parametrize(("name", "code"), RED.items())
def test_two_runs_that_share_a_name_cannot_be_told_apart(name: str, code: int) -> None:
    assert read_tests(recorded(name) * 2, code) is None


def test_a_run_that_found_no_tests_is_not_explained_by_names_of_another() -> None:
    assert read_tests(recorded("pytest-none") + recorded("pytest"), 1) is None
    assert read_tests(recorded("pytest") + recorded("pytest-none"), 5) is None


def test_a_run_that_died_spoils_the_answer_of_the_others() -> None:
    assert read_tests(recorded("pytest-dies") + "\n" + recorded("pytest"), 1) is None
    assert read_tests(recorded("pytest") + recorded("pytest-dies"), 1) is None


def test_make_says_which_of_its_commands_failed() -> None:
    output = recorded("pytest-quiet")
    inner = "make[1]: *** [Makefile:4: test] Error 1\n"
    outer = "make: *** [Makefile:1: all] Error 2\n"
    assert read_tests(output + inner + outer, 2) == Said(SHELF, 5)
    assert read_tests(output, 2) is None, "nobody says why it is 2"
    lint = "make: *** [Makefile:9: lint] Error 1\n"
    test = "make: *** [Makefile:4: test] Error 1\n"
    assert read_tests(output + lint + test, 2) is None, "under -k two failed"
    assert read_tests(output + test.replace("Error 1", "Error 4"), 2) is None


def test_a_test_that_prints_what_another_pytest_said_is_not_taken_for_it() -> None:
    inner = recorded("pytest-quiet").replace("test_shelf.py", "inner.py")
    printed = recorded("pytest").replace(
        "=========================== short test summary info",
        f"----- Captured stdout call -----\n{inner}\n"
        "=========================== short test summary info",
    )
    assert read_tests(printed, 1) is None


def test_parameters_stay_in_the_name_and_the_message_goes() -> None:
    def read(line: str, title: str = "") -> Said | None:
        return read_tests(f"{title}\n{SUMMARY}{line}\n1 failed in 0.10s\n", 1)

    for line, name in (
        ("FAILED a.py::test_x", "a.py::test_x"),
        ("FAILED a.py::test_x - assert [1] - 2", "a.py::test_x"),
        ("FAILED a.py::test_x[a - b]", "a.py::test_x[a - b]"),
        ("FAILED a.py::test_x[a] - assert 1 == [2]", "a.py::test_x[a]"),
        ("FAILED a.py::test_x[[] - assert 1", "a.py::test_x[[]"),
        ("FAILED a.py::test_x[<A object at 0x7f12ab>] - no", "a.py::test_x[<A object at 0x>]"),
        ("FAILED README.md::README.md - a::b", "README.md::README.md"),
    ):
        assert read(line) == Said(frozenset({name}), 0)
    assert read("FAILED a.py::test_x[[] - assert [1] - [2]]") is None, "it can be cut in two ways"
    assert read("FAILED a - b/c.py::test_x - no") is None
    titled = read("FAILED a.py::A::test_x[x[1] - y] - no", title="___ A.test_x[x[1] - y] ___")
    assert titled == Said(frozenset({"a.py::A::test_x[x[1] - y]"}), 0)


def test_subtests_are_named_beside_their_test() -> None:
    assert read_tests(recorded("pytest-subtests"), 1) == Said(
        frozenset(
            {
                "test_subs.py::test_many",
                "[even] (i=1) test_subs.py::test_many",
                "(i=1) test_subs.py::TestOld::test_sub",
            }
        ),
        1,
    )


def test_jest_names_are_free_of_what_was_measured() -> None:
    slow = recorded("jest-verbose").replace(
        "shelf.test.js\x1b[22m", "shelf.test.js\x1b[22m (5.1 s)"
    )
    assert slow != recorded("jest-verbose")
    assert read_tests(slow, 1) == Said(JEST, 5)


def test_a_doc_test_keeps_its_name_when_its_line_moves() -> None:
    moved = recorded("cargo").replace("(line 5)", "(line 12)").replace("(line 9)", "(line 16)")
    assert read_tests(moved, 101) == Said(CARGO | DOC, 5)


def test_go_counts_packages_where_it_names_no_tests_that_passed() -> None:
    packages = "ok  \texample.com/a\t0.002s\nok  \texample.com/b\t(cached)\n"
    none = "?   \texample.com/c\t[no test files]\nok  \texample.com/d\t0.1s [no tests to run]\n"
    assert read_tests(packages + none, 0) == Said(NONE, 2)


@pytest.mark.parametrize("output", ["", "\n", "ok\n", "3 errors in 2 files\n", "error: no\n"])
def test_text_of_no_runner_is_no_answer(output: str) -> None:
    assert [read_tests(output, code) for code in (0, 1, 5, 101)] == [None] * 4


LONG = 400_000


@pytest.mark.parametrize(
    ("head", "again", "tail"),
    [
        ("", "FAILED ", ""),
        ("", "7", ""),
        ("", "\x1b[", ""),
        ("", "\x1b]0;", ""),
        ("\x1b[", "1", ""),
        ("", "\n", ""),
        ("", "\r", ""),
        ("", " ", ""),
        ("", "=", ""),
        ("", "= ", ""),
        ("", "!", ""),
        ("", "\u23af", ""),
        ("", " in 1.00s", ""),
        ("", "1 failed, ", "1 failed in 1.00s"),
        ("", "1 failed in 0.10s\n", ""),
        ("", SUMMARY, ""),
        (SUMMARY + "FAILED a.py::b[", " - ]", "\n1 failed in 0.10s\n"),
        (SUMMARY + "FAILED a.py::b[", "[] - ", "\n1 failed in 0.10s\n"),
        (SUMMARY, "FAILED a.py::b\n", "9 failed in 0.10s\n"),
        ("Tests:  ", "1 failed, ", "\n"),
        ("", "FAIL a\n  \u25cf b\n", "Test Suites: 1 failed, 1 total\nTests:  1 failed, 1 total\n"),
        ("", "Test Suites: 1 failed, 1 total\nTests:  1 failed, 1 total\n", ""),
        ("", " FAIL  a [ a ]\n", "   Start at  1\n"),
        ("", " Test Files  1 failed (1)\n   Start at  1\n", ""),
        ("", "\u23af Failed Tests 1 \u23af\n", "   Start at  1\n"),
        ("", "running 1 test\n", ""),
        ("test ", "a (line 1)", "\n"),
        ("", "test a (line 1) ... ok\nfailures:\n    a (line 1)\n", "\n"),
        ("", "test result: FAILED. 0 passed; 1 failed; ", "\n"),
        ("", "error: test failed, to rerun pass `", "\n"),
        ("", "--- FAIL: ", "\n"),
        ("", "--- FAIL: a (0.00s)\n", "FAIL\nFAIL\ta\t0.1s\n"),
        ("", "FAIL\ta\t0.1s\n", ""),
        ("", "make: *** [", "\n"),
        ("", "make: *** [a] Error 1\n", ""),
    ],
)
def test_a_long_output_of_anything_is_read_at_once(head: str, again: str, tail: str) -> None:
    output = head + again * (LONG // len(again)) + tail
    begun = time.process_time()
    for code in (1, 2):
        read_tests(output, code)
    assert time.process_time() - begun < 5


def test_many_doc_tests_are_read_at_once() -> None:
    tests = range(1, 8_000)
    output = "\n".join(
        (
            *(f"test a (line {line}) ... FAILED" for line in tests),
            "failures:",
            *(f"    a (line {line})" for line in tests),
            f"test result: FAILED. 0 passed; {len(tests)} failed; 0 ignored",
            "error: doctest failed, to rerun pass `--doc`",
            "error: 1 target failed:",
        )
    )
    begun = time.process_time()
    read = read_tests(output, 101)
    assert time.process_time() - begun < 5
    assert read is not None
    assert len(read.failed) == len(tests)
