"""What an agent that asks may write: its own, and what is free; never what another one holds."""

import pytest

from auto_build.core.claims import Claim
from auto_build.core.plan import ChunkId
from auto_build.policy.permission import Access, Allow, ClaimMode, Decision, Deny, Request, judge

ROOT = "/p/worktree"
HELD = [(ChunkId("2-1"), (Claim.parse("src/held/"),)), (ChunkId("2-2"), (Claim.parse("b.py"),))]
OWN = (Claim.parse("a.py"),)


def asked(
    *paths: str,
    access: Access = Access.WRITE,
    mode: ClaimMode = ClaimMode.WIDEN,
    own: tuple[Claim, ...] = OWN,
) -> Decision:
    whole = tuple(path if path.startswith("/") else f"{ROOT}/{path}" for path in paths)
    return judge(Request(access, "Edit", whole), root=ROOT, held=HELD, own=own, mode=mode)


def test_its_own_paths_need_no_claim() -> None:
    assert asked("a.py", "A.py") == Allow()


def test_a_path_that_nobody_holds_is_to_be_taken_first() -> None:
    assert asked("a.py", "new.py") == Allow(takes=("new.py",))


def test_a_path_that_another_chunk_holds_is_refused_with_its_name() -> None:
    for path in ("src/held/x.py", "SRC/Held/x.py", "src"):
        refused = asked(path)
        assert isinstance(refused, Deny)
        assert "(chunk 2-1)" in refused.why


def test_one_path_that_is_refused_refuses_all() -> None:
    assert isinstance(asked("new.py", "b.py"), Deny)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/p/elsewhere/x.py", "outside of your worktree"),
        ("/p/worktree-2/x.py", "outside of your worktree"),
        (".git/config", "belongs to git"),
        ("auto-build/specs/001/implementation_plan.json", "by the coordinator only"),
    ],
)
@pytest.mark.parametrize("mode", ClaimMode)
def test_some_paths_are_nobodys_in_whichever_mode(path: str, word: str, mode: ClaimMode) -> None:
    refused = asked(path, mode=mode)
    assert isinstance(refused, Deny)
    assert word in refused.why


def test_in_strict_mode_only_what_is_claimed_may_be_written() -> None:
    refused = asked("new.py", mode=ClaimMode.STRICT)
    assert isinstance(refused, Deny)
    assert "not among the paths of your chunk" in refused.why
    assert asked("a.py", mode=ClaimMode.STRICT) == Allow()
    assert asked("new.py", mode=ClaimMode.STRICT, own=()) == Allow(takes=("new.py",))


def test_in_warn_mode_what_another_holds_is_told_and_not_taken() -> None:
    allowed = asked("b.py", "new.py", mode=ClaimMode.WARN)
    assert isinstance(allowed, Allow)
    assert allowed.takes == ("new.py",)
    assert allowed.warning == "writes where another works: b.py is held by chunk 2-2"


@pytest.mark.parametrize("access", [Access.READ, Access.RUN, Access.OTHER])
def test_what_writes_nothing_takes_nothing(access: Access) -> None:
    assert asked("b.py", access=access) == Allow()
