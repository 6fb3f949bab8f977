"""The way of a result: into the state at once, into the history and the alerts with the next batch."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from penstock.services.pinger.model import PingResult
from penstock.services.pinger.watch.alerts import body_of
from penstock.services.pinger.watch.history import Batch, History, HistoryError, PingRow
from penstock.services.pinger.watch.state import BAR_SECONDS, BARS, POINTS, Bar, Point, Watch, title

__all__ = ["Recorder", "row_of"]

log = logging.getLogger(__name__)

FLUSH_INTERVAL = 0.5
"""Seconds from one batch to the next: what a kill of the process may cost."""

MOST_UNWRITTEN = 100_000
"""Pings that are held while the history cannot be written; further ones are lost to it, and counted."""

PRUNE_INTERVAL = 60.0

MICROSECOND = 1_000

MAX_ERROR = 500
"""Characters of a reason that are kept."""


class Recorder:
    """Takes results.

    Args:
        watch: what is known of the targets.
        history: what is kept.
        webhooks: URLs that changes are posted to.
        wake_sender: called when alerts were written.
        keep: seconds for which pings are kept.
        max_pings: how many at most.

    Attributes:
        lost: pings that the history could not take.
        trouble: why the history cannot be written, empty when it can.
    """

    def __init__(
        self,
        watch: Watch,
        history: History,
        webhooks: Iterable[str] = (),
        *,
        wake_sender: Callable[[], None] = lambda: None,
        keep: float = 30 * 86_400.0,
        max_pings: int = 50_000_000,
    ) -> None:
        self.watch = watch
        self.history = history
        self.webhooks = tuple(webhooks)
        self.wake_sender = wake_sender
        self.keep = keep
        self.max_pings = max_pings
        self.lost = 0
        self.trouble = ""
        self._batch = Batch()

    def add(self, result: PingResult) -> None:
        """Takes one result; a sink."""
        change = self.watch.add(result)
        if len(self._batch.pings) < MOST_UNWRITTEN:
            self._batch.pings.append(row_of(result))
        else:
            self.lost += 1
        watched = self.watch.get(result.title)
        if watched is not None and watched.since is not None:
            self._batch.conditions[result.title] = (watched.condition, watched.since.timestamp())
        if change is not None:
            log.warning(
                "%s is %s: %s", title(change.target), change.now, result.why or f"status {result.status}"
            )
            made = datetime.now(UTC).timestamp()
            self._batch.alerts += [(url, body_of(change), made) for url in self.webhooks]

    async def restore(self) -> None:
        """Brings back what an earlier life of this process knew: conditions, and the bars of the last day."""
        await asyncio.to_thread(self._restore)

    async def run(self) -> None:
        """Writes what there is, again and again; when it is cancelled, once more."""
        pruned = asyncio.get_running_loop().time()
        try:
            while True:
                await asyncio.sleep(FLUSH_INTERVAL)
                await self.flush()
                if asyncio.get_running_loop().time() - pruned >= PRUNE_INTERVAL:
                    pruned = asyncio.get_running_loop().time()
                    await self._prune()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Writes what there is."""
        batch = self._taken()
        if not batch:
            return
        writing = asyncio.ensure_future(asyncio.to_thread(self._write, batch))
        try:
            trouble = await asyncio.shield(writing)
        except asyncio.CancelledError:
            self._note(batch, await writing)  # the thread goes on all the same, and may fail
            raise
        self._note(batch, trouble)

    def _taken(self) -> Batch:
        batch, self._batch = self._batch, Batch()
        return batch

    def _write(self, batch: Batch) -> str:
        """Why it could not be written; empty when it was."""
        try:
            self.history.write(batch)
        except HistoryError as error:
            return str(error)
        return ""

    def _note(self, batch: Batch, trouble: str) -> None:
        if trouble:
            self._put_back(batch)
            if trouble != self.trouble:
                log.error("the history cannot be written: %s", trouble)
        else:
            if self.trouble:
                log.info("the history can be written again; %d pings were lost to it", self.lost)
            if batch.alerts:
                self.wake_sender()
        self.trouble = trouble

    def _put_back(self, batch: Batch) -> None:
        room = max(MOST_UNWRITTEN - len(self._batch.pings), 0)
        self.lost += max(len(batch.pings) - room, 0)
        alerts = batch.alerts + self._batch.alerts
        self._batch = Batch(
            batch.pings[:room] + self._batch.pings,
            batch.conditions | self._batch.conditions,
            alerts[-self.history.max_alerts :],
        )
        self.history.dropped_alerts += len(alerts) - len(self._batch.alerts)

    async def _prune(self) -> None:
        before = (datetime.now(UTC) - timedelta(seconds=self.keep)).timestamp()
        try:
            while await asyncio.to_thread(self.history.prune, before, self.max_pings):
                pass
        except HistoryError as error:
            log.error("old pings cannot be dropped: %s", error)

    def _restore(self) -> None:
        now = datetime.now(UTC).timestamp()
        since = (int(now) // BAR_SECONDS - BARS + 1) * BAR_SECONDS
        conditions = self.history.conditions()
        for watched in self.watch:
            name = title(watched.target)
            condition, began = conditions.get(name, ("waiting", 0.0))
            if condition in ("up", "down"):
                watched.resume("up" if condition == "up" else "down", datetime.fromtimestamp(began, UTC))
            bars = self.history.bars(name, since, BAR_SECONDS)
            points = self.history.latest(name, since, POINTS)
            watched.remember(
                [Bar(*bar) for bar in bars if bar[0] <= now],
                [Point(at, seconds if good else None) for at, good, seconds in points],
            )


def row_of(result: PingResult) -> PingRow:
    """A ping as the history keeps it; phases are summed over the redirects of its last attempt."""
    dns, connect, tls, wait, transfer = (
        sum(getattr(hop.exchange.phases, phase) for hop in result.hops) // MICROSECOND
        for phase in ("dns", "connect", "tls", "wait", "transfer")
    )
    return PingRow(
        result.title,
        round(result.timestamp.timestamp() * 1e6),
        result.ok,
        result.status,
        result.total // MICROSECOND,
        dns,
        connect,
        tls,
        wait,
        transfer,
        result.attempts,
        result.why[:MAX_ERROR],
    )
