"""HTTP requests that a plan names: asked of the services, and their answers compared."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urljoin

from auto_build.core.acceptance import ApiRequest, ItemState
from auto_build.core.document import Json, shorten
from auto_build.tryout.addresses import Address, Nowhere, resolve
from auto_build.tryout.http import Answer, Question, Silence, ask
from auto_build.tryout.outcome import TAIL, Outcome

_HOPS: Final = 5
_MOST_DIFFERENCES: Final = 10


async def try_request(request: ApiRequest, services: Sequence[Address]) -> Outcome:
    """Ask what a plan says, and say how the answer differs from what it must be."""
    place = resolve(request.url, services)
    if isinstance(place, Nowhere):
        return Outcome(ItemState.UNVERIFIED, place.why)
    question = Question(request.method, place, request.headers, request.body)
    asked = f"{request.method} {place}"
    answer = await ask(question)
    for _ in range(_HOPS):
        onward = _next(request, question, answer, services)
        if onward is None:
            break
        question = replace(question, url=onward)
        answer = await ask(question)
    if isinstance(answer, Silence):
        return Outcome(ItemState.FAILED, f"{asked}: {answer.why}")
    tail = answer.body[-TAIL:]
    if found := list(differences(request, answer))[:_MOST_DIFFERENCES]:
        return Outcome(ItemState.FAILED, f"{asked}: {'; '.join(found)}", tail)
    return Outcome(ItemState.PASSED, f"{asked}: status {answer.status}", tail)


def _next(
    request: ApiRequest, question: Question, answer: Answer | Silence, services: Sequence[Address]
) -> str | None:
    """Return where an answer leads on to, where that is a service again and was not asked for."""
    if isinstance(answer, Silence) or not answer.location or request.method not in {"GET", "HEAD"}:
        return None
    wanted = request.status is not None and 300 <= request.status < 400
    if wanted or not 300 <= answer.status < 400:
        return None
    place = resolve(urljoin(question.url, answer.location), services)
    return None if isinstance(place, Nowhere) else place


def differences(request: ApiRequest, answer: Answer) -> Iterator[str]:
    """Yield each way in which an answer is not what it must be."""
    if request.status is None and answer.status >= 400:
        yield f"status {answer.status}, expected one below 400"
    elif request.status not in {None, answer.status}:
        to = f" (to {answer.location})" if answer.location else ""
        yield f"status {answer.status}{to}, expected {request.status}"
    for text in request.contains:
        if text not in answer.body:
            yield f"{shorten(text)!r} is not in the answer"
    if request.json_body is None:
        return
    try:
        came = json.loads(answer.body)
    except (ValueError, RecursionError):
        yield "the answer is not JSON"
        return
    yield from _lacking(request.json_body, came, "answer")


def _lacking(wanted: Json, came: Json, path: str) -> Iterator[str]:
    """Yield where `came` does not hold what `wanted` names; more than that it may hold."""
    if isinstance(wanted, dict) and isinstance(came, dict):
        for key, value in wanted.items():
            if key not in came:
                yield f"{path}.{key} is missing"
            else:
                yield from _lacking(value, came[key], f"{path}.{key}")
    elif isinstance(wanted, list) and isinstance(came, list):
        for value in wanted:
            if all(next(_lacking(value, one, path), None) for one in came):
                yield f"{path} holds no {shorten(value)}"
    elif wanted != came or isinstance(wanted, bool) != isinstance(came, bool):
        yield f"{path} is {shorten(came)}, expected {shorten(wanted)}"
