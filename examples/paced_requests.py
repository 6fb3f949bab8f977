"""Requests to a backend that allows 20 a second with bursts of 5, and stands 3 at the same time."""

import asyncio
from time import monotonic

from penstock.ratelimit import ConcurrencyLimiter, TokenBucket


async def request(number: int, start: float) -> None:
    await asyncio.sleep(0.08)  # the backend at work
    print(f"{monotonic() - start:5.2f} s  request {number} answered")


async def paced(number: int, bucket: TokenBucket, slots: ConcurrencyLimiter, start: float) -> None:
    if not await bucket.acquire_async(timeout=0.5):
        print(f"{monotonic() - start:5.2f} s  request {number} would have to wait too long")
        return
    async with slots:
        await request(number, start)


async def main() -> None:
    bucket = TokenBucket(rate=20, capacity=5)
    slots = ConcurrencyLimiter(3)
    start = monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(1, 21):
            group.create_task(paced(number, bucket, slots, start))


if __name__ == "__main__":
    asyncio.run(main())
