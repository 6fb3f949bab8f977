"""Weighted round robin: each member as often as its weight says, spread out evenly."""

from typing import TYPE_CHECKING

from penstock._twins import twin
from penstock.balancing._weighted_round_robin_py import NoMemberUp, State, UnknownMember

__all__ = ["NoMemberUp", "State", "UnknownMember", "WeightedRoundRobin"]

if TYPE_CHECKING:
    from penstock.balancing._weighted_round_robin_py import WeightedRoundRobin
else:
    WeightedRoundRobin = twin(__name__).WeightedRoundRobin
