"""How evenly keys lie on shards, and whether chance explains what is uneven: a chi-square test."""

import math
import sys
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from penstock.errors import InvalidValue
from penstock.sharding._arguments import checked_number, checked_whole
from penstock.sharding._ids import table_id
from penstock.sharding.keys import shown

__all__ = ["DistributionReport", "ShardLoad", "Verdict", "chi_square_p_value", "distribution_report"]

Verdict = Literal["even", "uneven", "too few keys"]
"""What the test says."""

LEAST_EXPECTED = 5  # keys of each shard below which the test is not to be trusted (Cochran's rule)
MAX_DEGREES = 1 << 20
MAX_KEYS = (1 << 63) - 1
MAX_FLOAT = sys.float_info.max
ID_WIDTH = 32  # characters of a shard's id in the table


class ShardLoad(NamedTuple):
    """One shard's keys."""

    shard: Hashable
    """Its id."""
    keys: int
    """What it holds."""
    expected: float
    """What it would hold if all shards held their share exactly."""

    @property
    def ratio(self) -> float:
        """Keys held to keys expected: 1.0 is even."""
        if self.expected:
            return self.keys / self.expected
        return math.inf if self.keys else 1.0


@dataclass(frozen=True, slots=True)
class DistributionReport:
    """Expected and observed keys of each shard, and Pearson's chi-square test. `print` it for a table.

    A small p value says that a hash which spreads keys at random would hardly ever come out as uneven. It
    does not say that the unevenness matters: with millions of keys the test sees a tenth of a percent.
    For that, look at `max_over_mean`.

    Source: K. Pearson, On the criterion that a given system of deviations ..., Philosophical Magazine, 1900.
    """

    loads: tuple[ShardLoad, ...]
    """In the order of the shards."""
    chi_square: float
    """The sum of (keys - expected)² / expected."""
    degrees_of_freedom: int
    """Shards that are to hold keys, less one."""
    p_value: float
    """How often chance alone would give a chi-square at least as large, 0 to 1."""
    significance: float
    """The p value below which the verdict is "uneven"."""

    @property
    def keys(self) -> int:
        """Keys on all shards."""
        return sum(load.keys for load in self.loads)

    @property
    def max_over_mean(self) -> float:
        """The fullest shard's keys to its share of them: 1.0 is even, 2.0 twice too many."""
        return max(load.ratio for load in self.loads) if self.keys else 1.0

    @property
    def verdict(self) -> Verdict:
        """What the test says; it cannot tell where a shard expects fewer than 5 keys."""
        if any(load.keys and not load.expected for load in self.loads):
            return "uneven"
        if any(0 < load.expected < LEAST_EXPECTED for load in self.loads) or not self.keys:
            return "too few keys"
        return "uneven" if self.p_value < self.significance else "even"

    def __str__(self) -> str:
        rows = [
            f"{table_id(load.shard, ID_WIDTH)} {load.keys:>13,} {load.expected:>15,.1f} {load.ratio:>8.3f}"
            for load in self.loads
        ]
        return "\n".join(
            [
                f"{'shard':<{ID_WIDTH}} {'keys':>13} {'expected':>15} {'ratio':>8}",
                *rows,
                f"{'total':<{ID_WIDTH}} {self.keys:>13,}",
                "",
                f"chi-square {self.chi_square:.2f}, degrees of freedom {self.degrees_of_freedom}, "
                f"p = {self.p_value:.3g}",
                f"fullest shard: {self.max_over_mean:.3f} times its share",
                f"verdict: {self.verdict}",
            ]
        )


def distribution_report(
    keys: Mapping[Any, int],
    shares: Mapping[Any, float] | None = None,
    *,
    significance: float = 0.01,
) -> DistributionReport:
    """Compares what shards hold with what they should hold.

    Args:
        keys: the number of keys of each shard.
        shares: what each shard should hold relative to the others, such as its weight; None for all alike.
        significance: the p value below which the verdict is "uneven", > 0 and < 1.

    Raises:
        ValueError: there is no shard, a number is negative or not finite, no share is > 0, or the shares
            are of other shards.
        TypeError: a number of keys is no int, or another argument no number.
    """
    if not keys:
        raise InvalidValue("keys must name at least one shard, got none")
    if not 0 < checked_number("significance", significance) < 1:  # NaN is not
        raise InvalidValue(f"significance must be > 0 and < 1, got {shown(significance)}")
    shares = dict.fromkeys(keys, 1.0) if shares is None else shares
    if shares.keys() != keys.keys():
        raise InvalidValue(f"shares must be of the shards {shown(list(keys))}, got {shown(list(shares))}")
    for shard, number in keys.items():
        checked_whole(f"keys of shard {shown(shard)}", number, 0, MAX_KEYS)
    for shard, share in shares.items():
        if not 0 <= checked_number(f"share of shard {shown(shard)}", share) <= MAX_FLOAT:
            raise InvalidValue(f"share of shard {shown(shard)} must be >= 0 and finite, got {shown(share)}")
    largest = max(shares.values())
    if not largest:
        raise InvalidValue("shares must not all be 0")
    relative = {shard: share / largest for shard, share in shares.items()}  # whose sum cannot overflow
    whole = math.fsum(relative.values())
    total = sum(keys.values())
    loads = tuple(
        ShardLoad(shard, number, total * (relative[shard] / whole)) for shard, number in keys.items()
    )
    statistic = math.fsum((load.keys - load.expected) ** 2 / load.expected for load in loads if load.expected)
    degrees = sum(share > 0 for share in relative.values()) - 1
    return DistributionReport(
        loads, statistic, degrees, chi_square_p_value(statistic, degrees), float(significance)
    )


def chi_square_p_value(statistic: float, degrees_of_freedom: int) -> float:
    """How often chance alone gives a chi-square at least as large: Q(k/2, x/2), the regularised upper gamma.

    With a whole number k of degrees of freedom, Q is a finite sum of positive terms, so nothing cancels
    out: Q(a + 1, y) = Q(a, y) + y^a e^-y / Γ(a + 1), from Q(1/2, y) = erfc(√y) or Q(1, y) = e^-y.
    Cost: O(k).

    Args:
        statistic: >= 0.
        degrees_of_freedom: 0 to 2**20; with 0 nothing can deviate, and the answer is 1.0.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is no number, or degrees_of_freedom no int.

    Source: M. Abramowitz, I. Stegun, Handbook of Mathematical Functions, 26.4.4 and 26.4.5;
    NIST DLMF 8.8.6.
    """
    if not checked_number("statistic", statistic) >= 0:  # NaN is not
        raise InvalidValue(f"statistic must be >= 0, got {shown(statistic)}")
    checked_whole("degrees_of_freedom", degrees_of_freedom, 0, MAX_DEGREES)
    if degrees_of_freedom == 0:
        return 1.0
    if statistic > MAX_FLOAT:
        return 0.0
    y = statistic / 2
    if y == 0:
        return 1.0
    odd = degrees_of_freedom % 2
    first = math.erfc(math.sqrt(y)) if odd else math.exp(-y)
    log_y = math.log(y)
    terms = (
        math.exp(a * log_y - y - math.lgamma(a + 1))  # in logarithms: y^a alone overflows
        for a in (step + (0.5 if odd else 1.0) for step in range((degrees_of_freedom - 1) // 2))
    )
    return min(1.0, math.fsum((first, *terms)))
