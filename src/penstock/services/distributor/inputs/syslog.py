"""A stream of syslog: what comes in chunks is put together, up to a bound, and taken apart into records."""

from penstock.services.distributor.inputs.syslog_lines import SyslogLines

__all__ = ["SyslogStream"]

LONGEST_COUNT = 12
"""Bytes of which some more may tell how a frame ends."""


class SyslogStream:
    """The records of one connection.

    It holds the unfinished frame, never more than the longest frame and one chunk. Chunks are put together
    only when that may finish a frame: a client that sends byte by byte costs no more than one that does not.

    Args:
        lines: takes frames apart; of this stream alone.
    """

    def __init__(self, lines: SyslogLines) -> None:
        self.lines = lines
        self.held = 0
        """Bytes that no record was made of yet."""
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The records that are complete with this chunk."""
        before = self.held
        self._chunks.append(data)
        self.held += len(data)
        if before and self._only_waits(data, before):
            return []
        return self._read(cut=False)

    def cut(self) -> list[bytes]:
        """A record of what is there of an unfinished frame; what comes of it later continues that."""
        return self._read(cut=True) if self.held else []

    def _only_waits(self, data: bytes, before: int) -> bool:
        """Whether not even one frame can come out with this chunk."""
        if self.lines.wanted:
            return self.held < self.lines.wanted
        if before <= LONGEST_COUNT or self.held > self.lines.most_frame:
            return False
        return b"\n" not in data and b"\0" not in data

    def _read(self, *, cut: bool) -> list[bytes]:
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        records, done = self.lines.read(data, cut)
        self.held = len(data) - done
        self._chunks = [data[done:]] if self.held else []
        return records
