"""When a request may be sent."""

import asyncio

from penstock.clock import Clock
from penstock.ratelimit import TokenBucket

__all__ = ["Pace"]


class Gate:
    """Lets through what its bucket allows now, first come first served; who is cancelled takes nothing.

    TokenBucket.acquire_async is no gate for this: it grants a token at the moment it is due, however late the
    task wakes up, so that lateness costs no rate. The next request is then sent too soon after a late one, by
    so much as that was late: one at a time when burst is 1, and all that wait when the process was stopped.
    """

    def __init__(self, bucket: TokenBucket) -> None:
        self._bucket = bucket
        self._line = asyncio.Lock()  # serves in the order of arrival

    async def __call__(self) -> None:
        async with self._line:
            while not self._bucket.allow():
                wait = self._bucket.retry_after()
                await asyncio.sleep(wait)


class Pace:
    """At most `burst + rate * t` requests in any t seconds, counted as their first bytes are sent.

    A request takes its turn before it connects, so that no connection is held open through a long wait, and
    passes a second gate as it is sent: connecting takes now this long and now that, and requests that took
    their turns apart could go out together. The second gate is nearly always open.

    Args:
        rate: requests a second, see TokenBucket.
        burst: requests at once after a pause, >= 1.
        clock: returns int nanoseconds; None for the monotonic clock of the system.

    Attributes:
        turn: awaited before an attempt.
        send: awaited before its first byte.

    Raises:
        ValueError: see TokenBucket.
    """

    def __init__(self, rate: float, burst: int, *, clock: Clock | None = None) -> None:
        self.rate = rate
        self.burst = burst
        self.turn = Gate(TokenBucket(rate, burst, clock=clock))
        self.send = Gate(TokenBucket(rate, burst, clock=clock))
