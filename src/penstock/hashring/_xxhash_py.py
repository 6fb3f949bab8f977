"""XXH3_64bits and XXH64, pure Python. csrc/xxhash.c does the same."""

from collections.abc import Iterator

__all__ = ["xxh3_64", "xxh64"]

MASK = (1 << 64) - 1

PRIME32_1, PRIME32_2, PRIME32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
PRIME64_1, PRIME64_2, PRIME64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
PRIME64_4, PRIME64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5

SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
STRIPE = 64  # bytes that the eight lanes of XXH3 take in at once
BLOCK_STRIPES = (len(SECRET) - STRIPE) // 8  # until the secret is used up
LANES = (PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3, PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1)


def word(data: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(data[at : at + size], "little")


def words(data: bytes, at: int, n: int) -> Iterator[int]:
    return (word(data, at + 8 * i) for i in range(n))


def swapped(value: int, size: int) -> int:
    """The bytes of `value` in the other order."""
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def rotated(value: int, left: int) -> int:
    return (value << left | value >> 64 - left) & MASK


def fold(a: int, b: int) -> int:
    """The 64-bit halves of a product, xored."""
    product = (a & MASK) * (b & MASK)
    return product & MASK ^ product >> 64


def xxh64_avalanche(value: int) -> int:
    value = (value ^ value >> 33) * PRIME64_2 & MASK
    value = (value ^ value >> 29) * PRIME64_3 & MASK
    return value ^ value >> 32


def xxh3_avalanche(value: int) -> int:
    value = (value ^ value >> 37) * 0x165667919E3779F9 & MASK
    return value ^ value >> 32


def xxh3_64(data: bytes, seed: int = 0) -> int:
    """XXH3_64bits_withSeed: a formula for each range of lengths.

    Source: Y. Collet, xxHash 0.8, the reference implementation and its specification.
    """
    size = len(data)
    if size > 240:
        return long(data, seed)
    if size > 128:
        return up_to_240(data, seed)
    if size > 16:
        return up_to_128(data, seed)
    if size > 8:
        return up_to_16(data, seed)
    if size >= 4:
        return up_to_8(data, seed)
    if size > 0:
        return up_to_3(data, seed)
    return xxh64_avalanche(seed ^ word(SECRET, 56) ^ word(SECRET, 64))


def up_to_3(data: bytes, seed: int) -> int:
    size = len(data)
    mixed = data[0] << 16 | data[size >> 1] << 24 | data[-1] | size << 8
    return xxh64_avalanche(mixed ^ (word(SECRET, 0, 4) ^ word(SECRET, 4, 4)) + seed & MASK)


def up_to_8(data: bytes, seed: int) -> int:
    size = len(data)
    seed ^= swapped(seed & 0xFFFFFFFF, 4) << 32
    mixed = word(data, size - 4, 4) + (word(data, 0, 4) << 32)
    mixed ^= (word(SECRET, 8) ^ word(SECRET, 16)) - seed & MASK
    mixed ^= rotated(mixed, 49) ^ rotated(mixed, 24)
    mixed = mixed * 0x9FB21C651E98DF25 & MASK
    mixed ^= (mixed >> 35) + size
    mixed = mixed * 0x9FB21C651E98DF25 & MASK
    return mixed ^ mixed >> 28


def up_to_16(data: bytes, seed: int) -> int:
    size = len(data)
    low = word(data, 0) ^ (word(SECRET, 24) ^ word(SECRET, 32)) + seed & MASK
    high = word(data, size - 8) ^ (word(SECRET, 40) ^ word(SECRET, 48)) - seed & MASK
    return xxh3_avalanche(size + swapped(low, 8) + high + fold(low, high) & MASK)


def mix16(data: bytes, at: int, secret: int, seed: int) -> int:
    """16 bytes of the data, and of the secret."""
    return fold(
        word(data, at) ^ word(SECRET, secret) + seed & MASK,
        word(data, at + 8) ^ word(SECRET, secret + 8) - seed & MASK,
    )


def up_to_128(data: bytes, seed: int) -> int:
    """From both ends to the middle."""
    size = len(data)
    total = size * PRIME64_1
    for pair in range((size - 1) // 32 + 1):
        total += mix16(data, 16 * pair, 32 * pair, seed)
        total += mix16(data, size - 16 * (pair + 1), 32 * pair + 16, seed)
    return xxh3_avalanche(total & MASK)


def up_to_240(data: bytes, seed: int) -> int:
    """Past the first 128 bytes the secret begins anew, 3 bytes on."""
    size = len(data)
    total = size * PRIME64_1 + sum(mix16(data, 16 * i, 16 * i, seed) for i in range(8))
    total = xxh3_avalanche(total & MASK)
    total += sum(mix16(data, 16 * i, 16 * (i - 8) + 3, seed) for i in range(8, size // 16))
    total += mix16(data, size - 16, 119, seed)
    return xxh3_avalanche(total & MASK)


def long(data: bytes, seed: int) -> int:
    """Stripes of 64 bytes into eight lanes."""
    secret = seeded_secret(seed)
    last = len(secret) - STRIPE
    lanes = list(LANES)
    stripes = (len(data) - 1) // STRIPE
    for i in range(stripes):
        add_stripe(lanes, data, STRIPE * i, secret, 8 * (i % BLOCK_STRIPES))
        if i % BLOCK_STRIPES == BLOCK_STRIPES - 1:
            scramble(lanes, secret, last)
    add_stripe(lanes, data, len(data) - STRIPE, secret, last - 7)
    keyed = [lane ^ key for lane, key in zip(lanes, words(secret, 11, 8), strict=True)]
    total = len(data) * PRIME64_1 + sum(map(fold, keyed[::2], keyed[1::2]))
    return xxh3_avalanche(total & MASK)


def seeded_secret(seed: int) -> bytes:
    plain = list(words(SECRET, 0, len(SECRET) // 8))
    seeded = [value - seed if i % 2 else value + seed for i, value in enumerate(plain)]
    return b"".join((value & MASK).to_bytes(8, "little") for value in seeded)


def add_stripe(lanes: list[int], data: bytes, at: int, secret: bytes, secret_at: int) -> None:
    keys = words(secret, secret_at, 8)
    for i, (value, key) in enumerate(zip(words(data, at, 8), keys, strict=True)):
        keyed = value ^ key
        lanes[i ^ 1] = lanes[i ^ 1] + value & MASK
        lanes[i] = lanes[i] + (keyed & 0xFFFFFFFF) * (keyed >> 32) & MASK


def scramble(lanes: list[int], secret: bytes, at: int) -> None:
    for i, key in enumerate(words(secret, at, 8)):
        lanes[i] = (lanes[i] ^ lanes[i] >> 47 ^ key) * PRIME32_1 & MASK


def xxh64(data: bytes, seed: int = 0) -> int:
    """XXH64.

    Source: Y. Collet, xxHash fast digest algorithm, its specification.
    """
    at = len(data) & ~31
    total = xxh64_stripes(data, at, seed) if at else seed + PRIME64_5
    total = total + len(data) & MASK
    for value in words(data, at, (len(data) - at) // 8):
        total = rotated(total ^ xxh64_round(0, value), 27) * PRIME64_1 + PRIME64_4 & MASK
        at += 8
    if len(data) - at >= 4:
        total = rotated(total ^ word(data, at, 4) * PRIME64_1 & MASK, 23) * PRIME64_2 + PRIME64_3 & MASK
        at += 4
    for byte in data[at:]:
        total = rotated(total ^ byte * PRIME64_5 & MASK, 11) * PRIME64_1 & MASK
    return xxh64_avalanche(total)


def xxh64_round(lane: int, value: int) -> int:
    return rotated(lane + value * PRIME64_2 & MASK, 31) * PRIME64_1 & MASK


def xxh64_stripes(data: bytes, end: int, seed: int) -> int:
    """Four lanes take in 32 bytes at once, up to `end`."""
    lanes = [seed + PRIME64_1 + PRIME64_2, seed + PRIME64_2, seed, seed - PRIME64_1]
    for at in range(0, end, 32):
        lanes = [xxh64_round(lane, value) for lane, value in zip(lanes, words(data, at, 4), strict=True)]
    total = sum(rotated(lane, left) for lane, left in zip(lanes, (1, 7, 12, 18), strict=True))
    for lane in lanes:
        total = (total & MASK ^ xxh64_round(0, lane)) * PRIME64_1 + PRIME64_4
    return total
