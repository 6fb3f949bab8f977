from typing import final

from penstock.services.distributor._packet_scan_py import Reading
from penstock.services.distributor.config import Config

__all__ = ["PacketReader"]

@final
class PacketReader:
    def __init__(self, config: Config, /) -> None: ...
    def read(self, body: bytes, /) -> Reading: ...
