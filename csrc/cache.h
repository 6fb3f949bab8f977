/* cache -- entries in bounded memory: found by hash, evicted by a policy, gone at their deadline.
 *
 * It keeps keys and values as pointers and never looks behind them. The caller compares keys:
 *
 *     ps_index_search search = ps_cache_begin(&cache, hash);
 *     while ((slot = ps_cache_next(&cache, hash, &search)) != PS_NO_SLOT)
 *         if (the key in `slot` is the one that is looked for) ...
 *
 * What leaves is not forgotten at once: it waits, in order and with its cause, until the caller has taken it
 * by ps_cache_take_removed. So a call changes everything that there is to change, and only then whatever the
 * caller does with keys and values can run.
 *
 * An entry takes 40 bytes in its slot and 8 in the index, 16 more where weights or idle times are kept, and
 * what its policy needs (eviction.h). Memory grows by doubling. Nothing here locks or reads a clock. */
#ifndef PS_CACHE_H
#define PS_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "eviction.h"
#include "hash_index.h"
#include "status.h"

#define PS_CACHE_MAX (UINT32_C(1) << 30)       /* the largest limit, in entries */
#define PS_MAX_WEIGHT ((INT64_C(1) << 62) - 1) /* the largest total, and of an entry; two fit in a sum */
#define PS_NEVER INT64_MAX                     /* the deadline of what does not expire */

/* Why an entry left. */
typedef enum { PS_EXPLICIT, PS_REPLACED, PS_SIZE, PS_EXPIRED, PS_CLEARED, PS_CAUSES } ps_cause;

/* Callers read the fields and leave the writing to the functions below. */
typedef struct {
    ps_eviction eviction; /* with the slots */
    ps_hash_index index;
    uint32_t limit;     /* entries at most, 1 to PS_CACHE_MAX */
    int64_t max_weight; /* of all entries; where weights are kept */
    int64_t weight;     /* of all entries; 0 where none are kept */
    uint32_t capacity;  /* slots */
    uint32_t room;      /* entries that the index and the policy have memory for */
    uint32_t used;      /* slots that were ever handed out: all slot numbers are below */
    uint32_t free;      /* the first of the slots that were taken back */
    uint32_t removed;   /* the first of those that wait to be taken, PS_NO_SLOT: none */
    uint32_t removed_last;
    uint32_t swept;  /* the slot that is looked at next for having expired */
    bool has_extras; /* weights and idle times are kept */
    uint64_t removals[PS_CAUSES];
    ps_allocator allocator;
} ps_cache;

typedef struct {
    void *key, *value;
    ps_cause cause;
} ps_removal;

/* Makes an empty one that allocates nothing yet.
 *
 * `max_weight` is 0 where entries have no weights; `has_extras` says whether idle times are kept. */
void ps_cache_init(ps_cache *cache, ps_policy policy, uint32_t limit, int64_t max_weight, bool has_extras,
                   ps_allocator allocator);

/* Gives the memory back, whatever is in it; only ps_cache_init may follow. */
void ps_cache_free(ps_cache *cache);

static inline uint32_t ps_cache_size(const ps_cache *cache) { return cache->eviction.size; }

static inline ps_slot *ps_cache_slot(const ps_cache *cache, uint32_t slot)
{
    return &cache->eviction.slots[slot];
}

/* The slots whose hash is `hash`, one after another, then PS_NO_SLOT. Adding or removing ends a search. */
static inline ps_index_search ps_cache_begin(const ps_cache *cache, uint32_t hash)
{
    return ps_index_begin(&cache->index, hash);
}

static inline uint32_t ps_cache_next(const ps_cache *cache, uint32_t hash, ps_index_search *search)
{
    uint32_t slot;
    do slot = ps_index_next(&cache->index, search);
    while (slot != PS_NO_SLOT && ps_cache_slot(cache, slot)->hash != hash);
    return slot;
}

static inline bool ps_cache_expired(const ps_cache *cache, uint32_t slot, int64_t now)
{
    int64_t deadline = ps_cache_slot(cache, slot)->deadline;
    return now >= deadline && deadline != PS_NEVER;
}

/* An entry is used: for the policy, and for `idle` nanoseconds more, but not beyond its last moment. */
static inline void ps_cache_hit(ps_cache *cache, uint32_t slot, int64_t now, int64_t idle)
{
    ps_eviction_hit(&cache->eviction, slot);
    if (idle == PS_NEVER) return;
    int64_t at_most = cache->eviction.extras[slot].at_most;
    bool before = at_most > now && (uint64_t)at_most - (uint64_t)now > (uint64_t)idle; /* without overflow */
    ps_cache_slot(cache, slot)->deadline = before ? now + idle : at_most;
}

/* The last moment of an entry, whatever its uses. */
int64_t ps_cache_at_most(const ps_cache *cache, uint32_t slot);

/* Sets the deadline of an entry, and its last moment: by both it goes. */
void ps_cache_expire_at(ps_cache *cache, uint32_t slot, int64_t deadline, int64_t at_most);

/* Adds an entry that is not there, with a weight of 0 to max_weight. Whoever has no room beside it is
 * removed, and so are two slots that have expired, if the sweep comes across them. PS_NO_MEMORY changes
 * nothing. */
ps_status ps_cache_add(ps_cache *cache, uint32_t hash, void *key, void *value, int64_t weight,
                       int64_t deadline, int64_t at_most, int64_t now);

/* Gives an entry another weight, of 0 to max_weight, and removes others until all have room. */
void ps_cache_reweigh(ps_cache *cache, uint32_t slot, int64_t weight, int64_t now);

/* Removes an entry. */
void ps_cache_remove(ps_cache *cache, uint32_t slot, ps_cause cause);

/* Removes all entries, in the order of the queues. */
void ps_cache_clear(ps_cache *cache);

/* Removes all that have expired, in the order of the slots; how many those were. */
uint32_t ps_cache_expire(ps_cache *cache, int64_t now);

/* Allows for so many entries and so much weight from now on; removes what has no room any more. */
void ps_cache_resize(ps_cache *cache, uint32_t limit, int64_t max_weight, int64_t now);

/* Gives memory back that the entries do not need. PS_NO_MEMORY: not all of it; the entries are as before.
 * Nobody may wait to be taken. */
ps_status ps_cache_shrink(ps_cache *cache);

/* Takes the one that waits for longest; false if nobody does. */
bool ps_cache_take_removed(ps_cache *cache, ps_removal *removal);

/* The bytes that it has allocated. */
size_t ps_cache_bytes(const ps_cache *cache);

/* Whether every rule above holds. O(size), for tests. */
bool ps_cache_check(const ps_cache *cache);

#endif
