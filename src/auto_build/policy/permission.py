"""What an agent may do when it asks before it acts. Pure: paths come in resolved.

A write must stay in the worktree, keep out of what only the coordinator writes, and keep out of
what another live chunk claims; the agent is told who holds it. An agent that only reads, as the
planner does, may write nothing at all.
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


@dataclass(frozen=True, slots=True)
class Allow:
    """It may."""


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
    read_only: bool = False,
) -> Decision:
    """Say whether an agent may do what it asks.

    Args:
        request: what it asks.
        root: its worktree, an absolute path with every link in it followed.
        held: what other live chunks claim.
        own: what its own chunk claims.
        read_only: whether it may write at all.
    """
    if request.access is not Access.WRITE:
        return Allow()
    if read_only:
        return Deny("You may only read here: nothing is to be written. Give your answer instead.")
    mine = tuple(own)
    holders = tuple(held)
    for path in request.paths:
        if why := _refusal(path, root, holders, mine):
            return Deny(why)
    return Allow()


def _refusal(
    path: str,
    root: str,
    held: tuple[tuple[ChunkId, tuple[Claim, ...]], ...],
    own: tuple[Claim, ...],
) -> str:
    inside = path.removeprefix(root.rstrip("/") + "/")
    if inside == path:
        return f"{path} is outside of your worktree {root}: write only beneath that folder."
    if inside == ".git" or inside.startswith(".git/"):
        return f"{inside} belongs to git: leave it alone."
    if forbidden((inside,)):
        return f"{inside} is written by the coordinator only: leave it alone."
    if any(covers(claim, inside) for claim in own):
        return ""
    for chunk, claims in held:
        if any(touches(claim, inside) for claim in claims):
            return (
                f"{inside} is being written by another agent (chunk {chunk}): do the rest of your"
                " work without it, and say at the end what is left to do there."
            )
    return ""
