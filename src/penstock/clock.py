"""Time inside penstock: int64 nanoseconds on one monotonic clock.

Whatever reads time takes `clock=`, a callable that returns int nanoseconds, so that a test moves time
by hand and never sleeps. At the surface durations are seconds.
"""

from collections.abc import Callable
from time import monotonic_ns

from penstock.errors import InvalidType

__all__ = ["NANOSECONDS", "Clock", "ManualClock", "checked_clock", "monotonic_ns"]

NANOSECONDS = 1_000_000_000
"""Nanoseconds in one second."""

Clock = Callable[[], int]
"""Returns nanoseconds; only differences have a meaning."""


def checked_clock(clock: Clock | None) -> Clock:
    """`clock`, or the monotonic clock of the system for None.

    Raises:
        TypeError: it is not callable.
    """
    if clock is None:
        return monotonic_ns
    if not callable(clock):
        raise InvalidType(f"clock must be callable or None, got {type(clock).__name__}")
    return clock


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
