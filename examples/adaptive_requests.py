"""Requests to a server that nobody knows: it bears eight at a time, and the fan-out finds that out."""

import asyncio
from contextlib import aclosing

from penstock.fanout import AimdLimit, backpressure


class Server:
    """Answers in 10 ms up to eight requests at a time; with more, each waits for the others."""

    def __init__(self) -> None:
        self.in_flight = 0

    async def answer(self, request: int) -> int:
        """The request itself, after a while."""
        self.in_flight += 1
        await asyncio.sleep(0.01 * max(1.0, self.in_flight / 8))
        self.in_flight -= 1
        return request


async def main() -> None:
    law = AimdLimit(initial=1, maximum=100)
    done = 0
    async with aclosing(backpressure(Server().answer, range(1_000), law=law)) as answers:
        async for _ in answers:
            done += 1
            if done % 100 == 0:
                best = law.best or 0.0
                print(f"{done:4} done, limit {law.limit:2}, best latency {best * 1000:.0f} ms")


if __name__ == "__main__":
    asyncio.run(main())
