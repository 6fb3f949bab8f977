"""The writes that a store does not have yet, and in which order and portions it gets them. No I/O."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from heapq import heappop, heappush
from itertools import islice
from typing import Final, Generic, NamedTuple, TypeVar

__all__ = ["AT_ONCE", "DELETED", "Change", "Deleted", "DirtySet"]

K = TypeVar("K")
V = TypeVar("V")


class Deleted(Enum):
    """The type of DELETED, the value of a key that is to be removed."""

    DELETED = "deleted"


DELETED: Final = Deleted.DELETED

PARTS = 4
"""Pieces of a portion that failed: with few of them a single bad item is soon alone among many good ones,
and every failure of a store that is down leaves no more than three portions more."""

AT_ONCE: Final = -(1 << 63)
"""A moment before every other."""


class Change(NamedTuple, Generic[K, V]):
    """A write as it is given to the store."""

    key: K
    value: V | Deleted
    version: int


class Entry(Generic[K, V]):
    """The last write of a dirty key.

    Attributes:
        value: to store, or DELETED.
        version: counts all writes up.
        record: number of its record in the journal.
        size: bytes of that record.
        since: nanoseconds of the oldest write that is not stored.
        again: of the oldest one since the key was given to the store; None for none.
        failures: how often this value was refused when it was tried alone.
        due: nanoseconds before which it is not tried, after such a failure; else None.
        flying: whether the store is being given the key.
    """

    __slots__ = ("again", "due", "failures", "flying", "record", "since", "size", "value", "version")

    def __init__(self, value: V | Deleted, version: int, record: int, size: int, since: int) -> None:
        self.value = value
        self.version = version
        self.record = record
        self.size = size
        self.since = since
        self.again: int | None = None
        self.failures = 0
        self.due: int | None = None
        self.flying = False


class DirtySet(Generic[K, V]):
    """Holds the last write of each key until the store has it; new writes of a key replace older ones.

    A dirty key is in one of four places: among the fresh ones, which gather for `interval`; in a portion
    that failed and waits to be tried again; given to the store; or set aside, because it failed alone.
    A portion that fails is cut in four, so bad items come to be alone and hold nobody back.

    Args:
        interval: nanoseconds for which fresh writes gather.
        max_batch: keys that a portion has at most.
    """

    def __init__(self, interval: int, max_batch: int) -> None:
        self._interval = interval
        self._max_batch = max_batch
        self._entries: dict[K, Entry[K, V]] = {}  # in the order of their last writes
        self._fresh: dict[K, int] = {}  # with the nanosecond since which each is
        self._portions: deque[list[K]] = deque()
        self._aside: list[tuple[int, int, K]] = []  # a heap: due, version, key
        self.version = 0
        self.journal_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def __getitem__(self, key: K) -> V | Deleted:
        return self._entries[key].value

    @property
    def fresh(self) -> int:
        """How many fresh keys gather."""
        return len(self._fresh)

    def versions(self) -> dict[K, int]:
        """Every dirty key with the version of its last write."""
        return {key: entry.version for key, entry in self._entries.items()}

    def oldest_since(self) -> int | None:
        """Nanoseconds of the oldest write that is not stored; O(size)."""
        return min((entry.since for entry in self._entries.values()), default=None)

    def first_record(self) -> int | None:
        """The lowest record number that is still needed; None if none is."""
        return next((entry.record for entry in self._entries.values()), None)

    def records_before(self, number: int) -> Iterator[Change[K, V]]:
        """The writes whose records have lower numbers, lowest first."""
        for key, entry in self._entries.items():
            if entry.record >= number:
                return
            yield Change(key, entry.value, entry.version)

    # ---- what comes in

    def put(self, key: K, value: V | Deleted, now: int, record: int = 0, size: int = 0) -> bool:
        """Takes a write in; False if the key was dirty already."""
        self.version += 1
        entry: Entry[K, V] = Entry(value, self.version, record, size, now)
        old = self._entries.pop(key, None)
        self._entries[key] = entry
        self.journal_bytes += size
        if old is None:
            self._fresh[key] = now
            return True
        self.journal_bytes -= old.size
        entry.since = old.since
        if old.flying:
            entry.flying = True
            entry.again = now if old.again is None else old.again
        elif old.due is not None:  # another value may be better than the one that failed
            self._fresh[key] = now
        return False

    def move_record(self, change: Change[K, V], record: int) -> None:
        """A write was recorded once more, with a later number."""
        entry = self._entries.get(change.key)
        if entry is not None and entry.version == change.version:
            self._entries[change.key] = self._entries.pop(change.key)  # the order is that of the records
            entry.record = record

    # ---- what goes out

    def due(self, *, hurried: bool) -> int | None:
        """Nanoseconds at which there is something to take; AT_ONCE, or None for never.

        Args:
            hurried: fresh writes need not gather.
        """
        if self._portions:
            return AT_ONCE
        moments = []
        if self._fresh:
            at_once = hurried or len(self._fresh) >= self._max_batch
            moments.append(AT_ONCE if at_once else next(iter(self._fresh.values())) + self._interval)
        self._drop_outdated()
        if self._aside:
            moments.append(self._aside[0][0])
        return min(moments, default=None)

    def take(self, now: int) -> list[Change[K, V]]:
        """The next portion, which must come back by `stored` or `failed`; empty if there is nothing dirty."""
        keys = self._next_portion(now)
        changes = []
        for key in keys:
            entry = self._entries[key]
            entry.flying, entry.again, entry.due = True, None, None
            changes.append(Change(key, entry.value, entry.version))
        return changes

    def stored(self, changes: Sequence[Change[K, V]], now: int) -> list[Change[K, V]]:
        """The store has these.

        Returns:
            Those whose keys are clean now; the others were written again meanwhile.
        """
        clean = []
        for change in changes:
            entry = self._entries[change.key]
            if entry.version == change.version:
                del self._entries[change.key]
                self.journal_bytes -= entry.size
                clean.append(change)
            else:
                assert entry.again is not None
                entry.since, entry.again, entry.flying = entry.again, None, False
                self._fresh[change.key] = now
        return clean

    def failed(self, changes: Sequence[Change[K, V]], now: int, delay: Callable[[int], int]) -> bool:
        """The store may have some of these, or none.

        Args:
            changes: as they were taken.
            now: nanoseconds.
            delay: nanoseconds to set a write aside that has failed alone, by how often it has.

        Returns:
            Whether that may be the store's fault: not if a write fails that has failed alone before.
        """
        for change in changes:
            self._entries[change.key].flying = False
        if len(changes) > 1:
            keys = [change.key for change in changes]
            size = -(-len(keys) // PARTS)
            self._portions += [keys[start : start + size] for start in range(0, len(keys), size)]
            return True
        ((key, _, version),) = changes
        entry = self._entries[key]
        if entry.version != version:
            self._fresh[key] = now
            return True
        entry.failures += 1
        entry.due = now + delay(entry.failures)
        heappush(self._aside, (entry.due, version, key))
        return entry.failures == 1

    def _next_portion(self, now: int) -> list[K]:
        self._drop_outdated()
        if self._aside and self._aside[0][0] <= now:
            return [heappop(self._aside)[2]]
        if self._portions:
            return self._portions.popleft()
        keys = list(islice(self._fresh, self._max_batch))
        for key in keys:
            del self._fresh[key]
        return keys

    def _drop_outdated(self) -> None:
        """Takes writes off the heap that were replaced since; the first one is then a real one."""
        while self._aside:
            _, version, key = self._aside[0]
            entry = self._entries.get(key)
            if entry is not None and entry.version == version and entry.due is not None:
                return
            heappop(self._aside)
