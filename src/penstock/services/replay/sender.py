"""Sends packets to a logs distributor until each is accepted or refused, none lost and none doubled.

Every packet has an id of its own, and a distributor that gets an id again answers as it did at first
and delivers nothing twice. So whatever goes wrong on the way, the packet is sent again:

    202, 207, 422   each packet has its outcome; those refused with queue_full are sent again
    503, 429        sent again after the Retry-After of the answer, or the backoff
    other 5xx, 408, a lost connection, no answer in time   sent again after the backoff
    400, 413        the batch is halved and both halves are sent; a single packet is refused
    401, 403        the API key is missing or does not open this: sending ends with KeyRefused
    anything else   the address is wrong, or it is no distributor: sending ends with NotADistributor

When the distributor has accepted nothing for `patience` seconds, sending ends with GaveUp.
"""

import asyncio
import gzip
import io
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import aiohttp
import msgspec

import penstock
from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.errors import PenstockError
from penstock.ratelimit import TokenBucket
from penstock.resilience.backoff import ExponentialBackoff
from penstock.services.bearer import bearer
from penstock.services.http_client import reason_of, retry_after_seconds
from penstock.services.printable import one_line
from penstock.services.replay.packets import Packet

__all__ = ["GaveUp", "KeyRefused", "NotADistributor", "Refusal", "Sender", "Tally", "Unreachable"]

MAX_ANSWER_BYTES = 4 << 20
MAX_EXAMPLES = 3
STALL = 1.0  # seconds without an outcome that a person should hear of
MAX_RETRY_AFTER = 300.0  # seconds; a server may not make us wait for ever

OUTCOMES = (202, 207, 422)
TOO_MUCH_AT_ONCE = (400, 413)
TRY_AGAIN = (408, 429, 500, 502, 503, 504)

LOST_CONNECTION = (aiohttp.ClientError, TimeoutError, OSError)
NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


class Unreachable(PenstockError, ConnectionError):
    """Nothing has ever answered at the distributor's address."""


class NotADistributor(PenstockError, ConnectionError):
    """What answers there does not answer as a logs distributor does."""


class KeyRefused(PenstockError, PermissionError):
    """The distributor wants an API key, or one that may send."""


class GaveUp(PenstockError, TimeoutError):
    """The distributor was there but took nothing for too long."""


class RefusedPacket(msgspec.Struct):
    """One of the `errors` in an answer."""

    index: int
    code: str
    error: str = ""


class Answer(msgspec.Struct):
    """The body of an answer that has an outcome for each packet."""

    total_packets: int
    successful: int
    failed: int
    errors: list[RefusedPacket] = []


class Refusal(NamedTuple):
    """A packet that the distributor will not take."""

    packet: Packet
    code: str
    error: str


@dataclass
class Tally:
    """What became of the packets; each that was read is in one of accepted, refused and unanswered.

    Attributes:
        packets: read and given to the sender.
        accepted: packets that the distributor has taken responsibility for.
        accepted_messages: messages in them.
        refused: packets that it will not take, by its code for the reason.
        examples: the first few refusals.
        retried: times that a packet was sent again.
        seconds: from the start to the end, or until now.
    """

    packets: int = 0
    accepted: int = 0
    accepted_messages: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: list[Refusal] = field(default_factory=list)
    retried: int = 0
    seconds: float = 0.0

    @property
    def unanswered(self) -> int:
        """Packets whose outcome is not known; they may have been accepted."""
        return self.packets - self.accepted - self.refused.total()

    def accept(self, packets: list[Packet]) -> None:
        """Counts packets as accepted."""
        self.accepted += len(packets)
        self.accepted_messages += sum(packet.messages for packet in packets)

    def refuse(self, refusal: Refusal) -> None:
        """Counts one packet as refused."""
        self.refused[refusal.code] += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(refusal)


class Verdict(NamedTuple):
    """What one answer says about the packets of its request."""

    accepted: list[Packet]
    refused: list[Refusal]
    again: list[Packet]


class Sender:
    """Sends batches of packets, some at once, and counts the outcomes in `tally`.

    Args:
        url: of the distributor, http or https, without the path of its API.
        concurrency: requests in flight at once, >= 1.
        bucket: tokens are messages, and each request takes as many as it has; None for no limit. Its
            capacity must not be less than the messages of one batch.
        backoff: delays between tries when the answer names none.
        patience: seconds without an accepted packet until it gives up, > 0.
        timeout: seconds for one request, > 0.
        compress: sends bodies as gzip.
        api_key: shown to a distributor that wants one.
        context: of TLS; None for the system's authorities.
        clock: returns int nanoseconds; None for the monotonic clock of the system.
        now: returns the wall time in UTC, for a Retry-After that is a date.
        sleep: waits between tries.
        on_stall: told why, once each time that nothing has been taken for a second and it goes on trying.
    """

    def __init__(
        self,
        url: str,
        *,
        concurrency: int = 4,
        bucket: TokenBucket | None = None,
        backoff: ExponentialBackoff | None = None,
        patience: float = 60.0,
        timeout: float = 60.0,
        compress: bool = False,
        api_key: str | None = None,
        context: ssl.SSLContext | None = None,
        clock: Clock | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_stall: Callable[[str], None] = lambda why: None,
    ) -> None:
        self.tally = Tally()
        self._url = url.rstrip("/")
        self._concurrency = concurrency
        self._bucket = bucket
        self._backoff = backoff or ExponentialBackoff(0.1, limit=5.0, jitter="equal")
        self._patience = patience
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, 10.0))
        self._compress = compress
        self._headers = {"User-Agent": f"penstock/{penstock.__version__}", "Accept-Encoding": "identity"}
        if api_key is not None:
            self._headers["Authorization"] = bearer(api_key)
        self._context = context
        self._clock = checked_clock(clock)
        self._now = now
        self._sleep = sleep
        self._on_stall = on_stall
        self._stalled = False
        self._next = asyncio.Lock()
        self._started_at = 0
        self._progress_at = 0
        self._was_answered = False

    async def send(self, batches: Iterator[list[Packet]]) -> None:
        """Sends all batches; takes the next one, in a thread, only when a request may be made of it.

        Raises:
            Unreachable: nothing answers at the address.
            NotADistributor: something else answers there.
            KeyRefused: it wants another API key.
            GaveUp: the distributor took nothing for `patience` seconds.
        """
        self._started_at = self._progress_at = self._clock()
        try:
            async with self._open_session() as session, asyncio.TaskGroup() as group:
                for _ in range(self._concurrency):
                    group.create_task(self._work(session, batches))
        except BaseExceptionGroup as errors:
            ours = errors.subgroup(PenstockError)
            if ours is None:
                raise
            error = first_of(ours)
            raise error from error.__cause__
        finally:
            self.update_seconds()

    def _open_session(self) -> aiohttp.ClientSession:
        """Takes answers as they come: one that unpacks to gigabytes would do so before it can be measured."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._context or True),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers=self._headers,
        )

    def update_seconds(self) -> None:
        """Sets the seconds of the tally to those from the start until now."""
        self.tally.seconds = (self._clock() - self._started_at) / NANOSECONDS

    async def _work(self, session: aiohttp.ClientSession, batches: Iterator[list[Packet]]) -> None:
        while (batch := await self._next_batch(batches)) is not None:
            await self._deliver(session, batch)

    async def _next_batch(self, batches: Iterator[list[Packet]]) -> list[Packet] | None:
        async with self._next:  # an iterator serves one thread at a time
            batch = await asyncio.to_thread(next, batches, None)
        self.tally.packets += len(batch or ())
        return batch

    async def _deliver(self, session: aiohttp.ClientSession, packets: list[Packet]) -> None:
        failures = 0
        while packets:
            await self._pace(sum(packet.messages for packet in packets))
            try:
                status, retry_after, body = await self._post(session, packets)
            except PenstockError:
                raise
            except LOST_CONNECTION as error:
                if isinstance(error, NEVER_CONNECTED) and not self._was_answered:
                    raise Unreachable(f"nothing answers at {self._url}: {reason_of(error)}") from error
                status, retry_after, body = 503, None, b""
                why = reason_of(error)
            else:
                why = f"it answers {status}: {excerpt(body)}" if body else f"it answers {status}"
            if status in TOO_MUCH_AT_ONCE:
                await self._halve(session, packets, status, body)
                return
            verdict = self._judge(packets, status, body)
            self._count(verdict)
            packets = verdict.again
            if packets:
                failures = 1 if verdict.accepted else failures + 1
                await self._wait_to_retry(packets, failures, retry_after, why)

    async def _pace(self, messages: int) -> None:
        if self._bucket is not None:
            await self._bucket.acquire_async(messages)

    async def _post(
        self, session: aiohttp.ClientSession, packets: list[Packet]
    ) -> tuple[int, float | None, bytes]:
        """Status, seconds of Retry-After and body of the answer to one request."""
        body = b"[" + b",".join(packet.body for packet in packets) + b"]"
        headers = {"Content-Type": "application/json"}
        if self._compress:
            body = await asyncio.to_thread(gzip.compress, body, 6)
            headers["Content-Encoding"] = "gzip"
        url = f"{self._url}/api/v1/logs"
        async with session.post(
            url, data=io.BytesIO(body), headers=headers, allow_redirects=False
        ) as response:
            self._was_answered = True
            answer = await read_bounded(response)
            return (
                response.status,
                retry_after_seconds(response.headers.get("Retry-After"), self._now()),
                answer,
            )

    def _judge(self, packets: list[Packet], status: int, body: bytes) -> Verdict:
        if status not in OUTCOMES and status not in TRY_AGAIN:
            refusal = KeyRefused if status in (401, 403) else NotADistributor
            raise refusal(f"{self._url}/api/v1/logs answers {status}: {excerpt(body)}")
        try:
            answer = msgspec.json.decode(body, type=Answer)
        except (msgspec.DecodeError, ValueError, RecursionError):
            answer = None
        if answer is None or not fits(answer, len(packets)):
            if status in OUTCOMES:
                where = f"{self._url}/api/v1/logs answers {status}"
                raise NotADistributor(f"{where} without the outcome of each packet: {excerpt(body)}")
            return Verdict([], [], packets)
        return verdict_of(packets, status, answer)

    def _count(self, verdict: Verdict) -> None:
        self.tally.accept(verdict.accepted)
        for refusal in verdict.refused:
            self.tally.refuse(refusal)
        if verdict.accepted or verdict.refused:
            self._progress_at = self._clock()
            self._stalled = False

    async def _halve(
        self, session: aiohttp.ClientSession, packets: list[Packet], status: int, body: bytes
    ) -> None:
        """Finds the packet that spoils a batch: each half is sent alone, down to single packets."""
        if len(packets) == 1:
            self._count(Verdict([], [Refusal(packets[0], f"http_{status}", excerpt(body))], []))
            return
        self.tally.retried += len(packets)
        middle = len(packets) // 2
        await self._deliver(session, packets[:middle])
        await self._deliver(session, packets[middle:])

    async def _wait_to_retry(
        self, packets: list[Packet], failures: int, retry_after: float | None, why: str
    ) -> None:
        delay = self._backoff.delay(failures) if retry_after is None else min(retry_after, MAX_RETRY_AFTER)
        waited = (self._clock() - self._progress_at) / NANOSECONDS
        if waited > self._patience:
            raise GaveUp(f"{self._url} has accepted nothing for {waited:.0f} seconds")
        if waited + delay > STALL and not self._stalled:
            self._stalled = True
            self._on_stall(why)
        await self._sleep(delay)
        self.tally.retried += len(packets)


def verdict_of(packets: list[Packet], status: int, answer: Answer) -> Verdict:
    refused = []
    full = []
    failed = {error.index: error for error in answer.errors}
    for index, error in sorted(failed.items()):
        if error.code == "queue_full":
            full.append(packets[index])
        else:
            refused.append(Refusal(packets[index], error.code, error.error))
    others = [packet for index, packet in enumerate(packets) if index not in failed]
    if status in TRY_AGAIN:  # none was accepted: the others had no fault of their own
        return Verdict([], refused, full + others)
    return Verdict(others, refused, full)


def fits(answer: Answer, packets: int) -> bool:
    """Whether the counts of an answer are those of a request with so many packets."""
    indices = {error.index for error in answer.errors}
    return (
        answer.total_packets == packets == answer.successful + answer.failed
        and len(indices) == len(answer.errors) == answer.failed
        and all(0 <= index < packets for index in indices)
    )


async def read_bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 << 10):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise NotADistributor(f"{response.url} answers with more than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def excerpt(body: bytes) -> str:
    """What an answer says, in one short line: the detail or title of RFC 9457, or its first words."""
    text = body[:2_000].decode(errors="replace")
    with suppress(msgspec.DecodeError, ValueError, RecursionError):
        problem = msgspec.json.decode(body, type=dict[str, object])
        text = str(problem.get("detail") or problem.get("title") or text)
    return one_line(text, 200) or "nothing"


def first_of(errors: BaseExceptionGroup[PenstockError]) -> PenstockError:
    first = errors.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
