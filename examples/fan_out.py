"""Do twelve jobs, never more than four at once, and print each as it finishes."""

import asyncio
import random
from contextlib import aclosing

from penstock.fanout import bounded


async def job(number: int) -> str:
    seconds = random.uniform(0.05, 0.2)
    await asyncio.sleep(seconds)
    return f"job {number:2} took {seconds * 1000:3.0f} ms"


async def main() -> None:
    async with aclosing(bounded(job, range(1, 13), limit=4)) as lines:
        async for line in lines:
            print(line)


if __name__ == "__main__":
    asyncio.run(main())
