"""How long a cache takes to find, store, evict and forget, and what an entry costs."""

import asyncio
import copy
import pickle
import random
import sys
from importlib import import_module
from itertools import cycle, islice

SIZE = 1_000
POLICIES = ("lru", "fifo", "sieve", "s3fifo", "tinylfu", "lfu")


class Cache:
    params = (("c", "py"), POLICIES)
    param_names = ("impl", "policy")

    def setup(self, impl, policy):
        self.cache = import_module(f"penstock.cache._cache_{impl}").Cache
        self.policy = policy
        self.keys = [f"key:{n}" for n in range(SIZE)]
        self.equal_keys = [f"key:{n}" for n in range(SIZE)]
        self.absent = [f"absent:{n}" for n in range(SIZE)]
        self.items = dict.fromkeys(self.keys, 1)
        self.stream = cycle([f"stream:{n}" for n in range(20 * SIZE)])
        weights = [1 / (rank + 1) for rank in range(20 * SIZE)]
        self.zipf = random.Random(1).choices(range(20 * SIZE), weights, k=10 * SIZE)
        self.full = self.filled()
        self.timed = self.filled(ttl=3600)
        self.idle = self.filled(tti=3600)
        self.weighed = self.filled(weigher=lambda key, value: 1, max_weight=SIZE)
        self.reporting = self.filled(on_remove=lambda key, value, cause: None)
        self.pickled = pickle.dumps(self.full)

    def filled(self, **options):
        cache = self.cache(SIZE, policy=self.policy, **options)
        cache.update((key, key) for key in self.keys)
        return cache

    def time_hit_1k(self, impl, policy):
        cache = self.full
        for key in self.keys:
            cache[key]

    def time_hit_by_equal_key_1k(self, impl, policy):
        cache = self.full
        for key in self.equal_keys:
            cache[key]

    def time_hit_with_ttl_1k(self, impl, policy):
        cache = self.timed
        for key in self.keys:
            cache[key]

    def time_hit_with_tti_1k(self, impl, policy):
        cache = self.idle
        for key in self.keys:
            cache[key]

    def time_get_hit_1k(self, impl, policy):
        get = self.full.get
        for key in self.keys:
            get(key)

    def time_get_miss_1k(self, impl, policy):
        get = self.full.get
        for key in self.absent:
            get(key)

    def time_get_many_1k(self, impl, policy):
        self.full.get_many(self.keys)

    def time_peek_1k(self, impl, policy):
        peek = self.full.peek
        for key in self.keys:
            peek(key)

    def time_contains_1k(self, impl, policy):
        cache = self.full
        for key in self.keys:
            key in cache  # noqa: B015  # it is what is timed

    def time_replace_1k(self, impl, policy):
        cache = self.full
        for key in self.keys:
            cache[key] = key

    def time_replace_with_ttl_1k(self, impl, policy):
        cache = self.timed
        for key in self.keys:
            cache[key] = key

    def time_replace_with_ttl_of_its_own_1k(self, impl, policy):
        put = self.timed.set
        for key in self.keys:
            put(key, key, ttl=60)

    def time_set_many_1k(self, impl, policy):
        self.full.set_many(self.items)

    def time_setdefault_1k(self, impl, policy):
        setdefault = self.full.setdefault
        for key in self.keys:
            setdefault(key, key)

    def time_touch_1k(self, impl, policy):
        touch = self.timed.touch
        for key in self.keys:
            touch(key)

    def time_expires_in_1k(self, impl, policy):
        expires_in = self.timed.expires_in
        for key in self.keys:
            expires_in(key)

    def time_set_and_evict_1k(self, impl, policy):
        cache = self.full
        for key in islice(self.stream, SIZE):
            cache[key] = key

    def time_set_and_evict_by_weight_1k(self, impl, policy):
        cache = self.weighed
        for key in islice(self.stream, SIZE):
            cache[key] = key

    def time_set_evict_and_report_1k(self, impl, policy):
        cache = self.reporting
        for key in islice(self.stream, SIZE):
            cache[key] = key

    def time_get_or_store_zipf_10k(self, impl, policy):
        cache = self.full
        get = cache.get
        for key in self.zipf:
            if get(key) is None:
                cache[key] = key

    def time_get_or_compute_hit_1k(self, impl, policy):
        get_or_compute = self.full.get_or_compute
        for key in self.keys:
            get_or_compute(key, str.upper)

    def time_get_or_compute_miss_1k(self, impl, policy):
        get_or_compute = self.full.get_or_compute
        for key in islice(self.stream, SIZE):
            get_or_compute(key, str.upper)

    def time_get_or_compute_async_hit_1k(self, impl, policy):
        async def compute(key):
            return key

        async def get_all():
            get_or_compute = self.full.get_or_compute_async
            for key in self.keys:
                await get_or_compute(key, compute)

        asyncio.run(get_all())

    def time_set_and_delete_1k(self, impl, policy):
        cache = self.full
        for key in self.keys:
            cache[key] = key
            cache.delete(key)

    def time_set_and_pop_1k(self, impl, policy):
        cache = self.full
        for key in self.keys:
            cache[key] = key
            cache.pop(key)

    def time_set_many_and_delete_many_1k(self, impl, policy):
        self.full.set_many(self.items)
        self.full.delete_many(self.keys)

    def time_set_many_and_popitem_1k(self, impl, policy):
        cache = self.full
        cache.set_many(self.items)
        while cache:
            cache.popitem()

    def time_set_many_and_clear_1k(self, impl, policy):
        self.full.set_many(self.items)
        self.full.clear()

    def time_set_many_and_resize_1k(self, impl, policy):
        cache = self.full
        cache.resize(SIZE)
        cache.set_many(self.items)
        cache.resize(1)

    def time_expire_nothing_1k(self, impl, policy):
        self.timed.expire()

    def time_iterate_1k(self, impl, policy):
        for _ in self.full.items():
            pass

    def time_copy_1k(self, impl, policy):
        copy.copy(self.full)

    def time_pickle_1k(self, impl, policy):
        pickle.dumps(self.full)

    def time_unpickle_1k(self, impl, policy):
        pickle.loads(self.pickled)

    def time_stats_1k(self, impl, policy):
        stats = self.full.stats
        for _ in range(SIZE):
            stats()


class CacheMemory:
    """Keys and values not counted; of the compiled twin, whose size sys.getsizeof knows in full."""

    params = (POLICIES, (None, 3600))
    param_names = ("policy", "ttl")

    def track_bytes_per_entry_of_50k(self, policy, ttl):
        cache = import_module("penstock.cache._cache_c").Cache(50_000, policy=policy, ttl=ttl)
        cache.update((n, n) for n in range(50_000))
        return sys.getsizeof(cache) / 50_000

    track_bytes_per_entry_of_50k.unit = "bytes"
