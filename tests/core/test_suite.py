"""Which commands a candidate must pass."""

from dataclasses import replace

from auto_build.core.plan import Chunk, ChunkId, Plan, Verification, VerificationKind
from auto_build.core.suite import Check, suite
from tests.core.strategies import chunk, phase

A, B, C = (ChunkId(name) for name in "abc")


def verified(name: str, command: str, expected: str = "") -> Chunk:
    how = Verification(kind=VerificationKind.COMMAND, command=command, expected=expected)
    return replace(chunk(name, name), verification=how)


def plan(*chunks: Chunk) -> Plan:
    return Plan("a plan", (phase("p", *chunks),))


def test_first_its_own_then_the_projects_then_those_of_all_that_landed() -> None:
    whole = plan(verified("a", "test a"), verified("b", "test b"), verified("c", "test c"))
    commands = [one.command for one in suite(whole, ["make"], [B, C], A)]
    assert commands == ["test a", "make", "test b", "test c"]


def test_a_command_that_is_named_twice_is_run_once_for_whom_it_was_named_first() -> None:
    whole = plan(verified("a", "make"), verified("b", "make"))
    assert suite(whole, ["make"], [B], A) == (Check("make", of=A),)
    assert suite(whole, ["make"], [A, B]) == (Check("make"),)


def test_the_same_command_with_another_output_to_look_for_is_another_check() -> None:
    whole = plan(verified("a", "make", "OK"), verified("b", "make", "DONE"))
    assert [one.expected for one in suite(whole, [], [B], A)] == ["OK", "DONE"]


def test_who_is_verified_by_no_command_adds_none() -> None:
    looked = Verification(kind=VerificationKind.MANUAL, instructions="look")
    whole = plan(replace(chunk("a", "a"), verification=looked), verified("b", "test b"))
    assert [one.command for one in suite(whole, ["make"], [B], A)] == ["make", "test b"]
    assert suite(whole, [], [], A) == ()
