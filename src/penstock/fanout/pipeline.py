"""Pipeline: stages one behind the other, each a bounded fan-out, all at work at the same time."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, aclosing
from typing import Any, TypeVar

from penstock.fanout._fan_out import Slots, checked_count, fan_out, one_by_one

__all__ = ["Stage", "pipeline", "stage"]

T = TypeVar("T")
R = TypeVar("R")

Stage = Callable[[AsyncIterable[Any]], AsyncGenerator[Any, None]]
"""Makes an async generator of results out of an async iterable of items."""


def stage(
    work: Callable[[T], Awaitable[R]], *, limit: int = 1, queue: int = 0, ordered: bool = False
) -> Callable[[AsyncIterable[T]], AsyncGenerator[R, None]]:
    """One stage of a `pipeline`: `work` on at most `limit` items at once.

    Args:
        work: called with one result of the stage before; runs in a task of its own.
        limit: how many may be in progress, >= 1.
        queue: how many finished results may wait for the next stage while `limit` others are in progress,
            >= 0. With 0 a result that waits keeps its slot. A queue evens out stages that take turns at being
            slow; where one stage is always the slowest, it fills up and helps nothing.
        ordered: True for results in the order of their items; False as they finish.

    Raises:
        ValueError: limit < 1, queue < 0.
        TypeError: limit or queue is no int.
    """
    checked_count("limit", limit)
    checked_count("queue", queue, least=0)
    return lambda items: fan_out(work, items, Slots(limit, ahead=queue), ordered)


async def pipeline(items: Iterable[Any] | AsyncIterable[Any], *stages: Stage) -> AsyncGenerator[Any, None]:
    """Sends every item through all `stages` and yields the results of the last; without stages, the items.

    ::

        async with aclosing(pipeline(urls, stage(fetch, limit=8), stage(parse, limit=2))) as pages:
            async for page in pages:
                ...

    Each stage works while the others do, so the slowest alone sets the pace. A stage pulls from the one
    before it when it has room: a slow stage, or a slow consumer, slows down all before it, back to the
    source. The sum of all limits and queues is the most that is held, besides the result in the consumer's
    hands.

    An exception of any stage comes with a note that names the item of that stage. It ends the stages before
    it at once; those behind it finish what they have, its results are yielded, then it is raised. So is one
    of `items`. When the generator is closed, or the task that waits for its next result is cancelled, all
    stages have ended before that goes on; `items` itself is not closed.

    Args:
        items: pulled one by one. A plain iterable should not block, the event loop waits for it.
        stages: made by `stage`; or any pattern with its arguments but the items, as
            `partial(rate_limited, fetch, limiter=bucket, limit=8)`.
    """
    async with AsyncExitStack() as closing:  # closes the last stage first
        results: AsyncIterable[Any] = one_by_one(items)
        for each in stages:
            results = await closing.enter_async_context(aclosing(each(results)))
        async for result in results:
            yield result
