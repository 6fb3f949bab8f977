"""The fast path: plain requests with packets, read and answered without the web framework.

Nearly all that the service is asked is POST /api/v1/logs, and for a packet or two the framework takes most of
the time. So every connection begins here, and stays as long as its requests are plain: that method and path,
a length, and of the header fields only those that change nothing. With the first other request it goes to
aiohttp, from the first byte of that request on and for good. What is unusual, wrong or dangerous is never
interpreted here, and there is one set of rules for it.

Clients see no difference but in speed. The fast path is closed while there are API keys or limits of clients,
which are checked by middlewares.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import cast

from aiohttp import web

from penstock.services.distributor.admission import NotStored, Receipt
from penstock.services.distributor.packets import UnreadableRequest
from penstock.services.distributor.request_body import BodyRoom, TooSlow
from penstock.services.distributor.rest.answers import encode
from penstock.services.distributor.rest.bodies import refusal_for_room, refusal_of_slow
from penstock.services.distributor.rest.packets import answer_of, receipt_told, refusal_of
from penstock.services.distributor.state import Distributor
from penstock.services.problem_details import fault_of_ours

__all__ = ["FastPath"]

log = logging.getLogger(__name__)

REQUEST_LINE = b"POST /api/v1/logs HTTP/1.1\r\n"
MAX_HEAD = 4096
"""Bytes of a head that is looked at here."""
FIELD = re.compile(rb"([A-Za-z-]+):[ \t]*([\x20-\x7e]*?)[ \t]*")
NEEDED = {b"host", b"content-length", b"content-type"}
HARMLESS = {
    b"accept", b"accept-language", b"accept-encoding", b"cache-control", b"connection", b"idempotency-key",
    b"pragma", b"traceparent", b"tracestate", b"user-agent", b"x-request-id",
}  # fmt: skip
"""Fields that an answer does not depend on; of `connection` only the usual value is understood."""
LENGTH = re.compile(rb"[0-9]{1,12}")
IDLE_TIMEOUT = 75.0
"""Seconds without a byte after which a connection is closed, as aiohttp does it."""


class FastPath:
    """Makes the protocols of connections.

    Args:
        distributor: takes the packets.
        slow_path: makes aiohttp's protocol of a connection.
        bodies: the room for requests, of which aiohttp's handlers take theirs, too.
        is_open: whether plain requests may be answered without middlewares now.
    """

    def __init__(
        self,
        distributor: Distributor,
        slow_path: Callable[[], asyncio.Protocol],
        bodies: BodyRoom,
        is_open: Callable[[], bool] = lambda: True,
    ) -> None:
        self.distributor = distributor
        self.slow_path = slow_path
        self.bodies = bodies
        self.is_open = is_open
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.answering: set[asyncio.Task[None]] = set()
        self._date = (0, b"")

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return Connection(self)

    async def aclose(self, seconds: float) -> None:
        """Closes the connections that wait for a request; those that wait for an answer get so much time."""
        for connection in list(self.connections):
            connection.end()
        if self.answering:
            await asyncio.wait(self.answering, timeout=seconds)
        for connection in list(self.connections):
            connection.abort()

    async def answer(self, body: bytes) -> bytes:
        """What is answered to a request with this body, as it is written to the connection."""
        distributor = self.distributor
        try:
            receipt = await distributor.accept(body)
            if not receipt.refused:
                return self._accepted(receipt)
            return self._written(answer_of(receipt, distributor))
        except (UnreadableRequest, NotStored) as error:
            return self._written(refusal_of(error))
        except Exception:
            log.exception("POST /api/v1/logs failed")
            return self._written(fault_of_ours())

    def no_room(self) -> bytes:
        """What is answered to a request for which there is no room."""
        return self._written(refusal_for_room(self.bodies.refusal()))

    def too_slow(self, received: int) -> bytes:
        """What is answered to a request whose body did not come in time; the connection ends with it."""
        return self._written(refusal_of_slow(TooSlow(self.distributor.config.body_timeout, received)))

    def _accepted(self, receipt: Receipt) -> bytes:
        """What nearly all get, put together by hand."""
        body = encode(receipt_told(receipt))
        durability = self.distributor.config.accepted_when.encode()
        return (
            b"HTTP/1.1 202 Accepted\r\nX-Penstock-Durability: %s\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nDate: %s\r\n\r\n%s\n"
        ) % (durability, len(body) + 1, self._now(), body)

    def _written(self, answer: web.Response) -> bytes:
        fields = "".join([f"{name}: {value}\r\n" for name, value in answer.headers.items()])
        assert isinstance(answer.body, bytes)
        head = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n{fields}"
        return b"%sContent-Length: %d\r\nDate: %s\r\n\r\n%s" % (
            head.encode(), len(answer.body), self._now(), answer.body,
        )  # fmt: skip

    def _now(self) -> bytes:
        second = int(self.loop.time())
        if second != self._date[0]:
            self._date = second, formatdate(usegmt=True).encode()
        return self._date[1]


class Connection(asyncio.Protocol):
    """One connection; its requests are answered one after the other."""

    __slots__ = (
        "_body", "_due", "_head", "_idle", "_is_answering", "_is_ending", "_is_paused", "_is_stuck",
        "_length", "_missing", "_path", "_received", "_received_at", "_rest", "_transport",
    )  # fmt: skip

    def __init__(self, path: FastPath) -> None:
        self._path = path
        self._transport: asyncio.Transport
        self._head = b""  # of the request before; most clients send the same one again and again
        self._length: int | None = None
        self._rest = b""  # what has come of the next request
        self._body: list[bytes] = []  # what has come of a body that is not whole yet
        self._received = 0  # bytes of that, for which there is room
        self._missing = 0
        self._due: asyncio.TimerHandle | None = None  # when all of it must have come
        self._is_answering = False
        self._is_ending = False
        self._is_paused = False
        self._is_stuck = False  # the client does not read its answers

    # What happens to the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, and no subclass
        self._path.connections.add(self)
        self._received_at = self._path.loop.time()
        self._idle = self._path.loop.call_later(IDLE_TIMEOUT, self._look_whether_idle)

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._leave()
        self._rest = b""

    def _leave(self) -> None:
        self._path.connections.discard(self)
        self._idle.cancel()
        self._path.bodies.give_back(self._received)
        self._end_body()

    def _look_whether_idle(self) -> None:
        left = self._received_at + IDLE_TIMEOUT - self._path.loop.time()
        if left <= 0 and not self._is_answering:
            self._transport.close()
        else:
            self._idle = self._path.loop.call_later(max(left, 1.0), self._look_whether_idle)

    def end(self) -> None:
        """Closes it, after the answer that is waited for."""
        self._is_ending = True
        if not self._is_answering:
            self._transport.close()

    def abort(self) -> None:
        """Closes it, whatever is waited for."""
        self._transport.abort()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`: no further request is looked at before answers are read."""
        self._is_stuck = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._is_stuck = False
        self._go_on()

    # Reading

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._received_at = self._path.loop.time()
        if self._missing:
            self._take_more_of_body(data)
        elif self._is_answering or self._is_stuck:  # the client does not wait for its answer
            self._rest += data
            self._is_paused = True
            self._transport.pause_reading()
        else:
            self._take(self._rest + data if self._rest else data)

    def _take(self, data: bytes) -> None:
        """Begins with a request, as far as it is there."""
        if self._transport.is_closing():  # over TLS, what comes still comes
            return
        end = data.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0:
            if len(data) < MAX_HEAD and data.startswith(REQUEST_LINE[: len(data)]):
                self._rest = data
            else:
                self._hand_over(data)
            return
        if (length := self._length_by(data[: end + 2])) is None:
            self._hand_over(data)
            return
        start = end + 4
        bodies, is_whole = self._path.bodies, len(data) >= start + length
        if not (bodies.take(length) if is_whole else bodies.fits(length) and bodies.take(len(data) - start)):
            if is_whole:
                self._rest = data[start + length :]
                self._begin(None)
            else:
                self._hand_over(data)  # to be refused, and heard out
            return
        if not is_whole:
            self._begin_body(data[start:], length)
            return
        self._rest = data[start + length :]
        self._begin(data[start : start + length])

    def _begin_body(self, piece: bytes, length: int) -> None:
        path = self._path
        self._rest, self._body = b"", [piece]
        self._received, self._missing = len(piece), length - len(piece)
        self._due = path.loop.call_later(path.distributor.config.body_timeout, self._refuse_slow_body)

    def _take_more_of_body(self, data: bytes) -> None:
        piece = data[: self._missing]
        if not self._path.bodies.take(len(piece)):
            self._hand_over(b"".join([self._head, b"\r\n", *self._body, data]))  # to be refused
            return
        self._body.append(piece)
        self._received += len(piece)
        self._missing -= len(piece)
        self._rest = data[len(piece) :]
        if not self._missing:
            body = b"".join(self._body)
            self._end_body()
            self._begin(body)

    def _end_body(self) -> None:
        """Nothing of a body is waited for any more; what room it has is somebody else's."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self._body = []
        self._received = self._missing = 0

    def _refuse_slow_body(self) -> None:
        self._transport.write(self._path.too_slow(self._received))
        self._path.bodies.give_back(self._received)
        self._end_body()
        self._transport.close()

    def _length_by(self, head: bytes) -> int | None:
        """The length of the body of a plain request; None when it is none."""
        if not self._path.is_open():
            return None
        if head != self._head:
            self._head, self._length = head, length_by(head)
        length = self._length
        return None if length is None or length > self._path.distributor.config.max_body_bytes else length

    def _hand_over(self, data: bytes) -> None:
        """The connection is aiohttp's from here on."""
        self._leave()
        self._rest = b""
        handler = self._path.slow_path()
        self._transport.set_protocol(handler)
        handler.connection_made(self._transport)
        handler.data_received(data)

    # Answering

    def _begin(self, body: bytes | None) -> None:
        """Has a request answered; None is one for whose body there is no room."""
        self._is_answering = True
        path = self._path
        task = path.loop.create_task(self._answer(body))
        path.answering.add(task)
        task.add_done_callback(path.answering.discard)

    async def _answer(self, body: bytes | None) -> None:
        if body is None:
            answer = self._path.no_room()
        else:
            try:
                answer = await self._path.answer(body)
            finally:
                self._path.bodies.give_back(len(body))
        self._is_answering = False
        if self._transport.is_closing():
            return
        self._transport.write(answer)
        if self._is_ending:
            self._transport.close()
        elif not self._is_stuck:
            self._go_on()

    def _go_on(self) -> None:
        """Looks at what has come meanwhile."""
        if self._is_answering or self._transport.is_closing():
            return
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        if self._rest:
            rest, self._rest = self._rest, b""
            self._take(rest)


def length_by(head: bytes) -> int | None:
    """The length of the body that follows this head, ended by a CRLF; None when the request is not plain."""
    if not head.startswith(REQUEST_LINE):
        return None
    fields: dict[bytes, bytes] = {}
    for line in head[len(REQUEST_LINE) : -2].split(b"\r\n"):
        field = FIELD.fullmatch(line)
        if field is None or (name := field[1].lower()) in fields:
            return None
        fields[name] = field[2]
    if not (fields.keys() >= NEEDED and fields.keys() - NEEDED <= HARMLESS):
        return None
    if fields[b"content-type"].lower() != b"application/json" or not LENGTH.fullmatch(
        fields[b"content-length"]
    ):
        return None
    if fields.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    return int(fields[b"content-length"])
