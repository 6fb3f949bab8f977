"""Bounded fan-out: at most so many at once, however many there are."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from reprlib import repr as short_repr
from typing import Any, TypeVar

from penstock.errors import InvalidType, InvalidValue

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
    before it. When the generator is closed, or the task that reads it is cancelled, everything in
    progress is cancelled and has ended before that goes on; `items` itself is not closed.

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
    if not isinstance(limit, int):
        raise InvalidType(f"limit must be an int, got {type(limit).__name__}")
    if limit < 1:
        raise InvalidValue(f"limit must be >= 1, got {limit}")
    return _fan_out(work, items, limit, ordered)


async def _fan_out(
    work: Callable[[T], Awaitable[R]], items: Iterable[T] | AsyncIterable[T], limit: int, ordered: bool
) -> AsyncGenerator[R, None]:
    # No TaskGroup: it would cancel the consumer from outside, while that runs its own code between results.
    slots = asyncio.Semaphore(limit)
    working: set[asyncio.Task[R]] = set()
    due: asyncio.Queue[asyncio.Task[R] | None] = asyncio.Queue()  # never longer than slots are taken

    def start(item: T) -> None:
        task = asyncio.create_task(_with_note(work, item))
        working.add(task)
        if ordered:
            due.put_nowait(task)
        else:
            task.add_done_callback(due.put_nowait)

    async def feed() -> None:
        await slots.acquire()  # first a slot, then an item: nothing is pulled that cannot start
        if isinstance(items, AsyncIterable):
            async for item in items:
                start(item)
                await slots.acquire()
        else:
            for item in items:
                start(item)
                await slots.acquire()

    feeder = asyncio.create_task(feed())
    feeder.add_done_callback(lambda _: due.put_nowait(None))  # wakes the loop below, that it looks again
    try:
        while working or not feeder.done():
            task = await due.get()
            if task is not None:
                result = await task
                working.discard(task)
                slots.release()
                yield result
        await feeder
    finally:
        await _cancel({feeder, *working})


async def _with_note(work: Callable[[T], Awaitable[R]], item: T) -> R:
    try:
        return await work(item)
    except Exception as error:
        error.add_note(f"while working on {short_repr(item)}")
        raise


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancels the tasks and comes back when all have ended, also when it is cancelled itself meanwhile."""
    for task in tasks:
        task.cancel()
    cancelled = None
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen: the first failure is the one that the consumer gets
    if cancelled:
        raise cancelled
