"""Examples 36 and 37 of the system design examples, as whole programs on a clock that is moved by hand.

What they must print is what the Go programs print when they run, not what their
comments say. A program's `time.Sleep` moves the clock; between two of its statements no time passes.
"""

import pytest

from penstock.clock import ManualClock
from twins import both_twins

TokenBucket = both_twins("penstock.ratelimit.token_bucket")
SlidingWindow = both_twins("penstock.ratelimit.sliding_window")

EXAMPLE_36 = """\
=== Burst phase (10 rapid requests) ===
  Request 01: ALLOWED (tokens remaining: 9.00)
  Request 02: ALLOWED (tokens remaining: 8.00)
  Request 03: ALLOWED (tokens remaining: 7.00)
  Request 04: ALLOWED (tokens remaining: 6.00)
  Request 05: ALLOWED (tokens remaining: 5.00)
  Request 06: ALLOWED (tokens remaining: 4.00)
  Request 07: ALLOWED (tokens remaining: 3.00)
  Request 08: ALLOWED (tokens remaining: 2.00)
  Request 09: ALLOWED (tokens remaining: 1.00)
  Request 10: ALLOWED (tokens remaining: 0.00)
  Request 11: REJECTED (tokens remaining: 0.00)
  Request 12: REJECTED (tokens remaining: 0.00)

=== After 0.4s wait (5 tokens/sec * 0.4s = 2 tokens) ===
  Request 1: ALLOWED (tokens: 1.00)
  Request 2: ALLOWED (tokens: 0.00)
  Request 3: REJECTED (tokens: 0.00)
"""

EXAMPLE_37 = """\
=== Phase 1: Fill the window ===
  Request 1: OK  | count=1 | remaining=4
  Request 2: OK  | count=2 | remaining=3
  Request 3: OK  | count=3 | remaining=2
  Request 4: OK  | count=4 | remaining=1
  Request 5: OK  | count=5 | remaining=0
  Request 6: 429 | count=5 | remaining=0
  Request 7: 429 | count=5 | remaining=0

=== Phase 2: Wait for window to slide ===
  After 1.5s: 429 — oldest requests still within 10s window

=== Demonstrating sliding window advantage ===
  Bypass attempt: BLOCKED (correct)
"""


@pytest.fixture
def clock():
    return ManualClock()


def test_token_bucket_prints_what_example_36_prints(TokenBucket, clock, capsys):
    limiter = TokenBucket(rate=5, capacity=10, clock=clock)

    print("=== Burst phase (10 rapid requests) ===")
    for i in range(12):
        status = "ALLOWED" if limiter.allow(1.0) else "REJECTED"
        print(f"  Request {i + 1:02}: {status} (tokens remaining: {limiter.tokens:.2f})")

    print("\n=== After 0.4s wait (5 tokens/sec * 0.4s = 2 tokens) ===")
    clock.advance(0.4)
    for i in range(3):
        status = "ALLOWED" if limiter.allow(1.0) else "REJECTED"
        print(f"  Request {i + 1}: {status} (tokens: {limiter.tokens:.2f})")

    assert capsys.readouterr().out.splitlines() == EXAMPLE_36.splitlines()


def test_sliding_window_prints_what_example_37_prints(SlidingWindow, clock, capsys):
    limiter = SlidingWindow(5, 10, clock=clock)

    print("=== Phase 1: Fill the window ===")
    for i in range(7):
        info = limiter.check()
        status = "OK " if info.allowed else "429"
        print(f"  Request {i + 1}: {status} | count={info.count} | remaining={info.remaining}")
        clock.advance(0.1)

    print("\n=== Phase 2: Wait for window to slide ===")
    clock.advance(1.5)
    status = "OK" if limiter.check() else "429"
    print(f"  After 1.5s: {status} — oldest requests still within 10s window")

    print("\n=== Demonstrating sliding window advantage ===")
    limiter = SlidingWindow(5, 10, clock=clock)
    for _ in range(5):
        limiter.check()
    result = "BYPASSED (bad)" if limiter.check() else "BLOCKED (correct)"
    print(f"  Bypass attempt: {result}")

    assert capsys.readouterr().out.splitlines() == EXAMPLE_37.splitlines()


def test_times_of_a_result_are_those_of_example_37(SlidingWindow, clock):
    """Its `reset_in` is the period; its `retry_after_seconds` the rest of the oldest hit's, to the nanosecond
    at which that still counts (`t >= windowStart`). Ours is one later, when a retry succeeds."""
    limiter = SlidingWindow(5, 10, clock=clock)
    for _ in range(5):
        assert limiter.check().reset_after == 10
        clock.advance(0.1)
    assert limiter.check().retry_after == 9.500000001
    clock.advance(9.5)
    assert not limiter.allow()
    clock.now += 1
    assert limiter.allow()
