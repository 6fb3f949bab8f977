"""The shared limiter beside what else shares a limit among the processes of a host, without a server.

pyrate-limiter keeps a log of what it allowed, so its answers are compared where the limit is reached and
the log is short: that is what it is fastest at.
"""

import fcntl
import mmap
import os
import struct
from functools import partial
from time import monotonic

import pytest
from pyrate_limiter import Duration, Limiter, MultiprocessBucket, Rate, SQLiteBucket

from penstock.ratelimit._shared_limiter_c import SharedRateLimiter
from penstock.ratelimit._shared_limiter_py import SharedRateLimiter as PurePythonSharedRateLimiter


class HandWritten:
    """What people write themselves in fifteen lines: one bucket of floats in a file, under its lock."""

    def __init__(self, path, rate, capacity):
        self.rate, self.capacity = rate, capacity
        self.file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.ftruncate(self.file, 16)
        self.memory = mmap.mmap(self.file, 16)
        struct.pack_into("dd", self.memory, 0, capacity, monotonic())

    def allow(self):
        fcntl.flock(self.file, fcntl.LOCK_EX)
        tokens, last = struct.unpack_from("dd", self.memory)
        now = monotonic()
        tokens = min(self.capacity, tokens + (now - last) * self.rate)
        allowed = tokens >= 1
        struct.pack_into("dd", self.memory, 0, tokens - allowed, now)
        fcntl.flock(self.file, fcntl.LOCK_UN)
        return allowed


@pytest.fixture
def limiters(tmp_path):
    def make(quota):
        name = quota.replace("/", " per ")
        return (
            SharedRateLimiter(quota, path=tmp_path / name),
            PurePythonSharedRateLimiter(quota, path=tmp_path / f"{name}, pure"),
        )

    return make


def test_allow_when_there_is_plenty(race, limiters, tmp_path):
    compiled, plain = limiters("1000000000/s")
    race(
        "SharedRateLimiter.allow(key), tokens there",
        {
            "penstock": partial(compiled.allow, "198.51.100.7"),
            "penstock, pure Python (flock)": partial(plain.allow, "198.51.100.7"),
            "hand-written Python (flock, one key)": HandWritten(tmp_path / "hand", 1e9, 1e9).allow,
            "empty method of a C type": "".isascii,
        },
    )


def test_refuse_when_the_limit_is_reached(race, limiters, tmp_path):
    compiled, plain = limiters("1/day")
    rates = [Rate(1, Duration.DAY)]
    shared = Limiter(MultiprocessBucket.init(rates))
    stored = Limiter(
        SQLiteBucket.init_from_file(
            rates, db_path=str(tmp_path / "pyrate.sqlite")
        )  # its fastest: no file lock
    )
    compiled.allow("198.51.100.7")
    plain.allow("198.51.100.7")
    try:
        race(
            "SharedRateLimiter.allow(key), limit reached",
            {
                "penstock": partial(compiled.allow, "198.51.100.7"),
                "penstock, pure Python (flock)": partial(plain.allow, "198.51.100.7"),
                "hand-written Python (flock, one key)": HandWritten(tmp_path / "hand", 1e-5, 1).allow,
                "pyrate-limiter, MultiprocessBucket (one key)": partial(shared.try_acquire, blocking=False),
                "pyrate-limiter, SQLiteBucket (one key)": partial(stored.try_acquire, blocking=False),
                "empty method of a C type": "".isascii,
            },
        )
    finally:
        shared.close()
        stored.close()


def test_check_with_the_whole_result(race, limiters):
    compiled, plain = limiters("1000000000/s, 1000000000/minute")
    race(
        "SharedRateLimiter.check(key), two quotas",
        {
            "penstock": partial(compiled.check, "198.51.100.7"),
            "penstock, pure Python (flock)": partial(plain.check, "198.51.100.7"),
            "penstock, allow(key)": partial(compiled.allow, "198.51.100.7"),
            "empty method of a C type": "".isascii,
        },
    )


def test_allow_many_of_ten_thousand_keys(race, limiters):
    compiled, _ = limiters("1000000000/s")
    keys = [f"198.51.{i >> 8}.{i & 255}" for i in range(10_000)]
    race(
        "SharedRateLimiter.allow_many(10,000 keys), a key",
        {
            "penstock": partial(compiled.allow_many, keys),
            "penstock, a call each": lambda: [compiled.allow(key) for key in keys],
        },
        operations=10_000,
    )
