"""The compiled Pool and its connections, for those who move their bytes."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from penstock.probing._response_parser_c cimport ps_http

cdef extern from "stamped_socket.h" nogil:
    ctypedef struct ps_tcp_facts:
        uint32_t rtt_us
        uint32_t min_rtt_us
        uint32_t retransmits

cdef enum:
    READ = 65_536  # bytes, as in the fallback

cdef enum:  # of failures.py
    CONNECTING = 1
    HANDSHAKING = 2
    WAITING = 3
    READING = 4


cdef class Answer:
    cdef Pool home
    cdef object exchange, callback, context
    cdef bint is_done, is_cancelled
    cdef public bint _asyncio_future_blocking

    cdef int give(self, object exchange) except -1


cdef class Chain:
    cdef PooledConnection first, last


cdef class Pool:
    cdef object settings, loop, clock, wall, timer
    cdef list answered  # whose tasks are to be woken
    cdef bint is_looking  # who looks wakes them
    cdef uint8_t *buffer  # READ bytes, for whoever reads just now
    cdef set connections  # those that are open
    cdef dict idle_by_origin
    cdef Py_ssize_t idle_count, idle_limit
    cdef bint is_closed
    cdef Chain busy, idle
    cdef int64_t wakes_at

    cdef PooledConnection new_connection(self)
    cdef int wake_task_of(self, Answer answer) except -1
    cdef int64_t now(self) except? -1
    cdef int64_t wall_now(self) except? -1
    cdef int wake_at(self, PooledConnection connection, int64_t at) except -1
    cdef int set_timer(self, int64_t at) except -1
    cdef PooledConnection take(self, object origin, int64_t now)
    cdef int keep(self, PooledConnection connection) except -1
    cdef int put_behind(
        self, Chain chain, int where, PooledConnection connection, PooledConnection before
    ) except -1
    cdef int let_go(self, PooledConnection connection) except -1


cdef class PooledConnection:
    cdef Pool home
    cdef PooledConnection before, behind  # in the chain where it is
    cdef int where
    cdef int64_t wakes_at
    cdef object origin, turn, tls_facts, request, exchange
    cdef readonly Answer answer
    cdef list addresses
    cdef str address
    cdef int stage
    cdef bint is_busy, reused, secure, from_kernel
    cdef double timeout
    cdef int64_t until, idle_since
    cdef int64_t began, started_at, dns, queued, connecting, connected, secured, sent, sent_wall, first, last
    cdef ps_http http

    # What those who move the bytes do.
    cdef int connect(self) except -1
    cdef bytes outgoing(self, bytes data)
    cdef int write(self, bytes data) except -1
    cdef bint has_unsent(self) except -1
    cdef bint has_come(self) except -1
    cdef bint facts(self, ps_tcp_facts *facts) except -1
    cdef int hang_up(self) except -1

    cdef int start_moments(self, int64_t began, int64_t started_at, int64_t dns, int64_t queued) except -1
    cdef int begin(self, object request, double timeout, int64_t until) except -1
    cpdef close(self)
    cdef int end_turn(self) except -1
    cdef int fail(self, object fault) except -1
    cdef int awake(self) except -1
    cdef object next_address(self)
    cdef int send(self) except -1
    cdef int take(self, const uint8_t *data, size_t size, int64_t stamp) except -1
    cdef int note_moment(self, int64_t stamp) except -1
    cdef int ended(self, bint cut=*) except -1
    cdef int finish(self, bint clean) except -1
    cdef int conclude(
        self, int status, str reason, str failure, str error, bint may_pass, bint truncated, int64_t failed_at
    ) except -1
