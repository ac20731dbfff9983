"""What Claude's sandbox leaves in a worktree when its program is killed, and how it goes away.

While a command runs in it, the sandbox on Linux puts empty files in the place of settings that the
command must not write (`.gitconfig`, `.mcp.json`, `.claude/settings.json` and others). The program
removes them; a program that is killed does not, and they would become part of the agent's work.
They are told from files of the project by that nobody may write them: git checks nothing out so.
"""

import stat
from pathlib import Path
from typing import Final

_ONLY_READ: Final = 0o444


def remove_placeholders(worktree: Path) -> None:
    """Remove the sandbox's empty files from a worktree in which nothing runs any more."""
    for folder in (worktree, worktree / ".claude"):
        for path in folder.iterdir() if folder.is_dir() else ():
            if _is_placeholder(path):
                path.unlink(missing_ok=True)


def _is_placeholder(path: Path) -> bool:
    try:
        seen = path.lstat()
    except FileNotFoundError:
        return False
    plain = stat.S_ISREG(seen.st_mode) and stat.S_IMODE(seen.st_mode) == _ONLY_READ
    return plain and seen.st_size == 0
