"""Repeated scalars as numpy arrays; importing this imports numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from penstock.errors import InvalidType, InvalidValue
from penstock.protobuf import faults
from penstock.protobuf.errors import EncodeError, EncodeTypeError
from penstock.protobuf.kinds import FIXED_SIZE, INTEGER_RANGE, Kind
from penstock.protobuf.values import check_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DTYPE", "array_of", "checked_offsets"]

DTYPE: Final[dict[Kind, np.dtype[Any]]] = {
    Kind.BOOL: np.dtype(np.bool_),
    Kind.DOUBLE: np.dtype("<f8"),
    Kind.FLOAT: np.dtype("<f4"),
    **{
        kind: np.dtype(f"<{'i' if least < 0 else 'u'}{4 if most < 2**32 else 8}")
        for kind, (least, most) in INTEGER_RANGE.items()
    },
}
"""Kind -> dtype, for every kind of which there are arrays."""

assert all(DTYPE[kind].itemsize == size for kind, size in FIXED_SIZE.items())


def array_of(kind: Kind, value: Any) -> NDArray[Any]:
    """What an array field holds, as a contiguous array of the dtype of its kind.

    Args:
        kind: of the field.
        value: a one-dimensional array, or a sequence that numpy makes one of.

    Raises:
        EncodeError: an integer is out of the kind's range; `path` is its index.
        EncodeTypeError: it has another dimension, or its dtype is of another sort.
    """
    dtype = DTYPE[kind]
    if isinstance(value, str | bytes | bytearray):
        raise EncodeTypeError(faults.wrong_type("an array", value))
    array = of_sequence(kind, value) if isinstance(value, list | tuple) else np.asarray(value)
    if array.ndim == 0:
        raise EncodeTypeError(faults.wrong_type("an array", value))
    if array.ndim != 1:
        raise EncodeTypeError(faults.wrong_dimensions(array.ndim))
    if array.size == 0:
        return np.empty(0, dtype)
    if array.dtype == dtype:
        return np.ascontiguousarray(array)
    if not fits(array.dtype, dtype):
        raise EncodeTypeError(f"must be an array of {dtype.name}, got {array.dtype.name}")
    if kind in INTEGER_RANGE:
        check_range(kind, array)
    with np.errstate(over="ignore"):  # a double beyond a float's range is infinite, as in a field of one
        return array.astype(dtype)


def of_sequence(kind: Kind, values: Sequence[Any]) -> NDArray[Any]:
    """An array of Python values; where numpy makes something else of them, each is looked at alone."""
    try:
        array = np.asarray(values)
        if array.ndim == 1 and fits(array.dtype, DTYPE[kind]):
            return array
    except (ValueError, OverflowError):  # lists of several lengths in it, or a very large integer
        pass
    check, checked = check_of(kind, utf8=True), []
    try:
        for each in values:
            checked.append(check(each))  # noqa: PERF401  # how many there are tells which one is wrong
    except EncodeError as error:
        raise type(error)(error.reason, path=f"[{len(checked)}]") from None
    return np.array(checked, DTYPE[kind] if kind in INTEGER_RANGE else None)


def fits(given: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    """Whether numbers of one sort stand for those of another: bool < integer < float."""
    order = {"b": 0, "u": 1, "i": 1, "f": 2}
    return order.get(given.kind, 3) <= order[wanted.kind]


def check_range(kind: Kind, array: NDArray[Any]) -> None:
    least, most = INTEGER_RANGE[kind]
    if least <= int(array.min()) and int(array.max()) <= most:
        return
    at, value = next((at, int(each)) for at, each in enumerate(array) if not least <= int(each) <= most)
    raise EncodeError(faults.out_of_range(least, most, value), path=f"[{at}]")


def checked_offsets(offsets: Any, size: int) -> NDArray[np.int64]:
    """Where each of many messages begins, and the last one ends, in `size` bytes.

    Args:
        offsets: (n + 1,) integers.
        size: of the bytes that they lie in.

    Raises:
        TypeError: they are no array of integers.
        ValueError: they have another dimension, go down, or lie outside.
    """
    found = np.array(offsets)  # a copy: what was checked must not change while it is used
    if found.dtype.kind not in "iu":
        raise InvalidType(f"offsets must be integers, got {found.dtype.name}")
    if found.ndim != 1 or not found.size:
        raise InvalidValue(f"offsets must be n + 1 integers in one dimension, got shape {found.shape}")
    if found.dtype != np.int64:
        if int(found.max()) > size:
            raise InvalidValue(f"offsets must be 0 to {size}, got {int(found.max())}")
        found = found.astype(np.int64)
    if int(found.min()) < 0 or int(found.max()) > size:
        wrong = int(found.min()) if int(found.min()) < 0 else int(found.max())
        raise InvalidValue(f"offsets must be 0 to {size}, got {wrong}")
    falls = np.flatnonzero(np.diff(found) < 0)
    if falls.size:
        at = int(falls[0])
        raise InvalidValue(f"offsets must not go down, got {int(found[at])} before {int(found[at + 1])}")
    return np.ascontiguousarray(found)
