"""A run shared out to several processes, as one core is not enough for some."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from contextlib import ExitStack, aclosing, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from penstock.clock import NANOSECONDS
from penstock.errors import InvalidValue
from penstock.probing.resolver import SystemResolver
from penstock.services.pinger.addresses import PinnedResolver, every_address
from penstock.services.pinger.figures import Figures, TargetFigures
from penstock.services.pinger.in_flight import InFlight, merged
from penstock.services.pinger.lag import Lag
from penstock.services.pinger.messages import (
    LENGTH_BYTES,
    LIMITED_HOSTS,
    Failed,
    Message,
    More,
    NoMore,
    Progress,
    Ready,
    Rows,
    Start,
    Stop,
    packed,
    unpacked,
)
from penstock.services.pinger.model import Target
from penstock.services.pinger.runner import Sink
from penstock.services.pinger.schedule import Share, collected, each
from penstock.services.pinger.settings import Settings
from penstock.services.pinger.summary import Recorder, RunSummary

__all__ = ["WorkerFailed", "ping_with_workers"]

LEAD_NS = 20_000_000
LAST_WORDS = 3.0
AHEAD = 2

Targets = Iterable[Target] | AsyncIterable[Target]


class WorkerFailed(InvalidValue):
    """A worker cannot do what it was told, or has ended before it was done."""


async def ping_with_workers(
    targets: Targets, sinks: Sequence[Sink], settings: Settings, workers: int, recorder: Recorder
) -> RunSummary:
    """Pings as ping_all does, with so many processes; what they find comes together here.

    The concurrency is that of all of them together, and so is the quota of a host. Targets that are pinged
    once go to whichever worker has room; a rate, and rounds of several pings, are dealt out turn by turn; a
    target with an interval belongs to one worker. When the task is cancelled, all end and say what they have.

    Args:
        targets: pulled one by one.
        sinks: called with each result.
        settings: how to ping.
        workers: processes, >= 1.
        recorder: is given the figures of all of them.

    Raises:
        WorkerFailed: one cannot go on.
        Exception: whatever a sink or the source of the targets raises.
    """
    team = Team(recorder, sinks, min(workers, settings.concurrency))
    try:
        await team.start()
        if settings.all_ips:
            targets = team.every_address(targets, settings)
        await team.run(targets, settings)
    finally:
        await team.end()
    return recorder.summary()


class Team:
    """The processes of one run.

    Args:
        recorder: is given their figures.
        sinks: are given their results.
        size: how many.
    """

    def __init__(self, recorder: Recorder, sinks: Sequence[Sink], size: int) -> None:
        self._recorder = recorder
        self._sinks = sinks
        self._size = size
        self._begin = 0
        self._starting: asyncio.Task[None] | None = None
        self._workers: list[Worker] = []
        self._resolver = PinnedResolver(SystemResolver())
        self._folder = ExitStack()

    async def start(self) -> None:
        """Starts the processes, and waits until they can begin together."""
        # Shielded: a process whose start is cancelled half way would be nobody's.
        self._starting = asyncio.create_task(self._start_all())
        await asyncio.shield(self._starting)
        for worker in self._workers:
            await worker.ready()

    def every_address(self, targets: Targets, settings: Settings) -> AsyncGenerator[Target, None]:
        """See every_address; asked here, so that all workers have the same."""
        return every_address(targets, self._resolver, settings)

    async def run(self, targets: Targets, settings: Settings) -> None:
        """Has the targets pinged."""
        scheduled = settings.repeats or settings.rate is not None
        kept = await collected(targets) if scheduled else None
        self._begin = self._recorder.clock() + LEAD_NS
        limits = None if settings.per_host is None else self._file_of_limits(settings.per_host)
        for place, worker in enumerate(self._workers):
            stagger = round((settings.gap or 0) * NANOSECONDS) * place
            share = Share(place, self._size, self._begin, stagger) if scheduled else Share(stagger=stagger)
            mine = kept
            if kept is not None and settings.interval is not None:  # each beats on its own: dealt out whole
                mine, share = kept[place :: self._size], share._replace(place=0, of=1)
            rows = bool(self._sinks) or kept is None  # who deals one by one counts them
            worker.say(Start(self._part(settings, place), share, mine, rows, limits))
        jobs = [asyncio.create_task(worker.listen()) for worker in self._workers]
        if kept is None:
            jobs.append(asyncio.create_task(self._deal(targets)))
        await all_or_none(jobs)

    async def end(self) -> None:
        """Ends the processes; those that still work may tell what they have."""
        self._resolver.close()
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        try:
            await asyncio.gather(*(worker.end() for worker in self._workers))
        finally:
            for worker in self._workers:
                worker.kill()
            for worker in self._workers:
                await worker.gone()
            self._folder.close()

    async def _start_all(self) -> None:
        for _ in range(self._size):
            self._workers.append(Worker(await process_of_worker(), self._heard))

    async def _deal(self, targets: Targets) -> None:
        """Gives each target to the worker with the most room, when there is one with room."""
        async with aclosing(each(targets)) as source:
            async for target in source:
                worker = await self._with_room()
                await worker.give(target)
        for worker in self._workers:
            worker.say(NoMore())

    async def _with_room(self) -> "Worker":
        while True:
            worker = max(self._workers, key=lambda one: one.room)
            if worker.room > 0:
                return worker
            await next_of([one.has_room for one in self._workers])

    def _part(self, settings: Settings, place: int) -> Settings:
        """What a worker goes by: its part of the concurrency, and of what there is of starts in a time."""
        whole, rest = divmod(settings.concurrency, self._size)
        gap = None if settings.gap is None else settings.gap * self._size
        return replace(settings, concurrency=whole + (place < rest), gap=gap, all_ips=False)

    def _file_of_limits(self, quota: str) -> str:
        """The file in which the workers keep the quota together; made here, that all find the same."""
        from penstock.ratelimit import SharedRateLimiter

        path = str(Path(self._folder.enter_context(TemporaryDirectory()), "limits"))
        self._folder.enter_context(SharedRateLimiter(quota, path=path, slots=LIMITED_HOSTS))
        return path

    def _heard(self, message: Message) -> None:
        match message:
            case Rows(results):
                for result in results:
                    for sink in self._sinks:
                        sink(result)
            case Progress():
                self._add_up()

    def _add_up(self) -> None:
        """Gives the recorder what all workers have told of themselves last."""
        told = [worker.progress for worker in self._workers if worker.progress is not None]
        recorder = self._recorder
        recorder.engine = told[0].engine
        recorder.overall, recorder.targets = Figures(), TargetFigures()
        for progress in told:
            recorder.overall.merge(progress.overall)
            if progress.targets is not None:
                recorder.targets.merge(progress.targets)
        recorder.user_clock = sum(progress.user_clock for progress in told)
        recorder.starts = sum(progress.starts for progress in told)
        recorder.first_start = min((one.first_start for one in told if one.starts), default=0)
        recorder.last_start = max(progress.last_start for progress in told)
        recorder.retries_refused = sum(progress.retries_refused for progress in told)
        recorder.left_out = sum(progress.left_out for progress in told)
        lags = [progress.lag for progress in told]
        recorder.lag = Lag(
            max(lag.p99 for lag in lags), max(lag.most for lag in lags), sum(lag.ticks for lag in lags)
        )
        recorder.in_flight = together(told, self._begin)


def together(told: Sequence[Progress], begin: int) -> InFlight:
    """What is in flight in all of them."""
    in_flight = InFlight(begin)
    in_flight.resume(*merged([(one.slice_ns, one.most) for one in told]), sum(one.now for one in told))
    return in_flight


class Worker:
    """One process.

    Args:
        process: that runs worker.py.
        heard: is told each message of it.

    Attributes:
        progress: what it has told of itself last.
        has_room: set while it should be given more targets.
    """

    def __init__(self, process: Process, heard: Callable[[Message], None]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.progress: Progress | None = None
        self.has_room = asyncio.Event()
        self._process = process
        self._heard = heard
        self._tell, self._hear = process.stdin, process.stdout
        self._given = self._done = self._most = 0
        self._length: int | None = None  # of the message whose content comes next
        self._over = False

    @property
    def room(self) -> int:
        """Targets that it should be given now."""
        return self._most - (self._given - self._done)

    async def ready(self) -> None:
        """Waits until it has started."""
        if not isinstance(await self._next(), Ready):
            raise self._ended()

    def say(self, message: Message) -> None:
        """Sends it a message."""
        if isinstance(message, Start):
            self._most = AHEAD * message.settings.concurrency
        self._tell.write(packed(message))

    async def give(self, target: Target) -> None:
        """Sends it a target."""
        self._given += 1
        if self.room <= 0:
            self.has_room.clear()
        self.say(More(target))
        await self._tell.drain()

    async def listen(self) -> None:
        """Hears it until it is done.

        Raises:
            WorkerFailed: it cannot go on, or has died.
        """
        while not self._over:
            message = await self._next()
            match message:
                case None:
                    raise self._ended()
                case Failed(why):
                    raise WorkerFailed(why)
                case Progress():
                    self.progress, self._over = message, message.last
                case Rows(results):
                    self._done += len(results)
                    self.has_room.set()
            self._heard(message)

    async def end(self) -> None:
        """Has it stop, and hears its last words."""
        if self._over or self._process.returncode is not None:
            return
        with suppress(OSError, WorkerFailed, TimeoutError):
            self.say(Stop())
            await asyncio.wait_for(self.listen(), LAST_WORDS)

    def kill(self) -> None:
        """Ends it, if it has not ended."""
        self._tell.close()
        if not self._over:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def gone(self) -> None:
        """Waits until the process has ended, which it is about to."""
        await self._process.wait()

    async def _next(self) -> Message | None:
        try:
            if self._length is None:
                self._length = int.from_bytes(await self._hear.readexactly(LENGTH_BYTES), "big")
            content = await self._hear.readexactly(self._length)  # when cancelled here, we go on here
        except asyncio.IncompleteReadError:
            return None
        self._length = None
        return unpacked(content)

    def _ended(self) -> WorkerFailed:
        return WorkerFailed(f"worker {self._process.pid} must run to its end, it ended before")


async def process_of_worker() -> Process:
    # Not multiprocessing: that would import the program that we are in once more. In a session of its own:
    # the Ctrl-C of a terminal is for us, who will say what is to be done.
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "penstock.services.pinger.worker",
        stdin=PIPE,
        stdout=PIPE,
        start_new_session=True,
    )


async def next_of(events: Sequence[asyncio.Event]) -> None:
    """Waits for the first of some events."""
    waits = {asyncio.ensure_future(event.wait()) for event in events}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancelled(waits)


async def all_or_none(jobs: Sequence["asyncio.Task[None]"]) -> None:
    """Waits for all jobs; the first that fails ends the others, and its exception is raised as it is."""
    try:
        done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_EXCEPTION)
        for job in done:
            job.result()
    finally:
        await cancelled(jobs)


async def cancelled(tasks: Iterable["asyncio.Future[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
