"""What a conversation has used up, also where one of its processes was killed. Pure.

Claude's own total goes on over processes, but it is saved only when a prompt ends: what a killed
process spent is missing from it. So the program is asked for its total when it starts and after
every message of the model. What it counts from its start on is its own spending, and is added to
what was known before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from auto_build.core.usage import CostSource, Price, Usage


@dataclass(frozen=True, slots=True)
class Meter:
    """Makes a conversation's total: `first` is what the program began with, `before` was known."""

    first: Usage
    before: Usage

    @classmethod
    def started(cls, first: Usage, known: Usage) -> "Meter":
        """Return the meter of a program that says `first` at its start.

        Its figure can be the larger one where a coordinator was killed before it noted the last.
        """
        return cls(first, known.at_least(first))

    def total(self, now: Usage) -> Usage:
        """Return what the conversation has used up when the program says `now`."""
        return self.before + _less(now, self.first)


def read_totals(cost_usd: float, models: Mapping[str, Any], price: Price | None) -> Usage:
    """Return the usage that the program tells, by model.

    A price in the settings stands over the program's list prices. For models that it does not know
    the program guesses, and says so.
    """
    guessed = any(one.get("costBasis") == "unknown" for one in models.values())
    one = Usage(
        input_tokens=_sum(models, "inputTokens"),
        output_tokens=_sum(models, "outputTokens"),
        cache_read_tokens=_sum(models, "cacheReadInputTokens"),
        cache_write_tokens=_sum(models, "cacheCreationInputTokens"),
        cost_usd=None if price else cost_usd,
        source=CostSource.UNKNOWN if price or guessed else CostSource.AGENT,
    )
    return price.of(one) if price else one


def _sum(models: Mapping[str, Any], name: str) -> int:
    return sum(int(one.get(name) or 0) for one in models.values())


def _less(one: Usage, other: Usage) -> Usage:
    return Usage(
        input_tokens=max(one.input_tokens - other.input_tokens, 0),
        output_tokens=max(one.output_tokens - other.output_tokens, 0),
        cache_read_tokens=max(one.cache_read_tokens - other.cache_read_tokens, 0),
        cache_write_tokens=max(one.cache_write_tokens - other.cache_write_tokens, 0),
        cost_usd=None if one.cost_usd is None else max(one.cost_usd - (other.cost_usd or 0.0), 0.0),
        source=one.source,
    )
