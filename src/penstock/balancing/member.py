"""The members of a balancer: what each is and does, and the groups of them that picks are made from."""

from bisect import bisect_left
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from math import exp
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from penstock.balancing._weighted_round_robin_py import shown
from penstock.clock import NANOSECONDS
from penstock.errors import InvalidType, InvalidValue

if TYPE_CHECKING:
    from asyncio import Future

__all__ = ["DuplicateMember", "Group", "Member", "MemberStats", "Status"]

K = TypeVar("K", bound=Hashable)

Status = Literal["up", "down", "ejected", "draining"]

MAX_WEIGHT = 1_000_000_000


class DuplicateMember(InvalidValue):
    """The balancer has a member of that name already."""


def checked_weight(name: object, weight: object) -> float:
    """`weight` as it is given.

    Raises:
        ValueError: not 0 < weight <= MAX_WEIGHT.
        TypeError: it is no int or float.
    """
    if not isinstance(weight, (int, float)):
        raise InvalidType(f"weight of {shown(name)} must be an int or float, got {type(weight).__name__}")
    if not 0 < weight <= MAX_WEIGHT:  # NaN is neither
        raise InvalidValue(f"weight of {shown(name)} must be > 0 and <= {MAX_WEIGHT}, got {shown(weight)}")
    return weight


@dataclass(frozen=True, slots=True)
class MemberStats:
    """What a balancer knows of a member.

    Attributes:
        status: "up", "down" (marked so), "ejected" or "draining".
        weight: as it was set.
        effective_weight: what it counts now, slow start included.
        zone: where it is, or None.
        active: leases that are out.
        picks: how often it was picked.
        failures: leases that came back with an error.
        ejections: how often it was ejected.
        latency: seconds, a peak-sensitive average as of the last lease that came back; None before one has.
    """

    status: Status
    weight: float
    effective_weight: float
    zone: object
    active: int
    picks: int
    failures: int
    ejections: int
    latency: float | None


class Member(Generic[K]):
    """One member as its balancer and its policy see it; others only read it.

    Attributes:
        name: what it is picked as.
        weight: what it counts now, slow start included.
        set_weight: what it counts when it is warm.
        zone: where it is, or None.
        is_local: whether that is the zone that its balancer prefers.
        order: grows with every member that joined.
        active: leases that are out.
        picks: how often it was picked.
        failures: leases that came back with an error.
        up: False while it is marked down.
        draining: it is picked no more.
        ejected_until: ns at which it comes back, or None.
        warming_since: ns at which its slow start began, or None.
        credit: what SmoothWeighted owes it, in weights.
        cost: its latency in ns, as PeakEwma counts it; 0 before the first lease came back.
        fault: what it costs in place of that, in ns, because it has failed; 0 after a success.
        blamed_at: ns at which `fault` grew.
        stamp: ns at which `cost` and `fault` were counted.
        streak: failures in a row.
        good: leases in this interval of the outlier detection that came back well.
        bad: those that came back with an error.
        ejections: how often it was ejected.
        sentence: ejections lately; the next one lasts one base time more.
        returned_at: ns at which its last ejection ended.
        waiters: those that wait for `active` to be 0 while it drains; True tells them that it is.
    """

    __slots__ = (
        "active", "bad", "blamed_at", "cost", "credit", "draining", "ejected_until", "ejections", "failures",
        "fault", "good", "is_local", "name", "order", "picks", "returned_at", "sentence", "set_weight",
        "stamp", "streak", "up", "waiters", "warming_since", "weight", "zone",
    )  # fmt: skip

    def __init__(self, name: K, weight: float, zone: object = None) -> None:
        self.name = name
        self.weight = self.set_weight = weight
        self.zone = zone
        self.is_local = False
        self.order = -1  # until it has joined
        self.active = self.picks = self.failures = 0
        self.up = True
        self.draining = False
        self.ejected_until: int | None = None
        self.warming_since: int | None = None
        self.credit = 0.0
        self.cost = self.fault = 0.0
        self.stamp = self.blamed_at = self.returned_at = 0
        self.streak = self.good = self.bad = self.ejections = self.sentence = 0
        self.waiters: list[Future[bool]] = []

    def __repr__(self) -> str:
        return f"Member({self.name!r}, weight={self.weight!r}, active={self.active}, {self.status})"

    @property
    def healthy(self) -> bool:
        """Neither marked down nor ejected."""
        return self.up and self.ejected_until is None

    @property
    def status(self) -> Status:
        """What it is, the strongest reason first."""
        if self.draining:
            return "draining"
        if not self.up:
            return "down"
        return "up" if self.ejected_until is None else "ejected"

    def stats(self) -> MemberStats:
        """Its figures as of now."""
        return MemberStats(
            status=self.status,
            weight=self.set_weight,
            effective_weight=self.weight,
            zone=self.zone,
            active=self.active,
            picks=self.picks,
            failures=self.failures,
            ejections=self.ejections,
            latency=self.cost / NANOSECONDS if self.cost else None,
        )

    def observe(self, latency: float, now: int, decay: float) -> None:
        """Takes a latency in: a peak at once, anything lower by as much as the last one has faded.

        Args:
            latency: ns; 0 lets what is known fade.
            now: ns.
            decay: ns in which what is known fades to 1 / e.

        Source: Finagle, com.twitter.finagle.loadbalancer.p2c.P2CPeakEwma, Metric.observe.
        """
        elapsed = now - self.stamp
        self.stamp = now
        cost = self.cost
        if latency > cost:
            self.cost = latency
        elif elapsed > 0:
            self.cost = latency + (cost - latency) * exp(-elapsed / decay)
        if self.fault and elapsed > 0:
            self.fault *= exp(-elapsed / decay)

    def blame(self, latency: float, now: int, decay: float) -> None:
        """Takes a failure in: its latency if that is a new peak, and in any case twice what it cost before.

        A pick that was made before the last failure was heard of proves nothing new, and doubles nothing.
        """
        picked_at = now - latency
        if latency > self.cost:
            self.observe(latency, now, decay)
        if not self.fault or picked_at >= self.blamed_at:
            self.fault = min(2.0 * max(self.cost, self.fault, 1.0), decay)
            self.blamed_at = now


class Cursor:
    """Where round robin stands: it outlives the groups it went through."""

    __slots__ = ("group", "order", "position")

    def __init__(self) -> None:
        self.group: object = None
        self.position = 0
        self.order = -1


class Group(tuple[Member[K], ...]):
    """Members that a pick may choose from, in the order in which they joined; it never changes.

    Attributes:
        cursor: shared with the groups that came before in its place.
    """

    cursor: Cursor
    # Made when first asked for, not by cached_property: Python 3.11 holds one lock for all groups meanwhile,
    # and what compares names may wait for another.
    _by_name: dict[K, Member[K]] | None
    _sums: list[float] | None

    def __new__(cls, members: Iterable[Member[K]], cursor: Cursor) -> "Group[K]":
        """A group of those."""
        group = super().__new__(cls, members)
        group.cursor = cursor
        group._by_name = group._sums = None
        return group

    @property
    def by_name(self) -> dict[K, Member[K]]:
        """The members by their names."""
        if self._by_name is None:
            self._by_name = {member.name: member for member in self}
        return self._by_name

    @property
    def sums(self) -> list[float]:
        """The weight of each with all before it; empty when all weigh the same."""
        if self._sums is None:
            weights = [member.weight for member in self]
            uneven = any(weight != weights[0] for weight in weights)
            self._sums = list(accumulate(weights)) if uneven else []
        return self._sums

    def without(self, names: Collection[K]) -> "Group[K]":
        """The members of other names."""
        return Group((member for member in self if member.name not in names), self.cursor)

    def after(self, order: int) -> int:
        """The position behind the member of that order, whether or not it is in the group."""
        return bisect_left(self, order + 1, key=lambda member: member.order)
