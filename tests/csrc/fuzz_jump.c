/* Jump hash against the rule that it is derived from, step by step, and one more bucket at a time. */
#include "fuzz.h"
#include "jump.h"

#define MOST 512 /* keys of one batch: an input has fewer bytes than 8 of each */

/* The definition: with every bucket that is added, the key jumps to it or stays where it is. */
static void require_only_jumps_to_the_new_bucket(uint64_t key, int32_t most)
{
    int32_t found = ps_jump_hash(key, 1);
    FUZZ_REQUIRE(found == 0);
    for (int32_t buckets = 2; buckets <= most; buckets++) {
        int32_t next = ps_jump_hash(key, buckets);
        FUZZ_REQUIRE(next == found || next == buckets - 1);
        found = next;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    static uint64_t keys[MOST];
    int32_t found[MOST];
    size_t n = 0;
    int32_t buckets = (int32_t)fuzz_between(&input, 1, fuzz_take(&input, 1) % 2 ? INT32_MAX : 100);
    while (input.left > 0 && n < MOST) keys[n++] = fuzz_take(&input, 8);

    ps_jump_hash_many(keys, n, buckets, found);
    for (size_t i = 0; i < n; i++) {
        FUZZ_REQUIRE(0 <= found[i] && found[i] < buckets);
        FUZZ_REQUIRE(found[i] == ps_jump_hash(keys[i], buckets));
    }
    if (n > 0) require_only_jumps_to_the_new_bucket(keys[0], buckets < 300 ? buckets : 300);
    return 0;
}
