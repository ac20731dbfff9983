"""Services of a build, started in a worker slot and gone when whoever needed them is done.

Each runs behind the guard, as checks do. One that dies, or is never ready, is told with the end of
what it printed; those that need it are then not tried.
"""

import asyncio
import shutil
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from auto_build.core.acceptance import ItemState
from auto_build.ports import is_free
from auto_build.process import CommandFailed, Exit, Processes
from auto_build.settings import FILE, ServiceSettings
from auto_build.tryout.addresses import Address
from auto_build.tryout.http import Answer, Question, ask
from auto_build.tryout.outcome import TAIL, Outcome

HOST: Final = "localhost"  # both 127.0.0.1 and ::1: servers listen on either
_PROBE_S: Final = 5.0  # seconds that one try may take
_PAUSE_S: Final = 0.1  # between two tries
_SLACK_S: Final = 60.0  # how much longer one may run than there is time, before it is stopped
_LINES: Final = 200
_LINE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where services run: in a folder, with an environment; `logs` is where their output goes.

    All is to be over when the loop's clock says `until`, in seconds.
    """

    processes: Processes
    folder: Path
    env: Mapping[str, str]
    until: float
    logs: Path


@dataclass(slots=True)
class Service:
    """One service, with its port; `problem` says why it cannot be asked."""

    settings: ServiceSettings
    port: int
    task: "asyncio.Task[Exit] | None" = None
    ready_s: float = 0.0
    problem: Outcome | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))

    @property
    def name(self) -> str:
        """What it is called."""
        return self.settings.name

    @property
    def url(self) -> str:
        """Its own address."""
        return f"http://{HOST}:{self.port}"

    @property
    def address(self) -> Address:
        """Its own address, and the URLs that it stands for."""
        return Address(self.name, self.url, self.settings.replaces)

    @property
    def output(self) -> str:
        """The end of what it printed."""
        return "\n".join(self.lines)[-TAIL:]

    def outcome(self) -> Outcome:
        """Return how it stands now."""
        if self.problem:
            return self.problem
        if self.task is not None and self.task.done():
            how = _in_words(self.task)
            return Outcome(ItemState.FAILED, f"{how} while it was tried out", self.output)
        note = f"ready at {self.url} after {self.ready_s:.1f} s"
        return Outcome(ItemState.PASSED, note, seconds=self.ready_s)


@asynccontextmanager
async def serving(services: Sequence[Service], stand: Stand) -> AsyncIterator[None]:
    """Start services one after the other, and end all of them afterwards, however it goes.

    After one that did not get ready none is started: they may need each other.
    """
    try:
        for service in services:
            if failed := next((one for one in services if one.problem), None):
                why = f"not started: service {failed.name} is not ready"
                service.problem = Outcome(ItemState.UNVERIFIED, why)
            else:
                await _start(service, stand)
        yield
    finally:
        await _end([one.task for one in services if one.task is not None])


async def _start(service: Service, stand: Stand) -> None:
    """Start a service and wait until it is ready, or has a problem."""
    if not is_free(service.port):
        note = (
            f"port {service.port} is taken by another program: set first_port under [workspace]"
            f" in {FILE}, or end that program"
        )
        service.problem = Outcome(ItemState.UNVERIFIED, note)
        return
    clock = asyncio.get_running_loop().time
    begun = clock()
    left_s = max(stand.until - begun, 0.0)
    service.task = asyncio.create_task(_run(service, stand, left_s + _SLACK_S))
    limit_s = min(service.settings.ready_timeout_s, left_s)
    while not service.task.done():
        if await _is_ready(service):
            service.ready_s = clock() - begun
            return
        if clock() - begun >= limit_s:
            note = f"not ready within {limit_s:g} s ({_probe_of(service)})"
            cut = limit_s < service.settings.ready_timeout_s
            state = ItemState.UNVERIFIED if cut else ItemState.FAILED
            service.problem = Outcome(state, note, service.output)
            return
        await asyncio.wait({service.task}, timeout=_PAUSE_S)
    note = f"{_in_words(service.task)} before it was ready"
    service.problem = Outcome(ItemState.FAILED, note, service.output)


async def _run(service: Service, stand: Stand, limit_s: float) -> Exit:
    return await stand.processes.run_guarded(
        (shutil.which("bash") or "sh", "-c", _filled(service.settings.command, service)),
        cwd=stand.folder,
        env={**stand.env, "PORT": str(service.port)},
        limit_s=limit_s,
        tail_limit=TAIL,
        log=stand.logs / f"service-{service.name}.log",
        on_line=lambda line: service.lines.append(line[:_LINE]),
    )


def _filled(text: str, service: Service) -> str:
    return text.replace("{port}", str(service.port))


def _probe_of(service: Service) -> str:
    ready = service.settings.ready
    if ready == "tcp":
        return f"tcp {service.port}"
    return service.url + ready if ready.startswith("/") else _filled(ready, service)


async def _is_ready(service: Service) -> bool:
    """Say whether a service answers its probe; anything below 500 is an answer."""
    if service.settings.ready != "tcp":
        answer = await ask(Question("GET", _probe_of(service)), limit_s=_PROBE_S)
        return isinstance(answer, Answer) and answer.status < 500
    try:
        async with asyncio.timeout(_PROBE_S):
            _, writer = await asyncio.open_connection(HOST, service.port)
    except OSError:  # refused, or no answer in time
        return False
    writer.close()
    with suppress(OSError):  # it may hang up first
        await writer.wait_closed()
    return True


def _in_words(task: "asyncio.Task[Exit]") -> str:
    """Say how a service ended by itself."""
    if task.cancelled() or task.exception() is not None:
        return "could not be run" if task.cancelled() else f"could not be run ({task.exception()})"
    code = task.result().code
    return "stopped at its time limit" if code is None else f"ended with exit code {code}"


async def _end(tasks: Sequence["asyncio.Task[Exit]"]) -> None:
    """Stop what still runs; that a service could not be run has been told."""
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception) and not isinstance(ended, CommandFailed):
            raise ended
