"""What a review of a build comes to: findings, and a verdict that is bound to one commit."""

from dataclasses import dataclass, field
from enum import StrEnum

from auto_build.core.acceptance import ItemResult
from auto_build.core.plan import ChunkId


class Severity(StrEnum):
    """How bad a finding is; one that is minor does not keep a build from being approved."""

    CRITICAL = "critical"
    MAJOR = "major"
    MINOR = "minor"


class Source(StrEnum):
    """Who found something."""

    REVIEWER = "reviewer"
    CHECK = "check"
    PERSON = "person"


class Verdict(StrEnum):
    """What a review says of the commit that it was for; `none` where it came to no end."""

    APPROVED = "approved"
    REJECTED = "rejected"
    NONE = "none"


class Met(StrEnum):
    """Whether a criterion is met, as far as the reviewer could see."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong with a build.

    `file` is a path in the repository, with a `line` from 1 on, where it has a place; `why` says
    what makes it wrong, `verify` how to see that it is mended. `command` is what is red, where a
    check found it; `chunk` is whose work it is about, where that is known.
    """

    severity: Severity
    what: str
    file: str = ""
    line: int | None = None
    why: str = ""
    verify: str = ""
    source: Source = Source.REVIEWER
    command: str = ""
    chunk: str = ""

    @property
    def blocks(self) -> bool:
        """Whether a build with it is not approved."""
        return self.severity is not Severity.MINOR

    @property
    def place(self) -> str:
        """Where it is, as people write it."""
        return f"{self.file}:{self.line}" if self.file and self.line else self.file

    @property
    def key(self) -> tuple[str, str]:
        """What makes two findings the same; lines move, and so do blanks and capitals."""
        return self.file or self.command, " ".join(self.what.casefold().split())


@dataclass(frozen=True, slots=True)
class Criterion:
    """What a reviewer says of one criterion of the plan's."""

    text: str
    met: Met
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What came of one look at staging's `commit`.

    `items` is what was tried there, and what could not be; `notes` are what people should know of
    the review itself; `by` is an agent's name, or a person's. `why` says why there is no verdict.
    """

    round: int
    commit: str
    verdict: Verdict
    by: str = ""
    of: Source = Source.REVIEWER
    summary: str = ""
    why: str = ""
    findings: tuple[Finding, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    items: tuple[ItemResult, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The findings that have to be mended."""
        return tuple(one for one in self.findings if one.blocks)


@dataclass(frozen=True, slots=True)
class Comment:
    """What a person says of a build, or of one chunk."""

    text: str
    chunk: ChunkId | None = None
    by: str = field(default="")
