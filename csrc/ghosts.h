/* ghosts -- the hashes of what was evicted last, so that it is known again should it return.
 *
 * A first in, first out queue with an index over it, bounded by number and by the sum of weights. A hash that
 * is taken, or comes again, leaves its place empty; when there are no more places the living move together.
 * 6 bytes a hash, 12 more where they have weights, and 8 in the index. */
#ifndef PS_GHOSTS_H
#define PS_GHOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "hash_index.h"
#include "status.h"

typedef struct {
    uint32_t *hashes; /* `places` of them, in the order in which they came */
    int64_t *weights; /* as many; NULL: each weighs 1 */
    uint32_t places;
    uint32_t first;      /* the queue begins here, */
    uint32_t end;        /* and ends before this place */
    int64_t weight;      /* of the living */
    ps_hash_index index; /* the places of the living, by hash */
    bool weighs;
    ps_allocator allocator;
} ps_ghosts;

/* Makes an empty one that allocates nothing yet; with weights, or every one weighs 1. */
void ps_ghosts_init(ps_ghosts *ghosts, bool weighs, ps_allocator allocator);

/* Gives the memory back; only ps_ghosts_init may follow. */
void ps_ghosts_free(ps_ghosts *ghosts);

/* Makes room for so many hashes, a number that does not fall. PS_NO_MEMORY changes nothing. */
ps_status ps_ghosts_reserve(ps_ghosts *ghosts, uint32_t hashes);

/* Adds a hash as the newest, wherever it was, then bounds them as ps_ghosts_bound does. `most` is not above
 * the room made. */
void ps_ghosts_add(ps_ghosts *ghosts, uint32_t hash, int64_t weight, uint32_t most, int64_t max_weight);

/* Forgets the oldest until the others are `most` at most and do not weigh more than `max_weight`. */
void ps_ghosts_bound(ps_ghosts *ghosts, uint32_t most, int64_t max_weight);

/* Takes a hash out; false if it is not there. */
bool ps_ghosts_take(ps_ghosts *ghosts, uint32_t hash);

/* The bytes that it has allocated. */
size_t ps_ghosts_bytes(const ps_ghosts *ghosts);

/* Whether every rule above holds. O(places), for tests. */
bool ps_ghosts_check(const ps_ghosts *ghosts);

#endif
