"""A crawl from its first URL to its last row: workers take visits as politeness allows."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.probing.engine import Engine, open_engine
from penstock.probing.resolver import Resolver, SystemResolver
from penstock.services.printable import printable
from penstock.services.scraper.addresses import PublicResolver
from penstock.services.scraper.config import ScrapeSettings
from penstock.services.scraper.crawl import Crawl
from penstock.services.scraper.fetch import Fetcher, utc_now
from penstock.services.scraper.frontier import Frontier, StateError, Store
from penstock.services.scraper.model import Extractor, Observer, Page, Progress, Sink, SitemapReader, Start
from penstock.services.scraper.politeness import WINDOW, Lane, Politeness
from penstock.services.scraper.robots import Robots
from penstock.services.scraper.scope import Scope
from penstock.services.scraper.site_files import SiteFiles
from penstock.services.scraper.traps import Traps
from penstock.services.scraper.urls import Canonicalizer, authority_of, joined, origin_of
from penstock.services.scraper.visit import NO_URL, Visit
from penstock.services.scraper.visitor import Visitor

__all__ = ["Crawler", "open_crawler"]

AT_ONCE = 500
"""Starting URLs that are taken before others get a turn."""

MAX_GIVEN = 500
"""Characters that a row shows of what is no URL."""

SOON = 100_000
"""Nanoseconds, the shortest wait: loops may wake somewhat early, and would be woken again and again."""

MAX_CONNECTIONS = 1_000
"""Connections that are kept open between requests."""


class Crawler:
    """Fetches what the starting URLs lead to, once each; open_crawler makes one.

    Args:
        settings: all limits.
        store: where it goes on from; the caller closes it.
        engine: makes the exchanges.
        extract: reads pages.
        read_sitemap: reads sitemaps.
        observer: told of everything that happens; None for nobody.
        clock: returns int nanoseconds; None for the monotonic clock of the system.
        now: returns the wall time in UTC.
    """

    def __init__(
        self,
        settings: ScrapeSettings,
        store: Store,
        engine: Engine,
        *,
        extract: Extractor,
        read_sitemap: SitemapReader,
        observer: Observer | None = None,
        clock: Clock | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        clock = checked_clock(clock)
        rows = store.count()[1]
        self._settings = settings
        self._store = store
        self._frontier = Frontier(store, self._committed, max_known=settings.max_known)
        self._politeness = Politeness(
            lambda visit, lane: self._visitor.judge(visit, lane),
            self._load,
            clock,
            per_host=settings.per_host,
            rate=settings.rate,
            burst=settings.burst,
        )
        self._crawl = Crawl(
            settings=settings,
            clock=clock,
            frontier=self._frontier,
            politeness=self._politeness,
            fetcher=Fetcher(engine, settings, now),
            canonicalizer=Canonicalizer(sort_query=settings.sort_query, drop_tracking=settings.drop_tracking),
            traps=Traps(
                max_segments=settings.max_segments,
                max_repeats=settings.max_repeats,
                max_chain=settings.max_chain,
                max_variants=settings.max_variants,
            ),
            robots=Robots(round(settings.robots_ttl * NANOSECONDS)),
            scope=Scope(settings, store.hosts()),
            progress=Progress(done=rows, earlier=rows),
            observer=observer,
            stop=self.stop,
        )
        self._site_files = SiteFiles(self._crawl, read_sitemap)
        asked = 0 if settings.pages is None else sum(number for _, number in store.asked())
        self._visitor = Visitor(self._crawl, extract, self._site_files, asked)
        self._sinks: Sequence[Sink] = ()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for: int | None = None
        self._limits: list[asyncio.TimerHandle] = []
        self._end: asyncio.Future[None] | None = None
        self._late: Exception | None = None
        self._all_started = False

    @property
    def progress(self) -> Progress:
        """How the crawl stands; always the same object."""
        progress, politeness = self._crawl.progress, self._politeness
        progress.queued = politeness.held + politeness.stored
        progress.in_flight = politeness.in_progress
        progress.hosts = politeness.hosts
        progress.hosts_waiting = politeness.waiting
        progress.hosts_given_up = politeness.given_up
        return progress

    def earlier(self) -> Iterator[Page]:
        """The rows of the runs before; to be read to its end before the crawl begins."""
        return self._store.rows()

    async def crawl(self, starts: Iterable[Start] | AsyncIterable[Start], sinks: Sequence[Sink]) -> None:
        """Fetches until nothing is left, a limit is reached or `stop` is called.

        Every sink gets each row after its commit. When the task is cancelled, what is in flight gets no
        row; what was finished is committed and given to the sinks. May be called once.

        Raises:
            StateError: the state cannot be written; the crawl ends there.
            Exception: whatever a sink or the source of the starting URLs raises; the crawl ends there.
        """
        self._sinks = sinks
        loop = asyncio.get_running_loop()
        self._end = loop.create_future()
        committing = asyncio.create_task(self._guarded(self._frontier.run()))
        try:
            self._go_on()
            self._crawl.progress.state = "crawling"
            self._spawn(self._feed(starts))
            for _ in range(self._settings.concurrency):
                self._spawn(self._work())
            if self._settings.timeout is not None:
                words = f"{self._settings.timeout:g} s for the whole crawl"
                self._limits.append(loop.call_later(self._settings.timeout, self._crawl.reach_limit, words))
            self._check_end()
            await self._end
        finally:
            await self._wind_up(committing)

    def stop(self, grace: float | None = None) -> None:
        """Ends the crawl: nothing new begins, and what is in flight gets some time to finish.

        Args:
            grace: seconds; None for the setting. A second call may shorten it.
        """
        seconds = self._settings.grace if grace is None else grace
        if not self._crawl.is_stopping:
            self._crawl.is_stopping = True
            self._crawl.progress.state = "stopping"
            self._crawl.tell("stopping", words="waiting for what is in flight", seconds=seconds)
        if self._end is not None:
            self._limits.append(asyncio.get_running_loop().call_later(seconds, self._finish))
            self._check_end()

    def _go_on(self) -> None:
        """Takes up what earlier runs left."""
        if self._settings.on_interrupted == "skip":
            words = "in flight when an earlier run was killed: not asked again"
            for visit in self._store.started():
                self._crawl.conclude(visit, "interrupted", words)
        else:
            self._store.queue_started()
        for host, number in self._store.queued():
            self._politeness.add_stored(host, number)
        if self._settings.pages_per_host is not None:
            for host, number in self._store.asked():
                self._politeness.lane(host).taken = number

    async def _feed(self, starts: Iterable[Start] | AsyncIterable[Start]) -> None:
        if isinstance(starts, AsyncIterable):
            async for start in starts:
                await self._begin(start)
        else:
            for number, start in enumerate(starts):
                await self._begin(start)
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
        self._all_started = True
        self._check_end()

    async def _begin(self, start: Start) -> None:
        """Queues a starting URL; what is none is queued too, to get its row like all others."""
        await self._frontier.room()
        text = start.url.strip()
        given = printable(text)[:MAX_GIVEN]
        url = self._crawl.canonicalizer.canonical(text)
        if url is None:
            words = "not a URL of http or https"
        elif "@" in authority_of(joined("", text) or url):
            words = "holds a user or a password: give a header instead"
        else:
            self._add_starting_host(url)
            self._frontier.add([Visit(0, url, authority_of(url), given=given)])
            return
        line = "" if start.line is None else f"line {start.line}: "
        self._frontier.add([Visit(0, f"{NO_URL}{given} {line}{words}", "", given=given)])

    def _add_starting_host(self, url: str) -> None:
        if self._crawl.scope.widen(authority_of(url)):
            self._frontier.widen(authority_of(url))
            if self._settings.sitemaps and not self._settings.obey_robots:
                self._site_files.add_sitemaps(origin_of(url))

    async def _work(self) -> None:
        while True:
            visit = None if self._crawl.is_stopping else self._politeness.take()
            if visit is None:
                self._check_end()  # a lane may have been closed, and nothing else is left
                await self._turn()
                continue
            self._stir()
            try:
                await self._frontier.room()
                await self._visitor.make(visit)
            finally:
                self._politeness.release(visit)
            self._stir()
            self._check_end()

    async def _turn(self) -> None:
        """Waits until there may be something to take."""
        self._arm()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            with suppress(ValueError):
                self._idle.remove(turn)
            raise

    def _stir(self) -> None:
        """Wakes a worker when there is something to take, now or later; that one wakes the next."""
        if self._politeness.is_ready:
            self._wake()
        elif self._idle:
            self._arm()

    def _wake(self) -> None:
        while self._idle:
            turn = self._idle.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _arm(self) -> None:
        """Wakes a worker at the next moment that a lane waits for."""
        moment = self._politeness.next_at()
        if moment == self._armed_for:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = moment
        if moment is not None:
            seconds = max(moment - self._crawl.clock(), SOON) / NANOSECONDS
            self._timer = asyncio.get_running_loop().call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._armed_for = None
        self._wake()

    def _load(self, lane: Lane) -> None:
        self._spawn(self._load_visits(lane))

    async def _load_visits(self, lane: Lane) -> None:
        self._politeness.loaded(lane, await self._frontier.load(lane.host, lane.loaded, WINDOW))
        self._stir()
        self._check_end()

    def _committed(self, pages: list[Page], new: list[Visit]) -> None:
        for page in pages:
            self._crawl.progress.done += 1
            for sink in self._sinks:
                sink(page)
        for visit in new:
            self._politeness.add(visit)
        if self._frontier.dropped:
            self._crawl.tell_once("limit", f"{self._settings.max_known} URLs known: links are dropped")
        self._stir()
        self._check_end()

    def _check_end(self) -> None:
        if self._crawl.is_stopping:
            if not self._politeness.in_progress:
                self._finish()
        elif self._all_started and not self._politeness.pending and self._frontier.is_idle:
            self._finish()

    def _finish(self) -> None:
        if self._end is not None and not self._end.done():
            self._end.set_result(None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Ends the crawl with whatever `work` raises first, also where it was about to end anyway."""
        try:
            await work
        except Exception as error:
            if self._end is None or self._late is not None:
                return
            if not self._end.done():
                self._end.set_exception(error)
            elif self._end.cancelled() or self._end.exception() is None:
                self._late = error

    async def _wind_up(self, committing: "asyncio.Task[None]") -> None:
        for timer in (self._timer, *self._limits):
            if timer is not None:
                timer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
            if not committing.done():
                with suppress(StateError):  # the committing task raises it too
                    await self._frontier.stored()
        finally:
            committing.cancel()
            self._frontier.close()
            self._crawl.progress.state = "stopped"
            await asyncio.gather(committing, return_exceptions=True)
        if self._late is not None:
            raise self._late


@asynccontextmanager
async def open_crawler(
    settings: ScrapeSettings,
    *,
    state: str | Path | None = None,
    observer: Observer | None = None,
    resolver: Resolver | None = None,
    engine: Engine | None = None,
    clock: Clock | None = None,
    now: Callable[[], datetime] = utc_now,
) -> AsyncIterator[Crawler]:
    """A crawler with everything that it needs; closed at the end of the context.

    Args:
        settings: all limits.
        state: the file that a run goes on from, made when it is not there; None for none.
        observer: told of everything that happens.
        resolver: turns names into addresses; None for the system's. Private addresses are refused unless
            the settings allow them, whoever found them.
        engine: makes the exchanges, and then resolves names by itself; None for the one that the settings
            name.
        clock: returns int nanoseconds; None for the monotonic clock of the system.
        now: returns the wall time in UTC.

    Raises:
        StateError: the state cannot be opened.
        ImportError: a library of the extra `scrape` is missing.
    """
    from penstock.services.scraper.extract import extract
    from penstock.services.scraper.sitemaps import read_sitemap

    store = Store(state)
    try:
        async with running(engine, settings, resolver) as exchanges:
            yield Crawler(
                settings,
                store,
                exchanges,
                extract=extract,
                read_sitemap=read_sitemap,
                observer=observer,
                clock=clock,
                now=now,
            )
    finally:
        store.close()


@asynccontextmanager
async def running(
    engine: Engine | None, settings: ScrapeSettings, resolver: Resolver | None
) -> AsyncIterator[Engine]:
    """The engine that was given, or an own one."""
    if engine is not None:
        yield engine
        return
    own = SystemResolver() if resolver is None else None
    names = own or resolver
    assert names is not None
    guarded = names if settings.allow_private else PublicResolver(names)
    connections = min(settings.concurrency, MAX_CONNECTIONS)
    try:
        async with open_engine(settings.engine, resolver=guarded, connections=connections) as opened:
            yield opened
    finally:
        if own is not None:
            own.close()
