/* rendezvous_bids -- every node bids for every key, and the best bid gets it: weighted rendezvous hashing.
 *
 * The bid of a node of identity d, the XXH3-64 of its name, and weight w for a key at `position`:
 *
 *     draw = mix64(position ^ d)                     64 bits
 *     u = (2 * (draw >> 16) + 1) / 2^49              0 < u < 1
 *     arrival = -ln(u) / w
 *
 * The earliest arrival wins, then the higher draw, then the lower index. -ln(u) is exponentially
 * distributed, so a node is first with a chance of exactly w / (sum of all w). A bid hangs on its own node
 * and the key alone, whence: what a new node gets is all that moves, what a removed node had is all that
 * moves, and from a node whose weight grows nothing moves away.
 *
 * The logarithm decides where keys live, so it must come out the same on every machine to the last bit:
 * ln_inverse() in the .c file uses nothing but + - * / on IEEE doubles in a fixed order. Two values of u
 * lie at least 2^-48 apart, and near u = 2^-k the logarithms of neighbours 2^(k-48), many times the error of
 * the sum. So it never rises where u does, the three rules above are one order of all bids, and among nodes
 * of one weight the higher draw wins: those are compared as integers. Only the best of each weight needs a
 * logarithm, and it only if it can still win, as -ln(u) >= 1 - u.
 *
 * O(nodes) a key, about 2 ns a node. Sources: D. Thaler, C. V. Ravishankar, Using name-based mappings to
 * increase hit rates, 1998; C. Schindelhauer, G. Schomaker, Weighted distributed hash tables, SPAA 2005
 * (the logarithmic method). */
#ifndef PS_RENDEZVOUS_BIDS_H
#define PS_RENDEZVOUS_BIDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "status.h"

/* The nodes of one weight. */
typedef struct {
    double weight;
    uint32_t end; /* of its nodes; they begin where those of the class before end */
} ps_rendezvous_class;

typedef struct {
    uint64_t *identities;         /* of all nodes, class by class, in a class by index; NULL: no nodes */
    uint32_t *indices;            /* of the same nodes */
    ps_rendezvous_class *classes; /* by falling weight */
    uint32_t class_count;
    uint32_t nodes;
    ps_allocator allocator;
} ps_rendezvous;

typedef struct {
    double arrival;
    uint64_t draw;
    uint32_t index;
} ps_rendezvous_bid;

/* Takes `nodes` nodes, 1 or more, with weights > 0 and finite, into memory of its own.
 * PS_NO_MEMORY leaves nothing to free. */
ps_status ps_rendezvous_init(ps_rendezvous *placement, uint32_t nodes, const uint64_t *identities,
                             const double *weights, ps_allocator allocator);

void ps_rendezvous_free(ps_rendezvous *placement);

/* The index of the node that gets a key at `position`. */
uint32_t ps_rendezvous_locate(const ps_rendezvous *placement, uint64_t position);

/* The indices of the nodes of n positions. `indices` may begin where `positions` does. */
void ps_rendezvous_locate_all(const ps_rendezvous *placement, const uint64_t *positions, size_t n,
                              int32_t *indices);

/* The first `n` nodes for a key at `position`, in its order of preference: n <= placement->nodes.
 * bids[n] is scratch memory. */
void ps_rendezvous_order(const ps_rendezvous *placement, uint64_t position, uint32_t n,
                         ps_rendezvous_bid *bids, uint32_t *order);

/* The bid of one node. */
ps_rendezvous_bid ps_rendezvous_bid_of(uint64_t position, uint64_t identity, double weight, uint32_t index);

/* Whether bid `a` wins against `b`. */
bool ps_rendezvous_beats(const ps_rendezvous_bid *a, const ps_rendezvous_bid *b);

/* Whether the nodes stand in their order; for tests. */
bool ps_rendezvous_check(const ps_rendezvous *placement);

#endif
