"""The hits of every policy on recorded traces, against simulators of our own and against libcachesim."""

import csv
from functools import cache, lru_cache
from pathlib import Path

import pytest

import simulators
import traces
from twins import load

MODULE = "penstock.cache.cache"

pytestmark = pytest.mark.data

ABSENT = object()
MOST_REQUESTS = {"c": 1_000_000, "py": 50_000}  # compared one by one
LONG = ("arc/P3", "cache2k/orm-busy")  # millions of requests, asked for at one size

EXACT = {"LRU": "lru", "FIFO": "fifo", "Sieve": "sieve", "LFU": "lfu", "S3FIFO": "s3fifo"}

LEAST_S3FIFO = 20  # entries; libcachesim's small queue of one takes no object in

LEAST_TINYLFU = 100  # entries; libcachesim's window of none takes no object in

BELOW_LIBCACHESIM = {
    ("lirs/cs", 141): 4.2,
    ("lirs/gli", 126): 1.2,
    ("lirs/loop", 101): 2.2,
    ("lirs/multi1", 1303): 1.1,
    ("lirs/multi2", 568): 0.7,
    ("lirs/ps", 308): 0.9,
    ("lirs/scan", 100): 4.0,
    ("lirs/scan", 200): 1.3,
    ("lirs/scan", 500): 1.9,
}
"""Points by which our W-TinyLFU is below theirs, where it is more than half a point.

All are short traces with loops and scans. Our counters are halved after ten requests an entry, as in
Caffeine, theirs after 32. That remembers a loop for longer, but on arc/OLTP at 15,000 it would cost us
6.7 points.
"""

PACKAGE_S3FIFO_MISSES = (90_117, 80_915, 75_060, 72_191, 69_815, 65_542, 60_799, 56_045)
"""Of libcachesim 0.3.5 on cloudPhysicsIO at 128 MiB to 1 GiB, as counted with the package.

What its own tests assert are those of an older S3-FIFO, up to 14,310 misses more.
"""


def hits_of(cache, keys):
    """Whether each request is a hit; what is not there is stored."""
    get = cache.get
    hits = []
    for key in keys:
        found = get(key, ABSENT) is not ABSENT
        hits.append(found)
        if not found:
            cache[key] = None
    return hits


@lru_cache(maxsize=1)  # of the long ones each takes 200 MB
def keys_of(name):
    return traces.keys_of(name).tolist()


@pytest.fixture(autouse=True, scope="module")
def forget_the_keys():
    """Whatever stays in memory, every later collection of garbage looks at."""
    yield
    keys_of.cache_clear()


def sizes_of(name, policy="LRU"):
    """The sizes in the reference at which it is sound; of long traces only the middle one."""
    least = {"S3FIFO": LEAST_S3FIFO, "WTinyLFU": LEAST_TINYLFU}.get(policy, 1)
    sizes = sorted({r.size for r in traces.references() if r.trace == name and r.size >= least})
    return sizes[1:2] if name in LONG else sizes


def reference(name, size, policy):
    return next(r.hits for r in traces.references() if (r.trace, r.size, r.policy) == (name, size, policy))


@cache
def documented():
    """The hits that the plots of the documentation show, by trace, size and policy."""
    with (Path(__file__).parents[2] / "docs/plots/hit_ratios.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {(row["trace"], int(row["size"]), row["policy"]): int(row["hits"]) for row in rows}


def points(hits, name):
    return 100 * hits / len(keys_of(name))


EVERY_TRACE = pytest.mark.parametrize("name", traces.NAMES)


# ---- against our own simulators, request by request ----


@pytest.mark.parametrize("policy", ["lru", "fifo"])
@pytest.mark.parametrize("impl", ["c", "py"])
@EVERY_TRACE
def test_every_request_is_a_hit_or_none_as_in_the_simulator(name, impl, policy):
    keys = keys_of(name)[: MOST_REQUESTS[impl]]
    size = sizes_of(name)[len(sizes_of(name)) // 2]
    simulate = {"lru": simulators.lru_hits, "fifo": simulators.fifo_hits}[policy]
    assert hits_of(load(MODULE, impl)(size, policy=policy), keys) == simulate(keys, size)


# ---- against libcachesim ----


@pytest.mark.parametrize("policy", EXACT)
@EVERY_TRACE
def test_hits_are_those_of_libcachesim_to_the_last_one(name, policy):
    make = load(MODULE, "c")
    for size in sizes_of(name, policy):
        hits = sum(hits_of(make(size, policy=EXACT[policy]), keys_of(name)))
        assert (size, hits) == (size, reference(name, size, policy))
        assert hits == documented()[name, size, EXACT[policy]]


@EVERY_TRACE
def test_tinylfu_is_half_a_point_below_libcachesim_at_most_but_on_short_loops(name):
    make = load(MODULE, "c")
    for size in sizes_of(name, "WTinyLFU"):
        hits = sum(hits_of(make(size, policy="tinylfu"), keys_of(name)))
        below = points(reference(name, size, "WTinyLFU"), name) - points(hits, name)
        assert below <= BELOW_LIBCACHESIM.get((name, size), 0.5), size
        assert hits == documented()[name, size, "tinylfu"]


@pytest.mark.parametrize("policy", ["lru", "fifo", "sieve", "lfu", "s3fifo", "tinylfu"])
def test_twins_agree_on_every_request(policy):
    keys = keys_of("cache2k/web07")
    compiled, fallback = (load(MODULE, impl)(2_048, policy=policy) for impl in ("c", "py"))
    assert hits_of(compiled, keys) == hits_of(fallback, keys)
    assert list(compiled) == list(fallback)


# ---- by weight ----


def misses_by_bytes(impl, policy, size_bytes):
    """Misses of cloudPhysicsIO; the value of a key is its size in bytes."""
    keys, sizes = traces.requests_by_bytes()
    cache = load(MODULE, impl)(len(keys), policy=policy, weigher=lambda _, size: size, max_weight=size_bytes)
    misses = 0
    for key, size in zip(keys.tolist(), sizes.tolist(), strict=True):
        if cache.get(key) is None:
            misses += 1
            cache[key] = size
    return misses


@pytest.mark.parametrize("policy", ["LRU", "FIFO", "Sieve", "LFU"])
def test_misses_by_bytes_are_those_that_libcachesim_publishes(policy):
    published = [row for row in traces.published_misses() if row.policy == policy]
    assert len(published) == 8
    for row in published:
        misses = misses_by_bytes("c", EXACT[policy], row.size_bytes)
        assert (row.size_bytes, misses) == (row.size_bytes, row.misses)


def test_s3fifo_misses_by_bytes_are_those_of_the_package():
    misses = [misses_by_bytes("c", "s3fifo", step << 27) for step in range(1, 9)]
    assert misses == list(PACKAGE_S3FIFO_MISSES)


@pytest.mark.parametrize("policy", ["lru", "fifo", "sieve", "lfu", "s3fifo", "tinylfu"])
def test_twins_agree_by_bytes(policy):
    compiled, fallback = (misses_by_bytes(impl, policy, 1 << 28) for impl in ("c", "py"))
    assert compiled == fallback
