"""Waiting for tokens beside aiolimiter: what an await costs, and how well a rate is kept."""

import asyncio
from statistics import quantiles
from time import perf_counter

from aiolimiter import AsyncLimiter
from rich.table import Table

from penstock.ratelimit import TokenBucket
from penstock.ratelimit._token_bucket_py import TokenBucket as PurePythonTokenBucket

AWAITS = 1_000
RATE = 1_000
TASKS = 20


async def empty():
    return True


def test_await_of_tokens_that_are_there(race):
    with asyncio.Runner() as runner:
        run = runner.get_loop().run_until_complete

        def awaiting(call):
            async def many():
                for _ in range(AWAITS):
                    await call()

            return lambda: run(many())

        race(
            "await acquire_async(), tokens there",
            {
                "penstock": awaiting(TokenBucket(1e9, 1e9).acquire_async),
                "penstock, pure Python": awaiting(PurePythonTokenBucket(1e9, 1e9).acquire_async),
                "aiolimiter": awaiting(AsyncLimiter(1e9, 1).acquire),
                "empty coroutine": awaiting(empty),
            },
            operations=AWAITS,
        )


async def pace(acquire, seconds):
    """Grants a second, and how many ms the 99th of a hundred came after it could have."""
    moments = []
    start = perf_counter()

    async def loop():
        while perf_counter() - start < seconds:
            await acquire()
            moments.append(perf_counter() - start)

    await asyncio.gather(*(loop() for _ in range(TASKS)))
    first, last = moments[0], moments[-1]
    late = [moment - first - turn / RATE for turn, moment in enumerate(moments)]
    return (len(moments) - 1) / (last - first), quantiles(late, n=100)[98] * 1000


def test_rate_that_is_kept(benchmark, show):
    seconds = 0.1 if benchmark.disabled else 5
    table = Table(title=f"{TASKS} tasks, {RATE} a second, no burst, {seconds} s", title_justify="left")
    for column in ("contestant", "grants a second", "rate error", "99 % at most ms late"):
        table.add_column(column, justify="left" if column == "contestant" else "right")
    contestants = {
        "penstock": lambda: TokenBucket(RATE, 1).acquire_async,
        "penstock, pure Python": lambda: PurePythonTokenBucket(RATE, 1).acquire_async,
        "aiolimiter": lambda: AsyncLimiter(1, 1 / RATE).acquire,
    }
    for name, make in contestants.items():

        async def run(make=make):
            return await pace(make(), seconds)

        rate, late = asyncio.run(run())
        table.add_row(name, f"{rate:,.1f}", f"{rate / RATE - 1:+.3%}", f"{late:,.2f}")
    show(table)
    benchmark.pedantic(TokenBucket(1e9, 1e9).allow, rounds=1)
