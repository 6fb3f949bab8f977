"""Limits of packets a second that hold for several distributors together, kept in Redis.

They come on top of the limits of each process, which are the same: what Redis does not answer in time is
limited by these alone, so a fleet of n then takes up to n times as much.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.errors import PenstockError
from penstock.ratelimit import Quota, RateLimiterUnavailable, TokenBucket
from penstock.services.distributor.admission import TooFast
from penstock.services.distributor.config import Config
from penstock.services.distributor.jetstream.address import parse_address

if TYPE_CHECKING:
    from penstock.ratelimit.engines.redis import RedisRateLimiter

__all__ = ["CannotShare", "SharedLimits"]

log = logging.getLogger(__name__)

TIMEOUT = 0.1
"""Seconds that a request waits for Redis, at the most."""
MAX_BURST = 1 << 30
ALL = "all"


class CannotShare(PenstockError, ValueError):
    """Limits cannot be kept in that Redis: its URL is none, or the client of Redis is missing."""


class SharedLimits:
    """The limits of all distributors that name one Redis; an async context manager.

    Args:
        config: the settings, with a `redis_url`.
        holder_of: whose key a bucket limits.

    Raises:
        CannotShare: see there.
    """

    def __init__(self, config: Config, holder_of: Callable[[TokenBucket], str]) -> None:
        require_redis()
        self._url = config.redis_url
        self._holder_of = holder_of
        prefix = parse_address(config.spool).prefix if config.spool else "distributor"
        self._prefix = f"penstock:{prefix}:"
        self._limiters: dict[tuple[float, float], RedisRateLimiter] = {}
        self._is_away = False
        self._limiter(1, 1)  # tells now what is wrong with the URL

    async def __aenter__(self) -> "SharedLimits":
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.gather(*(limiter.aclose() for limiter in self._limiters.values()))

    async def take(self, packets: int, of_all: TokenBucket | None, of_key: TokenBucket | None) -> None:
        """Takes the tokens of packets that this process has let through.

        Args:
            packets: how many.
            of_all: limits all packets here; its rate and its burst hold for all distributors.
            of_key: the same of one client's API key.

        Raises:
            TooFast: not so many are left; then none is taken.
        """
        if of_key is not None:
            await self._take(packets, of_key, f"key:{self._holder_of(of_key)}")
        if of_all is None:
            return
        try:
            await self._take(packets, of_all, ALL)
        except TooFast:
            if of_key is not None:
                await self._give_back(packets, of_key)
            raise

    async def _take(self, packets: int, bucket: TokenBucket, key: str) -> None:
        limiter = self._limiter(bucket.rate, bucket.capacity)
        try:
            result = await limiter.check(key, tokens_of(packets, bucket))
        except RateLimiterUnavailable as error:
            if not self._is_away:
                log.warning("limits hold for this process alone, Redis does not answer: %s", error)
            self._is_away = True
            return
        self._is_away = False
        if not result.allowed:
            raise TooFast(f"at most {bucket.rate:g} packets a second are taken", result.retry_after)

    async def _give_back(self, packets: int, bucket: TokenBucket) -> None:
        limiter = self._limiter(bucket.rate, bucket.capacity)
        try:
            await limiter.refund(f"key:{self._holder_of(bucket)}", tokens_of(packets, bucket))
        except RateLimiterUnavailable as error:
            log.warning("tokens of a refused request stay taken, Redis does not answer: %s", error)

    def _limiter(self, rate: float, burst: float) -> "RedisRateLimiter":
        from penstock.ratelimit.engines.redis import RedisRateLimiter

        limiter = self._limiters.get((rate, burst))
        if limiter is None:
            try:
                limiter = RedisRateLimiter(
                    quota_of(rate, burst), nodes=self._url, prefix=self._prefix, timeout=TIMEOUT
                )
            except ValueError as error:
                raise CannotShare(
                    f"redis_url must be redis://HOST:PORT, got {self._url!r}: {error}"
                ) from None
            self._limiters[rate, burst] = limiter
        return limiter


def tokens_of(packets: int, bucket: TokenBucket) -> int:
    """What so many packets take; a request that is larger than the bucket takes all of it."""
    return max(1, min(packets, int(bucket.capacity)))


def quota_of(rate: float, burst: float) -> Quota:
    """A bucket as the engine has it."""
    at_once = min(max(1, math.ceil(burst)), MAX_BURST)
    if rate < 1000:
        return Quota(1, 1 / rate, burst=at_once)
    return Quota(min(round(rate), MAX_BURST), 1, burst=at_once)


def require_redis() -> None:
    """Says what to install when the client of Redis is not there.

    Raises:
        CannotShare: it is not.
    """
    try:
        import redis.asyncio  # noqa: F401 -- whether it is there
    except ImportError:
        raise CannotShare("limits in Redis need redis-py: pip install 'penstock[redis]'") from None
