"""Line: those who wait for one key of a limiter, first come first served."""

from collections import OrderedDict, deque
from collections.abc import Callable
from threading import RLock

from penstock.clock import NANOSECONDS, Clock
from penstock.ratelimit._waiting import (
    MAX_WAITING,
    TaskWaker,
    ThreadWaker,
    Waker,
    checked_timeout,
    entered,
    inside,
)
from penstock.ratelimit.errors import LimiterFull

__all__ = ["Line"]


class Place:
    """One who stands in a line.

    Attributes:
        n: units wanted.
        waker: wakes whoever stands here.
        due: nanoseconds on the line's clock; asking the limiter any earlier is of no use.
    """

    __slots__ = ("due", "n", "waker")

    def __init__(self, n: int, waker: Waker, due: int) -> None:
        self.n = n
        self.waker = waker
        self.due = due


class Line:
    """The line for one key of a limiter. Threads and tasks of several event loops may stand in it together.

    Only who stands first asks the limiter, so nobody is overtaken; the limiter has to refuse everybody
    else as long as the line has not ended. Who is granted was granted at the moment it was due, however
    late it woke up, and the next one's wait counts from there: lateness costs no rate.

    A line ends when the last one leaves it, and nobody can join it any more: `acquire` then answers None,
    and its owner makes a new line::

        while (taken := line_of(key).acquire(n, timeout)) is None:
            pass  # line_of makes a new line when the one it knows has ended

    Args:
        take: `take(n, at)` takes `n` units at `at` nanoseconds and returns 0, or takes nothing and returns
            after how many nanoseconds more they may be there. `at` can lie in the past and never goes back.
            What it raises is raised to whoever stands first, who leaves. Called without a lock, by one at
            a time.
        clock: returns int nanoseconds. What it raises is raised to whoever reads it, who leaves.
        max_waiting: how many may stand in it; one more gets LimiterFull.
    """

    __slots__ = ("_clock", "_gone", "_granted_at", "_lock", "_max_waiting", "_places", "_take", "ended")

    def __init__(
        self, take: Callable[[int, int], int], clock: Clock, *, max_waiting: int = MAX_WAITING
    ) -> None:
        self._take = take
        self._clock = clock
        self._max_waiting = max_waiting
        self._lock = RLock()
        self._places: OrderedDict[Place, None] = OrderedDict()
        self._gone: deque[Place] = deque()  # left, and not yet out of _places
        self._granted_at = 0  # only who stands first reads and writes it
        self.ended = False

    def __len__(self) -> int:
        return len(self._places)

    def acquire(self, n: int, /, timeout: float | None = None) -> bool | None:
        """Blocks the thread until `n` units are taken.

        Args:
            n: units, as the limiter allows them.
            timeout: seconds to wait at most; 0 for not at all, None for no end. Who stands first and knows
                that it would take longer leaves at once.

        Returns:
            True: taken. False: not within `timeout`, nothing is taken. None: this line has ended.

        Raises:
            LimiterFull: too many wait already.
            ValueError: timeout is negative or nan.
        """
        patience = checked_timeout(timeout)
        waker = ThreadWaker()
        start = self._clock()
        place = Place(n, waker, start)
        try:
            if not self._join(place):
                return None
            while True:
                left = self._ask(place, start, patience)
                if isinstance(left, bool):
                    return left
                waker.wait(left)
        finally:
            self._leave(place)

    async def acquire_async(self, n: int, /, timeout: float | None = None) -> bool | None:
        """As `acquire`, while other tasks run. A cancelled one takes nothing and lets the next go."""
        patience = checked_timeout(timeout)
        waker = TaskWaker()
        start = self._clock()
        place = Place(n, waker, start)
        try:
            if not self._join(place):
                return None
            while True:
                left = self._ask(place, start, patience)
                if isinstance(left, bool):
                    return left
                await waker.wait(left)
        finally:
            self._leave(place)

    def wake_all(self) -> None:
        """Has everybody who stands here read the clock again, which may raise by now."""
        with entered(self._lock):
            places = list(self._places)
        self._settle()
        for place in places:
            place.waker.wake()

    def _join(self, place: Place) -> bool:
        with entered(self._lock):
            if self.ended:
                return False
            if len(self._places) >= self._max_waiting:
                raise LimiterFull(f"at most {self._max_waiting} may wait in a line")
            self._places[place] = None
        self._settle()
        return True

    def _ask(self, place: Place, start: int, patience: int | None) -> bool | float | None:
        """True: taken. False: the time is over. Else the seconds to sleep, None for until woken."""
        now = self._clock()
        deadline = None if patience is None else start + patience
        if not self._is_first(place):
            if deadline is None:
                return None
            return False if now >= deadline else (deadline - now) / NANOSECONDS
        place.due = max(place.due, self._granted_at)
        while place.due <= now:
            wait = self._take(place.n, place.due)
            if wait <= 0:
                self._granted_at = place.due
                return True
            place.due += wait
        if deadline is not None and place.due > deadline:
            return False
        return (place.due - now) / NANOSECONDS

    def _is_first(self, place: Place) -> bool:
        with entered(self._lock):
            first = next(iter(self._places))
        self._settle()
        return first is place

    def _leave(self, place: Place) -> None:
        """Leaves the line; a finalizer that interrupted one of the steps here may call it too."""
        self._gone.append(place)
        self._settle()

    def _settle(self) -> None:
        """Takes those out who left. The step that is interrupted, if one is, comes by here after it."""
        while self._gone and not inside(self._lock):
            with self._lock:
                first = self._take_out()
            if first is not None and not first.waker.wake():
                self._gone.append(first)  # its event loop is closed: nobody stands there

    def _take_out(self) -> Place | None:
        """Returns who has become the first by it."""
        before = next(iter(self._places), None)
        while self._gone:
            self._places.pop(self._gone.popleft(), None)
        first = next(iter(self._places), None)
        self.ended = first is None
        return None if first is before else first
