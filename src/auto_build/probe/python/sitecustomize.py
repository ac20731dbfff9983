# ruff: noqa: INP001, PTH100, PTH113, PTH117, PTH118, PTH120
# (a data file that runs in whatever Python a check starts, and must load nothing more there)
# mypy: allow-untyped-defs, allow-untyped-calls, allow-incomplete-defs
"""Notes which files of the user's checkout a Python program opens, for `auto_build.probe.loads`.

Python imports this file by itself where its folder is on PYTHONPATH. It writes the real path of
each file below AUTO_BUILD_PROBE_UNDER, but not below AUTO_BUILD_PROBE_EXCEPT (folders, separated as
in PATH), as a line of AUTO_BUILD_PROBE_LOG: once in each process, and only so many lines.

Invariant: the program does not notice. Nothing is printed, nothing is raised, the folder is taken
from `sys.path` again, and another sitecustomize that this one hides runs as if it were alone. Where
Python has no audit hooks (before 3.8) nothing is noted.
"""

import os
import sys

_PATHS = 20000  # paths that are remembered in one process; later ones are not looked at
_LINES = 2000  # lines of one process
_LOG_BYTES = 4 * 1024 * 1024  # of all processes together
_CACHE = os.sep + "__pycache__"
_THIRD_PARTY = os.sep + "site-packages" + os.sep  # so much that it would use up the lines
_OURS = os.path.realpath(__file__)


class _Notes(object):  # noqa: UP004 - for Python 2
    """What this process has opened. A fork goes on with a copy, and tells only what is new."""

    def __init__(self, log, under, apart):
        self.log, self.under, self.apart = log, _folders(under), _folders(apart)
        self.seen = {log}  # as they were given: writing the log must not be noted
        self.noted = {_OURS}  # real paths
        self.tag = "." + (sys.implementation.cache_tag or "cpython-")

    def hook(self, event, args):
        if event == "open":
            path = None if _only_writes(args[2]) else args[0]
        elif event == "import":
            path = args[1]  # of a compiled extension; `open` tells of all others
        elif event == "ctypes.dlopen":
            path = args[0]
        else:
            return
        try:
            self.note(path)
        except Exception:  # noqa: BLE001 - whatever fails here, the program must not see it
            return

    def note(self, path):
        if not isinstance(path, (str, bytes)) or path in self.seen or len(self.seen) > _PATHS:
            return
        path = os.fsdecode(path)
        if path.startswith(os.sep):
            self.seen.add(path)
        path = os.path.realpath(self.source(os.path.abspath(path)))
        if path not in self.noted and self.is_wanted(path) and len(self.noted) <= _LINES:
            self.noted.add(path)
            self.write(path + "\n")

    def source(self, path):
        """Return the source of a compiled file, and any other path as it is."""
        folder, name = os.path.split(path)
        stem, found, ending = name.partition(self.tag)
        if not found or not ending.endswith(".pyc"):
            return path
        if sys.pycache_prefix and folder.startswith(sys.pycache_prefix):
            folder = folder[len(sys.pycache_prefix) :]
        elif folder.endswith(_CACHE):
            folder = folder[: -len(_CACHE)]
        return os.path.join(folder, stem + ".py")

    def is_wanted(self, path):
        if not path.startswith(self.under) or path.startswith(self.apart) or _THIRD_PARTY in path:
            return False
        return "\n" not in path and os.path.isfile(path)

    def write(self, line):
        file = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.fstat(file).st_size < _LOG_BYTES:
                os.write(file, os.fsencode(line))
        finally:
            os.close(file)


def _folders(value):
    return tuple(folder.rstrip(os.sep) + os.sep for folder in value.split(os.pathsep) if folder)


def _only_writes(flags):
    return isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR) == os.O_WRONLY


def _begin():
    """Add the hook, and note what the .pth files of this Python had loaded before."""
    log, under = os.environ.get("AUTO_BUILD_PROBE_LOG"), os.environ.get("AUTO_BUILD_PROBE_UNDER")
    if log and under and hasattr(sys, "addaudithook"):
        notes = _Notes(log, under, os.environ.get("AUTO_BUILD_PROBE_EXCEPT", ""))
        sys.addaudithook(notes.hook)
        for module in list(sys.modules.values()):
            notes.hook("import", (None, getattr(module, "__file__", None)))


def _run_the_hidden_one():
    """Import the sitecustomize that Python would have imported without us, in our place."""
    ours = os.path.dirname(_OURS)
    sys.path[:] = [
        path for path in sys.path if not os.path.isabs(path) or os.path.realpath(path) != ours
    ]
    running = sys.modules.pop("sitecustomize", None)  # to be kept: Python 2 empties what is let go
    __import__("sitecustomize")  # the next one, or the same error as without us

    del running


try:  # noqa: SIM105 - contextlib would have to be loaded
    _begin()
except Exception:  # noqa: BLE001 - as above: the program must not see it
    pass
_run_the_hidden_one()
