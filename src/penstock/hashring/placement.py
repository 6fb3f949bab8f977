"""Placement: which node gets a key, whichever way that is decided."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["Lookups", "Placement", "own_lookups"]

if TYPE_CHECKING:
    from penstock.hashring._placement_py import Lookups, Placement, own_lookups
else:
    Lookups = twin(__name__).Lookups
    Placement = twin(__name__).Placement
    own_lookups = twin(__name__).own_lookups
