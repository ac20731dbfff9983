"""The Anthropic Messages API, as far as its clients need it."""

import json
from collections.abc import Iterator
from typing import Any

from tests.stubs import acts
from tests.stubs.talk import Json, Reply, Result, Talk, Turn

_STOPS = {"end": "end_turn", "tool": "tool_use", "length": "max_tokens", "refusal": "refusal"}
_PIECE = 400
_ASIDE = "<system-reminder>"  # what a client says in a person's name


def read(body: Json) -> Talk:
    """Return the conversation in a request."""
    tools = {
        tool["name"]: frozenset(tool.get("input_schema", {}).get("properties", {}))
        for tool in body.get("tools") or []
        if "name" in tool
    }
    turns = tuple(_turn(message) for message in body.get("messages", []))
    return Talk(
        api="anthropic",
        model=body.get("model", ""),
        stream=bool(body.get("stream")),
        turns=turns,
        tools=tools,
        side=not tools,
    )


def _turn(message: Json) -> Turn:
    content = message.get("content", "")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if message.get("role") == "assistant":
        return Turn(used_tools=any(block["type"] == "tool_use" for block in blocks))
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    said = [text for text in texts if not text.lstrip().startswith(_ASIDE)]
    results = tuple(
        Result(_flat(block.get("content", "")), bool(block.get("is_error")))
        for block in blocks
        if block["type"] == "tool_result"
    )
    return Turn("\n".join(said), results)


def _flat(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block.get("text", "") for block in content)


def whole(reply: Reply, talk: Talk, number: int) -> Json:
    """Return an answer in one piece."""
    return {
        "id": f"msg_{number:08}",
        "type": "message",
        "role": "assistant",
        "model": talk.model,
        "content": [*_texts(reply), *_uses(reply)],
        "stop_reason": _STOPS[reply.stop],
        "stop_sequence": None,
        "usage": _usage(reply.usage),
    }


def pieces(reply: Reply, talk: Talk, number: int) -> Iterator[bytes]:
    """Yield an answer as a stream of events."""
    message = whole(reply, talk, number)
    blocks = message["content"]
    begun = {**message, "content": [], "stop_reason": None}
    begun["usage"] = {**message["usage"], "output_tokens": 1}
    yield _event("message_start", message=begun)
    for index, block in enumerate(blocks):
        text = block["type"] == "text"
        empty = {**block, "text": ""} if text else {**block, "input": {}}
        yield _event("content_block_start", index=index, content_block=empty)
        for delta in _deltas(block):
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", delta=delta, usage=message["usage"])
    yield _event("message_stop")


def _deltas(block: Json) -> Iterator[Json]:
    if block["type"] == "tool_use":
        yield {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        return
    size = max(_PIECE, len(block["text"]) // 200)
    for at in range(0, len(block["text"]), size):
        yield {"type": "text_delta", "text": block["text"][at : at + size]}


def _texts(reply: Reply) -> list[Json]:
    return [{"type": "text", "text": reply.text}] if reply.text else []


def _uses(reply: Reply) -> list[Json]:
    return [
        {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": call.arguments}
        for call in reply.calls
    ]


def _usage(usage: acts.Tokens) -> Json:
    return {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation_input_tokens": usage.cache_write,
    }


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def failure(fail: acts.Fail, now: float) -> tuple[int, Json, dict[str, str]]:
    """Return the status, the body and the headers of a refusal."""
    status, kind, text = _FAILURES[fail.failure]
    headers: dict[str, str] = {}
    if fail.failure is acts.Failure.RATE_LIMIT:
        headers["x-should-retry"] = "false"
        if fail.after_s is not None:
            headers["retry-after"] = str(int(fail.after_s) or 1)
            headers["anthropic-ratelimit-unified-status"] = "rejected"
            headers["anthropic-ratelimit-unified-reset"] = str(int(now + fail.after_s))
            text = f"Claude AI usage limit reached|{int(now + fail.after_s)}"
    body = {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_stub"}
    return status, body, headers


_FAILURES = {
    acts.Failure.AUTH: (401, "authentication_error", "invalid x-api-key"),
    acts.Failure.FORBIDDEN: (403, "permission_error", "not allowed to use this"),
    acts.Failure.RATE_LIMIT: (429, "rate_limit_error", "rate limit reached"),
    acts.Failure.OVERLOADED: (529, "overloaded_error", "Overloaded"),
    acts.Failure.SERVER_ERROR: (500, "api_error", "Internal server error"),
    acts.Failure.CONTEXT_FULL: (
        400,
        "invalid_request_error",
        "prompt is too long: 210000 tokens > 200000 maximum",
    ),
    acts.Failure.UNKNOWN_MODEL: (404, "not_found_error", "model: no-such-model"),
    acts.Failure.BILLING: (
        400,
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API.",
    ),
}
