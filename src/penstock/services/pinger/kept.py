"""A ping as it is kept for long: without what a server can make large."""

from dataclasses import replace

from penstock.probing.exchange import Exchange
from penstock.services.pinger.model import Attempt, Hop, PingResult

__all__ = ["announced_length", "kept"]

LONGEST_LENGTH = 18
"""Digits of a length that some body could have."""


def kept(ping: PingResult) -> PingResult:
    """The ping with its last attempt alone, whose answers have no head and no body but the announced length.

    A server that is asked with a retry and redirects could else fill megabytes for each target.
    """
    return replace(ping, tries=tuple(emptied(attempt) for attempt in ping.tries[-1:]))


def emptied(attempt: Attempt) -> Attempt:
    hops = (
        Hop(url, replace(exchange, reason="", body=b"", head=length_line(exchange)))
        for url, exchange in attempt.hops
    )
    return attempt._replace(hops=tuple(hops))


def length_line(exchange: Exchange) -> bytes:
    length = announced_length(exchange.header("content-length"))
    return exchange.head and (b"\r\n" if length is None else b"\r\ncontent-length: %d" % length)


def announced_length(text: str | None) -> int | None:
    """The bytes that a Content-Length announces; None for what is none."""
    if text is None or len(text) > LONGEST_LENGTH or not (text.isascii() and text.isdecimal()):
        return None
    return int(text)
