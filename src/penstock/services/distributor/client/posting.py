"""Posting packets without asyncio, from a thread: one kept-alive connection of the standard library."""

import encodings.idna  # noqa: F401 -- else a thread imports it, and a child forked meanwhile waits for that for ever
import os
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from penstock.errors import InvalidValue, PenstockError
from penstock.services.bearer import bearer
from penstock.services.distributor.client.errand import PostAnswer
from penstock.services.retry_after import retry_after_seconds

__all__ = ["NoAnswer", "Posting", "api_url"]

MAX_ANSWER_BYTES = 4 * 1024 * 1024


class NoAnswer(PenstockError, RuntimeError):
    """A request got no answer, and why in plain words."""


def api_url(url: str) -> str:
    """Where a distributor at this address takes packets.

    Raises:
        ValueError: it is no http or https address.
    """
    if not is_address(url):
        raise InvalidValue(f"url must be an address such as http://127.0.0.1:8080, got {url!r}")
    return url.rstrip("/").removesuffix("/api/v1/logs") + "/api/v1/logs"


def is_address(url: str) -> bool:
    """Whether it is an http or https URL with a host and without a query."""
    try:
        parts = urlsplit(url)
        has_port = parts.port != 0  # the property raises where there is none that is one
    except ValueError:
        return False
    is_clean = url.isascii() and url.isprintable() and not set(" ?#@") & set(url)
    return is_clean and has_port and parts.scheme in ("http", "https") and bool(parts.hostname)


class Posting:
    """Posts to a distributor; for one thread.

    Args:
        url: of the distributor.
        api_key: shown with every request.
        timeout: seconds for each step of a request.
        context: for https; the system's authorities when None.
    """

    def __init__(
        self, url: str, *, api_key: str | None = None, timeout: float, context: ssl.SSLContext | None = None
    ) -> None:
        parts = urlsplit(api_url(url))
        self._path = parts.path
        self._headers = {"Content-Type": "application/json", "User-Agent": "penstock-logging"}
        if api_key is not None:
            self._headers["Authorization"] = bearer(api_key)
        assert parts.hostname is not None
        self._connection: HTTPConnection
        if parts.scheme == "https":
            self._connection = HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=context)
        else:
            self._connection = HTTPConnection(parts.hostname, parts.port, timeout=timeout)

    def post(self, body: bytes) -> PostAnswer:
        """The answer to a request.

        Raises:
            NoAnswer: there is none.
        """
        try:
            self._connection.request("POST", self._path, body, self._headers)
            response = self._connection.getresponse()
            answer = response.read(MAX_ANSWER_BYTES + 1)
            if len(answer) > MAX_ANSWER_BYTES:
                raise NoAnswer(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
            wait = retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC))
            return PostAnswer(response.status, wait, answer)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a chunk of a size below 0
            self.close()
            raise NoAnswer(why(error)) from None
        except BaseException:
            self.close()  # what is left of the answer would be read as the next one
            raise

    def close(self) -> None:
        """Closes the connection; the next request makes a new one."""
        with suppress(OSError):
            self._connection.close()

    def forget(self) -> None:
        """Closes the connection in a forked child; a thread that is no more may hold its lock."""
        if self._connection.sock is not None:
            os.close(self._connection.sock.detach())


def why(error: Exception) -> str:
    """Why there is no answer, in few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split())[:200] or type(error).__name__
