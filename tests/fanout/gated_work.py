"""Work that goes on when the test says so, and what the tests of the fan-outs ask about the loop."""

import asyncio


class Work:
    """Work that ends when the test says so, and counts what is in progress."""

    def __init__(self):
        self.gates = {}
        self.in_progress = set()
        self.most = 0

    async def __call__(self, item):
        self.in_progress.add(item)
        self.most = max(self.most, len(self.in_progress))
        try:
            outcome = await self.gates.setdefault(item, asyncio.get_running_loop().create_future())
        finally:
            self.in_progress.discard(item)
        return outcome

    def finish(self, item):
        self.gates[item].set_result(item)

    def fail(self, item, error):
        self.gates[item].set_exception(error)


async def settle(turns=20):
    """Lets every task run until it waits for something that only the test can bring about."""
    for _ in range(turns):
        await asyncio.sleep(0)


def others():
    return asyncio.all_tasks() - {asyncio.current_task()}


async def double(item):
    await asyncio.sleep(0)
    return 2 * item


async def async_range(count):
    for item in range(count):
        await asyncio.sleep(0)
        yield item


def at_once(loop, coroutine, **how):
    """A task factory whose tasks begin before it returns; asyncio has one, but not always one for uvloop."""
    return asyncio.Task(coroutine, loop=loop, **how | {"eager_start": True})
