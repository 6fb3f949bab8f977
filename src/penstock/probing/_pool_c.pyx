"""Pool of connections, compiled: the twin of _pool_py.py over csrc/http_response.c.

What ends a connection may be any step of it, also one that its own caller makes; so every step that may do so
is followed by a look at whether it is still there.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.stdint cimport int64_t, uint8_t, uint64_t

from penstock.probing._response_parser_c cimport (
    PS_OK,
    ps_allocator,
    ps_http,
    ps_http_done,
    ps_http_head_done,
    ps_http_limits,
    ps_status,
)

import asyncio
import ssl

from penstock.probing._pool_py import EngineClosed
from penstock.probing.exchange import Exchange, Phases, TcpFacts
from penstock.probing.failures import (
    CLOSED,
    CUT_SHORT,
    ENGINE_CLOSED,
    HANDSHAKE_CLOSED,
    NOT_HTTP,
    timed_out,
)
from penstock.probing.request import IDEMPOTENT

__all__ = ["Pool"]

cdef extern from "clock.h" nogil:
    int64_t ps_monotonic_ns()

cdef extern from "http_response.h" nogil:
    void ps_http_init(ps_http *answer, ps_http_limits limits, ps_allocator allocator)
    void ps_http_free(ps_http *answer)
    void ps_http_reset(ps_http *answer, bint head_request)
    ps_status ps_http_feed(ps_http *answer, const uint8_t *bytes, size_t size, size_t *consumed)
    ps_status ps_http_eof(ps_http *answer)

cdef extern from "stamped_socket.h" nogil:
    int64_t ps_wall_ns()

cdef enum:
    MAX_HEAD = 65_536  # as in the fallback
    SLACK = 1_000_000  # of stamps.py
    SLEW_SHIFT = 10

cdef enum:  # which of the two chains a connection is in
    NOWHERE
    BUSY
    IDLE

cdef object new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, from Python

cdef int64_t NANOSECONDS = 1_000_000_000
cdef int64_t LONGEST_IDLE = 15 * NANOSECONDS
cdef int64_t NEVER = 0x7FFF_FFFF_FFFF_FFFF
cdef ps_allocator PYTHON_MEMORY = ps_allocator(PyMem_RawRealloc, PyMem_RawFree)  # seen by tracemalloc


# A future costs the loop a handle in Python for each; here all tasks whose answers came in one look are woken
# by the one that looked.
cdef class Answer:
    """The exchange to come, for the one task that waits for it: a future, as far as a task can tell."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if self.is_done:
            raise StopIteration(self.result())
        self._asyncio_future_blocking = True
        return self

    def get_loop(self):
        """The loop of the task."""
        return self.home.loop

    def done(self):
        """Whether there is an answer, or nobody wants it any more."""
        return self.is_done

    def cancelled(self):
        """Whether nobody wants it any more."""
        return self.is_cancelled

    def result(self):
        """The exchange."""
        if self.is_cancelled or not self.is_done:
            raise asyncio.CancelledError
        return self.exchange

    def cancel(self, msg=None):
        """The task is cancelled."""
        if self.is_done:
            return False
        self.is_done = self.is_cancelled = True
        self.home.wake_task_of(self)
        return True

    def add_done_callback(self, callback, *, context=None):
        """The task waits."""
        self.callback, self.context = callback, context
        if self.is_done:
            self.home.wake_task_of(self)

    cdef int give(self, object exchange) except -1:
        if not self.is_done:
            self.exchange = exchange
            self.is_done = True
            self.home.wake_task_of(self)
        return 0


cdef class Chain:
    """Connections in a row; what is beside each of them it knows itself."""


# A connection is busy, in the order in which they are to be woken, or idle, the longest first, or in between.
cdef class Pool:
    """Pool(settings, *, clock=None, wall=None)\n--\n
    Connections on the running event loop, without what moves their bytes; see Connections.

    Args:
        settings: how to connect.
        clock: monotonic nanoseconds; None for the system's.
        wall: nanoseconds since 1970; None for the system's.
    """

    def __cinit__(self, *arguments, **named):
        self.buffer = <uint8_t *>PyMem_RawRealloc(NULL, READ)
        if self.buffer == NULL:
            raise MemoryError
        self.connections, self.idle_by_origin, self.answered = set(), {}, []
        self.busy, self.idle = Chain(), Chain()
        self.wakes_at = NEVER

    def __dealloc__(self):
        PyMem_RawFree(self.buffer)

    def __init__(self, settings, *, clock=None, wall=None):
        self.settings = settings
        self.clock, self.wall = clock, wall
        self.loop = asyncio.get_running_loop()
        self.idle_limit = settings.connections

    cdef PooledConnection new_connection(self):
        raise NotImplementedError

    def again(self, request, double timeout):
        """A kept connection on which the request has been sent, None when there is none.

        Args:
            request: what to send.
            timeout: seconds for everything.
        """
        cdef int64_t now = self.now()
        cdef PooledConnection connection = self.take(request.origin, now)
        while connection is not None:
            if not connection.has_come():
                connection.reused = True
                connection.start_moments(now, self.wall_now(), 0, 0)
                connection.begin(request, timeout, now + <int64_t>(timeout * NANOSECONDS))
                try:
                    connection.send()
                    return connection
                except ssl.SSLError:  # the server wants another handshake first: nothing was sent
                    pass
            connection.close()  # what came before the request is no answer to it
            connection = self.take(request.origin, now)
        return None

    def open(self, request, double timeout, int64_t until, addresses, exchange, moments, turn):
        """A new connection, which sends the request as soon as one of the addresses has answered.

        Args:
            request: what to send.
            timeout: seconds, for the words.
            until: monotonic nanoseconds at which it is over.
            addresses: at least one.
            exchange: becomes the answer.
            moments: of the exchange so far.
            turn: ends when it is connected, with TLS.

        Raises:
            EngineClosed: close() was called before.
        """
        if self.is_closed:
            raise EngineClosed("engine must be open, it is closed")
        cdef PooledConnection connection = self.new_connection()
        connection.home = self
        connection.origin = request.origin
        connection.secure = request.scheme == "https"
        connection.turn = turn
        connection.addresses = list(addresses)
        connection.start_moments(moments.began, exchange.started_at, moments.dns, moments.queued)
        connection.begin(request, timeout, until)
        self.connections.add(connection)
        connection.connect()
        return connection

    def close(self):
        """Closes all of them."""
        self.is_closed = True
        for connection in list(self.connections):
            (<PooledConnection>connection).fail(ENGINE_CLOSED)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            self.wakes_at = NEVER

    cdef int64_t now(self) except? -1:
        return ps_monotonic_ns() if self.clock is None else <int64_t>self.clock()

    cdef int64_t wall_now(self) except? -1:
        return ps_wall_ns() if self.wall is None else <int64_t>self.wall()

    # Waking tasks

    cdef int wake_task_of(self, Answer answer) except -1:
        if answer.callback is None:  # it is not waiting yet
            return 0
        self.answered.append(answer)
        if not self.is_looking and len(self.answered) == 1:
            self.loop.call_soon(self._wake_tasks)
        return 0

    def _wake_tasks(self):
        """Lets the tasks go on whose answers are there; those that come meanwhile are for another turn."""
        cdef Answer answer
        cdef list answered = self.answered
        cdef Py_ssize_t i = 0
        self.answered = []
        try:
            for i in range(len(answered)):
                answer = <Answer>answered[i]
                callback, answer.callback = answer.callback, None
                if callback is not None:
                    answer.context.run(callback, answer)
        except BaseException:  # of a task that ends the process
            self.answered = answered[i + 1:] + self.answered
            if self.answered:
                self.loop.call_soon(self._wake_tasks)
            raise

    # Waiting, for so long and no longer

    cdef int wake_at(self, PooledConnection connection, int64_t at) except -1:
        cdef PooledConnection before
        self.let_go(connection)
        connection.wakes_at = at
        before = self.busy.last
        while before is not None and before.wakes_at > at:
            before = before.before
        self.put_behind(self.busy, BUSY, connection, before)
        if at < self.wakes_at:
            self.set_timer(at)
        return 0

    cdef int set_timer(self, int64_t at) except -1:
        cdef int64_t left = at - self.now()
        if self.timer is not None:
            self.timer.cancel()
        self.wakes_at = at
        self.timer = self.loop.call_later((left if left > 0 else 0) / <double>NANOSECONDS, self._wake)
        return 0

    def _wake(self):
        """It is time for a connection, or for one that is not there any more."""
        cdef PooledConnection connection
        self.timer = None
        self.wakes_at = NEVER
        try:
            while self.busy.first is not None and self.busy.first.wakes_at <= self.now():
                connection = self.busy.first
                self.let_go(connection)
                connection.awake()
        finally:
            if self.timer is None and self.busy.first is not None:
                self.set_timer(self.busy.first.wakes_at)

    # Keeping

    cdef PooledConnection take(self, object origin, int64_t now):
        cdef list connections = self.idle_by_origin.get(origin)
        cdef PooledConnection connection
        if connections is None:
            return None
        connection = <PooledConnection>connections[len(connections) - 1]
        if now - connection.idle_since > LONGEST_IDLE:
            for connection in connections[:]:  # the others have waited longer still
                connection.close()
            return None
        self.let_go(connection)
        return connection

    cdef int keep(self, PooledConnection connection) except -1:
        cdef PooledConnection oldest
        cdef list connections
        if self.idle_limit == 0:
            connection.close()
            return 0
        if self.idle_count >= self.idle_limit:
            oldest = self.idle.first  # held: the chain will not hold it any more
            oldest.close()
        connections = self.idle_by_origin.get(connection.origin)
        if connections is None:
            connections = self.idle_by_origin[connection.origin] = []
        connections.append(connection)
        self.idle_count += 1
        self.put_behind(self.idle, IDLE, connection, self.idle.last)
        return 0

    cdef int put_behind(
        self, Chain chain, int where, PooledConnection connection, PooledConnection before
    ) except -1:
        connection.where = where
        connection.before = before
        if before is None:
            connection.behind = chain.first
            chain.first = connection
        else:
            connection.behind = before.behind
            before.behind = connection
        if connection.behind is None:
            chain.last = connection
        else:
            connection.behind.before = connection
        return 0

    cdef int let_go(self, PooledConnection connection) except -1:
        cdef Chain chain
        cdef list connections
        if connection.where == NOWHERE:
            return 0
        if connection.where == IDLE:
            chain = self.idle
            self.idle_count -= 1
            connections = <list>self.idle_by_origin[connection.origin]
            if connections[len(connections) - 1] is connection:
                connections.pop()
            else:
                connections.remove(connection)
            if not connections:
                del self.idle_by_origin[connection.origin]
        else:
            chain = self.busy
        if connection.before is None:
            chain.first = connection.behind
        else:
            connection.before.behind = connection.behind
        if connection.behind is None:
            chain.last = connection.before
        else:
            connection.behind.before = connection.before
        connection.before = connection.behind = None
        connection.where = NOWHERE
        return 0


cdef class PooledConnection:
    """One connection, see Connection."""

    def __cinit__(self):
        self.address = ""
        ps_http_init(&self.http, ps_http_limits(MAX_HEAD, 1 << 20, 0), PYTHON_MEMORY)

    def __dealloc__(self):
        ps_http_free(&self.http)

    cdef int connect(self) except -1:
        """Sets out for the next address."""
        raise NotImplementedError

    cdef bytes outgoing(self, bytes data):
        """What is to be written for the bytes of a request: TLS of our own, or they themselves."""
        return data

    cdef int write(self, bytes data) except -1:
        """Sends bytes, now or as soon as they are taken."""
        raise NotImplementedError

    cdef bint has_unsent(self) except -1:
        """Whether some of them were not taken yet."""
        raise NotImplementedError

    cdef bint has_come(self) except -1:
        """Whether something is there that nobody has read yet."""
        raise NotImplementedError

    cdef bint facts(self, ps_tcp_facts *facts) except -1:
        """Whether the kernel tells anything."""
        raise NotImplementedError

    cdef int hang_up(self) except -1:
        """Closes what moves the bytes."""
        raise NotImplementedError

    cdef int start_moments(self, int64_t began, int64_t started_at, int64_t dns, int64_t queued) except -1:
        self.began, self.started_at, self.dns, self.queued = began, started_at, dns, queued
        self.connecting = self.connected = self.secured = self.sent = self.first = self.last = 0
        return 0

    cdef int begin(self, object request, double timeout, int64_t until) except -1:
        """There is a request to be sent."""
        self.request = request
        self.timeout = timeout
        self.until = until
        self.is_busy = True
        self.stage = CONNECTING
        self.from_kernel = True
        self.answer = Answer.__new__(Answer)
        self.answer.home = self.home
        self.http.limits.keep_body = request.keep_body
        self.http.limits.max_body = request.max_body
        ps_http_reset(&self.http, request.method == "HEAD")
        self.home.wake_at(self, until)
        return 0

    @property
    def stale(self):
        """Whether it failed since the server had closed a kept connection, and may be made again."""
        lost = self.exchange.failure in ("closed", "reset") and self.stage == WAITING and not self.first
        return lost and self.reused and self.request.method in IDEMPOTENT

    cpdef close(self):
        """Closes it, whatever it does."""
        self.end_turn()
        self.is_busy = False
        self.home.let_go(self)
        self.home.connections.discard(self)
        self.hang_up()

    cdef int end_turn(self) except -1:
        if self.turn is not None:
            self.turn.end()
            self.turn = None
        return 0

    cdef int fail(self, object fault) except -1:
        """The exchange has failed, or the connection while it was idle."""
        if not self.is_busy:
            self.close()
            return 0
        failure, error, may_pass = fault
        self.conclude(0, "", failure, error, may_pass, False, self.home.now())
        self.close()
        self.answer.give(self.exchange)
        return 0

    cdef int awake(self) except -1:
        if self.home.now() >= self.until:
            self.fail(timed_out(self.timeout, self.stage))
        else:  # this address has had its share of the time
            self.connect()
        return 0

    cdef object next_address(self):
        """The next address to set out for, with its share of the time."""
        cdef int64_t now = self.home.now()
        address = self.addresses.pop(0)
        if self.connecting == 0:
            self.connecting = now
        self.home.wake_at(self, now + (self.until - now) // (len(self.addresses) + 1))
        return address

    cdef int send(self) except -1:
        """Sends the request."""
        cdef bytes data = self.outgoing(self.request.wire)
        self.stage = WAITING
        self.sent = self.home.now()
        self.sent_wall = self.home.wall_now()
        self.write(data)
        return 0

    cdef int take(self, const uint8_t *data, size_t size, int64_t stamp) except -1:
        cdef size_t taken = 0
        cdef ps_status status
        if not self.is_busy:  # an answer that nobody asked for
            self.close()
            return 0
        self.note_moment(stamp)
        status = ps_http_feed(&self.http, data, size, &taken)
        if status != PS_OK:
            self.fail(NOT_HTTP)
        elif ps_http_done(&self.http):
            self.finish(taken == size)
        elif ps_http_head_done(&self.http):
            self.stage = READING
        return 0

    cdef int note_moment(self, int64_t stamp) except -1:
        cdef int64_t now = self.home.now()
        cdef int64_t ahead = self.home.wall_now() - now
        cdef int64_t parted = ahead - (self.sent_wall - self.sent)
        cdef int64_t at = stamp - ahead
        if parted < 0:
            parted = -parted
        if (
            not self.from_kernel or stamp == 0 or at < self.sent or at > now
            or parted > SLACK + ((now - self.sent) >> SLEW_SHIFT)
        ):
            self.from_kernel = False  # one that is not the kernel's makes all of them our own
            at = now
        if self.first == 0:
            self.first = at
        if at > self.last:
            self.last = at
        return 0

    cdef int ended(self, bint cut=False) except -1:
        """The connection is closed; `cut` when it was TLS, and not by the server for all that is known."""
        if not self.is_busy:
            self.close()
        elif self.stage == HANDSHAKING:
            self.fail(HANDSHAKE_CLOSED)
        elif not cut and ps_http_eof(&self.http) == PS_OK:
            self.finish(False)
        else:
            self.fail(CUT_SHORT if ps_http_head_done(&self.http) else CLOSED)
        return 0

    # The answer

    cdef int finish(self, bint clean) except -1:
        """The answer is whole; `clean` when nothing came behind it."""
        cdef const char *reason = <const char *>self.http.head.bytes + self.http.reason_at
        cdef bint keep = clean and self.http.keep_alive and self.request.keep_alive and not self.has_unsent()
        self.conclude(
            self.http.status,
            PyUnicode_DecodeLatin1(reason, <Py_ssize_t>self.http.reason_size, NULL),
            "",
            "",
            False,
            self.http.truncated,
            0,
        )
        self.is_busy = False
        if keep:
            self.home.let_go(self)
            self.idle_since = self.home.now()
            self.home.keep(self)
        else:
            self.close()
        self.answer.give(self.exchange)
        return 0

    cdef int conclude(
        self, int status, str reason, str failure, str error, bint may_pass, bint truncated, int64_t failed_at
    ) except -1:
        """Writes down what is known, however far it got."""
        cdef ps_tcp_facts facts
        cdef int64_t ended = failed_at or self.last
        tcp = None
        if self.address and self.facts(&facts):
            tcp = new_tuple(
                TcpFacts, (facts.rtt_us * 1_000, facts.min_rtt_us * 1_000, facts.retransmits)
            )
        phases = new_tuple(Phases, (
            self.dns,
            (self.connected or ended) - self.connecting if self.connecting else 0,
            (self.secured or ended) - self.connected if self.secure and self.connected else 0,
            (self.first or ended) - self.sent if self.sent else 0,
            ended - self.first if self.first else 0,
            ended - self.began - self.queued,
        ))
        self.exchange = Exchange(
            status,
            reason,
            failure,
            error,
            may_pass,
            self.began,
            self.started_at,
            phases,
            self.queued,
            "kernel" if self.from_kernel and self.first else "user",
            self.reused,
            self.address,
            PyBytes_FromStringAndSize(<char *>self.http.head.bytes, <Py_ssize_t>self.http.head_size),
            PyBytes_FromStringAndSize(<char *>self.http.body.bytes, <Py_ssize_t>self.http.body.size),
            self.http.size,
            truncated,
            tcp,
            self.tls_facts,
        )
        return 0
