"""The MurmurHash functions of Kafka, Cassandra and others, pure Python. csrc/murmur.c does the same."""

__all__ = ["murmur2", "murmur3_32", "murmur3_cassandra"]

MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1

MIX2 = 0x5BD1E995
MIX3_A, MIX3_B = 0x87C37B91114253D5, 0x4CF5AD432745937F


def rotated(value: int, left: int, bits: int) -> int:
    return (value << left | value >> bits - left) & (1 << bits) - 1


def word(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def murmur3_32(data: bytes, seed: int = 0) -> int:
    """MurmurHash3_x86_32.

    Source: A. Appleby, smhasher, MurmurHash3.cpp.
    """
    total, whole = seed, len(data) & ~3
    for at in range(0, whole, 4):
        total = rotated(total ^ scatter32(word(data, at, 4)), 13, 32) * 5 + 0xE6546B64 & MASK32
    total ^= scatter32(word(data, whole, 4)) ^ len(data) & MASK32
    total = (total ^ total >> 16) * 0x85EBCA6B & MASK32
    total = (total ^ total >> 13) * 0xC2B2AE35 & MASK32
    return total ^ total >> 16


def scatter32(value: int) -> int:
    return rotated(value * 0xCC9E2D51 & MASK32, 15, 32) * 0x1B873593 & MASK32


def murmur2(data: bytes, seed: int) -> int:
    """MurmurHash2, 32 bits.

    Source: A. Appleby, smhasher, MurmurHash2.cpp.
    """
    total, whole = (seed ^ len(data)) & MASK32, len(data) & ~3
    for at in range(0, whole, 4):
        value = word(data, at, 4) * MIX2 & MASK32
        total = (total * MIX2 ^ (value ^ value >> 24) * MIX2) & MASK32
    if len(data) > whole:
        total = (total ^ word(data, whole, 4)) * MIX2 & MASK32
    total = (total ^ total >> 13) * MIX2 & MASK32
    return total ^ total >> 15


def murmur3_cassandra(data: bytes) -> int:
    """The first half of MurmurHash3_x64_128 with seed 0 as Cassandra computes it.

    In the last `len(data) % 16` bytes it takes each as a signed number. Equal to the common function while
    no byte there is above 0x7f.

    Source: Apache Cassandra, MurmurHash.hash3_x64_128.
    """
    first = second = 0
    whole = len(data) & ~15
    for at in range(0, whole, 16):
        first ^= scatter_a(word(data, at, 8))
        first = (rotated(first, 27, 64) + second) * 5 + 0x52DCE729 & MASK64
        second ^= scatter_b(word(data, at + 8, 8))
        second = (rotated(second, 31, 64) + first) * 5 + 0x38495AB5 & MASK64
    second ^= scatter_b(signed_word(data[whole + 8 :]))
    first ^= scatter_a(signed_word(data[whole : whole + 8]))

    first = (first ^ len(data)) + (second ^ len(data)) & MASK64
    second = (second ^ len(data)) + first & MASK64
    return avalanche(first) + avalanche(second) & MASK64


def signed_word(data: bytes) -> int:
    """Up to 8 bytes as Java widens them: each with its sign, so a byte above 0x7f inverts all above it."""
    total = 0
    for i, byte in enumerate(data):
        total ^= (byte - 256 if byte > 0x7F else byte) << 8 * i
    return total & MASK64


def scatter_a(value: int) -> int:
    return rotated(value * MIX3_A & MASK64, 31, 64) * MIX3_B & MASK64


def scatter_b(value: int) -> int:
    return rotated(value * MIX3_B & MASK64, 33, 64) * MIX3_A & MASK64


def avalanche(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & MASK64
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & MASK64
    return value ^ value >> 33
