"""Exponential backoff: how long to wait before trying again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from random import random as random_fraction
from typing import Literal, get_args

from penstock.errors import InvalidType, InvalidValue

__all__ = ["ExponentialBackoff", "Jitter"]

Jitter = Literal["none", "equal", "full"]
"""How much of a delay is left to chance: nothing, its second half, or all of it."""

MAX_EXPONENT = 1 << 62  # by then every float above 1 has grown past the largest one


@dataclass(frozen=True, slots=True)
class ExponentialBackoff:
    """Delays that grow from `first` by `factor` with each failure, up to `limit`.

    Holds no state: the caller counts its failures and asks for the delay, so one object serves any
    number of callers and threads. Where many clients fail together, choose `jitter="full"`, or they
    will all come back together too.

    Args:
        first: seconds to wait after the first failure, > 0.
        factor: growth from one failure to the next, >= 1.
        limit: seconds that no delay exceeds, >= `first`.
        jitter: "none" waits the whole delay; "equal" half of it and a random part of the other half;
            "full" a random part of it all.
        random: returns a float in [0, 1); only asked when there is jitter.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: a number is no number.

    Source: M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015.
    """

    first: float
    factor: float = field(default=2.0, kw_only=True)
    limit: float = field(default=60.0, kw_only=True)
    jitter: Jitter = field(default="none", kw_only=True)
    random: Callable[[], float] = field(default=random_fraction, kw_only=True, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("first", "factor", "limit"):
            require_finite(name, getattr(self, name))
        if self.first <= 0:
            raise InvalidValue(f"first must be > 0 seconds, got {self.first!r}")
        if self.factor < 1:
            raise InvalidValue(f"factor must be >= 1, got {self.factor!r}")
        if self.limit < self.first:
            raise InvalidValue(f"limit must be >= first {self.first!r} seconds, got {self.limit!r}")
        if self.jitter not in get_args(Jitter):
            raise InvalidValue(f"jitter must be none, equal or full, got {self.jitter!r}")

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row.

        Args:
            failures: 1 after the first failure; any size, the delay stays within `limit`.

        Raises:
            ValueError: failures < 1.
            TypeError: failures is no int.
        """
        if not isinstance(failures, int):
            raise InvalidType(f"failures must be an int, got {type(failures).__name__}")
        if failures < 1:
            raise InvalidValue(f"failures must be >= 1, got {failures}")
        whole = self._without_jitter(failures)
        match self.jitter:
            case "none":
                return whole
            case "equal":
                return whole / 2 + whole / 2 * self.random()
            case "full":
                return whole * self.random()

    def _without_jitter(self, failures: int) -> float:
        try:
            growth = float(self.factor) ** min(failures - 1, MAX_EXPONENT)
        except OverflowError:
            return float(self.limit)
        return float(min(self.first * growth, self.limit))


def require_finite(name: str, value: object) -> None:
    if not isinstance(value, (int, float)):
        raise InvalidType(f"{name} must be a number, got {type(value).__name__}")
    if not isfinite(value):
        raise InvalidValue(f"{name} must be finite, got {value!r}")
