"""Times that the kernel notes when bytes arrive (SO_TIMESTAMPNS), and whether to believe them.

They are of the wall clock, and come to this process when it gets around to reading, which may be much later:
that is what they are for. A wall clock may be set meanwhile, so each one is turned into monotonic time by
what both clocks show at that moment, and believed only if they have kept step since the request was sent.
"""

import struct
from collections.abc import Sequence

__all__ = ["ANCILLARY_BYTES", "SO_TIMESTAMPNS", "monotonic_of", "stamp_in"]

SO_TIMESTAMPNS = 35
"""Socket option, and type of the message with the stamp (asm-generic/socket.h); Python does not name it."""

TIMESPEC = struct.Struct("@ll")
ANCILLARY_BYTES = 64
"""Room for the one message that comes."""

SLACK = 1_000_000
"""Nanoseconds by which the clocks may part at once: what lies between reading the one and the other."""

SLEW_SHIFT = 10
"""... and 1/1024 of the time that has passed: adjtime moves the wall clock by at most 1/2000 of it."""


def stamp_in(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    """The stamp among what recvmsg returns beside the bytes: nanoseconds of the wall clock, 0 for none."""
    for _, kind, data in ancillary:
        if kind == SO_TIMESTAMPNS and len(data) == TIMESPEC.size:
            seconds, nanoseconds = TIMESPEC.unpack(data)
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return 0


def monotonic_of(stamp: int, sent: int, sent_wall: int, now: int, now_wall: int) -> int:
    """The monotonic time of a stamp; 0 when it is not to be believed.

    Args:
        stamp: of the kernel, wall clock; 0 for none.
        sent: monotonic time of the request.
        sent_wall: wall clock at the same moment.
        now: monotonic time.
        now_wall: wall clock.
    """
    parted = abs((now_wall - now) - (sent_wall - sent))
    at = now - (now_wall - stamp)
    if not stamp or parted > SLACK + ((now - sent) >> SLEW_SHIFT) or not sent <= at <= now:
        return 0
    return at
