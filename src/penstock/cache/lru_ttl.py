"""LRU cache: keeps what was used last, each entry for as long as its time to live allows."""

from typing import TYPE_CHECKING

from penstock._twins import twin
from penstock.cache._lru_ttl_py import CacheStats, RemovalCause

__all__ = ["CacheStats", "LRUCache", "RemovalCause"]

if TYPE_CHECKING:
    from penstock.cache._lru_ttl_py import LRUCache
else:
    LRUCache = twin(__name__).LRUCache
