/* limiter -- what each of many keys has used: a hash table whose slots hold the states of their keys.
 *
 * A slot is a hash, a key that means nothing here, and the state (quotas.h) right behind: 24 bytes for one
 * token bucket, most often in one cache line. The caller compares keys itself:
 *
 *     for (slot = ps_limiter_first(&table, hash); slot != NULL; slot = ps_limiter_next(&table, hash, slot))
 *         if (slot->key is the one that is looked for) ...
 *
 * Keys that are idle decide as unknown ones do, so they are forgotten when they are come across: a hand
 * goes round the slots, some steps for each key that is added. Pointers to slots are good until a key is
 * added or removed.
 *
 * Open addressing with linear probing; removal shifts the probe run back, there are no tombstones (Knuth,
 * TAOCP vol. 3, 6.4, algorithm R). The home of a hash is found by multiplying, so the capacity needs no
 * power of two (Lemire, Fast Random Integer Generation in an Interval, 2019): it is halved from the size
 * that `limit` keys fill to 4/5, and doubles towards it. A seed that nobody can guess goes into the home, so
 * hashes that differ cannot be chosen to meet. Nothing here locks or reads a clock. */
#ifndef PS_LIMITER_H
#define PS_LIMITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "quotas.h"
#include "status.h"

#define PS_LIMITER_MAX (UINT32_C(1) << 30) /* the largest limit */
#define PS_LIMITER_STEPS 4   /* slots that are looked at for each key that is added */
#define PS_LIMITER_LOOKS 16  /* the same when there is no room */

typedef struct {
    uint64_t hash;
    void *key; /* NULL in an empty slot */
} ps_limiter_slot;

/* Callers read the fields and leave the writing to the functions below. */
typedef struct {
    ps_quotas quotas;
    char *slots;       /* `capacity` of them, `stride` bytes each; NULL until the first key is added */
    size_t stride;
    uint32_t capacity;
    uint32_t limit;    /* the largest size, 1 to PS_LIMITER_MAX */
    uint32_t size;     /* keys */
    uint32_t hand;     /* the slot that is looked at next, < capacity */
    uint64_t seed;
    ps_allocator allocator;
} ps_limiter;

/* Makes an empty one that allocates nothing yet. */
void ps_limiter_init(ps_limiter *table, const ps_quotas *quotas, uint32_t limit, uint64_t seed,
                     ps_allocator allocator);

/* Gives all memory back; only ps_limiter_init may follow. */
void ps_limiter_free(ps_limiter *table);

/* The position where the search for a hash starts: multiplied in 128 bits with what the seed makes of it. */
static inline uint32_t ps_limiter_home(const ps_limiter *table, uint64_t hash)
{
    unsigned __int128 product = (unsigned __int128)(hash ^ table->seed) * (table->seed | 1);
    uint64_t mixed = (uint64_t)product ^ (uint64_t)(product >> 64);
    return (uint32_t)((mixed >> 32) * table->capacity >> 32);
}

static inline ps_limiter_slot *ps_limiter_slot_at(const ps_limiter *table, uint32_t at)
{
    return (ps_limiter_slot *)(table->slots + at * table->stride);
}

static inline void *ps_limiter_state(ps_limiter_slot *slot) { return slot + 1; }

static inline ps_limiter_slot *ps_limiter_beyond(const ps_limiter *table, ps_limiter_slot *slot)
{
    char *next = (char *)slot + table->stride;
    return (ps_limiter_slot *)(next == table->slots + table->capacity * table->stride ? table->slots : next);
}

/* The slots whose hash is `hash`, one after another, then NULL. */
static inline ps_limiter_slot *ps_limiter_probe(const ps_limiter *table, uint64_t hash, ps_limiter_slot *slot)
{
    while (slot->key != NULL && slot->hash != hash) slot = ps_limiter_beyond(table, slot);
    return slot->key != NULL ? slot : NULL;
}

static inline ps_limiter_slot *ps_limiter_first(const ps_limiter *table, uint64_t hash)
{
    if (table->size == 0) return NULL;
    return ps_limiter_probe(table, hash, ps_limiter_slot_at(table, ps_limiter_home(table, hash)));
}

static inline ps_limiter_slot *ps_limiter_next(const ps_limiter *table, uint64_t hash, ps_limiter_slot *slot)
{
    return ps_limiter_probe(table, hash, ps_limiter_beyond(table, slot));
}

/* Brings the slot where a search will start nearer to the processor. */
static inline void ps_limiter_prefetch(const ps_limiter *table, uint64_t hash)
{
    if (table->size > 0) __builtin_prefetch(ps_limiter_slot_at(table, ps_limiter_home(table, hash)), 1);
}

/* Adds a key that is not there, never used yet. PS_REFUSED: `limit` is reached; PS_NO_MEMORY: it could not
 * grow. Both change nothing. */
ps_status ps_limiter_add(ps_limiter *table, uint64_t hash, void *key, ps_limiter_slot **slot);

/* Removes a key and what its state owns. Cannot fail. */
void ps_limiter_remove(ps_limiter *table, ps_limiter_slot *slot);

/* Moves the hand over `steps` slots and removes the keys that are idle at clock `now`. Their keys go into
 * `removed`, which has room for `steps`.
 *
 * Returns how many those were. */
uint32_t ps_limiter_sweep(ps_limiter *table, int64_t now, uint32_t steps, void **removed);

/* Removes the key that will be idle first among those of the PS_LIMITER_LOOKS slots behind the hand that have
 * a unit left in every quota.
 *
 * Returns it; NULL when there is none, and then `soonest` says in how many nanoseconds there will be one. */
void *ps_limiter_evict(ps_limiter *table, int64_t now, int64_t *soonest);

/* In how many nanoseconds the first key of the PS_LIMITER_LOOKS slots behind the hand is idle; INT64_MAX
 * when these are all empty. */
int64_t ps_limiter_soonest(const ps_limiter *table, int64_t now);

/* Shrinks to what the keys need. Changes nothing but speed when there is no memory for it. */
void ps_limiter_fit(ps_limiter *table);

/* The bytes that it has allocated. O(1), but O(capacity) for sliding windows. */
size_t ps_limiter_bytes(const ps_limiter *table);

/* Whether every rule above holds. O(capacity), for tests. */
bool ps_limiter_check(const ps_limiter *table);

#endif
