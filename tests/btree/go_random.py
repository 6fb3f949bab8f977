"""Go's math/rand after rand.Seed(42), so that example 45's rows are exactly the reference's.

Go's generator is additive lagged Fibonacci: x[n] = x[n - 607] + x[n - 273] modulo 2^64. go_seed_42.txt holds
the first 607 numbers, as go_seed_42.go printed them, and the rest follows; its last lines are a digest of the
rows and the counts that Go itself made of them.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

LAGS = (607, 273)
SEEDED = Path(__file__).with_name("go_seed_42.txt")
STATUSES = ("pending", "complete", "failed")


class GoRandom:
    """What rand.Intn and rand.Float64 return, call by call."""

    def __init__(self):
        first = [int(line, 16) for line in SEEDED.read_text().splitlines()[: LAGS[0]]]
        self._numbers = lagged_fibonacci(first)

    def _int63(self) -> int:
        return next(self._numbers) & ((1 << 63) - 1)

    def intn(self, n: int) -> int:
        """0 <= number < n < 2^31, by Go's Int31n."""
        number = self._int63() >> 32
        if n & (n - 1) == 0:
            return number & (n - 1)
        largest = (1 << 31) - 1 - (1 << 31) % n
        while number > largest:
            number = self._int63() >> 32
        return number % n

    def float64(self) -> float:
        """0 <= number < 1."""
        number = 1.0
        while number == 1.0:  # what is just below 1 is rounded up to it
            number = self._int63() / (1 << 63)
        return number


def lagged_fibonacci(first: list[int]) -> Iterator[int]:
    yield from first
    last = list(first)
    position = 0
    while True:
        number = (last[position] + last[position - LAGS[1]]) & ((1 << 64) - 1)
        last[position] = number
        position = (position + 1) % LAGS[0]
        yield number


def orders(count: int = 100_000) -> list[dict[str, object]]:
    """The rows of example 45, in the order in which Go calls its generator."""
    random = GoRandom()
    return [
        {
            "row_id": row_id,
            "user_id": random.intn(10_000) + 1,
            "amount": 10.0 + random.float64() * 490.0,
            "status": STATUSES[random.intn(3)],
        }
        for row_id in range(count)
    ]


def digest_of_go() -> str:
    """The digest that Go printed of its rows."""
    return next(line.split()[1] for line in SEEDED.read_text().splitlines() if line.startswith("sha256"))


def digest_of(rows: list[dict[str, object]]) -> str:
    """The digest of rows, written as go_seed_42.go writes them."""
    digest = hashlib.sha256()
    for row in rows:
        line = f"{row['row_id']} {row['user_id']} {row['amount']:.17g} {row['status']}\n"
        digest.update(line.encode())
    return digest.hexdigest()
