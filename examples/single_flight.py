"""Ten requests for three pages at the same moment are three requests to the backend."""

import asyncio
from functools import partial

from penstock.fanout import Once, SingleFlight


async def connect() -> str:
    print("connecting, once for all")
    await asyncio.sleep(0.02)
    return "connection"


connected = Once(connect)


async def load(page: str) -> str:
    connection = await connected()
    print(f"loading {page} over the {connection}")
    await asyncio.sleep(0.02)
    return f"text of {page}"


async def main() -> None:
    flights = SingleFlight()
    wanted = [f"page {number % 3}" for number in range(10)]
    texts = await asyncio.gather(*(flights.do(page, partial(load, page)) for page in wanted))
    print(f"{len(texts)} answers, {len(set(texts))} of them different")


if __name__ == "__main__":
    asyncio.run(main())
