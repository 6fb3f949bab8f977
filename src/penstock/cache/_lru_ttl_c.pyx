"""LRU cache with time to live, compiled: the twin of _lru_ttl_py.py over csrc/lru_ttl.c.

Any Python code, a comparison of keys, a clock, a destructor, may use the cache before it returns. So
the kernel and the list of keys and values change together, with nothing in between that can run such
code: what leaves the list is held by a local variable until then, and `version` tells whether a slot
is still the one that was found.
"""

cimport cython
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport Py_EQ, PyObject, PyObject_RichCompareBool
from libc.stdint cimport int64_t, uint32_t, uint64_t

from collections.abc import KeysView, Mapping, MutableMapping
from types import GenericAlias

from penstock.cache._lru_ttl_py import (
    MISSING,
    CacheItems,
    CacheStats,
    CacheValues,
    RemovalCause,
    checked_default,
    checked_lifetime,
    checked_maxsize,
    checked_on_remove,
    notify,
    refuse_copy,
)
from penstock.clock import checked_clock

__all__ = ["LRUCache"]

cdef extern from "clock.h" nogil:
    int64_t ps_monotonic_ns()

cdef extern from "lru_ttl.h" nogil:
    ctypedef enum ps_status:
        PS_OK

    ctypedef struct ps_allocator:
        void *(*resize)(void *memory, size_t size)
        void (*release)(void *memory)

    ctypedef struct ps_lru:
        uint32_t limit
        uint32_t used
        uint32_t size
        uint32_t oldest

    const uint32_t NONE "PS_LRU_NONE"
    const int64_t NEVER "PS_LRU_NEVER"

    void ps_lru_init(ps_lru *lru, uint32_t limit, ps_allocator allocator)
    void ps_lru_free(ps_lru *lru)
    uint32_t ps_lru_first(const ps_lru *lru, uint64_t hash, uint32_t *at)
    uint32_t ps_lru_next(const ps_lru *lru, uint64_t hash, uint32_t *at)
    ps_status ps_lru_add(ps_lru *lru, uint64_t hash, int64_t deadline, uint32_t *slot)
    void ps_lru_remove(ps_lru *lru, uint32_t slot)
    void ps_lru_touch(ps_lru *lru, uint32_t slot)
    void ps_lru_expire_at(ps_lru *lru, uint32_t slot, int64_t deadline)
    bint ps_lru_expired(const ps_lru *lru, uint32_t slot, int64_t now)
    uint32_t ps_lru_newer(const ps_lru *lru, uint32_t slot)
    size_t ps_lru_bytes(const ps_lru *lru)

cdef ps_allocator PYTHON_MEMORY = ps_allocator(PyMem_RawRealloc, PyMem_RawFree)  # seen by tracemalloc

cdef object EXPLICIT = RemovalCause.EXPLICIT
cdef object REPLACED = RemovalCause.REPLACED
cdef object SIZE = RemovalCause.SIZE
cdef object EXPIRED = RemovalCause.EXPIRED
cdef object CLEARED = RemovalCause.CLEARED


cdef inline int64_t deadline_after(int64_t now, int64_t lifetime) noexcept:
    """The nanosecond at which what is stored `now` expires, NEVER if that lies beyond int64."""
    if lifetime == NEVER or now > NEVER - lifetime:
        return NEVER
    return now + lifetime


@cython.collection_type("mapping")
cdef class LRUCache:
    """LRUCache(maxsize, *, ttl=None, on_remove=None, clock=None)\n--\n
    A mapping of at most `maxsize` entries that forgets the least recently used ones.

    Storing and looking up by `c[key]`, `get` and `setdefault` are uses. `in`, iteration, `keys()`,
    `values()`, `items()` and `==` are not: they count nothing, change nothing, show no expired entry,
    and go from the least to the most recently used over what was there when they began.

    An entry expires at the nanosecond at which its time to live is over, and is gone for every caller
    from then on. Its memory is freed when the cache comes across it: on a lookup, as the next to be
    evicted, or by `expire()`. Until then `len()` counts it. The clock is not read before the first
    entry with a time to live is stored.

    `dict(cache)` looks up every key, as it does with any mapping; `dict(cache.items())` only looks on.

    Every operation is O(1), but for iteration, `clear` and `expire`. Threads may share a cache; no lock
    is held while keys are compared or `on_remove` runs, so both may use the cache themselves. Each
    removed value is reported once. Memory grows with the entries, not with `maxsize`.

    Args:
        maxsize: entries held at most, >= 1.
        ttl: time to live of an entry from when it is stored, seconds or timedelta, > 0; None for ever.
        on_remove: called as `on_remove(key, value, cause)` after an entry has left, when the cache is
            ready for use again; cause is a `RemovalCause`. What it raises goes to sys.unraisablehook.
        clock: returns int nanoseconds that do not go back; None for the monotonic clock of the system.

    Raises:
        ValueError: maxsize or ttl is out of its range.
        TypeError: an argument has the wrong type.

    Source: Mattson et al., Evaluation Techniques for Storage Hierarchies, IBM Systems Journal 9(2), 1970.
    """

    cdef ps_lru lru
    cdef list entries  # key and value of slot n at 2 n and 2 n + 1; a list, for the collector to look into
    cdef uint64_t version  # changes whenever a slot is handed out or taken back
    cdef int64_t lifetime
    cdef bint timed  # an entry has had a deadline
    cdef Py_ssize_t hits, misses, evictions, expirations
    cdef object _ttl, _on_remove, _clock, __weakref__

    __class_getitem__ = classmethod(GenericAlias)
    __hash__ = None
    __reversed__ = None

    def __cinit__(self):
        self.entries = []
        ps_lru_init(&self.lru, 1, PYTHON_MEMORY)

    def __dealloc__(self):
        ps_lru_free(&self.lru)

    def __init__(self, maxsize, *, ttl=None, on_remove=None, clock=None):
        cdef uint32_t limit = checked_maxsize(maxsize)
        cdef int64_t lifetime = checked_lifetime(ttl)
        checked_on_remove(on_remove)
        if clock is not None:
            clock = checked_clock(clock)
        self.start_over(limit)
        self.lifetime = lifetime
        self.timed = False
        self.hits = self.misses = self.evictions = self.expirations = 0
        self._ttl = ttl
        self._on_remove = on_remove
        self._clock = clock

    def __repr__(self):
        return f"LRUCache(maxsize={self.lru.limit}, ttl={self._ttl!r})"

    def __sizeof__(self):
        return object.__sizeof__(self) + ps_lru_bytes(&self.lru) + (self.entries or []).__sizeof__()

    def __reduce__(self):
        refuse_copy()

    @property
    def maxsize(self):
        """Entries held at most."""
        return self.lru.limit

    @property
    def ttl(self):
        """Time to live of entries that are stored without their own, as it was given."""
        return self._ttl

    def __len__(self):
        return self.lru.size

    def __contains__(self, key):
        return self._peek(key) is not MISSING

    def __iter__(self):
        return iter(self.live_entries()[::2])

    def __eq__(self, other):
        if not isinstance(other, Mapping):
            return NotImplemented
        return dict(self.items()) == dict(other.items())

    def keys(self):
        """D.keys() -> a set-like object providing a view on D's keys"""
        return KeysView(self)

    def items(self):
        """The pairs, least recently used first; looking at them is no use of them."""
        return CacheItems(self)

    def values(self):
        """The values, least recently used first; looking at them is no use of them."""
        return CacheValues(self)

    @cython.critical_section
    def __getitem__(self, key):
        cdef uint32_t slot = self.lookup(key)
        if slot == NONE:
            raise KeyError(key)
        return self.entries[2 * slot + 1]

    @cython.critical_section
    def get(self, key, default=None, /):
        """The value of `key`, or `default`; counts a hit or a miss, and a hit is a use."""
        cdef uint32_t slot = self.lookup(key)
        return default if slot == NONE else self.entries[2 * slot + 1]

    @cython.critical_section
    def __setitem__(self, key, value):
        self.store(key, value, self.lifetime, False)

    @cython.critical_section
    def set(self, key, value, *, ttl=...):
        """Stores `value` under `key` as the most recently used; evicts when there is no room.

        Args:
            key: any hashable.
            value: anything, None too.
            ttl: time to live of this entry, seconds or timedelta, > 0; None for ever; `...` for the
                cache's own.

        Raises:
            ValueError: ttl is out of its range.
            TypeError: key is not hashable, or ttl is no time.
        """
        self.store(key, value, self.lifetime if ttl is ... else checked_lifetime(ttl), False)

    @cython.critical_section
    def setdefault(self, key, default=None, /):
        """The value of `key`; if there is none, `default`, which is stored. Counts a hit or a miss."""
        cdef uint32_t slot = self.lookup(key)
        return self.store(key, default, self.lifetime, True) if slot == NONE else self.entries[2 * slot + 1]

    update = MutableMapping.update

    @cython.critical_section
    def __delitem__(self, key):
        if self.remove(key) is MISSING:
            raise KeyError(key)

    @cython.critical_section
    def delete(self, key, /):
        """Removes `key`; False if it is not there. Counts no lookup."""
        return self.remove(key) is not MISSING

    @cython.critical_section
    def pop(self, key, /, *default):
        """Removes `key` and returns its value; if it is not there, the default. Counts no lookup.

        Raises:
            KeyError: key is not there and no default was given.
        """
        checked_default(default)
        value = self.remove(key)
        if value is not MISSING:
            return value
        if default:
            return default[0]
        raise KeyError(key)

    @cython.critical_section
    def popitem(self):
        """Removes the least recently used entry and returns its key and value.

        Raises:
            KeyError: the cache is empty.
        """
        cdef int64_t now = self.begin()
        cdef uint32_t slot
        cdef bint live
        while self.lru.size > 0:
            slot = self.lru.oldest
            live = not ps_lru_expired(&self.lru, slot, now)
            key, value = self.entries[2 * slot], self.entries[2 * slot + 1]
            self.vacate(slot)
            self.report(key, value, EXPLICIT if live else EXPIRED)
            if live:
                return key, value
        raise KeyError("popitem(): cache is empty")

    @cython.critical_section
    def clear(self):
        """Removes all entries, each with cause CLEARED. What was counted stays."""
        self.begin()
        cdef list fresh = []  # may start a collection, so it comes before the first look
        cdef list entries = self.entries
        cdef ps_lru removed = self.lru
        cdef uint32_t slot = removed.oldest
        self.entries = fresh
        ps_lru_init(&self.lru, removed.limit, PYTHON_MEMORY)
        self.version += 1
        try:
            while slot != NONE:
                self.report(entries[2 * slot], entries[2 * slot + 1], CLEARED)
                slot = ps_lru_newer(&removed, slot)
        finally:
            ps_lru_free(&removed)

    @cython.critical_section
    def expire(self):
        """Removes all entries that have expired and frees their memory; O(size).

        Returns:
            How many those were.
        """
        cdef int64_t now = self.begin()
        cdef list removed = []  # may start a collection, so it comes before the walk; appending does not
        cdef uint32_t slot = self.lru.oldest, newer
        cdef Py_ssize_t i
        try:
            while slot != NONE:
                newer = ps_lru_newer(&self.lru, slot)
                if ps_lru_expired(&self.lru, slot, now):
                    removed.append(self.entries[2 * slot])
                    removed.append(self.entries[2 * slot + 1])
                    self.vacate(slot)
                slot = newer
        finally:
            for i in range(0, len(removed) - 1, 2):
                self.report(removed[i], removed[i + 1], EXPIRED)
        return len(removed) // 2

    @cython.critical_section
    def stats(self):
        """What was counted so far, and the size."""
        return CacheStats(
            self.hits, self.misses, self.evictions, self.expirations, self.lru.size, self.lru.limit
        )

    # ---- what a call comes down to ----

    cdef inline int64_t begin(self) except? -1:
        """Nanoseconds; not read while nothing can expire. Afterwards the entries are there."""
        cdef int64_t now = 0
        if self.timed:
            now = ps_monotonic_ns() if self._clock is None else <int64_t>self._clock()
        if self.entries is None or PyList_GET_SIZE(self.entries) < 2 * <Py_ssize_t>self.lru.used:
            self.start_over(self.lru.limit)  # the collector has cleared them, and a destructor is calling
        return now

    cdef inline uint32_t lookup(self, key) except? NONE:
        """The slot of `key`, used now, NONE if it is not there; counts a hit or a miss."""
        cdef Py_hash_t hashed = hash(key)
        cdef int64_t now = self.begin()
        cdef uint32_t slot = self.find(key, hashed)
        if slot != NONE and not ps_lru_expired(&self.lru, slot, now):
            ps_lru_touch(&self.lru, slot)
            self.hits += 1
            return slot
        self.misses += 1
        if slot != NONE:
            self.drop(slot, now)
        return NONE

    @cython.critical_section
    def _peek(self, key):
        cdef Py_hash_t hashed = hash(key)
        cdef int64_t now = self.begin()
        cdef uint32_t slot = self.find(key, hashed)
        if slot == NONE or ps_lru_expired(&self.lru, slot, now):
            return MISSING
        return self.entries[2 * slot + 1]

    def _snapshot(self):
        cdef list entries = self.live_entries()
        return list(zip(entries[::2], entries[1::2]))

    @cython.critical_section
    cdef list live_entries(self):
        """Key, value, key, value ... of what has not expired, least recently used first."""
        cdef int64_t now = self.begin()
        cdef list live = []  # may start a collection, so it comes before the walk; appending does not
        cdef uint32_t slot = self.lru.oldest
        while slot != NONE:
            if not ps_lru_expired(&self.lru, slot, now):
                live.append(self.entries[2 * slot])
                live.append(self.entries[2 * slot + 1])
            slot = ps_lru_newer(&self.lru, slot)
        return live

    cdef object store(self, key, value, int64_t lifetime, bint keep):
        """Stores `value` for `lifetime` ns, with `keep` only if there is none; what is there now."""
        cdef Py_hash_t hashed = hash(key)
        if lifetime != NEVER:
            self.timed = True
        cdef int64_t now = self.begin()
        cdef int64_t deadline = deadline_after(now, lifetime)
        cdef uint32_t slot = self.find(key, hashed)
        if slot == NONE:
            self.insert(key, value, hashed, deadline, now)
            return value

        cdef bint live = not ps_lru_expired(&self.lru, slot, now)
        held, old = self.entries[2 * slot], self.entries[2 * slot + 1]
        if live and keep:
            return old
        self.entries[2 * slot + 1] = value
        ps_lru_expire_at(&self.lru, slot, deadline)
        ps_lru_touch(&self.lru, slot)
        self.report(held, old, REPLACED if live else EXPIRED)
        return value

    cdef int insert(self, key, value, Py_hash_t hashed, int64_t deadline, int64_t now) except -1:
        """Adds a key that is not there; the least recently used one makes room for it."""
        if self.lru.size < self.lru.limit:
            self.add(key, value, hashed, deadline)
            return 0
        cdef uint32_t oldest = self.lru.oldest
        held, old = self.entries[2 * oldest], self.entries[2 * oldest + 1]
        cause = EXPIRED if ps_lru_expired(&self.lru, oldest, now) else SIZE
        ps_lru_remove(&self.lru, oldest)
        self.add(key, value, hashed, deadline)  # gets the slot just taken back, which cannot fail
        self.report(held, old, cause)
        return 0

    cdef object remove(self, key):
        """Removes `key`; the value that it had, MISSING if it was not there."""
        cdef Py_hash_t hashed = hash(key)
        cdef int64_t now = self.begin()
        cdef uint32_t slot = self.find(key, hashed)
        if slot == NONE:
            return MISSING
        return self.drop(slot, now)

    cdef object drop(self, uint32_t slot, int64_t now):
        """Removes an entry on request and reports it; its value, MISSING if it had expired."""
        cdef bint live = not ps_lru_expired(&self.lru, slot, now)
        key, value = self.entries[2 * slot], self.entries[2 * slot + 1]
        self.vacate(slot)
        self.report(key, value, EXPLICIT if live else EXPIRED)
        return value if live else MISSING

    cdef inline int report(self, key, value, cause) except -1:
        if cause is SIZE:
            self.evictions += 1
        elif cause is EXPIRED:
            self.expirations += 1
        if self._on_remove is not None:
            notify(self._on_remove, key, value, cause)
        return 0

    # ---- kernel and list together; nothing below runs Python code but the comparison in `find` ----

    cdef inline uint32_t find(self, key, Py_hash_t hashed) except? NONE:
        """The slot of `key`; NONE if it is not there."""
        cdef uint32_t at, slot = ps_lru_first(&self.lru, hashed, &at)
        cdef uint64_t version = self.version
        cdef bint equal
        while slot != NONE:
            if PyList_GET_ITEM(self.entries, 2 * slot) == <PyObject *>key:
                return slot
            equal = PyObject_RichCompareBool(self.entries[2 * slot], key, Py_EQ)
            if version != self.version:  # the comparison has changed the cache: start over
                version = self.version
                slot = ps_lru_first(&self.lru, hashed, &at)
            elif equal:
                return slot
            else:
                slot = ps_lru_next(&self.lru, hashed, &at)
        return NONE

    cdef inline int add(self, key, value, Py_hash_t hashed, int64_t deadline) except -1:
        cdef uint32_t slot
        while PyList_GET_SIZE(self.entries) < 2 * (<Py_ssize_t>self.lru.size + 1):
            self.entries.append(None)  # first: it may fail, and then there is nothing to undo
        if ps_lru_add(&self.lru, hashed, deadline, &slot) != PS_OK:
            raise MemoryError()
        self.entries[2 * slot] = key
        self.entries[2 * slot + 1] = value
        self.version += 1
        return 0

    cdef inline void vacate(self, uint32_t slot) noexcept:
        """Takes a slot back whose key and value the caller holds."""
        self.entries[2 * slot] = None
        self.entries[2 * slot + 1] = None
        ps_lru_remove(&self.lru, slot)
        self.version += 1

    cdef int start_over(self, uint32_t limit) except -1:
        """Forgets everything, without a report."""
        cdef list fresh = []  # may start a collection, so it comes before the first look
        cdef list forgotten = self.entries  # held until all is in place again
        self.entries = fresh
        ps_lru_free(&self.lru)
        ps_lru_init(&self.lru, limit, PYTHON_MEMORY)
        self.version += 1
        return 0


MutableMapping.register(LRUCache)
