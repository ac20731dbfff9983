"""What an agent used up, from what it reports over the Agent Client Protocol. Pure.

Each agent counts in its own way (`Counting`); what comes out is always the conversation's total,
from its very beginning. Money is reported for the whole conversation by those that report it.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from auto_build.agents.acp.profiles import Counting
from auto_build.agents.acp.reading import as_map
from auto_build.core.usage import CostSource, Price, Usage


@dataclass(slots=True)
class Meter:
    """Adds up; `before` is what the conversation had used up when this process took it over."""

    counting: Counting
    before: Usage = field(default_factory=Usage)
    price: Price | None = None
    _since: Usage = field(default_factory=Usage)
    _whole: Usage | None = None
    _cost_usd: float | None = None

    @property
    def total(self) -> Usage:
        """What the conversation has used up."""
        if self._cost_usd is not None:
            tokens = self._whole or self.before + self._since
            return replace(tokens, cost_usd=self._cost_usd, source=CostSource.AGENT)
        if self._whole is not None:
            return self._priced(self._whole)
        return self.before + self._priced(self._since)

    def note_update(self, update: dict[str, Any]) -> None:
        """Take what stands in a report from the middle of a prompt."""
        kind = update.get("sessionUpdate")
        meta = as_map(update.get("_meta"))
        if kind == "usage_update":
            self._note_cost(as_map(update.get("cost")))
            if self.counting is Counting.CONVERSATION and "promptTokens" in meta:
                self._whole = _tokens(
                    meta.get("promptTokens"), meta.get("completionTokens"), meta.get("cachedTokens")
                )
        if kind == "agent_message_chunk" and self.counting is Counting.REQUEST:
            self._since += _read(as_map(meta.get("usage")))

    def note_end(self, result: dict[str, Any]) -> None:
        """Take what stands in the answer to a prompt."""
        usage = as_map(result.get("usage"))
        if self.counting is Counting.PROMPT:
            self._since += _read(usage)
        if self.counting is Counting.CONVERSATION and usage:
            self._whole = _read(usage)
        if self.counting is Counting.QUOTA:
            quota = as_map(as_map(result.get("_meta")).get("quota"))
            count = as_map(quota.get("token_count"))
            self._since += _tokens(count.get("input_tokens"), count.get("output_tokens"), 0)

    def _note_cost(self, cost: dict[str, Any]) -> None:
        amount = cost.get("amount")
        if cost.get("currency") == "USD" and isinstance(amount, int | float) and amount > 0:
            self._cost_usd = max(float(amount), self._cost_usd or 0.0)

    def _priced(self, usage: Usage) -> Usage:
        return self.price.of(usage) if self.price and usage else usage


def _read(usage: dict[str, Any]) -> Usage:
    return _tokens(
        usage.get("inputTokens"),
        usage.get("outputTokens"),
        usage.get("cachedReadTokens"),
        usage.get("cachedWriteTokens"),
        total=usage.get("totalTokens"),
    )


def _tokens(given: Any, made: Any, read: Any, written: Any = 0, *, total: Any = 0) -> Usage:
    """Return tokens as a usage.

    Agents count what came from the cache into the input or beside it; the total tells which.
    """
    fresh, out, cached, stored = (_count(one) for one in (given, made, read, written))
    if fresh + out + cached + stored > _count(total) and fresh >= cached:
        fresh -= cached
    return Usage(
        input_tokens=fresh,
        output_tokens=out,
        cache_read_tokens=cached,
        cache_write_tokens=stored,
    )


def _count(value: Any) -> int:
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0
