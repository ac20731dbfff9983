"""Tries what a plan asks of the finished build, item by item, on one commit.

Invariant: what is called passed was run on exactly that commit's tree, and every item comes back
with a result that says what was done about it, or why nothing could be.
"""

import asyncio
import shlex
import shutil
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from auto_build.core.acceptance import Item, ItemResult, ItemState
from auto_build.core.events import CheckResult
from auto_build.core.plan import ChunkId, VerificationKind
from auto_build.core.suite import Check
from auto_build.core.verdict import FEW, Standing
from auto_build.gate.trials import Notice, Trials
from auto_build.git.parse import Commit
from auto_build.policy.environment import Seat
from auto_build.settings import QaSettings
from auto_build.slots import SetUpFailed
from auto_build.tryout.addresses import Address, fill
from auto_build.tryout.api import try_request
from auto_build.tryout.browser import Browsing
from auto_build.tryout.outcome import Outcome
from auto_build.tryout.services import Service, Stand, serving

_LATE: Final = Outcome(
    ItemState.UNVERIFIED, "there was no time left for it ([qa] tryout_timeout_min)"
)
_NOT_FOUND: Final = 127  # what a shell says of a program that is not there
_BUILTIN: Final = frozenset({"cd", "test", "[", "[[", "export", "set", "source", ".", "exit", ":"})
_ENDS: Final = frozenset({"&&", "||", "|", ";", "&"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tryout:
    """Tries a build; `evidence` is where pictures of its pages go."""

    trials: Trials
    settings: QaSettings
    notice: Notice
    evidence: Path

    async def run(
        self, items: Sequence[Item], at: Commit, seat: Seat, standing: Mapping[str, Standing]
    ) -> tuple[ItemResult, ...]:
        """Try items on a commit's tree, and return what came of each, services first.

        Args:
            items: what is to be tried.
            at: the commit.
            seat: the slot in which it is tried; its ports are the services'.
            standing: how checks stood before any chunk: what failed then is held against nobody.
        """
        limit_s = self.settings.tryout_timeout_min * 60
        deadline = asyncio.get_running_loop().time() + limit_s  # by the loop's clock
        services = self._services(seat)
        addresses = tuple(service.address for service in services)
        checks = {item.id: _check_of(item, addresses) for item in items if item.command}
        needed = services if await self._needs_services(items, checks.values(), at) else ()
        found: dict[str, Outcome] = {}
        async with self._serving(needed, at, seat, deadline):
            missing = _missing(needed)
            if missing:
                found |= {item.id: missing for item in items if item.request or item.page}
            else:
                found |= await self._requests(items, addresses, deadline)
                found |= await self._pages(items, addresses, seat, deadline)
            for item in items:
                if item.command:
                    before = standing.get(Check(item.command, item.expected).key)
                    found[item.id] = await self._command(
                        checks[item.id], at, seat, before, missing, deadline
                    )
            ours = [_result_of(service) for service in needed]
        alone = not services
        tried = (found.get(item.id, _for_people(item)).of(item, alone=alone) for item in items)
        return (*ours, *tried)

    # --- services --------------------------------------------------------------------------------

    def _services(self, seat: Seat) -> tuple[Service, ...]:
        first = int(self.trials.slots.for_check(seat).get("AUTO_BUILD_PORT", 0))
        return tuple(Service(one, first + one.port) for one in self.settings.services)

    async def _needs_services(
        self, items: Sequence[Item], checks: Iterable[Check], at: Commit
    ) -> bool:
        """Say whether anything has to be run at all: what is known to be green needs nothing."""
        if any(item.request or item.page for item in items):
            return True
        for check in checks:
            if not await self.trials.known_green(check, at):
                return True
        return False

    @asynccontextmanager
    async def _serving(
        self, services: Sequence[Service], at: Commit, seat: Seat, deadline: float
    ) -> AsyncIterator[None]:
        folder = await self._folder(services, at, seat) if services else None
        if folder is None:
            yield
            return
        stand = Stand(
            processes=self.trials.repo.processes,
            folder=folder,
            env=self.trials.slots.for_check(seat),
            until=deadline,
            logs=self.trials.slots.logs,
        )
        self.notice(seat.chunk, "starting services: " + ", ".join(one.name for one in services))
        async with serving(services, stand):
            yield

    async def _folder(self, services: Sequence[Service], at: Commit, seat: Seat) -> Path | None:
        """Return the slot's worktree, set up; where that cannot be done no service is started."""
        try:
            return (await self.trials.slots.require(seat, at)).path
        except SetUpFailed as failed:
            services[0].problem = Outcome(ItemState.FAILED, failed.note, failed.output)
            for service in services[1:]:
                service.problem = Outcome(ItemState.UNVERIFIED, f"not started: {failed.note}")
            return None

    # --- items -----------------------------------------------------------------------------------

    async def _requests(
        self, items: Sequence[Item], services: Sequence[Address], deadline: float
    ) -> dict[str, Outcome]:
        clock = asyncio.get_running_loop().time
        found: dict[str, Outcome] = {}
        for item in items:
            if item.request is None:
                continue
            begun = clock()
            try:
                async with asyncio.timeout_at(deadline):
                    outcome = await try_request(item.request, services)
            except TimeoutError:
                outcome = _LATE
            found[item.id] = replace(outcome, seconds=clock() - begun)
        return found

    async def _pages(
        self, items: Sequence[Item], services: Sequence[Address], seat: Seat, deadline: float
    ) -> dict[str, Outcome]:
        pages = [item for item in items if item.page]
        left_s = deadline - asyncio.get_running_loop().time()
        if not pages or left_s <= 0:
            return {item.id: _LATE for item in pages}
        self.notice(seat.chunk, f"opening {len(pages)} page{'' if len(pages) == 1 else 's'}")
        browsing = Browsing(
            processes=self.trials.repo.processes,
            env=self.trials.slots.for_check(seat),
            evidence=self.evidence,
            browser=self.settings.browser,
        )
        return await browsing.try_pages(pages, services, limit_s=left_s)

    async def _command(
        self,
        check: Check,
        at: Commit,
        seat: Seat,
        before: Standing | None,
        missing: Outcome | None,
        deadline: float,
    ) -> Outcome:
        self.notice(seat.chunk, f"trying $ {check.command}")
        try:
            async with asyncio.timeout_at(deadline):
                result = await self.trials.examine(check, at, seat, before=before, runs=FEW)
        except TimeoutError:
            return _LATE
        path = self.trials.slots.for_check(seat).get("PATH", "")
        state, why = _judge(result, missing, path)
        note = f"$ {check.command}: {why or result.note or 'exit code 0'}"
        return Outcome(state, note, result.output, seconds=result.seconds)


def _check_of(item: Item, services: Sequence[Address]) -> Check:
    chunk = ChunkId(item.chunk) if item.chunk else None
    return Check(fill(item.command, services), item.expected, item.timeout_s, chunk)


def _judge(result: CheckResult, missing: Outcome | None, path: str) -> tuple[ItemState, str]:
    """Return how a command's verdict counts, and why where that is not the verdict's own note."""
    if result.passed and result.standing.green:
        return ItemState.PASSED, ""
    if result.passed:
        return ItemState.UNVERIFIED, f"red as before any chunk, not held against it: {result.note}"
    if missing:
        return ItemState.UNVERIFIED, f"red ({result.note}), but {missing.note}"
    if result.code == _NOT_FOUND and (program := _not_installed(result.command, path)):
        return ItemState.UNVERIFIED, f"{program} is not installed"
    return ItemState.FAILED, ""


def _not_installed(command: str, path: str) -> str:
    """Return the first program of a command line that the machine does not have, if one is so."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        return ""
    begins = True
    for word in words:
        if begins and "=" not in word:
            plain = not ({*"/$(){}"} & {*word}) and word not in _BUILTIN
            if plain and shutil.which(word, path=path) is None:
                return word
            begins = False
        begins = begins or word in _ENDS
    return ""


def _missing(services: Sequence[Service]) -> Outcome | None:
    """Return what is said of all that needs the services, where one of them is not ready."""
    for service in services:
        if service.problem:
            note = f"service {service.name} is not ready: {service.problem.note}"
            return Outcome(ItemState.UNVERIFIED, note)
    return None


def _result_of(service: Service) -> ItemResult:
    item = Item(
        id=f"service {service.name}",
        kind=VerificationKind.COMMAND,
        what=f"service {service.name}: $ {service.settings.command}",
    )
    return service.outcome().of(item)


def _for_people(item: Item) -> Outcome:
    return Outcome(ItemState.UNVERIFIED, f"for a person: {'; '.join(item.steps) or item.what}")
