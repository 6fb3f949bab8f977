"""Two-tier cache: a front in this process, Redis behind, and no stale front when another process writes.

How no old value stays in the front:

- Redis tells of every change (client tracking, `_tracking.py`). The front is asked only while that is heard,
  and emptied when it is not.
- Every read is a flight, registered before its question is sent. A change that arrives meanwhile takes the
  flight off the table and forbids it to leave its value in the front, so a reply that was overtaken is given
  to those who asked before the change, and to nobody else.
- Who computes a value holds a lease in Redis. A write or a delete ends the lease, and without it the value
  that was computed from before is not stored.
"""

from asyncio import (
    CancelledError,
    Event,
    Future,
    Task,
    create_task,
    current_task,
    gather,
    get_running_loop,
    shield,
    sleep,
    timeout,
)
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from secrets import token_bytes
from types import EllipsisType
from typing import Any, Final, Generic, Literal, Self, TypeVar, get_args

from penstock.cache._flights import CacheLoadDeadlock
from penstock.cache._round_trips import Redis, RoundTrips, Script, TieredCacheUnavailable
from penstock.cache._scripts import CLAIM, DELETE, FILL, READ, RELEASE, RENEW, WRITE
from penstock.cache._seconds import LEAST_SECONDS, checked_seconds
from penstock.cache._settings import NEVER, checked_count, checked_lifetime
from penstock.cache._tracking import Tracking, doubling_delay
from penstock.cache.cache import Cache as Front
from penstock.cache.codec import Codec, checked_codec
from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.errors import InvalidType, InvalidValue, PenstockError

__all__ = [
    "CacheLoadDeadlock",
    "TieredCache",
    "TieredCacheClosed",
    "TieredCacheCorrupt",
    "TieredCacheStats",
    "TieredCacheUnavailable",
]

V = TypeVar("V")
D = TypeVar("D")

MAX_KEY = 1024  # bytes
MAX_PREFIX = 256  # bytes
MAX_VALUE = 512 << 20  # bytes, what Redis holds
MAX_TOGETHER = 64  # keys of one round trip
MAX_BYTES = 4 << 20  # of one round trip's values, after which there is room for no further one
MAX_SECONDS = 3600.0
POLL = 0.05  # seconds between looks at a key that another process computes, while no changes are heard of
MAX_LEASES = 10  # lease times to wait for another process before computing alone
LEASES = b"lease:"  # stands before the name of a key whose value is being computed

OnError = Literal["raise", "bypass"]
OnCorrupt = Literal["miss", "raise"]


class TieredCacheClosed(PenstockError, RuntimeError):
    """The cache was closed, and asked after that."""


class TieredCacheCorrupt(PenstockError, ValueError):
    """Redis holds something at a key that is no value of this cache."""


@dataclass(frozen=True, slots=True)
class TieredCacheStats:
    """What a TieredCache has done so far."""

    front_hits: int
    """Keys found in this process."""
    redis_hits: int
    """Keys found in Redis."""
    misses: int
    """Keys found in neither, and those of which Redis could tell nothing."""
    computed: int
    """Values that get_or_compute has computed here."""
    not_stored: int
    """Of these, not stored: written or deleted meanwhile, too large, or without Redis."""
    corrupt: int
    """Misses because Redis held something that is no value, or too large a one."""
    invalidations: int
    """Keys that Redis has told to have changed, by our own writes too."""
    flushes: int
    """Times at which Redis told that all keys may have changed."""
    losses: int
    """Times at which changes were no longer heard of, and the front was emptied."""
    errors: int
    """Round trips without a usable answer."""
    connected: bool
    """Whether changes are heard of now, and so the front is in use."""


class Found(Enum):
    """What stands for no value, where None is one."""

    NOTHING = "nothing"
    CORRUPT = "corrupt"
    CLAIMED = "claimed"


NOTHING: Final = Found.NOTHING
CORRUPT: Final = Found.CORRUPT
CLAIMED: Final = Found.CLAIMED


class Flight:
    """A read of one key that is under way.

    Attributes:
        keep: whether its value may go into the front; a change that arrives meanwhile forbids it.
        waiters: one future for each task that waits, so that each can be cancelled alone.
    """

    __slots__ = ("keep", "key", "name", "waiters")

    def __init__(self, key: str, name: bytes, keep: bool) -> None:
        self.key = key
        self.name = name
        self.keep = keep
        self.waiters: list[Future[Any]] = []

    def wanted(self) -> bool:
        return not all(waiter.done() for waiter in self.waiters)

    def land(self, value: object) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(value)

    def fail(self, error: Exception) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                # One of its own for each: what they raise must not grow each other's tracebacks.
                unavailable = isinstance(error, TieredCacheUnavailable)
                waiter.set_exception(TieredCacheUnavailable(str(error)) if unavailable else error)

    def cancel(self) -> None:
        for waiter in self.waiters:
            waiter.cancel()


class Computation:
    """A value that is being computed in this process, and how many wait for it."""

    __slots__ = ("key", "task", "waiting")

    def __init__(self, key: str, task: Task[Any]) -> None:
        self.key = key
        self.task = task
        self.waiting = 0

    def refuse_circle(self, asking: "Task[Any] | None") -> None:
        """Raises CacheLoadDeadlock if this waits, perhaps through others, for the task that asks for it."""
        each: Computation | None = self
        while each is not None:
            if each.task is asking:
                key = shortened(self.key)
                raise CacheLoadDeadlock(f"key must not be needed to compute its own value, got {key}")
            each = WAITING.get(each.task)


WAITING: dict[Task[Any], Computation] = {}
"""What each task waits for, of all caches: a circle may run through several of them."""


class TieredCache(Generic[V]):
    """Values by str keys, in this process and behind it in Redis, where all processes share them.

    Redis tells every process of every change, so the front of each forgets within milliseconds what another
    has written or deleted, what has expired or was flushed. A process that hears nothing (the connection is
    lost, the server hangs, this process was stopped) serves nothing from its front that is more than
    `max_staleness` seconds behind: the front is bypassed and emptied, and calls go to Redis until changes
    are heard of again.

    In this process no read gives an older value than a write of the same key that has returned before.
    What the front holds, several callers get: treat values as read-only.

    Reads of one key share a question to Redis, and questions that come together share round trips.
    Use it as `async with`, or call `start` and `aclose`; it belongs to one event loop. Any call may be
    cancelled. A write without an answer, cancelled or out of time, may have happened, or happen yet.

    Args:
        client: of redis.asyncio, without decode_responses; Redis 6 or newer, no RedisCluster. Its pool is
            used for reads and writes, and its settings for one more connection that hears of changes. It
            stays the caller's to close.
        prefix: of the keys in Redis, 1 to 256 bytes. No other cache's prefix may begin with it. Leases are
            kept under `lease:` and this prefix.
        front: an empty cache for this one alone, such as Cache(1_000, policy="sieve"); None for an
            LRU cache.
        maxsize: entries in the front, where none is given.
        ttl: seconds or timedelta that values live in Redis and in the front, > 0; None for ever. No entry
            of the front outlives the one in Redis.
        codec: makes bytes of values and back; None for MessagePack.
        max_value_bytes: longest value. A longer one is refused, and never read from Redis.
        on_error: what it means that Redis fails. `raise`: TieredCacheUnavailable. `bypass`: reads find
            nothing, get_or_compute computes, set says False. Deletes raise in any case: a value that
            should be gone and is not must not go unnoticed.
        on_corrupt: what bytes in Redis mean that are no value: a `miss`, which is counted, or `raise`, which
            is TieredCacheCorrupt. The next set overwrites them.
        timeout: seconds or timedelta that one round trip may take.
        retry_after: the same, for which Redis is not asked after it failed; then one call finds out.
        max_staleness: the same; three PINGs are sent in that time, and without an answer the front goes.
        lease: the same, after which other processes take over from one that died while it computed a value.
        retry_delay: called with the number of failures in a row, says how many seconds to wait before the
            lost connection is made again; None for 0.05 doubled each time up to 5, half of it at random.
        clock: nanoseconds; None for the monotonic clock of the system.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is of another kind.

    A wrong password or a missing permission is a mistake, no failure: redis.exceptions.RedisError, whatever
    `on_error` says.

    Source: Redis, Client-side caching, https://redis.io/docs/latest/develop/reference/client-side-caching/;
    for leases Nishtala et al., Scaling Memcache at Facebook, NSDI 2013, section 3.2.1.
    """

    def __init__(
        self,
        client: Redis,
        *,
        prefix: str = "penstock:cache:",
        front: "Front[str, V] | None" = None,
        maxsize: int = 10_000,
        ttl: float | timedelta | None = None,
        codec: Codec | None = None,
        max_value_bytes: int = 1 << 20,
        on_error: OnError = "raise",
        on_corrupt: OnCorrupt = "miss",
        timeout: float | timedelta = 0.5,
        retry_after: float | timedelta = 0.1,
        max_staleness: float | timedelta = 3.0,
        lease: float | timedelta = 3.0,
        retry_delay: Callable[[int], float] | None = None,
        clock: Clock | None = None,
    ) -> None:
        check_client(client)
        self._clock = checked_clock(clock)
        self._prefix = checked_prefix(prefix)
        self._front: Front[str, Any] = Front(maxsize, clock=clock) if front is None else checked_front(front)
        self._ttl_ms = checked_ttl_ms(ttl)
        self._codec = checked_codec(codec)
        self._max_value = checked_count("max_value_bytes", max_value_bytes, 1, MAX_VALUE, "bytes")
        self._on_error = checked_choice("on_error", on_error, OnError)
        self._on_corrupt = checked_choice("on_corrupt", on_corrupt, OnCorrupt)
        self._lease = checked_wait("lease", lease)
        if retry_delay is not None and not callable(retry_delay):
            raise InvalidType(f"retry_delay must be callable or None, got {type(retry_delay).__name__}")
        self._redis = RoundTrips(
            client,
            timeout=checked_wait("timeout", timeout),
            pause=checked_wait("retry_after", retry_after),
            clock=self._clock,
        )
        self._tracking = Tracking(
            client,
            (self._prefix, LEASES + self._prefix),
            on_change=self._on_change,
            on_up=self._redis.rested,
            on_lost=self._on_lost,
            max_staleness=checked_wait("max_staleness", max_staleness),
            retry_delay=retry_delay or doubling_delay,
            clock=self._clock,
        )
        self._flights: dict[str, Flight] = {}  # reads that a new caller may join
        self._wanted: deque[Flight] = deque()  # reads that are not sent yet
        self._reader: Task[None] | None = None  # while there are reads
        self._computing: dict[str, Computation] = {}  # computations that a new caller may join
        self._computations: set[Task[Any]] = set()  # all of them
        self._news: dict[str, Event] = {}  # set when a key changes that another process computes
        self._closed = False
        self._front_hits = self._redis_hits = self._misses = self._corrupt = 0
        self._computed = self._not_stored = 0
        self._invalidations = self._flushes = self._losses = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Begins to hear of changes; a server that is down is tried again in the background.

        Raises:
            RedisError: waiting does not help: a wrong password, no permission, a server before Redis 6.
            RuntimeError: it is closed, perhaps meanwhile.
        """
        self._check_open()
        self._front.clear()
        await self._tracking.start()
        if self._closed:
            await self._tracking.aclose()
            self._check_open()

    async def aclose(self) -> None:
        """Ends all work; the client stays open.

        Computations are cancelled, and who waits for one gets TieredCacheClosed. Reads that are under way
        end first.
        """
        self._closed = True
        for task in self._computations:
            task.cancel()
        try:
            await gather(*self._computations, return_exceptions=True)
            if self._reader is not None:
                await gather(self._reader, return_exceptions=True)
        finally:
            await self._tracking.aclose()
            self._front.clear()

    def stats(self) -> TieredCacheStats:
        """What it has done so far."""
        return TieredCacheStats(
            front_hits=self._front_hits,
            redis_hits=self._redis_hits,
            misses=self._misses,
            computed=self._computed,
            not_stored=self._not_stored,
            corrupt=self._corrupt,
            invalidations=self._invalidations,
            flushes=self._flushes,
            losses=self._losses,
            errors=self._redis.errors,
            connected=self._heard(),
        )

    # ---- reads

    async def get(self, key: str, default: D | None = None, /) -> V | D | None:
        """The value of `key`, or `default`.

        Raises:
            TieredCacheUnavailable: Redis fails, and on_error is "raise".
            ValueError: key is longer than 1 KiB.
            TypeError: key is no str.
        """
        if self._clock() < self._tracking.trusted_until:
            value: Any = self._front.get(key, NOTHING)
            if value is not NOTHING:
                self._front_hits += 1
                return value  # type: ignore[no-any-return]
        self._check_open()
        value = await self._read_or_bypass(key, self._name(key))
        return default if isinstance(value, Found) else value

    async def get_many(self, keys: Iterable[str], /) -> dict[str, V]:
        """The values of those keys that have one, in the order of `keys`. Raises as get() does."""
        self._check_open()
        names = {key: self._name(key) for key in keys}
        found: dict[str, Any] = {key: self._from_front(key) for key in names}
        waiters = {key: self._join(key, names[key]) for key, value in found.items() if value is NOTHING}
        try:
            for key, waiter in waiters.items():
                found[key] = self._counted(key, await waiter)
        except TieredCacheUnavailable:
            if self._on_error == "raise":
                raise
            self._misses += sum(1 for key in waiters if found[key] is NOTHING)
        finally:
            for waiter in waiters.values():
                abandon(waiter)
        return {key: value for key, value in found.items() if not isinstance(value, Found)}

    async def get_or_compute(
        self,
        key: str,
        compute: Callable[[str], Awaitable[V]],
        /,
        *,
        ttl: float | timedelta | EllipsisType | None = ...,
    ) -> V:
        """The value of `key`; if there is none, `await compute(key)`, which is stored.

        One computation runs for all tasks of this process, and for all processes that share the Redis: the
        others wait for its value. If it fails, those who wait here get its error, and the others compute.
        It is cancelled when all who wait for it are. What is written or deleted by a TieredCache while it
        runs is not overwritten by its value. A process that waits for ten leases computes alone.

        Args:
            key: as in get().
            compute: called with the key, in a task with the context of the first who asked.
            ttl: as in set().

        Raises:
            TieredCacheUnavailable: Redis fails before the value is computed, and on_error is "raise".
            CacheLoadDeadlock: compute asks for its own key, perhaps through those of other keys. What it
                awaits through tasks that it starts itself is not looked through.
        """
        value = self._from_front(key)
        if value is not NOTHING:
            return value  # type: ignore[no-any-return]
        self._check_open()
        name, ttl_ms = self._name(key), self._ttl_of(ttl)
        computation = self._computing.get(key)
        if computation is None:
            computation = self._begin(key, self._look_up(key, name, compute, ttl_ms))
        else:
            computation.refuse_circle(current_task())
        return await self._result_of(computation)  # type: ignore[no-any-return]

    # ---- writes

    async def set(
        self, key: str, value: V, /, *, ttl: float | timedelta | EllipsisType | None = ...
    ) -> bool:  # fmt: skip
        """Stores a value in Redis, for all processes.

        Args:
            key: as in get().
            value: anything that the codec knows; None too.
            ttl: seconds or timedelta, > 0, at least a millisecond; None for ever; `...` for the cache's own.

        Returns:
            Whether Redis has it; False only if Redis fails and on_error is "bypass". It then may hold the
            old value.

        Raises:
            TieredCacheUnavailable: Redis fails, and on_error is "raise".
            ValueError: key, value or ttl is too long.
            TypeError: key is no str, or ttl is no time; a codec may raise more.
        """
        return await self.set_many({key: value}, ttl=ttl)

    async def set_many(
        self, items: Mapping[str, V], /, *, ttl: float | timedelta | EllipsisType | None = ...
    ) -> bool:  # fmt: skip
        """Stores values as set() does, up to 64 in a round trip. If it raises, some may be stored."""
        self._check_open()
        ttl_ms = self._ttl_of(ttl)
        encoded = [(key, self._name(key), self._encoded(key, value)) for key, value in items.items()]
        try:
            for some in batches(encoded):
                await self._write(WRITE, some, ttl_ms, *(data for _, _, data in some))
        except TieredCacheUnavailable:
            if self._on_error == "raise":
                raise
            return False
        return True

    async def delete(self, key: str, /) -> bool:
        """Removes a key from Redis, for all processes; False if it was not there.

        Raises:
            TieredCacheUnavailable: Redis fails, whatever `on_error` says.
        """
        return await self.delete_many((key,)) > 0

    async def delete_many(self, keys: Iterable[str], /) -> int:
        """Removes keys as delete() does; the number of those that were there."""
        self._check_open()
        named = [(key, self._name(key), b"") for key in dict.fromkeys(keys)]
        return sum([await self._write(DELETE, some) for some in batches(named)])

    async def _write(
        self, script: Script, some: Sequence[tuple[str, bytes, bytes]], *arguments: int | bytes
    ) -> Any:  # fmt: skip
        names = [each for _, name, _ in some for each in (name, LEASES + name)]
        try:
            return await self._redis.ask(script, names, *arguments)
        finally:  # after the answer, so that no later read of ours can find what was there before
            for key, _, _ in some:
                self._forget(key)

    # ---- the front, and what Redis tells of

    def _heard(self) -> bool:
        return self._clock() < self._tracking.trusted_until

    def _from_front(self, key: str) -> Any:
        """The value of the front, or NOTHING, also while nothing is heard of changes."""
        if not self._heard():
            return NOTHING
        value = self._front.get(key, NOTHING)
        if value is not NOTHING:
            self._front_hits += 1
        return value

    def _on_change(self, names: Sequence[bytes] | None) -> None:
        if names is None:
            self._flushes += 1
            self._forget_all()
            return
        for name in names:
            leased = name.startswith(LEASES + self._prefix)
            try:
                key = name[len(self._prefix) + (len(LEASES) if leased else 0) :].decode(
                    errors="surrogatepass"
                )
            except UnicodeDecodeError:
                continue  # somebody else's
            if not leased:
                self._invalidations += 1
                self._forget(key)
            self._wake(key)

    def _on_lost(self) -> None:
        self._losses += not self._closed
        self._forget_all()

    def _forget(self, key: str) -> None:
        """Lets nobody who asks from now on see what was known of a key until now."""
        flight = self._flights.pop(key, None)
        if flight is not None:
            flight.keep = False
        self._computing.pop(key, None)
        self._front.delete(key)

    def _forget_all(self) -> None:
        for flight in self._flights.values():
            flight.keep = False
        self._flights.clear()
        self._computing.clear()
        self._front.clear()
        for key in list(self._news):
            self._wake(key)

    def _wake(self, key: str) -> None:
        event = self._news.pop(key, None)
        if event is not None:
            event.set()

    # ---- flights: reads that are under way

    async def _read_or_bypass(self, key: str, name: bytes) -> Any:
        try:
            return await self._read(key, name)
        except TieredCacheUnavailable:
            if self._on_error == "raise":
                raise
            self._misses += 1
            return NOTHING

    async def _read(self, key: str, name: bytes) -> Any:
        """The value of Redis, NOTHING, or CORRUPT."""
        waiter = self._join(key, name)
        try:
            return self._counted(key, await waiter)
        finally:
            abandon(waiter)

    def _counted(self, key: str, value: object) -> object:
        if not isinstance(value, Found):
            self._redis_hits += 1
            return value
        self._misses += 1
        if value is CORRUPT:
            self._corrupt += 1
            if self._on_corrupt == "raise":
                raise TieredCacheCorrupt(
                    f"Redis must hold a value of the codec, got none at {shortened(key)}"
                )
        return value

    def _join(self, key: str, name: bytes) -> "Future[Any]":
        """A future of the read of a key, which begins if none is under way."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight(key, name, keep=self._heard())
            self._wanted.append(flight)
            if self._reader is None:
                self._reader = create_task(self._read_all(), name="penstock cache reads")
        waiter: Future[Any] = get_running_loop().create_future()
        flight.waiters.append(waiter)
        return waiter

    async def _read_all(self) -> None:
        """Sends what is wanted, all that has come since the last time at once."""
        try:
            while self._wanted:
                await self._read_some(
                    [self._wanted.popleft() for _ in range(min(len(self._wanted), MAX_TOGETHER))]
                )
        finally:
            self._reader = None
            while self._wanted:  # only if this task was cancelled
                self._land(self._wanted.popleft(), Flight.cancel)

    async def _read_some(self, flights: list[Flight]) -> None:
        for flight in flights:
            if not flight.wanted():
                self._land(flight, Flight.cancel)
        flights = [flight for flight in flights if flight.wanted()]
        if not flights:
            return
        try:
            sent_at = self._clock()
            names = [flight.name for flight in flights]
            replies = await self._redis.ask(READ, names, self._max_value, MAX_BYTES)
            self._wanted.extendleft(reversed(flights[len(replies) :]))  # there was no room for their values
            del flights[len(replies) :]
            for flight, reply in zip(flights, replies, strict=True):
                self._arrive(flight, reply, sent_at)
        except Exception as error:
            failure = error
            for flight in flights:
                self._land(flight, lambda each: each.fail(failure))
        finally:
            for flight in flights:
                self._land(flight, Flight.cancel)  # does nothing, unless this task was cancelled

    def _arrive(self, flight: Flight, reply: Sequence[Any], sent_at: int) -> None:
        left_ms, data = reply
        value = NOTHING if left_ms == -2 else self._decoded(data)
        if flight.keep and not isinstance(value, Found):
            self._put_in_front(flight.key, value, left_ms, sent_at)
        self._land(flight, lambda each: each.land(value))

    def _put_in_front(self, key: str, value: object, left_ms: int, sent_at: int) -> None:
        """Counts time from when the question was sent, so that nothing outlives its entry in Redis."""
        lives = [self._ttl_ms] if self._ttl_ms else []
        if left_ms >= 0:
            lives.append(left_ms - 1)  # Redis rounds up to the millisecond
        if not lives:
            self._front.set(key, value, ttl=None)
            return
        left_ns = min(lives) * (NANOSECONDS // 1000) - (self._clock() - sent_at)
        if left_ns > 0:
            self._front.set(key, value, ttl=left_ns / NANOSECONDS)

    def _land(self, flight: Flight, how: Callable[[Flight], None]) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        how(flight)

    def _decoded(self, data: object) -> Any:
        if not isinstance(data, bytes) or len(data) > self._max_value:
            return CORRUPT
        try:
            return self._codec.decode(data)
        except Exception:  # whatever it does not like about the bytes
            return CORRUPT

    def _encoded(self, key: str, value: V) -> bytes:
        data = self._codec.encode(value)
        if len(data) > self._max_value:
            raise InvalidValue(
                f"a value must be <= {self._max_value} bytes, got {len(data)} for {shortened(key)}"
            )
        return data

    # ---- computations

    def _begin(self, key: str, work: Any) -> Computation:
        task: Task[Any] = create_task(work, name="penstock cache computation")
        computation = self._computing[key] = Computation(key, task)
        self._computations.add(task)

        def end(task: Task[Any]) -> None:
            self._computations.discard(task)
            self._let_nobody_join(computation)
            if not task.cancelled():
                task.exception()  # nobody is to complain that it was not retrieved when all waiters are gone

        task.add_done_callback(end)
        return computation

    def _let_nobody_join(self, computation: Computation) -> None:
        if self._computing.get(computation.key) is computation:
            del self._computing[computation.key]

    async def _result_of(self, computation: Computation) -> Any:
        this = current_task()
        assert this is not None
        WAITING[this] = computation
        computation.waiting += 1
        try:
            return await shield(computation.task)
        except CancelledError:
            if self._closed and not this.cancelling():
                raise TieredCacheClosed("the cache must be open until a value is computed") from None
            raise
        finally:
            del WAITING[this]
            computation.waiting -= 1
            if not computation.waiting:
                self._let_nobody_join(computation)
                computation.task.cancel()  # does nothing if it has ended

    async def _look_up(
        self, key: str, name: bytes, compute: Callable[[str], Awaitable[V]], ttl_ms: int
    ) -> Any:  # fmt: skip
        """The value of Redis; if there is none, the computed one."""
        token = token_bytes(16)
        try:
            found = await self._find_or_claim(key, name, token)
            if not isinstance(found, Found):
                return found
            value = await self._compute(key, name, token if found is CLAIMED else None, compute)
            stored = found is CLAIMED and await self._fill(key, name, token, value, ttl_ms)
        except BaseException:
            await self._release(name, token)
            raise
        self._not_stored += not stored
        return value

    async def _find_or_claim(self, key: str, name: bytes, token: bytes) -> Any:
        """The value of Redis, CLAIMED if it is ours to compute, or NOTHING if it is to be computed alone."""
        give_up_at = get_running_loop().time() + MAX_LEASES * self._lease
        try:
            while get_running_loop().time() < give_up_at:
                found = await self._read(key, name)
                if not isinstance(found, Found):
                    return found
                # Before the claim, so that nothing that comes after it is missed.
                news = self._news.setdefault(key, Event())
                claimed = await self._redis.ask(
                    CLAIM, (name, LEASES + name), token, ms_of(self._lease), int(found is CORRUPT)
                )
                if claimed == 1:
                    return CLAIMED
                if claimed == 0:
                    await self._wait_for(news)
        except TieredCacheUnavailable:
            if self._on_error == "raise":
                raise
        finally:
            self._wake(key)  # another one that waits in this process looks again
        return NOTHING

    async def _wait_for(self, news: Event) -> None:
        """Until a key or its lease has changed; not much longer than a process that dies keeps its lease."""
        with suppress(TimeoutError):
            async with timeout(self._lease / 3 if self._heard() else POLL):
                await news.wait()

    async def _compute(
        self, key: str, name: bytes, token: bytes | None, compute: Callable[[str], Awaitable[V]]
    ) -> V:
        renewer = None if token is None else create_task(self._renew(name, token))
        try:
            value = await compute(key)
        finally:
            if renewer is not None:
                renewer.cancel()
                await gather(renewer, return_exceptions=True)
        self._computed += 1
        return value

    async def _renew(self, name: bytes, token: bytes) -> None:
        while True:
            await sleep(self._lease / 3)
            with suppress(TieredCacheUnavailable):
                await self._redis.ask(RENEW, (LEASES + name,), token, ms_of(self._lease))

    async def _release(self, name: bytes, token: bytes) -> None:
        with suppress(Exception):  # something else is being raised; the lease ends by itself
            await self._redis.ask(RELEASE, (LEASES + name,), token)

    async def _fill(self, key: str, name: bytes, token: bytes, value: V, ttl_ms: int) -> bool:
        """Stores a value under its lease; whether it is stored. That Redis fails is no reason to fail."""
        data = self._codec.encode(value)
        if len(data) > self._max_value:
            await self._release(name, token)
            return False
        try:
            return bool(await self._redis.ask(FILL, (name, LEASES + name), token, ttl_ms, data))
        except TieredCacheUnavailable:
            return False
        finally:
            self._forget(key)

    # ---- arguments

    def _check_open(self) -> None:
        if self._closed:
            raise TieredCacheClosed("the cache must be open, got a call after aclose()")

    def _name(self, key: object) -> bytes:
        """A key as it stands in Redis."""
        if not isinstance(key, str):
            raise InvalidType(f"key must be a str, got {type(key).__name__}")
        name = key[: MAX_KEY + 1].encode(errors="surrogatepass")  # no more than can be told to be too long
        if len(name) > MAX_KEY:
            raise InvalidValue(f"key must be <= {MAX_KEY} bytes, got {len(key)} characters")
        return self._prefix + name

    def _ttl_of(self, ttl: object) -> int:
        return self._ttl_ms if ttl is ... else checked_ttl_ms(ttl)


def abandon(waiter: "Future[Any]") -> None:
    """Lets nobody complain that an error was not retrieved by a caller that has ended."""
    if not waiter.cancel() and not waiter.cancelled():
        waiter.exception()


def batches(items: Iterable[tuple[str, bytes, bytes]]) -> Iterator[list[tuple[str, bytes, bytes]]]:
    """Keys, names and data of as many items as one round trip takes."""
    some: list[tuple[str, bytes, bytes]] = []
    size = 0
    for item in items:
        some.append(item)
        size += len(item[2])
        if len(some) == MAX_TOGETHER or size >= MAX_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def ms_of(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def shortened(key: str) -> str:
    return repr(key if len(key) <= 100 else f"{key[:97]}...")


def check_client(client: object) -> None:
    if not isinstance(client, Redis):
        kind = f"{type(client).__module__}.{type(client).__name__}"
        raise InvalidType(f"client must be a redis.asyncio.Redis, got {kind}")
    if client.connection_pool.connection_kwargs.get("decode_responses"):
        raise InvalidValue("client must have decode_responses=False, got True")


def checked_prefix(prefix: object) -> bytes:
    if not isinstance(prefix, str):
        raise InvalidType(f"prefix must be a str, got {type(prefix).__name__}")
    encoded = prefix.encode(errors="surrogatepass")
    if not 1 <= len(encoded) <= MAX_PREFIX:
        raise InvalidValue(f"prefix must be 1 to {MAX_PREFIX} bytes, got {len(encoded)}")
    if (LEASES + encoded).startswith(encoded):  # names of keys could not be told from names of leases
        raise InvalidValue(
            f"prefix must not begin the names of its leases, 'lease:' and itself, got {prefix!r}"
        )
    return encoded


def checked_front(front: Any) -> Any:
    for method in ("get", "set", "delete", "clear"):
        if not callable(getattr(front, method, None)):
            raise InvalidType(f"front must be a cache with {method}(), got {type(front).__name__}")
    return front


def checked_ttl_ms(ttl: object) -> int:
    """`ttl` in milliseconds, at least one; 0 for None."""
    lifetime = checked_lifetime("ttl", ttl)
    return 0 if lifetime == NEVER else max(1, lifetime // 1_000_000)


def checked_choice(name: str, value: Any, choices: Any) -> Any:
    allowed = get_args(choices)
    if value not in allowed:
        raise InvalidValue(f"{name} must be {' or '.join(allowed)}, got {value!r}")
    return value


def checked_wait(name: str, value: object) -> float:
    return checked_seconds(name, value, LEAST_SECONDS, MAX_SECONDS)
