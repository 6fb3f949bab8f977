"""Shared limiter, compiled: the twin of _shared_limiter_py.py over csrc/shared_limiter.c.

The kernel waits for nobody, so calls need no lock here either. The memory stays mapped until the object is
deallocated, when no call can be under way: close() only turns later calls away.
"""

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from os import close as close_file

from penstock.clock import checked_clock
from penstock.errors import InvalidType
from penstock.ratelimit._batch import checked_batch, note_index
from penstock.ratelimit._quotas import numbers_of
from penstock.ratelimit._decorator import limited
from penstock.ratelimit._lines import Lines
from penstock.ratelimit._copying import refuse_copy
from penstock.ratelimit._shared_file import (
    HEADER_BYTES,
    TURNED_AWAY_AT,
    SharedFileError,
    checked_slots,
    open_shared_file,
)
from penstock.ratelimit._shared_limiter_py import (
    OPEN,
    PAUSE,
    SharedStats,
    acquired,
    checked_fixed,
    closed,
    encoded,
)
from penstock.ratelimit._waiting import checked_timeout
from penstock.ratelimit.quota import checked_quotas, checked_units

from penstock.ratelimit._result_c cimport RateLimitResult, result_of

__all__ = ["SharedRateLimiter"]

cdef extern from "Python.h":
    bint PyUnicode_CheckExact(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

cdef extern from "clock.h" nogil:
    int64_t ps_monotonic_ns()

cdef extern from "shared_limiter.h" nogil:
    ctypedef struct ps_pace:
        uint64_t speed
        int64_t token
        int64_t depth
        int64_t epoch

    int64_t ps_pace_tick(const ps_pace *pace, int64_t now)
    int64_t ps_pace_wait(const ps_pace *pace, int64_t full_at, int64_t now, int64_t cost)

    const uint32_t MAX_QUOTAS "PS_SHARED_QUOTAS"

    ctypedef struct ps_shared_cell:
        pass

    ctypedef struct counter "_Atomic uint64_t":
        pass

    ctypedef struct ps_shared:
        ps_shared_cell *cells
        counter *turned_away
        uint64_t slots
        uint64_t secret[2]
        uint32_t quotas
        ps_pace paces[8]

    ctypedef struct ps_shared_key:
        pass

    ctypedef enum ps_shared_answer:
        PS_SHARED_ALLOWED
        PS_SHARED_LIMITED
        PS_SHARED_OWING
        PS_SHARED_ABSENT
        PS_SHARED_CLAIMED
        PS_SHARED_FULL

    ctypedef struct ps_shared_trace:
        int64_t full_at[8]

    bint ps_shared_supported()
    ps_shared_key ps_shared_locate(const ps_shared *table, uint64_t kind, const void *bytes, size_t length)
    ps_shared_answer ps_shared_take(
        const ps_shared *table, ps_shared_key key, int64_t now, int64_t n, ps_shared_trace *trace)
    bint ps_shared_give_back(
        const ps_shared *table, int64_t now, int64_t later, int64_t n, ps_shared_trace *trace)
    ps_shared_answer ps_shared_claim(
        const ps_shared *table, ps_shared_key key, int64_t now, ps_shared_trace *trace)
    void ps_shared_move_in(const ps_shared *table, int64_t now, const ps_shared_trace *trace)
    ps_shared_answer ps_shared_read(const ps_shared *table, ps_shared_key key, ps_shared_trace *trace)
    void ps_shared_refund(const ps_shared *table, ps_shared_key key, int64_t now, int64_t n)
    void ps_shared_reset(const ps_shared *table, ps_shared_key key)
    int64_t ps_shared_room(const ps_shared *table, ps_shared_key key, int64_t now)
    uint64_t ps_shared_sweep(const ps_shared *table, int64_t now)
    uint64_t ps_shared_live(const ps_shared *table, int64_t now)
    uint64_t ps_shared_turned_away(const ps_shared *table)

cdef object ONE = 1  # what the default argument is, so that allow(key) needs no arithmetic

cdef uint64_t STR = 1  # kinds of keys, as the fallback's encoded() has them
cdef uint64_t BYTES = 2

cdef int ATTEMPTS = 1000  # to move in: one fails only when the key was moved out again at once


cdef RateLimitResult behind_line(RateLimitResult result):
    """Of a key that somebody waits for: whoever does not wait is refused, for a moment at least."""
    if not result._allowed:
        return result
    return result_of(
        False, result._limit, result._remaining, 1, max(result._reset_ns, 1), result._window_ns)


cdef class SharedRateLimiter:
    """SharedRateLimiter(*quotas, path, slots=65536, clock=None)\n--\n
    Limits for each key that several processes of one host share exactly, through one file.

    Every process opens the same `path` with the same quotas, before or after a fork. A process may be
    killed at any moment: no other waits for it, and it takes at most what its last request would have
    taken. Threads may share a limiter.

    Each quota is a token bucket; several are decided together or not at all. A key is hashed with a
    secret of the file. The table does not grow: a key that has all its tokens back gives its slot to
    another, one that has not is never forgotten, and a newcomer that finds no slot is refused and counted
    in `stats().turned_away`. About twice as many slots as keys are limited at one time are right.

    A file of an earlier boot is replaced by a new one. Every other file that does not fit is refused.

    Args:
        quotas: Quota or str such as "10/second, 1000/hour", 1 to 8 of them.
        path: the file; made with mode 0600 if there is none. Its directory should be on tmpfs, as /run and
            /dev/shm are, and writable by this user alone: a program that truncates the file kills those
            that use it.
        slots: keys that can be limited at one time, 32 to 2**26 and a multiple of 16; each needs 16 bytes
            for each quota.
        clock: returns int nanoseconds that do not go back, the same in all processes; None for the
            monotonic clock of the system, which stands still while the host is suspended.

    Raises:
        ValueError: a quota or `slots` is out of its range.
        TypeError: an argument is of a wrong type.
        SharedFileError: the file cannot be made, or is none of ours: another owner or mode, a link, damaged,
            of other quotas, slots, clock or version, or made by the other twin. An OSError.

    Source: ITU-T I.371, generic cell rate algorithm; Purcell and Harris, Non-blocking hashtables with open
    addressing, 2005.
    """

    cdef ps_shared table
    cdef int64_t most
    cdef int64_t limits[8]
    cdef int64_t windows[8]
    cdef Py_buffer memory  # a view, which keeps the file mapped
    cdef bint mapped, closed
    cdef object _quotas, _path, _clock
    cdef object lines  # Lines, None as long as nobody has waited
    cdef object __weakref__

    def __init__(self, *quotas, path, slots=65_536, clock=None):
        if self.mapped:
            raise InvalidType("a SharedRateLimiter is initialised once")
        checked = checked_quotas(quotas)
        size = checked_slots(slots)
        real_clock = checked_clock(clock)
        now = real_clock()
        if not ps_shared_supported():
            raise SharedFileError("a compiled shared limiter needs a processor that swaps 16 bytes at once;"
                                  " PENSTOCK_IMPL=py does without")
        file = open_shared_file(path, checked, size, compiled=True, own_clock=clock is not None, epoch=now)
        close_file(file.fd)  # the mapping does not need it
        numbers = [numbers_of(quota, "token_bucket") for quota in checked]
        if self.mapped:  # by the clock, or another thread
            raise InvalidType("a SharedRateLimiter is initialised once")
        PyObject_GetBuffer(file.memory, &self.memory, PyBUF_WRITABLE)
        self.mapped = True
        self._quotas = checked
        self._path = path
        self._clock = None if clock is None else real_clock
        self.most = min(quota.burst for quota in checked)
        self.table.cells = <ps_shared_cell *>(<char *>self.memory.buf + <size_t>HEADER_BYTES)
        self.table.turned_away = <counter *>(<char *>self.memory.buf + <size_t>TURNED_AWAY_AT)
        self.table.slots = size
        memcpy(self.table.secret, PyBytes_AS_STRING(file.secret), sizeof(self.table.secret))
        self.table.quotas = <uint32_t>len(numbers)
        for i, each in enumerate(numbers):
            self.table.paces[<int>i] = ps_pace(each.speed, each.token, each.depth, file.epoch)
            self.limits[<int>i] = each.limit
            self.windows[<int>i] = each.window_ns

    def __dealloc__(self):
        if self.mapped:
            PyBuffer_Release(&self.memory)

    def __reduce__(self):
        refuse_copy(self, "open its path again")

    def __repr__(self):
        quotas = ", ".join(str(quota) for quota in self._quotas or ())
        return f"SharedRateLimiter({quotas!r}, path={self._path!r}, slots={self.table.slots})"

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()

    def __len__(self):
        """Keys that have taken something which has not come back yet. Looks at every slot."""
        cdef int64_t now = self.now()
        cdef uint64_t live
        with nogil:
            live = ps_shared_live(&self.table, now)
        return <Py_ssize_t>live

    @property
    def quotas(self):
        """The limits of every key."""
        return self._quotas

    @property
    def path(self):
        """The file, as it was given."""
        return self._path

    def allow(self, key, n=1, /):
        """Takes `n` units of `key` if every quota has them; never waits.

        Args:
            key: whose limit.
            n: units, 1 to the smallest burst.

        Returns:
            True: they are taken. False: too few, none taken.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: key or n is of a wrong type.
            SharedFileError: the limiter is closed.
        """
        cdef ps_shared_trace trace
        cdef int64_t cost = self.cost_of(n), now
        cdef ps_shared_key place = self.located(key)
        if self.is_awaited(key):
            return False
        now = self.now()
        return self.take(place, cost, &now, &trace) == PS_SHARED_ALLOWED

    def check(self, key, n=1, /):
        """Takes `n` units of `key` if every quota has them, and tells how the limit stands.

        Args:
            key: whose limit.
            n: units, 1 to the smallest burst.

        Returns:
            What was decided. Numbers are those of the quota that has the least left, or on a refusal of the
            one that has to be waited for longest.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: key or n is of a wrong type.
            SharedFileError: the limiter is closed.
        """
        cdef ps_shared_trace trace
        cdef int64_t cost = self.cost_of(n), now
        cdef ps_shared_key place = self.located(key)
        if self.is_awaited(key):
            return behind_line(self.read(place, cost))
        now = self.now()
        cdef ps_shared_answer answer = self.take(place, cost, &now, &trace)
        return self.result(answer, place, cost, now, &trace)

    def peek(self, key, /):
        """How the limit of `key` stands, as `check` would tell for one unit; takes nothing.

        Raises:
            TypeError: key is of a wrong type.
            SharedFileError: the limiter is closed.
        """
        cdef RateLimitResult found = self.read(self.located(key), 1)
        return behind_line(found) if self.is_awaited(key) else found

    def retry_after(self, key, n=1, /):
        """Seconds until `key` could take `n` units if nobody takes any until then; takes none.

        Args:
            key: whose limit.
            n: units, 1 to the smallest burst.

        Returns:
            Seconds, 0.0 when `allow(key, n)` would succeed now.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: key or n is of a wrong type.
            SharedFileError: the limiter is closed.
        """
        cdef int64_t cost = self.cost_of(n)
        cdef RateLimitResult found = self.read(self.located(key), cost)
        return (behind_line(found) if self.is_awaited(key) else found).retry_after

    def refund(self, key, n=1, /):
        """Gives `n` units back to `key`; it never has more than its burst.

        Args:
            key: whose limit.
            n: units, 1 to the smallest burst.

        Raises:
            ValueError: n is out of its range.
            TypeError: key or n is of a wrong type.
            SharedFileError: the limiter is closed.
        """
        cdef int64_t cost = self.cost_of(n)
        cdef ps_shared_key place = self.located(key)
        ps_shared_refund(&self.table, place, self.now(), cost)

    def acquire(self, key, n=1, /, *, timeout=None):
        """Waits until `n` units of `key` are there, and takes them; blocks the thread.

        First come, first served for each key within this limiter: while somebody waits, `allow` and `check`
        are refused for that key. Among processes it is whoever asks first when the units are there.

        Args:
            key: whose limit.
            n: units, 1 to the smallest burst.
            timeout: seconds to wait at most; 0 for not at all, None for no end.

        Returns:
            True: taken. False: not within `timeout`, nothing is taken.

        Raises:
            ValueError: n or timeout is out of its range.
            TypeError: key, n or timeout is of a wrong type.
            LimiterFull: too many wait: 1,000,000 for a key, or for as many keys as there are slots.
            SharedFileError: the limiter is closed, or was closed meanwhile.
        """
        checked_timeout(timeout)
        return self.allow(key, n) or self._waiting().acquire(encoded(key), n, timeout)

    def acquire_async(self, key, n=1, /, *, timeout=None):
        """As `acquire`, while other tasks run. A cancelled wait takes nothing and lets the next one go.

        Args:
            key: whose limit.
            n: units, 1 to the smallest burst.
            timeout: seconds to wait at most; 0 for not at all, None for no end.

        Returns:
            To be awaited. True: taken. False: not within `timeout`, nothing is taken.

        Raises:
            ValueError: n or timeout is out of its range.
            TypeError: key, n or timeout is of a wrong type.
            LimiterFull: too many wait: 1,000,000 for a key, or for as many keys as there are slots.
            SharedFileError: the limiter is closed, or was closed meanwhile.
        """
        return acquired(self, key, n, timeout)

    def reset(self, key, /):
        """Forgets what `key` has taken.

        Raises:
            TypeError: key is of a wrong type.
            SharedFileError: the limiter is closed.
        """
        cdef ps_shared_key place = self.located(key)
        self.require_open()
        ps_shared_reset(&self.table, place)

    def allow_many(self, keys, n=1, *, out=None):
        """As `allow(key, n)` for each of `keys`, in order; the clock is read once for those that are known.

        Args:
            keys: (k,) keys, in a list, a tuple or a numpy array; integers of an array count as ints.
            n: units of each, 1 to the smallest burst.
            out: (k,) bool, contiguous: takes the answers; None for a new array.

        Returns:
            (k,) bool, `out` if there was one.

        Raises:
            ValueError: n is out of its range, or keys or out has the wrong shape.
            TypeError: n is no int, keys is no sequence, a key is of a wrong type, or out is no array of bool.
            SharedFileError: the limiter is closed.

        An error in the middle has a note that names the index; the keys before it are decided, with their
        answers in `out`.
        """
        cdef ps_shared_trace trace
        cdef int64_t cost = self.cost_of(n), now
        cdef ps_shared_key place
        batch, answers = checked_batch(keys, out)
        cdef unsigned char[::1] allowed = answers.view("uint8")
        cdef Py_ssize_t i = 0
        cdef int64_t began = self.now()
        try:
            for key in <tuple>batch:
                place = self.located(key)
                now = began
                allowed[i] = not self.is_awaited(key) and self.take(place, cost, &now, &trace) == PS_SHARED_ALLOWED
                i += 1
        except BaseException as error:
            note_index(error, i)
            raise
        return answers

    def limit(self, key=None, *, n=1, on_limited="raise"):
        """Decorates a function, or a coroutine function, so that each call takes `n` units first.

        Args:
            key: a str, bytes or an int; or a function of the call's arguments that returns one; None for the
                function's own name.
            n: units that a call takes, 1 to the smallest burst.
            on_limited: `raise` raises RateLimitExceeded; `wait` waits as `acquire` and `acquire_async` do.

        Returns:
            The decorator.

        Raises:
            ValueError: on_limited or n is none that there is.
            TypeError: key or n is of a wrong type.
        """
        return limited(self, checked_fixed(key), checked_units(n, self.most), on_limited)

    def sweep(self):
        """Empties the slots of keys that have all their tokens back. Needed by nobody: newcomers take them.

        Returns:
            How many they were. Looks at every slot.

        Raises:
            SharedFileError: the limiter is closed.
        """
        cdef int64_t now = self.now()
        cdef uint64_t swept
        with nogil:
            swept = ps_shared_sweep(&self.table, now)
        return swept

    def stats(self):
        """The state of the table, for all processes. Looks at every slot.

        Raises:
            SharedFileError: the limiter is closed.
        """
        return SharedStats(self.table.slots, len(self), ps_shared_turned_away(&self.table))

    def close(self):
        """Ends the use of the file here; every later call but this raises SharedFileError.

        So do at once the calls of those who wait. Other processes are not concerned, not even one that was
        forked off or that forked this one off. The file stays.
        """
        self.closed = True
        if self.lines is not None:
            self.lines.wake_all()

    # --- waiting: lines are of this process, and their keys as encoded() has them ---

    cdef inline bint is_awaited(self, key) except -1:
        """Whether somebody waits for the key, who then is to have what comes next."""
        return self.lines is not None and self.stands(key)

    cdef bint stands(self, key) except -1:
        lines = self.lines
        if lines is None or not lines.by_key or not lines.stand(encoded(key)):
            return False
        self.require_open()
        return True

    @cython.critical_section
    def _waiting(self):
        if self.lines is None:
            made = Lines(self, self._now_if_open, self.table.slots)
            OPEN.add(self)
            if self.lines is None:
                self.lines = made
        return self.lines

    def _now_if_open(self):
        return self.now()

    def _forked(self):
        """In a forked child: those who wait are in the parent."""
        self.lines = None

    def _take_at(self, key, int64_t n, int64_t at, /):
        """Takes and returns 0, or returns the nanoseconds after `at` until it is worth asking again.

        The clock is read anew. A take at `at`, which can lie in the past, would hand out what ran over since
        then, while other processes may have had a full bucket.
        """
        cdef ps_shared_trace trace
        cdef int64_t now, wait = 1
        cdef uint32_t i
        cdef ps_shared_answer answer
        kind, data = key
        cdef ps_shared_key place = ps_shared_locate(
            &self.table, kind, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        now = self.now()
        answer = self.take(place, n, &now, &trace)
        if answer == PS_SHARED_ALLOWED:
            return 0
        if answer == PS_SHARED_FULL:
            wait = max(ps_shared_room(&self.table, place, now), <int64_t>PAUSE)
        else:
            for i in range(self.table.quotas):
                wait = max(wait, ps_pace_wait(
                    &self.table.paces[i], trace.full_at[i], now, n * self.table.paces[i].token))
        return wait + max(now - at, 0)

    cdef ps_shared_answer take(
        self, ps_shared_key key, int64_t n, int64_t *now, ps_shared_trace *trace
    ) except? PS_SHARED_FULL:
        cdef ps_shared_answer answer
        for _ in range(ATTEMPTS):
            answer = ps_shared_take(&self.table, key, now[0], n, trace)
            if answer == PS_SHARED_ALLOWED or answer == PS_SHARED_LIMITED:
                return answer
            if answer == PS_SHARED_OWING:
                for _ in range(ATTEMPTS):
                    if ps_shared_give_back(&self.table, now[0], self.now(), n, trace):
                        break
                ps_shared_read(&self.table, key, trace)
                return PS_SHARED_LIMITED
            if answer == PS_SHARED_ABSENT:
                answer = ps_shared_claim(&self.table, key, now[0], trace)
            if answer == PS_SHARED_FULL:
                return answer
            if answer == PS_SHARED_CLAIMED:  # only a clock that is read now may charge who moves in
                now[0] = self.now()
                ps_shared_move_in(&self.table, now[0], trace)
        return PS_SHARED_FULL

    cdef RateLimitResult read(self, ps_shared_key key, int64_t n):
        cdef ps_shared_trace trace
        cdef int64_t now = self.now()
        cdef uint32_t i
        cdef ps_shared_answer answer = ps_shared_read(&self.table, key, &trace)
        if answer == PS_SHARED_ABSENT and ps_shared_room(&self.table, key, now) == 0:
            for i in range(self.table.quotas):
                trace.full_at[i] = 0
            answer = PS_SHARED_ALLOWED
        if answer != PS_SHARED_ALLOWED:
            return self.result(PS_SHARED_FULL, key, n, now, &trace)
        for i in range(self.table.quotas):
            if ps_pace_wait(&self.table.paces[i], trace.full_at[i], now, n * self.table.paces[i].token):
                answer = PS_SHARED_LIMITED
        return self.result(answer, key, n, now, &trace)

    cdef RateLimitResult result(
        self, ps_shared_answer answer, ps_shared_key key, int64_t n, int64_t now, ps_shared_trace *trace
    ):
        cdef int64_t retry, remaining, missing, least = 0, longest = -1
        cdef uint32_t i, tightest = 0
        cdef ps_pace *pace
        if answer == PS_SHARED_FULL:
            retry = ps_shared_room(&self.table, key, now)
            return result_of(False, self.limits[0], 0, retry, retry, self.windows[0])
        for i in range(self.table.quotas):
            pace = &self.table.paces[i]
            retry = 0
            if answer != PS_SHARED_ALLOWED:
                retry = ps_pace_wait(pace, trace.full_at[i], now, n * pace.token)
            missing = max(trace.full_at[i] - ps_pace_tick(pace, now), 0)
            remaining = max(pace.depth - missing, 0) // pace.token
            if retry > longest or (retry == longest and remaining < least):
                tightest, longest, least = i, retry, remaining
        pace = &self.table.paces[tightest]
        return result_of(
            answer == PS_SHARED_ALLOWED, self.limits[tightest], least, longest,
            ps_pace_wait(pace, trace.full_at[tightest], now, pace.depth), self.windows[tightest])

    cdef inline ps_shared_key located(self, key) except *:
        if PyUnicode_CheckExact(key) and PyUnicode_IS_COMPACT_ASCII(key):
            return ps_shared_locate(&self.table, STR, PyUnicode_DATA(key), PyUnicode_GET_LENGTH(key))
        if type(key) is bytes:
            return ps_shared_locate(&self.table, BYTES, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        kind, data = encoded(key)
        return ps_shared_locate(&self.table, kind, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef inline int64_t cost_of(self, n) except -1:
        cdef int overflow = 0
        cdef int64_t units
        if n is ONE:
            return 1
        if type(n) is int:
            units = PyLong_AsLongLongAndOverflow(n, &overflow)
            if not overflow and 1 <= units <= self.most:
                return units
        return checked_units(n, self.most)

    cdef inline int require_open(self) except -1:
        if self.closed or not self.mapped:
            raise closed(self._path)
        return 0

    cdef inline int64_t now(self) except? -1:
        cdef int64_t now
        if self._clock is None:
            self.require_open()
            return ps_monotonic_ns()
        now = self._clock()
        self.require_open()
        return now
