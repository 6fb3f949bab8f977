"""What the distributor knows and does, without a network: accept, assign, deliver, retry, give up.

Requests become receipts in accepting.py. Whatever happens to a packet is in the books (books.py), first on
disk and then in memory. Who gets what is the fleet's to say (fleet.py), what an answer means the policy's
(delivery.py); deliveries.py sends, and letters.py does what there is to be done with dead letters. Here they
meet.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Container, Coroutine, Sequence
from contextlib import suppress
from time import time_ns
from typing import Any, Literal, NamedTuple

import msgspec

from penstock.clock import NANOSECONDS, Clock, monotonic_ns
from penstock.errors import InvalidValue
from penstock.ratelimit import TokenBucket
from penstock.services.distributor.accepting import Accepting
from penstock.services.distributor.admission import Admission, Receipt
from penstock.services.distributor.books import Books, in_the_books
from penstock.services.distributor.carrier import AnalyzerClient
from penstock.services.distributor.change import Change, Stored
from penstock.services.distributor.circuit import Override
from penstock.services.distributor.config import AnalyzerConfig, Config
from penstock.services.distributor.dead_letters import Found, LetterRow
from penstock.services.distributor.deliveries import Deliveries, Keeper
from penstock.services.distributor.delivery import LONGEST_RETRY_AFTER, DeliveryPolicy
from penstock.services.distributor.filling import Filling, SpoolReading
from penstock.services.distributor.fleet import Fleet
from penstock.services.distributor.group_commit import Commits, GroupCommit
from penstock.services.distributor.health import Health
from penstock.services.distributor.letters import DeadLetters, Letters, Replaying
from penstock.services.distributor.live_tail import LiveTail, Tail, TailFilter
from penstock.services.distributor.records import RecordsReceipt
from penstock.services.distributor.reloading import (
    CannotChange,
    Difference,
    Overlay,
    differences,
    require_changeable,
)
from penstock.services.distributor.retries import Retries
from penstock.services.distributor.router import Router, labels_in
from penstock.services.distributor.shared_limits import SharedLimits
from penstock.services.distributor.spool import SpoolError
from penstock.services.distributor.spool_like import SpoolLike
from penstock.services.distributor.tasks import Tasks

__all__ = ["Distributor", "Parts"]

log = logging.getLogger(__name__)

MILLISECOND = 1_000_000
MOST_DUE_AT_ONCE = 1000
"""Packets to be tried again that are dealt before others have their turn: some 3 ms."""
HOUSEKEEPING_INTERVAL = 30.0
"""Seconds between two clean-ups of what has become too old."""


class Parts(NamedTuple):
    """What a distributor is made of, where that depends on the kind of its spool."""

    fleet: Callable[..., Fleet] = Fleet
    commits: Callable[..., Commits] = GroupCommit
    filling: Callable[..., Filling] = SpoolReading
    letters: Callable[..., DeadLetters] = DeadLetters
    limits: SharedLimits | None = None
    """What limits several distributors together."""


class Distributor:
    """Takes packets, keeps them safe, and deals them to the analyzers by their weights.

    Args:
        config: the settings; with at least one analyzer.
        spool: where packets are kept; used by this object alone from now on, and closed by it.
        client: carries packets to analyzers.
        clock: nanoseconds, for everything that waits.
        wall: unix nanoseconds, for everything that is stored.
        parts: what goes with the spool.

    Attributes:
        config: the settings in force.
        draining: whether it is shutting down.
        fleet: the analyzers.
        admission: what may come in.
        accepting: takes requests.
    """

    failed: asyncio.Future[BaseException]
    """Done with the error of a task that should never have ended; made by `start`."""

    def __init__(
        self,
        config: Config,
        spool: SpoolLike,
        client: AnalyzerClient,
        *,
        clock: Clock = monotonic_ns,
        wall: Clock = time_ns,
        parts: Parts = Parts(),  # noqa: B008 -- it cannot change
    ) -> None:
        self._overlay = Overlay.remembered(spool.note("analyzers"), config)
        self.config = config if self._overlay is None else self._overlay.over(config)
        self.draining = False
        self._spool = spool
        self._client = client
        self._clock = clock
        self._wall = wall
        self._started = clock()
        self._router = router = Router(self.config.groups)
        self.fleet = parts.fleet(self.config, clock, self._key_of)
        self.admission = Admission(self.config, clock, router)
        self._retries = Retries(clock, wall)
        self._sooner = asyncio.Event()  # something is due before what is waited for
        self._committing = Tasks(self._fail)
        self._tasks = Tasks(self._fail)
        self._tail = LiveTail()
        self._books = books = Books(
            spool,
            parts.commits,
            self.fleet,
            self.admission,
            self._tail,
            remembered=self._remembered,
            applied=self._applied,
            wall=wall,
            timeout=self.config.accept_timeout,
        )
        self.accepting = Accepting(
            self.config,
            router,
            self.admission,
            books.commits,
            limits=parts.limits,
            count=books.count,
            clock=clock,
        )
        self._filling = parts.filling(
            self.fleet,
            spool,
            books.commits,
            wall=wall,
            record=books.record,
            spawn=self._tasks.spawn,
            pause=lambda: books.pause,
        )
        refill = self._filling.refill
        self._health = Health(
            self.fleet,
            client,
            clock=clock,
            wall=wall,
            record=books.record,
            spawn=self._tasks.spawn,
            refill=refill,
            sooner=self._sooner.set,
        )
        keeper = Keeper(books.record, books.bodies, self._health.changed, self.fleet.hand_over, refill)
        policy = DeliveryPolicy(self.config)
        self._deliveries = Deliveries(client, policy, keeper, clock=clock, wall=wall, failed=self._fail)
        self._letters = parts.letters(
            self.config,
            spool,
            books.commits,
            self.admission,
            record=books.record,
            spawn=self._tasks.spawn,
        )

    # Starting and stopping

    async def start(self) -> None:
        """Takes up what the spool holds and begins to deliver."""
        self.failed = asyncio.get_running_loop().create_future()
        self._load()
        self._committing.spawn(self._books.commits.run(), "group commit")
        for analyzer in self.fleet.members.values():
            self._deliveries.start(analyzer)
        self._filling.refill()
        self._tasks.spawn(self._keep_time(), "retries")
        self._tasks.spawn(self._health.probe_for_ever(lambda: self.config.health_interval), "health")
        self._tasks.spawn(self._clean_up_for_ever(), "housekeeping")
        outdated = self._overlay is None and self._spool.note("analyzers") is not None
        if outdated:  # it would come back one day
            forget = self._books.record(Change(notes=self._remembered()))
            self._tasks.spawn(forget, "forget the analyzers that were changed at run time")

    def _load(self) -> None:
        spool, recovery = self._spool, self._spool.recovery
        now_ms = self._wall() // MILLISECOND
        self._books.counters = spool.counters()
        self.fleet.restore(spool.note)
        self._health.restore(spool.note)
        self._letters.load()
        since_ms = now_ms - round(self.config.dedupe_window * 1000)
        ids = spool.client_ids(since_ms, self.config.dedupe_ids)
        self.admission.resume(recovery.last_seq, recovery.packets, recovery.bytes, ids, now_ms)
        for (group, owner), owned in recovery.owners.items():
            self.fleet.source(group, owner).resume(owned.packets, owned.bytes)
        for packet in recovery.retrying:
            self.fleet.will_be_retried(packet)
            self._retries.add(packet, self._deliveries.policy.longest_wait)
        if lost := self.fleet.missing(in_the_books(self._books.counters)):
            log.error("%d packets that were accepted are not in the spool: it was damaged", lost)
            self._books.count("lost", lost)

    async def drain(self) -> None:
        """Accepts nothing more and lets the deliveries under way finish; what waits stays in the spool."""
        self.draining = True
        self.accepting.close()
        self._filling.stop()
        self._tail.close()
        await self._deliveries.drain(self.config.drain_timeout)

    async def aclose(self) -> None:
        """Drains if that has not been done, stores everything and closes the spool."""
        if not self.draining:
            await self.drain()
        await self._deliveries.aclose()
        await self._tasks.cancel()
        await self._store_the_rest()
        await self._committing.cancel()
        self._books.commits.close()
        self._spool.close()

    async def _store_the_rest(self) -> None:
        """Waits until nothing is left to be stored, or what stores has ended by an error."""
        committing = self._committing.running
        if not committing:
            return
        last = self._books.commits.submit(Change())  # changes are stored in order, what was counted with it
        await asyncio.wait({last, *committing}, return_when=asyncio.FIRST_COMPLETED)
        if last.done() and (error := last.exception()):
            log.error("%s; the last figures are not stored", error)

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_result(error)

    # Accepting

    def accept(self, body: bytes, *, limit: TokenBucket | None = None) -> Coroutine[Any, Any, Receipt]:
        """Stores the packets of a request body; those in the receipt's `accepted` are as safe as promised.

        Args:
            body: a JSON array of packets.
            limit: of the packets that this client may send.

        Raises:
            UnreadableRequest: the body is no array of packets.
            TooFast: the rate limit, of the client or of all, says no.
            NotStored: draining, or the spool did not store them, in time or at all. They may have been
                stored all the same: sending them again with the same ids is safe.
        """
        return self.accepting.packets(body, limit)

    def accept_records(
        self, records: Sequence[bytes], *, ids: str | None = None, limit: TokenBucket | None = None
    ) -> Coroutine[Any, Any, RecordsReceipt]:
        """See `Intake.accept_records`."""
        return self.accepting.records(records, ids, limit)

    def _key_of(self, packet: Stored) -> str | None:
        """What a sticky group holds a packet together by that came from the spool."""
        return self._router.key_of(packet.group, labels_in(packet.body)) if packet.body else None

    def _remembered(self) -> dict[str, Any]:
        """What people have said and changed, to hold over a restart."""
        overlay = None if self._overlay is None else msgspec.to_builtins(self._overlay)
        return {"analyzers": overlay, **self._health.notes()}

    def _applied(self, change: Change) -> None:
        """What follows from what is stored, and in the books of all others."""
        if change.dead or change.purged or change.replayed:
            self._letters.apply(change)
        for packet, analyzer, due_ms, _ in change.retried:
            self._retry_later(packet, analyzer, due_ms)
        self._filling.refill()

    # Retrying

    def _retry_later(self, packet: Stored, analyzer: str | None, due_ms: int) -> None:
        packet.failures += 1
        packet.due_ms = due_ms
        packet.body = None
        packet.analyzer = analyzer
        if self.fleet.will_be_retried(packet):
            self._retries.add(packet, LONGEST_RETRY_AFTER)
            self._sooner.set()

    def tick(self) -> None:
        """Does what is due by the clock: retries, and the end of what a person said for a time."""
        for packet in self._retries.take_due(MOST_DUE_AT_ONCE):
            self.fleet.move(packet)
        self._health.expire()
        for analyzer in self.fleet.members.values():
            analyzer.wanted.set()

    async def _keep_time(self) -> None:
        while True:
            self._sooner.clear()
            self.tick()
            waits = [wait for wait in (self._retries.wait, self._health.ends_in) if wait is not None]
            with suppress(TimeoutError):
                async with asyncio.timeout(min(waits, default=None)):
                    await self._sooner.wait()

    # Health

    def control(
        self, analyzer_id: str, state: Override | None, ttl: float | None = None, reason: str = ""
    ) -> None:
        """Does what a person wants with an analyzer, over restarts too.

        Args:
            analyzer_id: which one.
            state: `down` takes it out, `drain` lets it finish what it has in memory and gives it nothing new,
                `up` uses it whatever its health; None puts it back: it is up until it fails again.
            ttl: seconds for which this holds. None: until somebody says otherwise.
            reason: why, for others to read.

        Raises:
            UnknownAnalyzer: there is none of that id.
            ValueError: state or ttl is out of its range.
        """
        self._health.control(analyzer_id, state, ttl, reason)

    async def check_health(self) -> None:
        """Probes every analyzer once, all at the same time."""
        await self._health.probe_all()

    # Housekeeping

    async def clean_up(self) -> None:
        """Forgets client ids older than the window, and the oldest dead letters beyond the bounds."""
        self.admission.forget_old_ids()
        before_ms = self._wall() // MILLISECOND - round(self.config.dedupe_window * 1000)
        try:
            await self._books.commits.read(lambda: self._spool.forget_client_ids(before_ms))
            await self._letters.load_late()
            await self._letters.purge_excess()
        except SpoolError as error:
            log.error("%s", error)

    async def _clean_up_for_ever(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_INTERVAL)
            await self.clean_up()

    # Other settings while it runs

    async def change_analyzers(self, analyzers: Sequence[AnalyzerConfig]) -> list[Difference]:
        """Works with these analyzers from now on, over restarts too while the settings stay as they are.

        Those that stay keep what they are owed. What waits for those that go is given to others; deliveries
        under way to them finish.

        Args:
            analyzers: all of them.

        Returns:
            What is other than before.

        Raises:
            CannotChange: it is shutting down.
            ValueError: there are none, too many, or they make no sense together.
        """
        if not analyzers:
            raise InvalidValue("analyzers must be at least one, got none")
        config = msgspec.structs.replace(self.config, analyzers=tuple(analyzers))
        base = self.config.analyzers if self._overlay is None else self._overlay.base
        return await self._work_by(config, Overlay(base, config.analyzers))

    async def reload(self, config: Config) -> list[Difference]:
        """Works by these settings from now on.

        Analyzers that were changed at run time stay so, unless the settings name others than before.

        Returns:
            What is other than before.

        Raises:
            CannotChange: some of it needs a restart, or it is shutting down; nothing has changed.
            ValueError: a rule of a group cannot be understood; nothing has changed.
        """
        overlay = self._overlay
        if overlay is not None and overlay.base == config.analyzers:
            config = overlay.over(config)
        else:
            overlay = None
        require_changeable(self.config, config)
        return await self._work_by(config, overlay)

    async def _work_by(self, config: Config, overlay: Overlay | None) -> list[Difference]:
        if self.draining:
            raise CannotChange("nothing changes any more: the distributor is shutting down")
        router = Router(config.groups)  # the last that may refuse something
        found = differences(self.config, config)
        there = {(one.id, one.url) for one in config.analyzers}
        left = [one for one in self.config.analyzers if (one.id, one.url) not in there]
        self._overlay = None if overlay is None or overlay.base == overlay.now else overlay
        before = set(self.fleet.members.values())
        self._router = router
        self.config = self._letters.config = config
        self._deliveries.policy = DeliveryPolicy(config)
        self._books.commits.timeout = config.accept_timeout
        gone = self.fleet.take_settings(config)
        self.admission.change(config, router)
        self.accepting.change(config, router)
        for analyzer in gone:
            self._deliveries.stop(analyzer)
            self.fleet.abandon(analyzer)
        for analyzer in self.fleet.members.values():
            if analyzer not in before:
                self._deliveries.start(analyzer)
            analyzer.wanted.set()
        self._filling.refill()
        await self._books.record(Change(notes=self._remembered()))
        for analyzer_config in left:
            await self._client.forget(analyzer_config)
        return found

    # Dead letters

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
        return await self._letters.newest(limit, before, since_ms, until_ms, among)

    async def letters(self, seqs: Sequence[int]) -> list[LetterRow]:
        """These dead letters, as `Spool.dead_letters` gives them."""
        return await self._letters.read(seqs)

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
            BadQuery: the query cannot be read, or has too many clauses, prefixes, phrases or levels.
        """
        return await self._letters.search(query, since_ms, until_ms)

    async def count_dead_letters(self, which: Letters) -> int:
        """How many dead letters are meant."""
        return len(await self._letters.select(which))

    async def purge_dead_letters(self, which: Letters) -> int:
        """Removes dead letters; returns how many there were."""
        return await self._letters.purge(which)

    async def replay_dead_letters(self, which: Letters, *, rate: float | None = None) -> Replaying:
        """Begins to make packets of dead letters again, with their ids and all attempts before them.

        A letter that is a packet again is no letter any more, so that replaying twice delivers once.

        Args:
            which: the letters.
            rate: packets a second, at the most. None: as fast as there is room.

        Raises:
            Busy: another replay is under way.
        """
        return await self._letters.replay(which, rate)

    @property
    def replaying(self) -> Replaying | None:
        """The last replay, under way or over; None when there was none since the start."""
        return self._letters.replaying

    # Telling

    def subscribe(self, wanted: TailFilter | None = None, maxsize: int = 1000) -> Tail:
        """What happens to packets from now on, while the returned context manager is open.

        Args:
            wanted: which of it; everything when None.
            maxsize: events that wait to be taken, at the most; then the oldest are dropped, and counted.
        """
        return self._tail.subscribe(wanted or TailFilter(), maxsize)

    async def story(self, id_: str) -> Any:
        """What the spool still knows of a packet, see `Spool.story`."""
        return await asyncio.to_thread(self._spool.story, id_)

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

    @property
    def counters(self) -> Counter[str]:
        """Every count as of the last commit."""
        return self._books.counters

    def counted(self) -> Counter[str]:
        """Every count since the spool was made, the last ones included, which are not stored yet."""
        return self._books.counted()

    @property
    def pending(self) -> int:
        """Packets that are neither delivered nor given up."""
        return self.fleet.pending

    @property
    def retrying(self) -> int:
        """Pending packets that wait to be tried again."""
        return len(self._retries) + self.fleet.waiting
