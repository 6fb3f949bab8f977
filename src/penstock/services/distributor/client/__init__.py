"""Logs to a distributor from Python: `DistributorClient` for asyncio, `DistributorHandler` for logging."""

from typing import TYPE_CHECKING, Any

from penstock.services.distributor.client.errors import NotADistributor, NotDelivered, RefusedPacket
from penstock.services.distributor.client.handler import DistributorHandler

if TYPE_CHECKING:
    from penstock.services.distributor.client.asynchronous import DistributorClient, Receipt

__all__ = [
    "DistributorClient",
    "DistributorHandler",
    "NotADistributor",
    "NotDelivered",
    "Receipt",
    "RefusedPacket",
]


def __getattr__(name: str) -> Any:
    """The client for asyncio, whose HTTP library a program that only logs need not import."""
    if name in ("DistributorClient", "Receipt"):
        from penstock.services.distributor.client import asynchronous

        return getattr(asynchronous, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
