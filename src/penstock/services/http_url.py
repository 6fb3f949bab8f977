"""Which texts are addresses that HTTP requests can be sent to."""

from urllib.parse import urlsplit

from penstock.probing.request import MAX_URL, InvalidUrl, checked_url

__all__ = ["MAX_URL", "InvalidUrl", "checked_url", "is_http_url"]


def is_http_url(text: str) -> bool:
    """Whether `text` is an http or https URL with a host, and of characters that a request may hold."""
    try:
        parts = urlsplit(text)
        port_is_good = parts.port != 0  # reading it raises when it is no port
    except ValueError:
        return False
    is_plain = text.isascii() and text.isprintable() and " " not in text
    return is_plain and port_is_good and parts.scheme in ("http", "https") and bool(parts.hostname)
