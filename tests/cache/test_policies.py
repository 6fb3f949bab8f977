"""What each eviction policy promises, and that it does as a plain model of lists does, step by step."""

from collections import Counter
from math import copysign, sqrt

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock.cache._policies import FIFO, LFU, LRU, POLICIES, S3FIFO, Node, Sieve, Sketch, TinyLFU

EVERY_POLICY = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)


def hash_of(key):
    """32 well mixed bits, of which every sixteenth key shares its own with the one before."""
    key -= key % 16 == 15
    return key * 0x9E3779B1 % 2**32


class Entry(Node):
    """A node that knows its key."""

    __slots__ = ("key",)

    def __init__(self, key, weight=1):
        super().__init__(hash_of(key), weight)
        self.key = key

    def __repr__(self):
        return f"Entry({self.key})"


class Driven:
    """Drives a policy as a cache does, and notes the keys that were evicted."""

    def __init__(self, policy, keys=()):
        self.policy = policy
        self.entries = {}
        self.evicted = []
        for key in keys:
            self.use(key)

    @property
    def weight(self):
        return sum(entry.weight for entry in self.entries.values())

    @property
    def keys(self):
        return [entry.key for entry in self.policy]

    def use(self, key, weight=1):
        """Looks the key up, and stores it if it is not there; whether it was."""
        entry = self.entries.get(key)
        if entry is not None:
            self.policy.hit(entry)
            return True
        self.policy.arrive(hash_of(key))
        self.make_room(weight)
        self.entries[key] = Entry(key, weight)
        self.policy.add(self.entries[key])
        return False

    def reweigh(self, key, weight):
        self.policy.hit(self.entries[key])
        self.policy.reweigh(self.entries[key], weight)
        self.make_room(0)

    def make_room(self, weight):
        while self.entries and self.weight + weight > self.policy.capacity:
            key = self.policy.victim(weight).key
            self.evicted.append(key)
            del self.entries[key]

    def delete(self, key):
        self.policy.remove(self.entries.pop(key))

    def popitem(self):
        key = self.policy.next().key
        self.delete(key)
        return key

    def resize(self, capacity):
        self.policy.resize(capacity)
        self.make_room(0)

    def clear(self):
        self.policy.clear()
        self.entries.clear()


def held_after(policy, keys):
    return Driven(policy, keys).keys


# ---- what holds for every policy ----


@EVERY_POLICY
def test_everything_stays_while_there_is_room(policy):
    cache = Driven(policy(100), range(100))
    assert sorted(cache.keys) == list(range(100))
    assert not cache.evicted


@EVERY_POLICY
@pytest.mark.parametrize("capacity", [1, 2, 3, 10, 99, 100, 101])
def test_one_entry_leaves_for_each_that_comes_to_a_full_cache(policy, capacity):
    cache = Driven(policy(capacity), range(3 * capacity))
    assert len(cache.keys) == capacity
    assert len(cache.evicted) == 2 * capacity
    assert sorted(cache.keys + cache.evicted) == list(range(3 * capacity))


@EVERY_POLICY
def test_popping_takes_every_entry_once(policy):
    cache = Driven(policy(50), [key * key % 101 for key in range(500)])
    held = sorted(cache.keys)
    assert sorted(cache.popitem() for _ in held) == held
    assert not cache.keys


@EVERY_POLICY
def test_what_is_popped_is_what_would_have_been_evicted(policy):
    keys = [key * key % 101 for key in range(500)]
    popped, evicting = Driven(policy(50), keys), Driven(policy(50), keys)
    evicting.resize(40)
    popped.policy.resize(40)
    assert [popped.popitem() for _ in range(10)] == evicting.evicted[-10:]


@EVERY_POLICY
def test_smaller_capacity_is_kept_at_once_and_larger_one_used(policy):
    cache = Driven(policy(50), range(50))
    cache.resize(5)
    assert len(cache.keys) == 5
    cache.resize(60)
    for key in range(100, 155):
        cache.use(key)
    assert len(cache.keys) == 60
    cache.policy.check()


@EVERY_POLICY
def test_cleared_policy_decides_as_a_new_one(policy):
    keys = [key * key % 101 for key in range(500)]
    cleared, fresh = Driven(policy(20), reversed(keys)), Driven(policy(20))
    cleared.clear()
    cleared.evicted.clear()
    for key in keys:
        cleared.use(key)
        fresh.use(key)
    assert cleared.evicted == fresh.evicted
    assert cleared.keys == fresh.keys


@EVERY_POLICY
def test_heavy_newcomer_drives_out_as_many_as_it_takes(policy):
    cache = Driven(policy(10), range(10))
    cache.use(100, weight=7)
    assert len(cache.evicted) == 7
    assert cache.weight == 10


@EVERY_POLICY
def test_entry_that_became_heavier_makes_others_leave(policy):
    cache = Driven(policy(10), range(10))
    cache.reweigh(9, 4)
    assert cache.weight <= 10
    cache.policy.check()


@EVERY_POLICY
def test_entries_without_weight_need_no_room(policy):
    cache = Driven(policy(2), [1, 2])
    for key in range(3, 100):
        cache.use(key, weight=0)
    assert len(cache.keys) == 99
    cache.policy.check()


# ---- FIFO, LRU ----


def test_fifo_takes_the_oldest_however_much_it_is_used():
    assert held_after(FIFO(3), [1, 2, 3, 1, 1, 4]) == [2, 3, 4]


def test_lru_takes_the_least_recently_used():
    assert held_after(LRU(3), [1, 2, 3, 1, 4]) == [3, 1, 4]


# ---- SIEVE ----


def test_sieve_takes_the_oldest_that_was_not_used_and_leaves_the_rest_in_place():
    cache = Driven(Sieve(4), [1, 2, 3, 4, 1, 3, 5])
    assert cache.evicted == [2]
    assert cache.keys == [1, 3, 4, 5]


def test_sieves_hand_goes_on_from_where_it_stopped():
    cache = Driven(Sieve(4), [1, 2, 3, 4, 1, 3, 5, 6, 7])
    assert cache.evicted == [2, 4, 5]  # 1 lost its mark first, but the hand has passed it


def test_sieves_hand_turns_around_behind_the_newest():
    cache = Driven(Sieve(3), [1, 2, 3, 1, 2, 3, 4])
    assert cache.evicted == [1]


def test_deleting_the_entry_at_sieves_hand_moves_the_hand_on():
    cache = Driven(Sieve(4), [1, 2, 3, 4, 1, 5])
    assert cache.policy.hand.key == 3
    cache.delete(3)
    assert cache.policy.hand.key == 4
    cache.use(6)
    cache.use(7)
    assert cache.evicted == [2, 4]


def test_hand_at_a_newest_that_is_deleted_starts_over_at_the_oldest():
    cache = Driven(Sieve(3), [1, 2, 3, 1, 2, 4])
    assert cache.evicted == [3]
    cache.delete(4)
    cache.use(5)
    cache.use(6)
    assert cache.evicted == [3, 1]


# ---- LFU ----


def test_lfu_takes_the_least_frequently_used():
    assert held_after(LFU(3), [1, 1, 1, 2, 2, 3, 3, 3, 4]) == [4, 1, 3]


def test_lfu_takes_of_equals_the_first_that_was_used_as_often():
    cache = Driven(LFU(3), [1, 2, 3, 3, 2, 1, 4, 5])
    assert cache.evicted == [3, 4]


def test_lfu_never_forgets_a_use():
    cache = Driven(LFU(2), [1] * 100 + list(range(2, 100)))
    assert cache.keys == [99, 1]


# ---- S3-FIFO ----


def s3fifo_queues(cache):
    return [entry.key for entry in cache.policy.small], [entry.key for entry in cache.policy.main]


def test_s3fifo_fills_the_small_queue_then_the_main_one():
    assert s3fifo_queues(Driven(S3FIFO(20), range(20))) == ([0, 1], list(range(2, 20)))


def test_s3fifo_takes_newcomers_that_are_not_used_from_the_small_queue():
    cache = Driven(S3FIFO(20), range(30))
    assert cache.evicted == [*range(2), *range(20, 28)]
    assert s3fifo_queues(cache) == ([28, 29], list(range(2, 20)))


def test_s3fifo_moves_what_was_hit_twice_to_the_main_queue():
    cache = Driven(S3FIFO(20), [*range(20), 0, 0, 1, 20])
    assert cache.evicted == [1]  # one hit is not enough
    assert s3fifo_queues(cache) == ([20], [*range(2, 20), 0])


def test_s3fifo_lets_what_comes_back_soon_into_the_main_queue():
    cache = Driven(S3FIFO(20), [*range(20), 20, 0])
    assert cache.evicted == [0, 1]
    assert s3fifo_queues(cache) == ([20], [*range(2, 20), 0])


def test_s3fifo_forgets_whom_it_evicted_long_ago():
    soon = Driven(S3FIFO(20), [*range(20), *range(100, 136, 2), 0])
    late = Driven(S3FIFO(20), [*range(20), *range(100, 138, 2), 0])
    assert 0 in s3fifo_queues(soon)[1]
    assert 0 in s3fifo_queues(late)[0]


def test_ghost_is_known_once():
    cache = Driven(S3FIFO(20), [*range(20), 20, 0])
    cache.delete(0)
    cache.use(0)
    assert 0 in s3fifo_queues(cache)[0]


def test_deleted_entry_leaves_no_ghost():
    cache = Driven(S3FIFO(20), range(21))
    cache.delete(20)
    cache.use(20)
    assert 20 in s3fifo_queues(cache)[0]


def test_entry_of_the_main_queue_starts_over_for_each_of_three_hits():
    cache = Driven(S3FIFO(10), range(10))
    for _ in range(5):
        cache.use(1)
    for key in range(2, 10):
        cache.delete(key)
    cache.delete(0)
    cache.policy.resize(1)  # whoever enters the main queue is too much there
    assert [entry.mark for entry in cache.policy] == [3]
    assert cache.popitem() == 1


def test_light_ghosts_are_two_for_each_entry_at_most():
    cache = Driven(S3FIFO(1_000))
    for key in range(100, 2_000):
        cache.use(key, weight=100 if key % 2 else 1)
        assert len(cache.policy.ghosts.weights) <= 2 * (len(cache.entries) + 1)
        assert cache.policy.ghosts.weight <= 900


# ---- W-TinyLFU ----


def tinylfu_queues(cache):
    policy = cache.policy
    return [[entry.key for entry in queue] for queue in (policy.window, policy.probation, policy.protected)]


def test_newcomers_pass_the_window_to_probation_and_are_protected_when_hit_there():
    cache = Driven(TinyLFU(10), [1, 2, 3])
    assert tinylfu_queues(cache) == [[3], [1, 2], []]
    cache.use(1)
    assert tinylfu_queues(cache) == [[3], [2], [1]]


def test_protected_queue_gives_its_oldest_back():
    cache = Driven(TinyLFU(10), [*range(10), *range(9)])
    assert tinylfu_queues(cache) == [[9], [0, 1], [2, 3, 4, 5, 6, 7, 8]]


def test_tinylfu_keeps_what_is_used_more_often_than_newcomers():
    cache = Driven(TinyLFU(100), [*range(80)] * 5)
    for key in range(1_000, 1_500):
        cache.use(key)
    assert set(range(80)) <= set(cache.keys)


def test_tinylfu_admits_whom_it_was_asked_for_more_often():
    cache = Driven(TinyLFU(10), range(10))
    for _ in range(3):
        cache.use(100)
        cache.use(101)  # drives 100 out of the window
    assert 100 in tinylfu_queues(cache)[1] + tinylfu_queues(cache)[2]


def test_tinylfu_takes_the_newcomer_of_equals():
    cache = Driven(TinyLFU(10), [*range(10), 100, 101])
    assert cache.evicted == [9, 100]


def hit_ratio_where_each_key_is_used_twice_at_once(policy):
    cache = Driven(policy)
    hits = sum(cache.use(key) + (key >= 3 and cache.use(key - 3)) for key in range(10_000))
    return hits / 20_000


def test_window_grows_where_recency_tells_more():
    climbing, still = TinyLFU(100), TinyLFU(100, adaptive=False)
    assert hit_ratio_where_each_key_is_used_twice_at_once(climbing) > 0.4
    assert hit_ratio_where_each_key_is_used_twice_at_once(still) < 0.05
    assert climbing.window_target >= 3


def test_window_stays_at_its_least_where_frequency_tells_all():
    cache = Driven(TinyLFU(100))
    for turn in range(30_000):
        cache.use(turn % 99)
        cache.use(1_000 + turn)
    assert cache.policy.window_target <= 10


def test_window_does_not_climb_where_it_is_told_not_to():
    cache = Driven(TinyLFU(100, adaptive=False), [turn // 3 for turn in range(20_000)])
    assert cache.policy.window_target == 1


def test_window_leaves_a_fifth_to_the_rest():
    cache = Driven(TinyLFU(100), range(100))
    cache.policy.step = 1_000.0
    for key in range(1_000):
        cache.use(key)
    assert cache.policy.window_target == 80


def test_resized_tinylfu_starts_to_climb_anew():
    cache = Driven(TinyLFU(200), [turn // 3 for turn in range(12_000)])
    assert cache.policy.window_target > 10
    cache.resize(100)
    assert cache.policy.window_target == 1
    assert cache.policy.requests == 0


def test_sketch_tells_no_less_than_was_counted():
    sketch = Sketch()
    sketch.reserve(100)
    for key in range(100):
        for _ in range(key % 12):
            sketch.add(hash_of(key))
    for key in range(100):
        assert key % 12 <= sketch.frequency(hash_of(key)) <= 15


def test_sketch_is_right_about_most_where_there_is_room():
    sketch = Sketch()
    sketch.reserve(1_000)
    keys = [key for key in range(1_000) if key % 16 < 14]
    for key in keys:
        for _ in range(key % 5):
            sketch.add(hash_of(key))
    right = sum(sketch.frequency(hash_of(key)) == key % 5 for key in keys)
    assert right / len(keys) > 0.95


def test_sketch_counts_to_fifteen_and_halves():
    sketch = Sketch()
    for _ in range(40):
        sketch.add(7)
    assert (sketch.frequency(7), sketch.additions) == (15, 15)
    sketch.halve()
    assert (sketch.frequency(7), sketch.additions) == (7, 7)


def test_sketch_that_grows_forgets_nothing():
    sketch = Sketch()
    for key in range(8):
        sketch.add(hash_of(key))
    before = [sketch.frequency(hash_of(key)) for key in range(8)]
    sketch.reserve(1_000)
    assert [sketch.frequency(hash_of(key)) for key in range(8)] == before
    assert len(sketch.counters) == 16 * 1024


# ---- against models of plain lists ----


class LineModel:
    """FIFO; the keys in a list, the oldest first."""

    def __init__(self, capacity):
        self.capacity = capacity
        self.weights = {}
        self.clear()

    def clear(self):
        self.line = []

    def arrive(self, key):
        pass

    def add(self, key):
        self.line.append(key)

    def hit(self, key):
        pass

    def next(self, weight=0):
        return self.line[0]

    def victim(self, weight):
        key = self.next(weight)
        self.remove(key)
        return key

    def remove(self, key):
        self.line.remove(key)

    def resize(self, capacity):
        self.capacity = capacity

    def order(self):
        return self.line

    def weigh(self, keys):
        return sum(self.weights[key] for key in keys)


class LRUModel(LineModel):
    def hit(self, key):
        self.line.remove(key)
        self.line.append(key)


class SieveModel(LineModel):
    """The keys in a list, the place of the hand in it, and the keys that are marked."""

    def clear(self):
        self.line, self.hand, self.used = [], 0, set()

    def hit(self, key):
        self.used.add(key)

    def next(self, weight=0):
        while True:
            self.hand %= len(self.line)
            key = self.line[self.hand]
            if key not in self.used:
                return key
            self.used.remove(key)
            self.hand += 1

    def add(self, key):
        if self.hand == len(self.line):
            self.hand = 0
        super().add(key)

    def remove(self, key):
        at = self.line.index(key)
        self.hand -= at < self.hand
        self.used.discard(key)
        super().remove(key)
        if self.hand == len(self.line):
            self.hand = 0


class LFUModel(LineModel):
    def clear(self):
        self.uses, self.since, self.now = Counter(), {}, 0

    def add(self, key):
        self.hit(key)

    def hit(self, key):
        self.now += 1
        self.uses[key] += 1
        self.since[key] = self.now

    def order(self):
        return sorted(self.uses, key=lambda key: (self.uses[key], self.since[key]))

    def next(self, weight=0):
        return self.order()[0]

    def remove(self, key):
        del self.uses[key]


class S3FIFOModel(LineModel):
    def clear(self):
        self.small, self.main, self.hits, self.ghosts = [], [], Counter(), []
        self.returns = self.full = False

    def arrive(self, key):
        self.returns = self.bury(key)

    def bury(self, key):
        found = [ghost for ghost in self.ghosts if ghost[0] == hash_of(key)]
        self.ghosts = [ghost for ghost in self.ghosts if ghost not in found]
        return bool(found)

    def trim(self, entries):
        while (
            sum(weight for _, weight in self.ghosts) > self.capacity * 9 // 10
            or len(self.ghosts) > 2 * entries
        ):
            self.ghosts.pop(0)

    def add(self, key):
        is_full = self.weigh(self.small) >= max(1, self.capacity // 10)
        line = self.main if self.returns or (is_full and not self.full) else self.small
        line.append(key)
        self.returns = False

    def hit(self, key):
        self.hits[key] += 1

    def next(self, weight=0):
        if self.weigh(self.main) <= self.capacity - max(1, self.capacity // 10):
            for key in list(self.small):
                if self.hits[key] < 2:
                    return key
                del self.hits[key]
                self.main.append(self.small.pop(0))
        while self.hits[self.main[0]]:
            self.hits[self.main[0]] = min(3, self.hits[self.main[0]]) - 1
            self.main.append(self.main.pop(0))
        return self.main[0]

    def victim(self, weight):
        self.full = True
        key = self.next()
        if key in self.small:
            self.bury(key)
            self.ghosts.append((hash_of(key), self.weights[key]))
            self.trim(len(self.order()))
        self.remove(key)
        return key

    def remove(self, key):
        self.hits.pop(key, None)
        (self.small if key in self.small else self.main).remove(key)

    def resize(self, capacity):
        self.capacity = capacity
        self.trim(len(self.order()))

    def order(self):
        return self.small + self.main


class TinyLFUModel(LineModel):
    def clear(self):
        self.window, self.probation, self.protected = [], [], []
        self.counters, self.additions, self.blocks = Counter(), 0, 1
        self.restart()

    def restart(self):
        self.share = self.least = max(1, self.capacity // 100)
        self.step, self.last, self.hits, self.requests = -self.capacity / 32, 0.0, 0, 0

    def places(self, key):
        hashed = hash_of(key)
        bits = hashed * 0x31848BAB % 2**32
        bits ^= bits >> 14
        return [(hashed % self.blocks, row, (bits >> 8 * row) % 32) for row in range(4)]

    def frequency(self, key):
        return min(self.counters[place] for place in self.places(key))

    def count(self, key, hit):
        places = [place for place in self.places(key) if self.counters[place] < 15]
        self.counters.update(places)
        self.additions += bool(places)
        sample = 10 * max(8, len(self.order()))
        if self.additions >= sample:
            self.counters = Counter({place: count // 2 for place, count in self.counters.items()})
            self.additions //= 2
        self.hits += hit
        self.requests += 1
        if self.requests >= sample:
            self.climb()

    def climb(self):
        ratio = self.hits / self.requests
        direction = 1 if ratio - self.last >= 0 else -1
        amount = direction * self.step
        change = abs(ratio - self.last)
        by_chance = change < sqrt(2 * ratio * (1 - ratio) / self.requests)
        smaller = (0.8 if by_chance else 0.98) * amount
        self.step = copysign(self.capacity / 32, amount) if change >= 0.05 else smaller
        self.last, self.hits, self.requests = ratio, 0, 0
        most = max(self.least, self.capacity * 4 // 5)
        self.share = min(max(self.share + int(amount), self.least), most)

    def arrive(self, key):
        self.count(key, hit=False)

    def add(self, key):
        self.window.append(key)
        self.shift(self.window, self.share)
        while 8 * self.blocks < len(self.order()):
            copies = {(block + self.blocks, *at): count for (block, *at), count in self.counters.items()}
            self.counters.update(copies)
            self.blocks *= 2

    def hit(self, key):
        self.count(key, hit=True)
        on_probation = key in self.probation
        line = self.window if key in self.window else self.protected
        self.remove(key)
        line.append(key)
        if on_probation:
            self.shift(self.protected, (self.capacity - self.share) * 85 // 100)

    def shift(self, line, target):
        for _ in range(2):
            if self.weigh(line) > target:
                self.probation.append(line.pop(0))

    def next(self, weight=0):
        main = self.probation + self.protected
        if not main or not self.window or self.weigh(self.window) + weight <= self.share:
            return (main + self.window)[0]
        candidate = self.window.pop(0)
        self.probation.append(candidate)
        return main[0] if self.frequency(candidate) > self.frequency(main[0]) else candidate

    def remove(self, key):
        next(line for line in (self.window, self.probation, self.protected) if key in line).remove(key)

    def resize(self, capacity):
        self.capacity = capacity
        self.restart()

    def order(self):
        return self.probation + self.protected + self.window


MODELS = {
    "fifo": LineModel,
    "lru": LRUModel,
    "sieve": SieveModel,
    "lfu": LFUModel,
    "s3fifo": S3FIFOModel,
    "tinylfu": TinyLFUModel,
}

KEYS = st.integers(0, 47)
WEIGHTS = st.sampled_from([1, 1, 1, 0, 2, 3])


class PolicyMachine(RuleBasedStateMachine):
    """Every step on the policy and on the model; both decide the same."""

    name = ""

    @initialize(capacity=st.sampled_from([1, 2, 3, 8, 12, 20, 33]))
    def start(self, capacity):
        self.cache = Driven(POLICIES[self.name](capacity))
        self.model = MODELS[self.name](capacity)
        self.gone = 0

    def evicted(self, weight):
        """What the cache has evicted since it was asked last is what the model takes."""
        gone = self.cache.evicted[self.gone :]
        self.gone += len(gone)
        for key in gone:
            assert self.model.victim(weight) == key
            del self.model.weights[key]

    @rule(keys=st.lists(KEYS, min_size=1, max_size=30), weight=WEIGHTS)
    def use(self, keys, weight):
        for key in keys:
            weight = min(weight, self.model.capacity)
            if self.cache.use(key, weight):
                self.model.hit(key)
                continue
            self.model.arrive(key)
            self.evicted(weight)
            self.model.weights[key] = weight
            self.model.add(key)

    @rule(start=KEYS, span=st.integers(1, 24), times=st.integers(1, 6))
    def loop(self, start, span, times):
        self.use([start + step for step in range(span)] * times, 1)

    @precondition(lambda self: self.cache.entries)
    @rule(data=st.data(), weight=WEIGHTS)
    def reweigh(self, data, weight):
        key = data.draw(st.sampled_from(sorted(self.cache.entries)))
        weight = min(weight, self.model.capacity)
        self.cache.reweigh(key, weight)
        self.model.hit(key)
        self.model.weights[key] = weight
        self.evicted(0)

    @precondition(lambda self: self.cache.entries)
    @rule(data=st.data())
    def delete(self, data):
        key = data.draw(st.sampled_from(sorted(self.cache.entries)))
        self.cache.delete(key)
        self.model.remove(key)
        del self.model.weights[key]

    @precondition(lambda self: self.cache.entries)
    @rule()
    def popitem(self):
        key = self.cache.popitem()
        assert self.model.next() == key
        self.model.remove(key)
        del self.model.weights[key]

    @rule(capacity=st.integers(1, 40))
    def resize(self, capacity):
        self.model.resize(capacity)
        self.cache.resize(capacity)
        self.evicted(0)

    @rule()
    def clear(self):
        self.cache.clear()
        self.model.clear()
        self.model.weights.clear()

    @invariant()
    def rules_hold_and_the_order_is_the_same(self):
        self.cache.policy.check()
        assert self.cache.keys == self.model.order()
        assert set(self.cache.keys) == set(self.cache.entries)
        assert self.cache.weight <= self.model.capacity


def machine_of(name):
    machine = type(f"{name}_machine", (PolicyMachine,), {"name": name})
    machine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
    return machine.TestCase


TestFIFOAgainstAModel = machine_of("fifo")
TestLRUAgainstAModel = machine_of("lru")
TestSieveAgainstAModel = machine_of("sieve")
TestLFUAgainstAModel = machine_of("lfu")
TestS3FIFOAgainstAModel = machine_of("s3fifo")
TestTinyLFUAgainstAModel = machine_of("tinylfu")


def loads_that_change(turns):
    """Loads that want windows of different sizes: the last few, a loop, a stream beside those that stay."""
    for turn in range(turns):
        yield from (turn, *(turn - (turn * 31 + 17 * use) % 30 for use in range(3)))
    for turn in range(turns):
        yield turn % 150
    for turn in range(turns):
        yield from (1_000_000 + turn, turn % 25, 1_000_000 + turn - 1)


def test_window_climbs_as_that_of_the_model():
    cache, model = Driven(TinyLFU(64)), TinyLFUModel(64)
    targets = set()
    for key in [*loads_that_change(9_000), *loads_that_change(1_500)]:
        if cache.use(key):
            model.hit(key)
        else:
            model.arrive(key)
            if len(model.weights) == 64:
                evicted = model.victim(1)
                assert cache.evicted[-1] == evicted
                del model.weights[evicted]
            model.weights[key] = 1
            model.add(key)
        assert cache.policy.window_target == model.share
        targets.add(model.share)
    assert cache.keys == model.order()
    assert min(targets) == 1
    assert max(targets) >= 30
