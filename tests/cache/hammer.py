"""Uses caches as no program should: code that calls back at random, and eight threads at once.

usage: python tests/cache/hammer.py [SECONDS [SEED]]     both twins, all policies; 10 seconds unless given
"""

import faulthandler
import gc
import itertools
import pickle
import random
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from importlib import import_module

from penstock.cache._flights import CacheLoadDeadlock
from penstock.cache._settings import POLICIES
from penstock.errors import InvalidValue

DEEPEST = 3  # calls back within calls back
FEW = 12  # keys


class Mischief(Exception):
    """What hostile code raises."""


class Storm:
    """A cache, and keys, values, a weigher, a listener and a clock that use it whenever they are called.

    Args:
        Cache: one of the twins.
        policy: of the cache.
        seed: of all that is random.
    """

    def __init__(self, Cache, policy, seed):
        self.Cache, self.policy = Cache, policy
        self.chance = random.Random(seed)
        self.depth = 0
        self.now = 0
        self.made = 0
        self.stored, self.reported = set(), Counter()
        # Copies report to the same listener, and a cache that begins anew reports nothing: not exact then.
        self.is_exact = self.chance.random() < 0.6
        self.options = self.some_options()
        self.cache = Cache(self.chance.randrange(1, 9), **self.options)

    def some_options(self):
        options = {"policy": self.policy, "on_remove": self.listen, "clock": self.clock}
        if self.chance.random() < 0.5:
            options |= {"weigher": self.weigh, "max_weight": self.chance.randrange(1, 12)}
        if self.chance.random() < 0.5:
            options |= {"ttl": 3e-8}
        if self.chance.random() < 0.3:
            options |= {"tti": 2e-8}
        return options

    # ---- what the cache calls ----

    def clock(self):
        self.interfere()
        self.now += self.chance.choice([0, 0, 0, 1, 5, -2])
        return self.now

    def weigh(self, key, value):
        self.interfere()
        return self.chance.randrange(6)

    def listen(self, key, value, cause):
        self.reported[value.number] += 1
        self.interfere()

    def interfere(self, *, may_raise=True):
        """Does anything at all to the cache, or nothing."""
        if self.depth >= DEEPEST or self.chance.random() > 0.15:
            return
        self.act()
        if may_raise and self.chance.random() < 0.1:
            raise Mischief

    # ---- what is done to it ----

    def act(self):
        self.depth += 1
        try:
            self.chance.choice(self.EXACT_ACTIONS if self.is_exact else self.ACTIONS)(self)
        except (Mischief, KeyError, CacheLoadDeadlock):
            pass
        finally:
            self.depth -= 1

    def key(self):
        return HostileKey(self, self.chance.randrange(FEW))

    def value(self):
        self.made += 1
        return HostileValue(self, self.made)

    def keys(self):
        return [self.key() for _ in range(self.chance.randrange(4))]

    def store(self):
        value = self.value()
        self.cache[self.key()] = value
        self.stored.add(value.number)

    def store_for(self):
        value = self.value()
        self.cache.set(self.key(), value, ttl=self.chance.choice([None, 1e-9, 1e-8]))
        self.stored.add(value.number)

    def setdefault(self):
        value = self.value()
        if self.cache.setdefault(self.key(), value) is value:
            self.stored.add(value.number)

    def compute(self):
        self.cache.get_or_compute(self.key(), self.load)

    def load(self, key):
        self.interfere()
        return self.value()

    def resize(self):
        weighed = self.cache.max_weight is not None
        most = self.chance.randrange(1, 30) if weighed else None
        try:
            self.cache.resize(self.chance.randrange(1, 30), max_weight=most)
        except InvalidValue:
            assert self.cache.max_weight is None  # the clock has begun it anew, without a weigher

    def look_around(self):
        cache = self.cache
        for key, value in cache.items():
            assert type(key) is HostileKey
            assert type(value) is HostileValue
            self.interfere()
        assert len(cache) >= 0
        repr(cache)
        cache.stats()

    def touch(self):
        self.cache.touch(self.key())
        self.cache.expires_in(self.key())

    def go_by(self):
        self.now += self.chance.randrange(40)

    def begin_anew(self):
        self.options = self.some_options()
        self.cache.__init__(self.chance.randrange(1, 9), **self.options)

    def drop(self):
        self.cache = self.Cache(self.chance.randrange(1, 9), **self.options)

    def copy(self):
        copied = self.cache.copy()
        copied.pop(self.key(), None)
        self.chance.choice([copied.clear, copied.expire, lambda: self.swap(copied)])()

    def swap(self, copied):
        self.cache = copied

    def compare(self):
        assert isinstance(self.cache == dict(self.cache.items()), bool)

    EXACT_ACTIONS = (
        *[store] * 6,
        store_for,
        setdefault,
        compute,
        resize,
        look_around,
        touch,
        go_by,
        compare,
        lambda self: self.cache.peek(self.key()),
        lambda self: self.cache.get(self.key()),
        lambda self: self.cache[self.key()],
        lambda self: self.key() in self.cache,
        lambda self: self.cache.get_many(self.keys()),
        lambda self: self.cache.delete(self.key()),
        lambda self: self.cache.delete_many(self.keys()),
        lambda self: self.cache.pop(self.key(), None),
        lambda self: self.cache.popitem(),
        lambda self: self.cache.clear(),
        lambda self: self.cache.expire(),
        lambda self: pickle.dumps(self.cache),
        lambda self: gc.collect(0),
    )
    ACTIONS = (*EXACT_ACTIONS, begin_anew, drop, copy)

    # ---- and what must hold ----

    def rage(self, steps):
        """Does so many things, one after another; the cache is sound after each."""
        with errors_in_destructors() as errors:
            for _ in range(steps):
                self.act()
                with self.peace():
                    self.cache._check()
                assert not errors, errors
            with self.peace():
                if self.is_exact:
                    self.require_each_value_once()
                self.cache.clear()
                self.cache = None
                gc.collect()
        assert not errors, errors

    @contextmanager
    def peace(self):
        """Nothing interferes meanwhile."""
        self.depth += DEEPEST
        try:
            yield
        finally:
            self.depth -= DEEPEST

    def require_each_value_once(self):
        self.cache.clear()
        assert len(self.cache) == 0
        assert set(self.reported.values()) <= {1}
        assert self.stored <= self.reported.keys()


class HostileKey:
    """A key whose hash is that of many, and which interferes when it is hashed or compared."""

    def __init__(self, storm, name):
        self.storm, self.name = storm, name

    def __hash__(self):
        self.storm.interfere()
        return self.name % 3

    def __eq__(self, other):
        self.storm.interfere()
        return self.name == other.name

    def __del__(self):
        self.storm.interfere(may_raise=False)

    def __reduce__(self):
        self.storm.interfere()
        return str, (self.name,)


class HostileValue:
    """A value that interferes when it is let go, now or when the collector finds it."""

    def __init__(self, storm, number):
        self.storm, self.number = storm, number
        if number % 3 == 0:
            self.circle = self, storm.cache

    def __del__(self):
        self.storm.interfere(may_raise=False)

    def __reduce__(self):
        self.storm.interfere()
        return str, (self.number,)


@contextmanager
def errors_in_destructors():
    """What goes to sys.unraisablehook meanwhile, mischief aside; the collector runs all the time."""
    errors, hook, thresholds = [], sys.unraisablehook, gc.get_threshold()
    sys.unraisablehook = lambda args: errors.append(args.exc_value) if args.exc_type is not Mischief else None
    gc.set_threshold(20, 5, 1_000)
    try:
        yield errors
    finally:
        gc.set_threshold(*thresholds)
        sys.unraisablehook = hook


class SharedKey:
    """A key that others may be at while it is compared: both its methods are Python code."""

    def __init__(self, number):
        self.number = number

    def __hash__(self):
        return self.number % 16

    def __eq__(self, other):
        return isinstance(other, SharedKey) and self.number == other.number


def hammer(Cache, policy, seconds, *, threads=8, weighed=False, ttl=None):
    """Threads at one cache. Each value that was stored leaves it exactly once, and the cache is sound."""
    removed, stored, errors = [], [], []
    end = time.monotonic() + seconds
    weights = {"weigher": lambda key, value: value[1] % 5, "max_weight": 60} if weighed else {}
    cache = Cache(40, policy=policy, ttl=ttl, on_remove=lambda *entry: removed.append(entry[1]), **weights)

    def work(thread):
        chance, mine = random.Random(thread), []
        for n in itertools.count():
            if n % 16 == 0 and time.monotonic() > end:
                break
            number, value = chance.randrange(90), (thread, n)
            key = SharedKey(number) if number % 3 == 0 else number
            match chance.randrange(12):
                case 0:
                    cache.delete(key)
                case 1:
                    cache.pop(key, None)
                case 2 if n % 40 == 0:
                    cache.clear()
                case 3 if n % 20 == 0:
                    cache.resize(chance.randrange(1, 60))
                case 4:
                    list(cache.items())
                case 5:
                    cache.expire()
                case 6 if len(cache):
                    popitem(cache)
                case 7 | 8 | 9:
                    cache.get(key)
                case _:
                    cache[key] = value
                    mine.append(value)
        stored.extend(mine)

    def work_noticed(thread):
        try:
            work(thread)
        except BaseException as error:
            errors.append(error)

    crew = [threading.Thread(target=work_noticed, args=(n,)) for n in range(threads)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    if errors:
        raise errors[0]
    cache._check()
    assert len(cache) <= cache.maxsize
    cache.clear()
    assert len(stored) > threads
    assert sorted(removed) == sorted(stored)


def popitem(cache):
    with suppress(KeyError):  # another thread was faster
        cache.popitem()


def main(seconds=10.0, seed=1):
    """Storms and hammers in turn."""
    faulthandler.enable()
    faulthandler.dump_traceback_later(seconds + 120, exit=True)  # it hangs
    twins = [import_module(f"penstock.cache._cache_{impl}").Cache for impl in ("c", "py")]
    end, storms = time.monotonic() + seconds, 0
    rounds = itertools.count(seed)
    while time.monotonic() < end:
        number = next(rounds)
        for policy, twin in itertools.product(POLICIES, twins):
            Storm(twin, policy, number).rage(200)
            storms += 1
        policy, twin = POLICIES[number % len(POLICIES)], twins[0 if number % 4 else 1]
        hammer(twin, policy, 0.2, weighed=bool(number % 2), ttl=0.001 if number % 3 == 0 else None)
    print(f"{storms} storms, seeds {seed} to {next(rounds) - 1}: sound")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3]))
