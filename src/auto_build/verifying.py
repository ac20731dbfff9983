"""Verify: does what git keeps of a build agree? Reads git alone, and changes nothing."""

from dataclasses import dataclass

from auto_build.core.evidence import Finding, Signed, find_faults
from auto_build.delivery import Build
from auto_build.errors import NotReady
from auto_build.git.evidence import base_of, read_evidence, read_signed
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at, from `base` to `head`, and what is wrong with it.

    `place` says where that is: in staging, or in the user's branch where staging is gone.
    """

    spec: str
    place: str
    base: str
    head: str
    commits: int
    findings: tuple[Finding, ...]


async def verify(build: Build) -> Verified:
    """Hold every commit of staging's own line against its trailers, its note and the pins.

    Raises:
        NotReady: nothing of the build is in git, in staging or in the user's branch.
    """
    name = build.spec.name
    place = build.short_branch
    head = await build.repo.find_commit(build.branch)
    user = await build.repo.require_user_head()
    signed = await read_signed(build.repo, name, head or user)
    if head is None:
        if not signed:
            raise NotReady(
                f"nothing of {name} is in git, neither in staging nor in your branch",
                hint=f"build it: auto-build run {name}",
            )
        branch = (await build.repo.user_status()).branch
        head = Commit(signed[0].commit)
        place = f"{branch or 'HEAD'}, up to the last landing, for staging is gone"
    base = await _base(build.repo, name, signed, head)
    evidence = await read_evidence(build.repo, name, base, head)
    return Verified(name, place, base, head, len(evidence.line), find_faults(evidence))


async def is_in_git(build: Build) -> bool:
    """Say whether staging, or the user's branch, holds anything of a build."""
    head = await build.repo.find_commit(build.branch)
    if head is not None:
        return True
    user = await build.repo.require_user_head()
    return bool(await read_signed(build.repo, build.spec.name, user))


async def _base(repo: Repo, spec: str, signed: tuple[Signed, ...], head: Commit) -> Commit:
    """Return where the line began; where nobody noted it, before the first landing."""
    noted = await repo.find_commit(base_of(spec))
    if noted is None and signed:
        noted = Commit(signed[-1].parents[0])
    return (noted and await repo.merge_base(noted, head)) or head
