"""The policies of a balancer: whom, of those that may be picked, a pick goes to."""

from bisect import bisect
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from random import Random
from random import random as random_fraction
from typing import Any, Generic, Protocol, TypeVar, cast

from penstock.balancing._weighted_round_robin_py import State
from penstock.balancing.member import Group, Member
from penstock.balancing.slow_start import require_positive
from penstock.balancing.weighted_round_robin import WeightedRoundRobin
from penstock.clock import NANOSECONDS
from penstock.errors import InvalidType, InvalidValue

__all__ = [
    "Affinity", "ExactWeighted", "LeastConnections", "PeakEwma", "Policy", "PowerOfTwoChoices", "RoundRobin",
    "SmoothWeighted", "WeightedLeastConnections",
]  # fmt: skip

K = TypeVar("K", bound=Hashable)


class Policy(Generic[K]):
    """Chooses in two steps; a policy serves one balancer.

    A policy of yours overrides `narrow` and returns the one member it wants. It runs without a lock, in
    several threads at once if several pick, and again if the members change meanwhile.

    Attributes:
        narrows: whether `narrow` is to be asked.
        takes_weights: whether weights that change from moment to moment, as in slow start, mean anything.
        keyed: whether picks need a key, and picks of one key go to one member.
        decay: ns in which a latency that was seen counts only 1 / e.
    """

    narrows = True
    takes_weights = True
    keyed = False
    decay: float = 10.0 * NANOSECONDS
    owned = False  # by a balancer: what a policy remembers is of no use to two

    def narrow(self, group: Group[K], key: Any, now: int, /) -> Sequence[Member[K]]:
        """Those of the group that `choose` may choose from.

        Args:
            group: the members that may be picked, at least one.
            key: what was given to `pick`.
            now: ns on the clock of the balancer.
        """
        return group

    def choose(self, group: Sequence[Member[K]], now: int, /) -> Member[K]:
        """The one of what `narrow` left. The balancer's lock is held: nothing foreign may be called here."""
        return group[0]

    def plan(self, weights: Mapping[Member[K], float], /) -> Any:
        """What will be needed to choose among these members; called without a lock before they are.

        Raises:
            ValueError: it cannot serve them; nothing changes then.
        """
        return None

    def adopt(self, plan: Any, /) -> None:
        """Makes the plan the one that holds. The balancer's lock is held."""


class RoundRobin(Policy[K]):
    """Each in turn, in the order in which they joined; weights do not matter. O(1)."""

    narrows = False
    takes_weights = False

    def choose(self, group: Sequence[Member[K]], now: int, /) -> Member[K]:
        """The one whose turn it is."""
        turn: Group[K] = group  # type: ignore[assignment]  # nothing has narrowed it
        cursor = turn.cursor
        position = cursor.position + 1 if cursor.group is turn else turn.after(cursor.order)
        if position >= len(turn):
            position = 0
        member = turn[position]
        cursor.group, cursor.position, cursor.order = turn, position, member.order
        return member


class SmoothWeighted(Policy[K]):
    """Weighted round robin, spread out: the order of nginx, pick for pick. O(members).

    Every member that may be picked gains its weight; the one that has most is picked, the first among
    equals, and pays what all have gained. Shares are exact while the members stay the same; `ExactWeighted`
    keeps them so while they go and come. When members join or leave, or a weight is set, nobody keeps more
    credit or debt than the price of a pick from then on.

    Source: nginx, ngx_http_upstream_round_robin.c, commit 52327e0627f4.
    """

    narrows = False

    def choose(self, group: Sequence[Member[K]], now: int, /) -> Member[K]:
        """The one that is owed most."""
        total = highest = 0.0
        best = None
        for member in group:
            weight = member.weight
            total += weight
            member.credit = credit = member.credit + weight
            if best is None or credit > highest:
                best, highest = member, credit
        assert best is not None
        best.credit = highest - total
        return best

    def plan(self, weights: Mapping[Member[K], float], /) -> tuple[Member[K], ...]:
        """The members."""
        return tuple(weights)

    def adopt(self, plan: tuple[Member[K], ...], /) -> None:
        """Bounds what they are owed: 500 at weights of 1000 and 1 would be a burst of 500 at 1 and 1."""
        for is_local in (True, False):  # the zones take turns apart from each other
            side = [member for member in plan if member.is_local is is_local]
            price = sum(member.set_weight for member in side)
            for member in side:
                member.credit = max(-price, min(member.credit, price))


class ExactWeighted(Policy[K]):
    """`WeightedRoundRobin` as a policy: shares exact, and fair while members go down and come back.

    While the same members are up nobody is a whole pick away from its share. A change of members or
    weights begins the sequence anew. At most 1,000 members, whose weights reduce to integers that sum to at
    most 1,000,000; no slow start, whose weights would not. O(members), a few ns for each.
    """

    narrows = False
    takes_weights = False

    def __init__(self) -> None:
        self._turns: WeightedRoundRobin[Member[K]] | None = None
        self._up: set[Member[K]] = set()
        self._group: Sequence[Member[K]] | None = None

    def plan(self, weights: Mapping[Member[K], float], /) -> WeightedRoundRobin[Member[K]] | None:
        """A sequence of these."""
        return WeightedRoundRobin(weights) if weights else None

    def adopt(self, plan: WeightedRoundRobin[Member[K]] | None, /) -> None:
        """Begins the new sequence."""
        self._turns = plan
        self._up = set(plan.members) if plan else set()
        self._group = None

    def choose(self, group: Sequence[Member[K]], now: int, /) -> Member[K]:
        """The one whose turn it is."""
        assert self._turns is not None
        if group is not self._group:
            self._admit(group)
        return self._turns.pick()

    def _admit(self, group: Sequence[Member[K]]) -> None:
        assert self._turns is not None
        wanted = set(group)
        for member in self._up - wanted:
            self._turns.mark_down(member)
        for member in wanted - self._up:
            self._turns.mark_up(member)
        self._up, self._group = wanted, group

    # What outlives the process; nothing of it is there before the policy has a balancer with members

    @property
    def weights(self) -> dict[K, int]:
        """The weight of each member, as the smallest integers in their proportion."""
        turns = self._turns
        return {member.name: weight for member, weight in turns.weights.items()} if turns else {}

    def credits(self) -> dict[K, Any]:
        """How many picks each member is owed, as exact fractions; see WeightedRoundRobin."""
        turns = self._turns
        return {member.name: owed for member, owed in turns.credits().items()} if turns else {}

    def state(self) -> State:
        """The credits as integers that JSON can carry; who is up is not part of it."""
        turns = self._turns
        return turns.state() if turns else {"weights": [], "scale": 0, "credits": []}

    def restore(self, state: State, /) -> None:
        """Goes on from what `state()` returned for the same weights.

        Raises:
            ValueError: it is the state of other weights, or one that no picks lead to.
            TypeError: it is not what state() returns.
        """
        turns = self._turns
        if turns is None:
            raise InvalidValue("state must be restored to a balancer with members, got one without")
        turns.restore(state)


class LeastConnections(Policy[K]):
    """The one with the fewest active leases, the first among equals; weights do not matter. O(members)."""

    narrows = False
    takes_weights = False

    def choose(self, group: Sequence[Member[K]], now: int, /) -> Member[K]:
        """The least busy one."""
        best = group[0]
        least = best.active
        for member in group:
            active = member.active
            if active < least:
                best, least = member, active
            if not least:
                break
        return best


class WeightedLeastConnections(SmoothWeighted[K]):
    """The one with the fewest active leases for its weight; among equals as SmoothWeighted. O(members).

    Source: nginx, `least_conn`.
    """

    def choose(self, group: Sequence[Member[K]], now: int, /) -> Member[K]:
        """The least busy one for its weight."""
        best = group[0]
        equals, active, weight = [best], best.active, best.weight
        for member in group[1:]:
            theirs, least = member.active * weight, active * member.weight
            if theirs == least:
                equals.append(member)
            elif theirs < least:
                equals, active, weight = [member], member.active, member.weight
        return equals[0] if len(equals) == 1 else super().choose(equals, now)


class PowerOfTwoChoices(Policy[K]):
    """Two at random, of which the one with fewer active leases for its weight. O(1).

    The two are drawn by weight, so that idle members are picked by weight too; the first drawn among equals.
    Many balancers that know nothing of each other do not run to the same idle member together.

    Args:
        random: returns a float in [0, 1); `random.Random(7).random` for a sequence that can be repeated.

    Source: M. Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, IEEE TPDS 12, 2001.
    """

    def __init__(self, *, random: Callable[[], float] = random_fraction) -> None:
        if not callable(random):
            raise InvalidType(f"random must be callable, got {type(random).__name__}")
        self._random = random
        self.narrows = type(getattr(random, "__self__", None)) is not Random  # foreign code, not under a lock

    def narrow(self, group: Group[K], key: Any, now: int, /) -> Sequence[Member[K]]:
        """The two, where they are drawn by dice of somebody else; they are left to `choose` otherwise."""
        return self._two(group) if self.narrows and len(group) > 1 else group

    def choose(self, group: Sequence[Member[K]], now: int, /) -> Member[K]:
        """The less busy one of two."""
        if len(group) == 1:
            return group[0]
        one, other = group if self.narrows else self._two(group)  # type: ignore[arg-type]
        return other if other.active * one.weight < one.active * other.weight else one

    def _two(self, group: Group[K]) -> tuple[Member[K], Member[K]]:
        """Two different ones, drawn by weight."""
        random, sums, last = self._random, group.sums, len(group) - 1
        if not sums:
            one, other = int(random() * (last + 1)), int(random() * last)
            if other >= one:
                other += 1
        else:
            one = bisect(sums, random() * sums[-1], 0, last)
            weight = group[one].weight
            below = random() * (sums[-1] - weight)
            if below >= sums[one] - weight:  # passes over the first one's part of the line
                below += weight
            other = bisect(sums, below, 0, last)
        if one == other or one > last or other > last:  # dice that roll 1, or rounding at an edge
            one, other = last, last - 1
        return group[one], group[other]


class PeakEwma(PowerOfTwoChoices[K]):
    """Two at random, of which the one that costs less: latency times active leases, for its weight. O(1).

    The latency is an average that fades with time, but jumps to every peak at once: a member that has
    become slow is avoided after one slow answer and is tried again as the memory of it fades. One that was
    never heard of and is busy waits for its first answer before it gets more.

    Every failure in a row doubles what a member costs, up to `decay` seconds, until it succeeds or the memory
    of that has faded too. Finagle leaves those that fail fast to other means; here they draw no work.

    Args:
        decay: seconds in which what was seen fades to 1 / e, > 0.
        random: returns a float in [0, 1).

    Source: Finagle, com.twitter.finagle.loadbalancer.p2c.P2CPeakEwma.
    """

    def __init__(self, decay: float = 10.0, *, random: Callable[[], float] = random_fraction) -> None:
        super().__init__(random=random)
        require_positive("decay", decay, "seconds")
        self.decay = decay * NANOSECONDS

    def choose(self, group: Sequence[Member[K]], now: int, /) -> Member[K]:
        """The cheaper one of two."""
        if len(group) == 1:
            return group[0]
        one, other = group if self.narrows else self._two(group)  # type: ignore[arg-type]
        return one if self._load(one, now) <= self._load(other, now) else other

    def _load(self, member: Member[K], now: int) -> float:
        member.observe(0, now, self.decay)
        if member.cost == 0 and member.active:
            return PENALTY + member.active
        cost = member.cost if member.cost > member.fault else member.fault
        return cost * (member.active + 1) / member.weight


PENALTY = float((1 << 63) - 1 >> 16)  # Finagle's: more than any latency


class Lookups(Protocol):
    """What `penstock.hashring` offers: the nodes in a key's order of preference."""

    def iter_nodes(self, key: Any, /) -> Iterator[Any]:
        """All nodes, the first choice first."""


class Affinity(Policy[K]):
    """A key's work goes to one member: the first in the key's order of preference that may be picked.

    While a member is out its keys go each to its next choice, and return with it.

    Args:
        ring: an object with `iter_nodes`, as all of `penstock.hashring` have, whose nodes are the names of
            members: you change both. Or what makes one of a mapping of names to weights, such as
            `HashRing` or `MaglevTable` itself: it is made anew when members or their weights change.
    """

    takes_weights = False
    keyed = True

    def __init__(self, ring: Lookups | Callable[[dict[K, float]], Lookups]) -> None:
        makes = isinstance(ring, type) or not hasattr(ring, "iter_nodes")
        if makes and not callable(ring):
            raise InvalidType(f"ring must have iter_nodes or make what has, got {type(ring).__name__}")
        self._make = cast("Callable[[dict[K, float]], Lookups]", ring) if makes else None
        self._ring = None if makes else cast(Lookups, ring)

    def plan(self, weights: Mapping[Member[K], float], /) -> Lookups | None:
        """The ring of these members."""
        if self._make is None:
            return self._ring
        return self._make({member.name: weight for member, weight in weights.items()}) if weights else None

    def adopt(self, plan: Lookups | None, /) -> None:
        """Makes it the one that is asked."""
        self._ring = plan

    def narrow(self, group: Group[K], key: Any, now: int, /) -> Sequence[Member[K]]:
        """The key's member, or nobody."""
        if key is None:
            raise InvalidValue("key must be given where the policy is Affinity, got None")
        if self._ring is not None:
            for node in self._ring.iter_nodes(key):
                member = group.by_name.get(node)
                if member is not None:
                    return (member,)
        return ()
