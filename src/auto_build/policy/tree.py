"""What a work may not bring into a tree, whichever machine the tree is checked out on.

Invariant: only what a work adds or changes is judged. A name, a link or a file that was there
before is nobody's fault; what Windows cannot hold is no concern of this module.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

LINK: Final = "120000"
MOST_FILE_BYTES: Final = 50_000_000  # of a file, where nothing else was set
_MB: Final = 1_000_000
_SHOWN: Final = 10  # reasons that are told; the others are counted
_LONG: Final = 200  # characters of a link's target that are told
_IGNORED: Final = re.compile(  # code points that HFS+ leaves out when it compares names
    "[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]"
)
_GIT: Final = frozenset({".git", "git~1"})  # the second is its short name on FAT and NTFS
_MODULES: Final = re.compile(r"\.gitmodules|gitmod~[1-4]")


@dataclass(frozen=True, slots=True)
class Touched:
    """A path as a work leaves it: `size` bytes, or the `target` of a symbolic link.

    `is_new` says that the path was not there before, `differs` that its content is another.
    """

    path: str
    mode: str
    size: int
    target: str = ""
    is_new: bool = True
    differs: bool = True


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a path cannot be taken, in words that name it."""

    path: str
    words: str


def find_unfit(
    touched: Sequence[Touched], before: Iterable[str], gone: Iterable[str], *, most_bytes: int
) -> tuple[Unfit, ...]:
    """Return what a work brings that no tree may hold.

    Args:
        touched: what the work adds or changes.
        before: every path that was there.
        gone: those of them that the work removes.
        most_bytes: how large a file may be.
    """
    found: list[Unfit] = []
    for one in touched:
        words = _judge(one, most_bytes)
        if words:
            found.append(Unfit(one.path, words))
    new = [one.path for one in touched if one.is_new]
    return (*found, *_collisions(new, set(before), set(gone)))


def describe(unfit: Sequence[Unfit]) -> str:
    """Return the reasons in words, one a line; nothing where there are none."""
    lines = [f"- {one.words}" for one in unfit[:_SHOWN]]
    if len(unfit) > _SHOWN:
        lines.append(f"- and {len(unfit) - _SHOWN} more")
    return "\n".join(lines)


def too_large(path: str, size: int, most_bytes: int) -> str:
    """Return in words that a file is larger than it may be; nothing where it is not."""
    if size <= most_bytes:
        return ""
    return f"{path} has {size / _MB:.1f} MB, and a file may have {most_bytes / _MB:g} MB"


def _judge(one: Touched, most_bytes: int) -> str:
    if one.is_new and (words := _misnamed(one.path)):
        return words
    if one.mode == LINK:
        return _misled(one)
    return too_large(one.path, one.size, most_bytes) if one.differs else ""


# --- names ---------------------------------------------------------------------------------------


def is_git(name: str) -> bool:
    """Say whether some file system takes a name for `.git`."""
    return any(_plain(part) in _GIT for part in name.split("\\"))


def _plain(name: str) -> str:
    """Return a name as the least exact file system compares it."""
    stream = _IGNORED.sub("", name).partition(":")[0]
    return _folded(stream.rstrip(". ")) if stream.strip(".") else stream


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _misnamed(path: str) -> str:
    for part in path.split("/"):
        if part in {"", ".", ".."}:
            return f"{path!r} has a part that is no name of a file"
        if is_git(part):
            return f"{path!r} is taken for a path in .git on some file systems"
    return ""


def _prefixes(path: str) -> Iterator[str]:
    """Yield a path's folders, outermost first, and the path."""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
    yield path


def _collisions(new: Sequence[str], before: set[str], gone: set[str]) -> Iterator[Unfit]:
    """Yield the new paths that are the same as another one where case or accents do not count."""
    if not new:
        return
    was = {prefix for path in before for prefix in _prefixes(path)}
    stays = sorted((before - gone) | set(new))
    spelled: dict[str, set[str]] = {}
    for prefix in {prefix for path in stays for prefix in _prefixes(path)}:
        spelled.setdefault(_folded(prefix), set()).add(prefix)
    told: set[str] = set()
    for path in new:
        for prefix in _prefixes(path):
            others = spelled[_folded(prefix)] - {prefix}
            if prefix in was or not others or _folded(prefix) in told:
                continue
            told.add(_folded(prefix))
            yield Unfit(
                path, f"{prefix!r} and {min(others)!r} are one and the same on some file systems"
            )
            break


# --- symbolic links ------------------------------------------------------------------------------


def _misled(link: Touched) -> str:
    """Say what is wrong with a symbolic link; nothing where it stays in the tree."""
    name = link.path.rsplit("/", 1)[-1]
    if _MODULES.fullmatch(_plain(name)):
        return f"{link.path!r} is a symbolic link, where git reads which submodules there are"
    told = f"{link.path!r} is a symbolic link to {link.target[:_LONG]!r}"
    if link.target.startswith(("/", "~")) or "\0" in link.target:
        return f"{told}, which is not in the repository"
    folders = link.path.split("/")[:-1]
    entered = False  # a folder may be a link itself, and `..` leads elsewhere from there
    for part in link.target.split("/"):
        if part in {"", "."}:
            continue
        if part == "..":
            if entered or not folders:
                return f"{told}, which may lead out of the repository"
            folders.pop()
        elif is_git(part):
            return f"{told}, which leads into .git"
        else:
            entered = True
    return ""
