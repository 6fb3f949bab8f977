"""What each eviction policy is: which entry leaves a cache to make room.

A policy keeps the entries of one cache in queues and says which goes next. It knows their weights and
the hashes of their keys, never a key or a value; it takes no lock, reads no clock and runs no code of
the user. The compiled cache has the same policies in csrc/; both make the same decisions.

What a cache tells its policy:

    found                           hit(entry)
    stored anew                     arrive(hash), victim(weight) while there is no room, add(entry)
    replaced                        hit(entry), and reweigh(entry, weight) if that has changed
    deleted, expired, or popped     remove(entry)

Every operation is O(1), some amortised: an entry that a choice passes over has been hit since it was
last passed over.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from math import copysign, sqrt
from typing import ClassVar

__all__ = ["FIFO", "LFU", "LRU", "POLICIES", "S3FIFO", "Node", "Policy", "Sieve", "TinyLFU"]

BITS_32 = (1 << 32) - 1


class Node:
    """What a policy sees of an entry."""

    __slots__ = ("hashed", "mark", "newer", "older", "queue", "weight")

    def __init__(self, hashed: int, weight: int = 1) -> None:
        self.hashed = hashed  # 32 bits
        self.weight = weight
        self.mark = 0  # what a policy notes about its use
        self.queue: Queue | None = None  # the one it stands in
        self.older: Node | None = None
        self.newer: Node | None = None


class Queue:
    """Nodes in a line from the oldest to the newest, and the sum of their weights."""

    __slots__ = ("newest", "oldest", "size", "weight")

    def __init__(self) -> None:
        self.oldest: Node | None = None
        self.newest: Node | None = None
        self.size = 0
        self.weight = 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Node]:
        node = self.oldest
        while node is not None:
            yield node
            node = node.newer

    def push(self, node: Node) -> None:
        """Puts the node, which stands in no queue, at the newest end."""
        node.queue = self
        node.older = self.newest
        if self.newest is None:
            self.oldest = node
        else:
            self.newest.newer = node
        self.newest = node
        self.size += 1
        self.weight += node.weight

    def remove(self, node: Node) -> None:
        """Takes the node out, wherever it stands."""
        if node.older is None:
            self.oldest = node.newer
        else:
            node.older.newer = node.newer
        if node.newer is None:
            self.newest = node.older
        else:
            node.newer.older = node.older
        node.queue = node.older = node.newer = None
        self.size -= 1
        self.weight -= node.weight

    def check(self) -> None:
        """Asserts that the links and the sums are right; O(size)."""
        nodes = list(self)
        assert nodes == [*reversed(list(self.backwards()))]
        assert all(node.queue is self for node in nodes)
        assert self.size == len(nodes)
        assert self.weight == sum(node.weight for node in nodes)

    def backwards(self) -> Iterator[Node]:
        """The nodes from the newest to the oldest."""
        node = self.newest
        while node is not None:
            yield node
            node = node.older


def move(node: Node, queue: Queue) -> None:
    """Takes the node out of its queue, to the newest end of another or of the same."""
    queue_of(node).remove(node)
    queue.push(node)


def queue_of(node: Node) -> Queue:
    """The queue that the node stands in."""
    assert node.queue is not None
    return node.queue


def oldest_of(queue: Queue) -> Node:
    """The oldest node of a queue that has one."""
    assert queue.oldest is not None
    return queue.oldest


class Policy(ABC):
    """Which entry leaves to make room. A subclass says what a hit does and who goes next.

    Args:
        capacity: the weight that the cache holds at most; entries, where each weighs one.
    """

    __slots__ = ("capacity",)

    name: ClassVar[str]

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.clear()

    @abstractmethod
    def clear(self) -> None:
        """Forgets every entry, and what was learnt from them."""

    @abstractmethod
    def queues(self) -> Iterator[Queue]:
        """The queues, that one first whose entries are worth least."""

    @abstractmethod
    def add(self, node: Node) -> None:
        """A new entry, for which room has been made."""

    @abstractmethod
    def hit(self, node: Node) -> None:
        """A lookup or a replacement has found the entry."""

    @abstractmethod
    def next(self) -> Node:
        """The entry that goes next, of at least one; it stays until it is removed."""

    def arrive(self, hashed: int) -> None:  # noqa: B027  (most policies know nothing of newcomers)
        """A newcomer, its key of that hash, is about to be added; comes before room is made for it."""

    def victim(self, weight: int) -> Node:
        """Takes out the entry that makes room for a newcomer of that weight, 0 if there is none."""
        node = self.next()
        self.remove(node)
        return node

    def remove(self, node: Node) -> None:
        """The entry is taken out on request, or has expired: that says nothing about its use."""
        queue_of(node).remove(node)

    def reweigh(self, node: Node, weight: int) -> None:
        """The entry weighs something else now."""
        queue_of(node).weight += weight - node.weight
        node.weight = weight

    def resize(self, capacity: int) -> None:
        """Another capacity from now on; the cache takes victims until it is kept."""
        self.capacity = capacity

    def __iter__(self) -> Iterator[Node]:
        for queue in self.queues():
            yield from queue

    def check(self) -> None:
        """Asserts the rules of the policy; O(size)."""
        for queue in self.queues():
            queue.check()


class FIFO(Policy):
    """First in, first out: the oldest entry goes, however much it is used."""

    __slots__ = ("queue",)

    name = "fifo"

    def clear(self) -> None:
        self.queue = Queue()

    def queues(self) -> Iterator[Queue]:
        yield self.queue

    def add(self, node: Node) -> None:
        self.queue.push(node)

    def hit(self, node: Node) -> None:
        pass

    def next(self) -> Node:
        return oldest_of(self.queue)


class LRU(FIFO):
    """Least recently used: a hit makes an entry the newest, and the oldest goes.

    Source: Mattson et al., Evaluation Techniques for Storage Hierarchies, IBM Systems Journal 9(2), 1970.
    """

    __slots__ = ()

    name = "lru"

    def hit(self, node: Node) -> None:
        move(node, self.queue)


class Sieve(FIFO):
    """SIEVE: a hit marks an entry; a hand goes from old to new and takes the first without a mark.

    The hand takes the marks away that it passes, and stays where it was for the next time. So what was
    used keeps its place, and what came in behind it is sifted soon.

    Source: Zhang et al., SIEVE is Simpler than LRU, NSDI 2024.
    """

    __slots__ = ("hand",)

    name = "sieve"

    def clear(self) -> None:
        super().clear()
        self.hand: Node | None = None  # None: at the oldest

    def add(self, node: Node) -> None:
        node.mark = 0
        self.queue.push(node)

    def hit(self, node: Node) -> None:
        node.mark = 1

    def next(self) -> Node:
        node = self.hand or oldest_of(self.queue)
        while node.mark:
            node.mark = 0
            node = node.newer or oldest_of(self.queue)
        self.hand = node
        return node

    def remove(self, node: Node) -> None:
        if node is self.hand:
            self.hand = node.newer
        super().remove(node)

    def check(self) -> None:
        super().check()
        assert self.hand is None or self.hand.queue is self.queue
        assert all(node.mark in (0, 1) for node in self)


class Frequency(Queue):
    """The entries that were used equally often, from the first that was to the last."""

    __slots__ = ("higher", "lower", "uses")

    def __init__(self, uses: int, lower: "Frequency | None" = None) -> None:
        super().__init__()
        self.uses = uses
        self.lower = lower
        self.higher: Frequency | None = None
        if lower is not None:
            self.higher, lower.higher = lower.higher, self
        if self.higher is not None:
            self.higher.lower = self

    def next(self) -> "Frequency":
        """That of one use more, which is made if there is none."""
        if self.higher is not None and self.higher.uses == self.uses + 1:
            return self.higher
        return Frequency(self.uses + 1, lower=self)

    def remove(self, node: Node) -> None:
        """Takes the node out, and with the last one leaves the row of frequencies."""
        super().remove(node)
        if self.size == 0 and self.lower is not None:
            self.lower.higher = self.higher
            if self.higher is not None:
                self.higher.lower = self.lower


class LFU(Policy):
    """Least frequently used: the entry with the fewest uses goes; of equals, the first that had as many.

    Storing an entry is its first use. Nothing ages: what was used much once stays long.

    Source: Shah, Mitra, Matani, An O(1) algorithm for implementing the LFU cache eviction scheme, 2010.
    """

    __slots__ = ("unused",)

    name = "lfu"

    def clear(self) -> None:
        self.unused = Frequency(0)  # always empty, the row of frequencies begins here

    def queues(self) -> Iterator[Queue]:
        frequency = self.unused.higher
        while frequency is not None:
            yield frequency
            frequency = frequency.higher

    def add(self, node: Node) -> None:
        self.unused.next().push(node)

    def hit(self, node: Node) -> None:
        frequency = node.queue
        assert isinstance(frequency, Frequency)
        more = frequency.next()
        frequency.remove(node)
        more.push(node)

    def next(self) -> Node:
        assert self.unused.higher is not None
        return oldest_of(self.unused.higher)

    def check(self) -> None:
        super().check()
        row = list(self.queues())
        assert all(row)
        uses = [frequency.uses for frequency in row if isinstance(frequency, Frequency)]
        assert uses == sorted(set(uses))
        assert not self.unused


class Ghosts:
    """The hashes of what was evicted last, up to a weight; one key may be taken for another of its hash.

    Args:
        capacity: the sum of weights that is remembered at most.
    """

    __slots__ = ("capacity", "weight", "weights")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.weights: OrderedDict[int, int] = OrderedDict()  # by hash, the oldest first
        self.weight = 0

    def add(self, hashed: int, weight: int, most: int) -> None:
        """An entry of that hash and weight was evicted; at most so many are remembered."""
        self.take(hashed)
        self.weights[hashed] = weight
        self.weight += weight
        self.forget(most)

    def take(self, hashed: int) -> bool:
        """Whether the hash is remembered; it is not from now on."""
        known = hashed in self.weights
        self.weight -= self.weights.pop(hashed, 0)
        return known

    def forget(self, most: int) -> None:
        """Forgets the oldest until the rest are `most`, and not above the capacity."""
        while len(self.weights) > most or self.weight > self.capacity:
            _, weight = self.weights.popitem(last=False)
            self.weight -= weight

    def check(self) -> None:
        """Asserts that the sum is right and in bounds; O(size)."""
        assert self.weight == sum(self.weights.values()) <= self.capacity


class S3FIFO(Policy):
    """S3-FIFO: three queues, first in, first out. Newcomers stand in a small one until they are used.

    A tenth of the capacity is for the small queue. Who is at its end with less than two hits goes, and
    its hash is remembered as a ghost: if its key comes back soon, that goes to the main queue at once.
    Who was hit twice goes there too. At the end of the main queue an entry starts over for each of up
    to three hits. Until the first eviction the main queue takes what the small one has no room for.

    Ghosts weigh nine tenths of the capacity at most, and are at most two for each entry.

    Source: Yang et al., FIFO Queues are All You Need for Cache Eviction, SOSP 2023; where that is
    silent, as their libCacheSim does, whose hits this equals.
    """

    __slots__ = ("evicted", "ghosts", "known", "main", "small")

    name = "s3fifo"

    MOST_HITS = 3
    ENOUGH_HITS = 2
    GHOSTS = 2  # an entry

    def clear(self) -> None:
        self.small = Queue()
        self.main = Queue()
        self.ghosts = Ghosts(self.capacity * 9 // 10)
        self.known = False  # the newcomer was evicted not long ago
        self.evicted = False  # something was

    @property
    def small_target(self) -> int:
        """The weight from which on the small queue is full."""
        return max(1, self.capacity // 10)

    @property
    def most_ghosts(self) -> int:
        """Ghosts that are remembered at most, however light they are."""
        return self.GHOSTS * (len(self.small) + len(self.main))

    def queues(self) -> Iterator[Queue]:
        yield self.small
        yield self.main

    def arrive(self, hashed: int) -> None:
        self.known = self.ghosts.take(hashed)

    def add(self, node: Node) -> None:
        node.mark = 0
        filling = not self.evicted and self.small.weight >= self.small_target
        queue = self.main if self.known or filling else self.small
        self.known = False
        queue.push(node)

    def hit(self, node: Node) -> None:
        node.mark = min(self.MOST_HITS, node.mark + 1)

    def next(self) -> Node:
        if self.main.weight <= self.capacity - self.small_target:
            while self.small:
                node = oldest_of(self.small)
                if node.mark < self.ENOUGH_HITS:
                    return node
                node.mark = 0
                move(node, self.main)
        while (node := oldest_of(self.main)).mark:
            node.mark -= 1
            move(node, self.main)
        return node

    def victim(self, weight: int) -> Node:
        node = self.next()
        self.evicted = True
        if node.queue is self.small:
            self.ghosts.add(node.hashed, node.weight, self.most_ghosts)
        self.remove(node)
        return node

    def resize(self, capacity: int) -> None:
        super().resize(capacity)
        self.ghosts.capacity = capacity * 9 // 10
        self.ghosts.forget(self.most_ghosts)

    def check(self) -> None:
        super().check()
        assert all(0 <= node.mark <= self.MOST_HITS for node in self)
        self.ghosts.check()


class Sketch:
    """How often each hash was seen of late: a count-min sketch of counters that end at 15.

    A hash has a counter in each of the four rows of one block. Other hashes count there too, so the
    least of the four is nearest to the truth. Halving all counters now and then lets the past fade.
    In C a block is the 64 bytes of one cache line, four bits a counter; there are 16 counters an entry.

    Source: Cormode, Muthukrishnan, An Improved Data Stream Summary, Journal of Algorithms 55(1), 2005.
    """

    __slots__ = ("additions", "counters")

    ROWS = 4
    ROW = 32  # counters of one block in one row
    BLOCK = ROWS * ROW
    MOST = 15
    HALVES = bytes(count // 2 for count in range(256))

    def __init__(self) -> None:
        self.counters = bytearray(self.BLOCK)
        self.additions = 0

    def places(self, hashed: int) -> list[int]:
        """Where the four counters of the hash are."""
        first = hashed % (len(self.counters) // self.BLOCK) * self.BLOCK
        bits = hashed * 0x31848BAB & BITS_32  # so that they do not depend on what chose the block alone
        bits ^= bits >> 14
        return [first + row * self.ROW + (bits >> 8 * row) % self.ROW for row in range(self.ROWS)]

    def add(self, hashed: int) -> None:
        """Sees the hash once more."""
        counters = self.counters
        more = [place for place in self.places(hashed) if counters[place] < self.MOST]
        for place in more:
            counters[place] += 1
        self.additions += bool(more)

    def frequency(self, hashed: int) -> int:
        """How often the hash was seen, at most."""
        return min(self.counters[place] for place in self.places(hashed))

    def halve(self) -> None:
        """Counts all that was seen half."""
        self.counters = self.counters.translate(self.HALVES)
        self.additions //= 2

    def reserve(self, entries: int) -> None:
        """Grows, where it must, to 16 counters an entry; what was counted is found in both halves."""
        while len(self.counters) < 16 * entries:
            self.counters = self.counters * 2

    def check(self) -> None:
        """Asserts that the counters are in range; O(size)."""
        assert max(self.counters) <= self.MOST
        assert len(self.counters).bit_count() == 1


class TinyLFU(Policy):
    """W-TinyLFU: newcomers pass a window, then must be more frequent than whom they would replace.

    The window is an LRU queue. Behind it stands a segmented one: `probation`, and `protected` for what
    was hit there, which gives its oldest back when it is above 85 % of the two. Whoever leaves
    the window while the cache is full is compared with the oldest on probation by a sketch of how
    often each hash was asked for of late, and the less frequent of them goes; of equals the newcomer.

    The window starts at a hundredth of the capacity. Frequency tells little where entries are used a
    few times at once and never again, so its size climbs: it is moved by a step each sample, on in
    the same direction as long as the hit ratio does not fall, back when it does. Steps get smaller, the
    faster where the ratio changed by no more than chance would make it, and start over when it has changed
    much. Entries follow lazily, `FLOW` of them an operation.

    Args:
        capacity: the weight that the cache holds at most; entries, where each weighs one.
        adaptive: whether the window climbs.

    Source: Einziger, Friedman, Manes, TinyLFU: A Highly Efficient Cache Admission Policy, ACM ToS 2017;
    Einziger, Eytan, Friedman, Manes, Adaptive Software Cache Management, Middleware 2018.
    """

    __slots__ = (
        "adaptive",
        "hits",
        "previous_ratio",
        "probation",
        "protected",
        "requests",
        "sketch",
        "step",
        "window",
        "window_target",
    )

    name = "tinylfu"

    SAMPLE = 10  # requests an entry, after which counters are halved and the window is moved
    FLOW = 2
    STEP = 1 / 32  # of the capacity
    DECAY = 0.98
    DECAY_OF_CHANCE = 0.8  # where the hit ratio changed by less than it would by chance
    MUCH = 0.05

    def __init__(self, capacity: int, *, adaptive: bool = True) -> None:
        self.adaptive = adaptive
        super().__init__(capacity)

    def clear(self) -> None:
        self.window = Queue()
        self.probation = Queue()
        self.protected = Queue()
        self.sketch = Sketch()
        self.start_climb()

    def start_climb(self) -> None:
        """The window is at its least; the first sample tells the hit ratio there."""
        self.window_target = self.least_window
        self.step = -self.STEP * self.capacity
        self.previous_ratio = 0.0
        self.hits = self.requests = 0

    @property
    def least_window(self) -> int:
        """The weight below which the window does not go."""
        return max(1, self.capacity // 100)

    @property
    def protected_target(self) -> int:
        """The weight above which the protected queue gives back."""
        return (self.capacity - self.window_target) * 85 // 100

    @property
    def sample(self) -> int:
        """Requests after which counters are halved and the window is moved."""
        return self.SAMPLE * max(8, self.size)

    @property
    def size(self) -> int:
        """Entries."""
        return len(self.window) + len(self.probation) + len(self.protected)

    def queues(self) -> Iterator[Queue]:
        yield self.probation
        yield self.protected
        yield self.window

    def arrive(self, hashed: int) -> None:
        self.count(hashed)

    def add(self, node: Node) -> None:
        self.window.push(node)
        self.flow(self.window, self.window_target)
        self.sketch.reserve(self.size)

    def hit(self, node: Node) -> None:
        self.hits += 1
        self.count(node.hashed)
        if node.queue is self.probation:
            move(node, self.protected)
            self.flow(self.protected, self.protected_target)
        else:
            move(node, queue_of(node))

    def next(self) -> Node:
        return self.loser(0)

    def victim(self, weight: int) -> Node:
        node = self.loser(weight)
        self.remove(node)
        return node

    def loser(self, weight: int) -> Node:
        """The entry that goes when one of that weight enters the window."""
        rival = self.probation.oldest or self.protected.oldest
        if rival is None:
            return oldest_of(self.window)
        candidate = self.window.oldest
        if candidate is None or self.window.weight + weight <= self.window_target:
            return rival
        move(candidate, self.probation)
        admitted = self.sketch.frequency(candidate.hashed) > self.sketch.frequency(rival.hashed)
        return rival if admitted else candidate

    def flow(self, queue: Queue, target: int) -> None:
        """The oldest of a queue that is above its target go on probation, a few at a time."""
        for _ in range(self.FLOW):
            if queue.weight > target:
                move(oldest_of(queue), self.probation)

    def count(self, hashed: int) -> None:
        """One request more, for that hash."""
        self.requests += 1
        self.sketch.add(hashed)
        if self.sketch.additions >= self.sample:
            self.sketch.halve()
        if self.adaptive and self.requests >= self.sample:
            self.climb()

    def climb(self) -> None:
        """Moves the window by a step: on, or back if the hit ratio has fallen."""
        ratio = self.hits / self.requests
        change = ratio - self.previous_ratio
        amount = self.step if change >= 0 else -self.step
        afresh = copysign(self.STEP * self.capacity, amount)
        chance = sqrt(2 * ratio * (1 - ratio) / self.requests)
        decay = self.DECAY_OF_CHANCE if abs(change) < chance else self.DECAY
        self.step = afresh if abs(change) >= self.MUCH else decay * amount
        self.previous_ratio = ratio
        self.hits = self.requests = 0
        most = self.capacity * 4 // 5
        self.window_target = max(self.least_window, min(most, self.window_target + int(amount)))

    def resize(self, capacity: int) -> None:
        super().resize(capacity)
        self.start_climb()

    def check(self) -> None:
        super().check()
        self.sketch.check()
        assert self.least_window <= self.window_target <= max(self.least_window, self.capacity * 4 // 5)
        assert 0 <= self.hits <= self.requests


POLICIES: dict[str, type[Policy]] = {
    policy.name: policy for policy in (LRU, FIFO, Sieve, S3FIFO, TinyLFU, LFU)
}
"""Each policy by the name that a cache knows it by."""
