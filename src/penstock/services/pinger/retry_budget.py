"""How many retries a host is worth: a share of its pings, so that a dead one is not hammered."""

from collections import OrderedDict

from penstock.errors import InvalidValue

__all__ = ["RetryBudget"]

MAX_HOSTS = 10_000


class RetryBudget:
    """A reserve of retries for each host, which its pings fill up.

    Every ping of a host adds `share`, every retry takes 1. So where all fails, there are `1 + share` requests
    for a ping in the long run, and not `1 + retries`. The 10,000 hosts that were pinged last are remembered.

    Args:
        share: retries for each ping, >= 0.
        reserve: retries that a host has at first, and can have saved at most besides, >= 0.

    Attributes:
        refused: retries that there was no budget for.

    Source: Finagle's RetryBudget, https://twitter.github.io/finagle/guide/Clients.html#retries
    """

    def __init__(self, share: float, reserve: int = 10) -> None:
        if share < 0:
            raise InvalidValue(f"share must be >= 0, got {share!r}")
        if reserve < 0:
            raise InvalidValue(f"reserve must be >= 0, got {reserve!r}")
        self.share = share
        self.reserve = reserve
        self.refused = 0
        self._left: OrderedDict[str, float] = OrderedDict()  # the host pinged last is last

    def ping(self, host: str) -> None:
        """Counts a ping of the host."""
        left = self._left.pop(host, float(self.reserve))
        self._left[host] = min(left + self.share, self.reserve + max(self.share, 1.0))
        if len(self._left) > MAX_HOSTS:
            self._left.popitem(last=False)

    def retry(self, host: str) -> bool:
        """Takes one retry of the host; False when it has none left."""
        left = self._left.get(host, float(self.reserve))
        if left < 1:
            self.refused += 1
            return False
        self._left[host] = left - 1
        return True
