"""Quota: how much is allowed in what time."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Self

from penstock.clock import NANOSECONDS
from penstock.errors import InvalidType, InvalidValue

__all__ = ["MAX_QUOTAS", "Quota", "checked_quotas", "checked_units"]

MAX_QUOTAS = 8
"""Quotas that one limiter may hold."""

MAX_UNITS = 1 << 30
MAX_PERIOD = 1 << 60  # nanoseconds, 36 years
MAX_RATE = NANOSECONDS  # one a nanosecond

UNITS = {
    "ms": Fraction(1, 1000),
    "millisecond": Fraction(1, 1000),
    "s": Fraction(1),
    "sec": Fraction(1),
    "second": Fraction(1),
    "m": Fraction(60),
    "min": Fraction(60),
    "minute": Fraction(60),
    "h": Fraction(3600),
    "hour": Fraction(3600),
    "d": Fraction(86_400),
    "day": Fraction(86_400),
    "week": Fraction(604_800),
}
"""Seconds of each unit of time; a plural s is accepted as well."""

SYNTAX = re.compile(
    r"\s*(?P<limit>\d{1,10})\s*(?:/|\s+per\s+)\s*(?P<many>\d{1,10}(?:\.\d{1,25})?)?\s*(?P<unit>[a-z]{1,12})"
    r"(?:\s*;\s*burst\s*=\s*(?P<burst>\d{1,10}))?\s*",
    re.ASCII | re.IGNORECASE,
)

MAX_TEXT = 200  # characters of one quota
MAX_BITS = 512  # of an int that a message shows


@dataclass(frozen=True, slots=True, init=False)
class Quota:
    """`limit` units every `period` seconds, at most `burst` of them at once.

    Args:
        limit: units, 1 to 2**30.
        period: seconds, or a timedelta; more than 0 and at most 36 years, and at least 1 ns for a unit.
        burst: units that may come at once after a pause, 1 to 2**30; None for `limit`. Only a token bucket
            knows bursts: windows let no more than `limit` through at once, and refuse another burst.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is no number of the kind.
    """

    limit: int
    """Units that every period allows."""
    period: float
    """Seconds."""
    burst: int
    """Units that may come at once."""

    def __init__(self, limit: int, period: float | timedelta = 1.0, *, burst: int | None = None) -> None:
        set_field = object.__setattr__
        set_field(self, "limit", whole("limit", limit))
        set_field(self, "period", seconds(period))
        set_field(self, "burst", self.limit if burst is None else whole("burst", burst))
        if self.rate > MAX_RATE:
            raise InvalidValue(
                f"limit / period must be <= {MAX_RATE} per second, got {limit} / {self.period:g}"
            )
        if self.burst / self.rate * NANOSECONDS > MAX_PERIOD:
            raise InvalidValue(
                f"burst * period / limit must be <= 36 years, got {self.burst} * {self.period:g} / {limit}"
            )

    @property
    def rate(self) -> Fraction:
        """Units a second, exactly."""
        return self.limit / Fraction(self.period)

    @property
    def period_ns(self) -> int:
        """The period in nanoseconds, rounded."""
        return round(Fraction(self.period) * NANOSECONDS)

    def __str__(self) -> str:
        """What `parse` reads as an equal quota."""
        burst = "" if self.burst == self.limit else f"; burst={self.burst}"
        for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
            if self.period == length:
                return f"{self.limit}/{unit}{burst}"
        return f"{self.limit}/{plain(self.period)} s{burst}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The quota that `text` names: `100/second`, `10 per minute`, `5/2s`, `100/second; burst=200`.

        Units of time are ms, s, min, h, d and week, in full (`second`, `seconds`) or as here.

        Raises:
            ValueError: it is no quota, several of them, or an impossible one.
            TypeError: it is no string.
        """
        if not isinstance(text, str):
            raise InvalidType(f"a quota must be a string, got {type(text).__name__}")
        if len(text) > MAX_TEXT:
            raise InvalidValue(f"a quota must be <= {MAX_TEXT} characters, got {len(text)}")
        found = SYNTAX.fullmatch(text)
        length = None if found is None else unit_length(found["unit"].lower())
        if found is None or length is None:
            raise InvalidValue(
                f"a quota must be such as '100/second; burst=200' or '5 per 2 minutes', got {text!r}"
            )
        burst = None if found["burst"] is None else int(found["burst"])
        return cls(int(found["limit"]), float(Fraction(found["many"] or 1) * length), burst=burst)

    @classmethod
    def parse_many(cls, text: str) -> tuple[Self, ...]:
        """The quotas of a list with commas: `10/second, 1000/hour`.

        Raises:
            ValueError: one of them is no quota; see `parse`.
            TypeError: it is no string.
        """
        if not isinstance(text, str):
            raise InvalidType(f"quotas must be a string, got {type(text).__name__}")
        if len(text) > MAX_QUOTAS * MAX_TEXT:
            raise InvalidValue(f"quotas must be <= {MAX_QUOTAS * MAX_TEXT} characters, got {len(text)}")
        return tuple(cls.parse(each) for each in text.split(","))


def checked_quotas(quotas: Iterable[Quota | str]) -> tuple[Quota, ...]:
    """The quotas of a limiter, strings parsed: `("10/second, 1000/hour",)` are two.

    Raises:
        ValueError: one is impossible, or there are none or more than MAX_QUOTAS.
        TypeError: one is neither a Quota nor a string.
    """
    checked: list[Quota] = []
    for quota in quotas:
        if isinstance(quota, str):
            checked.extend(Quota.parse_many(quota))
        elif isinstance(quota, Quota):
            checked.append(quota)
        else:
            raise InvalidType(f"a quota must be a Quota or a string, got {type(quota).__name__}")
    if not 1 <= len(checked) <= MAX_QUOTAS:
        raise InvalidValue(f"a limiter must have 1 to {MAX_QUOTAS} quotas, got {len(checked)}")
    return tuple(checked)


def checked_units(n: object, limit: int) -> int:
    """`n` as units of a limit.

    Raises:
        ValueError: not 1 <= n <= limit.
        TypeError: n is no int.
    """
    if type(n) is not int:
        raise InvalidType(f"n must be an int, got {type(n).__name__}")
    if not 1 <= n <= limit:
        raise InvalidValue(f"n must be >= 1 and <= limit {limit}, got {shown(n)}")
    return n


def whole(name: str, value: object, least: int = 1, most: int = MAX_UNITS) -> int:
    """`value`, an int from `least` to `most`.

    Raises:
        ValueError: it is out of that range.
        TypeError: it is no int.
    """
    if type(value) is not int:
        raise InvalidType(f"{name} must be an int, got {type(value).__name__}")
    if not least <= value <= most:
        raise InvalidValue(f"{name} must be >= {least} and <= {most}, got {shown(value)}")
    return value


def seconds(period: object) -> float:
    """`period` in seconds.

    Raises:
        ValueError: it is not > 0 and <= 36 years.
        TypeError: it is neither a number nor a timedelta.
    """
    if isinstance(period, timedelta):
        period = period.total_seconds()
    if isinstance(period, bool) or not isinstance(period, (int, float)):
        raise InvalidType(f"period must be a number of seconds or a timedelta, got {type(period).__name__}")
    if not 1 <= period * NANOSECONDS <= MAX_PERIOD:  # nan is neither
        raise InvalidValue(f"period must be >= 1 ns and <= 36 years, got {shown(period)} seconds")
    return float(period)


def shown(value: object) -> str:
    """`value` for a message; an int of thousands of digits only by its size, for str() refuses those."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return f"an int of {value.bit_length()} bits"
    return repr(value)


def plain(period: float) -> str:
    """The shortest decimal that is `period`, without an exponent."""
    return f"{Decimal(repr(period)):f}".removesuffix(".0")


def unit_length(name: str) -> Fraction | None:
    """Seconds of a unit of time, singular or plural; None for a word that is none."""
    return UNITS.get(name) or (UNITS.get(name.removesuffix("s")) if len(name) > 3 else None)
