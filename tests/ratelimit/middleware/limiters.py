"""Limiters for the tests of the middlewares: a number of units a key, that never come back."""

from collections import Counter


class Units:
    """Admits `limit` units of every key."""

    def __init__(self, result_class, limit=2):
        self.result_class = result_class
        self.limit = limit
        self.used = Counter()

    def check(self, key, n=1, /):
        if not 1 <= n <= self.limit:
            raise ValueError(f"n must be >= 1 and <= limit {self.limit}, got {n}")
        allowed = self.used[key] + n <= self.limit
        self.used[key] += n * allowed
        remaining = self.limit - self.used[key]
        return self.result_class(allowed, self.limit, remaining, 0.0 if allowed else 29.2, 29.2, 60.0)


class AwaitedUnits(Units):
    """The same, as limiters on a network are."""

    async def check(self, key, n=1, /):
        return super().check(key, n)


class Broken:
    """Fails as it is told, and counts how often."""

    def __init__(self, error):
        self.error = error
        self.calls = 0

    def check(self, key, n=1, /):
        self.calls += 1
        raise self.error
