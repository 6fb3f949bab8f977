"""Random scalars: the ends of their ranges, and what lies between.

All that is random here takes the `Random` that it is thrown with: `random.Random(SEED)` is fast, and its
cases come again with their seed; Hypothesis's `randoms()` shrinks what fails.
"""

import math
import struct
from random import Random
from typing import Any

from penstock.protobuf.kinds import INTEGER_RANGE, Kind

LETTERS = 'abcXYZ019_ \0\x7f"\\éß€日😀'
DOUBLES = [0.0, -0.0, 1.0, -1.5, 0.1, 1e300, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan]
FLOATS = [
    0.0,
    -0.0,
    0.1,
    1e-45,
    1e-50,
    -1e-50,
    3.4028235e38,
    3.4028236e38,
    1e39,
    math.inf,
    -math.inf,
    math.nan,
]
INTEGERS = [0, 1, -1, 2, 63, 64, 127, 128, 300, 2**31, 2**32, -(2**31) - 1]


def scalar(dice: Random, kind: int) -> Any:
    """A value of any kind but ENUM, MESSAGE and GROUP."""
    if kind == Kind.BOOL:
        return dice.random() < 0.5
    if kind == Kind.STRING:
        return "".join(dice.choice(LETTERS) for _ in range(dice.randint(0, 6)))
    if kind == Kind.BYTES:
        return dice.randbytes(dice.randint(0, 6))
    if kind == Kind.DOUBLE:
        return double(dice, DOUBLES)
    if kind == Kind.FLOAT:
        return single(dice) if dice.random() < 0.7 else double(dice, FLOATS)
    return integer(dice, *INTEGER_RANGE[Kind(kind)])


def integer(dice: Random, least: int, most: int) -> int:
    if dice.random() < 0.3:
        return dice.choice([each for each in (*INTEGERS, least, most) if least <= each <= most])
    bits = dice.randint(1, 63 if least else 64)
    found = dice.getrandbits(bits) * (dice.choice([1, -1]) if least else 1)
    return min(max(found, least), most)


def double(dice: Random, special: list[float]) -> float:
    if dice.random() < 0.5:
        return dice.choice(special)
    return float(struct.unpack("<d", dice.randbytes(8))[0])


def single(dice: Random) -> float:
    """One that single precision can hold."""
    return float(struct.unpack("<f", dice.randbytes(4))[0])


def normal(dice: Random, kind: int) -> float:
    """A default of a float: Google's runtime refuses one that is subnormal."""
    while True:
        found = single(dice) if kind == Kind.FLOAT else double(dice, DOUBLES)
        if abs(found) > 1e-37 or found == 0 or math.isnan(found):
            return found
