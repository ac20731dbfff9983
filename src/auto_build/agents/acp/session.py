"""A conversation over the Agent Client Protocol: begun or gone on with, prompted, and ended.

Invariant: a prompt's last event is `Ended`, and after it the program waits for the next prompt or
is gone.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from auto_build.agents.acp.files import FileRefused, read_text, write_text
from auto_build.agents.acp.outcome import Failure, Report, judge
from auto_build.agents.acp.profiles import Profile
from auto_build.agents.acp.reading import Choice, Json, Offer, as_map, as_text, find_choice
from auto_build.agents.acp.turn import Rules, Turn
from auto_build.agents.acp.usage import Meter
from auto_build.agents.base import (
    AgentEvent,
    Began,
    Denied,
    Doing,
    Ended,
    SessionSpec,
    Spent,
    Stop,
    Text,
)
from auto_build.agents.words import ask_for_answer
from auto_build.core.usage import Price, Usage

READY_S: Final = 60.0
_CHOOSE_S: Final = 30.0
_STEER_S: Final = 10.0
_QUIET_S: Final = 0.3
_REPLAY_S: Final = 5.0
_WAITING: Final = 1_000  # events that wait to be listened to
_FOLLOW_UPS: Final = 8
_SAYINGS: Final = frozenset({"user_message_chunk", "agent_message_chunk", "tool_call"})
_STEERING: Final = "_session/steering"


class Refused(Exception):
    """The agent answers a request with an error."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class Gone(Exception):
    """No answer can come any more: the agent ended, or was silent for too long."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(ended.detail)
        self.ended = ended


class NotKnown(Exception):
    """The agent asks for something that we do not do."""


class Link(Protocol):
    """A started agent, and the requests that go to and fro."""

    async def introduce(self) -> Json:
        """Say who we are, and return what the agent says of itself."""
        ...

    async def ask(self, method: str, told: Json, limit_s: float | None) -> Json:
        """Return the answer to a request.

        Raises:
            Refused: the answer is an error.
            Gone: none came: the agent ended, or `limit_s` seconds went by.
        """
        ...

    async def tell(self, method: str, told: Json) -> None:
        """Tell the agent something that is not answered; one that is gone hears nothing."""
        ...

    async def end(self) -> None:
        """Stop the agent with everything that it started; twice does no harm."""
        ...


def place(folder: Path) -> Json:
    """Return where a conversation is held, as the protocol says it."""
    return {"cwd": os.path.realpath(folder), "mcpServers": []}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a session knows of its agent.

    `mode` is the settings'; `model_chosen` says that none is to be chosen in the conversation.
    """

    profile: Profile
    mode: str
    model_chosen: bool
    price: Price | None
    clock: Callable[[], float]


class AcpSession:
    """One conversation, in one program."""

    def __init__(self, terms: Terms, spec: SessionSpec) -> None:
        self._terms = terms
        self._spec = spec
        self._name = ""
        self.stuck_in_earlier = False  # loading the earlier conversation was the agent's end
        self._resumed = False
        self._replayed = False
        self._steers = False
        self._link: Link | None = None
        self._turn: Turn | None = None
        self._ended: Ended | None = None
        self._events: deque[AgentEvent] = deque()
        self._news = asyncio.Event()
        self._rules = Rules(os.path.realpath(spec.cwd), spec.permit, spec.read_only)
        self._meter = Meter(terms.profile.counting, price=terms.price)
        self._spent = Usage()

    @property
    def resumed(self) -> bool:
        """Whether the earlier conversation was loaded."""
        return self._resumed

    async def open(self, link: Link) -> None:
        """Get a started agent ready; what keeps it from that is the end of every prompt."""
        self._link = link
        try:
            hello = await link.introduce()
            self._steers = (
                as_map(as_map(hello.get("_meta")).get("steering")).get("supported") is True
            )
            offer = await self._converse(link, hello)
            await self._choose_all(link, offer)
        except (Refused, Gone) as error:
            self._ended = self._judge(error)
            await self.close()
        except BaseException:
            await self.close()
            raise

    async def prompt(self, text: str) -> AsyncGenerator[AgentEvent, None]:
        """Give the agent work; yield what it does, and how it ended."""
        if self._ended or self._link is None:
            yield self._ended or Ended(stop=Stop.ERROR, detail="the session is closed")
            return
        turn = self._turn = Turn(self._rules, self._meter)
        is_over = False
        self._events.clear()
        try:
            yield Began(self._name)
            async with aclosing(self._work(self._link, turn, text)) as working:
                async for event in working:
                    is_over = isinstance(event, Ended) and self._ended is None
                    yield event
        finally:
            self._turn = None
            if not is_over:
                await self.close()

    async def steer(self, text: str) -> bool:
        """Tell it something while it works, where it has a way to hear that."""
        if self._turn is None or self._link is None or not self._steers:
            return False
        told = {
            "sessionId": self._name,
            "prompt": [{"type": "text", "text": text}],
            "_meta": {"steering": {"idleBehavior": "promptRequired"}},
        }
        try:
            answer = await self._link.ask(_STEERING, told, _STEER_S)
        except (Refused, Gone):
            return False
        return answer.get("outcome") == "injected"

    async def interrupt(self) -> None:
        """Ask it to stop; the answer is the end of the stream."""
        if self._turn is not None and self._link is not None:
            self._turn.interrupted = True
            await self._link.tell("session/cancel", {"sessionId": self._name})

    async def close(self) -> None:
        """End the program and everything that it started."""
        link, self._link = self._link, None
        if link is not None:
            await link.end()

    # --- getting ready ----------------------------------------------------------------------------

    async def _converse(self, link: Link, hello: Json) -> Offer:
        """Go on with the earlier conversation; where that cannot be, begin one."""
        where, earlier = place(self._spec.cwd), self._spec.earlier
        can = as_map(hello.get("agentCapabilities"))
        if earlier and can.get("loadSession") is True and self._terms.profile.resumes:
            loaded = await self._load(link, {**where, "sessionId": earlier.session})
            if loaded is not None:
                self._resumed = True
                self._meter.before = self._spent = earlier.usage
                return loaded
        answer = await link.ask("session/new", where, READY_S)
        self._name = as_text(answer.get("sessionId"))
        if "title" in as_map(can.get("sessionCapabilities")):
            await self._name_it(link)
        return Offer.read(answer)

    async def _load(self, link: Link, told: Json) -> Offer | None:
        """Load the earlier conversation; None where the agent does not have it.

        The protocol has everything told once more that was said. Who tells nothing knows nothing,
        even if the answer is no error.
        """
        self._name, self._replayed = as_text(told["sessionId"]), False
        try:
            answer = await link.ask("session/load", told, READY_S)
        except Refused:
            return None
        except Gone:
            self.stuck_in_earlier = True
            raise
        await self._let_replay()
        return Offer.read(answer) if self._replayed else None

    async def _name_it(self, link: Link) -> None:
        """Give the conversation a title; otherwise a model is asked for one, at a price."""
        seat = self._spec.seat
        title = f"auto-build {seat.spec} {seat.chunk}"
        told = {"sessionId": self._name, "title": title}
        with suppress(Refused):
            await link.ask("session/set_title", told, _CHOOSE_S)

    async def _let_replay(self) -> None:
        """Wait until what was said earlier has been told: some agents tell it after they answer."""
        clock = asyncio.get_running_loop().time
        end = clock() + _REPLAY_S
        while clock() < end:
            self._news.clear()
            try:
                async with asyncio.timeout(_QUIET_S):
                    await self._news.wait()
            except TimeoutError:
                return

    async def _choose_all(self, link: Link, offer: Offer) -> None:
        profile, model = self._terms.profile, self._spec.model
        mode = self._terms.mode or profile.mode
        if self._spec.read_only:
            mode = profile.read_only_mode or profile.mode
        if mode:
            await self._choose(link, "mode", mode, offer.modes)
        if model and not self._terms.model_chosen:
            await self._choose(link, "model", model, offer.models)

    async def _choose(self, link: Link, what: str, wanted: str, choices: Iterable[Choice]) -> None:
        known = tuple(choices)
        choice = find_choice(wanted, known)
        if choice is None:
            has = ", ".join(dict.fromkeys(one.value for one in known)) or "none to choose"
            raise Refused(Failure(text=f"it has no {what} {wanted!r} (it has: {has})"))
        told: Json = {"sessionId": self._name}
        if choice.option:
            told |= {"configId": choice.option, "value": choice.value}
            await link.ask("session/set_config_option", told, _CHOOSE_S)
        else:
            told |= {f"{what}Id": choice.value}
            await link.ask(f"session/set_{what}", told, _CHOOSE_S)

    # --- a prompt ---------------------------------------------------------------------------------

    async def _work(self, link: Link, turn: Turn, text: str) -> AsyncGenerator[AgentEvent, None]:
        """Prompt, and prompt again where the agent must be told why it was refused something."""
        schema = self._spec.schema
        said = text if schema is None else ask_for_answer(text, schema)
        for left in reversed(range(_FOLLOW_UPS + 1)):
            asking = asyncio.create_task(self._ask(link, turn, said))
            try:
                async for event in self._listen(asking):
                    yield event
            finally:
                asking.cancel()
                await asyncio.wait({asking})
            end = asking.result()
            said = turn.follow_up(end) if isinstance(end, Report) and left else ""
            if not said:
                yield self._finish(end)
                return
            turn.go_on()

    async def _ask(self, link: Link, turn: Turn, said: str) -> Report | Ended:
        """Prompt, and return how that came to its end."""
        told = {"sessionId": self._name, "prompt": [{"type": "text", "text": said}]}
        try:
            answer = await link.ask("session/prompt", told, None)
        except Refused as refused:
            end: Report | Ended = turn.fail(refused.failure)
        except Gone as gone:
            end = self._ended = gone.ended
        else:
            end = turn.end(answer, wants_answer=self._spec.schema is not None)
        self._tell(turn.saying.finish())
        self._tell_spent()
        return end

    async def _listen(self, asking: "asyncio.Task[Report | Ended]") -> AsyncIterator[AgentEvent]:
        """Yield what is told until a prompt has come to its end."""
        asking.add_done_callback(lambda _: self._news.set())
        while True:
            while self._events:
                yield self._events.popleft()
            if asking.done():
                return
            self._news.clear()
            await self._news.wait()

    def _judge(self, error: Refused | Gone) -> Ended:
        """Return what it means that an agent does not get ready."""
        if isinstance(error, Gone):
            return error.ended
        end = judge(Report(failure=error.failure), now=self._terms.clock())
        if end.stop is Stop.AUTH:
            return replace(end, detail=f"{end.detail}: {self._terms.profile.login}")
        return end

    # --- what it tells and asks -------------------------------------------------------------------

    def hear(self, method: str, told: Json) -> None:
        """Take what the agent tells."""
        self._news.set()
        if method != "session/update" or told.get("sessionId") != self._name:
            return
        update = as_map(told.get("update"))
        if self._turn is None:
            self._replayed = self._replayed or update.get("sessionUpdate") in _SAYINGS
            return
        self._tell(self._turn.hear(update, asyncio.get_running_loop().time()))
        self._tell_spent()

    def answer(self, method: str, asked: Json) -> Json:
        """Return the answer to what the agent asks.

        Raises:
            NotKnown: we do not do that.
            FileRefused: a file may not, or cannot, be read or written.
        """
        match method:
            case "session/request_permission":
                turn = self._turn or Turn(self._rules, self._meter)
                outcome, events = turn.answer(asked)
                self._tell(events)
                return outcome
            case "fs/read_text_file":
                return {"content": read_text(asked, self._rules)}
            case "fs/write_text_file":
                return self._write(asked)
            case _:
                raise NotKnown(method)

    def _write(self, asked: Json) -> Json:
        try:
            write_text(asked, self._rules)
        except FileRefused as refused:
            if self._turn is not None:
                self._tell([Denied(f"edit {as_text(asked.get('path'))}", str(refused))])
            raise
        if self._turn is not None:
            self._turn.changed = True
        return {}

    def _tell(self, events: Iterable[AgentEvent]) -> None:
        """Have events listened to; words are dropped where nobody listens for long."""
        for event in events:
            if len(self._events) < _WAITING or not isinstance(event, Text | Doing):
                self._events.append(event)
        self._news.set()

    def _tell_spent(self) -> None:
        total = self._meter.total
        if total != self._spent:
            self._spent = total
            self._tell([Spent(self._name, total)])

    def _finish(self, end: Report | Ended) -> Ended:
        return end if isinstance(end, Ended) else judge(end, now=self._terms.clock())
