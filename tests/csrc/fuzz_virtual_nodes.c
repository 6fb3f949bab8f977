/* Points of nodes, against the keys written with snprintf and hashed one by one. */
#include "digests.h"
#include "fuzz.h"
#include "virtual_nodes.h"

static uint64_t word_of(const uint8_t *digest, size_t i)
{
    digest += 4 * i;
    return (uint64_t)((uint32_t)digest[0] | (uint32_t)digest[1] << 8 | (uint32_t)digest[2] << 16 |
                      (uint32_t)digest[3] << 24) << 32;
}

static void require_replicas(const ps_key_hash *hash, const char *name, size_t size, size_t count)
{
    char key[PS_NAME_MAX + 64];
    uint64_t *points = malloc(count * sizeof *points);
    ps_replica_points(hash, name, size, count, points);
    for (size_t i = 0; i < count; i++) {
        memcpy(key, name, size);
        int more = snprintf(key + size, 64, ":replica_%zu", i);
        FUZZ_REQUIRE(points[i] == ps_key_hash_position(hash, (const uint8_t *)key, size + (size_t)more));
    }
    free(points);
}

static void require_ketama(const char *name, size_t size, size_t each, size_t digests)
{
    char key[PS_NAME_MAX + 64];
    uint8_t digest[16];
    uint64_t *points = malloc(each * digests * sizeof *points);
    ps_ketama_points(name, size, each, each * digests, points);
    size_t kept = size > 6 && memcmp(name + size - 6, ":11211", 6) == 0 ? size - 6 : size;
    for (size_t i = 0; i < digests; i++) {
        memcpy(key, name, kept);
        int more = snprintf(key + kept, 64, "-%zu", i);
        ps_md5((const uint8_t *)key, kept + (size_t)more, digest);
        for (size_t j = 0; j < each; j++) FUZZ_REQUIRE(points[i * each + j] == word_of(digest, j));
    }
    free(points);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    char *name = malloc(PS_NAME_MAX);
    size_t length = 1 + (fuzz_take(&input, 1) % 4 ? fuzz_take(&input, 1) % 30 : fuzz_take(&input, 2) % PS_NAME_MAX);
    for (size_t i = 0; i < length; i++) name[i] = (char)fuzz_take(&input, 1);
    if (length >= 6 && fuzz_take(&input, 1) % 2) memcpy(name + length - 6, ":11211", 6);
    ps_hash_kind kind = (ps_hash_kind)(fuzz_take(&input, 1) % PS_HASH_KINDS);
    ps_key_hash hash = {fuzz_take(&input, 4), kind, 64 - ps_key_hash_bits(kind)};
    require_replicas(&hash, name, length, 1 + fuzz_take(&input, 1) % 120);
    require_ketama(name, length, fuzz_take(&input, 1) % 2 ? 4 : 1, 1 + fuzz_take(&input, 1) % 30);
    free(name);
    return 0;
}
