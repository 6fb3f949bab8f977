"""Varints: integers of 1 to 10 bytes, one at a time or as numpy arrays."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = [
    "decode_varint",
    "decode_varints",
    "encode_varint",
    "encode_varints",
    "zigzag_decode",
    "zigzag_encode",
]

if TYPE_CHECKING:
    from penstock.protobuf._varint_py import (
        decode_varint,
        decode_varints,
        encode_varint,
        encode_varints,
        zigzag_decode,
        zigzag_encode,
    )
else:
    chosen = twin(__name__)
    decode_varint, decode_varints = chosen.decode_varint, chosen.decode_varints
    encode_varint, encode_varints = chosen.encode_varint, chosen.encode_varints
    zigzag_decode, zigzag_encode = chosen.zigzag_decode, chosen.zigzag_encode
