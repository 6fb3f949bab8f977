"""Reads hostile inputs and tells what memory each took, in a process of its own so that no other counts.

usage: memory_child.py IMPL MAX_MEMORY [INPUT ...]    all inputs unless some are named

Prints a line of JSON for each: its name, the outcome, and by how many bytes this process grew at the most.
"""

import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock.protobuf.enums import Enum
from penstock.protobuf.errors import DecodeError
from penstock.protobuf.fields import DoubleArray, Fixed64, Int32, Int32Array, UInt32, UInt64, field
from penstock.protobuf.options import DecodeOptions
from penstock.protobuf.varint import encode_varint
from twins import load

SIZE = 4 << 20
LIMITS: Any = {"max_elements": (1 << 31) - 1, "max_unknown": (1 << 31) - 1}
"""So high that memory ends it first."""


class Closed(Enum, closed=True):
    """An enum with one name."""

    ONE = 1


def hostile_class(Message: Any) -> Any:
    class Hostile(Message):
        children: list["Hostile"] = field(1)
        child: "Hostile | None" = field(2)
        by_number: dict[UInt32, UInt32] = field(3)
        by_text: dict[str, "Hostile"] = field(4)
        numbers: list[UInt32] = field(5)
        doubles: DoubleArray = field(6)
        small: Int32Array = field(7)
        texts: list[str] = field(8)
        blobs: list[bytes] = field(9)
        closed: list[Closed] = field(10)
        a: str | None = field(11, oneof="one")
        b: "Hostile | None" = field(12, oneof="one")
        group: list["Hostile"] = field(13, group=True)
        number: Int32 = field(14)
        floats: list[float] = field(15)
        large: list[Fixed64] = field(16)
        larger: list[UInt64] = field(17)
        large_by_large: dict[UInt64, UInt64] = field(18)

    return Hostile


def repeated(record: bytes) -> bytes:
    return record * (SIZE // len(record))


def delimited(number: int, content: bytes) -> bytes:
    return encode_varint(number << 3 | 2) + encode_varint(len(content)) + content


def nested(number: int, levels: int) -> bytes:
    content = b""
    for _ in range(levels):
        content = delimited(number, content)
    return content


def different(size: int, record: Callable[[int], bytes]) -> bytes:
    """Records of about so many bytes each, no two of them alike."""
    return b"".join(map(record, range(SIZE // size)))


INPUTS = {
    "empty sub-messages": lambda: repeated(b"\x0a\x00"),
    "one empty sub-message again and again": lambda: repeated(b"\x12\x00"),
    "sub-messages within a sub-message": lambda: delimited(1, repeated(b"\x0a\x00")),
    "empty groups": lambda: repeated(b"\x6b\x6c"),
    "empty map entries": lambda: repeated(b"\x1a\x00"),
    "map entries": lambda: different(7, lambda at: delimited(3, b"\x08" + encode_varint((1 << 21) + at))),
    "map entries with a message": lambda: different(8, lambda at: delimited(4, delimited(1, b"%06d" % at))),
    "packed varints of one byte": lambda: delimited(5, b"\x01" * SIZE),
    "packed varints of two bytes": lambda: delimited(5, b"\x80\x7f" * (SIZE // 2)),
    "packed varints, a record each": lambda: repeated(b"\x2a\x02\x80\x7f"),
    "unpacked varints": lambda: repeated(b"\x28\x01"),
    "packed doubles for a list": lambda: delimited(15, b"\x01" * SIZE),
    "packed integers above 60 bits": lambda: delimited(16, b"\xff" * SIZE),
    "integers above 60 bits": lambda: repeated(b"\x81\x01" + b"\xff" * 8),
    "packed varints above 60 bits": lambda: delimited(17, (b"\xff" * 9 + b"\x01") * (SIZE // 10)),
    "map entries above 60 bits": lambda: different(
        26,
        lambda at: delimited(18, b"\x08" + encode_varint((1 << 63) + at) + b"\x10" + encode_varint(1 << 63)),
    ),
    "packed doubles for an array": lambda: delimited(6, b"\x01" * SIZE),
    "packed varints for an array": lambda: delimited(7, b"\x01" * SIZE),
    "an array of many records": lambda: repeated(b"\x3a\x01\x01"),
    "an array of many empty records": lambda: repeated(b"\x3a\x00"),
    "an array of unpacked values": lambda: repeated(b"\x38\x01"),
    "empty strings": lambda: repeated(b"\x42\x00"),
    "strings of one letter": lambda: repeated(b"\x42\x01a"),
    "strings of one wide letter": lambda: repeated(b"\x42\x04\xf0\x9f\x98\x80"),
    "one long string with a wide letter": lambda: delimited(8, b"\xf0\x9f\x98\x80" + b"a" * SIZE),
    "one long string": lambda: delimited(8, b"a" * SIZE),
    "empty bytes": lambda: repeated(b"\x4a\x00"),
    "bytes of one byte": lambda: repeated(b"\x4a\x01a"),
    "unnamed values of a closed enum": lambda: repeated(b"\x50\x02"),
    "packed unnamed values of a closed enum": lambda: delimited(10, b"\x02" * SIZE),
    "members of a oneof in turn": lambda: repeated(b"\x5a\x01a\x62\x00"),
    "a scalar again and again": lambda: repeated(b"\x70\x01"),
    "unknown fields": lambda: repeated(b"\xf8\x01\x01"),
    "unknown fields in sub-messages": lambda: repeated(b"\x0a\x03\xf8\x01\x01"),
    "unknown groups": lambda: repeated(b"\xa3\x02\xa4\x02"),
    "unknown fields in a group": lambda: b"\xa3\x02" + repeated(b"\x78\x01") + b"\xa4\x02",
    "one long unknown field": lambda: delimited(36, b"a" * SIZE),
    "nesting beyond what is allowed": lambda: nested(1, 10_000),
    "nesting as deep as is allowed": lambda: repeated(nested(1, 98)),
}


def status(name: str) -> int:
    """A figure of this process in bytes; VmRSS: memory now, VmHWM: most of it ever since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise LookupError(name)


def measure(cls: Any, name: str, max_memory: int) -> dict[str, Any]:
    data = INPUTS[name]()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = status("VmRSS")
    try:
        message = cls.from_bytes(data, DecodeOptions(**LIMITS, max_memory=max_memory))
        outcome = f"read {type(message).__name__}"
    except DecodeError as error:
        outcome = error.reason
    return {"input": name, "outcome": outcome, "grown": status("VmHWM") - before}


def main(impl: str, max_memory: int, names: list[str]) -> None:
    hostile = hostile_class(load("penstock.protobuf.message", impl))
    hostile.from_bytes(
        hostile(small=[1], texts=["a"], by_number={1: 1}).to_bytes()
    )  # makes what it makes once
    for name in names or INPUTS:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            print(json.dumps(measure(hostile, name, max_memory)), flush=True)
            os._exit(0)
        _, ended = os.waitpid(child, 0)
        if ended != 0:
            sys.exit(f"{name}: the process ended with {ended}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
