"""What a pattern costs an item, beside the work itself; and what tasks pay to tell each other."""

import asyncio
import tracemalloc
from functools import partial

from penstock.fanout import (
    AimdLimit,
    Condition,
    Context,
    Once,
    backpressure,
    bounded,
    pipeline,
    rate_limited,
    select,
    sequential,
    stage,
    unbounded,
)

ITEMS = 1_000
LIMIT = 15


class Open:
    async def acquire_async(self):
        return True


async def work(item):
    await asyncio.sleep(0)
    return item


async def same(item):
    return item


def adaptive(work, items):
    return backpressure(work, items, law=AimdLimit(initial=LIMIT, maximum=LIMIT))


def three_stages(work, items):
    return pipeline(items, stage(work, limit=LIMIT), stage(same, limit=LIMIT), stage(same, limit=LIMIT))


PATTERNS = {
    "sequential": sequential,
    "unbounded": unbounded,
    "bounded": partial(bounded, limit=LIMIT),
    "bounded, ordered": partial(bounded, limit=LIMIT, ordered=True),
    "rate_limited": partial(rate_limited, limiter=Open(), limit=LIMIT),
    "backpressure": adaptive,
    "pipeline of three": three_stages,
}


async def drain(results):
    async for _ in results:
        pass


class Pattern:
    params = tuple(PATTERNS)
    param_names = ("pattern",)

    def setup(self, pattern):
        self.loop = asyncio.new_event_loop()
        self.fan_out = PATTERNS[pattern]

    def teardown(self, pattern):
        self.loop.close()

    def time_1k_items(self, pattern):
        self.loop.run_until_complete(drain(self.fan_out(work, range(ITEMS))))

    def track_peak_kib_of_10k_items(self, pattern):
        tracemalloc.start()
        try:
            self.loop.run_until_complete(drain(self.fan_out(work, range(10 * ITEMS))))
            return tracemalloc.get_traced_memory()[1] / 1024
        finally:
            tracemalloc.stop()

    track_peak_kib_of_10k_items.unit = "KiB"


class BetweenTasks:
    def setup(self):
        self.loop = asyncio.new_event_loop()

    def teardown(self):
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def time_select_1k_items_of_3_sources(self):
        async def endless():
            while True:
                yield 1

        async def run():
            async with select(a=endless(), b=endless(), c=endless()) as ready:
                for _ in range(ITEMS):
                    await ready.take()

        self.loop.run_until_complete(run())

    def time_condition_hands_over_1k_times(self):
        async def run():
            stock, condition = [], Condition()

            async def taker():
                for _ in range(ITEMS):
                    await condition.wait_for(lambda: stock)
                    stock.pop()

            task = asyncio.create_task(taker())
            for _ in range(ITEMS):
                stock.append(1)
                condition.notify()
                await asyncio.sleep(0)
            await task

        self.loop.run_until_complete(run())

    def time_once_1k_later_calls(self):
        async def answer():
            return 1

        async def run():
            once = Once(answer)
            for _ in range(ITEMS):
                await once()

        self.loop.run_until_complete(run())

    def time_enter_1k_contexts_with_timeout(self):
        async def run():
            async with Context().with_timeout(100) as root:
                for _ in range(ITEMS):
                    async with root.with_timeout(5):
                        pass

        self.loop.run_until_complete(run())
