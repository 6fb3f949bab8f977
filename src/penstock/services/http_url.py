"""Which texts are addresses that HTTP requests can be sent to."""

from urllib.parse import urlsplit

from yarl import URL

from penstock.errors import InvalidValue

__all__ = ["MAX_URL", "InvalidUrl", "checked_url", "is_http_url"]

MAX_URL = 8192
"""Characters of a URL."""


class InvalidUrl(InvalidValue):
    """A text is no URL that a request can be sent to."""


def checked_url(text: str) -> URL:
    """The http or https URL that `text` is.

    Raises:
        InvalidUrl: it is none; the message says why.
    """
    if len(text) > MAX_URL:
        raise InvalidUrl(f"longer than {MAX_URL} characters")
    if not text.isprintable() or " " in text:
        raise InvalidUrl("holds a space or a control character")
    try:
        url = URL(text)
    except ValueError as error:
        raise InvalidUrl(str(error)[:200]) from None
    if url.scheme not in ("http", "https"):
        raise InvalidUrl("must start with http:// or https://")
    if not url.raw_host:
        raise InvalidUrl("no host")
    if url.port == 0:
        raise InvalidUrl("port must be 1 to 65535, got 0")
    return url


def is_http_url(text: str) -> bool:
    """Whether `text` is an http or https URL with a host, and of characters that a request may hold."""
    try:
        parts = urlsplit(text)
        port_is_good = parts.port != 0  # reading it raises when it is no port
    except ValueError:
        return False
    is_plain = text.isascii() and text.isprintable() and " " not in text
    return is_plain and port_is_good and parts.scheme in ("http", "https") and bool(parts.hostname)
