"""Token bucket, pure Python. Its compiled twin does the same in csrc/token_bucket.c."""

from fractions import Fraction
from math import ceil
from threading import Lock
from typing import NamedTuple, NoReturn, Self, cast

from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.errors import InvalidType, InvalidValue
from penstock.ratelimit._copying import refuse_copy
from penstock.ratelimit._reservations import Ledger, Reservation
from penstock.ratelimit._result_py import RateLimitResult, result_of
from penstock.ratelimit._waiting import checked_timeout
from penstock.ratelimit.quota import Quota, checked_quotas, shown

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
        raise InvalidValue(f"rate must be > 0 and <= {MAX_RATE} per second, got {shown(rate)}")
    size = number("capacity", capacity)
    if size < 1:
        raise InvalidValue(f"capacity must be >= 1 token, got {shown(capacity)}")
    there = size if initial is None else number("initial", initial)
    if not 0 <= there <= size:
        raise InvalidValue(f"initial must be >= 0 and <= capacity {shown(capacity)}, got {shown(initial)}")

    if size / per_second * NANOSECONDS > MAX_ELAPSED:
        raise InvalidValue(f"capacity / rate must be <= 36 years, got {shown(capacity)} / {shown(rate)}")

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
        raise InvalidValue(f"n must be > 0 and <= capacity {shown(capacity)} tokens, got {shown(n)}")
    return max(1, round(amount * token))


class Pace(NamedTuple):
    """How fast a bucket fills and how much it holds: ps_pace of csrc/token_bucket.h, and its origin."""

    speed: int
    token: int
    depth: int
    epoch: int
    rate: float
    capacity: float

    @property
    def horizon(self) -> int:
        """The last tick there is."""
        return self.tick_after(MAX_ELAPSED)

    def elapsed(self, now: int) -> int:
        """Nanoseconds from the epoch to clock `now`; a clock before it counts as the epoch."""
        return min(max(now - self.epoch, 0), MAX_ELAPSED)

    def tick_after(self, elapsed: int) -> int:
        """The tick of so many nanoseconds after the epoch."""
        return elapsed * self.speed >> SPEED_BITS

    def tick(self, now: int) -> int:
        """The tick of clock `now`."""
        return self.tick_after(self.elapsed(now))

    def first(self, tick: int) -> int:
        """The first nanosecond after the epoch whose tick is `tick`."""
        return -(-(tick << SPEED_BITS) // self.speed)

    def wait(self, full_at: int, now: int, cost: int) -> int:
        """Nanoseconds after clock `now` until a bucket that is full at `full_at` has `cost` ticks."""
        elapsed = self.elapsed(now)
        tick = self.tick_after(elapsed)
        due = max(full_at, tick) + cost - self.depth
        return 0 if due <= tick else self.first(due) - elapsed

    def cost(self, n: float) -> int:
        """The ticks of `n` tokens; see cost_in_ticks."""
        return cost_in_ticks(n, self.capacity, self.token)


def only_quota(quota: Quota | str) -> Quota:
    """The quota of a bucket, which has one.

    Raises:
        ValueError: it is no quota, or several.
        TypeError: it is neither a Quota nor a string.
    """
    first, *more = checked_quotas([quota])
    if more:
        raise InvalidValue(f"a bucket must have one quota, got {len(more) + 1}")
    return first


class TokenBucket:
    """A bucket that fills with `rate` tokens a second up to `capacity`, and gives them away.

    Exact for every rate, however long it runs: `TokenBucket(7, 7)` gives 604,800 tokens a day. Threads and
    event loops may share a bucket; no object or thread works in the background.

    First come, first served: whoever reserves or waits is charged at once, as a debt if need be, and as long
    as there are debts `allow` refuses everybody.

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

    __slots__ = ("_clock", "_full_at", "_ledger", "_lock", "_pace")

    def __init__(
        self, rate: float, capacity: float, *, initial: float | None = None, clock: Clock | None = None
    ) -> None:
        speed, token, depth, self._full_at = checked_pace(rate, capacity, initial)
        self._clock = checked_clock(clock)
        self._pace = Pace(speed, token, depth, self._clock(), rate, capacity)
        self._ledger = Ledger(self._clock, self._pace)
        self._lock = Lock()  # held over a few steps that call nothing, so nothing can run within

    @classmethod
    def from_quota(
        cls, quota: Quota | str, *, initial: float | None = None, clock: Clock | None = None
    ) -> Self:
        """A bucket of `quota.limit` tokens every `quota.period` seconds, that holds `quota.burst`.

        Args:
            quota: a Quota, or a string such as `100/second; burst=200`.
            initial: as for the class.
            clock: as for the class.

        Raises:
            ValueError: it is no quota, or several, or `initial` is out of its range.
            TypeError: it is neither a Quota nor a string.
        """
        each = only_quota(quota)
        return cls(cast(float, each.rate), each.burst, initial=initial, clock=clock)

    def __repr__(self) -> str:
        return f"TokenBucket(rate={self._pace.rate!r}, capacity={self._pace.capacity!r})"

    def __reduce__(self) -> NoReturn:
        refuse_copy(self)

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self._pace.rate

    @property
    def capacity(self) -> float:
        """Tokens that the full bucket holds."""
        return self._pace.capacity

    @property
    def tokens(self) -> float:
        """Tokens that are there now, 0 to `capacity`."""
        now = self._clock()
        pace, full_at = self._state()
        return level(pace, full_at, now) / pace.token

    def allow(self, n: float = 1, /) -> bool:
        """Takes `n` tokens if they are there; never waits.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.

        Returns:
            True: the tokens are taken. False: too few, none taken.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
        """
        now = self._clock()
        while True:
            pace = self._pace
            cost = cost_in_ticks(n, pace.capacity, pace.token)
            tick = pace.tick(now)
            depth = pace.depth
            with self._lock:
                if self._pace is pace:
                    seen = self._full_at
                    full_at = (seen if seen > tick else tick) + cost  # no max(): a call lets other code run
                    if full_at - tick > depth:
                        return False
                    self._full_at = full_at
                    return True

    def acquire(self, n: float = 1, /, *, timeout: float | None = None) -> bool:
        """Takes `n` tokens, and blocks the thread until they are there. First come, first served.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.
            timeout: seconds to wait at most; 0 for not at all, None for no end. What would take longer is
                refused at once, without a wait.

        Returns:
            True: the tokens are taken. False: they would not be there within `timeout`, none are taken.

        Raises:
            ValueError: n is out of its range, or timeout is negative or nan.
            LimiterFull: a million wait already, or so many that it would take 36 years.
        """
        if timeout is not None:
            checked_timeout(timeout)
        return self.allow(n) or self._ledger.acquire(self, n, timeout)

    async def acquire_async(self, n: float = 1, /, *, timeout: float | None = None) -> bool:
        """As `acquire`, while other tasks run. A task that is cancelled gives its tokens back.

        Tasks of several event loops, and threads in `acquire`, wait in one line.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.
            timeout: seconds to wait at most; 0 for not at all, None for no end. What would take longer is
                refused at once, without a wait.

        Returns:
            True: the tokens are taken. False: they would not be there within `timeout`, none are taken.

        Raises:
            ValueError: n is out of its range, or timeout is negative or nan.
            LimiterFull: a million wait already, or so many that it would take 36 years.
        """
        if timeout is not None:
            checked_timeout(timeout)
        return self.allow(n) or await self._ledger.acquire_async(self, n, timeout)

    def reserve(self, n: float = 1, /) -> Reservation:
        """Takes `n` tokens now or, if they are not there, as soon as they will be; never waits.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.

        Returns:
            The promise: `delay` seconds from now the tokens are there, `cancel()` gives it back.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            LimiterFull: a million are pending already, or so many that it would take 36 years.
        """
        return self._ledger.reserve(self, n)

    def refund(self, n: float = 1, /) -> None:
        """Puts `n` tokens back that were taken and not used, never above `capacity`.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.

        Raises:
            ValueError: n is out of its range.
        """
        self._ledger.refund(self, n)

    def peek(self) -> RateLimitResult:
        """What `allow()` would say now, and how full the bucket is; takes none."""
        now = self._clock()
        pace, full_at = self._state()
        there = level(pace, full_at, now)
        return result_of(
            there >= pace.token,
            pace.depth // pace.token,
            there // pace.token,
            pace.wait(full_at, now, pace.token),
            pace.wait(full_at, now, pace.depth),
            pace.first(pace.depth),
        )

    def retry_after(self, n: float = 1, /) -> float:
        """Seconds until `n` tokens will be there if nobody takes any until then; takes none.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.

        Returns:
            Seconds, 0.0 when `allow(n)` would succeed now; to the nanosecond when rounded to it.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
        """
        now = self._clock()
        while True:
            pace, full_at = self._state()
            cost = cost_in_ticks(n, pace.capacity, pace.token)
            if self._pace is pace:
                return pace.wait(full_at, now, cost) / 1e9  # a float, as C divides

    def set_rate(self, rate: float, capacity: float | None = None) -> None:
        """Fills with `rate` tokens a second from now on.

        The tokens that are there stay, up to the new capacity. What was promised stays promised, and comes at
        the new rate.

        Args:
            rate: tokens a second, > 0 and at most 1e9.
            capacity: tokens the full bucket holds, >= 1; None leaves it as it is.

        Raises:
            ValueError: an argument is out of its range, or to fill an empty bucket or to keep what was
                promised would take over 36 years. Nothing has changed then.
            TypeError: an argument is no number.
        """
        size = self._pace.capacity if capacity is None else capacity
        speed, token, depth, _ = checked_pace(rate, size, None)
        self._ledger.set_pace(self, Pace(speed, token, depth, self._pace.epoch, rate, size))

    def _state(self) -> tuple[Pace, int]:
        """The pace and, at the same moment, full_at."""
        with self._lock:
            pace = self._pace
            full_at = self._full_at
        return pace, full_at

    def _swap(self, seen: int, then: int) -> bool:
        """Full at `then` from now on, if it is `seen` as yet."""
        with self._lock:
            if self._full_at != seen:
                return False
            self._full_at = then
            return True

    def _change(self, pace: Pace, seen: int, then: int) -> bool:
        """As `_swap`, and with another pace."""
        with self._lock:
            if self._full_at != seen:
                return False
            self._full_at = then
            self._pace = pace
            return True


def level(pace: Pace, full_at: int, now: int) -> int:
    """The ticks that are there, 0 to the depth."""
    tick = pace.tick(now)
    return max(pace.depth - max(full_at - tick, 0), 0)
