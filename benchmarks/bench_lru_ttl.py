"""How long an LRU cache takes to find, store and evict, and what an entry costs."""

import sys
from importlib import import_module
from itertools import cycle, islice

SIZE = 1_000


class LRUCache:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        self.cache = import_module(f"penstock.cache._lru_ttl_{impl}").LRUCache
        self.keys = [f"key:{n}" for n in range(SIZE)]
        self.equal_keys = [f"key:{n}" for n in range(SIZE)]
        self.absent = [f"absent:{n}" for n in range(SIZE)]
        self.stream = cycle([f"stream:{n}" for n in range(20 * SIZE)])
        self.full = self.filled()
        self.timed = self.filled(ttl=3600)
        self.reporting = self.filled(on_remove=lambda key, value, cause: None)

    def filled(self, **options):
        cache = self.cache(SIZE, **options)
        cache.update((key, key) for key in self.keys)
        return cache

    def time_hit_1k(self, impl):
        cache = self.full
        for key in self.keys:
            cache[key]

    def time_hit_by_equal_key_1k(self, impl):
        cache = self.full
        for key in self.equal_keys:
            cache[key]

    def time_hit_with_ttl_1k(self, impl):
        cache = self.timed
        for key in self.keys:
            cache[key]

    def time_get_hit_1k(self, impl):
        get = self.full.get
        for key in self.keys:
            get(key)

    def time_get_miss_1k(self, impl):
        get = self.full.get
        for key in self.absent:
            get(key)

    def time_replace_1k(self, impl):
        cache = self.full
        for key in self.keys:
            cache[key] = key

    def time_replace_with_ttl_1k(self, impl):
        cache = self.timed
        for key in self.keys:
            cache[key] = key

    def time_set_and_evict_1k(self, impl):
        cache = self.full
        for key in islice(self.stream, SIZE):
            cache[key] = key

    def time_set_evict_and_report_1k(self, impl):
        cache = self.reporting
        for key in islice(self.stream, SIZE):
            cache[key] = key

    def time_iterate_1k(self, impl):
        for _ in self.full.items():
            pass


class LRUCacheMemory:
    """Keys and values not counted; of the compiled twin, whose size sys.getsizeof knows in full."""

    def track_bytes_per_entry_of_50k(self):
        cache = import_module("penstock.cache._lru_ttl_c").LRUCache(50_000, ttl=3600)
        cache.update((n, n) for n in range(50_000))
        return sys.getsizeof(cache) / 50_000

    track_bytes_per_entry_of_50k.unit = "bytes"
