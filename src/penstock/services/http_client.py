"""What the HTTP clients among the services share: why there is no answer, and when to ask again."""

import os

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from penstock.probing.failures import ERRNO_WORDS
from penstock.services.retry_after import retry_after_seconds

__all__ = ["reason_of", "retry_after_seconds"]


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
