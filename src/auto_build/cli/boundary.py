"""The one boundary where errors become words and exit codes."""

import errno
from collections.abc import Sequence
from typing import Final

import click

from auto_build.cli.output import prepare_streams, show_error, silence_stdout
from auto_build.errors import (
    EXIT_INTERRUPTED,
    EXIT_UNFIT,
    EXIT_USAGE,
    AutoBuildError,
    EnvironmentUnfit,
)

# what the world does to a program that did nothing wrong: anything else is a bug, and shows as one
_WORLD: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


def invoke(command: click.Command, argv: Sequence[str]) -> int:
    """Run a command and return its exit code; expected errors are printed, bugs are not caught."""
    prepare_streams()
    as_json = "--json" in argv
    try:
        code: int | None = command.main(args=list(argv), standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as wrong:
        wrong.show()
        return EXIT_USAGE
    except AutoBuildError as error:
        show_error(error, as_json=as_json)
        return error.exit_code
    except BrokenPipeError:  # whoever read the output has seen enough
        silence_stdout()
        return 0
    except OSError as error:
        if error.errno not in _WORLD:
            raise
        show_error(_in_words(error), as_json=as_json)
        return EXIT_UNFIT
    return code or 0


def _in_words(error: OSError) -> AutoBuildError:
    where = f"{error.filename}: " if error.filename else ""
    return EnvironmentUnfit(
        f"{where}{error.strerror}",
        hint="see that the disk has space left and that the place can be written; what was done is"
        " kept, run the same command again afterwards",
    )
