"""Turns to connect, in virtual time."""

import asyncio

import pytest

from penstock.clock import NANOSECONDS, ManualClock
from penstock.probing.turns import LONGEST_TURN, Turns
from virtual_time import virtual_time

virtual = virtual_time()


@pytest.fixture
def clock():
    return ManualClock()


def test_no_more_have_a_turn_than_the_limit(virtual):
    async def main():
        turns = Turns(2)
        first, second = turns.take_now(), turns.take_now()
        assert not first.waited
        assert turns.take_now() is None
        third = asyncio.create_task(turns.take())
        await asyncio.sleep(0)
        assert not third.done()
        second.end()
        assert (await third).waited
        assert turns.take_now() is None

    virtual(main())


def test_those_who_wait_come_in_order(virtual):
    async def main():
        turns, came = Turns(1), []
        turn = turns.take_now()

        async def wait(name):
            with_turn = await turns.take()
            came.append(name)
            with_turn.end()

        tasks = [asyncio.create_task(wait(name)) for name in "abc"]
        await asyncio.sleep(0)
        turn.end()
        await asyncio.gather(*tasks)
        assert came == ["a", "b", "c"]

    virtual(main())


def test_a_turn_that_is_held_for_long_ends_by_itself_and_only_once(virtual, clock):
    async def main():
        turns = Turns(1)
        turn = turns.take_now()
        await turns.take()
        assert clock.now == round(LONGEST_TURN * NANOSECONDS)
        turn.end()  # has no turn to give any more
        assert turns.take_now() is None

    virtual(main())


@pytest.mark.parametrize("came_already", [False, True])
def test_a_turn_of_one_who_is_cancelled_goes_to_the_next(virtual, came_already):
    async def main():
        turns = Turns(1)
        turn = turns.take_now()
        gone, stays = (asyncio.create_task(turns.take()) for _ in range(2))
        await asyncio.sleep(0)
        if came_already:
            turn.end()
        gone.cancel()
        turn.end()
        assert (await stays).waited
        assert gone.cancelled()

    virtual(main())
