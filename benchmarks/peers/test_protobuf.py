"""Messages beside what people use for them: Google's runtime (upb), betterproto2, fastproto (Python 3.12 on).

msgspec's msgpack is the yardstick: another format, made for the speed of Python objects. It has the same
objects once as maps by name, its usual form, and once as arrays; OTLP's once more as its users would have
them, with values of several types in place of the message AnyValue. Google's runtime is shown with
sub-messages made in their places, where it is at its best, and built by keywords, as all others are.
"""

import betterproto2
import numpy as np
import pytest
from google.protobuf.internal.decoder import _DecodeVarint as decode_varint_of_google
from protobuf_peers import PURE_PYTHON
from protobuf_races import (
    NUMBERS,
    OPERATIONS,
    ORDER,
    USER_459,
    WORKLOADS,
    decodes_at,
    entrants,
    gets,
    raced,
    readers,
    series,
    sets,
)
from protobuf_workloads import CALLS

from penstock.protobuf import decode_varint, decode_varints
from penstock.protobuf._varint_py import decode_varint as decode_varint_py
from penstock.protobuf._varint_py import decode_varints as decode_varints_py

ORDERS = 1_000


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.title)
def test_message(race, workload, operation):
    raced(race, operation, workload)


# ---- one field


def test_field_read(race):
    race("a field read", {each.name: gets(each.message) for each in readers(USER_459)}, CALLS)


def test_field_set(race):
    race("a field set", {each.name: sets(each.message) for each in readers(USER_459)}, CALLS)


# ---- many messages


def each_decoded(entrant):
    decode, parts = entrant.decode, [entrant.data] * ORDERS
    return lambda: [decode(each) for each in parts]


def each_encoded(entrant):
    encode, messages = entrant.encode, [entrant.message] * ORDERS
    return lambda: b"".join([encode(each) for each in messages])


def test_decode_many(race):
    together = {"penstock": lambda: ORDER.cls.decode_many(parts)}
    parts = [entrants(ORDER)[0].data] * ORDERS
    one_by_one = {named(each): each_decoded(each) for each in readers(ORDER)}
    race("Order: decode_many of 1,000, an order", together | one_by_one, ORDERS)


def test_encode_many(race):
    messages = [entrants(ORDER)[0].message] * ORDERS
    together = {"penstock": lambda: ORDER.cls.encode_many(messages)}
    one_by_one = {named(each): each_encoded(each) for each in readers(ORDER)}
    race("Order: encode_many of 1,000, an order", together | one_by_one, ORDERS)


def named(entrant):
    return "penstock, one by one" if entrant.name == "penstock" else entrant.name


# ---- numbers


def test_packed_numbers_decoded(race):
    race("10,000 varints and 10,000 doubles, to numpy", series()[1])


def test_packed_numbers_encoded(race):
    race("10,000 varints and 10,000 doubles, from numpy", series()[0])


def test_decode_varint(race):
    data = bytes.fromhex("ac0200")
    functions = {
        "penstock": decode_varint,
        PURE_PYTHON: decode_varint_py,
        "google.protobuf.internal": decode_varint_of_google,
        "betterproto2": betterproto2.decode_varint,
    }
    assert {function(data, 0) for function in functions.values()} == {(300, 2)}
    race("decode_varint", {name: decodes_at(each, data) for name, each in functions.items()}, CALLS)


def test_decode_varints_of_one_byte(race):
    data = bytes(range(100)) * (NUMBERS // 100)
    floor = np.frombuffer(data, np.uint8)
    race(
        "decode_varints, a value of one byte of 10,000",
        {
            "penstock": lambda: decode_varints(data),
            PURE_PYTHON: lambda: decode_varints_py(data),
            "numpy, bytes widened": lambda: floor.astype(np.uint64),
        },
        NUMBERS,
    )
