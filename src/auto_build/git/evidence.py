"""Where the evidence of a build is kept: notes, pins of landings, where staging's line began.

Invariant: nothing here touches a worktree, the user's settings or his own notes. What it all means
is decided in `auto_build.core.evidence`; here it is written and read.
"""

from collections.abc import Iterable, Mapping, Set
from typing import Final

from auto_build.core.evidence import SPEC_TRAILER, SQUASHED_TRAILER, Evidence, Signed
from auto_build.errors import StagingMoved
from auto_build.git.landing import pins_of
from auto_build.git.parse import LINE_FORMAT, Commit, File, parse_line
from auto_build.git.repo import Repo, ref_part

NOTES: Final = "refs/auto-build/notes"
LANDED: Final = "refs/auto-build/landed"
BASES: Final = "refs/auto-build/bases"
_TRIES: Final = 5  # at a ref that somebody else moves at the same time
_NOBODY: Final = Commit("")  # the value of a ref that is not there


def notes_of(spec: str) -> str:
    """Return the ref of a build's notes; `git show REF:COMMIT` shows one."""
    return f"{NOTES}/{ref_part(spec)}"


def landed_of(spec: str, chunk: str) -> str:
    """Return the ref that names where a chunk landed last."""
    return f"{LANDED}/{ref_part(spec)}/{ref_part(chunk)}"


def base_of(spec: str) -> str:
    """Return the ref that names where staging's own line began."""
    return f"{BASES}/{ref_part(spec)}"


# --- writing -------------------------------------------------------------------------------------


async def keep_notes(repo: Repo, spec: str, notes: Mapping[Commit, str]) -> None:
    """Write notes on commits, in one step, in place of what was noted there.

    Raises:
        StagingMoved: somebody else goes on moving the ref of the notes.
    """
    blobs: dict[str, str] = {
        commit: (await repo.git("hash-object", "-w", "--stdin", stdin=text)).stdout.strip()
        for commit, text in notes.items()
    }
    ref = notes_of(spec)
    for _ in range(_TRIES):
        old = await repo.find_commit(ref)
        kept = {file.path.replace("/", ""): file.oid for file in await _files(repo, old)}
        lines = (f"100644 blob {oid}\t{name}\0" for name, oid in {**kept, **blobs}.items())
        tree = await repo.make_tree("".join(lines))
        new = await repo.commit_tree(tree, [old] if old else [], "Evidence\n")
        if await repo.swap_ref(ref, new, old or _NOBODY, "auto-build: evidence"):
            return
    raise StagingMoved(f"{ref} is being moved by somebody else")


async def pin_landed(repo: Repo, spec: str, chunk: str, commit: Commit) -> None:
    """Let a chunk's pin name the commit with which it landed."""
    await repo.create_ref(landed_of(spec, chunk), commit)


async def mend_pins(repo: Repo, spec: str, landed: Iterable[tuple[str, Commit]]) -> None:
    """Make pins of landings that a coordinator did not come to, as one that was killed.

    What git has let go of, as after a squash whose pins were cleaned, is not pinned any more.
    """
    there = await repo.refs(f"{LANDED}/{ref_part(spec)}/")
    for chunk, commit in landed:
        if there.get(landed_of(spec, chunk)) != commit and await repo.has_object(commit):
            await pin_landed(repo, spec, chunk, commit)


async def forget_line(repo: Repo, spec: str) -> None:
    """Forget where chunks landed and where the line began: the build is thrown away."""
    for prefix in (f"{LANDED}/{ref_part(spec)}/", base_of(spec)):
        for ref, commit in (await repo.refs(prefix)).items():
            await repo.delete_ref(ref, commit)


# --- reading -------------------------------------------------------------------------------------


async def read_signed(repo: Repo, spec: str, head: Commit) -> tuple[Signed, ...]:
    """Return the landings, undos and redos of a spec that `head` contains, newest first.

    What a squash in it became of is contained too, as long as git keeps it.
    """
    squashed = await find_squashed(repo, spec, head)
    done = await repo.git(
        "log",
        LINE_FORMAT,
        "--topo-order",
        "--fixed-strings",
        f"--grep={SPEC_TRAILER}: {spec}",
        "--end-of-options",
        head,
        *squashed,
    )
    found = parse_line(done.stdout)
    return tuple(one for one in found if one.spec == spec and (one.chunk or one.undo))


async def find_squashed(repo: Repo, spec: str, head: Commit) -> tuple[Commit, ...]:
    """Return what of a build came into `head` as one commit: its staging, which git still keeps."""
    trailers = (f"%(trailers:key={key},valueonly)" for key in (SPEC_TRAILER, SQUASHED_TRAILER))
    done = await repo.git(
        *("log", f"--format={'%x00'.join(trailers)}%x00", "--fixed-strings", "--all-match"),
        *(f"--grep={SPEC_TRAILER}: {spec}", f"--grep={SQUASHED_TRAILER}: "),
        *("--end-of-options", head),
    )
    fields = [field.strip() for field in done.stdout.split("\0")]
    named = [oid for name, oid in zip(fields[::2], fields[1::2], strict=False) if name == spec]
    return tuple([Commit(oid) for oid in named if oid and await repo.has_object(oid)])


async def holds(repo: Repo, spec: str, head: Commit, commit: Commit) -> bool:
    """Say whether `head` contains a commit of a build, itself or squashed."""
    if await repo.is_ancestor(commit, head):
        return True
    squashed = await find_squashed(repo, spec, head)
    return any([await repo.is_ancestor(commit, one) for one in squashed])


async def read_trailers(repo: Repo, commit: Commit) -> Signed:
    """Return a commit with what its trailers say."""
    done = await repo.git("log", LINE_FORMAT, "-1", "--end-of-options", commit)
    return parse_line(done.stdout)[0]


async def read_evidence(repo: Repo, spec: str, base: Commit, head: Commit) -> Evidence:
    """Return all that git keeps of a build whose line goes from `base` to `head`."""
    done = await repo.git(
        "log",
        LINE_FORMAT,
        "--first-parent",
        "--reverse",
        "--topo-order",
        "--end-of-options",
        f"{base}..{head}",
    )
    line = parse_line(done.stdout)
    landed = await _landed(repo, spec, line)
    below = [one for one in landed.values() if await repo.is_ancestor(one, base)]
    return Evidence(
        spec=spec,
        base_tree=await repo.tree_of(base),
        line=line,
        pinned=await _pinned(repo, spec, line),
        replays=frozenset([one.commit for one in line if await _is_replay(repo, one)]),
        landed=landed,
        below=frozenset(below),
        notes=await read_notes(repo, spec, {one.commit for one in line}),
    )


async def _landed(repo: Repo, spec: str, line: tuple[Signed, ...]) -> dict[str, Commit]:
    """Return what the pins of landings name, by chunk where its name is known."""
    names = {ref_part(one.chunk): one.chunk for one in line if one.chunk}
    pins = await repo.refs(f"{LANDED}/{ref_part(spec)}/")
    parts = {ref.rpartition("/")[2]: commit for ref, commit in pins.items()}
    return {names.get(part, part): commit for part, commit in parts.items()}


async def _pinned(repo: Repo, spec: str, line: tuple[Signed, ...]) -> dict[str, frozenset[str]]:
    """Return the works that are pinned for the attempt of each landing."""
    found: dict[tuple[str, str], set[str]] = {}
    for ref, commit in (await repo.refs(pins_of(spec))).items():
        *_, part, attempt = ref.split("/")
        found.setdefault((part, attempt.partition("-")[0]), set()).add(commit)
    return {
        one.commit: frozenset(found.get((ref_part(one.chunk), str(one.number)), ()))
        for one in line
        if one.chunk
    }


async def _is_replay(repo: Repo, one: Signed) -> bool:
    """Say whether a landing's second parent stands on its first and brings exactly its tree.

    A redo merges what the landing did that it brings back.
    """
    if len(one.parents) != 2 or one.work in one.parents:
        return False
    if one.redo:
        done = await repo.git("log", LINE_FORMAT, "-1", "--end-of-options", one.redo, ok=(0, 128))
        earlier = [(old.work, old.parents[1:]) for old in parse_line(done.stdout)]
        return earlier == [(one.work, one.parents[1:])]
    onto, brought = (Commit(parent) for parent in one.parents)
    same = await repo.tree_of(brought) == one.tree
    return same and await repo.is_ancestor(onto, brought)


async def read_notes(repo: Repo, spec: str, wanted: Set[str]) -> dict[str, str]:
    """Return the notes of commits, as texts, where there are any."""
    files = await _files(repo, await repo.find_commit(notes_of(spec)))
    named = {file.path.replace("/", ""): file.oid for file in files}
    return {name: await repo.content_of(oid) for name, oid in named.items() if name in wanted}


async def _files(repo: Repo, commit: Commit | None) -> tuple[File, ...]:
    return await repo.files(commit) if commit else ()
