"""Answers are bounded: in time, and in what is read of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from auto_build.tryout.http import Answer, Question, Silence, ask

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"


@asynccontextmanager
async def saying(first: bytes, again: bytes) -> AsyncIterator[str]:
    """Serve one who hears something at once, and then, bit by bit, something without an end."""
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(first)
            listening = asyncio.create_task(reader.read())
            while not listening.done():
                writer.write(again)
                await writer.drain()
                await asyncio.wait({listening}, timeout=0.01)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with asyncio.timeout(20):
            await gone.wait()


@pytest.mark.parametrize(
    ("first", "again", "body", "cut"),
    [
        (HEAD, b"tick ", "tick ", True),  # streams
        (HEAD + b"hello", b"", "hello", True),  # says no more, and does not hang up
        (HEAD, b"x" * 2_000_000, "x" * 1_000_000, True),
        (HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"), b"", "hello", False),
    ],
)
async def test_an_answer_counts_as_far_as_it_comes(
    first: bytes, again: bytes, body: str, cut: bool
) -> None:
    async with saying(first, again) as url:
        answer = await ask(Question("GET", url), limit_s=0.3)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.cut) == (200, cut)
    assert answer.body.startswith(body)
    assert len(answer.body) <= 1_000_000


@pytest.mark.parametrize("url", ["http://localhost:1/", "http://localhost:99999/", "http://[/"])
async def test_what_cannot_be_reached_is_silent(url: str) -> None:
    assert isinstance(await ask(Question("GET", url)), Silence)


async def test_who_says_nothing_is_silent() -> None:
    async with saying(b"", b"") as url:
        answer = await ask(Question("GET", url), limit_s=0.2)
    assert answer == Silence("no answer within 0.2 s")


@pytest.mark.parametrize(
    ("method", "headers"),
    [("G\r\nE", {}), ("GET", {"A": "b\r\nC: d"}), ("GET", {"\u4e2d": "x"})],
)
async def test_what_no_request_can_hold_is_not_sent(method: str, headers: dict[str, str]) -> None:
    answer = await ask(Question(method, "http://localhost:1/", headers))
    assert isinstance(answer, Silence)
    assert "refused" not in answer.why
