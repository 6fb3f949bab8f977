"""Cache: bounded memory with a choice of policies, each entry for as long as its time allows."""

from typing import TYPE_CHECKING, Any

from penstock._twins import twin
from penstock.cache._reports import CacheStats, RemovalCause
from penstock.cache._settings import Policy

__all__ = ["Cache", "CacheStats", "Policy", "RemovalCause"]

if TYPE_CHECKING:
    from penstock.cache._cache_py import Cache
else:
    Cache = twin(__name__).Cache


def restored(kind: Any, options: dict[str, Any]) -> Any:
    """An empty cache for what was pickled, by the chosen twin whichever has pickled it.

    Args:
        kind: a subclass of Cache; None for Cache itself.
        options: what Cache.__init__ takes.
    """
    cls: Any = kind or Cache
    cache = cls.__new__(cls)
    Cache.__init__(cache, **options)
    return cache
