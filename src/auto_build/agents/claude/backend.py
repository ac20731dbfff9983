"""Claude Code, through its SDK: one `claude` program per session, under our guard.

The SDK speaks the protocol; what it would do with processes is done by our own transport, which
starts the program with a stated environment and leaves nothing of it behind. Before a tool is used
the coordinator is asked, by a hook that cannot be passed by.

Invariant: a prompt's last event is `Ended`, and after it the program waits for the next prompt or
is gone.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import claude_agent_sdk as sdk

from auto_build import settings
from auto_build.agents.base import (
    Abilities,
    AgentEvent,
    Began,
    Denied,
    Doing,
    Ended,
    Probe,
    Problem,
    SessionSpec,
    Spent,
    Stop,
    Text,
)
from auto_build.agents.claude.check import find_problems, has_transcript
from auto_build.agents.claude.launch import (
    Conversation,
    arguments,
    environment,
    sandbox_of,
)
from auto_build.agents.claude.outcome import Report, judge, judge_exit
from auto_build.agents.claude.sandbox import remove_placeholders
from auto_build.agents.claude.tools import QUESTION, Place, Rules, is_change, request_of
from auto_build.agents.claude.usage import Meter, read_totals
from auto_build.agents.claude.wire import TOTALS, Wire
from auto_build.core.usage import Price, Usage
from auto_build.errors import AutoBuildError
from auto_build.process import Processes

# what it logs as errors comes to us as exceptions
logging.getLogger(sdk.__name__).addHandler(logging.NullHandler())

_BUNDLED: Final = Path(sdk.__file__).parent / "_bundled" / "claude"
_SAID: Final = 4_000  # characters of one saying that are passed on


def build(name: str, chosen: settings.ClaudeAgent, processes: Processes) -> "ClaudeAgent":
    """Return the agent that the settings describe."""
    return ClaudeAgent(name, chosen, processes)


@dataclass(frozen=True, slots=True)
class ClaudeAgent:
    """Starts Claude Code sessions; `clock` gives the seconds since the epoch."""

    name: str
    chosen: settings.ClaudeAgent
    processes: Processes
    clock: Callable[[], float] = time.time  # noqa: TID251 - to read "resets 4pm" by

    @property
    def program(self) -> str:
        """The program: the one that came with the SDK, unless another is named."""
        return self.chosen.program or (str(_BUNDLED) if _BUNDLED.is_file() else "claude")

    @property
    def price(self) -> Price | None:
        """The prices that stand over Claude's own, if there are any."""
        own = self.chosen.price
        return Price(**own.model_dump()) if own else None

    @property
    def abilities(self) -> Abilities:
        """All that there is."""
        return Abilities(asks=True, resumes=True, steers=True, reports_cost=True, memory_mb=250)

    async def check(self, probe: Probe) -> list[Problem]:
        """Return what keeps it from working: no program, no login, no such model, no sandbox."""
        return await find_problems(self.name, self.chosen, self.program, probe, self.processes)

    async def start(self, spec: SessionSpec) -> "ClaudeSession":
        """Start the program, with the earlier conversation where there still is one."""
        earlier = spec.earlier
        if earlier and has_transcript(earlier.session, spec.env):
            session = ClaudeSession(self, spec, Conversation(earlier.session, resumed=True))
            if await session.open():
                return session
        session = ClaudeSession(self, spec, Conversation(str(uuid4()), resumed=False))
        await session.open()
        return session


@dataclass(slots=True)
class _Turn:
    """What was seen of one prompt."""

    changing: set[str] = field(default_factory=set)  # tool calls that would change something
    changed: bool = False
    asked: bool = False
    error: str | None = None
    reset_at: float | None = None
    result: sdk.ResultMessage | None = None
    tells_state: bool = False
    idle: bool = False

    def note_results(self, blocks: list[sdk.ContentBlock]) -> None:
        """Note what became of tool calls; whoever goes on working has answered its own question."""
        done = {
            block.tool_use_id
            for block in blocks
            if isinstance(block, sdk.ToolResultBlock) and not block.is_error
        }
        if done & self.changing:
            self.changed, self.asked = True, False

    @property
    def over(self) -> bool:
        """Whether nothing more is to come: a result is no end while agents of the agent work."""
        return self.result is not None and (self.idle or not self.tells_state)


class ClaudeSession:
    """One conversation, in one program."""

    def __init__(self, agent: ClaudeAgent, spec: SessionSpec, conversation: Conversation) -> None:
        self._agent = agent
        self._spec = spec
        self._conversation = conversation
        self._place = Place(str(spec.cwd), spec.env.get("HOME", "/"))
        self._rules = Rules(agent.name, agent.chosen.allow, self._place)
        self._wire = _Transport(
            agent.processes,
            arguments(agent.program, agent.chosen, spec, conversation),
            cwd=spec.cwd,
            env=environment(spec.env),
            log=spec.log,
        )
        self._client = sdk.ClaudeSDKClient(self._options(), transport=self._wire)
        self._messages: AsyncIterator[sdk.Message] | None = None
        self._meter = Meter(Usage(), Usage())
        self._spent = Usage()
        self._ended: Ended | None = None  # the program is gone, and this is why
        self._turn: _Turn | None = None
        self._told: list[AgentEvent] = []
        self._closing: asyncio.Task[None] | None = None

    @property
    def resumed(self) -> bool:
        """Whether the earlier conversation goes on."""
        return self._conversation.resumed

    async def open(self) -> bool:
        """Start the program; say whether it is ready to take a prompt."""
        try:
            await self._client.connect()
            first = await self._wire.totals()
        except (AutoBuildError, asyncio.CancelledError):
            await self.close()
            raise
        except Exception as error:  # noqa: BLE001 - the SDK raises bare ones when asked in vain
            self._ended = await self._gone(error, started=False)
            return False
        self._messages = self._client.receive_messages()
        known = self._spec.earlier.usage if self._spec.earlier and self.resumed else Usage()
        self._meter = Meter.started(known if first is None else self._read(first), known)
        self._spent = self._meter.before
        return True

    async def prompt(self, text: str) -> AsyncGenerator[AgentEvent, None]:
        """Give Claude work; yield what it does, and how it ended."""
        if self._ended:
            yield self._ended
            return
        turn = self._turn = _Turn()
        try:
            yield Began(self._conversation.name)
            await self._client.query(text)
            async for event in self._listen(turn):
                yield event
        finally:
            self._turn = None
            if not turn.over:
                await self.close()

    async def steer(self, text: str) -> bool:
        """Tell it something: it hears that with the next tool result."""
        if self._turn is None or self._turn.over:
            return False
        await self._client.query(text)
        return True

    async def interrupt(self) -> None:
        """Ask it to stop; the answer is the end of the stream."""
        if self._turn is not None:
            await self._wire.ask("interrupt")

    async def close(self) -> None:
        """End the program and all that it started."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._ended is None:
            self._ended = Ended(stop=Stop.CRASHED, detail="the session is closed")
        if self._turn is None:
            await self._wire.leave()
        await self._client.disconnect()
        await self._wire.close()
        if sandbox_of(self._agent.chosen):
            remove_placeholders(self._spec.cwd)

    async def _gone(self, error: Exception | None, *, started: bool) -> Ended:
        """Return why the program is gone, when all of its last words are in."""
        stop = Stop.CRASHED if started else Stop.ERROR
        self._ended = Ended(stop=stop, detail=str(error))
        await self.close()
        if self._wire.code is not None:
            self._ended = judge_exit(self._wire.code, self._wire.errors, started=started)
        return self._ended

    # --- listening -------------------------------------------------------------------------------

    async def _listen(self, turn: _Turn) -> AsyncGenerator[AgentEvent, None]:
        while not turn.over:
            try:
                message = await self._next()
            except Exception as error:  # noqa: BLE001 - whatever the SDK stumbles over
                yield await self._cut_off(error, turn)
                return
            if message is None:
                yield await self._cut_off(None, turn)
                return
            told, self._told = self._told, []
            for event in (*told, *self._take(message, turn)):
                yield event
        yield self._judge(turn)

    async def _cut_off(self, error: Exception | None, turn: _Turn) -> Ended:
        """Return how a prompt ended whose program is gone; a report that came before stands."""
        gone = await self._gone(error, started=True)
        return gone if turn.result is None else self._judge(turn)

    async def _next(self) -> sdk.Message | None:
        return None if self._messages is None else await anext(self._messages, None)

    def _take(self, message: sdk.Message, turn: _Turn) -> list[AgentEvent]:
        """Note what a message says, and return what of it is passed on."""
        match message:
            case sdk.AssistantMessage():
                return self._hear(message, turn)
            case sdk.UserMessage(content=list() as blocks):
                turn.note_results(blocks)
            case sdk.ResultMessage():
                turn.result = message
                if message.total_cost_usd is not None:
                    totals = {
                        "total_cost_usd": message.total_cost_usd,
                        "model_usage": message.model_usage or {},
                    }
                    return self._count(totals)
            case sdk.RateLimitEvent(rate_limit_info=info) if info.status == "rejected":
                turn.reset_at = info.resets_at
            case sdk.SystemMessage(subtype="session_state_changed", data=data):
                turn.tells_state = True
                turn.idle = data.get("state") == "idle"
            case sdk.SystemMessage(subtype=subtype, data=data) if subtype == TOTALS:
                return self._count(data)
            case _:
                pass
        return []

    def _hear(self, message: sdk.AssistantMessage, turn: _Turn) -> list[AgentEvent]:
        events: list[AgentEvent] = []
        turn.error = message.error
        for block in message.content:
            match block:
                case sdk.TextBlock(text=text) if text.strip() and not message.parent_tool_use_id:
                    events.append(Text(text.strip()[:_SAID]))
                case sdk.ToolUseBlock():
                    if is_change(block.name):
                        turn.changing.add(block.id)
                    turn.asked = turn.asked or block.name == QUESTION
                    events.append(Doing(request_of(block.name, block.input, self._place).what))
                case _:
                    pass
        return events

    def _count(self, totals: dict[str, Any]) -> list[AgentEvent]:
        now = self._meter.total(self._read(totals))
        if now == self._spent:
            return []
        self._spent = now
        return [Spent(self._conversation.name, now)]

    def _read(self, totals: dict[str, Any]) -> Usage:
        return read_totals(totals["total_cost_usd"], totals["model_usage"], self._agent.price)

    def _judge(self, turn: _Turn) -> Ended:
        result = turn.result
        if result is None:
            raise AssertionError("a prompt is judged before it has ended")
        report = Report(
            subtype=result.subtype,
            is_error=result.is_error,
            reason=result.terminal_reason,
            stop_reason=result.stop_reason,
            status=result.api_error_status,
            error=turn.error,
            text=result.result or "",
            errors=tuple(result.errors or ()),
            answer=result.structured_output,
            wants_answer=self._spec.schema is not None,
            reset_at=turn.reset_at,
            asked=turn.asked,
            changed=turn.changed,
        )
        return judge(report, now=self._agent.clock())

    # --- asking ----------------------------------------------------------------------------------

    def _options(self) -> sdk.ClaudeAgentOptions:
        hook = sdk.HookMatcher(hooks=[self._before_tool], on_failure="block")
        return sdk.ClaudeAgentOptions(
            can_use_tool=self._may_use, hooks={"PreToolUse": [hook]}, verbatim_prompts=True
        )

    async def _before_tool(
        self, given: Any, _id: str | None, _context: sdk.HookContext
    ) -> sdk.types.SyncHookJSONOutput:
        why = self._refuse(given["tool_name"], given["tool_input"], unasked=True)
        if not why:
            return {}
        return {
            "hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "deny",
                "permissionDecisionReason": why,
            }
        }

    async def _may_use(
        self, tool: str, given: dict[str, Any], _context: sdk.ToolPermissionContext
    ) -> sdk.PermissionResultAllow | sdk.PermissionResultDeny:
        why = self._refuse(tool, given, unasked=False)
        return sdk.PermissionResultDeny(message=why) if why else sdk.PermissionResultAllow()

    def _refuse(self, tool: str, given: dict[str, Any], *, unasked: bool) -> str:
        why = self._rules.refuse(tool, given, self._spec.permit, unasked=unasked)
        if why:
            self._told.append(Denied(request_of(tool, given, self._place).what, why))
        return why


class _Transport(Wire, sdk.Transport):
    """The wire, as the SDK wants to be given it."""
