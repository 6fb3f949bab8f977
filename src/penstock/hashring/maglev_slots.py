"""Maglev's slots: one read of a table, and the node of a key is known."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["MaglevSlots"]

if TYPE_CHECKING:
    from penstock.hashring._maglev_slots_py import MaglevSlots
else:
    MaglevSlots = twin(__name__).MaglevSlots
