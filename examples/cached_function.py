"""A hundred requests want one exchange rate at once: the bank is asked once, its bad day goes unnoticed."""

import asyncio
import time

from penstock.cache import cached

asked = 0
bank_is_open = True


@cached(ttl=0.2, stale_if_error=60)
async def rate(currency: str) -> float:
    global asked
    asked += 1
    await asyncio.sleep(0.05)
    if not bank_is_open:
        raise ConnectionError("the bank does not answer")
    return {"EUR": 1.08, "CHF": 1.12}[currency]


async def rush() -> str:
    start = time.perf_counter()
    rates = await asyncio.gather(*(rate("EUR") for _ in range(100)))
    return f"{len(rates)} answers, {set(rates)}, after {(time.perf_counter() - start) * 1000:.0f} ms"


async def main() -> None:
    global bank_is_open
    print(f"cold:      {await rush()}, the bank was asked {asked} time")
    print(f"warm:      {await rush()}, the bank was asked {asked} time")

    await asyncio.sleep(0.2)
    bank_is_open = False
    print(f"bank down: {await rush()}, the bank was asked {asked} times")

    bank_is_open = True
    rate.invalidate("EUR")
    print(f"again up:  {await rush()}, the bank was asked {asked} times")
    print(rate.cache_info())


if __name__ == "__main__":
    asyncio.run(main())
