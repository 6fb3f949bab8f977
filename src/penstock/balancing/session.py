"""HTTP requests spread over several servers that do the same: an aiohttp client over a Balancer."""

import sys
from asyncio import CancelledError
from collections.abc import Coroutine, Generator, Mapping
from contextlib import AbstractAsyncContextManager
from types import NoneType, TracebackType
from typing import Any
from weakref import WeakSet

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
from penstock.balancing.weighted_round_robin import NoMemberUp
from penstock.errors import InvalidType, InvalidValue

__all__ = ["BalancedSession"]

MAX_ATTEMPTS = 100
REPEATABLE = (bytes, str, int, float, NoneType)  # bodies, and parts of them
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})  # RFC 9110, section 9.2.2

NOTHING_SENT = (ClientConnectorError, ConnectionTimeoutError)
MEMBER_FAILED = (ClientConnectionError, ClientResponseError, ClientPayloadError, TimeoutError)
GIVEN_UP = (CancelledError, TimeoutError)


class BalancedSession:
    """An aiohttp client whose requests name a path, and a Balancer says which server gets them.

    ::

        async with BalancedSession({"http://10.0.0.1:8080": 1, "http://10.0.0.2:8080": 2}) as session:
            async with session.get("/users/7") as response:
                user = await response.json()

    A request is active at its server until the response is read to its end, released or closed. The server
    has failed at it if the connection fails or breaks, a timeout runs out, or the status is 5xx. Nothing is
    said of it by a request that was cancelled, by a failure of where it has redirected the request to, nor by
    a `total` timeout that runs out while the body is read. Latency is the time until the response is read.

    A request that could not connect, so that nothing was sent, is tried again on another server, if its
    method is idempotent (RFC 9110) and its body can be sent again (bytes, str, JSON, none, or a mapping
    without files). A timeout given to aiohttp holds for each attempt. The last failure is raised as aiohttp
    raises it.

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
        if session is not None and not isinstance(session, ClientSession):
            raise InvalidType(
                f"session must be an aiohttp.ClientSession or None, got {type(session).__name__}"
            )
        self._attempts = attempts
        self._session = session
        self._owns_session = session is None
        self._open: WeakSet[ClientResponse] = WeakSet()
        self._is_closed = False

    @property
    def balancer(self) -> Balancer[str]:
        """The balancer: servers join, leave, drain and are marked there, and it has the figures."""
        return self._balancer

    async def __aenter__(self) -> "BalancedSession":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the aiohttp session, and the responses that are still read, unless it was given."""
        self._is_closed = True
        if self._owns_session and self._session is not None:
            for response in list(self._open):
                response.close()
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
            RuntimeError: the session is closed.
            ValueError: the path does not begin with a slash.
            TypeError: the method or the path is no str.
        """
        if not isinstance(method, str):
            raise InvalidType(f"method must be a str, got {type(method).__name__}")
        if not isinstance(path, str):
            raise InvalidType(f"path must be a str, got {type(path).__name__}")
        if not path.startswith("/"):
            raise InvalidValue(f"path must begin with a slash, got {shown(path)}")
        return BalancedRequest(self._request(method.upper(), path, key, options))

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
        if self._is_closed and self._owns_session:
            raise RuntimeError("Session is closed")  # in aiohttp's words
        if self._session is None:
            self._session = ClientSession()
        attempts = self._attempts if may_repeat(method, options) else 1
        tried: list[str] = []
        lease = self._balancer.pick(key)
        while True:
            tried.append(lease.member)
            try:
                return await self._send(self._session, lease, method, path, options)
            except NOTHING_SENT as error:
                if len(tried) >= attempts or is_elsewhere(error, lease.member):
                    raise
                try:
                    lease = self._balancer.pick(key, avoid=tried)
                except NoMemberUp:
                    raise error from None

    async def _send(
        self, session: ClientSession, lease: Lease[str], method: str, path: str, options: dict[str, Any]
    ) -> ClientResponse:
        """One attempt; whatever comes of it, the lease is released, at once or when the response is."""
        options = dict(options)
        must_be_good = options.pop("raise_for_status", None)
        if must_be_good is None:
            must_be_good = session.raise_for_status
        try:
            url = base_url(lease.member) + path
            response = await session.request(method, url, raise_for_status=False, **options)
        except BaseException as error:
            if (
                isinstance(error, MEMBER_FAILED)
                and not is_elsewhere(error, lease.member)
                and not session.closed
            ):
                lease.release(error)
            else:  # cancelled, closed, or asked for what cannot be: not the server's fault
                lease.cancel()
            raise
        self._open.add(response)
        release_with(response, lease)
        await raise_if_bad(response, must_be_good)
        return response


class BalancedRequest(AbstractAsyncContextManager[ClientResponse], Coroutine[Any, Any, ClientResponse]):
    """A request that is about to be sent: await it, or enter it with `async with`; once, as a coroutine."""

    __slots__ = ("_response", "_sending")

    def __init__(self, sending: Coroutine[Any, Any, ClientResponse]) -> None:
        self._sending = sending
        self._response: ClientResponse | None = None

    def __await__(self) -> Generator[Any, Any, ClientResponse]:
        return self._sending.__await__()

    def send(self, value: Any, /) -> Any:
        """As of any coroutine, so that a task can be made of it."""
        return self._sending.send(value)

    def throw(self, *error: Any) -> Any:
        """As of any coroutine."""
        return self._sending.throw(*error)

    def close(self) -> None:
        """As of any coroutine: it is not sent."""
        self._sending.close()

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
        error = failure_of(response)
        if error is None:  # closed half-way because of what is being raised; or whole, whatever is
            says_nothing = not response.content.is_eof() and isinstance(sys.exception(), GIVEN_UP)
        else:
            says_nothing = host_of(response.url) != host_of(URL(lease.member))  # it was redirected there
        if says_nothing:
            lease.cancel()
        else:
            lease.release(error)

    if response.connection is None:
        release()
    else:
        response.connection.add_callback(release)


def failure_of(response: ClientResponse) -> object:
    """What a response says against who sent it, or None."""
    if response.status >= 500:
        return f"status {response.status}"
    broken = response.content.exception()
    closed_here = type(broken) is ClientConnectionError  # what aiohttp says to those who still read then
    return None if closed_here else broken


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
    if isinstance(error, ClientConnectorError):
        return (error.host, error.port) != host_of(URL(server))
    if isinstance(error, ConnectionTimeoutError):
        url = URL(str(error).rpartition(" ")[2])  # "Connection timeout to host http://..." is all it has
        return url.absolute and host_of(url) != host_of(URL(server))
    return False


def host_of(url: URL) -> tuple[str | None, int | None]:
    """Where the server of a URL is: its host and port."""
    return url.raw_host, url.port


def may_repeat(method: str, options: Mapping[str, Any]) -> bool:
    """Whether a request that was not sent may be sent to another server."""
    body = options.get("data")
    parts = (
        body.values() if isinstance(body, Mapping) else (body,)
    )  # aiohttp closes files once they were sent
    return method in IDEMPOTENT and all(
        isinstance(part, (bytes, str, int, float, NoneType)) for part in parts
    )


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
