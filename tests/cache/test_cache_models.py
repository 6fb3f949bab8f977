"""Caches of every policy against a model that is slow and plain, both twins step by step."""

import pickle
from itertools import count
from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import penstock.cache._settings
from penstock.cache import CacheStats, RemovalCause
from penstock.clock import NANOSECONDS, ManualClock
from twins import load

EXPLICIT, REPLACED, SIZE, EXPIRED, CLEARED = RemovalCause


def weigh(key, value):
    return value % 7


class Fraction:
    """What stands where the random numbers of the jitter come from."""

    def __init__(self):
        self.value = 0.0

    def __call__(self):
        return self.value


class Entry:
    def __init__(self, key, value, slot, rank):
        self.key, self.value, self.slot = key, value, slot
        self.rank = rank  # uses that count, and when they became so many: who ranks lowest goes first
        self.marked = False
        self.weight = 0
        self.deadline = self.at_most = inf


class Model:
    """A cache in the fewest words: a list that is searched from end to end, times in nanoseconds."""

    def __init__(self, maxsize, *, policy, ttl, tti, jitter, max_weight, on_remove, clock, fraction):
        self.maxsize, self.policy, self.max_weight = maxsize, policy, max_weight
        self.ttl, self.tti, self.jitter = ttl, tti, jitter
        self.on_remove, self.clock, self.fraction = on_remove, clock, fraction
        self.entries, self.waiting, self.ticks = [], [], count()
        self.slots, self.free, self.swept, self.timed = 0, [], 0, False
        self.hits = self.misses = self.inserts = self.rejections = self.evictions = self.expirations = 0

    def __len__(self):
        return len(self.entries)

    def __contains__(self, key):
        return self.peek(key) is not None

    @property
    def weight(self):
        return sum(entry.weight for entry in self.entries)

    def items(self):
        return [(entry.key, entry.value) for entry in self.in_order() if self.lives(entry)]

    def stats(self):
        counted = self.hits, self.misses, self.inserts, self.evictions, self.expirations, self.rejections
        return CacheStats(*counted, 0, 0, 0.0, len(self.entries), self.weight, self.maxsize)

    # ---- the order, and who goes next ----

    def in_order(self):
        return sorted(self.entries, key=lambda entry: entry.rank)

    def use(self, entry):
        if self.policy == "lru":
            entry.rank = 1, next(self.ticks)
        elif self.policy == "lfu":
            entry.rank = entry.rank[0] + 1, next(self.ticks)
        elif self.policy == "sieve":
            entry.marked = True

    hand = None

    def next(self):
        line = self.in_order()
        if self.policy != "sieve":
            return line[0]
        at = line.index(self.hand) if self.hand else 0
        while line[at].marked:
            line[at].marked = False
            at = (at + 1) % len(line)
        self.hand = line[at]
        return self.hand

    def take_out(self, entry, cause):
        if entry is self.hand:
            self.hand = next((other for other in self.in_order() if other.rank > entry.rank), None)
        self.entries.remove(entry)
        self.count(cause)
        self.waiting.append((entry, cause))

    # ---- what leaves, and the slots by whose number the sweep goes ----

    def lives(self, entry):
        return self.clock.now < entry.deadline

    def count(self, cause):
        self.evictions += cause is SIZE
        self.expirations += cause is EXPIRED

    def settle(self):
        for entry, cause in self.waiting:
            self.free.append(entry.slot)
            self.on_remove(entry.key, entry.value, cause)
        self.waiting.clear()

    def expire_slot(self, slot):
        expired = [entry for entry in self.entries if entry.slot == slot and not self.lives(entry)]
        for entry in expired:
            self.take_out(entry, EXPIRED)
        return len(expired)

    def sweep(self):
        for _ in range(2 if self.slots else 0):
            if self.swept >= self.slots:
                self.swept = 0
            self.expire_slot(self.swept)
            self.swept += 1

    def make_room(self, entries, weight):
        while self.entries and (
            len(self.entries) + entries > self.maxsize
            or (self.max_weight is not None and self.weight + weight > self.max_weight)
        ):
            entry = self.next()
            self.take_out(entry, SIZE if self.lives(entry) else EXPIRED)

    def pack(self):
        most = len(self.entries) + 1
        if self.slots > most:
            free = sorted(self.free)
            for entry in sorted(self.entries, key=lambda entry: entry.slot):
                if entry.slot >= most:
                    entry.slot = free.pop(0)
            taken = {entry.slot for entry in self.entries}
            self.slots, self.free = most, [slot for slot in reversed(range(most)) if slot not in taken]

    # ---- what a cache does ----

    def find(self, key):
        return next((entry for entry in self.entries if entry.key == key), None)

    def find_live(self, key):
        entry = self.find(key)
        return entry if entry and self.lives(entry) else None

    def life(self, ttl):
        ttl = self.ttl if ttl is ... else ttl
        if ttl is not None or self.tti is not None:
            self.timed = True
        if ttl is None:
            return inf
        ns = ttl * NANOSECONDS
        return max(1, ns - int(ns * self.jitter * self.fraction.value))

    def idle_until(self):
        return inf if self.tti is None else self.clock.now + self.tti * NANOSECONDS

    def live_for(self, entry, lifetime):
        entry.at_most = self.clock.now + lifetime
        entry.deadline = min(entry.at_most, self.idle_until())

    def peek(self, key):
        entry = self.find_live(key)
        return entry.value if entry else None

    def get(self, key):
        entry = self.find(key)
        if entry and self.lives(entry):
            self.hits += 1
            self.use(entry)
            entry.deadline = min(entry.at_most, self.idle_until()) if self.tti else entry.deadline
            return entry.value
        self.misses += 1
        if entry:
            self.take_out(entry, EXPIRED)
            self.settle()
        return None

    def set(self, key, value, *, ttl=...):
        lifetime = self.life(ttl)
        weight = 0 if self.max_weight is None else weigh(key, value)
        too_heavy = self.max_weight is not None and weight > self.max_weight
        entry = self.find(key)
        if entry is None and not too_heavy:
            self.inserts += 1
            if self.timed:
                self.sweep()
            self.make_room(1, weight)
            if not self.free:
                self.free.append(self.slots)
                self.slots += 1
            entry = Entry(key, value, self.free.pop(), (1, next(self.ticks)))
            entry.weight = weight
            self.live_for(entry, lifetime)
            self.entries.append(entry)
        elif entry is not None:
            cause = REPLACED if self.lives(entry) else EXPIRED
            if too_heavy:
                self.take_out(entry, cause)
            else:
                old, entry.value, entry.weight = entry.value, value, weight
                self.use(entry)
                self.live_for(entry, lifetime)
                self.count(cause)
                self.make_room(0, 0)
                self.on_remove(entry.key, old, cause)
        self.settle()
        if too_heavy:
            self.rejections += 1
            self.on_remove(key, value, SIZE)

    def __setitem__(self, key, value):
        self.set(key, value)

    def setdefault(self, key, value):
        found = self.get(key)
        if found is not None:
            return found
        self.set(key, value)
        return value

    def touch(self, key, *, ttl=...):
        lifetime = self.life(ttl)
        entry = self.find_live(key)
        if entry:
            self.live_for(entry, lifetime)
            self.use(entry)
        return entry is not None

    def expires_in(self, key):
        entry = self.find_live(key)
        if entry is None:
            raise KeyError(key)
        return None if entry.deadline == inf else (entry.deadline - self.clock.now) / NANOSECONDS

    def pop(self, key, default):
        entry = self.find(key)
        if entry is None:
            return default
        live = self.lives(entry)
        self.take_out(entry, EXPLICIT if live else EXPIRED)
        self.settle()
        return entry.value if live else default

    def delete(self, key):
        return self.pop(key, None) is not None

    def popitem(self):
        while self.entries:
            entry = self.next()
            if self.pop(entry.key, None) is not None:
                return entry.key, entry.value
        raise KeyError

    def get_many(self, keys):
        return {key: value for key in keys if (value := self.get(key)) is not None}

    def set_many(self, items, *, ttl=...):
        for key, value in items.items():
            self.set(key, value, ttl=ttl)

    def delete_many(self, keys):
        return sum([self.delete(key) for key in keys])

    def clear(self):
        for entry in self.in_order():
            self.take_out(entry, CLEARED)
        self.hand = None
        self.settle()
        self.pack()

    def expire(self):
        expired = sum(self.expire_slot(slot) for slot in range(self.slots))
        self.settle()
        return expired

    def resize(self, maxsize, *, max_weight=None):
        self.maxsize = maxsize
        if max_weight is not None:
            self.max_weight = max_weight
        self.make_room(0, 0)
        self.settle()
        self.pack()

    def copy(self):
        other = Model(
            self.maxsize,
            policy=self.policy,
            ttl=self.ttl,
            tti=self.tti,
            jitter=self.jitter,
            max_weight=self.max_weight,
            on_remove=self.on_remove,
            clock=self.clock,
            fraction=self.fraction,
        )
        for entry in self.in_order():
            if self.lives(entry):
                other.set(entry.key, entry.value, ttl=None)
                if entry.deadline != inf:
                    other.timed = True
                    found = other.find(entry.key)
                    found.deadline, found.at_most = entry.deadline, entry.at_most
        return other


class Crowded(int):
    """An int that shares its hash with every second other one."""

    def __hash__(self):
        return int(self) % 2


keys = st.integers(0, 15) | st.integers(20, 35).map(Crowded) | st.integers(0, 3).map(lambda n: n << 32)
values = st.integers(0, 50)
lifetimes = st.none() | st.integers(1, 5)
some_keys = st.lists(keys, max_size=6)


def outcome(call, cache):
    try:
        return call(cache)
    except KeyError:
        return KeyError


class TwinsAndModel(RuleBasedStateMachine):
    """Both twins, and the model where there is one, on one clock: all the same, whatever is done."""

    policy = None
    has_model = True

    @initialize(
        maxsize=st.integers(1, 12) | st.integers(1, 40),
        ttl=lifetimes,
        tti=lifetimes,
        jitter=st.sampled_from([0.0, 0.0, 0.3, 0.99]),
        max_weight=st.none() | st.integers(1, 50),
    )
    def begin(self, maxsize, ttl, tti, jitter, max_weight):
        self.clock, self.fraction = ManualClock(), Fraction()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(penstock.cache._settings, "random_fraction", self.fraction)
        self.weighs = max_weight is not None
        options = {"policy": self.policy, "ttl": ttl, "tti": tti, "jitter": jitter, "max_weight": max_weight}

        def made(cls, **more):
            log = []
            self.removed.append(log)
            listener = lambda *entry: log.append(entry)  # noqa: E731
            return cls(maxsize, **options, **more, clock=self.clock, on_remove=listener)

        self.removed = []
        weigher = weigh if self.weighs else None
        self.twins = [made(load("penstock.cache.cache", impl), weigher=weigher) for impl in ("c", "py")]
        self.all = [*self.twins, made(Model, fraction=self.fraction)] if self.has_model else self.twins

    def teardown(self):
        if hasattr(self, "patch"):
            self.patch.undo()

    def agree(self, call):
        first, *others = [outcome(call, cache) for cache in self.all]
        assert others == [first] * len(others)
        return first

    @rule(key=keys, value=values)
    def store(self, key, value):
        self.agree(lambda cache: cache.__setitem__(key, value))

    @rule(key=keys, value=values, ttl=lifetimes)
    def store_for(self, key, value, ttl):
        self.agree(lambda cache: cache.set(key, value, ttl=ttl))

    @rule(items=st.dictionaries(keys, values, max_size=20), ttl=st.just(...) | lifetimes)
    def store_many(self, items, ttl):
        self.agree(lambda cache: cache.set_many(items, ttl=ttl))

    @rule(key=keys, times=st.integers(1, 3))
    def get(self, key, times):
        for _ in range(times):
            self.agree(lambda cache: cache.get(key))

    @rule(wanted=some_keys)
    def get_many(self, wanted):
        self.agree(lambda cache: cache.get_many(wanted))

    @rule(key=keys, value=values)
    def setdefault(self, key, value):
        self.agree(lambda cache: cache.setdefault(key, value))

    @rule(key=keys, ttl=st.just(...) | lifetimes)
    def touch(self, key, ttl):
        self.agree(lambda cache: cache.touch(key, ttl=ttl))

    @rule(key=keys)
    def look_on(self, key):
        self.agree(lambda cache: cache.peek(key))
        self.agree(lambda cache: key in cache)
        self.agree(lambda cache: cache.expires_in(key))

    @rule(key=keys)
    def delete(self, key):
        self.agree(lambda cache: cache.delete(key))

    @rule(unwanted=some_keys)
    def delete_many(self, unwanted):
        self.agree(lambda cache: cache.delete_many(unwanted))

    @rule(key=keys)
    def pop(self, key):
        self.agree(lambda cache: cache.pop(key, None))

    @rule(times=st.integers(1, 4))
    def popitem(self, times):
        for _ in range(times):
            self.agree(lambda cache: cache.popitem())

    @rule()
    def clear(self):
        self.agree(lambda cache: cache.clear())

    @rule()
    def expire(self):
        self.agree(lambda cache: cache.expire())

    @rule(maxsize=st.integers(1, 40))
    def resize(self, maxsize):
        self.agree(lambda cache: cache.resize(maxsize))

    @precondition(lambda self: self.weighs)
    @rule(maxsize=st.integers(1, 40), max_weight=st.integers(1, 50))
    def resize_by_weight(self, maxsize, max_weight):
        self.agree(lambda cache: cache.resize(maxsize, max_weight=max_weight))

    @rule()
    def go_on_with_a_copy(self):
        self.all = [cache.copy() for cache in self.all]
        self.twins = self.all[:2]

    @rule()
    def pickle(self):
        for cache in self.twins:
            restored = pickle.loads(pickle.dumps(cache))
            restored._check()
            assert list(restored.items()) == list(cache.items())
            assert restored._options() == cache._options()

    @rule(part=st.floats(0, 1, exclude_max=True))
    def let_chance_say(self, part):
        self.fraction.value = part

    @rule(ns=st.integers(1, 3 * NANOSECONDS) | st.sampled_from([1, NANOSECONDS, 5 * NANOSECONDS]))
    def let_time_pass(self, ns):
        self.clock.now += ns

    @rule(seconds=st.integers(1, 3))
    def let_time_go_back(self, seconds):
        self.clock.now -= seconds * NANOSECONDS

    @invariant()
    def all_are_the_same(self):
        if not hasattr(self, "all"):
            return
        for cache in self.twins:
            cache._check()
        self.agree(lambda cache: list(cache.items()))
        self.agree(len)
        self.agree(lambda cache: cache.stats())
        self.agree(lambda cache: cache.max_weight)
        assert all(log == self.removed[0] for log in self.removed)


def machine(policy, *, has_model=True):
    """The test of one policy."""
    body = {"policy": policy, "has_model": has_model}
    case = type(f"TwinsAndModelOf{policy}", (TwinsAndModel,), body).TestCase
    case.settings = settings(max_examples=60, stateful_step_count=50)
    return case


TestLRU = machine("lru")
TestFIFO = machine("fifo")
TestLFU = machine("lfu")
TestSieve = machine("sieve")
# Each policy alone is held to its paper in test_policies.py; here the twins are held to each other.
TestS3FIFO = machine("s3fifo", has_model=False)
TestTinyLFU = machine("tinylfu", has_model=False)
