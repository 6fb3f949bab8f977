"""LRU cache with time to live, pure Python. Its compiled twin does the same over csrc/lru_ttl.c.

Keys are compared by code of the user, which may do anything, the cache included. So it never runs
while something is half changed, and no lock is held meanwhile: entries are found by the hash of their
key, as an int, and compared one by one; what was found is then changed by steps that are atomic
because they compare nothing but ints and identities.

An entry is in the cache for as long as it has content. Whoever swaps the content out has removed the
entry, alone, and takes it off the other two structures.
"""

from collections import OrderedDict
from collections.abc import Callable, ItemsView, Iterator, MutableMapping, ValuesView
from datetime import timedelta
from enum import Enum
from math import isfinite
from operator import index
from sys import getsizeof
from threading import Lock
from types import EllipsisType
from typing import Any, Final, Generic, Literal, NamedTuple, NoReturn, TypeVar, overload

from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.errors import InvalidType, InvalidValue

__all__ = ["CacheStats", "LRUCache", "RemovalCause"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

MAX_SIZE = 1 << 30
MAX_TTL_YEARS = 100
MAX_TTL = MAX_TTL_YEARS * 365 * 86_400
NEVER = (1 << 63) - 1  # the deadline, and the lifetime, of what does not expire


class RemovalCause(Enum):
    """Why an entry left a cache."""

    EXPLICIT = "explicit"
    """Removed by `delete`, `del`, `pop` or `popitem`."""
    REPLACED = "replaced"
    """A new value took the place of the old one."""
    SIZE = "size"
    """Evicted, as the least recently used, to make room."""
    EXPIRED = "expired"
    """Its time to live was over when the cache came across it."""
    CLEARED = "cleared"
    """Removed by `clear`."""


class CacheStats(NamedTuple):
    """What a cache has counted since it was made."""

    hits: int
    """Lookups by `get`, `c[key]` and `setdefault` that found their key."""
    misses: int
    """Lookups that did not."""
    evictions: int
    """Entries removed to make room."""
    expirations: int
    """Entries removed because their time to live was over."""
    size: int
    """Entries held now, those included that have expired and were not come across since."""
    maxsize: int
    """Entries held at most."""

    @property
    def hit_ratio(self) -> float:
        """Hits per lookup, 0 to 1; 0.0 before the first lookup."""
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else 0.0


class Missing(Enum):
    """The type of MISSING, which stands for no value where None is one."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


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
        raise InvalidValue(f"maxsize must be >= 1 and <= {MAX_SIZE} entries, got {maxsize!r}")
    return size


def checked_lifetime(ttl: object) -> int:
    """`ttl` in nanoseconds, at least one; NEVER for None.

    Raises:
        ValueError: not 0 < ttl <= 100 years.
        TypeError: ttl is neither a number of seconds nor a timedelta nor None.
    """
    if ttl is None:
        return NEVER
    if isinstance(ttl, timedelta):
        in_range = timedelta() < ttl <= timedelta(seconds=MAX_TTL)
        nanoseconds = ttl // timedelta(microseconds=1) * 1_000
    elif isinstance(ttl, (int, float)):
        in_range = 0 < ttl <= MAX_TTL
        nanoseconds = round(ttl * NANOSECONDS) if isfinite(ttl) else 0
    else:
        raise InvalidType(f"ttl must be seconds, a timedelta or None, got {type(ttl).__name__}")
    if not in_range:
        raise InvalidValue(f"ttl must be > 0 and <= {MAX_TTL_YEARS} years, got {ttl!r}")
    return max(1, nanoseconds)


def checked_on_remove(on_remove: object) -> None:
    """Raises TypeError unless `on_remove` is callable or None."""
    if on_remove is not None and not callable(on_remove):
        raise InvalidType(f"on_remove must be callable or None, got {type(on_remove).__name__}")


def checked_default(default: tuple[object, ...]) -> None:
    """Raises TypeError if there is more than one default."""
    if len(default) > 1:
        raise InvalidType(f"pop takes a key and at most one default, got {len(default)} defaults")


def deadline_after(now: int, lifetime: int) -> int:
    """The nanosecond at which what is stored `now` expires, NEVER if that lies beyond int64."""
    return NEVER if lifetime == NEVER else min(now + lifetime, NEVER)


def refuse_copy() -> NoReturn:
    """Raises the error of copying or pickling a cache."""
    raise InvalidType("LRUCache must not be copied or pickled; copy its entries: dict(cache.items())")


class Unraisable:
    """Raises an error in its destructor, the place where Python hands errors to sys.unraisablehook."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __del__(self) -> None:
        raise self.error


def notify(
    on_remove: Callable[[Any, Any, RemovalCause], object], key: object, value: object, cause: RemovalCause
) -> None:
    """Calls `on_remove`; its errors go to sys.unraisablehook, for the caller did nothing wrong."""
    try:
        on_remove(key, value, cause)
    except BaseException as error:  # every one: the caller cannot mean to catch it
        Unraisable(error)


class CacheItems(ItemsView[K, V]):
    """The pairs of a cache, least recently used first; looking at them is no use of them."""

    __slots__ = ()
    _mapping: "LRUCache[K, V]"

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return iter(self._mapping._snapshot())

    def __contains__(self, item: object) -> bool:
        if not (isinstance(item, tuple) and len(item) == 2):
            return False
        value = self._mapping._peek(item[0])
        return value is not MISSING and (value is item[1] or bool(value == item[1]))


class CacheValues(ValuesView[V]):
    """The values of a cache, least recently used first; looking at them is no use of them."""

    __slots__ = ()
    _mapping: "LRUCache[Any, V]"

    def __iter__(self) -> Iterator[V]:
        return iter([value for _, value in self._mapping._snapshot()])

    def __contains__(self, value: object) -> bool:
        return any(held is value or held == value for held in self)


class Entry(Generic[K, V]):
    """A key with its value and deadline, or with None once it is removed. Equal only to itself."""

    __slots__ = ("content", "hashed", "key")

    def __init__(self, key: K, hashed: int, content: tuple[V, int]) -> None:
        self.key = key
        self.hashed = hashed
        self.content: tuple[V, int] | None = content


class LRUCache(MutableMapping[K, V]):
    """A mapping of at most `maxsize` entries that forgets the least recently used ones.

    Storing and looking up by `c[key]`, `get` and `setdefault` are uses. `in`, iteration, `keys()`,
    `values()`, `items()` and `==` are not: they count nothing, change nothing, show no expired entry,
    and go from the least to the most recently used over what was there when they began.

    An entry expires at the nanosecond at which its time to live is over, and is gone for every caller
    from then on. Its memory is freed when the cache comes across it: on a lookup, as the next to be
    evicted, or by `expire()`. Until then `len()` counts it. The clock is not read before the first
    entry with a time to live is stored.

    `dict(cache)` looks up every key, as it does with any mapping; `dict(cache.items())` only looks on.

    Every operation is O(1), but for iteration, `clear` and `expire`. Threads may share a cache; no lock
    is held while keys are compared or `on_remove` runs, so both may use the cache themselves. Each
    removed value is reported once. Memory grows with the entries, not with `maxsize`.

    Args:
        maxsize: entries held at most, >= 1.
        ttl: time to live of an entry from when it is stored, seconds or timedelta, > 0; None for ever.
        on_remove: called as `on_remove(key, value, cause)` after an entry has left, when the cache is
            ready for use again; cause is a `RemovalCause`. What it raises goes to sys.unraisablehook.
        clock: returns int nanoseconds that do not go back; None for the monotonic clock of the system.

    Raises:
        ValueError: maxsize or ttl is out of its range.
        TypeError: an argument has the wrong type.

    Source: Mattson et al., Evaluation Techniques for Storage Hierarchies, IBM Systems Journal 9(2), 1970.
    """

    __slots__ = (
        "__weakref__",
        "_chains",
        "_clock",
        "_evictions",
        "_expirations",
        "_hits",
        "_lifetime",
        "_lock",
        "_maxsize",
        "_misses",
        "_on_remove",
        "_order",
        "_timed",
        "_ttl",
    )

    def __init__(
        self,
        maxsize: int,
        *,
        ttl: float | timedelta | None = None,
        on_remove: Callable[[K, V, RemovalCause], object] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._maxsize = checked_maxsize(maxsize)
        self._lifetime = checked_lifetime(ttl)
        checked_on_remove(on_remove)
        self._ttl = ttl
        self._on_remove = on_remove
        self._clock = checked_clock(clock)
        self._timed = False  # no entry has had a deadline yet
        self._order: OrderedDict[Entry[K, V], None] = OrderedDict()  # least recently used first
        self._chains: dict[int, tuple[Entry[K, V], ...]] = {}  # the entries of each hash
        self._hits = self._misses = self._evictions = self._expirations = 0
        self._lock = Lock()  # held over a few steps that call nothing, so nothing can run within

    def __repr__(self) -> str:
        return f"LRUCache(maxsize={self._maxsize}, ttl={self._ttl!r})"

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + getsizeof(self._order) + getsizeof(self._chains)

    def __reduce__(self) -> NoReturn:
        refuse_copy()

    @property
    def maxsize(self) -> int:
        """Entries held at most."""
        return self._maxsize

    @property
    def ttl(self) -> float | timedelta | None:
        """Time to live of entries that are stored without their own, as it was given."""
        return self._ttl

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, key: object) -> bool:
        return self._peek(key) is not MISSING

    def __iter__(self) -> Iterator[K]:
        return iter([key for key, _ in self._snapshot()])

    def items(self) -> ItemsView[K, V]:
        """The pairs, least recently used first; looking at them is no use of them."""
        return CacheItems(self)

    def values(self) -> ValuesView[V]:
        """The values, least recently used first; looking at them is no use of them."""
        return CacheValues(self)

    def __getitem__(self, key: K) -> V:
        value = self._lookup(key)
        if value is MISSING:
            raise KeyError(key)
        return value

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, default: T, /) -> V | T: ...

    def get(self, key: K, default: object = None, /) -> object:
        """The value of `key`, or `default`; counts a hit or a miss, and a hit is a use."""
        value = self._lookup(key)
        return default if value is MISSING else value

    def __setitem__(self, key: K, value: V) -> None:
        self._store(key, value, self._lifetime)

    def set(self, key: K, value: V, *, ttl: float | timedelta | EllipsisType | None = ...) -> None:
        """Stores `value` under `key` as the most recently used; evicts when there is no room.

        Args:
            key: any hashable.
            value: anything, None too.
            ttl: time to live of this entry, seconds or timedelta, > 0; None for ever; `...` for the
                cache's own.

        Raises:
            ValueError: ttl is out of its range.
            TypeError: key is not hashable, or ttl is no time.
        """
        self._store(key, value, self._lifetime if ttl is ... else checked_lifetime(ttl))

    def setdefault(self, key: K, default: V = None, /) -> V:  # type: ignore[assignment]
        """The value of `key`; if there is none, `default`, which is stored. Counts a hit or a miss."""
        value = self._lookup(key)
        return self._store(key, default, self._lifetime, keep=True) if value is MISSING else value

    def __delitem__(self, key: K) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def delete(self, key: K, /) -> bool:
        """Removes `key`; False if it is not there. Counts no lookup."""
        return self._remove(key) is not MISSING

    @overload
    def pop(self, key: K, /) -> V: ...
    @overload
    def pop(self, key: K, default: V | T, /) -> V | T: ...

    def pop(self, key: K, /, *default: object) -> object:
        """Removes `key` and returns its value; if it is not there, the default. Counts no lookup.

        Raises:
            KeyError: key is not there and no default was given.
        """
        checked_default(default)
        value = self._remove(key)
        if value is not MISSING:
            return value
        if default:
            return default[0]
        raise KeyError(key)

    def popitem(self) -> tuple[K, V]:
        """Removes the least recently used entry and returns its key and value.

        Raises:
            KeyError: the cache is empty.
        """
        now = self._now()
        while self._order:
            entry = self._pop_oldest()
            content = entry and self._drop(entry, now, RemovalCause.EXPLICIT)
            if entry and content and now < content[1]:
                return entry.key, content[0]
        raise KeyError("popitem(): cache is empty")

    def clear(self) -> None:
        """Removes all entries, each with cause CLEARED. What was counted stays."""
        taken = [(entry.key, self._take_any(entry)) for entry in list(self._order)]
        for key, content in taken:
            if content is not None:
                self._report(key, content[0], RemovalCause.CLEARED)

    def expire(self) -> int:
        """Removes all entries that have expired and frees their memory; O(size).

        Returns:
            How many those were.
        """
        now = self._now()
        removed = []
        for entry in list(self._order):
            content = entry.content
            if content is not None and now >= content[1] and self._take(entry, content):
                removed.append((entry.key, content[0]))
        for key, value in removed:
            self._report(key, value, RemovalCause.EXPIRED)
        return len(removed)

    def stats(self) -> CacheStats:
        """What was counted so far, and the size."""
        size = len(self._order)
        with self._lock:
            counted = self._hits, self._misses, self._evictions, self._expirations
        return CacheStats(*counted, size, self._maxsize)

    # ---- what a call comes down to ----

    def _now(self) -> int:
        """Nanoseconds; not read while nothing can expire."""
        return self._clock() if self._timed else 0

    def _lookup(self, key: K) -> V | Literal[Missing.MISSING]:
        """The value of `key`, used now; counts a hit or a miss."""
        hashed = hash(key)
        now = self._now()
        entry, _ = self._find(key, hashed)
        content = entry and entry.content
        if entry and content and now < content[1]:
            self._touch(entry)
            with self._lock:
                self._hits += 1
            return content[0]

        with self._lock:
            self._misses += 1
        if entry and content and self._take(entry, content):
            self._report(entry.key, content[0], RemovalCause.EXPIRED)
        return MISSING

    def _peek(self, key: object) -> V | Literal[Missing.MISSING]:
        """The value of `key`, which is no use of it."""
        hashed = hash(key)
        now = self._now()
        entry, _ = self._find(key, hashed)
        content = entry and entry.content
        return content[0] if content and now < content[1] else MISSING

    def _snapshot(self) -> list[tuple[K, V]]:
        """The pairs that have not expired, least recently used first."""
        now = self._now()
        contents = [(entry.key, entry.content) for entry in list(self._order)]
        return [(key, content[0]) for key, content in contents if content and now < content[1]]

    def _store(self, key: K, value: V, lifetime: int, *, keep: bool = False) -> V:
        """Stores `value` for `lifetime` nanoseconds; with `keep`, only if there is none.

        Returns:
            The value that is there now.
        """
        hashed = hash(key)
        if lifetime != NEVER:
            self._timed = True
        now = self._now()
        content = value, deadline_after(now, lifetime)
        while True:
            entry, chain = self._find(key, hashed)
            if entry is None:
                if self._insert(Entry(key, hashed, content), chain):
                    self._evict(now)
                    return value
            elif (old := entry.content) is not None:
                if keep and now < old[1]:
                    return old[0]
                if self._swap_content(entry, old, content):
                    self._touch(entry)
                    cause = RemovalCause.REPLACED if now < old[1] else RemovalCause.EXPIRED
                    self._report(entry.key, old[0], cause)
                    return value

    def _evict(self, now: int) -> None:
        while len(self._order) > self._maxsize:
            if entry := self._pop_oldest():
                self._drop(entry, now, RemovalCause.SIZE)

    def _remove(self, key: K) -> V | Literal[Missing.MISSING]:
        """Removes `key`; the value that it had."""
        hashed = hash(key)
        now = self._now()
        entry, _ = self._find(key, hashed)
        content = entry and self._drop(entry, now, RemovalCause.EXPLICIT)
        return content[0] if content and now < content[1] else MISSING

    def _drop(self, entry: Entry[K, V], now: int, cause: RemovalCause) -> tuple[V, int] | None:
        """Removes an entry and reports it; the content that it had."""
        content = self._take_any(entry)
        if content is not None:
            self._report(entry.key, content[0], cause if now < content[1] else RemovalCause.EXPIRED)
        return content

    def _report(self, key: K, value: V, cause: RemovalCause) -> None:
        if cause is RemovalCause.SIZE:
            with self._lock:
                self._evictions += 1
        elif cause is RemovalCause.EXPIRED:
            with self._lock:
                self._expirations += 1
        if self._on_remove is not None:
            notify(self._on_remove, key, value, cause)

    # ---- entries: in `_chains` to be found, in `_order` to be evicted ----

    def _find(self, key: object, hashed: int) -> tuple[Entry[K, V] | None, tuple[Entry[K, V], ...]]:
        """The entry of `key`, None if there is none, and the entries among which it was looked for."""
        while True:
            chain = self._chains.get(hashed, ())
            for entry in chain:
                if (entry.key is key or entry.key == key) and entry.content is not None:
                    return entry, chain
            if self._chains.get(hashed, ()) is chain:  # else a comparison has changed it: start over
                return None, chain

    def _insert(self, entry: Entry[K, V], chain: tuple[Entry[K, V], ...]) -> bool:
        """Adds an entry that was not found in `chain`; False if the chain is another by now."""
        if not self._swap_chain(entry.hashed, chain, (*chain, entry)):
            return False
        self._order[entry] = None
        if entry.content is None:  # another thread has removed it before it was in order
            self._order.pop(entry, None)
        return True

    def _touch(self, entry: Entry[K, V]) -> None:
        try:
            self._order.move_to_end(entry)
        except KeyError:  # another thread has just removed it
            return

    def _pop_oldest(self) -> Entry[K, V] | None:
        try:
            return self._order.popitem(last=False)[0]
        except KeyError:  # another thread has emptied it
            return None

    def _take_any(self, entry: Entry[K, V]) -> tuple[V, int] | None:
        """Takes an entry out whatever its content; None if another thread was faster."""
        while (content := entry.content) is not None:
            if self._take(entry, content):
                break
        return content

    def _take(self, entry: Entry[K, V], content: tuple[V, int]) -> bool:
        """Takes an entry out that has `content`; False if it has another or none by now."""
        if not self._swap_content(entry, content, None):
            return False
        self._order.pop(entry, None)
        while True:
            chain = self._chains[entry.hashed]
            if self._swap_chain(entry.hashed, chain, tuple(other for other in chain if other is not entry)):
                return True

    def _swap_content(self, entry: Entry[K, V], seen: tuple[V, int], content: tuple[V, int] | None) -> bool:
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
