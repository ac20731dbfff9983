"""What shows that a build does what was asked: criteria in words, and items that can be tried.

A criterion is for a reviewer to judge. An item is tried by a program where that can be done: a
command, an HTTP request, a page in a browser. What no program can try stays listed as unverified.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from auto_build.core.document import Json
from auto_build.core.plan import VerificationKind


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One HTTP request, and what its answer must be.

    `url` is as the plan has it; `status` None stands for any below 400. `contains` are texts that
    must be in the answer's body; `json_body` is what the answer must hold, as far as it names it.
    """

    method: str
    url: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    contains: tuple[str, ...] = ()
    json_body: Json = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page to be opened in a browser, and what the plan says must be seen there."""

    url: str
    checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to be tried on the finished build.

    `what` says it in a line; `chunk` is whose verification it is, empty where it is the plan's own.
    What a program needs to try it is set: `command` (with `expected`, `timeout_s`), `request`, or
    `page`; where none is, its `steps` are for people, as is all else in `steps`. One that is not
    `required` cannot fail a build.
    """

    id: str
    kind: VerificationKind
    what: str
    chunk: str = ""
    required: bool = True
    command: str = ""
    expected: str = ""
    timeout_s: float | None = None
    request: ApiRequest | None = None
    page: Page | None = None
    steps: tuple[str, ...] = ()


class ItemState(StrEnum):
    """What came of an item."""

    PASSED = "passed"
    FAILED = "failed"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemResult:
    """What was done about an item, and what came of it.

    `note` says what was done, or why nothing could be; `output` is the end of what was printed or
    answered, bounded; `evidence` are files that show it, as absolute paths; `command` is what was
    run, where it was one.
    """

    item: str
    kind: VerificationKind
    what: str
    state: ItemState
    note: str
    chunk: str = ""
    required: bool = True
    command: str = ""
    output: str = ""
    evidence: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Acceptance:
    """All that a plan asks of the finished build; `left_out` is how much more it says than fits."""

    criteria: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()
    left_out: int = 0
