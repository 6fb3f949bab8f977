"""Connections on own sockets, compiled: the twin of _sockets_py.py over csrc/stamped_socket.c."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from penstock.probing._pool_c cimport (
    CONNECTING,
    HANDSHAKING,
    READ,
    Pool,
    PooledConnection,
    ps_tcp_facts,
)

import ssl

from penstock.probing._sockets_py import Tls
from penstock.probing.failures import NO_ADDRESS, fault_of
from penstock.probing.resolver import literal
from penstock.probing.tls import default_context, tls_facts_of

__all__ = ["Sockets"]

cdef extern from "stamped_socket.h" nogil:
    ctypedef struct ps_endpoint:
        const char *ip
        uint32_t scope
        uint16_t port

    ctypedef struct ps_ready:
        uint64_t tag
        uint32_t events

    int ps_poller_open()
    int ps_poller_wait(int poller, ps_ready *ready, int room)
    int ps_stamping_socket()
    int ps_socket_connect(int poller, uint64_t tag, const ps_endpoint *to, const ps_endpoint *source)
    int ps_socket_connected(int fd)
    int ps_socket_has_come(int fd)
    int64_t ps_socket_send(int fd, const void *bytes, size_t size)
    int64_t ps_socket_receive(int fd, void *bytes, size_t room, int64_t *stamp)
    int ps_socket_facts(int fd, ps_tcp_facts *facts)
    void ps_socket_close(int fd)

cdef enum:
    FIRST_READ = 512  # as in the fallback, which says why
    READS = 16
    EVENTS = 256
    OUT = 0x4
    ENDED = 0x2018


cdef class Sockets(Pool):
    """Sockets(settings, *, clock=None, wall=None)\n--\n
    Makes connections on the running event loop; see Connections.

    Args:
        settings: how to connect.
        clock: monotonic nanoseconds; None for the system's.
        wall: nanoseconds since 1970; None for the system's.
    """

    cdef bytes source_ip
    cdef ps_endpoint source
    cdef int poller, stamping
    cdef dict open_ones  # by their tags, which no two connections share
    cdef uint64_t last_tag

    def __cinit__(self, *arguments, **named):
        self.poller = self.stamping = -1
        self.open_ones = {}

    def __dealloc__(self):
        self.close_descriptors()

    def __init__(self, settings, *, clock=None, wall=None):
        Pool.__init__(self, settings, clock=clock, wall=wall)
        source = None if settings.source is None else literal(settings.source, 0)
        if source is not None:
            self.source_ip = source.ip.encode()
            self.source = ps_endpoint(PyBytes_AS_STRING(self.source_ip), source.scope, 0)
        self.stamping = checked(ps_stamping_socket())
        self.poller = checked(ps_poller_open())
        self.loop.add_reader(self.poller, self._look)

    cdef PooledConnection new_connection(self):
        return SocketConnection.__new__(SocketConnection)

    def close(self):
        """Closes all of them."""
        if self.poller >= 0:
            Pool.close(self)
            self.loop.remove_reader(self.poller)
            self.close_descriptors()

    cdef int close_descriptors(self) except -1:
        if self.poller >= 0:
            ps_socket_close(self.poller)
        if self.stamping >= 0:
            ps_socket_close(self.stamping)
        self.poller = self.stamping = -1
        return 0

    def _look(self):
        """The loop says that a socket is ready."""
        cdef ps_ready ready[EVENTS]
        cdef int count = ps_poller_wait(self.poller, ready, EVENTS)
        cdef SocketConnection connection
        cdef int i
        self.is_looking = True
        try:
            for i in range(count):
                connection = <SocketConnection>self.open_ones.get(ready[i].tag)
                if connection is not None:  # else closed by one before it, or open in a fork of this process
                    connection.ready(ready[i].events)
        except BaseException:  # of a signal
            self.loop.call_soon(self._wake_tasks)
            raise
        finally:
            self.is_looking = False
        if self.answered:
            self._wake_tasks()


cdef int checked(int fd) except -1:
    if fd < 0:
        raise OSError(-fd, "epoll")
    return fd


cdef class SocketConnection(PooledConnection):
    """One connection, see Connection."""

    cdef int fd
    cdef uint64_t tag  # of this descriptor
    cdef str going_to
    cdef object tls
    cdef bytes unsent
    cdef Py_ssize_t unsent_at

    def __cinit__(self):
        self.fd = -1

    def __dealloc__(self):
        if self.fd >= 0:
            ps_socket_close(self.fd)

    # Connecting

    cdef int connect(self) except -1:
        """Sets out for the next address; the last one's fault is the connection's."""
        cdef Sockets home = <Sockets>self.home
        cdef ps_endpoint there
        cdef bytes ip
        cdef int fd
        fault = NO_ADDRESS
        self.hang_up()
        while self.addresses:
            address = self.next_address()
            self.going_to = address.ip
            ip = self.going_to.encode()
            there = ps_endpoint(PyBytes_AS_STRING(ip), address.scope, address.port)
            home.last_tag += 1
            fd = ps_socket_connect(
                home.poller,
                home.last_tag,
                &there,
                NULL if home.source_ip is None else &home.source,
            )
            if fd >= 0:
                self.fd, self.tag = fd, home.last_tag
                home.open_ones[self.tag] = self
                return 0
            fault = fault_of(OSError(-fd, "connect"), CONNECTING)
        self.fail(fault)
        return 0

    cdef int check_connected(self) except -1:
        cdef int failed = ps_socket_connected(self.fd)
        if failed == -EAGAIN:
            return 0
        if failed and self.addresses:
            self.connect()
            return 0
        if failed:
            self.fail(fault_of(OSError(-failed, "connect"), CONNECTING))
            return 0
        self.address = self.going_to
        self.connected = self.home.now()
        if self.addresses:
            self.addresses.clear()
            self.home.wake_at(self, self.until)
        if self.secure:
            settings = self.home.settings
            self.stage = HANDSHAKING
            self.tls = Tls(settings.ssl or default_context(), settings.server_hostname or self.request.host)
            self.shake_hands()
        else:
            self.end_turn()
            self.send()
        return 0

    # TLS

    cdef int shake_hands(self) except -1:
        try:
            done = self.tls.shake_hands()
        except (ssl.SSLError, ssl.CertificateError) as error:
            self.write(self.tls.to_send())  # the alert that tells the server why
            self.fail(fault_of(error, HANDSHAKING))
            return 0
        if not done:
            self.write(self.tls.to_send())
            return 0
        self.secured = self.home.now()
        self.end_turn()
        self.tls_facts = tls_facts_of(self.tls.object, certificate=self.home.settings.tls_facts)
        self.send()
        return 0

    # Sending

    cdef bytes outgoing(self, bytes data):
        return data if self.tls is None else self.tls.encrypted(data)

    cdef int write(self, bytes data) except -1:
        if self.unsent is not None:
            self.unsent = self.unsent[self.unsent_at:] + data
            self.unsent_at = 0
            return 0
        self.unsent, self.unsent_at = data, 0
        self.flush()
        return 0

    cdef bint has_unsent(self) except -1:
        return self.unsent is not None

    cdef int flush(self) except -1:
        cdef int64_t sent
        cdef Py_ssize_t left = PyBytes_GET_SIZE(self.unsent) - self.unsent_at
        while left > 0 and self.fd >= 0:
            sent = ps_socket_send(self.fd, PyBytes_AS_STRING(self.unsent) + self.unsent_at, left)
            if sent == -EAGAIN:
                return 0
            if sent < 0:  # there may be an answer all the same; if not, reading tells why
                break
            self.unsent_at += sent
            left -= sent
        self.unsent = None
        return 0

    # Reading

    cdef int ready(self, uint32_t events) except -1:
        """Something can go on."""
        if self.fd < 0:
            return 0
        try:
            if self.stage == CONNECTING:
                self.check_connected()
                return 0
            if events & OUT and self.unsent is not None:
                self.flush()
            if events & ~<uint32_t>OUT:
                self.receive(events)
        except Exception as error:  # nobody would hear of it but the event loop
            self.fail(fault_of(error, self.stage))
        return 0

    cdef int receive(self, uint32_t events) except -1:
        cdef Pool home = self.home
        cdef int64_t size, stamp
        cdef size_t room
        cdef int i
        for i in range(READS):
            if self.fd < 0:
                return 0
            room = FIRST_READ if self.first == 0 else READ
            stamp = 0
            size = ps_socket_receive(self.fd, home.buffer, room, &stamp)
            if size == -EAGAIN:
                return 0
            if size < 0:
                self.fail(fault_of(OSError(<int>-size, "recv"), self.stage))
                return 0
            if size == 0:
                self.ended(cut=self.tls is not None)
                return 0
            if self.tls is None:
                self.take(home.buffer, size, stamp)
            else:
                self.take_secret(PyBytes_FromStringAndSize(<char *>home.buffer, size), stamp)
            if <size_t>size < room and not events & ENDED:
                return 0
        home.loop.call_soon(self.receive_on)
        return 0

    def receive_on(self):
        """Others have had their turn."""
        self.ready(~<uint32_t>OUT)

    cdef int take_secret(self, bytes data, int64_t stamp) except -1:
        """Bytes of TLS have come."""
        cdef bytes plain
        self.tls.received(data)
        if self.stage == HANDSHAKING:
            self.shake_hands()
        while self.fd >= 0 and self.stage != HANDSHAKING:  # idle, there are messages of TLS itself
            try:
                plain = self.tls.decrypted()
            except ssl.SSLError as error:
                self.fail(fault_of(error, self.stage))
                return 0
            if plain is None:
                break
            if not plain:
                self.ended()
                return 0
            self.take(<uint8_t *>PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain), stamp)
        if self.fd >= 0 and self.tls.out.pending:  # some want an answer
            self.write(self.tls.to_send())
        return 0

    cdef bint has_come(self) except -1:
        return self.fd < 0 or ps_socket_has_come(self.fd) != 0

    cdef bint facts(self, ps_tcp_facts *facts) except -1:
        return self.fd >= 0 and ps_socket_facts(self.fd, facts) == 0

    cdef int hang_up(self) except -1:
        cdef Sockets home = <Sockets>self.home
        if self.fd >= 0:
            home.open_ones.pop(self.tag, None)
            ps_socket_close(self.fd)
            self.fd = -1
        return 0
