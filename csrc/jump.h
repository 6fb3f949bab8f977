/* jump -- which of `buckets` numbered buckets gets a key, without any memory.
 *
 * From n to n + 1 buckets, one key in n + 1 moves, and all that move go to the new one. Buckets come and go
 * at the end only. A key costs about ln(buckets) steps of one division each.
 *
 * The results are those of the paper and of the package jump-consistent-hash. Guava divides where the paper
 * multiplies by a quotient, and so finds another bucket where that falls on a whole number: in some 3 of 10^8
 * steps. A step is one double division, one multiplication and a truncation, each rounded for itself: nothing
 * that a compiler could fuse, so every machine finds the same bucket.
 *
 * Source: J. Lamping, E. Veach, A fast, minimal memory, consistent hash algorithm, arXiv 1406.2294, 2014. */
#ifndef PS_JUMP_H
#define PS_JUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The state of a key's random numbers after `key`. */
static inline uint64_t ps_jump_key(uint64_t key) { return key * UINT64_C(2862933555777941757) + 1; }

/* The number of buckets from which on a key leaves `bucket`; it is the number of its next one. */
static inline int64_t ps_jump_next(int64_t bucket, uint64_t key)
{
    return (int64_t)((double)(bucket + 1) * (2147483648.0 / (double)(int64_t)((key >> 33) + 1)));
}

/* The bucket of `key`, 0 to buckets - 1; buckets >= 1. */
static inline int32_t ps_jump_hash(uint64_t key, int32_t buckets)
{
    int64_t bucket, next = 0;
    do {
        bucket = next;
        key = ps_jump_key(key);
        next = ps_jump_next(bucket, key);
    } while (next < buckets);
    return (int32_t)bucket;
}

/* The bucket of each of keys[n], into found[n]. */
void ps_jump_hash_many(const uint64_t *keys, size_t n, int32_t buckets, int32_t *found);

#endif
