"""Write-back cache: a write returns at once, and reaches the store soon after, together with others."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, Generic, Self, TypeVar, overload

from penstock.cache._dirty import AT_ONCE, DELETED, Change, Deleted, DirtySet
from penstock.cache._group_commit import GroupCommit, Pending
from penstock.cache._journal_records import DELETE, SET, Record
from penstock.cache._read_through import ReadThrough
from penstock.cache._room import Room
from penstock.cache._seconds import LEAST_SECONDS, checked_seconds
from penstock.cache._settings import MISSING, checked_count
from penstock.cache.cache import Cache
from penstock.cache.codec import decode_key, encode_key
from penstock.cache.journal import Committed, Journal, JournalError, Write
from penstock.cache.store import Store
from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.errors import InvalidType, PenstockError

__all__ = ["NotStored", "WriteBackCache", "WriteBackClosed", "WriteBackStats", "doubling_delay"]

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

Recorded = Change[K, V] | tuple[K, V | Deleted]
"""What a record in the journal is: an accepted write once more, or a new one."""

FIRST_DELAY = 0.1
MAX_DELAY = 30.0
MAX_SECONDS = 86_400.0
MAX_KEYS = 1 << 24
MAX_FAILURES = 1 << 10  # that a delay is asked for; more of them change nothing
WRITES_A_TURN = 256  # after which a loop that does nothing but write lets the flusher run
REWRITES = 64  # records that are moved out of old segments at a time
SEGMENTS = 4  # that a journal may have besides twice what is dirty


class WriteBackClosed(PenstockError, RuntimeError):
    """A write-back cache was used before `start` or after `aclose`."""


class NotStored(PenstockError, TimeoutError):
    """The time was over before everything was stored.

    Attributes:
        unstored: how many keys have writes that the store may not have.
        journaled: whether a journal has them, so that the next start stores them; else they are lost.
    """

    def __init__(self, unstored: int, timeout: float, *, journaled: bool) -> None:
        fate = "the journal has them for the next start" if journaled else "they are lost"
        super().__init__(f"everything must be stored within {timeout:g} s, got {unstored} keys left: {fate}")
        self.unstored = unstored
        self.journaled = journaled


@dataclass(frozen=True, slots=True)
class WriteBackStats:
    """How a write-back cache is doing."""

    dirty: int
    """Keys whose last write the store does not have yet."""
    waiting: int
    """Writes that wait because `max_dirty` keys are dirty."""
    oldest_dirty: float
    """Seconds since the oldest write that is not stored; 0.0 if all are."""
    flushed: int
    """Writes that the store has taken."""
    batches: int
    """Batches that it has taken."""
    failures: int
    """Batches that failed."""
    last_error: str
    """What the last of them failed for; empty before the first."""
    replayed: int
    """Keys whose writes an earlier process left in the journal."""
    journal_bytes: int
    """Bytes of the journal's segments."""


def doubling_delay(failures: int) -> float:
    """Seconds to wait: 0.1 after the first failure, then twice as long each time, up to 30."""
    return min(FIRST_DELAY * 2.0 ** min(failures - 1, 30), MAX_DELAY)


class WriteBackCache(Generic[K, V]):
    """Takes writes in memory and stores them in batches, each key's last write only.

    ::

        async with WriteBackCache(store, journal="writes.journal") as cache:
            await cache.set("user:17", {"name": "Ann"})

    Reads see every write at once, stored or not. A miss asks the store, once, however many tasks miss the
    same key. Deletes are writes too. Values must not be changed after they were handed over.

    A store that fails is asked again, with growing delays, for as long as it takes. A batch that fails is cut
    in four until what the store refuses is alone; that is tried again by itself, and the rest is stored.
    Write its key anew, or delete it, to be rid of it.

    Without a journal a crash loses what is dirty. With one, a write is acknowledged once it is recorded
    (see Journal), and what an earlier process did not store is replayed by `start`, before anything else.
    Nobody else may write to the store then, or an older write may be replayed over a newer one.

    At `max_dirty` dirty keys, writes of other keys wait, first come, first served.

    Args:
        store: where the entries go; it stays the caller's to close.
        cache: where clean entries are remembered; None for an LRU cache of `maxsize` and `ttl`.
        maxsize: clean entries remembered at most, when `cache` is None.
        ttl: seconds or timedelta for which they are, None for ever; when `cache` is None.
        flush_interval: seconds or timedelta for which writes gather before they are stored. A full batch does
            not wait.
        max_dirty: keys that may be dirty.
        max_batch: keys that the store gets at once.
        store_timeout: seconds or timedelta, >= 0.001, after which a write of the store is cancelled and has
            failed; None for no end.
        journal: path of a journal, or a Journal; None for none.
        retry_delay: seconds to wait after so many failures in a row.
        clock: returns int nanoseconds; None for the monotonic clock of the system.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument has the wrong type.

    It belongs to one event loop, which has to run for anything to be stored.
    """

    def __init__(
        self,
        store: Store[K, V],
        *,
        cache: Cache[K, V] | None = None,
        maxsize: int = 10_000,
        ttl: float | timedelta | None = None,
        flush_interval: float | timedelta = 0.05,
        max_dirty: int = 10_000,
        max_batch: int = 500,
        store_timeout: float | timedelta | None = 30.0,
        journal: Journal | str | os.PathLike[str] | None = None,
        retry_delay: Callable[[int], float] = doubling_delay,
        clock: Clock | None = None,
    ) -> None:
        if not callable(retry_delay):
            raise InvalidType(f"retry_delay must be callable, got {type(retry_delay).__name__}")
        interval = checked_seconds("flush_interval", flush_interval, 0, MAX_SECONDS)
        self._max_dirty = checked_count("max_dirty", max_dirty, 1, MAX_KEYS, "keys")
        self._max_batch = checked_count("max_batch", max_batch, 1, MAX_KEYS, "keys")
        self._timeout = None
        if store_timeout is not None:
            self._timeout = checked_seconds("store_timeout", store_timeout, LEAST_SECONDS, MAX_SECONDS)
        self._journal = journal if isinstance(journal, Journal) or journal is None else Journal(journal)
        self._retry_delay = retry_delay
        self._clock = checked_clock(clock)
        self._store = store
        self._cache: Cache[K, V] = Cache(maxsize, ttl=ttl, clock=clock) if cache is None else cache
        self._reads = ReadThrough(store, self._cache, closed=WriteBackClosed)
        self._room: Room[K] = Room(self._max_dirty)
        self._dirty: DirtySet[K, V] = DirtySet(round(interval * NANOSECONDS), self._max_batch)

        self._state = "new"  # then starting, open, perhaps broken, closing, closed
        self._changed = asyncio.Event()  # the flusher must think again about how long it waits
        self._flushes: list[Flush[K]] = []
        self._commits: GroupCommit[Recorded[K, V]] | None = None
        self._flusher: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []  # it, and that of the journal
        self._closing: asyncio.Task[None] | None = None

        self._failures_in_a_row = 0
        self._not_before = AT_ONCE  # nanoseconds, after failures
        self._recorded = 0  # number of the last record that was applied
        self._rewrites = 0  # records on their way that move out of an old segment
        self._flushed = self._batches = self._failures = self._replayed = 0
        self._last_error = ""

    def __repr__(self) -> str:
        return f"WriteBackCache({self._store!r}, journal={self._journal!r}, {self._state})"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Replays the journal and begins to store; once.

        Raises:
            JournalError: the journal is damaged, foreign or of another version.
            JournalUnavailable: it cannot be used.
            RuntimeError: it was started before, or is closed meanwhile.
        """
        if self._state != "new":
            raise WriteBackClosed(f"a write-back cache must be started once, it is {self._state}")
        self._state = "starting"
        try:
            if self._journal is not None:
                await self._open_journal(self._journal)
        except BaseException:
            if self._state == "starting":
                self._state = "new"
            raise
        if self._state != "starting":
            await self._end()
            raise WriteBackClosed(f"a write-back cache must stay open while it starts, it is {self._state}")
        self._state = "open"
        self._flusher = self._begin(self._flush_forever())

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)
        return task

    # ---- reading

    @overload
    async def get(self, key: K, /) -> V | None: ...
    @overload
    async def get(self, key: K, default: T, /) -> V | T: ...

    async def get(self, key: K, default: object = None, /) -> object:
        """The value of `key`, or `default`; what the store raises is raised."""
        self._require_open()
        if key in self._dirty:
            last = self._dirty[key]
            return default if last is DELETED else last
        value = self._cache.get(key, MISSING)
        if value is not MISSING:
            return value
        found = await self._reads.fetch((key,))
        return self._with_dirty((key,), found).get(key, default)

    async def get_many(self, keys: Iterable[K], /) -> dict[K, V]:
        """The entries that exist of these keys; those not in memory in one batch."""
        self._require_open()
        wanted = list(dict.fromkeys(keys))
        clean = [key for key in wanted if key not in self._dirty]
        found = await self._reads.get_many(clean) if clean else {}
        return self._with_dirty(wanted, found)

    def _with_dirty(self, keys: Iterable[K], found: dict[K, V]) -> dict[K, V]:
        """`found`, with what is dirty by now in place of what the store had."""
        for key in keys:
            if key in self._dirty:
                found.pop(key, None)
                value = self._dirty[key]
                if value is not DELETED:
                    found[key] = value
        return found

    # ---- writing

    async def set(self, key: K, value: V, /) -> None:
        """Accepts a write: at once in memory; with a journal when it is recorded.

        Waits while `max_dirty` other keys are dirty. A caller that is cancelled while it is being recorded
        does not know whether it is accepted.

        Raises:
            JournalUnavailable: it is not accepted, for it cannot be recorded.
            RuntimeError: the cache is not open.
            ValueError, TypeError: it cannot be recorded: what kind of key is it, what kind of value?
        """
        recorded = await self._write(key, value)
        if recorded is not None:
            await recorded

    async def delete(self, key: K, /) -> None:
        """Accepts the removal of `key`, in the way of `set`."""
        recorded = await self._write(key, DELETED)
        if recorded is not None:
            await recorded

    async def set_many(self, items: Mapping[K, V], /) -> None:
        """Accepts many writes in the way of `set`; when it raises, some may be accepted."""
        await self._write_many(list(items.items()))

    async def delete_many(self, keys: Iterable[K], /) -> None:
        """Accepts many removals in the way of `set_many`."""
        await self._write_many([(key, DELETED) for key in keys])

    async def flush(self) -> None:
        """Waits until the store has every write that was accepted before the call."""
        self._require_open()
        await self._flush()

    async def aclose(self, timeout: float | timedelta | None = None) -> None:  # noqa: ASYNC109  (ends with a count)
        """Stores everything, then ends; later calls of other methods raise.

        Writes that wait for room are refused. May be called again, also after it was cancelled.

        Args:
            timeout: seconds or timedelta for storing; None for as long as it takes.

        Raises:
            NotStored: the time is over; it says how many keys are left. The cache is closed all the same.
            RuntimeError: nothing can be stored any more, for the time of another call is over, or a task
                of the cache has failed. It is closed all the same.
        """
        seconds = None if timeout is None else checked_seconds("timeout", timeout, 0, MAX_SECONDS)
        if self._state in ("new", "starting", "closed"):
            self._state = "closed"
            return
        self._state = "closing"
        self._room.send_home(WriteBackClosed("the write-back cache is closed"))
        try:
            async with asyncio.timeout(seconds):
                if self._commits is not None:
                    await self._commits.idle()
                await self._flush()
        except TimeoutError:
            await self._end()
            if len(self._dirty):
                journaled = self._journal is not None
                raise NotStored(len(self._dirty), seconds or 0.0, journaled=journaled) from None
        except WriteBackClosed:
            await self._end()
            raise
        else:
            await self._end()

    def stats(self) -> WriteBackStats:
        """How it is doing; O(dirty keys)."""
        since = self._dirty.oldest_since()
        return WriteBackStats(
            dirty=len(self._dirty),
            waiting=self._room.waiting,
            oldest_dirty=0.0 if since is None else max(0, self._clock() - since) / NANOSECONDS,
            flushed=self._flushed,
            batches=self._batches,
            failures=self._failures,
            last_error=self._last_error,
            replayed=self._replayed,
            journal_bytes=0 if self._journal is None else self._journal.size_bytes,
        )

    # ---- what a write comes down to

    async def _write(self, key: K, value: V | Deleted) -> asyncio.Future[None] | None:
        """Accepts a write, or hands it to the journal; a future then tells when that has it."""
        if self._dirty.version % WRITES_A_TURN == WRITES_A_TURN - 1:
            await asyncio.sleep(0)
        self._require_open()
        record = None if self._journal is None else encoded(self._journal, key, value)
        if not self._room.try_enter(key):
            self._changed.set()  # no time to gather any more
            await self._room.enter(key)
            if self._state != "open":  # since it was let in
                self._room.leave(key)
                self._require_open()
        if self._commits is None or record is None:
            self._accept(key, value)
            return None
        return self._commits.submit(record, (key, value))

    async def _write_many(self, writes: Sequence[tuple[K, V | Deleted]]) -> None:
        recorded = [await self._write(key, value) for key, value in writes]
        await asyncio.gather(*(future for future in recorded if future is not None))

    def _accept(self, key: K, value: V | Deleted, record: int = 0, size: int = 0) -> None:
        self._reads.forget(key)
        if not self._dirty.put(key, value, self._clock(), record, size):
            self._room.leave(key)  # a dirty key is in the room once
        if self._dirty.fresh in (1, self._max_batch):
            self._changed.set()

    def _require_open(self) -> None:
        if self._state != "open":
            raise WriteBackClosed(f"the write-back cache must be open, it is {self._state}")

    # ---- the journal

    async def _open_journal(self, journal: Journal) -> None:
        commits: GroupCommit[Recorded[K, V]] = GroupCommit(journal, apply=self._apply, give_up=self._give_up)
        try:
            records = list((await commits.call(journal.open)).values())
            writes = [decoded(journal, record) for record in records]
        except BaseException:
            await commits.aclose()
            raise
        for record, (key, value) in zip(records, writes, strict=True):
            self._room.force(key)
            self._accept(key, value, record.number, record.size)
            self._recorded = record.number
        self._replayed = len(records)
        if self._replayed:
            log.info("%s: %d keys are replayed", journal.path, self._replayed)
        self._commits = commits
        self._begin(commits.run())
        self._release_records()

    def _apply(self, committed: Committed, group: list[Pending[Recorded[K, V]]]) -> None:
        for number, pending in enumerate(group, committed.first):
            if isinstance(pending.what, Change):
                self._rewrites -= 1
                self._dirty.move_record(pending.what, number)
            else:
                self._accept(*pending.what, number, pending.write.size)
        self._recorded = committed.first + len(group) - 1
        self._keep_journal_short(committed)

    def _give_up(self, group: list[Pending[Recorded[K, V]]]) -> None:
        for pending in group:
            if isinstance(pending.what, Change):
                self._rewrites -= 1
            else:
                self._room.leave(pending.what[0])
        self._release_records()  # a journal that failed begins anew when nothing is dirty

    def _release_records(self) -> None:
        """Tells the journal what it needs to keep."""
        if self._commits is not None:
            first = self._dirty.first_record()
            self._commits.release(self._recorded + 1 if first is None else first)

    def _keep_journal_short(self, committed: Committed) -> None:
        """Records old dirty writes once more, so that the segments go which only they keep.

        Else a store that is down for long, or one key that it refuses, would keep every segment since.
        """
        assert self._journal is not None
        assert self._commits is not None
        needed = SEGMENTS * self._journal.segment_bytes + 2 * self._dirty.journal_bytes
        if committed.size_bytes <= needed or self._rewrites:
            return
        for change in islice(self._dirty.records_before(committed.active_first), REWRITES):
            if self._room.visits(change.key) > 1:  # a newer write of it is on its way to the journal
                continue
            try:
                record = encoded(self._journal, change.key, change.value)
            except Exception:  # somebody has changed the value, against the rule
                log.exception("a value could not be recorded once more; its old record stays")
                return
            self._commits.submit(record, change)
            self._rewrites += 1
        self._release_records()

    # ---- storing

    async def _flush(self) -> None:
        flush = Flush(self._dirty.versions())
        if flush.waits_for:
            if self._flusher is not None and self._flusher.done():
                flush.fail(cause_of(self._flusher))
            self._flushes.append(flush)
            self._changed.set()
            try:
                await flush.done
            finally:
                self._flushes = [other for other in self._flushes if other is not flush]

    async def _flush_forever(self) -> None:
        while True:
            await self._wait_until_due()
            changes = self._dirty.take(self._clock())
            writes = {change.key: change.value for change in changes if change.value is not DELETED}
            deletes = [change.key for change in changes if change.value is DELETED]
            if writes:
                given = [change for change in changes if change.value is not DELETED]
                await self._give(given, self._store.set_many, writes)
            if deletes:
                given = [change for change in changes if change.value is DELETED]
                await self._give(given, self._store.delete_many, deletes)

    async def _wait_until_due(self) -> None:
        while True:
            hurried = bool(self._flushes or self._room.waiting)
            due = self._dirty.due(hurried=hurried)
            wait = None if due is None else (max(due, self._not_before) - self._clock()) / NANOSECONDS
            if wait is not None and wait <= 0:
                return
            if wait is not None:  # a timer may come a nanosecond early, and would be set again for that
                wait = max(wait, LEAST_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            self._changed.clear()

    async def _give(
        self,
        changes: Sequence[Change[K, V]],
        write: Callable[[Any], Coroutine[Any, Any, None]],
        batch: object,
    ) -> None:
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                await write(batch)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._refused(changes, error)  # the store's own cancellation, and none of this task
        except Exception as error:
            own = isinstance(error, TimeoutError) and limit.expired()
            self._refused(changes, TimeoutError(f"no answer within {self._timeout:g} s") if own else error)
        else:
            self._taken(changes)

    def _taken(self, changes: Sequence[Change[K, V]]) -> None:
        self._failures_in_a_row = 0
        self._flushed += len(changes)
        self._batches += 1
        for key, value, _ in self._dirty.stored(changes, self._clock()):
            self._remember(key, value)
            self._room.leave(key)
        for flush in self._flushes:
            flush.taken(changes)
        self._flushes = [flush for flush in self._flushes if flush.waits_for]  # the others need no hurry
        self._release_records()

    def _remember(self, key: K, value: V | Deleted) -> None:
        """Puts what the store has into the cache; if that fails, as a weigher may, it is not remembered."""
        try:
            self._cache.delete(key)
            if value is not DELETED:
                self._cache.set(key, value)
        except Exception:
            log.exception("what was stored could not be remembered")

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Leaves nobody waiting for a task that has ended before its time.

        It did for an error, such as one of the user's clock, or was cancelled by somebody who cancels all
        tasks of an event loop.
        """
        if self._closing is not None:
            return
        cause = cause_of(task)
        log.critical("no write is taken any more, for a task of the cache has ended", exc_info=cause)
        if self._state == "open":
            self._state = "broken"
        self._room.send_home(broken(cause))
        if self._commits is not None:
            self._commits.stop()
        if task is self._flusher:
            self._fail_flushes(cause)

    def _fail_flushes(self, cause: BaseException | None = None) -> None:
        for flush in self._flushes:
            flush.fail(cause)

    def _refused(self, changes: Sequence[Change[K, V]], error: BaseException) -> None:
        """Puts writes back. From the second failure in a row on, nothing is tried for a while."""
        self._failures += 1
        self._last_error = f"{type(error).__name__}: {error}"
        log.warning("the store did not take %d writes: %s", len(changes), self._last_error)
        now = self._clock()
        if self._dirty.failed(changes, now, self._delay):
            self._failures_in_a_row += 1
            if self._failures_in_a_row > 1:
                self._not_before = now + self._delay(self._failures_in_a_row - 1)

    def _delay(self, failures: int) -> int:
        """Nanoseconds to wait after so many failures."""
        try:
            given = self._retry_delay(min(failures, MAX_FAILURES))
            delay = checked_seconds("retry_delay(failures)", given, 0, MAX_SECONDS)
        except Exception:
            log.exception("retry_delay failed, so the usual delay holds")
            delay = doubling_delay(failures)
        return round(delay * NANOSECONDS)

    async def _end(self) -> None:
        """Ends tasks and journal, also when the caller is cancelled meanwhile."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._end_all())
        await asyncio.shield(self._closing)

    async def _end_all(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail_flushes()  # of those who have called without a timeout, or with a longer one
        await self._reads.aclose()
        if self._commits is not None and self._journal is not None:
            if not len(self._dirty):
                with suppress(Exception):  # what cannot be removed now is stored once more at the next start
                    await self._commits.call(self._journal.release, self._recorded + 1)
            self._commits.stop()
            await self._commits.aclose()
        self._state = "closed"


class Flush(Generic[K]):
    """What one call of `flush` waits for.

    Attributes:
        waits_for: the version that each key must have in the store at least.
        done: when all have.
    """

    __slots__ = ("done", "waits_for")

    def __init__(self, waits_for: dict[K, int]) -> None:
        self.waits_for = waits_for
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def taken(self, changes: Iterable[Change[K, Any]]) -> None:
        """The store has these."""
        for key, _, version in changes:
            if self.waits_for.get(key, version + 1) <= version:
                del self.waits_for[key]
        if not self.waits_for and not self.done.done():
            self.done.set_result(None)

    def fail(self, cause: BaseException | None) -> None:
        """The store will not have them, for whoever stores has failed."""
        if not self.done.done():
            self.done.set_exception(broken(cause))


def broken(cause: BaseException | None) -> WriteBackClosed:
    """The error of whoever waits for what will not come."""
    rule = "the write-back cache must be able to store"
    error = WriteBackClosed(f"{rule}, it was ended" if cause is None else f"{rule}, it has failed")
    error.__cause__ = cause
    return error


def cause_of(task: asyncio.Task[None]) -> BaseException | None:
    """The error that has ended a task; None if it was cancelled."""
    return None if task.cancelled() else task.exception()


def encoded(journal: Journal, key: object, value: object) -> Write:
    """A write as the journal records it; raises for what cannot be recorded."""
    name = encode_key(key)
    deleted = value is DELETED
    write = Write(DELETE, name, b"") if deleted else Write(SET, name, journal.codec.encode(value))
    journal.require_size(write)
    return write


def decoded(journal: Journal, record: Record) -> tuple[Any, Any]:
    """The key of a record, and its value or DELETED.

    Raises:
        JournalError: the codec cannot decode it.
    """
    try:
        value = DELETED if record.operation == DELETE else journal.codec.decode(record.value)
        return decode_key(record.key), value
    except Exception as error:  # a codec may raise anything
        raise JournalError(
            f"{journal.path}: record {record.number} must fit the journal's codec: {error}."
            " Nothing was changed. Use the codec that wrote it"
        ) from error
