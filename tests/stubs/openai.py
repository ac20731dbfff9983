"""OpenAI's chat completions and responses APIs, as far as their clients need them."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

from tests.stubs import acts
from tests.stubs.talk import Call, Json, Reply, Result, Talk, Turn

_PIECE = 400


# --- chat completions -----------------------------------------------------------------------------


def read_chat(body: Json) -> Talk:
    """Return the conversation in a request for a chat completion."""
    functions = [tool.get("function", tool) for tool in body.get("tools") or []]
    system = " ".join(
        _flat(one.get("content")) for one in body.get("messages", []) if one.get("role") == "system"
    )
    return Talk(
        api="chat",
        model=body.get("model", ""),
        stream=bool(body.get("stream")),
        turns=tuple(_chat_turn(message) for message in body.get("messages", [])),
        tools=_tools(functions),
        side=not functions and "title" in system,  # what opencode calls a conversation
    )


def _chat_turn(message: Json) -> Turn:
    match message.get("role"):
        case "assistant":
            return Turn(used_tools=bool(message.get("tool_calls")))
        case "tool":
            return Turn(results=(Result(_flat(message.get("content"))),))
        case "user":
            return Turn(prompt=_flat(message.get("content")))
        case _:
            return Turn()


def _flat(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return content or ""


def _tools(functions: list[Json]) -> dict[str, frozenset[str]]:
    return {
        one.get("name") or one.get("type", ""): frozenset(
            (one.get("parameters") or {}).get("properties", {})
        )
        for one in functions
    }


def whole_chat(reply: Reply, talk: Talk, number: int) -> Json:
    """Return a chat completion in one piece."""
    message: Json = {"role": "assistant", "content": reply.text or None}
    if reply.calls:
        message["tool_calls"] = [_chat_call(call) for call in reply.calls]
    choice = {"index": 0, "message": message, "finish_reason": _finish(reply)}
    return {**_chat_head(talk, number), "choices": [choice], "usage": _chat_usage(reply.usage)}


def pieces_chat(reply: Reply, talk: Talk, number: int) -> Iterator[bytes]:
    """Yield a chat completion as a stream."""
    head = {**_chat_head(talk, number), "object": "chat.completion.chunk"}

    def piece(delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _data({**head, "choices": [choice]})

    yield piece({"role": "assistant", "content": ""})
    for text in _cut(reply.text):
        yield piece({"content": text})
    for index, call in enumerate(reply.calls):
        yield piece({"tool_calls": [{"index": index, **_chat_call(call)}]})
    yield piece({}, _finish(reply))
    yield _data({**head, "choices": [], "usage": _chat_usage(reply.usage)})
    yield b"data: [DONE]\n\n"


def _chat_head(talk: Talk, number: int) -> Json:
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": talk.model,
    }


def _chat_call(call: Call) -> Json:
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _finish(reply: Reply) -> str:
    finish = {"end": "stop", "tool": "tool_calls", "length": "length", "refusal": "content_filter"}
    return finish[reply.stop]


def _chat_usage(usage: acts.Tokens) -> Json:
    sent = usage.input + usage.cache_read + usage.cache_write
    return {
        "prompt_tokens": sent,
        "completion_tokens": usage.output,
        "total_tokens": sent + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
    }


# --- responses ------------------------------------------------------------------------------------


def read_responses(body: Json) -> Talk:
    """Return the conversation in a request for a response."""
    given = body.get("input", [])
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return Talk(
        api="responses",
        model=body.get("model", ""),
        stream=bool(body.get("stream")),
        turns=tuple(_item_turn(item) for item in items),
        tools=_tools(body.get("tools") or []),
    )


def _item_turn(item: Json) -> Turn:
    kind = item.get("type", "message")
    if kind.endswith("_call_output"):
        return Turn(results=(Result(_output(item.get("output"))),))
    if kind.endswith("_call"):
        return Turn(used_tools=True)
    text = _flat(item.get("content"))
    if item.get("role") == "user" and not text.lstrip().startswith("<"):
        return Turn(prompt=text)
    return Turn()


def _output(output: Any) -> str:
    return output if isinstance(output, str) else json.dumps(output)


def whole_responses(reply: Reply, talk: Talk, number: int) -> Json:
    """Return a response in one piece."""
    done = reply.stop in {"end", "tool"}
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": talk.model,
        "status": "completed" if done else "incomplete",
        "output": _items(reply, number),
        "usage": _responses_usage(reply.usage),
        "error": None,
        "incomplete_details": None if done else {"reason": "max_output_tokens"},
        "parallel_tool_calls": True,
        "tools": [],
        "tool_choice": "auto",
    }


def _items(reply: Reply, number: int) -> list[Json]:
    if not reply.calls:
        content = [{"type": "output_text", "text": reply.text, "annotations": []}]
        head = {"type": "message", "id": f"msg_{number}", "role": "assistant"}
        return [{**head, "status": "completed", "content": content}]
    return [
        {
            "type": "function_call",
            "id": f"fc_{call.id}",
            "call_id": call.id,
            "name": call.name,
            "arguments": json.dumps(call.arguments),
            "status": "completed",
        }
        for call in reply.calls
    ]


def pieces_responses(reply: Reply, talk: Talk, number: int) -> Iterator[bytes]:
    """Yield a response as a stream of events."""
    response = whole_responses(reply, talk, number)
    order = count()

    def event(kind: str, **fields: Any) -> bytes:
        told = {"type": kind, "sequence_number": next(order), **fields}
        return f"event: {kind}\ndata: {json.dumps(told)}\n\n".encode()

    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    yield event("response.created", response=begun)
    for index, item in enumerate(response["output"]):
        place = {"output_index": index, "item_id": item["id"]}
        if item["type"] == "message":
            empty = {**item, "content": [], "status": "in_progress"}
            yield event("response.output_item.added", output_index=index, item=empty)
            part = {"type": "output_text", "text": "", "annotations": []}
            yield event("response.content_part.added", content_index=0, part=part, **place)
            for text in _cut(reply.text):
                yield event("response.output_text.delta", content_index=0, delta=text, **place)
            yield event("response.output_text.done", content_index=0, text=reply.text, **place)
        else:
            empty = {**item, "arguments": "", "status": "in_progress"}
            yield event("response.output_item.added", output_index=index, item=empty)
            told = item["arguments"]
            yield event("response.function_call_arguments.delta", delta=told, **place)
            yield event("response.function_call_arguments.done", arguments=told, **place)
        yield event("response.output_item.done", output_index=index, item=item)
    yield event("response.completed", response=response)


def _responses_usage(usage: acts.Tokens) -> Json:
    sent = usage.input + usage.cache_read + usage.cache_write
    return {
        "input_tokens": sent,
        "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": sent + usage.output,
    }


# --- both -----------------------------------------------------------------------------------------


def _cut(text: str) -> Iterator[str]:
    size = max(_PIECE, len(text) // 200)
    for at in range(0, len(text), size):
        yield text[at : at + size]


def _data(value: Json) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def failure(fail: acts.Fail, now: float) -> tuple[int, Json, dict[str, str]]:
    """Return the status, the body and the headers of a refusal."""
    status, kind, code, text = _FAILURES[fail.failure]
    headers = {} if fail.after_s is None else {"retry-after": str(int(fail.after_s) or 1)}
    return status, {"error": {"message": text, "type": kind, "code": code, "param": None}}, headers


_FAILURES = {
    acts.Failure.AUTH: (
        401,
        "invalid_request_error",
        "invalid_api_key",
        "Incorrect API key provided",
    ),
    acts.Failure.FORBIDDEN: (403, "permission_error", "forbidden", "not allowed to use this"),
    acts.Failure.RATE_LIMIT: (
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
        "Rate limit reached for requests",
    ),
    acts.Failure.OVERLOADED: (503, "server_error", "overloaded", "The engine is overloaded"),
    acts.Failure.SERVER_ERROR: (500, "server_error", "internal", "The server had an error"),
    acts.Failure.CONTEXT_FULL: (
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is 128000 tokens",
    ),
    acts.Failure.UNKNOWN_MODEL: (
        404,
        "invalid_request_error",
        "model_not_found",
        "The model `no-such-model` does not exist",
    ),
    acts.Failure.BILLING: (
        429,
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details",
    ),
}
