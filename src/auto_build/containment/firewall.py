"""The ref firewall: git of agents and checks writes no ref that the user shares with them.

Every program in a worker slot is given a folder of hooks through its environment, so that the
user's settings stay as they are. The hooks are one script, `hook.sh`: it refuses refs that are not
the slot's own, notes what touches other worktrees of the user's, and hands over to the user's own
hooks. It is there against mistakes; whoever means to get round it can.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from auto_build.errors import EnvironmentUnfit

# Those of githooks(5), but for three whose mere existence changes what git does: push-to-checkout
# (a push then updates files), proc-receive (it must speak a protocol), and fsmonitor-watchman
# (git is told of it by its path, and believes what it says about files).
HOOKS: Final = (
    "applypatch-msg",
    "commit-msg",
    "p4-changelist",
    "p4-post-changelist",
    "p4-pre-submit",
    "p4-prepare-changelist",
    "post-applypatch",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "post-merge",
    "post-receive",
    "post-rewrite",
    "post-update",
    "pre-applypatch",
    "pre-auto-gc",
    "pre-commit",
    "pre-merge-commit",
    "pre-push",
    "pre-rebase",
    "pre-receive",
    "prepare-commit-msg",
    "reference-transaction",
    "sendemail-validate",
    "update",
)
MOST_BYTES: Final = 1_100_000  # of evidence that is read; the hooks stop writing before that
_SCRIPT: Final = "hook.sh"
_COUNT: Final = "GIT_CONFIG_COUNT"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that a worker's git did where it should not: to which worktree's git folder.

    `hook` is the hook that noticed it. `detail` holds the hook's arguments; or the word "refused",
    and which ref it was about.
    """

    worker: int
    hook: str
    git_dir: str
    detail: str


@dataclass(frozen=True, slots=True)
class Firewall:
    """The hooks in `folder`, which guard the repository whose git folder is `common_dir`."""

    folder: Path
    common_dir: Path

    def write(self) -> None:
        """Write the hooks, each in one step; whatever else is in the folder goes.

        Each is a file of its own: tools that install a hook write over the one that git names.

        Raises:
            EnvironmentUnfit: they cannot be written.
        """
        script = files(__package__).joinpath(_SCRIPT).read_bytes()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.iterdir():
                if path.name not in HOOKS and not path.is_dir():
                    path.unlink()  # what an agent's tool took for the repository's hooks
            for name in HOOKS:
                _write(self.folder / name, script)
        except OSError as error:
            raise EnvironmentUnfit(
                f"the hooks for agents cannot be written to {self.folder}: {error.strerror}",
                hint="the repository must be writable and have space left on its disk",
            ) from error

    def environment(
        self, stated: Mapping[str, str], *, git_dir: Path, worker: int
    ) -> dict[str, str]:
        """Return an environment for a program in the slot whose own git folder is `git_dir`.

        What is configured by the environment already stays; ours comes last, and so it counts.
        """
        count = stated.get(_COUNT, "")
        entry = int(count) if count.isdecimal() else 0
        return {
            **stated,
            _COUNT: str(entry + 1),
            f"GIT_CONFIG_KEY_{entry}": "core.hooksPath",
            f"GIT_CONFIG_VALUE_{entry}": str(self.folder),
            "AUTO_BUILD_GIT_COMMON_DIR": str(self.common_dir),
            "AUTO_BUILD_GIT_DIR": str(git_dir),
            "AUTO_BUILD_WORKER": str(worker),
            "AUTO_BUILD_EVIDENCE": str(self._evidence),
        }

    def take_evidence(self) -> tuple[Evidence, ...]:
        """Return what was noted since the last time; nothing is lost to a git at work.

        The file is moved before it is read. One that was moved by a run that was killed before it
        read it is read as well.
        """
        taken = self._evidence.with_name(f"{self._evidence.name}.taken")
        noted = _read_away(taken)
        try:
            self._evidence.rename(taken)
        except FileNotFoundError:
            return noted
        return (*noted, *_read_away(taken))

    @property
    def _evidence(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}-evidence")


def _write(path: Path, script: bytes) -> None:
    """Put the script in a hook's place, whatever was there."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(script)
    fresh.chmod(0o755)
    fresh.replace(path)


def _read_away(path: Path) -> tuple[Evidence, ...]:
    """Read a file of evidence and remove it."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES)
        path.unlink()
    except FileNotFoundError:
        return ()
    lines = raw.decode("utf-8", "surrogateescape").split("\n")
    return tuple(one for line in lines if (one := _parse(line)) is not None)


def _parse(line: str) -> Evidence | None:
    """Return what a line says; None where it is none of our hook's."""
    match line.split("\t"):
        case [worker, hook, git_dir, detail] if worker.isdecimal() and hook in HOOKS:
            return Evidence(int(worker), hook, git_dir, detail)
        case _:
            return None
