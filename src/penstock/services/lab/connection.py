"""One connection of the simulated server.

It speaks HTTP on its own in place of aiohttp's server: what is measured against this server are
milliseconds, and an answer that is due after 2.0 ms has to leave after 2.0 ms also at 7,500 a second.
"""

import asyncio
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, cast

from penstock.services.lab.request_head import MAX_HEAD, BadRequest, Head

if TYPE_CHECKING:
    from penstock.services.lab.site import Site
    from penstock.timer import Handle

__all__ = ["Connection"]

AT_ONCE = 65_536  # bytes read at once; asyncio would make room for 256 KiB each time
MAX_WAITING = 65_536  # bytes that a client may send ahead
WRITE_BUFFER = 65_536
AT_A_TURN = 16  # requests that are read before other connections have their turn
RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # linger for no time


class Connection(asyncio.Protocol):
    """Reads one request after the other and writes its answer when that is due.

    No more than one request is in progress at a time; what a client sends ahead waits, up to a bound from
    which on nothing more is read.

    Args:
        site: what answers.
    """

    def __init__(self, site: "Site") -> None:
        self._site = site
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._asked: Head | None = None  # of the request whose body is still to come
        self._to_skip = 0  # bytes of that body
        self._head: Head | None = None  # of the request in progress
        self._awaited: Handle | None = None  # what will come of it
        self._stuck = False
        self._resting = False  # until the others have had their turn
        self._last = False  # nothing more will come
        self.active_at = 0  # ns, when a whole request was last read, or an answer written

    @property
    def is_busy(self) -> bool:
        """Whether a request is in progress."""
        return self._head is not None

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast(asyncio.Transport, transport)
        if hasattr(transport, "max_size"):
            transport.max_size = AT_ONCE
        self._transport.set_write_buffer_limits(WRITE_BUFFER)
        self.active_at = self._site.clock()
        if not self._site.admit(self):
            self.abort()

    def data_received(self, data: bytes) -> None:
        """A client has sent something, of any length."""
        self._received += data
        self._read_on()
        if len(self._received) > MAX_WAITING and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """A client sends nothing more; whether to stay open for it, as it may still listen."""
        self._last = True
        return self._must_wait

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is no more."""
        self._transport = None
        if self._awaited is not None:
            self._awaited.cancel()
        self._site.dismiss(self)

    def pause_writing(self) -> None:
        """The client does not read what we write."""
        self._stuck = True

    def resume_writing(self) -> None:
        """It reads again."""
        self._stuck = False
        self._go_on()

    # What the site calls

    def wait_for(self, handle: "Handle") -> None:
        """Keeps what will come of the request in progress, which ends when the client goes away."""
        self._awaited = handle

    def answer(self, response: bytes) -> None:
        """Writes the answer of the request in progress, and goes on to the next."""
        self._write(response)
        self._go_on()

    def reset(self) -> None:
        """Ends the connection by a reset, as a server that has crashed does."""
        if self._transport is not None:
            connected: Any = self._transport.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()

    def abort(self) -> None:
        """Ends the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # Requests

    @property
    def _must_wait(self) -> bool:
        return self.is_busy or self._stuck or self._resting

    def _go_on(self) -> None:
        self._read_on()
        if self._last and not self._must_wait:
            self._close()  # all that came was answered, but for a piece of a request
        elif self._transport is not None and len(self._received) <= MAX_WAITING:
            self._transport.resume_reading()

    def _read_on(self) -> None:
        left = AT_A_TURN
        while self._received and not self._must_wait and self._transport is not None:
            if not left:
                self._resting = True
                self._site.soon(self._have_rested)
                return
            left -= 1
            if self._asked is not None:
                self._skip_body(self._asked)
            elif not self._take_head():
                return

    def _have_rested(self) -> None:
        self._resting = False
        self._go_on()

    def _take_head(self) -> bool:
        """Takes the next request from what was received; False when it is not all there."""
        end = self._received.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0:
            if len(self._received) >= MAX_HEAD:
                self._refuse(BadRequest(f"the head must be at most {MAX_HEAD} bytes", 431))
            return False
        head = bytes(self._received[:end])
        del self._received[: end + 4]
        try:
            asked = self._site.head_of(head)
        except BadRequest as error:
            self._refuse(error)
            return False
        self._to_skip = asked.body_bytes
        if self._to_skip:
            self._asked = asked
        else:
            self._start(asked)
        return True

    def _skip_body(self, asked: Head) -> None:
        skipped = min(self._to_skip, len(self._received))
        del self._received[:skipped]
        self._to_skip -= skipped
        if not self._to_skip:
            self._asked = None
            self._start(asked)

    def _start(self, head: Head) -> None:
        """The request is here as a whole."""
        self._head = head
        self.active_at = self._site.clock()
        response = self._site.ask(self, head)
        if response is not None:
            self._write(response)

    def _write(self, response: bytes) -> None:
        head, self._head = self._head, None
        if self._transport is None or head is None:
            return
        self.active_at = self._site.clock()
        self._transport.write(response)
        if not head.keep_alive:
            self._close()

    def _refuse(self, error: BadRequest) -> None:
        assert self._transport is not None
        self._transport.write(self._site.refusal(error))
        self._close()

    def _close(self) -> None:
        """Ends the connection once everything is written; what was sent ahead gets no answer."""
        self._received.clear()
        if self._transport is not None:
            self._transport.close()
