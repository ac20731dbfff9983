"""How long to wait before another try, where the service does not say: longer each time, jittered.

The jitter keeps agents that were turned away together from coming back together.
"""

from dataclasses import dataclass
from typing import Final

from tenacity import RetryCallState, Retrying, wait_exponential, wait_random

_OVERLOAD_S: Final = 600.0
_LIMIT_S: Final = 3_600.0
_LIMIT_FACTOR: Final = 6  # a usage limit lasts longer than a crowd


@dataclass(frozen=True, slots=True)
class Pauses:
    """Pauses that begin with about `first_s` seconds and double."""

    first_s: float

    def for_overload(self, number: int) -> float:
        """Return the seconds of the `number`th pause in a row because of too many requests."""
        return _wait(number, self.first_s, _OVERLOAD_S)

    def for_limit(self, number: int) -> float:
        """Return the seconds of the `number`th pause because of a limit of unknown length."""
        return _wait(number, self.first_s * _LIMIT_FACTOR, _LIMIT_S)


def _wait(number: int, first_s: float, most_s: float) -> float:
    tried = RetryCallState(Retrying(), None, (), {})
    tried.attempt_number = number
    pause = wait_exponential(multiplier=first_s, max=most_s) + wait_random(0, first_s / 2)
    return pause(tried)
