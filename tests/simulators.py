"""LRU and FIFO as plainly as they can be written, to hold the caches of penstock to. They share nothing."""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable


def lru_hits(keys: Iterable[Hashable], size: int) -> list[bool]:
    """Whether each request is a hit, in a cache of `size` entries that evicts the least recently used."""
    held: OrderedDict[Hashable, None] = OrderedDict()
    hits = []
    for key in keys:
        hits.append(key in held)
        if key in held:
            held.move_to_end(key)
        else:
            if len(held) == size:
                held.popitem(last=False)
            held[key] = None
    return hits


def fifo_hits(keys: Iterable[Hashable], size: int) -> list[bool]:
    """Whether each request is a hit, in a cache of `size` entries that evicts the oldest."""
    held: set[Hashable] = set()
    line: deque[Hashable] = deque()
    hits = []
    for key in keys:
        hits.append(key in held)
        if key not in held:
            if len(held) == size:
                held.remove(line.popleft())
            held.add(key)
            line.append(key)
    return hits
