"""Ring points: whose arc of the hash circle a key lies in."""

from typing import TYPE_CHECKING

from penstock._twins import twin
from penstock.hashring._ring_points_py import Scheme

__all__ = ["RingPoints", "Scheme"]

if TYPE_CHECKING:
    from penstock.hashring._ring_points_py import RingPoints
else:
    RingPoints = twin(__name__).RingPoints
