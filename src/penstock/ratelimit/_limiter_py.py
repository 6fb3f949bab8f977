"""Keyed rate limiter, pure Python. Its compiled twin does the same over csrc/limiter.c.

Keys are compared by code of the user, which may do anything, the limiter included. So it never runs while
something is half changed, and no lock is held meanwhile: an entry is found by the hash of its key, as an
int, and what it has used is swapped by steps that are atomic because they compare nothing but ints and
identities. An entry whose states are None has been forgotten, by whoever swapped them out.
"""

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable, Sequence
from contextlib import suppress
from operator import index
from sys import getsizeof
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, ParamSpec, TypeVar

from penstock.clock import Clock, checked_clock
from penstock.errors import InvalidType, InvalidValue
from penstock.ratelimit._batch import checked_batch, note_index
from penstock.ratelimit._decorator import OnLimited, limited
from penstock.ratelimit._lines import Lines
from penstock.ratelimit._quotas import (
    Algorithm,
    Quotas,
    States,
    checked_algorithm,
    numbers_of,
)
from penstock.ratelimit._result_py import RateLimitResult, result_of
from penstock.ratelimit._waiting import checked_timeout
from penstock.ratelimit.errors import LimiterFull
from penstock.ratelimit.quota import Quota, checked_quotas, checked_units, shown

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

__all__ = ["LimiterStats", "RateLimiter"]

P = ParamSpec("P")
R = TypeVar("R")

OnFull = Literal["evict_idle", "reject", "raise"]
ON_FULL = ("evict_idle", "reject", "raise")

MAX_SIZE = 1 << 30
STEPS = 4  # entries that are looked at for each one that is added
LOOKS = 16  # the same when there is no room


class LimiterStats(NamedTuple):
    """What a limiter has counted since it was made."""

    allowed: int
    """Requests that could go."""
    refused: int
    """Requests that could not, or in shadow mode could not have gone."""
    keys: int
    """Keys that are held now."""
    evicted: int
    """Keys forgotten before they were idle, to make room for others."""
    swept: int
    """Keys forgotten because they were idle."""


def checked_maxsize(maxsize: object) -> int:
    """`maxsize` as an int in range.

    Raises:
        ValueError: not 1 <= maxsize <= MAX_SIZE.
        TypeError: maxsize is no integer.
    """
    try:
        size = index(maxsize)  # type: ignore[arg-type]  # what is no integer raises
    except TypeError:
        raise InvalidType(f"maxsize must be an integer, got {type(maxsize).__name__}") from None
    if not 1 <= size <= MAX_SIZE:
        raise InvalidValue(f"maxsize must be >= 1 and <= {MAX_SIZE} keys, got {shown(size)}")
    return size


def checked_on_full(on_full: object) -> str:
    """`on_full`, when there is such a policy.

    Raises:
        ValueError: there is none.
    """
    for known in ON_FULL:
        if on_full == known:
            return known
    raise InvalidValue(f"on_full must be one of {', '.join(ON_FULL)}, got {on_full!r}")


def refuse_copy() -> NoReturn:
    """Raises the error of copying or pickling a limiter."""
    raise InvalidType("RateLimiter must not be copied or pickled: both would allow the limit")


def limiter_full(maxsize: int) -> LimiterFull:
    """What on_full="raise" raises."""
    return LimiterFull(f"the limiter holds maxsize {maxsize} keys, and none that may be forgotten")


class Entry:
    """A key with what it has used. Equal only to itself."""

    __slots__ = ("hashed", "key", "own", "quotas", "states")

    def __init__(self, key: Hashable, hashed: int, quotas: Quotas, states: States, *, own: bool) -> None:
        self.key = key
        self.hashed = hashed
        self.quotas = quotas
        self.states: States | None = states
        self.own = own  # has quotas of its own, and is never swept


class RateLimiter:
    """A limit for each key: so many units in a time, the keys any hashable, as many as come.

    Several quotas are decided together: all of them have what is asked for, or nothing is taken of any.
    A result tells of the tightest one: the one with the longest wait, and if none has to wait, the one with
    the smallest share of its limit left; of equals the first.

    A key is known from its first request until it is idle, with nothing in use: an idle key decides as a new
    one does, so it is forgotten, some with each new key and all by `sweep()`. When `maxsize` keys are held
    and none of those next in turn is idle, `on_full` says what happens. A key that is limited now, with no
    unit left, is never forgotten, whatever comes. A newcomer that finds no room is refused (evict_idle,
    reject), and told when room may be found.

    Clocks that go back count as standing still. Threads may share a limiter; no lock is held while keys are
    compared, and no object or thread works in the background. A key costs 30 bytes (one token bucket, with
    `maxsize` keys) and the key object; there is a pause when the table doubles.

    Args:
        quotas: Quota objects, or strings such as `"100/second; burst=200"` or `"10/second, 1000/hour"`.
        algorithm: `token_bucket`; `sliding_window`, exact, 8 bytes a unit; `sliding_counter` and
            `fixed_window`, 16 bytes a key.
        maxsize: keys held at most, 1 to 2**30. As many again may have quotas of their own.
        on_full: `evict_idle` forgets the key that will be idle first of those that have a unit left, which
            then starts anew; `reject` refuses the newcomer; `raise` raises LimiterFull.
        shadow: count and report everything, refuse nothing; what would have been refused has a
            `retry_after`.
        clock: returns int nanoseconds; None for the monotonic clock of the system.

    Raises:
        ValueError: an argument is out of its range, or there is no or an impossible quota.
        TypeError: an argument has the wrong type.

    Source: ITU-T I.371, generic cell rate algorithm; see SlidingWindow and SlidingWindowCounter.
    """

    __slots__ = (
        "__weakref__",
        "_algorithm",
        "_allowed",
        "_chains",
        "_clock",
        "_evicted",
        "_latest",
        "_lines",
        "_lock",
        "_maxsize",
        "_on_full",
        "_order",
        "_own",
        "_quotas",
        "_refused",
        "_shadow",
        "_shared",
        "_swept",
    )

    def __init__(
        self,
        *quotas: Quota | str,
        algorithm: Algorithm = "token_bucket",
        maxsize: int = 1_000_000,
        on_full: OnFull = "evict_idle",
        shadow: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._quotas = checked_quotas(quotas)
        self._algorithm = checked_algorithm(algorithm)
        self._maxsize = checked_maxsize(maxsize)
        self._on_full = checked_on_full(on_full)
        self._shadow = bool(shadow)
        self._clock = checked_clock(clock)
        self._latest = self._clock()
        numbers = [numbers_of(quota, self._algorithm) for quota in self._quotas]
        self._shared = Quotas(numbers, self._algorithm, self._latest)
        self._order: OrderedDict[Entry, None] = OrderedDict()  # the one that is looked at next comes first
        self._own: dict[Entry, None] = {}
        self._chains: dict[int, tuple[Entry, ...]] = {}  # the entries of each hash
        self._lines: Lines | None = None
        self._allowed = self._refused = self._evicted = self._swept = 0
        self._lock = Lock()  # held over a few steps that call nothing, so nothing can run within

    def __repr__(self) -> str:
        quotas = ", ".join(repr(str(quota)) for quota in self._quotas)
        return f"RateLimiter({quotas}, algorithm={self._algorithm!r}, maxsize={self._maxsize})"

    def __len__(self) -> int:
        return len(self._order) + len(self._own)

    def __bool__(self) -> bool:
        return True  # without keys, too

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + getsizeof(self._order) + getsizeof(self._chains)

    def __reduce__(self) -> NoReturn:
        refuse_copy()

    @property
    def quotas(self) -> tuple[Quota, ...]:
        """What every key is allowed that has no quotas of its own."""
        return self._quotas

    @property
    def algorithm(self) -> str:
        """How quotas are counted."""
        return self._algorithm

    @property
    def maxsize(self) -> int:
        """Keys held at most."""
        return self._maxsize

    @property
    def on_full(self) -> str:
        """What happens when there is no room for a key."""
        return self._on_full

    @property
    def shadow(self) -> bool:
        """Whether nothing is refused."""
        return self._shadow

    def allow(self, key: Hashable, n: int = 1, /) -> bool:
        """Takes `n` units of every quota of `key` if they are there; never waits.

        Args:
            key: any hashable.
            n: units, 1 to the smallest limit.

        Returns:
            True: they are taken. False: one quota has too few, or there is no room for the key, and nothing
            is taken.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: n is no int, or key is not hashable.
            LimiterFull: there is no room for the key, and on_full is raise.
        """
        hashed = hash_after(n, key)
        return self._decide(key, hashed, n, self._now()) or self._shadow

    def check(self, key: Hashable, n: int = 1, /) -> RateLimitResult:
        """Takes `n` units as `allow` does, and tells how the tightest quota stands then.

        Args:
            key: any hashable.
            n: units, 1 to the smallest limit.

        Returns:
            Of a newcomer for whom there is no room, `retry_after` is when room may be found.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: n is no int, or key is not hashable.
            LimiterFull: there is no room for the key, and on_full is raise.
        """
        hashed = hash_after(n, key)
        now = self._now()
        report: list[RateLimitResult] = []
        self._decide(key, hashed, n, now, report)
        return report[0]

    def peek(self, key: Hashable, /) -> RateLimitResult:
        """What `check` would find for one unit of `key`; takes none.

        Raises:
            TypeError: key is not hashable.
        """
        hashed = hash(key)
        now = self._now()
        quotas, states = self._states_of(key, hashed)
        found = quotas.result(states, now, 1, taken=False, shadow=self._shadow)
        return self._behind_line(found) if self._is_awaited(key) else found

    def retry_after(self, key: Hashable, n: int = 1, /) -> float:
        """Seconds until `n` units of `key` are there if nobody takes any until then; takes none.

        Args:
            key: any hashable.
            n: units, 1 to the smallest limit.

        Returns:
            Seconds, 0.0 when `allow(key, n)` would succeed now, unless there is no room for the key; to the
            nanosecond when rounded to it.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: n is no int, or key is not hashable.
        """
        hashed = hash_after(n, key)
        now = self._now()
        quotas, states = self._states_of(key, hashed)
        wait = quotas.wait(states, now, checked_units(n, quotas.most))
        if not wait and self._is_awaited(key):
            wait = 1
        return wait / 1e9  # a float, as C divides

    def refund(self, key: Hashable, n: int = 1, /) -> None:
        """Gives back the last `n` units that `key` took; of each quota no more than are in use.

        Args:
            key: any hashable; one that is not known has nothing to get back.
            n: units, 1 to the smallest limit.

        Raises:
            ValueError: n is out of its range.
            TypeError: n is no int, or key is not hashable.
        """
        hashed = hash_after(n, key)
        now = self._now()
        while True:
            entry, _ = self._find(key, hashed)
            checked_units(n, (entry.quotas if entry else self._shared).most)
            if entry is None:
                return
            seen = entry.states
            if seen is not None and self._swap_states(entry, seen, entry.quotas.refund(seen, now, n)):
                return

    def allow_many(
        self,
        keys: "Sequence[Hashable] | NDArray[Any]",
        n: int = 1,
        *,
        out: "NDArray[numpy.bool_] | None" = None,
    ) -> "NDArray[numpy.bool_]":
        """As `allow(key, n)` for each of `keys`, in order, all at one moment.

        Args:
            keys: (k,) keys, in a list, a tuple or a numpy array; integers of an array count as ints.
            n: units for each.
            out: (k,) bool, contiguous: takes the answers; None for a new array.

        Returns:
            (k,) bool, `out` if there was one.

        Raises:
            ValueError: n is out of its range, or keys or out has the wrong shape.
            TypeError: n is no int, keys is no sequence, a key is not hashable, or out is no array of bool.
            LimiterFull: there is no room for a key, and on_full is raise.

        An error in the middle has a note that names the index; the keys before it are decided, with their
        answers in `out`.
        """
        if type(n) is not int:
            checked_units(n, self._shared.most)
        batch, answers = checked_batch(keys, out)
        now = self._now()
        for i, key in enumerate(batch):
            try:
                answers[i] = self._decide(key, hash(key), n, now) or self._shadow
            except BaseException as error:
                note_index(error, i)
                raise
        return answers

    def acquire(self, key: Hashable, n: int = 1, /, *, timeout: float | None = None) -> bool:
        """Waits until `n` units of `key` are there, and takes them; blocks the thread.

        First come, first served for each key: while somebody waits, `allow` and `check` are refused for that
        key.

        Args:
            key: any hashable.
            n: units, 1 to the smallest limit.
            timeout: seconds to wait at most; 0 for not at all, None for no end.

        Returns:
            True: taken. False: not within `timeout`, nothing is taken.

        Raises:
            ValueError: n or timeout is out of its range.
            TypeError: n is no int, timeout is no number, or key is not hashable.
            LimiterFull: there is no room for the key, and on_full is raise; or too many wait.
        """
        checked_timeout(timeout)
        return self._goes_at_once(key, n) or self._waiting().acquire(key, n, timeout)

    def acquire_async(
        self, key: Hashable, n: int = 1, /, *, timeout: float | None = None
    ) -> Coroutine[Any, Any, bool]:
        """As `acquire`, while other tasks run. A cancelled wait takes nothing and lets the next one go.

        Args:
            key: any hashable.
            n: units, 1 to the smallest limit.
            timeout: seconds to wait at most; 0 for not at all, None for no end.

        Returns:
            To be awaited. True: taken. False: not within `timeout`, nothing is taken.

        Raises:
            ValueError: n or timeout is out of its range.
            TypeError: n is no int, timeout is no number, or key is not hashable.
            LimiterFull: there is no room for the key, and on_full is raise; or too many wait.
        """
        return acquired(self, key, n, timeout)

    def reset(self, key: Hashable, /) -> None:
        """Forgets what `key` has used; its own quotas stay.

        Raises:
            TypeError: key is not hashable.
        """
        hashed = hash(key)
        while True:
            entry, _ = self._find(key, hashed)
            if entry is None:
                return
            seen = entry.states
            if entry.own:
                if seen is not None and self._swap_states(entry, seen, entry.quotas.unused):
                    return
            elif seen is not None and self._forget(entry, seen):
                return

    def clear(self) -> None:
        """Forgets what all keys have used, and their own quotas. What was counted stays."""
        for entry in [*list(self._order), *list(self._own)]:
            while (seen := entry.states) is not None:
                if self._forget(entry, seen):
                    break

    def sweep(self) -> int:
        """Forgets all keys that are idle and gives their memory back; O(keys).

        Returns:
            How many those were.
        """
        now = self._now()
        return self._sweep(now, len(self._order))

    def set_quota(self, key: Hashable, /, *quotas: Quota | str) -> None:
        """Gives `key` quotas of its own, which it keeps until `remove_quota` or `clear`.

        What it has used counts against them, of each no more than its limit: nobody gains by a change.

        Args:
            key: any hashable.
            quotas: as those of the limiter.

        Raises:
            ValueError: there is no or an impossible quota.
            TypeError: one is neither a Quota nor a string, or key is not hashable.
            LimiterFull: `maxsize` keys have quotas of their own.
        """
        numbers = [numbers_of(quota, self._algorithm) for quota in checked_quotas(quotas)]
        hashed = hash(key)
        now = self._now()
        fresh = Quotas(numbers, self._algorithm, now)
        while True:
            entry, chain = self._find(key, hashed)
            if len(self._own) >= self._maxsize and not (entry and entry.own):
                raise LimiterFull(f"maxsize {self._maxsize} keys have quotas of their own")
            if self._replace(key, hashed, entry, chain, fresh, now, own=True):
                return

    def remove_quota(self, key: Hashable, /) -> bool:
        """Takes the own quotas of `key` away; what it has used counts against those of the limiter.

        Returns:
            Whether it had any.

        Raises:
            TypeError: key is not hashable.
            LimiterFull: there is no room for what it has used; its quotas stay.
        """
        hashed = hash(key)
        now = self._now()
        while True:
            entry, chain = self._find(key, hashed)
            if entry is None or not entry.own:
                return False
            seen = entry.states
            if seen is None:
                continue
            if not entry.quotas.used(seen, now):
                if self._forget(entry, seen):
                    return True
            elif self._no_room(now) is not None:
                raise limiter_full(self._maxsize)
            elif self._replace(key, hashed, entry, chain, self._shared, now, own=False):
                return True

    def limit(
        self, key: object = None, *, n: int = 1, on_limited: OnLimited = "raise"
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorates a function, or a coroutine function, so that each call takes `n` units first.

        Args:
            key: a hashable; or a function of the call's arguments that returns one; None for the function's
                own name.
            n: units that a call takes.
            on_limited: `raise` raises RateLimitExceeded; `wait` waits as `acquire` and `acquire_async` do.

        Returns:
            The decorator.

        Raises:
            ValueError: on_limited or n is none that there is.
            TypeError: key is neither callable nor hashable, or n is no int.
        """
        return limited(self, key, n, on_limited)

    def stats(self) -> LimiterStats:
        """What was counted so far."""
        keys = len(self)
        with self._lock:
            counted = self._allowed, self._refused
            forgotten = self._evicted, self._swept
        return LimiterStats(*counted, keys, *forgotten)

    # ---- what a call comes down to ----

    def _now(self) -> int:
        """Nanoseconds that never go back."""
        now = self._clock()
        with self._lock:
            if now > self._latest:
                self._latest = now
            return self._latest

    def _states_of(self, key: Hashable, hashed: int) -> tuple[Quotas, States]:
        entry, _ = self._find(key, hashed)
        states = None if entry is None else entry.states
        if entry is None or states is None:
            return self._shared, self._shared.unused
        return entry.quotas, states

    def _decide(
        self, key: Hashable, hashed: int, n: int, now: int, report: list[RateLimitResult] | None = None
    ) -> bool:
        """Whether `n` units of `key` were taken; counts it, and appends the result to `report`."""
        awaited = self._is_awaited(key)
        while True:
            entry, chain = self._find(key, hashed)
            quotas = entry.quotas if entry else self._shared
            checked_units(n, quotas.most)
            seen = entry.states if entry else quotas.unused
            if seen is None:
                continue
            after = None if awaited else quotas.take(seen, now, n)
            if after is None:
                result = quotas.result(seen, now, n, taken=False, shadow=self._shadow)
                return self._refuse(self._behind_line(result) if awaited else result, report)
            if entry is None:
                room_in = self._no_room(now)
                if room_in is not None:
                    return self._refuse(self._no_room_result(room_in), report)
                done = self._insert(Entry(key, hashed, quotas, after, own=False), chain)
            else:
                done = self._swap_states(entry, seen, after)
            if done:
                with self._lock:
                    self._allowed += 1
                if report is not None:
                    report.append(quotas.result(after, now, n, taken=True, shadow=self._shadow))
                return True

    def _refuse(self, result: RateLimitResult, report: list[RateLimitResult] | None) -> bool:
        with self._lock:
            self._refused += 1
        if report is not None:
            report.append(result)
        return False

    def _no_room_result(self, room_in: int) -> RateLimitResult:
        """Of a newcomer: it has to wait for room."""
        if self._on_full == "raise":
            raise limiter_full(self._maxsize)
        first = self._shared.rules[0]
        return result_of(self._shadow, first.limit, 0, room_in, room_in, first.window_ns)

    def _behind_line(self, result: RateLimitResult) -> RateLimitResult:
        """Of a key that others wait for: whoever does not wait is refused for a moment at least."""
        if not result and not self._shadow:
            return result
        return result_of(
            self._shadow, result._limit, result._remaining, max(result._retry_ns, 1),
            result._reset_ns, result._window_ns,
        )  # fmt: skip

    # ---- waiting ----

    def _is_awaited(self, key: Hashable) -> bool:
        return self._lines is not None and self._lines.stand(key)

    def _goes_at_once(self, key: Hashable, n: int) -> bool:
        """Takes without waiting, if nobody waits; in shadow mode nobody has to."""
        hashed = hash_after(n, key)
        now = self._now()
        if self._shadow:
            self._decide(key, hashed, n, now)
            return True
        return not self._is_awaited(key) and self._take_at(key, n, now) == 0

    def _waiting(self) -> Lines:
        if self._lines is not None:
            return self._lines
        made = Lines(self, self._clock, self._maxsize)
        with self._lock:
            if self._lines is None:
                self._lines = made
            return self._lines

    def _take_at(self, key: Hashable, n: int, at: int, /) -> int:
        """Takes at clock `at`, and returns 0; or returns the nanoseconds until it is worth asking again.

        `at` may lie in the past, for a key that somebody waits for: nobody else has taken any since then.
        """
        hashed = hash(key)
        while True:
            entry, chain = self._find(key, hashed)
            quotas = entry.quotas if entry else self._shared
            checked_units(n, quotas.most)
            # a key that was forgotten is full since some moment before the latest one that was seen
            now = at if entry else max(at, self._latest)
            seen = entry.states if entry else quotas.unused
            if seen is None:
                continue
            after = quotas.take(seen, now, n)
            if after is None:
                return quotas.wait(seen, now, n)
            if entry is None:
                room_in = self._no_room(now)
                if room_in is not None:
                    if self._on_full == "raise":
                        raise limiter_full(self._maxsize)
                    return room_in
                done = self._insert(Entry(key, hashed, quotas, after, own=False), chain)
            else:
                done = self._swap_states(entry, seen, after)
            if done:
                with self._lock:
                    self._allowed += 1
                return 0

    # ---- room: entries in order, the hand at the first ----

    def _no_room(self, now: int) -> int | None:
        """Makes room for one more key; None when there is, else in how many nanoseconds there may be."""
        full = len(self._order) >= self._maxsize
        self._sweep(now, LOOKS if full else STEPS)
        if len(self._order) < self._maxsize:
            return None
        if self._on_full == "evict_idle":
            return self._evict(now)
        waits = [entry.quotas.reset(states, now) for entry, states in self._passed()]
        return max(min(waits, default=1), 1)

    def _passed(self) -> list[tuple[Entry, States]]:
        """The entries that the hand has passed last."""
        entries = list(self._order)[-LOOKS:]
        return [(entry, states) for entry in entries if (states := entry.states) is not None]

    def _evict(self, now: int) -> int | None:
        """Forgets the entry that is idle first of those with a unit left; as _no_room."""
        soonest = None
        best: tuple[int, Entry, States] | None = None
        for entry, states in self._passed():
            limited_for = entry.quotas.wait(states, now, 1)
            if limited_for:
                soonest = limited_for if soonest is None else min(soonest, limited_for)
                continue
            idle_in = entry.quotas.reset(states, now)
            if best is None or idle_in < best[0]:
                best = idle_in, entry, states
        if best is None or not self._forget(best[1], best[2]):
            return max(soonest or 1, 1)
        with self._lock:
            self._evicted += 1
        return None

    def _sweep(self, now: int, steps: int) -> int:
        """Moves the hand over `steps` entries and forgets those that are idle; how many those were."""
        swept = 0
        for _ in range(steps):
            try:
                entry, _ = self._order.popitem(last=False)
            except KeyError:
                break
            self._order[entry] = None  # behind all others
            seen = entry.states
            if seen is None:
                self._order.pop(entry, None)
            elif entry.quotas.reset(seen, now) == 0 and self._forget(entry, seen):
                swept += 1
        with self._lock:
            self._swept += swept
        return swept

    # ---- entries: in `_chains` to be found, in `_order` to be swept, or in `_own` ----

    def _find(self, key: Hashable, hashed: int) -> tuple[Entry | None, tuple[Entry, ...]]:
        """The entry of `key`, None if there is none, and the entries among which it was looked for."""
        while True:
            chain = self._chains.get(hashed, ())
            for entry in chain:
                if (entry.key is key or entry.key == key) and entry.states is not None:
                    return entry, chain
            if self._chains.get(hashed, ()) is chain:  # else a comparison has changed it: start over
                return None, chain

    def _insert(self, entry: Entry, chain: tuple[Entry, ...]) -> bool:
        """Adds an entry that was not found in `chain`; False if the chain is another by now."""
        if not self._swap_chain(entry.hashed, chain, (*chain, entry)):
            return False
        self._list(entry)
        return True

    def _list(self, entry: Entry) -> None:
        listed: dict[Entry, None] = self._own if entry.own else self._order
        listed[entry] = None
        if entry.states is None:  # another thread has forgotten it meanwhile
            listed.pop(entry, None)

    def _replace(
        self,
        key: Hashable,
        hashed: int,
        entry: Entry | None,
        chain: tuple[Entry, ...],
        quotas: Quotas,
        now: int,
        *,
        own: bool,
    ) -> bool:
        """Puts `key` under other quotas, charged with what it has used; False if others were faster."""
        seen = entry.states if entry else self._shared.unused
        if seen is None:
            return False
        used = entry.quotas.used(seen, now) if entry else 0
        new = Entry(key if entry is None else entry.key, hashed, quotas, quotas.charged(now, used), own=own)
        if entry is None:
            return self._insert(new, chain)
        if not self._swap_states(entry, seen, None):
            return False
        self._unlist(entry)
        while True:  # the old one is dead, so nobody else ends this
            chain = self._chains.get(hashed, ())
            if self._swap_chain(hashed, chain, (*(each for each in chain if each is not entry), new)):
                break
        self._list(new)
        return True

    def _unlist(self, entry: Entry) -> None:
        with suppress(KeyError):
            if entry.own:
                self._own.pop(entry)
            else:
                self._order.pop(entry)

    def _forget(self, entry: Entry, seen: States) -> bool:
        """Removes an entry that has used what was `seen`; False if it has used something else by now."""
        if not self._swap_states(entry, seen, None):
            return False
        self._unlist(entry)
        while True:
            chain = self._chains.get(entry.hashed, ())
            if self._swap_chain(entry.hashed, chain, tuple(each for each in chain if each is not entry)):
                return True

    def _swap_states(self, entry: Entry, seen: States, states: States | None) -> bool:
        """Compare and swap; False if the states are not those `seen` any more."""
        with self._lock:
            if entry.states is not seen:
                return False
            entry.states = states
        return True

    def _swap_chain(self, hashed: int, seen: tuple[Entry, ...], chain: tuple[Entry, ...]) -> bool:
        """Compare and swap; False if the chain is not `seen` any more. No chain is an empty one."""
        chains = self._chains
        with self._lock:
            if (chains[hashed] if hashed in chains else ()) is not seen:  # noqa: SIM401  (get is a call)
                return False
            if chain:
                chains[hashed] = chain
            elif hashed in chains:
                del chains[hashed]
        return True


async def acquired(limiter: Any, key: Hashable, n: int, timeout: float | None) -> bool:
    """What acquire_async of both twins does."""
    checked_timeout(timeout)
    if limiter._goes_at_once(key, n):
        return True
    return bool(await limiter._waiting().acquire_async(key, n, timeout))


def hash_after(n: object, key: Hashable) -> int:
    """hash(key), after the type of `n` was checked."""
    if type(n) is not int:
        checked_units(n, 0)
    return hash(key)
