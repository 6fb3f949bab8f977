/* eviction -- which entry of a full cache goes: LRU, FIFO, LFU, SIEVE, S3-FIFO and W-TinyLFU.
 *
 * An entry is a slot, a number from 0 on, in an array that the caller owns. The policy links the slots to
 * queues by 32-bit numbers that lie in the slots themselves, and knows of an entry its hash and its weight,
 * no key and no value. How each policy works is told where it stands in eviction.c.
 *
 * A cache calls ps_eviction_hit for what it finds, and for a newcomer
 *
 *     ps_eviction_arrive(&eviction, hash);
 *     while (there is no room) take out ps_eviction_victim(&eviction, weight of the newcomer);
 *     ps_eviction_add(&eviction, slot);
 *
 * Nothing here locks, and only ps_eviction_reserve allocates: room for all that its policy remembers of so
 * many entries, for LFU 24 bytes an entry, for S3-FIFO 13 and for W-TinyLFU 8 to 16 (ghosts and counters). */
#ifndef PS_EVICTION_H
#define PS_EVICTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "frequency_sketch.h"
#include "ghosts.h"
#include "status.h"

#define PS_NO_SLOT UINT32_MAX

typedef enum { PS_LRU, PS_FIFO, PS_LFU, PS_SIEVE, PS_S3FIFO, PS_TINYLFU } ps_policy;

typedef struct {
    void *key, *value; /* the caller's; no key where the slot is free */
    int64_t deadline;  /* nanoseconds; expired from then on */
    uint32_t hash;     /* 32 well mixed bits */
    uint32_t newer;    /* the next in its queue; of a free slot: the next free one */
    uint32_t older;
    uint32_t mark; /* what the policy remembers of it */
} ps_slot;

/* What only some caches need of an entry. */
typedef struct {
    int64_t weight;  /* >= 0 */
    int64_t at_most; /* nanoseconds; a use does not prolong it beyond */
} ps_slot_extra;

typedef struct {
    uint32_t oldest, newest;
    int64_t weight;
} ps_queue;

/* Entries of one frequency; LFU. */
typedef struct {
    uint64_t frequency;
    uint32_t oldest, newest;
    uint32_t rarer, commoner; /* the neighbouring groups; of a free one: `commoner` is the next free one */
} ps_lfu_group;

typedef struct {
    ps_lfu_group *groups; /* one more than there are entries at most */
    uint32_t capacity, used, free;
    uint32_t rarest, commonest;
} ps_lfu;

typedef struct {
    ps_ghosts ghosts;
    bool has_evicted;
    bool returns; /* the newcomer was evicted not long ago */
} ps_s3fifo;

typedef struct {
    ps_sketch sketch;
    int64_t window_target;   /* in units of weight */
    uint64_t hits, requests; /* of this sample */
    double last_ratio;       /* hit ratio of the sample before */
    double step;             /* units by which the window grows next, or shrinks */
    bool fixed;              /* the window keeps its size; for tests */
} ps_tinylfu;

/* Callers read `size` and leave the rest to the functions below. */
typedef struct {
    ps_policy policy;
    ps_slot *slots;
    ps_slot_extra *extras; /* NULL where neither weights nor idle times are kept */
    int64_t capacity;      /* units of weight; entries without weights */
    bool weighs;           /* entries have weights, in `extras` */
    uint32_t size;         /* entries */
    uint32_t hand;         /* SIEVE */
    ps_queue queues[3];
    union {
        ps_lfu lfu;
        ps_s3fifo s3fifo;
        ps_tinylfu tinylfu;
    } of;
    ps_allocator allocator;
} ps_eviction;

/* Makes an empty one that allocates nothing yet. `capacity` >= 1. */
void ps_eviction_init(ps_eviction *eviction, ps_policy policy, int64_t capacity, bool weighs,
                      ps_allocator allocator);

/* Gives the memory back; only ps_eviction_init may follow. */
void ps_eviction_free(ps_eviction *eviction);

/* Makes room for `entries` in all, a number that does not fall. PS_NO_MEMORY changes nothing that is seen. */
ps_status ps_eviction_reserve(ps_eviction *eviction, uint32_t entries);

/* Tells it a new capacity; the cache takes victims until it is kept. */
void ps_eviction_resize(ps_eviction *eviction, int64_t capacity);

/* Takes out an entry on request, without remembering it. */
void ps_eviction_remove(ps_eviction *eviction, uint32_t slot);

/* Gives an entry another weight. */
void ps_eviction_reweigh(ps_eviction *eviction, uint32_t slot, int64_t weight);

/* The entry in `from` has been copied to the slot `to`; whoever named `from` names `to` now. */
void ps_eviction_relocate(ps_eviction *eviction, uint32_t from, uint32_t to);

/* Who goes next if no newcomer has a say; there is somebody. The policy has chosen: a hand has moved. */
static inline uint32_t ps_eviction_next(ps_eviction *eviction);

/* Forgets whatever it remembers of entries that are gone. There are no others. */
void ps_eviction_forget(ps_eviction *eviction);

/* All entries, queue by queue, that one first whose entries are worth least, and from the oldest of each;
 * for LFU from the rarest. Then PS_NO_SLOT. */
uint32_t ps_eviction_first(const ps_eviction *eviction);
uint32_t ps_eviction_after(const ps_eviction *eviction, uint32_t slot);

/* The bytes that it has allocated. */
size_t ps_eviction_bytes(const ps_eviction *eviction);

/* Whether every rule holds. O(size), for tests. */
bool ps_eviction_check(const ps_eviction *eviction);

/* ---- what a cache does most, in line where it is a step or two ---- */

#define PS_MARK_QUEUE 3u /* the bits of `mark` that number the queue */
#define PS_MARK_USE 4u   /* one use, counted above them */
#define PS_MARK_USES(mark) ((mark) >> 2)

void ps_eviction_hit_by_policy(ps_eviction *eviction, uint32_t slot);
void ps_eviction_arrive_by_policy(ps_eviction *eviction, uint32_t hash);
uint32_t ps_eviction_next_by_policy(ps_eviction *eviction, int64_t weight);
void ps_eviction_evict_by_policy(ps_eviction *eviction, uint32_t slot);
void ps_eviction_add_by_policy(ps_eviction *eviction, uint32_t slot);

static inline void ps_queue_unlink(ps_slot *slots, ps_queue *queue, uint32_t slot)
{
    uint32_t newer = slots[slot].newer, older = slots[slot].older;
    if (newer != PS_NO_SLOT)
        slots[newer].older = older;
    else
        queue->newest = older;
    if (older != PS_NO_SLOT)
        slots[older].newer = newer;
    else
        queue->oldest = newer;
}

static inline void ps_queue_link(ps_slot *slots, ps_queue *queue, uint32_t slot)
{
    slots[slot].newer = PS_NO_SLOT;
    slots[slot].older = queue->newest;
    if (queue->newest != PS_NO_SLOT)
        slots[queue->newest].newer = slot;
    else
        queue->oldest = slot;
    queue->newest = slot;
}

/* An entry was found or has got a new value. */
static inline void ps_eviction_hit(ps_eviction *eviction, uint32_t slot)
{
    ps_slot *slots = eviction->slots;
    ps_queue *queue = &eviction->queues[0];
    switch (eviction->policy) {
    case PS_LRU:
        if (slot == queue->newest) return;
        ps_queue_unlink(slots, queue, slot);
        ps_queue_link(slots, queue, slot);
        return;
    case PS_FIFO:
        return;
    case PS_SIEVE:
        if (slots[slot].mark == 0) slots[slot].mark = PS_MARK_USE; /* a write less dirties no cache line */
        return;
    case PS_S3FIFO:
        if (PS_MARK_USES(slots[slot].mark) < 3) slots[slot].mark += PS_MARK_USE;
        return;
    default:
        ps_eviction_hit_by_policy(eviction, slot);
    }
}

static inline int64_t ps_eviction_weight(const ps_eviction *eviction, uint32_t slot)
{
    return eviction->weighs ? eviction->extras[slot].weight : 1;
}

static inline void ps_eviction_push(ps_eviction *eviction, unsigned queue, uint32_t slot)
{
    ps_queue_link(eviction->slots, &eviction->queues[queue], slot);
    eviction->queues[queue].weight += ps_eviction_weight(eviction, slot);
}

static inline uint32_t ps_eviction_pull(ps_eviction *eviction, unsigned queue, uint32_t slot)
{
    ps_queue_unlink(eviction->slots, &eviction->queues[queue], slot);
    eviction->queues[queue].weight -= ps_eviction_weight(eviction, slot);
    return slot;
}

/* A newcomer with `hash` is about to be added. */
static inline void ps_eviction_arrive(ps_eviction *eviction, uint32_t hash)
{
    if (eviction->policy >= PS_S3FIFO) ps_eviction_arrive_by_policy(eviction, hash);
}

/* Takes out the entry that makes room for a newcomer of that weight, 0 where there is none. */
static inline uint32_t ps_eviction_victim(ps_eviction *eviction, int64_t weight)
{
    if (eviction->policy <= PS_FIFO) {
        eviction->size--;
        return ps_eviction_pull(eviction, 0, eviction->queues[0].oldest);
    }
    uint32_t slot = ps_eviction_next_by_policy(eviction, weight);
    ps_eviction_evict_by_policy(eviction, slot);
    return slot;
}

static inline uint32_t ps_eviction_next(ps_eviction *eviction)
{
    return eviction->policy <= PS_FIFO ? eviction->queues[0].oldest : ps_eviction_next_by_policy(eviction, 0);
}

/* Adds a slot whose hash and weight are set. */
static inline void ps_eviction_add(ps_eviction *eviction, uint32_t slot)
{
    eviction->size++;
    if (eviction->policy > PS_SIEVE || eviction->policy == PS_LFU) {
        ps_eviction_add_by_policy(eviction, slot);
        return;
    }
    eviction->slots[slot].mark = 0;
    ps_eviction_push(eviction, 0, slot);
}

#endif
