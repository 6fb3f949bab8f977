/* anchor_buckets -- numbered buckets that come and go, while no key moves that need not: AnchorHash.
 *
 * There are `capacity` buckets at first, and all that are not wanted are removed, one after the other. A key
 * asks one bucket, and as long as the one it asks was removed, one of those that were left when it was:
 *
 *     ask bucket below(draw64(position, 0), capacity)
 *     while bucket b that was asked is removed, after which m were left:
 *         ask bucket s[below(draw64(position, b + 1), m)] of those m, s[0] to s[m - 1]
 *
 * s are the slots of the buckets that work: at first bucket i is in slot i, and when one is removed, the
 * bucket in the last slot takes its slot. What they were at an earlier time is not kept but traced. (The
 * paper's A is `left`, K `successor`, W `slots`, L `slot_of`.) Every draw is even over those that were left,
 * and none changes by what happens later. Hence
 *   - removing a bucket moves its keys only, evenly to those that are left;
 *   - adding a bucket back, which can only be the one that was removed last, undoes that exactly.
 * The state is the capacity and the buckets that were removed, in their order.
 *
 * The order of preference of a key is that of failing over: first its bucket, then the one where it goes if
 * that is removed, then the one where it goes if that is removed as well.
 *
 * A key asks about 1 + ln(capacity / working) buckets, in whatever order they were removed. Memory: 16 bytes
 * a bucket of the capacity. The caller owns it; threads may read it together.
 *
 * Source: G. Mendelson et al., AnchorHash: a scalable consistent hash, arXiv 1812.09674, algorithm 3. */
#ifndef PS_ANCHOR_BUCKETS_H
#define PS_ANCHOR_BUCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "status.h"

#define PS_ANCHOR_MAX_CAPACITY (1 << 24)

typedef struct {
    uint32_t left;      /* buckets that worked once it was removed; 0: it works, or was the last that did */
    uint32_t successor; /* which bucket took its slot; itself if it works, or if its slot was the last */
} ps_anchor_bucket;

typedef struct {
    ps_anchor_bucket *buckets; /* all of them */
    uint32_t *slots;           /* the bucket in each slot below `working` */
    uint32_t *slot_of;         /* each bucket that works; the last one of a bucket that was removed */
    uint32_t capacity;
    uint32_t working;
    ps_allocator allocator;
} ps_anchor;

/* A slot that a walk through the order of preference finds changed. */
typedef struct {
    uint32_t slot;
    uint32_t bucket; /* in it now; UINT32_MAX: this entry is free */
} ps_anchor_change;

/* Takes memory for `capacity` buckets, 1 to PS_ANCHOR_MAX_CAPACITY. Those from `first` <= capacity on are
 * removed already, the highest first. PS_NO_MEMORY leaves nothing to free. */
ps_status ps_anchor_init(ps_anchor *anchor, uint32_t capacity, uint32_t first, ps_allocator allocator);

void ps_anchor_free(ps_anchor *anchor);

/* Removes a bucket. PS_REFUSED: there is none of that number, or it was removed before; nothing changed. */
ps_status ps_anchor_remove(ps_anchor *anchor, uint32_t bucket);

/* The bucket that gets a key at `position`; at least one works. */
uint32_t ps_anchor_locate(const ps_anchor *anchor, uint64_t position);

/* How many entries of scratch memory ps_anchor_order needs for n buckets: a power of two, at least 2 * n. */
size_t ps_anchor_scratch(uint32_t n);

/* The first `n` buckets for a key at `position`, in its order of preference: n <= anchor->working. O(n).
 * scratch[ps_anchor_scratch(n)] holds nothing that matters before or after. */
void ps_anchor_order(const ps_anchor *anchor, uint64_t position, uint32_t n, ps_anchor_change *scratch,
                     uint32_t *order);

/* Whether slots and buckets agree; for tests. O(capacity). */
bool ps_anchor_check(const ps_anchor *anchor);

#endif
