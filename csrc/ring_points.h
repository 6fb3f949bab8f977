/* ring_points -- the points of a hash ring, and whose arc a hash lies in.
 *
 * A hash belongs to the first point that is not below it, round the circle: to the owner of that point.
 * Points are sorted, equal ones by owner, so the order in which nodes came never matters. The highest bits of
 * a hash choose a cell; the table holds how many points lie before each cell, and as there are about as many
 * cells as points, the one that is sought is mostly the first or second from there: a lookup touches one line
 * of each array.
 *
 *     12 bytes a point, and 4 bytes a cell, of which there are fewer than two to a point
 *
 * A ring never changes: to add or remove an owner makes another one, by a merge of sorted points. The caller
 * owns it; threads may read it together. */
#ifndef PS_RING_POINTS_H
#define PS_RING_POINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "status.h"

#define PS_RING_MAX_POINTS (1 << 24)
#define PS_RING_NEAR 16 /* so few nodes are told apart without a map of those seen */

typedef struct {
    uint64_t *points; /* n + 1: sorted, and the highest number */
    uint32_t *owners; /* n + 1: of each point, and that of the first again */
    uint32_t *before; /* cells + 1: how many points lie below each cell, and n */
    size_t n;         /* 1 to PS_RING_MAX_POINTS */
    unsigned shift;   /* a hash is in cell hash >> shift */
    ps_allocator allocator;
} ps_ring;

/* Makes a ring of n points in any order. PS_NO_MEMORY leaves nothing to free. */
ps_status ps_ring_init(ps_ring *ring, const uint64_t *points, const uint32_t *owners, size_t n,
                       ps_allocator allocator);

void ps_ring_free(ps_ring *ring);

/* Makes `grown` out of `ring` and the points of one more owner: owners from `owner` on move up by one. */
ps_status ps_ring_add(const ps_ring *ring, uint32_t owner, const uint64_t *points, size_t count,
                      ps_ring *grown);

/* Makes `shrunk` out of `ring` without an owner: those above it move down by one. Points of others must be left. */
ps_status ps_ring_remove(const ps_ring *ring, uint32_t owner, ps_ring *shrunk);

/* The place of the first point from `at` on that is not below `hash`, n if there is none; for crowded cells. */
size_t ps_ring_search(const ps_ring *ring, size_t at, uint64_t hash);

/* The place of the point that `hash` belongs to; n stands for the first. */
static inline size_t ps_ring_place(const ps_ring *ring, uint64_t hash)
{
    const uint64_t *points = ring->points;
    size_t at = ring->before[hash >> ring->shift];
    at += points[at] < hash; /* sums, not jumps: which way they go cannot be foreseen */
    at += points[at] < hash;
    at += points[at] < hash;
    return points[at] < hash ? ps_ring_search(ring, at, hash) : at;
}

static inline uint32_t ps_ring_owner(const ps_ring *ring, uint64_t hash)
{
    return ring->owners[ps_ring_place(ring, hash)];
}

/* The owners of n hashes. */
void ps_ring_owners(const ps_ring *ring, const uint64_t *hashes, size_t n, int32_t *owners);

/* The first `n` distinct owners from a hash on, clockwise, of `nodes` >= n owners; those without a point come
 * last, by their numbers. `seen` has a bit for each of them, all 0; it may be NULL when n <= PS_RING_NEAR. */
void ps_ring_order(const ps_ring *ring, uint64_t hash, size_t n, uint8_t *seen, uint32_t *order);

/* True when every rule of this header holds. */
bool ps_ring_check(const ps_ring *ring);

#endif
