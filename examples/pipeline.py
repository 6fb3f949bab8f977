"""Three stages at work at the same time: eight fetch, two parse, one stores."""

import asyncio
from contextlib import aclosing
from time import monotonic

from penstock.fanout import pipeline, stage


async def fetch(number: int) -> str:
    await asyncio.sleep(0.04)
    return f"<title>page {number}</title>"


async def parse(page: str) -> str:
    await asyncio.sleep(0.01)
    return page.removeprefix("<title>").removesuffix("</title>")


async def store(title: str) -> str:
    await asyncio.sleep(0.005)
    return title


async def main() -> None:
    start = monotonic()
    stages = stage(fetch, limit=8), stage(parse, limit=2, queue=2), stage(store)
    async with aclosing(pipeline(range(1, 41), *stages)) as titles:
        async for title in titles:
            print(f"{monotonic() - start:5.2f} s  {title} stored")
    print(f"one after the other it would have been {40 * 0.055:.1f} s")


if __name__ == "__main__":
    asyncio.run(main())
