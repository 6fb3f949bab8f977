"""A precise timer on the running event loop: never early, and late by some 0.1 ms where the loop is free.

The timers of asyncio are no pacers: the default loop rounds up to the next millisecond, uvloop rounds to
the nearest and so wakes early. On Linux a `Timer` keeps its moments in a heap and has the kernel wake the
loop for the first of them, through one timerfd. Elsewhere it uses the loop's own timers, and looks at the
clock again when they wake.
"""

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from errno import EINVAL
from heapq import heapify, heappop, heappush
from io import FileIO
from itertools import count
from typing import Any, Protocol

from penstock.clock import NANOSECONDS, Clock, checked_clock, monotonic_ns
from penstock.errors import InvalidType, InvalidValue, PenstockError

__all__ = ["Handle", "Timer", "TimerClosed"]

MAX_MOMENT = (1 << 63) - 1
CLOSED = "timer must be open, it is closed"
SHORTEST_WAIT = 1_000  # ns; less is nothing to a loop that counts seconds in a float, it would not move on


class TimerClosed(PenstockError, RuntimeError):
    """The timer is closed: nobody would be woken any more."""


class Handle:
    """A callback that is due at `at_ns`, until it is cancelled."""

    __slots__ = ("_callback", "_context", "_timer", "at_ns")

    def __init__(self, timer: "Timer", at_ns: int, callback: Callable[[], object]) -> None:
        self.at_ns = at_ns
        self._timer: Timer | None = timer  # while it lies in the heap
        self._callback: Callable[[], object] | None = callback  # until it has run or is cancelled
        self._context: Context | None = copy_context()

    def cancel(self) -> None:
        """The callback will not run; nothing where it has run, or was cancelled before."""
        if self._callback is not None:
            self._callback = self._context = None  # free what they hold, the heap keeps the handle a while
            if self._timer is not None:
                self._timer._forget()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        callback, context = self._callback, self._context
        if callback is None or context is None:
            return
        self._callback = self._context = None
        try:
            context.run(callback)
        except Exception as error:
            message = f"Exception in a callback of a timer, {callback!r}"
            loop.call_exception_handler({"message": message, "exception": error})


class Timer:
    """Calls back, or lets a task go on, at exact moments of a clock.

    ::

        with Timer() as timer:
            for start in range(first, last, gap):
                await timer.sleep_until(start)

    Belongs to the event loop that runs when it is made, and to that loop's thread. `close` it, or use it as
    a context manager. One moment costs a push and a pop of a heap, and a system call where it is the first
    to come. Cancelled handles never make up more than half of the heap, beyond the first few.

    Args:
        clock: what the moments are measured on, ns; the system's monotonic clock for None. Any other, a
            test's for one, is read whenever the loop's own timers say that the time has come.

    Raises:
        RuntimeError: no event loop is running.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = checked_clock(clock)
        self._heap: list[tuple[int, int, Handle]] = []
        self._order = count()  # equal moments: first come, first served
        self._cancelled = 0
        self._sleepers: set[asyncio.Future[None]] = set()
        self._closed = False
        self._armed: int | None = None
        self._firing = False
        self._alarm = alarm(self._loop, self._clock, self._fire)

    @property
    def precise(self) -> bool:
        """Whether the kernel wakes this timer, not the timers of the loop."""
        return isinstance(self._alarm, DescriptorAlarm)

    def call_at(self, at_ns: int, callback: Callable[[], object]) -> Handle:
        """Calls `callback` on the loop at `at_ns` of the clock or as soon after it as the loop is free.

        A moment that has passed is due at the next turn of the loop. The callback runs in a copy of the
        context of this call; what it raises goes to the loop's exception handler, and the others still run.

        Raises:
            TimerClosed: the timer is closed.
            TypeError: `at_ns` is no int.
            ValueError: `at_ns` is beyond 64 bits.
        """
        self._check(at_ns)
        handle = Handle(self, at_ns, callback)
        heappush(self._heap, (at_ns, next(self._order), handle))
        self._arm()
        return handle

    async def sleep_until(self, at_ns: int) -> None:
        """Comes back at `at_ns` of the clock, never before; after one turn of the loop where that has passed.

        Raises:
            TimerClosed: the timer is closed, or was closed meanwhile.
            TypeError: `at_ns` is no int.
            ValueError: `at_ns` is beyond 64 bits.
        """
        self._check(at_ns)
        if at_ns <= self._clock():
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = self._loop.create_future()
        handle = self.call_at(at_ns, lambda: wake(woken))
        self._sleepers.add(woken)
        try:
            await woken
        finally:
            self._sleepers.discard(woken)
            handle.cancel()

    def close(self) -> None:
        """Forgets every callback, also those due in this turn, and frees the descriptor.

        Who sleeps on the timer gets `TimerClosed`.
        """
        if self._closed:
            return
        self._closed = True
        self._alarm.close()
        for _, _, handle in self._heap:
            handle.cancel()
        self._heap.clear()
        for woken in self._sleepers:
            if not woken.done():
                woken.set_exception(TimerClosed(CLOSED))

    def __enter__(self) -> "Timer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """How many callbacks are still to come."""
        return len(self._heap) - self._cancelled

    def _check(self, at_ns: int) -> None:
        if not isinstance(at_ns, int):
            raise InvalidType(f"at_ns must be an int, got {type(at_ns).__name__}")
        if at_ns > MAX_MOMENT:
            raise InvalidValue(f"at_ns must fit 64 bits, got an int of {at_ns.bit_length()} bits")
        if self._closed:
            raise TimerClosed(CLOSED)

    def _forget(self) -> None:
        """Counts a cancelled handle, and clears the heap of them before they outnumber the rest."""
        self._cancelled += 1
        if self._cancelled > 16 and 2 * self._cancelled > len(self._heap) and not self._closed:
            self._heap[:] = [entry for entry in self._heap if entry[2]._callback is not None]
            heapify(self._heap)
            self._cancelled = 0

    def _fire(self) -> None:
        """Runs what is due, then sets the alarm for what comes next."""
        self._armed = None
        due = self._take_due(self._clock())
        self._firing = True
        try:
            while due and not self._closed:
                due.popleft()._run(self._loop)
        finally:
            self._put_back(due)
            self._firing = False
            self._arm(fired=True)

    def _take_due(self, now: int) -> deque[Handle]:
        """Taken before any of it runs: a callback that asks for now again has to wait for its turn."""
        due: deque[Handle] = deque()
        while self._heap and self._heap[0][0] <= now:
            handle = heappop(self._heap)[2]
            handle._timer = None
            if handle._callback is None:
                self._cancelled -= 1
            else:
                due.append(handle)
        return due

    def _put_back(self, due: deque[Handle]) -> None:
        """What an interrupt of the whole program, such as Ctrl-C, has kept from running."""
        for handle in due:
            if handle._callback is not None and not self._closed:
                handle._timer = self
                heappush(self._heap, (handle.at_ns, next(self._order), handle))

    def _arm(self, fired: bool = False) -> None:
        if self._firing or self._closed:
            return
        first = self._heap[0][0] if self._heap else None
        if fired or (first is not None and (self._armed is None or first < self._armed)):
            self._alarm.set(first)
            self._armed = first


def wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


class Alarm(Protocol):
    """Calls back once, at a moment or soon after; perhaps also before it."""

    def set(self, at_ns: int | None) -> None:
        """Replaces the moment that was set; None for none."""

    def close(self) -> None:
        """Never calls back again."""


def alarm(loop: asyncio.AbstractEventLoop, clock: Clock, callback: Callable[[], None]) -> Alarm:
    """The most precise alarm that there is for this clock on this loop."""
    if clock is monotonic_ns and sys.platform == "linux":
        try:
            return DescriptorAlarm(loop, callback)
        except (
            AttributeError,
            NotImplementedError,
            OSError,
        ):  # an old libc, a loop without add_reader, no descriptors
            pass
    return LoopAlarm(loop, clock, callback)


class DescriptorAlarm:
    """A timerfd that the loop reads. The kernel keeps it exactly, no timer slack is added as to a sleep."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        create, self._set_time = timerfd_calls()
        self._file = FileIO(create(), closefd=True)  # warns as every file does when nobody closes it
        try:
            self._loop = loop
            loop.add_reader(self._file.fileno(), callback)
        except BaseException:
            self._file.close()
            raise

    def set(self, at_ns: int | None) -> None:
        # Setting the time also takes back what has expired, so the descriptor never needs to be read.
        self._set_time(self._file.fileno(), 0 if at_ns is None else max(at_ns, 1))

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.remove_reader(self._file.fileno())
        self._file.close()


class LoopAlarm:
    """The loop's own timer, which may be early or late."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._clock = clock
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at_ns: int | None) -> None:
        wait = 0 if at_ns is None else max(at_ns - self._clock(), SHORTEST_WAIT)
        self.close()
        if at_ns is not None:
            self._handle = self._loop.call_later(wait / NANOSECONDS, self._callback)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


Create = Callable[[], int]
SetTime = Callable[[int, int], object]


def timerfd_calls() -> tuple[Create, SetTime]:
    """How to make a timerfd of the monotonic clock, and to set it: descriptor and moment in ns, 0 for never.

    Raises:
        AttributeError: the C library has no timerfd.
        OSError: its structures are not those of a 64-bit system.
    """
    if sys.version_info >= (3, 13):
        return _calls_of_os(os)
    return _calls_of_libc()


def _calls_of_os(system: Any) -> tuple[Create, SetTime]:  # Any: os has these from Python 3.13 only
    import time

    def create() -> int:
        flags = system.TFD_NONBLOCK | system.TFD_CLOEXEC
        return int(system.timerfd_create(time.CLOCK_MONOTONIC, flags=flags))

    def set_time(descriptor: int, at_ns: int) -> object:
        return system.timerfd_settime_ns(descriptor, flags=system.TFD_TIMER_ABSTIME, initial=at_ns)

    return create, set_time


def _calls_of_libc() -> tuple[Create, SetTime]:
    import ctypes  # where it is needed only: importing it takes milliseconds
    import time

    if ctypes.sizeof(ctypes.c_long) != 8:
        raise OSError(EINVAL, "time_t must have 64 bits")
    libc = ctypes.PyDLL(None, use_errno=True)  # PyDLL: giving the GIL away could take 5 ms to get it back
    timerfd_create, timerfd_settime = libc.timerfd_create, libc.timerfd_settime
    spec = (ctypes.c_long * 4)()  # struct itimerspec: interval s, ns, value s, ns
    absolute = 1  # TFD_TIMER_ABSTIME

    def failure() -> OSError:
        code = ctypes.get_errno()
        return OSError(code, os.strerror(code))

    def create() -> int:
        descriptor = int(timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        if descriptor < 0:
            raise failure()
        return descriptor

    def set_time(descriptor: int, at_ns: int) -> object:
        spec[2], spec[3] = divmod(at_ns, NANOSECONDS)
        if timerfd_settime(descriptor, absolute, spec, None) < 0:
            raise failure()
        return None

    return create, set_time
