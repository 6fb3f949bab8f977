"""Floating-point numbers, as `.proto` texts and descriptors write them."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from penstock.protobuf.compiler.tokens import integer_value

__all__ = ["double_text", "float_text", "float_value", "single"]

LARGEST_SINGLE = float.fromhex("0x1.fffffep+127")
ROUNDS_TO_INFINITY = float.fromhex("0x1.ffffffp+127")
"""Halfway from the largest float to what would come next, from where C's cast gives infinity."""

LEAST_NORMAL = float.fromhex("0x1p-126")


def float_value(literal: str) -> float:
    """What a literal, whole or not, stands for; infinity if it is too large."""
    if "x" in literal or "X" in literal or literal.isdigit():
        try:
            return float(integer_value(literal))
        except OverflowError:
            return math.inf
    return float(literal)


def single(value: float) -> float:
    """The nearest number that has 32 bits."""
    if math.isfinite(value) and abs(value) >= LARGEST_SINGLE:
        largest = math.inf if abs(value) >= ROUNDS_TO_INFINITY else LARGEST_SINGLE
        return math.copysign(largest, value)
    nearest: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return nearest


def double_text(value: float) -> str:
    """The shortest of 15 or 17 digits that reads back as `value`. Source: protobuf, io::SimpleDtoa."""
    return shortest(value, float, 15, 17)


def float_text(value: float) -> str:
    """The shortest of 6 or 9 digits that reads back as the same float. Source: protobuf, io::SimpleFtoa."""
    few = 9 if abs(value) < LEAST_NORMAL else 6  # protoc does not read back what is subnormal
    return shortest(value, lambda text: single(float(text)), few if value else 6, 9)


def shortest(value: float, read: Callable[[str], float], few: int, many: int) -> str:
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    text = f"{value:.{few}g}"
    return text if read(text) == value else f"{value:.{many}g}"
