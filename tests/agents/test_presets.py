"""What known programs print is understood: lines as the real ones wrote them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auto_build.agents.base import AgentEvent, Began, Doing, Ended, Stop, Text
from auto_build.agents.presets import (
    PRESETS,
    Heard,
    Start,
    judge,
    read_line,
    read_trajectory,
    total,
)
from auto_build.core.usage import CostSource, Price, Usage

NOW = 1_000_000.0


def recorded(name: str) -> str:
    """Return what a program printed."""
    return (Path(__file__).with_name("recorded") / name).read_text(encoding="utf-8")


CODEX = recorded("codex.jsonl")
CODEX_AUTH = recorded("codex-auth.jsonl")
CODEX_LIMIT = recorded("codex-limit.jsonl")
CODEX_FULL = recorded("codex-full.jsonl")
GEMINI = recorded("gemini.jsonl")
GEMINI_AUTH = recorded("gemini-auth.jsonl")
OPENCODE = recorded("opencode.jsonl")
OPENCODE_AUTH = recorded("opencode-auth.jsonl")
AIDER_AUTH = recorded("aider-auth.txt")


def hear(preset: str, printed: str) -> tuple[Heard, list[AgentEvent]]:
    """Return what is heard of a program's whole output."""
    heard, told = Heard(), list[AgentEvent]()
    for line in printed.splitlines():
        heard, events = read_line(PRESETS[preset], heard, line)
        told.extend(events)
    return heard, told


def ended(preset: str, printed: str, code: int = 0, **more: Any) -> Ended:
    heard, _ = hear(preset, printed)
    return judge(heard, code, "", **{"wants_answer": False, "now": NOW, **more})


# --- what they do ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "printed", "told"),
    [
        ("codex", CODEX, [Began("01a20d02-d37f"), Doing("$ /bin/bash -lc 'make'")]),
        ("gemini", GEMINI, [Began("281b69d3"), Doing("write_file a.txt")]),
        ("opencode", OPENCODE, [Began("ses_df2f"), Doing("write a.txt")]),
    ],
)
def test_what_a_program_does_is_told(preset: str, printed: str, told: list[AgentEvent]) -> None:
    heard, events = hear(preset, printed)
    *done, last = events
    assert done == told
    assert isinstance(last, Text)
    assert "done" in last.text
    assert heard.worked
    assert ended(preset, printed) == Ended(stop=Stop.DONE)


@pytest.mark.parametrize(
    ("preset", "printed", "used"),
    [
        ("codex", CODEX, Usage(input_tokens=1500, cache_read_tokens=500, output_tokens=100)),
        ("gemini", GEMINI, Usage(input_tokens=1600, cache_read_tokens=400, output_tokens=100)),
        (
            "opencode",
            OPENCODE,
            Usage(
                input_tokens=2000,
                cache_read_tokens=7,
                output_tokens=100,
                cost_usd=0.0075,
                source=CostSource.AGENT,
            ),
        ),
    ],
)
def test_what_it_used_up_is_counted(preset: str, printed: str, used: Usage) -> None:
    assert hear(preset, printed)[0].used == used


def test_a_conversation_that_counts_from_its_beginning_is_counted_once() -> None:
    used, before = Usage(output_tokens=300), Usage(output_tokens=200)
    assert total(PRESETS["codex"], used, before, None) == Usage(output_tokens=300)
    assert total(PRESETS["gemini"], used, before, None) == Usage(output_tokens=500)


def test_a_price_in_the_settings_turns_tokens_into_money() -> None:
    used = Usage(input_tokens=1_000_000)
    told = total(PRESETS["codex"], used, Usage(), Price(input=2.0, output=8.0))
    assert told.cost_usd == pytest.approx(2.0)
    assert told.source is CostSource.PRICED


def trajectory(status: str, cost: float, last: str = "") -> dict[str, Any]:
    """Return what mini-swe-agent 2.4 notes of two answers; what nobody reads is left out."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 50}
    usages = ({**usage, "prompt_tokens_details": {"cached_tokens": 200}}, usage)
    return {
        "info": {"model_stats": {"instance_cost": cost, "api_calls": 2}, "exit_status": status},
        "messages": [
            *(
                {"role": "assistant", "content": None, "extra": {"response": {"usage": one}}}
                for one in usages
            ),
            {"role": "exit", "content": last, "extra": {"exit_status": status}},
        ],
    }


def test_mini_notes_what_it_used_up_in_its_trajectory() -> None:
    used = Usage(input_tokens=1800, cache_read_tokens=200, output_tokens=100)
    unpriced = read_trajectory(Heard(), trajectory("Submitted", 0.0)).used
    priced = read_trajectory(Heard(), trajectory("Submitted", 0.125)).used

    assert unpriced == used, "a price that it does not know is no price of nothing"
    assert priced == replace(used, cost_usd=0.125, source=CostSource.AGENT)
    assert read_trajectory(Heard(), {"info": [], "messages": {}}) == Heard()


def test_aider_counts_in_round_figures() -> None:
    plain, _ = hear("aider", "Tokens: 950 sent, 50 received.\n" * 2)
    priced, _ = hear(
        "aider",
        "Tokens: 12k sent, 2.5k cache write, 1.5k cache hit, 34 received."
        " Cost: $0.0018 message, $0.0052 session.",
    )

    assert plain.used == Usage(input_tokens=1900, output_tokens=100)
    assert priced.used == Usage(
        input_tokens=8000,
        output_tokens=34,
        cache_read_tokens=1500,
        cache_write_tokens=2500,
        cost_usd=0.0018,
        source=CostSource.AGENT,
    )


# --- those that write for people ------------------------------------------------------------------

AIDER_ANSWERS = "Tokens: 1.0k sent, 50 received.\n"
AIDER_LIMIT = """\
litellm.RateLimitError: RateLimitError: OpenAIException - Rate limit reached for requests
The API provider has rate limited you. Try again later or check your quotas.
Retrying in 0.2 seconds...
"""
AIDER_FULL = """\
Tokens: 581 sent, 0 received.
Model openai/stub-model has hit a token limit!
"""
AIDER_LINT = """\
Applied edit to bad.py
Traceback (most recent call last):
SyntaxError: invalid syntax
"""


@pytest.mark.parametrize(
    ("printed", "stop"),
    [
        (AIDER_LIMIT, Stop.RATE_LIMIT),
        (AIDER_LIMIT * 2 + AIDER_ANSWERS, Stop.DONE),
        (AIDER_ANSWERS + AIDER_LIMIT, Stop.RATE_LIMIT),
        (AIDER_FULL, Stop.CONTEXT_FULL),
        (AIDER_LINT + "It is mended.\n" + AIDER_ANSWERS, Stop.DONE),
        ("Repo-map: disabled\nWhich of the two?\n" + AIDER_ANSWERS, Stop.NEEDS_INPUT),
    ],
)
def test_aider_says_in_words_how_it_went(printed: str, stop: Stop) -> None:
    assert ended("aider", printed).stop is stop


def test_what_aider_asks_comes_without_its_banner() -> None:
    printed = "Aider v0.86.2\nRepo-map: disabled\nWhich of the two?\n" + AIDER_ANSWERS
    assert ended("aider", printed).detail.strip() == "Which of the two?"


def test_a_traceback_in_what_mini_runs_is_not_its_own() -> None:
    heard, _ = hear("mini", "Traceback (most recent call last):\nValueError: 1\n")
    heard = read_trajectory(heard, trajectory("Submitted", 0.1))
    assert judge(heard, 0, "", wants_answer=False, now=NOW) == Ended(stop=Stop.DONE)


@pytest.mark.parametrize(
    ("status", "words", "stop"),
    [
        ("AuthenticationError", "OpenAIException - Incorrect API key provided", Stop.AUTH),
        ("ContextWindowExceededError", "This model's maximum context length", Stop.CONTEXT_FULL),
        ("LimitsExceeded", "", Stop.ERROR),
    ],
)
def test_why_mini_stopped_stands_in_its_trajectory(status: str, words: str, stop: Stop) -> None:
    heard = read_trajectory(Heard(), trajectory(status, 0.1, words))
    end = judge(heard, 0, "", wants_answer=False, now=NOW)
    assert end.stop is stop
    assert status in end.detail


# --- why they stop --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "printed", "code", "stop"),
    [
        ("codex", CODEX_AUTH, 1, Stop.AUTH),
        ("codex", CODEX_LIMIT, 1, Stop.RATE_LIMIT),
        ("codex", CODEX_FULL, 1, Stop.CONTEXT_FULL),
        ("gemini", GEMINI_AUTH, 145, Stop.AUTH),
        ("opencode", OPENCODE_AUTH, 1, Stop.AUTH),
        ("aider", AIDER_AUTH, 0, Stop.AUTH),
        ("codex", "", 1, Stop.DONE),
    ],
)
def test_what_went_wrong_is_read_from_what_it_says(
    preset: str, printed: str, code: int, stop: Stop
) -> None:
    if stop is Stop.DONE:  # nothing was said: the end of the output is all there is
        heard, _ = hear(preset, printed)
        told = judge(heard, code, "it broke", wants_answer=False, now=NOW)
        assert told == Ended(stop=Stop.ERROR, detail="it broke")
    else:
        assert ended(preset, printed, code).stop is stop


def test_a_limit_that_says_when_it_ends_is_believed() -> None:
    line = json.dumps({"type": "turn.failed", "error": {"message": "429: try again in 20s"}})
    assert ended("codex", line, 1).reset_at == NOW + 20


def test_a_failure_that_was_got_over_is_none() -> None:
    assert ended("codex", CODEX_AUTH.replace("turn.failed", "x") + CODEX).stop is Stop.DONE


def test_a_question_without_work_needs_an_answer() -> None:
    item = {"type": "item.completed", "item": {"type": "agent_message", "text": "Tabs or spaces?"}}
    done = {"type": "turn.completed", "usage": {}}
    printed = f"{json.dumps(item)}\n{json.dumps(done)}\n"
    assert ended("codex", printed).stop is Stop.NEEDS_INPUT
    assert ended("codex", CODEX.rpartition('{"type":"turn.c')[0] + printed).stop is Stop.DONE


def test_an_answer_is_the_last_object_that_was_said() -> None:
    item = {"type": "agent_message", "text": 'so: {"a": 1}\n```json\n{"b": 2}\n```'}
    printed = json.dumps({"type": "item.completed", "item": item})
    assert ended("codex", printed, wants_answer=True).answer == {"b": 2}
    assert ended("codex", CODEX, wants_answer=True).stop is Stop.ERROR


def test_words_that_come_in_pieces_are_put_together() -> None:
    pieces = ["so: {", '"ver', 'dict":\n "go', 'od"}']
    lines = [{"type": "message", "role": "assistant", "content": one} for one in pieces]
    printed = "\n".join(map(json.dumps, [*lines, {"type": "result", "status": "success"}]))

    assert hear("gemini", printed)[1] == [Text('so: {"verdict":'), Text(' "good"}')]
    assert ended("gemini", printed, wants_answer=True).answer == {"verdict": "good"}


def test_who_says_nothing_and_does_nothing_is_not_done() -> None:
    printed = '{"type":"result","status":"success","stats":{}}'
    assert ended("gemini", printed).stop is Stop.ERROR


def test_what_was_cut_off_is_not_done() -> None:
    printed = OPENCODE.replace('"stop"', '"length"')
    assert ended("opencode", printed).stop is Stop.CONTEXT_FULL


def test_what_is_no_json_is_said() -> None:
    assert hear("codex", "warming up\n{broken\n")[1] == [Text("warming up"), Text("{broken")]


# --- how they are started -------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_a_model_is_named_only_where_one_is_chosen(preset: str) -> None:
    argv = PRESETS[preset].argv
    assert "--model" not in argv(Start())
    assert "big" in argv(Start(model="big"))


@pytest.mark.parametrize("preset", [name for name, one in PRESETS.items() if one.abilities.resumes])
def test_a_conversation_is_taken_up_by_its_name(preset: str) -> None:
    assert "s1" in PRESETS[preset].argv(Start(session="s1"))


def test_who_may_only_read_is_started_so() -> None:
    assert 'sandbox_mode="read-only"' in PRESETS["codex"].argv(Start(read_only=True))
    assert "yolo" not in PRESETS["gemini"].argv(Start(read_only=True))
    assert "plan" in PRESETS["opencode"].argv(Start(read_only=True))
    denied = json.loads(PRESETS["opencode"].env(Start(read_only=True))["OPENCODE_PERMISSION"])
    assert denied == {"edit": "deny", "bash": "deny"}
    assert PRESETS["opencode"].env(Start()) == {}
