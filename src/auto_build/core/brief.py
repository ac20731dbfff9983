"""What a build came to, told in short: the messages of merges, the text of a pull request. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from auto_build.core.evidence import SPEC_TRAILER, SQUASHED_TRAILER
from auto_build.core.state import Landed, RunState, Skipped

_WIDTH: Final = 72
_MOST: Final = 200  # chunks that a message lists
_MOST_BODY: Final = 30_000  # characters of a pull request's text; hosts take about twice as many


@dataclass(frozen=True, slots=True)
class Brief:
    """What is told of the build of `spec`, on the branch `branch`, at staging's `head`."""

    spec: str
    branch: str
    head: str
    state: RunState

    @property
    def title(self) -> str:
        """What the build is about, in a line."""
        return _line(self.state.plan.title) or f"Build {self.spec}"

    def merge_message(self, said: str = "") -> str:
        """Return the message of a merge commit; `said` stands in the place of git's own."""
        return f"{_text(said) or f'Merge branch {self.branch!r}'}\n\n{SPEC_TRAILER}: {self.spec}\n"

    def squash_message(self, said: str = "") -> str:
        """Return the message of the one commit that the build becomes, with its chunks."""
        chunks = "\n".join(self._chunks())
        body = _text(said) or f"{self.title}\n\n{chunks}".strip()
        trailers = f"{SPEC_TRAILER}: {self.spec}\n{SQUASHED_TRAILER}: {self.head}\n"
        return f"{body}\n\n{trailers}"

    def revert_message(self, commit: str) -> str:
        """Return the message of the commit that takes a merge back."""
        return (
            f"Revert the merge of {self.branch}\n\n"
            f"This takes back what came with {commit}.\n\n{SPEC_TRAILER}: {self.spec}\n"
        )

    def proposal(self, approval: str) -> str:
        """Return the text of a pull request, in Markdown."""
        lines = ["Built by several agents, each chunk checked on the tree that it landed as.", ""]
        lines += ["## Chunks", "", *self._chunks(), "", "## Review", "", f"- {_line(approval)}"]
        if unverified := tuple(self._unverified()):
            lines += ["", "## Not verified by a command", "", *unverified]
        lines += ["", f"Staging is at {self.head}.", ""]
        return "\n".join(lines)[:_MOST_BODY]

    def _chunks(self) -> Iterator[str]:
        titles = {one: _line(chunk.title) for one, chunk in self.state.plan.chunks.items()}
        landed = [one for one, now in self.state.chunks.items() if isinstance(now, Landed)]
        for one in landed[:_MOST]:
            yield f"- {one}: {titles[one]}" if titles[one] else f"- {one}"
        if len(landed) > _MOST:
            yield f"- and {len(landed) - _MOST} more"

    def _unverified(self) -> Iterator[str]:
        for one, now in self.state.chunks.items():
            match now:
                case Landed() if now.unverified:
                    yield f"- {one}: {_line(now.unverified)}"
                case Skipped():
                    yield f"- {one}: skipped, {_line(now.why)}"
                case _:
                    pass


def _text(said: str) -> str:
    return said.strip()


def _line(text: str) -> str:
    one = " ".join(text.split())
    return one if len(one) <= _WIDTH else f"{one[: _WIDTH - 1]}…"
