"""What a shared limiter promises, on both twins: of its calls, among processes, and of its file."""

import asyncio
import contextlib
import gc
import inspect
import itertools
import json
import os
import pickle
import re
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.clock import NANOSECONDS, ManualClock
from penstock.ratelimit import _shared_file as shared_file
from penstock.ratelimit._quotas import numbers_of
from penstock.ratelimit.errors import RateLimitExceeded
from penstock.ratelimit.quota import Quota
from penstock.ratelimit.shared_limiter import SharedFileError
from twins import both_twins, load
from virtual_time import run_in_virtual_time, virtual_time

MODULE = "penstock.ratelimit.shared_limiter"
SharedRateLimiter = both_twins(MODULE)
virtual = virtual_time()

STORM = Path(__file__).parents[1] / "shared_storm.py"
both_impls = pytest.mark.parametrize("impl", ["c", "py"])


@pytest.fixture
def clock():
    return ManualClock(now=5 * NANOSECONDS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "limits"


@pytest.fixture
def limiter(SharedRateLimiter, path, clock):
    with SharedRateLimiter("3/second", path=path, slots=64, clock=clock) as limiter:
        yield limiter


def drain(limiter, key):
    taken = 0
    while limiter.allow(key):
        taken += 1
    return taken


# --- calls ---


def test_key_is_allowed_its_burst_and_then_the_rate(limiter, clock):
    assert drain(limiter, "ann") == 3
    clock.advance(2 / 3)
    assert drain(limiter, "ann") == 2


def test_keys_have_limits_of_their_own(limiter):
    assert drain(limiter, "ann") == 3
    assert drain(limiter, "bob") == 3


def test_str_bytes_and_int_of_the_same_bytes_are_different_keys(limiter):
    keys = ["a", b"a", ord("a"), "", b"", 0, -1, 255, 2**64, -(2**64), 10**100, "é", "\ud800", "日本" * 99]
    assert all(drain(limiter, key) == 3 for key in keys)
    assert not any(limiter.allow(key) for key in keys)


def test_subclasses_are_the_keys_that_they_derive_from(limiter):
    class Name(str):
        __slots__ = ()

        def encode(self, *_):
            raise AssertionError("code of the caller's must not run")

    assert drain(limiter, "ann") == 3
    assert not limiter.allow(Name("ann"))
    assert drain(limiter, True) == 3
    assert not limiter.allow(1)


@pytest.mark.parametrize("key", [None, 1.5, ("a",), bytearray(b"a")])
def test_keys_of_other_types_are_refused(limiter, key):
    for call in (
        limiter.allow,
        limiter.check,
        limiter.peek,
        limiter.retry_after,
        limiter.reset,
        limiter.refund,
    ):
        with pytest.raises(TypeError, match=f"key must be a str, bytes or an int, got {type(key).__name__}"):
            call(key)


@pytest.mark.parametrize("n", [0, -1, 4, 10**30])
def test_n_that_can_never_be_allowed_is_refused(limiter, n):
    for call in (limiter.allow, limiter.check, limiter.retry_after, limiter.refund):
        with pytest.raises(ValueError, match=f"n must be >= 1 and <= limit 3, got {n}"):
            call("ann", n)
        with pytest.raises(PenstockError, match="limit 3, got an int of 16610 bits"):
            call("ann", 10**5000)
    assert limiter.peek("ann").remaining == 3


@pytest.mark.parametrize("n", [1.0, True, None, "1"])
def test_n_of_another_type_is_refused(limiter, n):
    with pytest.raises(TypeError, match=f"n must be an int, got {type(n).__name__}"):
        limiter.allow("ann", n)


def test_several_units_are_taken_together_or_not_at_all(limiter):
    assert limiter.allow("ann", 2)
    assert not limiter.allow("ann", 2)
    assert limiter.allow("ann")


def test_check_tells_how_the_limit_stands(limiter, clock):
    first = limiter.check("ann", 2)
    assert (first.allowed, first.limit, first.remaining, first.retry_after) == (True, 3, 1, 0.0)
    assert first.reset_after == pytest.approx(2 / 3)
    assert first.window == 1.0
    refused = limiter.check("ann", 3)
    assert not refused
    assert refused.remaining == 1
    assert refused.retry_after == pytest.approx(2 / 3)
    clock.now += round(refused.retry_after * NANOSECONDS) - 1
    assert not limiter.allow("ann", 3)
    clock.now += 1
    assert limiter.allow("ann", 3)


def test_peek_and_retry_after_take_nothing(limiter):
    for _ in range(9):
        assert limiter.peek("ann").allowed
        assert limiter.retry_after("ann", 3) == 0.0
    assert len(limiter) == 0
    assert drain(limiter, "ann") == 3
    assert not limiter.peek("ann")
    assert limiter.retry_after("ann", 2) == pytest.approx(2 / 3)


def test_refund_gives_back_and_never_more_than_the_burst(limiter, clock):
    drain(limiter, "ann")
    limiter.refund("ann", 2)
    assert drain(limiter, "ann") == 2
    limiter.refund("ann", 1)
    clock.advance(0.9)
    limiter.refund("ann", 3)
    limiter.refund("never seen")
    assert drain(limiter, "ann") == drain(limiter, "never seen") == 3


def test_reset_forgets_what_a_key_has_taken(limiter):
    drain(limiter, "ann")
    limiter.reset("ann")
    limiter.reset("never seen")
    assert drain(limiter, "ann") == 3


def test_several_quotas_are_decided_together_or_not_at_all(SharedRateLimiter, path, clock):
    limiter = SharedRateLimiter("3/second", "5/minute", path=path, slots=64, clock=clock)
    assert drain(limiter, "ann") == 3
    refused = limiter.check("ann")
    assert (refused.limit, refused.window) == (3, 1.0)
    clock.advance(1)
    assert drain(limiter, "ann") == 2  # what the seconds refused has not cost the minute anything
    refused = limiter.check("ann")
    assert (refused.allowed, refused.limit, refused.remaining, refused.window) == (False, 5, 0, 60.0)
    assert refused.retry_after == pytest.approx(11)
    limiter.refund("ann")
    assert drain(limiter, "ann") == 1


def test_allow_many_answers_each_key_in_order(limiter):
    answers = limiter.allow_many(["ann", b"ann", "ann", 5, "ann", "ann"])
    assert answers.dtype == np.bool_
    assert answers.tolist() == [True, True, True, True, True, False]
    out = np.ones(2, dtype=bool)
    assert limiter.allow_many(("ann", "bob"), 2, out=out) is out
    assert out.tolist() == [False, True]
    assert limiter.allow_many([]).shape == (0,)


@pytest.mark.parametrize("out", [[True], np.zeros(1), "x"])
def test_out_of_another_type_is_refused(limiter, out):
    with pytest.raises(TypeError, match="out must be a numpy array of bool"):
        limiter.allow_many(["ann"], out=out)


@pytest.mark.parametrize(
    "out", [np.zeros(2, bool), np.zeros((1, 1), bool), np.zeros(2, bool)[::2].reshape(1, 1)]
)
def test_out_that_does_not_fit_is_refused(limiter, out):
    with pytest.raises(ValueError, match=re.escape("out must have shape (1,), got")):
        limiter.allow_many(["ann"], out=out)
    frozen = np.zeros(1, bool)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="out must be contiguous and writeable"):
        limiter.allow_many(["ann"], out=frozen)
    assert len(limiter) == 0


def test_keys_of_an_array_count_as_ints_and_a_string_is_no_batch(limiter):
    assert limiter.allow_many(np.array([5, 5])).tolist() == [True, True]
    assert limiter.peek(5).remaining == 1
    with pytest.raises(TypeError, match="keys must be a list, a tuple or an array of keys, got str"):
        limiter.allow_many("ann")


def test_error_within_a_batch_names_the_key_and_keeps_what_is_decided(limiter):
    out = np.zeros(3, bool)
    with pytest.raises(TypeError, match="key must be a str, bytes or an int, got float") as raised:
        limiter.allow_many(["ann", 1.5, "bob"], out=out)
    assert raised.value.__notes__ == [
        "allow_many: keys[1]; the keys before it are decided, the others are not"
    ]
    assert out.tolist() == [True, False, False]
    assert len(limiter) == 1


def test_len_and_stats_count_keys_that_are_not_idle(limiter, clock):
    limiter.allow_many(list("abc"))
    assert len(limiter) == 3
    assert limiter.stats() == (64, 3, 0)
    clock.advance(1)
    assert limiter.stats().live == 0


def test_sweep_empties_idle_slots_only(limiter, clock):
    limiter.allow("ann", 3)
    limiter.allow("bob")
    clock.advance(0.5)
    assert limiter.sweep() == 1
    assert limiter.sweep() == 0
    assert not limiter.allow("ann", 3)
    assert drain(limiter, "bob") == 3


def test_idle_slots_are_given_to_other_keys_for_ever(limiter, clock):
    for i in range(500):
        assert drain(limiter, i) == 3
        clock.advance(0.05)
    assert limiter.stats().turned_away == 0


def test_flood_of_keys_turns_newcomers_away_and_frees_nobody(limiter, clock):
    flood = [key for key in range(300) if limiter.allow(key, 3)]
    assert 32 < len(flood) <= 64
    assert not any(limiter.allow(key) for key in range(300))
    stats = limiter.stats()
    assert stats.live == len(flood)
    assert stats.turned_away >= 300 - len(flood)
    newcomer = next(key for key in range(300) if key not in flood)
    refused = limiter.check(newcomer)
    assert not refused
    assert refused.remaining == 0
    assert refused.retry_after == pytest.approx(1)
    assert limiter.peek(newcomer).retry_after == refused.retry_after == limiter.retry_after(newcomer)
    clock.now += round(refused.retry_after * NANOSECONDS)
    assert limiter.peek(newcomer)
    assert limiter.allow(newcomer)


def test_clock_going_back_makes_no_tokens_and_takes_none(limiter, clock):
    drain(limiter, "ann")
    clock.advance(-4)
    assert not limiter.allow("ann")
    clock.advance(4 + 1 / 3 + 1e-9)
    assert drain(limiter, "ann") == 1


def test_clock_before_the_file_counts_as_its_making(limiter, clock):
    clock.advance(-1000)
    assert drain(limiter, "ann") == 3
    clock.now = -(2**62)
    assert drain(limiter, "bob") == 3


def test_error_of_a_clock_comes_through_and_takes_nothing(SharedRateLimiter, path, clock):
    def broken():
        raise RuntimeError("no time")

    source = clock
    limiter = SharedRateLimiter("1/second", path=path, slots=64, clock=lambda: source())
    source = broken
    for call in (limiter.allow, limiter.check, limiter.peek, limiter.refund):
        with pytest.raises(RuntimeError, match="no time"):
            call("ann")
    source = clock
    assert limiter.allow("ann")


def test_clock_may_use_and_close_the_limiter(SharedRateLimiter, path, clock):
    inside = []

    def ticking():
        if inside:
            inside.pop()("ann")
        return clock()

    limiter = SharedRateLimiter("2/second", path=path, slots=64, clock=ticking)
    inside += [limiter.allow, limiter.allow]
    assert not limiter.allow("ann")
    inside.append(lambda _: limiter.close())
    with pytest.raises(SharedFileError, match="the limiter is closed"):
        limiter.allow("bob")


def test_system_clock_is_used_when_none_is_given(SharedRateLimiter, path):
    limiter = SharedRateLimiter("1000/second; burst=1", path=path, slots=64)
    assert limiter.allow("ann")
    assert not threading.Event().wait(0.002)
    assert limiter.allow("ann")


def test_closed_limiter_raises_and_closes_twice(limiter, path):
    limiter.close()
    limiter.close()
    calls = [limiter.allow, limiter.check, limiter.peek, limiter.retry_after, limiter.refund, limiter.reset]
    for call in calls:
        with pytest.raises(SharedFileError, match=f"{re.escape(str(path))}: the limiter is closed"):
            call("ann")
    for call in (limiter.sweep, limiter.stats, limiter.__len__, lambda: limiter.allow_many(["ann"])):
        with pytest.raises(SharedFileError, match="the limiter is closed"):
            call()


def test_limiter_cannot_be_pickled_or_initialised_twice(limiter, path):
    with pytest.raises(TypeError):
        pickle.dumps(limiter)
    with pytest.raises(TypeError, match="a SharedRateLimiter is initialised once"):
        limiter.__init__("3/second", path=path, slots=64)


def test_compiled_limiter_without_init_says_so():
    empty = load(MODULE, "c").__new__(load(MODULE, "c"))
    for call in (empty.allow, empty.peek, empty.reset, empty.refund):
        with pytest.raises((SharedFileError, ValueError), match=r"not initialised|n must be"):
            call("ann")
    with pytest.raises(SharedFileError, match="not initialised"):
        empty.stats()
    assert "slots=0" in repr(empty) or "None" in repr(empty)


def test_repr_names_quotas_path_and_slots(limiter, path):
    assert repr(limiter) == f"SharedRateLimiter('3/second', path={path!r}, slots=64)"
    assert limiter.quotas == (Quota(3),)
    assert limiter.path == path


@pytest.mark.parametrize("slots", [0, 16, 33, -32, 2**26 + 16])
def test_impossible_slots_are_refused(SharedRateLimiter, path, slots):
    rule = f"slots must be a multiple of 16, 32 to {2**26}, got {slots}"
    with pytest.raises(ValueError, match=re.escape(rule)):
        SharedRateLimiter("1/s", path=path, slots=slots)
    assert not path.exists()


def test_arguments_of_other_types_are_refused(SharedRateLimiter, path):
    with pytest.raises(TypeError, match="slots must be an int, got float"):
        SharedRateLimiter("1/s", path=path, slots=64.0)
    with pytest.raises(TypeError, match="path must be a str, bytes or path, got int"):
        SharedRateLimiter("1/s", path=5)
    with pytest.raises(TypeError, match="clock must be callable or None, got int"):
        SharedRateLimiter("1/s", path=path, clock=5)
    with pytest.raises(ValueError, match="a limiter must have 1 to 8 quotas, got 0"):
        SharedRateLimiter(path=path)


# --- the twins, and the definition ---

keys = st.sampled_from(["a", "b", b"a", 7, "ü"])
calls = st.sampled_from(["allow", "check", "peek", "retry_after", "refund", "reset", "sweep", "len"])


def steps_of(nanoseconds, keys):
    return st.lists(st.tuples(st.just(0) | nanoseconds, calls, keys, st.integers(1, 3)), max_size=40)


# Whether a newcomer takes the slot of an idle key depends on the secrets, and a clock that has gone back
# tells an idle key from one that was forgotten: so there is one key where the clock goes back.
steps = steps_of(st.integers(0, 10**10), keys) | steps_of(st.integers(-(10**9), 10**10), st.just("a"))
quotas = st.lists(
    st.builds(Quota, st.integers(1, 1000), st.floats(0.001, 1000), burst=st.integers(3, 40)),
    min_size=1,
    max_size=3,
)


def done(limiter, call, key, n):
    if call == "len":
        return len(limiter)
    if call == "sweep":  # how many there are depends on whose slots newcomers took, hence on the secrets
        return limiter.sweep() >= 0
    if call in ("peek", "reset"):
        return getattr(limiter, call)(key)
    return getattr(limiter, call)(key, n)


def facts(answer):
    """What results of both twins are compared by."""
    if not hasattr(answer, "allowed"):
        return answer
    names = ("allowed", "limit", "remaining", "retry_after", "reset_after", "window")
    return tuple(getattr(answer, name) for name in names)


@given(quotas, steps)
@settings(max_examples=60)
def test_twins_agree_decision_by_decision(quotas, steps):
    clock = ManualClock(now=10**9)
    with tempfile.TemporaryDirectory() as folder:
        compiled, plain = (
            load(MODULE, impl)(*quotas, path=f"{folder}/{impl}", slots=64, clock=clock)
            for impl in ("c", "py")
        )
        with compiled, plain:
            for nanoseconds, call, key, n in steps:
                clock.now += nanoseconds
                assert facts(done(compiled, call, key, n)) == facts(done(plain, call, key, n)), call


@both_impls
@given(st.integers(1, 10**6), st.integers(1, 100), st.lists(st.integers(0, 10**9), max_size=40))
@settings(max_examples=30)
def test_no_stretch_of_time_gets_more_than_rate_and_burst_allow(impl, rate, burst, gaps):
    clock = ManualClock()
    taken = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        load(MODULE, impl)(Quota(rate, burst=burst), path=f"{folder}/it", slots=32, clock=clock) as limiter,
    ):
        for gap in gaps:
            clock.now += gap
            taken += sum(limiter.allow("ann") for _ in range(5))
            assert taken <= burst + Fraction(rate * clock.now, NANOSECONDS) + Fraction(1, 1000)


def test_window_of_a_quota_is_what_its_burst_takes_to_come_back():
    assert numbers_of(Quota(10, burst=5), "token_bucket").window_ns == NANOSECONDS // 2


# --- threads and processes ---


def test_two_limiters_of_one_file_share_their_limits(SharedRateLimiter, path, clock):
    ours, theirs = (SharedRateLimiter("3/second", path=path, slots=64, clock=clock) for _ in range(2))
    assert [ours.allow("ann"), theirs.allow("ann"), ours.allow("ann"), theirs.allow("ann")] == [True] * 3 + [
        False
    ]
    theirs.close()
    assert not ours.allow("ann")


def test_threads_share_a_limiter_exactly(SharedRateLimiter, path, clock):
    limiter = SharedRateLimiter("1000/second", "2000/minute", path=path, slots=64, clock=clock)
    taken = []

    def take():
        taken.append(sum(limiter.allow("ann") for _ in range(400)))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 1000


def storm(*arguments):
    done = subprocess.run(
        [sys.executable, str(STORM), *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@both_impls
def test_processes_never_allow_a_key_more_than_its_limit(impl):
    """8 processes, more keys than slots, the real clock, every window of every key."""
    report = storm("--impl", impl, "--seconds", "2", "--no-kill", "--quotas", "one")
    assert report["killed"] == 0
    assert report["keys"] > 32
    assert all(allowed <= 3 + 50 * 30 for allowed in report["allowed of the hot keys"])


@both_impls
def test_limit_holds_and_nobody_hangs_while_processes_are_killed(impl):
    report = storm("--impl", impl, "--seconds", "3", "--quotas", "two")
    assert report["killed"] > 10
    assert report["keys"] > 32


def in_child(call):
    """What `call` returns in a forked child, a small int."""
    child = os.fork()
    if not child:
        status = 99
        try:
            status = int(call())
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


FORKS = """
import os, sys
sys.path.insert(0, {tests!r})
from ratelimit.test_shared_limiter import in_child
from penstock.ratelimit._shared_limiter_{impl} import SharedRateLimiter

limiter = SharedRateLimiter("5/hour", path={path!r}, slots=64)
assert limiter.allow("ann")
assert in_child(lambda: sum(limiter.allow("ann") for _ in range(2))) == 2
assert in_child(lambda: limiter.close() or 7) == 7
assert limiter.allow("ann")
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        os._exit(sum(limiter.allow("ann") for _ in range(3)))
    children.append(child)
assert sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children) == 1
"""


@both_impls
def test_forked_children_share_the_limits_and_close_for_themselves(impl, path):
    code = FORKS.format(tests=str(Path(__file__).parents[1]), impl=impl, path=str(path))
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@both_impls
def test_signal_handler_may_use_the_limiter_it_interrupts(impl, path):
    """In a process of its own: a handler that waits for its own thread would hang this one."""
    code = f"""
import signal
from penstock.ratelimit._shared_limiter_{impl} import SharedRateLimiter

limiter = SharedRateLimiter("1000/hour", "2000/day", path={str(path)!r}, slots=64)
handled = allowed = 0

def handle(number, frame):
    global handled, allowed
    handled += 1
    allowed += limiter.allow("ann")
    if handled < 300:
        signal.setitimer(signal.ITIMER_REAL, 0.0003)

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.0003)
mine = 0
while handled < 300 or limiter.peek("ann"):
    mine += limiter.allow("ann")
assert mine + allowed in (1000, 1001), (mine, allowed)  # one comes back every 3.6 s
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


RACE = """
import sys, time
from penstock.ratelimit._shared_limiter_{impl} import SharedRateLimiter
time.sleep(max(0, {at} - time.monotonic()))
limiter = SharedRateLimiter("5/hour", path={path!r}, slots=65_536)
print(sum(limiter.allow("ann") for _ in range(5)))
"""


@both_impls
@pytest.mark.parametrize("stale", [False, True])
def test_sixteen_processes_that_start_at_once_make_one_file(impl, stale, path):
    if stale:
        make_stale(path, impl)
    code = RACE.format(impl=impl, path=str(path), at=time.monotonic() + 1.5)
    workers = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(16)
    ]
    answers = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    assert sum(answers) == 5
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@both_impls
def test_process_killed_while_it_makes_the_file_leaves_nothing_or_all_of_it(impl, tmp_path):
    """Killed after each of its system calls in turn, as a debugger would: by a hook on what it calls."""
    code = f"""
import os, signal, sys
from penstock.ratelimit import _shared_file
from penstock.ratelimit._shared_limiter_{impl} import SharedRateLimiter

left = int(sys.argv[1])
def deadly(call):
    def called(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return called

class Calls:
    def __getattr__(self, name):
        found = getattr(os, name)
        return deadly(found) if name in CALLS else found

CALLS = ("open", "fchmod", "posix_fallocate", "pwrite", "fsync", "link", "close", "unlink", "fstat", "pread")
_shared_file.os = Calls()
SharedRateLimiter("5/hour", path=sys.argv[2], slots=64)
"""
    survived = 0
    for after in range(40):
        path = tmp_path / f"limits-{after}"
        if after % 2:
            make_stale(path, impl)
        killed = subprocess.run([sys.executable, "-c", code, str(after), str(path)], timeout=60, check=False)
        assert killed.returncode in (0, -9)
        survived += killed.returncode == 0
        assert {each.name for each in tmp_path.iterdir()} <= {path.name}
        with load(MODULE, impl)("5/hour", path=path, slots=64) as limiter:
            assert drain(limiter, "ann") == 5
        path.unlink()
        if survived == 2:
            break
    assert after > 10
    assert survived == 2


# --- waiting ---


def test_acquire_takes_what_is_there_and_does_not_wait_with_timeout_zero(limiter):
    assert limiter.acquire("ann", 2)
    assert limiter.acquire("ann", timeout=0)
    assert not limiter.acquire("ann", timeout=0)
    assert limiter.peek("ann").remaining == 0
    assert limiter.allow("bob")


def test_acquire_blocks_a_thread_until_its_units_are_there(SharedRateLimiter, path):
    limiter = SharedRateLimiter("200/second; burst=1", path=path, slots=64)
    start = time.monotonic()
    assert all(limiter.acquire("ann", timeout=30) for _ in range(6))
    assert time.monotonic() - start >= 5 / 200


def test_those_who_wait_are_served_in_order_and_when_they_are_due(limiter, clock, virtual):
    async def main():
        start = clock()
        assert limiter.allow("ann", 3)
        served = []

        async def wait(name):
            assert await limiter.acquire_async("ann")
            served.append((name, clock() - start))

        await asyncio.gather(*(wait(name) for name in range(4)))
        return served

    third = NANOSECONDS // 3 + 1  # the first nanosecond at which a third of a second is over
    due = [third, 2 * third - 1, NANOSECONDS, NANOSECONDS + third]
    assert virtual(main()) == list(enumerate(due))


def test_key_that_somebody_waits_for_is_refused_to_others(limiter, clock, virtual):
    async def main():
        limiter.allow("ann", 2)
        waiting = asyncio.create_task(limiter.acquire_async("ann", 3))
        await asyncio.sleep(0)
        assert limiter.retry_after("ann") > 0  # one is there
        for result in (limiter.check("ann"), limiter.peek("ann")):
            assert not result
            assert result.remaining == 1
            assert result.retry_after > 0
        assert not limiter.allow("ann")
        assert limiter.allow_many(["ann", b"ann", "bob"]).tolist() == [False, True, True]
        assert await waiting
        clock.advance(1)
        assert drain(limiter, "ann") == 3

    virtual(main())


def test_line_is_of_the_key_and_not_of_its_class_or_bytes(limiter, virtual):
    class Name(str):
        __slots__ = ()
        __hash__ = None

    async def main():
        for key in ("ann", 1):
            limiter.allow(key, 2)
        tasks = [asyncio.create_task(limiter.acquire_async(key, 3)) for key in (Name("ann"), True)]
        await asyncio.sleep(0)
        assert not limiter.allow("ann")
        assert not limiter.allow(1)
        assert limiter.allow(b"ann")
        assert limiter.allow("1")
        assert await asyncio.gather(*tasks) == [True, True]

    virtual(main())


def test_wait_that_is_too_long_is_refused_at_once_and_takes_nothing(limiter, clock, virtual):
    async def main():
        limiter.allow("ann", 3)
        before = clock()
        assert not await limiter.acquire_async("ann", 3, timeout=0.9)
        assert clock() == before
        assert await limiter.acquire_async("ann", 3, timeout=1)
        assert clock() == before + NANOSECONDS

    virtual(main())


def test_cancelled_wait_takes_nothing_and_lets_the_next_one_go(limiter, clock, virtual):
    async def main():
        limiter.allow("ann", 2)
        start = clock()
        first = asyncio.create_task(limiter.acquire_async("ann", 3))
        second = asyncio.create_task(limiter.acquire_async("ann"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second
        assert clock() == start
        with pytest.raises(asyncio.CancelledError):
            await first

    virtual(main())


def test_who_waits_asks_again_when_another_process_was_faster(SharedRateLimiter, path, clock, virtual):
    ours, theirs = (SharedRateLimiter("2/second", path=path, slots=64, clock=clock) for _ in range(2))

    async def main():
        start = clock()
        ours.allow("ann", 2)
        waiting = asyncio.create_task(ours.acquire_async("ann"))
        await asyncio.sleep(0.1)
        clock.advance(0.45)  # 0.55 s: it is due, and has not woken up yet
        assert theirs.allow("ann")
        assert await waiting
        return clock() - start

    assert virtual(main()) == NANOSECONDS


def test_several_quotas_are_waited_for_together(SharedRateLimiter, path, clock, virtual):
    limiter = SharedRateLimiter("2/second", "3/minute", path=path, slots=64, clock=clock)

    async def main():
        start = clock()
        return [(await limiter.acquire_async("ann"), (clock() - start) / NANOSECONDS) for _ in range(4)]

    served = virtual(main())
    assert [taken for taken, _ in served] == [True] * 4
    assert [when for _, when in served] == pytest.approx([0, 0, 0.5, 20], abs=1e-8)


def test_newcomer_waits_for_a_slot(SharedRateLimiter, path, clock, virtual):
    limiter = SharedRateLimiter("3/second", path=path, slots=32, clock=clock)
    assert limiter.allow_many(range(32), 3).all()

    async def main():
        start = clock()
        assert not await limiter.acquire_async("ann", timeout=0.5)
        assert await limiter.acquire_async("ann", 3)
        return clock() - start

    assert NANOSECONDS <= virtual(main()) <= NANOSECONDS + 10**6
    assert len(limiter) == 1


def test_who_wakes_late_is_charged_then_for_others_may_have_had_what_ran_over(SharedRateLimiter, path, clock):
    limiter = SharedRateLimiter("1/second", path=path, slots=64, clock=clock)
    late = iter([3 * NANOSECONDS // 10])
    told = []

    async def wait():
        assert await limiter.acquire_async("ann")
        told.append(clock())

    async def main():
        await asyncio.gather(wait(), wait(), wait())

    start = clock()
    run_in_virtual_time(main(), clock, lambda: next(late, 0))
    assert [moment - start for moment in told] == [0, 1_300_000_000, 2_300_000_000]


@both_impls
@given(
    st.integers(1, 5),
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 10**8)), min_size=3, max_size=15),
    st.lists(st.integers(0, 10**9), min_size=1, max_size=10),
)
@settings(max_examples=40, deadline=None)
def test_no_stretch_of_time_gets_more_however_late_those_who_wait_wake_up(impl, rate, burst, requests, late):
    """Two processes, one waiting and one asking; moments are those at which a caller is told."""
    clock = ManualClock(now=NANOSECONDS)
    lateness = itertools.cycle(late)
    admitted = []

    async def main(ours, theirs):
        async def wait():
            assert await ours.acquire_async("ann")
            admitted.append(clock())

        tasks = []
        for kind, pause in requests:
            await asyncio.sleep(pause / NANOSECONDS)
            if kind:
                tasks.append(asyncio.create_task(wait()))
            elif theirs.allow("ann"):
                admitted.append(clock())
        await asyncio.gather(*tasks)

    with tempfile.TemporaryDirectory() as folder:
        twin = load(MODULE, impl)
        ours, theirs = (
            twin(Quota(rate, burst=burst), path=f"{folder}/it", slots=32, clock=clock) for _ in range(2)
        )
        with ours, theirs:
            run_in_virtual_time(main(ours, theirs), clock, lambda: next(lateness))
    for i, first in enumerate(admitted):
        for j in range(i, len(admitted)):
            allowed = burst + Fraction(rate * (admitted[j] - first), NANOSECONDS) + Fraction(1, 1000)
            assert j - i + 1 <= allowed


def test_close_raises_to_all_who_wait_at_once(limiter, clock, virtual):
    async def main():
        limiter.allow_many(["ann", "bob"], 3)
        before = clock()
        waiting = [
            asyncio.create_task(limiter.acquire_async(key, timeout=timeout))
            for key in ("ann", "bob")
            for timeout in (None, None, 100)
        ]
        await asyncio.sleep(0)
        limiter.close()
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert clock() == before
        with pytest.raises(SharedFileError, match="the limiter is closed"):
            await limiter.acquire_async("ann")
        return errors

    errors = virtual(main())
    assert [type(error) for error in errors] == [SharedFileError] * 6
    assert all(str(error) == f"{limiter.path}: the limiter is closed" for error in errors)
    with pytest.raises(SharedFileError, match="the limiter is closed"):
        limiter.acquire("ann", timeout=0)


def test_close_raises_to_threads_that_wait(SharedRateLimiter, path):
    limiter = SharedRateLimiter("1/day", path=path, slots=64)
    limiter.allow("ann")
    errors = []

    def wait():
        try:
            limiter.acquire("ann")
        except SharedFileError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    while limiter._waiting().by_key == {} or len(next(iter(limiter._waiting().by_key.values()))) < 3:
        time.sleep(0.001)
    limiter.close()
    for thread in threads:
        thread.join(timeout=30)
    assert errors == [f"{path}: the limiter is closed"] * 3


def test_impossible_waits_are_refused_and_hold_nobody_up(limiter):
    limiter.allow("ann", 2)
    for timeout in (-1, float("nan")):
        with pytest.raises(ValueError, match="timeout must be >= 0 seconds or None"):
            limiter.acquire("ann", timeout=timeout)
        with pytest.raises(ValueError, match="timeout must be >= 0 seconds or None"):
            asyncio.run(limiter.acquire_async("ann", timeout=timeout))
    with pytest.raises(ValueError, match="n must be >= 1 and <= limit 3, got 4"):
        limiter.acquire("ann", 4)
    with pytest.raises(ValueError, match="n must be >= 1 and <= limit 3, got an int of"):
        limiter.acquire("ann", 10**5000)
    with pytest.raises(TypeError, match="key must be a str, bytes or an int, got NoneType"):
        asyncio.run(limiter.acquire_async(None))
    assert limiter.allow("ann")


@both_impls
def test_child_does_not_stand_behind_those_who_wait_in_its_parent(impl, path):
    code = f"""
import sys, threading, time
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from ratelimit.test_shared_limiter import in_child
from penstock.ratelimit._shared_limiter_{impl} import SharedRateLimiter

limiter = SharedRateLimiter("5/day", path={str(path)!r}, slots=64)
assert limiter.allow("ann", 2)
threading.Thread(target=limiter.acquire, args=("ann", 5), daemon=True).start()
while limiter.retry_after("ann") == 0:
    time.sleep(0.001)
assert not limiter.allow("ann")
assert in_child(lambda: sum(limiter.allow("ann") for _ in range(5))) == 3
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@both_impls
def test_limiter_that_was_waited_for_is_collected(impl, path):
    limiter = load(MODULE, impl)("1/day", path=path, slots=64)
    limiter.allow("ann")
    assert not limiter.acquire("ann", timeout=0.001)
    gone = weakref.ref(limiter)
    del limiter
    gc.collect()
    assert gone() is None


# --- decorator ---


def test_decorated_function_raises_when_it_is_limited(limiter):
    @limiter.limit(lambda user: user, n=2)
    def greet(user):
        return f"hello {user}"

    assert greet("ann") == "hello ann"
    with pytest.raises(RateLimitExceeded, match="for 'ann'") as refused:
        greet("ann")
    assert refused.value.retry_after == pytest.approx(1 / 3)
    assert greet("bob") == "hello bob"


def test_decorated_coroutine_function_stays_one_and_may_wait(limiter, clock, virtual):
    @limiter.limit("ann", n=3, on_limited="wait")
    async def fetch(value):
        return value, clock()

    @limiter.limit("ann")
    async def hasty():
        raise AssertionError("must not be called")

    async def main():
        first, second = await fetch(1), await fetch(2)
        assert (first[0], second[0]) == (1, 2)
        assert second[1] - first[1] == NANOSECONDS
        with pytest.raises(RateLimitExceeded):
            await hasty()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.14 on
        assert asyncio.iscoroutinefunction(fetch)
    assert inspect.iscoroutinefunction(fetch)
    assert inspect.iscoroutinefunction(hasty)
    virtual(main())


def test_impossible_decorations_are_refused_before_any_call(limiter):
    with pytest.raises(ValueError, match="on_limited must be raise or wait, got 'drop'"):
        limiter.limit(on_limited="drop")
    with pytest.raises(ValueError, match="n must be >= 1 and <= limit 3, got 4"):
        limiter.limit(n=4)
    with pytest.raises(TypeError, match="key must be a str, bytes or an int, got tuple"):
        limiter.limit(("ann",))


# --- the file ---


def rewrite(path, change):
    """Changes the header at `path` and seals it again."""
    data = bytearray(path.read_bytes())
    change(data)
    seal = shared_file.checksum(bytes(data[: shared_file.CHECKSUM_AT]))
    data[shared_file.CHECKSUM_AT : shared_file.CHECKSUM_AT + len(seal)] = seal
    path.write_bytes(data)


def make_stale(path, impl, *quotas):
    with load(MODULE, impl)(*(quotas or ["5/hour"]), path=path, slots=64) as limiter:
        drain(limiter, "ann")

    def foreign_boot(data):
        data[16:32] = bytes(16)

    rewrite(path, foreign_boot)


def test_file_is_private_and_of_the_size_that_is_documented(SharedRateLimiter, path):
    before = os.umask(0)
    try:
        SharedRateLimiter("3/s", "5/minute", path=path, slots=64).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == 4096 + 64 * 2 * 16


def test_limits_outlive_the_process(SharedRateLimiter, path):
    with SharedRateLimiter("5/hour", path=path, slots=64) as limiter:
        assert drain(limiter, "ann") == 5
    with SharedRateLimiter("5/hour", path=path, slots=64) as limiter:
        assert not limiter.allow("ann")


def test_paths_are_str_bytes_or_path(SharedRateLimiter, path, monkeypatch):
    monkeypatch.chdir(path.parent)
    for each in (path, str(path), os.fsencode(path), path.name):
        with SharedRateLimiter("5/hour", path=each, slots=64) as limiter:
            limiter.allow("ann")
            assert limiter.path is each
    with SharedRateLimiter("5/hour", path=path, slots=64) as limiter:
        assert not limiter.allow("ann", 2)


@both_impls
def test_file_of_an_earlier_boot_is_replaced(impl, path):
    make_stale(path, impl, "7/minute")  # whatever its quotas
    inode = path.stat().st_ino
    with path.open() as old:
        with load(MODULE, impl)("5/hour", path=path, slots=128) as limiter:
            assert drain(limiter, "ann") == 5
        assert path.stat().st_ino != inode
        assert old.fileno() >= 0


def put(form, *values, at):
    def change(data):
        struct.pack_into(form, data, at, *values)

    return change


START = shared_file.START.size
CHANGES = {
    "version": (put("=I", 2, at=8), "must have version 1, has 2: another penstock made it"),
    "byte order": (
        put(">I", 0x01020304, at=12),
        "must have the byte order of this host, has mark 0x04030201",
    ),
    "clock": (
        put("=I", 1, at=START + 4),
        "was made with a clock of its own, this limiter has the clock of the",
    ),
    "time namespace": (put("=q", 5, at=START + 8), "was made in another time namespace"),
    "slots": (put("=Q", 128, at=START + 24), "must have 64 slots, has 128"),
    "limit": (put("=Q", 6, at=START + 56), "must have the quotas 5/3600 s; burst=5, has 6/3600 s; burst=5"),
    "count": (
        put("=Q", 2**60, at=START + 32),
        "must have the quotas 5/3600 s; burst=5, has 5/3600 s; burst=5, 0",
    ),
    "magic": (put("=8s", b"PENSTOCX", at=0), "is no file of a shared limiter, starts with b'PENSTOCX'"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_foreign_header_is_refused(SharedRateLimiter, path, change):
    SharedRateLimiter("5/hour", path=path, slots=64).close()
    alter, message = CHANGES[change]
    rewrite(path, alter)
    with pytest.raises(SharedFileError, match=re.escape(f"{path}: {message}")) as refused:
        SharedRateLimiter("5/hour", path=path, slots=64)
    assert isinstance(refused.value, PenstockError)
    assert isinstance(refused.value, OSError)


def test_damaged_header_is_refused(SharedRateLimiter, path):
    SharedRateLimiter("5/hour", path=path, slots=64).close()
    data = bytearray(path.read_bytes())
    data[START + 60] ^= 1
    path.write_bytes(data)
    with pytest.raises(SharedFileError, match="header is damaged, its checksum is wrong"):
        SharedRateLimiter("5/hour", path=path, slots=64)


@pytest.mark.parametrize(("maker", "user"), [("c", "py"), ("py", "c")])
def test_twins_do_not_share_a_file(path, maker, user):
    load(MODULE, maker)("5/hour", path=path, slots=64).close()
    with pytest.raises(
        SharedFileError, match=r"was made by the [\w-]+ twin, which the [\w-]+ one may not share"
    ):
        load(MODULE, user)("5/hour", path=path, slots=64)


def test_clock_of_its_own_and_that_of_the_system_do_not_share_a_file(SharedRateLimiter, path, clock):
    SharedRateLimiter("5/hour", path=path, slots=64, clock=clock).close()
    with pytest.raises(SharedFileError, match="was made with a clock of its own"):
        SharedRateLimiter("5/hour", path=path, slots=64)


@pytest.mark.parametrize("size", [0, 1, 100, 4095])
def test_file_without_a_whole_header_is_refused(SharedRateLimiter, path, size):
    SharedRateLimiter("5/hour", path=path, slots=64).close()
    os.truncate(path, size)
    with pytest.raises(SharedFileError, match=f"must have a header of 4096 bytes, has {size}"):
        SharedRateLimiter("5/hour", path=path, slots=64)


@pytest.mark.parametrize("size", [4096, 5119, 5121])
def test_file_of_another_size_is_refused(SharedRateLimiter, path, size):
    SharedRateLimiter("5/hour", path=path, slots=64).close()
    os.truncate(path, size)
    with pytest.raises(SharedFileError, match=f"must be 5120 bytes long, is {size}"):
        SharedRateLimiter("5/hour", path=path, slots=64)


def test_file_that_others_may_use_is_refused(SharedRateLimiter, path):
    SharedRateLimiter("5/hour", path=path, slots=64).close()
    path.chmod(0o620)
    with pytest.raises(SharedFileError, match="must have mode 0600, has 0620"):
        SharedRateLimiter("5/hour", path=path, slots=64)


def test_file_of_another_owner_is_refused(SharedRateLimiter, path, monkeypatch):
    SharedRateLimiter("5/hour", path=path, slots=64).close()
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:  # only root can give a file away
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(SharedFileError, match=r"must be owned by user \d+, is owned by \d+"):
        SharedRateLimiter("5/hour", path=path, slots=64)


def test_what_is_no_regular_file_is_refused(SharedRateLimiter, path):
    SharedRateLimiter("5/hour", path=path, slots=64).close()
    link, fifo = path.with_name("link"), path.with_name("fifo")
    link.symlink_to(path)
    os.mkfifo(fifo, 0o600)
    for other, what in [
        (link, "is a symbolic link, which is not followed"),
        (fifo, "is no regular file"),
        (path.parent, "is a directory"),
        ("/dev/null", "is no regular file"),
    ]:
        rule = re.escape(f"{other}: must be a regular file of this user, {what}")
        with pytest.raises(SharedFileError, match=rule):
            SharedRateLimiter("5/hour", path=other, slots=64)


def test_path_that_cannot_be_made_is_refused(SharedRateLimiter, path):
    with pytest.raises(SharedFileError, match="its directory must exist"):
        SharedRateLimiter("5/hour", path=path / "absent", slots=64)
    path.write_text("a file")
    for impossible in (path / "below a file", "with\0null", path.with_name("n" * 300), ""):
        with pytest.raises(SharedFileError):
            SharedRateLimiter("5/hour", path=impossible, slots=64)


def test_file_system_without_unnamed_files_is_named(SharedRateLimiter):
    with pytest.raises(SharedFileError, match="/proc/limits: "):
        SharedRateLimiter("5/hour", path="/proc/limits", slots=64)


def test_host_whose_boot_is_not_known_is_refused(SharedRateLimiter, path, monkeypatch):
    class Nowhere(type(path)):
        def read_text(self, **_):
            raise FileNotFoundError("no boot_id")

    monkeypatch.setattr(shared_file, "Path", Nowhere)
    with pytest.raises(SharedFileError, match="must know the boot of its host, no boot_id"):
        SharedRateLimiter("5/hour", path=path, slots=64)


@both_impls
@given(st.data())
@settings(max_examples=60)
def test_any_bytes_in_the_header_are_refused_or_used_without_a_crash(impl, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "limits")
        load(MODULE, impl)("5/hour", path=path, slots=64).close()
        at = data.draw(st.integers(0, shared_file.CHECKSUM_AT - 1))
        junk = data.draw(st.binary(min_size=1, max_size=40))

        def spoil(header):
            header[at : min(at + len(junk), shared_file.CHECKSUM_AT)] = junk[: shared_file.CHECKSUM_AT - at]

        if data.draw(st.booleans()):
            rewrite(path, spoil)
        else:
            content = bytearray(path.read_bytes())
            spoil(content)
            path.write_bytes(content)
        with contextlib.suppress(SharedFileError):  # nothing else comes out, and what is opened works
            limiter = load(MODULE, impl)("5/hour", path=path, slots=64)
            with limiter:
                # another epoch may show the clock at its end, where every bucket is full
                assert limiter.allow("ann")
                assert limiter.allow("ann", 5) in (True, False)
            assert path.stat().st_size == 4096 + 64 * 16


@both_impls
@given(st.binary(min_size=1, max_size=2048))
@settings(max_examples=60)
def test_any_bytes_in_the_slots_end_in_an_answer(impl, junk):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "limits")
        load(MODULE, impl)("5/hour", "2/s", path=path, slots=64).close()
        content = path.read_bytes()
        path.write_bytes(content[:4096] + (junk * 2048)[: len(content) - 4096])
        with load(MODULE, impl)("5/hour", "2/s", path=path, slots=64) as limiter:
            for key in range(8):
                assert limiter.allow(key) in (True, False)
                assert limiter.check(key).remaining >= 0
                limiter.refund(key)
                limiter.reset(key)
            assert 0 <= limiter.sweep() <= 64
            assert 0 <= len(limiter) <= 64


@both_impls
def test_without_file_locks_the_room_is_imported_and_only_a_shared_limiter_refused(impl, path):
    """As on Windows, which has neither fcntl nor fork."""
    code = f"""
import os, sys

sys.modules["fcntl"] = None
del os.register_at_fork
from penstock.ratelimit import RateLimiter, SharedFileError, SharedRateLimiter

assert RateLimiter("5/hour").allow("ann")
try:
    SharedRateLimiter("5/hour", path={str(path)!r}, slots=64)
except SharedFileError as error:
    assert str(error).startswith("a shared limiter works on Linux only: "), error
else:
    raise AssertionError("made")
"""
    environment = {**os.environ, "PENSTOCK_IMPL": impl}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environment)
    assert not path.exists()
