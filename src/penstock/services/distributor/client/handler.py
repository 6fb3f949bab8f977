"""A handler for the standard library's logging that sends records to a logs distributor."""

import logging
import os
import ssl
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from weakref import WeakSet

from penstock.clock import NANOSECONDS, Clock, monotonic_ns
from penstock.errors import InvalidValue
from penstock.services.distributor.client.messages import encoded_record
from penstock.services.distributor.client.posting import Posting
from penstock.services.distributor.client.record_queue import RecordQueue
from penstock.services.distributor.client.shipping import OutboxSettings, Shipping

__all__ = ["DistributorHandler"]

COMPLAINT_INTERVAL = 60.0
"""Seconds between two lines about trouble on standard error."""


class DistributorHandler(logging.Handler):
    """Sends log records to a logs distributor.

    `emit` puts a record into a bounded queue and returns: it never waits and never raises. Two threads of the
    handler's own do the rest, started by the first record and ended by `close`, as a logger has no event loop
    to work in: one makes packets of the records and puts them into the outbox, the other sends those.

    With a `spool` the outbox is a folder. Then every record that `emit` took is in a file some milliseconds
    later; while the distributor is offline it waits there, and what a process leaves behind, however it
    ends, the next one sends, or another that uses the same folder. Without a spool it waits in memory.
    Packets are sent in order, and again until they are accepted, always with the same id: within the
    distributor's window nothing arrives twice.

    What `emit` took is lost only when the process is killed within those milliseconds, when there is no
    spool and `close` cannot deliver in time, or when the distributor calls it invalid. When queue and outbox
    are full, records are dropped. All of that is counted, and told on standard error, once a minute.

    A forked child sends its own records and leaves those of its parent alone.

    Args:
        url: of the distributor, such as `https://logs.example:8080`.
        api_key: what it wants to be shown; one that may send is enough.
        spool: folder of the outbox; made when it is not there. Any number of processes may share it.
        source: the source of every message; the name of its logger when empty.
        max_queue_bytes: bound of what was taken and is not in the outbox yet.
        max_spool_bytes: bound of the outbox in memory, or of all in the folder together; a packet that is
            larger goes alone.
        linger: seconds that records are gathered before a request is made.
        timeout: seconds that a step of a request may take.
        close_timeout: seconds that `flush` and `close` wait for deliveries.
        fsync: whether files are synced as they are written, so that a power cut loses no more than a kill.
        context: TLS for https; the system's authorities when None.
        level: of `logging.Handler`.
        clock: returns int nanoseconds.

    Raises:
        ValueError: an argument is out of its range.
        OSError: the spool cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        spool: str | os.PathLike[str] | None = None,
        source: str = "",
        max_queue_bytes: int = 16 * 1024 * 1024,
        max_spool_bytes: int = 256 * 1024 * 1024,
        linger: float = 0.2,
        timeout: float = 10.0,
        close_timeout: float = 5.0,
        fsync: bool = False,
        context: ssl.SSLContext | None = None,
        level: int | str = logging.NOTSET,
        clock: Clock = monotonic_ns,
    ) -> None:
        check(max_queue_bytes, max_spool_bytes, linger, timeout, close_timeout)
        self._source = source
        self._close_timeout = close_timeout
        self._clock = clock
        settings = OutboxSettings(None if spool is None else Path(spool), max_spool_bytes, fsync)
        make_posting = partial(Posting, url, api_key=api_key, timeout=timeout, context=context)
        make_posting()  # what is wrong with the address or the key is told at once
        super().__init__(level)  # not before: from here on logging flushes it at the end of the program
        self.url = url
        self._make_queue = partial(RecordQueue, max_queue_bytes)
        self._make_shipping: Callable[[RecordQueue], Shipping] = lambda queue: Shipping(
            queue,
            settings,
            make_posting(),
            linger,
            self._complain,
        )
        self._complaints = Complaints(url, clock)
        self._begin()
        self._shipping.open()  # what is wrong with the folder is told at once
        HANDLERS.add(self)

    def _begin(self) -> None:
        """An empty queue and no threads yet."""
        self._queue = self._make_queue()
        self._shipping = self._make_shipping(self._queue)
        self._starting = Lock()
        self._started = self._closed = False
        self._gave_up_at: int | None = None

    def handle(self, record: logging.LogRecord) -> bool:
        """As `logging.Handler.handle`, without its lock: nobody waits for another thread's `flush`."""
        wanted = self.filter(record)
        if isinstance(wanted, logging.LogRecord):  # since Python 3.12 a filter may replace it
            record = wanted
        if wanted:
            self.emit(record)
        return bool(wanted)

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a record, or drops and counts it when there is no room; never waits, never raises."""
        try:
            message = encoded_record(record, self.formatter, self._source)
            if self._closed:
                self._queue.drop()
            elif not self._queue.put(message):
                self._complain("queue and spool are full")
            elif not self._started:
                self._start()
        except Exception as error:
            self._queue.drop()
            self._complain(f"a record cannot be taken: {type(error).__name__}: {error}")

    def _start(self) -> None:
        # not waited for: it may be held by this very thread, whose work a signal handler interrupts to log
        if self._starting.acquire(blocking=False):
            try:
                self._started = self._started or self._shipping.start()
            finally:
                self._starting.release()

    def _complain(self, trouble: str) -> None:
        self._complaints.tell(trouble, self._queue.dropped)

    @property
    def figures(self) -> dict[str, int]:
        """Records since this process has used it: taken and dropped by `emit`, sent; and packets refused.

        Of what was sent, some may be what other processes left behind.
        """
        return {
            "taken": self._queue.taken,
            "dropped": self._queue.dropped,
            "sent": self._shipping.sent,
            "refused_packets": self._shipping.refused,
        }

    def flush(self, timeout: float | None = None) -> None:
        """Waits until all that was taken is accepted or, while the distributor is offline, in files.

        Args:
            timeout: seconds after which it returns in any case; `close_timeout` when None.
        """
        if not self._closed:
            settled = self._shipping.flush(self._close_timeout if timeout is None else timeout)
            self._gave_up_at = None if settled or timeout is not None else self._clock()

    def close(self) -> None:
        """Sends what can be within `close_timeout` and ends the threads; called at the end of a program."""
        if self._closed:
            return
        self._closed = True
        HANDLERS.discard(self)
        # at the end of a program logging has just called `flush`: no use in waiting as long again
        gave_up = self._gave_up_at is not None and self._clock() - self._gave_up_at < NANOSECONDS
        if lost := self._shipping.close(0.0 if gave_up else self._close_timeout):
            self._queue.release(deque(), lost)  # counted as what there was no room for
            records = "1 record" if lost == 1 else f"{lost} records"
            self._complaints.tell_at_once(f"not sent in time, so lost: {records}")
        super().close()

    def _forked(self) -> None:
        """Begins anew in a forked child."""
        if not self._closed:
            with suppress(Exception):
                self._shipping.forget()
            self._complaints.forked()
            self._begin()


def check(
    max_queue_bytes: int, max_spool_bytes: int, linger: float, timeout: float, close_timeout: float
) -> None:
    """Refuses arguments that make no sense."""
    for name, number in (("max_queue_bytes", max_queue_bytes), ("max_spool_bytes", max_spool_bytes)):
        if number < 65_536:
            raise InvalidValue(f"{name} must be >= 65536, got {number!r}")
    for name, seconds in (("timeout", timeout), ("close_timeout", close_timeout)):
        if not 0 < seconds <= 3600:
            raise InvalidValue(f"{name} must be > 0 and <= 3600 seconds, got {seconds!r}")
    if not 0 <= linger <= 60:
        raise InvalidValue(f"linger must be >= 0 and <= 60 seconds, got {linger!r}")


class Complaints:
    """Says on standard error what goes wrong, once a minute.

    Args:
        url: of the distributor.
        clock: returns int nanoseconds.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self.forked()

    def forked(self) -> None:
        """Begins anew."""
        self._telling = Lock()
        self._told_at: int | None = None
        self._told_dropped = 0

    def tell(self, trouble: str, dropped: int) -> None:
        """Says what is wrong, and how many records were dropped since; unless something was said just now."""
        now = self._clock()
        if self._told_at is not None and now - self._told_at < COMPLAINT_INTERVAL * NANOSECONDS:
            return
        if not self._telling.acquire(blocking=False):  # another thread says it
            return
        try:
            self._told_at = now
            lost, self._told_dropped = dropped - self._told_dropped, dropped
            self.tell_at_once(
                f"{trouble}; {lost} records dropped since it was last said" if lost else trouble
            )
        finally:
            self._telling.release()

    def tell_at_once(self, trouble: str) -> None:
        """Says it now."""
        with suppress(Exception):  # there may be no standard error
            sys.stderr.write(f"penstock: logging to {self._url}: {trouble}\n")


HANDLERS: WeakSet[DistributorHandler] = WeakSet()


def begin_anew() -> None:
    for handler in list(HANDLERS):
        handler._forked()


os.register_at_fork(after_in_child=begin_anew)
