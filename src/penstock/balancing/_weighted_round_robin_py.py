"""Weighted round robin, pure Python. Its compiled twin does the same in csrc/weighted_round_robin.c."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, islice
from math import inf, lcm
from operator import index
from threading import RLock
from typing import TYPE_CHECKING, Generic, TypedDict, TypeVar

from penstock.errors import InvalidType, InvalidValue, PenstockError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["NoMemberUp", "State", "UnknownMember", "WeightedRoundRobin"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

FRACTION_BITS = 32
MAX_MEMBERS = 1_000
MAX_TOTAL = 1_000_000
MAX_PICKS = 10_000_000  # of one batch: 80 MB
MAX_EXPONENT = 400  # of a Decimal: more than any float has; 1e999999999 would fill the memory


class NoMemberUp(PenstockError, LookupError):
    """Every member is out, so there is none to pick."""


class UnknownMember(PenstockError, LookupError):
    """The balancer has no member of that name."""


class State(TypedDict):
    """The credits of a balancer, as integers that JSON can carry."""

    weights: list[int]
    scale: int
    credits: list[int]


def shown(value: object) -> str:
    """`value` as an error message shows it, however large it is."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def exact_weight(member: object, weight: object) -> Fraction:
    """`weight` as the number that is written: 0.1 is one tenth."""
    if not isinstance(weight, (int, float, Fraction, Decimal)):
        raise InvalidType(f"weight of {shown(member)} must be a number, got {type(weight).__name__}")
    is_nan = weight.is_nan() if isinstance(weight, Decimal) else weight != weight
    if is_nan or not 0 < weight < inf:
        raise InvalidValue(f"weight of {shown(member)} must be > 0 and finite, got {shown(weight)}")
    if isinstance(weight, Decimal) and not abs(weight.adjusted()) <= MAX_EXPONENT:
        raise InvalidValue(f"weight of {shown(member)} must be 1e-400 to 1e400, got {shown(weight)}")
    return Fraction(float.__repr__(weight)) if isinstance(weight, float) else Fraction(weight)


def reduced(weights: Sequence[Fraction]) -> list[int]:
    """The smallest integers in the proportion of `weights`."""
    ratios = [weight / weights[0] for weight in weights]
    common = 1
    for ratio in ratios:
        common = lcm(common, ratio.denominator)
        if common > MAX_TOTAL or ratio > MAX_TOTAL:  # stops here, before the numbers grow large
            raise InvalidValue(
                f"weights must reduce to integers that sum to <= {MAX_TOTAL}, got 1 to {shown(ratio)}"
            )
    integers = [int(ratio * common) for ratio in ratios]
    if sum(integers) > MAX_TOTAL:
        raise InvalidValue(
            f"weights must reduce to integers that sum to <= {MAX_TOTAL}, got a sum of {sum(integers)}"
        )
    return integers


def checked_weights(weights: object) -> tuple[tuple[object, ...], list[int]]:
    """The members in order, and their weights as the smallest integers.

    Raises:
        ValueError: see WeightedRoundRobin.
        TypeError: no mapping, or a weight is no number.
    """
    if not isinstance(weights, Mapping):
        raise InvalidType(f"weights must be a mapping of member to weight, got {type(weights).__name__}")
    pairs = list(islice(weights.items(), MAX_MEMBERS + 1))
    if not 1 <= len(pairs) <= MAX_MEMBERS:
        raise InvalidValue(f"weights must have 1 to {MAX_MEMBERS} members, got {len(weights)}")
    return tuple(member for member, _ in pairs), reduced([exact_weight(*pair) for pair in pairs])


def checked_count(n: object) -> int:
    """The picks of one batch.

    Raises:
        ValueError: not 0 <= n <= MAX_PICKS.
        TypeError: n is no integer.
    """
    try:
        count = index(n)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidType(f"n must be an integer, got {type(n).__name__}") from None
    if not 0 <= count <= MAX_PICKS:
        raise InvalidValue(f"n must be >= 0 and <= {MAX_PICKS} picks, got {shown(n)}")
    return count


def checked_state(state: object, weights: Sequence[int]) -> tuple[int, list[int]]:
    """Scale and credits of a state that a balancer of these `weights` can be in.

    Raises:
        ValueError: it is the state of another balancer, or one that no schedule leads to.
        TypeError: it is not what state() returns.
    """
    if not isinstance(state, Mapping) or set(state) != {"weights", "scale", "credits"}:
        raise InvalidType(f"state must have the keys weights, scale, credits, got {shown(state)}")
    theirs, scale, owed = state["weights"], state["scale"], state["credits"]
    if not (is_list_of_int(theirs) and is_list_of_int([scale]) and is_list_of_int(owed)):
        raise InvalidType(f"state must be made of integers, got {shown(state)}")
    if list(theirs) != list(weights):
        raise InvalidValue(f"state must be of weights {shown(list(weights))}, got {shown(list(theirs))}")
    if not 1 <= scale <= sum(weights):
        raise InvalidValue(f"scale must be >= 1 and <= {sum(weights)}, got {shown(scale)}")
    if len(owed) != len(weights) or sum(owed) != 0:
        raise InvalidValue(f"credits must be {len(weights)} that sum to 0, got {shown(list(owed))}")
    if not reachable(scale, owed):
        raise InvalidValue(
            f"credits must be such as picks lead to, within {len(weights) / 2} picks and fewer together, "
            f"got {shown(list(owed))} with {scale << FRACTION_BITS} to a pick"
        )
    return scale, list(owed)


def is_list_of_int(values: object) -> bool:
    return isinstance(values, (list, tuple)) and all(type(value) is int for value in values)


def reachable(scale: int, owed: Sequence[int]) -> bool:
    """Whether the k highest sum to at most F(k) of csrc/weighted_round_robin.h, for every k."""
    highest = accumulate(sorted(owed, reverse=True))
    n, price = len(owed), scale << FRACTION_BITS
    return all(2 * total <= (k * (n - k) + min(k, n - k)) * price for k, total in enumerate(highest, start=1))


def rescaled(owed: Iterable[int], old: int, new: int) -> list[int]:
    """Credits counted in `old`, counted in `new`: rounded to zero, still summing to 0, none grown."""
    counted = [credit * new // old if credit > 0 else -(-credit * new // old) for credit in owed]
    surplus = sum(counted)
    for i, credit in enumerate(counted):
        if credit * surplus > 0:
            part = min(credit, surplus, key=abs)
            counted[i] -= part
            surplus -= part
    return counted


def no_member_up(members: int) -> NoMemberUp:
    return NoMemberUp(f"a pick needs at least 1 member up, got 0 of {members}")


def unknown_member(member: object, members: Sequence[object]) -> UnknownMember:
    known = ", ".join(shown(name) for name in members[:10]) + (", ..." if len(members) > 10 else "")
    return UnknownMember(f"member must be one of {known}, got {shown(member)}")


class Schedule:
    """Who is up and what each is owed: the algorithm alone, over indices.

    The rules, and the proof that they keep their bounds, are in csrc/weighted_round_robin.h.
    """

    __slots__ = ("credits", "gains", "late", "owed_enough", "price", "scale", "settled")

    def __init__(self, weights: Sequence[int]) -> None:
        self.credits = [0] * len(weights)
        self.gains = [(i, weight << FRACTION_BITS) for i, weight in enumerate(weights)]  # of those up
        self.scale = sum(weights)
        self.settled = False  # the three below do not agree yet with who is up
        self.price = self.owed_enough = self.late = 0

    def copy(self) -> "Schedule":
        """One that goes its own way from here."""
        other = Schedule.__new__(Schedule)
        other.credits = list(self.credits)
        other.gains = self.gains  # replaced by `mark`, never changed
        other.scale = self.scale
        other.settled = self.settled
        other.price, other.owed_enough, other.late = self.price, self.owed_enough, self.late
        return other

    def mark(self, member: int, gain: int) -> None:
        """Takes a member out, with a gain of 0, or back in."""
        others = [(i, theirs) for i, theirs in self.gains if i != member]
        self.gains = sorted([*others, (member, gain)]) if gain else others
        self.settled = False

    def restore(self, scale: int, owed: list[int]) -> None:
        """Sets all credits, counted in `scale`."""
        self.scale, self.credits, self.settled = scale, owed, False

    def pick(self) -> int:
        """The index of the next pick.

        Raises:
            LookupError: no member is up.
        """
        if not self.settled:
            self._settle()
        owed = self.credits
        winner, highest = -1, 0
        for i, gain in self.gains:
            credit = owed[i] + gain
            owed[i] = credit
            if winner < 0 or credit > highest:
                winner, highest = i, credit
        if self.owed_enough <= highest < self.late:
            winner = self._late_soonest()
        owed[winner] -= self.price
        return winner

    def _late_soonest(self) -> int:
        """The one of those owed enough that has the fewest picks to go until it is late."""
        owed, enough, late = self.credits, self.owed_enough, self.late
        winner, left, pace = -1, 0, 0
        for i, gain in self.gains:
            credit = owed[i]
            if credit >= enough and (winner < 0 or (late - credit) * pace < left * gain):
                winner, left, pace = i, late - credit, gain
        return winner

    def _settle(self) -> None:
        """Counts in the weight that is up. Not done in mark: down and up between picks leave no trace."""
        if not self.gains:
            raise no_member_up(len(self.credits))
        scale = sum(gain for _, gain in self.gains) >> FRACTION_BITS
        if self.scale != scale:
            self.credits = rescaled(self.credits, self.scale, scale)
            self.scale = scale
        self.price = scale << FRACTION_BITS
        self.owed_enough = self.price // max(2 * len(self.gains) - 2, 2)
        self.late = self.price - self.owed_enough
        self.settled = True


class WeightedRoundRobin(Generic[K]):
    """Picks members in turn, each as often as its weight says, spread out evenly and without chance.

    While the same m members are up, every `total` picks from the start give each member exactly its weight,
    and at any moment between no member is further from its share than 1 - 1 / (2m - 2) picks, the least
    that any rule can promise. A member that is marked down is passed over: its share goes to the others
    in proportion, and what it was owed waits for it, neither reset nor grown. Under any ups and downs of n
    members each stays within n / 2 picks of its share, under random ones within 2. Equal weights and equal
    marks give an equal sequence; the first in order is picked among equals.

    Threads may share a balancer. A pick costs O(members), a few ns for each.

    Args:
        weights: weight of each member, in order; 1 to 1,000 members, each weight > 0. They count as the
            numbers that are written: 0.4 and 0.1 are as 4 and 1. As the smallest integers in their
            proportion they may sum to at most 1,000,000.

    Raises:
        ValueError: too few or too many members, a weight out of its range, or proportions too fine.
        TypeError: no mapping, or a weight is no number.

    Source: R. Tijdeman, The chairman assignment problem, Discrete Mathematics 32, 1980, over the credits of
    nginx's smooth weighted round robin, counted in picks; csrc/weighted_round_robin.h has the proofs.
    """

    __slots__ = ("_index", "_lock", "_members", "_schedule", "_weights")

    _members: tuple[K, ...]

    def __init__(self, weights: Mapping[K, float | int | Fraction | Decimal], /) -> None:
        members, integers = checked_weights(weights)
        if hasattr(self, "_schedule"):
            raise InvalidType("a WeightedRoundRobin is initialised once")
        self._members, self._weights = members, integers  # type: ignore[assignment]
        self._index = {member: i for i, member in enumerate(self._members)}
        self._schedule = Schedule(self._weights)  # never changed: what changes takes its place
        self._lock = RLock()  # held over integers; a destructor that runs meanwhile may use the balancer

    def __repr__(self) -> str:
        return f"WeightedRoundRobin({self.weights!r})"

    @property
    def members(self) -> tuple[K, ...]:
        """All members, in order."""
        return self._members

    @property
    def weights(self) -> dict[K, int]:
        """The weight of each member, as the smallest integers in their proportion."""
        return dict(zip(self._members, self._weights, strict=True))

    @property
    def total(self) -> int:
        """The sum of `weights`: the picks after which the sequence repeats while all members are up."""
        return sum(self._weights)

    @property
    def up(self) -> tuple[K, ...]:
        """The members that are up, in order."""
        return tuple(self._members[i] for i, _ in self._schedule.gains)

    def pick(self) -> K:
        """The member whose turn it is.

        Raises:
            LookupError: no member is up.
        """
        return self._members[self._change(Schedule.pick)]

    def pick_many(self, n: int, /) -> "NDArray[np.intp]":
        """The next `n` picks at once; picks of other threads may come before or after, not between.

        Args:
            n: picks, 0 to 10,000,000.

        Returns:
            (n,) intp, indices into `members`.

        Raises:
            ValueError: n is out of its range.
            LookupError: no member is up; nothing was picked.
        """
        import numpy as np

        count = checked_count(n)
        winners = self._change(lambda schedule: [schedule.pick() for _ in range(count)])
        return np.array(winners, np.intp)

    def mark_down(self, member: K, /) -> None:
        """Passes `member` over from now on; its credit waits. Does nothing if it is out already.

        Raises:
            LookupError: there is no such member.
        """
        self._mark(member, up=False)

    def mark_up(self, member: K, /) -> None:
        """Picks `member` again, from now on, with the credit it had. Does nothing if it is up already.

        Raises:
            LookupError: there is no such member.
        """
        self._mark(member, up=True)

    def credits(self) -> dict[K, Fraction]:
        """The picks that each member is owed, exactly; below 0: it is ahead of its share. They sum to 0."""
        now = self._schedule
        price = now.scale << FRACTION_BITS
        return {m: Fraction(c, price) for m, c in zip(self._members, now.credits, strict=True)}

    def state(self) -> State:
        """The credits, as integers that JSON can carry; which members are up is not part of it."""
        now = self._schedule
        return {"weights": list(self._weights), "scale": now.scale, "credits": list(now.credits)}

    def restore(self, state: State, /) -> None:
        """Sets the credits to those of `state`, as if all picks since then had not been made.

        Args:
            state: what `state()` of a balancer with the same weights returned. Members stay up or out
                as they are now.

        Raises:
            ValueError: it is the state of other weights, or none that picks lead to; nothing changed.
            TypeError: it is no state; nothing changed.
        """
        scale, owed = checked_state(state, self._weights)
        self._change(lambda schedule: schedule.restore(scale, owed))

    def _mark(self, member: K, *, up: bool) -> None:
        i = self._index.get(member)
        if i is None:
            raise unknown_member(member, self._members)
        gain = self._weights[i] << FRACTION_BITS if up else 0
        self._change(lambda schedule: schedule.mark(i, gain))

    def _change(self, change: Callable[[Schedule], T]) -> T:
        """Makes a change to a copy of the schedule, which then takes its place.

        The collector may run a destructor at any step, and that may use the balancer: it finds the
        schedule whole, and the change is made anew to what it has left.
        """
        with self._lock:
            while True:
                seen = self._schedule
                schedule = seen.copy()
                result = change(schedule)
                if self._schedule is seen:
                    self._schedule = schedule
                    return result
