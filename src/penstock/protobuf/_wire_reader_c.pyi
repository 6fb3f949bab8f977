from typing import Self

from typing_extensions import disjoint_base

from penstock.protobuf.kinds import WireType

__all__ = ["WireReader"]

@disjoint_base
class WireReader:
    def __init__(self, data: bytes | bytearray | memoryview, /, *, max_depth: int = 100) -> None: ...
    @property
    def position(self) -> int: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> tuple[int, WireType, int | bytes]: ...
