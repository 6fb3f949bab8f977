"""What can go wrong between a program and its distributor."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from penstock.errors import PenstockError

__all__ = ["NotADistributor", "NotDelivered", "RefusedPacket"]


class NotADistributor(PenstockError, ConnectionError):
    """What answers there takes no packets from us: another service, a wrong path, or the key is not known."""


class RefusedPacket(NamedTuple):
    """A packet that the distributor will never take."""

    id: str
    code: str
    """`invalid`, `too_large`, or `http_` and a status."""
    error: str
    """Why, in the distributor's words."""
    packet: bytes
    """The packet, as JSON."""


class NotDelivered(PenstockError, TimeoutError):
    """The distributor took nothing for too long; what is left may be kept and sent again.

    Attributes:
        packets: those that are left, with their ids, as the REST API takes them: sending them again
            with these ids delivers nothing twice within the distributor's window.
    """

    def __init__(self, message: str, packets: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(message)
        self.packets = list(packets)
