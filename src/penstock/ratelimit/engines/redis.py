"""Rate limits kept in Redis, shared by every process that asks the same servers."""

from asyncio import CancelledError, Task, create_task, gather, shield, sleep
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.errors import InvalidType, InvalidValue, PenstockError
from penstock.ratelimit._waiting import checked_timeout
from penstock.ratelimit.engines.redis_node import Client, Node, nodes_of
from penstock.ratelimit.engines.redis_scripts import ALGORITHMS, Algorithm, Operation, Reply
from penstock.ratelimit.errors import RateLimiterUnavailable
from penstock.ratelimit.quota import Quota, checked_quotas, checked_units, shown, whole
from penstock.ratelimit.result import RateLimitResult

__all__ = ["LimiterClosed", "RateLimiterUnavailable", "RedisRateLimiter", "RedisStats"]

MAX_KEY = 1024  # bytes
MAX_PREFIX = 256  # bytes
LEAST_SECONDS = 1e-6
MAX_SECONDS = 3600.0
LEAST_SLEEP = 0.001  # seconds

OnError = Literal["allow", "refuse", "raise"]


class LimiterClosed(PenstockError, RuntimeError):
    """The limiter was closed, and asked after that."""


@dataclass(frozen=True, slots=True)
class RedisStats:
    """What a RedisRateLimiter has done so far."""

    asked: int
    """Calls of allow, check and acquire's tries that had valid arguments."""
    allowed: int
    """Of these, allowed; with those that failed open."""
    refused: int
    """Of these, refused; with those that failed closed."""
    errors: int
    """Round trips without an answer, or answered with a server's inability."""
    failed_open: int
    """Calls allowed without an answer."""
    failed_closed: int
    """Calls refused without an answer."""
    round_trips: int
    """Commands sent to a server."""
    leased: int
    """Calls decided here, out of a lease."""


class Decision(NamedTuple):
    """What was decided, and what the server said; the arguments of Algorithm.result."""

    reply: Reply
    n: int
    allowed: bool
    spare: int = 0


class LeaseRequest:
    """One round trip for the lease of a key, that several tasks may wait for.

    Attributes:
        n: units that the task needs which asks.
        held: units of the lease that it brings along, so that it needs `n - held` more.
        held_until: nanoseconds at which these are lost.
        orphaned: whether it was cancelled, so that its units go into the lease.
        task: ends with the reply of the server.
    """

    __slots__ = ("held", "held_until", "n", "orphaned", "task")

    task: Task[Reply]

    def __init__(self, n: int, held: int, held_until: int) -> None:
        self.n = n
        self.held = held
        self.held_until = held_until
        self.orphaned = False


class Lease:
    """Units of a key that are charged already and may be given out here.

    Attributes:
        units: what is left.
        expires_at: nanoseconds; afterwards the units are lost.
        reply: of the server, when it gave them.
        request: the round trip that is under way.
    """

    __slots__ = ("expires_at", "reply", "request", "units")

    reply: Reply

    def __init__(self) -> None:
        self.units = 0
        self.expires_at = 0
        self.request: LeaseRequest | None = None


class RedisRateLimiter:
    """Limits by key that every process shares which asks the same Redis servers.

    One decision is one script on one key of one server: all quotas take the units, or none. Time is the
    server's, so the clocks of clients do not matter. Idle keys vanish from Redis by themselves.

    Calls of one tick, and those that come while others are under way, share a round trip.

    A call that the server did not answer may have been charged all the same: the limit then lets fewer
    through, never more.

    Args:
        quotas: Quota or str, 1 to 8 of them; state is kept by their numbers, so limiters with other quotas
            do not disturb each other.
        nodes: a URL (`redis://`, `rediss://`, `unix://`), a client of redis.asyncio, or a sequence of them:
            servers that know nothing of each other. A key is kept by the node that scores highest by
            blake2b(name + NUL + key, 8 bytes), where a name is `host:port/db`; a node that is down affects
            its keys only. One RedisCluster client counts as one node. Clients stay the caller's to close.
        algorithm: `token_bucket` (the generic cell rate algorithm, exact), `sliding_window` (exact log;
            up to 100,000 units a key) or `sliding_counter` (two numbers a key; lets fewer than twice the
            limit through in the worst stretch, see csrc/window_counter.h).
        prefix: of every key in Redis; a key is `prefix`, 12 digits for the quotas, `:{key}`.
        timeout: seconds that one decision may take, all in all.
        on_error: what a server's failure means. `raise`: RateLimiterUnavailable. `allow`: requests pass
            while it lasts (the limit is open). `refuse`: none does.
        retry_node_after: seconds for which a node is not asked after it failed; then one call finds out
            whether it is back.
        lease: units to take from the server at once and give out here without a round trip; 0 for none.
            They are charged in advance, so the sum is never more than the limit; see `lease_time`.
        lease_time: seconds after which unused units of a lease are lost; None for a tenth of the shortest
            period. In any window no more is allowed than the limit allows in `window + lease_time`. At most
            `lease` units a key and process lie idle, which others are refused until they refill.
        max_leases: keys that may have a lease; the one longest not asked for loses its units.
        clock: nanoseconds, for leases and `retry_node_after`; None for the monotonic clock of the system.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is of another kind.

    A limiter belongs to one event loop. A wrong password, a value of another kind at a key and an error of
    a script are mistakes, no failures: redis.exceptions.RedisError, whatever `on_error` says.

    Source: ITU-T I.371, generic cell rate algorithm; Thaler and Ravishankar, Using name-based mappings to
    increase hit rates, 1998 (rendezvous hashing).
    """

    def __init__(
        self,
        *quotas: Quota | str,
        nodes: str | Client | Sequence[str | Client],
        algorithm: Literal["token_bucket", "sliding_window", "sliding_counter"] = "token_bucket",
        prefix: str = "penstock:",
        timeout: float = 0.1,
        on_error: OnError = "raise",
        retry_node_after: float = 1.0,
        lease: int = 0,
        lease_time: float | None = None,
        max_leases: int = 10_000,
        clock: Clock | None = None,
    ) -> None:
        if algorithm not in ALGORITHMS:
            raise InvalidValue(f"algorithm must be one of {', '.join(ALGORITHMS)}, got {algorithm!r}")
        if on_error not in ("allow", "refuse", "raise"):
            raise InvalidValue(f"on_error must be 'allow', 'refuse' or 'raise', got {on_error!r}")
        self._algorithm: Algorithm = ALGORITHMS[algorithm](checked_quotas(quotas))
        self._prefix = checked_prefix(prefix) + f"{self._algorithm.fingerprint}:".encode()
        self._on_error = on_error
        self._retry_node_after = seconds("retry_node_after", retry_node_after)
        self._lease = whole("lease", lease, 0, self._algorithm.largest)
        shortest = self._algorithm.shortest_us / 1e6
        self._lease_ns = round(
            NANOSECONDS * (shortest / 10 if lease_time is None else seconds("lease_time", lease_time))
        )
        self._leases: OrderedDict[bytes, Lease] = OrderedDict()
        self._max_leases = whole("max_leases", max_leases, 1, 1 << 24)
        self._clock = checked_clock(clock)
        self._nodes: tuple[Node, ...] = nodes_of(
            nodes,
            timeout=seconds("timeout", timeout),
            pause=self._retry_node_after,
            clock=self._clock,
        )
        self._requests: set[Task[Reply]] = set()
        self._closed = False
        self._asked = self._allowed = self._failed_open = self._failed_closed = self._refused = (
            self._leased
        ) = 0
        self._server_clock: Callable[[], int] | None = (
            None  # microseconds, for tests: in place of Redis' TIME
        )

    def __repr__(self) -> str:
        quotas = ", ".join(repr(str(quota)) for quota in self._algorithm.quotas)
        return f"RedisRateLimiter({quotas}, nodes={list(self._nodes)})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def allow(self, key: str | bytes | int, n: int = 1, /) -> bool:
        """Takes `n` units of a key if every quota has them; never waits longer than `timeout`.

        Args:
            key: whose limit; at most 1 KiB. The string "1", the bytes b"1" and the int 1 are one key.
            n: units, 1 to the least of the limits (of the bursts, for token buckets).

        Returns:
            Whether they are taken.

        Raises:
            RateLimiterUnavailable: the server gave no answer and on_error is "raise".
            ValueError: key or n is out of its range.
            TypeError: key or n is of another kind.
        """
        decision = await self._decide(key_bytes(key), checked_units(n, self._algorithm.largest))
        return self._on_error == "allow" if decision is None else decision.allowed

    async def check(self, key: str | bytes | int, n: int = 1, /) -> RateLimitResult:
        """Takes units as allow() does, and says what is left and when to come again.

        Out of a lease, `remaining` and times are those of the last round trip. Without an answer
        (on_error "allow" or "refuse") nothing is known to remain.
        """
        decision = await self._decide(key_bytes(key), checked_units(n, self._algorithm.largest))
        return self._unknown() if decision is None else self._algorithm.result(*decision)

    async def peek(self, key: str | bytes | int, /) -> RateLimitResult:
        """How a key stands, without taking anything; `allowed` tells whether one unit would be.

        Raises:
            RateLimiterUnavailable: the server gave no answer and on_error is "raise".
        """
        name = key_bytes(key)
        self._raise_if_closed()
        try:
            reply = await self._run(name, "peek", (1,))
        except RateLimiterUnavailable:
            if self._on_error == "raise":
                raise
            return self._unknown()
        lease = self._leases.get(name)
        spare = lease.units if lease is not None and self._clock() < lease.expires_at else 0
        free = spare > 0 or all(left > 0 for left, _, _ in self._algorithm.outcomes(reply, 0))
        return self._algorithm.result(reply, 1, free, spare)

    async def reset(self, key: str | bytes | int, /) -> bool:
        """Forgets what was taken of a key.

        Returns:
            Whether the server has done so; False without an answer, unless on_error is "raise".
        """
        name = key_bytes(key)
        self._raise_if_closed()
        self._leases.pop(name, None)
        try:
            await self._node_of(name).delete(self._in_redis(name))
        except RateLimiterUnavailable:
            if self._on_error == "raise":
                raise
            return False
        return True

    async def refund(self, key: str | bytes | int, n: int = 1, /) -> bool:
        """Gives back `n` units that were taken and not used, or as many as still count: the newest ones.

        Returns:
            Whether the server has done so; False without an answer, unless on_error is "raise".
        """
        name, n = key_bytes(key), checked_units(n, self._algorithm.largest)
        self._raise_if_closed()
        try:
            await self._run(name, "refund", (n,))
        except RateLimiterUnavailable:
            if self._on_error == "raise":
                raise
            return False
        return True

    async def acquire(self, key: str | bytes | int, n: int = 1, /, *, timeout: float | None = None) -> bool:
        """Takes `n` units as soon as they are there: asks, sleeps as long as it is told to, asks again.

        Who asks first is not always served first: other processes ask as well.

        Args:
            key: as in allow().
            n: as in allow().
            timeout: seconds to wait at most; 0 for not at all, None for no end, also for a server that is
                down if on_error is "refuse".

        Returns:
            Whether they are taken. False as soon as it is known that they will not be there in time.
        """
        patience = checked_timeout(timeout)
        deadline = None if patience is None else self._clock() + patience
        while not (result := await self.check(key, n)).allowed:
            pause = max(result.retry_after, LEAST_SLEEP)
            if deadline is not None and self._clock() + pause * NANOSECONDS > deadline:
                return False
            await sleep(pause)
        return True

    def stats(self) -> RedisStats:
        """What it has done so far."""
        return RedisStats(
            asked=self._asked,
            allowed=self._allowed,
            refused=self._refused,
            errors=sum(node.errors for node in self._nodes),
            failed_open=self._failed_open,
            failed_closed=self._failed_closed,
            round_trips=sum(node.round_trips for node in self._nodes),
            leased=self._leased,
        )

    async def aclose(self) -> None:
        """Gives leased units back that nobody used, as far as that is exact, and closes its connections.

        Calls that are under way end first. The clients that were passed in stay open.
        """
        if self._closed:
            return
        self._closed = True
        while self._requests:  # who has waited for one may need another
            await gather(*self._requests, return_exceptions=True)
        try:
            await self._return_leases()
        finally:
            for node in self._nodes:
                await node.aclose()

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise LimiterClosed("the limiter must be open, got a call after aclose()")

    def _unknown(self) -> RateLimitResult:
        return self._algorithm.unknown(self._on_error == "allow", self._retry_node_after)

    async def _decide(self, name: bytes, n: int) -> Decision | None:
        """Takes and counts; None when there was no answer, and `on_error` is not "raise"."""
        self._raise_if_closed()
        self._asked += 1
        try:
            decision = await (self._take_leased(name, n) if self._lease else self._take(name, n))
        except RateLimiterUnavailable:
            if self._on_error == "raise":
                raise
            if self._on_error == "allow":
                self._failed_open += 1
                self._allowed += 1
            else:
                self._failed_closed += 1
                self._refused += 1
            return None
        if decision.allowed:
            self._allowed += 1
        else:
            self._refused += 1
        return decision

    def _node_of(self, name: bytes) -> Node:
        if len(self._nodes) == 1:
            return self._nodes[0]
        return max(self._nodes, key=lambda node: node.score(name))

    async def _run(
        self, name: bytes, operation: Operation, amounts: tuple[int, ...], only_of: int | None = None
    ) -> Reply:
        """What the script says about a key; a refund may be limited to what was taken at moment `only_of`."""
        now = None if self._server_clock is None else self._server_clock()
        arguments = self._algorithm.arguments(operation, amounts, now)
        if only_of is not None:
            arguments.append(b"%d" % only_of)
        return await self._node_of(name).run(self._algorithm.script, self._in_redis(name), arguments)

    def _in_redis(self, name: bytes) -> bytes:
        return b"%b{%b}" % (self._prefix, name)

    async def _take(self, name: bytes, n: int) -> Decision:
        reply = await self._run(name, "take", (n,))
        return Decision(reply, n, reply[0] > 0)

    async def _take_leased(self, name: bytes, n: int) -> Decision:
        lease = self._lease_of(name)
        while True:
            if self._clock() >= lease.expires_at:
                lease.units = 0
            if lease.units >= n:
                lease.units -= n
                self._leased += 1
                return Decision(lease.reply, n, True, lease.units)
            request, mine = lease.request, False
            if request is None:
                request, mine = self._request(name, lease, n), True
            try:
                reply = await shield(request.task)
            except CancelledError:
                if mine:
                    abandon(request, lease)
                raise
            if mine and reply[0]:
                return Decision(reply, n, True, lease.units)
            if not reply[0] and n >= request.n:
                return Decision(reply, n - request.held, False)

    def _lease_of(self, name: bytes) -> Lease:
        lease = self._leases.get(name)
        if lease is None:
            lease = self._leases[name] = Lease()
            if len(self._leases) > self._max_leases:
                self._leases.popitem(last=False)
        else:
            self._leases.move_to_end(name)
        return lease

    def _request(self, name: bytes, lease: Lease, n: int) -> LeaseRequest:
        request = LeaseRequest(n, lease.units, lease.expires_at)
        lease.units = 0
        request.task = create_task(self._renew(name, lease, request))
        lease.request = request
        self._requests.add(request.task)
        request.task.add_done_callback(self._requests.discard)
        request.task.add_done_callback(look_at_exception)
        return request

    async def _renew(self, name: bytes, lease: Lease, request: LeaseRequest) -> Reply:
        sent_at = self._clock()
        try:
            reply = await self._run(name, "take", lease_amounts(request.n - request.held, self._lease))
        except BaseException:
            lease.units += request.held
            raise
        finally:
            lease.request = None
        if not reply[0]:
            lease.units += request.held
            return reply
        lease.units += reply[0] + request.held - (0 if request.orphaned else request.n)
        lease.reply = reply
        lease.expires_at = sent_at + self._lease_ns
        if request.orphaned:
            expire_with_held(request, lease)
        return reply

    async def _return_leases(self) -> None:
        now = self._clock()
        leases, self._leases = self._leases, OrderedDict()
        for name, lease in leases.items():
            if lease.units and now < lease.expires_at:
                units, lease.units = lease.units, 0  # so nobody who still waits takes them meanwhile
                try:
                    await self._run(name, "refund", (units,), self._algorithm.moment(lease.reply))
                except RateLimiterUnavailable:
                    continue  # they refill; a node that has failed is not asked for the next one


def abandon(request: LeaseRequest, lease: Lease) -> None:
    """Leaves the units of a cancelled task in its lease, for others."""
    if not request.task.done():
        request.orphaned = True
    elif not request.task.cancelled() and request.task.exception() is None and request.task.result()[0]:
        lease.units += request.n
        expire_with_held(request, lease)


def expire_with_held(request: LeaseRequest, lease: Lease) -> None:
    """Lets no unit that the request has brought back outlive its time, and so none of the lease."""
    if request.held:
        lease.expires_at = min(lease.expires_at, request.held_until)


def look_at_exception(task: Task[Reply]) -> None:
    """Lets nobody complain that an exception was never retrieved when all who waited are gone."""
    if not task.cancelled():
        task.exception()


def lease_amounts(least: int, most: int) -> tuple[int, ...]:
    """What to ask for: `most`, or half of it and so on, but no less than `least`."""
    amounts = []
    while most > least:
        amounts.append(most)
        most //= 2
    return (*amounts, least)


def key_bytes(key: object) -> bytes:
    """A key as it stands in Redis.

    Raises:
        ValueError: it is longer than 1 KiB.
        TypeError: it is no str, bytes or int.
    """
    if isinstance(key, str):
        name = key[: MAX_KEY + 1].encode(errors="surrogatepass")
    elif isinstance(key, bytes):
        name = key
    elif isinstance(key, int) and not isinstance(key, bool):
        if key.bit_length() > 3 * MAX_KEY:  # a digit is more than three bits
            raise InvalidValue(f"key must be <= {MAX_KEY} bytes, got an int of {key.bit_length()} bits")
        name = b"%d" % key
    else:
        raise InvalidType(f"key must be a str, bytes or int, got {type(key).__name__}")
    if len(name) > MAX_KEY:
        more = " or more" if isinstance(key, str) else ""  # no more than that was encoded
        raise InvalidValue(f"key must be <= {MAX_KEY} bytes, got {len(name)}{more}")
    return name


def checked_prefix(prefix: object) -> bytes:
    """A prefix in bytes; a brace in it would decide on the slot in a cluster."""
    if not isinstance(prefix, str):
        raise InvalidType(f"prefix must be a str, got {type(prefix).__name__}")
    if "{" in prefix or len(prefix.encode()) > MAX_PREFIX:
        raise InvalidValue(f"prefix must be <= {MAX_PREFIX} bytes without '{{', got {prefix!r}")
    return prefix.encode()


def seconds(name: str, value: object) -> float:
    """A number of seconds, at least a microsecond and at most an hour."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidType(f"{name} must be a number of seconds, got {type(value).__name__}")
    if not LEAST_SECONDS <= value <= MAX_SECONDS:  # nan is neither
        raise InvalidValue(
            f"{name} must be >= {LEAST_SECONDS:g} and <= {MAX_SECONDS:g} seconds, got {shown(value)}"
        )
    return float(value)
