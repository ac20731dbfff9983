"""What is said of a check, from how it ran."""

from auto_build.checks import Run, explain, known_green, settle
from auto_build.core.runners import Tests as Said
from auto_build.core.suite import Check
from auto_build.core.verdict import WHOLE, Answer, Standing

CHECK = Check("pytest -q", expected="ok")


def ran(*failed: str, code: int = 1, named: bool = True) -> Run:
    said = Said(frozenset(failed), 10 - len(failed)) if named else None
    green = code == 0
    note = "" if green else f"exit code {code}"
    return Run(Answer(green, said), code, 1.5, note, "what it printed")


def test_a_green_run_is_a_green_verdict() -> None:
    result = settle(CHECK, [ran(code=0)], None)
    assert (result.passed, result.code, result.note, result.runs) == (True, 0, "", 1)
    assert result.standing.green
    assert result.check == CHECK
    assert result.succeeded == 10


def test_what_failed_before_is_named_and_not_held_against_it() -> None:
    result = settle(CHECK, [ran("a", "b")], Standing(frozenset("abc")))
    assert result.passed
    assert result.note == "exit code 1; a, b failed before"
    assert result.standing == Standing(frozenset("ab"))


def test_what_did_not_fail_before_is_named_and_held_against_it() -> None:
    result = settle(CHECK, [ran("a", "d"), ran("a", "d")], Standing(frozenset("abc")))
    assert not result.passed
    assert result.note == "exit code 1; d did not fail before"
    assert (result.runs, result.seconds) == (2, 3.0)


def test_a_test_that_answered_both_ways_is_named() -> None:
    result = settle(CHECK, [ran("a"), ran(code=0)], None)
    assert (result.passed, result.code, result.flaky) == (True, 0, ("a",))
    assert result.note == "flaky: a failed and passed on the same tree"


def test_two_red_runs_that_clear_each_other_are_red() -> None:
    result = settle(CHECK, [ran("a"), ran("b")], None)
    assert not result.passed
    assert not result.steady
    assert result.flaky == ("a", "b")


def test_a_command_that_was_red_as_a_whole_may_stay_so() -> None:
    result = settle(CHECK, [ran(named=False)], WHOLE)
    assert result.passed
    assert result.whole
    assert result.note == "exit code 1; it was red before"


def test_many_tests_are_not_all_named_in_a_sentence() -> None:
    names = [f"t{n:02}" for n in range(14)]
    assert settle(CHECK, [ran(*names)], Standing(frozenset(names))).note.endswith(
        "t08, t09 and 4 more failed before"
    )


def test_what_is_known_was_not_run() -> None:
    result = known_green(CHECK, "was green on the same tree")
    assert (result.passed, result.runs, result.seconds) == (True, 0, 0.0)
    assert result.check == CHECK


def test_an_agent_is_told_whose_check_it_is_that_it_broke() -> None:
    red = settle(CHECK, [ran("a")], None)
    assert explain(red) == "$ pytest -q\nexit code 1\n\nwhat it printed"
    assert "It verifies chunk 1-2, which was done before." in explain(red, "1-2")
