"""Caches: bounded memory of what was dear to get."""

from penstock.cache._flights import CacheLoadDeadlock
from penstock.cache.cache import Cache, CacheStats, Policy, RemovalCause
from penstock.cache.cached_function import CachedFunction, CacheInfo, cached
from penstock.cache.drop_in import (
    FIFOCache,
    LFUCache,
    LRUCache,
    S3FIFOCache,
    SieveCache,
    TinyLFUCache,
    TTLCache,
)

__all__ = [
    "Cache",
    "CacheInfo",
    "CacheLoadDeadlock",
    "CacheStats",
    "CachedFunction",
    "FIFOCache",
    "LFUCache",
    "LRUCache",
    "Policy",
    "RemovalCause",
    "S3FIFOCache",
    "SieveCache",
    "TTLCache",
    "TinyLFUCache",
    "cached",
]
