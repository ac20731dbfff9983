"""Ports for worker slots: a block for each project, of which each slot has its own part."""

import hashlib
import os
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from auto_build.errors import EnvironmentUnfit
from auto_build.settings import FILE

_LOWEST: Final = 20_000
_HIGHEST: Final = 32_768  # where Linux begins to give out ports by itself


def is_free(port: int) -> bool:
    """Say whether a port can be listened on."""
    with closing(socket.socket()) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def first_port(project: Path, needed: int, is_free: Callable[[int], bool] = is_free) -> int:
    """Return where a project's block of `needed` ports begins.

    Projects begin at different places, so that several can be built on one machine; a block in
    which a port is in use is passed over.

    Raises:
        EnvironmentUnfit: no block is free.
    """
    if not needed:
        return 0
    blocks = tuple(range(_LOWEST, _HIGHEST - needed, needed))
    begin = int(hashlib.sha256(os.fsencode(project)).hexdigest(), 16) % len(blocks)
    for block in (*blocks[begin:], *blocks[:begin]):
        if all(is_free(block + offset) for offset in range(needed)):
            return block
    raise EnvironmentUnfit(
        f"no {needed} free ports in a row between {_LOWEST} and {_HIGHEST}",
        hint=f"lower ports under [workspace] in {FILE}, or set first_port there",
    )
