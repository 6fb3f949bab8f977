"""Fifteen requests to a service that allows fifty a second, no more than three under way at once."""

import asyncio
from contextlib import aclosing
from time import monotonic

from penstock.fanout import rate_limited
from penstock.ratelimit import TokenBucket


async def request(number: int) -> str:
    await asyncio.sleep(0.03)
    return f"request {number:2}"


async def main() -> None:
    start = monotonic()
    bucket = TokenBucket(rate=50, capacity=1)
    async with aclosing(rate_limited(request, range(1, 16), limiter=bucket, limit=3)) as answers:
        async for answer in answers:
            print(f"{monotonic() - start:5.2f} s  {answer} answered")


if __name__ == "__main__":
    asyncio.run(main())
