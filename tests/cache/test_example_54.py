"""Example 54 of the system design examples, as a whole program on a clock that jumps.

What it must print is what the Go program prints, and that is not what its comments say: they forget that what
has expired makes room only when its turn comes, so two were evicted, and two are left.
"""

from penstock.cache import RemovalCause
from penstock.clock import ManualClock
from twins import both_twins

Cache = both_twins("penstock.cache.cache")

EXAMPLE_54 = """\
GET user:1: Alice
[CACHE] LRU eviction: 'user:2' (size=3)
GET user:2: found=false
[CACHE] LRU eviction: 'user:3' (size=3)
[CACHE] TTL expired: 'session:xyz'
GET session:xyz after TTL: found=false
Cache stats: map[evictions:2 hit_rate:33.3% hits:1 max_size:3 misses:2 size:2]
"""


def program(Cache, clock):
    def log(key, value, cause):
        if cause is RemovalCause.SIZE:
            print(f"[CACHE] LRU eviction: '{key}' (size={len(cache)})")
        elif cause is RemovalCause.EXPIRED:
            print(f"[CACHE] TTL expired: '{key}'")

    def found(key):
        return str(cache.get(key) is not None).lower()

    cache = Cache(3, ttl=2, on_remove=log, clock=clock)
    cache["user:1"] = {"name": "Alice", "plan": "pro"}
    cache["user:2"] = {"name": "Bob", "plan": "free"}
    cache["user:3"] = {"name": "Carol", "plan": "enterprise"}
    print(f"GET user:1: {cache['user:1']['name']}")

    cache["user:4"] = {"name": "Dave", "plan": "free"}
    print(f"GET user:2: found={found('user:2')}")

    cache.set("session:xyz", {"token": "abc123"}, ttl=0.1)
    clock.advance(0.15)
    print(f"GET session:xyz after TTL: found={found('session:xyz')}")

    stats = cache.stats()
    print(
        f"Cache stats: map[evictions:{stats.evictions} hit_rate:{stats.hit_ratio:.1%} hits:{stats.hits}"
        f" max_size:{stats.maxsize} misses:{stats.misses} size:{stats.size}]"
    )


def test_cache_prints_what_example_54_prints(Cache, capsys):
    program(Cache, ManualClock())
    assert capsys.readouterr().out == EXAMPLE_54
