"""What is said over the Agent Client Protocol, read: tools, permission, usage, ends."""

import os
from pathlib import Path
from typing import Any

import pytest

from auto_build.agents.acp.outcome import Failure, Report, judge, judge_exit, read_error
from auto_build.agents.acp.profiles import Counting
from auto_build.agents.acp.reading import Choice, Offer, Tool, find_choice
from auto_build.agents.acp.turn import Rules, Turn
from auto_build.agents.acp.usage import Meter
from auto_build.agents.base import AgentEvent, Denied, Doing, Ended, Stop, Text, allow_all
from auto_build.core.usage import CostSource, Price, Usage
from auto_build.policy.permission import Access, Allow, Decision, Deny, Request

Json = dict[str, Any]
NOON = 1_795_518_000.0
ROOT = "/p/tree"
OPTIONS = [
    {"optionId": "always", "name": "Always", "kind": "allow_always"},
    {"optionId": "once", "name": "Once", "kind": "allow_once"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]
ONCE = {"outcome": {"outcome": "selected", "optionId": "once"}}
NO = {"outcome": {"outcome": "selected", "optionId": "no"}}
CANCELLED = {"outcome": {"outcome": "cancelled"}}


# --- ends ----------------------------------------------------------------------------------------

SAID = Report(stop_reason="end_turn", said="It is done.")


@pytest.mark.parametrize(
    ("report", "stop"),
    [
        (SAID, Stop.DONE),
        (Report(stop_reason="end_turn", used_tools=True), Stop.DONE),
        (Report(stop_reason="end_turn"), Stop.ERROR),  # so Gemini ends when its model refuses
        (Report(stop_reason="end_turn", said="Which one **shall it be?**"), Stop.NEEDS_INPUT),
        (Report(stop_reason="end_turn", said="Is that all right?", changed=True), Stop.DONE),
        (Report(stop_reason="max_tokens"), Stop.CONTEXT_FULL),
        (Report(stop_reason="max_turn_requests"), Stop.MAX_TURNS),
        (Report(stop_reason="refusal"), Stop.REFUSED),
        (Report(stop_reason="cancelled", interrupted=True), Stop.INTERRUPTED),
        (Report(stop_reason="cancelled"), Stop.ERROR),
        (Report(stop_reason="cancelled", refused="not yours"), Stop.ERROR),
        (Report(stop_reason="something new"), Stop.ERROR),
        (Report(), Stop.ERROR),
        (Report(interrupted=True, failure=Failure(text="AbortError")), Stop.INTERRUPTED),
        (Report(stop_reason="end_turn", said="It is done.", interrupted=True), Stop.DONE),
    ],
)
def test_each_end_is_of_one_kind(report: Report, stop: Stop) -> None:
    end = judge(report, now=NOON)

    assert end.stop is stop
    assert stop is Stop.DONE or end.detail, "an end without a word"


@pytest.mark.parametrize(
    ("error", "stop"),
    [
        # as the agents sent them, when a stub of their service turned each request away
        (
            read_error(401, '{"error":{"message":"bad key","status":"UNAUTHENTICATED"}}', None),
            "auth",
        ),
        (read_error(-32603, "Internal error", {"details": "401 bad key"}), "auth"),
        (read_error(-32000, "Authentication required", None), "auth"),
        (read_error(-31002, "Invalid API key (from env var MISTRAL_API_KEY).", None), "auth"),
        (read_error(429, "Rate limit exceeded. Try again later.", None), "rate-limit"),
        (read_error(-32603, "Internal error: Rate limit reached for requests", None), "rate-limit"),
        (read_error(-31001, "too fast", None), "rate-limit"),
        (read_error(500, "An internal error has occurred", None), "overloaded"),
        (read_error(503, "The model is overloaded", None), "overloaded"),
        (
            read_error(-32603, "Internal error", {"details": "fetch failed: ECONNREFUSED"}),
            "overloaded",
        ),
        (
            read_error(400, "The input token count (2) exceeds the maximum number", None),
            "context-full",
        ),
        (
            read_error(-32603, "Session too large to compact - context exceeds", None),
            "context-full",
        ),
        (
            read_error(-32603, "Internal error", {"errorName": "ContextOverflowError"}),
            "context-full",
        ),
        (read_error(500, "models/no-such-model is not found", None), "agent-error"),
        (read_error(-32603, "Internal error", None), "agent-error"),
        (read_error(-31005, "I will not", None), "refused"),
        # Codex puts the failure beside an end like any other
        (Failure(text="last status: 429 Too Many Requests", category="limit"), "rate-limit"),
        (Failure(text="You've hit your usage limit.", category="limit"), "rate-limit"),
        (
            Failure(text="Codex ran out of room in the model's context window", category="limit"),
            "context-full",
        ),
        (
            Failure(text="We're currently experiencing high demand", category="service"),
            "overloaded",
        ),
        (Failure(text="Connection to Codex was lost.", category="connection"), "overloaded"),
        (
            Failure(text='{"error":{"code":"context_length_exceeded"}}', category="service"),
            "context-full",
        ),
        (Failure(text="The model `gpt-0` does not exist", category="service"), "agent-error"),
        (Failure(text="log in once more", category="access"), "auth"),
        (Failure(text="malformed", category="request"), "agent-error"),
        (Failure(text="it broke", category="something new"), "agent-error"),
    ],
)
def test_a_failure_is_known_by_its_code_its_category_or_its_words(
    error: Failure, stop: str
) -> None:
    end = judge(Report(stop_reason="end_turn", failure=error), now=NOON)

    assert end.stop == stop
    assert end.detail


def test_a_failure_is_told_by_its_message_and_not_by_the_json_around_it() -> None:
    error = read_error(401, '{"error":{"message":"API key not valid","code":401}}', None)
    assert judge(Report(failure=error), now=NOON).detail == "API key not valid"


def test_a_limit_ends_when_the_service_says() -> None:
    error = read_error(429, "Rate limited: Please retry in 34.5s", None)
    assert judge(Report(failure=error), now=NOON).reset_at == NOON + 34.5


def test_an_answer_is_taken_from_what_was_said_last() -> None:
    said = 'First {"draft": 1}, and now\n```json\n{"verdict": {"good": true}}\n```\n'
    asked = Report(stop_reason="end_turn", said=said, wants_answer=True)

    assert judge(asked, now=NOON) == Ended(stop=Stop.DONE, answer={"verdict": {"good": True}})


def test_an_answer_that_was_asked_for_must_be_there() -> None:
    asked = Report(stop_reason="end_turn", said="I would rather not?", wants_answer=True)

    end = judge(asked, now=NOON)

    assert end.stop is Stop.ERROR
    assert end.detail == (
        "it ended without the answer that was asked for; it said: I would rather not?"
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (137, "gemini was ended by signal 9: out of memory"),
        (1, "gemini ended in the middle of its work (exit code 1): out of memory"),
        (127, "gemini could not be started: out of memory"),
        (-9, "the guard of gemini was killed: out of memory"),
        (None, "gemini said nothing more: out of memory"),
    ],
)
def test_a_program_that_ends_in_the_middle_has_crashed(code: int | None, words: str) -> None:
    assert judge_exit("gemini", code, "out of\n memory\n") == Ended(stop=Stop.CRASHED, detail=words)


# --- tools ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "access", "words"),
    [
        (
            {"kind": "edit", "title": "Writing", "locations": [{"path": f"{ROOT}/a/b.py"}]},
            Access.WRITE,
            "edit a/b.py",
        ),
        ({"kind": "delete", "rawInput": {"path": "b.py"}}, Access.WRITE, "delete b.py"),
        (
            {"kind": "move", "rawInput": {"source": "a", "destination": "b"}},
            Access.WRITE,
            "move a, b",
        ),
        ({"kind": "execute", "rawInput": {"command": "make  check"}}, Access.RUN, "run make check"),
        ({"rawInput": {"cmd": ["ls", "-l"]}}, Access.RUN, "run ls -l"),
        # Codex calls a command by what it takes it for
        (
            {"kind": "search", "title": "List", "rawInput": {"command": "rm x"}},
            Access.RUN,
            "run rm x",
        ),
        ({"kind": "read", "rawInput": {"filePath": "a.py"}}, Access.READ, "read a.py"),
        ({"kind": "search", "title": "grep x"}, Access.READ, "grep x"),
        ({"kind": "fetch", "title": "GET x"}, Access.OTHER, "GET x"),
        ({"kind": "other", "title": "my tool"}, Access.OTHER, "my tool"),
        (
            {"kind": "other", "content": [{"type": "diff", "path": "c.py"}]},
            Access.WRITE,
            "edit c.py",
        ),
        ({"kind": "something new", "title": "brew"}, None, "brew"),
        ({}, None, "something that it does not name"),
        (
            {"kind": 7, "title": [], "locations": 3, "content": "x", "rawInput": []},
            None,
            "something",
        ),
        ({"kind": "edit", "locations": [None, {"path": 5}, {"path": " "}]}, Access.WRITE, "edit"),
    ],
)
def test_a_tool_is_told_by_what_it_does_and_to_which_file(
    told: Json, access: Access | None, words: str
) -> None:
    tool = Tool("1").updated(told)

    assert tool.access is access
    assert tool.in_words(ROOT).startswith(words)


def test_a_long_command_is_told_in_one_short_line() -> None:
    tool = Tool("1").updated({"rawInput": {"command": "echo a\n" * 1000}})
    assert len(tool.in_words(ROOT)) <= 160
    assert "\n" not in tool.in_words(ROOT)


def test_every_path_that_a_tool_names_is_asked_about_with_links_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "tree", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "way-out").symlink_to(outside)
    tool = Tool("1").updated({"kind": "edit", "locations": [{"path": "way-out/a"}]})
    tool = tool.updated({"rawInput": {"file_path": str(root / "b"), "path": "../c"}})

    asked = tool.request(str(root))

    real = os.path.realpath(tmp_path)
    assert set(asked.paths) == {f"{real}/outside/a", f"{real}/tree/b", f"{real}/c"}
    assert asked.access is Access.WRITE


# --- a prompt ------------------------------------------------------------------------------------


def deny_held(request: Request) -> Decision:
    held = any(path.endswith("/held.py") for path in request.paths)
    return Deny("held.py is another's") if held else Allow()


def turn(*, read_only: bool = False) -> Turn:
    return Turn(Rules(ROOT, deny_held, read_only), Meter(Counting.NOT))


def tell(one: Turn, what: str, *, at_s: float = 0.0, **fields: Any) -> list[AgentEvent]:
    return list(one.hear({"sessionUpdate": what, **fields}, at_s))


def say(one: Turn, text: str, **more: Any) -> list[AgentEvent]:
    return tell(one, "agent_message_chunk", content={"type": "text", "text": text}, **more)


def ask(one: Turn, **tool: Any) -> tuple[Json, list[AgentEvent]]:
    return one.answer({"toolCall": {"toolCallId": "t", **tool}, "options": OPTIONS})


EDIT: Json = {"kind": "edit", "locations": [{"path": "a.py"}]}
HELD: Json = {"kind": "edit", "locations": [{"path": "held.py"}]}


def test_pieces_of_text_are_put_together_to_lines() -> None:
    one = turn()

    assert say(one, "one l") == []
    assert say(one, "ine\n\ntwo\nthr") == [Text("one line"), Text("two")]
    assert say(one, "ee") == []
    assert tell(one, "tool_call", toolCallId="t", **EDIT) == [Text("three"), Doing("edit a.py")]


def test_another_message_begins_on_another_line() -> None:
    one = turn()
    say(one, "first", messageId="1")
    assert say(one, "second", messageId="2") == [Text("first")]


def test_a_flood_of_text_is_bounded() -> None:
    one = turn()
    told = [event for _ in range(40) for event in say(one, "x" * 100_000)]

    assert all(isinstance(event, Text) and len(event.text) <= 4_000 for event in told)
    assert len(one.saying.all) <= 512 * 1024


def test_a_tool_is_told_of_once_when_it_is_known_what_it_does() -> None:
    one = turn()

    assert tell(one, "tool_call", toolCallId="t", title="write", kind="edit", rawInput={}) == []
    assert tell(one, "tool_call_update", toolCallId="t", **EDIT) == [Doing("edit a.py")]
    assert tell(one, "tool_call_update", toolCallId="t", status="completed") == []
    assert tell(one, "tool_call", toolCallId="u", title="think", status="in_progress") == [
        Doing("think")
    ]


def test_thinking_is_a_sign_of_life_now_and_then() -> None:
    one = turn()
    thought: Json = {"content": {"type": "text", "text": "hm"}}

    told = [tell(one, "agent_thought_chunk", at_s=at, **thought) for at in (0.0, 5.0, 31.0)]

    assert told == [[Doing("thinking")], [], [Doing("thinking")]]


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"sessionUpdate": "something new"},
        {"sessionUpdate": "tool_call"},
        {"sessionUpdate": "tool_call", "toolCallId": 5},
        {"sessionUpdate": "agent_message_chunk", "content": {"type": "image", "data": "x"}},
        {"sessionUpdate": "agent_message_chunk", "content": "x", "_meta": 3},
        {"sessionUpdate": "usage_update", "cost": {"amount": "much", "currency": "USD"}},
        {"sessionUpdate": "session_info_update", "_meta": {"codex": None, "jetbrains": []}},
    ],
)
def test_what_is_not_understood_is_passed_over(update: Json) -> None:
    assert list(turn().hear(update, 0.0)) == []


def test_what_may_be_done_is_allowed_once_and_told() -> None:
    assert ask(turn(), **EDIT) == (ONCE, [Doing("edit a.py")])


def test_what_may_not_be_done_is_refused_with_the_reason() -> None:
    one = turn()
    say(one, "I will write")

    outcome, events = ask(one, **HELD)

    assert outcome == NO
    assert events == [Text("I will write"), Denied("edit held.py", "held.py is another's")]
    assert not tell(one, "tool_call_update", toolCallId="t", status="failed")
    assert not one.changed


def test_who_asks_need_not_say_again_what_is_known_of_the_tool() -> None:
    one = turn()
    tell(one, "tool_call", toolCallId="t", **HELD)

    outcome, _ = ask(one)  # Vibe asks with nothing but an id

    assert outcome == NO


@pytest.mark.parametrize(
    "tool",
    [{"title": "something"}, {"kind": "something new"}, {"kind": "edit", "title": "Make edits?"}],
    ids=["no kind", "an unknown kind", "a write without a path"],
)
def test_what_cannot_be_told_is_refused(tool: Json) -> None:
    outcome, (denied,) = ask(turn(), **tool)

    assert outcome == NO
    assert isinstance(denied, Denied)


@pytest.mark.parametrize(
    ("tool", "allowed"),
    [
        (EDIT, False),
        ({"kind": "execute", "rawInput": {"command": "ls"}}, False),
        ({"kind": "switch_mode", "title": "Begin to build"}, False),
        ({"kind": "read", "locations": [{"path": "a.py"}]}, True),
        ({"kind": "fetch", "title": "GET"}, True),
    ],
)
def test_who_may_only_read_may_neither_write_nor_run(tool: Json, allowed: bool) -> None:
    outcome, _ = ask(turn(read_only=True), **tool)
    assert outcome == (ONCE if allowed else NO)


def test_where_nothing_can_be_refused_the_request_is_cancelled() -> None:
    one = turn()
    outcome, _ = one.answer({"toolCall": {"toolCallId": "t", **HELD}, "options": OPTIONS[:2]})
    assert outcome == CANCELLED


def test_who_was_asked_to_stop_is_allowed_nothing_any_more() -> None:
    one = turn()
    one.interrupted = True
    assert ask(one, **EDIT) == (CANCELLED, [])


# --- told why ------------------------------------------------------------------------------------


def ended(one: Turn, stop: str) -> Report:
    return one.end({"stopReason": stop}, wants_answer=False)


@pytest.mark.parametrize("stop", ["end_turn", "cancelled"])
def test_who_stops_when_refused_is_told_why(stop: str) -> None:
    one = turn()
    ask(one, **HELD)
    tell(one, "tool_call_update", toolCallId="t", status="failed")

    told = one.follow_up(ended(one, stop))

    assert "- held.py is another's" in told
    one.go_on()
    assert not one.follow_up(ended(one, stop)), "it is told once"


def test_who_asks_what_to_do_instead_is_told_why() -> None:
    one = turn()
    ask(one, **HELD)
    say(one, "You rejected that. What shall I do?")

    assert one.follow_up(ended(one, "end_turn"))


def test_who_goes_on_by_itself_is_not_told_again() -> None:
    spoke = turn()
    ask(spoke, **HELD)
    say(spoke, "Then I leave it as it is.")
    worked = turn()
    ask(worked, **HELD)
    tell(worked, "tool_call", toolCallId="u", status="completed", **EDIT)

    assert not spoke.follow_up(ended(spoke, "end_turn"))
    assert not worked.follow_up(ended(worked, "end_turn"))
    assert worked.changed


def test_who_was_asked_to_stop_or_failed_is_told_nothing() -> None:
    stopped, failed = turn(), turn()
    for one in (stopped, failed):
        ask(one, **HELD)
    stopped.interrupted = True

    assert not stopped.follow_up(ended(stopped, "cancelled"))
    assert not failed.follow_up(failed.fail(Failure(text="503")))


# --- failures of codex ---------------------------------------------------------------------------


def air(severity: str, title: str) -> Json:
    failure = {"severity": severity, "category": "limit", "title": title}
    return {"jetbrains": {"air": {"version": 1, "sessionFailure": failure}}}


def test_a_failure_beside_an_end_is_no_success() -> None:
    one = turn()
    result = {"stopReason": "end_turn", "_meta": air("error", "429 Too Many Requests")}

    end = judge(one.end(result, wants_answer=False), now=NOON)

    assert end == Ended(stop=Stop.RATE_LIMIT, detail="429 Too Many Requests")


def test_a_warning_is_no_failure() -> None:
    one = turn()
    tell(one, "session_info_update", _meta=air("warning", "Reconnecting... 1/1"))
    say(one, "It is done.")
    assert judge(ended(one, "end_turn"), now=NOON).stop is Stop.DONE


def test_a_codex_that_cannot_say_what_failed_says_it_in_its_text() -> None:
    one = turn()
    say(one, "exceeded retry limit, last status: 429 Too Many Requests\n\n")
    tell(one, "session_info_update", _meta={"codex": {"threadStatus": {"type": "systemError"}}})

    assert judge(ended(one, "end_turn"), now=NOON).stop is Stop.RATE_LIMIT


# --- usage ---------------------------------------------------------------------------------------

BEFORE = Usage(input_tokens=10, output_tokens=1)


def meter(counting: Counting, price: Price | None = None) -> Meter:
    return Meter(counting, BEFORE, price)


def test_the_usage_of_a_prompt_is_added_to_what_was() -> None:
    one = meter(Counting.PROMPT)
    usage = {"inputTokens": 2000, "cachedReadTokens": 400, "outputTokens": 68, "totalTokens": 2468}

    for _ in range(2):
        one.note_end({"usage": usage})
    one.note_end({"usage": None})

    assert one.total == Usage(input_tokens=4010, output_tokens=137, cache_read_tokens=800)


def test_geminis_quota_is_added_to_what_was() -> None:
    one = meter(Counting.QUOTA)
    count = {"input_tokens": 2400, "output_tokens": 68}

    one.note_end({"_meta": {"quota": {"token_count": count}}})

    assert one.total == Usage(input_tokens=2410, output_tokens=69)


def test_the_usage_of_each_request_is_added_to_what_was() -> None:
    one = meter(Counting.REQUEST)
    usage = {"inputTokens": 1200, "outputTokens": 34, "totalTokens": 1234, "cachedReadTokens": 200}

    for _ in range(2):
        one.note_update({"sessionUpdate": "agent_message_chunk", "_meta": {"usage": usage}})
    one.note_end({"usage": usage})

    assert one.total == Usage(input_tokens=2010, output_tokens=69, cache_read_tokens=400)


def test_the_usage_of_a_conversation_stands_for_what_was() -> None:
    one = meter(Counting.CONVERSATION)
    meta = {"promptTokens": 1200, "completionTokens": 34, "cachedTokens": 200}
    cost = {"amount": 0.004, "currency": "USD"}

    one.note_update({"sessionUpdate": "usage_update", "_meta": meta, "cost": cost})
    early = one.total
    one.note_end({"usage": {"inputTokens": 2400, "outputTokens": 68, "totalTokens": 2468}})

    assert (early.input_tokens, early.cache_read_tokens) == (1000, 200)
    assert one.total == Usage(
        input_tokens=2400, output_tokens=68, cost_usd=0.004, source=CostSource.AGENT
    )


def test_money_is_told_for_the_whole_conversation_and_never_grows_less() -> None:
    one = meter(Counting.NOT)
    for amount in (0.003, 0.007, 0.005):
        cost = {"amount": amount, "currency": "USD"}
        one.note_update({"sessionUpdate": "usage_update", "cost": cost})
    one.note_update({"sessionUpdate": "usage_update", "cost": {"amount": 9, "currency": "EUR"}})

    assert one.total.cost_usd == 0.007
    assert one.total.source is CostSource.AGENT


def test_tokens_are_priced_where_the_agent_names_no_money() -> None:
    one = meter(Counting.PROMPT, Price(input=3.0, output=15.0))
    one.note_end({"usage": {"inputTokens": 1_000_000, "outputTokens": 0, "totalTokens": 1_000_000}})

    assert one.total.cost_usd == 3.0


@pytest.mark.parametrize(
    "usage",
    [7, [], {"inputTokens": "x", "outputTokens": None}, {"inputTokens": -5}, {"inputTokens": True}],
)
def test_figures_that_are_none_count_for_nothing(usage: Any) -> None:
    one = meter(Counting.PROMPT)
    one.note_end({"usage": usage})
    assert one.total == BEFORE


# --- what it offers ------------------------------------------------------------------------------


def test_modes_and_models_are_found_wherever_an_agent_puts_them() -> None:
    offer = Offer.read(
        {
            "modes": {"availableModes": [{"id": "ask", "name": "Ask"}], "currentModeId": "ask"},
            "models": {
                "availableModels": [{"modelId": "big", "name": "Big"}],
                "currentModelId": "own",
            },
            "configOptions": [
                {
                    "id": "model",
                    "category": "model",
                    "currentValue": "mine",
                    "options": [{"group": "g", "options": [{"value": "p/small", "name": "Small"}]}],
                },
                {"id": "m", "category": "mode", "options": [{"value": "plan"}]},
            ],
        }
    )

    assert find_choice("plan", offer.modes) == Choice("plan", "", "m")
    assert find_choice("ask", offer.modes) == Choice("ask", "Ask")
    assert find_choice("Small", offer.models) == Choice("p/small", "Small", "model")
    assert find_choice("mine", offer.models) == Choice("mine", "", "model")
    assert find_choice("own", offer.models) == Choice("own", "")
    assert find_choice("Big", offer.models) == Choice("big", "Big")
    assert find_choice("none", offer.models) is None


@pytest.mark.parametrize(
    "answer", [{}, {"modes": 3, "models": {"availableModels": [1]}, "configOptions": [[], {}]}]
)
def test_an_agent_may_offer_nothing(answer: Json) -> None:
    assert Offer.read(answer) == Offer()


def test_rules_without_a_coordinator_allow_what_is_known() -> None:
    rules = Rules(ROOT, allow_all)
    assert rules.refuse(Tool("1").updated(EDIT)) == ""
