"""What editors and type checkers make of code that uses messages; mypy is strict here."""

import re
import subprocess
import sys

ACCEPTED = """
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import assert_type

import numpy as np
from google.protobuf import timestamp_pb2
from numpy.typing import NDArray

from penstock.protobuf import (
    DecodeOptions, DoubleArray, Enum, Float, Int32, Message, UInt32, class_of, compile_proto, field,
    from_google, iter_delimited, iter_delimited_async, read_delimited, to_google, write_delimited,
    write_delimited_async,
)
from penstock.protobuf.well_known import Any, Timestamp


class Status(Enum):
    UNKNOWN = 0
    OPEN = 1


class Order(Message, package="shop"):
    order_id: UInt32 = field(1)
    tags: list[str] = field(2)
    parts: dict[str, Order] = field(3)
    status: Status = field(4)
    parent: Order | None = field(5)
    card: str | None = field(6, oneof="payment")
    cash: Int32 | None = field(7, oneof="payment")
    prices: DoubleArray = field(8)
    rate: Float = field(9, default=0.5)
    extra: Any | None = field(10)

    def total(self) -> float:
        return float(self.prices.sum()) * self.rate


order = Order(order_id=1, tags=["a"], status=Status.OPEN, parent=Order(), cash=None, prices=np.zeros(3))
order.parts["b"] = Order(extra=Any.pack(order))
assert_type(order.order_id, int)
assert_type(order.card, str | None)
assert_type(order.prices, NDArray[np.float64])
assert_type(order.copy(), Order)
assert_type(Order.from_bytes(memoryview(order.to_bytes()), DecodeOptions(max_depth=3)), Order)
assert_type(Order.decode_many(*Order.encode_many([order])), list[Order])
assert_type(Order.from_json(order.to_json()), Order)
if order.extra is not None:
    assert_type(order.extra.unpack(Order), Order)
with open("orders", "r+b") as file:
    write_delimited(file, order)
    assert_type(read_delimited(file, Order), Order | None)
    assert_type(next(iter_delimited(file, Order)), Order)


async def echoed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> AsyncIterator[Order]:
    async for each in iter_delimited_async(reader, Order):
        await write_delimited_async(writer, each)
        yield each


ours = from_google(timestamp_pb2.Timestamp(seconds=7), Timestamp)
assert_type(ours, Timestamp)
assert_type(to_google(ours, timestamp_pb2.Timestamp), timestamp_pb2.Timestamp)
assert_type(class_of(timestamp_pb2.Timestamp), type[Message])
print(compile_proto("shop.proto", include=["api"])["shop.Order"](order_id=1).order_id)
"""

REFUSED = {
    "Order(order_idd=1)": "Unexpected keyword argument",
    'Order(order_id="x")': "incompatible type",
    "Order(1)": "Too many positional arguments",
    "Order().nope": "has no attribute",
    "Order().card.upper()": 'Item "None"',
    "order.parent = Status.OPEN": "Incompatible types in assignment",
    "read_delimited(b'', Order)": "incompatible type",
}


def test_types_of_users_code_are_known_and_its_mistakes_are_found(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(ACCEPTED + "\n".join(REFUSED))
    command = (
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--cache-dir=.cache",
        path.name,
    )
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    first = ACCEPTED.count("\n") + 1
    found = re.findall(r"^program\.py:(\d+): error: (.*)$", ended.stdout, re.MULTILINE)
    assert [int(line) for line, _ in found] == list(range(first, first + len(REFUSED))), ended.stdout
    for (_, told), expected in zip(found, REFUSED.values(), strict=True):
        assert expected in told


def test_names_that_are_imported_late_are_offered_from_the_start():
    code = "import penstock.protobuf as room; print(*(set(room.__all__) - set(dir(room))))"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout == "\n"
