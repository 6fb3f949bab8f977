"""A process that does its share of a run: `python -m penstock.services.pinger.worker`, told by pipes.

Nothing of it is for people: workers.py starts it, tells it what to do on its standard input, and hears of it
on its standard output. When its input ends before it was told so, whoever started it has died: it ends too.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from threading import Thread
from typing import Any, BinaryIO

from penstock.errors import PenstockError
from penstock.services.pinger.messages import (
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
    read_message,
)
from penstock.services.pinger.model import PingResult, Target
from penstock.services.pinger.probe import HostLimiter
from penstock.services.pinger.runner import ping_all, recorder_of
from penstock.services.pinger.summary import Recorder

__all__ = ["main"]

FLUSH = 0.05
TELL_EVERY = 5
MOST_PENDING = 256


class Teller:
    """Sends results and figures to whoever started this process.

    A pipe that is full makes it wait, and with it everything here: a slow reader slows the pings down, and
    the lag says so.

    Args:
        pipe: to write to.
        recorder: of this process.
        rows: whether results are wanted.
    """

    def __init__(self, pipe: BinaryIO, recorder: Recorder, *, rows: bool) -> None:
        self._pipe = pipe
        self._recorder = recorder
        self._wants_rows = rows
        self._pending: list[PingResult] = []

    def take(self, result: PingResult) -> None:
        """Takes one result; a sink."""
        if not self._wants_rows:
            return
        for attempt in result.tries:
            for hop in attempt.hops:
                hop.exchange.body = hop.exchange.head = b""  # judged, and nobody's business any more
        self._pending.append(result)
        if len(self._pending) >= MOST_PENDING:
            self._flush()

    async def keep_telling(self) -> None:
        """Tells what is new until it is cancelled."""
        told = 0
        while True:
            await asyncio.sleep(FLUSH)
            self._flush()
            told += 1
            if told % TELL_EVERY == 0:
                self.tell(last=False)

    def tell(self, *, last: bool) -> None:
        """Tells the figures; the last time with those of each target."""
        self._flush()
        recorder = self._recorder
        self.say(
            Progress(
                recorder.engine,
                recorder.overall,
                recorder.targets if last else None,
                recorder.in_flight.slice_ns,
                recorder.in_flight.most(recorder.clock()),
                recorder.in_flight.now,
                recorder.lag,
                recorder.user_clock,
                recorder.starts,
                recorder.first_start,
                recorder.last_start,
                recorder.retries_refused,
                recorder.left_out,
                last,
            )
        )

    def say(self, message: Message) -> None:
        """Sends a message."""
        self._pipe.write(packed(message))
        self._pipe.flush()

    def _flush(self) -> None:
        if self._pending:
            self.say(Rows(self._pending))
            self._pending = []


class Listener:
    """Hears messages in a thread, and hands them to the event loop.

    Attributes:
        targets: that came one by one; None after the last.
        stopped: done when the run is to end before its time.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        loop = asyncio.get_running_loop()
        self.targets: asyncio.Queue[Target | None] = asyncio.Queue()  # who sends them bounds them
        self.stopped: asyncio.Future[None] = loop.create_future()
        Thread(target=self._listen, args=(pipe, loop), daemon=True, name="listener").start()

    async def each_target(self) -> AsyncGenerator[Target, None]:
        """The targets as they come."""
        while (target := await self.targets.get()) is not None:
            yield target

    def _listen(self, pipe: BinaryIO, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError, ValueError):  # the loop, or the pipe, is closed: the run is over
            while True:
                message = read_message(pipe)
                loop.call_soon_threadsafe(self._hear, message)
                if message is None or isinstance(message, Stop):
                    return

    def _hear(self, message: Message | None) -> None:
        match message:
            case More(target):
                self.targets.put_nowait(target)
            case NoMore():
                self.targets.put_nowait(None)
            case _ if not self.stopped.done():
                self.stopped.set_result(None)


def shared_limiter(start: Start) -> HostLimiter | None:
    """What keeps `per_host` together with the other workers; None where there is no such limit."""
    if start.limits is None or start.settings.per_host is None:
        return None
    from penstock.ratelimit import SharedRateLimiter

    return SharedRateLimiter(start.settings.per_host, path=start.limits, slots=LIMITED_HOSTS)


async def work(start: Start, hears: BinaryIO, tells: BinaryIO) -> None:
    """Does a share of a run."""
    recorder = recorder_of(start.settings)
    teller, listener = Teller(tells, recorder, rows=start.rows), Listener(hears)
    telling = asyncio.create_task(teller.keep_telling())
    source = listener.each_target() if start.targets is None else start.targets
    pinging = asyncio.create_task(
        ping_all(
            source,
            [teller.take],
            start.settings,
            recorder=recorder,
            share=start.share,
            limiter=shared_limiter(start),
        )
    )
    try:
        ends: set[asyncio.Future[Any]] = {pinging, listener.stopped}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        pinging.cancel()
        await asyncio.wait({pinging})
        if not pinging.cancelled() and (error := pinging.exception()) is not None:
            raise error
    finally:
        telling.cancel()
    teller.tell(last=True)


def main() -> None:
    """Runs until the share is done, or who started it has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; who started us will say what to do
    hears, tells = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anybody prints is no message
    tells.write(packed(Ready()))
    tells.flush()
    start = read_message(hears)
    if not isinstance(start, Start):
        return
    try:
        asyncio.run(work(start, hears, tells))
    except BrokenPipeError:
        pass  # nobody hears us any more
    except (PenstockError, OSError) as error:
        tells.write(packed(Failed(str(error))))
    with suppress(BrokenPipeError):
        tells.flush()
    os._exit(0)  # the listening thread holds standard input, and would be waited for


if __name__ == "__main__":
    main()
