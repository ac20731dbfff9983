"""What an agent may do when it asks before it acts. Pure: paths come in resolved.

A write must stay in the worktree, keep out of what only the coordinator writes, and keep out of
what another live chunk claims; the agent is told who holds it. What nobody claims is taken by who
writes it, unless the settings are strict. An agent that only reads, as the planner does, may write
nothing at all.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from auto_build.core.claims import Claim, covers, touches
from auto_build.core.plan import ChunkId
from auto_build.policy.paths import forbidden


class Access(StrEnum):
    """What kind of thing an agent asks to do."""

    READ = "read"
    WRITE = "write"
    RUN = "run"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Request:
    """What an agent asks to do: `paths` are absolute, with every link in them followed."""

    access: Access
    what: str
    paths: tuple[str, ...] = ()


class ClaimMode(StrEnum):
    """What becomes of a write beyond a chunk's claims."""

    WIDEN = "widen"  # what is free is taken, what is held is refused
    STRICT = "strict"  # refused
    WARN = "warn"  # what is free is taken, what is held is told


@dataclass(frozen=True, slots=True)
class Allow:
    """It may; `takes` are paths, relative to the worktree, that its chunk has to claim first.

    `warning` says what people should know of it.
    """

    takes: tuple[str, ...] = ()
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Deny:
    """It may not; `why` is for the agent to read, and says what to do instead."""

    why: str


Decision = Allow | Deny
Permit = Callable[[Request], Decision]
Held = Iterable[tuple[ChunkId, tuple[Claim, ...]]]


def judge(
    request: Request,
    *,
    root: str,
    held: Held = (),
    own: Iterable[Claim] = (),
    mode: ClaimMode = ClaimMode.WIDEN,
    read_only: bool = False,
) -> Decision:
    """Say whether an agent may do what it asks.

    Args:
        request: what it asks.
        root: its worktree, an absolute path with every link in it followed.
        held: what other live chunks claim.
        own: what its own chunk claims; a chunk that claims nothing may write what is free.
        mode: what becomes of a write beyond that.
        read_only: whether it may write at all.
    """
    if request.access is not Access.WRITE:
        return Allow()
    if read_only:
        return Deny("You may only read here: nothing is to be written. Give your answer instead.")
    case = _Case(root.rstrip("/") + "/", tuple(held), tuple(own), mode)
    for path in request.paths:
        if why := case.refusal(path):
            return Deny(why)
    beyond = [case.inside(path) for path in request.paths if not case.is_own(path)]
    told = [f"{path} is held by chunk {holder}" for path in beyond if (holder := case.holder(path))]
    free = tuple(path for path in beyond if not case.holder(path))
    return Allow(free, f"writes where another works: {', '.join(told)}" if told else "")


@dataclass(frozen=True, slots=True)
class _Case:
    root: str
    held: tuple[tuple[ChunkId, tuple[Claim, ...]], ...]
    own: tuple[Claim, ...]
    mode: ClaimMode

    def inside(self, path: str) -> str:
        return path.removeprefix(self.root)

    def is_own(self, path: str) -> bool:
        return any(covers(claim, self.inside(path)) for claim in self.own)

    def holder(self, inside: str) -> ChunkId | None:
        """Return the other chunk that claims a path, if one does."""
        for chunk, claims in self.held:
            if any(touches(claim, inside) for claim in claims):
                return chunk
        return None

    def refusal(self, path: str) -> str:
        """Say why a path may not be written; empty where it may."""
        inside = self.inside(path)
        if inside == path:
            top = self.root.rstrip("/")
            return f"{path} is outside of your worktree {top}: write only beneath that folder."
        if inside == ".git" or inside.startswith(".git/"):
            return f"{inside} belongs to git: leave it alone."
        if forbidden((inside,)):
            return f"{inside} is written by the coordinator only: leave it alone."
        if self.is_own(path):
            return ""
        if (chunk := self.holder(inside)) and self.mode is not ClaimMode.WARN:
            return (
                f"{inside} is being written by another agent (chunk {chunk}): do the rest of your"
                " work without it, and say at the end what is left to do there."
            )
        if self.own and self.mode is ClaimMode.STRICT:
            return (
                f"{inside} is not among the paths of your chunk: do the rest of your work without"
                " it, and say at the end what is left to do there."
            )
        return ""
