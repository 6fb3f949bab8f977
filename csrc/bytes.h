/* bytes -- integers of fixed width in memory, in either order of bytes, at any address. */
#ifndef PS_BYTES_H
#define PS_BYTES_H

#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define PS_LITTLE32(word) __builtin_bswap32(word)
#define PS_LITTLE64(word) __builtin_bswap64(word)
#define PS_BIG32(word) (word)
#define PS_BIG64(word) (word)
#else
#define PS_LITTLE32(word) (word)
#define PS_LITTLE64(word) (word)
#define PS_BIG32(word) __builtin_bswap32(word)
#define PS_BIG64(word) __builtin_bswap64(word)
#endif

static inline uint32_t ps_read_little32(const uint8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return PS_LITTLE32(word);
}

static inline uint64_t ps_read_little64(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return PS_LITTLE64(word);
}

static inline uint32_t ps_read_big32(const uint8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return PS_BIG32(word);
}

static inline uint64_t ps_read_big64(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return PS_BIG64(word);
}

static inline void ps_write_little64(uint8_t *bytes, uint64_t word)
{
    word = PS_LITTLE64(word);
    memcpy(bytes, &word, sizeof word);
}

static inline void ps_write_little32(uint8_t *bytes, uint32_t word)
{
    word = PS_LITTLE32(word);
    memcpy(bytes, &word, sizeof word);
}

static inline void ps_write_big32(uint8_t *bytes, uint32_t word)
{
    word = PS_BIG32(word);
    memcpy(bytes, &word, sizeof word);
}

static inline void ps_write_big64(uint8_t *bytes, uint64_t word)
{
    word = PS_BIG64(word);
    memcpy(bytes, &word, sizeof word);
}

static inline uint32_t ps_rotate32(uint32_t word, int left) { return word << left | word >> (32 - left); }

static inline uint64_t ps_rotate64(uint64_t word, int left) { return word << left | word >> (64 - left); }

#endif
