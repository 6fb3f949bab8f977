"""A store in Redis: one string a key."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from penstock._cancellation import cancellation_kept
from penstock.cache._settings import NEVER, checked_lifetime
from penstock.cache.codec import Codec, checked_codec, encode_key
from penstock.cache.store import StoreClosed, StoreError
from penstock.errors import InvalidType, InvalidValue

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisStore"]

K = TypeVar("K", bound=str | int | bytes)
V = TypeVar("V")

MAX_PREFIX = 256  # bytes
MAX_TOGETHER = 512  # keys that travel in one round trip

Command = tuple[bytes | str | int, ...]


class RedisStore(Generic[K, V]):
    """Keeps each entry as a string of its own in one Redis server (or Valkey), as durably as that is set up.

    Reads go through the client. Writes go, one batch after the other, through one connection of the store's
    own: when one of them fails or is cancelled, the server may still have it before it, and would execute it
    after a later one. So the next write first has the server close that connection (`CLIENT KILL`, found
    by a name of its own); a server that does not allow that is trusted to be quick.

    Args:
        client: of redis.asyncio, for one server, without decode_responses; it stays the caller's to close.
        prefix: of every key, up to 256 bytes; then `s`, `i` or `b` and the str, int or bytes.
        codec: of values; None for MessagePack. Keys are str, int or bytes.
        ttl: seconds or timedelta after which Redis drops an entry that was not written again; None for never.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument has the wrong type.
        ImportError: redis-py is not installed.
    """

    def __init__(
        self,
        client: "Redis",
        prefix: str = "penstock:",
        *,
        codec: Codec | None = None,
        ttl: float | timedelta | None = None,
    ) -> None:
        self._codec = checked_codec(codec)
        self._prefix = checked_prefix(prefix)
        self._ttl_ms = checked_ttl(ttl)
        self._client = client
        self._name = f"penstock-store-{token_hex(8)}"
        self._writer = client_of_one_connection(client, self._name)
        self._turn = asyncio.Lock()
        self._in_doubt = False  # whether the server may yet execute a write that failed here
        self._closed = False

    def __repr__(self) -> str:
        return f"RedisStore({self._client!r}, {self._prefix.decode()!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def get_many(self, keys: Collection[K], /) -> dict[K, V]:
        """The entries that exist of these keys.

        Raises:
            StoreError: the server gives no answer.
            ValueError: a value cannot be decoded.
        """
        self._require_open()
        from redis.exceptions import RedisError

        wanted = list(keys)
        found: dict[K, V] = {}
        try:
            for part in parts(wanted):
                with cancellation_kept():
                    values: list[Any] = await self._client.mget([self._named(key) for key in part])
                pairs = zip(part, values, strict=True)
                found |= {key: self._codec.decode(data) for key, data in pairs if data is not None}
        except (RedisError, OSError) as error:
            raise StoreError(f"the store in Redis cannot be read: {error}") from error
        return found

    async def set_many(self, items: Mapping[K, V], /) -> None:
        """Stores all items, up to 512 in one round trip.

        Raises:
            StoreError: some may be stored.
        """
        expiry: Command = () if self._ttl_ms is None else ("PX", self._ttl_ms)
        await self._write(
            [("SET", self._named(key), self._codec.encode(value), *expiry) for key, value in items.items()]
        )

    async def delete_many(self, keys: Collection[K], /) -> None:
        """Removes the entries of these keys, up to 512 in one round trip.

        Raises:
            StoreError: some may be removed.
        """
        await self._write([("UNLINK", self._named(key)) for key in keys])

    async def aclose(self) -> None:
        """Closes the connection of the store's own once the writes before are done."""
        self._closed = True
        async with self._turn:
            await self._writer.aclose()
            await self._writer.connection_pool.disconnect()

    def _named(self, key: object) -> bytes:
        return self._prefix + encode_key(key)

    async def _write(self, commands: Sequence[Command]) -> None:
        from redis.exceptions import RedisError

        self._require_open()
        async with self._turn:
            self._require_open()
            try:
                await self._fence()
                self._in_doubt = True
                for part in parts(commands):
                    pipeline = self._writer.pipeline(transaction=False)
                    for command in part:
                        pipeline.execute_command(*command)
                    with cancellation_kept():
                        await pipeline.execute()
            except (RedisError, OSError) as error:
                raise StoreError(f"the store in Redis cannot be written: {error}") from error
            self._in_doubt = False

    async def _fence(self) -> None:
        """Makes sure that no earlier write is executed from now on."""
        from redis.exceptions import ResponseError

        if not self._in_doubt:
            return
        try:
            for client in await self._writer.client_list():
                if client.get("name") == self._name:
                    await self._writer.client_kill_filter(_id=client["id"], skipme=True)
        except ResponseError:  # it is not allowed here
            return

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosed("the store in Redis is closed")


def client_of_one_connection(client: Any, name: str) -> "Redis":
    """A client of the same server whose calls share one connection of that name and are never repeated."""
    try:
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError as error:
        raise ImportError("RedisStore needs redis-py: pip install penstock[redis]", name="redis") from error
    if not isinstance(client, Redis):
        raise InvalidType(f"client must be a redis.asyncio.Redis, got {type(client).__name__}")
    pool = client.connection_pool
    if pool.connection_kwargs.get("decode_responses"):
        raise InvalidValue("client must have decode_responses=False, got True")
    settings = {**pool.connection_kwargs, "client_name": name, "retry": Retry(NoBackoff(), 0)}
    one = BlockingConnectionPool(
        max_connections=1, timeout=None, connection_class=pool.connection_class, **settings
    )
    return Redis(connection_pool=one)


def parts(items: Sequence[Any]) -> list[Sequence[Any]]:
    """`items` in the portions of a round trip each."""
    return [items[start : start + MAX_TOGETHER] for start in range(0, len(items), MAX_TOGETHER)]


def checked_prefix(prefix: object) -> bytes:
    if not isinstance(prefix, str):
        raise InvalidType(f"prefix must be a str, got {type(prefix).__name__}")
    data = prefix.encode()
    if len(data) > MAX_PREFIX:
        raise InvalidValue(f"prefix must have <= {MAX_PREFIX} bytes, got {len(data)}")
    return data


def checked_ttl(ttl: float | timedelta | None) -> int | None:
    """`ttl` in milliseconds, at least one; None for None."""
    lifetime = checked_lifetime("ttl", ttl)
    return None if lifetime == NEVER else max(1, lifetime // 1_000_000)
