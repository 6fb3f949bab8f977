"""What the fan-outs share: a task for each item, and their results in one place.

A pattern says by its `Slots` how many items may be in progress. Everything else is the same for all of them,
what a failure does, what a cancelled consumer leaves behind, and so it stands here once.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from reprlib import repr as short_repr
from typing import Any, Generic, TypeVar

from penstock.errors import InvalidType, InvalidValue

__all__ = ["Slots", "cancel_all", "checked_count", "checked_number", "fan_out", "one_by_one", "with_note"]

T = TypeVar("T")
R = TypeVar("R")


class Slots:
    """Room for `limit` items in progress, and for `ahead` results beyond those that nobody has taken yet.

    With no room ahead a slot is free again when its result has been taken. The limit may change at any time;
    one that shrinks takes effect as slots become free. One task may wait for a slot, the feeder of a fan-out.

    Args:
        limit: >= 1; infinite for a fan-out without a bound.
        ahead: >= 0.
    """

    __slots__ = ("_ahead", "_finished", "_limit", "_waiter", "_working")

    def __init__(self, limit: float, ahead: int = 0) -> None:
        self._limit = limit
        self._ahead = ahead
        self._working = 0
        self._finished = 0
        self._waiter: asyncio.Future[None] | None = None

    @property
    def limit(self) -> float:
        """How many may be in progress."""
        return self._limit

    @limit.setter
    def limit(self, limit: float) -> None:
        self._limit = limit
        self._wake()

    async def take(self) -> None:
        """Waits for a slot and takes it."""
        while self._full():
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._working += 1

    def finish(self) -> None:
        """The work in a slot has ended, its result waits to be taken."""
        self._working -= 1
        self._finished += 1
        if self._ahead:
            self._wake()

    def free(self) -> None:
        """A result has been taken."""
        self._finished -= 1
        self._wake()

    def _full(self) -> bool:
        return self._working >= self._limit or self._working + self._finished >= self._limit + self._ahead

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done() and not self._full():
            self._waiter.set_result(None)


async def fan_out(
    work: Callable[[T], Awaitable[R]], items: Iterable[T] | AsyncIterable[T], slots: Slots, ordered: bool
) -> AsyncGenerator[R, None]:
    """Does `work` on every item, in a task of its own once there is a slot for it, and yields the results."""
    # No TaskGroup: it would cancel the consumer from outside, while that runs its own code between results.
    working: set[asyncio.Task[R]] = set()
    due: asyncio.Queue[asyncio.Task[R] | None] = asyncio.Queue()  # never longer than slots are taken

    def start(item: T) -> None:
        task = asyncio.create_task(_in_slot(work, item, slots))
        working.add(task)
        if ordered:
            due.put_nowait(task)
        else:
            task.add_done_callback(due.put_nowait)

    async def feed() -> None:
        await slots.take()  # first a slot, then an item: nothing is pulled that cannot start
        async for item in one_by_one(items):
            if is_cancelled():
                raise asyncio.CancelledError  # the source, or what it waits in, has swallowed it
            start(item)
            await slots.take()

    feeder = asyncio.create_task(feed())
    feeder.add_done_callback(lambda _: due.put_nowait(None))  # wakes the loop below, that it looks again
    try:
        while working or not feeder.done():
            task = await due.get()
            if task is not None:
                if not task.done():
                    await asyncio.wait([task])  # not itself: it would be cancelled in the consumer's place
                result = await task
                working.discard(task)
                slots.free()
                yield result
        await feeder
    finally:
        await cancel_all({feeder, *working})


async def _in_slot(work: Callable[[T], Awaitable[R]], item: T, slots: Slots) -> R:
    try:
        return await work(item)
    except Exception as error:
        add_note(error, item)
        raise
    finally:
        slots.finish()


async def with_note(work: Callable[[T], Awaitable[R]], item: T) -> R:
    """What `work` makes of the item; an exception that it raises gets a note that names the item."""
    try:
        return await work(item)
    except Exception as error:
        add_note(error, item)
        raise


def add_note(error: Exception, item: object) -> None:
    try:
        shown = short_repr(item)
    except Exception:  # an int of more digits than Python writes, for one; it must not hide the error
        shown = f"an item of type {type(item).__name__}"
    error.add_note(f"while working on {shown}")


def is_cancelled() -> bool:
    """Whether somebody has asked the current task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def cancel_all(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancels the tasks and comes back when all have ended, also when it is cancelled itself meanwhile.

    A task that calls this is left out, it would wait for its own end.
    """
    tasks = {task for task in tasks if task is not asyncio.current_task()}
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


def one_by_one(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """The items, pulled only when they are asked for, whichever kind of iterable they come from."""
    return aiter(items) if isinstance(items, AsyncIterable) else Pulled(items)


class Pulled(Generic[T]):
    """A plain iterable as an async one. Not a generator: there is nothing to close."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)

    def __aiter__(self) -> "Pulled[T]":
        return self

    async def __anext__(self) -> T:
        for item in self._items:
            return item
        raise StopAsyncIteration


def checked_count(name: str, value: int, least: int = 1) -> int:
    """`value`, an int that is not less than `least`.

    Raises:
        TypeError: it is no int.
        ValueError: it is less.
    """
    if not isinstance(value, int):
        raise InvalidType(f"{name} must be an int, got {type(value).__name__}")
    if value < least:
        raise InvalidValue(f"{name} must be >= {least}, got {value}")
    return value


def checked_number(name: str, value: float, holds: Callable[[float], bool], rule: str) -> float:
    """`value`, a number for which `holds` is true.

    Raises:
        TypeError: it is no int or float.
        ValueError: the rule does not hold.
    """
    if not isinstance(value, int | float):
        raise InvalidType(f"{name} must be a number, got {type(value).__name__}")
    if not holds(value):
        raise InvalidValue(f"{name} must be {rule}, got {value}")
    return value
