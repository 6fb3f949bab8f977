"""Hears from Redis which keys have changed, and tells for how long what is known can be trusted.

One connection does both halves of client tracking: it asks for the invalidations of its prefixes
(`CLIENT TRACKING ON BCAST`), redirected to itself, and is subscribed to them. So there is one thing that can
break, not two, and what arrives is in order: whoever has the answer to a PING has all that changed before.

This is RESP2, which redis-py reads alike in all its versions; how it hands out the pushes of RESP3 differs
from one to the next, and with hiredis. A server of Redis 6 is needed for either.
"""

import logging
import random
from asyncio import Task, Timeout, create_task, gather, get_running_loop, sleep, timeout
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import isfinite
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from penstock.cache._round_trips import tells_unable
from penstock.clock import NANOSECONDS, Clock

__all__ = ["Tracking", "doubling_delay"]

log = logging.getLogger("penstock.cache.tiered")

CHANNEL = b"__redis__:invalidate"
PINGS = 3  # in the time for which an answer is trusted
FIRST_DELAY, MAX_DELAY = 0.05, 5.0  # seconds

POOL_ONLY = ("himport", "maint", "orig_", "oss_")
"""Settings that pools of redis-py add for their own use; the first of them asks for RESP3."""


def doubling_delay(failures: int) -> float:
    """Seconds before the next try: 0.05 doubled with each failure, 5 at most; half of that is chance."""
    whole = min(FIRST_DELAY * float(1 << min(failures - 1, 10)), MAX_DELAY)
    return whole * random.uniform(0.5, 1)


class Tracking:
    """The invalidations of some prefixes, over one connection that is made again whenever it is lost.

    Args:
        client: says where the server is and how to log in; its pool is not used.
        prefixes: of the keys of interest.
        on_change: called with the names that have changed, or None when all may have.
        on_up: called when changes begin to be heard of.
        on_lost: called when they are not any more; whatever is remembered must go.
        max_staleness: seconds from a PING on for which its answer is trusted.
        retry_delay: called with the number of failures in a row; seconds to wait before the next try.
        clock: nanoseconds.

    Attributes:
        trusted_until: nanoseconds; before them, what is remembered is as good as `max_staleness` says.
    """

    def __init__(
        self,
        client: Redis,
        prefixes: Iterable[bytes],
        *,
        on_change: Callable[[list[bytes] | None], None],
        on_up: Callable[[], None],
        on_lost: Callable[[], None],
        max_staleness: float,
        retry_delay: Callable[[int], float],
        clock: Clock,
    ) -> None:
        self.trusted_until = 0
        self._client = client
        self._prefixes = tuple(prefixes)
        self._on_change = on_change
        self._on_up = on_up
        self._on_lost = on_lost
        self._max_staleness = max_staleness
        self._trusted_ns = round(max_staleness * NANOSECONDS)
        self._retry_delay = retry_delay
        self._clock = clock
        self._pings: deque[tuple[int, float]] = deque()  # when sent: nanoseconds, seconds of the event loop
        self._connection: Any = None  # while it is subscribed
        self._task: Task[None] | None = None

    async def start(self) -> None:
        """Tries once, and goes on by itself; without a server, it waits for one.

        Raises:
            RedisError: waiting does not help: a wrong password, no permission, a server before Redis 6.
        """
        if self._task is not None:
            return
        try:
            await self._connect()
        except Exception as error:
            if not tells_unable(error):
                raise
            log.warning("changes in Redis are not heard of yet: %s", error)
        self._task = create_task(self._keep_up(), name="penstock cache tracking")

    async def aclose(self) -> None:
        """Ends it; the connection is closed afterwards."""
        if self._task is not None:
            self._task.cancel()
            await gather(self._task, return_exceptions=True)
            self._task = None
        await self._drop()  # the task may have been cancelled before it began

    async def _keep_up(self) -> None:
        failures = 0
        while True:
            if self._connection is not None:
                failures = 0
                await self._follow(self._connection)
            failures += 1
            await sleep(self._delay(failures))
            try:
                await self._connect()
            except Exception as error:  # a mistake, too, may be mended on the server
                log.warning("changes in Redis are not heard of: %s", error)

    def _delay(self, failures: int) -> float:
        try:
            delay = float(self._retry_delay(failures))
            if isfinite(delay) and delay >= 0:
                return delay
            log.error("retry_delay must return seconds >= 0, got %r", delay)
        except Exception:
            log.exception("retry_delay failed")
        return doubling_delay(failures)

    async def _connect(self) -> None:
        """Makes a connection that is subscribed; changes after the subscription are heard of."""
        connection = self._new_connection()
        try:
            async with timeout(self._max_staleness):
                await connection.connect()
                own_id = await call(connection, "CLIENT", "ID")
                wanted = [word for prefix in self._prefixes for word in ("PREFIX", prefix)]
                await call(connection, "CLIENT", "TRACKING", "ON", "REDIRECT", own_id, "BCAST", *wanted)
                self._pings.clear()
                self._pings.append(self._now())
                await call(connection, "SUBSCRIBE", CHANNEL)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self.trusted_until = self._pings[0][0] + self._trusted_ns
        self._connection = connection
        self._on_up()

    def _new_connection(self) -> Any:
        pool = self._client.connection_pool
        settings = {
            name: value
            for name, value in pool.connection_kwargs.items()
            if not name.startswith(POOL_ONLY)
        }  # fmt: skip
        settings.update(
            protocol=2,
            socket_timeout=None,
            health_check_interval=0,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            retry_on_timeout=False,
        )
        return pool.connection_class(**settings)

    async def _follow(self, connection: Any) -> None:
        """Heeds what arrives until the connection is lost."""
        pinger = None
        try:
            async with timeout(None) as patience:
                self._trust(patience)
                pinger = create_task(self._ping(connection))
                while True:
                    self._heed(await connection.read_response(disconnect_on_error=False), patience)
        except Exception as error:
            why = f"no answer for {self._max_staleness:g} s" if isinstance(error, TimeoutError) else error
            log.warning("changes in Redis are not heard of any more: %s", why)
        finally:
            if pinger is not None:
                pinger.cancel()
            await self._drop()
            if pinger is not None:
                await gather(pinger, return_exceptions=True)

    async def _drop(self) -> None:
        """Gives the connection up, and with it the trust in what is remembered."""
        connection, self._connection = self._connection, None
        self.trusted_until = 0
        if connection is not None:
            self._on_lost()
            with suppress(Exception):
                await connection.disconnect(nowait=True)

    def _heed(self, message: Any, patience: Timeout) -> None:
        match message:
            case [b"message", _, None]:
                self._on_change(None)
            case [b"message", _, list(names)]:
                self._on_change(names)
            case [b"pong", _]:
                self._trust(patience)
            case Exception():
                raise message
            case _:
                raise ConnectionError(f"unexpected message of type {type(message).__name__}")

    def _trust(self, patience: Timeout) -> None:
        """Counts from when the question was sent: the answer may have been long on its way."""
        clock_at_ping, loop_at_ping = self._pings.popleft()
        self.trusted_until = clock_at_ping + self._trusted_ns
        patience.reschedule(loop_at_ping + self._max_staleness)

    async def _ping(self, connection: Any) -> None:
        while True:
            await sleep(self._max_staleness / PINGS)
            self._pings.append(self._now())
            await connection.send_command("PING", check_health=False)

    def _now(self) -> tuple[int, float]:
        return self._clock(), get_running_loop().time()


async def call(connection: Any, *command: int | str | bytes) -> Any:
    await connection.send_command(*command, check_health=False)
    return await connection.read_response()
