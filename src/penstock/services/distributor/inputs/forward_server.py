"""The forward protocol over TCP and TLS: a chunk is acknowledged when its records are stored."""

import asyncio
import logging
import socket
import ssl
from contextlib import suppress

from penstock.services.distributor.inputs.forward import (
    BadForward,
    Events,
    Handshake,
    ack,
    events_of,
    records_of,
)
from penstock.services.distributor.inputs.long_text import RecordLengths
from penstock.services.distributor.inputs.msgpack import BadMessagePack, MessagePackStream
from penstock.services.distributor.inputs.storing import Storing

__all__ = ["ForwardServer"]

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 1000
READ = 128 * 1024
LARGE = 256 * 1024
"""Bytes of a message that is taken apart in a thread, so that others have their turn."""
STRETCH = 250
"""Events and messages that are looked at until others have their turn."""
HANDSHAKE_TIMEOUT = 10.0
STALLED = 60.0
"""Seconds that an answer may take to be taken."""
MOST_PING = 4096
MOST_RECORDS = 1000
MOST_BYTES = 1024 * 1024
"""Records, and bytes of them, that are stored at a time."""


class ForwardServer:
    """Listens for the forward protocol.

    Args:
        storing: stores what comes.
        lengths: of records.
        most_message: bytes of the longest message, also after decompression.
        most_held: when all clients' messages take so many bytes, no new one is begun.
        message_timeout: seconds within which a message that was begun must be whole.
        shared_key: what clients must know; empty: nothing.
        tls: what is shown to clients; None: plain TCP.
    """

    def __init__(
        self,
        storing: Storing,
        lengths: RecordLengths,
        *,
        most_message: int,
        most_held: int,
        message_timeout: float,
        shared_key: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.storing = storing
        self.lengths = lengths
        self.most_message = most_message
        self.most_held = most_held
        self.message_timeout = message_timeout
        self.shared_key = shared_key
        self.closing = False
        self.has_room = asyncio.Event()
        self.has_room.set()
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], ForwardConnection] = {}

    async def start(self, host: str, port: int) -> None:
        """Begins to listen.

        Raises:
            OSError: it cannot.
        """
        handshake = HANDSHAKE_TIMEOUT if self._tls else None
        self._server = await asyncio.start_server(
            self._connected,
            host,
            port,
            ssl=self._tls,
            ssl_handshake_timeout=handshake,
            limit=READ,
            backlog=512,
        )

    @property
    def held(self) -> int:
        """Bytes of messages that are not whole yet, or not stored."""
        return self.storing.figures.held_bytes

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def aclose(self, within: float) -> None:
        """Ends: messages that are whole are stored and acknowledged, if that is done `within` seconds."""
        if self._server is None:
            return
        self.closing = True
        self.has_room.set()
        self._server.close()
        for task, connection in self._connections.items():
            if connection.reading:
                task.cancel()
        tasks = tuple(self._connections)
        if tasks:
            await asyncio.wait(tasks, timeout=within)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # connections are closed in the loop's next turn
        self._server = None

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MOST_CONNECTIONS or self.closing:
            log.warning("a forward connection refused: %d are open", len(self._connections))
            writer.transport.abort()
            return
        connection = ForwardConnection(self, reader, writer)
        task = asyncio.create_task(connection.serve(), name="forward")
        self._connections[task] = connection
        self.storing.figures.connections = len(self._connections)
        task.add_done_callback(self._disconnected)

    def _disconnected(self, task: asyncio.Task[None]) -> None:
        del self._connections[task]
        self.storing.figures.connections = len(self._connections)
        if not task.cancelled() and (error := task.exception()):
            log.error("a forward connection failed for a reason that nobody thought of", exc_info=error)


class ForwardConnection:
    """One connection.

    Args:
        server: whose it is.
        reader: its one direction.
        writer: and the other.
    """

    def __init__(
        self, server: ForwardServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reading = False
        """Whether it waits for the client, and nothing is lost when it does not."""
        self._server = server
        self._reader = reader
        self._writer = writer
        self._held = 0
        self._records: list[bytes] = []  # that wait to be stored
        self._size = 0  # bytes of them
        self._looked_at = 0

    async def serve(self) -> None:
        """Takes messages until the client ends, or breaks the rules."""
        peer = self._writer.get_extra_info("peername")
        try:
            if self._server.shared_key:
                async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                    if not await self._let_in():
                        log.warning("a forward client at %s does not know the shared key", peer)
                        return
            await self._take_messages()
        except (BadForward, BadMessagePack) as error:
            self._server.storing.figures.refused += 1
            log.warning("a forward connection of %s closed: %s", peer, error)
        except (OSError, TimeoutError, ssl.SSLError) as error:
            log.debug("a forward connection of %s ended: %r", peer, error)
        finally:
            self._hold(0)
            await self._close()

    async def _close(self) -> None:
        if self._server.closing:
            self._writer.transport.abort()
        self._writer.close()
        with suppress(OSError, TimeoutError, ssl.SSLError):
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()

    async def _let_in(self) -> bool:
        handshake = Handshake(self._server.shared_key, socket.gethostname())
        self._writer.write(handshake.hello())
        stream = MessagePackStream(MOST_PING)
        while data := await self._read(MOST_PING):
            for ping in stream.feed(data):
                if stream.held > len(ping):
                    raise BadForward("a ping must be answered before anything follows it")
                answer, reason = handshake.answer(ping)
                self._writer.write(answer)
                await self._writer.drain()
                return not reason
        return False

    async def _take_messages(self) -> None:
        stream = MessagePackStream(self._server.most_message)
        within, now = self._server.message_timeout, asyncio.get_running_loop().time
        due = None  # when the message that was begun must be whole
        while True:
            if not stream.held and not self._server.closing:
                await self._server.has_room.wait()
            try:
                async with asyncio.timeout_at(due if stream.held else None):
                    data = await self._read(READ)
            except TimeoutError:
                raise BadForward(
                    f"a message must come within {within:g} s, got {stream.held} bytes"
                ) from None
            if not data:
                return
            begins = not stream.held
            for frame in stream.feed(data):
                begins = True
                await self._pass_on()
                if (events := await self._events_of(frame)) is not None:
                    self._hold(stream.held + len(events.entries))
                    await self._take(events)
            await self._store()
            self._hold(stream.held)
            if begins:  # from here on, for storing may have taken long
                due = now() + within

    async def _events_of(self, frame: bytes) -> Events | None:
        most = self._server.most_message
        if len(frame) < LARGE:
            return events_of(frame, most)
        return await asyncio.to_thread(events_of, frame, most)

    async def _pass_on(self) -> None:
        """Gives others a turn now and then, for what is no event needs no waiting."""
        self._looked_at += 1
        if self._looked_at % STRETCH == 0:
            await asyncio.sleep(0)

    async def _read(self, most: int) -> bytes:
        """What the client sent; at the end of the service, only what is there already."""
        if not self._server.closing:
            self.reading = True
            try:
                return await self._reader.read(most)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not self._server.closing or task is None:
                    raise
                task.uncancel()
            finally:
                self.reading = False
        try:
            async with asyncio.timeout(0):
                return await self._reader.read(most)
        except TimeoutError:
            return b""

    def _hold(self, size: int) -> None:
        """Counts what is held of messages."""
        most = self._server.most_held
        self._server.storing.figures.held_bytes += size - self._held
        self._held = size
        if self._server.held < most:
            self._server.has_room.set()
        else:
            self._server.has_room.clear()
        if size and self._server.held > 2 * most:  # clients that began messages and do not end them
            raise BadForward(f"messages of all clients must be at most {2 * most} bytes at a time")

    async def _take(self, events: Events) -> None:
        """Stores the events that are to be acknowledged, and acknowledges them; keeps others for a while."""
        if events.ids is not None:
            await self._store()
        part = 0
        for records in records_of(events, self._server.lengths):
            figures = self._server.storing.figures
            figures.received += max(len(records), 1)
            figures.refused += not records
            await self._pass_on()
            self._records += records
            self._size += sum(map(len, records))
            if len(self._records) >= MOST_RECORDS or self._size >= MOST_BYTES:
                await self._store(events.ids, part)
                part += 1
        if events.chunk is not None:
            await self._store(events.ids, part)
            self._writer.write(ack(events.chunk))
            async with asyncio.timeout(STALLED):
                await self._writer.drain()

    async def _store(self, ids: str | None = None, part: int = 0) -> None:
        if not self._records:
            return
        records, self._records, self._size = self._records, [], 0
        await self._server.storing.store(records, f"{ids}-{part}" if ids else None)
