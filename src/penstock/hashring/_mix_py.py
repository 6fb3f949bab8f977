"""Bits of a hash made into bits that look independent of it: what csrc/mix.h does, in pure Python."""

__all__ = ["below", "draw64", "mix64"]

MASK = (1 << 64) - 1


def mix64(x: int) -> int:
    """One to one; each bit of the result hangs on every bit of `x`."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def draw64(seed: int, i: int) -> int:
    """Number `i` of the values that SplitMix64 draws when it starts from `seed`."""
    return mix64(seed + i * 0x9E3779B97F4A7C15 & MASK)


def below(x: int, n: int) -> int:
    """`x` as a whole number below n, in proportion."""
    return x * n >> 64
