/* maglev_slots -- a table of slots, each held by a node: one read a key, however many nodes there are.
 *
 * Every node lists all slots in an order of its own, from `offset` on in steps of `skip`, modulo the prime
 * size of the table. Nodes take turns, and in its turn each takes the first slot of its list that is free,
 * until none is. For a node of identity d, the XXH3-64 of its name,
 *
 *     offset = d mod size          skip = 1 + mix64(d) mod (size - 1)
 *
 * Turn k of a node, from 0 on, is due at k * (the greatest weight / its weight), rounded once; the node with
 * the lower index goes first among those due at the same time. So nodes of one weight hold the same number
 * of slots or one more, each node holds at least one, and for weights w1 < w2 the slots are as w1 to w2 but
 * for one slot. The table hangs on identities, weights and the order of the indices, and on nothing else.
 *
 * A key at `position` belongs to slot position mod size, and after the node there to those of the slots that
 * follow. That is how the paper and Envoy do it, with hashes of their own.
 *
 * Memory: 2 bytes a slot. Making a table costs about size * ln(size) probes.
 *
 * Source: D. Eisenbud et al., Maglev: a fast and reliable software network load balancer, NSDI 2016; the
 * weights are those of Envoy (source/extensions/load_balancing_policies/maglev/maglev_lb.cc). */
#ifndef PS_MAGLEV_SLOTS_H
#define PS_MAGLEV_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "status.h"

#define PS_MAGLEV_MAX_NODES 65535 /* 65535 itself marks a free slot */

typedef struct {
    uint16_t *slots; /* index of the node of each; NULL: no table */
    uint32_t size;   /* of the table, a prime */
    uint32_t nodes;
    ps_allocator allocator;
} ps_maglev;

/* Makes the table of `nodes` nodes: 1 <= nodes <= PS_MAGLEV_MAX_NODES, nodes <= size, size prime, weights
 * > 0 whose quotients are finite. identities[nodes] and weights[nodes] are read during the call only.
 * PS_NO_MEMORY leaves nothing to free. */
ps_status ps_maglev_init(ps_maglev *table, uint32_t size, uint32_t nodes, const uint64_t *identities,
                         const double *weights, ps_allocator allocator);

void ps_maglev_free(ps_maglev *table);

/* The node that gets a key at `position`. */
static inline uint32_t ps_maglev_locate(const ps_maglev *table, uint64_t position)
{
    return table->slots[position % table->size];
}

/* The nodes of n positions. `nodes` may begin where `positions` does. */
void ps_maglev_locate_all(const ps_maglev *table, const uint64_t *positions, size_t n, int32_t *nodes);

/* Bytes of scratch memory that ps_maglev_order needs. */
size_t ps_maglev_scratch(const ps_maglev *table);

/* The first `n` nodes for a key at `position`, in its order of preference: n <= table->nodes. */
void ps_maglev_order(const ps_maglev *table, uint64_t position, uint32_t n, void *scratch, uint32_t *order);

/* Whether every slot has a node and every node a slot; for tests. O(size * nodes). */
bool ps_maglev_check(const ps_maglev *table);

#endif
