"""Landings taken out and brought back off-tree, and what a real repository keeps of them."""

from dataclasses import dataclass

import pytest

from auto_build.core.events import CheckResult
from auto_build.core.evidence import Evidence, Fault, Signed, find_faults, write_note
from auto_build.core.plan import ChunkId
from auto_build.git.evidence import (
    base_of,
    forget_line,
    keep_notes,
    landed_of,
    mend_pins,
    notes_of,
    pin_landed,
    read_evidence,
    read_signed,
)
from auto_build.git.landing import Candidate, Label, build_candidate, flatten, pin_of
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo
from auto_build.git.revising import Clash, bring_back, take_out
from tests.git.conftest import History

SPEC = "001 demo"
TEXT = "".join(f"line {number}\n" for number in range(20))
GREEN = CheckResult("make", passed=True, code=0, seconds=1.0, output="1 passed\n")


@dataclass
class Line:
    """Staging's own line, as it grows."""

    history: History
    base: Commit
    head: Commit

    @property
    def repo(self) -> Repo:
        return self.history.repo

    async def land(
        self, chunk: str, files: dict[str, str], on: Commit | None = None, attempt: int = 1
    ) -> Commit:
        """Land a chunk whose work is these files at its top, on top of the head or of `on`."""
        base = on or self.head
        work = await self.history.commit({**await self.history.read(base), **files}, base)
        await self.repo.create_ref(pin_of(SPEC, chunk, attempt), work)
        label = Label(SPEC, chunk, attempt, f"Do {chunk}")
        built = await build_candidate(self.repo, self.head, base, work, label)
        assert isinstance(built, Candidate)
        await self.note(built.commit)
        await pin_landed(self.repo, SPEC, chunk, built.commit)
        self.head = built.commit
        return built.commit

    async def note(self, commit: Commit) -> None:
        note = write_note(await self.repo.tree_of(commit), [GREEN])
        await keep_notes(self.repo, SPEC, {commit: note})

    async def undo(self, *landings: Commit) -> Commit | Clash:
        """Take landings out, as the head from then on if that can be done."""
        signed = await read_signed(self.repo, SPEC, self.head)
        gone = [one for one in signed if one.commit in landings]
        stay = [one for one in signed if one.commit not in landings]
        built = await take_out(self.repo, SPEC, gone, stay, self.head)
        if not isinstance(built, Clash):
            self.head = built
            await self.note(built)
        return built

    async def redo(self, *landings: Commit) -> Clash | None:
        """Bring landings back, the last of them as the head from then on if that can be done."""
        signed = await read_signed(self.repo, SPEC, self.head)
        back = [one for one in reversed(signed) if one.commit in landings]
        titles = {ChunkId(one.chunk): f"Do {one.chunk}" for one in back}
        stay = [one for one in signed if one.commit not in landings and one.chunk]
        built = await bring_back(self.repo, SPEC, back, titles, stay, self.head)
        if isinstance(built, Clash):
            return built
        for one in built:
            await pin_landed(self.repo, SPEC, one.chunk, one.commit)
        self.head = built[-1].commit
        note = write_note(built[-1].tree, [GREEN])
        await keep_notes(self.repo, SPEC, {one.commit: note for one in built})
        return None

    async def files(self) -> dict[str, str]:
        return await self.history.read(self.head)

    async def evidence(self, head: Commit | None = None) -> Evidence:
        return await read_evidence(self.repo, SPEC, self.base, head or self.head)

    async def faults(self, head: Commit | None = None) -> list[tuple[Fault, str]]:
        found = find_faults(await self.evidence(head))
        return [(one.fault, one.chunk) for one in found]

    async def said_again(self, commit: Commit, old: str, new: str) -> Commit:
        """Make the head anew with another message."""
        said = (await self.repo.git("log", "-1", "--format=%B", commit)).stdout
        assert old in said
        (one,) = [one for one in (await self.evidence()).line if one.commit == commit]
        tree = await self.repo.tree_of(commit)
        parents = [Commit(parent) for parent in one.parents]
        return await self.repo.commit_tree(tree, parents, said.replace(old, new))


@pytest.fixture
async def line(repo: Repo, history: History) -> Line:
    """Return a line with nothing on it, on top of one file of twenty lines."""
    base = await history.commit({"t": TEXT})
    await repo.create_ref(base_of(SPEC), base)
    return Line(history, base, base)


def changed(*numbers: int, to: str = "new") -> str:
    lines = TEXT.splitlines(keepends=True)
    return "".join(f"{to} {n}\n" if n in numbers else one for n, one in enumerate(lines))


# --- undo and redo --------------------------------------------------------------------------------


async def test_what_is_taken_out_leaves_everything_else_and_comes_back_the_same(
    line: Line,
) -> None:
    a = await line.land("a", {"a": "a\n", "t": changed(2)})
    b = await line.land("b", {"b": "b\n", "a": "a and b\n"})
    await line.land("c", {"c": "c\n", "t": changed(2, 15)})
    whole, head = await line.files(), line.head

    await line.undo(a, b)
    assert await line.files() == {"t": changed(15), "c": "c\n"}
    assert await line.repo.is_ancestor(head, line.head)
    assert await line.redo(a, b) is None

    assert await line.files() == whole
    assert await line.faults() == []
    (again,) = [one for one in (await line.evidence()).line if one.redo == b]
    assert (again.chunk, again.number, again.subject) == ("b", 1, "Redo b: Do b")
    assert await line.repo.find_commit(landed_of(SPEC, "b")) == again.commit


async def test_lines_that_a_later_landing_changed_are_in_the_way(line: Line) -> None:
    await line.land("early", {"t": changed(2)})
    a = await line.land("a", {"t": changed(2, 10)})
    await line.land("b", {"t": changed(2, 10, to="newer")})
    await line.land("c", {"c": "c\n"})
    head = line.head

    assert await line.undo(a) == Clash("a", ("t",), ("b",))
    assert line.head == head


async def test_a_file_that_a_later_landing_wrote_on_is_in_the_way(line: Line) -> None:
    a = await line.land("a", {"a": "one\n"})
    await line.land("b", {"a": "one\ntwo\n"})
    assert await line.undo(a) == Clash("a", ("a",), ("b",))


async def test_what_staging_says_otherwise_by_now_does_not_come_back(line: Line) -> None:
    a = await line.land("a", {"t": changed(10)})
    await line.undo(a)
    await line.land("b", {"t": changed(10, to="other")})
    assert await line.redo(a) == Clash("a", ("t",), ("b",))


async def test_an_undo_can_be_undone_and_done_again(line: Line) -> None:
    a = await line.land("a", {"a": "a\n"})
    for _ in range(2):
        await line.undo(a)
        assert "a" not in await line.files()
        assert await line.redo(a) is None
        (a,) = [Commit(one.commit) for one in (await line.evidence()).line[-1:]]
    assert await line.faults() == []


async def test_work_that_began_before_an_undo_lands_after_it_without_what_was_undone(
    line: Line,
) -> None:
    a = await line.land("a", {"a": "a\n"})
    before = line.head
    await line.undo(a)
    await line.land("b", {"b": "b\n"}, on=before)
    assert await line.files() == {"t": TEXT, "b": "b\n"}
    assert await line.faults() == []


# --- evidence -------------------------------------------------------------------------------------


async def test_a_landing_says_in_git_what_it_is_made_of(line: Line) -> None:
    landed = await line.land("a", {"a": "a\n"})
    (one,) = (await line.evidence()).line
    assert (one.base, one.work) == one.parents
    assert one.said_tree == await line.repo.tree_of(landed)
    shown = await line.repo.git("show", f"{notes_of(SPEC)}:{landed}")
    assert "Auto-Build-Check: sha256:" in shown.stdout
    assert "1 passed" in shown.stdout


async def test_a_landing_that_was_replayed_and_one_without_change_hold(line: Line) -> None:
    await line.land("a", {"t": changed(10)})
    work = await line.history.commit({"t": changed(10)}, line.base)
    work = await line.history.commit({"t": changed(10, 15)}, work)
    for chunk, base, what in (("b", line.base, work), ("c", line.head, line.head)):
        label = Label(SPEC, chunk, 1)
        await line.repo.create_ref(pin_of(SPEC, chunk, 1), what)
        built = await build_candidate(line.repo, line.head, base, what, label)
        assert isinstance(built, Candidate)
        line.head = built.commit
        await line.note(line.head)
        await pin_landed(line.repo, SPEC, chunk, line.head)
    landed = [Commit(one.commit) for one in (await line.evidence()).line]
    assert [len(one.parents) for one in (await line.evidence()).line] == [2, 2, 1]
    assert await line.faults() == []
    await line.undo(*landed)
    assert await line.redo(*landed) is None
    assert await line.files() == {"t": changed(10, 15)}
    assert await line.faults() == []


async def test_a_landing_without_the_history_of_its_work_comes_back_without_it(
    line: Line,
) -> None:
    secret = await line.history.commit({"t": TEXT, "key": "secret\n"}, line.base)
    work = await line.history.commit({"t": changed(10)}, secret)
    await line.repo.create_ref(pin_of(SPEC, "a", 1), work)
    label = Label(SPEC, "a", 1)
    built = await build_candidate(line.repo, line.head, line.base, work, label)
    assert isinstance(built, Candidate)
    flat = await flatten(line.repo, built, work, label)
    line.head = flat.commit
    await line.note(line.head)
    await pin_landed(line.repo, SPEC, "a", line.head)
    await line.undo(flat.commit)
    assert await line.redo(flat.commit) is None
    assert await line.files() == {"t": changed(10)}
    assert not await line.repo.is_ancestor(secret, line.head)
    assert await line.faults() == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("Attempt: 1", "Attempt: 2", Fault.NO_PIN),
        ("Auto-Build-Tree: ", "Auto-Build-Tree: 0", Fault.TRAILER),
        ("Auto-Build-Base: ", "Built-On: ", Fault.TRAILER),
    ],
    ids=["attempt", "tree", "no base"],
)
async def test_a_commit_whose_trailers_were_changed_is_found(
    line: Line, old: str, new: str, found: Fault
) -> None:
    await line.land("a", {"a": "a\n"})
    top = await line.land("b", {"b": "b\n"})
    rewritten = await line.said_again(top, old, new)
    rest = [(Fault.NO_EVIDENCE, "b"), (Fault.REWRITTEN, "b")]
    assert await line.faults(rewritten) == [(found, "b"), *rest]


async def test_a_commit_by_hand_on_top_and_a_landing_that_was_left_out_are_found(
    line: Line,
) -> None:
    await line.land("a", {"a": "a\n"})
    await line.land("b", {"b": "b\n"})
    mine = await line.history.commit({"x": "x\n"}, line.head)
    assert await line.faults(mine) == [(Fault.BY_HAND, "")]
    below = Commit((await line.evidence()).line[0].commit)
    assert await line.faults(below) == [(Fault.REWRITTEN, "b")]


async def test_pins_that_are_gone_are_found_and_those_of_landings_made_again(line: Line) -> None:
    landed = await line.land("a", {"a": "a\n"})
    for ref in (pin_of(SPEC, "a", 1), landed_of(SPEC, "a")):
        await line.repo.delete_ref(ref, (await line.repo.refs(ref))[ref])
    assert await line.faults() == [(Fault.NO_PIN, "a"), (Fault.NO_PIN, "a")]
    await mend_pins(line.repo, SPEC, [("a", landed)])
    assert await line.faults() == [(Fault.NO_PIN, "a")]


async def test_a_note_that_was_changed_or_is_gone_is_found(line: Line) -> None:
    landed = await line.land("a", {"a": "a\n"})
    await line.land("b", {"b": "b\n"})
    (text,) = [(await line.evidence()).notes[landed]]
    await keep_notes(line.repo, SPEC, {landed: text.replace("1 passed", "9 passed")})
    assert await line.faults() == [(Fault.EVIDENCE, "a")]
    ref = notes_of(SPEC)
    await line.repo.delete_ref(ref, await line.repo.require_commit(ref))
    assert await line.faults() == [(Fault.NO_EVIDENCE, "a"), (Fault.NO_EVIDENCE, "b")]


async def test_a_build_that_is_thrown_away_is_forgotten_and_another_is_not(line: Line) -> None:
    await line.land("a", {"a": "a\n"})
    await pin_landed(line.repo, f"{SPEC} 2", "a", line.head)
    await forget_line(line.repo, SPEC)
    assert await line.repo.refs(base_of(SPEC)) == {}
    assert list(await line.repo.refs("refs/auto-build/landed/")) == [landed_of(f"{SPEC} 2", "a")]


async def test_what_another_spec_landed_is_not_read(line: Line) -> None:
    await line.land("a", {"a": "a\n"})
    label = Label(f"{SPEC} 2", "x", 1)
    other = await build_candidate(line.repo, line.head, line.head, line.head, label)
    assert isinstance(other, Candidate)
    signed: tuple[Signed, ...] = await read_signed(line.repo, SPEC, other.commit)
    assert [one.chunk for one in signed] == ["a"]
