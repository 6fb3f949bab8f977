"""What RedisRateLimiter asks of Redis: a script for each algorithm, its arguments, what a reply means."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b, sha1
from importlib.resources import files
from typing import Literal

from penstock.errors import InvalidValue
from penstock.ratelimit.quota import Quota
from penstock.ratelimit.result import RateLimitResult

__all__ = ["ALGORITHMS", "MAX_LOG", "Algorithm", "Operation", "Reply", "Script"]

Operation = Literal["take", "peek", "refund"]

Reply = Sequence[int]
"""What every script returns: the amount taken, the server's microseconds, and what the algorithm kept."""

MAX_LOG = 100_000
"""Units that the log of one key may hold, about 120 bytes of the server's memory each."""

MICROSECONDS = 1_000_000


class Script:
    """A Lua script beside this file, and the name by which Redis has it cached."""

    def __init__(self, file: str) -> None:
        self.text = files(__package__).joinpath(file).read_text("ascii")
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Algorithm(ABC):
    """Quotas, in the words of a script."""

    script: Script
    shortest_us: int

    def __init__(self, quotas: Sequence[Quota]) -> None:
        self.quotas = quotas
        self.largest = min(self.capacity(quota) for quota in quotas)
        """Units that one call may ask for."""
        described = ",".join(f"{quota.limit}/{quota.period_ns}/{quota.burst}" for quota in quotas)
        self.fingerprint = blake2b(f"{type(self).__name__} {described}".encode(), digest_size=6).hexdigest()
        """Names the state, so that limiters with other quotas never misread it."""
        self._views = [(self.capacity(quota), float(self.capacity(quota) / quota.rate)) for quota in quotas]
        self._fields_of = lru_cache(maxsize=64)(self._fields)

    def capacity(self, quota: Quota) -> int:
        """Units that a quota allows at once."""
        return quota.limit

    def arguments(self, operation: Operation, amounts: tuple[int, ...], now_us: int | None) -> list[bytes]:
        """ARGV: to take the first of `amounts` that fits, to look, or to give the only one back."""
        now = b"" if now_us is None else b"%d" % now_us
        return [now, operation.encode(), *self._fields_of(amounts)]

    def _fields(self, amounts: tuple[int, ...]) -> tuple[bytes, ...]:
        fields = (len(self.quotas), len(amounts), *amounts, *self._quota_fields(amounts))
        return tuple(b"%d" % field for field in fields)

    @abstractmethod
    def _quota_fields(self, amounts: tuple[int, ...]) -> list[int]: ...

    @abstractmethod
    def outcomes(self, reply: Reply, n: int) -> list[tuple[int, int, int]]:
        """For each quota: units that are left, microseconds until `n` fit and until none counts."""

    @abstractmethod
    def moment(self, reply: Reply) -> int:
        """The microsecond at which a taking is in the books."""

    def result(self, reply: Reply, n: int, allowed: bool, spare: int = 0) -> RateLimitResult:
        """The decision on `n` units as the caller sees it: that of the tightest quota.

        Args:
            reply: of the script.
            n: units that were asked for; 0 for none.
            allowed: whether they were taken, or would be.
            spare: units on top of what the reply leaves: taken in advance, and still here.
        """
        outcomes = self.outcomes(reply, 0 if allowed else n)
        tightest = 0
        if len(outcomes) > 1:
            order = [(-wait, left, -reset) for left, wait, reset in outcomes]
            tightest = min(range(len(outcomes)), key=order.__getitem__)
        left, wait, reset = outcomes[tightest]
        limit, window = self._views[tightest]
        return RateLimitResult(
            allowed, limit, min(left + spare, limit), wait / MICROSECONDS, reset / MICROSECONDS, window
        )

    def unknown(self, allowed: bool, retry_after: float) -> RateLimitResult:
        """The result without an answer of the server: nothing is known to be left."""
        limit, window = min(self._views)
        return RateLimitResult(allowed, limit, 0, 0.0 if allowed else retry_after, 0.0, window)


class TokenBuckets(Algorithm):
    """Token buckets by the generic cell rate algorithm, exact in fractions of a microsecond."""

    script = Script("gcra.lua")

    def __init__(self, quotas: Sequence[Quota]) -> None:
        super().__init__(quotas)
        tokens = [Fraction(quota.period_ns, 1000 * quota.limit) for quota in quotas]  # microseconds
        self._tokens = [
            (token.numerator, token.denominator, quota.burst)
            for token, quota in zip(tokens, quotas, strict=True)
        ]
        self.shortest_us = min(quota.period_ns for quota in quotas) // 1000

    def capacity(self, quota: Quota) -> int:
        return quota.burst

    def _quota_fields(self, amounts: tuple[int, ...]) -> list[int]:
        fields: list[int] = []
        for token, parts, burst in self._tokens:
            fields.append(parts)
            for amount in (burst, *amounts):
                fields += divmod(amount * token, parts)
        return fields

    def moment(self, reply: Reply) -> int:
        return reply[1]

    def outcomes(self, reply: Reply, n: int) -> list[tuple[int, int, int]]:
        now = reply[1]
        found = []
        for i, (token, parts, burst) in enumerate(self._tokens):
            missing = (reply[2 + 2 * i] - now) * parts + reply[3 + 2 * i]
            depth = burst * token
            left = (depth - missing) // token
            wait = max(missing + n * token - depth, 0)
            found.append((max(left, 0), -(-wait // parts), -(-missing // parts)))
        return found


class Windows(Algorithm):
    """What the two sliding windows share."""

    def __init__(self, quotas: Sequence[Quota]) -> None:
        for quota in quotas:
            if quota.burst != quota.limit:
                raise InvalidValue(
                    f"burst must be the limit {quota.limit} for a sliding window, got {quota.burst}"
                )
            if quota.period_ns < 1000:
                raise InvalidValue(f"period must be >= 1 us for a sliding window, got {quota.period} seconds")
        super().__init__(quotas)
        self._periods = [quota.period_ns // 1000 for quota in quotas]
        self.shortest_us = min(self._periods)

    def _quota_fields(self, amounts: tuple[int, ...]) -> list[int]:
        return [
            field
            for quota, period in zip(self.quotas, self._periods, strict=True)
            for field in (period, quota.limit)
        ]


class SlidingWindows(Windows):
    """The exact log of a key, a sorted set."""

    script = Script("sliding_window.lua")

    def __init__(self, quotas: Sequence[Quota]) -> None:
        super().__init__(quotas)
        longest = max(quotas, key=lambda quota: quota.period)
        if longest.limit > MAX_LOG:
            raise InvalidValue(
                f"limit of the longest quota must be <= {MAX_LOG} for algorithm 'sliding_window', "
                f"got {longest.limit}; 'sliding_counter' needs no log"
            )

    def moment(self, reply: Reply) -> int:
        return reply[2]

    def outcomes(self, reply: Reply, n: int) -> list[tuple[int, int, int]]:
        now, newest = reply[1], reply[2]
        found = []
        for i, (quota, period) in enumerate(zip(self.quotas, self._periods, strict=True)):
            units, wait = reply[3 + 2 * i], reply[4 + 2 * i]
            reset = newest + period + 1 - now if units else 0
            found.append((max(quota.limit - units, 0), wait if n else 0, max(reset, 0)))
        return found


class CounterPairs(Windows):
    """Units of this window and of the last one."""

    script = Script("sliding_counter.lua")

    def moment(self, reply: Reply) -> int:
        return reply[1]

    def outcomes(self, reply: Reply, n: int) -> list[tuple[int, int, int]]:
        found = []
        for i, (quota, period) in enumerate(zip(self.quotas, self._periods, strict=True)):
            current, previous = reply[2 + 2 * i], reply[3 + 2 * i]
            elapsed = reply[1] % period
            units = current - (-previous * (period - elapsed) // period)
            wait = counter_wait(quota.limit, period, elapsed, current, previous, n) if n else 0
            reset = 2 * period - elapsed if current else period - elapsed if previous else 0
            found.append((max(quota.limit - units, 0), wait, reset))
        return found


def counter_wait(limit: int, period: int, elapsed: int, current: int, previous: int, n: int) -> int:
    """Microseconds until `n` units fit into a counter pair, if none come until then."""
    for start, this, last in ((0, current, previous), (period, 0, current)):
        room = limit - n - this
        if room < 0:
            continue
        fits_at = max(0, period - room * period // last) if last else 0
        if fits_at < period:
            return max(start + fits_at - elapsed, 0)
    return 2 * period - elapsed


ALGORITHMS: dict[str, type[Algorithm]] = {
    "token_bucket": TokenBuckets,
    "sliding_window": SlidingWindows,
    "sliding_counter": CounterPairs,
}
