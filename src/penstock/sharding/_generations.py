"""Waiting for those who still use what was replaced, and holding back those who come."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

__all__ = ["Gate", "KeyLocks", "Users"]


class Users:
    """Counts who uses an object, so that one can wait for the last of them. Nobody is kept from using it.

    with users:     # for as long as the object is used
    """

    __slots__ = ("_count", "_last_left")

    def __init__(self) -> None:
        self._count = 0
        self._last_left: asyncio.Event | None = None

    def __enter__(self) -> None:
        self._count += 1

    def __exit__(self, *error: object) -> None:
        self._count -= 1
        if not self._count and self._last_left is not None:
            self._last_left.set()

    async def gone(self) -> None:
        """Returns when nobody uses it. Only one task may wait at a time."""
        while self._count:
            self._last_left = asyncio.Event()
            await self._last_left.wait()


class Gate:
    """Many may be inside at once, or one alone. Those who wait for the one go in before it can come again."""

    __slots__ = ("_inside", "_open")

    def __init__(self) -> None:
        self._inside = Users()
        self._open = asyncio.Event()
        self._open.set()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Inside with others."""
        while not self._open.is_set():
            await self._open.wait()
        with self._inside:
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
                await self._inside.gone()
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
