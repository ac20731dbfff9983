"""The refs that keep the user's side while a session lasts, and what it lost for as long as needed.

Beneath `refs/auto-build/user/SPEC/`: `checkout` and `stash/` go when the session ends; `earlier/`
and `lost/` stay, for people were told of them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from auto_build.containment.strays import Finding, Side
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo, ref_part
from auto_build.policy.paths import SPECS

USER: Final = "refs/auto-build/user"
STAYING: Final = ("earlier/", "lost/")
_MOST_STASHED: Final = 500
_DIGITS: Final = 10  # of an object id, in names
_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Pins:
    """The pins of one build."""

    repo: Repo
    spec: str

    @property
    def _folder(self) -> str:
        return f"{USER}/{ref_part(self.spec)}/"

    @property
    def checkout(self) -> str:
        """The ref of the checkout's files."""
        return f"{self._folder}checkout"

    async def load(self) -> Mapping[str, Commit]:
        """Return what is pinned, by full names."""
        return await self.repo.refs(self._folder)

    async def keep_stash(self, side: Side) -> None:
        """Pin the stash's entries."""
        pairs = [(f"stash/{oid}", oid) for oid in side.stash[:_MOST_STASHED]]
        await self._update(f"update {self._folder}{name} {oid}" for name, oid in pairs)

    async def keep_lost(self, lost: Iterable[Finding]) -> None:
        """Pin the commits that refs had, so that the way back stays open."""
        there = [one for one in lost if await self.repo.has_object(one.old)]
        pairs = [(f"{ref_part(one.name)}-{one.old[:_DIGITS]}", one.old) for one in there]
        await self._update(f"update {self._folder}lost/{name} {oid}" for name, oid in pairs)

    async def release(self) -> None:
        """Let go of what was kept for the session only."""
        staying = tuple(f"{self._folder}{name}" for name in STAYING)
        mine = [ref for ref in await self.load() if not ref.startswith(staying)]
        await self._update(f"delete {ref}" for ref in mine)

    async def _update(self, lines: Iterable[str]) -> None:
        if text := "".join(f"{line}\n" for line in lines):
            await self.repo.git("update-ref", "--stdin", stdin=text)

    # --- after a session that was cut off --------------------------------------------------------

    async def compare(
        self, earlier: Mapping[str, Commit], side: Side, warn: Callable[[str], None]
    ) -> None:
        """Say what is otherwise than when a session began that was cut off, and keep that."""
        if (old := earlier.get(self.checkout)) is None:
            return
        now = await self.repo.require_commit(self.checkout)
        touched = [entry.path for entry in await self.repo.touched(old, now)]
        if paths := [path for path in touched if not path.startswith(SPECS)]:
            ref = f"{self._folder}earlier/{old[:_DIGITS]}"
            await self.repo.create_ref(ref, old)
            warn(
                "your checkout is otherwise than when the session began that was cut off:"
                f" {listed(paths)}; as they were: git diff {ref}"
            )
        stash = f"{self._folder}stash/"
        pinned = {ref.removeprefix(stash) for ref in earlier if ref.startswith(stash)}
        for oid in sorted(pinned - set(side.stash)):
            await self._update([f"update {self._folder}lost/stash-{oid[:_DIGITS]} {oid}"])
            warn(
                f"the stash entry {oid[:_DIGITS]} is gone since the session that was cut off"
                f" (back: git stash store -m kept {oid})"
            )


def listed(names: list[str]) -> str:
    """Return names in a row, as many as people read."""
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
