"""Repeated scalars as numpy arrays, on both twins."""

import math
import struct

import numpy as np
import pytest
from wire_bytes import delimited, tag

from penstock.protobuf.errors import EncodeError

ARRAY_CASES = {
    "doubles": [0.5, -0.0, math.inf],
    "floats": [0.5, -2.0],
    "int32s": [-(2**31), 2**31 - 1, 0],
    "int64s": [-(2**63), 2**63 - 1],
    "uint32s": [0, 2**32 - 1, 127, 128],
    "uint64s": [2**64 - 1, 300],
    "sint32s": [-(2**31), 2**31 - 1, -1],
    "sint64s": [-(2**63), 2**63 - 1, 1],
    "fixed32s": [2**32 - 1, 0],
    "fixed64s": [2**64 - 1],
    "sfixed32s": [-(2**31)],
    "sfixed64s": [-(2**63)],
    "booleans": [True, False],
    "enums": [-1, 7],
    "unpacked": [1, -1, 300],
    "unpacked_floats": [0.25, 0.5],
}


@pytest.mark.parametrize("name", ARRAY_CASES)
def test_arrays_of_every_kind_are_written_and_read_as_lists_are(Arrays, name):
    values = np.array(ARRAY_CASES[name], getattr(Arrays(), name).dtype)
    data = Arrays(**{name: values}).to_bytes()
    assert Arrays(**{name: ARRAY_CASES[name]}).to_bytes() == data
    read = getattr(Arrays.from_bytes(data), name)
    assert read.dtype == values.dtype
    assert read.tobytes() == values.tobytes()
    read[:1] = read[:1]  # it belongs to the message, and can be written to


def test_arrays_grow_with_each_record_packed_or_not(Arrays):
    data = delimited(3, b"\x01\x02") + tag(3, 0) + b"\x03" + delimited(3, b"") + delimited(3, b"\x80\x01")
    assert Arrays.from_bytes(data).int32s.tolist() == [1, 2, 3, 128]
    both = delimited(17, delimited(1, struct.pack("<d", 1.0)))
    assert Arrays.from_bytes(both + both).inner.doubles.tolist() == [1.0, 1.0]


def test_arrays_of_other_dtypes_are_taken_if_their_values_fit(Arrays):
    message = Arrays(int32s=np.array([1, 2], np.int8), doubles=np.arange(3), uint64s=np.array([True]))
    message.floats = np.arange(6, dtype=np.float64)[::2]
    read = Arrays.from_bytes(message.to_bytes())
    assert read.int32s.tolist() == [1, 2]
    assert read.doubles.tolist() == [0.0, 1.0, 2.0]
    assert read.uint64s.tolist() == [1]
    assert read.floats.tolist() == [0.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("int32s", [0, 2**31], "Arrays.int32s[1] must be -2147483648 to 2147483647, got 2147483648"),
        ("uint64s", np.array([3, -4]), "Arrays.uint64s[1] must be 0 to 18446744073709551615, got -4"),
        ("uint64s", [2**64 - 1, 1, -1], "Arrays.uint64s[2] must be 0 to 18446744073709551615, got -1"),
        (
            "int64s",
            [1, 10**30],
            "Arrays.int64s[1] must be -9223372036854775808 to 9223372036854775807, got an integer of "
            "100 bits",
        ),
        ("int32s", [1, 0.5], "Arrays.int32s[1] must be an int, got float"),
        ("int32s", np.array([0.5]), "Arrays.int32s must be an array of int32, got float64"),
        ("doubles", np.zeros((2, 2)), "Arrays.doubles must have one dimension, got 2"),
        ("doubles", [[1.0], [2.0, 3.0]], "Arrays.doubles[0] must be a float, got list"),
        ("doubles", 5.0, "Arrays.doubles must be an array, got float"),
        ("doubles", {1.0}, "Arrays.doubles must be an array, got set"),
        ("doubles", ["a"], "Arrays.doubles[0] must be a float, got str"),
        ("doubles", b"ab", "Arrays.doubles must be an array, got bytes"),
        ("booleans", np.array([2]), "Arrays.booleans must be an array of bool, got int64"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(Arrays, name, value, text):
    message = Arrays()
    setattr(message, name, value)
    with pytest.raises(EncodeError) as caught:
        message.to_bytes()
    assert str(caught.value) == text


def test_arrays_that_stand_in_for_lists_are_compared_by_value(Every):
    one, other = Every(), Every(doubles=[0.5, 1.5])
    one.doubles = np.array([0.5, 1.5])
    assert one == other
    assert other == one
    other.doubles = np.array([0.5])
    assert one != other


def test_messages_with_arrays_are_copied_and_compared_by_value(Arrays):
    message = Arrays(doubles=np.array([1.0, 2.0]))
    made = message.copy()
    assert made == message
    made.doubles[0] = 5.0
    assert made != message
    assert message.doubles[0] == 1.0
    message.doubles = None
    assert message == Arrays()
