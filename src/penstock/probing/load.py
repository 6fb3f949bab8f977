"""Load: as many HTTP/1.1 requests over plain TCP as wanted, in a closed or an open loop, without the GIL.

::

    load = Load(Request("http://127.0.0.1:8080/"), connections=64, duration=10)
    with load:
        figures = load.wait()

Every thread is a loop of its own (LoadLoop) that needs no Python while it runs, so what else the process does
costs it nothing but processor. Figures can be read at any time.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isfinite
from operator import index
from threading import Event, Lock, Thread
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

from penstock._twins import twin
from penstock.clock import NANOSECONDS
from penstock.errors import InvalidType, InvalidValue, PenstockError
from penstock.probing._load_py import LoadCounts, LoadPlan, LoadSecond, LoadTarget
from penstock.probing._response_parser_py import checked_bounds
from penstock.probing.request import IDEMPOTENT, MAX_HEAD, Request
from penstock.probing.resolver import Address, literal

__all__ = [
    "InvalidLoad",
    "Load",
    "LoadCounts",
    "LoadFigures",
    "LoadLoop",
    "LoadPlan",
    "LoadSecond",
    "LoadTarget",
    "SecondFigures",
]

if TYPE_CHECKING:
    from penstock.probing._load_py import LoadLoop
else:
    LoadLoop = twin(__name__).LoadLoop

MAX_CONNECTIONS = 65_536
MAX_THREADS = 64
MAX_RATE = 10_000_000
MAX_COUNT = 1 << 53  # so that it is exact as a float
MAX_SECONDS = 1_000_000_000
MAX_TIMEOUT = 3_600
MAX_TARGETS = 100_000
KEPT_SECONDS = 3_600
COLLECT_EVERY = 0.25  # seconds: loops keep the figures of a second for a dozen seconds

Key = TypeVar("Key", int, str)


class InvalidLoad(InvalidValue):
    """A load cannot be made of such settings."""


class LoadUsed(PenstockError, RuntimeError):
    """A load starts once, and is waited for after that."""


class SecondFigures(NamedTuple):
    """What happened within one second of a load; latencies are nanoseconds, None without an answer."""

    number: int
    """0 for the first second."""
    sent: int
    """Requests."""
    answered: int
    """Answers."""
    failed: int
    """Requests."""
    p50: int | None
    """Median latency: total in an open loop, else service."""
    p99: int | None
    """99th percentile of it."""
    max: int | None
    """The longest."""


@dataclass(slots=True)
class LoadFigures(LoadCounts):
    """The counts of all threads of a load together.

    Attributes:
        elapsed: seconds from the beginning to now, or to the end.
        over: whether the load has ended.
        threads: loops.
        seconds: the last hour of it, second by second; the last one is shorter when it is over.
    """

    elapsed: float = 0.0
    over: bool = False
    threads: int = 1
    seconds: tuple[SecondFigures, ...] = ()

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answered / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def cpu_share(self) -> float:
        """Share of a processor that each thread used; near 1 the load measures itself."""
        return self.cpu / NANOSECONDS / self.elapsed / self.threads if self.elapsed > 0 else 0.0


class Load:
    """Requests over plain HTTP, as many and as fast as the settings say.

    Without a rate it is a closed loop: each connection asks again as soon as it has its answer. With one it
    is an open loop: requests have intended starts, and what starts late, because no connection was free, has
    that time in its `total`. When all have started, those in flight are waited for, up to their timeout.

    Args:
        requests: one, or several that are asked in turn; http only. The largest `max_body` is that of all.
        connections: at most so many are open, and requests in flight.
        connecting: and so many on their way at once.
        threads: loops, each with its share of the connections and of the rate; more than there are processors
            only get in each other's way.
        rate: requests per second in all; None for a closed loop.
        duration: seconds in which requests start; None for no limit.
        count: requests; None for no limit. Without either it goes on until `stop`.
        timeout: seconds for each request, connecting included.
        keep_alive: whether connections serve more than one request; False opens one for each.
        addresses: where to connect to: one address and port for all requests, or for each host that is a name
            one, at the port that the request says.

    Raises:
        ValueError: a setting is out of its range, a request is https, or a name has no address.
        TypeError: a setting has a type that is not allowed.

    Source: csrc/load.h has the rules and their reasons.
    """

    def __init__(
        self,
        requests: Request | Sequence[Request],
        *,
        connections: int = 64,
        connecting: int = 32,
        threads: int = 1,
        rate: float | None = None,
        duration: float | None = None,
        count: int | None = None,
        timeout: float = 10.0,
        keep_alive: bool = True,
        addresses: Address | Mapping[str, Address] | None = None,
    ) -> None:
        asked = (requests,) if isinstance(requests, Request) else tuple(requests)
        if not 1 <= len(asked) <= MAX_TARGETS:
            raise InvalidLoad(f"requests must be 1 to {MAX_TARGETS}, got {len(asked)}")
        for request in asked:
            if not isinstance(request, Request):
                raise InvalidType(f"requests must be of Request, got {type(request).__name__}")
        connections = whole("connections", connections, MAX_CONNECTIONS)
        count = None if count is None else whole("count", count, MAX_COUNT)
        threads = min(whole("threads", threads, MAX_THREADS), connections, count or MAX_THREADS)
        _, _, max_body = checked_bounds(MAX_HEAD, 0, max(request.max_body for request in asked))
        plan = LoadPlan(
            targets=tuple(target(request, keep_alive, addresses) for request in asked),
            connections=connections,
            connecting=whole("connecting", connecting, MAX_CONNECTIONS),
            keep_alive=keep_alive,
            interval=0.0 if rate is None else NANOSECONDS / positive("rate", rate, MAX_RATE),
            offset=0.0,
            count=count,
            duration=None if duration is None else nanoseconds("duration", duration, MAX_SECONDS),
            timeout=nanoseconds("timeout", timeout, MAX_TIMEOUT),
            max_body=max_body,
        )
        self._loops = [LoadLoop(each) for each in shares(plan, threads)]
        self._seconds: deque[SecondFigures] = deque(maxlen=KEPT_SECONDS)
        self._seconds_over = 0
        self._lock = Lock()
        self._ended = Event()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._started = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._ended.wait()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        await self.finished()

    def start(self) -> None:
        """Begins; its threads go on by themselves.

        Raises:
            RuntimeError: it was started before.
        """
        with self._lock:
            if self._started:
                raise LoadUsed("a load must start once, got another start")
            self._started = True
        threads: list[Thread] = []
        try:
            for number, loop in enumerate(self._loops):
                thread = Thread(target=loop.run, name=f"penstock-load-{number}", daemon=True)
                thread.start()
                threads.append(thread)
            Thread(target=self._supervise, args=(threads,), name="penstock-load", daemon=True).start()
        except BaseException:  # no more threads, or an interrupt: what runs must not go on unseen
            self.stop()
            for thread in threads:
                thread.join()
            self._ended.set()
            raise

    def stop(self) -> None:
        """Ends it within some hundredths of a second; requests in flight are abandoned."""
        for loop in self._loops:
            loop.stop()

    def snapshot(self) -> LoadFigures:
        """The figures until now; the threads are not held up by it."""
        over = self._ended.is_set()  # before the counts, so that those of an ended load are the last ones
        counts = [loop.counts() for loop in self._loops]
        with self._lock:
            seconds = tuple(self._seconds)
        return merged(counts, over=over, seconds=seconds)

    def wait(self, timeout: float | None = None) -> LoadFigures:
        """Waits for its end and returns the figures.

        Args:
            timeout: seconds; the figures until then, where it has not ended by then. None for no limit.

        Raises:
            RuntimeError: it was not started.
        """
        self._require_start()
        self._ended.wait(timeout)
        return self.snapshot()

    async def finished(self) -> LoadFigures:
        """Waits for its end and returns the figures; cancelled, the load goes on.

        Raises:
            RuntimeError: it was not started.
        """
        self._require_start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if self._ended.is_set():
                future.set_result(None)
            else:
                self._waiters.append((loop, future))
        try:
            await future
        finally:
            with self._lock, suppress(ValueError):  # who is cancelled waits no longer
                self._waiters.remove((loop, future))
        return self.snapshot()

    def _require_start(self) -> None:
        if not self._started:
            raise LoadUsed("a load must be started before it is waited for, got none")

    def _supervise(self, threads: list[Thread]) -> None:
        for thread in threads:
            while thread.is_alive():
                thread.join(COLLECT_EVERY)
                self._collect()
        self._collect()
        with self._lock:
            self._ended.set()
            waiters, self._waiters = self._waiters, []
        for loop, future in waiters:
            try:
                loop.call_soon_threadsafe(resolve, future)
            except RuntimeError:  # that event loop was closed
                continue

    def _collect(self) -> None:
        """Takes the figures of the seconds that have ended from the loops, which do not keep them long."""
        over = [loop.over for loop in self._loops]
        ended = [loop.seconds_over for loop in self._loops]
        last = max(ended) if all(over) else min(n for n, done in zip(ended, over, strict=True) if not done)
        while self._seconds_over < last:
            number = self._seconds_over
            parts = [loop.second(number) for loop, n in zip(self._loops, ended, strict=True) if number < n]
            figures = together(number, [part for part in parts if part is not None])
            with self._lock:
                self._seconds.append(figures)
            self._seconds_over += 1


def resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def together(number: int, parts: Sequence[LoadSecond]) -> SecondFigures:
    """A second of all threads."""
    if not parts:
        return SecondFigures(number, 0, 0, 0, None, None, None)
    latency = parts[0].latency
    for part in parts[1:]:
        latency.merge(part.latency)
    return SecondFigures(
        number,
        sum(part.sent for part in parts),
        sum(part.answered for part in parts),
        sum(part.failed for part in parts),
        latency.percentile(0.5),
        latency.percentile(0.99),
        latency.max,
    )


def merged(counts: Sequence[LoadCounts], *, over: bool, seconds: tuple[SecondFigures, ...]) -> LoadFigures:
    """The counts of all threads together."""
    begun = [each for each in counts if each.began_at]
    began_at = min((each.began_at for each in begun), default=0)
    now = max((each.now for each in begun), default=0)
    first, *others = counts
    figures = LoadFigures(
        service=first.service,
        total=first.total,
        lag=first.lag,
        elapsed=(now - began_at) / NANOSECONDS,
        over=over,
        threads=len(counts),
        seconds=seconds,
    )
    for name in SUMS:
        setattr(figures, name, sum(getattr(each, name) for each in counts))
    figures.began_at, figures.now = began_at, now
    figures.failures = summed(each.failures for each in counts)
    figures.statuses = summed(each.statuses for each in counts)
    for each in others:
        figures.service.merge(each.service)
        figures.total.merge(each.total)
        figures.lag.merge(each.lag)
    return figures


def summed(parts: Iterable[Mapping[Key, int]]) -> dict[Key, int]:
    """The counts of several together, sorted by what they count."""
    total: Counter[Key] = Counter()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items()))


SUMS = (
    "started", "sent", "answered", "failed", "unsent", "abandoned", "retried", "opened", "stamped", "voided",
    "truncated", "bytes_in", "bytes_out", "body_bytes", "in_flight", "cpu",
)  # fmt: skip


def shares(plan: LoadPlan, threads: int) -> list[LoadPlan]:
    """What each of so many threads has to do of a plan."""
    plans = []
    begun = 0  # requests that the threads before have to make
    for number in range(threads):
        count = None if plan.count is None else share(plan.count, threads, number)
        first = begun if count is not None else number * len(plan.targets) // threads
        begun += count or 0
        plans.append(
            replace(
                plan,
                connections=share(plan.connections, threads, number),
                connecting=max(share(plan.connecting, threads, number), 1),
                interval=plan.interval * threads,
                offset=plan.interval * number,
                count=count,
                first=first % len(plan.targets),
            )
        )
    return plans


def share(n: int, parts: int, number: int) -> int:
    """Part `number` of n things that go into so many nearly equal parts."""
    return n // parts + (number < n % parts)


def target(
    request: Request, keep_alive: bool, addresses: Address | Mapping[str, Address] | None
) -> LoadTarget:
    """The request as a loop needs it."""
    if request.scheme != "http":
        raise InvalidLoad(f"a load must be of http:// requests, got {request.url[:100]!r}")
    address = address_of(request, addresses)
    return LoadTarget(
        address.family,
        address.sockaddr,
        with_keep_alive(request, keep_alive).wire,
        head=request.method == "HEAD",
        idempotent=request.method in IDEMPOTENT,
    )


def address_of(request: Request, addresses: Address | Mapping[str, Address] | None) -> Address:
    if isinstance(addresses, Address):
        return addresses
    found = (addresses or {}).get(request.host) or literal(request.host, request.port)
    if found is None:
        raise InvalidLoad(f"addresses must have one for each name, got none for {request.host[:100]!r}")
    return found._replace(port=request.port)


def with_keep_alive(request: Request, keep_alive: bool) -> Request:
    """The same request, which lets its connection stay or not."""
    if request.keep_alive == keep_alive:
        return request
    headers = [field for field in request.fields if field != ("Connection", "close")]
    return Request(
        request.url, method=request.method, headers=headers, body=request.body, keep_alive=keep_alive
    )


def whole(name: str, value: int, most: int) -> int:
    """`value`, an int from 1 to `most`."""
    try:
        number = index(value)
    except TypeError:
        raise InvalidType(f"{name} must be an int, got {type(value).__name__}") from None
    if not 1 <= number <= most:
        raise InvalidLoad(f"{name} must be >= 1 and <= {most}, got {shown(number)}")
    return number


def positive(name: str, value: float, most: float) -> float:
    """`value`, a number above 0 and not above `most`."""
    if not isinstance(value, int | float):
        raise InvalidType(f"{name} must be a number, got {type(value).__name__}")
    if not 0 < value <= most or not isfinite(value):
        raise InvalidLoad(f"{name} must be > 0 and <= {most}, got {shown(value)}")
    return float(value)


def shown(value: float) -> str:
    """`value`, as an error shows it."""
    bits = value.bit_length() if isinstance(value, int) else 0
    return repr(value) if bits <= 64 else f"an int of {bits} bits"


def nanoseconds(name: str, value: float, most: float) -> int:
    """Nanoseconds of so many seconds, at least one."""
    return max(round(positive(name, value, most) * NANOSECONDS), 1)
