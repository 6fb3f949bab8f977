"""A client of the logs distributor for asyncio."""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, NamedTuple

import aiohttp
import msgspec

from penstock.errors import InvalidValue, PenstockError
from penstock.services.bearer import bearer
from penstock.services.distributor.client.errand import Errand, Packed, PostAnswer
from penstock.services.distributor.client.errors import NotADistributor, NotDelivered, RefusedPacket
from penstock.services.distributor.client.messages import encoded
from penstock.services.distributor.client.packing import Packer
from penstock.services.distributor.client.posting import api_url
from penstock.services.http_client import reason_of
from penstock.services.retry_after import retry_after_seconds

__all__ = ["DistributorClient", "Receipt"]

log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_PACKETS = 500
"""Packets in a request."""
MAX_BYTES = 1024 * 1024
"""Bytes after which a request is closed."""


class Receipt(NamedTuple):
    """What became of packets that were sent; each is in exactly one of the lists."""

    accepted: list[str]
    """Ids."""
    refused: list[RefusedPacket]


class DistributorClient:
    """Sends packets and log messages to a distributor; an async context manager.

    What it sends is sent again, with the same ids, until the distributor has accepted or refused it, so that
    within the distributor's window nothing arrives twice. A `Retry-After` of the distributor is obeyed.

    Args:
        url: of the distributor, such as `https://logs.example:8080`.
        api_key: what it wants to be shown; one that may send is enough.
        source: the source of messages that name none.
        linger: seconds for which messages of `log` are gathered before they are sent.
        max_buffered_bytes: bound of those that are not sent yet; at it, `log` waits.
        patience: seconds after which `send`, `flush` and `aclose` give up a distributor that takes nothing.
        timeout: seconds for one request.
        context: TLS for https; the system's authorities when None.
        on_refused: told of messages of `log` that the distributor will not take; they are logged when None.
        sleep: waits between tries.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        source: str = "",
        linger: float = 0.1,
        max_buffered_bytes: int = 8 * 1024 * 1024,
        patience: float = 60.0,
        timeout: float = 10.0,
        context: ssl.SSLContext | None = None,
        on_refused: Callable[[RefusedPacket], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if max_buffered_bytes < 1:
            raise InvalidValue(f"max_buffered_bytes must be >= 1, got {max_buffered_bytes!r}")
        for name, seconds in (("patience", patience), ("timeout", timeout)):
            if not seconds > 0:
                raise InvalidValue(f"{name} must be > 0 seconds, got {seconds!r}")
        if not 0 <= linger <= 60:
            raise InvalidValue(f"linger must be >= 0 and <= 60 seconds, got {linger!r}")
        self._url = api_url(url)
        self._source = source
        self._linger = linger
        self._max_buffered_bytes = max_buffered_bytes
        self._patience = patience
        self._timeout = timeout
        self._context = context
        self._on_refused = on_refused or log_refused
        self._sleep = sleep
        self._headers = {"User-Agent": "penstock-client", "Accept-Encoding": "identity"}
        if api_key is not None:
            self._headers["Authorization"] = bearer(api_key)
        self._packer = Packer()
        self._lines: list[bytes] = []
        self._unsent: deque[Packed] = deque()
        self._errand = Errand([])
        self._buffered_bytes = 0  # of all three
        self._wanted = asyncio.Event()
        self._hurry = asyncio.Event()
        self._changed = asyncio.Condition()
        self._trouble: NotADistributor | None = None
        self._task: asyncio.Task[None] | None = None
        self.accepted = 0
        """Packets that the distributor has taken."""
        self.refused = 0
        """Packets that it will not take."""

    async def __aenter__(self) -> "DistributorClient":
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            connector=aiohttp.TCPConnector(ssl=self._context or True, limit=8),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers=self._headers,
        )
        self._task = asyncio.create_task(self._send_for_ever(), name="distributor client")
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        try:
            await self.aclose()
        except NotDelivered:
            if kind is None:  # else the first error is the one to tell
                raise

    def _must_be_entered(self) -> None:
        if self._task is None:
            raise NotEntered("a DistributorClient must be entered with `async with` before it sends anything")

    # Packets

    async def send(self, packets: Sequence[Mapping[str, Any]]) -> Receipt:
        """Sends packets as the REST API takes them; returns when each is stored or refused.

        Those without an `id` get one.

        Raises:
            TypeError: a packet is nothing that JSON can carry.
            NotDelivered: the distributor took nothing for `patience` seconds; it has what is left.
            NotADistributor: something else answers there, or the key is not known.
        """
        self._must_be_entered()
        waiting = deque(self._packed(packet) for packet in packets)
        receipt = Receipt([], [])
        while waiting:
            errand = Errand(next_batch(waiting))
            try:
                await self._carry(errand)
            except NotDelivered as error:
                error.packets = told([*errand.left, *waiting])
                raise
            finally:
                receipt.accepted.extend(packet.id for packet in errand.accepted)
                receipt.refused.extend(errand.refused)
                self._count(errand)
        return receipt

    def _packed(self, packet: Mapping[str, Any]) -> Packed:
        id_ = packet.get("id")
        if id_ is None:
            id_ = self._packer.new_id()
        return Packed(str(id_), len(packet.get("messages") or ()), msgspec.json.encode({**packet, "id": id_}))

    async def _carry(self, errand: Errand) -> None:
        """Sends until everything has its outcome, or nothing has been taken for too long."""
        clock = asyncio.get_running_loop().time
        since, left = clock(), len(errand.left)
        while errand.next:
            pause = await self._try(errand)
            if len(errand.left) < left:
                since, left = clock(), len(errand.left)
            if pause:
                if clock() + pause - since > self._patience:
                    raise self._not_delivered(errand.why)
                await self._sleep(pause)

    async def _try(self, errand: Errand) -> float:
        """One request; seconds to wait before the next."""
        try:
            return errand.answered(await self._post(errand.body()))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error, NotADistributor):
                raise
            return errand.lost(reason_of(error))

    async def _post(self, body: bytes) -> PostAnswer:
        headers = {"Content-Type": "application/json"}
        async with self._session.post(
            self._url, data=BytesIO(body), headers=headers, allow_redirects=False
        ) as response:
            answer = bytearray()
            async for chunk in response.content.iter_any():
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    raise aiohttp.ClientPayloadError
            wait = retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC))
            return PostAnswer(response.status, wait, bytes(answer))

    def _count(self, errand: Errand) -> None:
        self.accepted += len(errand.accepted)
        self.refused += len(errand.refused)

    def _not_delivered(self, why: str) -> NotDelivered:
        return NotDelivered(f"{self._url} took nothing for {self._patience:g} s: {why or 'no answer yet'}")

    # Messages

    async def log(
        self,
        level: str,
        message: str,
        *,
        source: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        timestamp: datetime | None = None,
    ) -> None:
        """Puts a message into the buffer, from which it is sent soon; waits while the buffer is full.

        `flush` returns when it is stored.

        Args:
            level: such as `"INFO"`.
            message: the text.
            source: where it comes from; the client's own source when None.
            metadata: whatever else there is to say; what JSON does not have is told by its `repr`.
            timestamp: with its zone; now when None.
        """
        self._must_be_entered()
        moment = datetime.now(UTC) if timestamp is None else timestamp
        if moment.utcoffset() is None:
            raise InvalidValue(f"timestamp must have its zone, got {timestamp!r}")
        line = encoded(
            level, message, self._source if source is None else source, moment.isoformat(), metadata
        )
        if not self._has_room(len(line)):
            self._hurry.set()
            async with self._changed:
                await self._changed.wait_for(lambda: self._has_room(len(line)))
        self._lines.append(line)
        self._buffered_bytes += len(line)
        self._wanted.set()
        if self._buffered_bytes >= MAX_BYTES:
            self._hurry.set()

    def _has_room(self, size: int) -> bool:
        return not self._buffered_bytes or self._buffered_bytes + size <= self._max_buffered_bytes

    async def _send_for_ever(self) -> None:
        while True:
            await self._wanted.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._linger)
            self._wanted.clear()
            self._hurry.clear()
            lines, self._lines = self._lines, []
            self._unsent.extend(self._packer.pack(lines))
            size = sum(map(len, lines))
            while self._unsent:
                self._errand = Errand(next_batch(self._unsent))
                await self._carry_on(self._errand)
            async with self._changed:
                self._buffered_bytes -= size
                self._changed.notify_all()

    async def _carry_on(self, errand: Errand) -> None:
        """As `_carry`, for ever: who waits in `flush` gives up by themselves, and the messages stay."""
        while errand.next:
            try:
                pause = await self._try(errand)
                self._trouble = None
            except NotADistributor as error:
                self._trouble = error
                pause = errand.backoff.delay(errand.failures)
            if pause:
                async with self._changed:
                    self._changed.notify_all()
                await self._sleep(pause)
        self._count(errand)
        for refused in errand.refused:
            try:
                self._on_refused(refused)
            except Exception:
                log.exception("on_refused failed")

    async def flush(self) -> None:
        """Returns when every message so far is stored, or refused.

        Raises:
            NotDelivered: the distributor took nothing for `patience` seconds; the messages stay there.
            NotADistributor: something else answers there, or the key is not known; likewise.
        """
        self._hurry.set()
        clock = asyncio.get_running_loop().time
        since, before = clock(), self._progress()
        async with self._changed:
            while self._buffered_bytes:
                if self._trouble is not None:
                    raise self._trouble
                if self._progress() != before:
                    since, before = clock(), self._progress()
                elif clock() - since >= self._patience:
                    raise self._not_delivered(self._errand.why)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), since + self._patience - clock())

    def _progress(self) -> tuple[int, int]:
        """What changes whenever the distributor takes or refuses something."""
        return self.accepted + self.refused, len(self._errand.left)

    async def aclose(self) -> None:
        """Sends what is in the buffer and ends.

        Raises:
            NotDelivered: the distributor did not take all of it; the error has what is left.
        """
        if self._task is None:
            return
        try:
            await self.flush()
        except (NotDelivered, NotADistributor) as error:
            left = told([*self._errand.left, *self._unsent, *self._packer.pack(self._lines)])
            raise NotDelivered(str(error), left) from None
        finally:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
            await self._session.close()


class NotEntered(PenstockError, RuntimeError):
    """A client is used before it is entered."""


def next_batch(waiting: deque[Packed]) -> list[Packed]:
    """Takes what makes up the next request."""
    batch: list[Packed] = []
    size = 0
    while waiting and len(batch) < MAX_PACKETS and size < MAX_BYTES:
        batch.append(waiting.popleft())
        size += len(batch[-1].body)
    return batch


def told(packets: Sequence[Packed]) -> list[dict[str, Any]]:
    """Packets as the REST API takes them."""
    return [msgspec.json.decode(packet.body) for packet in packets]


def log_refused(refused: RefusedPacket) -> None:
    log.error("the distributor refused packet %s: %s: %s", refused.id, refused.code, refused.error)
