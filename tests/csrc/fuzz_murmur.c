/* The hashes against the plainest way to write them, a byte at a time and with signed bytes as in Java; and
 * against values that Kafka and Cassandra publish. */
#include "fuzz.h"
#include "murmur.h"

static uint64_t word_at(const uint8_t *bytes, size_t size)
{
    uint64_t word = 0;
    for (size_t i = 0; i < size; i++) word += (uint64_t)bytes[i] << 8 * i;
    return word;
}

static uint32_t left32(uint32_t word, unsigned by) { return word << by | word >> (32 - by); }

static uint64_t left64(uint64_t word, unsigned by) { return word << by | word >> (64 - by); }

static uint32_t plain_murmur3_32(const uint8_t *bytes, size_t size, uint32_t seed)
{
    uint32_t hash = seed;
    for (size_t at = 0; at < size; at += 4) {
        size_t width = size - at < 4 ? size - at : 4;
        uint32_t word = (uint32_t)word_at(bytes + at, width) * 0xcc9e2d51u;
        hash ^= left32(word, 15) * 0x1b873593u;
        if (width == 4) hash = left32(hash, 13) * 5 + 0xe6546b64u;
    }
    hash ^= (uint32_t)size;
    hash ^= hash >> 16;
    hash *= 0x85ebca6bu;
    hash ^= hash >> 13;
    hash *= 0xc2b2ae35u;
    return hash ^ hash >> 16;
}

static uint32_t plain_murmur2(const uint8_t *bytes, size_t size, uint32_t seed)
{
    uint32_t hash = seed ^ (uint32_t)size;
    while (size >= 4) {
        uint32_t word = (uint32_t)word_at(bytes, 4) * 0x5bd1e995u;
        word ^= word >> 24;
        hash = hash * 0x5bd1e995u ^ word * 0x5bd1e995u;
        bytes += 4;
        size -= 4;
    }
    switch (size) {
    case 3: hash ^= (uint32_t)bytes[2] << 16; /* fall through */
    case 2: hash ^= (uint32_t)bytes[1] << 8;  /* fall through */
    case 1: hash = (hash ^ bytes[0]) * 0x5bd1e995u;
    }
    hash = (hash ^ hash >> 13) * 0x5bd1e995u;
    return hash ^ hash >> 15;
}

static uint64_t signed_byte(uint8_t byte, size_t place)
{
    return (uint64_t)(int64_t)(int8_t)byte << 8 * place;
}

static uint64_t final_mix(uint64_t hash)
{
    hash ^= hash >> 33;
    hash *= UINT64_C(0xff51afd7ed558ccd);
    hash ^= hash >> 33;
    hash *= UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 33;
}

static uint64_t plain_cassandra(const uint8_t *bytes, size_t size)
{
    const uint64_t a = UINT64_C(0x87c37b91114253d5), b = UINT64_C(0x4cf5ad432745937f);
    uint64_t h1 = 0, h2 = 0, k1 = 0, k2 = 0;
    size_t at = 0;
    for (; size - at >= 16; at += 16) {
        h1 ^= left64(word_at(bytes + at, 8) * a, 31) * b;
        h1 = (left64(h1, 27) + h2) * 5 + 0x52dce729;
        h2 ^= left64(word_at(bytes + at + 8, 8) * b, 33) * a;
        h2 = (left64(h2, 31) + h1) * 5 + 0x38495ab5;
    }
    for (size_t i = 0; i < size - at; i++) {
        if (i < 8) k1 ^= signed_byte(bytes[at + i], i);
        else k2 ^= signed_byte(bytes[at + i], i - 8);
    }
    h2 ^= left64(k2 * b, 33) * a;
    h1 ^= left64(k1 * a, 31) * b;
    h1 ^= size;
    h2 ^= size;
    h1 += h2;
    h2 += h1;
    return final_mix(h1) + final_mix(h2);
}

static void require_known_values(void)
{
    FUZZ_REQUIRE((int32_t)ps_murmur2((const uint8_t *)"foobar", 6, 0x9747b28cu) == -790332482);
    FUZZ_REQUIRE((int64_t)ps_murmur3_cassandra((const uint8_t *)"123", 3) == INT64_C(-7468325962851647638));
    FUZZ_REQUIRE((int64_t)ps_murmur3_cassandra((const uint8_t *)"\xfe\xfe\xfe\xfe\xfe\xfe\xfe\xfe", 8)
                 == INT64_C(-8927430733708461935));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int known;
    if (!known++) require_known_values();

    fuzz_input input = {data, size};
    uint32_t seed = (uint32_t)fuzz_take(&input, 4);
    size_t most = (size_t)fuzz_take(&input, 1) % 2 ? 40 : 4096;
    size_t length = input.left < most ? input.left : most;
    uint8_t *exact = malloc(length); /* a byte too many is an error */
    FUZZ_REQUIRE(length == 0 || exact != NULL);
    if (length > 0) memcpy(exact, input.bytes, length);
    FUZZ_REQUIRE(ps_murmur3_32(exact, length, seed) == plain_murmur3_32(exact, length, seed));
    FUZZ_REQUIRE(ps_murmur2(exact, length, seed) == plain_murmur2(exact, length, seed));
    FUZZ_REQUIRE(ps_murmur3_cassandra(exact, length) == plain_cassandra(exact, length));
    free(exact);
    return 0;
}
