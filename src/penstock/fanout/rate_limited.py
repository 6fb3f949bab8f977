"""Rate-limited fan-out: a bounded one whose work starts no faster than a limiter allows."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Protocol, TypeVar

from penstock.fanout._fan_out import Slots, checked_count, fan_out, one_by_one

__all__ = ["Limiter", "rate_limited"]

T = TypeVar("T")
R = TypeVar("R")


class Limiter(Protocol):
    """Whatever can be waited for, as `TokenBucket` of `penstock.ratelimit`."""

    def acquire_async(self) -> Awaitable[object]:
        """Comes back when one more may start."""


def rate_limited(
    work: Callable[[T], Awaitable[R]],
    items: Iterable[T] | AsyncIterable[T],
    *,
    limiter: Limiter,
    limit: int,
    ordered: bool = False,
) -> AsyncGenerator[R, None]:
    """Does `work` on every item, at the limiter's pace and at most `limit` at once, and yields the results.

    ::

        bucket = TokenBucket(rate=20, capacity=1)
        async with aclosing(rate_limited(fetch, urls, limiter=bucket, limit=8)) as pages:
            async for page in pages:
                ...

    A rate alone bounds nothing: at 20 starts a second of work that takes 30 s, 600 are in progress. So both
    are asked for. An item is pulled when there is a slot for it, then waits for the limiter in that slot: a
    slow source cannot save up starts beyond the limiter's own burst. The limiter may be shared with others.

    Exceptions, closing and cancellation are those of `bounded`. An exception of the limiter counts as one of
    `items`: it is raised after the results of the items before it.

    Args:
        work: called with one item; runs in a task of its own.
        items: pulled one by one. A plain iterable should not block, the event loop waits for it.
        limiter: its `acquire_async` is awaited once before each start.
        limit: how many may be in progress, >= 1.
        ordered: True for results in the order of their items; False as they finish.

    Raises:
        ValueError: limit < 1.
        TypeError: limit is no int.
    """
    return _rate_limited(work, items, limiter, Slots(checked_count("limit", limit)), ordered)


async def _rate_limited(
    work: Callable[[T], Awaitable[R]],
    items: Iterable[T] | AsyncIterable[T],
    limiter: Limiter,
    slots: Slots,
    ordered: bool,
) -> AsyncGenerator[R, None]:
    async with (
        aclosing(_paced(items, limiter)) as paced,
        aclosing(fan_out(work, paced, slots, ordered)) as results,
    ):
        async for result in results:
            yield result


async def _paced(items: Iterable[T] | AsyncIterable[T], limiter: Limiter) -> AsyncGenerator[T, None]:
    async for item in one_by_one(items):
        await limiter.acquire_async()
        yield item
