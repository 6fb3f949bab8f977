"""What a cache reports: why entries left it, and what it has counted."""

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

__all__ = ["CacheStats", "RemovalCause", "notify"]


class RemovalCause(Enum):
    """Why an entry left a cache."""

    EXPLICIT = "explicit"
    """Removed by `delete`, `del`, `pop` or `popitem`."""
    REPLACED = "replaced"
    """A new value took the place of the old one."""
    SIZE = "size"
    """Evicted to make room, or too heavy to be kept at all."""
    EXPIRED = "expired"
    """Its time was over when the cache came across it."""
    CLEARED = "cleared"
    """Removed by `clear`."""


class CacheStats(NamedTuple):
    """What a cache has counted since it was made."""

    hits: int
    """Lookups by `get`, `c[key]`, `get_many` and `setdefault` that found their key."""
    misses: int
    """Lookups that did not."""
    inserts: int
    """Values stored under a key that was not there."""
    evictions: int
    """Entries removed to make room."""
    expirations: int
    """Entries removed because their time was over."""
    rejections: int
    """Values that were not kept because each alone is heavier than `max_weight`."""
    loads: int
    """Values computed by `get_or_compute`, `get_or_compute_async` and `@cached`."""
    load_failures: int
    """Computations that raised."""
    load_seconds: float
    """Time spent on both."""
    size: int
    """Entries held now, those included that have expired and were not come across since."""
    weight: int
    """What these weigh together; 0 without a weigher."""
    maxsize: int
    """Entries held at most."""

    @property
    def hit_ratio(self) -> float:
        """Hits per lookup, 0 to 1; 0.0 before the first lookup."""
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else 0.0


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
