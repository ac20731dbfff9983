"""What agents use up: tokens and money, and where the figure of the money comes from."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce


class CostSource(StrEnum):
    """Who says what it cost: the agent, prices in the settings, or nobody."""

    AGENT = "agent"
    PRICED = "priced"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens, and US dollars.

    `input_tokens` are those read anew, without the cached ones. `cost_usd` is None where nobody
    knows; a sum of which a part is unknown is what is known of it, and its source says unknown.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = None
    source: CostSource = CostSource.UNKNOWN

    @property
    def tokens(self) -> int:
        """All tokens together."""
        return (
            self.input_tokens
            + self.output_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
        )

    def __bool__(self) -> bool:
        return self.tokens > 0 or bool(self.cost_usd)

    def __add__(self, other: "Usage") -> "Usage":
        if not self or not other:
            return other or self
        known = [one.cost_usd for one in (self, other) if one.cost_usd is not None]
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            cost_usd=sum(known) if known else None,
            source=_weaker(self.source, other.source),
        )

    def at_least(self, other: "Usage") -> "Usage":
        """Return the larger of two figures for one thing, each number by itself."""
        costs = [one.cost_usd for one in (self, other) if one.cost_usd is not None]
        return Usage(
            input_tokens=max(self.input_tokens, other.input_tokens),
            output_tokens=max(self.output_tokens, other.output_tokens),
            cache_read_tokens=max(self.cache_read_tokens, other.cache_read_tokens),
            cache_write_tokens=max(self.cache_write_tokens, other.cache_write_tokens),
            cost_usd=max(costs) if costs else None,
            source=self.source if self.cost_usd is not None else other.source,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars for a million tokens."""

    input: float
    output: float
    cache_read: float | None = None  # as input, where nothing is said
    cache_write: float | None = None

    def of(self, usage: Usage) -> Usage:
        """Return the usage with its cost, unless the agent named one itself."""
        if usage.cost_usd is not None:
            return usage
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write is None else self.cache_write
        cost = (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_read_tokens * read
            + usage.cache_write_tokens * write
        ) / 1_000_000
        return Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            cost_usd=cost,
            source=CostSource.PRICED,
        )


def total(usages: Iterable[Usage]) -> Usage:
    """Return the sum."""
    return reduce(Usage.__add__, usages, Usage())


def _weaker(one: CostSource, other: CostSource) -> CostSource:
    order = (CostSource.UNKNOWN, CostSource.PRICED, CostSource.AGENT)
    return min(one, other, key=order.index)
