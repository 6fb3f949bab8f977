"""The queue between a program's threads and the one that makes packets of what they log."""

import threading
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue

__all__ = ["RecordQueue", "Wakeup"]

OVERHEAD = 100
"""Bytes of a queued message beside its text, about."""


class Wakeup:
    """An event for one thread that waits.

    Unlike `threading.Event` it may be set by what interrupts its being set: a signal handler, or a destructor
    that the garbage collector calls. Those may log, too.
    """

    def __init__(self) -> None:
        self._tokens: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Wakes the thread that waits, or will."""
        if self._tokens.empty():
            self._tokens.put(None)

    def wait(self) -> None:
        """Returns once it was set."""
        self._tokens.get()

    def clear(self) -> None:
        """Forgets that it was set."""
        with suppress(Empty):
            while True:
                self._tokens.get_nowait()


class RecordQueue:
    """Messages in the order in which they were put in; bounded in bytes.

    Any thread puts, one takes. What was taken goes on using its room until `release`.

    Args:
        max_bytes: the bound.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._changing = threading.RLock()  # reentrant: a signal handler may log while this thread does
        self._messages: deque[bytes] = deque()
        self._unreleased = 0
        self._bytes = 0
        self.taken = 0
        """Messages that were put in."""
        self.dropped = 0
        """Messages for which there was no room, then or later."""
        self.wanted = Wakeup()
        """Set when something was put in."""

    def put(self, message: bytes) -> bool:
        """Puts a message in; False, and counted, when there is no room. Never waits."""
        size = len(message) + OVERHEAD
        with self._changing:
            if self._bytes + size > self._max_bytes:
                self.dropped += 1
                return False
            self._messages.append(message)
            self._bytes += size
            self.taken += 1
        self.wanted.set()
        return True

    def drop(self) -> None:
        """Counts a message that nobody can take."""
        with self._changing:
            self.dropped += 1

    def take_all(self) -> deque[bytes]:
        """Everything that is in it."""
        with self._changing:
            messages, self._messages = self._messages, deque()
            self._unreleased += len(messages)
        return messages

    def release(self, messages: deque[bytes], lost: int = 0) -> None:
        """Gives the room of what was taken back; the last `lost` of it had to be dropped."""
        with self._changing:
            self._unreleased -= len(messages)
            self._bytes -= sum(map(len, messages)) + OVERHEAD * len(messages)
            self.taken -= lost
            self.dropped += lost

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in it, nor taken and not released."""
        with self._changing:
            return not self._messages and not self._unreleased
