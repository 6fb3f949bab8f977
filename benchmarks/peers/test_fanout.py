"""Bounded fan-out beside aiometer, a semaphore with gather, and workers on queues; and what waiting costs."""

import asyncio
import resource
from time import monotonic_ns, perf_counter

import aiometer
from rich.table import Table

from penstock.fanout import AimdLimit, backpressure, bounded
from penstock.timer import Timer

LIMIT = 15
ITEMS = 1_500


async def yielding(item):
    await asyncio.sleep(0)
    return item


async def two_ms(item):
    await asyncio.sleep(0.002)
    return item


async def drain(results):
    async for _ in results:
        pass


async def by_penstock(work, items):
    await drain(bounded(work, items, limit=LIMIT))


async def by_backpressure(work, items):
    await drain(backpressure(work, items, law=AimdLimit(initial=LIMIT, maximum=LIMIT)))


async def by_aiometer(work, items):
    async with aiometer.amap(work, list(items), max_at_once=LIMIT) as results:
        await drain(results)


async def by_semaphore(work, items):
    """Holds a task for every item, and every result to the end."""
    slots = asyncio.Semaphore(LIMIT)

    async def one(item):
        async with slots:
            return await work(item)

    await asyncio.gather(*(one(item) for item in items))


async def by_workers(work, items):
    """The pool of many a tutorial: two queues, no order, no care for exceptions or cancellation."""
    todo, done = asyncio.Queue(LIMIT), asyncio.Queue(LIMIT)

    async def feed():
        for item in items:
            await todo.put(item)

    async def worker():
        while True:
            await done.put(await work(await todo.get()))

    tasks = [asyncio.create_task(worker()) for _ in range(LIMIT)]
    tasks.append(asyncio.create_task(feed()))
    for _ in items:
        await done.get()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


CONTESTANTS = {
    "penstock": by_penstock,
    "penstock, backpressure": by_backpressure,
    "workers on two queues": by_workers,
    "semaphore and gather": by_semaphore,
    "aiometer": by_aiometer,
}


def test_an_item_of_a_bounded_fan_out(race):
    with asyncio.Runner() as runner:
        run = runner.get_loop().run_until_complete
        race(
            f"one item of {ITEMS}, {LIMIT} in flight, work that yields once",
            {
                name: lambda fan_out=fan_out: run(fan_out(yielding, range(ITEMS)))
                for name, fan_out in CONTESTANTS.items()
            },
            operations=ITEMS,
        )


def test_7500_items_of_2_ms(benchmark, show):
    count = LIMIT if benchmark.disabled else 7_500
    title = (
        f"{count} items of 2 ms, {LIMIT} in flight; {count / LIMIT * 0.002:.2f} s if nothing cost anything"
    )
    table = Table(title=title, title_justify="left")
    for column in ("contestant", "seconds", "CPU µs an item"):
        table.add_column(column, justify="left" if column == "contestant" else "right")
    for name, fan_out in CONTESTANTS.items():
        start, cpu = perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
        asyncio.run(fan_out(two_ms, range(count)))
        used = resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu
        table.add_row(name, f"{perf_counter() - start:.3f}", f"{used / count * 1e6:.1f}")
    show(table)
    benchmark.pedantic(lambda: None, rounds=1)


def test_how_late_a_moment_is(benchmark, show):
    steps = 20 if benchmark.disabled else 2_000
    table = Table(title=f"{steps} moments 1.3 ms apart: µs late", title_justify="left")
    for column in ("contestant", "earliest", "median", "99 %"):
        table.add_column(column, justify="left" if column == "contestant" else "right")

    async def late_by(wait):
        late, at = [], monotonic_ns()
        for _ in range(steps):
            at += 1_300_000
            await wait(at)
            late.append((monotonic_ns() - at) / 1_000)
        late.sort()
        return late

    async def by_timer():
        with Timer() as timer:
            return await late_by(timer.sleep_until)

    async def by_sleep():
        return await late_by(lambda at: asyncio.sleep((at - monotonic_ns()) / 1e9))

    loops = {"": asyncio.new_event_loop}
    try:
        import uvloop
    except ImportError:
        pass
    else:
        loops[", uvloop"] = uvloop.new_event_loop
    for loop, factory in loops.items():
        for name, sleep in {"penstock": by_timer, "asyncio.sleep": by_sleep}.items():
            with asyncio.Runner(loop_factory=factory) as runner:
                late = runner.run(sleep())
            table.add_row(
                name + loop, f"{late[0]:,.0f}", f"{late[steps // 2]:,.0f}", f"{late[steps * 99 // 100]:,.0f}"
            )
    show(table)
    benchmark.pedantic(lambda: None, rounds=1)
