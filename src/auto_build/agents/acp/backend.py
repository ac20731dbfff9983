"""Any agent that speaks the Agent Client Protocol: one program per session, under our guard.

The protocol's package carries the JSON-RPC. What is in it is read by ourselves, leniently: agents
are ahead of the published schema in some things (the models that they offer) and behind in others,
and a field of theirs that is wrong must not break a build.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from acp import PROTOCOL_VERSION, RequestError
from acp.connection import Connection

from auto_build import settings
from auto_build.agents.acp.check import Look, find_problems
from auto_build.agents.acp.files import FileRefused
from auto_build.agents.acp.outcome import Report, judge, judge_exit, read_error
from auto_build.agents.acp.profiles import Profile, require_profile
from auto_build.agents.acp.reading import Json, Offer, as_map
from auto_build.agents.acp.session import (
    READY_S,
    AcpSession,
    Gone,
    NotKnown,
    Refused,
    Terms,
    place,
)
from auto_build.agents.acp.wire import Wire
from auto_build.agents.base import Abilities, Ended, Probe, Problem, SessionSpec, Stop
from auto_build.core.usage import Price
from auto_build.process import Processes


def build(name: str, chosen: settings.AcpAgent, processes: Processes) -> "AcpAgent":
    """Return the agent that the settings describe.

    Raises:
        UsageProblem: there is no such profile.
    """
    return AcpAgent(name, chosen, require_profile(chosen.profile, name), processes)


@dataclass(frozen=True, slots=True)
class AcpAgent:
    """Starts sessions of one agent; `clock` gives the seconds since the epoch."""

    name: str
    chosen: settings.AcpAgent
    profile: Profile
    processes: Processes
    clock: Callable[[], float] = time.time  # noqa: TID251 - to read "try again in 20s" by

    @property
    def abilities(self) -> Abilities:
        """What its profile says."""
        return Abilities(
            asks=self.profile.asks(self.chosen.mode),
            resumes=self.profile.resumes,
            steers=self.profile.steers,
            reports_cost=self.profile.reports_cost,
            memory_mb=self.profile.memory_mb,
        )

    async def check(self, probe: Probe) -> list[Problem]:
        """Return what keeps it from working: no program, no login, no such model or mode."""
        return await find_problems(
            self.name, self.chosen, self.profile, probe, self.processes, self._look
        )

    async def start(self, spec: SessionSpec) -> AcpSession:
        """Start the program, with the earlier conversation where it still has that."""
        session = await self._start(spec)
        if session.stuck_in_earlier:
            return await self._start(replace(spec, earlier=None))
        return session

    async def _start(self, spec: SessionSpec) -> AcpSession:
        session = AcpSession(self._terms, spec)
        link = await RpcLink.open(self, session, spec.cwd, spec.env, spec.model, spec.log)
        await session.open(link)
        return session

    @property
    def _terms(self) -> Terms:
        price = self.chosen.price
        return Terms(
            profile=self.profile,
            mode=self.chosen.mode,
            model_chosen=self.profile.chooses_model(self.chosen.argv),
            price=Price(**price.model_dump()) if price else None,
            clock=self.clock,
        )

    async def _look(self, probe: Probe) -> Look:
        """Start it once and ask for a conversation, in which nothing is said."""
        link = await RpcLink.open(self, None, probe.folder, probe.env, "", None)
        try:
            await link.introduce()
            return Look(Offer.read(await link.ask("session/new", place(probe.folder), READY_S)))
        except Refused as refused:
            return Look(Offer(), judge(Report(failure=refused.failure), now=self.clock()))
        except Gone as gone:
            return Look(Offer(), gone.ended)
        finally:
            await link.end()


class RpcLink:
    """A started agent, spoken with in JSON-RPC; `session` takes what it tells and asks."""

    def __init__(
        self, profile: Profile, program: str, wire: Wire, session: AcpSession | None
    ) -> None:
        self._profile = profile
        self._program = program
        self._wire = wire
        self._session = session
        self._rpc = Connection(self._take, wire)

    @classmethod
    async def open(
        cls,
        agent: AcpAgent,
        session: AcpSession | None,
        cwd: Path,
        env: Mapping[str, str],
        model: str,
        log: Path | None,
    ) -> "RpcLink":
        """Start the program of an agent."""
        argv = agent.profile.command(agent.chosen.argv, model)
        given = agent.profile.environment(env, agent.chosen.env, model)
        wire = await Wire.open(agent.processes, argv, cwd=cwd, env=given, log=log)
        return cls(agent.profile, Path(argv[0]).name, wire, session)

    async def introduce(self) -> Json:
        """Say who we are, and return what the agent says of itself."""
        told: Json = {
            "protocolVersion": PROTOCOL_VERSION,
            "clientCapabilities": {
                "fs": {"readTextFile": False, "writeTextFile": False},
                "terminal": False,
                "_meta": dict(self._profile.capabilities),
            },
            "clientInfo": {"name": "auto-build", "version": "1"},
        }
        return await self.ask("initialize", told, READY_S)

    async def ask(self, method: str, told: Json, limit_s: float | None) -> Json:
        """Return the answer to a request; see `acp_session.Link`."""
        try:
            async with asyncio.timeout(limit_s):
                return as_map(await self._rpc.send_request(method, told))
        except RequestError as error:
            raise Refused(read_error(error.code, str(error), error.data)) from error
        except TimeoutError as error:
            raise Gone(self._silent(method, limit_s or 0.0)) from error
        except ConnectionError as error:
            code = await self._wire.exit()
            raise Gone(judge_exit(self._program, code, self._wire.errors)) from error

    async def tell(self, method: str, told: Json) -> None:
        """Tell the agent something that is not answered; one that is gone hears nothing."""
        try:
            await self._rpc.send_notification(method, told)
        except ConnectionError:
            return

    async def end(self) -> None:
        """Stop the agent with everything that it started; twice does no harm."""
        try:
            await self._rpc.close()
        finally:
            await self._wire.end()

    def _silent(self, method: str, limit_s: float) -> Ended:
        tail = " ".join(self._wire.errors.split())[-400:]
        words = f"{self._program} did not answer {method} within {limit_s:.0f} s"
        return Ended(stop=Stop.ERROR, detail=f"{words}: {tail}" if tail else words)

    async def _take(self, method: str, told: Any, is_news: bool) -> Any:  # noqa: FBT001
        """Take what the agent sends, as the protocol's package hands it over."""
        if is_news:
            if self._session:
                self._session.hear(method, as_map(told))
            return None
        if self._session is None:
            raise RequestError.method_not_found(method)
        try:
            return self._session.answer(method, as_map(told))
        except NotKnown as error:
            raise RequestError.method_not_found(method) from error
        except FileRefused as refused:
            raise RequestError(-32603, str(refused)) from refused
