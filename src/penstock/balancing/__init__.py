"""Balancing: which of the members that are up takes the next piece of work."""

from penstock.balancing.weighted_round_robin import NoMemberUp, State, UnknownMember, WeightedRoundRobin

__all__ = ["NoMemberUp", "State", "UnknownMember", "WeightedRoundRobin"]
