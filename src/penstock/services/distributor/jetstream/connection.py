"""The connection to NATS: many messages are published at a time, and each is answered for.

What a server has not confirmed counts as not done. While it cannot be reached everything says so at once,
and the connection is sought for ever.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from penstock.errors import PenstockError
from penstock.services.distributor.jetstream.address import Address
from penstock.services.distributor.spool import SpoolError

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

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
        self.answers: list[Msg | None] = [None] * size
        self.missing = size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, place: int, answer: "Msg | None") -> None:
        """One has come."""
        self.answers[place] = answer
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
        self._client: Client | None = None
        self._inbox = ""
        self._tokens = count(1)
        self._waiting: dict[str, tuple[Batch, int]] = {}
        self._ready = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None
        self._setting_up: asyncio.Task[None] | None = None
        self._subscriptions: list[Subscription] = []
        self._background: set[asyncio.Task[None]] = set()
        self._trouble = ""
        self.on_ready: list[Callable[[], None]] = []
        """Called whenever a new connection is ready."""

    # Coming up and going away

    async def start(self, patience: float) -> bool:
        """Begins to seek the connection; returns whether it was ready within so many seconds."""
        self._connecting = asyncio.create_task(self._connect(), name="connect to NATS")
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._ready.wait()
        return self.is_ready

    async def _connect(self) -> None:
        from nats.aio.client import Client
        from nats.errors import Error

        while True:
            self._client = client = Client()
            try:
                await client.connect(
                    list(self._address.servers),
                    name=f"penstock {self._name}",
                    error_cb=self._complained,
                    disconnected_cb=self._went_away,
                    reconnected_cb=self._came_up,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=RECONNECT_PAUSE,  # type: ignore[arg-type]
                    connect_timeout=CONNECT_TIMEOUT,  # type: ignore[arg-type]
                    ping_interval=PING_INTERVAL,
                    pending_size=0,  # while it is away, nothing is kept for later: it says so
                    skip_subject_validation=True,
                )
                self._inbox = client.new_inbox()
                await client.subscribe(f"{self._inbox}.*", cb=self._answered, pending_bytes_limit=0)
            except (Error, OSError, TimeoutError) as error:
                self._trouble = str(error) or type(error).__name__
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
        if self._setting_up is not None:
            self._setting_up.cancel()
        waiting, self._waiting = self._waiting, {}
        for batch, _ in waiting.values():
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

    def _open(self) -> "Client":
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

    async def subscribe(self, subject: str, taken: Callable[["Msg"], Awaitable[None]]) -> "Subscription":
        """Has a callback called for each message; over reconnects too."""
        subscription = await self._open().subscribe(subject, cb=taken, pending_bytes_limit=0)
        self._subscriptions.append(subscription)
        go_on()
        return subscription

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
        batch = Batch(len(messages))
        for place, (subject, payload, id_) in enumerate(messages):
            if place % SENT_AT_ONCE == SENT_AT_ONCE - 1:
                await asyncio.sleep(0)
            await self._send(batch, place, subject, payload, {"Nats-Msg-Id": id_} if id_ else None)
        go_on()
        return list(map(ack_in, await self._answers(batch)))

    async def confirm(self, acks: Iterable[Sequence[str]], after: Outgoing | None = None) -> bool:
        """Acknowledges messages; returns whether the server has noted all of it.

        A server takes the acknowledgements of a consumer in their order: it is asked to confirm the last one.

        Args:
            acks: the reply subjects, those of each consumer together.
            after: a message that is sent after them.
        """
        acks = [ones for ones in acks if ones]
        client = self._open()
        batch = Batch(len(acks))
        for place, replies in enumerate(acks):
            for reply in replies[:-1]:
                await self._tell(client, reply, b"")
            await self._send(batch, place, replies[-1], b"", None)
        if after is not None:
            await self._tell(client, after.subject, after.payload)
        go_on()
        if not acks:
            return True
        return all(answer is not None for answer in await self._answers(batch))

    async def tell(self, replies: Iterable[str], word: bytes) -> None:
        """Says something about messages that needs no answer.

        Raises:
            Away: there is no connection.
        """
        client = self._open()
        for reply in replies:
            await self._tell(client, reply, word)
        go_on()

    async def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Sends a message that nobody answers for.

        Raises:
            Away: there is no connection.
        """
        await self._tell(self._open(), subject, payload, reply)
        go_on()

    async def _tell(self, client: "Client", subject: str, payload: bytes, reply: str = "") -> None:
        from nats.errors import Error

        try:
            await client.publish(subject, payload, reply)
        except Error:
            raise self.away() from None

    async def _send(
        self, batch: Batch, place: int, subject: str, payload: bytes, headers: dict[str, str] | None
    ) -> None:
        from nats.errors import Error, MaxPayloadError

        token = str(next(self._tokens))
        reply = f"{self._inbox}.{token}"
        self._waiting[reply] = (batch, place)
        try:
            await self._open().publish(subject, payload, reply, headers)
        except MaxPayloadError:
            log.error("a message of %d bytes is larger than max_payload of the server", len(payload))
            self._forget(reply)
        except (Error, Away):
            self._forget(reply)

    def _forget(self, reply: str) -> None:
        batch, place = self._waiting.pop(reply)
        batch.take(place, None)

    async def _answers(self, batch: Batch) -> list["Msg | None"]:
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await batch.done
        if batch.missing:
            for reply in [reply for reply, (other, _) in self._waiting.items() if other is batch]:
                del self._waiting[reply]
        return batch.answers

    async def _answered(self, message: "Msg") -> None:
        waiting = self._waiting.pop(message.subject, None)
        if waiting is not None:
            waiting[0].take(waiting[1], message)


def go_on() -> None:
    """Ends what has been cancelled: nats-py does not when it is just about to send."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def ack_in(answer: "Msg | None") -> Ack | None:
    """What an answer to a published message says; None where there is none that can be read."""
    if answer is None:
        return None
    if not answer.data and answer.headers and answer.headers.get("Status") == NO_RESPONDERS:
        return Ack(error=Problem(503, 0, "there is no such stream"))
    try:
        return read_ack(answer.data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
