"""What is asked of a candidate before any check runs: may a tree and a history hold this?

A candidate brings files, and the commits that its agent went through on the way to them. What may
not be in its tree is refused, and goes back to the agent. What was taken out again on the way, a
secret or a very large file, is no longer in the tree, but would land with those commits: such a
work lands as one commit instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from auto_build.gate.secrets import Hit, Sample, Scanner, Secret, by_path
from auto_build.git.blobs import BLOB, Header, load_contents, load_headers
from auto_build.git.landing import Candidate
from auto_build.git.parse import GITLINK, Change, File
from auto_build.git.repo import Repo
from auto_build.policy.tree import LINK, Touched, Unfit, describe, find_unfit
from auto_build.settings import FILE

MOST_BYTES: Final = 100_000_000  # of all that is looked through for secrets in one candidate
_LONGEST_LINK: Final = 4_096  # bytes of a symbolic link's target; a system takes no longer one
_SHOWN: Final = 20  # secrets that are named
_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a look: why the candidate cannot be taken, if it cannot.

    `detour` says that its commits hold what its tree does not, and what may not land with them.
    """

    refusal: str = ""
    detour: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """Looks at candidates; `allowed` are globs of the paths in which secrets do not count."""

    repo: Repo
    most_file_bytes: int
    scanner: Scanner | None = None
    allowed: tuple[str, ...] = ()

    async def look(self, built: Candidate) -> Seen:
        """Look at what a candidate brings to the head that it stands on.

        Raises:
            EnvironmentUnfit: secrets cannot be looked for.
        """
        changes = await self.repo.changes(built.head, built.commit)
        met = await self.repo.objects_between(built.head, built.commit)
        news, olds = _files(one.after for one in changes), _files(one.before for one in changes)
        headers = await load_headers(self.repo, {*met, *(file.oid for file in (*news, *olds))})
        if unfit := await self._unfit(built, changes, headers):
            return Seen(
                "The work holds what no tree may hold, on this or on other machines. Undo it:\n"
                f"{describe(unfit)}"
            )
        stays = {file.oid for file in news}
        ways = [
            File("", oid, path)
            for oid, path in met.items()
            if oid not in stays and headers[oid].kind == BLOB
        ]
        if any(headers[file.oid].size > self.most_file_bytes for file in ways):
            return replace(await self._search(changes, [], headers), detour=True)
        return await self._search(changes, ways, headers)

    async def _unfit(
        self, built: Candidate, changes: Sequence[Change], headers: Mapping[str, Header]
    ) -> tuple[Unfit, ...]:
        links = _files(one.after for one in changes if one.after and one.after.mode == LINK)
        short = {one.oid for one in links if headers[one.oid].size <= _LONGEST_LINK}
        targets = await load_contents(self.repo, short)
        touched = [_touched(one, one.after, headers, targets) for one in changes if one.after]
        added = any(one.is_new for one in touched)
        before = [file.path for file in await self.repo.files(built.head)] if added else []
        gone = [one.path for one in changes if one.after is None]
        return find_unfit(touched, before, gone, most_bytes=self.most_file_bytes)

    # --- secrets ---------------------------------------------------------------------------------

    async def _search(
        self, changes: Sequence[Change], ways: Sequence[File], headers: Mapping[str, Header]
    ) -> Seen:
        """Look for secrets that were not there before: in the files, and in what became of them."""
        if self.scanner is None:
            return Seen()
        news = self._asked(_files(one.after for one in changes))
        ways = self._asked(ways)
        olds = _files(one.before for one in changes)
        room = MOST_BYTES - _size(news, headers)
        if room < 0:
            return Seen(
                f"The work changes files of more than {MOST_BYTES / _MB:.0f} MB in all, which is"
                " more than can be looked through for secrets: take out what is generated."
            )
        if too_much := _size((*olds, *ways), headers) > room:
            ways = []  # it does not land: the work becomes one commit
            olds = olds if _size(olds, headers) <= room else []
        hits = await self.scanner.scan(await self._samples((*news, *ways, *olds)))
        found = _new(hits, len(news) + len(ways), {one.path for one in changes if not one.after})
        here = dict.fromkeys(hit.secret for hit in found if hit.sample < len(news))
        strayed = too_much or any(hit.sample >= len(news) for hit in found)
        return Seen(_told(list(here)), detour=strayed)

    def _asked(self, files: Sequence[File]) -> list[File]:
        return [
            file
            for file in files
            if not any(fnmatchcase(file.path, pattern) for pattern in self.allowed)
        ]

    async def _samples(self, files: Sequence[File]) -> list[Sample]:
        contents = await load_contents(self.repo, {file.oid for file in files})
        return [Sample(file.path, contents[file.oid]) for file in files]


def _files(files: Iterable[File | None]) -> list[File]:
    return [file for file in files if file is not None and file.mode != GITLINK]


def _size(files: Iterable[File], headers: Mapping[str, Header]) -> int:
    return sum(headers[file.oid].size for file in files)


def _touched(
    change: Change, after: File, headers: Mapping[str, Header], targets: Mapping[str, bytes]
) -> Touched:
    header = headers.get(after.oid)
    return Touched(
        path=change.path,
        mode=after.mode,
        size=header.size if header else 0,  # a submodule's commit is elsewhere
        target=targets.get(after.oid, b"/").decode("utf-8", "surrogateescape"),
        is_new=change.before is None,
        differs=change.before is None or change.before.oid != after.oid,
    )


def _new(hits: Sequence[Hit], first_old: int, gone: set[str]) -> list[Hit]:
    """Return the hits that were not in the same file before, nor in one that the work moved."""
    known = by_path(hit for hit in hits if hit.sample >= first_old)
    moved = {one for path in gone for one in known.get(path, ())}
    return [
        hit
        for hit in hits
        if hit.sample < first_old
        and (hit.secret.rule, hit.digest) not in known.get(hit.secret.path, set()) | moved
    ]


def _told(secrets: Sequence[Secret]) -> str:
    if not secrets:
        return ""
    lines = [f"- {one.path}:{one.line} ({one.rule})" for one in secrets[:_SHOWN]]
    if len(secrets) > _SHOWN:
        lines.append(f"- and {len(secrets) - _SHOWN} more")
    return (
        "The work holds what looks like secrets:\n" + "\n".join(lines) + "\nTake them out: read"
        " them from the environment. If one is a made-up value for a test, put it together when the"
        " test runs, or say at the end that the user may allow its path, with secrets_allowed under"
        f" [containment] in {FILE}."
    )
