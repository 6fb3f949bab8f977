"""Caches: bounded memory of what was dear to get, and writes that reach their store.

What needs Redis, `penstock.cache.tiered` and `penstock.cache.redis_store`, is imported by its full name.
"""

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
from penstock.cache.journal import Journal, JournalError, JournalUnavailable
from penstock.cache.sqlite_store import SQLiteStore
from penstock.cache.store import MemoryStore, Store
from penstock.cache.write_back import NotStored, WriteBackCache, WriteBackClosed, WriteBackStats
from penstock.cache.write_through import WriteThroughCache

__all__ = [
    "Cache",
    "CacheInfo",
    "CacheLoadDeadlock",
    "CacheStats",
    "CachedFunction",
    "FIFOCache",
    "Journal",
    "JournalError",
    "JournalUnavailable",
    "LFUCache",
    "LRUCache",
    "MemoryStore",
    "NotStored",
    "Policy",
    "RemovalCause",
    "S3FIFOCache",
    "SQLiteStore",
    "SieveCache",
    "Store",
    "TTLCache",
    "TinyLFUCache",
    "WriteBackCache",
    "WriteBackClosed",
    "WriteBackStats",
    "WriteThroughCache",
    "cached",
]
