"""Bytes of protobuf written by hand, for tests that say what must be read from them."""

import pytest

from penstock.protobuf.errors import DecodeError
from penstock.protobuf.options import DecodeOptions


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def tag(number, wire_type):
    return varint(number << 3 | wire_type)


def delimited(number, content):
    """A field whose content has a length before it."""
    return tag(number, 2) + varint(len(content)) + content


def nested(levels, number=17):
    """Messages within each other, `levels` of them with the outermost."""
    data = b""
    for _ in range(levels - 1):
        data = delimited(number, data)
    return data


def refused(cls, data, **options):
    """The error that the bytes are refused with."""
    with pytest.raises(DecodeError) as caught:
        cls.from_bytes(data, DecodeOptions(**options))
    return caught.value
