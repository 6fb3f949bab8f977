"""What waiting is made of: one way to sleep and be woken, for threads and for tasks of any event loop."""

import asyncio
from contextlib import suppress
from threading import TIMEOUT_MAX, Lock
from typing import Any

from penstock.clock import NANOSECONDS
from penstock.errors import InvalidType, InvalidValue, PenstockError
from penstock.ratelimit.quota import shown

__all__ = [
    "MAX_WAITING",
    "InUse",
    "TaskWaker",
    "ThreadWaker",
    "Waker",
    "checked_timeout",
    "entered",
    "inside",
]

MAX_WAITING = 1_000_000
"""How many may wait in one place unless it says otherwise."""

MAX_TIMEOUT = 1 << 60  # nanoseconds, 36 years; whoever wants to wait longer waits for ever


def checked_timeout(timeout: float | None) -> int | None:
    """`timeout` seconds in nanoseconds; None, which has no end, stays None.

    Raises:
        ValueError: it is negative or nan.
        TypeError: it is no number.
    """
    if timeout is None:
        return None
    if not isinstance(timeout, (int, float)):
        raise InvalidType(f"timeout must be a number of seconds or None, got {type(timeout).__name__}")
    if not timeout >= 0:
        raise InvalidValue(f"timeout must be >= 0 seconds or None, got {shown(timeout)}")
    return None if timeout >= MAX_TIMEOUT // NANOSECONDS else round(timeout * NANOSECONDS)


class InUse(PenstockError, RuntimeError):
    """A signal handler or a finalizer called what it had interrupted in the middle of a step."""


def inside(lock: Any) -> bool:
    """Whether this thread is within `with lock` of an RLock: this code has interrupted it there."""
    return bool(lock._is_owned())


def entered(lock: Any) -> Any:
    """`lock`, an RLock, for a `with` around one step over Python objects.

    Such a step can be interrupted in its own thread by a signal handler or a finalizer, and that may come
    back for the same lock: to wait would be for ever. It is told instead. (No class with an __enter__ of
    its own: a KeyboardInterrupt within that would leave the lock taken.)

    Raises:
        InUse: this thread is inside already.
    """
    if inside(lock):
        raise InUse(
            "this limiter is in the middle of a step, which a signal handler or finalizer interrupted"
        )
    return lock


class ThreadWaker:
    """Wakes the thread that made it. A wake that comes before the wait is not lost."""

    __slots__ = ("_asleep",)

    def __init__(self) -> None:
        self._asleep = Lock()
        self._asleep.acquire()

    def wait(self, seconds: float | None) -> None:
        """Sleeps until woken, or for `seconds`; None for no end."""
        self._asleep.acquire(timeout=-1 if seconds is None else min(seconds, TIMEOUT_MAX))

    def wake(self) -> bool:
        """Ends the wait; from any thread, any number of times. False: there is nobody to wake any more."""
        with suppress(RuntimeError):  # it is awake already
            self._asleep.release()
        return True


class TaskWaker:
    """Wakes the task that made it, whatever thread or event loop calls; else as ThreadWaker."""

    __slots__ = ("_future", "_loop", "_woken")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] | None = None
        self._woken = False

    async def wait(self, seconds: float | None) -> None:
        """Sleeps until woken, or for `seconds`; None for no end."""
        if not self._woken:
            self._future = self._loop.create_future()
            timer = None if seconds is None else self._loop.call_later(seconds, self._end)
            try:
                await self._future
            finally:
                self._future = None
                if timer is not None:
                    timer.cancel()
        self._woken = False

    def wake(self) -> bool:
        """Ends the wait; from any thread, any number of times. False: there is nobody to wake any more."""
        try:
            if asyncio._get_running_loop() is self._loop:
                self._end()
            else:
                self._loop.call_soon_threadsafe(self._end)
        except RuntimeError:  # its event loop is closed
            return False
        return True

    def _end(self) -> None:
        self._woken = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


Waker = ThreadWaker | TaskWaker
