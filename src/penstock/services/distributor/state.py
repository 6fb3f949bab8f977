"""What the distributor knows and does, without a network: accept, assign, deliver, retry, give up.

Everything that happens to a packet is a `Change`. It is stored first (group_commit.py) and then applied
to what is held in memory, in one place, `Distributor._apply`: what the service says is what is on disk.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Container, Coroutine, Mapping, Sequence
from functools import partial
from heapq import heappop, heappush
from time import time_ns
from typing import Any, Literal, TypeVar

from penstock.clock import NANOSECONDS, Clock, monotonic_ns
from penstock.resilience import ExponentialBackoff
from penstock.services.distributor.admission import Admission, NotStored, Receipt
from penstock.services.distributor.carrier import AnalyzerClient, DeliveryFailed
from penstock.services.distributor.config import Config
from penstock.services.distributor.dead_letters import DeadLetterIndex, Failed
from penstock.services.distributor.fleet import Analyzer, Fleet
from penstock.services.distributor.group_commit import GroupCommit
from penstock.services.distributor.letter_search import Found, LetterRow, LetterSearch
from penstock.services.distributor.spool import Change, DeadLetter, Retry, Spool, SpoolError, Stored

__all__ = ["Distributor"]

log = logging.getLogger(__name__)

T = TypeVar("T")

MILLISECOND = 1_000_000
SPOOL_PAUSE = 1.0
"""Seconds after which a change that could not be stored is tried again."""
MAX_PURGED_AT_ONCE = 2000
"""Dead letters that one commit removes, so that nobody waits long for the next one: some 40 ms."""
HOUSEKEEPING_INTERVAL = 30.0
"""Seconds between two clean-ups of what has become too old."""


class Distributor:
    """Takes packets, keeps them safe, and deals them to the analyzers by their weights.

    Args:
        config: the settings; with at least one analyzer.
        spool: where packets are kept; used by this object alone from now on, and closed by it.
        client: carries packets to analyzers.
        clock: nanoseconds, for everything that waits.
        wall: unix nanoseconds, for everything that is stored.
    """

    def __init__(
        self,
        config: Config,
        spool: Spool,
        client: AnalyzerClient,
        *,
        clock: Clock = monotonic_ns,
        wall: Clock = time_ns,
    ) -> None:
        self.config = config
        self.draining = False
        self.fleet = Fleet(
            config.analyzers, probes_to_fall=config.probes_to_fall, errors_to_fall=config.errors_to_fall
        )
        self._spool = spool
        self._client = client
        self._clock = clock
        self._wall = wall
        self._started = clock()
        self.admission = Admission(config, clock)
        self._backoff = ExponentialBackoff(
            config.retry_first, limit=max(config.retry_first, config.retry_limit)
        )
        self._commits = GroupCommit(
            spool, prepare=self._prepare, apply=self._apply, timeout=config.accept_timeout
        )
        self._committing: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._workers: set[asyncio.Task[None]] = set()
        self.failed: asyncio.Future[BaseException]
        """Done with the error of a task that should never have ended; made by `start`."""

        self.counters: Counter[str] = Counter()
        self._unsaved: Counter[str] = Counter()  # counted since, stored with the next change
        self._saving: Counter[str] = Counter()  # those of the change that is being stored
        self._pending: dict[int, Stored] = {}
        self._dead_letters = DeadLetterIndex()
        self._letter_search: LetterSearch | None = None  # made by the first search
        self._reading_letters = asyncio.Lock()
        self._purging = False  # whether letters are on their way out
        self._unassigned: deque[Stored] = deque()  # of nobody, until an analyzer is up
        self._retries: list[tuple[int, int, Stored]] = []  # heap of (due, seq, packet)
        self._retry_added = asyncio.Event()
        self._delivered_before = 0  # in earlier lives
        self._body_bytes = 0  # of bodies in memory

    # Starting and stopping

    async def start(self) -> None:
        """Takes up what the spool holds and begins to deliver."""
        self.failed = asyncio.get_running_loop().create_future()
        self._load()
        self._spawn(self._commits.run(), "group commit", self._committing)
        for analyzer in self.fleet.members.values():
            for number in range(self.config.concurrency):
                self._spawn(
                    self._deliver_for_ever(analyzer),
                    f"deliver to {analyzer.config.id} {number}",
                    self._workers,
                )
        self._spawn(self._retry_for_ever(), "retries", self._tasks)
        self._spawn(self._probe_for_ever(), "health", self._tasks)
        self._spawn(self._clean_up_for_ever(), "housekeeping", self._tasks)

    def _load(self) -> None:
        self.counters = self._spool.counters()
        self._delivered_before = self.counters["delivered"]
        self.fleet.restore_credits(self._spool.note("credits"))
        for id_ in self._spool.note("held_down") or ():
            if id_ in self.fleet.members:
                self.fleet.hold_down(self.fleet[id_])
        self._dead_letters = DeadLetterIndex(self._spool.failed())
        self.admission.resume(self._spool, self._wall() // MILLISECOND)
        for packet in self._spool.pending():
            self._pending[packet.seq] = packet
            self.admission.came_in(packet)
            if packet.failures:
                self._retry_later(packet)
            elif packet.analyzer in self.fleet.members:
                self._queue(packet)
            else:
                self._unassigned.append(packet)
        if self._unassigned:
            self._deal_unassigned()

    async def drain(self) -> None:
        """Accepts nothing more and lets the deliveries under way finish; what waits stays in the spool."""
        self.draining = True
        for analyzer in self.fleet.members.values():
            analyzer.wanted.set()
        if self._workers:
            await asyncio.wait(self._workers, timeout=self.config.drain_timeout)

    async def aclose(self) -> None:
        """Drains if that has not been done, stores everything and closes the spool."""
        if not self.draining:
            await self.drain()
        await ended(self._workers | self._tasks)
        await self._store_the_rest()
        await ended(self._committing)
        self._commits.close()
        self._spool.close()

    async def _store_the_rest(self) -> None:
        """Waits until nothing is left to be stored, or what stores has ended by an error."""
        if not self._committing:
            return
        last = self._commits.submit(Change())  # changes are stored in order, and with it what was counted
        await asyncio.wait({last, *self._committing}, return_when=asyncio.FIRST_COMPLETED)
        if last.done() and (error := last.exception()):
            log.error("%s; the last figures are not stored", error)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str, tasks: set[asyncio.Task[None]]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        tasks.add(task)
        task.add_done_callback(partial(self._ended, tasks))

    def _ended(self, tasks: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.critical("%s ended by an error", task.get_name(), exc_info=error)
        if not self.failed.done():
            self.failed.set_result(error)

    # Accepting

    async def accept(self, body: bytes) -> Receipt:
        """Stores the packets of a request body; those in the receipt's `accepted` are as safe as promised.

        Raises:
            UnreadableRequest: the body is no array of packets.
            TooFast: the rate limit says no.
            NotStored: draining, or the spool did not store them, in time or at all. They may have been
                stored all the same: sending them again with the same ids is safe.
        """
        if self.draining:
            raise NotStored("the distributor is shutting down", self.config.drain_timeout)
        admitted = self.admission.admit(body)
        self._count("duplicates", admitted.duplicates)
        self._count("refused", len(admitted.receipt.refused))
        try:
            if admitted.waits:
                waits = admitted.waits + ([self._store_new(admitted.fresh)] if admitted.fresh else [])
                await asyncio.wait_for(asyncio.gather(*waits), self.config.accept_timeout)
            elif admitted.fresh:
                await self._store_new(admitted.fresh)
        except SpoolError as error:
            raise NotStored(str(error)) from None
        except TimeoutError:
            raise NotStored(f"the packets were not stored within {self.config.accept_timeout:g} s") from None
        return admitted.receipt

    def _store_new(self, packets: list[Stored]) -> asyncio.Future[None]:
        messages = sum(packet.messages for packet in packets)
        counters = Counter(accepted=len(packets), messages_accepted=messages)
        return self._commits.submit(Change(accepted=packets, counters=counters), hurried=True)

    # Storing

    def _prepare(self, change: Change) -> Callable[[SpoolError], None]:
        """Assigns what has no analyzer yet, in the order of storing; returns what undoes it."""
        credits_before = self.fleet.credits()
        new = change.accepted + change.assigned
        for packet, id_ in zip(new, self.fleet.assign(len(new)), strict=False):  # none when none is up
            packet.analyzer = id_
            change.counters[f"first_assigned:{id_}"] += 1
        self._saving, self._unsaved = self._unsaved, Counter()
        change.counters.update(self._saving)
        change.notes["credits"] = self.fleet.credits()
        return partial(self._take_back, change, credits_before)

    def _take_back(self, change: Change, credits_before: dict[str, Any], error: SpoolError) -> None:
        self.fleet.restore_credits(credits_before)
        self._unsaved.update(self._saving)
        self._saving = Counter()
        for packet in change.accepted + change.assigned:
            packet.analyzer = None
        for packet in change.accepted:
            self.admission.not_stored(packet, error)

    def _apply(self, change: Change) -> None:
        """Makes what is held in memory agree with what has just been stored."""
        self.counters.update(change.counters)
        self._saving = Counter()
        for packet in change.accepted:
            self._pending[packet.seq] = packet
            self._body_bytes += packet.size
            self._drop_body_beyond_bound(packet)
            self.admission.stored(packet)
            self._queue_or_set_aside(packet)
        for packet in change.assigned:
            self._queue_or_set_aside(packet)
        if self._unassigned and self.fleet.up:  # somebody rose while they were being stored
            self._deal_unassigned()
        for packet in change.delivered:
            self._forget(packet)
        for letter in change.dead:
            self._forget(letter.packet)
        self._dead_letters.add(Failed(letter.failed_at_ms, letter.packet.seq) for letter in change.dead)
        if self._letter_search is not None:
            self._letter_search.died(letter.packet.seq for letter in change.dead)
            self._letter_search.purged(letter.seq for letter in change.purged)
        if change.purged:
            self._dead_letters.remove(change.purged)
            self._purging = False
        for retry in change.retried:
            retry.packet.failures += 1
            retry.packet.due_ms = retry.due_ms
            self._drop_body_beyond_bound(retry.packet)
            self._retry_later(retry.packet)

    def _drop_body_beyond_bound(self, packet: Stored) -> None:
        """Lets go of a body that is on disk, when those in memory are too many."""
        if packet.body is not None and self._body_bytes > self.config.max_memory_bytes:
            packet.body = None
            self._body_bytes -= packet.size

    def _forget(self, packet: Stored) -> None:
        del self._pending[packet.seq]
        if packet.body is not None:
            self._body_bytes -= packet.size
        self.admission.went_out(packet)

    async def _record(self, change: Change) -> None:
        """Stores what has happened already; a spool that fails is asked again until it succeeds."""
        await until_spool_does(partial(self._commits.submit, change))

    def _count(self, name: str, amount: int = 1) -> None:
        if amount:
            self._unsaved[name] += amount

    # Queueing

    def _queue_or_set_aside(self, packet: Stored) -> None:
        if packet.analyzer is None:
            self._unassigned.append(packet)
        else:
            self._queue(packet)

    def _queue(self, packet: Stored) -> None:
        """Puts a packet with its analyzer, or with another if that one is down."""
        analyzer = self.fleet.members.get(packet.analyzer or "")
        if analyzer is not None and analyzer.is_up:
            analyzer.put(packet)
        else:
            self._move(packet)

    def _move(self, packet: Stored) -> None:
        """Gives a packet to another analyzer; it waits when there is none."""
        other = self.fleet.reassign(packet.analyzer if packet.analyzer in self.fleet.members else None)
        if other is None:
            self._unassigned.append(packet)
        else:
            packet.analyzer = other
            self.fleet[other].put(packet)

    def _deal_unassigned(self) -> None:
        """Deals what has waited for an analyzer; what never had one is assigned by the shares."""
        if self.draining:  # the next start does it
            return
        waiting, self._unassigned = self._unassigned, deque()
        first = [packet for packet in waiting if packet.analyzer is None]
        for packet in waiting:
            if packet.analyzer is not None:
                self._move(packet)
        if first:
            self._spawn(self._record(Change(assigned=first)), "assign", self._tasks)

    def rose_or_fell(self, analyzer: Analyzer) -> None:
        """What follows when an analyzer's health has changed."""
        if analyzer.is_up:
            log.warning("analyzer %s is up", analyzer.config.id)
            self._deal_unassigned()
            return
        log.warning("analyzer %s is down: %s", analyzer.config.id, analyzer.last_error or "held down")
        for packet in analyzer.take_all():
            self._move(packet)

    # Delivering

    async def _deliver_for_ever(self, analyzer: Analyzer) -> None:
        config = self.config
        while not self.draining:  # asked here too: an analyzer that falls has `wanted` cleared
            await analyzer.wanted.wait()
            if config.linger and len(analyzer.queue) < config.batch_packets and not self.draining:
                await asyncio.sleep(config.linger)
            if self.draining:
                return
            batch = analyzer.take(config.batch_packets, config.batch_bytes)
            if batch:
                await self.deliver(analyzer, batch)

    async def deliver(self, analyzer: Analyzer, batch: list[Stored]) -> None:
        """One delivery and what follows from it, stored; until then it counts as in flight."""
        analyzer.in_flight += len(batch)
        try:
            await self._fetch_bodies(batch)
            errors = await self._try_to_deliver(analyzer, batch)
            await self._record(self._outcome(analyzer, batch, errors))
        finally:
            analyzer.in_flight -= len(batch)

    async def _fetch_bodies(self, batch: list[Stored]) -> None:
        """Reads the bodies that were too many to keep in memory."""
        missing = {packet.seq: packet for packet in batch if packet.body is None}
        if not missing:
            return
        read = partial(self._spool.bodies, list(missing))
        bodies = await until_spool_does(partial(self._commits.read, read))
        for seq, body in bodies.items():
            missing[seq].body = body
            self._body_bytes += len(body)

    async def _try_to_deliver(self, analyzer: Analyzer, batch: list[Stored]) -> Mapping[str, str]:
        """The errors of those packets that were not delivered, by id."""
        try:
            errors = await self._client.deliver(analyzer.config, batch)
        except DeliveryFailed as error:
            if self.fleet.delivery_failed(analyzer, str(error)):
                self.rose_or_fell(analyzer)
            return dict.fromkeys([packet.id for packet in batch], str(error))
        self.fleet.delivery_succeeded(analyzer)
        return errors

    def _outcome(self, analyzer: Analyzer, batch: list[Stored], errors: Mapping[str, str]) -> Change:
        id_ = analyzer.config.id
        change = Change()
        now_ms = self._wall() // MILLISECOND
        for packet in batch:
            error = errors.get(packet.id)
            if error is None:
                change.delivered.append(packet)
                change.counters["messages_routed"] += packet.messages
            elif packet.failures + 1 >= self.config.max_attempts:
                change.dead.append(DeadLetter(packet, error, now_ms))
            else:
                delay_ms = round(self._backoff.delay(packet.failures + 1) * 1000)
                change.retried.append(Retry(packet, id_, now_ms + delay_ms))
        failed = len(change.retried) + len(change.dead)
        change.counters.update(
            {
                "delivered": len(change.delivered),
                "retries": len(change.retried),
                "dead": len(change.dead),
                f"processed:{id_}": len(change.delivered),
                f"errors:{id_}": failed,
            }
        )
        return change

    # Retrying

    def _retry_later(self, packet: Stored) -> None:
        wait_ms = max(0, packet.due_ms - self._wall() // MILLISECOND)
        longest = round(self._backoff.limit * 1000)  # should the wall clock have been set back
        heappush(self._retries, (self._clock() + min(wait_ms, longest) * MILLISECOND, packet.seq, packet))
        self._retry_added.set()

    def release_due_retries(self) -> None:
        """Queues every packet whose time to be tried again has come, elsewhere if it can be."""
        now = self._clock()
        while self._retries and self._retries[0][0] <= now:
            self._move(heappop(self._retries)[2])

    async def _retry_for_ever(self) -> None:
        while True:
            self._retry_added.clear()
            self.release_due_retries()
            wait = (self._retries[0][0] - self._clock()) / NANOSECONDS if self._retries else None
            try:
                async with asyncio.timeout(wait):
                    await self._retry_added.wait()
            except TimeoutError:
                pass

    # Health and housekeeping

    def control_health(self, analyzer: Analyzer, healthy: bool) -> None:
        """Does what a person wants: holds an analyzer down until it is put back, or puts it back."""
        changed = self.fleet.put_back(analyzer) if healthy else self.fleet.hold_down(analyzer)
        remember = Change(notes={"held_down": self.fleet.held_down})
        self._spawn(self._record(remember), "remember who is held down", self._tasks)
        if changed:
            self.rose_or_fell(analyzer)

    async def check_health(self) -> None:
        """Probes every analyzer once, all at the same time."""
        await asyncio.gather(*(self._probe(analyzer) for analyzer in self.fleet.members.values()))

    async def _probe(self, analyzer: Analyzer) -> None:
        try:
            await self._client.probe(analyzer.config)
        except DeliveryFailed as error:
            changed = self.fleet.probe_failed(analyzer, str(error))
        else:
            changed = self.fleet.probe_succeeded(analyzer)
        if changed:
            self.rose_or_fell(analyzer)

    async def _probe_for_ever(self) -> None:
        while True:
            await self.check_health()
            await asyncio.sleep(self.config.health_interval)

    async def clean_up(self) -> None:
        """Forgets client ids that are older than the window, and the oldest dead letters beyond the bound."""
        self.admission.forget_old_ids()
        before_ms = self._wall() // MILLISECOND - round(self.config.dedupe_window * 1000)
        try:
            await self._commits.read(lambda: self._spool.forget_client_ids(before_ms))
        except SpoolError as error:
            log.error("%s", error)
        await self._purge()

    async def _purge(self) -> None:
        """Removes the dead letters that failed first, beyond the bound."""
        while not self._purging:  # else another call is removing the same ones, and goes on
            excess = len(self._dead_letters) - self.config.max_dead_letters
            purged = self._dead_letters.oldest(min(excess, MAX_PURGED_AT_ONCE))
            if not purged:
                return
            self._purging = True
            await self._record(Change(purged=purged, counters=Counter(purged=len(purged))))

    async def _clean_up_for_ever(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_INTERVAL)
            await self.clean_up()

    # Telling

    @property
    def uptime(self) -> float:
        """Seconds since it was made."""
        return (self._clock() - self._started) / NANOSECONDS

    @property
    def status(self) -> Literal["healthy", "degraded", "unhealthy"]:
        """Healthy: every analyzer is up; degraded: some are; unhealthy: none is."""
        up = len(self.fleet.up)
        if up == len(self.fleet.members):
            return "healthy"
        return "degraded" if up else "unhealthy"

    def seconds_until_room(self) -> float:
        """After the queue was full: the time that delivering a tenth of it takes at the pace so far."""
        delivered = self.counters["delivered"] - self._delivered_before
        pace = delivered / max(self.uptime, 1.0)
        return min(60.0, self.config.max_pending / 10 / pace) if pace else 10.0

    async def dead_letters(
        self,
        limit: int,
        before: int | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        among: Container[int] | None = None,
    ) -> list[LetterRow]:
        """Up to `limit` dead letters as `Spool.dead_letters` gives them, those that failed last first.

        Args:
            limit: how many at the most; fewer come when they are large, and never none while there are some.
            before: the sequence number of a letter: only what comes after it in that order. Nothing when it
                is gone: what comes after it was purged before it.
            since_ms: only those that failed then or later, unix time.
            until_ms: only those that failed before then.
            among: only those in it.
        """
        after = None
        if before is not None:
            at_ms = await self._commits.read(lambda: self._spool.failed_at_ms(before))
            if at_ms is None:
                return []
            after = Failed(at_ms, before)
        seqs = self._dead_letters.newest(
            limit, after=after, since_ms=since_ms, until_ms=until_ms, among=among
        )
        return await self.letters(seqs)

    async def letters(self, seqs: Sequence[int]) -> list[LetterRow]:
        """These dead letters, as `Spool.dead_letters` gives them."""
        return await self._commits.read(lambda: self._spool.dead_letters(seqs))

    async def search_dead_letters(
        self, query: str, since_ms: int | None = None, until_ms: int | None = None
    ) -> Found:
        """Every dead letter that matches, those of this moment included.

        The first search reads all that there are, 0.1 ms or so a letter; the next ones what came since.

        Args:
            query: see `LetterSearch.find`.
            since_ms: only those that failed then or later, unix time.
            until_ms: only those that failed before then.

        Raises:
            QuerySyntaxError: the query cannot be read.
            QueryTooLarge: it has too many clauses, prefixes, phrases or levels.
        """
        if self._letter_search is None:
            there = (seq for _, seq in self._dead_letters.oldest(len(self._dead_letters)))
            self._letter_search = LetterSearch(there, self.config.max_search_bytes)
        search = self._letter_search
        async with self._reading_letters:
            while seqs := search.next_to_read():
                letters = None
                try:
                    letters = await self.letters(seqs)
                    await asyncio.to_thread(search.read, letters)
                finally:
                    search.end_reading(letters)
        return await asyncio.to_thread(search.find, query, since_ms, until_ms)

    def counted(self) -> Counter[str]:
        """Every count since the spool was made, the last ones included, which are not stored yet."""
        return self.counters + self._unsaved + self._saving

    @property
    def pending(self) -> int:
        """Packets that are neither delivered nor given up."""
        return len(self._pending)

    @property
    def retrying(self) -> int:
        """Pending packets that wait to be tried again."""
        return len(self._retries)


async def until_spool_does(ask: Callable[[], Awaitable[T]]) -> T:
    """What the spool answers, asked again and again until it does not fail."""
    while True:
        try:
            return await ask()
        except SpoolError as error:
            log.error("%s; trying again in %g s", error, SPOOL_PAUSE)
            await asyncio.sleep(SPOOL_PAUSE)


async def ended(tasks: set[asyncio.Task[None]]) -> None:
    """Cancels tasks and returns when they have ended."""
    running = set(tasks)
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
