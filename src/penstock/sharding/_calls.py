"""Calls under way: waiting until they are over, and holding back those that come."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Hashable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

__all__ = ["Calls", "Gate", "KeyLocks", "awaited", "to_its_end"]


class Calls:
    """Calls under way, so that one can wait for those that began before now, and for no later ones."""

    __slots__ = ("_ended", "_numbers", "_under_way")

    def __init__(self) -> None:
        self._numbers = count()
        self._under_way: dict[int, None] = {}  # the oldest first
        self._ended = asyncio.Event()

    def counted(self) -> "Call":
        """A call that is under way for as long as the context lasts."""
        return Call(self)

    def begin(self) -> int:
        """Counts a call; `end` takes what it returns."""
        number = next(self._numbers)
        self._under_way[number] = None
        return number

    def end(self, number: int) -> None:
        """The call is over."""
        del self._under_way[number]
        self._ended.set()

    async def drained(self) -> None:
        """Waits until every call that has begun by now is over."""
        now = next(self._numbers)
        while self._under_way and next(iter(self._under_way)) < now:
            self._ended.clear()
            await self._ended.wait()


class Call:
    """One of Calls; contextlib's would take a microsecond more of every read and write."""

    __slots__ = ("_calls", "_number")

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def __enter__(self) -> None:
        self._number = self._calls.begin()

    def __exit__(self, *error: object) -> None:
        self._calls.end(self._number)


class Gate:
    """Many may be inside at once, or one alone. Those who wait for the one go in before it can come again."""

    __slots__ = ("_inside", "_open")

    def __init__(self) -> None:
        self._inside = Calls()
        self._open = asyncio.Event()
        self._open.set()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Inside with others."""
        while not self._open.is_set():
            await self._open.wait()
        with self._inside.counted():
            yield

    @asynccontextmanager
    async def alone(self, timeout: float) -> AsyncIterator[None]:  # noqa: ASYNC109  (of the way in only)
        """Inside alone. Only one task may ask for it at a time.

        Raises:
            TimeoutError: somebody stayed inside for so many seconds.
        """
        await asyncio.sleep(0)  # those whom its last visit held back are woken, and go in first
        self._open.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._inside.drained()
            yield
        finally:
            self._open.set()


class KeyLocks:
    """A lock for each key that is in use, and no other."""

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def held(self, key: Hashable) -> AsyncIterator[None]:
        """Alone with a key, in order of arrival."""
        lock, users = self._locks.setdefault(key, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[key]


async def awaited(result: object) -> None:
    """Waits for what a function has returned, if it is one that has to be waited for."""
    if isinstance(result, Awaitable):
        await result


async def to_its_end(call: Coroutine[Any, Any, None]) -> None:
    """Runs `call` to its end, whoever cancels this one meanwhile; the cancellation comes after that."""
    task = asyncio.create_task(call)
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled:
        raise cancelled
