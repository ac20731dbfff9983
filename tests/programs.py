"""What is running, for tests that see to it that nothing is left."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil


def alive_in(folder: Path) -> list[psutil.Process]:
    """Return the programs that run in a folder; those that only wait to be reaped left out."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.cwd() == str(folder) and is_alive(process):
                found.append(process)
    return found


def wait_until_gone(processes: Sequence[psutil.Process], limit_s: float = 20.0) -> None:
    """Wait until none of these programs runs any more.

    Raises:
        AssertionError: one lives on.
    """
    limit = time.monotonic() + limit_s
    while alive := [process for process in processes if is_alive(process)]:
        assert time.monotonic() < limit, f"still alive: {alive}"
        time.sleep(0.02)


def is_alive(process: psutil.Process) -> bool:
    """Say whether a program still runs."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
