"""What happens to records after a handler took them: packed, put into the outbox, sent, in two threads."""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from penstock.services.distributor.client.errand import Errand, Packed
from penstock.services.distributor.client.errors import NotADistributor
from penstock.services.distributor.client.outbox import (
    FileOutbox,
    MemoryOutbox,
    Outbox,
    abandoned_outboxes,
    new_drawer,
)
from penstock.services.distributor.client.packing import Packer
from penstock.services.distributor.client.posting import NoAnswer, Posting
from penstock.services.distributor.client.record_queue import RecordQueue

__all__ = ["OutboxSettings", "Shipping"]

PACK_INTERVAL = 0.005
"""Seconds between two times that records are made into packets: a kill loses what came in them."""
ROOM_INTERVAL = 0.1
"""Seconds after which a full outbox is tried again."""
ADOPT_INTERVAL = 30.0
"""Seconds between two looks for what other processes have left behind."""
HURRIED_PAUSE = 0.5
"""The longest wait between two tries while somebody waits for them."""
MAX_PACKETS = 500
"""Packets in a request."""
MAX_BYTES = 1024 * 1024
"""Bytes after which a request is closed."""


class OutboxSettings:
    """How the outbox of a process is made.

    Args:
        folder: of all outboxes; None for one in memory.
        max_bytes: bound of all that waits.
        fsync: whether files are synced as they are written.
    """

    def __init__(self, folder: Path | None, max_bytes: int, fsync: bool) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._fsync = fsync

    def open(self) -> tuple[str, Outbox]:
        """An outbox for this process and its name, which no other has; the name is empty in memory.

        Raises:
            OSError: the folder cannot be used.
        """
        if self.folder is None:
            return "", MemoryOutbox(self._max_bytes)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return new_drawer(self.folder, self._max_bytes, fsync=self._fsync)


class Shipping:
    """Ships what is in a queue.

    Args:
        queue: where records come from.
        settings: how the outbox is made.
        posting: to the distributor.
        linger: seconds that records are gathered before a request is made.
        complain: told of trouble that a person should hear of.
    """

    def __init__(
        self,
        queue: RecordQueue,
        settings: OutboxSettings,
        posting: Posting,
        linger: float,
        complain: Callable[[str], None],
    ) -> None:
        self._queue = queue
        self._settings = settings
        self._posting = posting
        self._linger = linger
        self._complain = complain
        self.sent = 0
        self.refused = 0
        self._name = ""
        self._own: Outbox | None = None
        self._adopted: deque[FileOutbox] = deque()
        self._packer = Packer()
        self._packing = threading.Lock()
        self._sending = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}
        self._running = 0  # threads that have not ended
        self._closed = False
        self._ending = threading.Lock()
        self._stopping = threading.Event()
        self._hurry = threading.Event()  # somebody waits: no lingering
        self._poke = threading.Event()  # ends the pause between two tries
        self._work = threading.Event()  # something came into the outbox
        self._added = self._looked = 0  # numbers of additions, and of the last one before an empty look
        self._offline = False
        self._adopt_at = 0.0
        self._deadline: float | None = (
            None  # of a `flush` that does the work of threads that cannot be started
        )
        self._progress = threading.Condition()

    @property
    def outlives(self) -> bool:
        """Whether what is in the outbox is there for the next process."""
        return self._settings.folder is not None

    def open(self) -> Outbox:
        """The outbox of this process, made by the first call.

        Raises:
            OSError: it cannot be.
        """
        if self._own is None:
            self._name, self._own = self._settings.open()
            self._packer = Packer(self._name)
        return self._own

    def start(self) -> bool:
        """Starts the threads; False when one cannot be, and `flush` does its work until the next try.

        The system may have no more of them, or the interpreter be at its end.
        """
        for name, step in (("packing", self._pack_when_wanted), ("sending", self._send_or_rest)):
            if name not in self._threads and not self._start(name, step):
                return False
        return True

    def _start(self, name: str, step: Callable[[], None]) -> bool:
        thread = threading.Thread(
            target=self._for_ever, args=[step], name=f"penstock-logging-{name}", daemon=True
        )
        self._counted(1)
        try:
            thread.start()
        except RuntimeError:
            self._counted(-1)
            return False
        self._threads[name] = thread
        return True

    def _counted(self, more: int) -> bool:
        """Counts a thread that begins or ends; whether `close` left it to this one to let go."""
        with self._ending:
            self._running += more
            return self._closed and not self._running

    def _for_ever(self, step: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                step()
            except Exception as error:  # nobody thought of it; what waits is tried again
                self._complain(f"{type(error).__name__}: {error}")
                self._stopping.wait(1.0)
        if self._counted(-1):
            self._let_go()

    # Packing

    def _pack_when_wanted(self) -> None:
        self._queue.wanted.wait()
        self._stopping.wait(PACK_INTERVAL)
        self._queue.wanted.clear()
        self.pack()

    def pack(self) -> None:
        """Makes packets of what is queued and puts them into the outbox; waits for room, unless stopping."""
        with self._packing:
            messages = self._queue.take_all()
            if not messages:
                return
            packets = self._packer.pack(messages)
            try:
                while packets:
                    packets = packets[self._put(packets) :]
                    if packets and (self._deadline is not None or self._stopping.wait(ROOM_INTERVAL)):
                        break
            finally:
                self._queue.release(messages, sum(packet.messages for packet in packets))
            if packets:
                self._complain("queue and spool are full")
        self._told_progress()

    def _put(self, packets: list[Packed]) -> int:
        """How many of the packets are in the outbox now."""
        try:
            added = self.open().add(packets)
        except OSError as error:
            self._complain(f"the spool cannot be written: {error.strerror or error}")
            return 0
        if added:
            self._added += 1
            self._work.set()
        return added

    # Sending

    def _send_or_rest(self) -> None:
        if monotonic() >= self._adopt_at:
            self._adopt()
        self._work.clear()
        number = self._added
        if self._send_some():
            return
        self._looked = number
        self._told_progress()
        self._work.wait(ADOPT_INTERVAL)

    def _adopt(self) -> None:
        """Takes over what processes that are no more have left behind."""
        self._adopt_at = monotonic() + ADOPT_INTERVAL
        if self._settings.folder is not None:
            self._adopted.extend(abandoned_outboxes(self._settings.folder, but=self._name))

    def _send_some(self) -> bool:
        """Sends one batch; False when there is none."""
        with self._sending:
            while self._adopted:
                try:
                    if self._send_from(self._adopted[0]):
                        return True
                except OSError as error:  # it stays there for a person; nobody waits for it
                    self._complain(f"a drawer of the spool cannot be read: {error.strerror or error}")
                self._adopted.popleft().close()
            return self._own is not None and self._send_from(self._own)

    def _send_from(self, outbox: Outbox) -> bool:
        batch = outbox.oldest(MAX_PACKETS, MAX_BYTES)
        if not batch:
            return False
        if len(batch) < MAX_PACKETS and not self._hurry.is_set() and not self._stopping.is_set():
            self._hurry.wait(self._linger)
            batch = outbox.oldest(MAX_PACKETS, MAX_BYTES)
        errand = Errand(batch)
        while errand.next and not self._gives_up():
            self._try(errand)
        left = {packet.id for packet in errand.left}
        settled = next((number for number, packet in enumerate(batch) if packet.id in left), len(batch))
        outbox.remove(settled)
        self._count(errand)
        return True

    def _gives_up(self) -> bool:
        if self._deadline is None:
            return self._stopping.is_set()
        return monotonic() > self._deadline or (self._offline and self.outlives)

    def _try(self, errand: Errand) -> None:
        """One request, and the pause after it if there has to be one."""
        try:
            pause = errand.answered(self._posting.post(errand.body()))
        except NoAnswer as error:
            pause = errand.lost(str(error))
        except NotADistributor as error:
            self._complain(f"the distributor does not take records: {error}")
            pause = errand.lost(str(error))
        self._offline = pause > 0
        if pause > 0:
            self._told_progress()
            self._poke.clear()
            self._poke.wait(min(pause, HURRIED_PAUSE) if self._hurry.is_set() else pause)

    def _count(self, errand: Errand) -> None:
        self.sent += sum(packet.messages for packet in errand.accepted)
        if errand.refused:
            self.refused += len(errand.refused)
            first = errand.refused[0]
            self._complain(f"the distributor refused {len(errand.refused)} packets: {first.error}")

    # Waiting and ending

    def _told_progress(self) -> None:
        with self._progress:
            self._progress.notify_all()

    def _is_settled(self) -> bool:
        """Whether nothing more has to be waited for."""
        if not self._queue.is_empty:
            return False
        return self._looked == self._added or (self.outlives and self._offline)

    def flush(self, timeout: float) -> bool:
        """Waits until all is sent or, while the distributor is offline, in files; False when time is over."""
        if len(self._threads) < 2:
            return self._ship_here(monotonic() + timeout)
        self._offline = False  # as it was at the last try; the next is made now
        self._hurry.set()
        self._queue.wanted.set()
        self._work.set()
        self._poke.set()
        with self._progress:
            settled = self._progress.wait_for(self._is_settled, timeout)
        self._hurry.clear()
        return settled

    def _ship_here(self, deadline: float) -> bool:
        """Does the threads' work in this one."""
        self._deadline = deadline
        self._hurry.set()
        try:
            self.pack()
            while not self._is_settled() and not self._gives_up():
                number = self._added
                if not self._send_some():
                    self._looked = number
        except Exception as error:
            self._complain(f"{type(error).__name__}: {error}")
        finally:
            self._deadline = None
            self._hurry.clear()
        return self._is_settled()

    def close(self, timeout: float) -> int:
        """Sends what can be within so many seconds and ends the threads; how many messages are lost."""
        deadline = monotonic() + timeout
        self.flush(timeout)
        self._stopping.set()
        for event in (self._hurry, self._poke, self._work, self._queue.wanted):
            event.set()
        for thread in self._threads.values():
            thread.join(max(deadline - monotonic(), 0.1))
        lost = 0
        if isinstance(self._own, MemoryOutbox):
            lost = sum(packet.messages for packet in self._own.oldest(1 << 62, 1 << 62))
        with self._ending:
            self._closed = True
            is_last = not self._running
        if is_last:  # else a thread is in the middle of a request, and lets go after it
            self._let_go()
        return lost

    def _let_go(self) -> None:
        """Closes everything; nobody uses it any more."""
        self.pack()
        self._posting.close()
        for outbox in self._outboxes():
            outbox.close()

    def _outboxes(self) -> list[Outbox]:
        own = [] if self._own is None else [self._own]
        return [*self._adopted, *own]

    def forget(self) -> None:
        """Lets go of everything in a forked child, where it is still the parent's."""
        for outbox in self._outboxes():
            if isinstance(outbox, FileOutbox):
                outbox.forget()
        self._posting.forget()
