"""HTTP requests spread over several servers that do the same: an aiohttp client over a Balancer."""

import sys
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientPayloadError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ConnectionTimeoutError,
)
from yarl import URL

from penstock.balancing._weighted_round_robin_py import shown
from penstock.balancing.balancer import Balancer, Lease
from penstock.errors import InvalidType, InvalidValue

__all__ = ["BalancedSession"]

MAX_ATTEMPTS = 100
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})  # RFC 9110, section 9.2.2

NOTHING_SENT = (ClientConnectorError, ConnectionTimeoutError)
MEMBER_FAILED = (ClientConnectionError, ClientResponseError, ClientPayloadError, TimeoutError)


class BalancedSession:
    """An aiohttp client whose requests name a path, and a Balancer says which server gets them.

    ::

        async with BalancedSession({"http://10.0.0.1:8080": 1, "http://10.0.0.2:8080": 2}) as session:
            async with session.get("/users/7") as response:
                user = await response.json()

    A request is active at its server until the response is read to its end, released or closed. The server
    has failed at it if the connection fails or breaks, a timeout runs out, or the status is 5xx; a cancelled
    request says nothing of it. Latency is the time until the response is read.

    A request that could not connect, so that nothing was sent, is tried again on another server, if its
    method is idempotent (RFC 9110) and its body can be sent again (bytes, str, a mapping, JSON or none). A
    timeout given to aiohttp holds for each attempt. The last failure is raised as aiohttp raises it.

    Args:
        servers: base URLs, http or https, each with its weight; or a Balancer of them, which may be shared.
        session: the aiohttp session to send with, which stays open; None for one that closes with this.
        attempts: servers that a request is tried on, 1 to 100.
        **options: what Balancer takes, such as `policy` and `outliers`.

    Raises:
        ValueError: a URL is none, `attempts` is out of its range, or an option is.
        TypeError: an argument has the wrong type.
    """

    def __init__(
        self,
        servers: Mapping[str, float] | Balancer[str],
        /,
        *,
        session: ClientSession | None = None,
        attempts: int = 2,
        **options: Any,
    ) -> None:
        if isinstance(servers, Balancer):
            if options:
                raise InvalidType(f"options must be those of the given Balancer, got {', '.join(options)}")
            self._balancer = servers
        else:
            self._balancer = Balancer(servers, **options)
        for url in self._balancer.members:
            base_url(url)
        if not isinstance(attempts, int):
            raise InvalidType(f"attempts must be an int, got {type(attempts).__name__}")
        if not 1 <= attempts <= MAX_ATTEMPTS:
            raise InvalidValue(f"attempts must be >= 1 and <= {MAX_ATTEMPTS}, got {shown(attempts)}")
        self._attempts = attempts
        self._session = session
        self._owns_session = session is None

    @property
    def balancer(self) -> Balancer[str]:
        """The balancer: servers join, leave, drain and are marked there, and it has the figures."""
        return self._balancer

    async def __aenter__(self) -> "BalancedSession":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the aiohttp session, unless it was given."""
        if self._owns_session and self._session is not None:
            await self._session.close()

    def request(self, method: str, path: str, *, key: Any = None, **options: Any) -> "BalancedRequest":
        """Sends a request to one of the servers: `async with` it, or await it and release the response.

        Args:
            method: such as "GET".
            path: begins with a slash and may have a query; it is put behind the server's base URL.
            key: what the policy Affinity picks the server by.
            **options: what aiohttp's `ClientSession.request` takes.

        Raises:
            NoMemberUp: (LookupError) there is no server to send to.
            aiohttp.ClientError: the request failed.
            TimeoutError: a timeout ran out.
            ValueError: the path does not begin with a slash.
        """
        if not isinstance(path, str):
            raise InvalidType(f"path must be a str, got {type(path).__name__}")
        if not path.startswith("/"):
            raise InvalidValue(f"path must begin with a slash, got {shown(path)}")
        return BalancedRequest(lambda: self._request(method.upper(), path, key, options))

    def get(self, path: str, **options: Any) -> "BalancedRequest":
        """`request` with GET."""
        return self.request("GET", path, **options)

    def head(self, path: str, **options: Any) -> "BalancedRequest":
        """`request` with HEAD, which follows no redirects by itself."""
        return self.request("HEAD", path, **{"allow_redirects": False, **options})

    def options(self, path: str, **options: Any) -> "BalancedRequest":
        """`request` with OPTIONS."""
        return self.request("OPTIONS", path, **options)

    def post(self, path: str, **options: Any) -> "BalancedRequest":
        """`request` with POST."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> "BalancedRequest":
        """`request` with PUT."""
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> "BalancedRequest":
        """`request` with PATCH."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> "BalancedRequest":
        """`request` with DELETE."""
        return self.request("DELETE", path, **options)

    async def _request(self, method: str, path: str, key: Any, options: dict[str, Any]) -> ClientResponse:
        if self._session is None:
            self._session = ClientSession()
        attempts = self._attempts if may_repeat(method, options) else 1
        tried: list[str] = []
        while True:
            lease = self._balancer.pick(key, avoid=tried)
            tried.append(lease.member)
            try:
                return await self._send(lease, method, path, options)
            except NOTHING_SENT as error:
                if (
                    len(tried) >= attempts
                    or is_elsewhere(error, lease.member)
                    or not self._has_another(tried)
                ):
                    raise

    def _has_another(self, tried: Collection[str]) -> bool:
        return any(server not in tried for server in self._balancer.up)

    async def _send(
        self, lease: Lease[str], method: str, path: str, options: dict[str, Any]
    ) -> ClientResponse:
        """One attempt; whatever comes of it, the lease is released, at once or when the response is."""
        assert self._session is not None
        options = dict(options)
        must_be_good = options.pop("raise_for_status", None)
        if must_be_good is None:
            must_be_good = self._session.raise_for_status
        try:
            url = base_url(lease.member) + path
            response = await self._session.request(method, url, raise_for_status=False, **options)
        except BaseException as error:
            if isinstance(error, MEMBER_FAILED) and not is_elsewhere(error, lease.member):
                lease.release(error)
            else:  # cancelled, or asked for what cannot be: not the server's fault
                lease.cancel()
            raise
        release_with(response, lease)
        await raise_if_bad(response, must_be_good)
        return response


class BalancedRequest(AbstractAsyncContextManager[ClientResponse], Awaitable[ClientResponse]):
    """A request that is about to be sent: await it, or enter it with `async with`."""

    __slots__ = ("_response", "_send")

    def __init__(self, send: "Callable[[], Any]") -> None:
        self._send = send
        self._response: ClientResponse | None = None

    def __await__(self) -> Generator[Any, Any, ClientResponse]:
        return self._send().__await__()  # type: ignore[no-any-return]

    async def __aenter__(self) -> ClientResponse:
        self._response = response = await self
        return response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._response is not None
        self._response.release()
        await self._response.wait_for_close()


def release_with(response: ClientResponse, lease: Lease[str]) -> None:
    """Releases the lease when the response gives its connection back, as it does at the end of its body."""

    def release() -> None:
        if response.status >= 500:
            lease.release(f"status {response.status}")
            return
        if isinstance(sys.exception(), CancelledError):  # it is closed because of that
            lease.cancel()
            return
        broken = response.content.exception()
        closed_here = type(broken) is ClientConnectionError  # what aiohttp says to those who still read then
        lease.release(None if closed_here else broken)

    if response.connection is None:
        release()
    else:
        response.connection.add_callback(release)


async def raise_if_bad(response: ClientResponse, must_be_good: Any) -> None:
    """Does what aiohttp does for `raise_for_status`: a bool, or a coroutine function."""
    try:
        if callable(must_be_good):
            await must_be_good(response)
        elif must_be_good:
            response.raise_for_status()
    except BaseException:
        response.release()
        raise


def is_elsewhere(error: BaseException, server: str) -> bool:
    """Whether the connection that failed was to where the server had redirected the request."""
    if not isinstance(error, ClientConnectorError):
        return False
    url = URL(server)
    return (error.host, error.port) != (url.raw_host, url.port)


def may_repeat(method: str, options: Mapping[str, Any]) -> bool:
    """Whether a request that was not sent may be sent to another server."""
    body = options.get("data")
    return method in IDEMPOTENT and (body is None or isinstance(body, (bytes, str, Mapping)))


def base_url(server: object) -> str:
    """The URL of a server, without a slash at its end.

    Raises:
        ValueError: it is no absolute URL of http or https, or has a query or a fragment.
        TypeError: it is no str.
    """
    if not isinstance(server, str):
        raise InvalidType(f"server must be a URL as str, got {type(server).__name__}")
    try:
        url = URL(server)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host or "?" in server or "#" in server:
        raise InvalidValue(f"server must be an http or https URL without query, got {shown(server)}")
    return server.rstrip("/")
