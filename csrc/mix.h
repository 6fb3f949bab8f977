/* mix -- bits of a hash made into bits that look independent of it.
 *
 * What these return decides where keys live, so it is frozen: tests/hashring/test_mix.py holds its vectors.
 * Sources: G. L. Steele, D. Lea, C. H. Flood, Fast splittable pseudorandom number generators, OOPSLA 2014
 * (SplitMix64); D. Lemire, Fast random integer generation in an interval, ACM TOMACS 29, 2019. */
#ifndef PS_MIX_H
#define PS_MIX_H

#include <stdint.h>

/* One to one; each bit of the result hangs on every bit of `x`. 0 stays 0. */
static inline uint64_t ps_mix64(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Number `i` of the values that SplitMix64 draws when it starts from `seed`; the first has number 1. */
static inline uint64_t ps_draw64(uint64_t seed, uint64_t i)
{
    return ps_mix64(seed + i * UINT64_C(0x9e3779b97f4a7c15));
}

/* `x` as a whole number below n, in proportion: x * n / 2^64, rounded down. */
static inline uint64_t ps_below(uint64_t x, uint64_t n) { return (uint64_t)((unsigned __int128)x * n >> 64); }

#endif
