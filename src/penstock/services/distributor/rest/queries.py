"""Reading what stands after the question mark of a URL: numbers, times, searches."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from aiohttp import web

from penstock.services.distributor.packets import RFC_3339

__all__ = ["MAX_QUERY", "bounded_query", "moment", "moment_in_query", "search_in_query"]

MAX_QUERY = 1000
"""Characters of a search."""
MAX_MS_DIGITS = 15
"""Digits of unix milliseconds: enough for 30,000 years."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

T = TypeVar("T")


def bounded_query(request: web.Request, name: str, default: T, low: int, high: int) -> int | T:
    """A whole number from `low` to `high`.

    Raises:
        ValueError: it is none.
    """
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and low <= int(text) <= high):
        raise ValueError(f"{name} must be a whole number, {low} to {high}, got {text[:40]!r}")
    return int(text)


def moment_in_query(request: web.Request, name: str) -> int | None:
    """A time as unix milliseconds; None when it is not given.

    Raises:
        ValueError: it is none.
    """
    text = request.query.get(name)
    return None if text is None else moment(text, name)


def moment(text: str, name: str) -> int:
    """Unix milliseconds, given as such or as in RFC 3339.

    Raises:
        ValueError: it is neither; the message calls it `name`.
    """
    if text.isascii() and text.isdigit() and len(text) <= MAX_MS_DIGITS:
        return int(text)
    with_sign = re.sub(r" (?=[0-9]{2}:[0-9]{2}\Z)", "+", text)  # the + of an offset, read as a space in a URL
    if re.match(RFC_3339, with_sign):
        with suppress(ValueError):  # such as the 30th of February
            return (datetime.fromisoformat(with_sign.upper()) - EPOCH) // timedelta(milliseconds=1)
    raise ValueError(
        f"{name} must be a time as in RFC 3339, such as 2025-01-25T20:30:45Z, or unix milliseconds,"
        f" got {text[:40]!r}"
    )


def search_in_query(request: web.Request) -> str | None:
    """What is searched for; None when nothing is, or only white space.

    Raises:
        ValueError: it is too long, or its order is none.
    """
    query, order = request.query.get("q"), request.query.get("order", "time")
    if order not in ("time", "relevance"):
        raise ValueError(f"order must be time or relevance, got {order[:40]!r}")
    if query is None or not query.strip():
        if order == "relevance":
            raise ValueError("order=relevance needs a query: q must not be empty")
        return None
    if order == "relevance" and "before" in request.query:
        raise ValueError("before goes with order=time only; raise limit to see more of the best")
    if len(query) > MAX_QUERY:
        raise ValueError(f"q must have at most {MAX_QUERY} characters, got {len(query)}")
    return query
