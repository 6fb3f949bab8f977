"""The entries of a cache in pure Python, and the policy that orders them.

Policies change several things at once, and whatever Python does meanwhile may run other code: a destructor
that the garbage collector calls, a signal handler, another thread. All of these may use the cache. So the
policy is told of what happened in steps that wait in line. Whoever adds one carries out all that wait,
unless somebody is at it already, who then will; nobody waits for a turn, so nobody can wait for ever.
Caffeine's write buffer works the same way.

An entry is in the cache for as long as it has content. Whoever swaps the content out has removed it.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

from penstock.cache._policies import Node, Policy
from penstock.cache._reports import RemovalCause

__all__ = ["Content", "Entry", "Ledger", "Removal"]

K = TypeVar("K")
V = TypeVar("V")

SWEPT_A_STORE = 2  # slots looked at for having expired whenever an entry is added


class Content(Generic[V]):
    """A value with its deadline, and the last moment to which uses can put that off; nanoseconds."""

    __slots__ = ("at_most", "deadline", "value")

    def __init__(self, value: V, deadline: int, at_most: int) -> None:
        self.value = value
        self.deadline = deadline
        self.at_most = at_most


class Entry(Node, Generic[K, V]):
    """A key with its content, or with None once it is removed. Equal only to itself."""

    __slots__ = ("content", "full_hash", "key", "slot")

    def __init__(self, key: K, full_hash: int, hashed: int, weight: int, content: Content[V]) -> None:
        super().__init__(hashed, weight)
        self.key = key
        self.full_hash = full_hash
        self.content: Content[V] | None = content
        self.slot = -1  # its number among the slots, once the policy knows it


class Removal(NamedTuple, Generic[K, V]):
    """An entry that has left, to be reported."""

    entry: Entry[K, V]
    content: Content[V]
    cause: RemovalCause


class Ledger(Generic[K, V]):
    """Who is in a cache, in the order of its policy, and who has left it and was not yet reported.

    Slots number the entries, as in the compiled twin, so that the sweep meets them in the same order.

    Args:
        policy: empty.
        maxsize: entries at most.
        max_weight: what they weigh together at most; 0 where that does not matter.
        take: takes an entry out of the cache; its content, None if somebody else has taken it.
    """

    __slots__ = (
        "_counting", "_free", "_max_weight", "_maxsize", "_policy", "_removed", "_slots", "_steps", "_swept",
        "_take", "_turn", "evictions", "expirations", "size", "weight",
    )  # fmt: skip

    def __init__(
        self,
        policy: Policy,
        maxsize: int,
        max_weight: int,
        take: Callable[[Entry[K, V]], Content[V] | None],
    ) -> None:
        self._policy = policy
        self._maxsize = maxsize
        self._max_weight = max_weight
        self._take = take
        self._steps: deque[Callable[[], None]] = deque()
        self._turn = Lock()  # never waited for
        self._removed: deque[Removal[K, V]] = deque()
        self._slots: list[Entry[K, V] | None] = []
        self._free: list[int] = []
        self._swept = 0
        self._counting = Lock()  # held over a few steps that call nothing, so nothing can run within
        self.evictions = 0
        self.expirations = 0
        self.size = 0
        self.weight = 0

    @property
    def maxsize(self) -> int:
        """Entries at most."""
        return self._maxsize

    @property
    def max_weight(self) -> int:
        """What all entries weigh together at most; 0 where that does not matter."""
        return self._max_weight

    def carry_out(self, step: Callable[[], None]) -> None:
        """Carries out a step after those that wait, or leaves it to whoever is at them."""
        self._steps.append(step)
        while self._steps and self._turn.acquire(blocking=False):
            try:
                while self._steps:
                    self._steps.popleft()()
            finally:
                self._turn.release()

    def next_removal(self) -> Removal[K, V] | None:
        """The first that has left and was not yet reported; its slot is free from now on."""
        try:
            removal = self._removed.popleft()
        except IndexError:
            return None
        self.carry_out(partial(self._free_slot, removal.entry))
        return removal

    def put_aside(self, entry: Entry[K, V], content: Content[V], cause: RemovalCause) -> None:
        """Lets a content that was taken wait to be reported."""
        self.count(cause)
        self._removed.append(Removal(entry, content, cause))

    def count(self, cause: RemovalCause) -> None:
        """Counts a content that has left."""
        if cause is RemovalCause.SIZE:
            with self._counting:
                self.evictions += 1
        elif cause is RemovalCause.EXPIRED:
            with self._counting:
                self.expirations += 1

    def check(self) -> None:
        """Asserts that the entries, the queues and the slots agree; O(size)."""
        entries = self.in_order()
        numbered = [entry for entry in self._slots if entry is not None]
        assert not self._steps
        assert self.size == len(entries) <= self._maxsize
        assert self.weight == sum(entry.weight for entry in entries)
        assert not self._max_weight or self.weight <= self._max_weight
        assert all(entry.content is not None and self._slots[entry.slot] is entry for entry in entries)
        assert len(numbered) == len(entries) + sum(removal.entry.slot >= 0 for removal in self._removed)
        assert sorted(self._free) == [slot for slot, entry in enumerate(self._slots) if entry is None]
        self._policy.check()

    # ---- steps: they run one at a time, and run no code of the user ----

    def add(self, entry: Entry[K, V], now: int | None) -> None:
        """A new entry: whoever has no room beside it goes. `now` is None while nothing can expire."""
        if entry.content is None:  # it was removed before its turn came
            return
        if now is not None:
            self._sweep(now)
        self._policy.arrive(entry.hashed)
        self._make_room(1, entry.weight, now)
        if self._free:
            entry.slot = self._free.pop()
            self._slots[entry.slot] = entry
        else:
            entry.slot = len(self._slots)
            self._slots.append(entry)
        self.size += 1
        self.weight += entry.weight
        self._policy.add(entry)
        self._make_room(0, 0, now)  # for itself, if another thread has lowered max_weight meanwhile

    def hit(self, entry: Entry[K, V]) -> None:
        """An entry was found, or has got a new value."""
        if entry.queue is not None:
            self._policy.hit(entry)

    def reweigh(self, entry: Entry[K, V], weight: int, now: int | None) -> None:
        """An entry weighs something else now."""
        if entry.queue is not None:
            self.weight += weight - entry.weight
            self._policy.reweigh(entry, weight)
            self._make_room(0, 0, now)

    def remove(self, entry: Entry[K, V]) -> None:
        """An entry was taken."""
        if entry.queue is not None:
            self._policy.remove(entry)
            self._leave(entry)

    def resize(self, maxsize: int, max_weight: int, now: int | None) -> None:
        """Other bounds from now on."""
        self._maxsize, self._max_weight = maxsize, max_weight
        self._policy.resize(max_weight or maxsize)
        self._make_room(0, 0, now)

    def clear(self) -> None:
        """All entries go, in order, and all that the policy has learnt."""
        for entry in self.in_order():
            self._policy.remove(entry)
            self._expel(entry, RemovalCause.CLEARED)
        self._policy.clear()

    def expire(self, now: int) -> int:
        """All that has expired goes, in the order of the slots; how many those were."""
        return sum(self._expire_slot(slot, now) for slot in range(len(self._slots)))

    def choose(self) -> Entry[K, V] | None:
        """The entry that goes next, None if there is none."""
        return self._policy.next() if self.size else None  # type: ignore[return-value]

    def in_order(self) -> list[Entry[K, V]]:
        """All entries, in the order of the policy's queues."""
        return list(self._policy)  # type: ignore[arg-type]

    def pack(self) -> None:
        """Numbers the entries anew, if there are fewer than there were."""
        count = len(self._slots) - len(self._free) + 1
        if len(self._slots) <= count or self._removed:
            return
        to = 0
        for moved in self._slots[count:]:
            if moved is not None:
                while self._slots[to] is not None:
                    to += 1
                self._slots[to] = moved
                moved.slot = to
        del self._slots[count:]
        self._free = [slot for slot in reversed(range(count)) if self._slots[slot] is None]

    # ---- what steps come down to ----

    def _make_room(self, entries: int, weight: int, now: int | None) -> None:
        while self.size > 0 and (
            self.size > self._maxsize - entries
            or (self._max_weight and self.weight > self._max_weight - weight)
        ):
            entry: Entry[K, V] = self._policy.victim(weight if self._max_weight else entries)  # type: ignore[assignment]
            content = entry.content
            expired = now is not None and content is not None and now >= content.deadline
            self._expel(entry, RemovalCause.EXPIRED if expired else RemovalCause.SIZE)

    def _sweep(self, now: int) -> None:
        for _ in range(SWEPT_A_STORE if self._slots else 0):
            if self._swept >= len(self._slots):
                self._swept = 0
            self._expire_slot(self._swept, now)
            self._swept += 1

    def _expire_slot(self, slot: int, now: int) -> bool:
        entry = self._slots[slot]
        content = entry and entry.content
        if not (entry and content) or now < content.deadline:
            return False
        self._policy.remove(entry)
        self._expel(entry, RemovalCause.EXPIRED)
        return True

    def _expel(self, entry: Entry[K, V], cause: RemovalCause) -> None:
        """Takes an entry out that the policy has let go."""
        self._leave(entry)
        content = self._take(entry)
        if content is not None:  # else somebody has taken it, who reports it
            self.put_aside(entry, content, cause)

    def _free_slot(self, entry: Entry[K, V]) -> None:
        if entry.slot >= 0:
            self._slots[entry.slot] = None
            self._free.append(entry.slot)

    def _leave(self, entry: Entry[K, V]) -> None:
        self.size -= 1
        self.weight -= entry.weight
