"""Connections on own sockets, for the engine `socket`: the kernel tells when bytes came."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["Sockets"]

if TYPE_CHECKING:
    from penstock.probing._sockets_py import Sockets
else:
    Sockets = twin(__name__).Sockets
