"""Token bucket, pure Python. Its compiled twin does the same in csrc/token_bucket.c."""

from fractions import Fraction
from math import ceil
from threading import Lock

from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.errors import InvalidType, InvalidValue

__all__ = ["TokenBucket"]

SPEED_BITS = 62
MAX_RATE = 1_000_000_000
MAX_ELAPSED = 1 << 60  # nanoseconds, 36 years


def number(name: str, value: object) -> Fraction:
    """`value` as an exact fraction; `name` is what the error calls it."""
    if isinstance(value, (int, float, Fraction)):
        try:
            return Fraction(value)
        except (ValueError, OverflowError):  # nan, inf
            raise InvalidValue(f"{name} must be finite, got {value!r}") from None
    raise InvalidType(f"{name} must be a number, got {type(value).__name__}")


def checked_pace(rate: object, capacity: object, initial: object) -> tuple[int, int, int, int]:
    """Speed, token, depth and missing of a new bucket, as csrc/token_bucket.h defines them.

    Raises:
        ValueError: see TokenBucket.
        TypeError: an argument is no number.
    """
    per_second = number("rate", rate)
    if not 0 < per_second <= MAX_RATE:
        raise InvalidValue(f"rate must be > 0 and <= {MAX_RATE} per second, got {rate!r}")
    size = number("capacity", capacity)
    if size < 1:
        raise InvalidValue(f"capacity must be >= 1 token, got {capacity!r}")
    there = size if initial is None else number("initial", initial)
    if not 0 <= there <= size:
        raise InvalidValue(f"initial must be >= 0 and <= capacity {capacity!r}, got {initial!r}")

    if size / per_second * NANOSECONDS > MAX_ELAPSED:
        raise InvalidValue(f"capacity / rate must be <= 36 years, got {capacity!r} / {rate!r}")

    token = 1
    while per_second * token * 2 < 2 * NANOSECONDS:  # a tick is then 0.5 to 1 ns
        token *= 2
    depth = round(size * token)
    speed = ceil(per_second * token * (1 << SPEED_BITS) / NANOSECONDS)  # up: a token is never a tick late
    return speed, token, depth, depth - round(there * token)


def cost_in_ticks(n: object, capacity: float, token: int) -> int:
    """The ticks of `n` tokens, at least one tick.

    Raises:
        ValueError: not 0 < n <= capacity.
        TypeError: n is no number.
    """
    if type(n) is int and 0 < n <= capacity:
        return n * token
    if type(n) is float and 0 < n <= capacity:
        return max(1, round(n * token))  # the product is exact: a token is a power of two
    amount = number("n", n)
    if not 0 < amount <= number("capacity", capacity):
        raise InvalidValue(f"n must be > 0 and <= capacity {capacity!r} tokens, got {n!r}")
    return max(1, round(amount * token))


class TokenBucket:
    """A bucket that fills with `rate` tokens a second up to `capacity`, and gives them away.

    Exact for every rate, however long it runs: `TokenBucket(7, 7)` gives 604,800 tokens a day. Threads
    may share a bucket; nothing waits, and no object or thread works in the background.

    Args:
        rate: tokens a second, > 0 and at most 1e9. Fractions are welcome.
        capacity: tokens the full bucket holds, >= 1: the largest burst.
        initial: tokens at the start, 0 to `capacity`; None for a full bucket.
        clock: returns int nanoseconds that do not go back; None for the monotonic clock of the system.

    Raises:
        ValueError: an argument is out of its range, or an empty bucket would take over 36 years to fill.
        TypeError: an argument is no number, or clock is not callable.

    Source: ITU-T I.371, generic cell rate algorithm; one int64 of state.
    """

    __slots__ = ("_capacity", "_clock", "_depth", "_epoch", "_full_at", "_lock", "_rate", "_speed", "_token")

    def __init__(
        self, rate: float, capacity: float, *, initial: float | None = None, clock: Clock | None = None
    ) -> None:
        self._speed, self._token, self._depth, self._full_at = checked_pace(rate, capacity, initial)
        self._rate = rate
        self._capacity = capacity
        self._clock = checked_clock(clock)
        self._epoch = self._clock()
        self._lock = Lock()  # held over a few steps that call nothing, so nothing can run within

    def __repr__(self) -> str:
        return f"TokenBucket(rate={self._rate!r}, capacity={self._capacity!r})"

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self._rate

    @property
    def capacity(self) -> float:
        """Tokens that the full bucket holds."""
        return self._capacity

    @property
    def tokens(self) -> float:
        """Tokens that are there now, 0 to `capacity`."""
        tick = self._tick_at(self._elapsed())
        missing = max(self._full_at, tick) - tick
        return max(self._depth - missing, 0) / self._token

    def allow(self, n: float = 1, /) -> bool:
        """Takes `n` tokens if they are there; never waits.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.

        Returns:
            True: the tokens are taken. False: too few, none taken.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
        """
        cost = cost_in_ticks(n, self._capacity, self._token)
        tick = self._tick_at(self._elapsed())
        with self._lock:
            seen = self._full_at
            full_at = (seen if seen > tick else tick) + cost  # no max: after a call other code may run
            if full_at - tick > self._depth:
                return False
            self._full_at = full_at
            return True

    def retry_after(self, n: float = 1, /) -> float:
        """Seconds until `n` tokens will be there if nobody takes any until then; takes none.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.

        Returns:
            Seconds, 0.0 when `allow(n)` would succeed now; to the nanosecond when rounded to it.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
        """
        cost = cost_in_ticks(n, self._capacity, self._token)
        elapsed = self._elapsed()
        tick = self._tick_at(elapsed)
        due = max(self._full_at, tick) + cost - self._depth
        if due <= tick:
            return 0.0
        first = -(-(due << SPEED_BITS) // self._speed)  # the first nanosecond whose tick is `due`
        return (first - elapsed) / 1e9  # a float, as C divides

    def _elapsed(self) -> int:
        """Nanoseconds since the bucket was made; a clock before that counts as then."""
        return min(max(self._clock() - self._epoch, 0), MAX_ELAPSED)

    def _tick_at(self, elapsed: int) -> int:
        return elapsed * self._speed >> SPEED_BITS
