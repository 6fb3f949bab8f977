"""Packets to standard output: a line of JSON each.

A reader that does not read must not hold up the distributor: no write is started that could block, and who
takes nothing for the time of a delivery has failed it. What it took by then counts as delivered.
"""

import asyncio
import os
import select
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from time import monotonic

from penstock.services.distributor.carrier import PacketFailure
from penstock.services.distributor.carriers.lines import packet_lines
from penstock.services.distributor.carriers.posting import failed, failed_by
from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import AnalyzerConfig, Config

__all__ = ["StdoutCarrier"]

STDOUT = 1
PIECE = select.PIPE_BUF
"""Bytes that a pipe takes without blocking once it says that it takes any."""
LOOK_UP = 0.1
"""Seconds between two looks at whether the service is ending."""


class StdoutCarrier:
    """Carries packets to standard output, by a thread of its own.

    Args:
        config: the settings.
        fd: the file descriptor to write to.
    """

    def __init__(self, config: Config, fd: int = STDOUT) -> None:
        self._config = config
        self._fd = fd
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="analyzer stdout")
        self._ending = Event()
        self._line_is_half = False

    async def deliver(
        self, analyzer: AnalyzerConfig, packets: Sequence[Stored]
    ) -> Mapping[str, PacketFailure]:
        """See `AnalyzerClient`."""
        timeout = analyzer.timeout or self._config.analyzer_timeout
        lines = packet_lines(packets)
        write = partial(self._write, lines, monotonic() + timeout)
        try:
            written = await asyncio.get_running_loop().run_in_executor(self._thread, write)
        except OSError as error:
            raise failed_by("standard output", error) from None
        whole = lines.count(b"\n", 0, written)
        if whole == len(packets):
            return {}
        why = f"standard output: not read within {timeout:g} s"
        if not whole:
            raise failed(why)
        return {packet.id: PacketFailure(why) for packet in packets[whole:]}

    async def probe(self, analyzer: AnalyzerConfig) -> None:
        """It is well while somebody could read it."""
        try:
            events = polled(self._fd, 0)
        except OSError as error:
            raise failed_by("standard output", error) from None
        if events & (select.POLLERR | select.POLLNVAL):
            raise failed("standard output: nobody reads it")

    async def forget(self, analyzer: AnalyzerConfig) -> None:
        """See `AnalyzerClient`."""

    async def aclose(self) -> None:
        """Ends the writing at once."""
        self._ending.set()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _write(self, lines: bytes, deadline: float) -> int:
        """Writes until all is written or the time is over; returns how many bytes of `lines` were."""
        end_of_half = b"\n" if self._line_is_half else b""
        view = memoryview(end_of_half + lines)
        written = 0
        try:
            while written < len(view) and self._takes(deadline):
                written += os.write(self._fd, view[written : written + PIECE])
        finally:
            if written:
                self._line_is_half = view[written - 1] != ord("\n")
        return max(0, written - len(end_of_half))

    def _takes(self, deadline: float) -> bool:
        """Waits until a write would not block; False when the time is over or the service is ending."""
        while not self._ending.is_set():
            left = deadline - monotonic()
            if polled(self._fd, max(0.0, min(left, LOOK_UP))):  # an error too, which the write then raises
                return True
            if left <= 0:
                return False
        return False


def polled(fd: int, timeout: float) -> int:
    """What has become of a descriptor that is to be written to; 0 when nothing did within the time."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    events = poll.poll(timeout * 1000)
    return events[0][1] if events else 0
