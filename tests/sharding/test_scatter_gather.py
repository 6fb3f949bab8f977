"""The same question to all shards: what comes back when some fail, hang or dawdle."""

import asyncio
import gc
import math

import pytest

from penstock.clock import NANOSECONDS, ManualClock
from penstock.errors import PenstockError
from penstock.sharding.scatter_gather import Gathered, ShardsFailed, ShardTimeout, scatter_gather
from penstock.sharding.shard import ShardError
from virtual_time import virtual_time

virtual = virtual_time()


@pytest.fixture
def clock():
    return ManualClock(now=5 * NANOSECONDS)


class Shards:
    """Shards that answer after as many seconds as their value says, or raise it."""

    def __init__(self):
        self.calls = []
        self.now = self.most = 0
        self.ended = []

    async def __call__(self, shard):
        self.calls.append(shard)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if isinstance(shard, BaseException):
                raise shard
            await asyncio.sleep(shard)
        finally:
            self.now -= 1
            self.ended.append(shard)
        return f"after {shard}"


@pytest.fixture
def ask():
    return Shards()


def test_all_answers_come_by_shard_in_the_order_of_the_shards(virtual, ask, clock):
    result = virtual(scatter_gather({"slow": 3, "fast": 1, 7: 2}, ask))
    assert result == Gathered({"slow": "after 3", "fast": "after 1", 7: "after 2"}, {})
    assert list(result.values) == ["slow", "fast", 7]
    assert result.complete
    assert clock.now == 8 * NANOSECONDS  # all at once: as long as the slowest


def test_no_shards_are_a_complete_answer(virtual, ask):
    assert virtual(scatter_gather({}, ask)) == Gathered({}, {})


def test_late_shard_is_left_out_at_the_deadline(virtual, ask, clock):
    result = virtual(scatter_gather({"a": 1, "hangs": 1e6, "c": 2}, ask, deadline=4, partial=True))
    assert result.values == {"a": "after 1", "c": "after 2"}
    assert not result.complete
    assert isinstance(result.errors["hangs"], ShardTimeout)
    assert isinstance(result.errors["hangs"], TimeoutError)
    assert str(result.errors["hangs"]) == "a shard must answer within 4 seconds, got no answer"
    assert clock.now == 9 * NANOSECONDS
    assert ask.ended == [1, 2, 1e6]  # it was cancelled


def test_each_shard_may_have_a_deadline_of_its_own(virtual, ask):
    shards = {"a": 3, "b": 3, "c": 3}
    result = virtual(scatter_gather(shards, ask, deadline={"a": 2, "b": 4}, partial=True))
    assert list(result.values) == ["b", "c"]
    assert list(result.errors) == ["a"]


def test_failing_shard_stops_no_other(virtual, ask):
    broken = ShardError("disk full")
    result = virtual(scatter_gather({"broken": broken, "b": 2}, ask, partial=True))
    assert result.values == {"b": "after 2"}
    assert result.errors == {"broken": broken}


def test_without_partial_a_failure_says_which_shards_and_why(virtual, ask):
    shards = {"ok": 1, "broken": ShardError("disk full\nand more"), 3: 1e6}
    with pytest.raises(ShardsFailed) as failed:
        virtual(scatter_gather(shards, ask, deadline=2))
    assert str(failed.value) == (
        "2 of 3 shards failed: 'broken': ShardError: disk full; "
        "3: ShardTimeout: a shard must answer within 2 seconds, got no answer"
    )
    assert failed.value.result.values == {"ok": "after 1"}
    assert list(failed.value.result.errors) == ["broken", 3]
    assert isinstance(failed.value, ShardError)
    assert isinstance(failed.value, PenstockError)
    assert isinstance(failed.value, OSError)


def test_message_of_many_failures_stays_short(virtual, ask):
    shards = {f"shard {number} {'x' * 1000}": ShardError("y" * 10_000) for number in range(1000)}
    with pytest.raises(ShardsFailed, match=r"^1000 of 1000 shards failed: .*; and 995 more$") as failed:
        virtual(scatter_gather(shards, ask))
    assert len(str(failed.value)) < 2000


def test_no_more_shards_are_called_at_once_than_the_limit(virtual, ask, clock):
    virtual(scatter_gather(dict(enumerate([1] * 10)), ask, limit=3))
    assert ask.most == 3
    assert clock.now == (5 + 4) * NANOSECONDS


def test_deadline_counts_the_wait_for_a_slot(virtual, ask):
    result = virtual(scatter_gather({"first": 3, "second": 1}, ask, limit=1, deadline=3.5, partial=True))
    assert list(result.values) == ["first"]
    assert list(result.errors) == ["second"]


def test_call_that_raises_at_once_or_returns_no_awaitable_is_a_failure_of_its_shard(virtual):
    def call(shard):
        return 1 / shard

    result = virtual(scatter_gather({"zero": 0, "one": 1}, call, partial=True))
    assert {name: type(error) for name, error in result.errors.items()} == {
        "zero": ZeroDivisionError,
        "one": TypeError,
    }


def test_shard_that_cancels_itself_has_failed_and_nobody_else(virtual, ask):
    result = virtual(scatter_gather({"a": asyncio.CancelledError(), "b": 1}, ask, partial=True))
    assert list(result.values) == ["b"]
    assert isinstance(result.errors["a"], asyncio.CancelledError)


def test_deadline_holds_for_a_call_that_does_not_heed_its_cancellation(virtual, clock):
    release = asyncio.Event()
    seen = []

    async def stubborn(shard):
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
        raise ShardError("seen by nobody, and nobody is warned")

    async def main():
        result = await scatter_gather({"stubborn": None}, stubborn, deadline=1, partial=True)
        assert isinstance(result.errors["stubborn"], ShardTimeout)
        assert seen == ["cancelled"]
        assert clock.now <= 6.1 * NANOSECONDS
        release.set()
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)
        gc.collect()

    virtual(main())


def test_cancelled_caller_takes_all_calls_along(virtual, ask):
    async def main():
        gathering = asyncio.ensure_future(scatter_gather({"a": 10, "b": 20}, ask, hedge_after=1))
        await asyncio.sleep(5)
        gathering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathering
        assert sorted(ask.ended) == [10, 10, 20, 20]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtual(main())


async def test_caller_that_is_cancelled_at_once_leaves_nothing_undone(ask):
    """Its calls have not even begun: no coroutine is left that nobody ever awaits."""
    for turns in range(4):
        gathering = asyncio.ensure_future(scatter_gather({"a": 10, "b": 20}, ask))
        for _ in range(turns):
            await asyncio.sleep(0)
        gathering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathering
        gc.collect()  # which would warn, and a warning is an error here
    assert asyncio.all_tasks() == {asyncio.current_task()}


# ---- hedging


def test_quick_shard_is_asked_once(virtual, ask):
    virtual(scatter_gather({"a": 1}, ask, hedge_after=2))
    assert ask.calls == [1]


def test_slow_shard_is_asked_again_and_the_first_answer_counts(virtual, clock):
    delays = iter([100, 1])
    cancelled = []

    async def call(shard):
        delay = next(delays)
        try:
            await asyncio.sleep(delay)
        except asyncio.CancelledError:
            cancelled.append(delay)
            raise
        return delay

    assert virtual(scatter_gather({"a": None}, call, hedge_after=2)).values == {"a": 1}
    assert cancelled == [100]
    assert clock.now == (5 + 2 + 1) * NANOSECONDS


@pytest.mark.parametrize("first_fails", [True, False])
def test_of_two_calls_the_one_that_does_not_fail_counts(virtual, first_fails):
    numbers = iter([1, 2])

    async def call(shard):
        number = next(numbers)
        await asyncio.sleep(5 if (number == 1) == first_fails else 10)
        if (number == 1) == first_fails:
            raise ShardError("no")
        return number

    result = virtual(scatter_gather({"a": None}, call, hedge_after=2))
    assert result.values == {"a": 2 if first_fails else 1}


def test_two_calls_that_fail_are_a_failure(virtual):
    numbers = iter([1, 2])

    async def call(shard):
        number = next(numbers)
        await asyncio.sleep(5)
        raise ShardError(f"call {number}")

    result = virtual(scatter_gather({"a": None}, call, hedge_after=2, partial=True))
    assert str(result.errors["a"]) == "call 1"


def test_quick_failure_is_not_tried_again(virtual, ask):
    result = virtual(scatter_gather({"a": ShardError("no")}, ask, hedge_after=2, partial=True))
    assert len(ask.calls) == 1
    assert list(result.errors) == ["a"]


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"deadline": 0}, ValueError, "deadline must be > 0 and <= 1e.09 seconds, got 0"),
        ({"deadline": math.nan}, ValueError, "deadline must be > 0 and <= 1e.09 seconds, got nan"),
        ({"deadline": "1"}, TypeError, "deadline must be a number of seconds, got str"),
        ({"deadline": {"z": 1}}, ValueError, "deadline must be of a shard that is asked, got one of 'z'"),
        ({"hedge_after": -1}, ValueError, "hedge_after must be > 0 and <= 1e.09 seconds, got -1"),
        ({"limit": 0}, ValueError, "limit must be >= 1 and <= 100000, got 0"),
        ({"limit": 1.0}, TypeError, "limit must be an int, got float"),
        ({"limit": 10**5000}, ValueError, "limit must be >= 1 and <= 100000, got an int of 16610 bits"),
    ],
)
async def test_nonsense_is_refused_before_anybody_is_asked(ask, how, error, message):
    with pytest.raises(error, match=message) as refused:
        await scatter_gather({"a": 1}, ask, **how)
    assert isinstance(refused.value, PenstockError)
    assert ask.calls == []


async def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="call must be callable, got str"):
        await scatter_gather({"a": 1}, "count")
