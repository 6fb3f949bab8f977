"""One loop that serves orders from a queue, a clock and a shutdown, whichever comes first."""

import asyncio
from collections.abc import AsyncIterator

from penstock.fanout import NothingReady, select


async def clock(seconds: float) -> AsyncIterator[str]:
    while True:
        await asyncio.sleep(seconds)
        yield "tick"


async def customers(orders: asyncio.Queue[str]) -> None:
    for order in ("tea", "coffee", "cake"):
        await asyncio.sleep(0.07)
        await orders.put(order)


async def main() -> None:
    orders: asyncio.Queue[str] = asyncio.Queue()
    closing = asyncio.Event()
    asyncio.get_running_loop().call_later(0.3, closing.set)
    serving = asyncio.create_task(customers(orders))
    async with select(orders=orders.get, clock=clock(0.05), closing=closing.wait) as ready:
        while True:
            try:
                name, item = await ready.take(timeout=0.04)
            except NothingReady:
                print("nothing to do")
                continue
            print(f"{name}: {item}")
            if name == "closing":
                break
    await serving


if __name__ == "__main__":
    asyncio.run(main())
