from typing import Any

from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = [
    "decode_varint",
    "decode_varints",
    "encode_varint",
    "encode_varints",
    "zigzag_decode",
    "zigzag_encode",
]

def encode_varint(value: int, /) -> bytes: ...
def decode_varint(data: bytes | bytearray | memoryview, position: int = 0, /) -> tuple[int, int]: ...
def zigzag_encode(value: int, /) -> int: ...
def zigzag_decode(value: int, /) -> int: ...
def encode_varints(values: ArrayLike, /, *, zigzag: bool = False) -> bytes: ...
def decode_varints(
    data: bytes | bytearray | memoryview, /, *, dtype: DTypeLike = "uint64", zigzag: bool = False
) -> NDArray[Any]: ...
