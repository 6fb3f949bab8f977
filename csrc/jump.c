#include "jump.h"

#define LANES 8 /* keys that jump side by side: a jump waits for its division, and not for that of another */

/* As ps_jump_hash, but that a key which has arrived goes on with the others, in place. */
static void jump_lanes(const uint64_t *keys, int32_t buckets, int32_t *found)
{
    uint64_t key[LANES];
    int64_t bucket[LANES] = {0}, next[LANES] = {0};
    bool left;
    for (size_t i = 0; i < LANES; i++) key[i] = keys[i];
    do {
        left = false;
        for (size_t i = 0; i < LANES; i++) {
            bool goes = next[i] < buckets;
            left |= goes;
            bucket[i] = goes ? next[i] : bucket[i];
            key[i] = ps_jump_key(key[i]);
            next[i] = goes ? ps_jump_next(bucket[i], key[i]) : next[i];
        }
    } while (left);
    for (size_t i = 0; i < LANES; i++) found[i] = (int32_t)bucket[i];
}

void ps_jump_hash_many(const uint64_t *keys, size_t n, int32_t buckets, int32_t *found)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) jump_lanes(keys + i, buckets, found + i);
    for (; i < n; i++) found[i] = ps_jump_hash(keys[i], buckets);
}
