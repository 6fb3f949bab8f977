"""The turns of the watch, in virtual time."""

import asyncio

from fake_engine import FakeEngine, answer_of

from penstock.clock import ManualClock
from penstock.services.pinger.model import Target
from penstock.services.pinger.probe import Prober
from penstock.services.pinger.settings import Settings
from penstock.services.pinger.watch.rounds import ping_in_rounds
from penstock.services.pinger.watch.state import Watch
from virtual_time import run_in_virtual_time

HANGS, QUICK = Target("http://hangs.example/", name="hangs"), Target("http://quick.example/", name="quick")


def watched_for(seconds, took_ms, *targets, **settings):
    """The watch, and the engine, after so many virtual seconds in which a ping took `took_ms` by its host."""
    clock = ManualClock()
    engine = FakeEngine(clock, lambda request: answer_of(wait=took_ms[request.host]))
    watch = Watch(targets, 2, 2)

    async def run():
        prober = Prober(engine, Settings(interval=1, **settings), clock=clock)
        rounds = asyncio.create_task(ping_in_rounds(targets, prober, watch.add, clock=clock))
        await asyncio.sleep(seconds)
        rounds.cancel()
        await asyncio.wait({rounds})
        assert rounds.cancelled()

    run_in_virtual_time(run(), clock)
    return watch, engine


def test_every_target_is_pinged_on_its_beat_and_nothing_is_missed():
    watch, _ = watched_for(10.5, {"quick.example": 10}, QUICK)
    (quick,) = watch
    assert (quick.good, quick.missed) == (11, 0)


def test_a_target_that_hangs_is_pinged_once_at_a_time_and_the_turns_left_out_are_counted():
    watch, engine = watched_for(
        10.5, {"hangs.example": 2_500, "quick.example": 10}, HANGS, QUICK, concurrency=2
    )
    assert engine.most == 2  # one of each
    hangs, quick = watch
    # Turns 1, 4, 7 and 10 are taken, the last one is not over; 2 and 3, 5 and 6, and 8 and 9 pass meanwhile.
    assert (engine.asked["http://hangs.example/"], hangs.good, hangs.missed) == (4, 3, 4)
    assert quick.good >= 9  # the other has a slot to itself all the time
    assert quick.missed == 0
