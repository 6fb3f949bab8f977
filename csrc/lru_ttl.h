/* lru_ttl -- who is in a cache, who was used last, and until when: everything but keys and values.
 *
 * An entry is a slot, a number from 0 on. The caller keeps keys and values in arrays of its own, under
 * the slot's number, and compares keys itself:
 *
 *     for (slot = ps_lru_first(&lru, hash, &at); slot != PS_LRU_NONE; slot = ps_lru_next(&lru, hash, &at))
 *         if (the key in `slot` is the one that is looked for) ...
 *
 * Slots are linked from the least to the most recently used. A slot number that was taken back is the
 * next to be handed out, so numbers stay below the largest size that was ever reached.
 *
 * Finding is open addressing with linear probing at a load of at most 1/2; removal shifts the probe run
 * back, there are no tombstones (Knuth, TAOCP vol. 3, 6.4, algorithm R). Memory grows by doubling, up
 * to `limit`; an entry costs 24 bytes and 8 to 16 more in the index. Nothing here locks or reads a clock. */
#ifndef PS_LRU_TTL_H
#define PS_LRU_TTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "status.h"

#define PS_LRU_MAX (UINT32_C(1) << 30) /* the largest limit */
#define PS_LRU_NONE UINT32_MAX         /* no slot */
#define PS_LRU_NEVER INT64_MAX         /* the deadline of what does not expire */

typedef struct {
    uint64_t hash;
    int64_t deadline; /* nanoseconds; expired from then on */
    uint32_t newer;   /* the slot used next after this one; of a free slot: the next free one */
    uint32_t older;   /* the slot used last before this one */
} ps_lru_slot;

/* Callers read the fields and leave the writing to the functions below. */
typedef struct {
    ps_lru_slot *slots; /* `capacity` of them */
    uint32_t *index;    /* slots by hash, 2^index_bits of them; NULL until the first is added */
    unsigned index_bits;
    uint32_t limit;     /* the largest size, 1 to PS_LRU_MAX */
    uint32_t capacity;
    uint32_t used;      /* slots that were ever handed out: all slot numbers are below */
    uint32_t size;      /* slots that are handed out now */
    uint32_t newest;
    uint32_t oldest;
    uint32_t free;      /* the first of the slots that were taken back */
    ps_allocator allocator;
} ps_lru;

/* Makes an empty one that allocates nothing yet. */
void ps_lru_init(ps_lru *lru, uint32_t limit, ps_allocator allocator);

/* Gives the memory back; only ps_lru_init may follow. */
void ps_lru_free(ps_lru *lru);

/* The slots whose hash is `hash`, one after another, then PS_LRU_NONE. `at` is where the search stands;
 * ps_lru_add and ps_lru_remove end it, ps_lru_touch and ps_lru_expire_at do not. */
uint32_t ps_lru_first(const ps_lru *lru, uint64_t hash, uint32_t *at);
uint32_t ps_lru_next(const ps_lru *lru, uint64_t hash, uint32_t *at);

/* Hands out a slot as the most recently used. PS_REFUSED: `limit` is reached; PS_NO_MEMORY: it could not
 * grow. Both change nothing, and neither comes right after a ps_lru_remove. */
ps_status ps_lru_add(ps_lru *lru, uint64_t hash, int64_t deadline, uint32_t *slot);

/* Takes back a slot that was handed out. */
void ps_lru_remove(ps_lru *lru, uint32_t slot);

/* Makes a slot the most recently used. */
void ps_lru_touch(ps_lru *lru, uint32_t slot);

static inline void ps_lru_expire_at(ps_lru *lru, uint32_t slot, int64_t deadline)
{
    lru->slots[slot].deadline = deadline;
}

static inline bool ps_lru_expired(const ps_lru *lru, uint32_t slot, int64_t now)
{
    return now >= lru->slots[slot].deadline;
}

/* The slot used next after `slot`, PS_LRU_NONE after the newest. */
static inline uint32_t ps_lru_newer(const ps_lru *lru, uint32_t slot) { return lru->slots[slot].newer; }

/* The bytes that it has allocated. */
size_t ps_lru_bytes(const ps_lru *lru);

/* Whether every rule above holds. O(size), for tests. */
bool ps_lru_check(const ps_lru *lru);

#endif
