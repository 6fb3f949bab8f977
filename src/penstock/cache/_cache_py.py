"""Cache, pure Python. Its compiled twin does the same over csrc/cache.c.

Keys are compared by code of the user, which may do anything, the cache included. So it never runs
while something is half changed, and no lock is held meanwhile: entries are found by the hash of their
key, as an int, and compared one by one; what was found is then changed by steps that are atomic
because they compare nothing but ints and identities.

The order of the entries is kept by a `Ledger`, which also says what that means for threads.
"""

from collections.abc import (
    Awaitable,
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    ValuesView,
)
from datetime import timedelta
from functools import partial
from threading import Lock
from types import EllipsisType
from typing import Any, Self, TypeVar, overload

from penstock.cache._flights import Flights
from penstock.cache._ledger import Content, Entry, Ledger
from penstock.cache._policies import POLICIES as POLICY_CLASSES
from penstock.cache._reports import CacheStats, RemovalCause, notify
from penstock.cache._settings import (
    MISSING,
    NEVER,
    Missing,
    Policy,
    check_default,
    checked_lifetime,
    checked_max_weight,
    checked_maxsize,
    checked_settings,
    checked_weight,
    deadline_after,
    jittered,
    seconds_until,
)
from penstock.cache._views import CacheItems, CacheValues
from penstock.clock import NANOSECONDS, Clock, monotonic_ns
from penstock.errors import InvalidValue

__all__ = ["Cache"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

BITS_64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mixed_hash(hashed: int) -> int:
    """32 well mixed bits of a hash, the same as in csrc/hash_index.h."""
    hashed &= BITS_64
    return ((hashed ^ hashed >> 32) * GOLDEN & BITS_64) >> 32


class Cache(MutableMapping[K, V]):
    """A mapping of at most `maxsize` entries; when it is full, its policy chooses the one that goes.

    Storing and looking up by `c[key]`, `get`, `get_many`, `setdefault` and `touch` are uses. `in`, `peek`,
    iteration, `keys()`, `values()`, `items()` and `==` are not: they count nothing, change nothing, show
    no expired entry, and go over what was there when they began, in the order of the policy's queues.

    An entry expires at the nanosecond at which its time is over, and is gone for every caller from then
    on. Its memory is freed when the cache comes across it: on a lookup, as the next to be evicted, by
    `expire()`, or by the sweep, which looks at two entries whenever one is added. Until then `len()`
    counts it. The clock is not read before the first entry that can expire is stored.

    `dict(cache)` looks up every key, as it does with any mapping; `dict(cache.items())` only looks on.

    Every operation is O(1), but for iteration, `copy`, `clear`, `expire` and `resize`, and those over
    many keys. Threads may share a cache; no lock is held while keys are compared or `weigher`, `on_remove`
    or a loader runs, so all of them may use the cache themselves. Each removed value is reported once.
    Memory grows with the entries, not with `maxsize`.

    Pickling keeps the arguments, the weigher too, but neither `on_remove` nor the clock, and the entries in
    their order, each with the time that it has left. Never unpickle what others could have written.

    Args:
        maxsize: entries held at most, >= 1.
        policy: "lru" evicts who was not used for longest, "fifo" who came first, "lfu" who was used
            least; "sieve", "s3fifo" and "tinylfu" (W-TinyLFU with an adaptive window) find more of what is
            asked for again, above all where much is asked for only once.
        ttl: time to live of an entry from when it is stored, seconds or timedelta, > 0; None for ever.
        tti: time to idle: an entry goes when it was not used for so long, seconds or timedelta, > 0.
        jitter: part of its ttl by which an entry's is shortened at most, at random, 0 <= jitter < 1, so
            that what was stored together does not expire together.
        weigher: called as `weigher(key, value)`, returns what an entry weighs, an int >= 0.
        max_weight: what all entries weigh together at most, >= 1. A value heavier than that is not kept,
            nor is what was there under its key.
        on_remove: called as `on_remove(key, value, cause)` after an entry has left, when the cache is
            ready for use again; cause is a `RemovalCause`. What it raises goes to sys.unraisablehook.
        clock: returns int nanoseconds that do not go back; None for the monotonic clock of the system.

    Raises:
        ValueError: an argument is out of its range, or only one of weigher and max_weight was given.
        TypeError: an argument has the wrong type.

    Sources: Mattson et al., Evaluation Techniques for Storage Hierarchies, IBM Systems Journal 9(2), 1970
    (LRU); Zhang et al., SIEVE is Simpler than LRU, NSDI 2024; Yang et al., FIFO Queues are All You Need
    for Cache Eviction, SOSP 2023 (S3-FIFO); Einziger et al., TinyLFU, ACM ToS 13(4), 2017, and Adaptive
    Software Cache Management, Middleware 2018 (W-TinyLFU).
    """

    __slots__ = (
        "__weakref__", "_chains", "_clock", "_flights", "_hits", "_idle", "_inserts", "_jitter", "_ledger",
        "_lifetime", "_lock", "_misses", "_on_remove", "_policy", "_rejections", "_timed", "_tti", "_ttl",
        "_weigher",
    )  # fmt: skip

    def __init__(
        self,
        maxsize: int = 1024,
        *,
        policy: Policy = "lru",
        ttl: float | timedelta | None = None,
        tti: float | timedelta | None = None,
        jitter: float = 0.0,
        weigher: Callable[[K, V], int] | None = None,
        max_weight: int | None = None,
        on_remove: Callable[[K, V, RemovalCause], object] | None = None,
        clock: Clock | None = None,
    ) -> None:
        settings = checked_settings(maxsize, policy, ttl, tti, jitter, weigher, max_weight, on_remove, clock)
        order = POLICY_CLASSES[settings.policy](settings.max_weight or settings.maxsize)
        ledger: Ledger[K, V] = Ledger(order, settings.maxsize, settings.max_weight, self._take_any)
        flights, lock = Flights(settings.clock), Lock()
        chains: dict[int, tuple[Entry[K, V], ...]] = {}
        forgotten: Ledger[K, V] | None = getattr(self, "_ledger", None)
        replaced = [getattr(self, name, None) for name in Cache.__slots__]  # held: its end may run any code

        self._policy = settings.policy
        self._lifetime = settings.lifetime
        self._idle = settings.idle
        self._ttl = ttl
        self._tti = tti
        self._jitter = jitter
        self._weigher = weigher
        self._on_remove = on_remove
        self._clock = settings.clock
        self._timed = False  # no entry has had a deadline yet
        self._chains = chains  # the entries of each hash
        self._ledger = ledger
        self._hits = self._misses = self._inserts = self._rejections = 0
        self._lock = lock  # held over a few steps that call nothing, so nothing can run within
        self._flights = flights
        del replaced
        if forgotten is not None:  # whoever has found one of its entries shall find it removed
            forgotten.carry_out(forgotten.clear)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(maxsize={self.maxsize}, policy={self.policy!r}, ttl={self._ttl!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        from penstock.cache import cache as public

        kind = None if type(self) in (Cache, public.Cache) else type(self)
        return public.restored, (kind, self._options()), (self._left(), getattr(self, "__dict__", None))

    def __setstate__(self, state: tuple[Iterable[tuple[K, V, int, int]], dict[str, Any] | None]) -> None:
        entries, attributes = state
        self._restore(entries)
        if attributes:
            self.__dict__.update(attributes)

    def copy(self) -> Self:
        """Another cache with the same arguments and entries, each with the time that it has left.

        What a policy remembers of them beyond their order is not copied, nor is what was counted.
        """
        cls = type(self)
        other = cls.__new__(cls)
        Cache.__init__(other, **self._options(), on_remove=self._on_remove, clock=self._clock)
        other._restore(self._left())
        return other

    __copy__ = copy

    @property
    def maxsize(self) -> int:
        """Entries held at most."""
        return self._ledger.maxsize

    @property
    def policy(self) -> Policy:
        """How it chooses the entry that goes, by name."""
        return self._policy

    @property
    def ttl(self) -> float | timedelta | None:
        """Time to live of entries that are stored without their own, as it was given."""
        return self._ttl

    @property
    def tti(self) -> float | timedelta | None:
        """Time that an entry lives on from its last use, as it was given."""
        return self._tti

    @property
    def weigher(self) -> Callable[[K, V], int] | None:
        """What says how much an entry weighs, as it was given."""
        return self._weigher

    @property
    def max_weight(self) -> int | None:
        """What all entries weigh together at most; None without a weigher."""
        return None if self._weigher is None else self._ledger.max_weight

    @property
    def weight(self) -> int:
        """What all entries weigh together now; 0 without a weigher."""
        return 0 if self._weigher is None else self._ledger.weight

    def __len__(self) -> int:
        return self._ledger.size

    def __contains__(self, key: object) -> bool:
        return self._peek(key) is not MISSING

    def __iter__(self) -> Iterator[K]:
        return iter([key for key, _ in self._snapshot()])

    def items(self) -> ItemsView[K, V]:
        """The pairs; looking at them is no use of them."""
        return CacheItems(self)

    def values(self) -> ValuesView[V]:
        """The values; looking at them is no use of them."""
        return CacheValues(self)

    def __getitem__(self, key: K) -> V:
        value = self._lookup(key)
        return self._missing(key) if value is MISSING else value

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, default: T, /) -> V | T: ...

    def get(self, key: K, default: object = None, /) -> object:
        """The value of `key`, or `default`; counts a hit or a miss, and a hit is a use."""
        value = self._lookup(key)
        return default if value is MISSING else value

    @overload
    def peek(self, key: K, /) -> V | None: ...
    @overload
    def peek(self, key: K, default: T, /) -> V | T: ...

    def peek(self, key: K, default: object = None, /) -> object:
        """The value of `key`, or `default`; counts nothing and is no use."""
        value = self._peek(key)
        return default if value is MISSING else value

    def get_many(self, keys: Iterable[K], /) -> dict[K, V]:
        """The values of those of `keys` that are there, by key; each is looked up as by `get`."""
        found: dict[K, V] = {}
        for key in keys:
            value = self._lookup(key)
            if value is not MISSING:
                found[key] = value
        return found

    def __setitem__(self, key: K, value: V) -> None:
        self._store(key, value, self._lifetime)

    def set(self, key: K, value: V, *, ttl: float | timedelta | EllipsisType | None = ...) -> None:
        """Stores `value` under `key`, which is a use; evicts when there is no room.

        Args:
            key: any hashable.
            value: anything, None too.
            ttl: time to live of this entry, seconds or timedelta, > 0; None for ever; `...` for the
                cache's own.

        Raises:
            ValueError: ttl is out of its range, or the weigher returned a negative weight.
            TypeError: key is not hashable, ttl is no time, or the weigher returned no integer.
        """
        self._store(key, value, self._given(ttl))

    def set_many(
        self,
        items: Mapping[K, V] | Iterable[tuple[K, V]],
        /,
        *,
        ttl: float | timedelta | EllipsisType | None = ...,
    ) -> None:
        """Stores a mapping, or an iterable of pairs, entry by entry as `set` does."""
        lifetime = self._given(ttl)
        for key, value in items.items() if isinstance(items, Mapping) else items:
            self._store(key, value, lifetime)

    def setdefault(self, key: K, default: V = None, /) -> V:  # type: ignore[assignment]
        """The value of `key`; if there is none, `default`, which is stored. Counts a hit or a miss."""
        value = self._lookup(key)
        return self._store(key, default, self._lifetime, keep=True) if value is MISSING else value

    def get_or_compute(
        self, key: K, compute: Callable[[K], V], /, *, ttl: float | timedelta | EllipsisType | None = ...
    ) -> V:
        """The value of `key`; if there is none, what `compute(key)` returns, which is stored.

        Threads and tasks that miss one key together compute it once: one does, the others wait for it and
        get the same value, or the same error, which is not stored. Counts a hit or a miss.

        Args:
            key: any hashable.
            compute: called as `compute(key)` where there is no value; may use the cache for other keys.
            ttl: as in `set`.

        Raises:
            CacheLoadDeadlock: whoever computes the value waits for the caller.
        """
        value: V = self._flights.get_or_compute(self, key, compute, ttl)
        return value

    async def get_or_compute_async(
        self,
        key: K,
        compute: Callable[[K], Awaitable[V]],
        /,
        *,
        ttl: float | timedelta | EllipsisType | None = ...,
    ) -> V:
        """The value of `key`; if there is none, what `await compute(key)` returns, which is stored.

        Threads and tasks that miss one key together compute it once: one does, the others wait for it and
        get the same value, or the same error, which is not stored. Counts a hit or a miss.

        Args:
            key: any hashable.
            compute: a coroutine function, called as `compute(key)` where there is no value. It runs in a
                task of its own, which ends early only when everybody who waits for it was cancelled.
            ttl: as in `set`.

        Raises:
            CacheLoadDeadlock: whoever computes the value waits for the caller.
        """
        value: V = await self._flights.get_or_compute_async(self, key, compute, ttl)
        return value

    def touch(self, key: K, /, *, ttl: float | timedelta | EllipsisType | None = ...) -> bool:
        """Uses `key` and lets its time begin anew; False if it is not there. Counts no lookup.

        Args:
            key: any hashable.
            ttl: as in `set`.

        Raises:
            ValueError: ttl is out of its range.
            TypeError: key is not hashable, or ttl is no time.
        """
        lifetime = self._given(ttl)
        hashed = hash(key)
        lifetime = self._begin_life(lifetime)
        now = self._now()
        entry, _ = self._find(key, hashed)
        content = entry and entry.content
        if not (entry and content and now < content.deadline):
            return False
        at_most = deadline_after(now, lifetime)
        content.at_most, content.deadline = at_most, min(at_most, deadline_after(now, self._idle))
        self._ledger.carry_out(partial(self._ledger.hit, entry))
        return True

    def expires_in(self, key: K, /) -> float | None:
        """Seconds until `key` expires if it is not used, None if it never does. Is no use of it.

        Raises:
            KeyError: key is not there.
        """
        hashed = hash(key)
        now = self._now()
        entry, _ = self._find(key, hashed)
        content = entry and entry.content
        if not (content and now < content.deadline):
            raise KeyError(key)
        return seconds_until(content.deadline, now)

    def __delitem__(self, key: K) -> None:
        if self._remove(key) is MISSING:
            raise KeyError(key)

    def delete(self, key: K, /) -> bool:
        """Removes `key`; False if it is not there. Counts no lookup."""
        return self._remove(key) is not MISSING

    def delete_many(self, keys: Iterable[K], /) -> int:
        """Removes those of `keys` that are there; how many those were."""
        return sum(self.delete(key) for key in keys)

    @overload
    def pop(self, key: K, /) -> V: ...
    @overload
    def pop(self, key: K, default: V | T, /) -> V | T: ...

    def pop(self, key: K, /, *default: object) -> object:
        """Removes `key` and returns its value; if it is not there, the default. Counts no lookup.

        Raises:
            KeyError: key is not there and no default was given.
        """
        check_default(default)
        value = self._remove(key)
        if value is not MISSING:
            return value
        if default:
            return default[0]
        raise KeyError(key)

    def popitem(self) -> tuple[K, V]:
        """Removes the entry that would go next and returns its key and value.

        Raises:
            KeyError: the cache is empty.
        """
        now = self._now()
        while (entry := self._choose()) is not None:
            content = self._drop(entry, now)
            if content is None:  # who has taken it is not at the queues yet, and may be waiting for us
                self._ledger.carry_out(partial(self._ledger.remove, entry))
            elif now < content.deadline:
                return entry.key, content.value
        raise KeyError("popitem(): cache is empty")

    def clear(self) -> None:
        """Removes all entries, each with cause CLEARED. What was counted stays."""
        self._flights.forget_all()
        self._ledger.carry_out(self._ledger.clear)
        self._settle()
        self._ledger.carry_out(self._ledger.pack)

    def expire(self) -> int:
        """Removes all entries that have expired and frees their memory; O(size).

        Returns:
            How many those were.
        """
        now = self._now()
        counts: list[int] = []
        self._ledger.carry_out(lambda: counts.append(self._ledger.expire(now)))
        self._settle()
        return sum(counts)

    def resize(self, maxsize: int, /, *, max_weight: int | None = None) -> None:
        """Holds at most `maxsize` entries from now on; evicts what is too much and frees its memory.

        Args:
            maxsize: entries, >= 1.
            max_weight: what they weigh together at most, >= 1; None leaves it. Needs a weigher.

        Raises:
            ValueError: an argument is out of its range, or there is no weigher.
            TypeError: an argument is no integer.
        """
        limit = checked_maxsize(maxsize)
        most = 0 if max_weight is None else checked_max_weight(max_weight)
        now = self._now_if_timed()  # the clock may begin the cache anew: it is looked at afterwards
        if max_weight is None:
            most = self._ledger.max_weight
        elif self._weigher is None:
            raise InvalidValue("weigher and max_weight must be given together, got no weigher")
        self._ledger.carry_out(partial(self._ledger.resize, limit, most, now))
        self._settle()
        self._ledger.carry_out(self._ledger.pack)

    def stats(self) -> CacheStats:
        """What was counted so far, and the size."""
        flights, ledger = self._flights, self._ledger
        with self._lock:
            counted = self._hits, self._misses, self._inserts
            removed = ledger.evictions, ledger.expirations, self._rejections
        loaded = flights.loads, flights.load_failures, flights.load_ns / NANOSECONDS
        return CacheStats(*counted, *removed, *loaded, ledger.size, self.weight, ledger.maxsize)

    # ---- what a call comes down to ----

    def _given(self, ttl: float | timedelta | EllipsisType | None) -> int:
        """The lifetime that a call asks for."""
        return self._lifetime if ttl is ... else checked_lifetime("ttl", ttl)

    def _begin_life(self, lifetime: int) -> int:
        """The lifetime that an entry gets for which a call asked for `lifetime`."""
        if lifetime != NEVER or self._idle != NEVER:
            self._timed = True
        return jittered(lifetime, self._jitter) if self._jitter > 0 else lifetime

    def _now(self) -> int:
        """Nanoseconds; not read while nothing can expire."""
        return self._now_if_timed() or 0

    def _now_if_timed(self) -> int | None:
        """Nanoseconds, None while nothing can expire."""
        if not self._timed:
            return None
        return monotonic_ns() if self._clock is None else self._clock()

    def _lookup(self, key: K) -> V | Missing:
        """The value of `key`, used now; counts a hit or a miss."""
        hashed = hash(key)
        now = self._now()
        entry, _ = self._find(key, hashed)
        content = entry and entry.content
        if entry and content and now < content.deadline:
            if self._idle != NEVER:
                content.deadline = min(content.at_most, deadline_after(now, self._idle))
            self._ledger.carry_out(partial(self._ledger.hit, entry))
            with self._lock:
                self._hits += 1
            return content.value

        with self._lock:
            self._misses += 1
        if entry and content and self._take(entry, content):
            self._leave(entry, content, RemovalCause.EXPIRED)
        return MISSING

    def _peek(self, key: object) -> V | Missing:
        """The value of `key`, which is no use of it."""
        hashed = hash(key)
        now = self._now()
        entry, _ = self._find(key, hashed)
        content = entry and entry.content
        return content.value if content and now < content.deadline else MISSING

    def _missing(self, key: K) -> V:
        """What a subclass makes of a key that is not there, as in dict; KeyError without one."""
        make = getattr(type(self), "__missing__", None)
        if make is None:
            raise KeyError(key)
        value: V = make(self, key)
        return value

    def _live(self) -> list[tuple[K, Content[V]]]:
        """Keys and contents that have not expired, in the order of the queues."""
        now = self._now()
        entries: list[Entry[K, V]] | None = None

        def look() -> None:
            nonlocal entries
            entries = self._ledger.in_order()

        self._ledger.carry_out(look)
        if entries is None:  # somebody is at the queues, and may be waiting for us
            entries = [entry for chain in list(self._chains.values()) for entry in chain]
        contents = [(entry.key, entry.content) for entry in entries]
        return [(key, content) for key, content in contents if content and now < content.deadline]

    def _snapshot(self) -> list[tuple[K, V]]:
        """The pairs that have not expired, in the order of the queues."""
        return [(key, content.value) for key, content in self._live()]

    def _options(self) -> dict[str, Any]:
        """What `__init__` takes to make another such cache, but for on_remove and the clock."""
        return {
            "maxsize": self._ledger.maxsize,
            "policy": self.policy,
            "ttl": self._ttl,
            "tti": self._tti,
            "jitter": self._jitter,
            "weigher": self._weigher,
            "max_weight": self.max_weight,
        }

    def _left(self) -> list[tuple[K, V, int, int]]:
        """Key, value, and the nanoseconds that each may still live, with uses and without."""
        now = self._now()
        return [
            (key, content.value, time_left(content.at_most, now), time_left(content.deadline, now))
            for key, content in self._live()
        ]

    def _restore(self, entries: Iterable[tuple[K, V, int, int]]) -> None:
        """Stores what `_left` of another cache returned."""
        for key, value, most, until in entries:
            self._store(key, value, NEVER)
            if until == NEVER:
                continue
            self._timed = True
            now = self._now()
            entry, _ = self._find(key, hash(key))
            if entry and (content := entry.content):
                content.deadline, content.at_most = deadline_after(now, until), deadline_after(now, most)

    def _check(self) -> None:
        """Raises AssertionError unless the structure is sound. O(size), for tests."""
        self._ledger.check()
        chained = [(hashed, entry) for hashed, chain in self._chains.items() for entry in chain]
        assert all(self._chains.values())
        assert all(entry.full_hash == hashed for hashed, entry in chained)
        assert {id(entry) for _, entry in chained} == {id(entry) for entry in self._ledger.in_order()}

    def _store(self, key: K, value: V, lifetime: int, *, keep: bool = False) -> V:
        """Stores `value` for `lifetime` nanoseconds; with `keep`, only if there is none.

        Returns:
            The value that is there now.
        """
        hashed = hash(key)
        weight = 1 if self._weigher is None else checked_weight(self._weigher(key, value))
        lifetime = self._begin_life(lifetime)
        now = self._now_if_timed()
        at_most = deadline_after(now or 0, lifetime)
        content = Content(value, min(at_most, deadline_after(now or 0, self._idle)), at_most)
        self._flights.forget(key)
        while True:
            entry, chain = self._find(key, hashed)
            too_heavy = self._weigher is not None and weight > self._ledger.max_weight
            if entry is None:
                if too_heavy:
                    self._reject(key, value)
                    return value
                entry = Entry(key, hashed, mixed_hash(hashed), weight, content)
                if self._swap_chain(hashed, chain, (*chain, entry)):
                    with self._lock:
                        self._inserts += 1
                    self._ledger.carry_out(partial(self._ledger.add, entry, now))
                    self._settle()
                    return value
            elif (old := entry.content) is not None:
                live = (now or 0) < old.deadline
                if keep and live:
                    return old.value
                cause = RemovalCause.REPLACED if live else RemovalCause.EXPIRED
                if too_heavy:
                    if self._take(entry, old):
                        self._leave(entry, old, cause)
                        self._reject(key, value)
                        return value
                elif self._swap_content(entry, old, content):
                    self._replaced(entry, old, weight, now, cause)
                    return value

    def _replaced(
        self, entry: Entry[K, V], old: Content[V], weight: int, now: int | None, cause: RemovalCause
    ) -> None:
        """Settles that an entry has got another content."""
        self._ledger.carry_out(partial(self._ledger.hit, entry))
        if self._weigher is not None:
            self._ledger.carry_out(partial(self._ledger.reweigh, entry, weight, now))
        self._ledger.count(cause)
        self._report(entry.key, old.value, cause)
        self._settle()

    def _reject(self, key: K, value: V) -> None:
        """Reports a value that is too heavy to be kept."""
        with self._lock:
            self._rejections += 1
        self._report(key, value, RemovalCause.SIZE)

    def _choose(self) -> Entry[K, V] | None:
        """The entry that goes next; any other, if somebody is at the queues."""
        chosen: list[Entry[K, V] | None] = []
        self._ledger.carry_out(lambda: chosen.append(self._ledger.choose()))
        if chosen:
            return chosen[0]
        entries = (entry for chain in list(self._chains.values()) for entry in chain)
        return next((entry for entry in entries if entry.content is not None), None)

    def _remove(self, key: K) -> V | Missing:
        """Removes `key`; the value that it had."""
        hashed = hash(key)
        now = self._now()
        self._flights.forget(key)
        entry, _ = self._find(key, hashed)
        content = entry and self._drop(entry, now)
        return content.value if content and now < content.deadline else MISSING

    def _drop(self, entry: Entry[K, V], now: int) -> Content[V] | None:
        """Removes an entry on request and reports it; the content that it had."""
        content = self._take_any(entry)
        if content is not None:
            live = now < content.deadline
            self._leave(entry, content, RemovalCause.EXPLICIT if live else RemovalCause.EXPIRED)
        return content

    def _leave(self, entry: Entry[K, V], content: Content[V], cause: RemovalCause) -> None:
        """Settles that an entry was taken."""
        self._ledger.carry_out(partial(self._ledger.remove, entry))
        self._ledger.put_aside(entry, content, cause)
        self._settle()

    def _settle(self) -> None:
        """Reports whatever has left, in order."""
        while (removal := self._ledger.next_removal()) is not None:
            self._report(removal.entry.key, removal.content.value, removal.cause)

    def _report(self, key: K, value: V, cause: RemovalCause) -> None:
        if self._on_remove is not None:
            notify(self._on_remove, key, value, cause)

    # ---- entries, found by the hash of their keys ----

    def _find(self, key: object, hashed: int) -> tuple[Entry[K, V] | None, tuple[Entry[K, V], ...]]:
        """The entry of `key`, None if there is none, and the entries among which it was looked for."""
        while True:
            chain = self._chains.get(hashed, ())
            for entry in chain:
                if (entry.key is key or entry.key == key) and entry.content is not None:
                    return entry, chain
            if self._chains.get(hashed, ()) is chain:  # else a comparison has changed it: start over
                return None, chain

    def _take_any(self, entry: Entry[K, V]) -> Content[V] | None:
        """Takes an entry out whatever its content; None if another thread was faster."""
        while (content := entry.content) is not None:
            if self._take(entry, content):
                break
        return content

    def _take(self, entry: Entry[K, V], content: Content[V]) -> bool:
        """Takes an entry out that has `content`; False if it has another or none by now."""
        if not self._swap_content(entry, content, None):
            return False
        hashed = entry.full_hash
        while entry in (chain := self._chains.get(hashed, ())):  # not there if __init__ was called again
            if self._swap_chain(hashed, chain, tuple(other for other in chain if other is not entry)):
                break
        return True

    def _swap_content(self, entry: Entry[K, V], seen: Content[V], content: Content[V] | None) -> bool:
        """Compare and swap; False if the content is not `seen` any more."""
        with self._lock:
            if entry.content is not seen:
                return False
            entry.content = content
        return True

    def _swap_chain(self, hashed: int, seen: tuple[Entry[K, V], ...], chain: tuple[Entry[K, V], ...]) -> bool:
        """Compare and swap; False if the chain is not `seen` any more. No chain is an empty one."""
        chains = self._chains
        with self._lock:
            if (chains[hashed] if hashed in chains else ()) is not seen:  # noqa: SIM401  (get is a call)
                return False
            if chain:
                chains[hashed] = chain
            else:
                del chains[hashed]
        return True


def time_left(deadline: int, now: int) -> int:
    """Nanoseconds from `now` to a later `deadline`, NEVER if that does not come or lies beyond int64."""
    return NEVER if deadline == NEVER else min(deadline - now, NEVER)
