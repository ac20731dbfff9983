"""What a model does at one request, whatever API it is asked through."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Failure(StrEnum):
    """How a service turns a request away."""

    AUTH = "auth"  # 401
    FORBIDDEN = "forbidden"  # 403
    RATE_LIMIT = "rate limit"  # 429, without saying until when
    OVERLOADED = "overloaded"  # 529, or 503 where that is not known
    SERVER_ERROR = "server error"  # 500
    CONTEXT_FULL = "context full"  # 400
    UNKNOWN_MODEL = "unknown model"  # 404
    BILLING = "billing"  # 400: no credit


class Where(StrEnum):
    """How far an answer comes before something happens to it."""

    BEFORE_HEADERS = "before headers"
    MID_TEXT = "mid text"
    MID_TOOL = "mid tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a request is said to have used up."""

    input: int = 1000
    output: int = 50
    cache_read: int = 0
    cache_write: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One answer of a model; `delay_s` passes before it."""

    usage: Tokens = field(default_factory=Tokens)
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Say(Act):
    """Say something and end the turn."""

    text: str


@dataclass(frozen=True, slots=True)
class Ask(Act):
    """Ask a person something and end the turn."""

    text: str


@dataclass(frozen=True, slots=True)
class WriteFile(Act):
    """Write a whole file, with the client's own tool."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class EditFile(Act):
    """Replace a text in a file, with the client's own tool."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class RunCommand(Act):
    """Run a shell command, with the client's own tool."""

    command: str


@dataclass(frozen=True, slots=True)
class UseTool(Act):
    """Call one of the client's tools by its name."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Together(Act):
    """Make several tool calls in one answer."""

    acts: tuple[Act, ...]


@dataclass(frozen=True, slots=True)
class Answer(Act):
    """Give a structured answer."""

    value: Any


@dataclass(frozen=True, slots=True)
class Refuse(Act):
    """Refuse to go on."""


@dataclass(frozen=True, slots=True)
class MaxTokens(Act):
    """Be cut off because the answer is too long."""


@dataclass(frozen=True, slots=True)
class Flood(Act):
    """Say a lot, in lines."""

    size: int


@dataclass(frozen=True, slots=True)
class LongLine(Act):
    """Say one long line."""

    size: int


@dataclass(frozen=True, slots=True)
class Fail(Act):
    """Turn the request away; `after_s` is when it may be tried again, in seconds from now."""

    failure: Failure
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Hang(Act):
    """Never come to an end."""

    where: Where = Where.BEFORE_HEADERS


@dataclass(frozen=True, slots=True)
class Drop(Act):
    """Break the connection off."""

    where: Where = Where.BEFORE_HEADERS
