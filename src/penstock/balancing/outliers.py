"""Passive outlier detection: a member whose work keeps failing is left out for a while."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from penstock.balancing._weighted_round_robin_py import shown
from penstock.balancing.member import Member
from penstock.balancing.slow_start import require_positive
from penstock.clock import NANOSECONDS
from penstock.errors import InvalidType, InvalidValue

__all__ = ["OutlierDetection"]


@dataclass(frozen=True, slots=True)
class OutlierDetection:
    """When a member is ejected, and for how long. The defaults are Envoy's.

    A member is ejected after `consecutive_failures`, or when an interval ends in which its success rate was
    lower than the mean of all by `success_rate_stdev` standard deviations. It stays out for `base_ejection`
    seconds times its ejections lately, at most `max_ejection`; every interval that it is not out takes one
    off that count. Ejected are at most `max_ejected` of all members, or one where that is less than one.

    Unlike Envoy's, an ejection ends when its time is up, not at the end of the interval.

    Args:
        consecutive_failures: so many in a row eject at once; None for no such rule.
        interval: seconds from one look at success rates to the next.
        base_ejection: seconds of a first ejection.
        max_ejection: seconds that no ejection exceeds.
        max_ejected: share of the members that may be out, 0 to 1; with 0 nobody ever is.
        success_rate_stdev: standard deviations below the mean; None for no such rule.
        success_rate_members: so many members must have had `success_rate_volume` outcomes in an interval,
            or success rates are not looked at.
        success_rate_volume: outcomes in an interval that make a rate.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is no number.

    Source: Envoy, outlier detection; gRFC A50.
    """

    consecutive_failures: int | None = 5
    interval: float = 10.0
    base_ejection: float = 30.0
    max_ejection: float = 300.0
    max_ejected: float = 0.1
    success_rate_stdev: float | None = 1.9
    success_rate_members: int = 5
    success_rate_volume: int = 100

    def __post_init__(self) -> None:
        for name in ("interval", "base_ejection", "max_ejection"):
            require_positive(name, getattr(self, name), "seconds")
        if self.consecutive_failures is not None:
            require_count("consecutive_failures", self.consecutive_failures)
        require_count("success_rate_members", self.success_rate_members)
        require_count("success_rate_volume", self.success_rate_volume)
        if self.success_rate_stdev is not None:
            require_positive("success_rate_stdev", self.success_rate_stdev)
        if self.max_ejection < self.base_ejection:
            raise InvalidValue(
                f"max_ejection must be >= base_ejection {self.base_ejection!r} seconds, "
                f"got {self.max_ejection!r}"
            )
        require_share("max_ejected", self.max_ejected)

    @property
    def interval_ns(self) -> int:
        """The interval in ns."""
        return max(round(self.interval * NANOSECONDS), 1)

    def may_eject(self, ejected: int, members: int) -> bool:
        """Whether one more may be ejected of so many members, of whom so many are out."""
        if not self.max_ejected:
            return False
        return ejected == 0 or ejected + 1 <= self.max_ejected * members

    def ejection_ns(self, times: int) -> int:
        """How long the ejection lasts that is the so-manieth lately, in ns."""
        return round(min(self.base_ejection * times, self.max_ejection) * NANOSECONDS)

    def outliers(self, members: Iterable[Member[Any]]) -> list[Member[Any]]:
        """Those of the members that are up whose success rate in this interval stands out."""
        if self.success_rate_stdev is None:
            return []
        volume = self.success_rate_volume
        rated = [member for member in members if member.status == "up" and member.good + member.bad >= volume]
        if len(rated) < self.success_rate_members:
            return []
        rates = [member.good / (member.good + member.bad) for member in rated]
        limit = fmean(rates) - pstdev(rates) * self.success_rate_stdev
        return [member for member, rate in zip(rated, rates, strict=True) if rate < limit]


def require_count(name: str, value: object) -> None:
    """Refuses what is no int above 0."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidType(f"{name} must be an int, got {type(value).__name__}")
    if not 1 <= value <= 1_000_000_000:
        raise InvalidValue(f"{name} must be >= 1 and <= 1000000000, got {shown(value)}")


def require_share(name: str, value: object) -> None:
    """Refuses what is no number from 0 to 1."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise InvalidType(f"{name} must be a number, got {type(value).__name__}")
    if not 0 <= value <= 1:
        raise InvalidValue(f"{name} must be >= 0 and <= 1, got {shown(value)}")
