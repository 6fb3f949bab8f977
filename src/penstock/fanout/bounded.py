"""Bounded fan-out: at most so many at once, however many there are."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from typing import TypeVar

from penstock.fanout._fan_out import Slots, checked_count, fan_out

__all__ = ["bounded"]

T = TypeVar("T")
R = TypeVar("R")


def bounded(
    work: Callable[[T], Awaitable[R]],
    items: Iterable[T] | AsyncIterable[T],
    *,
    limit: int,
    ordered: bool = False,
) -> AsyncGenerator[R, None]:
    """Does `work` on every item, at most `limit` at once, and yields the results.

    ::

        async with aclosing(bounded(fetch, urls, limit=8)) as pages:
            async for page in pages:
                ...

    An item is pulled when there is a slot for it, and its slot is free again when its result has been
    taken. So a slow consumer slows the work down, an endless source is welcome, and no more than
    `limit` items and results are held besides the one in the consumer's hands, ordered or not.

    An exception of `work` is raised to the consumer as it is, with a note that names the item; all
    other work is cancelled, as a plain loop would stop. Work that may fail without ending the rest
    returns its failure as a result. An exception of `items` is raised after the results of the items
    before it. When the generator is closed, or the task that waits for its next result is cancelled,
    everything in progress is cancelled and has ended before that goes on; `items` itself is not closed.

    Args:
        work: called with one item; runs in a task of its own.
        items: pulled one by one. A plain iterable should not block, the event loop waits for it.
        limit: how many may be in progress, >= 1.
        ordered: True for results in the order of their items, where one slow item can hold back up to
            `limit - 1` results; False as they finish.

    Raises:
        ValueError: limit < 1.
        TypeError: limit is no int.
    """
    return fan_out(work, items, Slots(checked_count("limit", limit)), ordered)
