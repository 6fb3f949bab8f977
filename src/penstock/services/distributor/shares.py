"""Shares: whose the next packet is, among the analyzers of one group.

A packet goes to the lowest tier that has an analyzer up. Each tier has two balancers of the same weights: one
for first assignments, whose shares are what is promised, and one for packets that are dealt again, so that
failures bend no share. Who is up is decided elsewhere.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import accumulate
from math import ceil
from typing import Any

from penstock.balancing import State, UnknownMember, WeightedRoundRobin
from penstock.hashring import FrozenRendezvous
from penstock.services.distributor.config import AnalyzerConfig, GroupConfig

__all__ = ["Shares"]

NEVER_OVERLOADED = 1_000
"""Packets: an analyzer with fewer waiting is not overloaded, whatever its share of what little waits is."""

UNIT = 1 << 32  # of WeightedRoundRobin.state(): a credit of scale * UNIT is one packet

Credits = dict[str, Fraction]


class Shares:
    """Deals out the packets of one group: by exact shares, or by key.

    Each first assignment of a weighted group owes every analyzer that is up in its tier a part of one
    packet, as its weight is to all weights up there, and takes a whole packet off the one that gets it. An
    analyzer that is down keeps what it is owed, neither reset nor grown; so does a tier that is not needed.
    Hence:

    - While the same analyzers are up from the start, every cycle (as many packets as the weights sum to, as
      the smallest integers) is exact, and at no moment between is any a whole packet off its share.
    - Under random ups and downs, 8 analyzers stay within 2 packets of it: 1.3 is the most in 300,000 packets.
      A schedule made to do harm can do more, 2.5 as far as a search has found one, and never more than half
      as many packets as there are analyzers.
    - Equal calls give equal answers.

    When analyzers come, go or are weighed anew, those that stay keep what they are owed, and one that comes
    is owed nothing. What one that goes was owed the others have had: it is forgiven to those of them that
    are ahead, in proportion, and what it was ahead is taken off what others are owed. From then on that is
    what is due. Should it be more than any turns among those that stay could lead to (half as many packets
    as they are, and none for a single one), all credits shrink in proportion until it is not. So a change
    takes nobody further from its share, and the bounds stay what they are.

    A sticky group gives the packets of one key to the analyzer that bids highest for it (rendezvous
    hashing, by weight) while that is up and not overloaded, and else to the next in the key's order of
    preference. An analyzer is overloaded that has `sticky_overload` times its share of what waits for all
    that are up, and at least 1,000 packets: of less, no share means much. So a key leaves an analyzer only
    when that falls, is overloaded or loses weight, or when one comes that is preferred. Packets without a
    key are dealt by weight.

    Args:
        analyzers: of the group; all are up at first.
        group: how they are balanced.
        load: how many packets wait for an analyzer or are on their way to it. Asked once for each that is up
            whenever packets of a sticky group are dealt.

    Raises:
        ValueError: weights too far apart, as for `WeightedRoundRobin`.

    Source: `WeightedRoundRobin`; V. Mirrokni et al., Consistent hashing with bounded loads, SODA 2018, over
    the order of preference of `RendezvousHash`, in which a change of one weight moves no key between others.
    """

    def __init__(
        self, analyzers: Sequence[AnalyzerConfig], group: GroupConfig, load: Callable[[str], int]
    ) -> None:
        self._is_sticky = group.balance == "sticky"
        self._overload = group.sticky_overload
        self._load = load
        self._down: set[str] = set()
        self._tiers = tiers_of(analyzers)
        self._enter()

    # Who is up

    @property
    def up(self) -> list[str]:
        """The analyzers that are up, lowest tier first."""
        return [id_ for tier in self._tiers.values() for id_ in tier.ids if id_ not in self._down]

    def mark_up(self, id_: str) -> None:
        """An analyzer gets packets from now on, with the credit it had.

        Raises:
            LookupError: there is no such analyzer.
        """
        self._mark(id_, True)

    def mark_down(self, id_: str) -> None:
        """An analyzer gets no packets from now on; its credit waits.

        Raises:
            LookupError: there is no such analyzer.
        """
        self._mark(id_, False)

    def _mark(self, id_: str, up: bool) -> None:
        for tier in self._tiers.values():
            if id_ in tier.ids:
                (self._down.discard if up else self._down.add)(id_)
                tier.mark(id_, up)
                self._enter()
                return
        known = ", ".join(id_ for tier in self._tiers.values() for id_ in tier.ids)
        raise UnknownMember(f"analyzer must be one of {known}, got {id_!r}")

    def _enter(self) -> None:
        """Settles which tier gets packets, now that somebody rose, fell, came or went."""
        self._tier = next((tier for tier in self._tiers.values() if tier.ring.nodes), None)

    # Who gets what

    def assign(self, n: int, keys: Sequence[str | None] | None = None) -> list[str]:
        """Whose the next `n` packets are, for the first time; empty when none is up.

        Args:
            n: packets.
            keys: of each of them, for sticky groups.
        """
        tier = self._tier
        if tier is None:
            return []
        if keys is None or not self._is_sticky:
            return tier.first.pick_many(n)
        return self._assign_by_key(tier, keys)

    def _assign_by_key(self, tier: "Tier", keys: Sequence[str | None]) -> list[str]:
        loads = self._loads(tier)
        homes = iter(tier.ring.get_many([key for key in keys if key is not None]))
        others = iter(tier.first.pick_many(keys.count(None)))
        assigned = []
        for key in keys:
            id_ = next(others if key is None else homes)
            if key is not None and not loads.has_room(id_):
                id_ = next(filter(loads.has_room, tier.ring.iter_nodes(key)))
            loads.add(id_)
            assigned.append(id_)
        return assigned

    def reassign(self, avoiding: str | None, key: str | None = None) -> str | None:
        """Whose a packet becomes that is dealt again; None when nobody is up.

        Args:
            avoiding: who could not take it, and gets it only if there is no other in the tier.
            key: of the packet, for sticky groups.
        """
        tier = self._tier
        if tier is None:
            return None
        if key is not None and self._is_sticky:
            order = [id_ for id_ in tier.ring.iter_nodes(key) if id_ != avoiding]
            has_room = self._loads(tier).has_room
            if (id_ := next(filter(has_room, order), None)) is not None:
                return id_
        return tier.pick_again(avoiding)

    def _loads(self, tier: "Tier") -> "Loads":
        return Loads({id_: self._load(id_) for id_ in tier.ring.nodes}, tier.ring.weights, self._overload)

    # Figures

    @property
    def targets(self) -> dict[str, float]:
        """The share of first assignments of each while all of the lowest tier are up, 0 to 1."""
        lowest = min(self._tiers, default=0)
        return {
            id_: share if number == lowest else 0.0
            for number, tier in self._tiers.items()
            for id_, share in tier.shares().items()
        }

    @property
    def ahead(self) -> dict[str, float]:
        """Packets that each has had beyond its share, as described above; below 0: fewer."""
        return {id_: -float(owed) for tier in self._tiers.values() for id_, owed in tier.first.owed().items()}

    # What outlives the process, and what changes while it runs

    def state(self) -> dict[str, Any]:
        """What has to be remembered over a restart, as JSON can carry it; who is up is not part of it."""
        return {str(number): tier.state() for number, tier in self._tiers.items()}

    def restore(self, state: object) -> None:
        """Goes on where `state()` was; of analyzers and weights that have changed since, as `change` does.

        What is no state of a tier that is there is passed over.
        """
        if isinstance(state, Mapping):
            for number, tier in self._tiers.items():
                tier.restore(state.get(str(number)))

    def change(self, analyzers: Sequence[AnalyzerConfig]) -> None:
        """Makes these the analyzers of the group; new ones are up, those that stay are as they were.

        Raises:
            ValueError: weights too far apart; nothing changes.
        """
        tiers = tiers_of(analyzers)
        for number, tier in tiers.items():
            before = self._tiers.get(number)
            if before is not None and list(before.weights.items()) == list(tier.weights.items()):
                tiers[number] = before
                continue
            if before is not None:
                tier.follow(before)
            for id_ in self._down.intersection(tier.ids):
                tier.mark(id_, False)
        self._tiers = tiers
        self._down.intersection_update(id_ for tier in tiers.values() for id_ in tier.ids)
        self._enter()


class Tier:
    """Analyzers that share packets among themselves.

    Attributes:
        ids: of all of them, in order.
        weights: of all of them, as the smallest integers.
        first: deals first assignments.
        again: deals packets again.
        ring: those that are up, in an order of preference for each key.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.first, self.again = Turns(weights), Turns(weights)
        self.ids, self.weights = self.first.ids, self.first.weights
        self._up = set(self.ids)
        self.ring = FrozenRendezvous(self.weights)

    def mark(self, id_: str, up: bool) -> None:
        """Says that one of them is up, or is not."""
        if (id_ in self._up) is up:
            return
        (self._up.add if up else self._up.remove)(id_)
        for turns in (self.first, self.again):
            turns.mark(id_, up)
        self.ring = FrozenRendezvous({id_: self.weights[id_] for id_ in self._up})

    def pick_again(self, avoiding: str | None) -> str:
        """Whose turn it is by the second balancer; another than `avoiding`, if there is another."""
        if avoiding not in self._up or len(self._up) == 1:
            return self.again.pick()
        self.again.mark(avoiding, False)
        id_ = self.again.pick()
        self.again.mark(avoiding, True)
        return id_

    def shares(self) -> dict[str, float]:
        """The share of each while all are up."""
        total = sum(self.weights.values())
        return {id_: weight / total for id_, weight in self.weights.items()}

    def follow(self, before: "Tier") -> None:
        """Takes over what another tier owes, and whom."""
        self.first.owe(before.first.owed())
        self.again.owe(before.again.owed())

    def state(self) -> dict[str, Any]:
        """What both balancers owe, and whom."""
        return {"ids": list(self.ids), "first": self.first.state(), "again": self.again.state()}

    def restore(self, state: object) -> None:
        """Takes over what `state()` of any tier was; what makes no sense is passed over."""
        for name, turns in (("first", self.first), ("again", self.again)):
            with suppress(ValueError, TypeError, LookupError):
                turns.restore(state["ids"], state[name])  # type: ignore[index]  # what is no mapping raises


def tiers_of(analyzers: Sequence[AnalyzerConfig]) -> dict[int, Tier]:
    """The tiers that these analyzers make, lowest first, all up.

    Raises:
        ValueError: weights too far apart.
    """
    return {
        number: Tier({analyzer.id: analyzer.weight for analyzer in analyzers if analyzer.tier == number})
        for number in sorted({analyzer.tier for analyzer in analyzers})
    }


class Turns:
    """A `WeightedRoundRobin` that can take over the credits of one with other members or weights."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._round_robin = WeightedRoundRobin(weights)
        self.ids = self._round_robin.members
        self.weights = self._round_robin.weights
        self.pick, self.owed, self.state = (
            self._round_robin.pick, self._round_robin.credits, self._round_robin.state,
        )  # fmt: skip

    def pick_many(self, n: int) -> list[str]:
        """Whose the next `n` turns are."""
        pick = self.pick  # pick_many() of WeightedRoundRobin is quicker, but numpy takes 10 MB and 0.1 s
        return [pick() for _ in range(n)]

    def mark(self, id_: str, up: bool) -> None:
        """Passes one over from now on, or no more."""
        (self._round_robin.mark_up if up else self._round_robin.mark_down)(id_)

    def restore(self, ids: Iterable[str], state: State) -> None:
        """Goes on from the state of the `Turns` of these ids.

        Raises:
            ValueError, TypeError, LookupError: it is none; nothing changes.
        """
        before = WeightedRoundRobin(dict(zip(ids, state["weights"], strict=True)))
        before.restore(state)
        if list(before.weights.items()) == list(self.weights.items()):
            self._round_robin.restore(state)  # to the last bit, as if nothing had happened
        else:
            self.owe(before.credits())

    def owe(self, owed: Credits) -> None:
        """Takes over what others were owed, as far as they are here, and it can be owed here."""
        credits_ = within_reach(carried_over(owed, self.ids))
        scale = sum(self.weights.values())
        units = [int(credit * scale * UNIT) for credit in credits_.values()]
        surplus = sum(units)  # what rounding to zero left over; goes where it is lost in what there is
        largest = max(range(len(units)), key=lambda place: units[place] * surplus)
        units[largest] -= surplus
        self._round_robin.restore({"weights": list(self.weights.values()), "scale": scale, "credits": units})


def carried_over(owed: Credits, ids: Iterable[str]) -> Credits:
    """What each of `ids` is owed when it was `owed` before, or had not come yet; sums to 0.

    Those that stay have had together what those that go are owed: so much is forgiven to those of them that
    are ahead, in proportion. Or the other way round. So nobody's credit grows.
    """
    credits_ = {id_: owed.get(id_, Fraction()) for id_ in ids}
    excess = sum(credits_.values())
    same_side = sum(credit for credit in credits_.values() if credit * excess > 0)
    left = 1 - excess / same_side if excess else 1
    return {id_: credit * left if credit * excess > 0 else credit for id_, credit in credits_.items()}


def within_reach(owed: Credits) -> Credits:
    """The credits, in proportion, that a `WeightedRoundRobin` of as many members may have at the most.

    The k highest sum to no more than (k * (n - k) + min(k, n - k)) / 2 there, for every k.
    """
    n = len(owed)
    sums = accumulate(sorted(owed.values(), reverse=True))
    most = [Fraction(k * (n - k) + min(k, n - k), 2) for k in range(1, n + 1)]
    shrink = min(
        [Fraction(1), *(bound / total for bound, total in zip(most, sums, strict=True) if total > 0)]
    )
    return {id_: credit * shrink for id_, credit in owed.items()}


class Loads:
    """How much waits for each analyzer that is up, while packets are dealt by key.

    Args:
        waiting: packets of each.
        weights: of each.
        overload: how many times its share of all that waits is too much.
    """

    def __init__(self, waiting: dict[str, int], weights: Mapping[str, float], overload: float) -> None:
        whole = sum(weights.values())
        self._waiting = waiting
        self._total = sum(waiting.values())
        self._shares = {id_: overload * weight / whole for id_, weight in weights.items()}

    def has_room(self, id_: str) -> bool:
        """Whether one more packet of any key may go to it; there is always one that has room."""
        waiting = self._waiting[id_]
        return waiting < NEVER_OVERLOADED or waiting < ceil(self._shares[id_] * (self._total + 1))

    def add(self, id_: str) -> None:
        """Counts a packet more."""
        self._waiting[id_] += 1
        self._total += 1
