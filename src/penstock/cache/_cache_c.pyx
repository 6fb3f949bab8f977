"""Cache, compiled: the twin of _cache_py.py over csrc/cache.c.

Any Python code, a comparison of keys, a clock, a destructor, may use the cache before it returns. So the
kernel changes everything that a call changes at once, with nothing in between that can run such code, and
`version` tells whether a slot is still the one that was found. What leaves waits in the kernel until
`settle` lets it go.

Keys and values are references that the kernel's slots hold; the type's traverse and clear, at the end, show
them to the garbage collector.
"""

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport Py_EQ, PyObject, PyObject_RichCompareBool
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.math cimport llrint
from libc.stdint cimport int64_t, uint32_t, uint64_t

from collections.abc import KeysView, Mapping, MutableMapping
from types import GenericAlias

from penstock.cache._flights import Flights
from penstock.cache._reports import CacheStats, RemovalCause, notify
from penstock.cache._settings import (
    MAX_TTL,
    MISSING,
    POLICIES,
    check_default,
    checked_lifetime,
    checked_max_weight,
    checked_maxsize,
    checked_settings,
    checked_weight,
    jittered,
    seconds_until,
)
from penstock.cache._views import CacheItems, CacheValues
from penstock.clock import NANOSECONDS
from penstock.errors import InvalidValue

__all__ = ["Cache"]

cdef extern from "clock.h" nogil:
    int64_t ps_monotonic_ns()

cdef extern from "cache.h" nogil:
    ctypedef enum ps_status:
        PS_OK

    ctypedef struct ps_allocator:
        void *(*resize)(void *memory, size_t size)
        void (*release)(void *memory)

    ctypedef struct ps_index_search:
        pass

    ctypedef struct ps_removal:
        void *key
        void *value
        ps_cause cause

    const uint32_t NONE "PS_NO_SLOT"
    const int64_t NEVER "PS_NEVER"

    uint32_t ps_mixed_hash(uint64_t hash)
    void ps_cache_init(ps_cache *cache, ps_policy policy, uint32_t limit, int64_t max_weight, bint has_extras,
                       ps_allocator allocator)
    void ps_cache_free(ps_cache *cache)
    uint32_t ps_cache_size(const ps_cache *cache)
    ps_slot *ps_cache_slot(const ps_cache *cache, uint32_t slot)
    ps_index_search ps_cache_begin(const ps_cache *cache, uint32_t hash)
    uint32_t ps_cache_next(const ps_cache *cache, uint32_t hash, ps_index_search *search)
    bint ps_cache_expired(const ps_cache *cache, uint32_t slot, int64_t now)
    void ps_cache_hit(ps_cache *cache, uint32_t slot, int64_t now, int64_t idle)
    int64_t ps_cache_at_most(const ps_cache *cache, uint32_t slot)
    void ps_cache_expire_at(ps_cache *cache, uint32_t slot, int64_t deadline, int64_t at_most)
    ps_status ps_cache_add(ps_cache *cache, uint32_t hash, void *key, void *value, int64_t weight,
                           int64_t deadline, int64_t at_most, int64_t now)
    void ps_cache_reweigh(ps_cache *cache, uint32_t slot, int64_t weight, int64_t now)
    void ps_cache_remove(ps_cache *cache, uint32_t slot, ps_cause cause)
    void ps_cache_clear(ps_cache *cache)
    uint32_t ps_cache_expire(ps_cache *cache, int64_t now)
    void ps_cache_resize(ps_cache *cache, uint32_t limit, int64_t max_weight, int64_t now)
    ps_status ps_cache_shrink(ps_cache *cache)
    bint ps_cache_take_removed(ps_cache *cache, ps_removal *removal)
    size_t ps_cache_bytes(const ps_cache *cache)
    bint ps_cache_check(const ps_cache *cache)
    uint32_t ps_eviction_first(const ps_eviction *eviction)
    uint32_t ps_eviction_after(const ps_eviction *eviction, uint32_t slot)
    uint32_t ps_eviction_next(const ps_eviction *eviction)
    void ps_eviction_hit(ps_eviction *eviction, uint32_t slot)

cdef extern from *:
    """
    /* The hash of a str lies in it once it was asked for, without a call. */
    static inline Py_hash_t hash_of(PyObject *key)
    {
        Py_hash_t known = PyUnicode_CheckExact(key) ? ((PyASCIIObject *)key)->hash : -1;
        return known != -1 ? known : PyObject_Hash(key);
    }

    static inline int is_same_text(PyObject *a, PyObject *b)
    {
        Py_ssize_t length = PyUnicode_GET_LENGTH(a);
        int kind = PyUnicode_KIND(a);
        if (length != PyUnicode_GET_LENGTH(b) || kind != (int)PyUnicode_KIND(b)) return 0;
        return memcmp(PyUnicode_DATA(a), PyUnicode_DATA(b), (size_t)length * (size_t)kind) == 0;
    }

    /* The slot of `key`, as far as that can be told without running code: keys that are the same object, or
     * both str. Whatever else has the hash makes it unsure. Every str has its hash, so it is ready. */
    static inline uint32_t find_at_once(const ps_cache *cache, PyObject *key, uint32_t hash, int *unsure)
    {
        ps_index_search search = ps_index_begin(&cache->index, hash);
        uint32_t slot;
        *unsure = 0;
        while ((slot = ps_index_next(&cache->index, &search)) != PS_NO_SLOT) {
            const ps_slot *entry = ps_cache_slot(cache, slot);
            PyObject *held = (PyObject *)entry->key;
            if (held == key) break;
            if (entry->hash != hash) continue;
            if (!PyUnicode_CheckExact(held) || !PyUnicode_CheckExact(key)) {
                *unsure = 1;
                return PS_NO_SLOT;
            }
            if (is_same_text(held, key)) break;
        }
        return slot;
    }
    """
    Py_hash_t hash_of(object key) except -1
    uint32_t find_at_once(const ps_cache *cache, PyObject *key, uint32_t hash, int *unsure)

cdef ps_allocator PYTHON_MEMORY = ps_allocator(PyMem_RawRealloc, PyMem_RawFree)  # seen by tracemalloc

cdef int64_t LONGEST_TTL = MAX_TTL  # seconds

cdef tuple CAUSES = tuple(RemovalCause)  # in the order of ps_cause

cdef dict POLICY_NUMBERS = {
    "lru": PS_LRU,
    "fifo": PS_FIFO,
    "lfu": PS_LFU,
    "sieve": PS_SIEVE,
    "s3fifo": PS_S3FIFO,
    "tinylfu": PS_TINYLFU,
}


cdef inline int64_t deadline_after(int64_t now, int64_t lifetime) noexcept:
    """The nanosecond at which what is stored `now` expires, NEVER if that lies beyond int64."""
    if lifetime == NEVER or now > NEVER - lifetime:
        return NEVER
    return now + lifetime


@cython.collection_type("mapping")
cdef class Cache:
    """Cache(maxsize=1024, *, policy="lru", ttl=None, tti=None, jitter=0.0, weigher=None, max_weight=None, on_remove=None, clock=None)\n--\n
    A mapping of at most `maxsize` entries; when it is full, its policy chooses the one that goes.

    Storing and looking up by `c[key]`, `get`, `get_many`, `setdefault` and `touch` are uses. `in`, `peek`,
    iteration, `keys()`, `values()`, `items()` and `==` are not: they count nothing, change nothing, show
    no expired entry, and go over what was there when they began, in the order of the policy's queues.

    An entry expires at the nanosecond at which its time is over, and is gone for every caller from then
    on. Its memory is freed when the cache comes across it: on a lookup, as the next to be evicted, by
    `expire()`, or by the sweep, which looks at two entries whenever one is added. Until then `len()`
    counts it. The clock is not read before the first entry that can expire is stored.

    `dict(cache)` looks up every key, as it does with any mapping; `dict(cache.items())` only looks on.

    Every operation is O(1), but for iteration, `copy`, `clear`, `expire` and `resize`, and those over
    many keys. Threads may share a cache; no lock is held while keys are compared or `weigher`, `on_remove`
    or a loader runs, so all of them may use the cache themselves. Each removed value is reported once.
    Memory grows with the entries, not with `maxsize`.

    Pickling keeps the arguments, the weigher too, but neither `on_remove` nor the clock, and the entries in
    their order, each with the time that it has left. Never unpickle what others could have written.

    Args:
        maxsize: entries held at most, >= 1.
        policy: "lru" evicts who was not used for longest, "fifo" who came first, "lfu" who was used
            least; "sieve", "s3fifo" and "tinylfu" (W-TinyLFU with an adaptive window) find more of what is
            asked for again, above all where much is asked for only once.
        ttl: time to live of an entry from when it is stored, seconds or timedelta, > 0; None for ever.
        tti: time to idle: an entry goes when it was not used for so long, seconds or timedelta, > 0.
        jitter: part of its ttl by which an entry's is shortened at most, at random, 0 <= jitter < 1, so
            that what was stored together does not expire together.
        weigher: called as `weigher(key, value)`, returns what an entry weighs, an int >= 0.
        max_weight: what all entries weigh together at most, >= 1. A value heavier than that is not kept,
            nor is what was there under its key.
        on_remove: called as `on_remove(key, value, cause)` after an entry has left, when the cache is
            ready for use again; cause is a `RemovalCause`. What it raises goes to sys.unraisablehook.
        clock: returns int nanoseconds that do not go back; None for the monotonic clock of the system.

    Raises:
        ValueError: an argument is out of its range, or only one of weigher and max_weight was given.
        TypeError: an argument has the wrong type.

    Sources: Mattson et al., Evaluation Techniques for Storage Hierarchies, IBM Systems Journal 9(2), 1970
    (LRU); Zhang et al., SIEVE is Simpler than LRU, NSDI 2024; Yang et al., FIFO Queues are All You Need
    for Cache Eviction, SOSP 2023 (S3-FIFO); Einziger et al., TinyLFU, ACM ToS 13(4), 2017, and Adaptive
    Software Cache Management, Middleware 2018 (W-TinyLFU).
    """

    __class_getitem__ = classmethod(GenericAlias)
    __hash__ = None
    __reversed__ = None

    def __cinit__(self):
        ps_cache_init(&self.kept, PS_LRU, 1, 0, False, PYTHON_MEMORY)
        self.lifetime = self.idle = NEVER

    def __dealloc__(self):
        release(&self.kept)

    def __init__(self, maxsize=1024, *, policy="lru", ttl=None, tti=None, jitter=0.0, weigher=None,
                 max_weight=None, on_remove=None, clock=None):
        settings = checked_settings(maxsize, policy, ttl, tti, jitter, weigher, max_weight, on_remove, clock)
        flights = Flights(settings.clock)
        replaced = (
            self._ttl, self._tti, self._weigher, self._on_remove, self._clock, self._flights, self.computed
        )
        cdef ps_cache forgotten = self.kept
        ps_cache_init(&self.kept, POLICY_NUMBERS[policy], settings.maxsize, settings.max_weight, tti is not None,
                      PYTHON_MEMORY)
        self.version += 1
        self.lifetime = settings.lifetime
        self.idle = settings.idle
        self._jitter = jitter
        self.timed = False
        self.hits = self.misses = self.inserts = self.rejections = 0
        self._ttl = ttl
        self._tti = tti
        self._weigher = weigher
        self._on_remove = on_remove
        self._clock = settings.clock
        self._flights = flights
        self.computed = flights.table
        release(&forgotten)  # last, as `replaced` is: destructors may use the cache

    def __repr__(self):
        return f"{type(self).__name__}(maxsize={self.maxsize}, policy={self.policy!r}, ttl={self._ttl!r})"

    def __sizeof__(self):
        return object.__sizeof__(self) + ps_cache_bytes(&self.kept)

    def __reduce__(self):
        from penstock.cache import cache as public

        kind = None if type(self) in (Cache, public.Cache) else type(self)
        return public.restored, (kind, self._options()), (self._left(), getattr(self, "__dict__", None))

    def __setstate__(self, state):
        entries, attributes = state
        self._restore(entries)
        if attributes:
            self.__dict__.update(attributes)

    def copy(self):
        """Another cache with the same arguments and entries, each with the time that it has left.

        What a policy remembers of them beyond their order is not copied, nor is what was counted.
        """
        cls = type(self)
        other = cls.__new__(cls)
        Cache.__init__(other, **self._options(), on_remove=self._on_remove, clock=self._clock)
        other._restore(self._left())
        return other

    __copy__ = copy

    @property
    def maxsize(self):
        """Entries held at most."""
        return self.kept.limit

    @property
    def policy(self):
        """How it chooses the entry that goes, by name."""
        return POLICIES[<int>self.kept.eviction.policy]

    @property
    def ttl(self):
        """Time to live of entries that are stored without their own, as it was given."""
        return self._ttl

    @property
    def tti(self):
        """Time that an entry lives on from its last use, as it was given."""
        return self._tti

    @property
    def weigher(self):
        """What says how much an entry weighs, as it was given."""
        return self._weigher

    @property
    def max_weight(self):
        """What all entries weigh together at most; None without a weigher."""
        return self.kept.max_weight if self._weigher is not None else None

    @property
    def weight(self):
        """What all entries weigh together now; 0 without a weigher."""
        return self.kept.weight

    def __len__(self):
        return ps_cache_size(&self.kept)

    def __contains__(self, key):
        return self._peek(key) is not MISSING

    def __iter__(self):
        return iter([key for key, _ in self._snapshot()])

    def __eq__(self, other):
        if not isinstance(other, Mapping):
            return NotImplemented
        return dict(self.items()) == dict(other.items())

    def keys(self):
        """D.keys() -> a set-like object providing a view on D's keys"""
        return KeysView(self)

    def items(self):
        """The pairs; looking at them is no use of them."""
        return CacheItems(self)

    def values(self):
        """The values; looking at them is no use of them."""
        return CacheValues(self)

    @cython.critical_section
    def __getitem__(self, key):
        cdef uint32_t slot = self.lookup(key)
        if slot == NONE:
            return self.missing(key)
        return <object>ps_cache_slot(&self.kept, slot).value

    @cython.critical_section
    def get(self, key, default=None, /):
        """The value of `key`, or `default`; counts a hit or a miss, and a hit is a use."""
        cdef uint32_t slot = self.lookup(key)
        return default if slot == NONE else <object>ps_cache_slot(&self.kept, slot).value

    def peek(self, key, default=None, /):
        """The value of `key`, or `default`; counts nothing and is no use."""
        value = self._peek(key)
        return default if value is MISSING else value

    def get_many(self, keys, /):
        """The values of those of `keys` that are there, by key; each is looked up as by `get`."""
        cdef dict found = {}
        for key in keys:
            value = self.found(key, MISSING)
            if value is not MISSING:
                found[key] = value
        return found

    @cython.critical_section
    def __setitem__(self, key, value):
        self.store(key, value, self.lifetime, False)

    @cython.critical_section
    def set(self, key, value, *, ttl=...):
        """Stores `value` under `key`, which is a use; evicts when there is no room.

        Args:
            key: any hashable.
            value: anything, None too.
            ttl: time to live of this entry, seconds or timedelta, > 0; None for ever; `...` for the
                cache's own.

        Raises:
            ValueError: ttl is out of its range, or the weigher returned a negative weight.
            TypeError: key is not hashable, ttl is no time, or the weigher returned no integer.
        """
        self.store(key, value, self.given(ttl), False)

    def set_many(self, items, /, *, ttl=...):
        """Stores a mapping, or an iterable of pairs, entry by entry as `set` does."""
        cdef int64_t lifetime = self.given(ttl)
        for key, value in items.items() if isinstance(items, Mapping) else items:
            self.store(key, value, lifetime, False)

    @cython.critical_section
    def setdefault(self, key, default=None, /):
        """The value of `key`; if there is none, `default`, which is stored. Counts a hit or a miss."""
        cdef uint32_t slot = self.lookup(key)
        if slot == NONE:
            return self.store(key, default, self.lifetime, True)
        return <object>ps_cache_slot(&self.kept, slot).value

    update = MutableMapping.update

    def get_or_compute(self, key, compute, /, *, ttl=...):
        """The value of `key`; if there is none, what `compute(key)` returns, which is stored.

        Threads and tasks that miss one key together compute it once: one does, the others wait for it and
        get the same value, or the same error, which is not stored. Counts a hit or a miss.

        Args:
            key: any hashable.
            compute: called as `compute(key)` where there is no value; may use the cache for other keys.
            ttl: as in `set`.

        Raises:
            CacheLoadDeadlock: whoever computes the value waits for the caller.
        """
        return self._flights.get_or_compute(self, key, compute, ttl)

    async def get_or_compute_async(self, key, compute, /, *, ttl=...):
        """The value of `key`; if there is none, what `await compute(key)` returns, which is stored.

        Threads and tasks that miss one key together compute it once: one does, the others wait for it and
        get the same value, or the same error, which is not stored. Counts a hit or a miss.

        Args:
            key: any hashable.
            compute: a coroutine function, called as `compute(key)` where there is no value. It runs in a
                task of its own, which ends early only when everybody who waits for it was cancelled.
            ttl: as in `set`.

        Raises:
            CacheLoadDeadlock: whoever computes the value waits for the caller.
        """
        return await self._flights.get_or_compute_async(self, key, compute, ttl)

    @cython.critical_section
    def touch(self, key, /, *, ttl=...):
        """Uses `key` and lets its time begin anew; False if it is not there. Counts no lookup.

        Args:
            key: any hashable.
            ttl: as in `set`.

        Raises:
            ValueError: ttl is out of its range.
            TypeError: key is not hashable, or ttl is no time.
        """
        cdef int64_t lifetime = self.given(ttl)
        cdef uint32_t hashed = ps_mixed_hash(hash_of(key))
        if lifetime != NEVER or self.idle != NEVER:
            lifetime = self.begin_life(lifetime)
        cdef int64_t now = self.begin()
        cdef uint32_t slot = find(self, key, hashed)
        if slot == NONE or ps_cache_expired(&self.kept, slot, now):
            return False
        self.live_from(slot, now, lifetime)
        ps_eviction_hit(&self.kept.eviction, slot)
        return True

    @cython.critical_section
    def expires_in(self, key, /):
        """Seconds until `key` expires if it is not used, None if it never does. Is no use of it.

        Raises:
            KeyError: key is not there.
        """
        cdef uint32_t hashed = ps_mixed_hash(hash_of(key))
        cdef int64_t now = self.begin()
        cdef uint32_t slot = find(self, key, hashed)
        if slot == NONE or ps_cache_expired(&self.kept, slot, now):
            raise KeyError(key)
        return seconds_until(ps_cache_slot(&self.kept, slot).deadline, now)

    @cython.critical_section
    def __delitem__(self, key):
        if self.remove(key) is MISSING:
            raise KeyError(key)

    @cython.critical_section
    def delete(self, key, /):
        """Removes `key`; False if it is not there. Counts no lookup."""
        return self.remove(key) is not MISSING

    def delete_many(self, keys, /):
        """Removes those of `keys` that are there; how many those were."""
        cdef Py_ssize_t count = 0
        for key in keys:
            count += self.delete(key)
        return count

    @cython.critical_section
    def pop(self, key, /, *default):
        """Removes `key` and returns its value; if it is not there, the default. Counts no lookup.

        Raises:
            KeyError: key is not there and no default was given.
        """
        check_default(default)
        value = self.remove(key)
        if value is not MISSING:
            return value
        if default:
            return default[0]
        raise KeyError(key)

    @cython.critical_section
    def popitem(self):
        """Removes the entry that would go next and returns its key and value.

        Raises:
            KeyError: the cache is empty.
        """
        cdef int64_t now = self.begin()
        cdef uint32_t slot
        cdef bint live
        while True:
            key = value = None  # those of the turn before: their destructors may run, so this comes first
            if ps_cache_size(&self.kept) == 0:
                raise KeyError("popitem(): cache is empty")
            slot = ps_eviction_next(&self.kept.eviction)
            live = not ps_cache_expired(&self.kept, slot, now)
            key = <object>ps_cache_slot(&self.kept, slot).key
            value = <object>ps_cache_slot(&self.kept, slot).value
            self.drop(slot, PS_EXPLICIT if live else PS_EXPIRED)
            if live:
                return key, value

    @cython.critical_section
    def clear(self):
        """Removes all entries, each with cause CLEARED. What was counted stays."""
        self._flights.forget_all()
        ps_cache_clear(&self.kept)
        self.settle_all()
        self.shrink()

    @cython.critical_section
    def expire(self):
        """Removes all entries that have expired and frees their memory; O(size).

        Returns:
            How many those were.
        """
        cdef int64_t now = self.begin()
        cdef uint32_t count = ps_cache_expire(&self.kept, now)
        self.settle_all()
        return count

    @cython.critical_section
    def resize(self, maxsize, /, *, max_weight=None):
        """Holds at most `maxsize` entries from now on; evicts what is too much and frees its memory.

        Args:
            maxsize: entries, >= 1.
            max_weight: what they weigh together at most, >= 1; None leaves it. Needs a weigher.

        Raises:
            ValueError: an argument is out of its range, or there is no weigher.
            TypeError: an argument is no integer.
        """
        cdef uint32_t limit = checked_maxsize(maxsize)
        cdef int64_t most = 0 if max_weight is None else checked_max_weight(max_weight)
        cdef int64_t now = self.begin()  # the clock may begin the cache anew: it is looked at afterwards
        if max_weight is None:
            most = self.kept.max_weight
        elif self._weigher is None:
            raise InvalidValue("weigher and max_weight must be given together, got no weigher")
        ps_cache_resize(&self.kept, limit, most, now)
        self.settle_all()
        self.shrink()

    @cython.critical_section
    def stats(self):
        """What was counted so far, and the size."""
        flights = self._flights
        return CacheStats(
            self.hits,
            self.misses,
            self.inserts,
            self.kept.removals[<int>PS_SIZE],
            self.kept.removals[<int>PS_EXPIRED],
            self.rejections,
            flights.loads,
            flights.load_failures,
            flights.load_ns / NANOSECONDS,
            ps_cache_size(&self.kept),
            self.kept.weight,
            self.kept.limit,
        )

    # ---- what a call comes down to ----

    cdef int64_t begin(self) except? -1:
        """Nanoseconds; not read while nothing can expire."""
        if not self.timed:
            return 0
        return ps_monotonic_ns() if self._clock is None else <int64_t>self._clock()

    cdef uint32_t lookup(self, key) except? 0xFFFFFFFF:
        """The slot of `key`, used now, NONE if it is not there; counts a hit or a miss."""
        cdef uint32_t hashed = ps_mixed_hash(hash_of(key))
        cdef int64_t now = self.begin() if self.timed else 0
        cdef uint32_t slot = find(self, key, hashed)
        if slot != NONE and not (self.timed and ps_cache_expired(&self.kept, slot, now)):
            ps_cache_hit(&self.kept, slot, now, self.idle)
            self.hits += 1
            return slot
        self.misses += 1
        if slot != NONE:
            self.drop(slot, PS_EXPIRED)
        return NONE

    @cython.critical_section
    cdef object found(self, key, otherwise):
        cdef uint32_t slot = self.lookup(key)
        return otherwise if slot == NONE else <object>ps_cache_slot(&self.kept, slot).value

    @cython.critical_section
    def _peek(self, key):
        cdef uint32_t hashed = ps_mixed_hash(hash_of(key))
        cdef int64_t now = self.begin()
        cdef uint32_t slot = find(self, key, hashed)
        if slot == NONE or ps_cache_expired(&self.kept, slot, now):
            return MISSING
        return <object>ps_cache_slot(&self.kept, slot).value

    cdef object missing(self, key):
        """What a subclass makes of a key that is not there, as in dict; KeyError without one."""
        if type(self) is not Cache:
            make = getattr(type(self), "__missing__", None)
            if make is not None:
                return make(self, key)
        raise KeyError(key)

    def _snapshot(self):
        """The pairs that have not expired, in the order of the queues."""
        cdef list live = self.entries(False)
        return list(zip(live[::2], live[1::2]))

    def _options(self):
        """What `__init__` takes to make another such cache, but for on_remove and the clock."""
        return {
            "maxsize": self.kept.limit,
            "policy": self.policy,
            "ttl": self._ttl,
            "tti": self._tti,
            "jitter": self._jitter,
            "weigher": self._weigher,
            "max_weight": self.max_weight,
        }

    def _left(self):
        """Key, value, and the nanoseconds that each may still live, with uses and without."""
        cdef list live = self.entries(True)
        return list(zip(live[::4], live[1::4], live[2::4], live[3::4]))

    @cython.critical_section
    cdef list entries(self, bint with_times):
        """Key, value, key, value ... of what has not expired; after each pair the times that are left."""
        cdef int64_t now = self.begin()
        cdef list live = []  # may start a collection, so it comes before the walk; what is appended does not
        cdef uint32_t slot = ps_eviction_first(&self.kept.eviction)
        while slot != NONE:
            if not ps_cache_expired(&self.kept, slot, now):
                live.append(<object>ps_cache_slot(&self.kept, slot).key)
                live.append(<object>ps_cache_slot(&self.kept, slot).value)
                if with_times:
                    live.append(time_left(ps_cache_at_most(&self.kept, slot), now))
                    live.append(time_left(ps_cache_slot(&self.kept, slot).deadline, now))
            slot = ps_eviction_after(&self.kept.eviction, slot)
        return live

    def _restore(self, entries):
        """Stores what `_left` of another cache returned."""
        for key, value, most, until in entries:
            self.store(key, value, NEVER, False)
            self.restore_times(key, most, until)

    @cython.critical_section
    cdef int restore_times(self, key, int64_t most, int64_t until) except -1:
        if until == NEVER:
            return 0
        self.timed = True
        cdef uint32_t hashed = ps_mixed_hash(hash_of(key))
        cdef int64_t now = self.begin()
        cdef uint32_t slot = find(self, key, hashed)
        if slot != NONE:
            ps_cache_expire_at(&self.kept, slot, deadline_after(now, until), deadline_after(now, most))
        return 0

    def _check(self):
        """Raises AssertionError unless the structure is sound. O(size), for tests."""
        if not ps_cache_check(&self.kept):
            raise AssertionError(f"{self!r} is not sound")

    cdef int64_t given(self, ttl) except -1:
        """The lifetime that a call asks for: without another call, if it is a plain number in range."""
        cdef double seconds
        if ttl is ...:
            return self.lifetime
        if type(ttl) is float:
            seconds = ttl
            if 1e-6 <= seconds <= LONGEST_TTL:
                return llrint(seconds * 1e9)
        elif type(ttl) is int and 0 < ttl <= LONGEST_TTL:
            return <int64_t>ttl * 1_000_000_000
        return checked_lifetime("ttl", ttl)

    cdef int64_t begin_life(self, int64_t lifetime) except -1:
        """The lifetime that an entry gets which was given `lifetime`."""
        self.timed = True
        return jittered(lifetime, self._jitter) if self._jitter > 0 else lifetime

    cdef void live_from(self, uint32_t slot, int64_t now, int64_t lifetime) noexcept:
        cdef int64_t at_most = deadline_after(now, lifetime)
        ps_cache_expire_at(&self.kept, slot, min(at_most, deadline_after(now, self.idle)), at_most)

    cdef int64_t weigh(self, key, value) except -1:
        return checked_weight(self._weigher(key, value))

    @cython.critical_section
    cdef object store(self, key, value, int64_t lifetime, bint keep):
        """Stores `value` for `lifetime` ns, with `keep` only if there is none; what is there now."""
        cdef uint32_t hashed = ps_mixed_hash(hash_of(key))
        cdef int64_t weight = 0 if self._weigher is None else self.weigh(key, value)
        if lifetime != NEVER or self.idle != NEVER:
            lifetime = self.begin_life(lifetime)
        cdef int64_t now = self.begin() if self.timed else 0
        if self.computed:
            self._flights.forget(key)
        cdef uint32_t slot = find(self, key, hashed)
        if slot != NONE:
            return self.replace(slot, key, value, weight, now, lifetime, keep)
        if weight > self.kept.max_weight:
            self.reject(key, value)
        else:
            self.insert(key, value, hashed, weight, now, lifetime)
        return value

    cdef int insert(
        self, key, value, uint32_t hashed, int64_t weight, int64_t now, int64_t lifetime
    ) except -1:
        """Adds a key that is not there; whoever has no room beside it goes."""
        cdef int64_t at_most = deadline_after(now, lifetime)
        cdef int64_t deadline = min(at_most, deadline_after(now, self.idle))
        if ps_cache_add(&self.kept, hashed, <void *>key, <void *>value, weight, deadline, at_most,
                        now if self.timed else NEVER) != PS_OK:
            raise MemoryError()
        Py_INCREF(key)
        Py_INCREF(value)
        self.version += 1
        self.inserts += 1
        if self.kept.removed != NONE:
            self.settle()
        return 0

    cdef object replace(
        self, uint32_t slot, key, value, int64_t weight, int64_t now, int64_t lifetime, bint keep
    ):
        """Gives an entry another value, unless it lives and `keep` is true; what is there now."""
        cdef ps_slot *entry = ps_cache_slot(&self.kept, slot)
        cdef ps_cause cause = PS_EXPIRED if ps_cache_expired(&self.kept, slot, now) else PS_REPLACED
        old = <object>entry.value
        if keep and cause == PS_REPLACED:
            return old
        if weight > self.kept.max_weight:
            self.drop(slot, cause)
            self.reject(key, value)
            return value

        held = None if self._on_remove is None else <object>entry.key
        entry.value = <void *>value
        Py_INCREF(value)
        Py_XDECREF(<PyObject *>old)  # the slot's reference; `old` is another
        self.live_from(slot, now, lifetime)
        ps_eviction_hit(&self.kept.eviction, slot)
        self.kept.removals[<int>cause] += 1
        if self._weigher is not None:
            ps_cache_reweigh(&self.kept, slot, weight, now)
            self.version += 1
        if self._on_remove is not None:
            notify(self._on_remove, held, old, CAUSES[<int>cause])
        if self.kept.removed != NONE:
            self.settle()
        return value

    cdef int reject(self, key, value) except -1:
        """Reports a value that is too heavy to be kept."""
        self.rejections += 1
        if self._on_remove is not None:
            notify(self._on_remove, key, value, CAUSES[<int>PS_SIZE])
        return 0

    cdef object remove(self, key):
        """Removes `key` on request; the value that it had, MISSING if it was not there or had expired."""
        cdef uint32_t hashed = ps_mixed_hash(hash_of(key))
        cdef int64_t now = self.begin()
        if self.computed:
            self._flights.forget(key)
        cdef uint32_t slot = find(self, key, hashed)
        if slot == NONE:
            return MISSING
        cdef bint live = not ps_cache_expired(&self.kept, slot, now)
        value = <object>ps_cache_slot(&self.kept, slot).value
        self.drop(slot, PS_EXPLICIT if live else PS_EXPIRED)
        return value if live else MISSING

    cdef int drop(self, uint32_t slot, ps_cause cause) except -1:
        ps_cache_remove(&self.kept, slot, cause)
        self.version += 1
        return self.settle()

    cdef int settle(self) except -1:
        """Reports whatever has left, in order, and lets it go: all of it can run any code."""
        cdef ps_removal gone
        while ps_cache_take_removed(&self.kept, &gone):
            key = <object>gone.key
            value = <object>gone.value
            Py_XDECREF(<PyObject *>key)  # the slot's references; ours are not lost if there is an error
            Py_XDECREF(<PyObject *>value)
            if self._on_remove is not None:
                notify(self._on_remove, key, value, CAUSES[<int>gone.cause])
        return 0

    cdef int settle_all(self) except -1:
        """The same after a call that may have removed none: then a search need not begin anew."""
        if self.kept.removed != NONE:
            self.version += 1
        return self.settle()

    cdef int shrink(self) except -1:
        cdef size_t before = ps_cache_bytes(&self.kept)
        if self.kept.removed == NONE:  # else a listener is at work below, and what waits keeps its slot
            ps_cache_shrink(&self.kept)  # without memory for it, what there is stays
        if ps_cache_bytes(&self.kept) != before:
            self.version += 1
        return 0

    cdef uint32_t find_by_comparing(self, key, uint32_t hashed) except? 0xFFFFFFFF:
        """The same for any keys. Comparing them may change the cache: then anew."""
        cdef ps_index_search search = ps_cache_begin(&self.kept, hashed)
        cdef uint32_t slot
        cdef uint64_t version = self.version
        cdef PyObject *held
        cdef bint equal
        while True:
            slot = ps_cache_next(&self.kept, hashed, &search)
            if slot == NONE:
                return NONE
            held = <PyObject *>ps_cache_slot(&self.kept, slot).key
            if held == <PyObject *>key:
                return slot
            equal = self.compare(held, key)
            if version != self.version:
                version = self.version
                search = ps_cache_begin(&self.kept, hashed)
            elif equal:
                return slot

    cdef bint compare(self, PyObject *held, key) except -1:
        """held == key, while it is held here too: the comparison may remove it from the cache."""
        holding = <object>held
        return PyObject_RichCompareBool(holding, key, Py_EQ)


MutableMapping.register(Cache)


cdef inline uint32_t find(Cache cache, key, uint32_t hashed) except? 0xFFFFFFFF:
    """The slot of `key`; NONE if it is not there."""
    cdef int unsure
    cdef uint32_t slot = find_at_once(&cache.kept, <PyObject *>key, hashed, &unsure)
    return cache.find_by_comparing(key, hashed) if unsure else slot


cdef inline int64_t time_left(int64_t deadline, int64_t now) noexcept:
    """Nanoseconds from `now` to a later `deadline`, NEVER if that does not come or lies beyond int64."""
    if deadline == NEVER or (now < 0 and deadline > NEVER + now):
        return NEVER
    return deadline - now


cdef void release(ps_cache *cache) noexcept:
    """Lets everything go that nobody can reach any more, and the memory."""
    cdef uint32_t slot
    for slot in range(cache.used):
        Py_XDECREF(<PyObject *>ps_cache_slot(cache, slot).key)
        Py_XDECREF(<PyObject *>ps_cache_slot(cache, slot).value)
    ps_cache_free(cache)


# ---- the garbage collector ----
#
# Cython writes traverse and dealloc for the attributes that are objects; ours come before them. Its clear
# would leave a cache that cannot be used, so ours takes its place: what it does not clear is not part of a cycle.

cdef extern from *:
    """
    static traverseproc traverse_attributes;
    static destructor dealloc_attributes;
    static size_t kept_offset;  /* of the kernel's struct in the object */
    static size_t weakrefs_offset;
    static void (*let_go_of)(PyObject *);

    static int traverse_cache(PyObject *self, visitproc visit, void *arg)
    {
        const ps_cache *cache = (const ps_cache *)((const char *)self + kept_offset);
        for (uint32_t slot = 0; slot < cache->used; slot++) {
            Py_VISIT((PyObject *)ps_cache_slot(cache, slot)->key);
            Py_VISIT((PyObject *)ps_cache_slot(cache, slot)->value);
        }
        return traverse_attributes(self, visit, arg);
    }

    static int clear_cache(PyObject *self)
    {
        let_go_of(self);
        return 0;
    }

    /* Weak references end before keys and values do: a destructor of theirs must not revive the cache. */
    static void dealloc_cache(PyObject *self)
    {
        PyObject_GC_UnTrack(self);
        Py_TRASHCAN_BEGIN(self, dealloc_cache) /* a cache in a cache in a cache takes no stack */
        if (*(PyObject **)((char *)self + weakrefs_offset) != NULL) PyObject_ClearWeakRefs(self);
        dealloc_attributes(self);
        Py_TRASHCAN_END
    }

    static void collect_cache_through(PyTypeObject *type, size_t kept, void (*let_go)(PyObject *))
    {
        kept_offset = kept;
        weakrefs_offset = (size_t)type->tp_weaklistoffset;
        let_go_of = let_go;
        traverse_attributes = type->tp_traverse;
        dealloc_attributes = type->tp_dealloc;
        type->tp_traverse = traverse_cache;
        type->tp_clear = clear_cache;
        type->tp_dealloc = dealloc_cache;
    }
    """
    ctypedef struct PyTypeObject
    void collect_cache_through(PyTypeObject *type, size_t kept, void (*let_go)(PyObject *) noexcept)


cdef void let_go(PyObject *dead) noexcept:
    """Breaks the cycles that a dead cache is part of. A destructor may still use it, and finds it empty."""
    cache = <Cache>dead
    cdef ps_cache cleared = cache.kept
    ps_cache_init(&cache.kept, cleared.eviction.policy, cleared.limit, cleared.max_weight, cleared.has_extras,
                  PYTHON_MEMORY)
    cache.version += 1
    cache._weigher = cache._on_remove = cache._clock = None
    release(&cleared)


cdef Cache sample = Cache()
cdef size_t offset_of_kept = <size_t>(<char *>&sample.kept - <char *><PyObject *>sample)
collect_cache_through(<PyTypeObject *>Cache, offset_of_kept, let_go)
sample = None
