/* varint -- integers of 1 to 10 bytes, 7 bits in each, the low ones first; all but the last have bit 7 set.
 *
 * Reading takes what protobuf takes: varints that are longer than they need be, and bits above the 64th,
 * which are dropped. Refused are those that the input ends within, and those of more than 10 bytes. Writing
 * makes the shortest one.
 *
 * Signed integers travel as their two's complement, so a negative one takes 10 bytes, or zigzagged: 0, -1, 1,
 * -2, ... become 0, 1, 2, 3, ...
 *
 * Batches go through the best code that the processor has, chosen when the program is loaded. Nothing here
 * allocates; the caller owns all memory.
 * Sources: protobuf.dev, Encoding; Plaisance, Kurz, Lemire, Vectorized VByte Decoding, 2015, and Langdale,
 * Lemire, Parsing Gigabytes of JSON per Second, 2019, for working from the bit mask of a block. */
#ifndef PS_VARINT_H
#define PS_VARINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

#define PS_VARINT_MOST 10 /* bytes of the longest one */

/* ---- zigzag ---- */

static inline uint64_t ps_zigzag64(int64_t value)
{
    uint64_t word = (uint64_t)value;
    return word << 1 ^ (0 - (word >> 63));
}

static inline int64_t ps_unzigzag64(uint64_t word) { return (int64_t)(word >> 1 ^ (0 - (word & 1))); }

static inline uint32_t ps_zigzag32(int32_t value)
{
    uint32_t word = (uint32_t)value;
    return word << 1 ^ (0 - (word >> 31));
}

static inline int32_t ps_unzigzag32(uint32_t word) { return (int32_t)(word >> 1 ^ (0 - (word & 1))); }

/* ---- one at a time ---- */

/* Bytes of the varint of `value`: one for each 7 bits begun. */
static inline int ps_varint_size(uint64_t value)
{
    int bits = 64 - __builtin_clzll(value | 1);
    return (bits * 9 + 64) >> 6; /* = (bits + 6) / 7 for 1 to 64 */
}

/* Eight bytes of which each holds 7 bits, moved together to 56. Bit 7 of each does not count. */
static inline uint64_t ps_varint_join(uint64_t bytes)
{
    uint64_t pairs = (bytes & UINT64_C(0x007f007f007f007f)) | (bytes & UINT64_C(0x7f007f007f007f00)) >> 1;
    uint64_t fours = (pairs & UINT64_C(0x00003fff00003fff)) | (pairs & UINT64_C(0x3fff00003fff0000)) >> 2;
    return (fours & UINT64_C(0x000000000fffffff)) | (fours & UINT64_C(0x0fffffff00000000)) >> 4;
}

/* 56 bits moved apart to eight bytes of 7; the way back. */
static inline uint64_t ps_varint_split(uint64_t value)
{
    uint64_t fours = (value & UINT64_C(0x000000000fffffff)) | (value & UINT64_C(0x00fffffff0000000)) << 4;
    uint64_t pairs = (fours & UINT64_C(0x00003fff00003fff)) | (fours & UINT64_C(0x0fffc0000fffc000)) << 2;
    return (pairs & UINT64_C(0x007f007f007f007f)) | (pairs & UINT64_C(0x3f803f803f803f80)) << 1;
}

/* ps_varint_read of what is longer than the fast ways of it. */
const uint8_t *ps_varint_read_long(const uint8_t *at, const uint8_t *end, uint64_t *value);

/* Reads one varint; returns the place behind it. NULL, and nothing in `value`, when it is none: then it is
 * too long if there are PS_VARINT_MOST bytes before `end`, and cut off if there are fewer. */
static inline const uint8_t *ps_varint_read(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
    if (at < end && at[0] < 0x80) {
        *value = at[0];
        return at + 1;
    }
    if (end - at >= 2 && at[1] < 0x80) {
        *value = (uint64_t)(at[0] & 0x7f) | (uint64_t)at[1] << 7;
        return at + 2;
    }
    return ps_varint_read_long(at, end, value);
}

/* Writes one varint of ps_varint_size(value) bytes; returns the place behind it. */
static inline uint8_t *ps_varint_write(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

/* ---- many, back to back ---- */

/* Counts the varints that fill at[size]. False when a byte of it belongs to none: then `bad` is where that
 * one begins, and at[bad] says which kind it is, as with ps_varint_read. Else `bad` stays as it was. */
bool ps_varints_count(const uint8_t *at, size_t size, size_t *count, size_t *bad);

/* Reads the varints that fill at[size] into values[n], n as ps_varints_count says of the same bytes.
 *
 * u32 keeps the low 32 bits of each; bool is 1 where any of the 64 bits is set. With `zigzag` the values are
 * those behind it. Signed values are the same bits: cast the pointer. False, and anything in values[n], when
 * the bytes have changed since they were counted and are n varints no more; even then nothing beyond is
 * touched. */
bool ps_varints_to_u64(const uint8_t *at, size_t size, bool zigzag, uint64_t *values, size_t n);
bool ps_varints_to_u32(const uint8_t *at, size_t size, bool zigzag, uint32_t *values, size_t n);
bool ps_varints_to_bool(const uint8_t *at, size_t size, uint8_t *values, size_t n);

/* Bytes that values[n] take as varints. Signed 64-bit values are the same bits as u64; i32 takes 10 bytes for
 * each negative one unless it is zigzagged. */
size_t ps_varints_size_u64(const uint64_t *values, size_t n, bool zigzag);
size_t ps_varints_size_i32(const int32_t *values, size_t n, bool zigzag);
size_t ps_varints_size_u32(const uint32_t *values, size_t n);

/* Writes values[n] into at[size], size as ps_varints_size_* says of the same values, or more; returns the
 * place behind the last.
 *
 * When another thread changes the values after they were sized, nothing is written beyond at[size]: NULL is
 * returned where they do not fit. A bool takes one byte, 1 where it is not 0, so their size is n. */
uint8_t *ps_varints_write_u64(uint8_t *at, size_t size, const uint64_t *values, size_t n, bool zigzag);
uint8_t *ps_varints_write_i32(uint8_t *at, size_t size, const int32_t *values, size_t n, bool zigzag);
uint8_t *ps_varints_write_u32(uint8_t *at, size_t size, const uint32_t *values, size_t n);
void ps_varints_write_bool(uint8_t *at, const uint8_t *values, size_t n);

/* ---- the levels of that code, for tests ---- */

typedef enum {
    PS_VARINT_PLAIN, /* everywhere */
    PS_VARINT_SSE2,
    PS_VARINT_AVX2, /* and the bit instructions that came with it */
    PS_VARINT_LEVELS,
} ps_varint_level;

/* Takes batches through that level from now on, in this copy of the kernel; false, and no change, where the
 * processor lacks it. Not while another thread works on a batch. */
bool ps_varint_use(ps_varint_level level);

/* The level in use. */
ps_varint_level ps_varint_used(void);

#endif
