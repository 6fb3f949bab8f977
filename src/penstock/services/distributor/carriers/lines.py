"""Packets as analyzers get them: a line of JSON each."""

from collections.abc import Sequence

from penstock.services.distributor.change import Stored

__all__ = ["packet_line", "packet_lines"]


def packet_line(packet: Stored) -> bytes:
    """A packet as analyzers get it: its body, with the number of attempts that failed before this one."""
    assert packet.body is not None
    return packet.body[:-1] + b',"retry_count":%d}\n' % packet.failures


def packet_lines(packets: Sequence[Stored]) -> bytes:
    """The lines of packets, one after the other."""
    return b"".join([packet_line(packet) for packet in packets])
