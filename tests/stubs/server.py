"""A loopback server that answers as model services do, with models that play a scenario.

It runs in a thread of its own, so that tests of every kind can use it. One scenario has one address
(`/s/NAME`), whichever API is spoken to it: Anthropic's, OpenAI's two, Google's.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from auto_build.agents.script import Script
from tests.stubs import acts, anthropic, gemini, openai
from tests.stubs.script import Position, find_position, next_act
from tests.stubs.talk import Json, Reply, Talk, reply_to

BAD_KEY: Final = "bad-key"
NO_MODEL: Final = "no-such"
MODELS: Final = (
    "claude-opus-5-5",
    "claude-sonnet-4-5",
    "claude-haiku-4-5",
    "gpt-5",
    "gemini-2.5-flash",
    "stub-model",
)
_START_S: Final = 10.0
_NOTED: Final = ("authorization", "x-api-key", "x-goog-api-key", "user-agent")


@dataclass(frozen=True, slots=True)
class Served:
    """One request as it was answered; `usage` is None where nothing was used up."""

    name: str
    api: str
    model: str
    at: float
    headers: Mapping[str, str]
    talk: Talk
    act: acts.Act
    status: int
    usage: acts.Tokens | None
    position: Position | None = None

    @property
    def prompt(self) -> str:
        """What a person said last."""
        return self.talk.prompts[-1] if self.talk.prompts else ""


@dataclass(slots=True)
class _Scenario:
    """What the models at one address do."""

    script: Script | None = None
    deeds: tuple[acts.Act, ...] = ()
    repeat_last: bool = False
    played: int = 0
    interruptions: dict[tuple[str, int], acts.Act] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def next(self, talk: Talk) -> tuple[acts.Act, Position | None]:
        """Return what is done at this request."""
        if self.script is None:
            return self._next_act(), None
        at = find_position(talk)
        if at is None:
            return acts.Say("There is nothing to do."), None
        number = self.asked[at.chunk] = self.asked.get(at.chunk, 0) + 1
        interruption = self.interruptions.get((at.chunk, number))
        return interruption or next_act(self.script, at), at

    def _next_act(self) -> acts.Act:
        place = self.played
        self.played += 1
        if place < len(self.deeds):
            return self.deeds[place]
        return self.deeds[-1] if self.repeat_last and self.deeds else acts.Say("It is done.")


class ModelStub:
    """Model services on one port of 127.0.0.1; use it as a context manager."""

    def __init__(self) -> None:
        self._scenarios: dict[str, _Scenario] = {}
        self._served: list[Served] = []
        self._other: list[str] = []
        self._lock = threading.Lock()
        self._number = 0
        self._port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model stub", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_S):
            raise TimeoutError("the stub did not start")
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._loop and self._stopping:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_START_S)
        if self._thread.is_alive():
            raise TimeoutError("the stub did not stop")

    # --- what tests say ---------------------------------------------------------------------------

    def play(self, name: str, *deeds: acts.Act, repeat_last: bool = False) -> str:
        """Have a scenario played, one act a request; return its address."""
        self._scenarios[name] = _Scenario(deeds=deeds, repeat_last=repeat_last)
        return self.url(name)

    def play_script(self, name: str, script: Script) -> str:
        """Have a project's script played, by as many models as there are chunks; return its URL."""
        self._scenarios[name] = _Scenario(script=script)
        return self.url(name)

    def interrupt(self, name: str, chunk: str, nth: int, act: acts.Act) -> None:
        """Have something else done at the `nth` request (from 1) that is about a chunk."""
        self._scenarios[name].interruptions[chunk, nth] = act

    def url(self, name: str) -> str:
        """Return a scenario's address."""
        return f"http://127.0.0.1:{self._port}/s/{name}"

    # --- what tests ask ---------------------------------------------------------------------------

    def served(self, name: str) -> tuple[Served, ...]:
        """Return the requests of a scenario that were answered by its models, in order."""
        with self._lock:
            return tuple(one for one in self._served if one.name == name)

    @property
    def requests_other(self) -> tuple[str, ...]:
        """The requests that nobody expected: method and path."""
        with self._lock:
            return tuple(self._other)

    # --- serving ----------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/s/{name}/{tail:.*}", self._answer)
        app.router.add_route("*", "/{tail:.*}", self._answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        tail = "/" + request.match_info["tail"]
        body = await _body(request)
        model, _, method = tail.rpartition("/")[2].partition(":")
        if request.method == "POST" and tail.endswith("/v1/messages"):
            return await self._speak(request, _ANTHROPIC, anthropic.read(body))
        if request.method == "POST" and tail.endswith("/count_tokens"):
            return web.json_response({"input_tokens": len(str(body)) // 4})
        if request.method == "POST" and tail.endswith("/chat/completions"):
            return await self._speak(request, _CHAT, openai.read_chat(body))
        if request.method == "POST" and tail.endswith("/responses"):
            return await self._speak(request, _RESPONSES, openai.read_responses(body))
        if method in {"generateContent", "streamGenerateContent"}:
            talk = gemini.read(body, model, stream=method.startswith("stream"))
            return await self._speak(request, _GEMINI, talk)
        if method == "countTokens":
            return web.json_response({"totalTokens": len(str(body)) // 4})
        if "/models" in tail and request.method == "GET":
            return _models(request, tail)
        with self._lock:
            self._other.append(f"{request.method} {request.path}")
        return web.json_response(anthropic.failure(_NOT_FOUND, 0.0)[1], status=404)

    async def _speak(self, request: web.Request, api: "_Api", talk: Talk) -> web.StreamResponse:
        """Answer as a model does."""
        if talk.side:
            reply = Reply(gemini.side_answer(), (), "end", acts.Tokens())
            return await self._send(request, api, talk, reply, None)
        name = request.match_info.get("name", "default")
        act, at = self._next(name, request, talk)
        if isinstance(act, acts.Fail):
            status, told, headers = api.failure(act, time.time())  # noqa: TID251 - when it resets
            self._note(request, name, talk, act, at, status)
            await asyncio.sleep(act.delay_s)
            return web.json_response(told, status=status, headers=headers)
        self._note(request, name, talk, act, at, 200)
        await asyncio.sleep(act.delay_s)
        cut = act if isinstance(act, acts.Hang | acts.Drop) else None
        if cut is not None and cut.where is acts.Where.BEFORE_HEADERS:
            return await _break_off(request, cut)
        return await self._send(request, api, talk, reply_to(act, talk), cut)

    def _next(
        self, name: str, request: web.Request, talk: Talk
    ) -> tuple[acts.Act, Position | None]:
        if _key(request) == BAD_KEY:
            return acts.Fail(acts.Failure.AUTH), None
        if NO_MODEL in talk.model:
            return acts.Fail(acts.Failure.UNKNOWN_MODEL), None
        with self._lock:
            return self._scenarios.setdefault(name, _Scenario()).next(talk)

    def _note(
        self,
        request: web.Request,
        name: str,
        talk: Talk,
        act: acts.Act,
        at: Position | None,
        status: int,
    ) -> None:
        heads = {key: request.headers[key] for key in _NOTED if key in request.headers}
        used = None if isinstance(act, acts.Fail | acts.Hang | acts.Drop) else act.usage
        with self._lock:
            self._served.append(
                Served(
                    name=name,
                    api=talk.api,
                    model=talk.model,
                    at=time.monotonic(),
                    headers=heads,
                    talk=talk,
                    act=act,
                    status=status,
                    usage=used,
                    position=at,
                )
            )

    async def _send(
        self,
        request: web.Request,
        api: "_Api",
        talk: Talk,
        reply: Reply,
        cut: acts.Hang | acts.Drop | None,
    ) -> web.StreamResponse:
        with self._lock:
            self._number += 1
            number = self._number
        if not talk.stream:
            if cut is not None:
                return await _break_off(request, cut)
            return web.json_response(api.whole(reply, talk, number))
        response = web.StreamResponse(
            headers={"content-type": "text/event-stream", "cache-control": "no-cache"}
        )
        await response.prepare(request)
        sent = list(api.pieces(reply, talk, number))
        for piece in sent[: len(sent) // 2] if cut is not None else sent:
            await response.write(piece)
        if cut is not None:
            await _break_off(request, cut)
        await response.write_eof()
        return response


async def _break_off(request: web.Request, cut: acts.Hang | acts.Drop) -> web.StreamResponse:
    """Keep a client waiting until it goes, or go oneself."""
    if isinstance(cut, acts.Hang):
        await asyncio.Event().wait()
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("broken off, as the scenario says")


async def _body(request: web.Request) -> Json:
    if not request.can_read_body:
        return {}
    body = await request.json()
    return body if isinstance(body, dict) else {}


def _models(request: web.Request, tail: str) -> web.Response:
    if _key(request) == BAD_KEY:
        status, told, _ = anthropic.failure(acts.Fail(acts.Failure.AUTH), 0.0)
        return web.json_response(told, status=status)
    wanted = tail.rpartition("/models")[2].strip("/")
    if NO_MODEL in wanted:
        status, told, _ = anthropic.failure(_NOT_FOUND, 0.0)
        return web.json_response(told, status=status)
    if wanted:
        return web.json_response(_model(wanted))
    listed = [_model(name) for name in MODELS]
    named = [{"name": f"models/{name}", "slug": name} for name in MODELS]
    told = {"object": "list", "data": listed, "models": named, "has_more": False}
    return web.json_response(told)


def _model(name: str) -> Json:
    return {"type": "model", "object": "model", "id": name, "display_name": name, "created": 1}


def _key(request: web.Request) -> str:
    heads = request.headers
    bearer = heads.get("authorization", "").removeprefix("Bearer ")
    return heads.get("x-api-key") or heads.get("x-goog-api-key") or bearer


_NOT_FOUND: Final = acts.Fail(acts.Failure.UNKNOWN_MODEL)


@dataclass(frozen=True, slots=True)
class _Api:
    """How an API spells an answer and a refusal."""

    whole: Callable[[Reply, Talk, int], Json]
    pieces: Callable[[Reply, Talk, int], Iterator[bytes]]
    failure: Callable[[acts.Fail, float], tuple[int, Json, dict[str, str]]]


_ANTHROPIC: Final = _Api(anthropic.whole, anthropic.pieces, anthropic.failure)
_CHAT: Final = _Api(openai.whole_chat, openai.pieces_chat, openai.failure)
_RESPONSES: Final = _Api(openai.whole_responses, openai.pieces_responses, openai.failure)
_GEMINI: Final = _Api(
    lambda reply, _, number: gemini.whole(reply, number),
    lambda reply, _, number: gemini.pieces(reply, number),
    gemini.failure,
)
