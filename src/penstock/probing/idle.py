"""Connections that wait for their next request."""

from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

__all__ = ["LONGEST_IDLE", "Idle"]

LONGEST_IDLE = 15_000_000_000
"""Nanoseconds; then it is not used again: what stands between may have forgotten it without a word."""


class Kept(Protocol):
    """A connection that may be kept."""

    origin: Hashable
    idle_since: int

    def close(self) -> None:
        """Closes it."""
        ...


K = TypeVar("K", bound=Kept)


class Idle(Generic[K]):
    """At most `limit` connections, of which the one that was used last is taken first.

    Args:
        limit: for one more, the one that has waited longest is closed; >= 0.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: dict[K, None] = {}  # the longest first
        self.by_origin: dict[Hashable, list[K]] = {}  # the longest first

    def put(self, connection: K) -> None:
        """Keeps a connection, or closes it where none are kept."""
        if self.limit == 0:
            connection.close()
            return
        if len(self.waiting) >= self.limit:
            oldest = next(iter(self.waiting))
            self.drop(oldest)
            oldest.close()
        self.waiting[connection] = None
        self.by_origin.setdefault(connection.origin, []).append(connection)

    def take(self, origin: Hashable, now: int) -> K | None:
        """A connection to `origin`; None when there is none that is good for it."""
        connections = self.by_origin.get(origin)
        if not connections:
            return None
        connection = connections[-1]
        self.drop(connection)
        if now - connection.idle_since <= LONGEST_IDLE:
            return connection
        for each in (connection, *connections):  # those have waited longer still
            self.drop(each)
            each.close()
        return None

    def drop(self, connection: K) -> None:
        """Forgets a connection, if it is here."""
        if connection not in self.waiting:
            return
        del self.waiting[connection]
        connections = self.by_origin[connection.origin]
        connections.remove(connection)  # few, and mostly the last
        if not connections:
            del self.by_origin[connection.origin]
