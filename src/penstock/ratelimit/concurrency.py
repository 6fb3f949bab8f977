"""Concurrency limit: at most so many at the same time, whatever the rate."""

from collections import OrderedDict, deque
from threading import RLock
from types import TracebackType
from typing import NoReturn, Self

from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.errors import PenstockError
from penstock.ratelimit._copying import refuse_copy
from penstock.ratelimit._waiting import TaskWaker, ThreadWaker, Waker, checked_timeout, entered, inside
from penstock.ratelimit.errors import LimiterFull
from penstock.ratelimit.quota import whole

__all__ = ["ConcurrencyLimiter", "NotAcquired"]


class NotAcquired(PenstockError, RuntimeError):
    """`release` was called more often than slots were acquired."""


class Place:
    """One who waits for a slot, or has got one and has not noticed yet."""

    __slots__ = ("granted", "waker")

    def __init__(self, waker: Waker) -> None:
        self.waker = waker
        self.granted = False


class ConcurrencyLimiter:
    """At most `limit` at the same time; the others wait, first come first served, or are turned away.

    ::

        limiter = ConcurrencyLimiter(8)
        async with limiter:
            await call_the_backend()

    Threads and tasks of several event loops may share one and wait in one line. A slot that is given back
    goes straight to the first who waits, so nobody overtakes. Cancellation loses no slot.

    Args:
        limit: slots, >= 1.
        max_waiting: how many may wait for one, >= 0; who comes after them gets LimiterFull at once.
        clock: returns int nanoseconds, for timeouts; None for the monotonic clock of the system.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is no int, or clock is not callable.
    """

    __slots__ = ("_clock", "_gone", "_in_flight", "_limit", "_lock", "_max_waiting", "_returned", "_waiting")

    def __init__(self, limit: int, *, max_waiting: int = 1024, clock: Clock | None = None) -> None:
        self._limit = whole("limit", limit)
        self._max_waiting = whole("max_waiting", max_waiting, least=0)
        self._clock = checked_clock(clock)
        self._lock = RLock()
        self._in_flight = 0
        self._waiting: OrderedDict[Place, None] = OrderedDict()
        self._gone: deque[Place] = deque()  # nobody stands there any more, and that is not booked yet
        self._returned: deque[None] = deque()  # slots that are given back, and that is not booked yet

    def __repr__(self) -> str:
        return f"ConcurrencyLimiter({self._limit}, max_waiting={self._max_waiting})"

    def __reduce__(self) -> NoReturn:
        refuse_copy(self)

    @property
    def limit(self) -> int:
        """Slots."""
        return self._limit

    @property
    def in_flight(self) -> int:
        """Slots that are taken. After `set_limit` they may be more than `limit` for a while."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._waiting)

    def try_acquire(self) -> bool:
        """Takes a slot if one is free and nobody waits for it; never waits itself."""
        with entered(self._lock):
            taken = self._take()
        self._settle()
        return taken

    def acquire(self, timeout: float | None = None) -> bool:
        """Takes a slot, and blocks the thread until there is one. First come, first served.

        Args:
            timeout: seconds to wait at most; 0 for not at all, None for no end.

        Returns:
            True: a slot is taken, `release` gives it back. False: there was none within `timeout`.

        Raises:
            LimiterFull: `max_waiting` wait already.
            ValueError: timeout is negative or nan.
        """
        patience = checked_timeout(timeout)
        if self.try_acquire():
            return True
        waker = ThreadWaker()
        place = Place(waker)
        start = self._clock()
        try:
            self._join(place)
            while not place.granted:
                left = self._left(start, patience)
                if left == 0:
                    return self._give_up(place)
                waker.wait(left)
        except BaseException:
            self._leave(place)
            raise
        return True

    async def acquire_async(self, timeout: float | None = None) -> bool:
        """As `acquire`, while other tasks run. A task that is cancelled has no slot.

        Args:
            timeout: seconds to wait at most; 0 for not at all, None for no end.

        Returns:
            True: a slot is taken, `release` gives it back. False: there was none within `timeout`.

        Raises:
            LimiterFull: `max_waiting` wait already.
            ValueError: timeout is negative or nan.
        """
        patience = checked_timeout(timeout)
        if self.try_acquire():
            return True
        waker = TaskWaker()
        place = Place(waker)
        start = self._clock()
        try:
            self._join(place)
            while not place.granted:
                left = self._left(start, patience)
                if left == 0:
                    return self._give_up(place)
                await waker.wait(left)
        except BaseException:
            self._leave(place)
            raise
        return True

    def release(self) -> None:
        """Gives a slot back; any thread or task may, also a finalizer.

        Raises:
            NotAcquired: none is taken.
        """
        if inside(self._lock):  # it has interrupted a step, which books this when it is done
            self._note_release()
            return
        with self._lock:
            self._note_release()
        self._settle()

    def set_limit(self, limit: int) -> None:
        """Has `limit` slots from now on. Those beyond it that are taken stay so until they are given back.

        Raises:
            ValueError: limit < 1.
            TypeError: limit is no int.
        """
        limit = whole("limit", limit)
        with entered(self._lock):
            self._limit = limit
            granted = self._hand_on()
        self._wake(granted)
        self._settle()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    async def __aenter__(self) -> Self:
        await self.acquire_async()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _join(self, place: Place) -> None:
        with entered(self._lock):
            if self._take():
                place.granted = True
            elif len(self._waiting) >= self._max_waiting:
                raise LimiterFull(f"at most {self._max_waiting} may wait for one of {self._limit} slots")
            else:
                self._waiting[place] = None
        self._settle()

    def _left(self, start: int, patience: int | None) -> float | None:
        """Seconds to sleep, 0 when the time is over."""
        return None if patience is None else max(0, start + patience - self._clock()) / NANOSECONDS

    def _give_up(self, place: Place) -> bool:
        """Leaves because the time is over; True when the slot has come in the last moment."""
        with entered(self._lock):
            self._waiting.pop(place, None)
        self._settle()
        return place.granted

    def _leave(self, place: Place) -> None:
        """Nobody stands there any more. A finalizer that interrupted one of the steps may call it too."""
        self._gone.append(place)
        self._settle()

    def _settle(self) -> None:
        """Books who left and what was given back. The step that is interrupted comes by here after it."""
        while (self._gone or self._returned) and not inside(self._lock):
            with self._lock:
                while self._gone:
                    place = self._gone.popleft()
                    self._waiting.pop(place, None)
                    self._in_flight -= place.granted
                    place.granted = False
                while self._returned:
                    self._returned.pop()
                    self._in_flight -= 1
                granted = self._hand_on()
            self._wake(granted)

    def _wake(self, granted: list[Place]) -> None:
        for place in granted:
            if not place.waker.wake():
                self._gone.append(place)  # its event loop is closed: the slot goes on to the next

    # What follows is called within the lock.

    def _note_release(self) -> None:
        if self._in_flight <= len(self._returned):
            raise NotAcquired("release() must not be called more often than a slot was acquired")
        self._returned.append(None)

    def _take(self) -> bool:
        if self._in_flight >= self._limit or self._waiting:
            return False
        self._in_flight += 1
        return True

    def _hand_on(self) -> list[Place]:
        """Gives free slots to those who wait, and tells whom to wake."""
        granted = []
        while self._waiting and self._in_flight < self._limit:
            place, _ = self._waiting.popitem(last=False)
            self._in_flight += 1
            place.granted = True
            granted.append(place)
        return granted
