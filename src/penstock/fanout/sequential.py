"""Sequential: one item after the other. What every other pattern is measured against."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from typing import TypeVar

from penstock.fanout._fan_out import one_by_one, with_note

__all__ = ["sequential"]

T = TypeVar("T")
R = TypeVar("R")


async def sequential(
    work: Callable[[T], Awaitable[R]], items: Iterable[T] | AsyncIterable[T]
) -> AsyncGenerator[R, None]:
    """Does `work` on one item at a time and yields the results, in the order of the items.

    ::

        async with aclosing(sequential(fetch, urls)) as pages:
            async for page in pages:
                ...

    Nothing runs beside it: `work` is awaited in the consumer's own task, and an item is pulled when the
    consumer comes for its result. Holds one item.

    An exception of `work` is raised to the consumer with a note that names the item, one of `items` as it is.
    `items` itself is not closed.

    Args:
        work: called with one item.
        items: pulled one by one. A plain iterable should not block, the event loop waits for it.
    """
    async for item in one_by_one(items):
        yield await with_note(work, item)
