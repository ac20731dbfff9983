"""What known programs print is understood: lines as the real ones wrote them."""

import json
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


def test_mini_notes_its_cost_in_its_trajectory() -> None:
    told = {"info": {"model_stats": {"instance_cost": 0.125, "api_calls": 3}}}
    assert read_trajectory(told).cost_usd == pytest.approx(0.125)
    assert read_trajectory({"info": []}) == Usage()


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
