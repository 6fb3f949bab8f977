"""Caches of one policy each, with the constructors of cachetools, for code that uses those today.

What is different: entries leave through `on_remove`, not through a `popitem` that a subclass overrides; a
value larger than the whole cache is not kept, where cachetools raises; and to store a key again gives it no
other place in a `FIFOCache`.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

from penstock.cache._reports import RemovalCause
from penstock.cache._settings import MAX_SIZE, Policy, check_callable, checked_max_weight
from penstock.cache.cache import Cache
from penstock.clock import NANOSECONDS, Clock

__all__ = ["FIFOCache", "LFUCache", "LRUCache", "S3FIFOCache", "SieveCache", "TTLCache", "TinyLFUCache"]

K = TypeVar("K")
V = TypeVar("V")


class SizeOfValue:
    """A weigher that looks at the value only."""

    __slots__ = ("getsizeof",)

    def __init__(self, getsizeof: Callable[[Any], int]) -> None:
        self.getsizeof = getsizeof

    def __call__(self, key: object, value: Any) -> int:
        """What `getsizeof` says of the value."""
        return self.getsizeof(value)


class OnePolicyCache(Cache[K, V]):
    """What these caches share.

    Args:
        maxsize: entries held at most, >= 1.
        getsizeof: called as `getsizeof(value)`, returns the size of a value, an int >= 0; then `maxsize`
            bounds the sum of the sizes. None: each counts 1.
        ttl: as in `Cache`; so are tti, jitter, on_remove and clock.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument has the wrong type.
    """

    __slots__ = ()

    its_policy: ClassVar[Policy]

    def __init__(
        self,
        maxsize: int,
        getsizeof: Callable[[V], int] | None = None,
        *,
        ttl: float | timedelta | None = None,
        tti: float | timedelta | None = None,
        jitter: float = 0.0,
        on_remove: Callable[[K, V, RemovalCause], object] | None = None,
        clock: Clock | None = None,
    ) -> None:
        check_callable("getsizeof", getsizeof)
        sized = getsizeof is not None
        super().__init__(
            min(checked_max_weight(maxsize), MAX_SIZE) if sized else maxsize,
            policy=self.its_policy,
            ttl=ttl,
            tti=tti,
            jitter=jitter,
            weigher=SizeOfValue(getsizeof) if getsizeof is not None else None,
            max_weight=maxsize if sized else None,
            on_remove=on_remove,
            clock=clock,
        )

    @property
    def maxsize(self) -> int:
        """Entries held at most; with `getsizeof`, the sum of the sizes of their values."""
        return super().maxsize if self.max_weight is None else self.max_weight

    @property
    def currsize(self) -> int:
        """Entries held now, or the sum of the sizes of their values."""
        return len(self) if self.max_weight is None else self.weight

    def getsizeof(self, value: V) -> int:
        """The size of a value: what the argument `getsizeof` says, else 1."""
        return self.weigher(None, value) if self.weigher is not None else 1  # type: ignore[arg-type]


class LRUCache(OnePolicyCache[K, V]):
    """A cache that forgets what was not used for longest: `Cache(maxsize, policy="lru")`."""

    __slots__ = ()
    its_policy = "lru"


class FIFOCache(OnePolicyCache[K, V]):
    """A cache that forgets what came first: `Cache(maxsize, policy="fifo")`."""

    __slots__ = ()
    its_policy = "fifo"


class LFUCache(OnePolicyCache[K, V]):
    """A cache that forgets what was used least: `Cache(maxsize, policy="lfu")`."""

    __slots__ = ()
    its_policy = "lfu"


class SieveCache(OnePolicyCache[K, V]):
    """A cache that forgets what was not used again: `Cache(maxsize, policy="sieve")`."""

    __slots__ = ()
    its_policy = "sieve"


class S3FIFOCache(OnePolicyCache[K, V]):
    """A cache that sifts newcomers in a small queue: `Cache(maxsize, policy="s3fifo")`."""

    __slots__ = ()
    its_policy = "s3fifo"


class TinyLFUCache(OnePolicyCache[K, V]):
    """A cache that admits what is asked for more often: `Cache(maxsize, policy="tinylfu")`."""

    __slots__ = ()
    its_policy = "tinylfu"


class TTLCache(OnePolicyCache[K, V]):
    """An `LRUCache` whose entries live for `ttl` seconds.

    Args:
        maxsize: as in `LRUCache`.
        ttl: time to live of an entry from when it is stored, seconds or timedelta, > 0.
        timer: returns seconds, as `time.monotonic` does, which is also what None means.
        getsizeof: as in `LRUCache`, and so are jitter, on_remove and clock.
        clock: returns int nanoseconds; instead of `timer`.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument has the wrong type.
    """

    __slots__ = ()
    its_policy = "lru"

    def __init__(
        self,
        maxsize: int,
        ttl: float | timedelta,
        timer: Callable[[], float] | None = None,
        getsizeof: Callable[[V], int] | None = None,
        *,
        jitter: float = 0.0,
        on_remove: Callable[[K, V, RemovalCause], object] | None = None,
        clock: Clock | None = None,
    ) -> None:
        check_callable("timer", timer)
        if timer is not None:
            clock = in_nanoseconds(timer)
        super().__init__(maxsize, getsizeof, ttl=ttl, jitter=jitter, on_remove=on_remove, clock=clock)


def in_nanoseconds(timer: Callable[[], float]) -> Clock:
    """A clock that shows what a timer in seconds shows."""
    return lambda: int(timer() * NANOSECONDS)
