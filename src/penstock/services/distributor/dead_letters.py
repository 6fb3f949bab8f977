"""When each dead letter failed: an ordered index in memory of what the spool holds.

Dead letters are in the order of (time they failed, sequence number). The index is loaded from the spool at
the start and told of every change once that is stored, so it says what is on disk. 20 bytes a letter.
"""

from collections.abc import Container, Iterable
from itertools import islice
from typing import NamedTuple

from penstock.btree import BTreeMultiMap
from penstock.errors import PenstockError

__all__ = ["BadQuery", "DeadLetterIndex", "Failed", "Found", "LetterRow"]

LetterRow = tuple[int, bytes, int, str, int]
"""As `Spool.dead_letters` gives them: seq, body, failures, error, unix time in ms."""


class BadQuery(PenstockError, ValueError):
    """A search of dead letters that cannot be read, or asks for too much."""


class Found(NamedTuple):
    """Letters that a query matches."""

    scores: dict[int, float]
    """By sequence number, the best first."""
    searched: int
    """Letters that were looked at; fewer than there are when the index had no room for the oldest."""


class Failed(NamedTuple):
    """A dead letter, and its place among all others."""

    at_ms: int
    """Unix time."""
    seq: int


class DeadLetterIndex:
    """Dead letters by the time they failed.

    Args:
        failed: those that there are, in any order.
    """

    def __init__(self, failed: Iterable[Failed] = ()) -> None:
        self._by_time: BTreeMultiMap[int, int] = BTreeMultiMap(key_type="int64", value_type="int64")
        self.add(failed)

    def __len__(self) -> int:
        return len(self._by_time)

    def add(self, failed: Iterable[Failed]) -> None:
        """Adds letters; those of one millisecond come into the order of their numbers, as after a restart."""
        new = sorted(failed)
        late = [letter for letter in new if self._has_later_number(letter)]
        if late:  # their millisecond is put together anew; nearly always numbers only grow
            there = [letter for at_ms in {at for at, _ in late} for letter in self._take(at_ms)]
            new = sorted([*new, *there])
        self._by_time.insert_many([at_ms for at_ms, _ in new], [seq for _, seq in new])

    def _has_later_number(self, letter: Failed) -> bool:
        """Whether a letter of the same millisecond has a higher number, so that this one comes before it."""
        last = self._by_time.floor_item(letter.at_ms)
        return last is not None and last[0] == letter.at_ms and last[1] > letter.seq

    def _take(self, at_ms: int) -> list[Failed]:
        """Removes all letters of a millisecond and returns them."""
        return [Failed(at_ms, seq) for seq in self._by_time.pop_all(at_ms)]

    def remove(self, failed: Iterable[Failed]) -> None:
        """Removes letters.

        Raises:
            KeyError: one is not there.
        """
        for letter in failed:
            if (
                self._by_time.first_item() == letter
            ):  # as in every purge; without a look at its whole millisecond
                self._by_time.pop_first()
            else:
                self._by_time.remove(*letter)

    def oldest(self, count: int) -> list[Failed]:
        """The `count` that failed first, in order."""
        return [Failed(*entry) for entry in self._by_time.range(limit=max(count, 0))]

    def select(
        self,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        among: Container[int] | None = None,
        limit: int | None = None,
    ) -> list[Failed]:
        """Letters in order, those that failed first at the front.

        Args:
            since_ms: only those that failed then or later, unix time.
            until_ms: only those that failed before then.
            among: only those in it.
            limit: how many at the most.
        """
        entries = self._by_time.range(since_ms, until_ms, limit=limit if among is None else None)
        letters = (Failed(*entry) for entry in entries)
        return list(islice((one for one in letters if among is None or one.seq in among), limit))

    def newest(
        self,
        limit: int,
        *,
        after: Failed | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        among: Container[int] | None = None,
    ) -> list[int]:
        """Sequence numbers of up to `limit` letters, the newest first.

        Args:
            limit: how many.
            after: only what comes after this one in that order, whether or not it is still there.
            since_ms: only those that failed then or later, unix time.
            until_ms: only those that failed before then.
            among: only those in it.
        """
        if after is None or (until_ms is not None and until_ms <= after.at_ms):
            entries = self._by_time.range(since_ms, until_ms, reverse=True, limit=None if among else limit)
            seqs = (seq for _, seq in entries)
        else:
            entries = self._by_time.range(since_ms, after.at_ms, include=(True, True), reverse=True)
            seqs = (seq for at_ms, seq in entries if (at_ms, seq) < after)
        wanted = seqs if among is None else (seq for seq in seqs if seq in among)
        return list(islice(wanted, limit))
