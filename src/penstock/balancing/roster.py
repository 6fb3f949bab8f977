"""The roster of a balancer: who its members are, how they fare, and which of them may be picked now."""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from itertools import count
from threading import RLock
from typing import Any, Generic, TypeVar

from penstock.balancing._weighted_round_robin_py import shown, unknown_member
from penstock.balancing.member import Cursor, DuplicateMember, Group, Member, checked_weight
from penstock.balancing.outliers import OutlierDetection, require_share
from penstock.balancing.policies import Policy, SmoothWeighted
from penstock.balancing.slow_start import SlowStart
from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.errors import InvalidType, InvalidValue

__all__ = ["Roster"]

K = TypeVar("K", bound=Hashable)

MAX_MEMBERS = 10_000
NEVER = 1 << 63
OVERPROVISIONING = 1.4  # Envoy's: a zone carries its whole load while 1 / 1.4 of it, or 72 %, is healthy


class Roster(Generic[K]):
    """Members that join, leave, fail and recover: all of a Balancer but its picks, and described there."""

    def __init__(
        self,
        members: Mapping[K, float],
        /,
        *,
        policy: Policy[K] | None = None,
        slow_start: float | SlowStart | None = None,
        outliers: OutlierDetection | None = None,
        panic_threshold: float = 0.0,
        zone: object = None,
        zone_of: Callable[[K], object] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._policy = checked_policy(policy)
        self._slow_start = checked_slow_start(slow_start, self._policy)
        if outliers is not None and not isinstance(outliers, OutlierDetection):
            raise InvalidType(f"outliers must be an OutlierDetection or None, got {type(outliers).__name__}")
        require_share("panic_threshold", panic_threshold)
        if zone_of is not None and not callable(zone_of):
            raise InvalidType(f"zone_of must be callable or None, got {type(zone_of).__name__}")
        self._outliers = outliers
        self._panic_threshold = panic_threshold
        self._zone = zone
        self._zone_of = zone_of
        self._clock = checked_clock(clock)
        self._lock = RLock()  # held over numbers; a destructor that runs meanwhile may use the balancer
        self._orders = count()
        self._members: dict[K, Member[K]] = {}  # replaced when it changes, so that readers need no lock
        self._version = 0  # of who may be picked
        self._local: Group[K] = Group((), Cursor())  # of the preferred zone; without preference, everybody
        self._other: Group[K] = Group((), Cursor())
        self._local_share = 1.0
        self._wake = NEVER  # ns at which something changes by itself
        self._sweep_at = self._clock() + outliers.interval_ns if outliers else NEVER
        self._replace(checked_members(members), warm=True)
        self._policy.owned = True

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    @property
    def members(self) -> tuple[K, ...]:
        """All members, in the order in which they joined."""
        return tuple(self._members)

    @property
    def weights(self) -> dict[K, float]:
        """The weight of each member as it was set."""
        return {name: member.set_weight for name, member in self._members.items()}

    @property
    def up(self) -> tuple[K, ...]:
        """The members that are neither marked down, ejected nor draining."""
        self._catch_up()
        return tuple(name for name, member in self._members.items() if member.status == "up")

    def add(self, name: K, weight: float = 1.0, *, zone: object = None) -> None:
        """A member joins; with slow start it warms up.

        Args:
            name: what it is picked as.
            weight: > 0 and <= 1,000,000,000.
            zone: where it is; `zone_of` is asked if None.

        Raises:
            DuplicateMember: (ValueError) there is one of that name.
            ValueError: the weight is out of its range, or there are 10,000 members.
            TypeError: the weight is no number.
        """
        member = self._joining(name, weight, zone)
        while True:
            before = self._members
            if name in before:
                raise DuplicateMember(f"member must be new, got {shown(name)}")
            if self._swapped(before, checked_size({**before, name: member}), {}):
                return

    def remove(self, name: K) -> None:
        """A member leaves at once; leases of it may still be released.

        Raises:
            UnknownMember: (LookupError) there is no such member.
        """
        while True:
            before = self._members
            gone = self._member(name)
            if self._swapped(
                before, {key: member for key, member in before.items() if member is not gone}, {}
            ):
                return

    def set_weight(self, name: K, weight: float) -> None:
        """From the next pick on a member has another weight.

        Raises:
            UnknownMember: (LookupError) there is no such member.
            ValueError: the weight is out of its range, or the policy cannot serve it; nothing changes.
            TypeError: the weight is no number.
        """
        checked_weight(name, weight)
        while True:
            before = self._members
            if self._swapped(before, dict(before), {self._member(name): weight}):
                return

    def update(self, members: Mapping[K, float], /) -> None:
        """Makes `members` the members: others leave, new ones join, weights change; the rest goes on.

        Raises:
            ValueError: a weight is out of its range, or there are too many; nothing changes.
            TypeError: no mapping, or a weight is no number.
        """
        self._replace(checked_members(members), warm=False)

    def _replace(self, wanted: dict[K, float], warm: bool) -> None:
        while True:
            before = self._members
            after = {name: member for name, member in before.items() if name in wanted}
            weights = {member: wanted[name] for name, member in after.items()}
            for name, weight in wanted.items():
                if name not in after:
                    after[name] = self._joining(name, weight, None, warm)
            if self._swapped(before, after, weights):
                return

    def _joining(self, name: K, weight: float, zone: object, warm: bool = False) -> Member[K]:
        if zone is None and self._zone_of is not None:
            zone = self._zone_of(name)
        member = Member(name, checked_weight(name, weight), zone)
        member.is_local = self._zone is not None and bool(zone == self._zone)
        if self._slow_start is not None and not warm:
            member.warming_since = self._clock()
        return member

    def _swapped(
        self, before: dict[K, Member[K]], after: dict[K, Member[K]], weights: dict[Member[K], float]
    ) -> bool:
        """Makes `after` the members, with these weights; False if they are not `before` any more."""
        plan = self._policy.plan(
            {member: weights.get(member, member.set_weight) for member in after.values()}
        )
        now = self._clock()
        stay = set(after.values())
        with self._lock:
            if self._members is not before:
                return False
            self._members = after
            for member in before.values():
                if member not in stay:
                    member.draining = True
            for member in after.values():
                if member.order < 0:
                    member.order = next(self._orders)
            for member, weight in weights.items():
                member.set_weight = member.weight = weight
            self._policy.adopt(plan)
            self._regroup(now)
        return True

    def _member(self, name: K) -> Member[K]:
        members = self._members
        try:
            return members[name]
        except KeyError:
            raise unknown_member(name, tuple(members)) from None

    # Health

    def mark_down(self, name: K) -> None:
        """A member is picked no more until it is marked up. Does nothing if it is down already.

        Raises:
            UnknownMember: (LookupError) there is no such member.
        """
        self._mark(name, False)

    def mark_up(self, name: K) -> None:
        """A member that was marked down is back; with slow start it warms up. Ends no ejection.

        Raises:
            UnknownMember: (LookupError) there is no such member.
        """
        self._mark(name, True)

    def _mark(self, name: K, up: bool) -> None:
        member = self._member(name)
        now = self._clock()
        with self._lock:
            if member.up != up:
                member.up = up
                member.streak = 0
                if up:
                    self._warm_up(member, now)
                self._regroup(now)

    def drain(self, name: K) -> None:
        """A member is picked no more, not even in a panic, and finishes what it has.

        Raises:
            UnknownMember: (LookupError) there is no such member.
        """
        self._set_draining(name, True)

    def undrain(self, name: K) -> None:
        """A member that drains is picked again; with slow start it warms up.

        Raises:
            UnknownMember: (LookupError) there is no such member.
        """
        self._set_draining(name, False)

    def _set_draining(self, name: K, draining: bool) -> None:
        member = self._member(name)
        now = self._clock()
        waiters = []
        with self._lock:
            if member.draining != draining:
                member.draining = draining
                member.streak = 0
                if not draining:
                    self._warm_up(member, now)
                    waiters, member.waiters = member.waiters, []
                self._regroup(now)
        for waiter in waiters:
            wake(waiter, False)

    async def drained(self, name: K) -> None:
        """Waits until a draining member has no active lease.

        Raises:
            UnknownMember: (LookupError) there is no such member.
            ValueError: it does not drain, or its drain is taken back, so that it might be busy for ever.
        """
        member = self._member(name)
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        with self._lock:
            if not member.draining:
                waiter.set_result(False)
            elif not member.active:
                waiter.set_result(True)
            else:
                member.waiters.append(waiter)
        try:
            if not await waiter:
                raise InvalidValue(f"member must be draining, got {shown(name)}, which is {member.status}")
        finally:
            with self._lock:
                if waiter in member.waiters:
                    member.waiters.remove(waiter)

    def _warm_up(self, member: Member[K], now: int) -> None:
        if self._slow_start is not None:
            member.warming_since = now

    def _failed(self, member: Member[K], now: int) -> None:
        member.failures += 1
        member.bad += 1
        member.streak += 1
        limit = self._outliers.consecutive_failures if self._outliers else None
        if limit is not None and member.streak >= limit and member.status == "up":
            member.streak = 0  # also if it may not be ejected: so many more, and it is asked again
            self._eject(member, now)
            self._regroup(now)

    def _eject(self, member: Member[K], now: int) -> None:
        assert self._outliers is not None
        ejected = sum(other.ejected_until is not None for other in self._members.values())
        if self._outliers.may_eject(ejected, len(self._members)):
            member.sentence += 1
            member.ejections += 1
            member.ejected_until = now + self._outliers.ejection_ns(member.sentence)

    def _catch_up(self) -> None:
        now = self._clock()
        if now >= self._wake:
            self._wake_up(now)

    def _wake_up(self, now: int) -> None:
        """Does what is due: ejections end, intervals end, weights rise."""
        with self._lock:
            for member in self._members.values():
                if member.ejected_until is not None and now >= member.ejected_until:
                    member.returned_at, member.ejected_until = member.ejected_until, None
                    member.streak = 0
                    self._warm_up(member, now)
            if now >= self._sweep_at:
                self._sweep(now)
            self._regroup(now)

    def _sweep(self, now: int) -> None:
        """An interval of the outlier detection ends, or several in which nobody was picked."""
        assert self._outliers is not None
        interval = self._outliers.interval_ns
        begun = self._sweep_at - interval
        self._sweep_at = now - (now - begun) % interval + interval
        members = self._members.values()
        for member in members:
            if member.ejected_until is None:
                out = max(0, -((begun - member.returned_at) // interval))  # intervals until after its return
                healthy = (self._sweep_at - interval - begun) // interval - out
                member.sentence = max(member.sentence - max(healthy, 0), 0)
        for outlier in self._outliers.outliers(members):
            self._eject(outlier, now)
        for member in members:
            member.bad = member.good = 0

    def _regroup(self, now: int) -> None:
        """Settles who may be picked, and when that is to be looked at next. Called with the lock held."""
        wake = self._sweep_at
        able = []
        for member in self._members.values():
            if member.warming_since is not None:
                wake = min(wake, self._weigh(member, now))
            if member.ejected_until is not None:
                wake = min(wake, member.ejected_until)
            if not member.draining:
                able.append(member)
        healthy = [member for member in able if member.healthy]
        panic = len(healthy) < self._panic_threshold * len(able)
        if panic or self._zone is None:
            local, other, share = able if panic else healthy, [], 1.0
        else:
            local = [member for member in healthy if member.is_local]
            other = [member for member in healthy if not member.is_local]
            share = local_share(local, other, able)
        self._local = Group(local, self._local.cursor)
        self._other = Group(other, self._other.cursor)
        self._local_share = share
        self._wake = wake
        self._version += 1

    def _weigh(self, member: Member[K], now: int) -> int:
        """Sets what a member counts that is warming up; returns when to look again."""
        assert self._slow_start is not None
        assert member.warming_since is not None
        factor = self._slow_start.factor((now - member.warming_since) / NANOSECONDS)
        if factor < 1.0:
            member.weight = member.set_weight * factor
            return now + self._slow_start.step_ns
        member.weight, member.warming_since = member.set_weight, None
        return NEVER


def checked_policy(policy: Policy[K] | None) -> Policy[K]:
    """The policy, or the usual one.

    Raises:
        TypeError: it is none.
        ValueError: another balancer has it.
    """
    if policy is None:
        return SmoothWeighted()
    if not isinstance(policy, Policy):
        raise InvalidType(f"policy must be a Policy, got {shown(policy)}")
    if policy.owned:
        raise InvalidValue(f"policy must be of this balancer alone, got a {type(policy).__name__} of another")
    return policy


def checked_slow_start(slow_start: float | SlowStart | None, policy: Policy[Any]) -> SlowStart | None:
    """How members warm up.

    Raises:
        ValueError: out of range, or weights do not matter to the policy.
        TypeError: it is no number of seconds.
    """
    if slow_start is None:
        return None
    if not policy.takes_weights:
        raise InvalidValue(
            f"slow_start must be None with {type(policy).__name__}, whose picks follow no changing weights, "
            f"got {shown(slow_start)}"
        )
    return slow_start if isinstance(slow_start, SlowStart) else SlowStart(slow_start)


def checked_members(members: object) -> dict[Any, float]:
    """Names and weights.

    Raises:
        ValueError: a weight is out of its range, or there are too many.
        TypeError: no mapping, or a weight is no number.
    """
    if not isinstance(members, Mapping):
        raise InvalidType(f"members must be a mapping of name to weight, got {type(members).__name__}")
    checked_size(members)
    return {name: checked_weight(name, weight) for name, weight in members.items()}


def wake(waiter: "asyncio.Future[bool]", outcome: bool) -> None:
    """Ends a wait, from any thread."""
    with suppress(RuntimeError):  # its loop is closed: nobody waits any more
        waiter.get_loop().call_soon_threadsafe(end, waiter, outcome)


def end(waiter: "asyncio.Future[bool]", outcome: bool) -> None:
    """Ends a wait that was not given up meanwhile."""
    if not waiter.done():
        waiter.set_result(outcome)


M = TypeVar("M", bound=Mapping[Any, Any])


def checked_size(members: M) -> M:
    """The members, if they are not too many.

    Raises:
        ValueError: they are.
    """
    if len(members) > MAX_MEMBERS:
        raise InvalidValue(f"members must be at most {MAX_MEMBERS}, got {len(members)}")
    return members


def local_share(local: list[Member[K]], other: list[Member[K]], able: list[Member[K]]) -> float:
    """The share of the picks that the preferred zone gets: all of them while enough of it is healthy."""
    if not local or not other:
        return 1.0 if local else 0.0
    all_local = sum(member.set_weight for member in able if member.is_local)
    return min(1.0, OVERPROVISIONING * sum(member.set_weight for member in local) / all_local)
