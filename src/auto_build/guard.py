"""A small program that stands between the coordinator and each program it starts.

Run as `python guard.py CONTROL_FD GRACE_S PROGRAM ARGS...`. It runs the program in a session of its
own and takes the whole tree of its descendants along when the program ends or when the control
pipe closes, which it does also when the coordinator is killed. Its exit code is the program's
(128 + n for signal n, 127 where the program could not be started).

Invariant: when the guard has ended, nothing that the program started is left. On Linux the guard
adopts orphans, so that a double fork does not get away; elsewhere the tree is followed by parent.

A guard stands before each agent and each check, and what it loads is paid for each time. So it runs
without `site` (python -S) and `typing`, and what follows a tree is loaded only where there is one.
"""

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    import psutil

_SET_CHILD_SUBREAPER = 36
_NOT_STARTED = 127
_KILL_LIMIT_S = 10.0
_POLL_S = 0.02
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(argv: list[str]) -> int:
    """Run the program under guard and return its exit code."""
    control, grace_s, program = int(argv[1]), float(argv[2]), argv[3:]
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in _SIGNALS:
        signal.signal(number, _note)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = _spawn(program, control)
    code = _wait(child, control, wake_read)
    if sys.platform != "linux" or _has_children():
        _end_descendants(grace_s if code is None else 0.0)
    return 128 + signal.SIGTERM if code is None else code


def _note(number: int, _frame: object) -> None:
    if number != signal.SIGCHLD:
        _stopping.append(number)


_stopping: list[int] = []


def _spawn(program: list[str], control: int) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # none may meet our handlers in the child
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return child
    os.setsid()
    os.close(control)
    for number in (*_SIGNALS, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        os.execvp(program[0], program)
    except OSError as error:
        os.write(2, f"{program[0]}: {error.strerror}\n".encode())
        os._exit(_NOT_STARTED)


def _wait(child: int, control: int, wake: int) -> int | None:
    """Return the child's exit code, or None as soon as the coordinator lets go or is gone."""
    while True:
        code = _reap(child)
        if code is not None:
            return code
        ready, _, _ = select.select([control, wake], [], [])
        if control in ready or _stopping:
            return None
        os.read(wake, 512)


def _reap(child: int) -> int | None:
    found: int | None = None
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                found = code if code >= 0 else 128 - code
    return found


def _has_children() -> bool:
    """Say whether a child is left, which may be an orphan that was adopted."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _end_descendants(grace_s: float) -> None:
    """Ask every descendant to end, wait up to `grace_s` seconds, then kill what is left."""
    import_module("site").main()  # where psutil is
    processes = import_module("psutil")
    gone: type[Exception] = processes.Error
    me: psutil.Process = processes.Process()
    asked: set[psutil.Process] = set()
    limit = time.monotonic() + grace_s
    while time.monotonic() < limit and (left := _living(me)):
        for process in set(left) - asked:  # again and again: one that is asked may just have forked
            _signal(process.terminate, gone)
        asked.update(left)
        time.sleep(_POLL_S)
    limit = time.monotonic() + _KILL_LIMIT_S
    while (left := _living(me)) and time.monotonic() < limit:
        for process in left:
            _signal(process.kill, gone)
        time.sleep(_POLL_S)


def _signal(send: Callable[[], None], gone: type[Exception]) -> None:
    with suppress(gone):  # gone, or another user's: the others must end all the same
        send()


def _living(me: "psutil.Process") -> "list[psutil.Process]":
    _reap(0)
    return me.children(recursive=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
