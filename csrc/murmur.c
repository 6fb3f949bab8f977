#include "murmur.h"

#include "bytes.h"

/* ---- MurmurHash3_x86_32 ---- */

static inline uint32_t scatter32(uint32_t word)
{
    return ps_rotate32(word * UINT32_C(0xcc9e2d51), 15) * UINT32_C(0x1b873593);
}

uint32_t ps_murmur3_32(const uint8_t *bytes, size_t size, uint32_t seed)
{
    uint32_t hash = seed, word = 0;
    size_t whole = size & ~(size_t)3;
    for (size_t at = 0; at < whole; at += 4)
        hash = ps_rotate32(hash ^ scatter32(ps_read_little32(bytes + at)), 13) * 5 + UINT32_C(0xe6546b64);
    for (size_t at = size; at > whole; at--) word = word << 8 | bytes[at - 1];
    hash ^= scatter32(word) ^ (uint32_t)size;

    hash = (hash ^ hash >> 16) * UINT32_C(0x85ebca6b);
    hash = (hash ^ hash >> 13) * UINT32_C(0xc2b2ae35);
    return hash ^ hash >> 16;
}

/* ---- MurmurHash2 ---- */

static const uint32_t MIX2 = UINT32_C(0x5bd1e995);

uint32_t ps_murmur2(const uint8_t *bytes, size_t size, uint32_t seed)
{
    uint32_t hash = seed ^ (uint32_t)size;
    size_t whole = size & ~(size_t)3;
    for (size_t at = 0; at < whole; at += 4) {
        uint32_t word = ps_read_little32(bytes + at) * MIX2;
        hash = hash * MIX2 ^ (word ^ word >> 24) * MIX2;
    }
    if (size > whole) {
        uint32_t word = 0;
        for (size_t at = size; at > whole; at--) word = word << 8 | bytes[at - 1];
        hash = (hash ^ word) * MIX2;
    }
    hash = (hash ^ hash >> 13) * MIX2;
    return hash ^ hash >> 15;
}

/* ---- MurmurHash3_x64_128 of Cassandra ---- */

static const uint64_t MIX3_A = UINT64_C(0x87c37b91114253d5), MIX3_B = UINT64_C(0x4cf5ad432745937f);

static inline uint64_t scatter_a(uint64_t word) { return ps_rotate64(word * MIX3_A, 31) * MIX3_B; }

static inline uint64_t scatter_b(uint64_t word) { return ps_rotate64(word * MIX3_B, 33) * MIX3_A; }

static inline uint64_t avalanche(uint64_t hash)
{
    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 33;
}

/* Up to 8 bytes as Java widens them: each with its sign, so a byte above 0x7f inverts all above it. */
static uint64_t signed_word(const uint8_t *bytes, size_t size)
{
    uint64_t word = 0;
    for (size_t i = 0; i < size; i++) {
        uint64_t sign = bytes[i] > 0x7f ? ~UINT64_C(0xff) : 0;
        word ^= (sign | bytes[i]) << 8 * i;
    }
    return word;
}

uint64_t ps_murmur3_cassandra(const uint8_t *bytes, size_t size)
{
    uint64_t first = 0, second = 0;
    size_t whole = size & ~(size_t)15, rest = size & 15;
    for (size_t at = 0; at < whole; at += 16) {
        first ^= scatter_a(ps_read_little64(bytes + at));
        first = (ps_rotate64(first, 27) + second) * 5 + UINT64_C(0x52dce729);
        second ^= scatter_b(ps_read_little64(bytes + at + 8));
        second = (ps_rotate64(second, 31) + first) * 5 + UINT64_C(0x38495ab5);
    }
    if (rest > 8) second ^= scatter_b(signed_word(bytes + whole + 8, rest - 8));
    if (rest > 0) first ^= scatter_a(signed_word(bytes + whole, rest < 8 ? rest : 8));

    first ^= size;
    second ^= size;
    first += second;
    second += first;
    return avalanche(first) + avalanche(second);
}
