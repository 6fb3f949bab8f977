"""Bids for keys: rendezvous hashing, also by weight."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["RendezvousBids"]

if TYPE_CHECKING:
    from penstock.hashring._rendezvous_bids_py import RendezvousBids
else:
    RendezvousBids = twin(__name__).RendezvousBids
