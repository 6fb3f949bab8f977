"""Dead letters: listed, searched, sent on their way again, and removed."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Coroutine, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock.errors import PenstockError
from penstock.services.distributor.admission import Admission
from penstock.services.distributor.change import Change, Replay
from penstock.services.distributor.config import Config
from penstock.services.distributor.dead_letters import DeadLetterIndex, Failed, Found, LetterRow
from penstock.services.distributor.group_commit import Commits
from penstock.services.distributor.spool import SpoolError
from penstock.services.distributor.spool_like import SpoolLike

if TYPE_CHECKING:
    from penstock.services.distributor.letter_search import LetterSearch

__all__ = ["Busy", "DeadLetters", "Letters", "Replaying"]

log = logging.getLogger(__name__)

MAX_PURGED_AT_ONCE = 2000
"""Dead letters that one commit removes, so that nobody waits long for the next one: some 40 ms."""
MAX_REPLAYED_AT_ONCE = 200
"""Dead letters that one commit sends on their way again."""
CHUNKS_A_SECOND = 10
"""Into how many parts the packets of a second are cut where there is a rate."""
ROOM_PAUSE = 0.1
"""Seconds after which a replay looks again whether there is room."""


class Busy(PenstockError, RuntimeError):
    """Dead letters are being replayed already."""


class Letters(NamedTuple):
    """Which dead letters: those that hold to everything that is given."""

    seqs: Sequence[int] | None = None
    """Only these, by number."""
    query: str | None = None
    """Only what it matches; see `LetterSearch.find`."""
    since_ms: int | None = None
    """Only those that failed then or later, unix time."""
    until_ms: int | None = None
    """Only those that failed before then."""


class Replaying:
    """A replay, under way or over.

    Attributes:
        total: letters that it began with.
        replayed: those that are packets again, which is stored.
        gone: those that were removed before their turn came.
        error: why it ended before its end; empty when it did not.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.replayed = 0
        self.gone = 0
        self.error = ""
        self._over = asyncio.Event()
        self._stopped = asyncio.Event()

    @property
    def done(self) -> bool:
        """Whether it is over."""
        return self._over.is_set()

    async def finished(self) -> None:
        """Returns when it is over."""
        await self._over.wait()

    def cancel(self) -> None:
        """Ends it where it is; what was replayed is."""
        self._stopped.set()

    async def pause(self, seconds: float) -> None:
        """Waits, but not when it was cancelled."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    @property
    def goes_on(self) -> bool:
        """Whether nobody has cancelled it."""
        return not self._stopped.is_set()

    def end(self, error: str = "") -> None:
        """It is over."""
        self.error = error
        self._over.set()


class DeadLetters:
    """The dead letters of a spool.

    Args:
        config: the bounds.
        spool: where they are.
        commits: stores changes.
        admission: gives numbers to what is replayed, and counts it.
        record: stores what has happened, however long that takes.
        spawn: starts a task.
    """

    def __init__(
        self,
        config: Config,
        spool: SpoolLike,
        commits: Commits,
        admission: Admission,
        *,
        record: Callable[[Change], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
    ) -> None:
        self.config = config
        self.replaying: Replaying | None = None
        self._spool = spool
        self._commits = commits
        self._admission = admission
        self._record = record
        self._spawn = spawn
        self._index = DeadLetterIndex()
        self._search: LetterSearch | None = None  # made by the first search
        self._reading = asyncio.Lock()
        self._removing = asyncio.Lock()  # letters leave by one way at a time
        self._leaving: dict[int, Failed] = {}  # those that are being replayed, by number

    def __len__(self) -> int:
        return len(self._index)

    def load(self) -> None:
        """Takes up what the spool holds."""
        self._index = DeadLetterIndex(self._spool.failed())

    async def load_late(self) -> None:
        """Takes up what could not be read at the start, once it can be."""
        if not self._spool.letters_unread:
            return
        async with self._removing:
            failed = await self._commits.read(self._spool.failed)
            there = set(self._index.oldest(len(self._index)))
            self._index.add(letter for letter in failed if letter not in there)

    def apply(self, change: Change) -> None:
        """Takes in what has been stored."""
        gone = change.purged + [self._leaving.pop(replay.letter_seq) for replay in change.replayed]
        if change.dead:
            self._index.add(Failed(letter.failed_at_ms, letter.packet.seq) for letter in change.dead)
        if gone:
            self._index.remove(gone)
        if self._search is not None:
            self._search.died(letter.packet.seq for letter in change.dead)
            self._search.purged(letter.seq for letter in gone)

    # Reading

    async def newest(
        self,
        limit: int,
        before: int | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        among: Container[int] | None = None,
    ) -> list[LetterRow]:
        """See `Distributor.dead_letters`."""
        after = None
        if before is not None:
            at_ms = await self._commits.read(lambda: self._spool.failed_at_ms(before))
            if at_ms is None:
                return []
            after = Failed(at_ms, before)
        return await self.read(
            self._index.newest(limit, after=after, since_ms=since_ms, until_ms=until_ms, among=among)
        )

    async def read(self, seqs: Sequence[int]) -> list[LetterRow]:
        """These dead letters, as `Spool.dead_letters` gives them."""
        return await self._commits.read(lambda: self._spool.dead_letters(seqs))

    async def search(self, query: str, since_ms: int | None = None, until_ms: int | None = None) -> Found:
        """See `Distributor.search_dead_letters`."""
        letter_search = await asyncio.to_thread(import_module, "penstock.services.distributor.letter_search")
        if self._search is None:  # few ever need it, and importing it takes 0.1 s and some memory
            there = (seq for _, seq in self._index.oldest(len(self._index)))
            self._search = letter_search.LetterSearch(there, self.config.max_search_bytes)
        assert self._search is not None
        search = self._search
        async with self._reading:
            while seqs := search.next_to_read():
                letters = None
                try:
                    letters = await self.read(seqs)
                    await asyncio.to_thread(search.read, letters)
                finally:
                    search.end_reading(letters)
        return await asyncio.to_thread(search.find, query, since_ms, until_ms)

    async def select(self, which: Letters) -> list[Failed]:
        """The letters that are meant, those that failed first come first."""
        among = None if which.seqs is None else set(which.seqs)
        if which.query is not None:
            found = (await self.search(which.query, which.since_ms, which.until_ms)).scores.keys()
            among = set(found) if among is None else among & found
        return self._index.select(since_ms=which.since_ms, until_ms=which.until_ms, among=among)

    # Removing

    async def purge(self, which: Letters) -> int:
        """Removes letters; returns how many."""
        purged = 0
        letters = await self.select(which)
        for start in range(0, len(letters), MAX_PURGED_AT_ONCE):
            purged += await self._purge(letters[start : start + MAX_PURGED_AT_ONCE])
        return purged

    async def purge_excess(self) -> None:
        """Removes the letters that failed first, beyond the bounds."""
        size = await self._commits.read(self._spool.letter_bytes)
        while excess := self._excess(size):
            await self._purge(self._index.oldest(min(excess, MAX_PURGED_AT_ONCE)))
            before, size = size, await self._commits.read(self._spool.letter_bytes)
            if size >= before:  # those that are purged cannot be removed yet: more of them would free nothing
                size = 0

    def _excess(self, size: int) -> int:
        """How many letters there are too many; of their bytes, by what one has on average."""
        letters = len(self._index)
        excess = max(0, letters - self.config.max_dead_letters)
        too_large = size - self.config.max_dead_letter_bytes
        if letters and too_large > 0:
            excess = max(excess, 1, letters * too_large // size)
        return excess

    async def _purge(self, letters: Sequence[Failed]) -> int:
        purged: list[Failed] = []
        work = self._purge_those_there(letters, purged)
        await asyncio.shield(self._spawn(work, "purge dead letters"))  # the caller may go, its letters do
        return len(purged)

    async def _purge_those_there(self, letters: Sequence[Failed], purged: list[Failed]) -> None:
        async with self._removing:
            purged += self._there(letters)
            if purged:
                await self._record(Change(purged=purged, counters=Counter(purged=len(purged))))

    def _there(self, letters: Sequence[Failed]) -> list[Failed]:
        """Those of some neighbours in the order of failing that there are still."""
        seqs = {letter.seq for letter in letters}
        first, last = letters[0].at_ms, letters[-1].at_ms
        return self._index.select(since_ms=first, until_ms=last + 1, among=seqs)

    # Sending again

    async def replay(self, which: Letters, rate: float | None = None) -> Replaying:
        """See `Distributor.replay_dead_letters`."""
        if self.replaying is not None and not self.replaying.done:
            raise Busy("dead letters are being replayed already: wait for it to end, or cancel it")
        self.replaying = replaying = Replaying(0)
        try:
            letters = await self.select(which)
        except BaseException:
            self.replaying = None
            raise
        replaying.total = len(letters)
        self._spawn(self._replay_all(replaying, letters, rate), "replay dead letters")
        return replaying

    async def _replay_all(self, replaying: Replaying, letters: list[Failed], rate: float | None) -> None:
        error = "the service has stopped"
        try:
            await self._replay_in_chunks(replaying, letters, rate)
            error = "" if replaying.goes_on else "it was cancelled"
        except SpoolError as failure:
            log.error("%s; dead letters are replayed no further", failure)
            error = str(failure)
        finally:
            replaying.end(error)

    async def _replay_in_chunks(
        self, replaying: Replaying, letters: list[Failed], rate: float | None
    ) -> None:
        at_once = MAX_REPLAYED_AT_ONCE
        if rate is not None:
            at_once = max(1, min(at_once, int(rate / CHUNKS_A_SECOND)))
        done = 0
        while done < len(letters):
            while self._is_full() and replaying.goes_on:
                await replaying.pause(ROOM_PAUSE)
            if not replaying.goes_on:
                return
            tried, replayed = await self._replay(letters[done : done + at_once])
            done += tried
            replaying.replayed += replayed
            replaying.gone += tried - replayed
            if rate is not None:
                await replaying.pause(tried / rate)

    def _is_full(self) -> bool:
        config, admission = self.config, self._admission
        return admission.packets >= config.max_pending or admission.bytes >= config.max_pending_bytes

    async def _replay(self, chunk: Sequence[Failed]) -> tuple[int, int]:
        """Makes packets of letters, under new numbers: of the first ones, when they are large.

        Returns:
            How many letters that was tried with, and how many of them there still were.
        """
        async with self._removing:
            self._leaving = {letter.seq: letter for letter in self._there(chunk)}
            letters = await self._commits.read(lambda: self._spool.letters_as_packets(list(self._leaving)))
            if not letters:
                return len(chunk), 0
            tried = len(chunk)
            if len(letters) < len(self._leaving):
                tried = [letter.seq for letter in chunk].index(letters[-1][0]) + 1
            size = sum(packet.size for _, packet in letters)
            self._admission.came_back(len(letters), size)
            for _, packet in letters:
                packet.seq = self._admission.next_seq()
            change = Change(replayed=[Replay(seq, packet) for seq, packet in letters])
            change.counters["replayed"] = len(letters)
            try:
                await self._commits.submit(change)
            except SpoolError:
                self._admission.left(len(letters), size)
                raise
            return tried, len(letters)
