"""The balancer: picks among the members that may be picked, and learns from how the picks end."""

from collections.abc import Callable, Collection, Hashable, Mapping
from operator import index
from typing import Any, Generic, Literal, SupportsIndex, TypeVar
from zlib import crc32

from penstock.balancing._weighted_round_robin_py import NoMemberUp, checked_count, shown
from penstock.balancing.member import Group, Member, MemberStats
from penstock.balancing.outliers import OutlierDetection
from penstock.balancing.policies import Policy
from penstock.balancing.roster import Roster, wake
from penstock.balancing.slow_start import SlowStart
from penstock.clock import Clock
from penstock.errors import InvalidType

__all__ = ["Balancer", "Lease"]

K = TypeVar("K", bound=Hashable)

CANCELLED = object()  # an outcome that is none
BATCH = 1_000  # picks under one lock


class Lease(Generic[K]):
    """One pick, active until it is released; a `with` block releases it at its end.

    An exception that leaves the block counts as a failure of the member, unless it is none of `Exception`,
    as CancelledError is not: then nothing is said of the member. Threads may release it; only the first
    release counts. One that is dropped unreleased stays active for ever.

    Attributes:
        member: the name that was picked.
    """

    __slots__ = ("_balancer", "_held", "_since", "member")

    member: K

    def __init__(self, balancer: "Balancer[K]", held: Member[K], since: int) -> None:
        self._balancer = balancer
        self._held: Member[K] | None = held
        self._since = since
        self.member = held.name

    def __repr__(self) -> str:
        return f"<Lease of {shown(self.member)}, {'released' if self._held is None else 'active'}>"

    def __enter__(self) -> "Lease[K]":
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> Literal[False]:
        if error is None or isinstance(error, Exception):
            self.release(error)
        else:
            self.cancel()
        return False

    def release(self, error: object = None) -> bool:
        """The work is done; with an `error`, any object but None, the member has failed at it.

        The time since the pick is a latency of the member. That of a failure counts only if it is a new
        peak: who fails fast is not fast.

        Returns:
            False if the lease was released already; nothing happens then.
        """
        balancer = self._balancer
        now = balancer._clock()
        waiters = None
        balancer._acquire()
        try:
            member = self._held
            if member is None:
                return False
            self._held = None
            member.active -= 1
            latency = now - self._since
            if error is None:
                member.observe(latency, now, balancer._decay)
                member.good += 1
                member.streak = 0
                member.fault = 0.0
            elif error is not CANCELLED:
                member.blame(latency, now, balancer._decay)
                balancer._failed(member, now)
            if member.waiters and not member.active:
                waiters, member.waiters = member.waiters, []
        finally:
            balancer._unlock()
        for waiter in waiters or ():
            wake(waiter, True)
        return True

    def cancel(self) -> bool:
        """The work was given up, and says nothing of the member, neither success nor latency.

        Returns:
            False if the lease was released already; nothing happens then.
        """
        return self.release(CANCELLED)


class Balancer(Roster[K]):
    """Spreads work over members: `pick()` says whose the next piece is, the lease's `release()` how it went.

    ::

        balancer = Balancer({"a": 1, "b": 2}, policy=LeastConnections())
        with balancer.pick() as lease:
            send(work, to=lease.member)

    Who may be picked: members that are not draining; of those the ones that are neither marked down nor
    ejected, or all of them in a panic; of those the local zone's as far as it can carry the load. The policy
    chooses among who is left.

    Members join and leave, and their weights change, at any time; leases that are out are not touched.
    Threads may share a balancer. No lock is held while foreign code runs: clocks, keys, rings, policies.
    A change of members costs O(members), a pick what its policy says.

    Args:
        members: names, each with its weight > 0 and <= 1,000,000,000; at most 10,000, and there may be none.
        policy: who is chosen; SmoothWeighted if None. A policy serves one balancer.
        slow_start: seconds, or a SlowStart, in which a member that joins or comes back gets its full weight;
            None for at once. Those in `members` are warm.
        outliers: when members are ejected for failing; None for never.
        panic_threshold: where less than this share of the members, 0 to 1, is healthy, health is ignored,
            because the few would drown; Envoy's default is 0.5. 0 means never.
        zone: where the work comes from. Members there are preferred while 72 % of their weight is healthy;
            below that they get 1.4 times the healthy share, and the other zones the rest. None for no
            preference, and so is a panic.
        zone_of: name -> zone of a member; called once, when it joins.
        clock: int nanoseconds; None for the monotonic clock of the system.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument has the wrong type.

    Source: Envoy, load balancing (slow start, outlier detection, panic threshold, priority levels).
    """

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
        super().__init__(
            members,
            policy=policy,
            slow_start=slow_start,
            outliers=outliers,
            panic_threshold=panic_threshold,
            zone=zone,
            zone_of=zone_of,
            clock=clock,
        )
        self._narrows = self._policy.narrows
        self._choose = self._policy.choose
        self._decay = self._policy.decay
        self._acquire, self._unlock = self._lock.acquire, self._lock.release  # half the time of a `with`
        self._due = 0.5  # picks that the local zone is owed; from a half on, so that it rounds to the nearest

    def __repr__(self) -> str:
        return f"<Balancer of {len(self._members)} members, {type(self._policy).__name__}>"

    @property
    def policy(self) -> Policy[K]:
        """The policy, for those that know more than how to choose."""
        return self._policy

    # Picks

    def pick(self, key: Any = None, *, avoid: Collection[K] = ()) -> Lease[K]:
        """A lease of the member that the next piece of work goes to.

        Args:
            key: what Affinity picks by; other policies do not look at it.
            avoid: names that are passed over this time, such as of members that have just failed.

        Raises:
            NoMemberUp: (LookupError) there is none to pick.
            ValueError: the policy needs a key, and there is none.
        """
        now = self._clock()
        if now >= self._wake:
            self._wake_up(now)
        if self._narrows or avoid:
            return Lease(self, self._pick_narrowed(key, avoid, now, 1), now)
        self._acquire()
        try:
            group = self._local if self._local_share == 1.0 else self._side(None)
            if not group:
                raise self._no_member()
            member = self._choose(group, now)
            member.active += 1
            member.picks += 1
        finally:
            self._unlock()
        return Lease(self, member, now)

    def pick_many(self, n: int, /, *, key: Any = None, avoid: Collection[K] = ()) -> list[K]:
        """The members that the next `n` pieces of work go to, without leases: nobody tells how they end.

        They count as picks, but are never active. Several threads' picks may come between.

        Args:
            n: picks, 0 to 10,000,000.
            key: see pick.
            avoid: see pick.

        Raises:
            NoMemberUp: (LookupError) there is none to pick.
            ValueError: n is out of its range, or the policy needs a key.
            TypeError: n is no integer.
        """
        names: list[K] = []
        left = checked_count(n)
        while left:
            now = self._clock()
            if now >= self._wake:
                self._wake_up(now)
            if self._narrows or avoid:
                names.append(self._pick_narrowed(key, avoid, now, 0).name)
                left -= 1
            else:
                batch = min(left, BATCH)
                names += self._picked_at_once(batch, now)
                left -= batch
        return names

    def _picked_at_once(self, n: int, now: int) -> list[K]:
        names = []
        with self._lock:
            for _ in range(n):
                group = self._side(None)
                if not group:
                    raise self._no_member()
                member = self._choose(group, now)
                member.picks += 1
                names.append(member.name)
        return names

    def _pick_narrowed(self, key: Any, avoid: Collection[K], now: int, active: int) -> Member[K]:
        """A pick in which foreign code takes part: it runs without the lock, again if members change."""
        if isinstance(avoid, (str, bytes)) or not isinstance(avoid, Collection):  # "ab" has "a" in it
            raise InvalidType(f"avoid must be a collection of names, got {type(avoid).__name__}")
        at = fraction_of(key) if self._policy.keyed and self._local_share != 1.0 else None
        while True:
            version = self._version
            group = self._candidates(at, avoid)
            narrowed = self._policy.narrow(group, key, now) if group else ()
            with self._lock:
                if version != self._version:
                    continue
                if not narrowed:
                    raise self._no_member()
                member = self._choose(narrowed, now)
                member.active += active
                member.picks += 1
                return member

    def _candidates(self, at: float | None, avoid: Collection[K]) -> Group[K]:
        group = self._side(at)
        if not avoid:
            return group
        left = group.without(avoid)
        return left or (self._local if group is self._other else self._other).without(avoid)

    def _side(self, at: float | None) -> Group[K]:
        """The group of the next pick: the local zone's as often as its share says.

        `at` is where a key lies between 0 and 1, so that it stays on its side while the share does.
        """
        if self._local_share == 1.0:
            return self._local
        if at is not None:
            return self._local if at < self._local_share else self._other
        with self._lock:
            self._due += self._local_share
            if self._due < 1.0:
                return self._other
            self._due -= 1.0
            return self._local

    def _no_member(self) -> NoMemberUp:
        return NoMemberUp(f"a pick needs at least 1 member that may be picked, got 0 of {len(self._members)}")

    # Figures

    def stats(self) -> dict[K, MemberStats]:
        """What is known of each member, all as of one moment."""
        self._catch_up()
        with self._lock:
            figures = [(member.name, member.stats()) for member in self._members.values()]
        return dict(figures)


def fraction_of(key: object) -> float:
    """Where a key lies between 0 and 1; the same in every process for str, bytes and int."""
    if isinstance(key, str):
        data = key.encode("utf-8", "surrogatepass")
    elif isinstance(key, SupportsIndex):  # numpy's write themselves in another way
        data = b"%x" % index(key)
    else:
        data = bytes(key) if isinstance(key, (bytes, bytearray)) else repr(key).encode()
    return crc32(data) / (1 << 32)
