"""The contents of objects, many at a time, and how large they are."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from auto_build.git.repo import Repo
from auto_build.process import CommandFailed

BLOB: Final = "blob"


@dataclass(frozen=True, slots=True)
class Header:
    """What git says of an object: its type, and how many bytes its content has."""

    kind: str
    size: int


async def load_headers(repo: Repo, oids: Iterable[str]) -> dict[str, Header]:
    """Return what objects are, by their ids.

    Raises:
        CommandFailed: one is not there.
    """
    asked = sorted(set(oids))
    if not asked:
        return {}
    done = await repo.git("cat-file", "--batch-check", stdin="".join(f"{oid}\n" for oid in asked))
    return dict(_parse_header(line) for line in done.stdout.splitlines())


async def load_contents(repo: Repo, oids: Iterable[str]) -> dict[str, bytes]:
    """Return the contents of objects by their ids; how much that is, the caller bounds.

    Raises:
        CommandFailed: one is not there.
    """
    asked = sorted(set(oids))
    if not asked:
        return {}
    done = await repo.git("cat-file", "--batch", stdin="".join(f"{oid}\n" for oid in asked))
    return _parse_batch(done.stdout.encode("utf-8", "surrogateescape"))  # sizes are in bytes


def _parse_batch(raw: bytes) -> dict[str, bytes]:
    """Read `cat-file --batch`: a line with id, type and size, the content, the end of a line."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(raw):
        start = raw.index(b"\n", at) + 1
        oid, header = _parse_header(raw[at : start - 1].decode())
        found[oid] = raw[start : start + header.size]
        at = start + header.size + 1
    return found


def _parse_header(line: str) -> tuple[str, Header]:
    match line.split(" "):
        case [oid, kind, size]:
            return oid, Header(kind, int(size))
        case _:
            raise CommandFailed(
                f"an object of the repository cannot be read: {line}",
                hint="git fsck tells what is broken",
            )
