"""Start, bound and stop programs: the one door to other processes.

Two kinds are started. `run` is for git: short, trusted, its output wanted whole. `run_guarded` is
for agents and checks: untrusted in what they leave behind, so a guard takes their whole tree down
with them. Both inherit the lease, an open lock by which the next coordinator can tell whether
anything that a killed one started is still alive.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import psutil

from auto_build.errors import EnvironmentUnfit

RUN_LIMIT_S: Final = 600.0
_STOP_S: Final = 5.0
_READ: Final = 65536
_GLANCE_S: Final = 0.5
_MARKS: Final = frozenset(
    {
        "AUTO_BUILD_SPEC",
        "AUTO_BUILD_CHUNK",
        "AUTO_BUILD_ATTEMPT",
        "AUTO_BUILD_WORKER",
        "GIT_CEILING_DIRECTORIES",
    }
)
LINE_LIMIT: Final = 16 * 1024 * 1024  # bytes of one line of a program that is talked with
_TAIL: Final = 4_000
LOG_LIMIT: Final = 16 * 1024 * 1024  # bytes of one program's output that are kept in its log
_GUARD: Final = str(Path(__file__).with_name("guard.py"))


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended by itself: its exit code and what it printed."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Exit:
    """A guarded program's end.

    `code` is None where it was stopped at its time limit. `tail` is the end of what it printed
    (both streams, as they came), at most `tail_limit` characters; `cut` says that there was more.
    """

    code: int | None
    tail: str
    cut: bool
    seconds: float


class CommandFailed(EnvironmentUnfit):
    """A program that must work did not; the fact holds its own words."""


@dataclass(frozen=True, slots=True)
class Processes:
    """Starts programs that carry the lease `lease`, an open file descriptor, if there is one."""

    lease: int | None = None

    async def run(
        self,
        *argv: str,
        cwd: Path,
        env: Mapping[str, str],
        ok: Sequence[int] = (0,),
        stdin: str | None = None,
        limit_s: float = RUN_LIMIT_S,
        called: str = "",
    ) -> Finished:
        """Run a short program to its end and return what it printed.

        `called` is what an error calls it; its whole command line unless given.

        Raises:
            CommandFailed: it cannot be started, ended with a code not in `ok`, or took longer than
                `limit_s` seconds.
        """
        named = called or " ".join(argv)
        try:
            started = await asyncio.create_subprocess_exec(  # noqa: TID251 - this is the door
                *argv,
                cwd=cwd,
                env=dict(env),
                stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=self._inherited(),
            )
        except OSError as error:
            raise CommandFailed(
                f"{argv[0]} cannot be started in {cwd}: {error.strerror}"
            ) from error
        given = None if stdin is None else stdin.encode("utf-8", "surrogateescape")
        try:
            async with asyncio.timeout(limit_s):
                out, err = await started.communicate(given)
        except TimeoutError as error:
            raise CommandFailed(f"{named} took longer than {limit_s:.0f} s") from error
        finally:
            await _end(started)
        done = Finished(started.returncode or 0, _decode(out), _decode(err))
        if done.code not in ok:
            raise CommandFailed(f"{named} failed ({done.code}): {done.stderr.strip()}")
        return done

    async def run_guarded(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        limit_s: float,
        tail_limit: int,
        grace_s: float = 5.0,
        stdin: str = "",
        log: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Exit:
        """Run a program under guard, bounded in time and output, and leave nothing of it behind.

        Args:
            argv: the program and its arguments.
            cwd: where it runs.
            env: its whole environment.
            limit_s: seconds after which it is stopped.
            tail_limit: characters of output that are returned.
            grace_s: seconds between being asked to end and being killed.
            stdin: what it reads.
            log: where its output is appended, up to `LOG_LIMIT` bytes.
            on_line: called with each whole line as it comes.
        """
        started, control = await self._guard(
            argv, cwd, env, grace_s, stderr=asyncio.subprocess.STDOUT
        )
        sink = _Sink(log, tail_limit, on_line)
        return await _attend(started, control, sink, stdin, limit_s, grace_s, _marks_in(env))

    async def open_guarded(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: Path | None = None,
        grace_s: float = 5.0,
    ) -> "Piped":
        """Start a program under guard to talk with it over its standard streams.

        Whoever opens it must `end` it. What it writes to standard error is appended to `log`, up to
        `LOG_LIMIT` bytes; a line on standard output may have `LINE_LIMIT` bytes.
        """
        started, control = await self._guard(
            argv, cwd, env, grace_s, stderr=asyncio.subprocess.PIPE
        )
        return Piped(started, control, _Sink(log, _TAIL, None), grace_s, _marks_in(env))

    async def _guard(
        self,
        argv: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        grace_s: float,
        *,
        stderr: int,
    ) -> tuple[asyncio.subprocess.Process, int]:
        """Start a guard with a program; return it, and the pipe whose closing stops them."""
        control_read, control_write = os.pipe()
        guard = (sys.executable, "-I", "-S", _GUARD, str(control_read), str(grace_s))
        try:
            started = await asyncio.create_subprocess_exec(  # noqa: TID251 - this is the door
                *guard,
                *argv,
                cwd=cwd,
                env=dict(env),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                limit=LINE_LIMIT,
                pass_fds=(control_read, *self._inherited()),
            )
        except OSError as error:
            os.close(control_write)
            raise CommandFailed(f"nothing can be started in {cwd}: {error.strerror}") from error
        except BaseException:
            os.close(control_write)
            raise
        finally:
            os.close(control_read)
        return started, control_write

    def _inherited(self) -> tuple[int, ...]:
        return () if self.lease is None else (self.lease,)


class Piped:
    """A guarded program that is talked with; nothing of it is left when `end` has returned."""

    def __init__(
        self,
        started: asyncio.subprocess.Process,
        control: int,
        errors: "_Sink",
        grace_s: float,
        marks: Mapping[str, str],
    ) -> None:
        if started.stdin is None or started.stdout is None:
            raise AssertionError("a guarded program was started without pipes")
        self.stdin = started.stdin
        self.stdout = started.stdout
        self._started = started
        self._control: int | None = control
        self._errors = errors
        self._grace_s = grace_s
        self._marks = marks
        self._draining = asyncio.create_task(errors.drain(started.stderr))

    @property
    def pid(self) -> int:
        """The guard's process id."""
        return self._started.pid

    @property
    def errors(self) -> str:
        """The end of what it wrote to standard error."""
        return self._errors.tail

    async def write(self, text: str) -> None:
        """Write to its standard input; a program that is gone takes nothing."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.stdin.write(text.encode())
            await self.stdin.drain()

    async def wait(self) -> int:
        """Wait until it has ended by itself and return its exit code (128 + n for signal n).

        Negative where its guard was killed; `end` then ends the program.
        """
        return await self._started.wait()

    async def end(self) -> int:
        """Stop it with everything that it started, and return its exit code; twice does no harm."""
        if self._control is not None:
            os.close(self._control)
            self._control = None
            self.stdin.close()
            await asyncio.shield(_end(self._started, self._grace_s + 15.0))
            if (self._started.returncode or 0) < 0:
                await asyncio.to_thread(end_marked, self._marks)
            await asyncio.wait({self._draining}, timeout=_STOP_S)
            self._draining.cancel()
            self._errors.close()
        return self._started.returncode or 0


def _marks_in(env: Mapping[str, str]) -> dict[str, str]:
    """Return what tells a program's processes from others, where its environment has that."""
    return {name: env[name] for name in _MARKS} if env.keys() >= _MARKS else {}


async def _attend(
    started: asyncio.subprocess.Process,
    control: int,
    sink: "_Sink",
    stdin: str,
    limit_s: float,
    grace_s: float,
    marks: Mapping[str, str],
) -> Exit:
    """See a guarded program to its end; closing `control` is what stops it."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    code: int | None = None
    open_control = True
    talking = asyncio.gather(_feed(started, stdin), sink.drain(started.stdout))
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                code = await _guard_end(started, talking)
        os.close(control)
        open_control = False
        if code is not None and code < 0:
            await asyncio.to_thread(end_marked, marks)
        async with asyncio.timeout(grace_s + 15.0):
            await talking
            await started.wait()
    finally:
        if open_control:
            os.close(control)
        talking.add_done_callback(_forget)
        talking.cancel()
        try:
            await asyncio.shield(_end(started, grace_s + 15.0))
        finally:  # also where whoever waits is cancelled once more
            sink.close()
    return Exit(code, sink.tail, sink.cut, clock() - begun)


def _forget(talking: "asyncio.Future[tuple[None, None]]") -> None:
    """Take note of how it ended, which nobody wants to know any more."""
    if not talking.cancelled():
        talking.exception()


async def _guard_end(
    started: asyncio.subprocess.Process, talking: "asyncio.Future[tuple[None, None]]"
) -> int:
    """Return the guard's exit code; negative where it was killed and its program runs on."""
    while not talking.done() and started.returncode is None:
        await asyncio.wait({talking}, timeout=_GLANCE_S)
    if talking.done():
        talking.result()
        return await started.wait()
    return started.returncode or 0


def end_marked(marks: Mapping[str, str]) -> int:
    """End every process whose environment has all of `marks`; return how many there were.

    This finds what a guard had in its care when somebody killed the guard itself.
    """
    found = _marked(marks)
    for end in (psutil.Process.terminate, psutil.Process.kill):
        left = _marked(marks)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                end(process)
        psutil.wait_procs(left, _STOP_S)
    return len(found)


def _marked(marks: Mapping[str, str]) -> list[psutil.Process]:
    """Return the processes with all of `marks`, ourselves and whoever started us excepted."""
    if not marks:
        return []
    me = psutil.Process()
    spared = {me.pid, *(parent.pid for parent in me.parents())}
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # gone meanwhile, or not ours to look into
            env = process.environ()
            if process.pid not in spared and marks.items() <= env.items():
                found.append(process)
    return found


async def _feed(started: asyncio.subprocess.Process, text: str) -> None:
    if started.stdin is None:
        return
    with suppress(BrokenPipeError, ConnectionResetError):  # it need not read what it is given
        started.stdin.write(text.encode())
        await started.stdin.drain()
    started.stdin.close()


async def _end(started: asyncio.subprocess.Process, wait_s: float = 0.0) -> None:
    """Make sure that a process is gone, by signals if it does not go by itself in `wait_s`.

    It is called in tasks that are being cancelled, where `asyncio.timeout` cannot be relied on: the
    first releases of Python 3.11 take its own cancellation for the task's.
    """
    if started.returncode is not None:
        return
    gone = asyncio.ensure_future(started.wait())
    for ask, patience in ((None, wait_s), (started.terminate, _STOP_S), (started.kill, _STOP_S)):
        if ask is not None and not gone.done():
            with suppress(ProcessLookupError):
                ask()
        await asyncio.wait({gone}, timeout=patience)
    gone.cancel()


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


class _Sink:
    """Takes a program's output: the whole into a bounded log, its end into memory."""

    def __init__(
        self, log: Path | None, tail_limit: int, on_line: Callable[[str], None] | None
    ) -> None:
        self._file: IO[bytes] | None = log.open("ab") if log else None
        self._room = LOG_LIMIT
        self._limit = tail_limit
        self._on_line = on_line
        self._line = bytearray()
        self._tail = bytearray()
        self.cut = False

    @property
    def tail(self) -> str:
        return bytes(self._tail).decode("utf-8", "replace")[-self._limit :]

    async def drain(self, stream: asyncio.StreamReader | None) -> None:
        while stream is not None and (data := await stream.read(_READ)):
            self._take(data)

    def _take(self, data: bytes) -> None:
        self._tail += data
        if len(self._tail) > 4 * self._limit:
            del self._tail[: -4 * self._limit]
            self.cut = True
        if self._file and self._room > 0:
            self._file.write(data[: self._room])
            self._file.flush()
            self._room -= len(data)
        if self._on_line:
            *ends, rest = data.split(b"\n")
            for end in ends:
                self._hold(end)
                self._on_line(self._whole_line().rstrip("\r"))
            self._hold(rest)

    def _hold(self, piece: bytes) -> None:
        """Keep a piece of the line that is coming in; what is beyond `LINE_LIMIT` is left out."""
        self._line += piece[: LINE_LIMIT - len(self._line)]

    def _whole_line(self) -> str:
        line = self._line.decode("utf-8", "replace")
        self._line.clear()
        return line

    def close(self) -> None:
        if self._on_line and self._line:
            self._on_line(self._whole_line())
        if self._file:
            self._file.close()
