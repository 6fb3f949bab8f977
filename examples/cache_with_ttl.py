"""Cache exchange rates for a quarter of a second each, and say why each one goes."""

import random
import time

from penstock.cache import LRUCache, RemovalCause


def ask_the_bank(currency: str) -> float:
    time.sleep(0.05)
    return round(random.uniform(0.5, 2.0), 4)


def tell(currency: str, rate: float, cause: RemovalCause) -> None:
    print(f"        {currency} {rate} goes: {cause.value}")


def main() -> None:
    rates: LRUCache[str, float] = LRUCache(2, ttl=0.25, on_remove=tell)
    for currency in ["EUR", "CHF", "EUR", "JPY", "EUR", "CHF", "CHF", "EUR", "EUR", "JPY"]:
        start = time.perf_counter()
        rate = rates.get(currency)
        if rate is None:
            rate = rates[currency] = ask_the_bank(currency)
        print(f"{currency} {rate:6.4f} after {(time.perf_counter() - start) * 1000:4.1f} ms")
        time.sleep(0.02)

    stats = rates.stats()
    print(f"{stats.hits} hits, {stats.misses} misses: {stats.hit_ratio:.0%}")


if __name__ == "__main__":
    main()
