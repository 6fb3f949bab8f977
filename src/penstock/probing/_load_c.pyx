"""The loop of a load, compiled: the twin of _load_py.py over csrc/load.c, which runs without the GIL."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from penstock.observability._histogram_c cimport Histogram, ps_histogram
from penstock.probing._load_py import FAILURES, LoadCounts, LoadSecond, not_over, packed_address, starved, used_twice

__all__ = ["LoadLoop"]

cdef extern from "load.h" nogil:
    ctypedef enum ps_status:
        PS_OK

    ctypedef struct ps_allocator:
        void *(*resize)(void *memory, size_t size)
        void (*release)(void *memory)

    ctypedef struct ps_http_limits:
        size_t max_head
        uint64_t max_body
        uint64_t keep_body

    ctypedef struct ps_load_target:
        uint8_t address[128]
        uint32_t address_size
        uint32_t server
        const uint8_t *request
        size_t size
        bint head
        bint idempotent

    ctypedef struct ps_load_plan:
        const ps_load_target *targets
        uint32_t targets_size
        uint32_t servers
        uint32_t first
        uint32_t connections
        uint32_t connecting
        bint keep_alive
        double interval
        double offset
        uint64_t count
        int64_t duration
        int64_t timeout
        ps_http_limits limits

    ctypedef struct ps_load_counts:
        uint64_t started, sent, answered, failed, unsent, abandoned, retried, opened, stamped, voided
        uint64_t truncated
        uint64_t bytes_in, bytes_out, body_bytes, in_flight, began_at, now, cpu
        uint64_t failures[6]
        uint64_t statuses[1000]

    ctypedef struct ps_load_window:
        uint64_t sent
        uint64_t answered
        uint64_t failed
        ps_histogram latency

    ctypedef struct ps_load:
        uint64_t windows_done
        bint over

    uint64_t PS_LOAD_NO_COUNT
    int64_t PS_LOAD_NO_DURATION
    ps_status ps_load_init(ps_load *load, ps_load_plan plan, ps_allocator allocator)
    void ps_load_free(ps_load *load)
    void ps_load_begin(ps_load *load)
    bint ps_load_step(ps_load *load, bint wait)
    void ps_load_stop(ps_load *load)
    void ps_load_snapshot(const ps_load *load, ps_load_counts *counts, ps_histogram *service,
                          ps_histogram *total, ps_histogram *lag)
    uint64_t ps_load_windows_over(const ps_load *load)
    bint ps_load_is_over(const ps_load *load)
    ps_status ps_load_window_of(const ps_load *load, uint64_t number, ps_load_window *copy)

cdef ps_allocator PYTHON_MEMORY = ps_allocator(PyMem_RawRealloc, PyMem_RawFree)  # seen by tracemalloc


cdef class LoadLoop:
    """LoadLoop(plan, /)\n--\n
    HTTP/1.1 requests over plain TCP, as many and as fast as a plan says; one loop, for one thread.

    csrc/load.h says how it goes. One thread calls `run`, and any may call the others meanwhile.

    Args:
        plan: what to do; nothing in it is checked here.

    Raises:
        MemoryError: memory, or the files that it needs itself, are missing.

    Source: RFC 9112; Gil Tene, How NOT to Measure Latency, 2013.
    """

    cdef ps_load load
    cdef ps_load_target *targets
    cdef tuple wires  # the requests that `targets` points into
    cdef bint made, used

    def __dealloc__(self):
        if self.made:
            ps_load_free(&self.load)
        PyMem_Free(self.targets)

    def __init__(self, plan, /):
        if self.made:
            raise used_twice()
        cdef ps_load_plan planned
        cdef ps_status status
        self.take_targets(plan, &planned)
        planned.first = plan.first
        planned.connections = plan.connections
        planned.connecting = plan.connecting
        planned.keep_alive = plan.keep_alive
        planned.interval = plan.interval
        planned.offset = plan.offset
        planned.count = PS_LOAD_NO_COUNT if plan.count is None else plan.count
        planned.duration = PS_LOAD_NO_DURATION if plan.duration is None else plan.duration
        planned.timeout = plan.timeout
        planned.limits.max_head = plan.max_head
        planned.limits.max_body = plan.max_body
        planned.limits.keep_body = 0
        if ps_load_init(&self.load, planned, PYTHON_MEMORY) != PS_OK:
            raise starved()
        self.made = True

    cdef int take_targets(self, plan, ps_load_plan *planned) except -1:
        cdef tuple targets = plan.targets
        cdef Py_ssize_t n = len(targets), i
        cdef dict servers = {}
        cdef bytes address, wire
        PyMem_Free(self.targets)
        self.targets = NULL
        self.wires = tuple([target.wire for target in targets])
        self.targets = <ps_load_target *>PyMem_Calloc(n, sizeof(ps_load_target))
        if self.targets == NULL:
            raise MemoryError
        for i in range(n):
            target = targets[i]
            wire = self.wires[i]
            address = packed_address(target.family, target.sockaddr)
            memcpy(self.targets[i].address, PyBytes_AS_STRING(address), PyBytes_GET_SIZE(address))
            self.targets[i].address_size = PyBytes_GET_SIZE(address)
            self.targets[i].server = servers.setdefault(address, len(servers))
            self.targets[i].request = <const uint8_t *>PyBytes_AS_STRING(wire)
            self.targets[i].size = PyBytes_GET_SIZE(wire)
            self.targets[i].head = target.head
            self.targets[i].idempotent = target.idempotent
        planned.targets = self.targets
        planned.targets_size = n
        planned.servers = len(servers)
        return 0

    @property
    def over(self):
        """Whether the run has ended."""
        return ps_load_is_over(&self.load)

    @property
    def seconds_over(self):
        """How many of its seconds are over, the last one perhaps a shorter one."""
        return ps_load_windows_over(&self.load)

    def run(self):
        """Does all of the plan; returns when every answer is there, or has timed out, or after `stop`.

        Raises:
            RuntimeError: it has run before.
        """
        with cython.critical_section(self):
            if self.used or not self.made:
                raise used_twice()
            self.used = True
        with nogil:
            ps_load_begin(&self.load)
            while ps_load_step(&self.load, True):
                pass

    def stop(self):
        """Ends the run within some hundredths of a second, without waiting for answers."""
        ps_load_stop(&self.load)

    def counts(self):
        """What has happened so far: a copy, which is exact once the run is over."""
        cdef ps_load_counts counts
        cdef Histogram service = Histogram(), total = Histogram(), lag = Histogram()
        cdef int i
        with nogil:
            ps_load_snapshot(&self.load, &counts, &service.counted, &total.counted, &lag.counted)
        return LoadCounts(
            counts.began_at, counts.now, counts.started, counts.sent, counts.answered, counts.failed,
            counts.unsent, counts.abandoned, counts.retried, counts.opened, counts.stamped, counts.voided,
            counts.truncated, counts.bytes_in, counts.bytes_out, counts.body_bytes, counts.in_flight, counts.cpu,
            {FAILURES[i]: counts.failures[i] for i in range(len(FAILURES)) if counts.failures[i]},
            {i: counts.statuses[i] for i in range(1000) if counts.statuses[i]},
            service, total, lag,
        )

    def second(self, number, /):
        """What happened in one of the seconds that are over; None when that was too long ago.

        Args:
            number: 0 for the first; below `seconds_over`.

        Raises:
            IndexError: it is not over.
        """
        cdef uint64_t over = ps_load_windows_over(&self.load)
        if not 0 <= number < over:
            raise not_over(number, over)
        cdef Histogram latency = Histogram(digits=2)
        cdef ps_load_window window
        cdef uint64_t which = number
        cdef ps_status status
        window.latency = latency.counted  # its counts are those of `latency`
        with nogil:
            status = ps_load_window_of(&self.load, which, &window)
        if status != PS_OK:
            return None
        latency.counted = window.latency
        return LoadSecond(window.sent, window.answered, window.failed, latency)
