"""Request bodies taken apart into packets: each checked, and made one line as analyzers get it."""

from typing import TYPE_CHECKING

from penstock._twins import twin
from penstock.services.distributor._packet_scan_py import Reading

__all__ = ["PacketReader", "Reading"]

if TYPE_CHECKING:
    from penstock.services.distributor._packet_scan_py import PacketReader
else:
    PacketReader = twin(__name__).PacketReader
