"""Gathers the story of a build from git and its journal, and the pictures that reviews made.

Invariant: it only reads. What is read is bounded before it is shown; what it means is decided in
`core/story.py`.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auto_build.core.evidence import Note, read_note
from auto_build.core.patch import FilePatch, read_patch
from auto_build.core.state import Landed, RunState
from auto_build.core.story import Made, Story, tell
from auto_build.core.timeline import read_timeline
from auto_build.core.view import build_view
from auto_build.errors import NotReady
from auto_build.git.evidence import read_notes
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo
from auto_build.history import fold
from auto_build.journal import Journal, Record
from auto_build.workspace import Workspace

_MOST_PICTURE: Final = 2_000_000  # bytes of one picture
_MOST_PICTURES: Final = 12_000_000  # bytes of all
_KINDS: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"RIFF": "image/webp",
}


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells of one build; staging is called `branch`, and shown in `worktree`."""

    repo: Repo
    workspace: Workspace
    spec: str
    branch: str
    worktree: Path

    async def story(self, head: Commit) -> Story:
        """Return the story of the build whose staging is at `head`.

        Raises:
            NotReady: it was not begun.
        """
        records = self._records()
        state, times = fold(records)
        if state is None:
            raise NotReady(f"{self.spec} was not built yet", hint=f"auto-build run {self.spec}")
        base = await self._base(head)
        return tell(
            state,
            build_view(self.spec, state, times),
            read_timeline((record.at, record.event) for record in records),
            await self._made(state, base, head),
            branch=self.branch,
            head=head,
            base=base,
            worktree=str(self.worktree),
        )

    async def diff(self, head: Commit) -> str:
        """Return all that staging adds, as a patch, to the last byte."""
        span = f"{await self._base(head)}..{head}"
        done = await self.repo.git(
            "diff", "--patch", "--no-ext-diff", "--no-textconv", "--text", span
        )
        return done.stdout

    async def _base(self, head: Commit) -> Commit:
        """Return where staging and the user's branch have parted."""
        user = await self.repo.require_user_head()
        return await self.repo.merge_base(user, head) or head

    def _records(self) -> list[Record]:
        journal = Journal.find(self.workspace.state_dir, self.spec)
        if journal is None:
            return []
        with journal:
            return journal.history()

    async def _made(self, state: RunState, base: Commit, head: Commit) -> Made:
        landed = {
            chunk: Commit(now.commit)
            for chunk, now in state.chunks.items()
            if isinstance(now, Landed)
        }
        notes = await read_notes(self.repo, self.spec, set(landed.values()))
        return Made(
            patches={
                chunk: await load_patch(self.repo, f"{commit}^1", commit)
                for chunk, commit in landed.items()
            },
            notes={commit: _read(notes.get(commit)) for commit in landed.values()},
            whole=await load_patch(self.repo, base, head),
        )


def _read(text: str | None) -> Note | None:
    return read_note(text) if text is not None else None


async def load_patch(repo: Repo, old: str, new: str) -> tuple[FilePatch, ...]:
    """Return what differs between two commits, bounded."""
    numbers, patch = await repo.patch(old, new)
    return read_patch(numbers, patch)


def load_pictures(story: Story) -> dict[str, str]:
    """Return the pictures that reviews made as `data:` addresses, by path, as far as they fit."""
    left = _MOST_PICTURES
    found: dict[str, str] = {}
    for path in _evidence_of(story):
        raw = _load_picture(Path(path), min(left, _MOST_PICTURE))
        kind = next((kind for start, kind in _KINDS.items() if raw.startswith(start)), "")
        if kind:
            found[path] = f"data:{kind};base64,{base64.b64encode(raw).decode('ascii')}"
            left -= len(raw)
    return found


def _evidence_of(story: Story) -> Iterable[str]:
    for review in story.reviews:
        for item in review.items:
            yield from item.evidence


def _load_picture(path: Path, most: int) -> bytes:
    """Return a file's bytes; none where it is gone, or too large to be shown."""
    if not path.is_file() or path.stat().st_size > most:
        return b""
    return path.read_bytes()
