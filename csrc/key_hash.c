#include "key_hash.h"

#include <string.h>

#include "bytes.h"
#include "crc16.h"
#include "digests.h"
#include "murmur.h"

#define KAFKA_SEED UINT32_C(0x9747b28c)

uint32_t ps_key_hash_bits(ps_hash_kind kind)
{
    switch (kind) {
    case PS_HASH_CRC16: return 14;
    case PS_HASH_MURMUR2: return 31;
    case PS_HASH_MURMUR3_32:
    case PS_HASH_MD5_BE32:
    case PS_HASH_KETAMA: return 32;
    default: return 64;
    }
}

/* The token plus 2^63. Of the two ends of the range, the partitioner keeps the lower for "no key at all",
 * and moves a key that would fall there to the upper. */
static uint64_t cassandra_position(const uint8_t *bytes, size_t size)
{
    uint64_t position;
    if (size == 0) return 0;
    position = ps_murmur3_cassandra(bytes, size) + (UINT64_C(1) << 63);
    return position == 0 ? UINT64_MAX : position;
}

static uint64_t md5_position(const uint8_t *bytes, size_t size, bool big_endian)
{
    uint8_t digest[16];
    ps_md5(bytes, size, digest);
    return (uint64_t)(big_endian ? ps_read_big32(digest) : ps_read_little32(digest)) << 32;
}

static uint64_t sha256_position(const uint8_t *bytes, size_t size)
{
    uint8_t digest[32];
    ps_sha256(bytes, size, digest);
    return ps_read_big64(digest);
}

uint64_t ps_key_hash_position(const ps_key_hash *hash, const uint8_t *bytes, size_t size)
{
    switch (hash->kind) {
    case PS_HASH_XXH3_64: return ps_xxh3_64(bytes, size, hash->seed);
    case PS_HASH_XXH64: return ps_xxh64(bytes, size, hash->seed);
    case PS_HASH_MURMUR3_32: return (uint64_t)ps_murmur3_32(bytes, size, (uint32_t)hash->seed) << 32;
    case PS_HASH_SHA256_BE64: return sha256_position(bytes, size);
    case PS_HASH_MD5_BE32: return md5_position(bytes, size, true);
    case PS_HASH_KETAMA: return md5_position(bytes, size, false);
    case PS_HASH_MURMUR2: return (uint64_t)ps_murmur2(bytes, size, KAFKA_SEED) << 33; /* its lower 31 bits */
    case PS_HASH_MURMUR3_CASSANDRA: return cassandra_position(bytes, size);
    case PS_HASH_CRC16: return (uint64_t)ps_redis_slot(bytes, size) << 50;
    default: return 0;
    }
}

static inline uint64_t position_of(const ps_key_hash *hash, const uint8_t *bytes, size_t size)
{
    if (ps_key_hash_is_short(hash, size)) return ps_xxh3_64_short(bytes, size, hash->seed);
    return ps_key_hash_position(hash, bytes, size);
}

void ps_key_hash_many(const ps_key_hash *hash, const ps_key *keys, size_t n, uint64_t *positions)
{
    for (size_t i = 0; i < n; i++) positions[keys[i].at] = position_of(hash, keys[i].bytes, keys[i].size);
}

static size_t size_without_nuls(const uint8_t *bytes, size_t width)
{
    while (width > 0 && bytes[width - 1] == 0) width--;
    return width;
}

void ps_key_hash_padded(const ps_key_hash *hash, const uint8_t *bytes, ptrdiff_t stride, size_t width,
                        size_t n, uint64_t *positions)
{
    for (size_t i = 0; i < n; i++, bytes += stride)
        positions[i] = position_of(hash, bytes, size_without_nuls(bytes, width));
}

/* Writes one code point; 0 bytes where there is no UTF-8 for it. */
static size_t encode(uint32_t point, uint8_t *out)
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (uint8_t)(0xc0 | point >> 6);
        out[1] = (uint8_t)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        if (point >= 0xd800 && point < 0xe000) return 0;
        out[0] = (uint8_t)(0xe0 | point >> 12);
        out[1] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (point & 0x3f));
        return 3;
    }
    if (point > 0x10ffff) return 0;
    out[0] = (uint8_t)(0xf0 | point >> 18);
    out[1] = (uint8_t)(0x80 | (point >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (point & 0x3f));
    return 4;
}

/* A code point in this machine's order of bytes, as numpy keeps it. */
static uint32_t point_at(const uint8_t *bytes, size_t i)
{
    uint32_t point;
    memcpy(&point, bytes + 4 * i, sizeof point);
    return point;
}

ps_status ps_key_hash_text(const ps_key_hash *hash, const uint8_t *bytes, ptrdiff_t stride, size_t width,
                           size_t n, uint8_t *room, uint64_t *positions, size_t *done)
{
    for (size_t i = 0; i < n; i++, bytes += stride) {
        size_t points = width, size = 0;
        while (points > 0 && point_at(bytes, points - 1) == 0) points--;
        for (size_t at = 0; at < points; at++) {
            size_t step = encode(point_at(bytes, at), room + size);
            if (step == 0) {
                *done = i;
                return PS_REFUSED;
            }
            size += step;
        }
        positions[i] = position_of(hash, room, size);
    }
    *done = n;
    return PS_OK;
}

void ps_key_hash_words(const ps_key_hash *hash, const uint64_t *words, size_t n, uint64_t *positions)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++) {
        ps_write_little64(bytes, words[i]);
        positions[i] = position_of(hash, bytes, sizeof bytes);
    }
}
