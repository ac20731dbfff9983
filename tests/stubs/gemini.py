"""Google's Gemini API (generateContent), as far as its clients need it."""

import json
from collections.abc import Iterator

from tests.stubs import acts
from tests.stubs.talk import Json, Reply, Result, Talk, Turn

_STOPS = {"end": "STOP", "tool": "STOP", "length": "MAX_TOKENS", "refusal": "SAFETY"}
_PIECE = 400


def read(body: Json, model: str, *, stream: bool) -> Talk:
    """Return the conversation in a request; one for JSON without tools is the client's own."""
    declared = [
        one for tool in body.get("tools") or [] for one in tool.get("functionDeclarations", [])
    ]
    tools = {one["name"]: frozenset(_arguments(one)) for one in declared}
    config = body.get("generationConfig") or {}
    return Talk(
        api="gemini",
        model=model,
        stream=stream,
        turns=tuple(_turn(content) for content in body.get("contents", [])),
        tools=tools,
        side=not tools or config.get("responseMimeType") == "application/json",
    )


def _arguments(declared: Json) -> Json:
    schema = declared.get("parametersJsonSchema") or declared.get("parameters") or {}
    properties: Json = schema.get("properties", {})
    return properties


def _turn(content: Json) -> Turn:
    parts = content.get("parts", [])
    if content.get("role") == "model":
        return Turn(used_tools=any("functionCall" in part for part in parts))
    results = tuple(
        Result(json.dumps(part["functionResponse"].get("response", {})))
        for part in parts
        if "functionResponse" in part
    )
    said = "" if results else "\n".join(part.get("text", "") for part in parts)
    return Turn(said, results)


def side_answer() -> str:
    """Return what the client's router of models is told."""
    told = {
        "reasoning": "a stub",
        "model_choice": "flash",
        "complexity_reasoning": "a stub",
        "complexity_score": 1,
        "next_speaker": "user",
    }
    return json.dumps(told)


def whole(reply: Reply, number: int) -> Json:
    """Return an answer in one piece."""
    parts: list[Json] = [{"text": reply.text}] if reply.text else []
    parts.extend(
        {"functionCall": {"name": call.name, "args": call.arguments}} for call in reply.calls
    )
    return _answer(parts, reply, number, finish=True)


def pieces(reply: Reply, number: int) -> Iterator[bytes]:
    """Yield an answer as a stream."""
    size = max(_PIECE, len(reply.text) // 200)
    for at in range(0, len(reply.text), size):
        part = {"text": reply.text[at : at + size]}
        yield _data(_answer([part], reply, number, finish=False))
    calls = [{"functionCall": {"name": call.name, "args": call.arguments}} for call in reply.calls]
    yield _data(_answer([*calls] or [{"text": ""}], reply, number, finish=True))


def _answer(parts: list[Json], reply: Reply, number: int, *, finish: bool) -> Json:
    candidate: Json = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        candidate["finishReason"] = _STOPS[reply.stop]
    return {
        "candidates": [candidate],
        "usageMetadata": _usage(reply.usage),
        "modelVersion": "stub",
        "responseId": f"r{number}",
    }


def _usage(usage: acts.Tokens) -> Json:
    sent = usage.input + usage.cache_read + usage.cache_write
    return {
        "promptTokenCount": sent,
        "candidatesTokenCount": usage.output,
        "totalTokenCount": sent + usage.output,
        "cachedContentTokenCount": usage.cache_read,
    }


def _data(value: Json) -> bytes:
    return f"data: {json.dumps(value)}\r\n\r\n".encode()


def failure(fail: acts.Fail, now: float) -> tuple[int, Json, dict[str, str]]:
    """Return the status, the body and the headers of a refusal."""
    code, status, text = _FAILURES[fail.failure]
    error: Json = {"code": code, "message": text, "status": status}
    if fail.after_s is not None:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        error["details"] = [{"@type": kind, "retryDelay": f"{int(fail.after_s) or 1}s"}]
    return code, {"error": error}, {}


_FAILURES = {
    acts.Failure.AUTH: (401, "UNAUTHENTICATED", "API key not valid"),
    acts.Failure.FORBIDDEN: (403, "PERMISSION_DENIED", "not allowed to use this"),
    acts.Failure.RATE_LIMIT: (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota"),
    acts.Failure.OVERLOADED: (503, "UNAVAILABLE", "The model is overloaded"),
    acts.Failure.SERVER_ERROR: (500, "INTERNAL", "An internal error has occurred"),
    acts.Failure.CONTEXT_FULL: (
        400,
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)",
    ),
    acts.Failure.UNKNOWN_MODEL: (404, "NOT_FOUND", "models/no-such-model is not found"),
    acts.Failure.BILLING: (429, "RESOURCE_EXHAUSTED", "Billing is not enabled"),
}
