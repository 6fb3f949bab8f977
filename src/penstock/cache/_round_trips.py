"""Scripts that a Redis server runs for a cache, within a time limit; a server that failed has a rest."""

import re
from asyncio import Timeout, get_running_loop, timeout
from collections.abc import Sequence
from hashlib import sha1
from typing import Any

from penstock._cancellation import cancellation_kept
from penstock.clock import NANOSECONDS, Clock
from penstock.errors import PenstockError

try:
    from redis import exceptions
    from redis.asyncio import Redis
except ImportError as error:
    raise ImportError(
        "penstock.cache.tiered needs redis-py: pip install penstock[redis]", name="redis"
    ) from error

__all__ = ["Redis", "RoundTrips", "Script", "TieredCacheUnavailable", "tells_unable"]

UNABLE = re.compile(r"\b(BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|OOM|READONLY|TRYAGAIN)\b")
"""What a server says that is there, but cannot do its work at present."""

UNABLE_KINDS = (exceptions.OutOfMemoryError, exceptions.ReadOnlyError, exceptions.MasterDownError)
"""Errors from whose text redis-py takes that word away."""

LOCKED_OUT = (exceptions.AuthenticationError, exceptions.AuthorizationError)
"""Connection errors of redis-py that waiting does not mend."""

DOWN = (OSError, exceptions.ConnectionError, exceptions.TimeoutError)


class TieredCacheUnavailable(PenstockError, ConnectionError):
    """The Redis server behind a cache gives no answer, or cannot do its work at present."""


def tells_unable(error: Exception) -> bool:
    """Whether the server fails, in contrast to a mistake of whoever calls it."""
    if isinstance(error, LOCKED_OUT):
        return False
    if isinstance(error, (*DOWN, *UNABLE_KINDS)):
        return True
    return isinstance(error, exceptions.ResponseError) and UNABLE.search(str(error)) is not None


class Script:
    """Lua that runs on the server, all of it or nothing, with nobody in between."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = sha1(text.encode(), usedforsecurity=False).hexdigest()


class RoundTrips:
    """Asks a server, one script a round trip.

    Args:
        client: asks it; stays the caller's.
        timeout: seconds that one round trip may take.
        pause: seconds for which the server is not asked after it failed; then one call finds out.
        clock: nanoseconds.

    Attributes:
        errors: round trips without a usable answer so far.
    """

    def __init__(self, client: Redis, *, timeout: float, pause: float, clock: Clock) -> None:
        self.errors = 0
        self._client = client
        self._timeout = timeout
        self._pause_ns = round(pause * NANOSECONDS)
        self._clock = clock
        self._failed: str | None = None
        self._ask_again_at = 0

    async def ask(self, script: Script, keys: Sequence[bytes], *arguments: int | bytes) -> Any:
        """What the script says.

        Raises:
            TieredCacheUnavailable: no answer in time, a server that cannot, or one that has just failed.
            RedisError: the call was a mistake: a wrong password, no permission.
        """
        self._enter()
        limit = timeout(self._timeout)
        try:
            async with limit:
                with cancellation_kept():
                    answer = await self._run(script, len(keys), *keys, *arguments)
        except TimeoutError:
            raise self._out_of_time(limit) from None
        except Exception as error:
            if not tells_unable(error):
                raise
            raise self._failing(
                str(error), rest=not isinstance(error, exceptions.MaxConnectionsError)
            ) from error
        self._failed = None
        return answer

    def rested(self) -> None:
        """Ends the pause: the server has been heard of."""
        self._failed = None

    def _enter(self) -> None:
        if self._failed is None:
            return
        now = self._clock()
        if now < self._ask_again_at:
            raise TieredCacheUnavailable(f"Redis is left alone for a while: {self._failed}")
        self._ask_again_at = now + self._pause_ns  # for the others, while this call finds out

    async def _run(self, script: Script, *arguments: int | bytes) -> Any:
        client: Any = self._client  # redis-py gives execute_command no types
        try:
            return await client.execute_command("EVALSHA", script.sha, *arguments)
        except exceptions.NoScriptError:  # a new server, or one that has started again
            return await client.execute_command("EVAL", script.text, *arguments)

    def _out_of_time(self, limit: Timeout) -> TieredCacheUnavailable:
        deadline = limit.when()
        assert deadline is not None
        held_up = get_running_loop().time() - deadline > self._timeout / 4  # this process is slow, not Redis
        return self._failing(f"no answer within {self._timeout:g} s", rest=not held_up)

    def _failing(self, why: str, *, rest: bool) -> TieredCacheUnavailable:
        self.errors += 1
        if rest:
            self._failed = why
            self._ask_again_at = self._clock() + self._pause_ns
        return TieredCacheUnavailable(f"Redis is unavailable: {why}")
