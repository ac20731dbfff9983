"""One HTTP request to this machine, bounded in time and size; no proxy is ever asked.

Redirects are not followed here: where to is for whoever asks to decide.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from socket import SHUT_RDWR
from time import monotonic
from typing import Final
from urllib.parse import quote, urlsplit

from auto_build.core.document import Json

LIMIT_S: Final = 30.0
_MOST: Final = 1_000_000  # bytes of an answer that are read
_PIECE: Final = 65_536
_SLACK_S: Final = 5.0  # seconds after which the thread that reads is given up
_SAFE: Final = "/%:@!$&'()*+,;=~-._?[]"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `body` as text, `cut` where there was more of it; `location` leads on."""

    status: int
    body: str = ""
    cut: bool = False
    location: str = ""


@dataclass(frozen=True, slots=True)
class Silence:
    """Why there was no answer."""

    why: str


@dataclass(frozen=True, slots=True)
class Question:
    """A request to an address of ours; a `body` that is no text is sent as JSON."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None


async def ask(question: Question, *, limit_s: float = LIMIT_S) -> Answer | Silence:
    """Send a request and return what came of it, within `limit_s` seconds."""
    try:
        parts = urlsplit(question.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=limit_s)
    except (ValueError, HTTPException) as error:
        return Silence(f"{question.url} is no address: {error}")
    try:
        async with asyncio.timeout(limit_s + _SLACK_S):
            return await asyncio.to_thread(_exchange, connection, question, limit_s)
    except TimeoutError:
        return Silence(f"no answer within {limit_s:g} s")
    finally:
        _hang_up(connection)  # the thread, if it still reads, comes to its end


def _exchange(connection: HTTPConnection, question: Question, limit_s: float) -> Answer | Silence:
    until = monotonic() + limit_s
    parts = urlsplit(question.url)
    target = quote(parts.path or "/", safe=_SAFE)
    if parts.query:
        target += "?" + quote(parts.query, safe=_SAFE)
    body, kind = _encoded(question.body)
    headers = {**kind, **question.headers, "Connection": "close"}
    try:
        connection.request(question.method, target, body, headers)
        with connection.getresponse() as came:
            content, cut = _read(came, until)
    except TimeoutError:
        return Silence(f"no answer within {limit_s:g} s")
    except (OSError, HTTPException, ValueError) as error:
        return Silence(str(error) or type(error).__name__)
    return Answer(
        came.status,
        content.decode("utf-8", "replace"),
        cut,
        came.getheader("Location") or "",
    )


def _read(came: HTTPResponse, until: float) -> tuple[bytes, bool]:
    """Read a body as far as it comes in time, which for one that streams is not to its end."""
    content = b""
    while len(content) < _MOST:
        if monotonic() >= until:
            return content, True
        try:
            piece = came.read1(_PIECE)
        except TimeoutError:
            return content, True
        if not piece:
            return content, False
        content += piece
    return content[:_MOST], True


def _encoded(body: Json) -> tuple[bytes | None, dict[str, str]]:
    """Return a request's body as it is sent, and the header that says what it is."""
    if body is None:
        return None, {}
    text = body if isinstance(body, str) else json.dumps(body)
    try:
        json.loads(text)
        kind = "application/json"
    except ValueError:
        kind = "text/plain; charset=utf-8"
    return text.encode("utf-8", "replace"), {"Content-Type": kind}


def _hang_up(connection: HTTPConnection) -> None:
    if connection.sock is not None:
        with suppress(OSError):  # the other side has done so already
            connection.sock.shutdown(SHUT_RDWR)
    connection.close()
