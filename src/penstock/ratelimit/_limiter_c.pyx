"""Keyed rate limiter, compiled: the twin of _limiter_py.py over csrc/limiter.c and csrc/quotas.c.

Any Python code, a comparison of keys, a clock, a destructor, may use the limiter before it returns. So the
table changes in steps with nothing in between that can run such code: references to keys that were removed
are held until the table is whole, and `version` tells whether a slot is still the one that was found.
"""

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport Py_EQ, PyObject, PyObject_RichCompareBool, PyTypeObject, inquiry, traverseproc, visitproc
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from os import urandom

from penstock.clock import checked_clock
from penstock.ratelimit._batch import checked_batch, note_index
from penstock.ratelimit._decorator import limited
from penstock.ratelimit._limiter_py import (
    LimiterStats,
    acquired,
    checked_maxsize,
    checked_on_full,
    limiter_full,
    refuse_copy,
)
from penstock.ratelimit._lines import Lines
from penstock.ratelimit._quotas import ALGORITHMS, checked_algorithm, numbers_of
from penstock.ratelimit._waiting import checked_timeout
from penstock.ratelimit.errors import LimiterFull
from penstock.ratelimit.quota import checked_quotas, checked_units

from penstock.ratelimit._result_c cimport RateLimitResult, result_of

__all__ = ["RateLimiter"]

cdef extern from "Python.h":
    bint PyObject_IS_GC(PyObject *o)
    bint PyUnicode_CheckExact(PyObject *o)

cdef extern from "clock.h" nogil:
    int64_t ps_monotonic_ns()

cdef extern from "limiter.h" nogil:
    ctypedef enum ps_status:
        PS_OK
        PS_REFUSED
        PS_NO_MEMORY

    ctypedef struct ps_allocator:
        void *(*resize)(void *memory, size_t size)
        void (*release)(void *memory)

    ctypedef enum ps_algorithm:
        PS_TOKEN_BUCKET
        PS_SLIDING_WINDOW
        PS_SLIDING_COUNTER
        PS_FIXED_WINDOW

    ctypedef struct ps_pace:
        uint64_t speed
        int64_t token
        int64_t depth
        int64_t epoch

    ctypedef struct ps_window:
        int64_t period
        int64_t epoch
        uint32_t limit

    ctypedef struct ps_quota:
        ps_pace pace
        ps_window window
        uint32_t limit

    ctypedef struct ps_quotas:
        ps_algorithm algorithm
        unsigned count
        uint32_t most
        ps_quota *quotas

    ctypedef struct ps_verdict:
        unsigned which
        uint32_t remaining
        int64_t retry
        int64_t reset

    const unsigned PS_QUOTAS_MAX

    size_t ps_quotas_bytes(const ps_quotas *quotas)
    bint ps_quotas_take_tokens(const ps_quotas *quotas, int64_t *full_at, int64_t now, uint32_t n)
    ps_status ps_quotas_take(const ps_quotas *quotas, void *state, int64_t now, uint32_t n, ps_allocator allocator)
    int64_t ps_quotas_wait(const ps_quotas *quotas, const void *state, int64_t now, uint32_t n)
    ps_verdict ps_quotas_tightest(const ps_quotas *quotas, const void *state, int64_t now, uint32_t n)
    ps_verdict ps_quotas_scarcest(const ps_quotas *quotas, const void *state, int64_t now)
    uint32_t ps_quotas_used(const ps_quotas *quotas, const void *state, int64_t now)
    void ps_quotas_refund(const ps_quotas *quotas, void *state, int64_t now, uint32_t n)
    ps_status ps_quotas_charge(const ps_quotas *quotas, void *state, int64_t now, uint32_t used,
                               ps_allocator allocator)
    void ps_quotas_clear(const ps_quotas *quotas, void *state, ps_allocator allocator)
    size_t ps_quotas_owned(const ps_quotas *quotas, const void *state)

    ctypedef struct ps_limiter_slot:
        uint64_t hash
        void *key

    ctypedef struct ps_limiter:
        ps_quotas quotas
        uint32_t capacity
        uint32_t limit
        uint32_t size

    const uint32_t PS_LIMITER_STEPS
    const uint32_t PS_LIMITER_LOOKS

    void ps_limiter_init(ps_limiter *table, const ps_quotas *quotas, uint32_t limit, uint64_t seed,
                         ps_allocator allocator)
    void ps_limiter_free(ps_limiter *table)
    ps_limiter_slot *ps_limiter_slot_at(const ps_limiter *table, uint32_t at)
    void *ps_limiter_state(ps_limiter_slot *slot)
    ps_limiter_slot *ps_limiter_first(const ps_limiter *table, uint64_t hash)
    ps_limiter_slot *ps_limiter_next(const ps_limiter *table, uint64_t hash, ps_limiter_slot *slot)
    void ps_limiter_prefetch(const ps_limiter *table, uint64_t hash)
    ps_status ps_limiter_add(ps_limiter *table, uint64_t hash, void *key, ps_limiter_slot **slot)
    void ps_limiter_remove(ps_limiter *table, ps_limiter_slot *slot)
    uint32_t ps_limiter_sweep(ps_limiter *table, int64_t now, uint32_t steps, void **removed)
    void *ps_limiter_evict(ps_limiter *table, int64_t now, int64_t *soonest)
    int64_t ps_limiter_soonest(const ps_limiter *table, int64_t now)
    void ps_limiter_fit(ps_limiter *table)
    size_t ps_limiter_bytes(const ps_limiter *table)

cdef ps_allocator PYTHON_MEMORY = ps_allocator(PyMem_RawRealloc, PyMem_RawFree)  # seen by tracemalloc

cdef enum:
    BATCH = 64  # slots that are swept between two moments at which destructors may run
    AHEAD = 8  # keys of a batch whose slots are fetched before they are looked at

cdef enum OnFull:
    EVICT_IDLE
    REJECT
    RAISE

cdef object ONE = 1  # what the default argument is, so that allow(key) needs no arithmetic


cdef struct Removed:  # references to keys that are no longer in the table
    uint32_t count
    void *keys[17]  # PS_LIMITER_LOOKS, and one that is evicted


cdef void release(Removed *removed) noexcept:
    """Gives the references back; destructors may run, so the table is whole."""
    while removed.count > 0:
        removed.count -= 1
        Py_DECREF(<object>removed.keys[removed.count])


cdef inline int64_t units_of(n) except -1:
    """`n`, or what is as much too large or too small; the limit is checked by `checked`."""
    cdef int overflow = 0
    cdef int64_t units
    if n is ONE:
        return 1
    if type(n) is not int:
        checked_units(n, 0)
    units = PyLong_AsLongLongAndOverflow(n, &overflow)
    return INT64_MAX if overflow > 0 else 0 if overflow < 0 or units < 0 else units


cdef inline int checked(n, int64_t units, uint32_t most) except -1:
    if not 1 <= units <= most:
        checked_units(n, most)
    return 0


cdef int set_up(ps_quotas *kernel, int64_t *windows, quotas, algorithm, int64_t epoch) except -1:
    """Fills in what the kernel knows of quotas, and the nanoseconds of each one's window."""
    cdef unsigned i
    cdef ps_quota *each
    memset(kernel, 0, sizeof(ps_quotas))
    kernel.algorithm = <ps_algorithm><int>ALGORITHMS.index(algorithm)
    kernel.count = len(quotas)
    for i in range(kernel.count):
        numbers = numbers_of(quotas[i], algorithm)
        each = &kernel.quotas[i]
        each.limit = each.window.limit = numbers.limit
        each.window.period = windows[i] = numbers.window_ns
        each.pace.speed, each.pace.token, each.pace.depth = numbers.speed, numbers.token, numbers.depth
        each.pace.epoch = each.window.epoch = epoch
        if i == 0 or each.limit < kernel.most:
            kernel.most = each.limit
    return 0


cdef class Own:
    """The quotas that a key has of its own, and what it has used of them."""

    cdef ps_quotas quotas
    cdef int64_t windows[8]
    cdef void *state
    cdef bint gone  # no longer those of the key

    def __cinit__(self, quotas, algorithm, int64_t epoch):
        set_up(&self.quotas, self.windows, quotas, algorithm, epoch)
        self.state = PyMem_RawRealloc(NULL, ps_quotas_bytes(&self.quotas))
        if self.state == NULL:
            raise MemoryError()
        memset(self.state, 0, ps_quotas_bytes(&self.quotas))

    def __dealloc__(self):
        if self.state != NULL:
            ps_quotas_clear(&self.quotas, self.state, PYTHON_MEMORY)
            PyMem_RawFree(self.state)

    cdef int charge(self, uint32_t used, int64_t now) except -1:
        if ps_quotas_charge(&self.quotas, self.state, now, used, PYTHON_MEMORY) != PS_OK:
            raise MemoryError()
        return 0


cdef class RateLimiter:
    """RateLimiter(*quotas, algorithm="token_bucket", maxsize=1_000_000, on_full="evict_idle", shadow=False, clock=None)\n--\n
    A limit for each key: so many units in a time, the keys any hashable, as many as come.

    Several quotas are decided together: all of them have what is asked for, or nothing is taken of any.
    A result tells of the tightest one: the one with the longest wait, and if none has to wait, the one with
    the smallest share of its limit left; of equals the first.

    A key is known from its first request until it is idle, with nothing in use: an idle key decides as a new
    one does, so it is forgotten, some with each new key and all by `sweep()`. When `maxsize` keys are held
    and none of those next in turn is idle, `on_full` says what happens. A key that is limited now, with no
    unit left, is never forgotten, whatever comes. A newcomer that finds no room is refused (evict_idle,
    reject), and told when room may be found.

    Clocks that go back count as standing still. Threads may share a limiter; no lock is held while keys are
    compared, and no object or thread works in the background. A key costs 30 bytes (one token bucket, with
    `maxsize` keys) and the key object; there is a pause when the table doubles.

    Args:
        quotas: Quota objects, or strings such as `"100/second; burst=200"` or `"10/second, 1000/hour"`.
        algorithm: `token_bucket`; `sliding_window`, exact, 8 bytes a unit; `sliding_counter` and
            `fixed_window`, 16 bytes a key.
        maxsize: keys held at most, 1 to 2**30. As many again may have quotas of their own.
        on_full: `evict_idle` forgets the key that will be idle first of those that have a unit left, which
            then starts anew; `reject` refuses the newcomer; `raise` raises LimiterFull.
        shadow: count and report everything, refuse nothing; what would have been refused has a
            `retry_after`.
        clock: returns int nanoseconds; None for the monotonic clock of the system.

    Raises:
        ValueError: an argument is out of its range, or there is no or an impossible quota.
        TypeError: an argument has the wrong type.

    Source: ITU-T I.371, generic cell rate algorithm; see SlidingWindow and SlidingWindowCounter.
    """

    cdef ps_limiter table
    cdef uint64_t version  # changes whenever a slot is filled, emptied or moved
    cdef int64_t latest  # the latest moment seen: the clock does not go back behind it
    cdef int64_t allowed, refused, evicted, swept
    cdef int64_t windows[8]  # nanoseconds of each quota's window
    cdef bint plain  # token buckets, no key has quotas of its own, nobody waits
    cdef bint has_gc_keys  # a key was held that the collector looks into
    cdef bint shadows
    cdef OnFull full_policy
    cdef dict own  # key -> Own
    cdef object lines  # Lines, None as long as nobody has waited
    cdef object _quotas, _algorithm, _on_full, _clock, __weakref__

    def __cinit__(self, *args, **kwargs):
        cdef ps_quotas none
        memset(&none, 0, sizeof(none))
        none.count = 1
        self.own = {}
        ps_limiter_init(&self.table, &none, 1, 0, PYTHON_MEMORY)

    def __dealloc__(self):
        self.drop_keys(&self.table)

    def __init__(self, *quotas, algorithm="token_bucket", maxsize=1_000_000, on_full="evict_idle", shadow=False, clock=None):
        cdef ps_quotas kernel
        cdef int64_t windows[8]
        parsed = checked_quotas(quotas)
        algorithm = checked_algorithm(algorithm)
        cdef uint32_t limit = checked_maxsize(maxsize)
        on_full = checked_on_full(on_full)
        cdef bint shadows = bool(shadow)
        if clock is not None:
            clock = checked_clock(clock)
        cdef uint64_t seed = int.from_bytes(urandom(8), "little")
        cdef int64_t epoch = ps_monotonic_ns() if clock is None else clock()
        set_up(&kernel, windows, parsed, algorithm, epoch)

        cdef dict own = {}  # may start a collection, so it comes before the first look
        cdef dict old_own = self.own
        cdef ps_limiter before = self.table
        self.own = own
        ps_limiter_init(&self.table, &kernel, limit, seed, PYTHON_MEMORY)
        memcpy(self.windows, windows, sizeof(windows))
        self.version += 1
        self.latest = epoch
        self.allowed = self.refused = self.evicted = self.swept = 0
        self.plain = kernel.algorithm == PS_TOKEN_BUCKET
        self.shadows = shadows
        self.full_policy = {"evict_idle": EVICT_IDLE, "reject": REJECT, "raise": RAISE}[on_full]
        self._quotas, self._algorithm, self._on_full, self._clock = parsed, algorithm, on_full, clock
        self.lines = None
        self.drop_keys(&before)

    def __repr__(self):
        quotas = ", ".join(repr(str(quota)) for quota in self._quotas)
        return f"RateLimiter({quotas}, algorithm={self._algorithm!r}, maxsize={self.maxsize})"

    def __len__(self):
        return self.table.size + (0 if self.own is None else len(self.own))

    def __bool__(self):
        return True  # without keys, too

    @cython.critical_section
    def __sizeof__(self):
        cdef Own own
        size = object.__sizeof__(self) + ps_limiter_bytes(&self.table) + self.own.__sizeof__()
        for own in list(self.own.values()):
            size += sizeof(Own) + ps_quotas_bytes(&own.quotas) + ps_quotas_owned(&own.quotas, own.state)
        return size

    def __reduce__(self):
        refuse_copy()

    @property
    def quotas(self):
        """What every key is allowed that has no quotas of its own."""
        return self._quotas

    @property
    def algorithm(self):
        """How quotas are counted."""
        return self._algorithm

    @property
    def maxsize(self):
        """Keys held at most."""
        return self.table.limit

    @property
    def on_full(self):
        """What happens when there is no room for a key."""
        return self._on_full

    @property
    def shadow(self):
        """Whether nothing is refused."""
        return self.shadows

    @cython.critical_section
    def allow(self, key, n=1, /):
        """Takes `n` units of every quota of `key` if they are there; never waits.

        Args:
            key: any hashable.
            n: units, 1 to the smallest limit.

        Returns:
            True: they are taken. False: one quota has too few, or there is no room for the key, and nothing
            is taken.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: n is no int, or key is not hashable.
            LimiterFull: there is no room for the key, and on_full is raise.
        """
        cdef int64_t units = units_of(n)
        cdef Py_hash_t hashed = hash(key)
        cdef int64_t now = self.now()
        return self.decide(key, hashed, n, units, now)

    @cython.critical_section
    def check(self, key, n=1, /):
        """Takes `n` units as `allow` does, and tells how the tightest quota stands then.

        Args:
            key: any hashable.
            n: units, 1 to the smallest limit.

        Returns:
            Of a newcomer for whom there is no room, `retry_after` is when room may be found.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: n is no int, or key is not hashable.
            LimiterFull: there is no room for the key, and on_full is raise.
        """
        cdef int64_t units = units_of(n)
        cdef Py_hash_t hashed = hash(key)
        cdef int64_t now = self.now()
        return self.judge(key, hashed, n, units, now, True)

    @cython.critical_section
    def peek(self, key, /):
        """What `check` would find for one unit of `key`; takes none.

        Raises:
            TypeError: key is not hashable.
        """
        cdef Py_hash_t hashed = hash(key)
        cdef int64_t now = self.now()
        return self.judge(key, hashed, ONE, 1, now, False)

    @cython.critical_section
    def retry_after(self, key, n=1, /):
        """Seconds until `n` units of `key` are there if nobody takes any until then; takes none.

        Args:
            key: any hashable.
            n: units, 1 to the smallest limit.

        Returns:
            Seconds, 0.0 when `allow(key, n)` would succeed now, unless there is no room for the key; to the
            nanosecond when rounded to it.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: n is no int, or key is not hashable.
        """
        cdef int64_t units = units_of(n)
        cdef Py_hash_t hashed = hash(key)
        cdef int64_t now = self.now()
        cdef bint awaited = self.is_awaited(key)
        cdef Own own = self.own_of(key)
        cdef ps_limiter_slot *slot
        cdef int64_t wait = 0
        if own is not None:
            checked(n, units, own.quotas.most)
            wait = ps_quotas_wait(&own.quotas, own.state, now, <uint32_t>units)
        else:
            slot = self.find(key, hashed)
            checked(n, units, self.table.quotas.most)
            if slot != NULL:
                wait = ps_quotas_wait(&self.table.quotas, ps_limiter_state(slot), now, <uint32_t>units)
        if wait == 0 and awaited:
            wait = 1
        return <double>wait / 1e9

    @cython.critical_section
    def refund(self, key, n=1, /):
        """Gives back the last `n` units that `key` took; of each quota no more than are in use.

        Args:
            key: any hashable; one that is not known has nothing to get back.
            n: units, 1 to the smallest limit.

        Raises:
            ValueError: n is out of its range.
            TypeError: n is no int, or key is not hashable.
        """
        cdef int64_t units = units_of(n)
        cdef Py_hash_t hashed = hash(key)
        cdef int64_t now = self.now()
        cdef Own own = self.own_of(key)
        cdef ps_limiter_slot *slot
        if own is not None:
            checked(n, units, own.quotas.most)
            ps_quotas_refund(&own.quotas, own.state, now, <uint32_t>units)
            return
        slot = self.find(key, hashed)
        checked(n, units, self.table.quotas.most)
        if slot != NULL:
            ps_quotas_refund(&self.table.quotas, ps_limiter_state(slot), now, <uint32_t>units)

    def allow_many(self, keys, n=1, *, out=None):
        """As `allow(key, n)` for each of `keys`, in order, all at one moment.

        Args:
            keys: (k,) keys, in a list, a tuple or a numpy array; integers of an array count as ints.
            n: units for each.
            out: (k,) bool, contiguous: takes the answers; None for a new array.

        Returns:
            (k,) bool, `out` if there was one.

        Raises:
            ValueError: n is out of its range, or keys or out has the wrong shape.
            TypeError: n is no int, keys is no sequence, a key is not hashable, or out is no array of bool.
            LimiterFull: there is no room for a key, and on_full is raise.

        An error in the middle has a note that names the index; the keys before it are decided, with their
        answers in `out`.
        """
        cdef int64_t units = units_of(n)
        cdef Py_buffer buffer
        batch, answers = checked_batch(keys, out)
        PyObject_GetBuffer(answers, &buffer, PyBUF_WRITABLE)
        try:
            self.decide_all(batch, n, units, <char *>buffer.buf)
        finally:
            PyBuffer_Release(&buffer)
        return answers

    def acquire(self, key, n=1, /, *, timeout=None):
        """Waits until `n` units of `key` are there, and takes them; blocks the thread.

        First come, first served for each key: while somebody waits, `allow` and `check` are refused for that
        key.

        Args:
            key: any hashable.
            n: units, 1 to the smallest limit.
            timeout: seconds to wait at most; 0 for not at all, None for no end.

        Returns:
            True: taken. False: not within `timeout`, nothing is taken.

        Raises:
            ValueError: n or timeout is out of its range.
            TypeError: n is no int, timeout is no number, or key is not hashable.
            LimiterFull: there is no room for the key, and on_full is raise; or too many wait.
        """
        checked_timeout(timeout)
        return self._goes_at_once(key, n) or self._waiting().acquire(key, n, timeout)

    def acquire_async(self, key, n=1, /, *, timeout=None):
        """As `acquire`, while other tasks run. A cancelled wait takes nothing and lets the next one go.

        Args:
            key: any hashable.
            n: units, 1 to the smallest limit.
            timeout: seconds to wait at most; 0 for not at all, None for no end.

        Returns:
            To be awaited. True: taken. False: not within `timeout`, nothing is taken.

        Raises:
            ValueError: n or timeout is out of its range.
            TypeError: n is no int, timeout is no number, or key is not hashable.
            LimiterFull: there is no room for the key, and on_full is raise; or too many wait.
        """
        return acquired(self, key, n, timeout)

    @cython.critical_section
    def reset(self, key, /):
        """Forgets what `key` has used; its own quotas stay.

        Raises:
            TypeError: key is not hashable.
        """
        cdef Py_hash_t hashed = hash(key)
        cdef Own own = self.own_of(key)
        cdef ps_limiter_slot *slot
        if own is not None:
            ps_quotas_clear(&own.quotas, own.state, PYTHON_MEMORY)
            return
        slot = self.find(key, hashed)
        if slot != NULL:
            self.remove(slot)

    @cython.critical_section
    def clear(self):
        """Forgets what all keys have used, and their own quotas. What was counted stays."""
        cdef uint64_t seed = int.from_bytes(urandom(8), "little")
        cdef dict own = {}  # may start a collection, so it comes before the first look
        cdef dict old_own = self.own
        cdef ps_limiter before = self.table
        self.own = own
        ps_limiter_init(&self.table, &before.quotas, before.limit, seed, PYTHON_MEMORY)
        self.version += 1
        for each in old_own.values():
            (<Own>each).gone = True
        self.set_plain()
        self.drop_keys(&before)

    @cython.critical_section
    def sweep(self):
        """Forgets all keys that are idle and gives their memory back; O(keys).

        Returns:
            How many those were.
        """
        cdef int64_t now = self.now()
        cdef void *removed[BATCH]
        cdef uint32_t count, i
        cdef uint64_t steps = <uint64_t>self.table.capacity + self.table.size  # a removal is no step ahead
        cdef object swept = 0
        while steps > 0:
            count = ps_limiter_sweep(&self.table, now, <uint32_t>min(<uint64_t>BATCH, steps), removed)
            steps -= min(<uint64_t>BATCH, steps)
            if count == 0:
                continue
            self.version += 1
            self.swept += count
            swept += count
            for i in range(count):
                Py_DECREF(<object>removed[i])
        ps_limiter_fit(&self.table)
        self.version += 1
        return swept

    @cython.critical_section
    def set_quota(self, key, /, *quotas):
        """Gives `key` quotas of its own, which it keeps until `remove_quota` or `clear`.

        What it has used counts against them, of each no more than its limit: nobody gains by a change.

        Args:
            key: any hashable.
            quotas: as those of the limiter.

        Raises:
            ValueError: there is no or an impossible quota.
            TypeError: one is neither a Quota nor a string, or key is not hashable.
            LimiterFull: `maxsize` keys have quotas of their own.
        """
        parsed = checked_quotas(quotas)
        for quota in parsed:
            numbers_of(quota, self._algorithm)
        cdef Py_hash_t hashed = hash(key)
        cdef int64_t now = self.now()
        cdef Own fresh = Own(parsed, self._algorithm, now)
        cdef Own before = self.own_of(key)
        cdef dict own = self.own  # held: a comparison may put another in its place
        cdef ps_limiter_slot *slot = NULL
        cdef uint32_t used = 0
        if before is None:
            if len(own) >= self.table.limit:
                raise LimiterFull(f"maxsize {self.table.limit} keys have quotas of their own")
            own[key] = fresh  # compares keys, so what was used is read after it
            self.set_plain()
            slot = self.find(key, hashed)
            if slot != NULL:
                used = ps_quotas_used(&self.table.quotas, ps_limiter_state(slot), now)
        else:
            own[key] = fresh
            used = ps_quotas_used(&before.quotas, before.state, now)
            before.gone = True
        try:
            fresh.charge(used, now)
        except MemoryError:
            if before is None:
                own.pop(key, None)
                fresh.gone = True
                self.set_plain()
            else:
                own[key] = before
                before.gone = False
            raise
        if slot != NULL:
            self.remove(slot)

    @cython.critical_section
    def remove_quota(self, key, /):
        """Takes the own quotas of `key` away; what it has used counts against those of the limiter.

        Returns:
            Whether it had any.

        Raises:
            TypeError: key is not hashable.
            LimiterFull: there is no room for what it has used; its quotas stay.
        """
        cdef Py_hash_t hashed = hash(key)
        cdef int64_t now = self.now()
        cdef Own own = self.own_of(key)
        cdef dict others = self.own  # held: a comparison may put another in its place
        cdef ps_limiter_slot *slot
        cdef Removed removed
        cdef int64_t soonest = 0
        cdef uint32_t used
        if own is None:
            return False
        removed.count = 0
        try:
            slot = self.find(key, hashed)
            used = ps_quotas_used(&own.quotas, own.state, now)
            if slot == NULL and used > 0:
                slot = self.add(key, hashed, now, &removed, &soonest)
                if slot == NULL:
                    raise limiter_full(self.table.limit)
                if ps_quotas_charge(&self.table.quotas, ps_limiter_state(slot), now, used, PYTHON_MEMORY) != PS_OK:
                    self.remove(slot)
                    raise MemoryError()
        finally:
            release(&removed)
        others.pop(key, None)  # compares keys, and may fail
        own.gone = True
        self.set_plain()
        return True

    def limit(self, key=None, *, n=1, on_limited="raise"):
        """Decorates a function, or a coroutine function, so that each call takes `n` units first.

        Args:
            key: a hashable; or a function of the call's arguments that returns one; None for the function's
                own name.
            n: units that a call takes.
            on_limited: `raise` raises RateLimitExceeded; `wait` waits as `acquire` and `acquire_async` do.

        Returns:
            The decorator.

        Raises:
            ValueError: on_limited or n is none that there is.
            TypeError: key is neither callable nor hashable, or n is no int.
        """
        return limited(self, key, n, on_limited)

    @cython.critical_section
    def stats(self):
        """What was counted so far."""
        return LimiterStats(self.allowed, self.refused, len(self), self.evicted, self.swept)

    # ---- what a call comes down to ----

    cdef inline int64_t now(self) except? -1:
        """Nanoseconds that never go back."""
        cdef int64_t now = ps_monotonic_ns() if self._clock is None else <int64_t>self._clock()
        if now > self.latest:
            self.latest = now
        return self.latest

    cdef inline bint decide(self, key, Py_hash_t hashed, n, int64_t units, int64_t now) except -1:
        """Whether `n` units of `key` may go; takes and counts them."""
        cdef ps_limiter_slot *slot
        if self.plain:
            slot = self.find(key, hashed)
            if slot != NULL and self.plain and 1 <= units <= self.table.quotas.most:
                if ps_quotas_take_tokens(&self.table.quotas, <int64_t *>ps_limiter_state(slot), now, <uint32_t>units):
                    self.allowed += 1
                    return True
                self.refused += 1
                return self.shadows
        return self.decide_any(key, hashed, n, units, now, NULL)

    cdef bint decide_any(self, key, Py_hash_t hashed, n, int64_t units, int64_t now, ps_verdict *verdict) except -1:
        """The same in every case; fills in the verdict, when one is wanted."""
        cdef bint awaited = self.is_awaited(key)
        cdef Own own = self.own_of(key)
        cdef ps_quotas *quotas
        cdef ps_limiter_slot *slot
        cdef Removed removed
        cdef ps_status status
        cdef int64_t soonest = 0
        cdef void *state
        removed.count = 0
        if own is not None:
            checked(n, units, own.quotas.most)
            status = self.take(&own.quotas, own.state, now, <uint32_t>units, awaited, verdict)
            return self.counted(status)

        slot = self.find(key, hashed)
        quotas = &self.table.quotas
        checked(n, units, quotas.most)
        if slot == NULL and not awaited:
            slot = self.add(key, hashed, now, &removed, &soonest)
            if slot == NULL:
                release(&removed)
                return self.without_room(soonest, verdict)
            status = self.take(quotas, ps_limiter_state(slot), now, <uint32_t>units, False, verdict)
            if status == PS_NO_MEMORY:
                removed.keys[removed.count] = slot.key
                removed.count += 1
                ps_limiter_remove(&self.table, slot)
            release(&removed)
            return self.counted(status)
        if slot == NULL:
            return self.counted(self.refuse_unknown(quotas, verdict))
        return self.counted(self.take(quotas, ps_limiter_state(slot), now, <uint32_t>units, awaited, verdict))

    cdef inline ps_status take(self, ps_quotas *quotas, void *state, int64_t now, uint32_t units, bint awaited,
                               ps_verdict *verdict) noexcept:
        cdef ps_status status = PS_REFUSED
        if not awaited:
            status = ps_quotas_take(quotas, state, now, units, PYTHON_MEMORY)
        if verdict != NULL:
            if status == PS_OK:
                verdict[0] = ps_quotas_scarcest(quotas, state, now)
            else:
                verdict[0] = ps_quotas_tightest(quotas, state, now, units)
                if verdict.retry == 0:
                    verdict.retry = 1  # it has what is asked for, but others wait
        return status

    cdef ps_status refuse_unknown(self, ps_quotas *quotas, ps_verdict *verdict) noexcept:
        """A key that nothing is known of, but that others wait for."""
        if verdict != NULL:
            verdict[0] = ps_verdict(0, quotas.quotas[0].limit, 1, 0)
        return PS_REFUSED

    cdef inline bint counted(self, ps_status status) except -1:
        if status == PS_NO_MEMORY:
            raise MemoryError()
        if status == PS_OK:
            self.allowed += 1
            return True
        self.refused += 1
        return self.shadows

    cdef bint without_room(self, int64_t soonest, ps_verdict *verdict) except -1:
        if self.full_policy == RAISE:
            raise limiter_full(self.table.limit)
        if verdict != NULL:
            verdict[0] = ps_verdict(0, 0, soonest, soonest)
        return self.counted(PS_REFUSED)

    cdef RateLimitResult judge(self, key, Py_hash_t hashed, n, int64_t units, int64_t now, bint takes):
        """The result of a request; without `takes`, of one that is only imagined."""
        cdef ps_verdict verdict
        cdef ps_limiter_slot *slot
        cdef Own own
        cdef bint allowed
        if takes and self.plain:
            slot = self.find(key, hashed)
            if slot != NULL and self.plain and 1 <= units <= self.table.quotas.most:
                allowed = self.counted(self.take(&self.table.quotas, ps_limiter_state(slot), now,
                                                 <uint32_t>units, False, &verdict))
                return self.result(&self.table.quotas, self.windows, allowed, &verdict)
        own = self.own_of(key)
        if takes:
            allowed = self.decide_any(key, hashed, n, units, now, &verdict)
        else:
            self.look(key, hashed, now, own, &verdict)
            allowed = verdict.retry == 0 or self.shadows
        if own is not None:
            return self.result(&own.quotas, own.windows, allowed, &verdict)
        return self.result(&self.table.quotas, self.windows, allowed, &verdict)

    cdef int look(self, key, Py_hash_t hashed, int64_t now, Own own, ps_verdict *verdict) except -1:
        """What there is to say of one unit, without taking it."""
        cdef bint awaited = self.is_awaited(key)
        cdef ps_limiter_slot *slot
        cdef int64_t unused[32]
        if own is not None:
            verdict[0] = ps_quotas_tightest(&own.quotas, own.state, now, 1)
        else:
            slot = self.find(key, hashed)
            if slot != NULL:
                verdict[0] = ps_quotas_tightest(&self.table.quotas, ps_limiter_state(slot), now, 1)
            else:
                memset(unused, 0, sizeof(unused))
                verdict[0] = ps_quotas_tightest(&self.table.quotas, unused, now, 1)
        if awaited and verdict.retry == 0:
            verdict.retry = 1
        return 0

    cdef inline RateLimitResult result(self, ps_quotas *quotas, int64_t *windows, bint allowed, ps_verdict *verdict):
        cdef int64_t reset = verdict.reset
        if quotas.algorithm == PS_SLIDING_WINDOW and reset > 0:
            reset -= 1  # the time for which the newest hit still counts
        return result_of(allowed, quotas.quotas[verdict.which].limit, verdict.remaining, verdict.retry, reset,
                         windows[verdict.which])

    @cython.critical_section
    cdef int decide_all(self, tuple keys, n, int64_t units, char *answers) except -1:
        cdef int64_t now = self.now()
        cdef Py_ssize_t i = 0, count = len(keys)
        cdef PyObject *ahead
        try:
            for i in range(count):
                if i + AHEAD < count:
                    ahead = PyTuple_GET_ITEM(keys, i + AHEAD)
                    if PyUnicode_CheckExact(ahead):  # its hash runs no Python code
                        ps_limiter_prefetch(&self.table, hash(<str>ahead))
                key = <object>PyTuple_GET_ITEM(keys, i)
                answers[i] = self.decide(key, hash(key), n, units, now)
        except BaseException as error:
            note_index(error, i)
            raise
        return 0

    # ---- waiting ----

    cdef inline bint is_awaited(self, key) except -1:
        if self.lines is None:
            return False
        lines = self.lines  # held: the comparison of keys may put another in its place
        return lines.stand(key)

    def _goes_at_once(self, key, n, /):
        cdef int64_t units = units_of(n)
        cdef Py_hash_t hashed = hash(key)
        cdef int64_t now = self.now()
        if self.shadows:
            self.decide(key, hashed, n, units, now)
            return True
        return not self.is_awaited(key) and self._take_at(key, n, now) == 0

    @cython.critical_section
    def _waiting(self):
        if self.lines is None:
            made = Lines(self, checked_clock(self._clock), self.table.limit)
            if self.lines is None:
                self.lines = made
                self.set_plain()
        return self.lines

    @cython.critical_section
    def _take_at(self, key, n, int64_t at, /):
        """Takes at clock `at`, and returns 0; or returns the nanoseconds until it is worth asking again.

        `at` may lie in the past, for a key that somebody waits for: nobody else has taken any since then.
        """
        cdef int64_t units = units_of(n)
        cdef Py_hash_t hashed = hash(key)
        cdef Own own = self.own_of(key)
        cdef ps_quotas *quotas = &self.table.quotas
        cdef ps_limiter_slot *slot
        cdef void *state
        cdef Removed removed
        cdef ps_status status
        cdef int64_t soonest = 0, now = at
        removed.count = 0
        if own is not None:
            quotas = &own.quotas
            checked(n, units, quotas.most)
            state = own.state
            status = ps_quotas_take(quotas, state, now, <uint32_t>units, PYTHON_MEMORY)
        else:
            slot = self.find(key, hashed)
            checked(n, units, quotas.most)
            if slot == NULL:
                # a key that was forgotten is full since some moment before the latest one that was seen
                now = max(at, self.latest)
                slot = self.add(key, hashed, now, &removed, &soonest)
                if slot == NULL:
                    release(&removed)
                    if self.full_policy == RAISE:
                        raise limiter_full(self.table.limit)
                    return soonest
            state = ps_limiter_state(slot)
            status = ps_quotas_take(quotas, state, now, <uint32_t>units, PYTHON_MEMORY)
        if status == PS_OK:
            self.allowed += 1
        elif status == PS_REFUSED:
            soonest = ps_quotas_wait(quotas, state, now, <uint32_t>units)
        release(&removed)
        if status == PS_NO_MEMORY:
            raise MemoryError()
        return 0 if status == PS_OK else soonest

    # ---- own quotas ----

    cdef inline Own own_of(self, key):
        """The quotas of `key` alone, None when it has none."""
        if self.own is None or len(self.own) == 0:
            return None
        return self.own_among(key)

    cdef Own own_among(self, key):
        cdef dict own
        cdef Own found
        while True:
            own = self.own  # held: the comparison may put another in its place
            found = None if own is None else own.get(key)
            if found is None or not found.gone:  # else the comparison has taken them away: look again
                return found

    cdef inline void set_plain(self) noexcept:
        self.plain = (self.table.quotas.algorithm == PS_TOKEN_BUCKET and self.lines is None
                      and (self.own is None or len(self.own) == 0))

    # ---- the table; nothing below runs Python code but the comparison in `find` and `release` ----

    cdef inline ps_limiter_slot *find(self, key, Py_hash_t hashed) except? NULL:
        """The slot of `key`; NULL if it is not there."""
        cdef ps_limiter_slot *slot = ps_limiter_first(&self.table, hashed)
        if slot == NULL or slot.key == <void *>key:
            return slot
        return self.find_equal(key, hashed, slot)

    cdef ps_limiter_slot *find_equal(self, key, Py_hash_t hashed, ps_limiter_slot *slot) except? NULL:
        """The same from a slot on whose hash is the same."""
        cdef uint64_t version = self.version
        cdef bint equal
        while slot != NULL:
            if slot.key == <void *>key:
                return slot
            held = <object>slot.key
            equal = PyObject_RichCompareBool(held, key, Py_EQ)
            held = None  # its destructor may run here
            if version != self.version:  # the comparison has changed the table: start over
                version = self.version
                slot = ps_limiter_first(&self.table, hashed)
            elif equal:
                return slot
            else:
                slot = ps_limiter_next(&self.table, hashed, slot)
        return NULL

    cdef ps_limiter_slot *add(self, key, Py_hash_t hashed, int64_t now, Removed *removed, int64_t *soonest) except? NULL:
        """Adds a key that is not there; NULL if there is no room, and then in how many ns there may be.

        Keys that had to go are in `removed`, for the caller to release after the slot has been used.
        """
        cdef ps_limiter_slot *slot = NULL
        cdef bint full = self.table.size >= self.table.limit
        cdef void *victim
        removed.count = ps_limiter_sweep(&self.table, now, PS_LIMITER_LOOKS if full else PS_LIMITER_STEPS,
                                         removed.keys)
        self.swept += removed.count
        self.version += 1
        if self.table.size >= self.table.limit:
            if self.full_policy != EVICT_IDLE:
                soonest[0] = within_reason(ps_limiter_soonest(&self.table, now))
                return NULL
            victim = ps_limiter_evict(&self.table, now, soonest)
            if victim == NULL:
                soonest[0] = within_reason(soonest[0])
                return NULL
            self.evicted += 1
            removed.keys[removed.count] = victim
            removed.count += 1
        if ps_limiter_add(&self.table, hashed, <void *>key, &slot) != PS_OK:
            release(removed)
            raise MemoryError()
        Py_INCREF(key)
        if PyObject_IS_GC(<PyObject *>key):
            self.has_gc_keys = True
        return slot

    cdef int remove(self, ps_limiter_slot *slot) except -1:
        cdef void *key = slot.key
        ps_limiter_remove(&self.table, slot)
        self.version += 1
        Py_DECREF(<object>key)
        return 0

    cdef void drop_keys(self, ps_limiter *table) noexcept:
        """Frees a table, which is empty from then on, and its keys."""
        cdef ps_limiter before = table[0]
        cdef uint32_t at
        ps_limiter_init(table, &before.quotas, before.limit, 0, PYTHON_MEMORY)
        self.version += 1
        for at in range(before.capacity):
            if ps_limiter_slot_at(&before, at).key != NULL:
                Py_DECREF(<object>ps_limiter_slot_at(&before, at).key)
        ps_limiter_free(&before)


cdef inline int64_t within_reason(int64_t soonest) noexcept:
    """At least a nanosecond, and a second when nothing is known."""
    return 1_000_000_000 if soonest == INT64_MAX else max(soonest, 1)


# ---- the collector: Cython shows it the attributes, and does not know of the keys in the table ----

ctypedef int (*traversal)(PyObject *, visitproc, void *) noexcept
ctypedef int (*clearing)(PyObject *) noexcept

cdef traversal traverse_attributes = NULL
cdef clearing clear_attributes = NULL


cdef int traverse(PyObject *self, visitproc visit, void *arg) noexcept:
    cdef ps_limiter *table = &(<RateLimiter>self).table
    cdef uint32_t at
    cdef int status
    if (<RateLimiter>self).has_gc_keys:
        for at in range(table.capacity):
            if ps_limiter_slot_at(table, at).key != NULL:
                status = visit(<PyObject *>ps_limiter_slot_at(table, at).key, arg)
                if status != 0:
                    return status
    return traverse_attributes(self, visit, arg)


cdef int clear(PyObject *self) noexcept:
    cdef RateLimiter limiter = <RateLimiter>self
    limiter.drop_keys(&limiter.table)
    return clear_attributes(self)


cdef void show_keys_to_the_collector(PyTypeObject *cls) noexcept:
    global traverse_attributes, clear_attributes
    traverse_attributes = <traversal>cls.tp_traverse
    clear_attributes = <clearing>cls.tp_clear
    cls.tp_traverse = <traverseproc>traverse
    cls.tp_clear = <inquiry>clear


show_keys_to_the_collector(<PyTypeObject *>RateLimiter)
