"""Connections on the transports of the event loop, for the engine `protocol`."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["Transports"]

if TYPE_CHECKING:
    from penstock.probing._transports_py import Transports
else:
    Transports = twin(__name__).Transports
