"""What reservations, refunds and new rates promise, on both twins."""

import gc
import math
import threading
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.clock import NANOSECONDS, ManualClock
from penstock.ratelimit import LimiterFull, Quota, Reservation
from twins import both_twins, load

MODULE = "penstock.ratelimit.token_bucket"
TokenBucket = both_twins(MODULE)


@pytest.fixture
def clock():
    return ManualClock(now=5 * NANOSECONDS)


def test_reservation_of_what_is_there_needs_no_wait(TokenBucket, clock):
    bucket = TokenBucket(1, 5, clock=clock)
    reservation = bucket.reserve(3)
    assert isinstance(reservation, Reservation)
    assert reservation.delay == 0.0
    assert bucket.tokens == 2


def test_reservations_are_due_one_after_the_other(TokenBucket, clock):
    bucket = TokenBucket(2, 3, clock=clock)
    delays = [bucket.reserve().delay for _ in range(6)]
    assert delays == [0, 0, 0, 0.5, 1.0, 1.5]


def test_delay_counts_down_to_zero_and_stays_there(TokenBucket, clock):
    bucket = TokenBucket(1, 1, initial=0, clock=clock)
    reservation = bucket.reserve()
    clock.advance(0.75)
    assert reservation.delay == 0.25
    clock.advance(0.25)
    assert reservation.delay == 0
    clock.advance(-0.5)
    assert reservation.delay == 0


def test_nobody_overtakes_a_reservation(TokenBucket, clock):
    bucket = TokenBucket(1, 5, initial=0, clock=clock)
    reservation = bucket.reserve(5)
    clock.advance(4.9)
    assert not bucket.allow(0.5)
    assert bucket.tokens == 0
    assert round(bucket.retry_after(1), 9) == 1.1
    clock.advance(0.1)
    assert reservation.delay == 0
    assert not bucket.allow()
    clock.advance(1)
    assert bucket.allow()


def test_cancelled_reservation_gives_its_tokens_to_those_behind(TokenBucket, clock):
    bucket = TokenBucket(1, 1, initial=0, clock=clock)
    first, second, third, fourth = (bucket.reserve() for _ in range(4))
    clock.advance(0.25)
    assert second.cancel()
    assert second.delay == math.inf
    assert [each.delay for each in (first, third, fourth)] == [0.75, 1.75, 2.75]
    assert first.cancel()
    assert [each.delay for each in (third, fourth)] == [0.75, 1.75]
    assert fourth.cancel()
    assert bucket.reserve().delay == 1.75


def test_cancelling_the_only_reservation_leaves_no_trace(TokenBucket, clock):
    bucket = TokenBucket(1, 3, initial=0.5, clock=clock)
    assert bucket.reserve(3).cancel()
    assert bucket.tokens == 0.5


def test_cancel_gives_back_nothing_twice_or_after_its_time(TokenBucket, clock):
    bucket = TokenBucket(1, 1, initial=0, clock=clock)
    reservation = bucket.reserve()
    assert reservation.cancel()
    assert not reservation.cancel()
    late = bucket.reserve()
    clock.advance(1)
    assert not late.cancel()
    assert late.delay == 0
    assert bucket.tokens == 0
    at_once = TokenBucket(1, 1, clock=clock).reserve()
    assert not at_once.cancel()


def test_clock_going_back_does_not_undo_what_has_become_due(TokenBucket, clock):
    bucket = TokenBucket(1, 1, initial=0, clock=clock)
    unseen = bucket.reserve()
    clock.advance(5)
    assert bucket.allow()  # at this moment the bucket was full again: the reservation was long due
    clock.advance(-5)
    assert not unseen.cancel()
    clock.advance(5.5)
    assert not bucket.allow()


def test_refund_puts_tokens_back_but_never_above_capacity(TokenBucket, clock):
    bucket = TokenBucket(1, 5, clock=clock)
    bucket.allow(4)
    bucket.refund(2)
    assert bucket.tokens == 3
    bucket.refund(4.5)
    assert bucket.tokens == 5
    bucket.refund()
    clock.advance(-1)
    clock.advance(1)
    assert bucket.tokens == 5


def test_refund_brings_reservations_forward(TokenBucket, clock):
    bucket = TokenBucket(1, 2, initial=0, clock=clock)
    first, second = bucket.reserve(2), bucket.reserve(1)
    bucket.refund(1.5)
    assert (first.delay, second.delay) == (0.5, 1.5)
    bucket.refund(1)
    assert (first.delay, second.delay) == (0, 0.5)


def test_new_rate_keeps_the_tokens_that_are_there(TokenBucket, clock):
    bucket = TokenBucket(1, 10, initial=4, clock=clock)
    clock.advance(1)
    bucket.set_rate(7)
    assert (bucket.rate, bucket.capacity, bucket.tokens) == (7, 10, 5)
    clock.advance(0.5)
    assert bucket.tokens == 8.5
    bucket.set_rate(1_000_003, 6)
    assert (bucket.capacity, bucket.tokens) == (6, 6)
    bucket.set_rate(0.5, 100)
    assert bucket.tokens == 6
    clock.advance(2)
    assert bucket.tokens == pytest.approx(7, abs=1e-8)
    assert repr(bucket) == "TokenBucket(rate=0.5, capacity=100)"


def test_new_rate_keeps_debts_and_pays_them_faster(TokenBucket, clock):
    bucket = TokenBucket(1, 2, initial=0, clock=clock)
    first, second = bucket.reserve(2), bucket.reserve(2)
    clock.advance(1)
    bucket.set_rate(10)
    assert (first.delay, second.delay) == (0.1, 0.3)
    bucket.set_rate(0.5)
    assert (first.delay, second.delay) == (2, 6)
    assert first.cancel()
    assert second.delay == 2


def test_new_rate_with_the_clock_gone_back_makes_no_tokens(TokenBucket, clock):
    bucket = TokenBucket(1, 1, clock=clock)
    clock.advance(100)
    assert bucket.allow()
    clock.advance(-50)
    bucket.set_rate(1000)
    assert not bucket.allow()
    clock.advance(50)
    assert not bucket.allow()
    clock.advance(0.001)
    assert bucket.allow()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "rate must be > 0 and <= 1000000000 per second, got 0"),
        ((math.nan,), "rate must be finite, got nan"),
        ((1, 0.5), "capacity must be >= 1 token, got 0.5"),
        ((1e-9,), "capacity / rate must be <= 36 years, got 5 / 1e-09"),
        ((1e-8,), "rate must be high enough to pay in 36 years what is promised, got 1e-08"),
    ],
)
def test_impossible_new_rate_is_refused_and_changes_nothing(TokenBucket, clock, arguments, message):
    bucket = TokenBucket(1, 5, initial=0, clock=clock)
    last = [bucket.reserve(5) for _ in range(10)][-1]
    with pytest.raises(ValueError, match=message) as refused:
        bucket.set_rate(*arguments)
    assert isinstance(refused.value, PenstockError)
    assert last.delay == 50
    assert (bucket.rate, bucket.capacity) == (1, 5)


@pytest.mark.parametrize("method", ["reserve", "refund", "acquire"])
@pytest.mark.parametrize("n", [0, -1, 6, 10**30])
def test_n_that_could_never_be_there_is_refused(TokenBucket, clock, method, n):
    bucket = TokenBucket(1, 5, clock=clock)
    with pytest.raises(ValueError, match=f"n must be > 0 and <= capacity 5 tokens, got {n}"):
        getattr(bucket, method)(n)
    assert bucket.tokens == 5


def test_promises_end_after_36_years(TokenBucket, clock):
    bucket = TokenBucket(1, 10**9, initial=0, clock=clock)
    assert bucket.reserve(10**9).delay == 10**9
    with pytest.raises(LimiterFull, match="tokens must be there within 36 years"):
        bucket.reserve(10**9)
    assert bucket.retry_after() == 10**9 + 1
    assert not bucket.allow(10**9)


def test_number_of_promises_is_bounded(TokenBucket, clock, monkeypatch):
    monkeypatch.setattr("penstock.ratelimit._reservations.MAX_WAITING", 3)
    bucket = TokenBucket(1, 1, initial=0, clock=clock)
    kept = [bucket.reserve() for _ in range(3)]
    with pytest.raises(LimiterFull, match="at most 3 reservations may be pending"):
        bucket.reserve()
    assert kept[0].cancel()
    assert bucket.reserve().delay == 3


def test_peek_tells_how_full_it_is_and_takes_nothing(TokenBucket, clock):
    bucket = TokenBucket(2, 5, clock=clock)
    assert bucket.allow(3.5)
    result = bucket.peek()
    assert result
    assert (result.limit, result.remaining, result.count, result.window) == (5, 1, 4, 2.5)
    assert (result.retry_after, result.reset_after) == (0, 1.75)
    bucket.reserve(2)
    result = bucket.peek()
    assert not result
    assert (result.remaining, result.retry_after, result.reset_after) == (0, 0.75, 2.75)


def test_bucket_of_a_quota(TokenBucket, clock):
    bucket = TokenBucket.from_quota(Quota(100, 60, burst=7), clock=clock)
    assert (bucket.rate, bucket.capacity, bucket.tokens) == (Fraction(5, 3), 7, 7)
    assert TokenBucket.from_quota("10/second; burst=20", initial=3, clock=clock).tokens == 3
    with pytest.raises(ValueError, match="a bucket must have one quota, got 2"):
        TokenBucket.from_quota("10/second, 100/minute")
    with pytest.raises(TypeError, match="a quota must be a Quota or a string, got int"):
        TokenBucket.from_quota(5)


def test_forgotten_reservations_leave_nothing_behind(TokenBucket, clock):
    bucket = TokenBucket(1000, 1, initial=0, clock=clock)
    for _ in range(5_000):
        bucket.reserve()
        clock.advance(0.001)
    gc.collect()
    assert sum(type(each) is Reservation for each in gc.get_objects()) < 10


@pytest.mark.parametrize("order", ["from the front", "from the back"])
def test_ten_thousand_cancellations_stay_exact(TokenBucket, clock, order):
    bucket = TokenBucket(1, 1, initial=0, clock=clock)
    reservations = [bucket.reserve() for _ in range(10_000)]
    witness = bucket.reserve()
    if order == "from the back":
        reservations.reverse()
    for done, each in enumerate(reservations, 1):
        assert each.cancel()
        assert witness.delay == 10_001 - done
    assert witness.cancel()
    assert bucket.reserve().delay == 1


class Oracle:
    """The bucket by its definition, in fractions: a level that debts take below 0, and a list of promises."""

    def __init__(self, rate, capacity):
        self.rate, self.capacity = Fraction(rate), Fraction(capacity)
        self.level = self.capacity
        self.pending = []  # (name, n)

    def advance(self, nanoseconds):
        self.level = min(self.capacity, self.level + self.rate * nanoseconds / NANOSECONDS)
        self.catch_up()

    def catch_up(self):
        while self.pending and self.level + sum(n for _, n in self.pending[1:]) >= 0:
            self.pending.pop(0)

    def delay(self, name):
        behind = 0
        for other, n in reversed(self.pending):
            if other == name:
                return (-self.level - behind) / self.rate
            behind += n
        return Fraction(0)

    def reserve(self, name, n):
        self.level -= n
        self.pending.append((name, n))
        self.catch_up()

    def cancel(self, name):
        for each in self.pending:
            if each[0] == name:
                self.pending.remove(each)
                self.level += each[1]
                self.catch_up()
                return True
        return False

    def refund(self, n):
        self.level = min(self.capacity, self.level + n)
        self.catch_up()

    def set_rate(self, rate, capacity):
        self.rate, self.capacity = Fraction(rate), Fraction(capacity)
        self.level = min(self.level, self.capacity)


amounts = st.integers(1, 40).map(lambda quarters: quarters / 4)  # up to 10, the smallest capacity
operations = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.integers(0, 3 * 10**9)),
        st.tuples(st.just("allow"), amounts),
        st.tuples(st.just("reserve"), amounts),
        st.tuples(st.just("reserve"), amounts),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("refund"), amounts),
        st.tuples(st.just("set_rate"), st.sampled_from([0.5, 1, 3, 7, 64]), st.sampled_from([10, 16, 25.5])),
    ),
    max_size=60,
)


@given(st.sampled_from([0.5, 1, 3, 10]), operations)
def test_both_twins_follow_the_definition(rate, operations):
    clock = ManualClock()
    oracle = Oracle(rate, 10)
    buckets = [load(MODULE, impl)(rate, 10, clock=clock) for impl in ("c", "py")]
    made = []
    for operation, *arguments in operations:
        if operation == "advance":
            clock.now += arguments[0]
            oracle.advance(arguments[0])
        elif operation == "allow":
            close = abs(oracle.level - Fraction(arguments[0])) < 1e-6
            compiled, plain = (bucket.allow(*arguments) for bucket in buckets)
            assert compiled == plain
            assert close or plain == (oracle.level >= arguments[0])
            if plain:
                oracle.level -= Fraction(arguments[0])
        elif operation == "reserve":
            oracle.reserve(len(made), Fraction(arguments[0]))
            made.append([bucket.reserve(*arguments) for bucket in buckets])
        elif operation == "cancel" and made:
            chosen = arguments[0] % len(made)
            close = oracle.delay(chosen) < 1e-6
            compiled, plain = (each.cancel() for each in made[chosen])
            assert compiled == plain
            if plain or not close:
                assert oracle.cancel(chosen) == plain
        elif operation in ("refund", "set_rate"):
            getattr(oracle, operation)(*map(Fraction, arguments))
            for bucket in buckets:
                getattr(bucket, operation)(*arguments)
        for name, (compiled, plain) in enumerate(made):
            assert compiled.delay == plain.delay
            if plain.delay < math.inf:
                assert abs(plain.delay - oracle.delay(name)) < 1e-6
        compiled, plain = buckets
        assert compiled.tokens == plain.tokens
        assert compiled.peek().reset_after == plain.peek().reset_after
        assert abs(plain.tokens - max(oracle.level, 0)) < 1e-6


jumps = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.integers(-(10**10), 10**10)),
        st.tuples(st.just("advance"), st.integers(0, 10**9)),
        st.tuples(st.just("allow"), amounts),
        st.tuples(st.just("reserve"), amounts),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("set_rate"), st.sampled_from([0.5, 1, 3]), st.sampled_from([10, 8])),
    ),
    max_size=60,
)


@given(jumps)
@example([("allow", 0.25), ("reserve", 10.0), ("advance", -336), ("advance", 83_333_670)])
def test_no_window_of_any_clock_admits_more_than_capacity_and_rate_allow(jumps):
    epoch = 10**11
    clock = ManualClock(now=epoch)
    bucket = load(MODULE, "c")(3, 10, clock=clock)
    admitted = []  # (nanoseconds, n); a reservation at the first moment at which its delay is 0
    pending = {}  # reservation -> (n, when it is due)

    def look():
        for each, (n, due) in list(pending.items()):
            left = round(each.delay * NANOSECONDS)
            if left == 0:
                del pending[each]
                admitted.append((min(due, clock.now), n))
            else:
                pending[each] = (n, max(clock.now, epoch) + left)  # a clock before the epoch counts as that

    for operation, *arguments in jumps:
        if operation == "advance":
            clock.now += arguments[0]
        elif operation == "allow":
            if arguments[0] <= bucket.capacity and bucket.allow(*arguments):
                admitted.append((clock.now, arguments[0]))
        elif operation == "reserve":
            if arguments[0] <= bucket.capacity:
                pending[bucket.reserve(*arguments)] = (arguments[0], math.inf)
        elif operation == "cancel" and pending:
            chosen = list(pending)[arguments[0] % len(pending)]
            if chosen.cancel():
                del pending[chosen]
        elif operation == "set_rate":
            bucket.set_rate(*arguments)
        look()
    admitted.sort()
    for first, (start, _) in enumerate(admitted):
        total = 0
        for end, n in admitted[first:]:
            total += n
            assert total <= 10 + 3 * (end - start + 1) / NANOSECONDS + 1e-6


def test_eight_threads_neither_mint_nor_lose(TokenBucket, clock):
    bucket = TokenBucket(1, 50, clock=clock)
    start = threading.Barrier(8)
    balance = []

    def work(seed):
        start.wait()
        taken, kept = 0, []
        for turn in range(1_500):
            if (turn + seed) % 3 == 0:
                taken += bucket.allow()
            elif (turn + seed) % 3 == 1:
                kept.append(bucket.reserve())
            elif kept and kept[0].cancel():
                kept.pop(0)
            elif kept:
                taken += 1  # it was there
                kept.pop(0)
                bucket.refund()
                taken -= 1
            if turn % 250 == 0:
                bucket.set_rate(1 + turn % 2, 50)
        balance.append((taken, kept))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bucket.set_rate(1)
    taken = sum(taken for taken, _ in balance)
    kept = [each for _, mine in balance for each in mine]
    # the clock stood still: 50 tokens were there, and whatever is charged beyond them is owed
    assert bucket.peek().reset_after == taken + len(kept)
    assert sum(each.delay == 0 for each in kept) + taken <= 50
    assert max(each.delay for each in kept) == taken + len(kept) - 50
