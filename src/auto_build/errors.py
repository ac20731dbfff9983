"""What a user may see when something is wrong with the world: the fact, its data, the way out.

Each error is one sentence of fact, a `hint` that says what to do, and an exit code. Anything that
is not an `AutoBuildError` and reaches the command line is a bug of ours and shows as a crash.
"""

from typing import ClassVar, Final

EXIT_DONE: Final = 0
EXIT_UNFINISHED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNFIT: Final = 3
EXIT_LOCKED: Final = 4
EXIT_INTERRUPTED: Final = 130


class AutoBuildError(Exception):
    """A broken world, in words: `str(error)` is the fact, `error.hint` the way out."""

    exit_code: ClassVar[int] = EXIT_UNFIT
    hint: str = ""

    def __init__(self, fact: str, *, hint: str | None = None) -> None:
        super().__init__(fact)
        if hint is not None:
            self.hint = hint


class UsageProblem(AutoBuildError):
    """What was typed, or what a settings file says, cannot be used."""

    exit_code = EXIT_USAGE


class RepositoryUnfit(AutoBuildError):
    """The repository cannot be built in as it stands."""


class EnvironmentUnfit(AutoBuildError):
    """A program, a permission or space on the disk is missing."""


class RunLocked(AutoBuildError):
    """Another run holds this repository."""

    exit_code = EXIT_LOCKED


class StagingMoved(AutoBuildError):
    """Somebody else moved the staging branch while the gate held it."""

    hint = "run the same command again: it goes on from the branch as it is now"


class NotReady(AutoBuildError):
    """The build is not in the state that the command needs; nothing was changed."""

    exit_code = EXIT_UNFINISHED
