"""One prompt over the Agent Client Protocol: reports become events, requests are decided. No I/O.

Invariant: nothing is allowed that is not known. A write without a path, or a tool of which nothing
can be told, is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from auto_build.agents.acp.outcome import Failure, Report, find_failure
from auto_build.agents.acp.reading import (
    FINISHED,
    Json,
    Tool,
    as_map,
    as_text,
    choose,
    maps_in,
)
from auto_build.agents.acp.usage import Meter
from auto_build.agents.base import AgentEvent, Denied, Doing, Text
from auto_build.agents.words import asks
from auto_build.policy.permission import Access, Deny, Permit, Request

_LINE: Final = 4_000  # characters of one saying that are passed on
_SAID: Final = 512 * 1024  # characters of all that was said that are kept
_TOOLS: Final = 10_000
_THINKING_S: Final = 30.0
_READ_ONLY: Final = (
    "You may only read here: nothing is to be written or run. Give your answer instead."
)
_NOT_NAMED: Final = "It is not said which file is to be written: name it when you ask."
_UNKNOWN: Final = "Nothing is known of this tool: use one that says what it does."


@dataclass(frozen=True, slots=True)
class Rules:
    """What the agent may do: asked of `permit`; `root` is its worktree, links followed."""

    root: str
    permit: Permit
    read_only: bool = False

    def refuse(self, tool: Tool) -> str:
        """Return why a tool may not be used; nothing where it may."""
        if tool.access is None:
            return _UNKNOWN
        if self.read_only and (tool.changes or tool.kind == "switch_mode"):
            return _READ_ONLY
        if tool.access is Access.WRITE and not tool.paths:
            return _NOT_NAMED
        return self.refuse_request(tool.request(self.root))

    def refuse_request(self, request: Request) -> str:
        """Return why something may not be done; nothing where it may."""
        decision = self.permit(request)
        return decision.why if isinstance(decision, Deny) else ""


class Saying:
    """Puts pieces of text together to lines."""

    def __init__(self) -> None:
        self._open = ""
        self.all = ""

    def add(self, text: str) -> Iterator[Text]:
        """Take a piece; yield the lines that it completes."""
        self.all = (self.all + text)[-_SAID:]
        *lines, self._open = (self._open + text).split("\n")
        for line in lines:
            yield from _texts(line)
        while len(self._open) > _LINE:
            yield Text(self._open[:_LINE])
            self._open = self._open[_LINE:]

    def finish(self) -> Iterator[Text]:
        """Yield what stands in a line that was not completed."""
        line, self._open = self._open, ""
        yield from _texts(line)


def _texts(line: str) -> Iterator[Text]:
    """Yield a line, cut where it is long."""
    if line.strip():
        for at in range(0, len(line), _LINE):
            yield Text(line[at : at + _LINE])


@dataclass(slots=True)
class Turn:
    """What is known of a prompt by now."""

    rules: Rules
    meter: Meter
    interrupted: bool = False
    saying: Saying = field(default_factory=Saying)
    changed: bool = False
    _tools: dict[str, Tool] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _denied: set[str] = field(default_factory=set)
    _refusals: list[str] = field(default_factory=list)  # since it last did something
    _said_since: str = ""
    _message: str = ""
    _thought_at: float = float("-inf")
    _failure: Failure | None = None
    _broken: bool = False

    # --- what it reports --------------------------------------------------------------------------

    def hear(self, update: Json, now_s: float) -> Iterator[AgentEvent]:
        """Take a report; yield what is to be told. `now_s` is a clock's, for what repeats."""
        self.meter.note_update(update)
        match update.get("sessionUpdate"):
            case "agent_message_chunk":
                yield from self._hear_text(update)
            case "agent_thought_chunk" if now_s - self._thought_at >= _THINKING_S:
                self._thought_at = now_s
                yield Doing("thinking")
            case "tool_call" | "tool_call_update":
                yield from self._hear_tool(update)
            case "session_info_update":
                self._hear_state(as_map(update.get("_meta")))
            case _:
                return

    def _hear_text(self, update: Json) -> Iterator[AgentEvent]:
        text = as_text(as_map(update.get("content")).get("text"))
        message = as_text(update.get("messageId"))
        if message != self._message:
            yield from self.saying.finish()
        self._message = message
        if self._refusals:
            self._said_since += text
        yield from self.saying.add(text)

    def _hear_tool(self, update: Json) -> Iterator[AgentEvent]:
        tool = self._note(update)
        if tool is None:
            return
        if tool.status in FINISHED and tool.id not in self._denied:
            self.changed = self.changed or tool.changes
            self._refusals.clear()
        yield from self._tell(tool)

    def _hear_state(self, meta: Json) -> None:
        """Codex tells of its failures in reports of the conversation's state."""
        self._failure = find_failure(meta) or self._failure
        status = as_map(as_map(meta.get("codex")).get("threadStatus"))
        self._broken = self._broken or status.get("type") == "systemError"

    def _note(self, told: Json) -> Tool | None:
        """Note what is told of a tool, which may never have been named before."""
        key = as_text(told.get("toolCallId"))
        if not key or (key not in self._tools and len(self._tools) >= _TOOLS):
            return None
        tool = self._tools.get(key, Tool(key)).updated(told)
        self._tools[key] = tool
        return tool

    def _tell(self, tool: Tool) -> Iterator[AgentEvent]:
        if tool.is_known and tool.id not in self._told:
            self._told.add(tool.id)
            yield from self.saying.finish()
            yield Doing(tool.in_words(self.rules.root))

    # --- what it asks for -------------------------------------------------------------------------

    def answer(self, asked: Json) -> tuple[Json, list[AgentEvent]]:
        """Return the outcome of a request for permission, and what is to be told."""
        options = maps_in(asked.get("options"))
        if self.interrupted:
            return choose((), allow=False), []
        tool = self._note(as_map(asked.get("toolCall"))) or Tool("")
        why = self.rules.refuse(tool)
        if not why:
            self._denied.discard(tool.id)
            return choose(options, allow=True), list(self._tell(tool))
        self._denied.add(tool.id)
        self._told.add(tool.id)
        events: list[AgentEvent] = [*self.saying.finish()]
        events.append(self.deny(tool.in_words(self.rules.root), why))
        return choose(options, allow=False), events

    def deny(self, what: str, why: str) -> Denied:
        """Note that something was refused."""
        self._refusals.append(why)
        self._said_since = ""
        return Denied(what, why)

    # --- its end ----------------------------------------------------------------------------------

    def end(self, result: Json, *, wants_answer: bool) -> Report:
        """Return how it came to its end, from the answer to the prompt."""
        self.meter.note_end(result)
        failure = find_failure(as_map(result.get("_meta"))) or self._failure
        if failure is None and self._broken:
            failure = Failure(text=self.saying.all.strip()[-_LINE:] or "it failed")
        return self._report(failure, as_text(result.get("stopReason")), wants_answer=wants_answer)

    def fail(self, failure: Failure) -> Report:
        """Return how it came to its end, where the answer to the prompt is an error."""
        return self._report(failure, "", wants_answer=False)

    def _report(self, failure: Failure | None, stop: str, *, wants_answer: bool) -> Report:
        return Report(
            stop_reason=stop,
            failure=failure,
            said=self.saying.all,
            used_tools=bool(self._tools),
            changed=self.changed,
            interrupted=self.interrupted,
            refused=self._refusals[-1] if self._refusals else "",
            wants_answer=wants_answer,
        )

    def follow_up(self, report: Report) -> str:
        """Return what is to be said to an agent that stopped because it was refused something.

        No answer to a request for permission has room for the reason. So where the refusal was the
        last that happened, or the agent asks what to do instead, the reason is the next prompt.
        """
        stopped = report.stop_reason in {"end_turn", "cancelled"} and not report.failure
        helpless = not self._said_since.strip() or asks(self._said_since)
        if not self._refusals or self.interrupted or not stopped or not helpless:
            return ""
        reasons = "\n".join(f"- {why}" for why in dict.fromkeys(self._refusals))
        return f"You were not allowed to do that:\n{reasons}\n\nGo on with the rest of your task."

    def go_on(self) -> None:
        """Begin anew with what was refused: the agent has been told."""
        self._refusals.clear()
        self._said_since = ""
        self._broken = False
        self._failure = None
