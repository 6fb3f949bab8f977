"""What the HTTP clients among the services share: why there is no answer, and when to ask again."""

import errno
import os
from datetime import datetime
from email.utils import parsedate_to_datetime

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

__all__ = ["reason_of", "retry_after_seconds"]

ERRNO_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
    errno.ETIMEDOUT: "connection timed out",
    errno.EMFILE: "too many open files: lower the concurrency or raise `ulimit -n`",
}


def reason_of(error: BaseException | None) -> str:
    """Why a request got no answer, for people who do not know aiohttp; may hold words of the server."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"name not resolved: {error.host}"
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", error.certificate_error)
            return f"certificate refused: {reason}"
        case aiohttp.ClientSSLError():
            return f"TLS failed: {error.os_error.strerror or error.os_error}"
        case aiohttp.RedirectClientError():
            return f"redirected to what is no http URL: {error}"
        case aiohttp.ServerDisconnectedError():
            return "connection closed without an answer"
        case aiohttp.ClientPayloadError():
            return "answer cut short"
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return "not a valid HTTP answer"
        case OSError(errno=int(number)) if number < 0:  # of getaddrinfo, for an address that is none here
            return "name not resolved"
        case OSError(errno=int(number)):
            return ERRNO_WORDS.get(number) or os.strerror(number).lower()
        case TimeoutError():
            return "no answer in time"
        case UnicodeError():  # the idna codec, on a host such as a..b
            return "name not resolved: not a host name"
        case _:
            return f"{type(error).__name__}: {error}"


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After asks for, number or date (RFC 9110, 10.2.3); None when it asks for no wait.

    Args:
        header: its value, None when there is none.
        now: the time in UTC, with its zone.
    """
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        wait = (parsedate_to_datetime(header) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):  # no date; one without a zone; one of a far year
        return None
    return wait if wait > 0 else None
