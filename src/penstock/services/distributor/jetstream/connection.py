"""The connection to NATS: many messages are published at a time, and each is answered for.

What a server has not confirmed counts as not done. While it cannot be reached everything says so at once,
and the connection is sought for ever.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from penstock.errors import PenstockError
from penstock.services.distributor.jetstream.address import Address
from penstock.services.distributor.jetstream.message import Message, framed, headers_size
from penstock.services.distributor.spool import SpoolError

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

    from penstock.services.distributor.jetstream.wire import Wire

__all__ = ["Ack", "Away", "Connection", "Outgoing", "Problem", "Refused"]

log = logging.getLogger(__name__)

ANSWER_TIMEOUT = 5.0
"""Seconds after which a server that has not answered is taken to have failed."""
RECONNECT_PAUSE = 0.25
CONNECT_TIMEOUT = 2.0
PING_INTERVAL = 5
"""Seconds between two signs of life; two that are missed end a connection."""
SETTING_UP_PAUSE = 1.0
LAST_ANSWERS = 2.0
"""Seconds that a server gets at the end to send what was on its way."""
NO_RESPONDERS = "503"
SENT_AT_ONCE = 500
"""Messages that are written before others have their turn."""
SENT_BYTES = 1024 * 1024
"""Bytes of which the same is true."""


class Away(SpoolError):
    """NATS cannot be reached, or has not answered."""


class Refused(PenstockError, RuntimeError):
    """A request that JetStream refuses.

    Attributes:
        code: JetStream's number of the error, 0 when there is none.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Outgoing(NamedTuple):
    """A message to be stored."""

    subject: str
    payload: bytes
    id: str = ""
    """The server stores it once, if it has an id."""
    after: int | None = None
    """The number of the message that must be the last of its subject, 0: there is none; None: whatever is."""


class Problem(msgspec.Struct):
    """Why JetStream refused."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Ack(msgspec.Struct, gc=False):
    """What JetStream says about a message."""

    seq: int = 0
    duplicate: bool = False
    """Whether one of the same id was there already."""
    error: Problem | None = None

    @property
    def is_stored(self) -> bool:
        """Whether it is in the stream."""
        return self.error is None


class Answer(msgspec.Struct):
    """What every answer of JetStream may hold."""

    error: Problem | None = None


read_ack = msgspec.json.Decoder(Ack).decode
read_answer = msgspec.json.Decoder(Answer).decode


class Batch:
    """Answers that somebody waits for together."""

    __slots__ = ("answers", "done", "missing")

    def __init__(self, size: int) -> None:
        self.answers: list[Message | None] = [None] * size
        self.missing = size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, place: int, answer: Message) -> None:
        """One has come."""
        if self.answers[place] is None:
            self.answers[place] = answer
            self.leave_out()

    def leave_out(self) -> None:
        """One more is not waited for."""
        self.missing -= 1
        if not self.missing:
            self.end()

    def end(self) -> None:
        """No further ones will come."""
        if not self.done.done():
            self.done.set_result(None)


class Connection:
    """A connection to the servers of an address, made and made again for as long as it takes.

    Args:
        address: the servers.
        name: of the node, which the servers show to people.
        set_up: called whenever a connection has come up, until it succeeds; then the connection is ready.
    """

    def __init__(self, address: Address, name: str, set_up: Callable[[], Awaitable[None]]) -> None:
        self._address = address
        self._name = name
        self._set_up = set_up
        self._client: Wire | None = None
        self._inbox = ""
        self._numbers = count(1)
        self._waiting: dict[str, Batch] = {}
        self._ready = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None
        self._setting_up: asyncio.Task[None] | None = None
        self._subscriptions: list[Subscription] = []
        self._background: set[asyncio.Task[None]] = set()
        self._trouble = ""
        self.on_ready: list[Callable[[], None]] = []
        """Called whenever a new connection is ready, or everything was set up again."""

    # Coming up and going away

    async def start(self, patience: float) -> bool:
        """Begins to seek the connection; returns whether it was ready within so many seconds."""
        self._connecting = asyncio.create_task(self._connect(), name="connect to NATS")
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._ready.wait()
        return self.is_ready

    async def _connect(self) -> None:
        from nats.errors import Error

        from penstock.services.distributor.jetstream.wire import Wire

        while True:
            self._client = client = Wire()
            try:
                await client.connect(
                    list(self._address.servers),
                    name=f"penstock {self._name}",
                    error_cb=self._complained,
                    disconnected_cb=self._went_away,
                    reconnected_cb=self._came_up,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=RECONNECT_PAUSE,
                    connect_timeout=CONNECT_TIMEOUT,
                    ping_interval=PING_INTERVAL,
                    pending_size=0,  # while it is away, nothing is kept for later: it says so
                )
                self._inbox = client.new_inbox()
                await client.take(f"{self._inbox}.*.*", self._answered)
            except (Error, OSError, TimeoutError) as error:
                await self._complained(error)
                with suppress(Exception):  # it comes to nothing anyway
                    await client.close()
                await asyncio.sleep(RECONNECT_PAUSE)
                continue
            await self._came_up()
            return

    async def _complained(self, error: Exception) -> None:
        trouble = str(error) or type(error).__name__
        if trouble != self._trouble:
            log.warning("NATS at %s: %s", self._address.public, trouble)
        self._trouble = trouble

    async def _went_away(self) -> None:
        self._ready.clear()
        if self._client is not None:
            self._client.forget_unsent()
        if self._setting_up is not None:
            self._setting_up.cancel()
        waiting, self._waiting = self._waiting, {}
        for batch in waiting.values():
            batch.end()

    async def _came_up(self) -> None:
        if self._setting_up is not None:
            self._setting_up.cancel()
        self._setting_up = asyncio.create_task(self._until_set_up(), name="set up JetStream")

    async def _until_set_up(self) -> None:
        while True:
            try:
                await self._set_up()
            except (Refused, Away) as error:
                log.error("JetStream at %s: %s", self._address.public, error)
                self._trouble = str(error)
                await asyncio.sleep(SETTING_UP_PAUSE)
                continue
            self._trouble = ""
            self._ready.set()
            log.info("connected to NATS at %s", self._address.public)
            for told in self.on_ready:
                told()
            return

    def set_up_again(self) -> None:
        """Something of what was set up is not there any more; what is, is used meanwhile."""
        if self.is_ready and (self._setting_up is None or self._setting_up.done()):
            self._setting_up = asyncio.create_task(self._until_set_up(), name="set up JetStream again")

    @property
    def is_ready(self) -> bool:
        """Whether messages can be stored now, as far as is known."""
        return self._ready.is_set()

    async def ready(self) -> None:
        """Returns when messages can be stored."""
        await self._ready.wait()

    @property
    def max_payload(self) -> int:
        """Bytes of the largest message that the server takes; 0 while it is not known."""
        return 0 if self._client is None else self._client.max_payload

    async def aclose(self) -> None:
        """Sends what is under way and ends."""
        tasks = [task for task in (self._connecting, self._setting_up, *self._background) if task is not None]
        client = self._client
        if client is not None and client.is_connected:
            with suppress(Exception):  # what it cannot flush, it cannot
                await client.flush(1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if client is not None:
            with suppress(Exception):
                await client.close()
        await self._went_away()

    def _open(self) -> "Wire":
        """The client, to send something at once.

        Raises:
            Away: there is no connection.
        """
        client = self._client
        if client is None or not client.is_connected:
            raise self.away()
        return client

    def away(self) -> Away:
        """Says that it is away, and why."""
        why = f": {self._trouble}" if self._trouble else ""
        return Away(f"NATS at {self._address.public} cannot be used{why}")

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Starts something that ends with the connection."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # Asking

    async def request(self, subject: str, question: Any = None) -> bytes:
        """What JetStream answers.

        Args:
            subject: of its API, without `$JS.API.`.
            question: becomes JSON.

        Raises:
            Refused: it says no.
            Away: it does not answer.
        """
        from nats.errors import Error

        client = self._open()
        payload = b"" if question is None else msgspec.json.encode(question)
        try:
            answer = await client.request(f"$JS.API.{subject}", payload, timeout=ANSWER_TIMEOUT)
            go_on()
        except (Error, OSError, TimeoutError) as error:
            raise Away(
                f"NATS at {self._address.public} did not answer: {error or type(error).__name__}"
            ) from None
        if problem := read_answer(answer.data).error:
            raise Refused(problem.description, problem.err_code)
        return answer.data

    async def subscribe(self, subject: str, taken: Callable[[Message], None]) -> "Subscription":
        """Has a callback called for each message; over reconnects too."""
        subscription = await self._open().take(subject, taken)
        self._subscriptions.append(subscription)
        go_on()
        return subscription

    async def unsubscribe(self, subscription: "Subscription") -> None:
        """Wants nothing more of it."""
        if self._client is not None and subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            await self._client.leave(subscription)

    async def take_what_comes(self) -> None:
        """Wants nothing more, and returns when all that was on its way has come and been taken."""
        subscriptions, self._subscriptions = self._subscriptions, []
        with suppress(Exception):  # what does not come, others get later
            async with asyncio.timeout(LAST_ANSWERS):
                drains = [one.drain() for one in subscriptions]  # type: ignore[no-untyped-call]
                await asyncio.gather(*drains)
                await asyncio.sleep(0)  # what follows from the last of it has been started
                await asyncio.gather(*self._background, return_exceptions=True)

    def inbox(self) -> str:
        """A subject that nobody else has."""
        return self._open().new_inbox()

    # Publishing

    async def publish(self, messages: Sequence[Outgoing]) -> list[Ack | None]:
        """Stores messages; what became of each, None where that is not known.

        Raises:
            Away: nothing was sent.
        """
        if not messages:
            return []
        if not self.is_ready:
            raise self.away()
        with self._batch(len(messages)) as (inbox, batch):
            frames: list[bytes] = []
            size, largest = 0, self.max_payload
            for place, message in enumerate(messages):
                headers, length = headers_of(message), len(message.payload)
                if headers_size(headers) + length > largest:
                    log.error("a message of %d bytes is larger than max_payload of the server", length)
                    batch.leave_out()
                    continue
                frames += framed(message.subject, message.payload, f"{inbox}.{place}", headers)
                size += length
                if place % SENT_AT_ONCE == SENT_AT_ONCE - 1 or size >= SENT_BYTES:
                    await self._write(frames, batch)
                    frames, size = [], 0
                    await asyncio.sleep(0)
            await self._write(frames, batch)
            go_on()
            return list(map(ack_in, await answers_of(batch)))

    async def confirm(self, acks: Iterable[Sequence[str]], after: Outgoing | None = None) -> bool:
        """Acknowledges messages; returns whether the server has noted all of it.

        A server takes the acknowledgements of a consumer in their order: it is asked to confirm the last one.

        Args:
            acks: the reply subjects, those of each consumer together.
            after: a message that is sent after them.

        Raises:
            Away: nothing was sent.
        """
        acks = [ones for ones in acks if ones]
        self._open()
        with self._batch(len(acks)) as (inbox, batch):
            frames: list[bytes] = []
            for place, replies in enumerate(acks):
                for reply in replies[:-1]:
                    frames += framed(reply, b"")
                frames += framed(replies[-1], b"", f"{inbox}.{place}")
            if after is not None and len(after.payload) <= self.max_payload:
                frames += framed(after.subject, after.payload)
            await self._write(frames, batch)
            go_on()
            return all(answer is not None for answer in await answers_of(batch))

    async def tell(self, replies: Iterable[str], word: bytes) -> None:
        """Says something about messages that needs no answer.

        Raises:
            Away: there is no connection.
        """
        frames: list[bytes] = []
        for reply in replies:
            frames += framed(reply, word)
        await self._send(frames)
        go_on()

    async def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Sends a message that nobody answers for.

        Raises:
            Away: there is no connection.
        """
        await self._send(framed(subject, payload, reply))
        go_on()

    async def _send(self, frames: Iterable[bytes]) -> None:
        from nats.errors import Error

        try:
            await self._open().write(frames)
        except Error:
            raise self.away() from None

    async def _write(self, frames: Sequence[bytes], batch: Batch) -> None:
        """Sends a part of a batch; where that cannot be, nothing more of it is waited for."""
        if frames and not batch.done.done():  # else the connection has gone, and is perhaps another one
            try:
                await self._send(frames)
            except Away:
                batch.end()

    @contextmanager
    def _batch(self, size: int) -> Iterator[tuple[str, Batch]]:
        """Answers that are waited for, and the subject that they come to, with their places behind it."""
        number, batch = str(next(self._numbers)), Batch(size)
        self._waiting[number] = batch
        if not size:
            batch.end()
        try:
            yield f"{self._inbox}.{number}", batch
        finally:
            self._waiting.pop(number, None)

    def _answered(self, message: Message) -> None:
        _, number, place = message.subject.rsplit(".", 2)
        batch = self._waiting.get(number)
        if batch is not None:
            batch.take(int(place), message)


async def answers_of(batch: Batch) -> list[Message | None]:
    """What has come until all is there, the connection has gone, or it has taken too long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_TIMEOUT):
            await batch.done
    return batch.answers


def headers_of(message: Outgoing) -> str:
    """What JetStream is told beside a message."""
    headers = f"Nats-Msg-Id: {message.id}\r\n" if message.id else ""
    if message.after is not None:
        headers += f"Nats-Expected-Last-Subject-Sequence: {message.after}\r\n"
    return headers


def go_on() -> None:
    """Ends what has been cancelled: nats-py does not when it is just about to send."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def ack_in(answer: Message | None) -> Ack | None:
    """What an answer to a published message says; None where there is none that can be read."""
    if answer is None:
        return None
    if not answer.data and answer.status == NO_RESPONDERS:
        return Ack(error=Problem(503, 0, "there is no such stream"))
    try:
        return read_ack(answer.data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
