"""Balancing: which of the members that are up takes the next piece of work.

`penstock.balancing.session` spreads the requests of an aiohttp client; it is imported from there.
"""

from penstock.balancing.balancer import Balancer, Lease
from penstock.balancing.member import DuplicateMember, Group, Member, MemberStats
from penstock.balancing.outliers import OutlierDetection
from penstock.balancing.policies import (
    Affinity,
    ExactWeighted,
    LeastConnections,
    PeakEwma,
    Policy,
    PowerOfTwoChoices,
    RoundRobin,
    SmoothWeighted,
    WeightedLeastConnections,
)
from penstock.balancing.slow_start import SlowStart
from penstock.balancing.weighted_round_robin import NoMemberUp, State, UnknownMember, WeightedRoundRobin

__all__ = [
    "Affinity",
    "Balancer",
    "DuplicateMember",
    "ExactWeighted",
    "Group",
    "Lease",
    "LeastConnections",
    "Member",
    "MemberStats",
    "NoMemberUp",
    "OutlierDetection",
    "PeakEwma",
    "Policy",
    "PowerOfTwoChoices",
    "RoundRobin",
    "SlowStart",
    "SmoothWeighted",
    "State",
    "UnknownMember",
    "WeightedLeastConnections",
    "WeightedRoundRobin",
]
