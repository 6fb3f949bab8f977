"""Connections on the transports of the event loop, compiled: the twin of _transports_py.py."""

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t

from penstock.probing._pool_c cimport CONNECTING, HANDSHAKING, READ, Pool, PooledConnection, ps_tcp_facts

from asyncio import current_task

from penstock.probing._transports_py import Reader, connected_socket, secured
from penstock.probing.failures import NO_ADDRESS, fault_of
from penstock.probing.resolver import literal
from penstock.probing.tcp import has_come
from penstock.probing.tls import said_its_end, tls_facts_of

__all__ = ["Transports"]

cdef extern from "stamped_socket.h" nogil:
    int ps_socket_facts(int fd, ps_tcp_facts *facts)
    int ps_socket_has_come(int fd)

cdef int64_t NANOSECONDS = 1_000_000_000


cdef class Transports(Pool):
    """Transports(settings, *, clock=None, wall=None)\n--\n
    Makes connections on the running event loop; see Connections.

    Args:
        settings: how to connect.
        clock: monotonic nanoseconds; None for the system's.
        wall: nanoseconds since 1970; None for the system's.
    """

    cdef object source
    cdef object room  # the buffer, as the event loop wants it

    def __init__(self, settings, *, clock=None, wall=None):
        Pool.__init__(self, settings, clock=clock, wall=wall)
        self.source = None if settings.source is None else literal(settings.source, 0)
        self.room = memoryview(Room.__new__(Room, self))

    cdef PooledConnection new_connection(self):
        return TransportConnection.__new__(TransportConnection)


cdef class Room:
    """The buffer of a pool, which lives as long as somebody reads into it."""

    cdef Pool pool

    def __cinit__(self, Pool pool):
        self.pool = pool

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.pool.buffer, READ, False, flags)


cdef class TransportConnection(PooledConnection):
    """One connection, see Connection."""

    cdef object sock, task
    cdef object made, transport  # the same, the latter when it may be used
    cdef bytes early  # what came before the request was sent
    cdef bint end_came

    # Connecting

    cdef int connect(self) except -1:
        """Sets out for the next address."""
        self.hang_up()
        self.task = self.home.loop.create_task(self.connect_to_one())
        return 0

    async def connect_to_one(self):
        """Connects to the next address that answers."""
        fault = NO_ADDRESS
        while self.addresses:
            address = self.next_address()
            try:
                sock = await connected_socket(self.home.loop, address, (<Transports>self.home).source)
            except Exception as error:
                fault = fault_of(error, CONNECTING)
            else:
                await self.secure_it(sock, address)
                return
        self.fail(fault)

    async def secure_it(self, sock, address):
        """TCP is connected."""
        self.sock = sock
        self.address = address.ip
        self.connected = self.home.now()
        if self.addresses:
            self.addresses.clear()
            self.home.wake_at(self, self.until)
        if self.secure:
            self.stage = HANDSHAKING
        settings = self.home.settings
        hostname = settings.server_hostname or self.request.host
        left = (self.until - self.connected) / <double>NANOSECONDS
        try:
            transport = await secured(
                self.home.loop, Reader(self), sock, settings, hostname if self.secure else None, left
            )
        except Exception as error:
            self.fail(fault_of(error, HANDSHAKING))
            return
        except BaseException:  # nobody waits for it any more
            if self.made is not None:  # else the event loop closes the socket at once, now its own
                self.made.abort()
            raise
        self.transport = transport
        self.task = None
        if self.secure:
            self.secured = self.home.now()
            self.tls_facts = tls_facts_of(
                transport.get_extra_info("ssl_object"), certificate=settings.tls_facts
            )
        self.end_turn()
        self.send()
        early = self.early
        if early is not None:
            self.take(<uint8_t *>PyBytes_AS_STRING(early), PyBytes_GET_SIZE(early), 0)
        if self.end_came and self.is_busy:
            self.end_of_bytes()

    # Sending

    cdef int write(self, bytes data) except -1:
        if self.transport is not None:
            self.transport.write(data)
        return 0

    cdef bint has_unsent(self) except -1:
        return self.transport is not None and self.transport.get_write_buffer_size() > 0

    # Reading: what the event loop calls

    def connection_made(self, transport):
        """It is connected, with TLS; the task that waits for that will hear of it."""
        self.made = transport

    def get_buffer(self, sizehint):
        """Where the next bytes may go."""
        return (<Transports>self.home).room

    def buffer_updated(self, Py_ssize_t nbytes):
        """So many bytes are there."""
        if self.transport is not None:
            self.take(self.home.buffer, nbytes, 0)
        elif self.is_busy:  # it came with the handshake's end
            self.early = (self.early or b"") + PyBytes_FromStringAndSize(<char *>self.home.buffer, nbytes)

    def eof_received(self):
        """The server sends no more; the transport closes."""
        self.connection_lost(None)

    cpdef connection_lost(self, exc):
        """The connection is gone."""
        if self.transport is None:  # the task that connects hears of it, or will look
            self.end_came = True
        elif exc is None:
            self.end_of_bytes()
        else:
            self.fail(fault_of(exc, self.stage))

    cdef int end_of_bytes(self) except -1:
        tls = self.transport.get_extra_info("ssl_object")
        self.ended(cut=tls is not None and not said_its_end(tls))
        return 0

    cdef bint has_come(self) except -1:
        cdef int come = -1 if self.sock is None else ps_socket_has_come(self.sock.fileno())
        return has_come(self.sock) if come < 0 and self.sock is not None else come != 0

    cdef bint facts(self, ps_tcp_facts *facts) except -1:
        return self.sock is not None and ps_socket_facts(self.sock.fileno(), facts) == 0

    cdef int hang_up(self) except -1:
        task, self.task = self.task, None
        if task is not None and task is not current_task(self.home.loop):
            task.cancel()  # which closes what there is
        elif self.transport is not None:
            self.transport.abort()
        self.transport = self.sock = None
        return 0
