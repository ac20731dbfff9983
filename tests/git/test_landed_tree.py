"""What lands is what was asked for: the accepted edits, applied in the order of the landings."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auto_build.git.landing import Label, build_candidate
from auto_build.git.parse import Commit
from auto_build.git.repo import Conflict
from tests.git.conftest import History

pytestmark = pytest.mark.slow

Lines = tuple[str, ...]
Files = dict[str, Lines]
NAMES = ("a", "b")
START: Files = {name: tuple(f"{name} {n}" for n in range(12)) for name in NAMES}


@dataclass(frozen=True)
class Edit:
    """A change of one line that is told by its text, which nothing else has."""

    name: str
    line: str
    then: Lines  # what stands in its place

    def apply(self, files: Files) -> Files:
        lines = files[self.name]
        if self.line not in lines:
            return files
        at = lines.index(self.line)
        return {**files, self.name: (*lines[:at], *self.then, *lines[at + 1 :])}


@st.composite
def edits(draw: st.DrawFn, owner: int) -> list[list[Edit]]:
    """Return the commits of one work: each a few changes, inserts and deletions of lines."""
    commits: list[list[Edit]] = []
    for number in range(draw(st.integers(1, 2))):
        made: list[Edit] = []
        for place in draw(st.sets(st.integers(0, 11), min_size=1, max_size=3)):
            name = draw(st.sampled_from(NAMES))
            line = f"{name} {place}"
            new = f"{line} by {owner} in {number}"
            made.append(Edit(name, line, draw(st.sampled_from(((new,), (line, new), ())))))
        commits.append(made)
    return commits


def _apply(files: Files, commits: Sequence[Sequence[Edit]]) -> Files:
    for made in commits:
        for one in made:
            files = one.apply(files)
    return files


def _text(files: Files) -> dict[str, str]:
    return {name: "".join(f"{line}\n" for line in lines) for name, lines in files.items()}


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # ids are made of contents
)
@given(st.tuples(edits(1), edits(2), edits(3), edits(4)))
async def test_the_landed_tree_is_the_accepted_edits_in_the_order_of_the_landings(
    history: History, works: tuple[list[list[Edit]], ...]
) -> None:
    base = head = await history.commit(_text(START))
    expected = START
    landed = 0
    for number, commits in enumerate(works):
        work = await _commit(history, base, commits)
        label = Label("spec", f"c{number}", 1)
        built = await build_candidate(history.repo, head, base, work, label)
        if isinstance(built, Conflict):
            assert landed, "nothing is in the way of the first"
            continue
        landed += 1
        head, expected = built.commit, _apply(expected, commits)
        assert await history.read(head) == _text(expected)
    assert landed


async def _commit(history: History, base: Commit, commits: list[list[Edit]]) -> Commit:
    files, head = START, base
    for made in commits:
        files = _apply(files, [made])
        head = await history.commit(_text(files), head)
    return head
