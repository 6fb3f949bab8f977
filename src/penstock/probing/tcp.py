"""What the kernel tells of a TCP connection."""

import socket
import struct
import sys
from typing import Protocol

from penstock.probing.exchange import TcpFacts

__all__ = ["has_come", "tcp_facts_of"]

TCP_INFO = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None

SIZE = 152
"""Bytes of struct tcp_info up to tcpi_min_rtt (linux/tcp.h, since 4.6); an older kernel gives fewer."""

FIELDS = struct.Struct("=68xI28xI44xI")
"""tcpi_rtt and tcpi_min_rtt, microseconds, with tcpi_total_retrans between them."""

MICROSECOND = 1_000


class HasOptions(Protocol):
    """A socket, or what stands for one."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """As of socket.socket."""
        ...


def tcp_facts_of(sock: HasOptions | None) -> TcpFacts | None:
    """What the kernel knows of the connection; None where it does not tell, or when it is closed."""
    if TCP_INFO is None or sock is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, SIZE)
    except OSError:
        return None
    if len(info) < SIZE:
        return None
    rtt, retransmits, min_rtt = FIELDS.unpack(info)
    return TcpFacts(rtt * MICROSECOND, min_rtt * MICROSECOND, retransmits)


def has_come(sock: socket.socket) -> bool:
    """Whether something is there to be read, be it the end or an error; reads nothing.

    Args:
        sock: one that does not block.
    """
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
