"""The stub answers as the services do, plays what it is told, and notes what it served."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from auto_build.agents.script import Script
from tests.stubs import acts
from tests.stubs.server import ModelStub

Json = dict[str, Any]
WRITE = {"name": "Write", "input_schema": {"properties": {"file_path": {}, "content": {}}}}
BASH = {"name": "Bash", "input_schema": {"properties": {"command": {}, "description": {}}}}
CHAT_BASH = {"function": {"name": "bash", "parameters": {"properties": {"command": {}}}}}
GEMINI_WRITE = {
    "name": "write_file",
    "parametersJsonSchema": {"properties": {"file_path": {}, "content": {}}},
}
FAILURES = {
    acts.Failure.AUTH: 401,
    acts.Failure.FORBIDDEN: 403,
    acts.Failure.RATE_LIMIT: 429,
    acts.Failure.SERVER_ERROR: 500,
    acts.Failure.CONTEXT_FULL: 400,
    acts.Failure.UNKNOWN_MODEL: 404,
}


@pytest.fixture(scope="module")
def stub() -> Iterator[ModelStub]:
    with ModelStub() as serving:
        yield serving


@asynccontextmanager
async def asked(
    url: str, path: str, body: Json, **headers: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    limit = aiohttp.ClientTimeout(total=10)
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.post(url + path, json=body, headers=headers) as response,
    ):
        yield response


def said(*texts: str, tools: list[Json] | None = None, stream: bool = False) -> Json:
    messages = [{"role": "user", "content": text} for text in texts]
    offered = [WRITE, BASH] if tools is None else tools
    return {"model": "m", "messages": messages, "tools": offered, "stream": stream}


def events(text: str) -> list[Json]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


async def test_a_scenario_is_played_one_act_a_request(stub: ModelStub) -> None:
    url = stub.play("steps", acts.WriteFile("a", "x"), acts.Say("well done"))
    answers = []
    for _ in range(3):
        async with asked(url, "/v1/messages", said("go")) as response:
            answers.append(await response.json())
    assert answers[0]["content"][0]["input"] == {"file_path": "a", "content": "x"}
    assert answers[0]["stop_reason"] == "tool_use"
    assert [one["content"][0]["text"] for one in answers[1:]] == ["well done", "It is done."]
    assert [one.usage for one in stub.served("steps")] == [acts.Tokens()] * 3


async def test_a_stream_says_the_same_piece_by_piece(stub: ModelStub) -> None:
    url = stub.play("stream", acts.RunCommand("ls", usage=acts.Tokens(input=7, output=3)))
    async with asked(url, "/v1/messages", said("go", stream=True)) as response:
        told = events(await response.text())
    assert [one["type"] for one in told] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert json.loads(told[2]["delta"]["partial_json"])["command"] == "ls"
    assert told[4]["usage"]["output_tokens"] == 3


async def test_chat_completions_use_the_client_s_own_shell(stub: ModelStub) -> None:
    url = stub.play("chat", acts.WriteFile("a", "x"), acts.Say("done"))
    body = said("go", tools=[CHAT_BASH])
    async with asked(url, "/v1/chat/completions", body) as response:
        (choice,) = (await response.json())["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "bash"
    assert set(json.loads(call["function"]["arguments"])) == {"command"}
    async with asked(url, "/v1/chat/completions", {**body, "stream": True}) as response:
        text = await response.text()
    assert text.endswith("data: [DONE]\n\n")
    assert events(text)[-1]["usage"]["total_tokens"] == 1050


async def test_responses_stream_ends_with_the_whole_response(stub: ModelStub) -> None:
    url = stub.play("responses", acts.Say("done"))
    body = {"model": "m", "input": "go", "stream": True, "tools": []}
    async with asked(url, "/v1/responses", body) as response:
        told = events(await response.text())
    assert told[-1]["type"] == "response.completed"
    assert told[-1]["response"]["output"][0]["content"][0]["text"] == "done"
    assert told[-1]["response"]["usage"]["input_tokens"] == 1000


async def test_gemini_writes_with_the_client_s_own_tool(stub: ModelStub) -> None:
    url = stub.play("gemini", acts.WriteFile("a", "x"))
    body = {
        "contents": [{"role": "user", "parts": [{"text": "go"}]}],
        "tools": [{"functionDeclarations": [GEMINI_WRITE]}],
    }
    path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    async with asked(url, path, body) as response:
        (told,) = events(await response.text())
    (part,) = told["candidates"][0]["content"]["parts"]
    assert part["functionCall"] == {
        "name": "write_file",
        "args": {"file_path": "a", "content": "x"},
    }
    assert stub.served("gemini")[0].prompt == "go"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize("failure", FAILURES)
async def test_each_failure_has_its_status(
    stub: ModelStub, path: str, failure: acts.Failure
) -> None:
    url = stub.play("failing", acts.Fail(failure, after_s=30.0))
    async with asked(url, path, said("go")) as response:
        assert response.status == FAILURES[failure]
        assert "error" in await response.json()
        if failure is acts.Failure.RATE_LIMIT:
            assert response.headers["retry-after"] == "30"
    assert [one.usage for one in stub.served("failing")][-1] is None


@pytest.mark.parametrize("where", acts.Where)
async def test_a_connection_is_broken_off_where_the_scenario_says(
    stub: ModelStub, where: acts.Where
) -> None:
    url = stub.play("dropping", acts.Drop(where))
    with pytest.raises(aiohttp.ClientError):
        async with asked(url, "/v1/messages", said("go", stream=True)) as response:
            await response.read()


async def test_a_client_that_is_kept_waiting_does_not_keep_the_stub_from_stopping() -> None:
    with ModelStub() as stub:
        url = stub.play("hanging", acts.Hang(), acts.Hang(acts.Where.MID_TEXT))
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3), asked(url, "/v1/messages", said("a", stream=True)):
                    await asyncio.Event().wait()


async def test_a_key_and_a_model_are_looked_at(stub: ModelStub) -> None:
    url = stub.play("keys", acts.Say("hello"))
    async with asked(url, "/v1/messages", said("go"), **{"x-api-key": "bad-key"}) as response:
        assert response.status == 401
    async with aiohttp.ClientSession() as session:
        for path, status in (("claude-opus-5-5", 200), ("no-such-model", 404)):
            async with session.get(f"{url}/v1/models/{path}") as response:
                assert response.status == status


async def test_what_nobody_expected_is_noted() -> None:
    with ModelStub() as stub:
        async with asked(stub.url("x"), "/v1/telemetry", {}) as response:
            assert response.status == 404
        assert stub.requests_other == ("POST /s/x/v1/telemetry",)


# --- scripts --------------------------------------------------------------------------------------

SCRIPT = Script.model_validate(
    {
        "turn": [
            {
                "chunk": "1-1",
                "steps": [
                    {"do": "say", "text": "so"},
                    {"do": "write", "path": "a", "text": "1"},
                    {"do": "run", "command": "make"},
                ],
            },
            {
                "chunk": "1-1",
                "round": 1,
                "steps": [{"do": "write", "path": "a", "text": "2"}],
            },
            {
                "chunk": "1-1",
                "attempt": 2,
                "steps": [{"do": "write", "path": "a", "text": "3"}],
            },
        ]
    }
)
TASK = {"role": "user", "content": "one of several\n\n# Your chunk: 1-1 — Do it\n"}
USED = {
    "role": "assistant",
    "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}],
}
AGAIN = {"role": "user", "content": "# An earlier attempt\n\nIt could not be merged."}
REPAIR = "Your work on chunk 1-1 (Do it) was checked. It did not pass (repair round 1 of 2)."


def result(text: str = "ok") -> Json:
    block = {"type": "tool_result", "tool_use_id": "t", "content": text}
    return {"role": "user", "content": [block, {"type": "text", "text": "<system-reminder>"}]}


@pytest.mark.parametrize(
    ("messages", "does"),
    [
        ([TASK], "a1"),
        ([TASK, USED, result()], "make"),
        ([TASK, USED, result(), USED, result()], "It is done."),
        ([TASK, USED, result("outcome is unknown")], "a1"),
        ([TASK, USED, result(), {"role": "user", "content": "go on"}], "make"),
        ([TASK, USED, result(), {"role": "user", "content": REPAIR}], "a2"),
        ([{"role": "user", "content": f"{TASK['content']}\n{REPAIR}"}], "a2"),
        ([{"role": "user", "content": f"{TASK['content']}# An earlier attempt"}], "a3"),
        (
            [TASK, USED, result(), {"role": "user", "content": REPAIR}, USED, result(), AGAIN],
            "a3",
        ),
        ([{"role": "user", "content": "hello"}], "There is nothing to do."),
    ],
    ids=[
        "begins",
        "goes on",
        "ends",
        "cut off",
        "resumed",
        "repairs",
        "anew",
        "again",
        "resumed again",
        "other",
    ],
)
async def test_a_script_is_played_from_where_the_conversation_stands(
    stub: ModelStub, messages: list[Json], does: str
) -> None:
    url = stub.play_script("script", SCRIPT)
    async with asked(url, "/v1/messages", {**said(), "messages": messages}) as response:
        (block,) = (await response.json())["content"]
    given = block.get("input", {})
    wrote = f"{given.get('file_path', '')}{given.get('content', '')}"
    assert does in {block.get("text"), given.get("command"), wrote}


async def test_a_script_can_be_interrupted_at_one_request_of_one_chunk(stub: ModelStub) -> None:
    url = stub.play_script("cut", SCRIPT)
    stub.interrupt("cut", "1-1", 2, acts.Fail(acts.Failure.RATE_LIMIT, after_s=5))
    seen = []
    for _ in range(3):
        async with asked(url, "/v1/messages", {**said(), "messages": [TASK]}) as response:
            seen.append(response.status)
    assert seen == [200, 429, 200]
