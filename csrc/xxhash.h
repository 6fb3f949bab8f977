/* xxhash -- XXH3_64bits and XXH64, fast hashes that are frozen: equal bytes hash alike on every machine,
 * in every version.
 *
 * XXH3 has a formula for each range of lengths. Keys are short, so that of up to 16 bytes stands here, to be
 * inlined where it is called. Both hash any bytes at any address; with size 0, `bytes` is not looked at.
 * Nothing here allocates. Neither resists somebody who chooses keys to collide.
 * Source: Y. Collet, xxHash 0.8, the reference implementation and its specification. */
#ifndef PS_XXHASH_H
#define PS_XXHASH_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

#define PS_XXH_PRIME32_1 UINT32_C(0x9E3779B1)
#define PS_XXH_PRIME32_2 UINT32_C(0x85EBCA77)
#define PS_XXH_PRIME32_3 UINT32_C(0xC2B2AE3D)
#define PS_XXH_PRIME64_1 UINT64_C(0x9E3779B185EBCA87)
#define PS_XXH_PRIME64_2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define PS_XXH_PRIME64_3 UINT64_C(0x165667B19E3779F9)
#define PS_XXH_PRIME64_4 UINT64_C(0x85EBCA77C2B2AE63)
#define PS_XXH_PRIME64_5 UINT64_C(0x27D4EB2F165667C5)

/* The 64-bit halves of a product, xored. */
static inline uint64_t ps_xxh_fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t ps_xxh64_avalanche(uint64_t hash)
{
    hash = (hash ^ hash >> 33) * PS_XXH_PRIME64_2;
    hash = (hash ^ hash >> 29) * PS_XXH_PRIME64_3;
    return hash ^ hash >> 32;
}

static inline uint64_t ps_xxh3_avalanche(uint64_t hash)
{
    hash = (hash ^ hash >> 37) * UINT64_C(0x165667919E3779F9);
    return hash ^ hash >> 32;
}

/* XXH3_64bits of at most 16 bytes. The constants are words of its secret, already xored where it says so. */
static inline uint64_t ps_xxh3_64_short(const uint8_t *bytes, size_t size, uint64_t seed)
{
    if (size > 8) {
        uint64_t low = ps_read_little64(bytes) ^ (UINT64_C(0x6782737BEA4239B9) + seed);
        uint64_t high = ps_read_little64(bytes + size - 8) ^ (UINT64_C(0xAF56BC3B0996523A) - seed);
        return ps_xxh3_avalanche(size + __builtin_bswap64(low) + high + ps_xxh_fold(low, high));
    }
    if (size >= 4) {
        seed ^= (uint64_t)__builtin_bswap32((uint32_t)seed) << 32;
        uint64_t word = ps_read_little32(bytes + size - 4) + ((uint64_t)ps_read_little32(bytes) << 32);
        uint64_t hash = word ^ (UINT64_C(0xC73AB174C5ECD5A2) - seed);
        hash ^= ps_rotate64(hash, 49) ^ ps_rotate64(hash, 24);
        hash *= UINT64_C(0x9FB21C651E98DF25);
        hash ^= (hash >> 35) + size;
        hash *= UINT64_C(0x9FB21C651E98DF25);
        return hash ^ hash >> 28;
    }
    if (size > 0) {
        uint32_t word = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[size >> 1] << 24 | bytes[size - 1]
                      | (uint32_t)size << 8;
        return ps_xxh64_avalanche(word ^ (UINT64_C(0x87275A9B) + seed));
    }
    return ps_xxh64_avalanche(seed ^ UINT64_C(0x8726F9105DC21DDC));
}

/* XXH3_64bits_withSeed. */
uint64_t ps_xxh3_64(const uint8_t *bytes, size_t size, uint64_t seed);

/* XXH64. */
uint64_t ps_xxh64(const uint8_t *bytes, size_t size, uint64_t seed);

#endif
