"""One Redis server, asked within a time limit and left alone for a while after it failed.

Calls that come while another is under way travel together, as a pipeline: redis-py's work for one round trip
is what a call costs. So a node needs two connections, however many tasks ask.
"""

import re
from asyncio import Future, Task, Timeout, create_task, gather, get_running_loop, timeout
from collections import deque
from collections.abc import Sequence
from hashlib import blake2b
from math import inf
from typing import Any

from penstock._cancellation import cancellation_kept
from penstock.clock import NANOSECONDS, Clock
from penstock.errors import InvalidType, InvalidValue
from penstock.ratelimit.engines.redis_scripts import Reply, Script
from penstock.ratelimit.errors import RateLimiterUnavailable

try:
    from redis import exceptions
    from redis.asyncio import Redis, RedisCluster
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as error:
    raise ImportError(
        "penstock.ratelimit.engines.redis needs redis-py: pip install penstock[redis]", name="redis"
    ) from error

__all__ = ["Client", "Node", "nodes_of"]

Client = Redis | RedisCluster

Command = tuple[int | str | bytes, ...]

MAX_NODES = 1024
MAX_TOGETHER = 128  # calls of one pipeline

UNABLE = re.compile(r"\b(BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|OOM|READONLY|TRYAGAIN)\b")
"""What a server says that is there, but cannot write at present. An old one says it within another error."""

OUTDATED = re.compile(r"\b(MASTERDOWN|READONLY)\b")
"""What a server says that is no longer the one to ask."""

CODES = {
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.OutOfMemoryError: "OOM",
    exceptions.ReadOnlyError: "READONLY",
    exceptions.TryAgainError: "TRYAGAIN",
}

LOCKED_OUT = (exceptions.AuthenticationError, exceptions.AuthorizationError)
"""Connection errors of redis-py that waiting does not mend."""

DOWN = (
    OSError,
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ClusterError,
    exceptions.RedisClusterException,
)


def tells_unable(error: Exception) -> bool:
    """Whether the server cannot decide at present, in contrast to a mistake of whoever calls it."""
    if isinstance(error, LOCKED_OUT):
        return False
    if isinstance(error, DOWN):
        return True
    return isinstance(error, exceptions.ResponseError) and UNABLE.search(spelled(error)) is not None


def spelled(error: Exception) -> str:
    """The server's words; redis-py takes the first of them away where it has a class for it."""
    for kind, code in CODES.items():
        if isinstance(error, kind):
            return f"{code} {error}"
    return str(error)


class Node:
    """A server, or a Redis Cluster.

    Args:
        client: asks it.
        name: places keys, and stands in errors.
        owned: whether aclose() closes the client.
        timeout: seconds that one call may take in all.
        pause: seconds for which it is not asked after it failed.
        clock: nanoseconds.
    """

    def __init__(
        self, client: Client, name: str, *, owned: bool, timeout: float, pause: float, clock: Clock
    ) -> None:  # fmt: skip
        self.name = name
        self.round_trips = 0
        self.errors = 0
        self._client = client
        self._owned = owned
        self._timeout = timeout
        self._pause_ns = round(pause * NANOSECONDS)
        self._clock = clock
        self._single = False  # whether a call is under way on its own
        self._under_way = 0  # calls
        self._ended: Future[None] | None = None  # done when none is, for aclose()
        self._waiting: deque[tuple[Command, Future[Any]]] = deque()
        self._writer: Task[None] | None = None  # while there are some that wait, or are under way together
        self._failed: str | None = None
        self._ask_again_at = 0
        self._answered_at = -inf  # seconds of the event loop, the last answer
        self._excused_at = inf  # when a call since then first had no answer for no fault of the node
        self._hash = blake2b(name.encode() + b"\0", digest_size=8)

    def __repr__(self) -> str:
        return self.name

    def score(self, key: bytes) -> bytes:
        """Whoever scores highest keeps the key: rendezvous hashing."""
        state = self._hash.copy()
        state.update(key)
        return state.digest()

    async def run(self, script: Script, key: bytes, arguments: Sequence[bytes]) -> Reply:
        """What a script says about a key.

        Raises:
            RateLimiterUnavailable: the node gives no answer in time or cannot write, or has just failed.
            RedisError: the call was a mistake: a foreign value at the key, a wrong password, a script error.
        """
        return [int(number) for number in (await self._bounded(script, key, arguments)).split()]

    async def delete(self, key: bytes) -> None:
        """Forgets a key. Raises as run() does."""
        await self._bounded(None, key, ())

    async def aclose(self) -> None:
        """Lets calls that are under way end, and closes the client if it is ours."""
        if self._under_way:
            self._ended = get_running_loop().create_future()
            await self._ended  # without its connection a call would be made again, over a new one
        if self._writer is not None:
            await gather(self._writer, return_exceptions=True)
        if self._owned:
            await self._client.aclose()

    async def _bounded(self, script: Script | None, key: bytes, arguments: Sequence[bytes]) -> Any:
        self._enter()
        self._under_way += 1
        try:
            return await self._in_time(script, key, arguments)
        finally:
            self._under_way -= 1
            if not self._under_way and self._ended is not None and not self._ended.done():
                self._ended.set_result(None)

    async def _in_time(self, script: Script | None, key: bytes, arguments: Sequence[bytes]) -> Any:
        limit = timeout(self._timeout)
        try:
            async with limit:
                answer = await self._ask(script, key, arguments)
        except RateLimiterUnavailable:
            raise
        except TimeoutError:
            raise self._out_of_time(limit) from None
        except Exception as error:
            if not tells_unable(error):
                raise
            if OUTDATED.search(spelled(error)):
                await self._drop_idle_connections()  # its name may lead elsewhere by now
            if isinstance(error, exceptions.MaxConnectionsError):  # the caller's pool is full, not the node
                raise RateLimiterUnavailable(f"{self.name} has no connection left: {error}") from error
            raise self._failing(str(error)) from error
        self._failed = None
        return answer

    def _enter(self) -> None:
        """Lets a call pass if the node has not failed; after its pause, one call to find out.

        Raises:
            RateLimiterUnavailable: the node has failed, and its time is not up.
        """
        if self._failed is None:
            return
        now = self._clock()
        if now < self._ask_again_at:
            raise self._left_alone()
        self._ask_again_at = now + self._pause_ns  # for the others, while this call is on its way

    def _out_of_time(self, limit: Timeout) -> RateLimiterUnavailable:
        """What a call without an answer in time gets. The node has failed, unless that was not its fault.

        It was not if the node answered other calls meanwhile, for then this one waited for its turn; nor
        if the event loop was held up, which excuses all calls of that time. Else whoever floods this
        process would turn its limits off.
        """
        why = f"no answer within {self._timeout:g} s"
        deadline, now = limit.when(), get_running_loop().time()
        assert deadline is not None
        began = deadline - self._timeout
        held_up = now - deadline > self._timeout / 4
        if self._answered_at > began or (held_up and began <= self._excused_at):
            self._excused_at = min(self._excused_at, now)
            self.errors += 1
            return RateLimiterUnavailable(f"{self.name} is unavailable: {why}, this process is too busy")
        return self._failing(why)

    def _failing(self, why: str) -> RateLimiterUnavailable:
        self.errors += 1
        self._failed = why
        self._ask_again_at = self._clock() + self._pause_ns
        for _, answer in self._waiting:
            if not answer.done():
                answer.set_exception(self._left_alone())
        self._waiting.clear()
        return RateLimiterUnavailable(f"{self.name} is unavailable: {why}")

    def _left_alone(self) -> RateLimiterUnavailable:
        return RateLimiterUnavailable(f"{self.name} is left alone for a while: {self._failed}")

    async def _ask(self, script: Script | None, key: bytes, arguments: Sequence[bytes]) -> Any:
        if script is None:
            return await self._send("DEL", key)
        try:
            return await self._send("EVALSHA", script.sha, 1, key, *arguments)
        except exceptions.NoScriptError:  # a new server, or one that has started again
            return await self._send("EVAL", script.text, 1, key, *arguments)

    async def _send(self, *command: int | str | bytes) -> Any:
        if isinstance(self._client, RedisCluster):
            self.round_trips += 1
            return await self._client.execute_command(*command)
        if not self._single:
            self._single = True
            try:
                return (await self._round_trip([command]))[0]
            finally:
                self._single = False
        answer: Future[Any] = get_running_loop().create_future()
        self._waiting.append((command, answer))
        if self._writer is None:
            self._writer = create_task(self._write())
        return await answer

    async def _write(self) -> None:
        """Sends what waits, all that has come since the last time at once."""
        try:
            while self._waiting:
                number = min(len(self._waiting), MAX_TOGETHER)
                together = [self._waiting.popleft() for _ in range(number)]
                await self._send_together([each for each in together if not each[1].done()])
        finally:
            self._writer = None

    async def _send_together(self, calls: list[tuple[Command, Future[Any]]]) -> None:
        if not calls:
            return
        answers: Sequence[Any]
        limit = timeout(self._timeout)
        try:
            async with limit:
                answers = await self._round_trip([command for command, _ in calls])
        except TimeoutError:
            answers = [self._out_of_time(limit)] * len(calls)
        except Exception as error:  # each call gets it, and decides what it means
            answers = [error] * len(calls)
        for (_, future), answer in zip(calls, answers, strict=True):
            if future.done():  # cancelled, or out of time
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def _round_trip(self, commands: Sequence[Command]) -> Sequence[Any]:
        try:
            return await self._execute(commands)
        except exceptions.ConnectionError as error:
            if type(error) is not exceptions.ConnectionError:  # it has a more special reason
                raise
        # The server has closed a connection of the pool, and the event loop had not heard of it yet.
        await self._drop_idle_connections()
        return await self._execute(commands)

    async def _execute(self, commands: Sequence[Command]) -> Sequence[Any]:
        client: Any = self._client  # redis-py gives execute_command no types
        self.round_trips += 1
        answers: Sequence[Any]
        with cancellation_kept():
            if len(commands) == 1:
                answers = [await client.execute_command(*commands[0])]
            else:
                pipeline = client.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                answers = await pipeline.execute(raise_on_error=False)
        self._answered_at = get_running_loop().time()
        self._excused_at = inf
        return answers

    async def _drop_idle_connections(self) -> None:
        if isinstance(self._client, Redis):
            await self._client.connection_pool.disconnect(inuse_connections=False)


def nodes_of(nodes: object, *, timeout: float, pause: float, clock: Clock) -> tuple[Node, ...]:
    """The nodes that URLs and clients name.

    Raises:
        ValueError: there is none or more than MAX_NODES, two are the same, or a URL is none of Redis.
        TypeError: one is neither a URL nor a client.
    """
    given = nodes if isinstance(nodes, Sequence) and not isinstance(nodes, (str, bytes)) else [nodes]
    if not 1 <= len(given) <= MAX_NODES:
        raise InvalidValue(f"nodes must be 1 to {MAX_NODES}, got {len(given)}")
    made = []
    for each in given:
        client = client_of(each, timeout)
        made.append(
            Node(
                client, name_of(client), owned=client is not each,
                timeout=timeout, pause=pause, clock=clock,
            )
        )  # fmt: skip
    names = [node.name for node in made]
    if len(set(names)) != len(names):
        raise InvalidValue(f"nodes must differ, got {', '.join(names)}")
    return tuple(made)


def client_of(node: object, timeout: float) -> Client:
    """The client given, or one for a URL, which never asks twice on its own: that would charge twice."""
    if isinstance(node, (Redis, RedisCluster)):
        return node
    if not isinstance(node, str):
        kind = f"{type(node).__module__}.{type(node).__name__}"
        raise InvalidType(f"a node must be a URL or a client of redis.asyncio, got {kind}")
    try:
        client: Redis = Redis.from_url(
            node,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=timeout,
            socket_timeout=None,
        )
    except ValueError as error:
        shown = re.sub(r"//[^/]*@", "//...@", node)  # no password in a log
        raise InvalidValue(f"a node must be a redis://, rediss:// or unix:// URL, got {shown!r}") from error
    return client


def name_of(client: Client) -> str:
    """`host:port/db` or `path/db`: the same in every process, whatever the password and the options are."""
    if isinstance(client, RedisCluster):
        return "cluster " + " ".join(sorted(client.nodes_manager.startup_nodes))
    settings = client.connection_pool.connection_kwargs
    where = settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"
    return f"{where}/{settings.get('db') or 0}"
