"""Caches: bounded memory of what was dear to get."""

from penstock.cache.lru_ttl import CacheStats, LRUCache, RemovalCause

__all__ = ["CacheStats", "LRUCache", "RemovalCause"]
