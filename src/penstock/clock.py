"""Time inside penstock: int64 nanoseconds on one monotonic clock.

Whatever reads time takes `clock=`, a callable that returns int nanoseconds, so that a test moves time
by hand and never sleeps. At the surface durations are seconds.
"""

from collections.abc import Callable
from operator import index
from time import monotonic_ns, perf_counter_ns, time_ns

from penstock.errors import InvalidType, InvalidValue

__all__ = ["NANOSECONDS", "Clock", "ManualClock", "checked_clock", "monotonic_ns"]

NANOSECONDS = 1_000_000_000
"""Nanoseconds in one second."""

Clock = Callable[[], int]
"""Returns nanoseconds; only differences have a meaning."""


def checked_clock(clock: Clock | None) -> Clock:
    """`clock`, or the monotonic clock of the system for None. What it returns is checked at every call.

    Seconds in place of nanoseconds, as of `time.monotonic`, would stop time for whoever reads them.

    Raises:
        TypeError: it is not callable; later, when it is read: it returned no int.
        ValueError: when it is read: it returned an int beyond 64 bits.
    """
    if clock is None:
        return monotonic_ns
    if isinstance(clock, CheckedClock) or any(clock is known for known in SYSTEM_CLOCKS):
        return clock
    if not callable(clock):
        raise InvalidType(f"clock must be callable or None, got {type(clock).__name__}")
    return CheckedClock(clock)


SYSTEM_CLOCKS = (monotonic_ns, perf_counter_ns, time_ns)
MIN_MOMENT, MAX_MOMENT = -(1 << 63), (1 << 63) - 1


class CheckedClock:
    """A clock of somebody else, which may return anything."""

    __slots__ = ("_clock",)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self) -> int:
        """The nanoseconds that it shows.

        Raises:
            TypeError: it returned no int.
            ValueError: it returned an int beyond 64 bits.
        """
        now = self._clock()
        if type(now) is not int:
            now = whole(now)
        if MIN_MOMENT <= now <= MAX_MOMENT:
            return now
        raise InvalidValue(f"clock must return nanoseconds of 64 bits, got an int of {now.bit_length()} bits")


def whole(now: object) -> int:
    """The int that an integer of another kind, of numpy for one, is.

    Raises:
        TypeError: it is none.
    """
    try:
        return int(index(now))  # type: ignore[arg-type]  # what is no integer raises
    except TypeError:
        raise InvalidType(f"clock must return int nanoseconds, got {type(now).__name__}") from None


class ManualClock:
    """A clock that moves only when told to, for tests and simulations.

    Args:
        now: nanoseconds that it shows at first.
    """

    __slots__ = ("now",)

    def __init__(self, now: int = 0) -> None:
        self.now = now

    def __call__(self) -> int:
        """The nanoseconds that it shows."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Moves the clock by `seconds`, rounded to the nanosecond; a negative value moves it back."""
        self.now += round(seconds * NANOSECONDS)
