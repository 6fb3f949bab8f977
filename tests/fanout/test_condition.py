"""Conditions: who is woken, when, and that no notification gets lost."""

import asyncio

import pytest
from gated_work import others, settle
from hypothesis import given
from hypothesis import strategies as st

from penstock.fanout import Condition


class Shop:
    """Things that tasks wait for and take."""

    def __init__(self):
        self.stock = []
        self.delivered = Condition()
        self.bought = []

    async def buy(self, name="", least=1):
        await self.delivered.wait_for(lambda: len(self.stock) >= least)
        things = [self.stock.pop() for _ in range(least)]
        self.bought.append(name)
        return things

    def deliver(self, *things):
        self.stock += things


@pytest.fixture
def shop():
    return Shop()


async def test_who_finds_it_true_does_not_wait(shop):
    shop.deliver("a")
    assert await shop.buy() == ["a"]


async def test_wait_returns_what_the_predicate_returned():
    assert await Condition().wait_for(lambda: "value") == "value"


async def test_notification_wakes_the_first_that_came(shop):
    buyers = [asyncio.create_task(shop.buy(name)) for name in "abc"]
    await settle()
    assert len(shop.delivered) == 3
    for expected in ("a", "ab", "abc"):
        shop.deliver("thing")
        assert shop.delivered.notify() == 1
        await settle()
        assert "".join(shop.bought) == expected
    await asyncio.gather(*buyers)
    assert len(shop.delivered) == 0


async def test_only_those_whose_predicate_is_true_are_woken(shop):
    patient = asyncio.create_task(shop.buy("patient", least=5))
    modest = asyncio.create_task(shop.buy("modest"))
    await settle()
    shop.deliver("a")
    assert shop.delivered.notify() == 1  # not lost on the one who came first
    await modest
    assert not patient.done()
    shop.deliver(*"abcde")
    assert shop.delivered.notify_all() == 1
    await patient


async def test_notification_while_nobody_waits_wakes_nobody_and_the_change_is_seen_all_the_same(shop):
    shop.deliver("a")
    assert shop.delivered.notify() == 0
    assert await shop.buy() == ["a"]


async def test_two_notifications_wake_two(shop):
    buyers = [asyncio.create_task(shop.buy(name)) for name in "ab"]
    await settle()
    shop.deliver("1")
    assert shop.delivered.notify() == 1
    shop.deliver("2")
    assert shop.delivered.notify() == 1
    await settle()
    assert all(buyer.done() for buyer in buyers)


async def test_many_can_be_woken_by_one_notification(shop):
    buyers = [asyncio.create_task(shop.buy(name)) for name in "abc"]
    await settle()
    shop.deliver(1, 2, 3)
    assert shop.delivered.notify(2) == 2
    await settle()
    assert shop.bought == ["a", "b"]
    assert shop.delivered.notify_all() == 1
    await asyncio.gather(*buyers)


async def test_any_number_may_be_woken(shop):
    buyer = asyncio.create_task(shop.buy())
    await settle()
    shop.deliver("a")
    assert shop.delivered.notify(1 << 70) == 1
    assert await buyer == ["a"]


async def test_notification_of_one_that_is_cancelled_passes_on(shop):
    first, second = (asyncio.create_task(shop.buy(name)) for name in "ab")
    await settle()
    shop.deliver("thing")
    shop.delivered.notify()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == ["thing"]


async def test_one_that_comes_too_late_keeps_its_place(shop):
    first, second = (asyncio.create_task(shop.buy(name)) for name in "ab")
    await settle()
    shop.deliver("thing")
    shop.delivered.notify()
    shop.stock.clear()  # somebody was quicker
    await settle()
    assert not first.done()
    shop.deliver("thing")
    shop.delivered.notify()
    await first
    assert shop.bought == ["a"]
    second.cancel()
    await asyncio.wait([second])


async def test_one_that_comes_too_late_passes_the_notification_on(shop):
    greedy = asyncio.create_task(shop.buy("greedy", least=2))
    modest = asyncio.create_task(shop.buy("modest"))
    await settle()
    shop.deliver(1, 2)
    shop.delivered.notify()
    shop.stock.pop()  # one is left, which is enough for the other
    await settle()
    assert not greedy.done()
    assert await modest == [1]
    greedy.cancel()
    await asyncio.wait([greedy])


async def test_predicate_is_true_when_the_wait_is_over(shop):
    async def thief():
        await asyncio.sleep(0)
        shop.stock.clear()

    buyer = asyncio.create_task(shop.buy())
    await settle()
    robbery = asyncio.create_task(thief())
    shop.deliver("thing")
    shop.delivered.notify()
    await settle()
    assert buyer.done() == (shop.bought == [""])
    buyer.cancel()
    await asyncio.wait([buyer, robbery])


async def test_predicate_that_raises_is_raised_to_the_one_that_waits():
    state, condition = {}, Condition()
    broken = asyncio.create_task(condition.wait_for(lambda: state["ready"]))
    with pytest.raises(KeyError, match="ready"):
        await broken
    state["ready"] = False
    waiting = asyncio.create_task(condition.wait_for(lambda: state["ready"]))
    await settle()
    del state["ready"]
    condition.notify()
    with pytest.raises(KeyError, match="ready"):
        await waiting
    assert len(condition) == 0


async def test_waiting_ends_with_a_timeout_around_it():
    condition = Condition()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await condition.wait_for(lambda: False)
    assert len(condition) == 0


@pytest.mark.parametrize("n", [0, -1])
def test_notifying_fewer_than_one_is_refused(n):
    with pytest.raises(ValueError, match=f"n must be >= 1, got {n}"):
        Condition().notify(n)


@given(
    buyers=st.integers(1, 12),
    least=st.randoms(use_true_random=False),
    steps=st.lists(st.sampled_from(["deliver", "cancel", "turn"]), max_size=60),
)
def test_nobody_waits_while_the_stock_is_enough_for_him(buyers, least, steps):
    async def run():
        shop = Shop()
        wants = [least.randint(1, 2) for _ in range(buyers)]
        tasks = [asyncio.create_task(shop.buy(str(n), least=want)) for n, want in enumerate(wants)]
        await settle()
        for step in steps:
            if step == "deliver":
                shop.deliver("thing")
                shop.delivered.notify()
            elif step == "cancel":
                least.choice(tasks).cancel()
            else:
                await asyncio.sleep(0)
        await settle()
        waiting = [want for task, want in zip(tasks, wants, strict=True) if not task.done()]
        assert len(waiting) == len(shop.delivered)
        assert not any(len(shop.stock) >= want for want in waiting)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert len(shop.delivered) == 0
        assert not others()

    asyncio.run(run())
