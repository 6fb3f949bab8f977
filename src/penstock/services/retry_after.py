"""When a server wants to be asked again."""

from datetime import datetime

__all__ = ["retry_after_seconds"]


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
    from email.utils import parsedate_to_datetime  # which few servers make necessary

    try:
        wait = (parsedate_to_datetime(header) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):  # no date; one without a zone; one of a far year
        return None
    return wait if wait > 0 else None
