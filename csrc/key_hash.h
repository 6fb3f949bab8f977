/* key_hash -- the frozen hashes by which keys are placed, under one name each.
 *
 * All answer a position: the hash shifted up to 64 bits, so that positions of any hash order as its values
 * do and lie on one circle of 2^64. value = position >> shift. Nothing here allocates or locks; with size 0,
 * `bytes` is not looked at. */
#ifndef PS_KEY_HASH_H
#define PS_KEY_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"
#include "xxhash.h"

/* In the order of HASHES in _key_hash_py.py. */
typedef enum {
    PS_HASH_XXH3_64,
    PS_HASH_XXH64,
    PS_HASH_MURMUR3_32,
    PS_HASH_SHA256_BE64,        /* the first 8 bytes, big-endian */
    PS_HASH_MD5_BE32,           /* the first 4 bytes, big-endian */
    PS_HASH_KETAMA,             /* the first 4 bytes of MD5, little-endian */
    PS_HASH_MURMUR2,            /* Kafka's partitioner: 31 bits */
    PS_HASH_MURMUR3_CASSANDRA,  /* its token, plus 2^63 */
    PS_HASH_CRC16,              /* the slot in a Redis Cluster: 14 bits */
    PS_HASH_KINDS,
} ps_hash_kind;

/* All zero is XXH3_64 with seed 0. */
typedef struct {
    uint64_t seed;      /* below 2^32 for a hash with a seed of 32 bits, 0 for one without */
    ps_hash_kind kind;  /* or another number from PS_HASH_KINDS on, for a hash that the caller computes */
    uint32_t shift;     /* 64 - bits of the hash */
} ps_key_hash;

typedef struct {
    const uint8_t *bytes;
    size_t size;
    size_t at;          /* index of its position among those that are written */
} ps_key;

/* Bits of the hashes of a kind, 1 to 64. */
uint32_t ps_key_hash_bits(ps_hash_kind kind);

/* The position of a key, for any kind below PS_HASH_KINDS. */
uint64_t ps_key_hash_position(const ps_key_hash *hash, const uint8_t *bytes, size_t size);

/* Whether the hash of such a key is computed in place, by ps_xxh3_64_short(bytes, size, hash->seed). */
static inline bool ps_key_hash_is_short(const ps_key_hash *hash, size_t size)
{
    return hash->kind == PS_HASH_XXH3_64 && size <= 16;
}

/* Whether the position of such a key takes some 100 ns at most: that of a short key, by no digest. */
static inline bool ps_key_hash_is_quick(const ps_key_hash *hash, size_t size)
{
    bool digests = hash->kind >= PS_HASH_SHA256_BE64 && hash->kind <= PS_HASH_KETAMA;
    return size <= 64 && !digests;
}

/* The positions of n keys, each to its place. */
void ps_key_hash_many(const ps_key_hash *hash, const ps_key *keys, size_t n, uint64_t *positions);

/* The positions of n keys of `width` bytes, one every `stride` bytes from `bytes` on; of each only what is
 * left of the NULs at its end. */
void ps_key_hash_padded(const ps_key_hash *hash, const uint8_t *bytes, ptrdiff_t stride, size_t width,
                        size_t n, uint64_t *positions);

/* The positions of n keys of `width` code points of 4 bytes, one every `stride` bytes from `bytes` on; of
 * each only what is left of the NULs at its end, in UTF-8. `room` has 4 * width bytes. PS_REFUSED: that of
 * key *done is none, as a code point is a surrogate or above 0x10ffff; those before it are written. */
ps_status ps_key_hash_text(const ps_key_hash *hash, const uint8_t *bytes, ptrdiff_t stride, size_t width,
                           size_t n, uint8_t *room, uint64_t *positions, size_t *done);

/* The positions of n integers, each as its 8 bytes in little-endian order. */
void ps_key_hash_words(const ps_key_hash *hash, const uint64_t *words, size_t n, uint64_t *positions);

#endif
