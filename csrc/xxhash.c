#include "xxhash.h"

enum {
    STRIPE = 64,       /* bytes that the eight lanes of XXH3 take in at once */
    SECRET_STEP = 8,   /* bytes by which the secret moves on for each stripe */
    SECRET_SIZE = 192, /* bytes */
    BLOCK = STRIPE * ((SECRET_SIZE - STRIPE) / SECRET_STEP), /* bytes until the secret is used up */
};

static const uint8_t SECRET[SECRET_SIZE] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

/* ---- XXH3, 17 to 240 bytes: pairs of words, multiplied ---- */

static inline uint64_t mix16(const uint8_t *bytes, const uint8_t *secret, uint64_t seed)
{
    return ps_xxh_fold(ps_read_little64(bytes) ^ (ps_read_little64(secret) + seed),
                       ps_read_little64(bytes + 8) ^ (ps_read_little64(secret + 8) - seed));
}

/* 17 to 128 bytes: from both ends to the middle. */
static uint64_t xxh3_64_to_128(const uint8_t *bytes, size_t size, uint64_t seed)
{
    uint64_t hash = size * PS_XXH_PRIME64_1;
    for (size_t pair = (size - 1) / 32 + 1; pair-- > 0;) {
        hash += mix16(bytes + 16 * pair, SECRET + 32 * pair, seed);
        hash += mix16(bytes + size - 16 * (pair + 1), SECRET + 32 * pair + 16, seed);
    }
    return ps_xxh3_avalanche(hash);
}

/* 129 to 240 bytes. Past the first 128 the secret begins anew, 3 bytes on. */
static uint64_t xxh3_64_to_240(const uint8_t *bytes, size_t size, uint64_t seed)
{
    uint64_t hash = size * PS_XXH_PRIME64_1;
    for (size_t i = 0; i < 8; i++) hash += mix16(bytes + 16 * i, SECRET + 16 * i, seed);
    hash = ps_xxh3_avalanche(hash);
    for (size_t i = 8; i < size / 16; i++) hash += mix16(bytes + 16 * i, SECRET + 16 * (i - 8) + 3, seed);
    hash += mix16(bytes + size - 16, SECRET + 119, seed);
    return ps_xxh3_avalanche(hash);
}

/* ---- XXH3, more than 240 bytes: stripes into eight lanes ---- */

static inline void add_stripe(uint64_t lanes[8], const uint8_t *bytes, const uint8_t *secret)
{
    for (size_t i = 0; i < 8; i++) {
        uint64_t word = ps_read_little64(bytes + 8 * i);
        uint64_t keyed = word ^ ps_read_little64(secret + 8 * i);
        lanes[i ^ 1] += word;
        lanes[i] += (uint64_t)(uint32_t)keyed * (keyed >> 32);
    }
}

static inline void add_stripes(uint64_t lanes[8], const uint8_t *bytes, size_t n, const uint8_t *secret)
{
    for (size_t i = 0; i < n; i++) add_stripe(lanes, bytes + STRIPE * i, secret + SECRET_STEP * i);
}

static inline void scramble(uint64_t lanes[8], const uint8_t *secret)
{
    for (size_t i = 0; i < 8; i++) {
        uint64_t keyed = lanes[i] ^ lanes[i] >> 47 ^ ps_read_little64(secret + 8 * i);
        lanes[i] = keyed * PS_XXH_PRIME32_1;
    }
}

static uint64_t merge(const uint64_t lanes[8], const uint8_t *secret, uint64_t hash)
{
    for (size_t i = 0; i < 8; i += 2)
        hash += ps_xxh_fold(lanes[i] ^ ps_read_little64(secret + 8 * i),
                            lanes[i + 1] ^ ps_read_little64(secret + 8 * i + 8));
    return ps_xxh3_avalanche(hash);
}

static void seed_secret(uint8_t secret[SECRET_SIZE], uint64_t seed)
{
    for (size_t i = 0; i < SECRET_SIZE; i += 16) {
        ps_write_little64(secret + i, ps_read_little64(SECRET + i) + seed);
        ps_write_little64(secret + i + 8, ps_read_little64(SECRET + i + 8) - seed);
    }
}

static uint64_t xxh3_64_long(const uint8_t *bytes, size_t size, uint64_t seed)
{
    uint8_t secret[SECRET_SIZE];
    uint64_t lanes[8] = {PS_XXH_PRIME32_3, PS_XXH_PRIME64_1, PS_XXH_PRIME64_2, PS_XXH_PRIME64_3,
                         PS_XXH_PRIME64_4, PS_XXH_PRIME32_2, PS_XXH_PRIME64_5, PS_XXH_PRIME32_1};
    const uint8_t *last = bytes + size - STRIPE;
    size_t left = size;
    seed_secret(secret, seed);
    for (; left > BLOCK; bytes += BLOCK, left -= BLOCK) {
        add_stripes(lanes, bytes, BLOCK / STRIPE, secret);
        scramble(lanes, secret + SECRET_SIZE - STRIPE);
    }
    add_stripes(lanes, bytes, (left - 1) / STRIPE, secret);
    add_stripe(lanes, last, secret + SECRET_SIZE - STRIPE - 7);
    return merge(lanes, secret + 11, size * PS_XXH_PRIME64_1);
}

uint64_t ps_xxh3_64(const uint8_t *bytes, size_t size, uint64_t seed)
{
    if (size <= 16) return ps_xxh3_64_short(bytes, size, seed);
    if (size <= 128) return xxh3_64_to_128(bytes, size, seed);
    if (size <= 240) return xxh3_64_to_240(bytes, size, seed);
    return xxh3_64_long(bytes, size, seed);
}

/* ---- XXH64 ---- */

static inline uint64_t xxh64_round(uint64_t lane, uint64_t word)
{
    return ps_rotate64(lane + word * PS_XXH_PRIME64_2, 31) * PS_XXH_PRIME64_1;
}

static uint64_t xxh64_stripes(const uint8_t *bytes, size_t n, uint64_t seed)
{
    uint64_t lanes[4] = {seed + PS_XXH_PRIME64_1 + PS_XXH_PRIME64_2, seed + PS_XXH_PRIME64_2, seed,
                         seed - PS_XXH_PRIME64_1};
    for (size_t i = 0; i < n; i++)
        for (size_t lane = 0; lane < 4; lane++)
            lanes[lane] = xxh64_round(lanes[lane], ps_read_little64(bytes + 32 * i + 8 * lane));

    uint64_t hash = ps_rotate64(lanes[0], 1) + ps_rotate64(lanes[1], 7) + ps_rotate64(lanes[2], 12)
                  + ps_rotate64(lanes[3], 18);
    for (size_t lane = 0; lane < 4; lane++)
        hash = (hash ^ xxh64_round(0, lanes[lane])) * PS_XXH_PRIME64_1 + PS_XXH_PRIME64_4;
    return hash;
}

uint64_t ps_xxh64(const uint8_t *bytes, size_t size, uint64_t seed)
{
    uint64_t hash = size >= 32 ? xxh64_stripes(bytes, size / 32, seed) : seed + PS_XXH_PRIME64_5;
    hash += size;
    size_t at = size & ~(size_t)31;
    for (; size - at >= 8; at += 8) {
        hash ^= xxh64_round(0, ps_read_little64(bytes + at));
        hash = ps_rotate64(hash, 27) * PS_XXH_PRIME64_1 + PS_XXH_PRIME64_4;
    }
    if (size - at >= 4) {
        hash ^= ps_read_little32(bytes + at) * PS_XXH_PRIME64_1;
        hash = ps_rotate64(hash, 23) * PS_XXH_PRIME64_2 + PS_XXH_PRIME64_3;
        at += 4;
    }
    for (; at < size; at++) {
        hash ^= bytes[at] * PS_XXH_PRIME64_5;
        hash = ps_rotate64(hash, 11) * PS_XXH_PRIME64_1;
    }
    return ps_xxh64_avalanche(hash);
}
